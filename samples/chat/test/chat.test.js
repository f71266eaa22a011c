// The chat sample as people use it: real pages in Chromium, a real server.
"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const path = require("node:path");
const { after, before, beforeEach, describe, test } = require("node:test");
const support = require("../../../tests/browser/support.js");
const { eventually, openPage, shows, texts } = support;

const APP = path.join(__dirname, "../app.lua");

let browser;
let server;
let rooms = 0;
let room; // one of its own for every test

before(async () => {
  browser = await support.launchBrowser();
  server = await startChat();
});

after(async () => {
  await browser?.close();
  await server?.kill();
});

beforeEach(() => (room = `test-${++rooms}`));

// What is said stays in a folder of its own.
const startChat = () => support.startServer(APP, { args: ["--data", support.makeFolder()] });

async function enter(name, { url = server.url, ...options } = {}) {
  const page = await openPage(browser, `${url}/#${room}`, options);
  await page.fill("#name", name);
  await page.press("#name", "Enter");
  await page.locator("#people-list li", { hasText: name }).first().waitFor({ state: "attached" });
  return page;
}

async function say(page, text) {
  await page.fill("#text", text);
  await page.press("#text", "Enter");
}

// What the page shows as said, without what is still on its way.
const said = (page) => texts(page, ".message:not(.pending) .text");
const people = (page) => texts(page, "#people-list .name");

// Waits until a list is as long as expected, then compares it.
async function becomes(read, expected) {
  await eventually(`${expected.length} entries`, async () => {
    return (await read()).length >= expected.length;
  });
  assert.deepEqual(await read(), expected);
}

describe("talking", () => {
  test("two people see each other come, talk and go", async () => {
    const ana = await enter("Ana");
    const ben = await enter("Ben");
    await shows(ana, ".notice", "Ben joined");
    await becomes(() => people(ana), ["Ana", "Ben"]);
    await becomes(() => people(ben), ["Ana", "Ben"]);

    await say(ana, "hello Ben");
    await shows(ben, ".message .text", "hello Ben");
    await say(ben, "hello Ana");
    await shows(ana, ".message:not(.mine) .text", "hello Ana");
    await becomes(() => said(ana), ["hello Ben", "hello Ana"]);
    await becomes(() => said(ben), ["hello Ben", "hello Ana"]);
    assert.deepEqual(await texts(ana, ".message.mine .text"), ["hello Ben"]);

    await ben.context().close();
    await shows(ana, ".notice", "Ben left");
    await becomes(() => people(ana), ["Ana"]);
    assert.deepEqual(ana.problems, []);
    await ana.context().close();
  });

  test("a second tab is not a second person", async () => {
    const ana = await enter("Ana");
    const first = await enter("Ben");
    const second = await enter("Ben");
    await shows(ana, ".notice", "Ben joined");
    await becomes(() => people(ana), ["Ana", "Ben"]);
    await first.context().close();
    await say(second, "still here");
    await shows(ana, ".text", "still here");
    assert.deepEqual(await texts(ana, ".notice"), ["Ben joined"]);
    await second.context().close();
    await shows(ana, ".notice", "Ben left");
    assert.deepEqual(await texts(ana, ".notice"), ["Ben joined", "Ben left"]);
    await ana.context().close();
  });

  test("markup is shown as text, in messages and names", async () => {
    const name = "<i>Eve</i>";
    const text = `<b>bold</b> <img src=x onerror="alert(1)"> <script>alert(2)</script> &amp;`;
    const eve = await enter(name);
    const ana = await enter("Ana");
    await say(eve, text);
    await shows(ana, ".text", "onerror");
    await becomes(() => said(ana), [text]);
    assert.deepEqual(await texts(ana, ".message .from"), [name]);
    assert.equal(await ana.locator("#chat :is(#log, #people-list) :is(b, i, img, script)").count(), 0);
    assert.deepEqual([...ana.problems, ...eve.problems], []);
    await eve.context().close();
    await ana.context().close();
  });

  test("long words and long names break, and the page stays as wide as a phone", async () => {
    const ana = await enter("W".repeat(32), { viewport: support.PHONE });
    await say(ana, "w".repeat(600));
    await shows(ana, ".message:not(.pending) .text", "www");
    assert.ok((await support.photograph(ana, "chat-long-words-phone")) <= 0);
    const box = await ana.locator("#text").boundingBox();
    assert.ok(box.y + box.height <= support.PHONE.height, "the typing area is in view");
    await ana.context().close();
  });

  test("what the server refuses is marked and can be tried again", async () => {
    const ana = await enter("Ana");
    await say(ana, "x".repeat(2000));
    await shows(ana, ".message:not(.pending) .text", "xxx");
    await say(ana, "y".repeat(2001));
    await shows(ana, ".message.failed .problem", "at most 2000 characters");
    await ana.getByRole("button", { name: "Try again" }).click();
    await shows(ana, ".message.failed .problem", "at most 2000 characters");
    assert.equal(await ana.locator(".message.failed").count(), 1);
    await ana.context().close();
  });
});

