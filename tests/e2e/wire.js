// Bytes as they are: a TCP connection whose input is read piece by piece, HTTP answers and
// WebSocket frames cut out of it. For what no well-behaved client would send.
"use strict";

const assert = require("node:assert/strict");
const net = require("node:net");
const { within } = require("../support.js");

const CONTINUATION = 0;
const TEXT = 1;
const BINARY = 2;
const CLOSE = 8;
const PING = 9;
const PONG = 10;

// A frame of a client. `length` and `lengthBytes` (1, 3 or 9) tell lies about the payload.
function frame(opcode, payload = "", options = {}) {
  const { fin = true, rsv = 0, mask = Buffer.from([0x37, 0xfa, 0x21, 0x3d]) } = options;
  const body = Buffer.from(payload);
  const { length = body.length } = options;
  const { lengthBytes = length < 126 ? 1 : length < 65536 ? 3 : 9 } = options;
  const head = Buffer.alloc(1 + lengthBytes);
  head[0] = (fin ? 0x80 : 0) | (rsv << 4) | opcode;
  if (lengthBytes === 1) head[1] = length;
  if (lengthBytes === 3) head.writeUInt16BE(length, 2);
  if (lengthBytes === 9) head.writeBigUInt64BE(BigInt(length), 2);
  if (lengthBytes > 1) head[1] = lengthBytes === 3 ? 126 : 127;
  if (!mask) return Buffer.concat([head, body]);
  head[1] |= 0x80;
  for (let at = 0; at < body.length; at++) body[at] ^= mask[at % 4];
  return Buffer.concat([head, mask, body]);
}

function closeFrame(code, reason = "") {
  const head = Buffer.alloc(2);
  head.writeUInt16BE(code);
  return frame(CLOSE, Buffer.concat([head, Buffer.from(reason)]));
}

// A frame of a server, from the beginning of the bytes: { size, opcode, fin, rsv, payload }, with
// code and reason if it is a close frame; undefined while it is incomplete.
function readFrame(bytes) {
  if (bytes.length < 2) return undefined;
  assert.equal(bytes[1] & 0x80, 0, "a server's frame is not masked");
  let size = 2;
  let length = bytes[1] & 0x7f;
  if (length === 126) size = 4;
  if (length === 127) size = 10;
  if (bytes.length < size) return undefined;
  if (size === 4) length = bytes.readUInt16BE(2);
  if (size === 10) length = Number(bytes.readBigUInt64BE(2));
  if (bytes.length < size + length) return undefined;
  const payload = bytes.subarray(size, size + length);
  const result = {
    size: size + length,
    opcode: bytes[0] & 0x0f,
    fin: (bytes[0] & 0x80) !== 0,
    rsv: (bytes[0] >> 4) & 7,
    payload,
  };
  if (result.opcode === CLOSE && length >= 2) {
    result.code = payload.readUInt16BE(0);
    result.reason = payload.subarray(2).toString();
  }
  return result;
}

// An answer from the beginning of the bytes: { size, status, headers, body }; undefined while it
// is incomplete. Without a length the body ends with the connection.
function readResponse(bytes, { ended, head = false }) {
  const end = bytes.indexOf("\r\n\r\n");
  if (end < 0) return undefined;
  const [line, ...fields] = bytes.subarray(0, end).toString("latin1").split("\r\n");
  const status = Number(line.split(" ")[1]);
  const headers = {};
  for (const field of fields) {
    const colon = field.indexOf(":");
    headers[field.slice(0, colon).toLowerCase()] = field.slice(colon + 1).trim();
  }
  const begin = end + 4;
  const empty = head || status < 200 || status === 204 || status === 304;
  const known = empty ? 0 : headers["content-length"];
  if (known === undefined && !ended) return undefined;
  const size = known === undefined ? bytes.length : begin + Number(known);
  if (bytes.length < size) return undefined;
  return { size, line, status, headers, body: bytes.subarray(begin, size).toString() };
}

class Wire {
  constructor(socket) {
    this.socket = socket;
    this.bytes = Buffer.alloc(0);
    this.ended = false;
    this.watchers = new Set();
    socket.on("data", (data) => {
      this.bytes = Buffer.concat([this.bytes, data]);
      this.changed();
    });
    socket.on("end", () => this.over());
    socket.on("close", () => this.over());
    socket.on("error", () => this.over());
  }

  over() {
    this.ended = true;
    this.changed();
  }

  changed() {
    this.watchers.forEach((watch) => watch());
  }

  // Waits for what `read` finds in the bytes, and takes `size` bytes of them.
  take(what, read) {
    const found = new Promise((resolve, reject) => {
      const watch = () => {
        let result;
        try {
          result = read(this.bytes);
        } catch (error) {
          reject(error);
        }
        if (result === undefined && this.ended) {
          reject(
            new Error(`the connection ended before ${what}: ${this.bytes.toString("latin1")}`),
          );
        }
        if (result === undefined && !this.ended) return;
        this.watchers.delete(watch);
        if (result === undefined) return;
        this.bytes = this.bytes.subarray(result.size);
        resolve(result);
      };
      this.watchers.add(watch);
      watch();
    });
    return within(found, what);
  }

  write(...pieces) {
    this.socket.write(Buffer.concat(pieces.map((piece) => Buffer.from(piece))));
  }

  // The lines of a head, and a body behind them.
  writeRequest(lines, body = "") {
    this.write(`${lines.join("\r\n")}\r\n\r\n`, body);
  }

  response(options = {}) {
    return this.take("an answer", (bytes) =>
      readResponse(bytes, { ended: this.ended, ...options }),
    );
  }

  frame() {
    return this.take("a frame", readFrame);
  }

  // Resolves once the server has ended the connection; fails if more bytes had come before.
  async end() {
    const over = new Promise((resolve) => {
      const watch = () => this.ended && resolve();
      this.watchers.add(watch);
      watch();
    });
    await within(over, "the end of the connection");
    assert.equal(this.bytes.toString("latin1"), "");
  }

  destroy() {
    this.socket.destroy();
  }
}

async function dial(server, options = {}) {
  const port = server.port ?? Number(new URL(server.url).port);
  const socket = net.connect({ port, host: "127.0.0.1", noDelay: true, ...options });
  const wire = new Wire(socket);
  await within(
    new Promise((resolve, reject) => socket.on("connect", resolve).on("error", reject)),
    "a connection",
  );
  return wire;
}

const KEY = "dGhlIHNhbXBsZSBub25jZQ=="; // of RFC 6455 section 1.3
const ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

// The fields of a handshake; an undefined one is left out.
function handshake(target = "/", fields = {}) {
  const all = {
    Host: "127.0.0.1",
    Upgrade: "websocket",
    Connection: "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
    ...fields,
  };
  const lines = Object.entries(all).filter(([, value]) => value !== undefined);
  return [`GET ${target} HTTP/1.1`, ...lines.map(([name, value]) => `${name}: ${value}`)];
}

// A wire on which frames may be written.
async function upgrade(server, target, fields, options) {
  const wire = await dial(server, options);
  wire.writeRequest(handshake(target, fields));
  const answer = await wire.response();
  assert.equal(answer.status, 101, answer.body);
  wire.answer = answer;
  return wire;
}

module.exports = {
  ACCEPT,
  BINARY,
  CLOSE,
  CONTINUATION,
  KEY,
  PING,
  PONG,
  TEXT,
  closeFrame,
  dial,
  frame,
  handshake,
  readFrame,
  readResponse,
  upgrade,
};
