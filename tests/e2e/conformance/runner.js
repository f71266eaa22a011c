// What the tables of cases share: how a case is written down, and how it is played. A case says
// which bytes go out and, exactly, which frames come back until the server has closed:
//   name      what it is about
//   sent      the frames of the client, as bytes, in order
//   answers   [opcode, payload] of each frame before the close, in order
//   code      of the server's close frame; null: a close frame without a code
//   target    of the handshake, when it is not "/"
//   offer     of extensions, when there is one; the answers are inflated where they are compressed
//   ways      in which the bytes reach the server, when it is not all of them
//   make      gives sent and answers when the case is played, for they are large
"use strict";

const assert = require("node:assert/strict");
const { describe, it } = require("node:test");
const zlib = require("node:zlib");
const wire = require("../wire.js");

const { BINARY, CLOSE, CONTINUATION, PONG, TEXT, closeFrame, dial, frame, handshake } = wire;

// --- writing cases down -----------------------------------------------------------------------

const COMPRESSED = 4; // RSV1 among the reserved bits

const bytes = (...values) => Buffer.from(values);
const letters = (count) => "*".repeat(count);

const text = (payload) => [TEXT, Buffer.from(payload)];
const binary = (payload) => [BINARY, Buffer.from(payload)];
const pong = (payload = "") => [PONG, Buffer.from(payload)];

const begin = (payload, opcode = TEXT) => frame(opcode, payload, { fin: false });
const middle = (payload) => frame(CONTINUATION, payload, { fin: false });
const last = (payload) => frame(CONTINUATION, payload);
const END = closeFrame(1000);

// One message in frames of `size` bytes.
function fragments(opcode, payload, size, { rsv = 0 } = {}) {
  const body = Buffer.from(payload);
  const frames = [];
  for (let at = 0; at === 0 || at < body.length; at += size) {
    const options = { fin: at + size >= body.length, rsv: at ? 0 : rsv };
    frames.push(frame(at ? CONTINUATION : opcode, body.subarray(at, at + size), options));
  }
  return frames;
}

// The beginning of a frame that announces `length` bytes of payload.
function beginningOfFrame(opcode, payload, length) {
  return frame(opcode, payload, { length });
}

// A message as RFC 7692 section 7.2.1 has it: what a sync flush gives, without its last four bytes.
function deflate(data, options) {
  const flush = { finishFlush: zlib.constants.Z_SYNC_FLUSH, ...options };
  return zlib.deflateRawSync(Buffer.from(data), flush).subarray(0, -4);
}

// An inflater that has seen nothing before, as both sides have agreed on.
function inflate(payload, windowBits = 15) {
  const tail = Buffer.from([0, 0, 0xff, 0xff]);
  const options = { windowBits, finishFlush: zlib.constants.Z_SYNC_FLUSH };
  return zlib.inflateRawSync(Buffer.concat([payload, tail]), options);
}

// --- playing them -----------------------------------------------------------------------------

// Lets the server's process have its turn, so that what was written is probably read by itself.
// Nothing depends on it: however the bytes arrive, the answers are the same.
const turn = () => new Promise((resolve) => setImmediate(resolve));

function chop(sent, size) {
  const all = Buffer.concat(sent);
  const pieces = [];
  for (let at = 0; at < all.length; at += size) pieces.push(all.subarray(at, at + size));
  return pieces;
}

// Each gives the pieces of the bytes, a write for each.
const WAYS = {
  "behind the handshake": (sent) => [Buffer.concat(sent)],
  "in one write": (sent) => [Buffer.concat(sent)],
  "frame by frame": (sent) => sent,
  "in pieces": (sent) => chop(sent, 97),
  "octet by octet": (sent) => chop(sent, 1),
};

async function writePieces(client, pieces) {
  for (const piece of pieces) {
    if (client.ended) return;
    client.socket.write(piece);
    await turn();
  }
}

// A connection that frames may be written on; `early` goes out in one write with the handshake. A
// reset would be an error even after the close frame: it might have overtaken it.
async function open(server, { target = "/", offer } = {}, early = "") {
  const client = await dial(server);
  client.socket.on("error", (error) => (client.failure = error));
  client.writeRequest(handshake(target, { "Sec-WebSocket-Extensions": offer }), early);
  client.answer = await client.response();
  assert.equal(client.answer.status, 101, client.answer.body);
  return client;
}

// The next frame: whole, and compressed only where that was agreed on.
async function receive(client, { offer, window } = {}) {
  const got = await client.frame();
  assert.ok(got.fin, "a server's frame is not a fragment");
  if (got.rsv === 0) return got;
  assert.ok(offer && (got.opcode === TEXT || got.opcode === BINARY), `reserved bits ${got.rsv}`);
  assert.equal(got.rsv, COMPRESSED);
  return { ...got, payload: inflate(got.payload, window) };
}

function show(payload) {
  return payload.length > 60
    ? `${payload.length} bytes`
    : JSON.stringify(payload.toString("latin1"));
}

function expectFrame(got, [opcode, payload]) {
  assert.equal(
    got.opcode,
    opcode,
    `opcode ${got.opcode} with ${show(got.payload)}, code ${got.code}`,
  );
  assert.ok(got.payload.equals(payload), `${show(got.payload)} instead of ${show(payload)}`);
}

async function expectClose(client, code) {
  const got = await receive(client);
  assert.equal(
    got.opcode,
    CLOSE,
    `opcode ${got.opcode} with ${show(got.payload)} instead of a close`,
  );
  assert.equal(
    got.code,
    code === null ? undefined : code,
    `it closed with ${got.code}: ${got.reason}`,
  );
  assert.ok(code !== null || got.payload.length === 0);
  await client.end();
  assert.equal(client.failure, undefined, `the connection ended with ${client.failure}`);
}

async function play(server, each, way) {
  const pieces = WAYS[way](each.sent);
  const early = way === "behind the handshake";
  const client = await open(server, each, early ? pieces[0] : "");
  const written = early ? undefined : writePieces(client, pieces);
  for (const answer of each.answers) expectFrame(await receive(client, each), answer);
  await expectClose(client, each.code);
  await written;
  client.destroy();
}

// What is long does not go octet by octet, but in pieces.
function waysOf({ sent }) {
  const isLong = Buffer.concat(sent).length > 1000;
  return Object.keys(WAYS).filter((way) => way !== (isLong ? "octet by octet" : "in pieces"));
}

// The suite of one table. The ways of a case are played side by side.
function runCases(server, title, cases) {
  describe(title, { concurrency: 4 }, () => {
    for (const each of cases) {
      it(each.name, async () => {
        const made = { ...each, ...each.make?.() };
        const ways = each.ways || waysOf(made);
        const ends = await Promise.allSettled(ways.map((way) => play(server, made, way)));
        const wrong = ends.flatMap(({ reason }, index) =>
          reason ? [`${ways[index]}: ${reason.stack}`] : [],
        );
        assert.deepEqual(wrong, []);
      });
    }
  });
}

module.exports = {
  COMPRESSED,
  END,
  begin,
  beginningOfFrame,
  binary,
  bytes,
  chop,
  deflate,
  expectClose,
  expectFrame,
  fragments,
  inflate,
  last,
  letters,
  middle,
  open,
  pong,
  receive,
  runCases,
  text,
};
