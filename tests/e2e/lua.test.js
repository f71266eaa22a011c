// The library that handlers have beside clients and rooms: waiting, spawning, timers, state, JSON,
// the log, the environment and requests to other servers.
"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const http = require("node:http");
const https = require("node:https");
const net = require("node:net");
const path = require("node:path");
const { after, before, describe, it } = require("node:test");
const { eventually } = require("../support.js");
const { connect, metric, request, serving } = require("./support.js");

const APP = `
local mw = require "moonwire"
local helper = require "lib.helper"
local app = { rooms = { log = { history = { size = 5 } } }, events = {}, timers = {}, routes = {} }
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
  local before = mw.now()
  mw.sleep(seconds)
  return mw.now() - before >= seconds
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

-- requests to others
function events.http(client, method, url, options)
  local answer, code, detail = mw.http[method](url, options)
  if not answer then return { code = code, detail = detail } end
  return { status = answer.status, body = answer.body, type = answer.headers["content-type"], json = answer:json() }
end
app.routes["GET /proxy"] = function(request)
  local answer, code = mw.http.get(request.query.url)
  if not answer then return nil, "unavailable", code end
  return answer.status, answer.body
end
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

describe("mw.http", () => {
  const server = serving(FILES, OPTIONS);
  const pem = fs.readFileSync(path.join(__dirname, "self-signed.pem"));
  let other;
  let secure;
  let silent;
  let gone = 0;

  function answer(asked, answered) {
    const { pathname } = new URL(asked.url, "http://x");
    if (pathname === "/hang") return asked.on("close", () => gone++);
    if (pathname === "/cut") return asked.socket.destroy();
    if (pathname === "/status") return answered.writeHead(418).end("teapot");
    if (pathname === "/moved") return answered.writeHead(302, { Location: "/json" }).end();
    if (pathname === "/large") return answered.end(Buffer.alloc(100_000, "x"));
    let body = "";
    asked.on("data", (piece) => (body += piece));
    asked.on("end", () => {
      answered.setHeader("Content-Type", "application/json");
      const { method, url, headers } = asked;
      answered.end(
        JSON.stringify({ method, url, type: headers["content-type"], key: headers["x-key"], body }),
      );
    });
  }

  const listening = (it) => new Promise((resolve) => it.listen(0, "127.0.0.1", () => resolve(it)));
  const urlOf = (it, scheme = "http") => `${scheme}://127.0.0.1:${it.address().port}`;

  before(async () => {
    other = await listening(http.createServer(answer));
    secure = await listening(https.createServer({ key: pem, cert: pem }, answer));
    silent = await listening(net.createServer(() => {}));
  });
  after(() => {
    [other, secure].forEach((each) => each.closeAllConnections());
    [other, secure, silent].forEach((each) => each.close());
  });

  async function ask(method, target, options = {}) {
    const peer = await connect(server);
    const { data, error } = await peer.call("http", method, target, options);
    await peer.close();
    return data ?? error;
  }

  it("gets, posts and puts", async () => {
    const got = await ask("get", `${urlOf(other)}/json?a=1`, {
      query: { b: "c d&", n: [1, 2] },
      headers: { "X-Key": "k" },
    });
    assert.equal(got.status, 200);
    assert.deepEqual(
      [got.json.method, got.json.url, got.json.key],
      ["GET", "/json?a=1&b=c%20d%26&n=1&n=2", "k"],
    );
    const posted = await ask("post", `${urlOf(other)}/x`, { json: { a: [1] } });
    assert.deepEqual([posted.json.body, posted.json.type], ['{"a":[1]}', "application/json"]);
    const put = await ask("put", `${urlOf(other)}/x`, {
      body: "text",
      headers: { "Content-Type": "text/plain" },
    });
    assert.deepEqual(
      [put.json.method, put.json.body, put.json.type],
      ["PUT", "text", "text/plain"],
    );
    assert.deepEqual(await ask("get", `${urlOf(other)}/status`), {
      status: 418,
      body: "teapot",
    });
  });

  it("follows redirects only where it is asked to", async () => {
    assert.equal((await ask("get", `${urlOf(other)}/moved`)).status, 302);
    assert.equal((await ask("get", `${urlOf(other)}/moved`, { redirects: 1 })).status, 200);
  });

  it("says why there is no answer", async () => {
    const unused = await listening(net.createServer());
    const nobody = urlOf(unused);
    await new Promise((resolve) => unused.close(resolve));
    assert.equal((await ask("get", nobody)).code, "connect");
    assert.equal((await ask("get", urlOf(silent), { timeout: 0.05 })).code, "timeout");
    assert.equal((await ask("get", `${urlOf(other)}/cut`)).code, "broken");
    assert.equal((await ask("get", `${urlOf(other)}/large`, { max_body: 1000 })).code, "too_large");
    assert.equal((await ask("get", "file:///etc/passwd")).code, "bad_url");
    assert.equal((await ask("get", "http://has space/")).code, "bad_url");
  });

  it("trusts no certificate that nobody has signed", async () => {
    const { code, detail } = await ask("get", urlOf(secure, "https"));
    assert.equal(code, "tls");
    assert.match(detail, /certificate/);
  });

  it("waits while others are served, and many at once", async () => {
    const peer = await connect(server);
    const asked = peer.call("http", "get", `${urlOf(silent)}/`, { timeout: 30 });
    asked.catch(() => {});
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, n) =>
        request(server.url, `/proxy?url=${encodeURIComponent(`${urlOf(other)}/${n}`)}`),
      ),
    );
    answers.forEach(({ body }, n) => assert.equal(JSON.parse(body).url, `/${n}`));
    peer.socket.terminate();
  });

  it("is given up when the server ends", async () => {
    const peer = await connect(server);
    peer.call("http", "get", `${urlOf(other)}/hang`).catch(() => {});
    await new Promise((resolve) => other.once("request", resolve));
    await server.stop();
    await eventually("the request is given up", () => gone === 1);
  });
});
