// What rows are made of: families of wires, the targets that a row may have, and the row that
// measures messages. rows.js and growth.js make their rows of it.

import { runLoad } from './generator.js';

export const WEBSOCKET = { group: 'WebSocket', protocol: 'websocket', prefix: '' };
export const SSE = { group: 'SSE', protocol: 'sse', prefix: '' };
export const SOCKETIO = { group: 'Socket.IO', protocol: 'socketio', prefix: 'socketio_' };

/** moonwire's value ÷ the better of these servers' in the same round. */
export const atMost = (times, ...of) => ({ atMost: times, of });
export const atLeast = (times, ...of) => ({ atLeast: times, of });
/** … ÷ its own in another row. */
export const atMostRow = (times, row) => ({ atMost: times, row });
export const below = (figure) => ({ below: figure });

export const echo = (inFlight, size) => ({ connections: 100, 'in-flight': inFlight, size });
export const room = (inFlight, size = 64, connections = 1000) =>
  ({ connections, 'in-flight': inFlight, size });

/**
 * µs of server CPU for each message of an echo, or each delivery of one in a room. `load` is what the
 * generator is told; `messages` how many in all, without a fifth of that to warm up.
 */
export function traffic(family, row) {
  const { mode, kind = mode === 'echo' ? 'echo' : 'room', load, messages, perMessage } = row;
  const perDelivery = kind === 'room' && !perMessage;
  const key = family.prefix + mode;
  const inFlight = load['in-flight'] ?? 1;
  const step = kind === 'room' ? inFlight * (load.senders ?? 1) : load.connections;
  const whole = (number) => Math.max(1, Math.round(number / step)) * step;
  return {
    id: row.id,
    title: row.title,
    group: family.group,
    unit: perDelivery ? 'µs/delivery' : 'µs/message',
    mode: key,
    peers: row.peers,
    targets: row.targets,
    async measure(name, bench) {
      const count = whole(messages * bench.scale);
      const result = await runLoad(bench, bench.servers.get(`${name} ${key}`), kind, {
        protocol: family.protocol, ...load, messages: count, warmup: whole(count / 5),
      });
      const counted = perDelivery ? result.deliveries : result.messages;
      return {
        value: (result.server_cpu / counted) * 1e6,
        per_second: counted / result.seconds,
        server_busy: result.server_cpu / result.seconds,
        generator_busy: result.generator_cpu / result.seconds,
        deliveries: result.deliveries,
      };
    },
  };
}
