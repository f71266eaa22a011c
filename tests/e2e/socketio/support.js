// What the Socket.IO tests share. Every test runs twice: against the reference server from npm,
// which shows that the test is right, and against moonwire, which shows that moonwire is.
// MOONWIRE_SOCKETIO=reference (or moonwire) leaves the other one out.
"use strict";

const assert = require("node:assert/strict");
const path = require("node:path");
const { after, before, describe } = require("node:test");
const { packages, startProcess, startServer, within } = require("../../support.js");
const { Inbox, request, stop } = require("../support.js");
const { io } = packages("socket.io-client");

const KINDS = (process.env.MOONWIRE_SOCKETIO || "reference,moonwire").split(",");
const APP = path.join(__dirname, "app.lua");
const REFERENCE = path.join(__dirname, "reference.js");

const PATH = "/socket.io/?EIO=4";
const SEPARATOR = "\x1e";

// --- servers ----------------------------------------------------------------------------------

async function startReference(options) {
  const server = { kind: "reference", port: 0 };
  server.start = async () => {
    const args = [REFERENCE, String(server.port), JSON.stringify(options)];
    server.process = startProcess(process.execPath, args);
    const [, url, port] = await server.process.said(/ on (http:\/\/127\.0\.0\.1:(\d+))\//);
    Object.assign(server, { url, port: Number(port) });
    return server;
  };
  server.kill = (signal) => server.process.kill(signal);
  server.stop = () => server.kill("SIGKILL");
  return server.start();
}

// The reference server's options, as this server's flags.
const FLAGS = {
  pingInterval: (ms) => ["--ping-interval", String(ms / 1000)],
  pingTimeout: (ms) => ["--ping-timeout", String(ms / 1000)],
  connectTimeout: (ms) => ["--connect-timeout", String(ms / 1000)],
  upgradeTimeout: (ms) => ["--upgrade-timeout", String(ms / 1000)],
  transports: (names) => ["--socketio-transports", names.join(",")],
  allowUpgrades: (allowed) => [allowed ? "--socketio-upgrades" : "--no-socketio-upgrades"],
  cookie: ({ name }) => ["--socketio-cookie", name],
  httpCompression: (on) => ["--socketio-gzip", String(on ? on.threshold : 0)],
  path: (path) => ["--socketio-path", path],
  maxHttpBufferSize: (bytes) => ["--socketio-payload", String(bytes)],
};

// What is no flag but stands in the table, app.lua takes from the environment.
const ENV = {
  connectionStateRecovery: ({ maxDisconnectionDuration: ms }) => ["RECOVERY_SECONDS", String(ms / 1000)],
};

async function startMoonwire(options) {
  const entries = Object.entries(options);
  const args = entries.flatMap(([name, value]) => FLAGS[name]?.(value) ?? []);
  const env = entries.filter(([name]) => ENV[name]).map(([name, value]) => ENV[name](value));
  const server = await startServer(APP, { args, env: Object.fromEntries(env) });
  return Object.assign(server, { kind: "moonwire", stop: () => stop(server) });
}

function start(kind, options = {}) {
  return kind === "reference" ? startReference(options) : startMoonwire(options);
}

// A suite for each kind of server. The suite's function is given a server that is up while its
// tests run.
function onEach(name, options, suite) {
  for (const kind of KINDS) {
    describe(`${name} (${kind})`, () => {
      const server = {};
      before(async () => Object.assign(server, await start(kind, options)));
      after(() => server.stop?.());
      suite(server);
    });
  }
}

// --- clients ----------------------------------------------------------------------------------

const TRANSPORTS = {
  polling: ["polling"],
  websocket: ["websocket"],
  upgrade: ["polling", "websocket"],
};

// A client with an inbox of [event, ...args]; nothing of another client's is shared with it.
class Guest {
  constructor(url, options) {
    this.socket = io(url, { forceNew: true, reconnection: false, ...options });
    this.inbox = new Inbox(`the client of ${url}`);
    this.socket.onAny((...event) => this.inbox.put(event));
    this.gone = new Promise((resolve) => this.socket.once("disconnect", resolve));
  }

  connected() {
    const connecting = new Promise((resolve, reject) => {
      if (this.socket.connected) resolve(this);
      this.socket.once("connect", () => resolve(this)).once("connect_error", reject);
    });
    return within(connecting, "a Socket.IO connection");
  }

  // The error that refuses it.
  refused() {
    const refusing = new Promise((resolve, reject) => {
      this.socket.once("connect_error", resolve);
      this.socket.once("connect", () => reject(new Error("it was not refused")));
    });
    return within(refusing, "the refusal of a Socket.IO connection");
  }

  // Resolves when the upgrade to a WebSocket is over.
  async upgraded() {
    const { engine } = this.socket.io;
    const upgrading = new Promise((resolve) => {
      if (engine.transport.name === "websocket") resolve();
      engine.once("upgrade", resolve);
    });
    await within(upgrading, "the upgrade");
    return this;
  }

  emit(...args) {
    this.socket.emit(...args);
    return this;
  }

  // The server's answer. More values than one come as a list.
  async ask(...args) {
    const answering = new Promise((resolve) => this.socket.emit(...args, (...all) => resolve(all)));
    const all = await within(answering, `an answer to ${args[0]}`);
    return all.length > 1 ? all : all[0];
  }

  // The arguments of the next event of that name.
  async next(event) {
    const [, ...args] = await this.inbox.find(([name]) => name === event);
    return args;
  }

  // Why it was disconnected.
  disconnected() {
    return within(this.gone, "the end of a Socket.IO connection");
  }

  close() {
    this.socket.io.engine.close();
    this.socket.disconnect();
  }
}

// A connected client. `transport` is polling, websocket, or upgrade, which waits for its end.
async function visit(server, { namespace = "", transport = "websocket", ...options } = {}) {
  const guest = new Guest(server.url + namespace, { transports: TRANSPORTS[transport], ...options });
  await guest.connected();
  return transport === "upgrade" ? guest.upgraded() : guest;
}

// --- long-polling, by hand --------------------------------------------------------------------

// A polling session: packets are taken and sent as they stand in the bodies.
class Polling {
  constructor(server, open) {
    this.server = server;
    this.open = open;
    this.target = `${PATH}&transport=polling&sid=${open.sid}`;
    this.packets = [];
  }

  get(target = this.target) {
    return request(this.server.url, target);
  }

  post(body, headers = { "Content-Type": "text/plain;charset=UTF-8" }) {
    return request(this.server.url, this.target, { method: "POST", headers, body });
  }

  async send(...packets) {
    const { status, body } = await this.post(packets.join(SEPARATOR));
    assert.deepEqual([status, body], [200, "ok"]);
  }

  // The next packet, polling for it where none is there.
  async next() {
    if (!this.packets.length) {
      const { status, body } = await this.get();
      assert.equal(status, 200, body);
      this.packets.push(...body.split(SEPARATOR));
    }
    return this.packets.shift();
  }

  // Connects to a namespace, and passes over the welcome of the main one.
  async connect(namespace = "") {
    await this.send(namespace ? `40${namespace},` : "40");
    const answer = await this.next();
    assert.match(answer, new RegExp(`^40${namespace ? `${namespace},` : ""}{"sid":"[^"]+"}$`));
    if (!namespace) assert.match(await this.next(), /^42\["welcome",/);
    return this;
  }
}

// The packet that opens the session, and the session.
async function openPolling(server, query = "") {
  const { status, body } = await request(server.url, `${PATH}&transport=polling${query}`);
  assert.equal(status, 200, body);
  assert.equal(body[0], "0");
  return new Polling(server, JSON.parse(body.slice(1)));
}

module.exports = {
  Guest,
  KINDS,
  PATH,
  Polling,
  SEPARATOR,
  TRANSPORTS,
  onEach,
  openPolling,
  start,
  visit,
};
