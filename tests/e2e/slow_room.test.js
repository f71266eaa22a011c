// Two hundred readers that have stopped, among a thousand, on every wire: what they cost is bounded,
// the others hear everything in order, and when they read on each gets what the policy of its rooms
// promises.
"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const { after, before, describe, it } = require("node:test");
const { eventually } = require("../support.js");
const { WIRES, enter } = require("./crowd.js");
const { get, metric, post, serve } = require("./support.js");

const MEMBERS = 1000;
const STOPPED = 200;
const KEYS = 20;
const ROUNDS = 12; // 240 messages of 1 KiB to each of two rooms
const HIGH = 32 * 1024;
const FILLER = 16 * 1024;
const SLACK = 8 * 1024 * 1024; // of the allocator, and of what the others read a little later
const LIMIT = HIGH + FILLER; // what a reader that has stopped may cost: the mark, and what crossed it

const APP = `
local mw = require "moonwire"
local rooms = {
  drop = { slow = "drop", history = { size = 10 } },
  latest = { slow = "latest", key = "id" },
  close = { slow = "close" },
}
local function connect(client)
  for _, room in ipairs { "drop", "latest", "close" } do client:join(room) end
  if client.request.query.stops then client:join "filler" end
end
local function say(room, from, to, data)
  for _, name in ipairs { "/", "/engine" } do
    local there = mw.namespace(name):room(room)
    for n = from, to do there:emit(room, { id = "k" .. n % ${KEYS}, n = n }, data) end
  end
end
return {
  { rooms = rooms, limits = { slow = "drop" }, on_connect = connect, routes = {
    ["POST /say"] = function(request)
      local order = request.json
      for _, room in ipairs(order.rooms) do say(room, order.from, order.to, order.data) end
      return 204
    end,
  } },
  { namespace = "/engine", protocol = "engine.io", rooms = rooms, limits = { slow = "drop" },
    on_connect = connect },
}
`;

// Not to be packed by deflate, and within 1 KiB together with what stands around it.
const noise = (size) => require("node:crypto").randomBytes(size).toString("base64").slice(0, size);
const PIECE = noise(1000);

const EVENT = /(?:event: |"event":"|2\["|^)(\w+)/;

// What one client has heard: the numbers of each event. A gap must stand where "dropped" does, and be
// as long as it says.
class Ear {
  constructor() {
    this.drop = [];
    this.latest = [];
    this.close = [];
    this.filler = [];
    this.missed = { drop: 0, filler: 0 };
    this.faults = [];
  }

  hear(text) {
    const head = text.slice(0, 300);
    const event = EVENT.exec(head)[1];
    if (event === "dropped") this.skip(JSON.parse(/\{"count":\d+,"rooms":\{[^}]*\}\}/.exec(text)[0]));
    else this.count(event, Number(/"n":(\d+)/.exec(head)[1]));
  }

  skip({ count, rooms }) {
    const { drop = 0, filler = 0, ...others } = rooms;
    this.missed.drop += drop;
    this.missed.filler += filler;
    if (count !== drop + filler || Object.keys(others).length) this.faults.push({ count, rooms });
  }

  count(event, n) {
    const last = this[event].at(-1) ?? 0;
    const next = event in this.missed ? this[event].length + this.missed[event] + 1 : last + 1;
    this[event].push(n);
    if (event === "latest" ? n < next : n !== next) this.faults.push({ event, n, next });
  }

  // How many of an event it has heard or heard of.
  knows(event) {
    return this[event].length + this.missed[event];
  }
}

