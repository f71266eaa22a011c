// on_event, which hears every event before its handler and may refuse it, and on_emit, which hears
// what Lua emits before it goes out.
"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const { describe, it } = require("node:test");
const { eventually } = require("../support.js");
const { connect, metric, post, serving } = require("./support.js");

const EVENTS = `
local mw = require "moonwire"
local app = { events = {} }
local all = mw.state("heard", {})
local ends = mw.state("ends", {})
local VERSION = 1

function app.on_event(client, event, ...)
  local heard = all[client.id] or mw.array {}
  all[client.id] = heard
  heard[#heard + 1] = mw.array { event, ... }
  if event == "slow" or event == "parting" then mw.sleep(0.02) end
  if event == "secret" then return nil, "forbidden", { why = "a secret" } end
  if event == "false" then return false end
  if event == "bug" then error "on_event is broken" end
  if event == "say" then (...).said = VERSION end
  return "what else it returns", "means nothing"
end

function app.events.id(client) return client.id end
function app.events.heard(client) return all[client.id] end
function app.events.slow(client, n) mw.sleep(n % 2 * 0.01) return n end
function app.events.fast(client, ...) return ... end
function app.events.say(client, message) return message end
function app.events.parting(client) ends[client.user.id] = "spoke" end
function app.on_disconnect(client) ends[client.id] = (ends[client.id] or "silent") .. ", gone" end
function app.events.ended(_, id) return ends[id] end
function app.events.secret() error "never" end
app.events["false"] = app.events.secret
app.events.bug = app.events.secret
app.events["*"] = function(client, event, ...) return "other", event, ... end

local strict = { namespace = "/strict", on_event = function() end, events = { known = function() return 1 end } }
return { app, strict }
`;

describe("on_event", () => {
  const server = serving(EVENTS);

  it("hears each event with its values, before its handler or events['*']", async () => {
    const peer = await connect(server);
    assert.deepEqual(await peer.call("fast", 1, null, { a: [] }), { args: [1, null, { a: [] }] });
    assert.deepEqual(await peer.call("unknown", 7), { args: ["other", "unknown", 7] });
    const { data } = await peer.call("heard");
    assert.deepEqual(data, [["fast", 1, null, { a: [] }], ["unknown", 7], ["heard"]]);
    await peer.close();
  });

  it("may change the values, which are the handler's", async () => {
    const peer = await connect(server);
    assert.deepEqual(await peer.call("say", { text: "hi" }), { data: { text: "hi", said: 1 } });
    await peer.close();
  });

  it("refuses, and that is the answer", async () => {
    const peer = await connect(server);
    assert.deepEqual(await peer.call("secret"), {
      error: { code: "forbidden", detail: { why: "a secret" } },
    });
    assert.deepEqual(await peer.call("false"), { error: { code: "forbidden" } });
    peer.emit("secret");
    const { status, json } = await post(server, "/", { event: "secret" });
    assert.deepEqual([status, json.error.code], [403, "forbidden"]);
    assert.deepEqual(await peer.call("fast", 1), { data: 1 });
    await peer.close();
  });

  it("that fails is an error of the event's, logged and counted", async () => {
    const peer = await connect(server);
    assert.deepEqual(await peer.call("bug"), { error: { code: "internal_error" } });
    await server.said(/event=bug in=on_event .*on_event is broken.*app\.lua:\d+/);
    assert.equal(await metric(server, 'moonwire_handler_errors_total{hook="on_event"}'), 1);
    assert.ok((await metric(server, 'moonwire_handler_calls_total{hook="on_event"}')) > 1);
    await peer.close();
  });

  it("may wait, and the order stays", async () => {
    const peer = await connect(server);
    const order = [];
    const calls = ["slow", "fast", "slow", "slow", "fast"].map((event, n) =>
      peer.call(event, n).then(({ data }) => order.push(data)),
    );
    await Promise.all(calls);
    assert.deepEqual(order, [0, 1, 2, 3, 4]);
    await peer.close();
  });

  it("that waits while its client goes is followed by the handler, then by on_disconnect", async () => {
    const peer = await connect(server);
    const witness = await connect(server);
    const { data: id } = await peer.call("id");
    peer.emit("parting");
    await peer.close();
    const end = await eventually("its end", async () => {
      const { data } = await witness.call("ended", id);
      return /gone/.test(data) && data;
    });
    assert.equal(end, "spoke, gone");
    await witness.close();
  });

  it("does not make an event known", async () => {
    const peer = await connect(server, "/strict");
    assert.deepEqual(await peer.call("known"), { data: 1 });
    assert.deepEqual(await peer.call("unknown"), { error: { code: "not_found" } });
    await peer.close();
  });

  it("follows a reload, also away and back", async () => {
    const peer = await connect(server);
    const load = async (source, version, message) => {
      fs.writeFileSync(server.file, source);
      server.signal("SIGHUP");
      await eventually(`version ${version}`, async () => {
        const { data } = await peer.call("say", {});
        return data?.said === message;
      });
    };
    await load(EVENTS.replace("VERSION = 1", "VERSION = 2"), 2, 2);
    await load(EVENTS.replace("app.on_event", "all.on_event"), 3, undefined);
    await load(EVENTS, 4, 1);
    await peer.close();
  });
});

