// The Socket.IO peer: the same two behaviours as handlers/socketio_*.lua, on `socket.io`. The bench
// starts it as `node --expose-gc socketio.js socketio_echo|socketio_room PORT`. GET /gc collects
// garbage, so that the idle row sees what connections hold and not what the collector has yet to
// find.

import { createServer } from 'node:http';
import { Server } from 'socket.io';

const [mode, port] = process.argv.slice(2);

const http = createServer((request, response) => {
  if (request.url === '/gc') globalThis.gc();
  response.end('ok\n');
});
const io = new Server(http);

function echo(socket) {
  socket.on('m', (data) => socket.emit('m', data));
}

function room(socket) {
  socket.join('bench');
  socket.on('m', (data) => io.to('bench').emit('m', data));
}

io.on('connection', { socketio_echo: echo, socketio_room: room }[mode]);
http.listen({ port: Number(port), host: '127.0.0.1', backlog: 4096 });
