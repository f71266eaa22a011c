// Requests and answers as clients of HTTP see them: routes, the guard, CORS, errors of handlers.
// What no client would send is in http_wire, files are in static.
"use strict";

const assert = require("node:assert/strict");
const http = require("node:http");
const { describe, it } = require("node:test");
const { connect, get, metric, post, request, serving } = require("./support.js");

const APP = `
local mw = require "moonwire"
local app = { namespace = "/ns", routes = {}, events = {} }
local routes = app.routes

function app.on_request(request)
  if request.headers["x-banned"] then return nil, "forbidden", "go away" end
  if request.headers["x-hidden"] then return 404, "nothing here" end
  if request.headers["x-false"] then return false end
  if request.headers["x-broken"] then error "the guard is broken" end
  if request.headers["x-late"] then mw.sleep(0.01) end
  if request.headers["x-name"] then request.user = { id = request.headers["X-Name"] } end
end

function app.events.ping() return "pong" end

routes["GET /hello"] = function() return "hello" end
routes["GET /table"] = function() return { a = 1, list = mw.array { "x" }, none = mw.null } end
routes["GET /users/:id/posts/:post"] = function(request)
  return { params = request.params, query = request.query }
end
routes["GET /users/me"] = function() return "me" end
routes["GET /users/:id"] = function(request) return "user " .. request.params.id end
routes["DELETE /users/:id"] = function() return 204 end
routes["GET /status/:code"] = function(request) return tonumber(request.params.code), "body" end
routes["GET /nothing"] = function() end
routes["GET /fields"] = function()
  return 201, "<p>", { ["Content-Type"] = "text/html", ["X-Number"] = 7, ["Set-Cookie"] = { "a=1", "b=2" } }
end
routes["GET /split"] = function() return 200, "", { ["X-Evil"] = "a\\r\\nX-Injected: b" } end
routes["GET /refuse/:code"] = function(request) return nil, request.params.code, { n = 1 } end
routes["GET /broken"] = function() local nothing = nil; return nothing.field end
routes["GET /odd"] = function() return function() end end
routes["GET /cyclic"] = function() local t = {}; t.t = t; return t end
routes["GET /slow"] = function() mw.sleep(0.02) return "slow" end
routes["POST /json"] = function(request)
  return { json = request.json, bytes = #request.body, absent = request.json == nil }
end
routes["POST /body"] = function(request) return 200, request.body, { ["Content-Type"] = "application/octet-stream" } end
routes["GET /request"] = function(request)
  return {
    method = request.method, path = request.path, ip = request.ip, cookies = request.cookies,
    agent = request.headers["User-Agent"], user = request.user, token = request.auth.token,
  }
end
routes["GET /emit/:text"] = function(request)
  mw.namespace():emit("routed", request.params.text)
  return { listeners = mw.namespace():count() }
end

local open = {
  namespace = "/open",
  origins = { "https://a.example", "https://*.b.example" },
  routes = {
    ["GET /open/data"] = function() return { ok = true } end,
    ["PUT /open/data"] = function() return { put = true } end,
  },
}
return { app, open }
`;

