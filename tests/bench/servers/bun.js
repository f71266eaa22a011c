// The Bun peer: the same behaviours as handlers/*.lua, on Bun.serve and its own topics. The bench
// starts it as `bun bun.js MODE PORT`. GET /gc collects garbage, so that the idle rows see what
// connections hold and not what the collector has yet to find.

const [mode, port] = process.argv.slice(2);
const streams = new Set();
const encoder = new TextEncoder();

const join = (socket) => socket.subscribe('bench');

// server.publish reaches the sender too; socket.publish does not.
const sockets = {
  echo: { message: (socket, data) => socket.send(data) },
  room: { open: join, message: (socket, data) => server.publish('bench', data) },
  deflate: {
    perMessageDeflate: true,
    open: join,
    message: (socket, data) => server.publish('bench', data, true),
  },
  json: {
    open: join,
    message(socket, text) {
      const event = JSON.parse(text);
      event.data.hops++;
      event.room = 'bench';
      server.publish('bench', JSON.stringify(event));
    },
  },
  sse: {
    message(socket, data) {
      const event = encoder.encode(`data: ${data}\n\n`);
      for (const stream of streams) stream.enqueue(event);
    },
  },
};

/** An event stream, which stays in `streams` while somebody reads it. */
function stream() {
  let own;
  const body = new ReadableStream({
    start(controller) {
      own = controller;
      streams.add(own);
      own.enqueue(encoder.encode(':\n\n'));
    },
    cancel: () => streams.delete(own),
  });
  return new Response(body, { headers: { 'Content-Type': 'text/event-stream' } });
}

const server = Bun.serve({
  port: Number(port),
  hostname: '127.0.0.1',
  idleTimeout: 0,
  fetch(request, self) {
    if (request.headers.get('accept') === 'text/event-stream') return stream();
    if (self.upgrade(request)) return undefined;
    if (new URL(request.url).pathname === '/gc') Bun.gc(true);
    return new Response('ok\n');
  },
  websocket: { maxPayloadLength: 1 << 20, ...sockets[mode] },
});
