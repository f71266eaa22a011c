// What the end-to-end tests share: a server for a suite, from handlers that stand in the test;
// WebSocket peers and event streams whose messages are taken one by one; HTTP requests as they are
// written. Raw bytes are in wire.js.
"use strict";

const assert = require("node:assert/strict");
const http = require("node:http");
const path = require("node:path");
const { after, before } = require("node:test");
const { makeFolder, packages, startServer, within } = require("../support.js");
const { WebSocket } = packages("ws");

// What came and has not been taken yet. Who takes waits for it, but not for ever.
class Inbox {
  constructor(owner) {
    this.owner = owner;
    this.items = [];
    this.takers = [];
    this.ended = null;
  }

  put(item) {
    const taker = this.takers.shift();
    if (taker) taker.resolve(item);
    else this.items.push(item);
  }

  // Nothing more comes: who waits for something hears why.
  end(why) {
    this.ended = this.ended || why;
    this.takers.splice(0).forEach((taker) => taker.reject(new Error(`${this.owner}: ${why}`)));
  }

  // The next one, in the order in which they came.
  take() {
    if (this.items.length) return Promise.resolve(this.items.shift());
    if (this.ended) return Promise.reject(new Error(`${this.owner}: ${this.ended}`));
    const taker = {};
    const taken = new Promise((resolve, reject) => Object.assign(taker, { resolve, reject }));
    this.takers.push(taker);
    return within(taken, `something for ${this.owner}`);
  }

  // The first one that fits; those before it are dropped.
  async find(fits) {
    for (;;) {
      const item = await this.take();
      if (fits(item)) return item;
    }
  }
}

// --- servers ----------------------------------------------------------------------------------

const SANITIZERS = /ERROR: (Address|Leak)Sanitizer|runtime error:/;

// Ends a server as an operator does, and checks that it ended well.
async function stop(server) {
  const code = await server.kill("SIGTERM");
  assert.doesNotMatch(server.output(), SANITIZERS);
  assert.equal(code, 0, `it ended with ${code}:\n${server.output()}`);
}

// Starts a server for handlers: Lua text, or { "app.lua": text, … } for a folder.
async function serve(source, { args = [], ...options } = {}) {
  const files = typeof source === "string" ? { "app.lua": source } : source;
  const folder = makeFolder(files);
  const control = path.join(folder, "control.sock");
  const server = await startServer(path.join(folder, "app.lua"), {
    args: ["--admin", "127.0.0.1:0", "--control", control, ...args],
    ...options,
  });
  server.folder = folder;
  server.file = path.join(folder, "app.lua");
  server.control = control;
  server.stop = () => stop(server);
  return server;
}

// The same for a suite: the object is filled before its first test, and the server stopped after
// its last, which finds leaks and errors of the sanitizers.
function serving(source, options) {
  const holder = {};
  before(async () => Object.assign(holder, await serve(source, options)));
  after(() => holder.stop?.());
  return holder;
}

// The value of one metric: its name with labels as they are printed.
async function metric(server, name) {
  const { body } = await get(`${server.admin}/metrics`);
  const line = body.split("\n").find((each) => each.startsWith(`${name} `));
  assert.ok(line, `there is no metric ${name} in\n${body}`);
  return Number(line.slice(name.length + 1));
}

// --- HTTP -------------------------------------------------------------------------------------

// One request: { status, headers, body, json }. The path goes out as it is written.
function request(base, target, { method = "GET", headers = {}, body, agent } = {}) {
  const { hostname, port } = new URL(base);
  const answered = new Promise((resolve, reject) => {
    const options = { hostname, port, path: target, method, headers, agent: agent || false };
    const sent = http.request(options, (response) => {
      const pieces = [];
      response.on("data", (piece) => pieces.push(piece));
      response.on("error", reject);
      response.on("end", () => {
        const text = Buffer.concat(pieces).toString();
        const { statusCode: status, headers: fields } = response;
        const json =
          /^application\/json/.test(fields["content-type"]) && text ? JSON.parse(text) : undefined;
        resolve({ status, headers: fields, body: text, json });
      });
    });
    sent.on("error", reject);
    sent.end(body);
  });
  return within(answered, `an answer to ${method} ${target}`);
}

function get(url, options) {
  const { origin, pathname, search } = new URL(url);
  return request(origin, pathname + search, options);
}

// POSTs a value as JSON.
function post(server, target, value, { headers = {}, ...options } = {}) {
  return request(server.url, target, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...headers },
    body: JSON.stringify(value),
    ...options,
  });
}

// --- WebSockets -------------------------------------------------------------------------------

