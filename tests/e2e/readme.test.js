// The README's code, run as it stands there: every block of Lua is a handler file that loads, and
// the two halves of each pair of servers, Node's and moonwire's, do the same for the same client.
"use strict";

const assert = require("node:assert/strict");
const { createHmac } = require("node:crypto");
const fs = require("node:fs");
const net = require("node:net");
const path = require("node:path");
const { after, before, describe, it } = require("node:test");
const { ROOT, eventually, makeFolder, run, startProcess } = require("../support.js");
const { connect, get, post, serve, stream } = require("./support.js");
const { visit } = require("./socketio/support.js");

const ORIGIN = "https://app.example";

const blocks = [];
const readme = fs.readFileSync(path.join(ROOT, "README.md"), "utf8");
for (const [, language, code] of readme.matchAll(/^```(\w+)\n(.*?)^```$/gms)) {
  blocks.push({ language, code, title: `block ${blocks.length + 1} of the README` });
}

// --- the servers ------------------------------------------------------------------------------

async function freePort() {
  const server = net.createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function listens(port) {
  return new Promise((resolve) => {
    const socket = net.connect(port, "127.0.0.1", () => resolve(true));
    socket.on("error", () => resolve(false)).on("connect", () => socket.destroy());
  });
}

async function startNode(code) {
  const port = await freePort();
  assert.match(code, /\b3000\b/);
  const folder = makeFolder({ "server.mjs": code.replace("3000", port) });
  fs.symlinkSync(path.join(ROOT, "tests/node_modules"), path.join(folder, "node_modules"));
  const running = startProcess(process.execPath, [path.join(folder, "server.mjs")]);
  await eventually("Node's server listens", () => {
    assert.ok(!running.over, running.text);
    return listens(port);
  });
  return { url: `http://127.0.0.1:${port}`, stop: () => running.kill("SIGKILL") };
}

// The pair whose halves contain this: a suite for each.
function onPair(name, mark, suite) {
  const at = blocks.findIndex(({ language, code }) => language === "js" && code.includes(mark));
  const halves = [
    ["Node", blocks[at], startNode],
    ["moonwire", blocks[at + 1], serve],
  ];
  for (const [kind, { code }, start] of halves) {
    describe(`${name}, as the README has it on ${kind}`, () => {
      const server = {};
      before(async () => Object.assign(server, await start(code)));
      after(() => server.stop?.());
      suite(server);
    });
  }
}

describe("the README", () => {
  for (const { title, code } of blocks.filter(({ language }) => language === "lua")) {
    it(`${title} loads`, async () => {
      const file = path.join(makeFolder({ "app.lua": code, "public/index.html": "" }), "app.lua");
      const { code: status, text } = await run(["check", file]);
      assert.equal(status, 0, text);
    });
  }
});

describe("nothing is missed, as the README has it", () => {
  const KEY = "a key of the tests, long enough for HS256";
  const { code } = blocks.find((block) => block.code.includes("durable = true"));
  const server = {};
  before(async () => Object.assign(server, await serve(code, { env: { MOONWIRE_JWT_KEY: KEY } })));
  after(() => server.stop?.());

  function token(claims) {
    const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const text = `${part({ alg: "HS256", typ: "JWT" })}.${part(claims)}`;
    return `${text}.${createHmac("sha256", KEY).update(text).digest("base64url")}`;
  }

  const enter = (sub) => {
    const exp = Math.floor(Date.now() / 1000) + 600;
    return connect(server, `/?token=${token({ sub, exp })}`);
  };

  it("who comes back after a kill gets what was missed, and then what is live", async () => {
    let [ann, bob] = [await enter("ann"), await enter("bob")];
    const { offset } = await ann.join("room:1");
    await bob.join("room:1");
    await bob.call("say", { room: "room:1", text: "one" });
    assert.equal((await ann.next()).data, "one");
    await ann.close();
    const { data: second } = await bob.call("say", { room: "room:1", text: "two" });
    await server.kill("SIGKILL");
    await server.start();

    [ann, bob] = [await enter("ann"), await enter("bob")];
    assert.equal((await bob.call("say", { room: "room:1", text: "?" })).error.code, "not_in_room");
    await bob.join("room:1");
    const { data, recovered } = await ann.join("room:1", { after: offset });
    assert.deepEqual([data, recovered], [{ history: [] }, true]);
    assert.equal((await ann.next()).data, "one");
    assert.deepEqual(await ann.next(), { event: "said", data: "two", room: "room:1", offset: second });
    await bob.call("say", { room: "room:1", text: "three" });
    assert.equal((await ann.next()).data, "three");
    const { history } = (await bob.join("room:1")).data;
    assert.deepEqual(history.map((each) => each.data), ["one", "two", "three"]);
    await Promise.all([ann.close(), bob.close()]);
  });
});

// --- the pairs --------------------------------------------------------------------------------

onPair("a WebSocket that welcomes and broadcasts", "WebSocketServer", (server) => {
  it("works for a plain WebSocket", async () => {
    const peers = [await connect(server), await connect(server)];
    for (const peer of peers) assert.equal((await peer.next()).type, "welcome");
    peers[0].send("to all");
    for (const peer of peers) assert.equal(await peer.next(), "to all");
    peers[1].send(Buffer.from([1, 2]));
    for (const peer of peers) assert.deepEqual(await peer.next(), Buffer.from([1, 2]));
    await Promise.all(peers.map((peer) => peer.close()));
  });
});

onPair("a stream with a tick and notifications", "text/event-stream", (server) => {
  it("works for an EventSource", async () => {
    const events = await stream(server, "/events");
    assert.equal((await events.next("connected")).data, "{}");
    assert.ok(JSON.parse((await events.next("tick")).data).time > 0);
    assert.equal((await post(server, "/notify", { text: "hi" })).status, 204);
    assert.equal((await events.next("notification")).data, '{"text":"hi"}');
    events.destroy();
  });
});

onPair("a Socket.IO chat for one origin", "broadcast.emit", (server) => {
  for (const transport of ["polling", "websocket", "upgrade"]) {
    it(`works over ${transport}`, async () => {
      const ann = await visit(server, { transport });
      const bob = await visit(server, { transport });
      ann.emit("chat message", "hello");
      assert.deepEqual(await bob.next("chat message"), ["hello"]);
      ann.socket.disconnect();
      const [id, reason] = await bob.next("left");
      assert.match(id, /^\S+$/);
      assert.equal(reason, "client namespace disconnect");
      assert.deepEqual(ann.inbox.items, [], "what it said came back to it");
      bob.close();
    });
  }

  it("names the origin to a page of that origin", async () => {
    const target = `${server.url}/socket.io/?EIO=4&transport=polling`;
    const { status, headers } = await get(target, { headers: { Origin: ORIGIN } });
    assert.equal(status, 200);
    assert.equal(headers["access-control-allow-origin"], ORIGIN);
    assert.equal(headers["access-control-allow-credentials"], "true");
  });
});

onPair("Socket.IO rooms", "join-room", (server) => {
  const enter = (user, transport) => visit(server, { query: { user }, transport });

  for (const transport of ["polling", "websocket", "upgrade"]) {
    it(`work over ${transport}`, async () => {
      const room = `r-${transport}`;
      const ann = await enter("ann", transport);
      const bob = await enter("bob", transport);
      assert.deepEqual(await ann.ask("join-room", room), { room });
      assert.deepEqual(await bob.ask("join-room", room), { room });
      assert.deepEqual(await ann.next("user-joined"), [{ user: "bob", room }]);

      ann.emit("send-message", { room, text: "hello" });
      const [said] = await bob.next("receive-message");
      const { time, ...rest } = said;
      assert.deepEqual(rest, { user: "ann", room, text: "hello" });
      assert.ok(Math.abs(Date.parse(time) - Date.now()) < 60_000, time);

      bob.emit("leave-room", room);
      assert.deepEqual(await ann.next("user-left"), [{ user: "bob", room }]);
      assert.deepEqual(await bob.ask("join-room", room), { room });
      assert.deepEqual(await ann.next("user-joined"), [{ user: "bob", room }]);
      bob.close();
      assert.deepEqual(await ann.next("user-left"), [{ user: "bob", room }]);
      assert.deepEqual(ann.inbox.items, []);
      ann.close();
    });
  }
});
