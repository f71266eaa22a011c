// Readers that have stopped: they are closed or held back, the memory that waits for them is
// bounded, and those beside them notice nothing.
"use strict";

const assert = require("node:assert/strict");
const { describe, it } = require("node:test");
const { connect, metric, serving } = require("./support.js");
const { TEXT, dial, frame, upgrade } = require("./wire.js");

const APP = `
local mw = require "moonwire"
local app = { events = {} }
function app.on_join() return true end
function app.events.flood(client, room, size) return mw.room(room):emit("flood", ("x"):rep(size)) end
function app.events.flood_me(client, size) return client:emit("flood", ("x"):rep(size)) end
function app.events.loose(client, room, n) return mw.room(room):volatile():emit("loose", n) end
function app.on_disconnect(client, reason) mw.room("watch"):emit("gone", client.wire, reason) end
return {
  app,
  { namespace = "/raw", on_message = function(client, data, kind) client:send(data, kind) end },
}
`;

const PIECE = 64 * 1024;

describe("a reader that has stopped", () => {
  const server = serving(APP);

  async function stoppedSocket() {
    const client = await upgrade(server);
    client.write(frame(TEXT, '{"join":"all","id":1}'));
    await client.frame();
    client.socket.pause();
    return client;
  }

  async function stoppedStream() {
    const client = await dial(server);
    client.writeRequest(["GET /?room=all HTTP/1.1", "Host: x", "Accept: text/event-stream"]);
    await client.take("joined", (bytes) =>
      bytes.includes("event: joined") ? { size: 0 } : undefined,
    );
    client.socket.pause();
    return client;
  }

  for (const [wire, stopped] of [
    ["websocket", stoppedSocket],
    ["sse", stoppedStream],
  ]) {
    it(`on ${wire} is closed, and the others hear everything`, async () => {
      const [speaker, fast, watcher] = await Promise.all([
        connect(server),
        connect(server),
        connect(server),
      ]);
      await fast.join("all");
      await watcher.join("watch");
      const slow = await stopped();
      const closedBefore = await metric(server, "moonwire_slow_clients_closed_total");
      // Until the kernel's buffers and the high mark are full; they are far less than 64 MiB.
      let gone = null;
      watcher.next().then(
        (message) => (gone = message),
        () => {},
      );
      let pieces = 0;
      while (!gone && pieces < 1024) {
        await speaker.call("flood", "all", PIECE);
        pieces++;
      }
      assert.deepEqual(gone?.args, [wire, "slow consumer"]);
      for (let n = 0; n < pieces; n++) assert.equal((await fast.next()).data.length, PIECE);
      assert.equal(await metric(server, "moonwire_slow_clients_closed_total"), closedBefore + 1);
      slow.destroy();
      await Promise.all([speaker, fast, watcher].map((peer) => peer.close()));
    });
  }

  it("is closed at the hard limit, whatever is sent to it alone", async () => {
    const watcher = await connect(server);
    await watcher.join("watch");
    const slow = await upgrade(server);
    slow.socket.pause();
    let gone = null;
    watcher.next().then(
      (message) => (gone = message),
      () => {},
    );
    for (let n = 0; n < 1024 && !gone; n++) {
      slow.write(frame(TEXT, JSON.stringify({ event: "flood_me", data: PIECE })));
      await watcher.call("flood", "nobody", 1);
    }
    // A client that does not read is not read from either: it ends at the limit, or by its silence.
    if (gone) assert.deepEqual(gone.args, ["websocket", "slow consumer"]);
    const queued = await metric(server, "moonwire_queued_events");
    assert.ok(queued <= 1024, `${queued} events wait`);
    slow.destroy();
    await watcher.close();
  });

  it("misses what is volatile, and stays", async () => {
    const [speaker, fast] = await Promise.all([connect(server), connect(server)]);
    await fast.join("all");
    const slow = await stoppedSocket();
    const before = await metric(server, 'moonwire_messages_dropped_total{policy="volatile"}');
    let dropped = 0;
    // Small messages beside large ones: once the socket is blocked, the small ones are left out.
    for (let n = 0; n < 1024 && !dropped; n++) {
      await speaker.call("loose", "all", "x".repeat(PIECE));
      dropped = (await metric(server, 'moonwire_messages_dropped_total{policy="volatile"}')) - before;
    }
    assert.ok(dropped > 0);
    slow.socket.resume();
    await slow.frame();
    slow.destroy();
    await Promise.all([speaker, fast].map((peer) => peer.close()));
  });
});

describe("who sends and does not read", () => {
  const server = serving(APP);

  it("is not read from until it does, and nothing is lost", async () => {
    const client = await upgrade(server, "/raw");
    client.socket.pause();
    const count = 512; // 32 MiB, more than all buffers and limits on the way
    const received = () => metric(server, "moonwire_received_bytes_total");
    for (let n = 0; n < count; n++) client.write(frame(2, Buffer.alloc(PIECE, n % 251)));
    // The server has stopped reading once it reports the same number of bytes again and again.
    let last = -1;
    let same = 0;
    for (let n = 0; n < 1000 && same < 5; n++) {
      const now = await received();
      same = now - last < PIECE ? same + 1 : 0;
      last = now;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    assert.ok(last < count * PIECE, `${last} bytes have been read`);
    client.socket.resume();
    for (let n = 0; n < count; n++) {
      const { payload } = await client.frame();
      assert.equal(payload.length, PIECE);
      assert.equal(payload[0], n % 251);
    }
    client.destroy();
  });
});
