// The library that handlers have beside clients and rooms: waiting, spawning, timers, state, JSON,
// the log and the environment.
"use strict";

const assert = require("node:assert/strict");
const { describe, it } = require("node:test");
const { connect, metric, serving } = require("./support.js");

const APP = `
local mw = require "moonwire"
local helper = require "lib.helper"
local app = { rooms = { log = { history = { size = 5 } } }, events = {}, timers = {} }
local events = app.events

local waits_at_load = pcall(mw.sleep, 0)
mw.spawn(function() mw.state("spawned at load", {}).ran = true end)

function app.on_connect(client)
  client.data.count = 0
  client:emit("hello", {
    user = client.user, wire = client.wire, namespace = client.namespace, connected = client.connected,
    recovered = client.recovered, agent = client.request.headers["User-Agent"], query = client.request.query.q,
    params = client.params,
  })
end

function events.count(client) client.data.count = client.data.count + 1; return client.data.count end
function events.field(client) client.nickname = "x" end
function events.unknown(client) return client.nickname end
function events.load() return { waits = waits_at_load, spawned = mw.state("spawned at load").ran, helper = helper.double(21) } end

-- waiting
function events.sleep(client, seconds)
  mw.sleep(seconds)
  return true
end
function events.spawn(client, ...)
  local order = {}
  mw.spawn(function(...)
    order[#order + 1] = "spawned " .. table.concat({ ... }, " ")
    mw.sleep(0)
    client:emit("spawned", order)
  end, ...)
  order[#order + 1] = "after"
  return true
end
function events.in_sort()
  local ok, why = pcall(function() table.sort({ 2, 1 }, function(a, b) mw.sleep(0) return a < b end) end)
  return { ok = ok, why = why }
end
function events.coroutine()
  local seen = mw.array()
  local co = coroutine.wrap(function() for i = 1, 3 do mw.sleep(0) coroutine.yield(i) end end)
  for i = 1, 3 do seen[i] = co() end
  return seen
end
function events.pcall()
  local ok, err = pcall(function() mw.sleep(0) error({ code = 7 }) end)
  return { ok = ok, code = err.code }
end

-- values
function events.echo(client, ...) return ... end
function events.encode(client, what)
  if what == "nan" then return mw.json.encode({ list = { 1, 0 / 0 } }) end
  if what == "function" then return mw.json.encode({ f = print }) end
  return mw.json.encode { empty = {}, array = mw.array(), list = { 1, 2.0, 2.5 }, object = mw.object { 1 }, null = mw.null,
                          big = math.maxinteger, text = "\\u{1F319}\\0" }
end
function events.decode(client, text)
  local value, code, detail = mw.json.decode(text)
  return { value = value, code = code, detail = detail }
end
function events.state(client, name)
  local state = mw.state(name, { n = 0 })
  state.n = state.n + 1
  return state.n
end
function events.time() return { now = mw.now(), iso = mw.iso(), old = mw.iso(0.5) } end
function events.env() return mw.env.MOONWIRE_TEST end
function events.log()
  mw.log.info("structured", { name = "ana", n = 7, list = { 1, 2 } })
  mw.log.debug "too low to be seen"
  mw.log.warn "a warning"
  mw.log.error("many\\nlines \\27[31m")
  mw.log("plain")
  print("printed", 1, nil)
end
function events.history_of_room() return mw.room("log"):emit("x"):match "^[^:]+:%d+$" ~= nil end

-- timers
function events.start(client) client:join "timed" end
app.timers.tick = { every = 0.01, run = function()
  local ticks = mw.state("ticks", { n = 0 })
  ticks.n = ticks.n + 1
  if ticks.n % 5 == 0 then error "every fifth tick is broken" end
  mw.room("timed"):emit("tick", ticks.n)
end }

return app
`;

const FILES = {
  "app.lua": APP,
  "lib/helper.lua": "return { double = function(n) return 2 * n end }",
};
const OPTIONS = { env: { MOONWIRE_TEST: "of the environment" }, args: ["--log-json"] };

describe("a client in Lua", () => {
  const server = serving(FILES, OPTIONS);

  it("has its fields", async () => {
    const peer = await connect(server, "/?q=a%20b", { headers: { "User-Agent": "test" } });
    const { data } = await peer.next();
    assert.deepEqual(data.user, { id: data.user.id });
    const { user, ...rest } = data;
    assert.equal(user.id.length, 16);
    assert.deepEqual(rest, {
      wire: "websocket",
      namespace: "/",
      connected: true,
      recovered: false,
      agent: "test",
      query: "a b",
      params: {},
    });
    await peer.close();
  });

  it("keeps what the app puts into data, and nothing elsewhere", async () => {
    const [one, two] = [await connect(server), await connect(server)];
    assert.deepEqual((await one.call("count")).data, 1);
    assert.deepEqual((await one.call("count")).data, 2);
    assert.deepEqual((await two.call("count")).data, 1);
    assert.deepEqual(await one.call("field"), { error: { code: "internal_error" } });
    await server.said(/client\.nickname cannot be set.*client\.data/);
    assert.deepEqual(await one.call("unknown"), { error: { code: "internal_error" } });
    await one.close();
    await two.close();
  });
});

