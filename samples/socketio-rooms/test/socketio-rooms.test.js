// The rooms as people use them: the page with the official client, over each transport, and the
// page with a plain WebSocket, in one room.
"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const path = require("node:path");
const { after, before, describe, test } = require("node:test");
const support = require("../../../tests/browser/support.js");
const { eventually, openPage, packages, shows, texts } = support;

const TOKEN = "a secret of this test";

let browser;
let server;

// The sample with the official client where `npm ci` in its folder would have put it.
function prepareSample() {
  const app = support.copySample("socketio-rooms");
  const dist = "node_modules/socket.io-client/dist";
  const bundles = path.join(path.dirname(packages.resolve("socket.io-client/package.json")), "dist");
  fs.cpSync(bundles, path.join(path.dirname(app), dist), { recursive: true });
  return app;
}

before(async () => {
  browser = await support.launchBrowser();
  server = await support.startServer(prepareSample(), { env: { ADMIN_TOKEN: TOKEN } });
});

after(async () => {
  await browser?.close();
  await server?.kill();
});

async function enter(name, room, { page: file = "", ...options } = {}) {
  const page = await openPage(browser, `${server.url}/${file}`, options);
  await page.fill("#name", name);
  await page.fill("#room", room);
  await page.press("#room", "Enter");
  await shows(page, "#log .notice", `You are in ${room}`);
  return page;
}

async function say(page, text) {
  await page.fill("#text", text);
  await page.press("#text", "Enter");
}

const said = (page) => texts(page, ".message .text");

async function leaveAll(...pages) {
  for (const page of pages) {
    assert.deepEqual(page.problems, []);
    await page.context().close();
  }
}

describe("talking", () => {
  for (const [file, status] of [
    ["", "Connected over websocket"],
    ["?transports=polling", "Connected over polling"],
    ["?transports=websocket", "Connected over websocket"],
    ["plain.html", "Connected over a plain WebSocket"],
  ]) {
    test(`one of two comes by /${file}`, async () => {
      const room = `talk ${file}`;
      const ana = await enter("Ana", room);
      const ben = await enter("Ben", room, { page: file });
      await shows(ben, "#status.connected", status);
      await shows(ana, ".notice", "Ben joined");
      assert.deepEqual(await texts(ben, "#here li"), ["Ana", "Ben"]);
      await shows(ana, "#here li", "Ben");

      await say(ana, "hello Ben");
      await shows(ben, ".message:not(.mine) .text", "hello Ben");
      await say(ben, "hello <b>Ana</b>");
      await shows(ana, ".message:not(.mine) .text", "hello <b>Ana</b>");
      for (const page of [ana, ben]) {
        assert.deepEqual(await said(page), ["hello Ben", "hello <b>Ana</b>"]);
        const times = await page.locator(".message time").evaluateAll((all) => all.map((each) => each.dateTime));
        for (const time of times) assert.ok(Math.abs(Date.now() - Date.parse(time)) < 60_000, time);
      }
      assert.deepEqual(await texts(ana, ".message.mine .text"), ["hello Ben"]);

      await ben.click("#leave");
      await shows(ben, ".notice", `You have left ${room}`);
      await shows(ana, ".notice", "Ben left");
      await say(ana, "is he gone?");
      await shows(ana, ".message.mine .text", "is he gone?");
      assert.deepEqual(await texts(ana, "#here li"), ["Ana"]);
      assert.deepEqual(await said(ben), ["hello Ben", "hello <b>Ana</b>"]);
      await leaveAll(ana, ben);
    });
  }

  test("rooms do not hear each other, and who closes the page has left", async () => {
    const ana = await enter("Ana", "one");
    const ben = await enter("Ben", "two");
    await say(ben, "only in two");
    await shows(ben, ".message.mine .text", "only in two");
    const eve = await enter("Eve", "one", { page: "plain.html" });
    await shows(ana, ".notice", "Eve joined");
    await leaveAll(eve);
    await shows(ana, ".notice", "Eve left");
    assert.deepEqual(await said(ana), []);
    await leaveAll(ana, ben);
  });

  test("who moves to another room has left the first", async () => {
    const ana = await enter("Ana", "first");
    const ben = await enter("Ben", "first");
    await ben.fill("#room", "second");
    await ben.press("#room", "Enter");
    await shows(ana, ".notice", "Ben left");
    await shows(ben, "#title", "second");
    await leaveAll(ana, ben);
  });

  test("what the server refuses is said in its words", async () => {
    for (const file of ["", "plain.html"]) {
      const page = await openPage(browser, `${server.url}/${file}`);
      await page.fill("#name", " ");
      await page.press("#room", "Enter");
      await eventually("a refusal", async () => (await page.textContent("#problem")) !== "");
      await leaveAll(page);
    }
    const page = await openPage(browser, server.url);
    await page.fill("#name", " ");
    await page.press("#room", "Enter");
    await shows(page, "#problem", "Please say who you are");
    await leaveAll(page);
  });
});

