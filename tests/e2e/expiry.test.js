// Identities that end, over every wire: the question before the end, its answer through on_auth, the
// end itself. Tokens are "user/seconds/note/wait": what on_auth makes of them, and how long it takes.
"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const { describe, it } = require("node:test");
const { eventually, packages, within } = require("../support.js");
const { connect, get, metric, post, refused, request, serving, stream } = require("./support.js");
const { Guest, TRANSPORTS, visit } = require("./socketio/support.js");
const { closeFrame, frame, upgrade, CLOSE, TEXT } = require("./wire.js");
const engine = packages("engine.io-client");

const app = (version) => `
local mw = require "moonwire"
local lives = mw.state("lives", {})
local function life(id)
  lives[id] = lives[id] or { auths = 0, connects = 0, ends = mw.array {} }
  return lives[id]
end

local function on_auth(request)
  local id, seconds, note, wait = tostring(request.auth.token):match "^([^/]+)/([^/]+)/?([^/]*)/?([^/]*)$"
  if not id then return nil, "unauthorized", "no token" end
  life(id).auths = life(id).auths + 1
  if tonumber(wait) then mw.sleep(tonumber(wait)) end
  if note == "error" then error "a bug of on_auth" end
  return {
    id = id, note = note, agent = request.headers["x-agent"], version = ${version},
    expires = tonumber(seconds) and mw.now() + seconds or nil,
  }
end
local function on_connect(client)
  life(client.user.id).connects = life(client.user.id).connects + 1
end
local order = mw.state("order", mw.array {})
local function on_disconnect(client, reason)
  if client.user.note == "crowd" then order[#order + 1] = { client.user.expires, reason } end
  local ends = life(client.user.id).ends
  ends[#ends + 1] = { reason, mw.now() >= (client.user.expires or 0) }
end

local function handler(namespace, more)
  local t = { namespace = namespace, on_auth = on_auth, on_connect = on_connect,
    on_disconnect = on_disconnect, events = {}, routes = {} }
  for key, value in pairs(more or {}) do t[key] = value end
  return t
end
local main = handler "/"
function main.events.who(client) return client.user end
function main.events.slow(client, seconds) mw.sleep(seconds) return client.user.note end
function main.events.mark(client)
  local marks = mw.state("marks", {})
  marks[#marks + 1] = client.user.id .. (client.connected and " there" or " gone")
end
main.routes["GET /marks"] = function() return mw.array(mw.state("marks", {})) end
function main.events.kick(client, id, reason) return mw.user(id):disconnect(reason) end
function main.events.count(client)
  local l = life(client.user.id)
  l.count = (l.count or 0) + 1
  if l.count == 1 then mw.user(client.user.id):disconnect("revoked") end
end
main.routes["GET /order"] = function() return order end
main.routes["GET /life/:id"] = function(request) return life(request.params.id) end
main.routes["GET /stream/:seconds"] = function(request)
  return mw.sse(request, { user = { id = request.query.id,
    expires = mw.now() + tonumber(request.params.seconds) } })
end
-- Whoever shows the same thing again gets the same end.
local fixed = handler("/cookie", { protocol = "events" })
function fixed.on_auth(request)
  local l = life(request.query.token)
  l.auths, l.till = l.auths + 1, l.till or mw.now() + 1.5
  return { id = request.query.token, expires = l.till }
end
local function echo(client, data) client:send(data) end
return { main, fixed, handler "/other",
  handler("/raw", { on_message = echo }),
  handler("/plain", { on_message = echo, protocol = "engine.io" }) }
`;

// What each wire makes of the same life: its question, the answer to it, a call, and its end.
const WIRES = {
  async websocket(server, token, headers) {
    const peer = await connect(server, `/?token=${token}`, { headers });
    return {
      asked: () => peer.find(({ event }) => event === "refresh"),
      answer: (question, data) => peer.send({ id: question.id, data }),
      call: async (event, ...args) => (await peer.call(event, ...args)).data,
      tell: (event, ...args) => peer.emit(event, ...args),
      async ended(reason) {
        assert.deepEqual(await peer.closed(), {
          code: reason === "expired" ? 4401 : 1000,
          reason,
        });
      },
      destroy: () => peer.socket.terminate(),
    };
  },

  async sse(server, token, headers) {
    const events = await stream(server, `/?sid=new&token=${token}`, { headers });
    const { sid } = JSON.parse((await events.next("sid")).data);
    const speak = (event, data) => post(server, `/?sid=${sid}`, { event, data });
    return {
      async asked() {
        const { data } = await events.next("refresh");
        return { event: "refresh", data: JSON.parse(data) };
      },
      answer: (_, data) => speak("refresh", data),
      call: async (event, ...args) => (await speak(event, ...args)).json,
      tell: (event, ...args) => speak(event, ...args),
      ended: () => events.ended(),
      destroy: () => events.destroy(),
    };
  },
};
for (const transport of Object.keys(TRANSPORTS)) {
  WIRES[`socket.io over ${transport}`] = async (server, token, headers) => {
    const guest = await visit(server, { transport, auth: { token }, extraHeaders: headers });
    return {
      async asked() {
        const [data, respond] = await guest.next("refresh");
        return { event: "refresh", data, respond };
      },
      answer: (question, data) => question.respond(data),
      call: (...args) => guest.ask(...args),
      tell: (...args) => guest.emit(...args),
      async ended() {
        assert.equal(await guest.disconnected(), "io server disconnect");
      },
      destroy: () => guest.close(),
    };
  };
}

