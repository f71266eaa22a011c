// The notifications sample: streams of several people, the call that reaches them, and the page.
"use strict";

const assert = require("node:assert/strict");
const path = require("node:path");
const { after, before, describe, test } = require("node:test");
const support = require("../../../tests/browser/support.js");
const { eventually, openPage, shows, texts } = support;

const APP = path.join(__dirname, "../app.lua");
const KEY = "a key of the tests";

let browser;
let server;

before(async () => {
  browser = await support.launchBrowser();
  server = await support.startServer(APP, { env: { NOTIFY_KEY: KEY } });
});

after(async () => {
  await browser?.close();
  await server?.kill();
});

function notify(user, body, key = KEY) {
  return fetch(`${server.url}/notify/${encodeURIComponent(user)}`, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-API-Key": key },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
}

const stats = async () => (await fetch(`${server.url}/stats`)).json();

// A stream as a program reads it: { events: [{ event, data }], close() }.
async function openStream(user) {
  const stop = new AbortController();
  const answer = await fetch(`${server.url}/notifications?user=${encodeURIComponent(user)}`, {
    signal: stop.signal,
  });
  assert.equal(answer.status, 200);
  assert.match(answer.headers.get("content-type"), /^text\/event-stream/);
  const stream = { events: [], close: () => stop.abort() };
  read(answer.body, stream.events).catch(() => {});
  return stream;
}

async function read(body, events) {
  const decoder = new TextDecoder();
  let text = "";
  for await (const bytes of body) {
    text += decoder.decode(bytes, { stream: true });
    const blocks = text.split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const event = /^event: ?(.*)$/m.exec(block)?.[1];
      const data = /^data: ?(.*)$/m.exec(block)?.[1];
      if (data !== undefined) events.push({ event, data: JSON.parse(data) });
    }
  }
}

const received = (stream, event) => stream.events.filter((e) => e.event === event);

describe("the streams", () => {
  test("connected comes first, then a tick each second with the number of readers", async () => {
    const stream = await openStream("ana");
    await eventually("two ticks", () => received(stream, "tick").length >= 2);
    assert.equal(stream.events[0].event, "connected");
    assert.equal(stream.events[0].data.user, "ana");
    const [first, second] = received(stream, "tick").map(({ data }) => data);
    assert.equal(first.readers, 1);
    assert.ok(Date.parse(second.time) > Date.parse(first.time));
    stream.close();
  });

  test("a notification reaches every stream of its user and nobody else's", async () => {
    const ana = [await openStream("ana"), await openStream("ana")];
    const ben = await openStream("ben");
    await eventually("all are connected", () =>
      [...ana, ben].every((stream) => stream.events.length > 0),
    );
    const answer = await notify("ana", { title: "Build", text: "It passed.\nAll of it." });
    assert.equal(answer.status, 202);
    assert.equal((await notify("ben", { text: "only Ben" })).status, 202);
    for (const stream of [...ana, ben]) {
      await eventually("it arrives", () => received(stream, "notification").length > 0);
    }
    for (const stream of ana) {
      const [note] = received(stream, "notification");
      assert.equal(note.data.title, "Build");
      assert.equal(note.data.text, "It passed.\nAll of it.");
      assert.ok(Date.parse(note.data.time));
    }
    assert.deepEqual(
      received(ben, "notification").map(({ data }) => data.text),
      ["only Ben"],
    );
    [...ana, ben].forEach((stream) => stream.close());
  });

  test("the tick stops when nobody reads, and begins again", async () => {
    await eventually("nobody reads", async () => (await stats()).readers === 0);
    const { ticks } = await stats();
    // Long enough for two ticks, if there were any.
    await new Promise((resolve) => setTimeout(resolve, 2500));
    assert.equal((await stats()).ticks, ticks);
    const stream = await openStream("ana");
    await eventually("a tick", () => received(stream, "tick").length > 0);
    assert.ok((await stats()).ticks > ticks);
    stream.close();
  });
});

describe("who may do what", () => {
  test("a wrong key and a missing one are unauthorized", async () => {
    const wrong = await notify("ana", { text: "no" }, "another key");
    assert.equal(wrong.status, 401);
    assert.equal((await wrong.json()).error.code, "unauthorized");
    const none = await fetch(`${server.url}/notify/ana`, { method: "POST", body: "{}" });
    assert.equal(none.status, 401);
  });

  test("a body that is no notification is refused", async () => {
    const bodies = ["", "not JSON", "[]", "{}", { text: "" }, { text: 7 }, { text: "x".repeat(2001) }];
    for (const body of bodies) {
      const answer = await notify("ana", body);
      assert.equal(answer.status, 400, JSON.stringify(body));
    }
    assert.equal((await notify("ana", { text: "x".repeat(2000) })).status, 202);
    const title = await notify("ana", { title: {}, text: "x" });
    assert.equal((await title.json()).error.code, "bad_title");
  });

  test("a stream needs to say whose it is", async () => {
    for (const query of ["", "?user="]) {
      const answer = await fetch(`${server.url}/notifications${query}`);
      assert.equal(answer.status, 401);
      assert.equal((await answer.json()).error.code, "unauthorized");
    }
  });

  test("without NOTIFY_KEY the development key works, and the server warns", async () => {
    const own = await support.startServer(APP, { env: { NOTIFY_KEY: undefined } });
    const answer = await fetch(`${own.url}/notify/ana`, {
      method: "POST",
      headers: { "X-API-Key": "development" },
      body: JSON.stringify({ text: "x" }),
    });
    assert.equal(answer.status, 202);
    assert.match(own.output(), /NOTIFY_KEY is not set/);
    assert.equal(await own.kill(), 0);
  });
});

