// The Socket.IO peer under Bun: the same two behaviours as handlers/socketio_*.lua, on `socket.io`
// with its engine for Bun. The bench starts it as `bun bun_engine.js socketio_echo|socketio_room
// PORT`. GET /gc collects garbage.

import { Server as Engine } from '@socket.io/bun-engine';
import { Server } from 'socket.io';

const [mode, port] = process.argv.slice(2);
const engine = new Engine({ path: '/socket.io/' });
const io = new Server();
io.bind(engine);

function echo(socket) {
  socket.on('m', (data) => socket.emit('m', data));
}

function room(socket) {
  socket.join('bench');
  socket.on('m', (data) => io.to('bench').emit('m', data));
}

io.on('connection', { socketio_echo: echo, socketio_room: room }[mode]);

const handler = engine.handler();
Bun.serve({
  ...handler,
  port: Number(port),
  hostname: '127.0.0.1',
  fetch(request, self) {
    if (new URL(request.url).pathname !== '/gc') return handler.fetch(request, self);
    Bun.gc(true);
    return new Response('ok\n');
  },
});
