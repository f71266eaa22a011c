// The reference server with what app.lua says, told in its own words. It is started as a process,
// `node reference.js PORT '{"pingInterval":300}'`, so that it can be killed and started again.
"use strict";

const { createServer } = require("node:http");
const { createRequire } = require("node:module");
const { packages } = require("../../support.js");
const { Server } = packages("socket.io");

const [port, options] = process.argv.slice(2);
const http = createServer((_, response) => response.writeHead(404).end());
const io = new Server(http, JSON.parse(options));
const reasons = new Map();
const received = new Map();

function own(rooms, id) {
  return [...rooms].filter((room) => room !== id).sort();
}

function addRecovery(socket) {
  socket.on("keep", (value, ack) => {
    socket.data.kept = value;
    ack(true);
  });
  socket.on("state", (ack) => {
    ack({ id: socket.id, recovered: socket.recovered, kept: socket.data.kept });
  });
  socket.on("say", (room, count, ack) => {
    for (let i = 1; i <= count; i++) socket.to(room).emit("said", i);
    ack();
  });
  socket.on("fleeting", (room, ack) => {
    socket.to(room).volatile.emit("told", "fleeting");
    ack();
  });
  socket.on("ask the room", (room, ack) => {
    socket.to(room).timeout(50).emit("asked", 1, () => ack(true));
  });
}

io.on("connection", (socket) => {
  addRecovery(socket);
  socket.emit("welcome", socket.id);
  socket.on("disconnect", (reason) => {
    reasons.set(socket.id, reason);
    console.log(`gone: ${reason}`);
  });
  socket.on("echo", (...args) => socket.emit("echo", ...args));
  socket.on("ask", (...args) => args.pop()(...args));
  socket.on("fail", (code, detail, ack) => ack({ error: code, detail }));
  socket.on("call", (event, ...args) => {
    socket.timeout(500).emit(event, ...args, (error, ...answers) => {
      if (error) socket.emit("unanswered");
      else socket.emit("answered", ...answers);
    });
  });
  socket.on("join", (room, ack) => {
    socket.join(room);
    ack(true);
  });
  socket.on("leave", (room, ack) => {
    socket.leave(room);
    ack(true);
  });
  socket.on("tell", (room, ...args) => socket.to(room).emit("told", ...args));
  socket.on("shout", (room, ...args) => io.to(room).emit("told", ...args));
  socket.on("broadcast", (...args) => socket.broadcast.emit("told", ...args));
  socket.on("tell but", (room, except) => socket.to(room).except(except).emit("told"));
  socket.on("shout but", (rooms, except) => io.in(rooms).except(except).emit("told"));
  socket.on("broadcast but", (except) => socket.broadcast.except(except).emit("told"));
  socket.on("everybody but", (except) => io.except(except).emit("told"));
  socket.on("there", async (rooms, except, ack) => {
    ack((await io.in(rooms).except(except).fetchSockets()).length);
  });
  socket.on("move", async (rooms, except, room, ack) => {
    io.in(rooms).except(except).socketsJoin(room);
    ack(true);
  });
  socket.on("remove", async (rooms, except, room, ack) => {
    io.in(rooms).except(except).socketsLeave(room);
    ack(true);
  });
  socket.on("gather", async (rooms, except, ack) => {
    ack((await io.to(rooms).except(except).timeout(5000).emitWithAck("count me")).sort());
  });
  socket.on("whisper", (times) => {
    for (let i = 1; i <= times; i++) socket.volatile.emit("whispered", i);
    socket.emit("whispered all");
  });
  socket.on("who", (ack) => {
    const { auth, query } = socket.handshake;
    ack({ id: socket.id, auth, query: query.q, rooms: own(socket.rooms, socket.id) });
  });
  socket.on("handshake", (ack) => {
    const { address, issued, secure } = socket.handshake;
    ack({ address, secure, seconds: Math.floor(issued / 1000) });
  });
  socket.on("leave_me", () => socket.disconnect());
  socket.on("leave_me_all", () => socket.disconnect(true));
  socket.on("rooms_there", (ack) => {
    const ids = io.of("/").sockets;
    const rooms = [...io.of("/").adapter.rooms].filter(([name]) => !ids.has(name));
    ack(Object.fromEntries(rooms.map(([name, there]) => [name, there.size])));
  });
  socket.on("reason", (id, ack) => ack(reasons.get(id) ?? null));
  socket.on("up", (key, n) => {
    if (!received.has(key)) received.set(key, []);
    received.get(key).push(n);
    socket.emit("down", 2 * n);
    socket.emit("down", 2 * n + 1);
  });
  socket.on("received", (key, ack) => ack(received.get(key) ?? []));
});

io.of("/custom").on("connection", (socket) => {
  addRecovery(socket);
  socket.on("ask", (...args) => args.pop()(...args));
  socket.on("tell", (room, ...args) => socket.to(room).emit("told", ...args));
  socket.on("join", (room, ack) => {
    socket.join(room);
    ack(true);
  });
});

io.of("/admin").use((socket, next) => {
  if (socket.handshake.auth.token === "secret") return next();
  return next(Object.assign(new Error("unauthorized"), { data: { hint: "a token" } }));
});
io.of("/admin").on("connection", (socket) => {
  socket.on("ask", (...args) => args.pop()(...args));
});

io.of(/^\/tenant\/[^/]+$/).on("connection", (socket) => {
  socket.on("tenant", (ack) => ack(socket.nsp.name.split("/").pop()));
});

// The same server's lower half alone.
const engine = createRequire(packages.resolve("socket.io"))("engine.io");
const plain = engine.attach(http, { ...JSON.parse(options), path: "/plain" });
plain.on("connection", (socket) => {
  socket.send(`hello ${socket.request._query.name}`);
  socket.on("message", (data) => {
    if (data === "leave me") socket.close();
    else socket.send(data);
  });
});

process.on("SIGTERM", () => io.close(() => process.exit(0)));
http.listen(Number(port), "127.0.0.1", () => {
  console.log(`reference on http://127.0.0.1:${http.address().port}/`);
});
