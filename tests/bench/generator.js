// The load generator as bench.js uses it: started on its core, its one line of JSON read.

import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import { finish, hasEnded, start } from './processes.js';

const binary = fileURLToPath(new URL('../../build/bench-load', import.meta.url));

function generator(bench, server, mode, options) {
  const all = { port: server.port, pid: server.pid, timeout: 30, ...options };
  const args = Object.entries(all).flatMap(([name, value]) => (
    value === true ? [`--${name}`] : [`--${name}`, String(value)]));
  return start(binary, [mode, ...args], bench.cores.generator);
}

/** When the generator fails, the server may have said why. */
async function withLastWords(server, act) {
  try {
    return await act();
  } catch (error) {
    const { output, errors } = server.child;
    throw new Error(`${error.message}\n${server.name} said: ${(output + errors).trim().slice(-800)}`);
  }
}

/** Runs the generator to its end. */
export function runLoad(bench, server, mode, options) {
  return withLastWords(server, async () => (
    JSON.parse(await finish(generator(bench, server, mode, options)))));
}

/** Starts a generator that holds its connections until its input ends, once they are open. */
export async function hold(bench, server, options) {
  const child = generator(bench, server, 'idle', { timeout: 60, ...options });
  await withLastWords(server, async () => {
    while (!child.output.includes('\n')) {
      if (hasEnded(child)) await finish(child);
      await sleep(10);
    }
  });
  return child;
}

/** Lets go of them; a connection that did not last fails here. */
export async function release(server, child) {
  child.stdin.end();
  await withLastWords(server, () => finish(child));
}
