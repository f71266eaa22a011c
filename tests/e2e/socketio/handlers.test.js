// What a Lua handler promises, for clients of Socket.IO: order across waits, a reload that nobody
// notices, a room of many, a life that ends once.
"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const { after, describe, test } = require("node:test");
const { eventually } = require("../../support.js");
const { connect, serving } = require("../support.js");
const { KINDS, TRANSPORTS, openPolling, visit } = require("./support.js");

const APP = `
local mw = require "moonwire"
local app = { events = {}, rooms = { ["kept"] = { history = { size = 10 } } } }
local ends = mw.state("ends", mw.array {})
local VERSION = 1

function app.on_join() return true end
function app.on_connect(client) client:join(client.request.query.room or "crowd") end
function app.on_leave(client, room, reason)
  ends[#ends + 1] = { client.request.query.name, "leave", room.name, reason }
end
function app.on_disconnect(client, reason)
  local rooms = {}
  for name in pairs(client.rooms) do rooms[#rooms + 1] = name end
  ends[#ends + 1] = { client.request.query.name, "gone", table.concat(rooms, ","), reason }
end

function app.events.slow(client, n)
  mw.sleep(n % 3 * 0.002)
  return n
end
function app.events.version() return VERSION end
function app.events.fail() error "a bug" end
function app.events.say(_, text) return mw.room("kept"):emit("said", text) end
function app.events.crowd(_, ...) mw.room("crowd"):emit("heard", ...) end
function app.events.ends() return ends end
function app.on_event(client, event, ...)
  if event == "forbidden" then return nil, "forbidden", { args = mw.array { ... } } end
  client.data.events = (client.data.events or "") .. event .. " "
end
function app.on_emit(to, event, ...)
  if event == "heard" then mw.room("spies"):emit("spied", tostring(to), event, ...) end
end
function app.events.forbidden() error "on_event has refused it" end
function app.events.events(client) return client.data.events end
function app.events.self(client)
  return { client.wire, client.recovered, client.request.auth, client.connected }
end
function app.events.binary(_, value)
  return tostring(value) == "a\\0b", mw.binary("x\\0y"), { deep = { mw.binary "" } }
end
return app
`;