describe("the page", () => {
  test("shows notifications live, counts the unread ones in the title, and sends", async () => {
    const ana = await openPage(browser, `${server.url}/?user=ana`);
    const other = await openPage(browser, `${server.url}/?user=ana`);
    const ben = await openPage(browser, `${server.url}/?user=ben`);
    for (const page of [ana, other, ben]) await shows(page, "#pulse", "3 readers");
    await shows(ana, "#status", "Live");

    await ben.fill("#to", "ana");
    await ben.fill("#title", "From <b>Ben</b>");
    await ben.fill("#text", "Are you there?");
    await ben.fill("#key", "wrong");
    await ben.press("#key", "Enter");
    await shows(ben, "#sent", "is not the key");
    await ben.fill("#key", KEY);
    await ben.press("#key", "Enter");
    await shows(ben, "#sent", "Sent to ana.");
    for (const page of [ana, other]) {
      await shows(page, "#list li", "Are you there?");
      assert.deepEqual(await texts(page, "#list strong"), ["From <b>Ben</b>"]);
      assert.equal(await page.title(), "(1) Notifications");
    }
    await notify("ana", { text: "second" });
    await shows(ana, "#list li:first-child", "second");
    assert.equal(await ana.title(), "(2) Notifications");
    await ana.getByRole("button", { name: "Mark all read" }).click();
    assert.equal(await ana.title(), "Notifications");
    await notify("ben", { text: "to Ben" });
    await shows(ben, "#list li", "to Ben");
    assert.deepEqual(await texts(ben, "#list li p"), ["to Ben"]);
    for (const page of [ana, other, ben]) {
      assert.deepEqual(page.problems, []);
      await page.context().close();
    }
  });

  test("reads again after a restart of the server", async () => {
    const own = await support.startServer(APP, { env: { NOTIFY_KEY: KEY } });
    const page = await openPage(browser, `${own.url}/?user=ana`);
    await shows(page, "#status", "Live");
    await own.kill("SIGKILL");
    await shows(page, "#status", "Reconnecting");
    await own.start();
    await shows(page, "#status", "Live");
    await page.context().close();
    await own.kill();
  });

  test("what came while the phone slept is there when it wakes, once and in order", async () => {
    const cable = await support.startCable(server.port);
    const page = await openPage(browser, `${cable.url}/?user=mia`, { viewport: support.PHONE });
    await shows(page, "#status", "Live");
    await notify("mia", { text: "note 0" });
    await shows(page, "#list li", "note 0");
    for (const night of [1, 2]) {
      cable.cut();
      await shows(page, "#status", "Reconnecting");
      for (let n = 0; n < 20; n++) await notify("mia", { text: `note ${night}.${n}` });
      await notify("ben", { text: "for Ben" });
      cable.mend();
      await shows(page, "#list li:first-child", `note ${night}.19`);
    }
    const nights = [1, 2].flatMap((night) => [...Array(20).keys()].map((n) => `note ${night}.${n}`));
    assert.deepEqual((await texts(page, "#list li p")).reverse(), ["note 0", ...nights]);
    assert.deepEqual(page.problems, []);
    await page.context().close();
    cable.remove();
  });

  test("looks right on a phone and a desktop, light and dark", async () => {
    for (const [name, viewport] of [["phone", support.PHONE], ["desktop", support.DESKTOP]]) {
      const page = await openPage(browser, `${server.url}/?user=zoe`, { viewport });
      await shows(page, "#status", "Live");
      assert.ok((await support.photograph(page, `notifications-empty-${name}`)) <= 0);
      await notify("zoe", { title: "Build 512", text: "All 418 tests passed." });
      await notify("zoe", { title: "Disk", text: `/var/${"log".repeat(40)} is 91 % full` });
      await shows(page, "#list li", "91 % full");
      await page.getByRole("button", { name: "Mark all read" }).click();
      await notify("zoe", { title: "Ana mentioned you", text: "“Could you look at the deploy?”" });
      await notify("zoe", { text: "A notification without a title." });
      await shows(page, "#list li", "without a title");
      await shows(page, "#pulse", "reader");
      assert.ok((await support.photograph(page, `notifications-${name}`)) <= 0);
      await page.context().close();
    }
  });
});
