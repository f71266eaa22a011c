// Recovery where the reference server has none, or fails: connections that break at any byte under
// a sender that never stops, clients that have seen no event, and what cannot be recovered.
"use strict";

const assert = require("node:assert/strict");
const { after, before, describe, test } = require("node:test");
const { eventually, within } = require("../../support.js");
const { Cutter, dice } = require("../cutter.js");
const { metric, serve, serving } = require("../support.js");
const { Guest, TRANSPORTS } = require("./support.js");

// The rooms of a client, and who it is, are in its query. Every handler is noted.
const APP = `
local mw = require "moonwire"
local config = ...
local app = { events = {}, routes = {}, recovery = RECOVERY }
local last, goal, hanging = 0, 0, false
local seen = {}

local function note(client, what)
  local name = client.request and client.request.query.name or client.data.name
  if name then
    client.data.name = name
    seen[name] = seen[name] or mw.array {}
    table.insert(seen[name], what)
  end
end

function app.on_auth(request)
  local query = request.query
  local expires = query.expires and mw.now() + tonumber(query.expires)
  if query.name then
    seen[query.name] = seen[query.name] or mw.array {}
    table.insert(seen[query.name], "auth")
  end
  return { id = query.user or "somebody", expires = expires }
end

function app.on_connect(client)
  note(client, client.recovered and "recovered" or client.recovery_reason or "new")
  if client.recovered then return end
  for room in (client.request.query.rooms or ""):gmatch "[^,]+" do client:join(room) end
end

function app.on_leave(client, room) note(client, "left " .. room.name) end
function app.on_disconnect(client) note(client, "gone") end

function app.events.say(_, room, ...) mw.room(room):emit("said", ...) end
function app.events.move(client, from, to)
  client:leave(from)
  client:join(to)
  return true
end
function app.events.keep(client, value)
  client.data.kept = value
  return true
end
function app.events.kept(client) return client.data.kept end
function app.events.whisper(client, ...) client:emit("said", ...) end
function app.events.user(_, id, ...) mw.user(id):emit("said", ...) end
function app.events.kick(_, id) return mw.user(id):disconnect() end
function app.events.hang(client)
  hanging = true
  note(client, "hangs")
  while hanging do mw.sleep(0.005) end
end
function app.events.release() hanging = false end
function app.events.count(_, n) goal = n end
function app.events.seen(_, name) return seen[name] or mw.array {} end
function app.events.who(client) return { id = client.id, user = client.user.id } end
function app.events.fill(_, room, count, size)
  local text = ("x"):rep(size)
  for i = 1, count do mw.room(room):emit("said", i, text) end
end

-- One of five ways to speak, one after another.
local ways = {
  function(n) mw.room("a"):emit("n", n) end,
  function(n) mw.rooms({ "b", "a" }):emit("n", n) end,
  function(n) mw.room("a"):except("c"):emit("n", n) end,
  function(n) mw.user("u"):emit("n", n) end,
  function(n) mw.namespace():emit("n", n) end,
}
app.timers = { tick = { every = 0.005, run = function()
  for _ = 1, 10 do
    if last == goal then return end
    last = last + 1
    ways[(last - 1) % 5 + 1](last)
  end
end } }
return app
`;

const app = (recovery) => APP.replace("RECOVERY", recovery);

function guestOf(server, query, options = {}) {
  return new Guest(server.url, {
    query,
    transports: ["websocket"],
    reconnectionDelay: 5,
    reconnectionDelayMax: 20,
    // How long the client waits when a connection ends after the 101 and before Engine.IO's first packet.
    timeout: 500,
    ...options,
  });
}

async function enter(server, query, options) {
  const guest = guestOf(server, query, options);
  await guest.connected();
  return guest;
}

async function drop(guest) {
  const gone = new Promise((resolve) => guest.socket.once("disconnect", resolve));
  guest.socket.io.engine.close();
  await within(gone, "the end of the connection");
}

async function comeBack(guest) {
  const back = new Promise((resolve) => guest.socket.once("connect", resolve));
  guest.socket.connect();
  await within(back, "the reconnection");
  return guest.socket.recovered;
}

async function said(guest, count) {
  const all = [];
  while (all.length < count) all.push((await guest.next("said"))[0]);
  return all;
}

