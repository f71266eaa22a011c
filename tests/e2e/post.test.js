// POSTs to an endpoint: one-shot clients whose reply is the answer, and POSTs that speak for a
// stream.
"use strict";

const assert = require("node:assert/strict");
const { describe, it } = require("node:test");
const { connect, post, request, serving, stream } = require("./support.js");

const APP = `
local mw = require "moonwire"
local app = { limits = { max_payload = 2000 }, events = {} }
local events = app.events

function app.on_auth(request)
  local name = request.query.user or "anonymous"
  if name == "nobody" then return nil, "unauthorized", "say who you are" end
  return { id = name }
end

function app.on_connect(client)
  client:emit("connected", { user = client.user.id, wire = client.wire })
end

function app.on_join(client, room, options)
  if room.name == "secret" then return nil, "forbidden", "no" end
  return { greeting = "hi" }
end

function app.on_disconnect(client, reason)
  mw.room("watch"):emit("gone", client.user.id, client.wire, reason)
end

function events.say(client, room, ...) return mw.room(room):emit("said", ...) end
function events.add(client, a, b) return a + b end
function events.pair() return 1, 2 end
function events.nothing() end
function events.null() return nil end
function events.refuse(client, code) return nil, code, { n = 1 } end
function events.broken() error "an event is broken" end
function events.who(client) return { id = client.id, user = client.user.id, wire = client.wire } end
function events.slow() mw.sleep(0.02) return "slow" end

return {
  app,
  { namespace = "/other", events = { who = function(client) return client.id end } },
  {
    namespace = "/raw",
    on_message = function(client, data, kind) mw.namespace():emit("raw", data, kind, client.wire) end,
  },
}
`;

describe("a POST", () => {
  const server = serving(APP);
  const once = (event, ...args) => post(server, "/?user=one", { event, args });

  it("is answered with the reply", async () => {
    assert.deepEqual(await once("add", 1, 2).then(({ status, json }) => [status, json]), [200, 3]);
    assert.deepEqual((await once("pair")).json, [1, 2]);
    assert.equal((await once("nothing")).status, 204);
    assert.deepEqual((await once("null")).json, null);
    assert.equal((await once("slow")).json, "slow");
    const { json } = await once("who");
    assert.deepEqual([json.user, json.wire], ["one", "post"]);
  });

  it("is answered with the status of an error's code", async () => {
    const statuses = {
      unauthorized: 401,
      forbidden: 403,
      not_found: 404,
      rate_limited: 429,
      unavailable: 503,
      odd: 400,
    };
    for (const [code, status] of Object.entries(statuses)) {
      const answer = await once("refuse", code);
      assert.equal(answer.status, status);
      assert.deepEqual(answer.json, { error: { code, detail: { n: 1 } } });
    }
    const broken = await once("broken");
    assert.deepEqual([broken.status, broken.json], [500, { error: { code: "internal_error" } }]);
    assert.equal((await once("unheard_of")).status, 404);
    assert.equal((await post(server, "/?user=nobody", { event: "add" })).status, 401);
  });

  it("must be an event", async () => {
    for (const body of [
      "",
      "{}",
      "[]",
      "{'event':1}",
      '{"event":1}',
      '{"join":"x"}',
      '[{"event":"add"}]',
      "null",
    ]) {
      const answer = await request(server.url, "/", { method: "POST", body });
      assert.deepEqual([answer.status, answer.json?.error.code], [400, "bad_message"], body);
    }
    const bad = await request(server.url, "/", {
      method: "POST",
      body: '{"event":"add","args":[01]}',
    });
    assert.equal(bad.status, 400);
  });

  it("may be as long as a message and no longer", async () => {
    const body = (size) => `{"event":"add","args":[1,2],"pad":"${"x".repeat(size - 37)}"}`;
    assert.equal(body(2000).length, 2000);
    assert.equal((await request(server.url, "/", { method: "POST", body: body(2000) })).json, 3);
    assert.equal(
      (await request(server.url, "/", { method: "POST", body: body(2001) })).status,
      413,
    );
  });

  it("is neither connected nor disconnected", async () => {
    const watcher = await connect(server, "/?user=watcher");
    await watcher.find(({ event }) => event === "connected");
    await watcher.join("watch");
    await once("nothing");
    await once("say", "watch", "marker");
    assert.equal((await watcher.next()).event, "said");
    await watcher.close();
  });

  it("of a raw namespace is a frame", async () => {
    const peer = await connect(server, "/raw");
    const send = (body, type) =>
      request(server.url, "/raw", { method: "POST", body, headers: { "Content-Type": type } });
    assert.equal((await send("text", "text/plain")).status, 204);
    assert.deepEqual((await peer.next()).args, ["text", "text", "post"]);
    assert.equal((await send("bytes", "application/octet-stream")).status, 204);
    assert.deepEqual((await peer.next()).args, ["bytes", "binary", "post"]);
    assert.equal((await send(Buffer.from([0xff]), "text/plain")).status, 400);
    await peer.close();
  });

  it("from another origin is refused", async () => {
    const headers = { Origin: "https://evil.example" };
    assert.equal((await post(server, "/", { event: "add" }, { headers })).status, 403);
  });
});

describe("a POST with a sid", () => {
  const server = serving(APP);

  async function spoken(user = "ana") {
    const events = await stream(server, `/?sid=new&user=${user}`);
    const { sid } = JSON.parse((await events.next("sid")).data);
    await events.next("connected");
    return { events, sid, say: (body, options) => post(server, `/?sid=${sid}`, body, options) };
  }

  it("speaks as the stream's client", async () => {
    const { events, say } = await spoken();
    const first = (await say({ event: "who" })).json;
    assert.deepEqual([first.user, first.wire], ["ana", "sse"]);
    assert.deepEqual((await say({ event: "who" })).json, first);
    events.destroy();
  });

  it("joins and leaves rooms", async () => {
    const { events, say } = await spoken();
    assert.deepEqual((await say({ join: "room" })).json, { greeting: "hi" });
    await say({ event: "say", args: ["room", "x"] });
    assert.deepEqual(await events.next(), { event: "said", data: '"x"' });
    assert.equal((await say({ leave: "room" })).status, 204);
    assert.equal((await say({ leave: "room" })).json.error.code, "not_in_room");
    assert.equal((await say({ join: "secret" })).status, 403);
    events.destroy();
  });

  it("may bring several events, which run in order", async () => {
    const { events, say } = await spoken();
    const { json } = await say([
      { event: "slow", id: 1 },
      { event: "add", args: [1, 1], id: "two" },
      { event: "refuse", data: "odd", id: 3 },
      { event: "nothing" },
      { nonsense: true },
    ]);
    assert.deepEqual(json.slice(0, 4), [
      { id: 1, data: "slow" },
      { id: "two", data: 2 },
      { id: 3, error: { code: "odd", detail: { n: 1 } } },
      {},
    ]);
    assert.equal(json[4].error.code, "bad_message");
    events.destroy();
  });

  it("needs one that is known here", async () => {
    const { events, sid, say } = await spoken();
    assert.equal((await post(server, "/?sid=unknown", { event: "who" })).status, 404);
    assert.equal((await post(server, "/?sid=new", { event: "who" })).status, 404);
    assert.equal((await post(server, `/other?sid=${sid}`, { event: "who" })).status, 404);
    assert.equal(
      (await say({ event: "who" }, { headers: { Origin: "https://evil.example" } })).status,
      403,
    );
    events.destroy();
  });
});
