// Large messages, many messages, and messages cut into many pieces; and the limit of a message's
// size, at its bound and one past it. Run against a server whose limit is 16 MiB at "/" and
// SMALL bytes at "/small".
"use strict";

const { BINARY, PING, TEXT, frame } = require("../wire.js");
const runner = require("./runner.js");

const {
  COMPRESSED,
  END,
  begin,
  beginningOfFrame,
  binary,
  chop,
  deflate,
  fragments,
  last,
  letters,
  middle,
  pong,
  text,
} = runner;

const SMALL = 5000;
const KIB = 1024;
const MIB = 1024 * KIB;
const ONCE = ["in one write"];

// Some of its characters lie across the borders of frames, whatever their size.
const LONG = Buffer.alloc(16 * MIB, "BAsd7&jh23 grüßt κόσμε 𤭢 ");
const BYTES = Buffer.alloc(16 * MIB, Buffer.from([0, 0xfe, 0xff, 0x80, 0x7f, 0xc3, 0x28]));

// The text's first bytes, without half a character at the end, filled up with letters.
function longText(size) {
  let end = size;
  while (end < LONG.length && (LONG[end] & 0xc0) === 0x80) end--;
  return Buffer.concat([LONG.subarray(0, end), Buffer.from(letters(size - end))]);
}

const longBytes = (size) => BYTES.subarray(0, size);
const KINDS = [
  [TEXT, "text", longText, text],
  [BINARY, "binary data", longBytes, binary],
];

function named(size) {
  return size >= MIB ? `${size / MIB} MiB` : size >= KIB ? `${size / KIB} KiB` : `${size} bytes`;
}

function large(title, ways, make) {
  return { name: title, code: 1000, ways, make };
}

const largeCases = KINDS.flatMap(([opcode, kind, payload, answer]) => [
  ...[64 * KIB, 256 * KIB, MIB, 4 * MIB, 8 * MIB, 16 * MIB].map((size) =>
    large(`${kind} of ${named(size)}`, ONCE, () => ({
      sent: [frame(opcode, payload(size)), END],
      answers: [answer(payload(size))],
    })),
  ),
  ...[64, 256, KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB, 4 * MIB].map((size) =>
    large(`${kind} of 4 MiB in frames of ${named(size)}`, ONCE, () => ({
      sent: [...fragments(opcode, payload(4 * MIB), size), END],
      answers: [answer(payload(4 * MIB))],
    })),
  ),
  ...[64, 128, 256, 512, KIB, 2 * KIB].map((size) =>
    large(`${kind} of 1 MiB written in pieces of ${named(size)}`, ["frame by frame"], () => ({
      sent: chop([frame(opcode, payload(MIB)), END], size),
      answers: [answer(payload(MIB))],
    })),
  ),
  ...[0, 16, 64, 256, KIB, 4 * KIB].map((size) =>
    large(`1000 times ${kind} of ${named(size)}`, ["in one write", "frame by frame"], () => ({
      sent: [...Array(1000).fill(frame(opcode, payload(size))), END],
      answers: Array(1000).fill(answer(payload(size))),
    })),
  ),
]);

// --- the limit

const over = (title, sent, extra) => ({
  name: title,
  sent,
  answers: [],
  code: 1009,
  target: "/small",
  ...extra,
});
const within = (title, sent, answers, extra) => ({
  name: title,
  sent,
  answers,
  code: 1000,
  target: "/small",
  ...extra,
});
const DEFLATE = { offer: "permessage-deflate" };
const packed = (data, options) => frame(TEXT, deflate(data), { rsv: COMPRESSED, ...options });

const limit = KINDS.flatMap(([opcode, kind, payload, answer]) => [
  within(`${kind} of the limit`, [frame(opcode, payload(SMALL)), END], [answer(payload(SMALL))]),
  within(
    `${kind} of the limit in fragments`,
    [...fragments(opcode, payload(SMALL), 100), END],
    [answer(payload(SMALL))],
  ),
  over(`${kind} one past the limit`, [frame(opcode, payload(SMALL + 1)), END]),
  over(`${kind} one past the limit in fragments`, [
    ...fragments(opcode, payload(SMALL + 1), 100),
    END,
  ]),
]).concat([
  within(
    "the limit is each message's own",
    [
      frame(TEXT, letters(SMALL)),
      frame(BINARY, letters(SMALL)),
      frame(PING),
      frame(TEXT, letters(SMALL)),
      END,
    ],
    [text(letters(SMALL)), binary(letters(SMALL)), pong(), text(letters(SMALL))],
  ),
  within(
    "control frames between fragments do not count",
    [begin(letters(SMALL - 1)), frame(PING, letters(125)), last("!"), END],
    [pong(letters(125)), text(`${letters(SMALL - 1)}!`)],
  ),
  over("what is announced is enough", [beginningOfFrame(BINARY, "", SMALL + 1)]),
  over("4 GiB are announced", [beginningOfFrame(BINARY, "", 2 ** 32)]),
  over("8 PiB are announced", [beginningOfFrame(TEXT, "some", 2 ** 53)]),
  over("the last fragment is announced too long", [
    begin(letters(SMALL)),
    beginningOfFrame(0, "", 1),
  ]),
  over("a fragment between is too long, and the end has not come", [
    begin("a"),
    middle(letters(SMALL)),
  ]),
]);

const inflated = [
  within(
    "the limit after inflating",
    [packed(letters(SMALL)), END],
    [text(letters(SMALL))],
    DEFLATE,
  ),
  over("one past the limit after inflating", [packed(letters(SMALL + 1)), END], DEFLATE),
  over(
    "one past the limit after inflating, in fragments",
    [...fragments(TEXT, deflate(letters(SMALL + 1)), 3, { rsv: COMPRESSED }), END],
    DEFLATE,
  ),
  within(
    "the limit in stored blocks, which are longer than it",
    [frame(BINARY, deflate(longBytes(SMALL), { level: 0 }), { rsv: COMPRESSED }), END],
    [binary(longBytes(SMALL))],
    DEFLATE,
  ),
  over("a compressed frame that is far too long", [beginningOfFrame(TEXT, "", 2 * SMALL)], DEFLATE),
  over(
    "empty blocks without end",
    [frame(TEXT, Buffer.alloc(50_000, Buffer.from([0, 0, 0, 0xff, 0xff])), { rsv: COMPRESSED })],
    DEFLATE,
  ),
  ...[1, 64].map((size) => ({
    ...over(`${size} MiB that compress to a thousandth`, [], DEFLATE),
    ways: ONCE,
    make: () => ({ sent: [packed(Buffer.alloc(size * MIB)), END] }),
  })),
  {
    ...over("64 MiB that compress to a thousandth, in fragments with pings between", [], DEFLATE),
    target: "/",
    ways: ONCE,
    make: () => {
      const frames = fragments(TEXT, deflate(Buffer.alloc(64 * MIB)), 10_000, { rsv: COMPRESSED });
      return {
        sent: frames.flatMap((each) => [frame(PING), each]),
        answers: frames.map(() => pong()),
      };
    },
  },
];

module.exports = {
  SMALL,
  tables: {
    "large and many messages": largeCases,
    "the limit of a message": limit,
    "the limit after inflating": inflated,
  },
};