describe("names", () => {
  test("an empty name and a name that is too long are refused with the server's words", async () => {
    const page = await openPage(browser, `${server.url}/#${room}`);
    await page.press("#name", "Enter");
    await shows(page, "#name-error", "Please type a name.");
    await page.fill("#name", "é".repeat(33));
    await page.press("#name", "Enter");
    await shows(page, "#name-error", "A name has at most 32 characters.");
    assert.equal(await page.getAttribute("#name", "aria-invalid"), "true");
    await page.fill("#name", "é".repeat(32));
    await page.press("#name", "Enter");
    await shows(page, "#my-name", "é".repeat(32));
    await page.context().close();
  });

  test("the door says the code over HTTP too", async () => {
    const answer = await fetch(`${server.url}/chat?name=`, {
      headers: { Accept: "text/event-stream" },
    });
    assert.equal(answer.status, 400);
    assert.equal((await answer.json()).error.code, "empty");
  });

  test("a name is kept until its owner signs out", async () => {
    const page = await enter("Ana");
    await page.reload();
    await shows(page, "#my-name", "Ana");
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.locator("#door").waitFor();
    await page.reload();
    await page.locator("#door").waitFor();
    await page.context().close();
  });
});

describe("rooms", () => {
  test("who enters sees what was said before, once and in order", async () => {
    const ana = await enter("Ana");
    const cleo = await enter("Cleo");
    const lines = Array.from({ length: 60 }, (_, i) => `line ${i}`);
    // Two people, because one of them would be over the rate limit.
    for (const line of lines.slice(0, 30)) await say(ana, line);
    await shows(cleo, ".text", "line 29");
    for (const line of lines.slice(30)) await say(cleo, line);
    await shows(ana, ".text", "line 59");
    const ben = await enter("Ben");
    await shows(ben, ".text", "line 59");
    await becomes(() => said(ben), lines.slice(10));
    await say(cleo, "and now");
    await shows(ben, ".text", "and now");
    await becomes(() => said(ben), [...lines.slice(10), "and now"]);
    await cleo.context().close();
    await ana.context().close();
    await ben.context().close();
  });

  test("rooms are apart, and one is opened by its name", async () => {
    const ana = await enter("Ana");
    const ben = await enter("Ben");
    await say(ana, "in the first room");
    await shows(ben, ".text", "in the first room");
    await ben.fill("#room-name", `Other ${room}`);
    await ben.press("#room-name", "Enter");
    await shows(ben, "#room-title", `other-${room}`);
    await shows(ana, ".notice", "Ben left");
    await shows(ben, "#empty", "It is quiet");
    await say(ana, "nobody else hears this");
    await shows(ana, ".message:not(.pending) .text", "nobody else");
    await say(ben, "alone");
    await shows(ben, ".message:not(.pending) .text", "alone");
    await becomes(() => said(ben), ["alone"]);
    await becomes(() => people(ben), ["Ben"]);

    await ben.locator("#room-list a", { hasText: new RegExp(`^${room}$`) }).click();
    await shows(ben, ".text", "nobody else hears this");
    await becomes(() => said(ben), ["in the first room", "nobody else hears this"]);
    await ana.context().close();
    await ben.context().close();
  });

  test("a room whose name is too long is refused", async () => {
    room = "r".repeat(33);
    const page = await openPage(browser, `${server.url}/#${room}`);
    await page.fill("#name", "Ana");
    await page.press("#name", "Enter");
    await shows(page, "#empty", "A room name has at most 32 characters.");
    await page.context().close();
  });
});

