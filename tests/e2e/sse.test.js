// Server-sent events: what EventSource hears, the bytes of a stream, and streams that end.
"use strict";

const assert = require("node:assert/strict");
const http = require("node:http");
const { describe, it } = require("node:test");
const { packages, within } = require("../support.js");
const { Inbox, connect, metric, post, request, serving, stream } = require("./support.js");
const { dial } = require("./wire.js");
const { EventSource } = packages("eventsource");

const APP = `
local mw = require "moonwire"
local app = {
  rooms = { ["log:*"] = { history = { size = 10 } } },
  events = {}, routes = {},
}
local events = app.events

function app.on_auth(request)
  local name = request.query.user or "anonymous"
  if name == "nobody" then return nil, "unauthorized", "say who you are" end
  if name == "broken" then error "on_auth is broken" end
  return { id = name }
end

function app.on_connect(client)
  client:emit("connected", { user = client.user.id, wire = client.wire })
end

function app.on_join(client, room, options)
  if room.name == "secret" then return nil, "forbidden", "no" end
  return { history = room:history { after = options.after } }
end

function app.on_disconnect(client, reason)
  mw.room("watch"):emit("gone", client.user.id, client.wire, reason)
end

function events.say(client, room, ...) return mw.room(room):emit("said", ...) end
function events.kick(client, user) return mw.user(user):disconnect("kicked") end
function events.bye(client) client:disconnect("bye") end
function events.forms(client)
  client:send("one\\ntwo\\r\\nthree\\rfour\\n")
  client:emit("message", "plain\\ntext")
  client:emit("message", { a = "line\\nline" })
  client:emit("none")
  client:emit("two", 1, "x")
  client:send("\\0\\1\\2", "binary")
  client:emit("evil\\ndata: injected", 1)
  client:emit("last", mw.null)
end

app.routes["GET /stream/:room"] = function(request)
  return mw.sse(request, { rooms = { request.params.room, "all" } })
end
app.routes["POST /stream/:room"] = function(request)
  mw.room(request.params.room):emit("update", request.json)
  return 202
end

return {
  app,
  {
    namespace = "/ticks",
    on_connect = function(client) client:emit("message", "connected") end,
    timers = { tick = { every = 0.02, run = function() mw.namespace():emit("tick", { now = mw.now() }) end } },
  },
}
`;

function listen(source, ...names) {
  const inbox = new Inbox("an EventSource");
  for (const name of names) {
    source.addEventListener(name, (event) => {
      inbox.put({ type: event.type, data: event.data, id: event.lastEventId });
    });
  }
  return inbox;
}

describe("EventSource", () => {
  const server = serving(APP);

  it("is connected and hears of updates", async () => {
    const source = new EventSource(`${server.url}/ticks`);
    const inbox = listen(source, "message", "tick");
    assert.deepEqual(await inbox.take(), { type: "message", data: "connected", id: "" });
    for (let n = 0; n < 3; n++) {
      const tick = await inbox.take();
      assert.equal(tick.type, "tick");
      assert.ok(JSON.parse(tick.data).now > 0);
    }
    source.close();
  });

  it("gets text of several lines, and what POSTs have brought", async () => {
    const source = new EventSource(`${server.url}/stream/news?user=ana`);
    const inbox = listen(source, "connected", "update");
    assert.deepEqual(JSON.parse((await inbox.take()).data), { user: "ana", wire: "sse" });
    assert.equal((await post(server, "/stream/news", { text: "a\nb" })).status, 202);
    assert.deepEqual(JSON.parse((await inbox.take()).data), { text: "a\nb" });
    source.close();
  });

  it("comes again with the last id, and gets what it has missed", async () => {
    const source = new EventSource(`${server.url}/?user=ben&room=log:1`);
    const inbox = listen(source, "joined", "said");
    const { offset, ...joined } = JSON.parse((await inbox.take()).data);
    assert.deepEqual(joined, { room: "log:1", data: { history: [] } });
    assert.match(offset, /:0$/);
    const say = (text) => post(server, "/", { event: "say", args: ["log:1", text] });
    await say("first");
    const first = await inbox.take();
    assert.equal(first.data, '"first"');
    assert.notEqual(first.id, "");

    assert.equal((await post(server, "/", { event: "kick", data: "ben" })).json, 1);
    await say("second");
    const { data, recovered } = JSON.parse((await inbox.take()).data);
    assert.deepEqual(
      data.history.map((message) => message.data),
      ["second"],
    );
    assert.equal(recovered, true);
    source.close();
  });

  it("is refused by on_auth", async () => {
    const source = new EventSource(`${server.url}/?user=nobody`);
    const error = await within(new Promise((resolve) => (source.onerror = resolve)), "an error");
    assert.equal(error.code, 401);
    source.close();
  });
});