describe("a sender that never stops, and connections that break at any byte", () => {
  const TOTAL = 3000;

  const cases = Object.keys(TRANSPORTS).map((transport) => [transport, false]);
  for (const [transport, durable] of [...cases, ["websocket", true]]) {
    const where = durable ? ", with the log on disk," : "";
    test(`over ${transport}${where} nothing is missing and nothing comes twice`, async () => {
      const server = await serve(app(`{ size = 20000, ttl = 60, durable = ${durable} }`));
      const random = dice();
      // A poll's answer has to come as a whole, so that it needs connections that live for longer.
      const down = transport === "websocket" ? 6_000 : 60_000;
      const cutter = await new Cutter(server, { random, down, up: 3_000 }).listen();
      cutter.cutting = false;
      // Both are in room a, one of them in c, too, which every fifth message leaves out.
      const guests = ["a", "a,c"].map((rooms) =>
        guestOf(cutter, { rooms, user: "u" }, { transports: TRANSPORTS[transport], reconnection: true }),
      );
      const runs = guests.map((guest, i) => {
        const heard = [];
        const wanted = [];
        for (let n = 1; n <= TOTAL; n++) if (i === 0 || n % 5 !== 3) wanted.push(n);
        guest.socket.on("connect", () => heard.length && assert.ok(guest.socket.recovered));
        const done = new Promise((resolve) => {
          guest.socket.on("n", (n) => {
            heard.push(n);
            if (n === wanted.at(-1)) resolve();
          });
        });
        return { heard, wanted, done };
      });
      for (const guest of guests) await guest.connected();
      const control = await enter(server, {});
      cutter.cutting = true;
      control.emit("count", TOTAL);
      for (const { done, heard } of runs) {
        const what = `the last message (seed ${random.seed})`;
        await within(done, what, 60_000).catch((error) => {
          throw new Error(`${error.message}, ${heard.length} heard, ${cutter.cuts} cuts`);
        });
      }
      for (const { heard, wanted } of runs) {
        assert.deepEqual(heard, wanted, `seed ${random.seed}`);
      }
      assert.ok(cutter.cuts > 0, `no cuts (seed ${random.seed})`);
      for (const guest of [...guests, control]) guest.close();
      await cutter.close();
      await server.stop();
    });
  }
});

describe("a client that has seen no event", () => {
  const server = serving(app("true"));

  for (const transport of Object.keys(TRANSPORTS)) {
    test(`gets what it missed over ${transport}, also after several drops`, async () => {
      const guest = await enter(server, { rooms: "r" }, { transports: TRANSPORTS[transport] });
      const other = await enter(server, {});
      const { id } = guest.socket;
      for (let i = 0; i < 3; i++) {
        await drop(guest);
        assert.equal(await comeBack(guest), true);
        assert.equal(guest.socket.id, id);
      }
      await drop(guest);
      other.emit("say", "r", 1).emit("say", "other", 2).emit("say", "r", 3);
      await other.ask("who");
      assert.equal(await comeBack(guest), true);
      await drop(guest); // What has come, it knows now.
      assert.equal(await comeBack(guest), true);
      other.emit("say", "r", 4);
      assert.deepEqual(await said(guest, 3), [1, 3, 4]);
      guest.close();
      other.close();
    });
  }
});

