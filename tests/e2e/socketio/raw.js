// Engine.IO over a WebSocket by hand: packets as they stand in the frames.
"use strict";

const assert = require("node:assert/strict");
const { packages, within } = require("../../support.js");
const { Inbox } = require("../support.js");
const { PATH } = require("./support.js");
const { WebSocket } = packages("ws");

class Raw {
  constructor(socket, name) {
    this.socket = socket;
    this.inbox = new Inbox(name);
    this.closing = new Promise((resolve) => {
      socket.on("close", (code, reason) => resolve({ code, reason: reason.toString() }));
    });
    this.closing.then(({ code }) => this.inbox.end(`closed with ${code}`));
    socket.on("message", (data, binary) => this.inbox.put(binary ? data : data.toString()));
    socket.on("error", () => {}); // "close" follows
  }

  send(...packets) {
    packets.forEach((packet) => this.socket.send(packet));
  }

  // The next packet: text, or a Buffer.
  next() {
    return this.inbox.take();
  }

  closed() {
    return within(this.closing, "the close of a WebSocket");
  }

  // Connects to a namespace; the client's id. Passes over the welcome of the main one.
  async connect(namespace = "") {
    const prefix = namespace ? `40${namespace},` : "40";
    this.send(prefix);
    const answer = await this.next();
    assert.ok(answer.startsWith(prefix), answer);
    if (!namespace) assert.match(await this.next(), /^42\["welcome",/);
    return JSON.parse(answer.slice(prefix.length)).sid;
  }

  destroy() {
    this.socket.terminate();
  }
}

// A WebSocket at the server's path, once it is open. With `sid` it is the second transport of a
// session; without, the packet that opens the session has been read, and is in `open`.
async function openSocket(server, { sid, query = "", ...options } = {}) {
  const target = `${PATH}&transport=websocket${sid ? `&sid=${sid}` : ""}${query}`;
  const socket = new WebSocket(server.url.replace("http", "ws") + target, {
    perMessageDeflate: false,
    ...options,
  });
  const raw = new Raw(socket, `the WebSocket of ${target}`);
  await within(
    new Promise((resolve, reject) => socket.on("open", resolve).on("error", reject)),
    "a WebSocket",
  );
  if (!sid) {
    const packet = await raw.next();
    assert.equal(packet[0], "0");
    raw.open = JSON.parse(packet.slice(1));
  }
  return raw;
}

module.exports = { Raw, openSocket };
