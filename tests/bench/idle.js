// What a server's memory is when it has come to rest.

import { setTimeout as sleep } from 'node:timers/promises';
import { rss } from './processes.js';
import { collect } from './servers.js';

const SETTLED = { samples: 10, every: 100, within: 32 * 1024, atMost: 5000 };

/** Waits until resident memory has stopped moving, and returns it. */
export async function settledRss(pid) {
  const seen = [];
  for (const end = Date.now() + SETTLED.atMost; Date.now() < end; await sleep(SETTLED.every)) {
    seen.push(rss(pid));
    const last = seen.slice(-SETTLED.samples);
    const spread = Math.max(...last) - Math.min(...last);
    if (last.length === SETTLED.samples && spread <= SETTLED.within) break;
  }
  return seen.at(-1);
}

/** The same once the server's collector, where it has one, has done its work. */
export async function collectedRss(server) {
  await collect(server);
  return settledRss(server.pid);
}
