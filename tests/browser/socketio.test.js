// The unmodified Socket.IO client in a browser: a page that uses io(url), emit, on, rooms and acks,
// over each transport, through a restart of the server, and from another origin.
"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const http = require("node:http");
const path = require("node:path");
const { after, before, describe, test } = require("node:test");
const { makeFolder } = require("../support.js");
const { launchBrowser, openPage, packages, shows, startServer, texts } = require("./support.js");

const bundle = path.join(
  path.dirname(packages.resolve("socket.io-client/package.json")),
  "dist/socket.io.js",
);

// What a page would be written like, the address of the client's script included. Its query says where the server is, which transports it may
// use, and whether it is one that sends credentials.
const PAGE = `<!doctype html><meta charset="utf-8"><title>a page</title>
<p id="status"></p><ol id="log"></ol>
<script src="/socket.io/socket.io.js"></script>
<script>
  const query = new URLSearchParams(location.search);
  const transports = query.get("transports")?.split(",");
  const guarded = query.has("guarded") && { withCredentials: true, extraHeaders: { "x-page": "1" } };
  const socket = io(query.get("url") ?? location.origin, {
    ...(transports && { transports }),
    ...guarded,
    reconnectionDelayMax: 500,
  });
  const status = document.querySelector("#status");
  const log = (text) => {
    const line = document.createElement("li");
    line.textContent = text;
    document.querySelector("#log").append(line);
  };
  const show = () => (status.textContent = "over " + socket.io.engine.transport.name);
  socket.on("connect", () => {
    show();
    socket.io.engine.on("upgrade", show);
    socket.emit("join", "lobby", (count) => log("joined as number " + count));
  });
  socket.on("disconnect", (reason) => (status.textContent = "gone: " + reason));
  socket.on("connect_error", (error) => (status.textContent = "refused: " + error.message));
  socket.on("said", (text, bytes) => log("heard " + text + " " + new Uint8Array(bytes).join()));
  socket.on("sum", (a, b, answer) => answer(a + b));
  const say = (text) =>
    socket.emit("say", text, Uint8Array.of(1, 2, 255).buffer, (answer) => log("told " + answer.to));
  const calculate = () => socket.emit("calculate", 1, 2, (sum) => log("sum " + sum));
</script>`;

const app = (origin) => `
local mw = require "moonwire"
local app = { origins = { "${origin}" }, events = {} }
app.static = { ["/"] = "public", ["/socket.io"] = "dist" }
function app.events.join(client, room)
  client:join(room)
  return mw.room(room):count()
end
function app.events.say(client, text, bytes)
  client:to("lobby"):emit("said", text, bytes)
  return { to = "lobby" }
end
function app.events.calculate(client, a, b)
  return client:timeout(5):request("sum", a, b)
end
return app`;

let browser;
let server;
let other; // a web server that knows nothing of Socket.IO
let origin;

const FILES = {
  "/": ["text/html", PAGE],
  "/socket.io/socket.io.js": ["text/javascript", fs.readFileSync(bundle, "utf8")],
};

before(async () => {
  other = http.createServer(({ url }, response) => {
    const [type, body] = FILES[url.split("?")[0]] ?? ["text/plain", ""];
    response.writeHead(200, { "Content-Type": type }).end(body);
  });
  await new Promise((resolve) => other.listen(0, "127.0.0.1", resolve));
  origin = `http://127.0.0.1:${other.address().port}`;
  const folder = makeFolder({
    "app.lua": app(origin),
    "public/index.html": PAGE,
    "dist/socket.io.js": FILES["/socket.io/socket.io.js"][1],
  });
  [browser, server] = await Promise.all([
    launchBrowser(),
    startServer(path.join(folder, "app.lua")),
  ]);
});

after(async () => {
  await browser?.close();
  other?.close();
  await server?.kill();
});

async function leave(...pages) {
  for (const page of pages) {
    assert.deepEqual(page.problems, []);
    await page.context().close();
  }
}

const TRANSPORTS = [
  ["polling only", "?transports=polling", "over polling"],
  ["WebSocket only", "?transports=websocket", "over websocket"],
  ["the upgrade", "", "over websocket"],
];

for (const [name, query, status] of TRANSPORTS) {
  describe(`a page with ${name}`, () => {
    test("it speaks, asks, answers and is in a room, also after the server's restart", async () => {
      const ana = await openPage(browser, `${server.url}/${query}`);
      await shows(ana, "#log li", "joined as number 1");
      const ben = await openPage(browser, `${server.url}/${query}`);
      await shows(ben, "#log li", "joined as number 2");
      for (const page of [ana, ben]) await shows(page, "#status", status);
      await ana.evaluate("say('hello')");
      await shows(ana, "#log li", "told lobby");
      await shows(ben, "#log li", "heard hello 1,2,255");
      await ben.evaluate("calculate()");
      await shows(ben, "#log li", "sum 3");
      assert.deepEqual(await texts(ana, "#log li"), ["joined as number 1", "told lobby"]);

      await server.kill("SIGTERM");
      for (const page of [ana, ben]) await page.waitForFunction("!socket.connected");
      await ana.evaluate("say('said while it was away')");
      await server.start();
      for (const page of [ana, ben]) {
        await page.waitForFunction("document.querySelectorAll('li').length >= 4");
        await shows(page, "#status", status);
      }
      await ben.evaluate("say('we are back')");
      await shows(ana, "#log li", "heard we are back 1,2,255");
      await leave(ana, ben);
    });
  });
}

describe("a page of another origin", () => {
  const there = (transports, more = "") =>
    `?url=${encodeURIComponent(server.url)}&transports=${transports}${more}`;

  for (const [transports, more] of [
    ["polling", ""],
    ["websocket", ""],
    ["polling,websocket", ""],
    ["polling", "&guarded"],
  ]) {
    test(`one that is listed speaks over ${transports}${more && ", with credentials"}`, async () => {
      const page = await openPage(browser, `${origin}/${there(transports, more)}`);
      await shows(page, "#log li", "joined as number");
      await page.evaluate("calculate()");
      await shows(page, "#log li", "sum 3");
      await leave(page);
    });
  }

  test("one that is not listed is refused", async () => {
    const foreign = origin.replace("127.0.0.1", "localhost");
    for (const transports of ["polling", "websocket"]) {
      const page = await openPage(browser, `${foreign}/${there(transports)}`);
      await shows(page, "#status", "refused");
      assert.deepEqual(await texts(page, "#log li"), []);
      await leave(page);
    }
  });
});
