// Heartbeats of 300/200 ms: the server pings, who does not answer goes. Measured are only lower
// bounds, with some room for a server's clock that stands still while the machine is busy.
"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { eventually } = require("../../support.js");
const { get } = require("../support.js");
const { onEach, openPolling, visit } = require("./support.js");
const { openSocket } = require("./raw.js");

const INTERVAL = 300;
const TIMEOUT = 200;
const EARLY = 50; // ms that two clocks may differ

onEach("a late answer to a ping", { pingInterval: 300, pingTimeout: 1000 }, (server) => {
  test("the first packet meanwhile gives it more time, the next ones do not", async () => {
    const socket = await openSocket(server);
    await socket.connect();
    assert.equal(await socket.next(), "2");
    await new Promise((resolve) => setTimeout(resolve, 300));
    const spoken = performance.now();
    socket.send("42[\"nobody\"]");
    const chatter = setInterval(() => socket.send("42[\"nobody\"]"), 50);
    await socket.closed();
    clearInterval(chatter);
    assert.ok(performance.now() - spoken >= 1000 - EARLY, "too early an end");
  });
});

onEach("heartbeats", { pingInterval: INTERVAL, pingTimeout: TIMEOUT }, (server) => {
  async function reasonOf(id) {
    const witness = await visit(server);
    const reason = await eventually("a reason", () => witness.ask("reason", id));
    witness.close();
    return reason;
  }

  test("they are advertised", async () => {
    const { open } = await openPolling(server);
    assert.equal(open.pingInterval, INTERVAL);
    assert.equal(open.pingTimeout, TIMEOUT);
  });

  test("a WebSocket that answers stays, and the next ping is an interval away", async () => {
    const socket = await openSocket(server);
    await socket.connect();
    for (let round = 0; round < 4; round++) {
      const answered = performance.now();
      assert.equal(await socket.next(), "2");
      if (round) assert.ok(performance.now() - answered >= INTERVAL - EARLY, "too early a ping");
      socket.send("3");
    }
    socket.send('421["ask","here"]');
    assert.equal(await socket.next(), '431["here"]');
    socket.destroy();
  });

  test("a WebSocket that does not answer is closed, not before the time", async () => {
    const socket = await openSocket(server);
    const id = await socket.connect();
    assert.equal(await socket.next(), "2");
    const answered = performance.now();
    socket.send("3");
    assert.equal(await socket.next(), "2");
    await socket.closed();
    assert.ok(performance.now() - answered >= INTERVAL + TIMEOUT - EARLY, "too early an end");
    assert.equal(await reasonOf(id), "ping timeout");
  });

  test("messages are no answer to a ping", async () => {
    const socket = await openSocket(server);
    await socket.connect();
    const chatter = setInterval(() => socket.send('42["echo"]'), 20);
    await socket.closed();
    clearInterval(chatter);
  });

  test("a polling client that answers stays", async () => {
    const session = await openPolling(server);
    await session.connect();
    for (let round = 0; round < 4; round++) {
      assert.equal(await session.next(), "2");
      await session.send("3");
    }
    await session.send('421["ask","here"]');
    assert.equal(await session.next(), '431["here"]');
    await session.send("1");
  });

  test("a polling client that does not answer is gone, and its poll is answered", async () => {
    const session = await openPolling(server);
    await session.send("40");
    const id = JSON.parse((await session.next()).slice(2)).sid;
    assert.match(await session.next(), /welcome/);
    assert.equal(await session.next(), "2");
    const { status, body } = await session.get();
    assert.deepEqual([status, body], [200, "1"]);
    assert.equal(await reasonOf(id), "ping timeout");
    const { status: later, json } = await get(server.url + session.target);
    assert.deepEqual([later, json], [400, { code: 1, message: "Session ID unknown" }]);
  });

  test("a polling client that does not come for its ping is gone", async () => {
    const session = await openPolling(server);
    await session.connect();
    await eventually("the end of the session", async () => {
      const { status } = await session.post('42["echo"]');
      return status === 400;
    });
  });

  test("the unmodified clients stay for many intervals", async () => {
    const guests = await Promise.all(
      ["polling", "websocket", "upgrade"].map((transport) => visit(server, { transport })),
    );
    const pings = guests.map(({ socket }) => {
      let count = 0;
      return new Promise((resolve) => socket.io.on("ping", () => ++count === 5 && resolve()));
    });
    await Promise.race([Promise.all(pings), ...guests.map((guest) => guest.disconnected())]);
    for (const guest of guests) {
      assert.equal(await guest.ask("ask", "still here"), "still here");
      guest.close();
    }
  });
});
