// The rows of the table: what each measures and how. A row's `measure(name, bench)` returns one
// sample, whose `value` is what the table compares (less is better); `bench` has the servers that
// are up, the cores and the scale of the run. A row with a `mode` uses the server that is up in that
// mode, one without starts its own. A row compares its `peers`, and gives ratios `against` one of
// them; beyond its `limit` moonwire's ratio is a failure.

import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { finish, rss, start, stop } from './processes.js';
import { collect, startServer } from './servers.js';
import { measureReload } from './reload.js';

const generator = fileURLToPath(new URL('../../build/bench-load', import.meta.url));

/** Plain WebSockets, and Socket.IO over its WebSocket transport. */
const PLAIN = { peers: ['moonwire', 'bun', 'ws'], against: 'bun', protocol: 'websocket', prefix: '' };
const SOCKETIO = {
  peers: ['moonwire', 'socketio'], against: 'socketio', protocol: 'socketio', prefix: 'socketio_',
};

const IDLE_CONNECTIONS = 10_000;
const SETTLED = { samples: 10, every: 100, within: 32 * 1024, atMost: 6000 };

function load(bench, server, mode, options) {
  const args = Object.entries({ port: server.port, pid: server.pid, timeout: 30, ...options })
    .flatMap(([name, value]) => [`--${name}`, String(value)]);
  return start(generator, [mode, ...args], bench.cores.generator);
}

/** Runs the generator to its end. When it fails, the server may have said why. */
async function runLoad(bench, server, mode, options) {
  try {
    return JSON.parse(await finish(load(bench, server, mode, options)));
  } catch (error) {
    const { output, errors } = server.child;
    throw new Error(`${error.message}\n${server.name} said: ${(output + errors).trim().slice(-800)}`);
  }
}

/** µs of server CPU for each message (echo) or each delivery of one (room). */
function traffic(id, title, family, limit, mode, options, messages) {
  const { peers, against, protocol, prefix } = family;
  return {
    id,
    title,
    unit: mode === 'room' ? 'µs/delivery' : 'µs/message',
    mode: prefix + mode,
    peers,
    against,
    limit,
    async measure(name, bench) {
      const step = mode === 'room' ? options['in-flight'] : options.connections;
      const count = Math.max(1, Math.round((messages * bench.scale) / step)) * step;
      const warmup = Math.max(1, Math.round(count / 5 / step)) * step;
      const server = bench.servers.get(`${name} ${prefix}${mode}`);
      const wanted = { ...options, protocol, messages: count, warmup };
      const result = await runLoad(bench, server, mode, wanted);
      return {
        value: (result.server_cpu / result.deliveries) * 1e6,
        per_second: result.deliveries / result.seconds,
        server_busy: result.server_cpu / result.seconds,
        generator_busy: result.generator_cpu / result.seconds,
        deliveries: result.deliveries,
      };
    },
  };
}

/** Waits until resident memory has stopped moving, and returns it. */
async function settledRss(pid) {
  const seen = [];
  for (const end = Date.now() + SETTLED.atMost; Date.now() < end; await sleep(SETTLED.every)) {
    seen.push(rss(pid));
    const last = seen.slice(-SETTLED.samples);
    const spread = Math.max(...last) - Math.min(...last);
    if (last.length === SETTLED.samples && spread <= SETTLED.within) break;
  }
  return seen.at(-1);
}

async function untilOutput(child) {
  while (!child.output.includes('\n')) {
    if (child.exitCode !== null || child.signalCode !== null) return finish(child);
    await sleep(10);
  }
  return child.output;
}

/** A fresh server, because one that has served much has free memory that would hide the growth. */
async function measureIdle(name, bench, { protocol, prefix }) {
  const server = await startServer(name, `${prefix}room`, bench.cores.server);
  await runLoad(bench, server, 'connect', { protocol, connections: 200 });
  await collect(server);
  const before = await settledRss(server.pid);
  const holder = load(bench, server, 'idle', { protocol, connections: IDLE_CONNECTIONS });
  const { opening } = JSON.parse(await untilOutput(holder));
  await collect(server);
  const after = await settledRss(server.pid);
  holder.stdin.end();
  await finish(holder);
  await stop(server.child);
  return {
    value: (after - before) / IDLE_CONNECTIONS,
    before,
    after,
    connects_per_second: IDLE_CONNECTIONS / opening.seconds,
  };
}

async function measureConnect(name, bench) {
  const connections = 2000;
  const server = bench.servers.get(`${name} room`);
  const { opening } = await runLoad(bench, server, 'connect', { connections });
  return {
    value: (opening.server_cpu / connections) * 1e6,
    per_second: connections / opening.seconds,
    server_busy: opening.server_cpu / opening.seconds,
    generator_busy: opening.generator_cpu / opening.seconds,
  };
}

function idle(id, what, family, limit) {
  return {
    id,
    title: `idle ${what}, ${IDLE_CONNECTIONS.toLocaleString('en')} in one room`,
    unit: 'B RSS each',
    rounds: 3,
    peers: family.peers,
    against: family.against,
    limit,
    measure: (name, bench) => measureIdle(name, bench, family),
  };
}

const echo = (inFlight, size) => ({ connections: 100, 'in-flight': inFlight, size });
const room = (inFlight) => ({ connections: 1000, 'in-flight': inFlight, size: 64 });

export const rows = [
  traffic('echo-64-x1', 'echo 64 B, 1 in flight', PLAIN, 1.5, 'echo', echo(1, 64), 80_000),
  traffic('echo-64-x16', 'echo 64 B, 16 in flight', PLAIN, 1.5, 'echo', echo(16, 64), 240_000),
  traffic('echo-16k', 'echo 16 KiB, 1 in flight', PLAIN, 1.5, 'echo', echo(1, 16_384), 30_000),
  traffic('room-x1', 'room of 1,000, 64 B, 1 in flight', PLAIN, 1.5, 'room', room(1), 100),
  traffic('room-x16', 'room of 1,000, 64 B, 16 in flight', PLAIN, 1.5, 'room', room(16), 480),
  {
    id: 'connect',
    title: 'connect',
    unit: 'µs/connection',
    mode: 'room',
    rounds: 3,
    peers: PLAIN.peers,
    against: PLAIN.against,
    measure: measureConnect,
  },
  idle('idle', 'WebSocket', PLAIN),
  {
    id: 'reload',
    title: 'save to effect (`moonwire dev`)',
    unit: 'ms',
    rounds: 1,
    peers: ['moonwire'],
    against: PLAIN.against,
    measure: (name, bench) => measureReload(bench),
  },
  traffic('sio-echo-x1', 'Socket.IO echo 64 B, 1 in flight', SOCKETIO, 0.7, 'echo', echo(1, 64), 20_000),
  traffic('sio-echo-x16', 'Socket.IO echo 64 B, 16 in flight', SOCKETIO, 0.2, 'echo', echo(16, 64), 40_000),
  traffic('sio-room-x1', 'Socket.IO room of 1,000, 64 B, 1 in flight', SOCKETIO, 0.7, 'room', room(1), 60),
  traffic('sio-room-x16', 'Socket.IO room of 1,000, 64 B, 16 in flight', SOCKETIO, 0.2, 'room', room(16), 160),
  idle('sio-idle', 'Socket.IO client', SOCKETIO, 0.1),
];
