// Recovery on WebSocket and SSE: who comes back gets what was missed, in order and once, or hears
// why not. Cut connections are in recovery_cuts.test.js, slow ones in recovery_slow.test.js.
"use strict";

const assert = require("node:assert/strict");
const { describe, it } = require("node:test");
const { connect, metric, post, serve, serving, stream } = require("./support.js");
const { packages, within } = require("../support.js");
const { APP, numbers, onlyHears, take } = require("./recovery.js");
const { io } = packages("socket.io-client");

describe("a join with after", () => {
  const server = serving(APP);
  let driver;
  const open = async () => (driver ||= await connect(server));

  it("is answered, then brings what was missed as it was live, then goes on", async () => {
    await open();
    const live = await connect(server);
    const { offset: begin } = await live.join("log:1");
    assert.match(begin, /^[\w-]{12}:0$/);
    const offset = (await driver.call("say", "log:1", 1)).data;
    await driver.call("raw", "log:1");
    await driver.call("loose", "log:1", 2);
    await driver.call("say", "log:1", 3);
    const missed = [];
    for (let i = 0; i < 5; i++) missed.push(await live.next());
    assert.equal(missed[0].offset, offset);

    const back = await connect(server);
    const reply = await back.join("log:1", { after: begin });
    assert.deepEqual(reply, {
      data: { after: begin, recovered: true },
      offset: begin,
      recovered: true,
    });
    for (const message of missed) assert.deepEqual(await back.next(), message);
    await onlyHears(back, driver, "log:1", 4);
    await back.close();

    // From the middle, and from the end.
    const middle = await connect(server);
    assert.equal((await middle.join("log:1", { after: missed[3].offset })).recovered, true);
    assert.deepEqual(await take(middle, 2), [3, 4]);
    assert.deepEqual(await middle.leave("log:1"), {});
    const end = (await middle.join("log:1")).offset;
    await middle.leave("log:1");
    assert.equal((await middle.join("log:1", { after: end })).recovered, true);
    await onlyHears(middle, driver, "log:1", 5);
    await middle.close();
    await live.close();
  });

  it("hears why it cannot be brought up to date, and then only what is live", async () => {
    await open();
    const other = (await driver.call("say", "log:other", 1)).data;
    const offsets = [];
    for (let n = 1; n <= 7; n++) offsets.push((await driver.call("say", "small:1", n)).data);
    const epoch = offsets[0].split(":")[0];
    for (const [after, reason] of [
      [offsets[0], "trimmed"],
      [`${epoch}:0`, "trimmed"],
      [`${epoch}:8`, "invalid"],
      [`${epoch}:18446744073709551615`, "invalid"],
      [`${epoch}:18446744073709551616`, "invalid"],
      [`${epoch}:-1`, "invalid"],
      [`${epoch}:`, "invalid"],
      ["garbage", "invalid"],
      ["\u0000", "invalid"],
      [7, "invalid"],
      [{ a: 1 }, "invalid"],
      [true, "invalid"],
      [other, "epoch"],
      [`${other},x`, "epoch"],
    ]) {
      const peer = await connect(server);
      const reply = await peer.join("small:1", { after });
      assert.equal(reply.recovered, false, JSON.stringify(after));
      assert.equal(reply.reason, reason, JSON.stringify(after));
      assert.equal(reply.offset, offsets[6]);
      assert.deepEqual(reply.data, { after, recovered: false, reason });
      await peer.call("history", "small:1"); // whose answer would come after a replay
      assert.deepEqual(peer.inbox.items, []);
      await peer.close();
    }
    const peer = await connect(server);
    await peer.join("small:1", { after: offsets[0] });
    await onlyHears(peer, driver, "small:1", 8);
    await peer.close();
    // Those that are still there come, also out of a list.
    const last = await connect(server);
    const reply = await last.join("small:1", { after: ` ${other} , ${offsets[5]},junk` });
    assert.deepEqual([reply.recovered, reply.data.after], [true, offsets[5]]);
    assert.deepEqual(await take(last, 2), [7, 8]);
    await last.close();
  });

  it("is as if without it when it says null or nothing", async () => {
    await open();
    await driver.call("say", "log:null", 1);
    for (const options of [{}, { after: null }, { after: "" }]) {
      const peer = await connect(server);
      const reply = await peer.join("log:null", options);
      assert.equal(reply.recovered, undefined);
      assert.match(reply.offset, /:1$/);
      await peer.close();
    }
  });

  it("in a room without history says so, in a room it is in already, too", async () => {
    await open();
    const peer = await connect(server);
    assert.deepEqual(await peer.join("plain"), { data: {} });
    await peer.leave("plain");
    const after = (await driver.call("say", "log:twice", 1)).data;
    assert.deepEqual(await peer.join("plain", { after }), {
      data: { after, recovered: false, reason: "no_history" },
      recovered: false,
      reason: "no_history",
    });
    await peer.join("log:twice");
    await driver.call("say", "log:twice", 2);
    assert.deepEqual(await take(peer, 1), [2]);
    const { recovered, reason, offset } = await peer.join("log:twice", { after });
    assert.deepEqual([recovered, reason], [false, "joined"]);
    assert.match(offset, /:2$/);
    await onlyHears(peer, driver, "log:twice", 3);
    await peer.close();
  });

  it("that is refused brings nothing", async () => {
    await open();
    const after = (await driver.call("say", "log:refused", 1)).data;
    await driver.call("say", "log:refused", 2);
    const peer = await connect(server);
    const refusal = { error: { code: "forbidden" } };
    assert.deepEqual(await peer.join("log:refused", { after, forbid: true }), refusal);
    assert.equal((await peer.join("log:refused")).recovered, undefined);
    await onlyHears(peer, driver, "log:refused", 3);
    await peer.close();
  });

  it("expired is told from trimmed", async () => {
    await open();
    const member = await connect(server);
    for (const room of ["brief:empty", "brief:1"]) {
      if (room === "brief:1") await member.join(room);
      const first = (await driver.call("say", room, 1)).data;
      const last = (await driver.call("say", room, 2)).data;
      let left = 2;
      while (left) left = (await driver.call("history", room)).data;
      const peer = await connect(server);
      const { recovered, reason } = await peer.join(room, { after: first });
      assert.deepEqual([recovered, reason], [false, "expired"], room);
      await peer.leave(room);
      // Who has seen the last one has missed nothing.
      assert.equal((await peer.join(room, { after: last })).recovered, true);
      await peer.close();
    }
    await member.close();
  });

  it("counts the moment when the membership begins, if on_join waits", async () => {
    await open();
    const watcher = await connect(server);
    await watcher.join("gate");
    for (const [room, options, recovered, read, replayed] of [
      ["log:w1", {}, true, undefined, [2, 3]],
      // What on_join has read it hands out; what was said after its reading still comes.
      ["log:w2", { read: true }, true, [2], [3]],
      ["log:w3", { read: true, after: undefined }, undefined, [1, 2], [3]],
      ["log:w4", { read: true, after: "garbage" }, false, [1, 2], [3]],
      ["log:w5", { after: undefined }, undefined, undefined, []],
    ]) {
      const { data: after } = await driver.call("say", room, 1);
      await driver.call("say", room, 2);
      await driver.call("gate", false);
      const peer = await connect(server);
      const joining = peer.join(room, { after, wait: true, ...options });
      await watcher.find(({ event }) => event === "waiting");
      await driver.call("say", room, 3);
      await driver.call("gate", true);
      const reply = await joining;
      assert.equal(reply.recovered, recovered, room);
      assert.deepEqual(
        reply.data.history?.map(({ data }) => data.n),
        read,
        room,
      );
      assert.deepEqual(await take(peer, replayed.length), replayed, room);
      await onlyHears(peer, driver, room, 4);
      await peer.close();
    }
    await watcher.close();
  });

  it("leaves to on_join what it has read, and replays the rest", async () => {
    await open();
    const room = "log:read";
    const first = (await driver.call("many", room, 1, 1)).data;
    await driver.call("many", room, 2, 6);
    const numbersOf = (reply) => reply.data.history.map(({ data }) => data.n);
    const peer = await connect(server);
    const all = await peer.join(room, { after: first, read: true });
    assert.deepEqual([all.recovered, all.data.complete, numbersOf(all)], [true, true, numbers(2, 6)]);
    await onlyHears(peer, driver, room, 7);
    await peer.leave(room);
    // A part of it: the core goes on there.
    const part = await peer.join(room, { after: first, read: true, limit: 2 });
    assert.deepEqual([numbersOf(part), /:3$/.test(part.offset)], [[2, 3], true]);
    assert.deepEqual(await take(peer, 4), numbers(4, 7));
    await peer.leave(room);
    // The newest ones are no answer to what was missed; nor is another room's log.
    const newest = await peer.join(room, { after: first, newest: true });
    assert.deepEqual(numbersOf(newest), [6, 7]);
    assert.deepEqual(await take(peer, 6), numbers(2, 7));
    await peer.leave(room);
    await peer.join(room, { after: first, peek: "log:other" });
    assert.deepEqual(await take(peer, 6), numbers(2, 7));
    await peer.leave(room);
    // Without after nothing is missed.
    assert.deepEqual(numbersOf(await peer.join(room, { read: true, limit: 2 })), [6, 7]);
    await onlyHears(peer, driver, room, 8);
    await peer.close();
  });

  it("may come from Lua", async () => {
    await open();
    const room = "log:lua";
    const first = (await driver.call("many", room, 1, 1)).data;
    await driver.call("many", room, 2, 3);
    const peer = await connect(server);
    peer.send({ event: "join", args: [room, { after: first }], id: "x" });
    assert.deepEqual(await take(peer, 2), [2, 3]);
    assert.deepEqual(await peer.next(), { id: "x", args: [true, { recovered: true, offset: first }] });
    await onlyHears(peer, driver, room, 4);
    assert.deepEqual((await peer.call("join", room, {})).args[1].recovered, undefined);
    assert.equal((await peer.call("join", room, { after: first })).args[1].reason, "joined");
    assert.equal((await peer.call("join", "plain", { after: first })).args[1].reason, "no_history");
    assert.deepEqual(await peer.call("join", "log:new"), { data: true });
    assert.deepEqual(await peer.call("join", "log:new", { after: 7 }), {
      error: { code: "internal_error" },
    });
    await peer.close();
  });

  it("goes through a POST for a stream as well", async () => {
    await open();
    const room = "log:post";
    const first = (await driver.call("many", room, 1, 1)).data;
    await driver.call("many", room, 2, 3);
    const events = await stream(server, "/?sid=new");
    const { sid } = JSON.parse((await events.next("sid")).data);
    const target = `/?sid=${sid}`;
    assert.deepEqual((await post(server, target, { join: room, after: first })).json, {
      data: { after: first, recovered: true },
      offset: first,
      recovered: true,
    });
    assert.deepEqual(
      [JSON.parse((await events.next("said")).data).n, JSON.parse((await events.next()).data).n],
      [2, 3],
    );
    const several = [{ join: "log:post2", id: 1 }, { join: "small:post", id: 2, after: first }];
    const [fresh, other] = (await post(server, target, several)).json;
    assert.deepEqual([fresh.id, fresh.recovered, /:0$/.test(fresh.offset)], [1, undefined, true]);
    assert.deepEqual([other.id, other.recovered, other.reason], [2, false, "epoch"]);
    events.destroy();
  });
});

