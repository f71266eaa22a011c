// Does the load generator see what it claims to see? Servers that each break one promise, and the
// complaint it must make about it. `scripts/bench --check` runs this.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { createServer as createTcpServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { after, test } from 'node:test';
import { Server } from 'socket.io';
import { WebSocketServer } from 'ws';
import { finish, start, stopAll } from './processes.js';

const generator = fileURLToPath(new URL('../../build/bench-load', import.meta.url));
const ECHO = ['echo', '--connections', '3', '--in-flight', '4', '--messages', '60', '--warmup', '9'];
const ROOM = ['room', '--connections', '5', '--in-flight', '2', '--messages', '20', '--warmup', '4'];

after(stopAll);

/** Runs the generator against a `ws` server whose connections are given to `serve`. */
async function runAgainst(serve, args = ECHO, options = {}) {
  const http = createServer().listen(0, '127.0.0.1');
  const sockets = new WebSocketServer({ server: http, ...options });
  sockets.on('connection', serve);
  await once(http, 'listening');
  try {
    return await runOn(http.address().port, args);
  } finally {
    for (const socket of sockets.clients) socket.terminate();
    http.close();
  }
}

async function runOn(port, args = ECHO) {
  const options = ['--timeout', '5', '--port', String(port)];
  return JSON.parse(await finish(start(generator, [...options, ...args], null)));
}

/** An echo that calls `act(socket, data, number)` in place of answering message `number`. */
function echoExcept(act) {
  return (socket) => {
    let number = 0;
    socket.on('message', (data) => {
      const text = String(data);
      if (act(socket, text, number++) !== true) socket.send(text);
    });
  };
}

test('a correct echo passes, and every message is counted', async () => {
  const result = await runAgainst(echoExcept(() => false));
  assert.equal(result.messages, 60);
  assert.equal(result.deliveries, 60);
});

test('a correct room passes, and deliveries are messages times members', async () => {
  const members = new Set();
  const result = await runAgainst((socket) => {
    members.add(socket);
    socket.on('message', (data) => members.forEach((member) => member.send(String(data))));
  }, ROOM);
  assert.equal(result.messages, 20);
  assert.equal(result.deliveries, 100);
});

test('large messages pass, in pieces as the kernel hands them out', async () => {
  const result = await runAgainst(echoExcept(() => false), [...ECHO, '--size', '100000']);
  assert.equal(result.messages, 60);
});

test('a lost message is reported', async () => {
  await assert.rejects(runAgainst(echoExcept((socket, text, n) => n === 7)), /lost/);
});

test('a lost last message is reported', async () => {
  await assert.rejects(
    runAgainst(echoExcept((socket, text, n) => n === 22), [...ECHO, '--timeout', '1']),
    /timed out|lost/,
  );
});

test('a repeated message is reported', async () => {
  await assert.rejects(runAgainst(echoExcept((socket, text, n) => {
    if (n === 7) socket.send(text);
  })), /repeated/);
});

test('a message repeated after the last one is reported', async () => {
  await assert.rejects(runAgainst(echoExcept((socket, text, n) => {
    if (n === 22) socket.send(text);
  })), /repeated|unexpected message/);
});

test('reordered messages are reported', async () => {
  let held = null;
  await assert.rejects(runAgainst(echoExcept((socket, text, n) => {
    if (n === 6) {
      held = text;
      return true;
    }
    if (n !== 7) return false;
    socket.send(text);
    socket.send(held);
    return true;
  })), /reordered/);
});

test('one altered byte is reported', async () => {
  await assert.rejects(runAgainst(echoExcept((socket, text, n) => {
    if (n !== 7) return false;
    socket.send(`${text.slice(0, 40)}~${text.slice(41)}`);
    return true;
  })), /altered/);
});

test('a member of the room that misses a message is reported', async () => {
  const members = [];
  let sent = 0;
  await assert.rejects(runAgainst((socket) => {
    members.push(socket);
    socket.on('message', (data) => {
      sent++;
      members.forEach((member, i) => {
        if (sent !== 9 || i !== 2) member.send(String(data));
      });
    });
  }, ROOM), /connection 2: .*lost/);
});

test('a close that nobody asked for is reported', async () => {
  await assert.rejects(runAgainst((socket) => socket.close(1013)), /closed by the server.* 1013/);
});

