// Coming and going without order: clients that connect, join, speak, wait and vanish at any moment,
// while handlers are exchanged. Afterwards nobody is left, and the sanitizers have found nothing.
"use strict";

const assert = require("node:assert/strict");
const { describe, it } = require("node:test");
const { eventually } = require("../support.js");
const { connect, metric, request, serve, serving, stream } = require("./support.js");
const { TEXT, dial, frame, handshake } = require("./wire.js");

const APP = `
local mw = require "moonwire"
local app = { rooms = { ["log:*"] = { history = { size = 20 } } }, events = {}, routes = {} }
local events = app.events

local function gate()
  local state = mw.state("gate", { open = false, waiting = 0 })
  state.waiting = state.waiting + 1
  while not state.open do mw.sleep(0.002) end
end
app.routes["GET /waiting"] = function() return { waiting = mw.state("gate", { waiting = 0 }).waiting } end
app.routes["POST /open"] = function() mw.state("gate").open = true return 204 end
app.routes["GET /gate"] = function() gate() return "through" end
app.routes["GET /stream"] = function(request) gate() return mw.sse(request, { rooms = { "a" } }) end

function app.on_request(request) if request.query.gate == "request" then gate() end end
function app.on_auth(request)
  if request.query.gate == "auth" then gate() end
  return { id = request.query.user or "anon" }
end
function app.on_connect(client)
  local state = mw.state("clients", { now = 0 })
  state.now = state.now + 1
  if client.request.query.gate == "connect" then gate() end
end
function app.on_disconnect(client)
  local state = mw.state("clients")
  state.now = state.now - 1
  mw.namespace():emit("gone", client.id)
end
function app.on_join(client, room)
  if math.random() < 0.5 then mw.sleep(0.001) end
  return room:members()
end
function app.on_leave(client, room, reason) room:emit("left", reason) end
function events.say(client, room, text)
  if math.random() < 0.3 then mw.sleep(0.001) end
  return mw.room(room):emit("said", text)
end
function events.several(client, text) mw.rooms { "a", "log:b", "c" }:except(client):emit("several", text) end
function events.ask(client) return client:timeout(0.05):request("question") end
function events.kick(client) mw.user("kicked"):disconnect("kicked") end
function events.bye(client) client:disconnect("bye") client:emit("nobody hears this") end
function events.spawn(client) mw.spawn(function() mw.sleep(0.002) client:emit("later", client.connected) end) end
function events.broken() error "on purpose" end
app.routes["GET /clients"] = function()
  local rooms = {}
  for _, name in ipairs { "a", "log:b", "c" } do rooms[name] = mw.room(name):count() end
  return { now = mw.state("clients", { now = 0 }).now, rooms = rooms, namespace = mw.namespace():count() }
end
return app
`;

// The same sequence each time, so that a failure comes again.
function dice(seed) {
  let state = seed;
  return (sides) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * sides);
  };
}

const SAYINGS = [
  (room) => ({ join: room, id: 1 }),
  (room) => ({ leave: room, id: 2 }),
  (room) => ({ event: "say", args: [room, "x".repeat(2000)], id: 3 }),
  () => ({ event: "several", data: "y" }),
  () => ({ event: "ask", id: 4 }),
  () => ({ event: "spawn" }),
  () => ({ event: "broken", id: 5 }),
  () => ({ event: "kick" }),
  () => ({ event: "bye" }),
  () => ({ nonsense: 1 }),
];