describe("the URL", () => {
  const server = serving(APP);

  it("of a WebSocket joins rooms as that of a stream does", async () => {
    const driver = await connect(server);
    const first = (await driver.call("many", "log:1", 1, 1)).data;
    const other = (await driver.call("many", "log:2", 1, 2)).data;
    await driver.call("many", "log:1", 2, 3);
    const query = `room=log:1&room=plain&room=&room=log%3A2&after=${first}&after=junk,${other}`;
    const peer = await connect(server, `/?${query}`);
    const joined = await peer.next();
    assert.deepEqual(joined, {
      event: "joined",
      data: {
        room: "log:1",
        data: { after: first, recovered: true },
        offset: first,
        recovered: true,
      },
    });
    assert.deepEqual(await take(peer, 2), [2, 3]);
    assert.deepEqual(await peer.next(), { event: "joined", data: { room: "plain", data: {} } });
    assert.equal((await peer.next()).data.recovered, true);
    await onlyHears(peer, driver, "log:2", 3);
    // Each offset is for one join.
    await peer.leave("log:1");
    const again = await peer.join("log:1");
    assert.deepEqual([again.recovered, again.data.after], [false, "junk"]);
    await peer.close();
    const refused = await connect(server, "/?room=" + "x".repeat(300));
    assert.deepEqual((await refused.next()).data.error, { code: "bad_room" });
    await refused.close();
    await driver.close();
  });

  it("serves joins that say no offset of their own", async () => {
    const driver = await connect(server);
    const first = (await driver.call("many", "log:3", 1, 1)).data;
    const second = (await driver.call("many", "log:3", 2, 2)).data;
    await driver.call("many", "log:3", 3, 3);
    const peer = await connect(server, `/?after=${first}`);
    assert.equal((await peer.join("log:3", { after: second })).recovered, true);
    assert.deepEqual(await take(peer, 1), [3]);
    await peer.close();
    const other = await connect(server, `/?after=${first}`);
    assert.equal((await other.join("log:3")).recovered, true);
    assert.deepEqual(await take(other, 2), [2, 3]);
    await other.close();
    await driver.close();
  });

  it("of a stream gives way to Last-Event-ID, and each id says where it stands in all rooms", async () => {
    const driver = await connect(server);
    const a = (await driver.call("many", "log:a", 1, 1)).data;
    const b = (await driver.call("many", "log:b", 1, 1)).data;
    await driver.call("many", "log:a", 2, 3);
    await driver.call("many", "log:b", 2, 2);
    const at = (offset, n) => offset.replace(/\d+$/, String(n));
    const ids = (block) => block.id.split(",").sort();
    const target = `/?room=log:a&room=log:b&room=plain&after=${a}`;
    const events = await stream(server, target, { headers: { "Last-Event-ID": `${b},${a}` } });
    const expect = async (event, n, ...positions) => {
      const block = await events.next();
      assert.equal(block.event ?? block.retry, event);
      const data = block.data && JSON.parse(block.data);
      assert.equal(data?.n ?? data?.recovered, n);
      assert.deepEqual(block.id && ids(block), positions.length ? positions.sort() : undefined);
    };
    await expect("2000", undefined);
    await expect("joined", true, a, b);
    await expect("said", 2, at(a, 2), b);
    await expect("said", 3, at(a, 3), b);
    await expect("joined", true, at(a, 3), b);
    await expect("said", 2, at(a, 3), at(b, 2));
    await expect("joined", undefined);
    await driver.call("say", "log:a", 4);
    await expect("said", 4, at(a, 4), at(b, 2));
    await driver.call("say", "log:b", 3);
    await expect("said", 3, at(a, 4), at(b, 3));
    await driver.call("say", "plain", 9);
    await expect("said", 9);
    events.destroy();

    // What it has been told before a restart is dropped once its rooms have been joined.
    const old = { "Last-Event-ID": "AAAAAAAAAAAA:5,BBBBBBBBBBBB:6" };
    const later = await stream(server, "/?room=log:a", { headers: old });
    const { id, data } = await later.next("joined");
    const { recovered, reason, offset } = JSON.parse(data);
    assert.deepEqual([recovered, reason, offset, id], [false, "epoch", at(a, 4), at(a, 4)]);
    later.destroy();
    await driver.close();
  });

  it("of a stream that a route opens: it hears only of what is lost", async () => {
    const driver = await connect(server);
    const first = (await driver.call("many", "log:r", 1, 1)).data;
    const last = (await driver.call("many", "log:r", 2, 3)).data;
    const recovered = () => metric(server, 'moonwire_recoveries_total{result="recovered"}');
    const before = await recovered();
    const events = await stream(server, "/stream/log:r", { headers: { "Last-Event-ID": first } });
    await events.next();
    assert.deepEqual(await events.next(), { id: first });
    for (const n of [2, 3]) assert.equal(JSON.parse((await events.next()).data).n, n);
    events.destroy();
    const fresh = await stream(server, "/stream/log:r");
    await fresh.next();
    assert.deepEqual(await fresh.next(), { id: last });
    fresh.destroy();
    assert.equal(await recovered(), before + 1);
    const lost = await stream(server, "/stream/log:r", { headers: { "Last-Event-ID": "x" } });
    await lost.next();
    assert.deepEqual(await lost.next(), {
      event: "unrecovered",
      data: '{"room":"log:r","recovered":false,"reason":"invalid"}',
      id: last,
    });
    lost.destroy();
    await driver.close();
  });
});

