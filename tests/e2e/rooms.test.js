// Rooms and namespaces: joining and leaving, who hears what and who does not, and history.
"use strict";

const assert = require("node:assert/strict");
const { describe, it } = require("node:test");
const { eventually } = require("../support.js");
const { connect, post, serving, stream } = require("./support.js");

const APP = `
local mw = require "moonwire"
local app = { rooms = { ["log:*"] = { history = { size = 3 } } }, events = {} }
local events = app.events

function app.on_auth(request) return { id = request.query.user or "anon", role = "guest" } end

function app.on_join(client, room, options)
  if room.name:find "^no:" then return nil, "forbidden", "not here" end
  if room.name == "bug" then error "on_join is broken" end
  if room.name == "false" then return false end
  if room.name == "mute" then return end
  if options.wait then mw.sleep(0.01) end
  return { count = room:count(), greeting = options.greeting }
end

function app.on_leave(client, room, reason)
  room:emit("left", client.user.id, reason)
  if reason == "left" and client.rooms[room.name] then room:emit "still a member" end
end

-- speaking
function events.say(client, room, ...) return mw.room(room):emit("said", ...) end
function events.rooms(client, names, text) mw.rooms(names):emit("several", text) end
function events.rooms_but(client, names, text) mw.rooms(names):except(client):emit("several", text) end
function events.others(client, room) client:to(room):emit("others") end
function events.but(client, room) mw.room(room):except(client):emit("but me") end
function events.without(client, room, ...) return mw.room(room):except(...):emit("without", 1) end
function events.without_all(client) return mw.namespace():except(client):except(mw.room("b")):emit("without") end
function events.user_but(client, id, room) mw.user(id):except(mw.room(room)):send("user but") end
function events.except(client, what)
  local objects = { user = mw.user("ana"), rooms = mw.rooms { "a" }, to = client:to("a"), number = 1, list = { {} },
    elsewhere = mw.namespace("/closed"):room("a"), long = ("x"):rep(300), none = nil }
  local ok, problem = pcall(function() return mw.room("a"):except(objects[what]) end)
  return ok or problem
end
function events.several(client, names)
  local rooms, list, answers = mw.rooms(names), {}, {}
  for _, each in ipairs(rooms:clients()) do list[#list + 1] = each.user.id end
  for _, answer in ipairs((rooms:timeout(5):request "who")) do answers[#answers + 1] = answer[1] end
  table.sort(list) table.sort(answers)
  return { count = rooms:count(), clients = list, answers = mw.array(answers), members = #rooms:members(),
    joined = rooms:except(client):join("new"), new = mw.room("new"):count(), left = rooms:leave("new") }
end
function events.send_away(client, names) return mw.rooms(names):except(client, "stay"):disconnect("enough") end
function events.broadcast(client) client:broadcast("broadcast", client.user.id) end
function events.everybody(client) mw.namespace():emit("everybody") end
function events.user(client, id) mw.user(id):emit("to user") end
function events.one(client, id)
  local other = mw.client(id)
  if not other then return nil, "not_found" end
  return other:emit("to you", client.id)
end
function events.frame(client, room) mw.room(room):send("a frame"); mw.room(room):send("\\0\\1", "binary") end
function events.loose(client, room) mw.room(room):volatile():emit("loose", 1) end
function events.tenants(client, path) mw.namespace(path):emit("from outside"); return mw.namespace(path):count() end

-- gathering
function events.me(client)
  local rooms = {}
  for name, room in pairs(client.rooms) do rooms[#rooms + 1] = name == room.name and name or "wrong" end
  table.sort(rooms)
  return { id = client.id, rooms = mw.array(rooms), namespace = client.namespace, connected = client.connected }
end
function events.enter(client, name) return client:join(name) end
function events.quit(client, name) return client:leave(name) end
function events.room(client, name)
  local room = mw.room(name)
  local members, clients = room:members(), {}
  table.sort(members, function(a, b) return a.id < b.id end)
  for i, member in ipairs(room:clients()) do clients[i] = member.id end
  return { count = room:count(), members = members, clients = #clients }
end
function events.history(client, name, options)
  local list, complete = mw.room(name):history(options)
  return { list = list, complete = complete }
end

local tenant = { namespace = "/tenant/:id/:part", events = {} }
function tenant.on_join() return true end
function tenant.events.params(client) return client.params end
function tenant.events.say(client, text) mw.room("room"):emit("said", text) end

return { app, tenant, { namespace = "/closed", events = { ping = function() return "pong" end } } }
`;

