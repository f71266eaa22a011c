// The Bun peer: the same two behaviours as handlers/*.lua, on Bun.serve and its own topics. The
// bench starts it as `bun bun.js echo|room PORT`. GET /gc collects garbage, so that the idle row
// sees what connections hold and not what the collector has yet to find.

const [mode, port] = process.argv.slice(2);

const echo = {
  message(socket, data) {
    socket.send(data);
  },
};

const room = {
  open(socket) {
    socket.subscribe('bench');
  },
  message(socket, data) {
    server.publish('bench', data); // server.publish reaches the sender too; socket.publish does not.
  },
};

const server = Bun.serve({
  port: Number(port),
  hostname: '127.0.0.1',
  fetch(request, self) {
    if (self.upgrade(request)) return undefined;
    if (new URL(request.url).pathname === '/gc') Bun.gc(true);
    return new Response('ok\n');
  },
  websocket: { maxPayloadLength: 1 << 20, ...{ echo, room }[mode] },
});
