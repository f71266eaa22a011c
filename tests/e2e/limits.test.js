// What protects the server from handlers: the time budget, the cap on memory, and errors, which are
// logged once, with the lines of the user's code, and harm nobody else.
"use strict";

const assert = require("node:assert/strict");
const { describe, it } = require("node:test");
const { connect, metric, request, serving } = require("./support.js");

const APP = `
local mw = require "moonwire"
local app = { events = {}, routes = {}, timers = {} }
local events = app.events

function events.ping() return "pong" end

-- time
function events.loop() while true do end end
function events.pcall_loop() while true do pcall(function() while true do end end) end end
function events.coroutine_loop() coroutine.wrap(function() while true do pcall(error) end end)() end
function events.close_loop()
  local guard <close> = setmetatable({}, { __close = function() while true do end end })
  while true do end
end
function events.meta_loop() return setmetatable({}, { __index = function() while true do end end }).x end
function events.sort_loop()
  return table.sort({ 1, 2, 3 }, function() while true do end end)
end
function events.waits_before(client)
  mw.sleep(0.01)
  while true do end
end
function events.long_but_waiting()
  for i = 1, 6 do
    local stop = os.clock() + 0.02
    while os.clock() < stop do end
    mw.sleep(0)
  end
  return "done"
end
function events.spawned_loop() mw.spawn(function() while true do end end); return "spawned" end
function events.gc() setmetatable({}, { __gc = function() end }) end
app.routes["GET /loop"] = function() while true do end end
app.routes["GET /ping"] = function() return "pong" end
function app.on_join(client, room) while true do end end

-- memory
function events.table() local t = {} for i = 1, math.huge do t[i] = { i } end end
function events.string() return #string.rep("x", 1 << 30) end
function events.concat() local s = "x" while true do s = s .. s end end
function events.pcall_memory()
  local ok, why = pcall(function() local t = {} for i = 1, math.huge do t[i] = ("x"):rep(1000) .. i end end)
  return { ok = ok, why = why }
end
function events.keep(client, bytes)
  client.data.kept = client.data.kept or {}
  table.insert(client.data.kept, ("x"):rep(bytes))
  return #client.data.kept
end
app.routes["GET /memory"] = function() local s = "x" while true do s = s .. s end end

-- errors
local function deep(n) if n == 0 then error "at the bottom" end return 1 + deep(n - 1) end
function events.deep() return deep(2) end
function events.value() error { code = 7 } end
function events.object() error(setmetatable({}, { __tostring = function() return "an object" end })) end
function events.evil() error(setmetatable({}, { __tostring = function() error "again" end })) end
function events.none() error() end
function events.recursion() local function f() return f() + 1 end return f() end
function events.after_wait() mw.sleep(0.01) error "after waiting" end
function events.wrong_reply() return print end
function events.exit() os.exit(3) end
return app
`;

// What the log says about a failed handler, from an index on.
function failures(server, from) {
  const lines = server
    .output()
    .slice(from)
    .split("\n")
    .filter((line) => line.startsWith("{"));
  return lines.map((line) => JSON.parse(line)).filter((line) => line.message === "handler failed");
}

describe("a handler that does not end", () => {
  const server = serving(APP, { args: ["--log-json", "--handler-budget", "0.1"] });

  for (const event of [
    "loop",
    "pcall_loop",
    "coroutine_loop",
    "close_loop",
    "meta_loop",
    "sort_loop",
    "waits_before",
  ]) {
    it(`in ${event} is ended, and only it`, async () => {
      const [one, two] = [await connect(server), await connect(server)];
      const from = server.output().length;
      const looping = one.call(event);
      const other = two.call("ping");
      assert.deepEqual(await looping, { error: { code: "internal_error" } });
      assert.deepEqual(await other, { data: "pong" });
      assert.deepEqual(await one.call("ping"), { data: "pong" });
      await server.said(/handler failed.*\n/, from);
      const [failure] = failures(server, from);
      assert.match(failure.error, /budget|without waiting|0\.1/);
      assert.match(failure.at, /app\.lua:\d+/);
      await one.close();
      await two.close();
    });
  }

  it("in a route is answered with 500", async () => {
    assert.equal((await request(server.url, "/loop")).status, 500);
    assert.equal((await request(server.url, "/ping")).body, "pong");
  });

  it("in on_join joins nothing", async () => {
    const peer = await connect(server);
    assert.deepEqual(await peer.join("a"), { error: { code: "internal_error" } });
    await peer.close();
  });

  it("in a spawned function is ended too", async () => {
    const peer = await connect(server);
    const from = server.output().length;
    assert.deepEqual(await peer.call("spawned_loop"), { data: "spawned" });
    await server.said(/"hook":"spawn"/, from);
    await peer.close();
  });

  it("but waits now and then may take its time", async () => {
    const peer = await connect(server);
    assert.deepEqual(await peer.call("long_but_waiting"), { data: "done" });
    await peer.close();
  });

  it("has no finalizers to hide in", async () => {
    const peer = await connect(server);
    assert.deepEqual(await peer.call("gc"), { error: { code: "internal_error" } });
    await server.said(/__gc/);
    await peer.close();
  });
});

