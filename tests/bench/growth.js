// The rows of `scripts/bench --growth`: what one thing costs where there are few and where there are
// many, by the same program in the same run. What should be flat has a target against the small
// case; memory that no longer fits the processor's caches makes everything dearer, the floor
// included, so the floor and Bun are measured beside it where they can do the same.

import { once } from 'node:events';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import WebSocket from 'ws';
import { hold, release, runLoad } from './generator.js';
import { cpu, removeAtEnd, start, stop } from './processes.js';
import { median } from './report.js';
import { accepts, freePort, moonwire, startServer } from './servers.js';
import { WEBSOCKET, atMost, atMostRow, echo, room, traffic } from './traffic.js';

/** A delivery may cost a tenth more (issue 5), beyond what it costs the floor more. */
const FLAT = 1.1;
/**
 * What finds one among 100,000 executes the same instructions as among few, but misses the caches
 * that it hit there. A cost that grew with their number would be thousands of times as high.
 */
const CONSTANT = 3;
const ROUNDS = 3;

const count = (number) => number.toLocaleString('en');

/* Members ------------------------------------------------------------------------------------ */

const DELIVERIES = 100_000;

function members(number) {
  const targets = number > 100 ? [{ ...atMostRow(FLAT, 'members-100'), over: 'floor' }] : [];
  return traffic({ ...WEBSOCKET, group: 'Members' }, {
    id: `members-${number}`,
    title: `room of ${count(number)}, 64 B, 1 in flight`,
    mode: 'room',
    load: room(1, 64, number),
    messages: DELIVERIES / number,
    peers: ['floor', 'moonwire', 'bun'],
    targets,
  });
}

/* Rooms -------------------------------------------------------------------------------------- */

const ROOMS_EACH = 10_000;
const CHURNS = 20_000;
const ANSWER_WITHIN = 20_000;

async function dial(server) {
  const socket = new WebSocket(`ws://127.0.0.1:${server.port}/`, { perMessageDeflate: false });
  await once(socket, 'open');
  return socket;
}

async function ask(socket, event, data) {
  socket.send(JSON.stringify({ event, data, id: 1 }));
  const [text] = await once(socket, 'message', { signal: AbortSignal.timeout(ANSWER_WITHIN) });
  const answer = JSON.parse(text);
  if (answer.error) throw new Error(`${event}: ${JSON.stringify(answer.error)}`);
  return answer.data;
}

/** What the server's threads use until a time in which they use nothing more has gone by. */
async function cpuAtRest(server) {
  for (let before = -1; ; await sleep(30)) {
    const after = cpu(server.pid);
    if (after - before < 0.0002) return after;
    before = after;
  }
}

/** µs of the server's CPU that `act` causes, divided by `by`. */
async function cost(server, by, act) {
  const before = await cpuAtRest(server);
  await act();
  return (((await cpuAtRest(server)) - before) / by) * 1e6;
}

/** A server with so many rooms, each with one member, and a client for measuring. */
async function withRooms(bench, rooms, act) {
  const options = ['--max-rooms', String(ROOMS_EACH)];
  const server = await startServer('moonwire', 'rooms', bench.cores.server, options);
  try {
    for (let i = 0; i < rooms; i += ROOMS_EACH) {
      await ask(await dial(server), 'fill', { name: `r${i}`, count: ROOMS_EACH });
    }
    return await act(server, await dial(server));
  } finally {
    await stop(server.child);
  }
}

function churn(rooms) {
  return {
    id: `churn-${rooms}`,
    title: `join and leave, ${count(rooms)} rooms`,
    group: 'Rooms',
    unit: 'µs',
    rounds: ROUNDS,
    peers: ['moonwire'],
    targets: rooms > 0 ? [atMostRow(CONSTANT, 'churn-0')] : [],
    measure: (name, bench) => withRooms(bench, rooms, async (server, socket) => {
      await ask(socket, 'churn', { name: 'bench', count: CHURNS });
      return {
        value: await cost(server, CHURNS, () => ask(socket, 'churn', { name: 'bench', count: CHURNS })),
      };
    }),
  };
}

async function hangUp(socket) {
  socket.close();
  await once(socket, 'close');
}

/** One client in many rooms goes: what each of its memberships costs. */
function disconnectFrom(rooms) {
  const clients = ROOMS_EACH / rooms;
  return {
    id: `disconnect-${rooms}`,
    title: `disconnect, one client in ${count(rooms)} rooms`,
    group: 'Rooms',
    unit: 'µs/room',
    rounds: ROUNDS,
    peers: ['moonwire'],
    targets: rooms > 1000 ? [atMostRow(CONSTANT, 'disconnect-1000')] : [],
    measure: (name, bench) => withRooms(bench, 0, async (server) => {
      const sockets = await Promise.all(Array.from({ length: clients }, () => dial(server)));
      for (const [i, socket] of sockets.entries()) {
        await ask(socket, 'fill', { name: `own${i}`, count: rooms });
      }
      return { value: await cost(server, ROOMS_EACH, () => Promise.all(sockets.map(hangUp))) };
    }),
  };
}

const LEAVERS = 500;

