// A server that is restarted under a crowd that comes back by itself, as a deploy does it: ended
// with SIGTERM, and started again on its port when it has exited. Meanwhile some say things in a
// room with durable history, and all hear everything once and in order.
"use strict";

const assert = require("node:assert/strict");
const { after, before, describe, it } = require("node:test");
const { eventually, packages, within } = require("../support.js");
const { serve } = require("./support.js");
const { WebSocket } = packages("ws");

const CROWD = 2000;
const AT_A_TIME = 100; // handshakes under way, when the crowd gathers
const IMPATIENCE = 300; // ms, about, until one who found the door closed tries again
const TALKERS = 100;
const PARTS = 4;
const SENDERS = 5;
const PAUSE = 200; // ms from an answer to a sender's next message
const LAST_WORDS = 3; // messages of each sender once all are back

const APP = `
local mw = require "moonwire"
local app = {
  rooms = { log = { history = { size = 10000, durable = true } } },
  events = {},
}
function app.on_connect(client) client:emit("welcome") end
function app.on_join() return true end
function app.events.say(client, text) return mw.room("log"):durable():emit("said", text) end
function app.on_disconnect(client, reason)
  local state = mw.state("gone", { count = 0, others = 0 })
  state.count = state.count + 1
  if reason ~= "shutdown" then state.others = state.others + 1 end
  if state.count == ${CROWD + SENDERS} then print("gone: " .. state.count .. ", for other reasons: " .. state.others) end
end
function app.events.echo(client, value) return value end
return app
`;

// One of the crowd, who is in the room and says where it stopped hearing when it comes back. That
// is when the server has said, or a while after it found nobody.
class Member {
  constructor(url) {
    this.url = url;
    this.welcomes = [];
    this.farewell = null;
    this.heard = [];
    this.problems = [];
    this.position = undefined;
    this.joined = 0;
    this.dial();
  }

  dial() {
    this.socket = new WebSocket(this.url, { perMessageDeflate: false });
    this.socket.on("error", () => {});
    this.socket.on("message", (data) => this.receive(JSON.parse(data)));
    this.socket.on("close", (code, reason) => this.lost(code, reason.toString()));
  }

  send(message) {
    this.socket.send(JSON.stringify(message));
  }

  receive(message) {
    const { event, id, data, offset } = message;
    if (event === "welcome") {
      this.welcomes.push(Date.now());
      this.send({ join: "log", after: this.position, id: "join" });
    } else if (event === "said") {
      this.heard.push(`${offset} ${data}`);
      this.position = offset;
    } else if (id === "join") {
      const expected = this.position ? true : undefined;
      if (message.recovered !== expected) this.problems.push(message);
      this.position ??= offset;
      this.joined++;
    } else {
      this.reply?.(message);
    }
  }

  lost(code, reason) {
    this.lose?.();
    if (this.over) return;
    const [, hint] = /^server restart; retry=(\d+\.\d{3})$/.exec(reason) ?? [];
    if (this.welcomes.length === 1 && !this.farewell) {
      this.farewell = { code, reason, at: Date.now(), hint: Number(hint) * 1000 };
      this.heardBefore = this.heard.length;
    }
    const pause = hint ? Number(hint) * 1000 : IMPATIENCE * (0.5 + Math.random());
    setTimeout(() => this.dial(), pause);
  }

  // The server's answer, or nothing where the connection ends before.
  ask(event, data) {
    return new Promise((resolve) => {
      Object.assign(this, { reply: resolve, lose: resolve });
      this.send({ event, data, id: "ask" });
    });
  }

  close() {
    this.over = true;
    this.socket.terminate();
  }
}

// Says one thing after another, as long as it is told to; what is answered is in the log.
class Sender extends Member {
  constructor(url, name) {
    super(url);
    Object.assign(this, { name, said: 0, answered: [], going: true });
  }

  async say() {
    const text = `${this.name}:${++this.said}`;
    const answer = await this.ask("say", text);
    if (answer?.data) this.answered.push(`${answer.data} ${text}`);
    else if (answer) this.problems.push(answer);
  }

  async run() {
    while (this.going) {
      if (this.socket.readyState === WebSocket.OPEN) await this.say();
      await new Promise((resolve) => setTimeout(resolve, PAUSE));
    }
    for (let n = 0; n < LAST_WORDS; n++) await this.say();
  }
}

// Of "epoch:sequence text".
const sequence = (line) => Number(line.split(" ")[0].split(":")[1]);