/** Answers every handshake with the given head, in which ACCEPT stands for the right value. */
async function runAgainstHead(head, frames = Buffer.alloc(0)) {
  const server = createTcpServer((socket) => {
    socket.once('data', (data) => {
      const key = /^Sec-WebSocket-Key: (.+)\r$/m.exec(String(data))[1];
      const accept = createHash('sha1')
        .update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
      socket.write(Buffer.concat([Buffer.from(head.replace('ACCEPT', accept)), frames]));
    });
    socket.on('error', () => {});
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    return await runOn(server.address().port);
  } finally {
    server.close();
  }
}

const UPGRADE = 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n';

test('a wrong accept value is reported', async () => {
  await assert.rejects(
    runAgainstHead(`${UPGRADE}Sec-WebSocket-Accept: ACCEPTx\r\n\r\n`), /wrong Sec-WebSocket-Accept/,
  );
});

test('a refusal is reported with its status', async () => {
  await assert.rejects(runAgainstHead('HTTP/1.1 403 Forbidden\r\n\r\n'), /refused: HTTP\/1.1 403/);
});

test('an extension that was not offered is reported', async () => {
  const head = `${UPGRADE}Sec-WebSocket-Accept: ACCEPT\r\n` +
    'Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n';
  await assert.rejects(runAgainstHead(head), /extension/);
});

test('a masked frame from the server is reported', async () => {
  const head = `${UPGRADE}Sec-WebSocket-Accept: ACCEPT\r\n\r\n`;
  await assert.rejects(runAgainstHead(head, Buffer.from([0x81, 0x80, 1, 2, 3, 4])), /masked/);
});

/** Runs the generator against a `socket.io` server whose sockets are given to `serve`. */
async function runAgainstSocketIo(serve, args = ECHO, options = {}) {
  const http = createServer().listen(0, '127.0.0.1');
  const io = new Server(http, options);
  io.on('connection', (socket) => serve(socket, io));
  await once(http, 'listening');
  try {
    return await runOn(http.address().port, ['--protocol', 'socketio', ...args]);
  } finally {
    await io.close();
  }
}

test('Socket.IO: a correct echo passes, heartbeats included', async () => {
  const serve = (socket) => socket.on('m', (data) => setTimeout(() => socket.emit('m', data), 5));
  const result = await runAgainstSocketIo(serve, ECHO, { pingInterval: 20, pingTimeout: 1000 });
  assert.equal(result.deliveries, 60);
});

test('Socket.IO: a correct room passes', async () => {
  const result = await runAgainstSocketIo((socket, io) => {
    socket.on('m', (data) => io.emit('m', data));
  }, ROOM);
  assert.equal(result.deliveries, 100);
});

test('Socket.IO: another event is reported', async () => {
  await assert.rejects(runAgainstSocketIo((socket) => {
    socket.on('m', (data) => socket.emit('n', data));
  }), /unexpected packet "42\["n"/);
});

test('Socket.IO: one altered byte is reported', async () => {
  await assert.rejects(runAgainstSocketIo((socket) => {
    socket.on('m', (data) => socket.emit('m', `${data.slice(0, 40)}~${data.slice(41)}`));
  }), /altered/);
});

test('Socket.IO: a refusal is reported', async () => {
  await assert.rejects(runAgainstSocketIo(() => {}, ECHO, { transports: ['polling'] }), /refused/);
});

const SENDERS = [...ROOM, '--senders', '2'];

/** A room over `ws`; `say(members, text, number)` does the rest. */
function roomWith(say) {
  const members = [];
  let number = 0;
  return (socket) => {
    members.push(socket);
    socket.on('message', (data) => say(members, String(data), number++));
  };
}

test('two senders: each one\'s order counts, not the order between them', async () => {
  const result = await runAgainst(roomWith((members, text) => {
    members.forEach((member, i) => setTimeout(() => member.send(text), i));
  }), SENDERS);
  assert.equal(result.messages, 20);
  assert.equal(result.deliveries, 100);
});

test('two senders: a message of the second that one member gets twice is reported', async () => {
  await assert.rejects(runAgainst(roomWith((members, text) => {
    members.forEach((member) => member.send(text));
    if (text.startsWith('0000040000000003')) members[1].send(text);
  }), SENDERS), /connection 1: .*repeated|unexpected message/);
});

const DEFLATE = { perMessageDeflate: { threshold: 0 } };
const COMPRESSED = [...ROOM, '--deflate', '--size', '1024'];
const toAll = (members, text) => members.forEach((member) => member.send(text));

test('compressed messages pass', async () => {
  const result = await runAgainst(roomWith(toAll), COMPRESSED, DEFLATE);
  assert.equal(result.deliveries, 100);
});

test('a server that does not agree to compress is reported', async () => {
  await assert.rejects(runAgainst(roomWith(toAll), COMPRESSED), /no compression/);
});

test('a message that was not compressed is reported', async () => {
  await assert.rejects(runAgainst(roomWith((members, text) => {
    members.forEach((member) => member.send(text, { compress: false }));
  }), COMPRESSED, DEFLATE), /not compressed/);
});

const JSON_EVENT = [...ROOM, '--protocol', 'json', '--size', '600'];

/** The server of the JSON row, which `change(event)` makes say something else. */
const jsonRoom = (change) => roomWith((members, text) => {
  const event = JSON.parse(text);
  event.data.hops++;
  event.room = 'bench';
  members.forEach((member) => member.send(JSON.stringify(change(event))));
});

test('JSON: fields in any order pass', async () => {
  const result = await runAgainst(jsonRoom((event) => {
    const data = Object.fromEntries(Object.entries(event.data).reverse());
    return { event: event.event, data, room: event.room };
  }), JSON_EVENT);
  assert.equal(result.deliveries, 100);
});

test('JSON: a field that was not changed is reported', async () => {
  await assert.rejects(runAgainst(jsonRoom((event) => {
    event.data.hops = 1;
    return event;
  }), JSON_EVENT), /another value/);
});

test('JSON: a missing field is reported', async () => {
  await assert.rejects(runAgainst(jsonRoom((event) => {
    delete event.data.tags;
    return event;
  }), JSON_EVENT), /missing/);
});

test('JSON: one altered byte of the text is reported', async () => {
  await assert.rejects(runAgainst(jsonRoom((event) => {
    event.data.text = `${event.data.text.slice(0, 40)}~${event.data.text.slice(41)}`;
    return event;
  }), JSON_EVENT), /altered/);
});

/** Event streams, and WebSockets that speak to them; `say(streams, text, number)` does the rest. */
async function runAgainstStreams(say) {
  const streams = [];
  let number = 0;
  const http = createServer((request, response) => {
    response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    response.write('retry: 1000\n\n');
    streams.push(response);
  }).listen(0, '127.0.0.1');
  const sockets = new WebSocketServer({ server: http });
  sockets.on('connection', (socket) => {
    socket.on('message', (data) => say(streams, String(data), number++));
  });
  await once(http, 'listening');
  try {
    return await runOn(http.address().port, [...ROOM, '--protocol', 'sse']);
  } finally {
    for (const socket of sockets.clients) socket.terminate();
    http.closeAllConnections();
    http.close();
  }
}

const everyStream = (streams, block) => streams.forEach((stream) => stream.write(block));

test('SSE: correct streams pass, with ids and comments', async () => {
  const result = await runAgainstStreams((streams, text, number) => {
    everyStream(streams, `:\n\nid: ${number}\ndata: ${text}\n\n`);
  });
  assert.equal(result.deliveries, 100);
});

test('SSE: a stream that misses an event is reported', async () => {
  await assert.rejects(runAgainstStreams((streams, text, number) => {
    everyStream(number === 9 ? streams.slice(1) : streams, `data: ${text}\n\n`);
  }), /connection 0: .*lost|timed out/);
});

test('SSE: an event repeated after the last one is reported', async () => {
  await assert.rejects(runAgainstStreams((streams, text, number) => {
    everyStream(streams, `data: ${text}\n\n`);
    if (number === 23) streams[3].write(`data: ${text}\n\n`);
  }), /repeated|unexpected message/);
});

test('SSE: a stream that ends is reported', async () => {
  await assert.rejects(runAgainstStreams((streams) => streams[2].end()), /connection 2: .*ended/);
});

const POLLING = [...ECHO, '--protocol', 'polling'];

test('long-polling: a correct echo passes, heartbeats included', async () => {
  const serve = (socket) => socket.on('m', (data) => setTimeout(() => socket.emit('m', data), 5));
  const options = { pingInterval: 20, pingTimeout: 1000 };
  const result = await runAgainstSocketIo(serve, POLLING, options);
  assert.equal(result.deliveries, 60);
});

test('long-polling: an event repeated after the last one is reported', async () => {
  let number = 0;
  await assert.rejects(runAgainstSocketIo((socket) => socket.on('m', (data) => {
    socket.emit('m', data);
    if (number++ === 68) socket.emit('m', data);
  }), POLLING), /repeated|unexpected message/);
});

test('at a fixed rate, every message has its latency', async () => {
  const args = ['latency', '--connections', '3', '--rate', '500', '--messages', '150'];
  const delay = 20;
  const result = await runAgainst((socket) => {
    socket.on('message', (data) => setTimeout(() => socket.send(String(data)), delay));
  }, args);
  assert.equal(result.deliveries, 150);
  assert.ok(result.p50 >= (delay - 1) * 1000 && result.p50 <= result.p99 && result.p99 <= result.p999);
});