describe("handlers and Socket.IO", { skip: !KINDS.includes("moonwire") }, () => {
  const server = serving(APP);
  const guests = [];
  after(() => guests.forEach((guest) => guest.close()));

  const arrive = async (options) => {
    const guest = await visit(server, options);
    guests.push(guest);
    return guest;
  };

  for (const transport of Object.keys(TRANSPORTS)) {
    test(`a handler that waits keeps the order over ${transport}, beyond its queue too`, async () => {
      const guest = await arrive({ transport });
      const answers = [];
      const asking = [...Array(600).keys()].map((n) =>
        guest.ask("slow", n).then((answer) => answers.push(answer)),
      );
      await Promise.all(asking);
      assert.deepEqual(answers, [...Array(600).keys()]);
    });

    test(`what a client over ${transport} is told to be`, async () => {
      const guest = await arrive({ transport });
      assert.deepEqual(await guest.ask("self"), ["socket.io", false, {}, true]);
      const known = await arrive({ transport, auth: { token: "t" } });
      assert.deepEqual((await known.ask("self"))[2], { token: "t" });
    });

    test(`a life over ${transport} ends once, with its rooms as they were`, async () => {
      const name = `mortal over ${transport}`;
      const guest = await arrive({ transport, query: { name, room: "den" } });
      guest.close();
      const witness = await arrive();
      const ends = await eventually("its end", async () => {
        const all = (await witness.ask("ends")).filter(([who]) => who === name);
        return all.length >= 2 ? all : undefined;
      });
      assert.deepEqual(
        ends.map(([, what, room]) => [what, room]),
        [
          ["leave", "den"],
          ["gone", "den"],
        ],
      );
      assert.match(ends[1][3], /^(transport close|client namespace disconnect)$/);
    });
  }

  // The reference server is never so slow that it comes to this.
  test("a POST while another one waits for handlers ends the session", async () => {
    const session = await openPolling(server, "&name=overlap");
    await session.send("40");
    await session.get();
    const first = session.post(['420["slow",2]', ...Array(1000).fill('42["slow",2]')].join("\x1e"));
    assert.equal((await session.get()).body, "430[2]");
    assert.equal((await session.post('42["slow",0]')).status, 400);
    assert.equal((await first).status, 200);
    assert.deepEqual((await session.get()).json, { code: 1, message: "Session ID unknown" });
    const witness = await arrive();
    const [, , , reason] = await eventually("its end", async () =>
      (await witness.ask("ends")).find(([who, what]) => who === "overlap" && what === "gone"),
    );
    assert.equal(reason, "transport error");
  });

  test("a bug is answered, and the connection stays", async () => {
    const guest = await arrive();
    assert.deepEqual(await guest.ask("fail"), { error: "internal_error" });
    assert.equal(await guest.ask("version"), 1);
  });

  test("an event that no handler has is answered with an error", async () => {
    const guest = await arrive();
    const answer = await guest.ask("no such event");
    assert.equal(typeof answer.error, "string");
  });

  for (const transport of Object.keys(TRANSPORTS)) {
    test(`on_event comes before each handler, and may refuse, over ${transport}`, async () => {
      const guest = await arrive({ transport });
      const refusal = { error: "forbidden", detail: { args: [1, { a: "b" }] } };
      assert.deepEqual(await guest.ask("forbidden", 1, { a: "b" }), refusal);
      guest.emit("forbidden");
      await guest.ask("self");
      assert.equal(await guest.ask("events"), "self events ");
    });
  }

  test("on_emit hears what goes to a room once", async () => {
    const [spy, ...crowd] = await Promise.all(
      ["spies", "crowd", "crowd"].map((room) => arrive({ query: { room } })),
    );
    crowd[0].emit("crowd", 1, [2]);
    assert.deepEqual(await spy.next("spied"), ["a room: crowd", "heard", 1, [2]]);
    for (const guest of crowd) assert.deepEqual(await guest.next("heard"), [1, [2]]);
    crowd[0].emit("crowd", 3);
    assert.deepEqual(await spy.next("spied"), ["a room: crowd", "heard", 3]);
  });

  test("binary values are marked, in both directions", async () => {
    const guest = await arrive();
    const answer = await guest.ask("binary", Buffer.from("a\0b"));
    assert.deepEqual(answer, [true, Buffer.from("x\0y"), { deep: [Buffer.alloc(0)] }]);
  });

  test("a room with history keeps what Socket.IO clients say", async () => {
    const guest = await arrive({ query: { room: "kept" } });
    const offset = await guest.ask("say", "kept for later");
    assert.match(offset, /:\d+$/);
    assert.deepEqual(await guest.next("said"), ["kept for later"]);
  });

  test("300 clients over both transports hear a room, each message once and in order", async () => {
    const options = [...Array(300).keys()].map((n) => ({
      transport: n % 10 ? "websocket" : "polling",
    }));
    const crowd = [];
    while (options.length) {
      crowd.push(...(await Promise.all(options.splice(0, 20).map((each) => arrive(each)))));
    }
    const peer = await connect(server, "/");
    for (let n = 0; n < 20; n++) crowd[n].emit("crowd", n, n % 5 ? "text" : Buffer.from([n]));
    const orders = new Set();
    for (const guest of crowd) {
      const heard = [];
      while (heard.length < 20) heard.push((await guest.next("heard"))[0]);
      assert.equal(new Set(heard).size, 20);
      orders.add(heard.join());
    }
    assert.equal(orders.size, 1, "one worker, one order");
    await peer.find((frame) => frame.event === "heard");
    crowd.forEach((guest) => guest.close());
    await peer.close();
  });

  test("a reload is not noticed, but for what it changes", async () => {
    const guest = await arrive();
    const polling = await arrive({ transport: "polling" });
    const { id } = guest.socket;
    for (const version of [2, 3]) {
      fs.writeFileSync(server.file, APP.replace("VERSION = 1", `VERSION = ${version}`));
      const from = server.output().length;
      server.signal("SIGHUP");
      await server.said(/version \d+ is in service/, from);
      for (const each of [guest, polling]) assert.equal(await each.ask("version"), version);
    }
    assert.equal(guest.socket.id, id);
    guest.emit("crowd", "still in the room");
    assert.deepEqual(await polling.next("heard"), ["still in the room"]);
  });
});