describe("waiting", () => {
  const server = serving(FILES, OPTIONS);

  it("is not possible while a file loads, and what is spawned then begins later", async () => {
    const peer = await connect(server);
    const load = { waits: false, spawned: true, helper: 42 };
    assert.deepEqual((await peer.call("load")).data, load);
    await peer.close();
  });

  it("parks one handler and nobody else", async () => {
    const [one, two] = [await connect(server), await connect(server)];
    const order = [];
    await Promise.all([
      one.call("sleep", 0.05).then(({ data }) => order.push(["slept", data])),
      two.call("count").then(({ data }) => order.push(["counted", data])),
    ]);
    assert.deepEqual(order, [
      ["counted", 1],
      ["slept", true],
    ]);
    await one.close();
    await two.close();
  });

  it("works in pcall and coroutines, and says where it cannot", async () => {
    const peer = await connect(server);
    assert.deepEqual((await peer.call("pcall")).data, { ok: false, code: 7 });
    assert.deepEqual((await peer.call("coroutine")).data, [1, 2, 3]);
    const { ok, why } = (await peer.call("in_sort")).data;
    assert.equal(ok, false);
    assert.match(why, /mw\.sleep cannot wait inside 'sort'/);
    await peer.close();
  });

  it("is not what spawning does", async () => {
    const peer = await connect(server);
    await peer.next();
    assert.deepEqual(await peer.call("spawn", "a", "b"), { data: true });
    const { event, data } = await peer.next();
    assert.equal(event, "spawned");
    assert.deepEqual([...data].sort(), ["after", "spawned a b"]);
    await peer.close();
  });

  it("is not what timers do: they run again and again, errors or not", async () => {
    const peer = await connect(server);
    await peer.call("start");
    const ticks = [];
    while (ticks.length < 10) {
      const { event, data } = await peer.next();
      if (event === "tick") ticks.push(data);
    }
    assert.ok(ticks.every((tick) => tick % 5 !== 0));
    assert.ok(ticks.at(-1) > 10);
    await server.said(/every fifth tick is broken/);
    assert.ok((await metric(server, 'moonwire_handler_errors_total{hook="timer"}')) > 0);
    await peer.close();
  });
});

describe("values", () => {
  const server = serving(FILES, OPTIONS);

  it("become JSON, or an error that names the place", async () => {
    const peer = await connect(server);
    const text = (await peer.call("encode")).data;
    assert.match(text, /"list":\[1,2,2\.5\]/);
    assert.match(text, /"big":9223372036854775807/);
    const value = JSON.parse(text);
    assert.deepEqual(
      [value.empty, value.array, value.object, value.null],
      [{}, [], { 1: 1 }, null],
    );
    assert.equal(value.text, "🌙\u0000");
    for (const what of ["nan", "function"]) {
      assert.deepEqual(await peer.call("encode", what), { error: { code: "internal_error" } });
    }
    await server.said(/list\[2\].*NaN/i);
    await peer.close();
  });

  it("come from JSON, or not", async () => {
    const peer = await connect(server);
    assert.deepEqual((await peer.call("decode", '{"a":[1,{}],"b":null}')).data, {
      value: { a: [1, {}], b: null },
    });
    for (const bad of [
      "",
      "{",
      "[1,]",
      "01",
      "nul",
      '"\n"',
      "[1] 2",
      "[".repeat(65) + "]".repeat(65),
    ]) {
      const { code, detail } = (await peer.call("decode", bad)).data;
      assert.equal(code, "bad_json", bad);
      assert.ok(detail.length > 0);
    }
    await peer.close();
  });

  it("stay where mw.state keeps them", async () => {
    const peer = await connect(server);
    assert.equal((await peer.call("state", "a")).data, 1);
    assert.equal((await peer.call("state", "a")).data, 2);
    assert.equal((await peer.call("state", "b")).data, 1);
    assert.equal((await peer.call("history_of_room")).data, true);
    await peer.close();
  });

  it("of time and the environment are right", async () => {
    const peer = await connect(server);
    const { now, iso, old } = (await peer.call("time")).data;
    assert.ok(Math.abs(now * 1000 - Date.parse(iso)) < 1000);
    assert.match(iso, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    assert.equal(old, "1970-01-01T00:00:00.500Z");
    assert.equal((await peer.call("env")).data, "of the environment");
    await peer.close();
  });

  it("go to the log, a line each", async () => {
    const peer = await connect(server);
    const from = server.output().length;
    await peer.call("log");
    await server.said(/printed/, from);
    const lines = server
      .output()
      .slice(from)
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    assert.deepEqual(
      lines.map(({ level, message }) => [level, message]),
      [
        ["info", "structured"],
        ["warn", "a warning"],
        ["error", "many\nlines \u001b[31m"],
        ["info", "plain"],
        ["info", "printed\t1\tnil"],
      ],
    );
    assert.equal(lines[0].name, "ana");
    assert.equal(String(lines[0].n), "7");
    assert.equal(String(lines[0].version), "1");
    assert.doesNotMatch(server.output(), /\u001b/);
    await peer.close();
  });
});
