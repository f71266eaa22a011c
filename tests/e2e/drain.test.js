// The end of a server that serves: who is told first, who is still served meanwhile, how each wire
// is asked to go and when its real clients come back. restart.test.js does it with a crowd.
"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const { after, describe, it } = require("node:test");
const { eventually, packages, run, startServer, within } = require("../support.js");
const { Inbox, connect, get, request, serve, stream } = require("./support.js");
const { CLOSE, dial, upgrade } = require("./wire.js");
const { io } = packages("socket.io-client");
const { Socket } = packages("engine.io-client");
const { EventSource } = packages("eventsource");

const FLOOD = 24 << 20; // bytes: more than the kernel keeps for a reader who has stopped

const APP = `
local mw = require "moonwire"
local gate = mw.state("gate", { open = false })
local function wait() while not gate.open do mw.sleep(0.005) end end

local app = { events = {}, routes = {} }
function app.on_connect(client) client:join("all") client:emit("welcome", client.wire) end
function app.on_disconnect(client, reason) print("gone: " .. client.wire .. " " .. reason) end
function app.events.echo(client, value) return value end
function app.events.wait(client) client:emit("waiting") wait() return "replied" end
function app.events.flood(client) client:emit("flood", ("x"):rep(${FLOOD})) print("flooded") end
app.routes["GET /say/:text"] = function(request) mw.room("all"):emit("said", request.params.text) return "ok" end
app.routes["GET /open"] = function() gate.open = true return "ok" end
app.routes["GET /wait"] = function() wait() return "waited" end

local plain = { namespace = "/engine", protocol = "engine.io" }
function plain.on_message(client, text) client:send(text) end
function plain.on_disconnect(client, reason) print("gone: " .. client.wire .. " " .. reason) end

local second = { namespace = "/second", events = {} }
function second.on_disconnect(client, reason) print("gone from the second: " .. reason) end
return { app, plain, second }
`;

const PATH = "/socket.io/?EIO=4&transport=polling";
const HINT = /^server restart; retry=(\d+\.\d{3})$/;

// A connection that has been used for a request and stays.
async function keep(server) {
  const wire = await dial(server);
  await ask(wire, "/say/kept");
  return wire;
}

async function ask(wire, target) {
  wire.writeRequest([`GET ${target} HTTP/1.1`, "Host: x"]);
  return wire.response();
}

// The line that tells a stream when to come back; all have another as their first.
const isHint = ({ retry }) => retry !== undefined && retry !== "2000";

function health(server) {
  return get(`${server.admin}/healthz`).then(({ status }) => status);
}

// A peer whose handler waits until the gate is opened; nobody asks him to go before.
async function waiter(server) {
  const peer = await connect(server);
  const reply = peer.call("wait");
  await peer.find(({ event }) => event === "waiting");
  reply.catch(() => {});
  return { peer, reply };
}

// The server has been told to end, and accepts nobody any more.
async function drain(server, signal = "SIGTERM") {
  const from = server.output().length;
  server.signal(signal);
  await server.said(/accepting no more/, from);
}

describe("a server that has to end", () => {
  let server;
  after(() => server?.process.child.kill("SIGKILL"));

  it("says so at /healthz first, and serves as ever until the delay is over", async () => {
    server = await serve(APP, { args: ["--drain-delay", "1800", "--shutdown-timeout", "3600"] });
    const peer = await connect(server);
    assert.equal(await health(server), 200);
    server.signal("SIGTERM");
    await eventually("503 at /healthz", async () => (await health(server)) === 503);
    const late = await connect(server);
    assert.deepEqual(await late.call("echo", 1), { data: 1 });
    assert.deepEqual(await peer.call("echo", 2), { data: 2 });
    assert.notEqual((await ask(await dial(server), "/say/x")).headers.connection, "close");
    server.signal("SIGTERM"); // Asked again, it ends at once, and tells everybody even so.
    for (const { code, reason } of await Promise.all([peer.closed(), late.closed()])) {
      assert.equal(code, 1012);
      assert.match(reason, HINT);
    }
    assert.equal(await server.exit(), 0);
  });

  it("goes on by itself when the delay is over", async () => {
    server = await serve(APP, { args: ["--drain-delay", "0.05"] });
    const peer = await connect(server);
    await drain(server);
    assert.equal((await peer.closed()).code, 1012);
    await assert.rejects(request(server.url, "/say/x"), /ECONNREFUSED/);
    assert.equal(await server.exit(), 0);
  });

  it("refuses a delay that leaves no time", async () => {
    const { code, text } = await run(["check", server.file, "--drain-delay", "10"]);
    assert.equal(code, 2);
    assert.match(text, /drain_delay must be shorter than shutdown_timeout/);
  });

  it("ends at once where nobody is there", async () => {
    server = await serve(APP, { args: ["--shutdown-timeout", "3600", "--drain-window", "1800"] });
    const idle = await keep(server);
    assert.equal(await server.kill("SIGTERM"), 0);
    await idle.end();
  });

  it("ends at once when it is asked again, and has a word for those who wait", async () => {
    server = await serve(APP, { args: ["--shutdown-timeout", "3600"] });
    const { peer } = await waiter(server);
    const other = await connect(server);
    await drain(server, "SIGINT");
    assert.match((await other.closed()).reason, HINT);
    assert.equal(peer.socket.readyState, peer.socket.OPEN);
    server.signal("SIGINT");
    assert.match((await peer.closed()).reason, HINT);
    assert.equal(await server.exit(), 0);
    assert.match(server.output(), /asked again/);
  });

  it("takes no time for pacing in dev", async () => {
    server = await serve(APP, { command: "dev", args: ["--drain-delay", "5", "--drain-window", "9"] });
    const peers = await Promise.all(Array.from({ length: 20 }, () => connect(server)));
    await drain(server, "SIGINT");
    assert.match(server.output(), /asking clients to go: 20, within 0\.0 s/);
    for (const peer of peers) assert.match((await peer.closed()).reason, HINT);
    assert.equal(await server.exit(), 0);
  });
});

