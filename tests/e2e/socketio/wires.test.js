// A Socket.IO client, a plain WebSocket and an event stream in one room of moonwire.
"use strict";

const assert = require("node:assert/strict");
const { after, before, describe, test } = require("node:test");
const { connect, stream } = require("../support.js");
const { openSocket } = require("./raw.js");
const { KINDS, TRANSPORTS, start, visit } = require("./support.js");

describe("one room, many wires", { skip: !KINDS.includes("moonwire") }, () => {
  let server;
  before(async () => (server = await start("moonwire")));
  after(() => server?.stop());

  for (const transport of Object.keys(TRANSPORTS)) {
    test(`Socket.IO over ${transport} beside the others`, async () => {
      const room = `mixed ${transport}`;
      const guest = await visit(server, { transport });
      const peer = await connect(server, "/");
      const reader = await stream(server, `/?room=${encodeURIComponent(room)}`);
      await guest.ask("join", room);
      assert.deepEqual(await peer.join(room), { data: true });
      await reader.next("joined");

      guest.emit("tell", room, { text: "from Socket.IO" });
      const { event, data } = await peer.find((frame) => frame.event === "told");
      assert.deepEqual([event, data], ["told", { text: "from Socket.IO" }]);
      assert.equal((await reader.next("told")).data, '{"text":"from Socket.IO"}');

      peer.emit("tell", room, "from a WebSocket", 2);
      assert.deepEqual(await guest.next("told"), ["from a WebSocket", 2]);
      assert.equal((await reader.next("told")).data, '["from a WebSocket",2]');

      guest.emit("shout", room, "to all of them");
      assert.deepEqual(await guest.next("told"), ["to all of them"]);
      await peer.find((frame) => frame.event === "told" && frame.data === "to all of them");
      reader.destroy();
      await peer.close();
      guest.close();
    });
  }

  test("a WebSocket at the namespace's own address speaks no Socket.IO", async () => {
    const peer = await connect(server, "/custom");
    assert.deepEqual(await peer.call("ask", "plain"), { data: "plain" });
    await peer.close();
  });

  // The reference server loses the second packet where both come together.
  test("leaving a namespace and entering it again at once", async () => {
    const socket = await openSocket(server);
    const first = await socket.connect("/custom");
    socket.send("41/custom,");
    const second = await socket.connect("/custom");
    assert.notEqual(second, first);
    socket.send('42/custom,1["ask","here"]');
    assert.equal(await socket.next(), '43/custom,1["here"]');
    socket.destroy();
  });
});