describe("joining", () => {
  const server = serving(APP, { args: ["--max-rooms", "3"] });

  it("is answered with what on_join returns", async () => {
    const peer = await connect(server);
    assert.deepEqual(await peer.join("a", { greeting: "hi" }), {
      data: { count: 0, greeting: "hi" },
    });
    assert.deepEqual(await peer.join("a"), { data: { count: 1 } });
    assert.deepEqual(await peer.join("mute"), {});
    assert.deepEqual((await peer.call("me")).data.rooms, ["a", "mute"]);
    await peer.close();
  });

  it("may be refused", async () => {
    const peer = await connect(server);
    assert.deepEqual(await peer.join("no:way"), {
      error: { code: "forbidden", detail: "not here" },
    });
    assert.deepEqual(await peer.join("false"), { error: { code: "forbidden" } });
    assert.deepEqual(await peer.join("bug"), { error: { code: "internal_error" } });
    assert.deepEqual((await peer.call("me")).data.rooms, []);
    await peer.close();
    const closed = await connect(server, "/closed");
    assert.deepEqual(await closed.join("a"), { error: { code: "forbidden" } });
    await closed.close();
  });

  it("needs a name of at most 256 bytes, and has a bound", async () => {
    const peer = await connect(server);
    assert.deepEqual(await peer.join(""), { error: { code: "bad_message" } });
    assert.deepEqual(await peer.join("x".repeat(257)), { error: { code: "bad_room" } });
    assert.deepEqual(await peer.join("é".repeat(128)), { data: { count: 0 } });
    await peer.join("b");
    await peer.join("c\n\"'");
    assert.deepEqual(await peer.join("d"), { error: { code: "too_many_rooms" } });
    assert.deepEqual(await peer.call("enter", "d"), { error: { code: "too_many_rooms" } });
    assert.deepEqual(await peer.join("b"), { data: { count: 1 } });
    await peer.close();
  });

  it("and leaving from Lua ask nobody", async () => {
    const peer = await connect(server, "/?user=ana");
    assert.deepEqual(await peer.call("enter", "no:way"), { data: true });
    assert.deepEqual((await peer.call("me")).data.rooms, ["no:way"]);
    assert.deepEqual(await peer.call("quit", "no:way"), { data: true });
    assert.deepEqual(await peer.call("quit", "no:way"), { data: false });
    await peer.close();
  });

  it("ends in leaving, which is told to the others", async () => {
    const ana = await connect(server, "/?user=ana");
    const ben = await connect(server, "/?user=ben");
    await ana.join("a");
    await ben.join("a");
    assert.deepEqual(await ben.leave("a"), {});
    assert.deepEqual(await ana.next(), { event: "left", args: ["ben", "left"], room: "a" });
    assert.deepEqual(await ben.leave("a"), { error: { code: "not_in_room" } });
    await ben.join("a");
    await ben.close();
    assert.deepEqual(await ana.next(), {
      event: "left",
      args: ["ben", "client closed"],
      room: "a",
    });
    assert.deepEqual((await ana.call("room", "a")).data.count, 1);
    await ana.close();
  });
});

