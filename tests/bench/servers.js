// How each server is started, and what every row may ask of one. A server is one program in one
// mode ("echo", "room", "sse", …, and the first two behind "socketio_"); the rows that want it
// untouched start their own.

import { execFileSync, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { hasEnded, removeAtEnd, start, verifyPinned } from './processes.js';

const require = createRequire(import.meta.url);
const here = (path) => fileURLToPath(new URL(path, import.meta.url));

export const moonwire = here('../../build/moonwire');
const bun = here('node_modules/@oven/bun-linux-x64/bin/bun');
const nchanModule = '/usr/lib/nginx/modules/ngx_nchan_module.so';

/** Debian's nchan with its paths filled in, in a folder of its own. */
function nchanConfig(port) {
  const folder = mkdtempSync(join(tmpdir(), 'moonwire-bench-nchan-'));
  removeAtEnd(folder);
  const text = readFileSync(here('servers/nchan.conf'), 'utf8')
    .replaceAll('MODULE', nchanModule).replaceAll('PORT', port).replaceAll('FOLDER', folder);
  writeFileSync(join(folder, 'nginx.conf'), text);
  return ['nginx', '-p', folder, '-e', 'stderr', '-c', join(folder, 'nginx.conf')];
}

function nchanVersion() {
  const query = ['-W', '-f', '${Version}', 'libnginx-mod-nchan'];
  const { stderr } = spawnSync('nginx', ['-v'], { encoding: 'utf8' });
  return `${execFileSync('dpkg-query', query, { encoding: 'utf8' })}, ${stderr.trim()}`;
}

/** A handler that serves in several modes is there once. */
const handlers = { deflate: 'room' };

/**
 * By name: how to build it, what to run, its version, whether it is there, and whether GET /gc
 * collects its garbage.
 */
export const kinds = {
  floor: {
    command: (mode, port) => [here('../../build/bench-floor'), mode, port],
    version: () => 'in C, of this bench',
  },
  moonwire: {
    build: () => execFileSync(here('../../scripts/build'), { stdio: ['ignore', 'inherit', 'inherit'] }),
    command: (mode, port, options = []) => [
      moonwire, 'run', here(`handlers/${handlers[mode] ?? mode}.lua`), '--port', port, ...options,
    ],
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
  nchan: {
    command: (mode, port) => nchanConfig(port),
    version: nchanVersion,
    present: () => existsSync(nchanModule),
  },
  socketio: {
    command: (mode, port) => ['node', '--expose-gc', here('servers/socketio.js'), mode, port],
    version: () => `${require('socket.io/package.json').version} on Node ${process.version}`,
    collects: true,
  },
  'bun-engine': {
    command: (mode, port) => [bun, here('servers/bun_engine.js'), mode, port],
    version: () => `${require('@socket.io/bun-engine/package.json').version} with socket.io ` +
      `${require('socket.io/package.json').version} on Bun`,
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

export async function startServer(name, mode, core, options) {
  const kind = kinds[name];
  const port = await freePort();
  const [command, ...args] = kind.command(mode, String(port), options);
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
