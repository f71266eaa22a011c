// The reload row: a client asks a handler for its constant every millisecond while the file is
// saved again and again with another one; the time from the save to the first reply that carries
// the new constant is what a developer waits. The connection must live through all of it.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import WebSocket from 'ws';
import { start, stop } from './processes.js';
import { accepts, freePort, moonwire } from './servers.js';
import { quantile } from './report.js';

const SAVES = { full: 50, quick: 15 };

const handler = (constant) =>
  `return { on_message = function(client) client:send("${constant}") end }\n`;

/** Asks once and returns the constant that answers. */
async function ask(socket) {
  socket.send('which?');
  const [data] = await once(socket, 'message', { signal: AbortSignal.timeout(5000) });
  return Number(data);
}

async function timeOneSave(socket, file, constant) {
  const saved = performance.now();
  writeFileSync(file, handler(constant));
  for (;;) {
    const answer = await ask(socket);
    if (answer === constant) return performance.now() - saved;
    if (answer !== constant - 1) throw new Error(`version ${answer} answers after ${constant - 1}`);
    if (performance.now() - saved > 5000) throw new Error(`save ${constant} has no effect in 5 s`);
    await sleep(1);
  }
}

async function timeSaves(socket, file, saves) {
  const times = [];
  for (let constant = 1; constant <= saves; constant++) {
    // Uneven pauses, so that saves do not fall into step with anything that ticks in the server.
    await sleep(30 + Math.random() * 70);
    times.push(await timeOneSave(socket, file, constant));
  }
  return times;
}

export async function measureReload(bench) {
  const folder = mkdtempSync(join(tmpdir(), 'moonwire-bench-'));
  const file = join(folder, 'app.lua');
  writeFileSync(file, handler(0));
  const port = await freePort();
  const child = start(moonwire, ['dev', file, '--port', String(port)], bench.cores.server);
  try {
    await accepts(child, port);
    const socket = new WebSocket(`ws://127.0.0.1:${port}/`);
    await once(socket, 'open');
    if ((await ask(socket)) !== 0) throw new Error('the first version does not answer');
    const times = await timeSaves(socket, file, (bench.quick ? SAVES.quick : SAVES.full));
    socket.close();
    await once(socket, 'close');
    return { value: quantile(times, 0.5), p99: quantile(times, 0.99), times };
  } finally {
    await stop(child);
    rmSync(folder, { recursive: true });
  }
}