const EMITS = `
local mw = require "moonwire"
local app = { events = {}, rooms = { ["log:*"] = { history = { size = 9 } } } }
local heard = {}

function app.on_join() return true end

local function describe(to)
  if type(to) == "userdata" and tostring(to):find "^client: " then return "client" end
  return tostring(to)
end

function app.on_emit(to, event, ...)
  heard[#heard + 1] = mw.array { describe(to), mw.namespace().name, event, ... }
  if event == "bug" then error({ code = "on_emit is broken" }) end
  if event == "wait" then mw.sleep(0.001) end
  if event == "echo" then to:emit("echoed", ...) mw.namespace():emit("echoed") end
end

function app.events.take()
  local all = mw.array(heard)
  heard = {}
  return all
end
function app.events.speak(client)
  client:emit("one", 1, 2)
  client:volatile():emit("two")
  client:to("a"):emit("three")
  mw.room("a"):except("b"):emit("four")
  mw.rooms { "a", "b" }:emit("five")
  mw.user("u"):emit("six")
  mw.namespace():emit("seven", nil, { 8 })
  client:broadcast("nine")
  client:except("b"):emit("ten")
  client:timeout(0.01):request("eleven")
  mw.room("nowhere"):request("twelve", 13)
  client:send("a frame is no event")
  mw.namespace("/other"):emit("elsewhere")
  return mw.room("log:1"):emit("kept")
end
function app.events.emit(client, event, ...)
  local ok, result = pcall(client.emit, client, event, ...)
  return ok, result
end
function app.events.bad(client) return pcall(client.emit, client, {}) end
function app.events.deep(client)
  local co = coroutine.wrap(function() client:emit("deep") return true end)
  return co()
end

local other = { namespace = "/other", events = {} }
function other.events.tell(client) mw.namespace("/"):emit("from other") end
return { app, other }
`;

describe("on_emit", () => {
  const server = serving(EMITS);

  it("hears each publication once, with whom it goes to", async () => {
    const [peer, second] = [await connect(server), await connect(server)];
    await Promise.all([peer.join("a"), second.join("a")]);
    await peer.call("take");
    assert.match((await peer.call("speak")).data, /:1$/);
    assert.deepEqual((await peer.call("take")).data, [
      ["client", "/", "one", 1, 2],
      ["a client with options", "/", "two"],
      ["a room: a", "/", "three"],
      ["a room: a", "/", "four"],
      ["mw.rooms", "/", "five"],
      ["a user: u", "/", "six"],
      ["a namespace: /", "/", "seven", null, [8]],
      ["a namespace: /", "/", "nine"],
      ["a namespace: /", "/", "ten"],
      ["a client with options", "/", "eleven"],
      ["a room: nowhere", "/", "twelve", 13],
      ["a room: log:1", "/", "kept"],
    ]);
    for (const event of ["three", "four", "five", "seven", "nine", "ten"]) {
      assert.equal((await second.next()).event, event);
    }
    await Promise.all([peer.close(), second.close()]);
  });

  it("runs in the namespace that is spoken to, also from another", async () => {
    const [peer, other] = [await connect(server), await connect(server, "/other")];
    await peer.call("take");
    await other.call("tell");
    assert.equal((await peer.next()).event, "from other");
    assert.deepEqual((await peer.call("take")).data, [["a namespace: /", "/", "from other"]]);
    await Promise.all([peer.close(), other.close()]);
  });

  it("may emit, and does not hear that", async () => {
    const peer = await connect(server);
    await peer.call("take");
    await peer.call("emit", "echo", 5);
    assert.deepEqual(await peer.next(), { event: "echoed", data: 5 });
    assert.deepEqual(await peer.next(), { event: "echoed" });
    assert.deepEqual(await peer.next(), { event: "echo", data: 5 });
    assert.deepEqual((await peer.call("take")).data, [["client", "/", "echo", 5]]);
    await peer.close();
  });

  it("that fails or would wait is logged, and what is emitted goes out", async () => {
    const peer = await connect(server);
    for (const event of ["bug", "wait"]) {
      assert.deepEqual(await peer.call("emit", event), { args: [true, true] });
      assert.deepEqual(await peer.next(), { event });
    }
    await server.said(/hook=on_emit event=bug namespace=\/ error=.* at=.*app\.lua:\d+/);
    await server.said(/event=wait .*mw\.sleep cannot wait inside on_emit/);
    assert.equal(await metric(server, 'moonwire_handler_errors_total{hook="on_emit"}'), 2);
    assert.deepEqual((await peer.call("deep")).data, true);
    assert.equal((await peer.next()).event, "deep");
    assert.equal((await peer.call("bad")).args[0], false);
    await peer.close();
  });
});