describe("routes", () => {
  const server = serving(APP);
  const fetchIt = (target, options) => request(server.url, target, options);

  it("answer with text, a table, or nothing", async () => {
    const text = await fetchIt("/hello");
    assert.equal(text.status, 200);
    assert.equal(text.body, "hello");
    assert.match(text.headers["content-type"], /^text\/plain/);
    assert.ok(Date.parse(text.headers.date));
    const table = await fetchIt("/table");
    assert.deepEqual(table.json, { a: 1, list: ["x"], none: null });
    const nothing = await fetchIt("/nothing");
    assert.equal(nothing.status, 204);
    assert.equal(nothing.headers["content-length"], undefined);
  });

  it("answer with a status, a body and fields", async () => {
    const answer = await fetchIt("/fields");
    assert.equal(answer.status, 201);
    assert.equal(answer.body, "<p>");
    assert.equal(answer.headers["content-type"], "text/html");
    assert.equal(answer.headers["x-number"], "7");
    assert.deepEqual(answer.headers["set-cookie"], ["a=1", "b=2"]);
    for (const status of [200, 204, 304, 404, 418, 500, 599]) {
      assert.equal((await fetchIt(`/status/${status}`)).status, status);
    }
  });

  it("have parameters and queries, decoded", async () => {
    const answer = await fetchIt("/users/a%20b%26c/posts/%C3%A9?x=1&y=a+b%26&x=2&flag");
    assert.deepEqual(answer.json.params, { id: "a b&c", post: "é" });
    assert.equal(answer.json.query.y, "a b&");
    assert.equal(answer.json.query.flag, "");
  });

  it("with fixed words come before those with parameters", async () => {
    assert.equal((await fetchIt("/users/me")).body, "me");
    assert.equal((await fetchIt("/users/you")).body, "user you");
  });

  it("get JSON where it is JSON", async () => {
    const { json } = await post(server, "/json", { text: "κ", list: [], n: 1.5 });
    assert.deepEqual(json.json, { text: "κ", list: [], n: 1.5 });
    const bad = await fetchIt("/json", { method: "POST", body: "{'a':1}" });
    assert.deepEqual(bad.json, { bytes: 7, absent: true });
  });

  it("get bodies as they are", async () => {
    const body = Buffer.from([0, 1, 2, 13, 10, 255]);
    const answer = await fetchIt("/body", { method: "POST", body });
    assert.equal(answer.headers["content-length"], "6");
  });

  it("see the request", async () => {
    const headers = { "User-Agent": "test", Cookie: 'a=1; b="two"', "X-Name": "ana" };
    const { json } = await fetchIt("/request?token=secret", { headers });
    assert.deepEqual(json, {
      method: "GET",
      path: "/request",
      ip: "127.0.0.1",
      cookies: { a: "1", b: "two" },
      agent: "test",
      user: { id: "ana" },
      token: "secret",
    });
    const bearer = await fetchIt("/request", { headers: { Authorization: "Bearer abc" } });
    assert.equal(bearer.json.token, "abc");
  });

  it("answer HEAD with the head alone", async () => {
    const answer = await fetchIt("/hello", { method: "HEAD" });
    assert.equal(answer.status, 200);
    assert.equal(answer.headers["content-length"], "5");
    assert.equal(answer.body, "");
  });

  it("refuse other methods and name theirs", async () => {
    const answer = await fetchIt("/users/7", { method: "PUT", body: "x" });
    assert.equal(answer.status, 405);
    const allowed = answer.headers.allow.split(", ").sort();
    assert.deepEqual(allowed, ["DELETE", "GET", "HEAD"]);
    assert.equal((await fetchIt("/users/7", { method: "DELETE" })).status, 204);
  });

  it("are not found where there are none", async () => {
    for (const target of ["/nope", "/hello/", "/users", "/users/7/posts"]) {
      const answer = await fetchIt(target);
      assert.equal(answer.status, 404, target);
      assert.deepEqual(answer.json, { error: { code: "not_found" } });
    }
  });

  it("turn codes into statuses", async () => {
    const statuses = {
      unauthorized: 401,
      forbidden: 403,
      not_found: 404,
      rate_limited: 429,
      unavailable: 503,
      internal_error: 500,
      my_own: 400,
    };
    for (const [code, status] of Object.entries(statuses)) {
      const answer = await fetchIt(`/refuse/${code}`);
      assert.equal(answer.status, status);
      assert.deepEqual(answer.json, { error: { code, detail: { n: 1 } } });
    }
  });

  it("reach the clients of their namespace", async () => {
    const peer = await connect(server, "/ns");
    assert.deepEqual((await fetchIt("/emit/hey")).json, { listeners: 1 });
    assert.deepEqual(await peer.next(), { event: "routed", data: "hey" });
    await peer.close();
  });

  it("wait without holding others up, and keep the connection", async () => {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    const slow = fetchIt("/slow", { agent });
    const quick = await fetchIt("/hello");
    assert.equal(quick.body, "hello");
    assert.equal((await slow).body, "slow");
    const before = await metric(server, "moonwire_connections_accepted_total");
    for (let n = 0; n < 3; n++) await fetchIt("/hello", { agent });
    assert.equal(await metric(server, "moonwire_connections_accepted_total"), before + 1);
    agent.destroy();
  });
});