// How many of the moments fall into each of some equal parts of the time between first and last.
function spread(moments) {
  const first = Math.min(...moments);
  const length = Math.max(...moments) - first + 1;
  const counts = Array(PARTS).fill(0);
  moments.forEach((moment) => counts[Math.floor(((moment - first) / length) * PARTS)]++);
  return counts;
}

describe(`a restart under ${CROWD} clients`, () => {
  const crowd = [];
  const senders = [];
  let server;
  let running;
  before(async () => {
    server = await serve(APP);
    for (let at = 0; at < CROWD; at += AT_A_TIME) {
      for (let n = 0; n < AT_A_TIME; n++) crowd.push(new Member(server.url.replace("http", "ws")));
      await eventually("all are there", () => crowd.every(({ joined }) => joined === 1));
    }
    for (let n = 0; n < SENDERS; n++) senders.push(new Sender(server.url.replace("http", "ws"), n));
    await eventually("senders are there", () => senders.every(({ joined }) => joined === 1));
    running = Promise.all(senders.map((sender) => sender.run()));
    await eventually("all speak", () => senders.every(({ answered }) => answered.length > 1));
  });
  after(async () => {
    [...crowd, ...senders].forEach((member) => member.close());
    await server?.stop();
  });

  it("ends in order, and still answers those whom it has not asked yet", async () => {
    const first = new Promise((resolve) =>
      crowd.forEach(({ socket }) => socket.once("close", resolve)),
    );
    server.signal("SIGTERM");
    await within(first, "the first one to be asked");
    const there = crowd.filter(({ socket }) => socket.readyState === WebSocket.OPEN);
    const asked = there.slice(0, TALKERS).map((member) => member.ask("echo", "still here"));
    const replies = await within(Promise.all(asked), "replies, or the end");
    assert.ok(replies.some((reply) => reply?.data === "still here"), `${there.length} were there`);
    assert.equal(await server.exit(), 0);
    assert.match(server.output(), new RegExp(`gone: ${CROWD + SENDERS}, for other reasons: 0`));
    assert.doesNotMatch(server.output(), /deadline|Sanitizer|runtime error/);
    await server.start();
  });

  it("is told to everybody, with a time at which to come back", async () => {
    await eventually("everybody has been told", () => crowd.every(({ farewell }) => farewell));
    for (const { farewell } of crowd) {
      assert.equal(farewell.code, 1012, farewell.reason);
      assert.ok(farewell.hint >= 500, farewell.reason);
    }
    const counts = spread(crowd.map(({ farewell: { at, hint } }) => at + hint));
    assert.ok(Math.min(...counts) > CROWD / PARTS / 5, `${counts} come in the parts of the time`);
  });

  it("has everybody back, spread over the window", async () => {
    await eventually("all are back", () => crowd.every(({ joined }) => joined === 2));
    // A busy machine makes clumps of its own, but not of nearly all.
    const counts = spread(crowd.map(({ welcomes: [, back] }) => back));
    assert.ok(Math.max(...counts) < (CROWD * 3) / 4, `${counts} came in the parts of the time`);
  });

  it("has lost nothing of what was said, and everybody has heard it once and in order", async () => {
    await eventually("all senders are back", () => senders.every(({ joined }) => joined === 2));
    senders.forEach((sender) => (sender.going = false));
    await within(running, "the last words");
    const last = Math.max(...senders.flatMap(({ answered }) => answered.map(sequence)));
    await eventually("all have heard the last word", () =>
      crowd.every(({ heard }) => heard.length && sequence(heard.at(-1)) === last),
    );
    const [{ heard }] = crowd;
    assert.deepEqual(heard.map(sequence), heard.map((_, at) => at + 1));
    assert.equal(new Set(heard.map((line) => line.split(":")[0])).size, 1, "one epoch");
    const heardBefore = crowd.map((member) => member.heardBefore);
    assert.ok(Math.min(...heardBefore) < Math.max(...heardBefore), "nobody missed anything");
    for (const member of crowd) {
      assert.deepEqual(member.problems, []);
      assert.deepEqual(member.heard, heard);
    }
    for (const { answered, problems, name } of senders) {
      assert.deepEqual(problems, []);
      const told = heard.filter((line) => line.split(" ")[1].startsWith(`${name}:`));
      assert.deepEqual(told.filter((line) => answered.includes(line)), answered);
      assert.equal(new Set(told.map((line) => line.split(" ")[1])).size, told.length);
    }
  });
});