describe("a join from Lua", () => {
  const server = serving(APP);

  for (const transport of ["polling", "websocket"]) {
    it(`with after brings what was missed over Socket.IO's ${transport}, too`, async () => {
      const TOTAL = 3000;
      const room = `log:${transport}`;
      const driver = await connect(server);
      const first = (await driver.call("many", room, 1, 1)).data;
      await driver.call("many", room, 2, TOTAL, 1024);
      const socket = io(server.url, { transports: [transport], forceNew: true });
      const got = [];
      const all = new Promise((resolve) => {
        socket.on("said", ({ n }) => got.push(n) === TOTAL && resolve());
      });
      await within(new Promise((resolve) => socket.on("connect", resolve)), "a connection");
      const [joined, outcome] = await new Promise((resolve) => {
        socket.emit("join", room, { after: first }, (...answer) => resolve(answer));
      });
      assert.deepEqual([joined, outcome.recovered], [true, true]);
      await driver.call("say", room, TOTAL + 1);
      await within(all, "all messages");
      assert.deepEqual(got, numbers(2, TOTAL + 1));
      socket.close();
      await driver.close();
    });
  }
});

describe("after a restart of the server", () => {
  const server = serving(APP);
  const seen = (after) => ({ after, recovered: false, reason: "epoch" });
  let offset;

  it("the log is another", async () => {
    const driver = await connect(server);
    offset = (await driver.call("many", "log:1", 1, 3)).data;
    await driver.close();
    await server.kill("SIGTERM");
    await server.start();
    const peer = await connect(server);
    const reply = await peer.join("log:1", { after: offset });
    assert.deepEqual([reply.recovered, reply.reason], [false, "epoch"]);
    assert.notEqual(reply.offset.split(":")[0], offset.split(":")[0]);
    await peer.close();
    const events = await stream(server, "/?room=log:1", { headers: { "Last-Event-ID": offset } });
    const joined = await events.next("joined");
    assert.equal(JSON.parse(joined.data).reason, "epoch");
    assert.equal(joined.id, reply.offset);
    events.destroy();
  });

  // Nothing has been said in these rooms since, and nobody was there.
  it("so hears the first who is back, whatever the wire", async () => {
    const outcome = ({ data, recovered, reason }) => ({ data, recovered, reason });
    const wanted = { data: seen(offset), recovered: false, reason: "epoch" };
    const peer = await connect(server, `/?room=log:ws&after=${offset}`);
    assert.deepEqual(outcome((await peer.next()).data), wanted);
    assert.deepEqual(outcome(await peer.join("log:join", { after: offset })), wanted);
    const read = await peer.join("log:read", { after: offset, read: true });
    const what = { ...seen(offset), history: [], complete: false, why: "epoch" };
    assert.deepEqual(outcome(read), { ...wanted, data: what });
    const events = await stream(server, "/?room=log:sse", { headers: { "Last-Event-ID": offset } });
    assert.deepEqual(outcome(JSON.parse((await events.next("joined")).data)), wanted);
    const junk = await stream(server, "/?room=log:junk&after=junk");
    assert.equal(JSON.parse((await junk.next("joined")).data).reason, "invalid");
    events.destroy();
    junk.destroy();
    await peer.close();
  });
});
