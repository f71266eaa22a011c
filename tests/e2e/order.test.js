// Order and life: one client's handlers run one after another whatever they wait for, joining and
// closing leave nothing behind, and what any stage says leaves the server at once.
"use strict";

const assert = require("node:assert/strict");
const http = require("node:http");
const { describe, it } = require("node:test");
const { within } = require("../support.js");
const { connect, request, serve, serving, stream } = require("./support.js");
const { PING, PONG, TEXT, closeFrame, frame, upgrade } = require("./wire.js");

// Gates are opened by the test through POST /open/NAME; handlers wait at them.
const APP = `
local mw = require "moonwire"
local app = { events = {}, routes = {}, timers = {} }
local events = app.events

local function gate(name)
  local open = mw.state("gates", {})
  mw.room("watch"):emit("at gate", name)
  while not open[name] do mw.sleep(0.002) end
end
app.routes["POST /open/:gate"] = function(request)
  mw.state("gates", {})[request.params.gate] = true
  return 204
end

function app.on_auth(request) return { id = request.query.user or "anon" } end
function app.on_join(client, room, options)
  if options.gate then gate(options.gate) end
  if room.name == "watch" then return true end
  mw.room("watch"):emit("joining", client.user.id, room.name)
  return true
end
function app.on_leave(client, room, reason)
  mw.room("watch"):emit("left", client.user.id, room.name, reason)
end
function app.on_disconnect(client, reason)
  local rooms = mw.array()
  for name in pairs(client.rooms) do rooms[#rooms + 1] = name end
  table.sort(rooms)
  mw.room("watch"):emit("gone", client.user.id, reason, rooms, client.connected, (client:emit("to the dead")))
end

function events.gate(client, name) gate(name); return name end
function events.count(client, room) return mw.room(room):count() end
function events.note(client, n)
  mw.room("watch"):emit("note", client.user.id, n)
  return n
end
function events.step(client, n)
  local data = client.data
  if data.inside then error "two handlers of one client at once" end
  data.inside = true
  data.last = (data.last or 0) + 1
  local expected = data.last
  mw.sleep((n * 7 % 3) / 1000)
  data.inside = false
  if expected ~= n then error("out of order: " .. n .. " as " .. expected) end
  return n
end
function events.both(client)
  local inside = mw.state("inside", { n = 0 })
  inside.n = inside.n + 1
  while inside.n < 2 do mw.sleep(0.001) end
  return "met"
end
function events.ask(client) return client:timeout(5):request("question") end

-- stages that speak to an idle peer
function events.later(client, ms) mw.sleep(0.003) return "later" end
function events.remote(client, url)
  mw.spawn(function()
    local answer = mw.http.get(url)
    mw.room("watch"):emit("fetched", answer.body)
  end)
end
app.routes["POST /say"] = function(request) mw.room("watch"):emit("routed") return 204 end
app.timers.tick = { every = 0.02, run = function() mw.room("ticks"):emit("tick") end }

return {
  app,
  {
    namespace = "/raw",
    on_message = function(client, data, kind)
      if data == "wait" then mw.sleep(0.03) end
      client:send(data, kind)
    end,
  },
  { namespace = "/limited", limits = { rate = 1, burst = 5 }, events = { ping = function() return "pong" end } },
  { namespace = "/limited/raw", limits = { rate = 1, burst = 5 }, on_message = function(client, data) client:send(data) end },
}
`;

const open = (server, gate) => request(server.url, `/open/${gate}`, { method: "POST" });

async function watch(server, room = "watch") {
  const watcher = await connect(server, "/?user=watcher");
  await watcher.join(room);
  const until = (event, who) =>
    watcher.find(
      (message) =>
        message.event === event && (!who || message.data === who || message.args?.[0] === who),
    );
  return { watcher, until, close: () => watcher.close() };
}

describe("a waiting on_join", () => {
  const server = serving(APP);

  it("joins before the leave that was sent behind it", async () => {
    const peer = await connect(server, "/?user=ana");
    const joined = peer.join("a", { gate: "a" });
    const left = peer.leave("a");
    const counted = peer.call("count", "a");
    await open(server, "a");
    assert.deepEqual(await joined, { data: true });
    assert.deepEqual(await left, {});
    assert.deepEqual(await counted, { data: 0 });
    await peer.close();
  });

  it("leaves no ghost where its client has gone", async () => {
    const { watcher, until, close } = await watch(server);
    for (const [name, leave] of [
      ["closed", (peer) => peer.close()],
      ["cut", (peer) => peer.socket.terminate()],
    ]) {
      const peer = await connect(server, `/?user=${name}`);
      peer.join(name, { gate: name }).catch(() => {});
      await until("at gate", name);
      await leave(peer);
      await open(server, name);
      // on_join ran to its end, then on_disconnect; nobody joined, and nobody left.
      assert.deepEqual((await watcher.next()).args, [name, name]);
      const { args } = await watcher.next();
      assert.deepEqual([args[0], args[2], args[3]], [name, [], false]);
      assert.deepEqual((await watcher.call("count", name)).data, 0);
    }
    await close();
  });
});