// A WebSocket with an inbox. Text comes out parsed where it is JSON; replies go to who called.
class Peer {
  constructor(socket, name) {
    this.socket = socket;
    this.inbox = new Inbox(name);
    this.calls = new Map();
    this.lastId = 0;
    const closing = new Promise((resolve) => {
      socket.on("close", (code, reason) => resolve({ code, reason: reason.toString() }));
    });
    closing.then(({ code, reason }) => {
      this.inbox.end(`closed with ${code} ${reason}`);
      this.calls.forEach(({ reject }) => reject(new Error(`${name}: closed with ${code}`)));
    });
    socket.on("error", () => {});
    socket.on("message", (data, binary) => this.receive(data, binary));
    this.closed = () => within(closing, `the close of ${name}`);
  }

  receive(data, binary) {
    if (binary) return this.inbox.put(data);
    const text = data.toString();
    const value = text.startsWith("{") ? JSON.parse(text) : text;
    const call = this.calls.get(value.id);
    if (!call || value.event !== undefined) return this.inbox.put(value);
    this.calls.delete(value.id);
    call.resolve(value);
  }

  send(value) {
    this.socket.send(
      typeof value === "string" || Buffer.isBuffer(value) ? value : JSON.stringify(value),
    );
  }

  emit(event, ...args) {
    this.send(args.length > 1 ? { event, args } : { event, data: args[0] });
  }

  // Sends with an id; the reply without it.
  ask(message) {
    const id = ++this.lastId;
    const replied = new Promise((resolve, reject) => this.calls.set(id, { resolve, reject }));
    this.send({ ...message, id });
    return within(replied, `a reply to ${JSON.stringify(message)}`).then(
      ({ id: _, ...reply }) => reply,
    );
  }

  call(event, ...args) {
    return this.ask(args.length > 1 ? { event, args } : { event, data: args[0] });
  }

  join(room, options) {
    return this.ask({ join: room, ...options });
  }

  leave(room) {
    return this.ask({ leave: room });
  }

  next() {
    return this.inbox.take();
  }

  find(fits) {
    return this.inbox.find(fits);
  }

  close(code, reason) {
    this.socket.close(code, reason);
    return this.closed();
  }
}

// A connected peer. Compression is off unless asked for.
async function connect(server, target = "/", { protocols, ...options } = {}) {
  const url = server.url.replace("http", "ws") + target;
  const socket = new WebSocket(url, protocols, { perMessageDeflate: false, ...options });
  const peer = new Peer(socket, `the peer of ${target}`);
  await within(
    new Promise((resolve, reject) => {
      socket.on("open", resolve);
      socket.on("error", reject);
    }),
    `a WebSocket at ${target}`,
  );
  return peer;
}

// A handshake that is refused: { status, headers, body }.
function refused(server, target = "/", { protocols, ...options } = {}) {
  const socket = new WebSocket(server.url.replace("http", "ws") + target, protocols, options);
  const answered = new Promise((resolve, reject) => {
    socket.on("open", () => reject(new Error(`${target} was not refused`)));
    socket.on("error", () => {});
    socket.on("unexpected-response", (_, response) => {
      let body = "";
      response.on("data", (piece) => (body += piece));
      response.on("end", () => {
        socket.terminate();
        resolve({ status: response.statusCode, headers: response.headers, body });
      });
    });
  });
  return within(answered, `the refusal of ${target}`);
}

// --- event streams ----------------------------------------------------------------------------

// The lines of a block as { event, data, id, retry, comment }: what is not there is undefined.
function parseBlock(block) {
  const result = {};
  for (const line of block.split("\n")) {
    const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line);
    const name = field || "comment";
    result[name] = result[name] === undefined ? value : `${result[name]}\n${value}`;
  }
  return result;
}

// An event stream, read as it is written, whose blocks are taken one by one.
async function stream(server, target = "/", { headers = {}, ...options } = {}) {
  const { hostname, port } = new URL(server.url);
  const inbox = new Inbox(`the stream of ${target}`);
  const sent = http.request({
    hostname,
    port,
    path: target,
    headers: { Accept: "text/event-stream", ...headers },
    agent: false,
    ...options,
  });
  const response = await within(
    new Promise((resolve, reject) => sent.on("response", resolve).on("error", reject).end()),
    `a stream at ${target}`,
  );
  assert.equal(response.statusCode, 200, `the stream at ${target}`);
  let text = "";
  response.setEncoding("utf8");
  response.on("data", (piece) => {
    const blocks = (text + piece).split("\n\n");
    text = blocks.pop();
    blocks.map(parseBlock).forEach((block) => inbox.put(block));
  });
  const ended = new Promise((resolve) => {
    response.on("error", () => {});
    response.on("close", () => resolve(response.complete));
  });
  ended.then(() => inbox.end("ended"));
  return {
    headers: response.headers,
    // The next block; without a name, whatever it is, otherwise the next of this event.
    next: (event) => (event ? inbox.find((block) => block.event === event) : inbox.take()),
    find: (fits) => inbox.find(fits),
    // Did it end in order?
    ended: () => within(ended, `the end of the stream of ${target}`),
    destroy: () => sent.destroy(),
  };
}

module.exports = {
  Inbox,
  Peer,
  connect,
  get,
  metric,
  post,
  refused,
  request,
  serve,
  serving,
  stop,
  stream,
};
