// What an operator may choose: transports, upgrades, a cookie, the path; and which pages may call.
"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { packages } = require("../../support.js");
const { request, serving } = require("../support.js");
const { KINDS, PATH, Guest, onEach, openPolling, visit } = require("./support.js");
const { openSocket } = require("./raw.js");
const { io } = packages("socket.io-client");

const POLLING = `${PATH}&transport=polling`;

onEach("polling only", { transports: ["polling"] }, (server) => {
  test("no upgrade is offered, and a WebSocket is an unknown transport", async () => {
    assert.deepEqual((await openPolling(server)).open.upgrades, []);
    const { status, json } = await request(server.url, `${PATH}&transport=websocket`);
    assert.deepEqual([status, json], [400, { code: 0, message: "Transport unknown" }]);
    await assert.rejects(openSocket(server));
    const guest = new Guest(server.url, {});
    await guest.connected();
    assert.equal(await guest.ask("ask", 1), 1);
    assert.equal(guest.socket.io.engine.transport.name, "polling");
    guest.close();
  });
});

onEach("WebSocket only", { transports: ["websocket"] }, (server) => {
  test("polling is an unknown transport", async () => {
    const { status, json } = await request(server.url, POLLING);
    assert.deepEqual([status, json], [400, { code: 0, message: "Transport unknown" }]);
    const guest = await visit(server);
    assert.equal(await guest.ask("ask", 1), 1);
    guest.close();
  });
});

onEach("no upgrades", { allowUpgrades: false }, (server) => {
  test("both transports are there, and none leads to the other", async () => {
    const session = await openPolling(server);
    assert.deepEqual(session.open.upgrades, []);
    const guest = await visit(server, { transport: "websocket" });
    assert.equal(await guest.ask("ask", 1), 1);
    guest.close();
    await session.send("1");
  });
});

onEach("a cookie", { cookie: { name: "sticky" } }, (server) => {
  test("it has the session's id, on the handshake alone", async () => {
    const { headers, body } = await request(server.url, POLLING);
    const { sid } = JSON.parse(body.slice(1));
    assert.deepEqual(headers["set-cookie"], [`sticky=${sid}; Path=/; HttpOnly; SameSite=Lax`]);
    const target = `${POLLING}&sid=${sid}`;
    const posted = await request(server.url, target, { method: "POST", body: "40" });
    assert.equal(posted.headers["set-cookie"], undefined);
    assert.equal((await request(server.url, target)).headers["set-cookie"], undefined);
  });
});

// How an answer to a poll of about so many bytes comes to a client that takes gzip.
async function encodingOf(server, bytes) {
  const session = await openPolling(server);
  await session.connect();
  await session.send(`42["echo","${"x".repeat(bytes)}"]`);
  const headers = { "Accept-Encoding": "gzip" };
  const answer = await request(server.url, session.target, { headers });
  await session.send("1");
  return answer.headers["content-encoding"];
}

onEach("no compression", { httpCompression: false }, (server) => {
  test("the answers to polls are plain, however long", async () => {
    assert.equal(await encodingOf(server, 100_000), undefined);
  });
});

onEach("compression from so many bytes on", { httpCompression: { threshold: 5000 } }, (server) => {
  test("shorter answers to polls are plain", async () => {
    assert.equal(await encodingOf(server, 4900), undefined);
    assert.equal(await encodingOf(server, 5100), "gzip");
  });
});

onEach("another path", { path: "/live/io/" }, (server) => {
  test("the client finds it there, and nothing at the usual one", async () => {
    const { status } = await request(server.url, POLLING);
    assert.equal(status, 404);
    for (const transports of [["polling"], ["websocket"]]) {
      const guest = new Guest(server.url, { path: "/live/io", transports });
      await guest.connected();
      assert.equal(await guest.ask("ask", 1), 1);
      guest.close();
    }
  });
});

const ORIGINS = `return { origins = { "https://page.example" }, events = { ask = function(_, v) return v end } }`;

describe("which pages may call", { skip: !KINDS.includes("moonwire") }, () => {
  const server = serving(ORIGINS);
  const from = (origin, options) =>
    request(server.url, POLLING, { ...options, headers: { Origin: origin, ...options?.headers } });

  test("one that is listed, with credentials, also where it asks first", async () => {
    const { status, headers, body } = await from("https://page.example");
    assert.equal(status, 200);
    assert.equal(headers["access-control-allow-origin"], "https://page.example");
    assert.equal(headers["access-control-allow-credentials"], "true");
    assert.match(headers.vary, /origin/i);
    const before = await from("https://page.example", {
      method: "OPTIONS",
      headers: { "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type" },
    });
    assert.equal(before.status, 204);
    assert.equal(before.headers["access-control-allow-origin"], "https://page.example");
    assert.equal(before.headers["access-control-allow-credentials"], "true");
    assert.match(before.headers["access-control-allow-methods"], /POST/);
    const { sid } = JSON.parse(body.slice(1));
    const posted = await request(server.url, `${POLLING}&sid=${sid}`, {
      method: "POST",
      headers: { Origin: "https://page.example" },
      body: "40",
    });
    assert.equal(posted.status, 200);
    assert.equal(posted.headers["access-control-allow-origin"], "https://page.example");
  });

  test("one that is not listed gets no session, over polling and over a WebSocket", async () => {
    const { status, headers } = await from("https://other.example");
    assert.equal(status, 403);
    assert.equal(headers["access-control-allow-origin"], undefined);
    await assert.rejects(openSocket(server, { origin: "https://other.example" }), /403/);
  });

  test("one of the same host, and who is no page", async () => {
    assert.equal((await from(server.url)).status, 200);
    const socket = io(server.url, { transports: ["websocket"], forceNew: true });
    assert.equal(await socket.timeout(5000).emitWithAck("ask", "no page"), "no page");
    socket.close();
  });
});

const GUARDED = `
local mw = require "moonwire"
return {
  on_request = function(request)
    if request.query.key ~= "right" then return nil, "forbidden" end
  end,
  events = { ask = function(_, v) return v end },
}`;

describe("a guard before the handshake", { skip: !KINDS.includes("moonwire") }, () => {
  const server = serving(GUARDED);

  test("it refuses, and lets pass", async () => {
    assert.equal((await request(server.url, POLLING)).status, 403);
    const socket = io(server.url, { query: { key: "right" }, forceNew: true });
    assert.equal(await socket.timeout(5000).emitWithAck("ask", "in"), "in");
    socket.close();
  });
});
