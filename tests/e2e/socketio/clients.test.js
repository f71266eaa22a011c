// The unmodified client over each transport: events, answers, binary data, rooms, and why a
// connection ended.
"use strict";

const assert = require("node:assert/strict");
const { after, test } = require("node:test");
const { eventually } = require("../../support.js");
const { TRANSPORTS, onEach, visit } = require("./support.js");

const VALUES = [
  0,
  -1,
  1.5,
  2 ** 53 - 1,
  1e21,
  true,
  false,
  null,
  "",
  "ünï ☃ 𝄞 \u2028 \u0000 \" \\ \x7f",
  {},
  [],
  { empty: {}, list: [], deep: [[[{ a: null }]]] },
  { __proto__x: 1, constructor: 2, "": 3, "0": 4 },
];

const BINARY = {
  top: Buffer.from([0, 1, 2, 255]),
  list: [Buffer.from("a"), { deeper: [Buffer.alloc(0), "text", Buffer.alloc(70_000, 7)] }],
  note: { _placeholder: "no", num: 3 },
};

for (const transport of Object.keys(TRANSPORTS)) {
  onEach(`clients over ${transport}`, {}, (server) => {
    const guests = [];
    after(() => guests.forEach((guest) => guest.close()));

    const arrive = async (options) => {
      const guest = await visit(server, { transport, ...options });
      guests.push(guest);
      return guest;
    };

    // Why the server thinks that a client has gone, asked by another client.
    async function reasonOf(id) {
      const witness = await arrive();
      return eventually(`a reason for ${id}`, () => witness.ask("reason", id));
    }

    test("it is welcomed under its own id, on the transport it wants", async () => {
      const guest = await arrive();
      assert.deepEqual(await guest.next("welcome"), [guest.socket.id]);
      const expected = transport === "polling" ? "polling" : "websocket";
      assert.equal(guest.socket.io.engine.transport.name, expected);
      assert.ok(!guest.socket.recovered);
    });

    test("its handshake says from where it came, how and when", async () => {
      const before = Math.floor(Date.now() / 1000);
      const guest = await arrive();
      const { address, secure, seconds } = await guest.ask("handshake");
      assert.match(address, /127\.0\.0\.1$/);
      assert.equal(secure, false);
      assert.ok(before - 1 <= seconds && seconds <= Date.now() / 1000, String(seconds));
    });

    test("values arrive as they were sent, as events and as answers", async () => {
      const guest = await arrive();
      guest.emit("echo", ...VALUES);
      assert.deepEqual(await guest.next("echo"), VALUES);
      assert.deepEqual(await guest.ask("ask", ...VALUES), VALUES);
      guest.emit("echo");
      assert.deepEqual(await guest.next("echo"), []);
      assert.equal(await guest.ask("ask"), undefined);
      assert.equal(await guest.ask("ask", null), null);
    });

    test("binary data arrives wherever it stands", async () => {
      const guest = await arrive();
      guest.emit("echo", BINARY, "between", Buffer.from("last"));
      assert.deepEqual(await guest.next("echo"), [BINARY, "between", Buffer.from("last")]);
      assert.deepEqual(await guest.ask("ask", BINARY), BINARY);
      guest.emit("echo", "after");
      assert.deepEqual(await guest.next("echo"), ["after"]);
    });

    test("an error is an answer with a code and a detail", async () => {
      const guest = await arrive();
      const answer = await guest.ask("fail", "not_in_room", { room: "a" });
      assert.deepEqual(answer, { error: "not_in_room", detail: { room: "a" } });
    });

    test("the server asks, and the client answers", async () => {
      const guest = await arrive();
      guest.socket.on("sum", (a, b, ack) => ack(a + b, { b: Buffer.from([b]) }));
      guest.emit("call", "sum", 2, 3);
      assert.deepEqual(await guest.next("answered"), [5, { b: Buffer.from([3]) }]);
      guest.emit("call", "nobody listens to this");
      assert.deepEqual(await guest.next("unanswered"), []);
    });

    test("many messages keep their order, in both directions", async () => {
      const guest = await arrive();
      const numbers = [...Array(300).keys()];
      for (const n of numbers) guest.emit("echo", n, n % 7 ? "" : Buffer.from([n & 255]));
      for (const n of numbers) assert.equal((await guest.next("echo"))[0], n);
    });

    test("a room: everybody, everybody but the sender, nobody who has left", async () => {
      const [ana, ben, eve] = await Promise.all([arrive(), arrive(), arrive()]);
      const room = `room of ${ana.socket.id}`;
      for (const guest of [ana, ben, eve]) assert.equal(await guest.ask("join", room), true);
      ana.emit("tell", room, "to others");
      ana.emit("shout", room, "to all");
      assert.deepEqual(await ana.next("told"), ["to all"]);
      for (const guest of [ben, eve]) {
        assert.deepEqual(await guest.next("told"), ["to others"]);
        assert.deepEqual(await guest.next("told"), ["to all"]);
      }
      assert.deepEqual((await ben.ask("who")).rooms, [room]);
      await eve.ask("leave", room);
      ana.emit("shout", room, "without Eve", Buffer.from([1, 2]));
      for (const guest of [ana, ben]) {
        assert.deepEqual(await guest.next("told"), ["without Eve", Buffer.from([1, 2])]);
      }
      eve.emit("echo", "end");
      assert.deepEqual(await eve.inbox.take(), ["echo", "end"]);
    });

    test("a room is asked, and its answers are gathered", async () => {
      const [ana, ben] = await Promise.all([arrive(), arrive()]);
      const room = `poll of ${ana.socket.id}`;
      for (const [guest, vote] of [
        [ana, "a"],
        [ben, "b"],
      ]) {
        guest.socket.on("count me", (ack) => ack(vote));
        await guest.ask("join", room);
      }
      assert.deepEqual(await ana.ask("gather", room, []), ["a", "b"]);
    });

    test("a broadcast leaves its sender out", async () => {
      const [ana, ben] = await Promise.all([arrive(), arrive()]);
      ana.emit("broadcast", "news").emit("echo", "end");
      assert.deepEqual(await ben.next("told"), ["news"]);
      assert.deepEqual(await ana.next("echo"), ["end"]);
      assert.ok(!ana.inbox.items.some(([event]) => event === "told"));
    });

    test("what the client says of itself reaches the handler", async () => {
      const auth = { token: "t", deep: [1, { a: null }] };
      const guest = await arrive({ auth, query: { q: "a b&c" } });
      const who = await guest.ask("who");
      assert.deepEqual(who, { id: guest.socket.id, auth, query: "a b&c", rooms: [] });
      const shy = await arrive();
      assert.deepEqual((await shy.ask("who")).auth, {});
    });

    test("it leaves, and both sides know why", async () => {
      const guest = await arrive();
      const { id } = guest.socket;
      guest.socket.disconnect();
      assert.equal(await guest.disconnected(), "io client disconnect");
      assert.equal(await reasonOf(id), "client namespace disconnect");
    });

    test("it is sent away, and both sides know why", async () => {
      const guest = await arrive();
      const { id } = guest.socket;
      guest.emit("leave_me");
      assert.equal(await guest.disconnected(), "io server disconnect");
      assert.equal(await reasonOf(id), "server namespace disconnect");
    });

    test("its connection is closed, and both sides know why", async () => {
      const guest = await arrive();
      const { id } = guest.socket;
      guest.socket.io.engine.close();
      assert.equal(await guest.disconnected(), "forced close");
      assert.equal(await reasonOf(id), "transport close");
    });
  });
}
