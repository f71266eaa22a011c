// History that is on disk, and kill -9: the server is killed twenty times while several senders wait
// for each message's commit, others do not wait, and people listen. Whatever was acknowledged is
// there afterwards, once and in order; who comes back with the last offset each time has heard exactly
// that; no offset was told of two messages.
"use strict";

const assert = require("node:assert/strict");
const { after, it } = require("node:test");
const { eventually } = require("../support.js");
const { connect, serve } = require("./support.js");

const KILLS = 20;
const SENDERS = 6; // that wait for the commit
const HURRIED = 2; // that do not
const LISTENERS = 2;

const APP = `
  local mw = require "moonwire"
  local app = { events = {}, rooms = {
    ["room:*"] = { history = { size = 1000000, ttl = 3600, durable = true } } } }
  function app.on_join() return true end
  function app.events.say(client, id) return mw.room "room:1":durable():emit("said", id) end
  function app.events.hurry(client, id) return mw.room "room:1":emit("said", id) end
  function app.events.read(client, after)
    local messages, complete = mw.room "room:1":history { after = after, limit = 1000 }
    return { messages = messages, complete = complete }
  end
  return app
`;

const sequenceOf = (offset) => Number(offset.split(":")[1]);

// Says one message after the other until the server is gone: id -> offset of what was acknowledged.
async function keepSaying(server, event, name, told) {
  const peer = await connect(server);
  try {
    for (let n = 0; ; n++) {
      const id = `${name}-${n}`;
      const { data } = await peer.call(event, id);
      told.set(id, data);
    }
  } catch (error) {
    assert.match(error.message, /closed with/);
  }
}

// Hears the room until the server is gone, and goes on where it was in the next life.
class Listener {
  heard = [];

  async come(server) {
    const peer = await connect(server);
    const reply = await peer.join("room:1", this.position && { after: this.position });
    assert.equal(reply.recovered, this.position ? true : undefined);
    this.position ??= reply.offset;
    this.over = this.keepHearing(peer);
  }

  async keepHearing(peer) {
    try {
      for (;;) {
        const message = await peer.next();
        this.heard.push(message);
        this.position = message.offset;
      }
    } catch (error) {
      assert.match(error.message, /closed with/);
    }
  }
}

// From before the first message on, so that it also shows that nothing has been trimmed.
async function readAll(server, epoch) {
  const peer = await connect(server);
  const all = [];
  for (;;) {
    const { data } = await peer.call("read", all.length ? all[all.length - 1].offset : `${epoch}:0`);
    assert.equal(data.complete, true);
    if (!data.messages.length) return all;
    all.push(...data.messages);
  }
}

// One life of the server, from its start to its killing.
async function live(server, round, listeners, acknowledged, hurried) {
  await Promise.all(listeners.map((listener) => listener.come(server)));
  const senders = [
    ...Array.from({ length: SENDERS }, (_, i) =>
      keepSaying(server, "say", `${round}-s${i}`, acknowledged),
    ),
    ...Array.from({ length: HURRIED }, (_, i) =>
      keepSaying(server, "hurry", `${round}-h${i}`, hurried),
    ),
  ];
  // The moment is another one each time: after so many more messages have been heard.
  const [first] = listeners;
  const enough = first.heard.length + 100 + Math.floor(Math.random() * 500);
  await eventually("enough is heard", () => first.heard.length >= enough);
  assert.equal(await server.kill("SIGKILL"), "SIGKILL");
  await Promise.all([...senders, ...listeners.map(({ over }) => over)]);
}

it("twenty kills lose nothing that was acknowledged", { timeout: 120_000 }, async () => {
  const server = await serve(APP);
  after(() => server.kill("SIGKILL").catch(() => {}));
  const acknowledged = new Map();
  const hurried = new Map();
  const listeners = Array.from({ length: LISTENERS }, () => new Listener());
  for (let round = 0; round < KILLS; round++) {
    await live(server, round, listeners, acknowledged, hurried);
    await server.start();
  }

  const [[, anOffset]] = acknowledged;
  const log = await readAll(server, anOffset.split(":")[0]);
  const at = new Map(log.map(({ offset }, index) => [offset, index]));
  const ids = new Map(log.map(({ data }, index) => [data, index]));
  assert.equal(at.size, log.length, "an offset is there twice");
  assert.equal(ids.size, log.length, "a message is there twice");
  assert.equal(new Set(log.map(({ offset }) => offset.split(":")[0])).size, 1, "one epoch");
  for (let i = 1; i < log.length; i++) {
    assert.ok(sequenceOf(log[i].offset) > sequenceOf(log[i - 1].offset), "in order");
  }

  assert.ok(acknowledged.size >= KILLS * SENDERS, `only ${acknowledged.size} acknowledged`);
  for (const [id, offset] of acknowledged) {
    assert.equal(log[ids.get(id)]?.offset, offset, `${id} was acknowledged`);
  }
  const last = new Map(); // each sender's messages are in the order in which it said them
  for (const { data } of log) {
    const [round, who, n] = data.split("-");
    assert.ok(Number(n) > (last.get(`${round}-${who}`) ?? -1), `${data} is behind a later one`);
    last.set(`${round}-${who}`, Number(n));
  }

  // Who came back each time has heard all of it, once and in order.
  await Promise.all(listeners.map((listener) => listener.come(server)));
  for (const listener of listeners) {
    await eventually("the end is heard", () => listener.heard.length >= log.length);
    const saidOf = (messages) => messages.map(({ data, offset }) => ({ data, offset }));
    assert.deepEqual(saidOf(listener.heard), saidOf(log));
  }

  // What was told without waiting may be lost, but its offset is no other message's.
  for (const [id, offset] of hurried) {
    const index = at.get(offset);
    assert.ok(index === undefined || log[index].data === id, `${offset} was told of ${id}`);
  }
  await server.stop();
});
