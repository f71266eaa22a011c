// The ws peer: the same two behaviours as handlers/*.lua, on Node's `ws`. The bench starts it as
// `node --expose-gc ws.js echo|room PORT`. GET /gc collects garbage, so that the idle row sees
// what connections hold and not what the collector has yet to find.

import { createServer } from 'node:http';
import { WebSocketServer } from 'ws';

const [mode, port] = process.argv.slice(2);
const members = new Set();

const http = createServer((request, response) => {
  if (request.url === '/gc') globalThis.gc();
  response.end('ok\n');
});

function echo(socket) {
  socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
}

function room(socket) {
  members.add(socket);
  socket.on('close', () => members.delete(socket));
  socket.on('message', (data, isBinary) => {
    const options = { binary: isBinary };
    for (const member of members) member.send(data, options);
  });
}

new WebSocketServer({ server: http, maxPayload: 1 << 20 }).on('connection', { echo, room }[mode]);
http.listen({ port: Number(port), host: '127.0.0.1', backlog: 4096 });
