// permessage-deflate frame by frame (RFC 7692 sections 6 and 7.2): which frames may have the bit, what
// a compressor may produce, and what is no compressed message. A peer that was told
// client_no_context_takeover begins each message anew.
"use strict";

const { constants } = require("node:zlib");
const { BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame } = require("../wire.js");
const runner = require("./runner.js");

const {
  COMPRESSED,
  END,
  begin,
  binary,
  bytes,
  deflate,
  fragments,
  last,
  letters,
  middle,
  pong,
  text,
} = runner;

const packed = (body, opcode = TEXT) => frame(opcode, body, { rsv: COMPRESSED });
const beginPacked = (body, opcode = TEXT) => frame(opcode, body, { rsv: COMPRESSED, fin: false });

function accepted(name, sent, answers) {
  return { name, sent: [...sent, END], answers, code: 1000, offer: "permessage-deflate" };
}

function refused(name, sent, code, answers = []) {
  return { name, sent, answers, code, offer: "permessage-deflate" };
}

// --- frames

const HELLO = "Hello, Hello, κόσμε!";
const body = deflate(HELLO);
const halves = [body.subarray(0, 5), body.subarray(5)];

const frames = [
  accepted("a compressed text", [packed(body)], [text(HELLO)]),
  accepted("compressed binary data", [packed(body, BINARY)], [binary(HELLO)]),
  accepted("a text that is not compressed", [frame(TEXT, HELLO)], [text(HELLO)]),
  accepted(
    "both by turns",
    [packed(body), frame(TEXT, HELLO), packed(body, BINARY), frame(BINARY, HELLO)],
    [text(HELLO), text(HELLO), binary(HELLO), binary(HELLO)],
  ),
  accepted(
    "the same text ten times, each compressed by itself",
    Array(10).fill(packed(body)),
    Array(10).fill(text(HELLO)),
  ),
  accepted("in two fragments", [beginPacked(halves[0]), last(halves[1])], [text(HELLO)]),
  accepted("in a fragment for each byte", fragments(TEXT, body, 1, { rsv: COMPRESSED }), [
    text(HELLO),
  ]),
  accepted(
    "in fragments, the first and the last of them empty",
    [beginPacked(""), middle(body), last("")],
    [text(HELLO)],
  ),
  accepted(
    "in fragments with pings and pongs between",
    [
      beginPacked(halves[0]),
      frame(PING, "1"),
      middle(""),
      frame(PONG),
      last(halves[1]),
      frame(PING, "2"),
    ],
    [pong("1"), text(HELLO), pong("2")],
  ),
  accepted(
    "not compressed and in fragments",
    [begin("one"), frame(PING), last("two")],
    [pong(), text("onetwo")],
  ),
  refused("a close between compressed fragments", [beginPacked(halves[0]), END], 1000),
];

const wrongBits = [
  refused("the bit on a ping", [frame(PING, "", { rsv: COMPRESSED })], 1002),
  refused("the bit on a pong", [frame(PONG, "", { rsv: COMPRESSED })], 1002),
  refused("the bit on a close", [frame(CLOSE, bytes(3, 232), { rsv: COMPRESSED })], 1002),
  refused(
    "the bit on a continuation",
    [beginPacked(halves[0]), frame(CONTINUATION, halves[1], { rsv: COMPRESSED })],
    1002,
  ),
  refused(
    "the bit on a continuation alone",
    [begin("one"), frame(CONTINUATION, "two", { rsv: COMPRESSED })],
    1002,
  ),
  refused(
    "the bit on a continuation of nothing",
    [frame(CONTINUATION, body, { rsv: COMPRESSED })],
    1002,
  ),
  refused("the bit on a reserved opcode", [frame(3, body, { rsv: COMPRESSED })], 1002),
  ...[1, 2, 3, 5, 6, 7].map((rsv) =>
    refused(`reserved bits ${rsv}`, [packed(body), frame(TEXT, body, { rsv })], 1002, [
      text(HELLO),
    ]),
  ),
  { name: "the bit, but no extension", sent: [packed(body)], answers: [], code: 1002 },
  {
    ...refused("the bit, but the extension was declined", [packed(body)], 1002),
    offer: "permessage-deflate; server_max_window_bits=8",
  },
];

// --- blocks

const EMPTY_STORED = bytes(0x00, 0x00, 0x00, 0xff, 0xff);
const random = Buffer.alloc(70_000);
for (let n = 0, seed = 1; n < random.length; n++) {
  seed = (seed * 1103515245 + 12345) % 2 ** 31;
  random[n] = seed >> 16;
}
const prose = Array.from({ length: 3000 }, (_, n) => `line ${n}: ${(n * 7919) % 1009}\n`).join("");

// A stored block as RFC 1951 section 3.2.4 has it.
function stored(data, { final = false } = {}) {
  const head = Buffer.alloc(5);
  head[0] = final ? 1 : 0;
  head.writeUInt16LE(data.length, 1);
  head.writeUInt16LE(data.length ^ 0xffff, 3);
  return Buffer.concat([head, Buffer.from(data)]);
}

const STRATEGIES = {
  Z_FIXED: "fixed codes",
  Z_HUFFMAN_ONLY: "no repetitions",
  Z_RLE: "runs",
  Z_FILTERED: "filtered data",
};