describe("speaking", () => {
  const server = serving(APP);

  // ana and ben in room a, ben and cleo in room b, cleo with a second connection on a stream.
  async function people() {
    const [ana, ben, cleo] = await Promise.all(
      ["ana", "ben", "cleo"].map((name) => connect(server, `/?user=${name}`)),
    );
    await Promise.all([ana.join("a"), ben.join("a"), ben.join("b"), cleo.join("b")]);
    const events = await stream(server, "/?user=cleo&room=b&room=log:b");
    await events.next("joined");
    await events.next("joined");
    const close = async () => {
      events.destroy();
      await Promise.all([ana, ben, cleo].map((peer) => peer.close()));
    };
    return { ana, ben, cleo, events, close };
  }

  // Afterwards everybody hears a mark, so that what was not to come has not come.
  async function heard({ ana, ben, cleo, events }, speak) {
    await speak();
    await ana.call("everybody");
    const collect = async (take) => {
      const all = [];
      for (;;) {
        const message = await take();
        if (message.event === "everybody") return all;
        all.push(message.event || "frame");
      }
    };
    const heardBy = await Promise.all(
      [ana, ben, cleo, events].map((each) => collect(() => each.next())),
    );
    return heardBy.map((list) => list.join(" "));
  }

  const SPEECHES = {
    "to a room": [(ana) => ana.call("say", "b", 1), ["", "said", "said", "said"]],
    "to several rooms, each recipient once": [
      (ana) => ana.call("rooms", ["a", "b", "a"], "x"),
      ["several", "several", "several", "several"],
    ],
    "to several rooms but oneself": [
      (ana) => ana.call("rooms_but", ["a", "b"], "x"),
      ["", "several", "several", "several"],
    ],
    "to the others of a room": [(ana) => ana.call("others", "a"), ["", "others", "", ""]],
    "to a room but oneself": [(ana) => ana.call("but", "a"), ["", "but me", "", ""]],
    "to all but oneself": [
      (ana) => ana.call("broadcast"),
      ["", "broadcast", "broadcast", "broadcast"],
    ],
    "to a room but another, which keeps it": [
      async (ana) => assert.match((await ana.call("without", "log:b", "a")).data, /:\d+$/),
      ["", "", "", "without"],
    ],
    "to a room but others": [
      (ana) => ana.call("without", "b", "a", ["none", "log:b"]),
      ["", "", "without", ""],
    ],
    "to all but oneself and a room": [(ana) => ana.call("without_all"), ["", "", "", ""]],
    "to a user but a room": [(ana) => ana.call("user_but", "cleo", "log:b"), ["", "", "frame", ""]],
    "to a user on all connections": [
      (ana) => ana.call("user", "cleo"),
      ["", "", "to user", "to user"],
    ],
    "to a room where nobody is": [(ana) => ana.call("say", "empty", 1), ["", "", "", ""]],
    "where a lost word is no harm": [
      (ana) => ana.call("loose", "b"),
      ["", "loose", "loose", "loose"],
    ],
  };
  for (const [name, [speak, expected]] of Object.entries(SPEECHES)) {
    it(name, async () => {
      const all = await people();
      assert.deepEqual(await heard(all, () => speak(all.ana)), expected);
      await all.close();
    });
  }

  it("to nobody whom no exception can mean", async () => {
    const peer = await connect(server);
    const problem = async (what) => (await peer.call("except", what)).data;
    for (const what of ["user", "rooms"]) assert.match(await problem(what), /only a room/);
    assert.match(await problem("to"), /exceptions of its own/);
    assert.match(await problem("elsewhere"), /another namespace/);
    assert.match(await problem("number"), /clients, rooms or their names, got a number/);
    assert.match(await problem("list"), /got a table/);
    assert.match(await problem("none"), /got a nil/);
    assert.equal(await problem("long"), true);
    await peer.close();
  });

  it("to several rooms of which each client is asked, moved and sent away once", async () => {
    const { ana, ben, cleo, events, close } = await people();
    events.destroy(); // A stream answers nothing.
    await eventually("its end", async () => (await ana.call("room", "b")).data.count === 2);
    const answering = [[ana, "ana"], [ben, "ben"], [cleo, "cleo"]].map(async ([peer, name]) => {
      const { id } = await peer.find(({ event }) => event === "who");
      peer.send({ id, data: name });
    });
    const asked = ana.call("several", ["a", "b", "c"]);
    await Promise.all(answering);
    const { data } = await asked;
    assert.deepEqual(data.clients, ["ana", "ben", "cleo"]);
    assert.deepEqual(data.answers, ["ana", "ben", "cleo"]);
    const { count, members, joined, left } = data;
    assert.deepEqual([count, members, joined, data.new, left], [3, 3, 2, 2, 2]);
    await cleo.call("enter", "stay");
    assert.equal((await ana.call("send_away", ["a", "b"])).data, 1);
    assert.equal((await ben.closed()).reason, "enough");
    assert.equal((await ana.call("room", "b")).data.count, 1);
    await close();
  });

  it("names the first named room that the recipient is in", async () => {
    const { ana, ben, cleo, close } = await people();
    await ana.call("rooms", ["b", "a"], "x");
    assert.deepEqual(await ana.next(), { event: "several", data: "x", room: "a" });
    assert.deepEqual(await ben.next(), { event: "several", data: "x", room: "b" });
    assert.deepEqual(await cleo.next(), { event: "several", data: "x", room: "b" });
    await close();
  });

  it("in frames", async () => {
    const { ben, cleo, events, close } = await people();
    await ben.call("frame", "b");
    assert.equal(await cleo.next(), "a frame");
    assert.deepEqual(await cleo.next(), Buffer.from([0, 1]));
    assert.deepEqual(await events.find(({ data }) => data === "a frame"), { data: "a frame" });
    assert.deepEqual(await events.next(), { event: "binary", data: "AAE=" });
    await close();
  });

  it("to one client, by its id", async () => {
    const { ana, ben, close } = await people();
    const { id } = (await ben.call("me")).data;
    const mine = (await ana.call("me")).data.id;
    assert.deepEqual(await ana.call("one", id), { data: true });
    assert.deepEqual(await ben.next(), { event: "to you", data: mine });
    assert.deepEqual(await ana.call("one", "nobody"), { error: { code: "not_found" } });
    await ben.close();
    assert.deepEqual(await ana.call("one", id), { error: { code: "not_found" } });
    await close();
  });

  it("knows who is there: each user once, each connection counted", async () => {
    const { ana, cleo, close } = await people();
    const { data } = await ana.call("room", "b");
    assert.equal(data.count, 3);
    assert.equal(data.clients, 3);
    assert.deepEqual(data.members, [
      { id: "ben", role: "guest" },
      { id: "cleo", role: "guest" },
    ]);
    await cleo.close();
    assert.equal((await ana.call("room", "b")).data.count, 2);
    assert.deepEqual((await ana.call("room", "nowhere")).data, {
      count: 0,
      members: [],
      clients: 0,
    });
    await close();
  });
});

