// Recovery on WebSocket and SSE under a sender that never stops: connections are cut in the middle of
// bytes, and every message comes once and in order.
"use strict";

const assert = require("node:assert/strict");
const { describe, it } = require("node:test");
const { connect, serving } = require("./support.js");
const { packages, within } = require("../support.js");
const { Cutter, dice } = require("./cutter.js");
const { APP } = require("./recovery.js");
const { EventSource } = packages("eventsource");
const { WebSocket } = packages("ws");

// What every client keeps: of each room the number that came last, which is the one before the next.
class Listener {
  constructor(rooms, total) {
    Object.assign(this, { rooms, total, problems: [], comebacks: 0 });
    this.seen = new Map(rooms.map((room) => [room, 0]));
    this.positions = new Map();
    this.ready = new Promise((resolve) => (this.isReady = resolve));
    this.done = new Promise((resolve) => (this.isDone = resolve));
  }

  problem(text) {
    this.problems.push(text);
    this.isReady();
    this.isDone();
  }

  hears({ room, n }) {
    const before = this.seen.get(room);
    if (n !== before + 1) return this.problem(`in ${room} ${n} came after ${before}`);
    this.seen.set(room, n);
    if ([...this.seen.values()].every((last) => last === this.total)) this.isDone();
  }

  // The outcome of a join.
  joined(room, { offset, recovered, reason, error }) {
    if (error) return this.problem(`${room}: ${error.code}`);
    if (recovered === false) return this.problem(`${room} was not recovered: ${reason}`);
    if (recovered) this.comebacks++;
    else if (this.positions.has(room)) return this.problem(`${room} was joined anew`);
    this.positions.set(room, offset);
    if (this.positions.size === this.rooms.length) this.isReady();
  }
}

// A WebSocket that joins with `after`, in messages or in its URL.
class SocketListener extends Listener {
  constructor(proxy, rooms, total, { inUrl = false } = {}) {
    super(rooms, total);
    Object.assign(this, { proxy, inUrl });
    this.open();
  }

  target() {
    const query = this.rooms.map((room) => `room=${room}`);
    const known = [...this.positions.values()];
    if (known.length) query.push(`after=${known.map(encodeURIComponent).join(",")}`);
    return this.inUrl ? `/?${query.join("&")}` : "/";
  }

  open() {
    const socket = new WebSocket(this.proxy.url.replace("http", "ws") + this.target());
    this.socket = socket;
    socket.on("error", () => {});
    socket.on("close", () => !this.over && setImmediate(() => this.open()));
    socket.on("open", () => {
      if (this.inUrl) return;
      this.rooms.forEach((room, id) => {
        socket.send(JSON.stringify({ join: room, id: id + 1, after: this.positions.get(room) }));
      });
    });
    socket.on("message", (text) => this.receive(JSON.parse(text)));
  }

  receive(message) {
    const { event, data, room, offset, id } = message;
    if (event === "said") {
      this.positions.set(room, offset);
      return this.hears(data);
    }
    if (event === "joined" || event === "refused") return this.joined(data.room, data);
    if (id) return this.joined(this.rooms[id - 1], message);
    return this.problem(JSON.stringify(message));
  }

  close() {
    this.over = true;
    this.socket.terminate();
  }
}

// An EventSource, which comes back by itself and knows nothing but Last-Event-ID. It is told to wait
// two seconds before that: here the answer is read as if it said almost none.
class StreamListener extends Listener {
  constructor(proxy, rooms, total) {
    super(rooms, total);
    const impatient = (url, options) =>
      fetch(url, options).then((answer) => {
        const hurry = new TransformStream({
          transform(bytes, out) {
            const text = Buffer.from(bytes).toString("latin1").replace("retry: 2000", "retry: 5");
            out.enqueue(Buffer.from(text, "latin1"));
          },
        });
        return Object.defineProperty(new Response(answer.body.pipeThrough(hurry), answer), "url", {
          value: answer.url,
        });
      });
    const query = rooms.map((room) => `room=${room}`).join("&");
    this.source = new EventSource(`${proxy.url}/?${query}`, { fetch: impatient });
    this.source.addEventListener("said", (event) => this.hears(JSON.parse(event.data)));
    this.source.addEventListener("unrecovered", (event) => this.problem(event.data));
    for (const outcome of ["joined", "refused"]) {
      this.source.addEventListener(outcome, (event) => {
        const { room, ...rest } = JSON.parse(event.data);
        this.joined(room, rest);
      });
    }
  }

  close() {
    this.source.close();
  }
}

describe("under a sender that never stops, through connections that are cut", () => {
  const server = serving(APP);
  const rooms = ["log:a", "log:b", "log:c"];
  const disk = ["disk:a", "log:d", "disk:c"];

  for (const [name, listen, each] of [
    ["WebSocket, joins", (...all) => new SocketListener(...all), rooms],
    [
      "WebSocket, joins in the URL",
      (...all) => new SocketListener(...all, { inUrl: true }),
      rooms,
    ],
    ["SSE, several rooms", (...all) => new StreamListener(...all), rooms],
    ["WebSocket, rooms on disk", (...all) => new SocketListener(...all), disk],
    ["SSE, rooms on disk", (...all) => new StreamListener(...all), disk],
    ["SSE, one room", (...all) => new StreamListener(...all), ["log:d"]],
  ]) {
    it(`${name}: every message comes once and in order`, async (t) => {
      const TOTAL = 3000;
      const random = dice();
      t.diagnostic(`MOONWIRE_SEED=${random.seed}`);
      const named = each.map((room) => `${room}:${name.replace(/\W/g, "")}`);
      const proxy = await new Cutter(server, { random }).listen();
      const driver = await connect(server);
      const listeners = [1, 2, 3].map(() => listen(proxy, named, TOTAL));
      await within(Promise.all(listeners.map(({ ready }) => ready)), "the first joins", 30_000);
      await driver.call("flood", named, TOTAL);
      await within(Promise.all(listeners.map(({ done }) => done)), "all messages", 60_000);
      for (const listener of listeners) {
        assert.deepEqual(listener.problems, []);
        assert.deepEqual([...listener.seen.values()], named.map(() => TOTAL));
        assert.ok(listener.comebacks > 3, `it came back ${listener.comebacks} times`);
        listener.close();
      }
      t.diagnostic(`${proxy.cuts} cuts, ${listeners.map((one) => one.comebacks)} recoveries`);
      await proxy.close();
      await driver.close();
    });
  }
});