describe("losing the connection", () => {
  test("the page comes back after a restart of the server and sends what was typed", async () => {
    const own = await startChat();
    const url = own.url;
    const ana = await enter("Ana", { url });
    const ben = await enter("Ben", { url });
    await say(ana, "before");
    await shows(ben, ".text", "before");

    await own.kill("SIGKILL");
    await shows(ana, "#status", "Reconnecting");
    await shows(ana, "#offline-text", "Connection lost.");
    await say(ana, "typed while it was away");
    await shows(ana, ".message.pending .text", "typed while it was away");

    await own.start();
    assert.equal(own.url, url);
    await shows(ana, "#status", "Connected");
    await shows(ben, "#status", "Connected");
    await shows(ben, ".text", "typed while it was away");
    await say(ben, "after");
    await shows(ana, ".text", "after");
    const all = ["before", "typed while it was away", "after"];
    await becomes(() => said(ana), all);
    await becomes(() => said(ben), all);
    await eventually("both are here again", async () => (await people(ana)).length === 2);
    assert.equal(await ana.locator(".pending").count(), 0);
    const eve = await enter("Eve", { url });
    await becomes(() => said(eve), all);
    for (const page of [ana, ben, eve]) await page.context().close();
    assert.equal(await own.kill("SIGTERM"), 0);
  });

  // Its own pauses after a loss are below half a second, and no whole milliseconds.
  test("the page comes back when a server that restarts has said", async () => {
    const own = await startChat();
    const ana = await enter("Ana", { url: own.url });
    await ana.evaluate(() => {
      window.pauses = [];
      const { setTimeout } = window;
      window.setTimeout = (run, pause) => window.pauses.push(pause) && setTimeout(run, pause);
    });
    assert.equal(await own.kill("SIGTERM"), 0);
    await shows(ana, "#status", "Reconnecting");
    await own.start();
    await shows(ana, "#status", "Connected");
    const pauses = await ana.evaluate(() => window.pauses);
    assert.ok(pauses.some((pause) => Number.isInteger(pause) && pause >= 500 && pause < 1500), String(pauses));
    await ana.context().close();
    assert.equal(await own.kill("SIGTERM"), 0);
  });

  test("what was missed while the line was cut comes once, in order", async () => {
    const cable = await support.startCable(server.port);
    const ana = await enter("Ana", { url: cable.url });
    const ben = await enter("Ben");
    await say(ana, "one");
    await shows(ben, ".text", "one");

    cable.cut();
    await shows(ana, "#status", "Reconnecting");
    await say(ana, "three");
    await say(ben, "two");
    await shows(ben, ".message:not(.pending) .text", "two");
    cable.mend();

    await shows(ana, ".message:not(.pending) .text", "three");
    await shows(ben, ".text", "three");
    await becomes(() => said(ana), ["one", "two", "three"]);
    await becomes(() => said(ben), ["one", "two", "three"]);
    await ana.context().close();
    await ben.context().close();
    cable.remove();
  });
});

