// The ws peer: the same behaviours as handlers/*.lua, on Node's `ws`, and event streams on Node's
// own http. The bench starts it as `node --expose-gc ws.js MODE PORT`. GET /gc collects garbage, so
// that the idle rows see what connections hold and not what the collector has yet to find.

import { createServer } from 'node:http';
import { WebSocketServer } from 'ws';

const [mode, port] = process.argv.slice(2);
const members = new Set();

function stream(request, response) {
  response.writeHead(200, { 'Content-Type': 'text/event-stream' });
  response.write(':\n\n');
  members.add(response);
  response.on('close', () => members.delete(response));
}

const http = createServer((request, response) => {
  if (request.headers.accept === 'text/event-stream') return stream(request, response);
  if (request.url === '/gc') globalThis.gc();
  return response.end('ok\n');
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

function sse(socket) {
  socket.on('message', (data) => {
    const event = `data: ${data}\n\n`;
    for (const response of members) response.write(event);
  });
}

const options = {
  server: http,
  maxPayload: 1 << 20,
  perMessageDeflate: mode === 'deflate' && { threshold: 0 },
};
new WebSocketServer(options).on('connection', { echo, room, sse, deflate: room }[mode]);
http.listen({ port: Number(port), host: '127.0.0.1', backlog: 4096 });
