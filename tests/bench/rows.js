// The rows of the table: what each measures, how, and what moonwire must reach. A row's
// `measure(name, bench)` returns one sample, whose `value` is what the table compares: less is
// better, or with `more` the other way. A row with `from` takes its value out of another row's
// samples. A row with a `mode` uses the server that is up in that mode, one without starts its own.
// `targets` are read by report.js: at most (or at least) so many times what the better of some
// servers has, or another row of moonwire's; or `below` a figure. Servers that no target names are
// there to compare with, and take three rounds.

import { collectedRss } from './idle.js';
import { hold, release, runLoad } from './generator.js';
import { growthRows } from './growth.js';
import { stop } from './processes.js';
import { measureReload } from './reload.js';
import { startServer } from './servers.js';
import {
  SOCKETIO, SSE, WEBSOCKET, atLeast, atMost, atMostRow, below, echo, room, traffic,
} from './traffic.js';

const PLAIN = ['floor', 'moonwire', 'bun', 'ws'];
const PLAIN_ROOM = [...PLAIN, 'nchan'];
/** Who gathers what came from several senders sends less often than the floor, which does not. */
const NO_FLOOR = ['moonwire', 'bun', 'ws', 'nchan'];
const SOCKETIO_PEERS = ['moonwire', 'socketio', 'bun-engine'];
const BETTER = ['socketio', 'bun-engine'];

const IDLE = [10_000, 19_000];
const CONNECTS = 2000;
/** Bytes of text that make the event of the JSON row 1 KiB long (envelope.c has the rest). */
const JSON_TEXT = 646;

/**
 * A fresh server, because one that has served much has free memory that would hide the growth. The
 * figures are of the same server, the second with more connections than the first.
 */
async function measureIdle(name, bench, { protocol }, mode) {
  const server = await startServer(name, mode, bench.cores.server);
  await runLoad(bench, server, 'connect', { protocol, connections: 200 });
  const before = await collectedRss(server);
  const holders = [];
  const samples = [];
  let open = 0;
  for (const count of IDLE) {
    holders.push(await hold(bench, server, { protocol, connections: count - open }));
    open = count;
    const after = await collectedRss(server);
    samples.push({ value: (after - before) / count, before, after });
  }
  for (const holder of holders) await release(server, holder);
  await stop(server.child);
  return { ...samples[0], more: samples[1] };
}

/** Two rows: with 10,000 and with 19,000 connections, which one measurement gives. */
function idle(id, what, family, peers, mode, limit) {
  const title = (count) => `idle ${what}, ${count.toLocaleString('en')} in one room`;
  const common = { group: family.group, unit: 'B RSS each', rounds: 1, peers, targets: [below(limit)] };
  return [
    {
      ...common, id: `${id}-10k`, title: title(IDLE[0]),
      measure: (name, bench) => measureIdle(name, bench, family, mode),
    },
    { ...common, id: `${id}-19k`, title: title(IDLE[1]), from: `${id}-10k`, pick: (s) => s.more },
  ];
}

function connects(id, what, family, peers, mode, targets) {
  return {
    id,
    title: `connects per second, ${what}`,
    group: family.group,
    unit: '1/s of CPU',
    more: true,
    mode,
    peers,
    targets,
    async measure(name, bench) {
      const { protocol } = family;
      const server = bench.servers.get(`${name} ${mode}`);
      const { opening } = await runLoad(bench, server, 'connect', { protocol, connections: CONNECTS });
      return {
        value: CONNECTS / opening.server_cpu,
        per_second: CONNECTS / opening.seconds,
        server_busy: opening.server_cpu / opening.seconds,
        generator_busy: opening.generator_cpu / opening.seconds,
      };
    },
  };
}

const websocket = (id, title, mode, load, messages, targets, more) => traffic(WEBSOCKET, {
  id, title, mode, load, messages, targets, peers: mode === 'room' ? PLAIN_ROOM : PLAIN, ...more,
});
const socketio = (id, title, mode, load, messages, targets, family = SOCKETIO) => traffic(family, {
  id, title, mode, load, messages, targets, peers: SOCKETIO_PEERS,
});
const save = { group: 'WebSocket', unit: 'ms', rounds: 1, peers: ['moonwire'], targets: [] };

