// Why a client went, in the server's words: every way to go, and the word that the handler hears.
"use strict";

const assert = require("node:assert/strict");
const { after, describe, test } = require("node:test");
const { eventually } = require("../../support.js");
const { Guest, KINDS, TRANSPORTS, onEach, openPolling, start, visit } = require("./support.js");
const { openSocket } = require("./raw.js");

const OPTIONS = { pingInterval: 20_000, maxHttpBufferSize: 10_000 };

// Each brings about its end, and says whose it was.
const ENDS = {
  async "server namespace disconnect: the handler's wish"(server) {
    const socket = await openSocket(server);
    const id = await socket.connect();
    socket.send('42["leave_me"]');
    assert.equal(await socket.next(), "41");
    return id;
  },
  async "server namespace disconnect: the handler's wish, for the whole connection"(server) {
    const socket = await openSocket(server);
    const id = await socket.connect();
    socket.send("40/custom,");
    assert.match(await socket.next(), /^40\/custom,/);
    socket.send('42["leave_me_all"]');
    const packets = [await socket.next(), await socket.next()];
    assert.deepEqual(packets.sort(), ["41", "41/custom,"]);
    await socket.closed();
    return id;
  },
  async "client namespace disconnect: the client's wish"(server) {
    const socket = await openSocket(server);
    const id = await socket.connect();
    socket.send("41");
    return id;
  },
  async "transport close: a WebSocket that says goodbye"(server) {
    const socket = await openSocket(server);
    const id = await socket.connect();
    socket.socket.close();
    return id;
  },
  async "transport close: a WebSocket whose connection breaks"(server) {
    const socket = await openSocket(server);
    const id = await socket.connect();
    socket.destroy();
    return id;
  },
  async "transport error: a frame that breaks the rules of WebSockets"(server) {
    const socket = await openSocket(server);
    const id = await socket.connect();
    socket.socket._socket.write(Buffer.from([0x81, 0x01, 0x32])); // without a mask
    return id;
  },
  async "transport error: too large a frame"(server) {
    const socket = await openSocket(server);
    const id = await socket.connect();
    socket.send(`42["echo","${"x".repeat(10_000)}"]`);
    return id;
  },
  async "transport error: a client that pings"(server) {
    const socket = await openSocket(server);
    const id = await socket.connect();
    socket.send("2");
    return id;
  },
  async "parse error: a packet that Engine.IO does not have"(server) {
    const socket = await openSocket(server);
    const id = await socket.connect();
    socket.send("9");
    return id;
  },
  async "forced close: a packet that Socket.IO does not have"(server) {
    const socket = await openSocket(server);
    const id = await socket.connect();
    socket.send("4x");
    return id;
  },
  async "forced close: an event that is no JSON"(server) {
    const socket = await openSocket(server);
    const id = await socket.connect();
    socket.send('42["echo"');
    return id;
  },
  async "forced close: a second connect"(server) {
    const socket = await openSocket(server);
    const id = await socket.connect();
    socket.send("40");
    return id;
  },
  async "forced close: an event in a namespace that was not entered"(server) {
    const socket = await openSocket(server);
    const id = await socket.connect();
    socket.send('42/custom,["ask"]');
    return id;
  },
  async "transport close: a polling client that says goodbye"(server) {
    const { session, id } = await poll(server);
    await session.send("1");
    return id;
  },
  async "client namespace disconnect: over polling"(server) {
    const { session, id } = await poll(server);
    await session.send("41");
    return id;
  },
  async "transport error: two polls at a time"(server) {
    const { session, id } = await poll(server);
    await Promise.all([session.get(), session.get()]);
    return id;
  },
  async "transport error: binary data without base64"(server) {
    const { session, id } = await poll(server);
    await session.post(Buffer.from([4]), { "Content-Type": "application/octet-stream" });
    return id;
  },
  async "parse error: a body that is no payload"(server) {
    const { session, id } = await poll(server);
    await session.post("abc");
    return id;
  },
  async "forced server close: a second connect over polling"(server) {
    const { session, id } = await poll(server);
    await session.post("40");
    await session.get();
    return id;
  },
  async "forced close: a second connect while a poll waits"(server) {
    const { session, id } = await poll(server);
    const waiting = session.get();
    await session.post("40");
    await waiting;
    return id;
  },
  async "forced close: an event that is no JSON, over polling"(server) {
    const { session, id } = await poll(server);
    await session.post('42["echo"');
    await session.get();
    return id;
  },
};

// A polling session in the main namespace, and its id there.
async function poll(server) {
  const session = await openPolling(server);
  await session.send("40");
  const { sid } = JSON.parse((await session.next()).slice(2));
  await session.next();
  return { session, id: sid };
}

onEach("why a client went", OPTIONS, (server) => {
  for (const [name, bringAbout] of Object.entries(ENDS)) {
    test(name, async () => {
      const [reason] = name.split(":");
      const id = await bringAbout(server);
      const witness = await visit(server);
      assert.equal(await eventually("a reason", () => witness.ask("reason", id)), reason);
      witness.close();
    });
  }
});

for (const kind of KINDS) {
  describe(`a server that shuts down (${kind})`, () => {
    let server;
    after(() => server?.stop());

    test("its handlers hear why, and its clients lose their transport", async () => {
      server = await start(kind, OPTIONS);
      const guests = [];
      for (const transport of Object.keys(TRANSPORTS)) {
        guests.push(await visit(server, { transport }));
      }
      const raw = await openSocket(server);
      await raw.connect();
      const gone = guests.map((guest) => guest.disconnected());
      const { process } = server;
      await server.kill("SIGTERM");
      assert.deepEqual(await Promise.all(gone), Array(guests.length).fill("transport close"));
      const { code } = await raw.closed(); // the reference server gives none
      assert.equal(code, kind === "reference" ? 1005 : 1012);
      assert.equal(process.text.match(/gone: server shutting down/g)?.length, guests.length + 1);
    });
  });
}