describe("errors in handlers", () => {
  const server = serving(APP);

  for (const [target, logged] of [
    ["/broken", /field 'field'|index a nil value/],
    ["/odd", /got a function/],
    ["/cyclic", /deep|cycl|nest/],
    ["/split", /line break/],
    ["/status/700", /200 to 599/],
  ]) {
    it(`at ${target} are answered with 500, and the connection stays`, async () => {
      const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
      const from = server.output().length;
      const answer = await request(server.url, target, { agent });
      assert.equal(answer.status, 500);
      assert.deepEqual(answer.json, { error: { code: "internal_error" } });
      assert.equal(answer.headers["x-injected"], undefined);
      await server.said(logged, from);
      assert.match(server.output().slice(from), /app\.lua:\d+|GET|route/);
      const next = await request(server.url, "/hello", { agent });
      assert.equal(next.body, "hello");
      assert.notEqual(answer.headers.connection, "close");
      agent.destroy();
    });
  }

  it("are counted", async () => {
    const name = 'moonwire_handler_errors_total{hook="route"}';
    const before = await metric(server, name);
    await request(server.url, "/broken");
    assert.equal(await metric(server, name), before + 1);
  });
});

describe("the guard", () => {
  const server = serving(APP);
  const guarded = (headers, target = "/hello") => request(server.url, target, { headers });

  it("lets pass what it says nothing about, at once or later", async () => {
    assert.equal((await guarded({})).body, "hello");
    assert.equal((await guarded({ "X-Late": "1" })).body, "hello");
  });

  it("refuses with a code, an answer of its own, or false", async () => {
    const coded = await guarded({ "X-Banned": "1" });
    assert.equal(coded.status, 403);
    assert.deepEqual(coded.json, { error: { code: "forbidden", detail: "go away" } });
    const own = await guarded({ "X-Hidden": "1" });
    assert.deepEqual([own.status, own.body], [404, "nothing here"]);
    assert.equal((await guarded({ "X-False": "1" })).status, 403);
  });

  it("stands before handshakes, streams and what is not there", async () => {
    const upgrade = { Upgrade: "websocket", Connection: "Upgrade", "X-Banned": "1" };
    for (const headers of [{ ...upgrade }, { Accept: "text/event-stream", "X-Banned": "1" }]) {
      assert.equal((await guarded(headers, "/ns")).status, 403);
    }
    assert.equal((await guarded({ "X-Banned": "1" }, "/nope")).status, 403);
  });

  it("that fails refuses", async () => {
    const answer = await guarded({ "X-Broken": "1" });
    assert.equal(answer.status, 500);
    await server.said(/the guard is broken/);
  });
});

describe("CORS", () => {
  const server = serving(APP);
  const from = (origin, options = {}) =>
    request(server.url, "/open/data", {
      ...options,
      headers: { Origin: origin, ...options.headers },
    });
  const preflight = (origin, method) =>
    from(origin, {
      method: "OPTIONS",
      headers: {
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "x-key",
      },
    });

  it("names an origin that is listed", async () => {
    for (const origin of ["https://a.example", "https://x.b.example"]) {
      const answer = await from(origin);
      assert.deepEqual(answer.json, { ok: true });
      assert.equal(answer.headers["access-control-allow-origin"], origin);
      assert.match(answer.headers.vary, /origin/i);
    }
  });

  it("does not name others", async () => {
    for (const origin of ["https://evil.example", "null", "https://a.example.evil.example"]) {
      const answer = await from(origin);
      assert.equal(answer.headers["access-control-allow-origin"], undefined);
    }
  });

  it("answers preflights by itself", async () => {
    const answer = await preflight("https://a.example", "PUT");
    assert.equal(answer.status, 204);
    assert.equal(answer.headers["access-control-allow-origin"], "https://a.example");
    assert.match(answer.headers["access-control-allow-methods"], /PUT/);
    assert.match(answer.headers["access-control-allow-headers"], /x-key/i);
    assert.equal((await preflight("https://evil.example", "PUT")).status, 403);
    const put = await from("https://a.example", { method: "PUT" });
    assert.deepEqual(put.json, { put: true });
  });
});

describe("/healthz and /metrics", () => {
  const server = serving(APP);

  it("are on the admin address alone", async () => {
    assert.equal((await get(`${server.admin}/healthz`)).body, "ok\n");
    assert.equal((await request(server.url, "/healthz")).status, 404);
    assert.equal((await request(server.url, "/metrics")).status, 404);
  });
});