describe("a phone that sleeps", () => {
  test("misses nothing that the room still has, however often", async () => {
    const cable = await support.startCable(server.port);
    const ana = await enter("Ana", { url: cable.url, viewport: support.PHONE });
    const ben = await enter("Ben");
    await say(ben, "good night");
    await shows(ana, ".text", "good night");
    const all = ["good night"];
    for (const night of [1, 2]) {
      cable.cut();
      await shows(ana, "#status", "Reconnecting");
      for (let n = 0; n < 15; n++) {
        all.push(`night ${night}, ${n}`);
        await say(ben, all.at(-1));
        await shows(ben, ".message:not(.pending) .text", all.at(-1));
      }
      cable.mend();
      await becomes(() => said(ana), all);
    }
    assert.ok(!(await texts(ana, ".notice")).some((text) => text.includes("no longer there")));
    assert.deepEqual(ana.problems, []);
    await ana.context().close();
    await ben.context().close();
    cable.remove();
  });

  test("is told when it slept for too long", async () => {
    const file = support.copySample("chat");
    fs.writeFileSync(file, fs.readFileSync(file, "utf8").replace("size = 200", "size = 5"));
    const own = await support.startServer(file);
    const cable = await support.startCable(own.port);
    const ana = await enter("Ana", { url: cable.url });
    const ben = await enter("Ben", { url: own.url });
    await say(ben, "good night");
    await shows(ana, ".text", "good night");
    cable.cut();
    await shows(ana, "#status", "Reconnecting");
    for (let n = 0; n < 8; n++) {
      await say(ben, `line ${n}`);
      await shows(ben, ".message:not(.pending) .text", `line ${n}`);
    }
    cable.mend();
    await shows(ana, ".notice", "no longer there");
    await shows(ana, ".text", "line 7");
    const texts = await said(ana);
    assert.equal(texts[0], "good night");
    assert.deepEqual(texts.slice(1), [...Array(8).keys()].map((n) => `line ${n}`).slice(-texts.length + 1));
    for (const page of [ana, ben]) await page.context().close();
    cable.remove();
    await own.kill();
  });
});

describe("editing the Lua file", () => {
  test("changes what happens while both stay connected; a broken file changes nothing", async () => {
    const file = support.copySample("chat");
    const source = fs.readFileSync(file, "utf8");
    const own = await support.startServer(file, { command: "dev" });
    const pages = [await enter("Ana", { url: own.url }), await enter("Ben", { url: own.url })];
    const [ana, ben] = pages;
    for (const page of pages) {
      page.sockets = 0;
      page.on("websocket", () => (page.sockets += 1));
    }
    await say(ana, "quietly");
    await shows(ben, ".text", "quietly");

    const loud = source.replace("text = text,", "text = text:upper(),");
    const more = loud.replace('"lobby",', '"lobby", "kitchen",');
    assert.notEqual(loud, source);
    assert.notEqual(more, loud);
    fs.writeFileSync(file, more);
    for (const page of pages) await shows(page, "#room-list", "kitchen");
    await say(ana, "loudly");
    await shows(ben, ".text", "LOUDLY");

    fs.writeFileSync(file, more + "\nthis is not Lua\n");
    await eventually("the error is shown", () => /app\.lua:\d+/.test(own.output()));
    await say(ben, "still there");
    await shows(ana, ".text", "STILL THERE");

    fs.writeFileSync(file, source);
    await ana.locator("#room-list", { hasText: "kitchen" }).waitFor({ state: "detached" });
    await say(ben, "as before");
    await shows(ana, ".text", "as before");
    for (const page of pages) {
      await becomes(() => said(page), ["quietly", "LOUDLY", "STILL THERE", "as before"]);
      await becomes(() => people(page), ["Ana", "Ben"]);
      assert.equal(page.sockets, 0, "no new connection was made");
    }
    for (const page of pages) await page.context().close();
    await own.kill();
  });
});