let number = 0;
const newName = () => `user-${++number}`;

const life = async (server, name) => (await get(`${server.url}/life/${name}`)).json;
const end = (server, name) =>
  eventually(`the end of ${name}`, async () => {
    const { ends } = await life(server, name);
    return ends.length > 0 && ends;
  });

describe("an identity that ends", { concurrency: true }, () => {
  const server = serving(app(1));

  for (const [wire, open] of Object.entries(WIRES)) {
    const arrive = async (token, headers = { "x-agent": wire }) => open(server, token, headers);

    it(`is asked for, and goes on as another user table: ${wire}`, async () => {
      const name = newName();
      const client = await arrive(`${name}/2/first`);
      const before = await client.call("who");
      const question = await client.asked();
      assert.ok(Math.abs(question.data.expires - before.expires) < 0.002, "the end, in ms");
      assert.ok(Date.now() / 1000 < before.expires, "asked in time");
      client.answer(question, { token: `${name}/3/second` });
      const user = await eventually("the new user", async () => {
        const who = await client.call("who");
        return who.note === "second" && who;
      });
      assert.ok(user.expires > before.expires);
      assert.equal(user.agent, wire, "request.headers are those of its first request");
      // A string is a token, too; and one without an end is not asked for again.
      client.answer(await client.asked(), `${name}/never/third`);
      await eventually("the third user", async () => (await client.call("who")).note === "third");
      // Somebody with the same end as the second goes, which is later than its own would have been.
      const other = newName();
      const witness = await connect(server, `/?token=${other}/${user.expires - Date.now() / 1000}`);
      await witness.closed();
      assert.equal((await client.call("who")).note, "third");
      const { auths, connects } = await life(server, name);
      assert.deepEqual([auths, connects], [3, 1]);
      client.destroy();
      assert.notEqual((await end(server, name))[0][0], "expired");
    });

    it(`ends in time where nobody answers: ${wire}`, async () => {
      const name = newName();
      const client = await arrive(`${name}/1.5`);
      await client.asked();
      await client.ended("expired");
      assert.deepEqual(await end(server, name), [["expired", true]]);
    });

    it(`ends in time where on_auth refuses, fails or means another: ${wire}`, async () => {
      const answers = [
        { token: "bad" },
        { token: `${newName()}/60` },
        { token: "NAME/60/error" },
        { token: "NAME/-5" },
        {},
        7,
        null,
        [],
      ];
      await Promise.all(
        answers.map(async (answer) => {
          const name = newName();
          const client = await arrive(`${name}/3/first`);
          const question = await client.asked();
          if (answer?.token) answer.token = answer.token.replace("NAME", name);
          const status = (await client.answer(question, answer))?.status;
          if (wire === "sse") assert.ok([400, 401, 500].includes(status), `${status}`);
          assert.equal((await client.call("who")).note, "first");
          await client.ended("expired");
          assert.deepEqual(await end(server, name), [["expired", true]]);
        }),
      );
    });

    it(`ends while on_auth waits: ${wire}`, async () => {
      const name = newName();
      const client = await arrive(`${name}/1.5`);
      const late = newName();
      client.answer(await client.asked(), { token: `${name}/60/late/2` });
      await client.ended("expired");
      assert.deepEqual(await end(server, name), [["expired", true]]);
      // By then that on_auth has returned, and nothing has come of it.
      const witness = await arrive(`${late}/never`);
      assert.equal((await witness.call("slow", 2)), "");
      assert.deepEqual((await life(server, name)).ends.length, 1);
      witness.destroy();
    });

    it(`may go while on_auth waits: ${wire}`, async () => {
      const name = newName();
      const client = await arrive(`${name}/3`);
      client.answer(await client.asked(), { token: `${name}/60/late/0.5` });
      await eventually("the question", async () => (await life(server, name)).auths === 2);
      client.destroy();
      assert.notEqual((await end(server, name))[0][0], "expired");
      const witness = await arrive(`${newName()}/never`);
      await witness.call("slow", 0.6);
      witness.destroy();
    });
  }

  it("is no identity where it has ended already", async () => {
    const { status } = await refused(server, "/?token=early/-1");
    assert.equal(status, 401);
    const answer = await get(`${server.url}/?token=early/-1`, {
      headers: { Accept: "text/event-stream" },
    });
    assert.deepEqual(
      [answer.status, answer.json.error],
      [401, { code: "unauthorized", detail: "expired" }],
    );
    const guest = new Guest(server.url, { transports: ["websocket"], auth: { token: "early/-1" } });
    const error = await guest.refused();
    assert.deepEqual([error.message, error.data], ["unauthorized", "expired"]);
    guest.close();
    assert.equal((await get(`${server.url}/stream/-1?id=early`)).status, 401);
    const once = await post(server, "/?token=once/-1", { event: "who" });
    assert.equal(once.status, 401);
  });

  it("is each namespace's own on a connection of several", async () => {
    const [name, other] = [newName(), newName()];
    const guest = await visit(server, { auth: { token: `${name}/1.5` } });
    const second = guest.socket.io.socket("/other", { auth: { token: `${other}/never` } });
    await within(new Promise((resolve) => second.once("connect", resolve)), "the second namespace");
    assert.equal(await guest.disconnected(), "io server disconnect");
    assert.deepEqual(await end(server, name), [["expired", true]]);
    assert.ok(second.connected, "the other one stays");
    const other2 = newName();
    guest.socket.auth = { token: `${other2}/never` };
    guest.socket.connect();
    await guest.connected();
    assert.equal((await guest.ask("who")).id, other2);
    guest.close();
    assert.notEqual((await end(server, other))[0][0], "expired");
  });

  it("is not asked for in raw frames, which are the app's own", async () => {
    const name = newName();
    const peer = await connect(server, `/raw?token=${name}/1.5`);
    peer.send("hello");
    assert.equal(await peer.next(), "hello");
    assert.deepEqual(await peer.closed(), { code: 4401, reason: "expired" });
    assert.deepEqual(peer.inbox.items, []);
    assert.deepEqual(await end(server, name), [["expired", true]]);
  });

  for (const [transport, transports] of Object.entries(TRANSPORTS)) {
    it(`ends Engine.IO without Socket.IO over ${transport}`, async () => {
      const name = newName();
      const query = { token: `${name}/1.5` };
      const socket = new engine.Socket(server.url, { path: "/plain", transports, query });
      const heard = [];
      socket.on("message", (data) => heard.push(data));
      await within(new Promise((resolve) => socket.on("close", resolve)), "the end");
      assert.deepEqual(await end(server, name), [["expired", true]]);
      assert.deepEqual(heard, []);
    });
  }

  it("can be given to a stream by a route", async () => {
    const name = newName();
    const events = await stream(server, `/stream/1.5?id=${name}`);
    await events.next("refresh");
    await events.ended();
    assert.deepEqual(await end(server, name), [["expired", true]]);
  });

  it("hears no answer after its end, nor a second one", async () => {
    const name = newName();
    const wire = await upgrade(server, `/?token=${name}/1.5`);
    const { id } = JSON.parse((await wire.frame()).payload);
    const answer = frame(TEXT, JSON.stringify({ id, data: `${name}/60` }));
    const { opcode, code, reason } = await wire.frame();
    assert.deepEqual([opcode, code, reason], [CLOSE, 4401, "expired"]);
    wire.write(answer, answer, closeFrame(4401));
    await wire.end();
    assert.deepEqual(await end(server, name), [["expired", true]]);
    assert.equal((await life(server, name)).auths, 1);

    const twice = newName();
    const second = await upgrade(server, `/?token=${twice}/2`);
    const question = JSON.parse((await second.frame()).payload);
    const reply = frame(TEXT, JSON.stringify({ id: question.id, data: `${twice}/60/x/0.2` }));
    second.write(reply, reply, frame(TEXT, JSON.stringify({ id: 1, event: "slow", data: 0.4 })));
    assert.deepEqual(JSON.parse((await second.frame()).payload), { id: 1, data: "x" });
    assert.equal((await life(server, twice)).auths, 2);
    second.destroy();
  });

  it("knows no stream after its end", async () => {
    const name = newName();
    const events = await stream(server, `/?sid=new&token=${name}/1`);
    const { sid } = JSON.parse((await events.next("sid")).data);
    await events.ended();
    const late = await post(server, `/?sid=${sid}`, { event: "refresh", data: `${name}/60` });
    assert.equal(late.status, 404);
  });

  it("frames behind the one that ends its user are not heard", async () => {
    const name = newName();
    const wire = await upgrade(server, `/?token=${name}/60`);
    const count = frame(TEXT, JSON.stringify({ event: "count" }));
    wire.write(count, count, count);
    const { code, reason } = await wire.frame();
    assert.deepEqual([code, reason], [1000, "revoked"]);
    wire.destroy();
    await end(server, name);
    assert.equal((await life(server, name)).count, 1);
  });

  it("many of them end in the order of their time, whoever goes before", async () => {
    const peers = await Promise.all(
      Array.from({ length: 120 }, async (_, n) => {
        const seconds = 2 + ((n * 37) % 120) / 100;
        return connect(server, `/?token=${newName()}/${seconds}/crowd`);
      }),
    );
    const [leaving, staying] = [0, 1].map((part) => peers.filter((_, n) => (n % 3 === 0) === !part));
    leaving.forEach((peer) => peer.socket.terminate());
    await Promise.all(staying.map(async (peer) => assert.equal((await peer.closed()).code, 4401)));
    const ends = await eventually("all ends", async () => {
      const { json } = await get(`${server.url}/order`);
      return json.length === peers.length && json;
    });
    const times = ends.filter(([, why]) => why === "expired").map(([time]) => Math.ceil(time * 1000));
    assert.equal(times.length, staying.length);
    assert.deepEqual(times, [...times].sort((a, b) => a - b));
  });

  it("is not asked for again where the answer has won no time", async () => {
    const name = newName();
    const session = await connect(server, `/cookie?token=${name}`);
    const question = await session.find(({ event }) => event === "refresh");
    session.send({ id: question.id, data: {} });
    assert.deepEqual(await session.closed(), { code: 4401, reason: "expired" });
    assert.deepEqual(session.inbox.items, [], "one question");
    assert.equal((await life(server, name)).auths, 2);
  });
});