// What a process has in memory, in bytes.
function resident(server) {
  const status = fs.readFileSync(`/proc/${server.process.child.pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)[1]) * 1024;
}

const range = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

describe("two hundred stopped readers in a room of a thousand", () => {
  let server;
  const readers = [];
  const stopped = [];

  before(async () => {
    const options = `${process.env.ASAN_OPTIONS ?? ""}:quarantine_size_mb=1`;
    server = await serve(APP, {
      args: ["--high-mark", String(HIGH), "--send-buffer", "8K"],
      env: { ASAN_OPTIONS: options },
    });
  });
  after(() => server.stop());

  const say = async (rooms, from, to, data = PIECE) => {
    const { status } = await post(server, "/say", { rooms, from, to, data });
    assert.equal(status, 204);
  };

  // Everybody who reads has heard so many.
  const heard = (event, count, those = readers) =>
    eventually(`everybody has heard ${count} of ${event}`, () =>
      those.every(({ ear }) => ear[event].length >= count),
    );

  // One more message under each key to both rooms, which those who read have then heard.
  let round = 0;
  async function speak(those) {
    const from = round++ * KEYS + 1;
    await say(["drop", "latest"], from, round * KEYS);
    await heard("drop", round * KEYS, those);
    await heard("latest", round * KEYS, those);
  }

  const everybody = () => [...stopped, ...readers];

  // Nobody of them reads, until the server knows it of each: kernels take some, too. Whose output
  // has only not been taken yet is above the mark for a moment, and the rest for good.
  let fillers = 0;
  async function fill() {
    stopped.forEach(({ member }) => member.stop());
    for (let same = 0; same < 10; ) {
      if (same === 0) {
        assert.ok(fillers < 1000, "kernels take everything");
        await say(["filler"], fillers + 1, fillers + 5, noise(FILLER - 200));
        fillers += 5;
      }
      const slow = await metric(server, "moonwire_slow_clients");
      same = slow === STOPPED ? same + 1 : 0;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  // So many, spread over the wires.
  async function gather(list, count, query) {
    const wires = Object.keys(WIRES);
    const open = async (_, i) => {
      const ear = new Ear();
      const wire = wires[i % wires.length];
      list.push({ wire, ear, member: await enter(server, wire, query, (text) => ear.hear(text)) });
    };
    while (list.length < count) await Promise.all(Array.from({ length: 50 }, open));
  }

  it("come on every wire", async () => {
    await gather(stopped, STOPPED, "stops=1");
    await gather(readers, MEMBERS - STOPPED, "reads=1");
    await speak(everybody());
  });

  it("cost no more than their limit, and the others hear everything in order", async () => {
    const before = resident(server);
    await fill();
    while (round < ROUNDS) await speak(readers);
    const grown = resident(server) - before;
    assert.ok(grown < STOPPED * LIMIT + SLACK, `${grown} bytes`);
    for (const { wire, ear } of readers) {
      assert.deepEqual(ear.faults, [], wire);
      assert.deepEqual(ear.missed, { drop: 0, filler: 0 }, wire);
      assert.deepEqual(ear.latest, range(1, ROUNDS * KEYS), wire);
    }
  });

  it("hear what they have missed, or the newest of it, once they read on", async () => {
    const newest = range((ROUNDS - 1) * KEYS + 1, ROUNDS * KEYS);
    stopped.forEach(({ member }) => member.resume());
    await eventually("each knows of everything", () =>
      stopped.every(
        ({ ear }) =>
          ear.knows("drop") === ROUNDS * KEYS &&
          ear.knows("filler") === fillers &&
          ear.latest.at(-1) === newest.at(-1),
      ),
    );
    assert.equal(await metric(server, "moonwire_slow_clients"), 0);
    for (const { wire, ear } of stopped) {
      assert.deepEqual(ear.faults, [], wire);
      assert.deepEqual(ear.latest.slice(-KEYS), newest, wire);
    }
    const missed = stopped.reduce((sum, { ear }) => sum + ear.missed.drop, 0);
    assert.ok(missed > (STOPPED * ROUNDS * KEYS) / 2, `they have missed ${missed}`);
    const replaced = await metric(server, 'moonwire_messages_dropped_total{policy="latest"}');
    assert.ok(replaced > (STOPPED * ROUNDS * KEYS) / 2, `${replaced} were replaced`);
  });

  it("then hear everything again", async () => {
    const told = stopped.map(({ ear }) => ear.missed.drop);
    const from = round++ * KEYS + 1;
    await say(["drop", "latest"], from, round * KEYS);
    await eventually("each hears the same", () =>
      everybody().every(
        ({ ear }) => ear.drop.at(-1) === round * KEYS && ear.latest.at(-1) === round * KEYS,
      ),
    );
    for (const { wire, ear } of everybody()) {
      assert.deepEqual(ear.faults, [], wire);
      assert.deepEqual(ear.latest.slice(-KEYS), range(from, round * KEYS), wire);
    }
    assert.deepEqual(
      stopped.map(({ ear }) => ear.missed.drop),
      told,
    );
  });

  it("are closed by a message to a room that wants it so", async () => {
    const closed = "moonwire_slow_clients_closed_total";
    assert.equal(await metric(server, closed), 0);
    // Others in their place: the kernels of those who have read a lot would take a lot.
    stopped.splice(0).forEach(({ member }) => member.destroy());
    await eventually("they are gone", async () => {
      const { body } = await get(`${server.admin}/metrics`);
      const now = body.matchAll(/^moonwire_clients\{.*\} (\d+)$/gm);
      return [...now].reduce((sum, [, count]) => sum + Number(count), 0) === readers.length;
    });
    await gather(stopped, STOPPED, "stops=1");
    await fill();
    // One whose kernel has taken a little more meanwhile is below the mark again, at first.
    let said = 0;
    while ((await metric(server, closed)) < STOPPED) {
      assert.ok(++said < 100, "everybody is above the mark");
      await say(["close"], said, said);
    }
    await heard("close", said);
    assert.equal(await metric(server, "moonwire_slow_clients"), 0);
    await speak(readers);
    readers.forEach(({ member }) => assert.ok(!member.ended));
    everybody().forEach(({ member }) => member.destroy());
  });
});
