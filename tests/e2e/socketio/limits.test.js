// The largest message, at the bound and one past it, on both transports.
"use strict";

const assert = require("node:assert/strict");
const { after, before, describe, test } = require("node:test");
const { eventually } = require("../../support.js");
const { serving } = require("../support.js");
const { KINDS, onEach, openPolling, start, visit } = require("./support.js");
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

// The reference server has no such bounds.
describe("what else is bounded", { skip: !KINDS.includes("moonwire") }, () => {
  let server;
  before(async () => (server = await start("moonwire")));
  after(() => server?.stop());

  const packetWith = (count) => {
    const list = [...Array(count).keys()].map((num) => `{"_placeholder":true,"num":${num}}`);
    return `45${count}-1["ask",[${list}]]`;
  };

  test("attachments of a packet: 64 come back, 65 close the connection", async () => {
    const socket = await openSocket(server);
    await socket.connect();
    const pieces = [...Array(64).keys()].map((n) => Buffer.from([n]));
    socket.send(packetWith(64), ...pieces);
    assert.match(await socket.next(), /^4664-1\[/);
    for (const piece of pieces) assert.deepEqual(await socket.next(), piece);
    socket.send(packetWith(65));
    await socket.closed();
  });

  test("namespaces of a connection: 32 are entered, the next is refused", async () => {
    const socket = await openSocket(server);
    for (let n = 0; n < 32; n++) await socket.connect(`/tenant/${n}`);
    socket.send("40/tenant/32,");
    assert.match(await socket.next(), /^44\/tenant\/32,\{"message":"/);
    socket.send('42/tenant/0,1["tenant"]');
    assert.equal(await socket.next(), '43/tenant/0,1["0"]');
    socket.send("41/tenant/5,");
    await socket.connect("/tenant/32");
    socket.send("40/tenant/33,");
    assert.match(await socket.next(), /^44\/tenant\/33,/);
    socket.destroy();
  });

  test("the depth of values: 64 come back, more close the connection", async () => {
    const socket = await openSocket(server);
    await socket.connect();
    const nested = (depth) => `${"[".repeat(depth)}${"]".repeat(depth)}`;
    socket.send(`421["ask",${nested(63)}]`);
    assert.equal(await socket.next(), `431[${nested(63)}]`);
    socket.send(`421["ask",${nested(64)}]`);
    await socket.closed();
  });

  test("what a client leaves unread: beyond it the client goes, and nobody waits for it", async () => {
    const slow = await openPolling(server);
    await slow.connect();
    await slow.send('421["join","crowd"]');
    assert.equal(await slow.next(), "431[true]");
    const fast = await visit(server);
    await fast.ask("join", "crowd");
    const text = "w".repeat(100_000);
    for (let i = 0; i < 60; i++) {
      fast.emit("shout", "crowd", i, text);
      assert.deepEqual(await fast.next("told"), [i, text]);
    }
    const { status } = await slow.post("3");
    assert.equal(status, 400);
    fast.close();
  });
});

const LINGERING = `
local mw = require "moonwire"
local root = { events = {} }
local lingering = { namespace = "/lingering/:n" }
local held = true
function lingering.on_disconnect() while held do mw.sleep(0.01) end end
function root.events.let_go() held = false return "done" end
return { root, lingering }`;

describe("namespaces whose last handlers wait", { skip: !KINDS.includes("moonwire") }, () => {
  const server = serving(LINGERING);

  test("they are in nobody's way, and bounded all the same", async () => {
    const socket = await openSocket(server);
    const welcome = async (namespace) => {
      socket.send(`40${namespace},`);
      return socket.next();
    };
    assert.match(await welcome("/"), /^40\{/);
    for (let n = 0; n < 63; n++) {
      assert.match(await welcome(`/lingering/${n}`), /^40\/lingering/);
      socket.send(`41/lingering/${n},`);
    }
    assert.match(await welcome("/lingering/63"), /^44\/lingering\/63,/);
    socket.send('421["let_go"]');
    assert.equal(await socket.next(), '431["done"]');
    await eventually("room for another", async () => (await welcome("/lingering/63")).startsWith("40"));
    socket.destroy();
  });
});