describe("one client's handlers", () => {
  const server = serving(APP);

  it("never run two at a time, and keep their order", async () => {
    const peer = await connect(server);
    const replies = Array.from({ length: 100 }, (_, n) => peer.call("step", n + 1));
    for (const [n, reply] of (await Promise.all(replies)).entries())
      assert.deepEqual(reply, { data: n + 1 });
    await peer.close();
  });

  it("do not wait for those of others", async () => {
    const [one, two] = [await connect(server), await connect(server)];
    const met = await Promise.all([one.call("both"), two.call("both")]);
    assert.deepEqual(met, [{ data: "met" }, { data: "met" }]);
    await one.close();
    await two.close();
  });

  it("take a thousand frames of one segment in order, the first one waiting", async () => {
    const client = await upgrade(server);
    const event = (body) => frame(TEXT, JSON.stringify(body));
    const steps = Array.from({ length: 1000 }, (_, n) =>
      event({ event: "note", data: n, id: n + 1 }),
    );
    client.write(event({ event: "gate", data: "thousand", id: 0 }), ...steps);
    await open(server, "thousand");
    assert.deepEqual(JSON.parse((await client.frame()).payload), { id: 0, data: "thousand" });
    for (let n = 0; n < 1000; n++) {
      assert.deepEqual(JSON.parse((await client.frame()).payload), { id: n + 1, data: n });
    }
    client.destroy();
  });

  it("take a thousand raw frames too, waiting again and again", async () => {
    const client = await upgrade(server, "/raw");
    const words = Array.from({ length: 1000 }, (_, n) => (n % 400 === 0 ? "wait" : String(n)));
    client.write(...words.map((word) => frame(TEXT, word)));
    for (const word of words) assert.equal((await client.frame()).payload.toString(), word);
    client.destroy();
  });

  it("do not keep pongs and closes waiting", async () => {
    const client = await upgrade(server);
    client.write(
      frame(TEXT, '{"event":"gate","data":"pong"}'),
      frame(PING, "p"),
      closeFrame(1000, "bye"),
    );
    assert.equal((await client.frame()).opcode, PONG);
    assert.equal((await client.frame()).code, 1000);
    await client.end();
    await open(server, "pong");
  });

  it("hear the answer that stands behind a full line", async () => {
    const client = await upgrade(server);
    const event = (body) => frame(TEXT, JSON.stringify(body));
    const notes = Array.from({ length: 600 }, (_, n) =>
      event({ event: "note", data: n, id: n + 10 }),
    );
    client.write(event({ event: "ask", id: 1 }), ...notes);
    const { id } = JSON.parse((await client.frame()).payload);
    client.write(event({ id, data: "here" }));
    assert.deepEqual(JSON.parse((await client.frame()).payload), { id: 1, data: "here" });
    for (let n = 0; n < 600; n++) assert.equal(JSON.parse((await client.frame()).payload).data, n);
    client.destroy();
  });

  it("hear of backpressure where there is no end of events", async () => {
    const client = await upgrade(server);
    const event = (body) => frame(TEXT, JSON.stringify(body));
    const notes = Array.from({ length: 1100 }, (_, n) =>
      event({ event: "note", data: n, id: n + 10 }),
    );
    client.write(event({ event: "ask", id: 1 }), ...notes);
    assert.equal(JSON.parse((await client.frame()).payload).event, "question");
    assert.deepEqual(JSON.parse((await client.frame()).payload), {
      id: 1,
      error: { code: "backpressure" },
    });
    for (let n = 0; n < 1100; n++) assert.equal(JSON.parse((await client.frame()).payload).data, n);
    client.destroy();
  });
});