/** Clients that leave a room of so many by disconnecting, and the members that stay. */
function leaveRoom(stay) {
  return {
    id: `leave-${stay}`,
    title: `connect, join and disconnect, room of ${count(stay)}`,
    group: 'Rooms',
    unit: 'µs',
    rounds: ROUNDS,
    peers: ['moonwire'],
    targets: stay > 100 ? [atMostRow(CONSTANT, 'leave-100')] : [],
    async measure(name, bench) {
      const server = await startServer(name, 'room', bench.cores.server);
      await runLoad(bench, server, 'connect', { connections: LEAVERS });
      const holder = await hold(bench, server, { connections: stay });
      const value = await cost(server, LEAVERS, () => (
        runLoad(bench, server, 'connect', { connections: LEAVERS })));
      await release(server, holder);
      await stop(server.child);
      return { value };
    },
  };
}

/* Reload ------------------------------------------------------------------------------------- */

const RELOADS = 20;

const version = (number) => `return {
  on_connect = function(client) client:join("bench") end,
  on_message = function(client) client:send("${number}") end,
}\n`;

/** From the signal to the first answer of the new version, asked for without a pause. */
async function timeReload(child, socket, file, number) {
  writeFileSync(file, version(number));
  const began = performance.now();
  child.kill('SIGHUP');
  for (;;) {
    socket.send('which?');
    const [data] = await once(socket, 'message', { signal: AbortSignal.timeout(ANSWER_WITHIN) });
    if (Number(data) === number) return performance.now() - began;
    if (Number(data) !== number - 1) throw new Error(`version ${data} answers before ${number}`);
    if (performance.now() - began > ANSWER_WITHIN) throw new Error(`${number} is never in service`);
  }
}

async function measureReloads(bench, connections) {
  const folder = mkdtempSync(join(tmpdir(), 'moonwire-bench-'));
  removeAtEnd(folder);
  const file = join(folder, 'app.lua');
  writeFileSync(file, version(0));
  const port = await freePort();
  const child = start(moonwire, ['run', file, '--port', String(port)], bench.cores.server);
  await accepts(child, port);
  const server = { name: 'moonwire', port, pid: child.pid, child };
  const holder = connections > 0 && await hold(bench, server, { connections });
  const socket = await dial(server);
  const times = [];
  for (let number = 1; number <= RELOADS; number++) {
    await sleep(10 + Math.random() * 20);
    times.push(await timeReload(child, socket, file, number));
  }
  socket.terminate();
  if (holder) await release(server, holder); // no connection was closed
  await stop(child);
  return { value: median(times), times };
}

function reload(connections) {
  return {
    id: `reload-${connections}`,
    title: `reload, ${count(connections)} connections`,
    group: 'Reload',
    unit: 'ms',
    rounds: ROUNDS,
    peers: ['moonwire'],
    targets: connections > 0 ? [atMostRow(CONSTANT, 'reload-0')] : [],
    measure: (name, bench) => measureReloads(bench, connections),
  };
}

/* Latency ------------------------------------------------------------------------------------ */

const LATENCY_SECONDS = 3;
const PEERS_OF_LATENCY = ['moonwire', 'bun'];

/** Half of what the slower one of the servers can do, found once for the whole run. */
async function halfLoad(bench) {
  if (bench.halfLoad) return bench.halfLoad;
  const rates = [];
  for (const name of PEERS_OF_LATENCY) {
    const server = bench.servers.get(`${name} echo`);
    if (!server) continue;
    const options = { ...echo(1, 64), messages: 40_000, warmup: 10_000 };
    const { deliveries, seconds } = await runLoad(bench, server, 'echo', options);
    rates.push(deliveries / seconds);
  }
  bench.halfLoad = Math.round(Math.min(...rates) / 2);
  bench.notes.push(`half load: ${count(bench.halfLoad)} messages a second over 100 connections`);
  return bench.halfLoad;
}

async function measureLatency(name, bench) {
  const rate = await halfLoad(bench);
  const server = bench.servers.get(`${name} echo`);
  const messages = Math.round(rate * LATENCY_SECONDS * bench.scale);
  const result = await runLoad(bench, server, 'latency', {
    ...echo(1, 64), rate, messages, warmup: Math.round(rate / 4),
  });
  const { p50, p99, p999 } = result;
  return { value: p99, p50, p99, p999, server_busy: result.server_cpu / result.seconds };
}

const latency = (id, what, more) => ({
  id,
  title: `echo 64 B at half load, ${what}`,
  group: 'Latency',
  unit: 'µs',
  mode: 'echo',
  peers: PEERS_OF_LATENCY,
  targets: [atMost(1, 'bun')],
  ...more,
});

export const growthRows = [
  ...[100, 1000, 10_000].map(members),
  ...[0, 100_000].map(churn),
  ...[1000, 10_000].map(disconnectFrom),
  ...[100, 10_000].map(leaveRoom),
  ...[0, 10_000].map(reload),
  latency('latency-p99', 'p99', { measure: measureLatency }),
  latency('latency-p999', 'p99.9', { from: 'latency-p99', pick: ({ p999 }) => ({ value: p999 }) }),
];
