// Replays that are larger than what may wait for a client: they are sent as the client reads.
"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const { describe, it } = require("node:test");
const { connect, metric, serve, serving } = require("./support.js");
const { TEXT, dial, frame, upgrade } = require("./wire.js");
const { APP } = require("./recovery.js");

describe("a replay that is larger than what may wait for a client", () => {
  const limits = ["--high-mark", "64K", "--hard-limit", "512K"];
  const server = serving(APP, { args: limits });
  const PAD = 1024;

  // A client that reads only when it is asked to: { say, find, resume }. Its messages come parsed.
  async function slowSocket(room, after) {
    const wire = await upgrade(server);
    wire.write(frame(TEXT, JSON.stringify({ join: room, after, id: 1 })));
    const reply = JSON.parse((await wire.frame()).payload);
    wire.socket.pause();
    return {
      reply,
      wire,
      next: async () => JSON.parse((await wire.frame()).payload),
    };
  }

  async function slowStream(room, after) {
    const wire = await dial(server);
    const lines = [`GET /?room=${room} HTTP/1.1`, "Host: x", "Accept: text/event-stream"];
    wire.writeRequest([...lines, `Last-Event-ID: ${after}`]);
    const block = () =>
      wire.take("a block", (bytes) => {
        const end = bytes.indexOf("\n\n");
        return end < 0 ? undefined : { size: end + 2, text: bytes.subarray(0, end).toString() };
      });
    const field = (text, name) => new RegExp(`^${name}: (.*)$`, "m").exec(text)?.[1];
    await block();
    const reply = JSON.parse(field((await block()).text, "data"));
    wire.socket.pause();
    return {
      reply,
      wire,
      next: async () => {
        const { text } = await block();
        const event = field(text, "event");
        return { event, data: JSON.parse(field(text, "data")), offset: field(text, "id") };
      },
    };
  }

  for (const [wire, slow] of [
    ["websocket", slowSocket],
    ["sse", slowStream],
  ]) {
    it(`on ${wire} is sent as it is read, with what is said meanwhile behind it`, async () => {
      const room = `log:big:${wire}`;
      const driver = await connect(server);
      const first = (await driver.call("many", room, 1, 1)).data;
      // More than the kernel's buffers take, and far more than the hard limit.
      for (let n = 2; n <= 16_000; n += 1000) {
        await driver.call("many", room, n, Math.min(n + 999, 16_000), PAD);
      }
      const closedBefore = await metric(server, "moonwire_slow_clients_closed_total");
      const reader = await slow(room, first);
      assert.equal(reader.reply.recovered, true);
      await driver.call("many", room, 16_001, 16_500, PAD);
      reader.wire.socket.resume();
      // Less than the high mark: by now it may be live.
      await driver.call("many", room, 16_501, 16_520, PAD);
      for (let n = 2; n <= 16_520; n++) {
        const { event, data } = await reader.next();
        if (event !== "said" || data.n !== n) assert.fail(`${event} ${data.n} in place of ${n}`);
      }
      await driver.call("say", room, 16_521);
      assert.equal((await reader.next()).data.n, 16_521);
      assert.equal(await metric(server, "moonwire_slow_clients_closed_total"), closedBefore);
      reader.wire.destroy();
      await driver.close();
    });

    it(`on ${wire} that the log has not kept ends in "unrecovered", and live messages`, async () => {
      const room = `some:${wire}`;
      const driver = await connect(server);
      const first = (await driver.call("many", room, 1, 1)).data;
      for (let n = 2; n <= 3000; n += 250) {
        await driver.call("many", room, n, Math.min(n + 249, 3000), 8 * PAD);
      }
      const reader = await slow(room, first);
      assert.equal(reader.reply.recovered, true);
      // All at once, so that nothing is sent in between: none of what the reader misses is kept.
      await driver.call("many", room, 3001, 6000);
      reader.wire.socket.resume();
      let n = 1;
      let message;
      while ((message = await reader.next()).event === "said") {
        assert.equal(message.data.n, ++n);
      }
      assert.ok(n < 3000, `it has read ${n}`);
      assert.equal(message.event, "unrecovered");
      assert.deepEqual(message.data, { room, recovered: false, reason: "trimmed" });
      assert.equal(message.offset, first.replace(/1$/, "6000"));
      await driver.call("say", room, 6001);
      assert.equal((await reader.next()).data.n, 6001);
      reader.wire.destroy();
      await driver.close();
    });
  }

  it("leaves out what the client itself says to the others, and can be left", async () => {
    const room = "log:mine";
    const driver = await connect(server);
    const first = (await driver.call("many", room, 1, 1)).data;
    for (let n = 2; n <= 16_000; n += 1000) {
      await driver.call("many", room, n, Math.min(n + 999, 16_000), PAD);
    }
    const reader = await slowSocket(room, first);
    const leaver = await slowSocket(room, first);
    const goner = await slowSocket(room, first);
    reader.wire.write(frame(TEXT, JSON.stringify({ event: "mine", args: [room, 16_001] })));
    const watcher = await connect(server);
    await watcher.join(room);
    leaver.wire.write(frame(TEXT, JSON.stringify({ leave: room, id: 2 })));
    goner.wire.destroy();
    // By now all three have been heard.
    let count = 0;
    while (count !== 2) count = (await driver.call("count", room)).data;
    while ((await driver.call("history", room)).data < 16_001);
    await driver.call("both", [room, "log:mine2"], 16_002);
    reader.wire.socket.resume();
    for (let n = 2; n <= 16_000; n++) {
      const { data } = await reader.next();
      if (data.n !== n) assert.fail(`${data.n} in place of ${n}`);
    }
    assert.equal((await reader.next()).data.n, 16_002);
    leaver.wire.socket.resume();
    let message;
    while ((message = await leaver.next()).id !== 2) assert.equal(message.event, "said");
    await driver.call("say", room, 16_003);
    assert.equal((await reader.next()).data.n, 16_003);
    reader.wire.destroy();
    leaver.wire.destroy();
    await watcher.close();
    await driver.close();
  });
});

it("a reload that takes the history away ends replays with a word", async () => {
  const server = await serve(APP, { args: ["--high-mark", "64K"] });
  const driver = await connect(server);
  const first = (await driver.call("many", "log:1", 1, 1)).data;
  for (let n = 2; n <= 16_000; n += 1000) await driver.call("many", "log:1", n, n + 999, 1024);
  const wire = await upgrade(server);
  wire.write(frame(TEXT, JSON.stringify({ join: "log:1", after: first, id: 1 })));
  assert.equal(JSON.parse((await wire.frame()).payload).recovered, true);
  wire.socket.pause();
  await driver.call("say", "log:1", 0); // so the server has met the blocked socket
  fs.writeFileSync(server.file, APP.replace('["log:*"]', '["lag:*"]'));
  const before = server.output().length;
  server.process.child.kill("SIGHUP");
  await server.said(/version 2/, before);
  wire.socket.resume();
  let message;
  while ((message = JSON.parse((await wire.frame()).payload)).event === "said");
  assert.deepEqual(message, {
    event: "unrecovered",
    data: { room: "log:1", recovered: false, reason: "epoch" },
    room: "log:1",
    offset: first.replace(/1$/, "16002"),
  });
  await driver.call("say", "log:1", 5);
  assert.equal(JSON.parse((await wire.frame()).payload).data.n, 5);
  wire.destroy();
  await driver.close();
  await server.stop();
});