describe("/admin", () => {
  test("it needs the token, sees the rooms, and speaks to everybody", async () => {
    const ana = await enter("Ana", "watched");
    const ben = await enter("Ben", "watched", { page: "plain.html" });
    await ana.fill("#token", "a guess");
    await ana.press("#token", "Enter");
    await shows(ana, "#refusal", "That is not the token.");
    assert.equal(await ana.locator("#desk").isVisible(), false);

    await ana.fill("#token", TOKEN);
    await ana.press("#token", "Enter");
    await shows(ana, "#rooms li", "watched: 2");
    await ana.fill("#words", "closing time");
    await ana.press("#words", "Enter");
    for (const page of [ana, ben]) await shows(page, ".announcement", "closing time");
    await leaveAll(ana, ben);
  });
});

describe("the page", () => {
  test("it is back in its room after the server has been restarted", async () => {
    const ana = await enter("Ana", "restart");
    const ben = await enter("Ben", "restart", { page: "plain.html" });
    const eve = await enter("Eve", "restart", { page: "?transports=polling" });
    await server.kill("SIGKILL");
    for (const page of [ana, ben, eve]) await shows(page, "#status:not(.connected)", "Reconnecting");
    await server.start();
    for (const page of [ana, ben, eve]) {
      await eventually("all are here again", async () => (await page.locator("#here li").count()) === 3);
    }
    await say(ana, "we are back");
    for (const page of [ben, eve]) await shows(page, ".text", "we are back");
    await leaveAll(ana, ben, eve);
  });

  test("it fits a phone and a desktop, in light and dark", async () => {
    for (const [name, viewport] of [
      ["phone", support.PHONE],
      ["desktop", support.DESKTOP],
    ]) {
      const room = `looks on a ${name}`;
      const ana = await enter("Ana", room, { viewport });
      const ben = await enter("Ben", room, { viewport, page: "plain.html" });
      await shows(ana, ".notice", "Ben joined");
      await say(ana, "Did the release go out?");
      await shows(ben, ".text", "Did the release");
      await say(ben, `An hour ago, and nobody noticed. ${"w".repeat(120)}`);
      await shows(ana, ".text", "An hour ago");
      assert.equal(await support.photograph(ana, `socketio-rooms-${name}`), 0);
      assert.equal(await support.photograph(ben, `socketio-rooms-plain-${name}`), 0);
      await leaveAll(ana, ben);
    }
  });

  test("it works by keyboard", async () => {
    const page = await openPage(browser, server.url);
    await page.focus("#name");
    await page.keyboard.type("Kim");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await shows(page, ".notice", "You are in lobby");
    await page.keyboard.type("typed at once");
    await page.keyboard.press("Enter");
    await shows(page, ".message.mine .text", "typed at once");
    await leaveAll(page);
  });
});