const rows = [
  websocket('echo-x1', 'echo 64 B, 1 in flight', 'echo', echo(1, 64), 60_000, [atMost(1.05, 'bun')]),
  websocket('echo-x16', 'echo 64 B, 16 in flight', 'echo', echo(16, 64), 240_000,
    [atMost(0.85, 'bun')]),
  websocket('echo-16k', 'echo 16 KiB, 1 in flight', 'echo', echo(1, 16_384), 20_000,
    [atMost(0.7, 'bun')]),
  websocket('room-x1', 'room of 1,000, 64 B, 1 in flight', 'room', room(1), 80,
    [atMost(1.05, 'bun')]),
  websocket('room-1k', 'room of 1,000, 1 KiB, 1 in flight', 'room', room(1, 1024), 60,
    [atMost(1.05, 'bun')]),
  websocket('room-5000', 'room of 5,000, 64 B, 1 in flight', 'room', room(1, 64, 5000), 12,
    [atMost(1.05, 'bun')]),
  websocket('room-x16', 'room of 1,000, 64 B, 16 in flight', 'room', room(16), 320,
    [atMost(1, 'bun')]),
  websocket('room-16-senders', 'room of 1,000, 64 B, 16 senders', 'room',
    { ...room(1), senders: 16 }, 160, [atMost(1, 'bun')], { peers: NO_FLOOR }),
  websocket('history', 'room of 1,000, 64 B, with history in memory', 'room_history', room(1), 80,
    [atMostRow(1.05, 'room-x1')], { peers: ['moonwire'] }),
  websocket('deflate', 'room of 1,000, 1 KiB, permessage-deflate', 'deflate',
    { ...room(1, 1024), deflate: true }, 40, [atMostRow(1.2, 'room-1k'), atMost(0.1, 'ws')],
    { peers: ['moonwire', 'bun', 'ws'] }),
  traffic({ ...WEBSOCKET, protocol: 'json' }, {
    id: 'json',
    title: 'event of 1 KiB: decode, change a field, emit to 10',
    mode: 'json',
    load: { connections: 10, senders: 10, size: JSON_TEXT },
    messages: 8000,
    perMessage: true,
    peers: ['moonwire', 'bun'],
    targets: [atMost(1, 'bun')],
  }),
  connects('connects', 'WebSocket', WEBSOCKET, PLAIN, 'room', [atLeast(1, 'bun')]),
  ...idle('idle', 'WebSocket', WEBSOCKET, PLAIN, 'room', 640),
  {
    ...save, id: 'save', title: 'save to effect (`moonwire dev`), p50',
    measure: (name, bench) => measureReload(bench),
  },
  {
    ...save, id: 'save-p99', title: 'save to effect (`moonwire dev`), p99',
    from: 'save', pick: (sample) => ({ value: sample.p99 }),
  },

  traffic(SSE, {
    id: 'sse', title: 'SSE to 1,000, 64 B', mode: 'sse', load: room(1), messages: 80,
    peers: PLAIN_ROOM, targets: [atMost(0.85, 'bun')],
  }),
  connects('sse-connects', 'SSE', SSE, PLAIN, 'sse', [atLeast(1, 'bun')]),
  ...idle('sse-idle', 'SSE', SSE, PLAIN, 'sse', 640),

  socketio('sio-echo-x1', 'echo 64 B, 1 in flight', 'echo', echo(1, 64), 20_000,
    [atMost(0.75, ...BETTER)]),
  socketio('sio-echo-x16', 'echo 64 B, 16 in flight', 'echo', echo(16, 64), 48_000,
    [atMost(0.25, ...BETTER)]),
  socketio('sio-room-x1', 'room of 1,000, 64 B, 1 in flight', 'room', room(1), 40,
    [atMost(0.75, ...BETTER)]),
  socketio('sio-room-x16', 'room of 1,000, 64 B, 16 in flight', 'room', room(16), 96,
    [atMost(0.08, ...BETTER)]),
  socketio('sio-polling', 'echo 64 B over long-polling', 'echo', echo(1, 64), 6000,
    [atMost(0.25, 'socketio')], { ...SOCKETIO, protocol: 'polling' }),
  connects('sio-connects', 'Socket.IO', SOCKETIO, SOCKETIO_PEERS, 'socketio_room',
    [atLeast(5, 'socketio'), atLeast(1, 'bun-engine')]),
  ...idle('sio-idle', 'Socket.IO client', SOCKETIO, SOCKETIO_PEERS, 'socketio_room', 1500),
];

/** Those of the table, or those that show how cost grows. */
export const rowsOf = (growth) => (growth ? growthRows : rows);