describe("a client that goes", () => {
  const server = serving(APP);

  it("has its queued events run, then leaves its rooms, then is disconnected", async () => {
    const { watcher, until, close } = await watch(server);
    const peer = await connect(server, "/?user=ana");
    await peer.join("a");
    await peer.join("b");
    peer.emit("gate", "going");
    peer.emit("note", 1);
    peer.emit("note", 2);
    await until("at gate", "going");
    await peer.close();
    await open(server, "going");
    assert.deepEqual((await watcher.next()).args, ["ana", 1]);
    assert.deepEqual((await watcher.next()).args, ["ana", 2]);
    const left = [(await watcher.next()).args, (await watcher.next()).args].sort();
    assert.deepEqual(left, [
      ["ana", "a", "client closed"],
      ["ana", "b", "client closed"],
    ]);
    const { event, args } = await watcher.next();
    assert.equal(event, "gone");
    assert.deepEqual(args, ["ana", "client closed", ["a", "b"], false, null]);
    await close();
  });
});

describe("an idle peer", () => {
  const server = serving(APP);
  const ROUNDS = 10;

  // Each stage speaks ten times, and nothing else happens meanwhile: what stays in a queue until
  // the loop wakes up for another reason would come a second later each time.
  const STAGES = {
    on_disconnect: async () => (await connect(server, "/?user=other")).close(),
    on_leave: async () => {
      const peer = await connect(server, "/?user=other");
      await peer.join("a");
      peer.socket.terminate();
    },
    "a route": () => request(server.url, "/say", { method: "POST" }),
    "an answer of mw.http": async (peer, url) => peer.emit("remote", url),
  };
  const WORDS = {
    on_disconnect: "gone",
    on_leave: "left",
    "a route": "routed",
    "an answer of mw.http": "fetched",
  };
  for (const [name, speak] of Object.entries(STAGES)) {
    it(`hears ${name} at once`, async () => {
      const other = http.createServer((_, answer) => answer.end("fetched"));
      await new Promise((resolve) => other.listen(0, "127.0.0.1", resolve));
      const { watcher, until, close } = await watch(server);
      const speaker = await connect(server, "/?user=speaker");
      const rounds = async () => {
        for (let n = 0; n < ROUNDS; n++) {
          await speak(speaker, `http://127.0.0.1:${other.address().port}/`);
          await until(WORDS[name]);
        }
      };
      await within(rounds(), `${ROUNDS} times ${name}`, 5000);
      assert.equal(watcher.inbox.items.filter(({ event }) => event === WORDS[name]).length, 0);
      await speaker.close();
      await close();
      other.closeAllConnections();
      other.close();
    });
  }

  it("hears timers and sleepers at once, on a stream as well", async () => {
    const { until, close } = await watch(server, "ticks");
    const events = await stream(server, "/?room=ticks&user=reader");
    const speaker = await connect(server);
    const rounds = async () => {
      for (let n = 0; n < ROUNDS; n++) {
        await until("tick");
        await events.next("tick");
        assert.deepEqual(await speaker.call("later"), { data: "later" });
      }
    };
    await within(rounds(), `${ROUNDS} ticks`, 5000);
    events.destroy();
    await speaker.close();
    await close();
  });
});

describe("a rate limit", () => {
  const server = serving(APP);

  it("lets a burst pass and answers what is beyond it", async () => {
    const peer = await connect(server, "/limited");
    const replies = await Promise.all(Array.from({ length: 8 }, () => peer.call("ping")));
    const good = replies.filter(({ data }) => data === "pong").length;
    assert.ok(good >= 5 && good < 8, `${good} of 8`);
    assert.deepEqual(
      replies.slice(0, 5),
      Array.from({ length: 5 }, () => ({ data: "pong" })),
    );
    assert.deepEqual(replies.at(-1), { error: { code: "rate_limited" } });
    await peer.close();
  });

  it("is each client's own, and holds for raw frames", async () => {
    const peer = await connect(server, "/limited/raw");
    for (let n = 0; n < 8; n++) peer.send(String(n));
    for (let n = 0; n < 5; n++) assert.equal(await peer.next(), String(n));
    const rest = [await peer.next(), await peer.next(), await peer.next()];
    assert.deepEqual(rest.at(-1), { error: { code: "rate_limited" } });
    await peer.close();
  });
});

describe("the end of the server", () => {
  it("finds handlers that still wait", async () => {
    const server = await serve(APP);
    const peer = await connect(server);
    const { close, until } = await watch(server);
    peer.call("gate", "never").catch(() => {});
    await until("at gate");
    const closed = peer.closed();
    await server.stop();
    assert.equal((await closed).code, 1012);
    await close();
  });
});