describe("the page", () => {
  test("works by keyboard alone, and the focus is always visible", async () => {
    const page = await openPage(browser, `${server.url}/#${room}`);
    await page.keyboard.type("Ana");
    await page.keyboard.press("Enter");
    await page.locator("#text:focus").waitFor();
    await page.keyboard.type("first line");
    await page.keyboard.press("Shift+Enter");
    await page.keyboard.type("second line");
    await page.keyboard.press("Enter");
    await shows(page, ".message:not(.pending) .text", "second line");
    await becomes(() => said(page), ["first line\nsecond line"]);

    const stops = [];
    for (let i = 0; i < 20; i++) {
      await page.keyboard.press("Tab");
      const stop = await page.evaluate(() => {
        const node = document.activeElement;
        const outlined = getComputedStyle(node).outlineStyle !== "none";
        const name = node.id || node.getAttribute("aria-label") || node.textContent.trim();
        return node === document.body ? null : { name, outlined };
      });
      if (!stop) continue;
      assert.ok(stop.outlined, `the focus is seen on ${stop.name}`);
      stops.push(stop.name);
    }
    for (const name of ["lobby", "room-name", "Open the room", "sign-out", "scroller", "text", "Send"]) {
      assert.ok(stops.includes(name), `${name} is reached: ${stops}`);
    }
    await page.context().close();
  });

  test("every control has a name for screen readers, and new messages are announced", async () => {
    const page = await enter("Ana");
    const nameless = await page.evaluate(() =>
      [...document.querySelectorAll("button, input, textarea, a")]
        .filter((node) => !node.labels?.length && !node.ariaLabel && !node.textContent.trim())
        .map((node) => node.outerHTML),
    );
    assert.deepEqual(nameless, []);
    assert.equal(await page.getAttribute("#log", "role"), "log");
    await page.locator('#log[aria-live="polite"]').waitFor({ state: "attached" });
    await page.context().close();
  });

  test("takes nothing from elsewhere", async () => {
    const page = await openPage(browser, "about:blank");
    const elsewhere = [];
    page.on("request", (request) => {
      if (!request.url().startsWith(server.url)) elsewhere.push(request.url());
    });
    await page.goto(server.url);
    await page.locator("#door").waitFor();
    assert.deepEqual(elsewhere, []);
    await page.context().close();
  });

  test("looks right on a phone and a desktop, light and dark", async () => {
    const phone = await openPage(browser, `${server.url}/#${room}`, { viewport: support.PHONE });
    assert.ok((await support.photograph(phone, "chat-door-phone")) <= 0);
    await phone.fill("#name", "Ana");
    await phone.press("#name", "Enter");
    await shows(phone, "#empty", "It is quiet");
    assert.ok((await support.photograph(phone, "chat-empty-phone")) <= 0);

    const desktop = await enter("Benjamin");
    const third = await enter("Zoë");
    const talk = [
      [phone, "Is anybody here?"],
      [desktop, "I am! Two commands, and the server ran."],
      [desktop, "Markup stays text: <b>not bold</b>"],
      [third, "Hello you two"],
      [phone, "Now I edit the Lua file while we talk, and nobody is thrown out."],
      [third, "Line one\nline two"],
      [desktop, `https://example.org/${"a-long-address/".repeat(8)}`],
      [phone, "It works on the phone, too."],
    ];
    for (const [page, text] of talk) {
      await say(page, text);
      for (const other of [phone, desktop, third]) {
        await shows(other, ".message:not(.pending) .text", text.split("\n")[0]);
      }
    }
    assert.ok((await support.photograph(phone, "chat-phone")) <= 0);
    assert.ok((await support.photograph(desktop, "chat-desktop")) <= 0);
    await phone.click('[popovertarget="rooms"]');
    assert.ok((await support.photograph(phone, "chat-rooms-phone")) <= 0);
    await phone.keyboard.press("Escape");
    await phone.click('[popovertarget="people"]');
    assert.ok((await support.photograph(phone, "chat-people-phone")) <= 0);
    for (const page of [phone, desktop, third]) await page.context().close();
  });
});
