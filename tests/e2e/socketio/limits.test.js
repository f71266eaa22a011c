// The largest message, at the bound and one past it, on both transports.
"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { eventually } = require("../../support.js");
const { onEach, openPolling, visit } = require("./support.js");
const { openSocket } = require("./raw.js");

const MAX = 2000;
const PACKET = '42["echo",""]';

// An event packet of so many bytes, and what comes back for it.
const packetOf = (size) => `42["echo","${"x".repeat(size - PACKET.length)}"]`;

onEach("the largest message", { maxHttpBufferSize: MAX }, (server) => {
  test("it is advertised", async () => {
    assert.equal((await openPolling(server)).open.maxPayload, MAX);
    const socket = await openSocket(server);
    assert.equal(socket.open.maxPayload, MAX);
    socket.destroy();
  });

  test("a WebSocket: at the bound it comes back, one past it the socket is closed", async () => {
    const socket = await openSocket(server);
    await socket.connect();
    socket.send(packetOf(MAX));
    assert.equal(await socket.next(), packetOf(MAX));
    socket.send(packetOf(MAX + 1));
    assert.equal((await socket.closed()).code, 1009);
  });

  test("polling: at the bound it comes back, one past it is 413", async () => {
    const session = await openPolling(server);
    await session.connect();
    await session.send(packetOf(MAX));
    assert.equal(await session.next(), packetOf(MAX));
    const { status } = await session.post(packetOf(MAX + 1));
    assert.equal(status, 413);
  });

  test("polling: several packets count together", async () => {
    const session = await openPolling(server);
    await session.connect();
    const { status } = await session.post([packetOf(MAX / 2), packetOf(MAX / 2)].join("\x1e"));
    assert.equal(status, 413);
  });

  test("the unmodified client cuts its polling bodies to what is advertised", async () => {
    const guest = await visit(server, { transport: "polling" });
    const text = "y".repeat(MAX / 4);
    for (let i = 0; i < 20; i++) guest.emit("echo", i, text);
    for (let i = 0; i < 20; i++) assert.deepEqual(await guest.next("echo"), [i, text]);
    guest.close();
  });

  test("attachments count one by one", async () => {
    const guest = await visit(server);
    const large = Buffer.alloc(MAX, 1);
    guest.emit("echo", large, large);
    assert.deepEqual(await guest.next("echo"), [large, large]);
    const { id } = guest.socket;
    guest.emit("echo", Buffer.alloc(MAX + 1));
    assert.match(await guest.disconnected(), /^transport (close|error)$/);
    const witness = await visit(server);
    assert.match(
      await eventually("a reason", () => witness.ask("reason", id)),
      /^transport (close|error)$/,
    );
    witness.close();
  });
});

onEach("the usual limit", {}, (server) => {
  test("it is a million bytes", async () => {
    assert.equal((await openPolling(server)).open.maxPayload, 1_000_000);
    const guest = await visit(server);
    const text = "z".repeat(900_000);
    assert.equal(await guest.ask("ask", text), text);
    guest.close();
  });
});
