// A server that is restarted under a crowd that comes back by itself, as a deploy does it: ended
// with SIGTERM, and started again on its port when it has exited.
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

const APP = `
local mw = require "moonwire"
local app = { events = {} }
function app.on_connect(client) client:emit("welcome") end
function app.on_disconnect(client, reason)
  local state = mw.state("gone", { count = 0, others = 0 })
  state.count = state.count + 1
  if reason ~= "shutdown" then state.others = state.others + 1 end
  if state.count == ${CROWD} then print("gone: " .. state.count .. ", for other reasons: " .. state.others) end
end
function app.events.echo(client, value) return value end
return app
`;

// One of the crowd. It comes back when the server has said, or a while after it found nobody.
class Member {
  constructor(url) {
    this.url = url;
    this.welcomes = [];
    this.farewell = null;
    this.dial();
  }

  dial() {
    this.socket = new WebSocket(this.url, { perMessageDeflate: false });
    this.socket.on("error", () => {});
    this.socket.on("message", (data) => this.receive(JSON.parse(data)));
    this.socket.on("close", (code, reason) => this.lost(code, reason.toString()));
  }

  receive({ event, id }) {
    if (event === "welcome") this.welcomes.push(Date.now());
    else if (id) this.reply?.();
  }

  lost(code, reason) {
    if (this.over) return;
    const [, hint] = /^server restart; retry=(\d+\.\d{3})$/.exec(reason) ?? [];
    if (this.welcomes.length === 1 && !this.farewell) {
      this.farewell = { code, reason, at: Date.now(), hint: Number(hint) * 1000 };
    }
    const pause = hint ? Number(hint) * 1000 : IMPATIENCE * (0.5 + Math.random());
    setTimeout(() => this.dial(), pause);
  }

  // Does the server still answer?
  echo() {
    const replied = new Promise((resolve) => (this.reply = () => resolve(true)));
    const lost = new Promise((resolve) => this.socket.once("close", () => resolve(false)));
    this.socket.send('{"event":"echo","data":1,"id":1}');
    return Promise.race([replied, lost]);
  }

  close() {
    this.over = true;
    this.socket.terminate();
  }
}

// How many of the moments fall into each of some equal parts of the time between first and last.
function spread(moments) {
  const first = Math.min(...moments);
  const length = Math.max(...moments) - first + 1;
  const counts = Array(PARTS).fill(0);
  moments.forEach((moment) => counts[Math.floor(((moment - first) / length) * PARTS)]++);
  return counts;
}

// An even share of each part would be a quarter; a clump leaves others nearly empty.
function assertSpread(what, moments) {
  const counts = spread(moments);
  for (const count of counts) {
    assert.ok(count > CROWD / PARTS / 5, `${what}: ${counts} in the parts of its time`);
  }
}

describe(`a restart under ${CROWD} clients`, () => {
  const crowd = [];
  let server;
  before(async () => {
    server = await serve(APP);
    for (let at = 0; at < CROWD; at += AT_A_TIME) {
      for (let n = 0; n < AT_A_TIME; n++) crowd.push(new Member(server.url.replace("http", "ws")));
      await eventually("all are there", () => crowd.every(({ welcomes }) => welcomes.length === 1));
    }
  });
  after(async () => {
    crowd.forEach((member) => member.close());
    await server?.stop();
  });

  it("ends in order, and still answers those whom it has not asked yet", async () => {
    const first = new Promise((resolve) =>
      crowd.forEach(({ socket }) => socket.once("close", resolve)),
    );
    server.signal("SIGTERM");
    await within(first, "the first one to be asked");
    const there = crowd.filter(({ socket }) => socket.readyState === WebSocket.OPEN);
    const replies = await Promise.all(there.slice(0, TALKERS).map((member) => member.echo()));
    assert.ok(replies.includes(true), `${there.length} were there`);
    assert.equal(await server.exit(), 0);
    assert.match(server.output(), new RegExp(`gone: ${CROWD}, for other reasons: 0`));
    assert.doesNotMatch(server.output(), /deadline|Sanitizer|runtime error/);
    await server.start();
  });

  it("is told to everybody, with a time at which to come back", async () => {
    await eventually("everybody has been told", () => crowd.every(({ farewell }) => farewell));
    for (const { farewell } of crowd) {
      assert.equal(farewell.code, 1012, farewell.reason);
      assert.ok(farewell.hint >= 500, farewell.reason);
    }
    assertSpread("the times to come back", crowd.map(({ farewell: { at, hint } }) => at + hint));
  });

  it("has everybody back, spread over the window", async () => {
    await eventually("all are back", () => crowd.every(({ welcomes }) => welcomes.length === 2));
    assertSpread("the comings back", crowd.map(({ welcomes: [, back] }) => back));
  });
});