describe("a handler that wants all memory", () => {
  const server = serving(APP, {
    args: ["--log-json", "--lua-memory", "24M", "--handler-budget", "30"],
  });

  for (const event of ["table", "string", "concat"]) {
    it(`in ${event} gets an error, and the server goes on`, async () => {
      const [one, two] = [await connect(server), await connect(server)];
      const from = server.output().length;
      assert.deepEqual(await one.call(event), { error: { code: "internal_error" } });
      assert.deepEqual(await two.call("ping"), { data: "pong" });
      await server.said(/handler failed.*\n/, from);
      assert.match(failures(server, from)[0].error, /not enough memory/);
      await one.close();
      await two.close();
    });
  }

  it("may catch it", async () => {
    const peer = await connect(server);
    const { ok, why } = (await peer.call("pcall_memory")).data;
    assert.deepEqual([ok, why], [false, "not enough memory"]);
    assert.equal((await request(server.url, "/memory")).status, 500);
    await peer.close();
  });

  it("may keep what it has until its client goes", async () => {
    const greedy = await connect(server);
    let kept = 0;
    for (;;) {
      const { data, error } = await greedy.call("keep", 1 << 20);
      if (error) break;
      kept = data;
    }
    assert.ok(kept > 4, `${kept} MiB`);
    await greedy.close();
    const next = await connect(server);
    // It is Lua's garbage by now, at the latest after one more failure.
    await next.call("keep", 4 << 20);
    assert.ok((await next.call("keep", 4 << 20)).data >= 1);
    assert.ok((await metric(server, "moonwire_lua_memory_bytes")) <= 24 * 1024 * 1024);
    await next.close();
  });
});

describe("an error", () => {
  const server = serving(APP, { args: ["--log-json", "--handler-budget", "30"] });

  const MESSAGES = {
    deep: /app\.lua:\d+: at the bottom$/,
    value: /\{"code":7\}/,
    object: /an object/,
    evil: /cannot be shown/,
    none: /nil/,
    recursion: /stack overflow/,
    after_wait: /after waiting/,
    wrong_reply: /answer.*function|function.*JSON/,
    exit: /exit/,
  };
  for (const [event, message] of Object.entries(MESSAGES)) {
    it(`of ${event} is logged once and answered`, async () => {
      const peer = await connect(server);
      const from = server.output().length;
      assert.deepEqual(await peer.call(event), { error: { code: "internal_error" } });
      assert.deepEqual(await peer.call("ping"), { data: "pong" });
      await server.said(/handler failed.*\n/, from);
      const all = failures(server, from);
      assert.equal(all.length, 1);
      assert.match(all[0].error, message);
      assert.equal(all[0].hook, "event");
      assert.equal(String(all[0].version), "1");
      await peer.close();
    });
  }

  it("comes with the lines of the user's code, innermost first", async () => {
    const peer = await connect(server);
    const from = server.output().length;
    await peer.call("deep");
    await server.said(/handler failed.*\n/, from);
    const [{ at }] = failures(server, from);
    const lines = at.split(" < ");
    assert.ok(lines.length >= 3, at);
    assert.match(lines[0], /app\.lua:\d+ in .*deep/);
    lines.forEach((line) => assert.match(line, /app\.lua:\d+/));
    await peer.close();
  });

  it("is counted", async () => {
    const name = 'moonwire_handler_errors_total{hook="event"}';
    const before = await metric(server, name);
    const peer = await connect(server);
    await peer.call("deep");
    assert.equal(await metric(server, name), before + 1);
    await peer.close();
  });

  it("does not silence who asks for no reply", async () => {
    const peer = await connect(server);
    peer.emit("deep");
    assert.deepEqual(await peer.call("ping"), { data: "pong" });
    assert.equal(peer.inbox.items.length, 0);
    await peer.close();
  });
});