describe("a stream", () => {
  const server = serving(APP);

  it("begins with its fields, a time to come again, and on_connect's words", async () => {
    const events = await stream(server, "/?user=ana");
    assert.match(events.headers["content-type"], /^text\/event-stream/);
    assert.match(events.headers["cache-control"], /no-store/);
    assert.equal(events.headers["x-accel-buffering"], "no");
    assert.match((await events.next()).retry, /^\d+$/);
    const { event, data } = await events.next();
    assert.equal(event, "connected");
    assert.deepEqual(JSON.parse(data), { user: "ana", wire: "sse" });
    events.destroy();
  });

  it("writes every kind of message", async () => {
    const events = await stream(server, "/?sid=new");
    const { sid } = JSON.parse((await events.next("sid")).data);
    await events.next("connected");
    assert.equal((await post(server, `/?sid=${sid}`, { event: "forms" })).status, 204);
    assert.deepEqual(await events.next(), { data: "one\ntwo\nthree\nfour\n" });
    assert.deepEqual(await events.next(), { data: "plain\ntext" });
    assert.deepEqual(await events.next(), { data: '{"a":"line\\nline"}' });
    assert.deepEqual(await events.next(), { event: "none", data: "null" });
    assert.deepEqual(await events.next(), { event: "two", data: '[1,"x"]' });
    assert.deepEqual(await events.next(), { event: "binary", data: "AAEC" });
    assert.deepEqual(await events.next(), { event: "evildata: injected", data: "1" });
    assert.deepEqual(await events.next(), { event: "last", data: "null" });
    events.destroy();
  });

  it("joins the rooms of its URL, or hears why not", async () => {
    const events = await stream(server, "/?room=log:2&room=secret&room=");
    const { offset: begin, ...joined } = JSON.parse((await events.next("joined")).data);
    assert.deepEqual(joined, { room: "log:2", data: { history: [] } });
    assert.match(begin, /:0$/);
    const refused = JSON.parse((await events.next("refused")).data);
    assert.deepEqual(refused, { room: "secret", error: { code: "forbidden", detail: "no" } });
    const { json: offset } = await post(server, "/", { event: "say", args: ["log:2", "x"] });
    assert.deepEqual(await events.next(), { event: "said", data: '"x"', id: offset });
    events.destroy();

    await post(server, "/", { event: "say", args: ["log:2", "y"] });
    const later = await stream(server, "/?room=log:2", { headers: { "Last-Event-ID": offset } });
    const { data } = JSON.parse((await later.next("joined")).data);
    assert.deepEqual(
      data.history.map((message) => message.data),
      ["y"],
    );
    later.destroy();
  });

  it("is opened by a route with rooms of its own", async () => {
    const events = await stream(server, "/stream/weather?user=cleo");
    await events.next("connected");
    await post(server, "/", { event: "say", args: ["all", "hello"] });
    assert.deepEqual(await events.next(), { event: "said", data: '"hello"' });
    events.destroy();
    assert.equal((await request(server.url, "/stream/weather?user=nobody")).status, 401);
  });

  it("is announced to HEAD without being opened", async () => {
    const before = await metric(server, 'moonwire_clients_total{wire="sse"}');
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    const options = { method: "HEAD", headers: { Accept: "text/event-stream" }, agent };
    const answer = await request(server.url, "/", options);
    assert.equal(answer.status, 200);
    assert.match(answer.headers["content-type"], /^text\/event-stream/);
    assert.equal((await request(server.url, "/", options)).status, 200);
    assert.equal(await metric(server, 'moonwire_clients_total{wire="sse"}'), before);
    agent.destroy();
  });

  it("is refused with the code's status", async () => {
    const headers = { Accept: "text/event-stream" };
    const answer = await request(server.url, "/?user=nobody", { headers });
    assert.equal(answer.status, 401);
    assert.deepEqual(answer.json, { error: { code: "unauthorized", detail: "say who you are" } });
    assert.equal((await request(server.url, "/?user=broken", { headers })).status, 500);
    const foreign = { ...headers, Origin: "https://evil.example" };
    assert.equal((await request(server.url, "/", { headers: foreign })).status, 403);
    assert.equal((await request(server.url, "/nowhere", { headers })).status, 404);
  });

  it("goes to HTTP/1.0 without chunks", async () => {
    const client = await dial(server);
    client.writeRequest(["GET /?user=old HTTP/1.0", "Accept: text/event-stream"]);
    const head = await client.take("a head", (bytes) => {
      const end = bytes.indexOf("\r\n\r\n");
      return end < 0 ? undefined : { size: end + 4, text: bytes.subarray(0, end).toString() };
    });
    assert.match(head.text, /^HTTP\/1\.[01] 200 /);
    assert.match(head.text, /^connection: close/im);
    assert.doesNotMatch(head.text, /chunked|content-length/i);
    await client.take("an event", (bytes) =>
      /event: connected\n/.test(bytes) ? { size: 0 } : undefined,
    );
    client.destroy();
  });

  it("ends when the server says so", async () => {
    const events = await stream(server, "/?sid=new");
    const { sid } = JSON.parse((await events.next("sid")).data);
    await post(server, `/?sid=${sid}`, { event: "bye" });
    await events.ended();
    assert.equal((await post(server, `/?sid=${sid}`, { event: "bye" })).status, 404);
  });

  it("that has gone is noticed at once", async () => {
    const watcher = await connect(server, "/?user=watcher");
    await watcher.find(({ event }) => event === "connected");
    await watcher.join("watch");
    const gone = ({ event }) => event === "gone";
    for (const leave of ["destroy", "resetAndDestroy", "end"]) {
      const client = await dial(server);
      client.writeRequest([`GET /?user=${leave} HTTP/1.1`, "Host: x", "Accept: text/event-stream"]);
      await client.take("an event", (bytes) => (/connected/.test(bytes) ? { size: 0 } : undefined));
      client.socket[leave]();
      const { args } = await watcher.find(gone);
      assert.deepEqual(args.slice(0, 2), [leave, "sse"]);
      assert.match(args[2], leave === "resetAndDestroy" ? /transport error/ : /client closed/);
      client.destroy();
    }
    await watcher.close();
  });
});

describe("a quiet stream", () => {
  const server = serving(APP, { args: ["--ping-interval", "0.05"] });

  it("is kept alive by comments", async () => {
    const events = await stream(server, "/?user=ana");
    await events.next("connected");
    for (let n = 0; n < 3; n++) assert.deepEqual(await events.next(), { comment: "" });
    events.destroy();
  });
});