describe("what a client was in, and when", () => {
  const server = serving(app("true"));

  test("decides what it has missed", async () => {
    const guest = await enter(server, { rooms: "old", user: "me" });
    const other = await enter(server, {});
    const { _lastOffset } = guest.socket;
    other.emit("say", "new", "too early").emit("say", "old", "in time");
    await other.ask("who");
    await guest.ask("move", "old", "new");
    other.emit("say", "old", "too late").emit("say", "new", "now").emit("user", "me", "for me");
    await other.ask("who");
    guest.emit("whisper", "to you");
    assert.deepEqual(await said(guest, 4), ["in time", "now", "for me", "to you"]);
    // As if all of that had been lost on the way.
    guest.socket._lastOffset = _lastOffset;
    await drop(guest);
    other.emit("say", "old", "too late").emit("say", "new", "meanwhile").emit("user", "me", "again");
    await other.ask("who");
    assert.equal(await comeBack(guest), true);
    const wanted = ["in time", "now", "for me", "to you", "meanwhile", "again"];
    assert.deepEqual(await said(guest, 6), wanted);
    guest.close();
    other.close();
  });

  test("hooks hear of the drop, and who is recovered is not asked who it is", async () => {
    const guest = await enter(server, { rooms: "r", user: "me", name: "hooks" });
    const who = await guest.ask("who");
    await drop(guest);
    assert.equal(await comeBack(guest), true);
    assert.deepEqual(await guest.ask("who"), who);
    const hooks = ["auth", "new", "left r", "gone", "recovered"];
    assert.deepEqual(await guest.ask("seen", "hooks"), hooks);
    guest.close();
  });

  test("an identity that has ended is asked for again", async () => {
    const guest = await enter(server, { expires: "0.3", name: "ended" });
    await drop(guest);
    await new Promise((resolve) => setTimeout(resolve, 350));
    assert.equal(await comeBack(guest), false);
    assert.deepEqual(await guest.ask("seen", "ended"), ["auth", "new", "gone", "auth", "identity"]);
    guest.close();
  });

  test("a user who is sent away while he is gone does not come back", async () => {
    const kicked = await enter(server, { rooms: "r", user: "kicked", name: "kicked" });
    const other = await enter(server, { user: "other", name: "stays" });
    const admin = await enter(server, {});
    const counted = () =>
      Promise.all(
        ["recovered", "expired"].map((result) =>
          metric(server, `moonwire_socketio_recoveries_total{result="${result}"}`),
        ),
      );
    const [recovered, expired] = await counted();
    await drop(kicked);
    await drop(other);
    assert.equal(await admin.ask("kick", "kicked"), 0);
    assert.equal(await comeBack(kicked), false);
    assert.equal(await comeBack(other), true, "he alone is meant");
    assert.deepEqual(await counted(), [recovered + 1, expired + 1]);
    const hooks = ["auth", "new", "left r", "gone", "auth", "expired"];
    assert.deepEqual(await admin.ask("seen", "kicked"), hooks);
    for (const guest of [kicked, other, admin]) guest.close();
  });

  test("nor one whose handler is still at work", async () => {
    const guest = await enter(server, { user: "busy", name: "busy" });
    const admin = await enter(server, {});
    guest.emit("hang");
    await eventually("the handler", async () => (await admin.ask("seen", "busy")).includes("hangs"));
    await drop(guest);
    await admin.ask("kick", "busy"); // whether the server has noticed the drop or not
    admin.emit("release");
    assert.equal(await comeBack(guest), false);
    guest.close();
    admin.close();
  });

  test("a connection that only looks alive is closed for the new one", async () => {
    const guest = await enter(server, { rooms: "r", name: "old" });
    const other = await enter(server, {});
    const { id, _pid } = guest.socket;
    const gone = guest.disconnected();
    const again = guestOf(server, { name: "again" }, { autoConnect: false });
    Object.assign(again.socket, { _pid });
    again.socket.connect();
    await again.connected();
    assert.equal(await gone, "transport close");
    assert.deepEqual([again.socket.recovered, again.socket.id], [true, id]);
    other.emit("say", "r", 1);
    assert.deepEqual(await said(again, 1), [1]);
    assert.deepEqual(await other.ask("seen", "old"), ["auth", "new", "left r", "gone"]);
    again.close();
    other.close();
  });
});

describe("what cannot be recovered", () => {
  async function reasons(server, name) {
    const other = await enter(server, {});
    const all = await other.ask("seen", name);
    other.close();
    return all.filter((each) => !["auth", "gone"].includes(each) && !each.startsWith("left"));
  }

  test("because newer messages have taken its place; who had everything is no such case", async () => {
    const server = await serve(app("{ size = 5 }"));
    const other = await enter(server, {});
    const guest = await enter(server, { rooms: "r", name: "guest" });
    other.emit("say", "r", "first");
    assert.deepEqual(await said(guest, 1), ["first"]);
    await other.ask("fill", "elsewhere", 20, 1);
    await drop(guest);
    assert.equal(await comeBack(guest), true);
    await drop(guest);
    await other.ask("fill", "elsewhere", 6, 1);
    assert.equal(await comeBack(guest), false);
    const { id } = guest.socket;
    await drop(guest);
    assert.equal(await comeBack(guest), true);
    assert.equal(guest.socket.id, id);
    assert.deepEqual(await reasons(server, "guest"), ["new", "recovered", "trimmed", "recovered"]);
    guest.close();
    other.close();
    await server.stop();
  });

  test("because it was away for too long", async () => {
    const server = await serve(app("{ ttl = 0.1 }"));
    const guest = await enter(server, { name: "guest" });
    await drop(guest);
    await new Promise((resolve) => setTimeout(resolve, 200));
    assert.equal(await comeBack(guest), false);
    assert.deepEqual(await reasons(server, "guest"), ["new", "expired"]);
    guest.close();
    await server.stop();
  });

  test("because the server has started again, or what is presented makes no sense", async () => {
    const server = await serve(app("true"));
    const guest = await enter(server, { rooms: "r", name: "guest" });
    guest.emit("say", "r", 1);
    await said(guest, 1);
    await server.kill("SIGKILL");
    await guest.disconnected();
    await server.start();
    assert.equal(await comeBack(guest), false);
    // Its offset is still that of the last server, for it has seen nothing of this one.
    await drop(guest);
    assert.equal(await comeBack(guest), true);
    await drop(guest);
    guest.socket._pid = "nonsense";
    assert.equal(await comeBack(guest), false);
    assert.deepEqual(await reasons(server, "guest"), ["epoch", "recovered", "invalid"]);
    guest.close();
    await server.stop();
  });
});

