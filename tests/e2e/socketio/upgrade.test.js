// The upgrade from polling to WebSocket while messages go both ways, and the TCP connection
// that dies in the middle of it: whatever happens, what arrives has arrived once and in order, and
// a session that lives on has lost nothing.
"use strict";

const assert = require("node:assert/strict");
const { randomInt } = require("node:crypto");
const net = require("node:net");
const { after, before, test } = require("node:test");
const { eventually, within } = require("../../support.js");
const { Guest, TRANSPORTS, onEach, openPolling, visit } = require("./support.js");
const { openSocket } = require("./raw.js");

const ROUNDS = 500;
const AT_ONCE = 10;
const MESSAGES = 40;
const SEED = Number(process.env.MOONWIRE_SEED) || randomInt(2 ** 31);

// Numbers in [0, 1) that a seed repeats (mulberry32).
function randomFrom(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

// A way to the server that tells connections of WebSockets from those of requests by what is
// written on them: cut("requests") resets those that are open, and onWebSocket() hears of a new one.
function startWay(port, onWebSocket) {
  const open = { requests: new Set(), sockets: new Set() };
  const way = net.createServer((near) => {
    const far = net.connect(port, "127.0.0.1");
    near.once("data", (data) => {
      const isWebSocket = /\r\nupgrade: websocket/i.test(data.toString("latin1"));
      const kind = isWebSocket ? open.sockets : open.requests;
      kind.add(near);
      near.on("close", () => kind.delete(near));
      if (isWebSocket) onWebSocket();
    });
    for (const [from, to] of [
      [near, far],
      [far, near],
    ]) {
      from.pipe(to);
      from.on("error", () => {});
      from.on("close", () => to.destroy());
    }
  });
  way.cut = (kind) => open[kind].forEach((socket) => socket.resetAndDestroy());
  return new Promise((resolve) => {
    way.listen(0, "127.0.0.1", () => {
      way.url = `http://127.0.0.1:${way.address().port}`;
      resolve(way);
    });
  });
}

const upTo = (count) => [...Array(count).keys()];

// One client that upgrades while it talks, and whose connections of one kind are cut some
// milliseconds after its WebSocket has begun. What it had heard at its end, and how that came.
async function talk(server, key, { delay, kind }) {
  let timer;
  const way = await startWay(server.port, () => {
    timer = setTimeout(() => way.cut(kind), delay);
  });
  const guest = new Guest(way.url, { transports: TRANSPORTS.upgrade });
  const heard = [];
  let said = 0;
  const talking = new Promise((resolve) => {
    guest.socket.once("connect_error", () => resolve("never connected"));
    guest.socket.once("disconnect", (reason) => resolve(reason));
    guest.socket.on("down", (n) => {
      heard.push(n);
      if (heard.length === 2 * MESSAGES) resolve("said it all");
    });
    guest.socket.on("connect", function speak() {
      for (let burst = 0; burst < 4 && said < MESSAGES; burst++) guest.emit("up", key, said++);
      if (said < MESSAGES) setTimeout(speak, 2);
    });
  });
  const how = await within(talking, `the end of ${key}`);
  clearTimeout(timer);
  const upgraded = guest.socket.io.engine.transport.name === "websocket";
  guest.close();
  way.close();
  return { how, heard, upgraded };
}

onEach("the upgrade", { pingInterval: 300, pingTimeout: 200 }, (server) => {
  let witness;
  before(async () => (witness = await visit(server)));
  after(() => witness?.close());

  test("messages in both directions go on through it, in order", async () => {
    const { how, heard } = await talk(server, "undisturbed", { delay: 1e6 });
    assert.equal(how, "said it all");
    assert.deepEqual(heard, upTo(2 * MESSAGES));
    assert.deepEqual(await witness.ask("received", "undisturbed"), upTo(MESSAGES));
  });

  test(`the connection dies ${ROUNDS} times on the way, seed ${SEED}`, async (t) => {
    const random = randomFrom(SEED);
    const rounds = upTo(ROUNDS).map((round) => ({
      key: `round ${round}`,
      delay: random() * random() * 150, // rather early than late
      kind: random() < 0.2 ? "requests" : "sockets",
    }));
    const ends = {};
    const run = async () => {
      for (let round = rounds.shift(); round; round = rounds.shift()) {
        const { how, heard, upgraded } = await talk(server, round.key, round);
        const end = `${how}, ${upgraded ? "upgraded" : "polling"}`;
        ends[end] = (ends[end] ?? 0) + 1;
        const what = JSON.stringify({ ...round, how });
        assert.deepEqual(heard, upTo(heard.length), what);
        const received = await witness.ask("received", round.key);
        assert.deepEqual(received, upTo(received.length), what);
        assert.ok(heard.length <= 2 * received.length, what);
        if (how === "said it all") assert.equal(received.length, MESSAGES, what);
      }
    };
    await Promise.all(upTo(AT_ONCE).map(run));
    t.diagnostic(JSON.stringify(ends));
    assert.ok(Object.keys(ends).some((end) => end.startsWith("said it all, polling")), "lived on");
  });

  test("a session whose second transport says nothing goes on over polling", async () => {
    const session = await (await openPolling(server)).connect();
    const socket = await openSocket(server, { sid: session.open.sid });
    await session.send('421["ask",1]');
    assert.equal(await session.next(), '431[1]');
    socket.destroy();
    await session.send('421["ask",2]');
    assert.equal(await session.next(), '431[2]');
    await session.send("1");
  });
});

onEach("an upgrade that never ends", { upgradeTimeout: 200 }, (server) => {
  test("it is given up after its time, and the session goes on", async () => {
    for (const words of [[], ["2probe"]]) {
      const session = await (await openPolling(server)).connect();
      const socket = await openSocket(server, { sid: session.open.sid });
      socket.send(...words);
      await socket.closed();
      await session.send('421["ask","still here"]');
      const packet = await eventually("an answer", async () => {
        const next = await session.next();
        return next === "6" ? undefined : next;
      });
      assert.equal(packet, '431["still here"]');
      const again = await openSocket(server, { sid: session.open.sid });
      again.send("2probe");
      assert.equal(await again.next(), "3probe");
      again.send("5", '421["ask","upgraded"]');
      assert.equal(await again.next(), '431["upgraded"]');
      again.destroy();
    }
  });
});