describe("mw.user(id):disconnect", () => {
  const server = serving(app(1));

  for (const [wire, open] of Object.entries(WIRES)) {
    it(`works at once, whatever the client's line holds: ${wire}`, async () => {
      const [name, admin] = [newName(), newName()];
      const queued = (count) =>
        eventually(`${count} events in line`, async () => {
          return (await metric(server, "moonwire_queued_events")) === count;
        });
      const client = await open(server, `${name}/60`);
      const operator = await connect(server, `/?token=${admin}/never`);
      client.tell("slow", 1);
      client.tell("mark");
      client.tell("mark");
      await queued(2);
      assert.equal((await operator.call("kick", name, "revoked")).data, 1);
      client.tell("mark");
      await client.ended("revoked");
      // What stood in line still runs, for a client that is gone; what came later does not.
      assert.deepEqual((await end(server, name)).map(([why]) => why), ["revoked"]);
      assert.deepEqual(
        (await get(`${server.url}/marks`)).json.filter((mark) => mark.startsWith(name)),
        [`${name} gone`, `${name} gone`],
      );
      assert.equal((await operator.call("kick", name)).data, 0);
      await operator.close();
    });
  }
});

describe("a reload between question and answer", () => {
  const server = serving(app(1), { args: ["--refresh-before", "1"] });

  it("leaves the answer to the new on_auth", async () => {
    const name = newName();
    const peer = await connect(server, `/?token=${name}/3`);
    const asked = peer.find(({ event }) => event === "refresh");
    const question = await asked;
    const left = question.data.expires - Date.now() / 1000;
    assert.ok(left <= 1, `asked ${left} s before the end`);
    fs.writeFileSync(server.file, app(2));
    const from = server.output().length;
    server.signal("SIGHUP");
    await server.said(/version 2 is in service/, from);
    peer.send({ id: question.id, data: { token: `${name}/60` } });
    await eventually("the new version's user", async () => {
      return (await peer.call("who")).data.version === 2;
    });
    await peer.close();
  });

  it("without on_auth lets nobody stay", async () => {
    const name = newName();
    const peer = await connect(server, `/?token=${name}/3`);
    const question = await peer.find(({ event }) => event === "refresh");
    fs.writeFileSync(server.file, `return { events = { here = function() return true end } }`);
    const from = server.output().length;
    server.signal("SIGHUP");
    await server.said(/version 3 is in service/, from);
    peer.send({ id: question.id, data: { token: `${name}/60` } });
    assert.equal((await peer.call("here")).data, true);
    assert.deepEqual(await peer.closed(), { code: 4401, reason: "expired" });
  });
});

describe("the server's stop", () => {
  const server = serving(app(1));

  it("leaves nothing of identities that would have ended, asked or not", async () => {
    const names = [newName(), newName(), newName()];
    await connect(server, `/?token=${names[0]}/600`);
    const peer = await connect(server, `/?token=${names[1]}/2`);
    const question = await peer.find(({ event }) => event === "refresh");
    peer.send({ id: question.id, data: { token: `${names[1]}/600/x/30` } });
    await eventually("on_auth", async () => (await life(server, names[1])).auths === 2);
    const { status } = await request(server.url, `/life/${names[0]}`);
    assert.equal(status, 200);
  });
});