describe("history", () => {
  const server = serving(APP);

  it("keeps the newest messages with their offsets", async () => {
    const peer = await connect(server);
    await peer.join("log:1");
    const offsets = [];
    for (let n = 1; n <= 5; n++) {
      offsets.push((await peer.call("say", "log:1", n)).data);
      assert.deepEqual(await peer.next(), {
        event: "said",
        data: n,
        room: "log:1",
        offset: offsets[n - 1],
      });
    }
    const read = async (options) => {
      const { list, complete } = (await peer.call("history", "log:1", options)).data;
      return [list.map(({ data }) => data), complete];
    };
    assert.deepEqual(await read({}), [[3, 4, 5], true]);
    assert.deepEqual(await read({ limit: 2 }), [[4, 5], true]);
    assert.deepEqual(await read({ after: offsets[3] }), [[5], true]);
    assert.deepEqual(await read({ after: offsets[2], limit: 1 }), [[4], true]);
    assert.deepEqual(await read({ before: offsets[4] }), [[3, 4], true]);
    assert.deepEqual(await read({ before: offsets[4], limit: 1 }), [[4], true]);
    assert.deepEqual(await read({ before: offsets[1] }), [[], true]);
    assert.deepEqual(await read({ after: offsets[2], before: offsets[4] }), [[4], true]);
    assert.deepEqual(await read({ after: offsets[4] }), [[], true]);
    assert.deepEqual(await read({ after: offsets[0] }), [[3, 4, 5], false]);
    assert.deepEqual(await read({ after: "other:1" }), [[3, 4, 5], false]);
    assert.deepEqual(await read({ before: "other:1" }), [[], false], "not the newest again");
    assert.deepEqual(await read({ before: offsets[4], after: "other:1" }), [[3, 4], false]);
    assert.equal(new Set(offsets).size, 5);
    await peer.close();
  });

  it("stays when the last member has gone, and is kept without members", async () => {
    await post(server, "/", { event: "say", args: ["log:2", "a", "b"] });
    await post(server, "/", { event: "frame", data: "log:2" });
    const peer = await connect(server);
    const { list } = (await peer.call("history", "log:2")).data;
    assert.deepEqual(
      list.map(({ offset, ...message }) => message),
      [
        { event: "said", args: ["a", "b"] },
        { kind: "text", data: "a frame" },
        { kind: "binary", data: "\u0000\u0001" },
      ],
    );
    assert.deepEqual((await peer.call("history", "no log")).data, { list: [], complete: true });
    const behind = (await peer.call("history", "no log", { after: list[0].offset })).data;
    assert.deepEqual(behind, { list: [], complete: false }, "who knows what was said there?");
    await peer.close();
  });
});

describe("namespaces", () => {
  const server = serving(APP);

  it("with parameters are worlds of their own", async () => {
    const [one, same, two] = await Promise.all(
      ["/tenant/1/x", "/tenant/1/x", "/tenant/2/x"].map((target) => connect(server, target)),
    );
    await Promise.all([one, same, two].map((peer) => peer.join("room")));
    assert.deepEqual((await one.call("params")).data, { id: "1", part: "x" });
    await one.call("say", "hello");
    assert.deepEqual(await same.next(), { event: "said", data: "hello", room: "room" });
    const outside = await connect(server);
    assert.deepEqual(await outside.call("tenants", "/tenant/2/x"), { data: 1 });
    assert.deepEqual(await two.next(), { event: "from outside" });
    await Promise.all([one, same, two, outside].map((peer) => peer.close()));
  });
});
