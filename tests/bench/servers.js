// How each server is started, and what every row may ask of one. A server is one program in one
// mode ("echo", "room", and the same two behind "socketio_"); the rows that want it untouched start their own.

import { connect, createServer } from 'node:net';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { hasEnded, start, verifyPinned } from './processes.js';

const require = createRequire(import.meta.url);
const here = (path) => fileURLToPath(new URL(path, import.meta.url));

export const moonwire = here('../../build/moonwire');
const bun = here('node_modules/@oven/bun-linux-x64/bin/bun');

/** By name: how to build it, what to run, its version, and whether GET /gc collects its garbage. */
export const kinds = {
  moonwire: {
    build: () => execFileSync(here('../../scripts/build'), { stdio: ['ignore', 'inherit', 'inherit'] }),
    command: (mode, port) => [moonwire, 'run', here(`handlers/${mode}.lua`), '--port', port],
    version: () => execFileSync(moonwire, ['version'], { encoding: 'utf8' }),
  },
  bun: {
    command: (mode, port) => [bun, here('servers/bun.js'), mode, port],
    version: () => execFileSync(bun, ['--version'], { encoding: 'utf8' }),
    collects: true,
  },
  ws: {
    command: (mode, port) => ['node', '--expose-gc', here('servers/ws.js'), mode, port],
    version: () => `${require('ws/package.json').version} on Node ${process.version}`,
    collects: true,
  },
  socketio: {
    command: (mode, port) => ['node', '--expose-gc', here('servers/socketio.js'), mode, port],
    version: () => `${require('socket.io/package.json').version} on Node ${process.version}`,
    collects: true,
  },
};

/** A port that was free a moment ago. */
export async function freePort() {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address();
  probe.close();
  await once(probe, 'close');
  return port;
}

/** Resolves when the port accepts; throws when the program ends first or takes ten seconds. */
export async function accepts(child, port) {
  for (const end = Date.now() + 10_000; Date.now() < end; await sleep(20)) {
    if (hasEnded(child)) break;
    const socket = connect(port, '127.0.0.1');
    const open = await new Promise((resolve) => {
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    });
    socket.destroy();
    if (open) return;
  }
  throw new Error(`${child.command}\n  does not accept on port ${port}: ` +
    `${child.errors}${child.output}`.trim());
}

export async function startServer(name, mode, core) {
  const kind = kinds[name];
  const port = await freePort();
  const [command, ...args] = kind.command(mode, String(port));
  const child = start(command, args, core);
  await accepts(child, port);
  if (core !== null) verifyPinned(child.pid, core);
  return { name, mode, port, child, pid: child.pid, collects: kind.collects ?? false };
}

/** Lets a server with a tracing collector collect, so that memory is counted at its best. */
export async function collect(server) {
  if (!server.collects) return;
  const response = await fetch(`http://127.0.0.1:${server.port}/gc`);
  await response.text();
}
