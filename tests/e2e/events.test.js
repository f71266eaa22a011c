// Events and their replies in both directions: what a handler returns, what is no event, and
// requests that clients answer.
"use strict";

const assert = require("node:assert/strict");
const { describe, it } = require("node:test");
const { connect, serving } = require("./support.js");

const APP = `
local mw = require "moonwire"
local app = { events = {} }
local events = app.events

function app.on_auth(request) return { id = request.query.user or "anon" } end
function app.on_join() return true end

-- acks
function events.add(client, a, b) return a + b end
function events.pair() return 1, { two = 2 } end
function events.empty() return end
function events.null() return nil end
function events.array(client) return mw.array() end
function events.refuse() return nil, "odd", { n = 1 } end
function events.broken() error "an event is broken" end
events["*"] = function(client, event, ...) return event, ... end

-- asking
function events.ask(client, seconds, question) return client:timeout(seconds):request("question", question) end
function events.ask_room(client, room)
  local answers, silent = mw.room(room):timeout(0.3):request("question", "all")
  local said = {}
  for i, answer in ipairs(answers) do said[i] = answer.error or answer[1] end
  table.sort(said)
  return { said = mw.array(said), silent = #silent }
end

return { app, { namespace = "/closed", events = { ping = function() return "pong" end } } }
`;

describe("a reply", () => {
  const server = serving(APP);

  it("is what the handler returns", async () => {
    const peer = await connect(server);
    assert.deepEqual(await peer.call("add", 1, 2), { data: 3 });
    assert.deepEqual(await peer.call("pair"), { args: [1, { two: 2 }] });
    assert.deepEqual(await peer.call("empty"), {});
    assert.deepEqual(await peer.call("null"), { data: null });
    assert.deepEqual(await peer.call("array"), { data: [] });
    assert.deepEqual(await peer.call("refuse"), { error: { code: "odd", detail: { n: 1 } } });
    assert.deepEqual(await peer.call("broken"), { error: { code: "internal_error" } });
    assert.deepEqual(await peer.call("what is this", 1, null), { args: ["what is this", 1, null] });
    await peer.close();
  });

  it("has the id as it was sent, and is not there without one", async () => {
    const peer = await connect(server);
    peer.send('{"event":"add","args":[1,1]}');
    peer.send('{"event":"add","args":[1,1],"id":"a\\u0022b"}');
    assert.deepEqual(await peer.next(), { id: 'a"b', data: 2 });
    peer.send('{"event":"add","args":[1,1],"id":12345678901234567890}');
    assert.equal((await peer.next()).data, 2);
    await peer.close();
    const closed = await connect(server, "/closed");
    assert.deepEqual(await closed.call("unheard of"), { error: { code: "not_found" } });
    await closed.close();
  });

  it("to what is no event says so", async () => {
    const peer = await connect(server);
    const bad = [
      "",
      "hello",
      "[]",
      "1",
      "{}",
      '{"event":1}',
      '{"event":"add"',
      '{"event":"add","data":01}',
      '{"event":"add","args":{}}',
      '{"join":7}',
      '{"event":"add","data":1}x',
    ];
    for (const text of bad) {
      peer.send(text);
      assert.equal((await peer.next()).error?.code, "bad_message", text);
    }
    peer.send(Buffer.from("binary data goes to on_message, which is not there"));
    assert.deepEqual(await peer.call("add", 1, 2), { data: 3 });
    await peer.close();
  });

  it("keeps every value of JSON", async () => {
    const peer = await connect(server);
    const values = [
      null,
      true,
      0,
      -1,
      1.5,
      1e21,
      9007199254740993n,
      "",
      "\u0000",
      "\ud83d\ude00",
      [],
      {},
      [[], {}, null],
      { a: { b: [1, "2"] } },
    ];
    for (const value of values) {
      const text = typeof value === "bigint" ? String(value) : JSON.stringify(value);
      peer.send(`{"event":"echo","data":${text},"id":"x"}`);
      assert.deepEqual((await peer.next()).args, ["echo", JSON.parse(text)]);
    }
    peer.send('{"event":"echo","data":"\\ud800","id":"x"}');
    assert.deepEqual((await peer.next()).args, ["echo", "\ud800"]);
    await peer.close();
  });
});

describe("a request to a client", () => {
  const server = serving(APP);

  it("is answered by it", async () => {
    const peer = await connect(server);
    const asked = peer.call("ask", 5, "why?");
    const { event, data, id } = await peer.next();
    assert.deepEqual([event, data], ["question", "why?"]);
    peer.send({ id, data: { because: "so" } });
    assert.deepEqual(await asked, { data: { because: "so" } });
    await peer.close();
  });

  it("may be answered with an error, or not at all", async () => {
    const peer = await connect(server);
    const refused = peer.call("ask", 5, "why?");
    peer.send({ id: (await peer.next()).id, error: { code: "busy" } });
    assert.deepEqual(await refused, { error: { code: "busy" } });
    assert.deepEqual(await peer.call("ask", 0.02, "why?"), { error: { code: "timeout" } });
    peer.send({ id: (await peer.next()).id, data: "too late" });
    assert.deepEqual(await peer.call("add", 1, 2), { data: 3 });
    await peer.close();
  });

  it("of a whole room gathers the answers", async () => {
    const peers = await Promise.all(
      ["ana", "ben", "cleo"].map((name) => connect(server, `/?user=${name}`)),
    );
    for (const peer of peers) await peer.join("q");
    const asker = await connect(server);
    const asked = asker.call("ask_room", "q");
    const [ana, ben, cleo] = await Promise.all(peers.map((peer) => peer.next()));
    peers[0].send({ id: ana.id, data: "yes" });
    peers[1].send({ id: ben.id, error: { code: "no" } });
    assert.equal(cleo.event, "question");
    assert.deepEqual(await asked, { data: { said: ["no", "yes"], silent: 1 } });
    await Promise.all([...peers, asker].map((peer) => peer.close()));
  });
});