describe("a server that ends", () => {
  it("still serves those who are there, and lets handlers reply", async () => {
    const server = await serve(APP, { args: ["--shutdown-timeout", "3600"] });
    const { peer, reply } = await waiter(server);
    const kept = [await keep(server), await keep(server), await keep(server)];
    const asked = request(server.url, "/wait");
    const idle = await connect(server);
    await drain(server);
    assert.match((await idle.closed()).reason, HINT);
    await peer.find(({ event }) => event === "said");
    for (const [at, text] of ["one", "two"].entries()) {
      const answer = await ask(kept[at], `/say/${text}`);
      assert.deepEqual([answer.body, answer.headers.connection], ["ok", "close"]);
      await kept[at].end();
      assert.equal((await peer.find(({ data }) => data === text)).room, "all");
    }
    assert.equal(await health(server), 503);
    assert.equal((await ask(kept[2], "/open")).body, "ok");
    assert.deepEqual(await reply, { data: "replied" });
    assert.match((await peer.closed()).reason, HINT);
    const { body, headers } = await asked;
    assert.deepEqual([body, headers.connection], ["waited", "close"]);
    assert.equal(await server.exit(), 0);
  });

  it("lets nobody in over a connection that was kept", async () => {
    const server = await serve(APP, { args: ["--shutdown-timeout", "3600"] });
    await waiter(server);
    const kept = [await keep(server), await keep(server), await keep(server)];
    await drain(server);
    kept[0].writeRequest(["GET / HTTP/1.1", "Host: x", "Accept: text/event-stream"]);
    const { status, headers, body } = await kept[0].response();
    assert.deepEqual([status, headers.connection], [503, "close"]);
    assert.match(body, /shutting down/);
    const event = JSON.stringify({ event: "echo", data: "one-shot" });
    kept[1].writeRequest(["POST / HTTP/1.1", "Host: x", `Content-Length: ${event.length}`], event);
    assert.equal((await kept[1].response()).body, '"one-shot"');
    assert.equal((await ask(kept[2], "/open")).body, "ok");
    assert.equal(await server.exit(), 0);
  });

  it("waits for who reads slowly, and not long for who does not say goodbye", async () => {
    const server = await serve(APP, {
      args: ["--shutdown-timeout", "3600", "--high-mark", "32M", "--hard-limit", "64M", "--handler-budget", "0"],
    });
    const silent = await upgrade(server);
    const slow = await connect(server);
    slow.emit("flood");
    slow.socket.pause();
    await server.said(/flooded/);
    await drain(server);
    while ((await silent.frame()).opcode !== CLOSE);
    await silent.end();
    slow.socket.resume();
    const { data } = await slow.find(({ event }) => event === "flood");
    assert.equal(data.length, FLOOD);
    assert.match((await slow.closed()).reason, HINT);
    assert.equal(await server.exit(), 0);
  });

  it("leaves port and control socket to its successor at once", async () => {
    const server = await serve(APP, { args: ["--shutdown-timeout", "3600"] });
    await waiter(server);
    const kept = await keep(server);
    await drain(server);
    const args = ["--control", server.control, "--port", String(server.port)];
    const successor = await startServer(server.file, { args });
    assert.equal(successor.port, server.port);
    assert.equal((await request(successor.url, "/say/new")).headers.connection, "close");
    assert.equal((await ask(kept, "/open")).body, "ok");
    assert.equal(await server.exit(), 0);
    assert.ok(fs.existsSync(server.control));
    assert.equal((await run(["reload", server.file, "--control", server.control])).code, 0);
    assert.equal(await successor.kill("SIGTERM"), 0);
  });

  it("leaves a stream the connection over which it speaks", async () => {
    const server = await serve(APP, { args: ["--shutdown-timeout", "3600"] });
    const events = await stream(server, "/?sid=new");
    const { sid } = JSON.parse((await events.next("sid")).data);
    const kept = await keep(server);
    const post = (body) =>
      kept.writeRequest([`POST /?sid=${sid} HTTP/1.1`, "Host: x", `Content-Length: ${body.length}`], body);
    const waiting = await dial(server);
    const body = JSON.stringify({ event: "wait" });
    waiting.writeRequest([`POST /?sid=${sid} HTTP/1.1`, "Host: x", `Content-Length: ${body.length}`], body);
    await events.next("waiting");
    await drain(server);
    for (let time = 0; time < 2; time++) {
      post("no event"); // all else would wait in the line
      const { status, headers } = await kept.response();
      assert.deepEqual([status, headers.connection], [400, undefined]);
    }
    assert.equal((await ask(kept, "/open")).headers.connection, "close");
    assert.equal((await waiting.response()).body, '"replied"');
    assert.ok(Number((await events.find(isHint)).retry) >= 500);
    assert.equal(await events.ended(), true);
    assert.equal(await server.exit(), 0);
    assert.match(server.output(), /gone: sse shutdown/);
  });

  it("leaves a polling client the connections over which it polls", async () => {
    const server = await serve(APP, { args: ["--shutdown-timeout", "3600"] });
    const [polls, posts, others] = [await keep(server), await keep(server), await keep(server)];
    const last = await keep(server);
    const open = await ask(polls, PATH);
    const target = `${PATH}&sid=${JSON.parse(open.body.slice(1)).sid}`;
    const post = async (packet) => {
      posts.writeRequest([`POST ${target} HTTP/1.1`, "Host: x", `Content-Length: ${packet.length}`], packet);
      const { body, headers } = await posts.response();
      assert.deepEqual([body, headers.connection], ["ok", undefined]);
    };
    const poll = async (wanted) => {
      for (let text = ""; !wanted.test(text); ) {
        const { status, body, headers } = await ask(polls, target);
        assert.deepEqual([status, headers.connection], [200, undefined]);
        text += body;
      }
    };
    await post("40");
    await poll(/40\{"sid"/);
    await post('427["wait"]');
    await poll(/42\["waiting"\]/);
    await drain(server);
    const hearing = poll(/42\["said","still here"\]/);
    assert.equal((await ask(others, "/say/still%20here")).headers.connection, "close");
    await hearing;
    await post('42["echo",1]');
    assert.equal((await ask(last, "/open")).body, "ok");
    await poll(/437\["replied"\].*1$/s); // and the packet that closes the session
    assert.equal(await server.exit(), 0);
    assert.match(server.output(), /gone: socket\.io server shutting down/);
  });
});

// Real clients, none of which is told how to come back.
describe("clients of a server that restarts", () => {
  let server;
  const closing = [];
  after(async () => {
    closing.forEach((close) => close());
    await server.stop();
  });

  async function restart() {
    assert.equal(await server.kill("SIGTERM"), 0);
    assert.doesNotMatch(server.output(), /deadline|Sanitizer|runtime error/);
    await server.start();
  }

  for (const transport of ["polling", "websocket"]) {
    it(`are back by themselves: socket.io-client over ${transport}`, async () => {
      server = server ?? (await serve(APP));
      const inbox = new Inbox("the client of Socket.IO");
      const socket = io(server.url, { forceNew: true, transports: [transport] });
      closing.push(() => socket.close());
      socket.on("welcome", () => inbox.put("welcome"));
      socket.on("disconnect", (reason) => inbox.put(reason));
      assert.equal(await inbox.take(), "welcome");
      const second = socket.io.socket("/second");
      closing.push(() => second.close());
      second.on("connect", () => inbox.put("second"));
      second.on("disconnect", (reason) => inbox.put(reason));
      assert.equal(await inbox.take(), "second");
      await restart();
      assert.match(await inbox.take(), /^transport (close|error)$/);
      assert.match(await inbox.take(), /^transport (close|error)$/);
      const back = [await inbox.take(), await inbox.take()].sort();
      assert.deepEqual(back, ["second", "welcome"]);
      assert.match(server.before, /gone: socket\.io server shutting down/);
      assert.match(server.before, /gone from the second: server shutting down/);
      second.close();
      socket.close();
    });
  }

  it("are back by themselves: EventSource", async () => {
    const inbox = new Inbox("the EventSource");
    const events = new EventSource(server.url);
    closing.push(() => events.close());
    events.addEventListener("welcome", () => inbox.put("welcome"));
    assert.equal(await inbox.take(), "welcome");
    await restart();
    assert.equal(await inbox.take(), "welcome");
    assert.match(server.before, /gone: sse shutdown/);
    events.close();
  });

  it("hear on Engine.IO that their transport is closed", async () => {
    for (const transport of ["polling", "websocket"]) {
      const url = server.url.replace("http", "ws");
      const socket = new Socket(url, { path: "/engine", transports: [transport] });
      closing.push(() => socket.close());
      const gone = new Promise((resolve) => socket.on("close", resolve));
      const echoed = new Promise((resolve) => socket.on("message", resolve));
      socket.on("open", () => socket.send("hello"));
      assert.equal(await within(echoed, "an echo"), "hello");
      await restart();
      assert.match(await within(gone, "the end of the transport"), /^transport (close|error)$/);
      assert.match(server.before, /gone: engine\.io shutdown/);
    }
  });
});