describe("more than fits", () => {
  let server;
  before(async () => {
    const args = ["--high-mark", "65536", "--hard-limit", "524288"];
    server = await serve(app("true"), { args });
  });
  after(() => server.stop());

  for (const transport of Object.keys(TRANSPORTS)) {
    test(`comes as fast as it is read over ${transport}`, async () => {
      const guest = await enter(server, { rooms: "r" }, { transports: TRANSPORTS[transport] });
      const other = await enter(server, {});
      await drop(guest);
      await other.ask("fill", "r", 300, 10_000);
      const back = comeBack(guest);
      for (let i = 301; i <= 400; i++) other.emit("say", "r", i);
      await other.ask("who");
      assert.equal(await back, true);
      other.emit("say", "r", 401);
      assert.deepEqual(
        await said(guest, 401),
        Array.from({ length: 401 }, (_, i) => i + 1),
      );
      guest.close();
      other.close();
    });
  }
});

describe("a log on disk", () => {
  const durable = app("{ size = 20000, ttl = 60, durable = true }");

  test("survives the server's death: who was away, and who was there", async () => {
    const server = await serve(durable);
    const other = await enter(server, { rooms: "r" });
    const guests = [];
    for (const name of ["away", "there", "silent"]) {
      guests.push(await enter(server, { rooms: "r", user: `user of ${name}`, name }));
    }
    const [away, , silent] = guests;
    const ids = guests.map(({ socket }) => socket.id);
    for (const [i, guest] of guests.entries()) await guest.ask("keep", { n: i });
    await drop(silent);
    await comeBack(silent);
    await drop(away);
    other.emit("say", "r", 1).emit("say", "elsewhere", 2).emit("user", "user of away", 3);
    other.emit("say", "r", 4);
    assert.deepEqual(await said(other, 2), [1, 4]); // Then all of it is on disk.
    await server.kill("SIGKILL");
    await server.start();
    for (const guest of guests) assert.equal(await comeBack(guest), true);
    assert.deepEqual(
      guests.map(({ socket }) => socket.id),
      ids,
    );
    assert.deepEqual(await said(away, 3), [1, 3, 4]);
    assert.deepEqual(await said(guests[1], 2), [1, 4]);
    assert.deepEqual((await away.ask("who")).user, "user of away");
    assert.deepEqual(await away.ask("kept"), { n: 0 });
    away.emit("say", "r", 5);
    for (const guest of [away, guests[1]]) assert.deepEqual(await said(guest, 1), [5]);
    for (const guest of [...guests, other]) guest.close();
    await server.stop();
  });

  test("survives a shutdown, but for those who had left", async () => {
    const server = await serve(durable);
    const guest = await enter(server, { rooms: "r", name: "guest" });
    const left = await enter(server, { rooms: "r" });
    const { id } = left.socket;
    left.socket.disconnect();
    await left.disconnected();
    await guest.ask("who");
    await server.kill("SIGTERM");
    await server.start();
    assert.equal(await comeBack(guest), true);
    assert.equal(await comeBack(left), false);
    assert.notEqual(left.socket.id, id);
    guest.close();
    left.close();
    await server.stop();
  });

  test("makes all who were there hear the same, whenever the server dies", async () => {
    const server = await serve(durable);
    const guests = ["one", "two"].map(() => guestOf(server, { rooms: "r" }, { reconnection: true }));
    const control = guestOf(server, {}, { reconnection: true });
    const heard = guests.map(() => []);
    const ends = guests.map((guest, i) => {
      guest.socket.on("said", (n) => heard[i].push(n));
      return new Promise((resolve) => guest.socket.on("said", (n) => n === "end" && resolve()));
    });
    for (const guest of [...guests, control]) await guest.connected();
    for (const { socket } of guests) socket.on("connect", () => assert.ok(socket.recovered));
    let n = 0;
    for (let round = 0; round < 5; round++) {
      for (let i = 0; i < 300; i++) control.emit("say", "r", ++n);
      const goal = heard[0].length + 20;
      await eventually("the first messages", () => heard[0].length >= goal);
      await server.kill("SIGKILL");
      const back = [...guests, control].map(
        ({ socket }) => new Promise((resolve) => socket.once("connect", resolve)),
      );
      await server.start();
      for (const each of back) await within(each, "the reconnection");
    }
    control.emit("say", "r", "end");
    for (const end of ends) await within(end, "the end");
    assert.deepEqual(heard[0], heard[1]);
    heard[0].pop();
    assert.ok(heard[0].every((each, i) => i === 0 || each > heard[0][i - 1]));
    for (const guest of [...guests, control]) guest.close();
    await server.stop();
  });
});
