// The smallest sample: every frame to everyone, and under ten lines of Lua.
"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const path = require("node:path");
const { after, before, test } = require("node:test");
const support = require("../../../tests/browser/support.js");
const { openPage, shows, texts } = support;

const APP = path.join(__dirname, "../app.lua");

let browser;
let server;

before(async () => {
  browser = await support.launchBrowser();
  server = await support.startServer(APP);
});

after(async () => {
  await browser?.close();
  await server?.kill();
});

test("it is under ten lines of Lua", () => {
  assert.ok(fs.readFileSync(APP, "utf8").trimEnd().split("\n").length < 10);
});

test("everyone is welcomed and gets every message, as text", async () => {
  const pages = [];
  for (let i = 0; i < 3; i++) {
    const page = await openPage(browser, server.url);
    await shows(page, ".notice", "Welcome");
    pages.push(page);
  }
  await pages[0].fill("#text", "hello <b>all</b>");
  await pages[0].press("#text", "Enter");
  for (const page of pages) {
    await shows(page, "#list", "hello");
    assert.deepEqual(await texts(page, "#list li:not(.notice)"), ["hello <b>all</b>"]);
    assert.deepEqual(page.problems, []);
    await page.context().close();
  }
});

test("plain browser code speaks with it: JSON text both ways, and binary frames", async () => {
  const page = await openPage(browser, server.url);
  const heard = await page.evaluate(
    (url) =>
      new Promise((resolve, reject) => {
        const heard = [];
        const socket = new WebSocket(url);
        socket.binaryType = "arraybuffer";
        socket.onclose = () => reject(new Error("closed"));
        setTimeout(() => reject(new Error("heard only " + JSON.stringify(heard))), 10_000);
        socket.onmessage = ({ data }) => {
          heard.push(typeof data === "string" ? JSON.parse(data) : [...new Uint8Array(data)]);
          if (heard.length === 1) {
            socket.send(JSON.stringify({ n: 1 }));
            socket.send(new Uint8Array([0, 255, 7]));
          }
          if (heard.length === 3) resolve(heard);
        };
      }),
    server.url.replace("http", "ws") + "/",
  );
  assert.equal(heard[0].type, "welcome");
  assert.deepEqual(heard.slice(1), [{ n: 1 }, [0, 255, 7]]);
  await page.context().close();
});

test("the page comes back after a restart, and looks right", async () => {
  const own = await support.startServer(APP);
  const page = await openPage(browser, own.url, { viewport: support.PHONE });
  await shows(page, "#status", "Connected");
  await own.kill("SIGKILL");
  await shows(page, "#status", "Reconnecting");
  await own.start();
  await shows(page, "#status", "Connected");
  for (const text of ["back again", "and everyone hears it", "w".repeat(120)]) {
    await page.fill("#text", text);
    await page.press("#text", "Enter");
    await shows(page, "#list li", text);
  }
  assert.ok((await support.photograph(page, "broadcast-phone")) <= 0);
  await page.setViewportSize(support.DESKTOP);
  assert.ok((await support.photograph(page, "broadcast-desktop")) <= 0);
  await page.context().close();
  await own.kill();
});