describe("many who come and go", () => {
  const server = serving(APP);

  async function wander(roll) {
    const user = roll(4) === 0 ? "kicked" : "anon";
    if (roll(4) === 0) {
      const events = await stream(server, `/?user=${user}&room=a&room=log:b`);
      for (let n = roll(5); n > 0; n--) await events.next().catch(() => {});
      events.destroy();
      return;
    }
    const peer = await connect(server, `/?user=${user}`, { perMessageDeflate: roll(2) === 0 });
    for (let n = roll(20); n > 0 && peer.socket.readyState === 1; n--) {
      peer.send(SAYINGS[roll(SAYINGS.length)](["a", "log:b", "c"][roll(3)]));
      if (roll(3) === 0) await peer.next().catch(() => {});
    }
    if (roll(2) === 0) peer.socket.terminate();
    else await peer.close();
  }

  it("leave nothing behind", async () => {
    const roll = dice(20261122);
    const visitors = async () => {
      for (let n = 0; n < 25; n++) await wander(roll);
    };
    const reloads = async () => {
      for (let n = 0; n < 10; n++) {
        const from = server.output().length;
        server.signal("SIGHUP");
        await server.said(/is in service/, from);
      }
    };
    await Promise.all([...Array.from({ length: 12 }, visitors), reloads()]);
    const empty = { now: 0, rooms: { a: 0, "log:b": 0, c: 0 }, namespace: 0 };
    await eventually("nobody is there", async () => {
      const { json } = await request(server.url, "/clients");
      return JSON.stringify(json.rooms) === "{}" || json.now === empty.now;
    });
    assert.deepEqual((await request(server.url, "/clients")).json, empty);
    assert.equal(await metric(server, 'moonwire_clients{wire="websocket"}'), 0);
    assert.equal(await metric(server, 'moonwire_clients{wire="sse"}'), 0);
    assert.equal(await metric(server, "moonwire_queued_events"), 0);
  });
});

describe("who goes while somebody decides about him", () => {
  // Each request waits at the gate of one hook; its client goes; then the gate opens.
  const ASKED = [
    ["GET", "/gate"],
    ["GET", "/gate?gate=request"],
    ["GET", "/nope?gate=request"],
    ["stream", "/?gate=auth"],
    ["stream", "/?gate=request"],
    ["stream", "/?gate=connect&room=a"],
    ["stream", "/stream"],
    ["socket", "/?gate=auth"],
    ["socket", "/?gate=request"],
    ["socket", "/?gate=connect"],
    ["POST", "/?gate=auth"],
  ];
  const HEADS = {
    GET: (target) => [`GET ${target} HTTP/1.1`, "Host: x"],
    stream: (target) => [`GET ${target} HTTP/1.1`, "Host: x", "Accept: text/event-stream"],
    socket: (target) => handshake(target),
    POST: (target) => [`POST ${target} HTTP/1.1`, "Host: x", "Content-Length: 15"],
  };

  async function ask(server, count) {
    const clients = [];
    for (const [kind, target] of ASKED) {
      const client = await dial(server);
      client.writeRequest(
        HEADS[kind](target),
        kind === "POST" ? '{"event":"kick"}'.slice(0, 15) : "",
      );
      clients.push(client);
    }
    await eventually("all wait", async () => {
      const { json } = await request(server.url, "/waiting");
      return json.waiting === count;
    });
    return clients;
  }

  for (const [name, leave] of [
    ["is cut off", (client) => client.socket.resetAndDestroy()],
    ["closes", (client) => client.socket.end()],
  ]) {
    it(`is forgotten, when he ${name}`, async () => {
      const server = await serve(APP);
      const clients = await ask(server, ASKED.length);
      clients.forEach(leave);
      await eventually("they have gone", async () => {
        return name === "closes" || (await metric(server, "moonwire_connections")) <= 3;
      });
      await request(server.url, "/open", { method: "POST" });
      await eventually("nobody is there", async () => {
        const { json } = await request(server.url, "/clients");
        return json.now === 0 && json.namespace === 0;
      });
      clients.forEach((client) => client.destroy());
      await server.stop();
    });
  }

  it("is answered or cut off, when the server ends meanwhile", async () => {
    const server = await serve(APP, { args: ["--shutdown-timeout", "0.2"] });
    const clients = await ask(server, ASKED.length);
    await server.stop();
    clients.forEach((client) => client.destroy());
  });

  it("loses nothing that came behind his handshake", async () => {
    const server = await serve(APP);
    const client = await dial(server);
    client.writeRequest(handshake("/?gate=auth"), frame(TEXT, '{"join":"a","id":7}'));
    await eventually(
      "it waits",
      async () => (await request(server.url, "/waiting")).json.waiting === 1,
    );
    client.write(frame(TEXT, '{"event":"say","args":["a","b"],"id":8}'));
    await request(server.url, "/open", { method: "POST" });
    assert.equal((await client.response()).status, 101);
    assert.equal(JSON.parse((await client.frame()).payload).id, 7);
    assert.equal(JSON.parse((await client.frame()).payload).event, "said");
    assert.equal(JSON.parse((await client.frame()).payload).id, 8);
    client.destroy();
    await server.stop();
  });
});