const blocks = [
  // The examples of RFC 7692 section 7.2.3.
  accepted(
    "the standard's message of one block",
    [packed(bytes(0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00))],
    [text("Hello")],
  ),
  accepted(
    "the standard's message in two fragments",
    [beginPacked(bytes(0xf2, 0x48, 0xcd)), last(bytes(0xc9, 0xc9, 0x07, 0x00))],
    [text("Hello")],
  ),
  accepted(
    "the standard's stored block",
    [packed(bytes(0, 5, 0, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0))],
    [text("Hello")],
  ),
  accepted(
    "the standard's block with the final bit",
    [packed(bytes(0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00))],
    [text("Hello")],
  ),
  accepted(
    "the standard's message of two blocks",
    [packed(bytes(0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00))],
    [text("Hello")],
  ),
  accepted("the standard's empty message", [packed(bytes(0x00))], [text("")]),
  accepted("an empty message in a block of fixed codes", [packed(bytes(0x02, 0x00))], [text("")]),
  // What else a compressor may do.
  accepted("an empty block before", [packed(Buffer.concat([EMPTY_STORED, body]))], [text(HELLO)]),
  accepted(
    "an empty block behind, which might have been left away",
    [packed(Buffer.concat([body, bytes(0, 0, 0xff, 0xff), bytes(0)]))],
    [text(HELLO)],
  ),
  accepted(
    "a hundred empty blocks",
    [packed(Buffer.concat([...Array(100).fill(EMPTY_STORED), body]))],
    [text(HELLO)],
  ),
  accepted(
    "empty blocks alone",
    [packed(Buffer.concat([EMPTY_STORED, EMPTY_STORED, bytes(0)]))],
    [text("")],
  ),
  accepted(
    "a final block, then another",
    [packed(Buffer.concat([stored("one", { final: true }), stored("two"), bytes(0)]))],
    [text("onetwo")],
  ),
  accepted(
    "two final blocks, then nothing",
    [
      packed(
        Buffer.concat([stored("one", { final: true }), stored("two", { final: true }), bytes(0)]),
      ),
    ],
    [text("onetwo")],
  ),
  accepted(
    "two messages' blocks in one",
    [packed(Buffer.concat([body, bytes(0, 0, 0xff, 0xff), body]))],
    [text(HELLO + HELLO)],
  ),
  accepted(
    "a stored block for each byte",
    [packed(Buffer.concat([..."stored".split("").map((each) => stored(each)), bytes(0)]))],
    [text("stored")],
  ),
  accepted(
    "a stored block of 65535 bytes",
    [packed(Buffer.concat([stored(letters(65535)), bytes(0)]))],
    [text(letters(65535))],
  ),
  accepted("what cannot be compressed", [packed(deflate(random), BINARY)], [binary(random)]),
  ...[0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map((level) =>
    accepted(`level ${level}`, [packed(deflate(prose, { level }))], [text(prose)]),
  ),
  ...[1, 5, 9].map((memLevel) =>
    accepted(`memory level ${memLevel}`, [packed(deflate(prose, { memLevel }))], [text(prose)]),
  ),
  ...Object.entries(STRATEGIES).map(([strategy, name]) =>
    accepted(name, [packed(deflate(prose, { strategy: constants[strategy] }))], [text(prose)]),
  ),
  ...[9, 10, 11, 12, 13, 14, 15].map((windowBits) =>
    accepted(
      `a window of ${windowBits} bits`,
      [packed(deflate(prose, { windowBits }))],
      [text(prose)],
    ),
  ),
];

// --- what is no compressed message

const corrupt = {
  "a block of the type that there is not": bytes(0x06, 0x00),
  "the final bit and the type that there is not": bytes(0x07, 0x00),
  "a stored block whose lengths disagree": bytes(
    0x00,
    0x05,
    0x00,
    0xfa,
    0xfe,
    0x48,
    0x65,
    0x6c,
    0x6c,
    0x6f,
    0x00,
  ),
  "a stored block that is cut off": stored("a longer one").subarray(0, 9),
  "a stored block that is cut off within its length": bytes(0x00, 0x05),
  "fixed codes that are cut off": body.subarray(0, body.length - 4),
  "dynamic codes that are cut off": deflate(prose).subarray(0, 40),
  "too many lengths of codes": bytes(0xfc, 0xff, 0xff, 0xff, 0xff, 0xff),
  "0xff": Buffer.alloc(20, 0xff),
  "a repetition of what was before the beginning": bytes(0x03, 0x02, 0x00),
  "a good block, then a bad one": Buffer.concat([body, bytes(0, 0, 0xff, 0xff), bytes(0x06, 0x00)]),
  "a final block, then a bad one": Buffer.concat([
    stored("one", { final: true }),
    bytes(0x06, 0x00),
  ]),
  "what is not compressed at all": Buffer.from("plain text with the bit"),
  "the container of zlib": bytes(
    0x78,
    0x9c,
    0xf3,
    0x48,
    0xcd,
    0xc9,
    0xc9,
    0x07,
    0x00,
    0x05,
    0x8c,
    0x01,
    0xf5,
  ),
  "the container of gzip": bytes(
    0x1f,
    0x8b,
    0x08,
    0,
    0,
    0,
    0,
    0,
    0,
    3,
    0xf3,
    0x48,
    0xcd,
    0xc9,
    0xc9,
    7,
    0,
  ),
};

const wrongBlocks = [
  ...Object.entries(corrupt).flatMap(([name, data]) => [
    refused(name, [packed(data), END], 1007),
    refused(`${name}, in fragments`, [...fragments(TEXT, data, 2, { rsv: COMPRESSED }), END], 1007),
    refused(
      `${name}, behind a good message`,
      [packed(body), packed(data, BINARY), frame(PING)],
      1007,
      [text(HELLO)],
    ),
  ]),
  refused(
    "a repetition of what was in the message before",
    [
      packed(deflate("context, context")),
      packed(deflate("context, context", { dictionary: Buffer.from("context, context") })),
      END,
    ],
    1007,
    [text("context, context")],
  ),
];

module.exports = {
  "compressed messages in frames": frames,
  "the bit of compressed messages": wrongBits,
  "the blocks of compressed messages": blocks,
  "what is no compressed message": wrongBlocks,
};
