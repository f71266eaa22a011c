// Frames one by one (RFC 6455 section 5.2): lengths at the bounds of their three forms, masks, pings
// and pongs, and what is reserved.
"use strict";

const { BINARY, CLOSE, PING, PONG, TEXT, frame } = require("../wire.js");
const { END, begin, binary, bytes, last, letters, pong, text } = require("./runner.js");

// --- lengths and masks

const SIZES = [0, 1, 125, 126, 127, 128, 65535, 65536];

const lengths = SIZES.flatMap((size) => [
  {
    name: `a text of ${size}`,
    sent: [frame(TEXT, letters(size)), END],
    answers: [text(letters(size))],
    code: 1000,
  },
  {
    name: `binary data of ${size}`,
    sent: [frame(BINARY, Buffer.alloc(size, 0xfe)), END],
    answers: [binary(Buffer.alloc(size, 0xfe))],
    code: 1000,
  },
]);

// Section 5.2: "the minimal number of bytes MUST be used to encode the length".
const TOO_WIDE = [
  [0, 3],
  [125, 3],
  [125, 9],
  [126, 9],
  [65535, 9],
];
const wideLengths = TOO_WIDE.map(([size, lengthBytes]) => ({
  name: `a length of ${size} in ${lengthBytes - 1} more bytes`,
  sent: [frame(BINARY, letters(size), { lengthBytes })],
  answers: [],
  code: 1002,
}));

const heads = [
  {
    name: "a length with the highest bit",
    sent: [bytes(0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1)],
    answers: [],
    code: 1002,
  },
  {
    name: "a text without a mask",
    sent: [frame(TEXT, "abc", { mask: null })],
    answers: [],
    code: 1002,
  },
  {
    name: "binary data without a mask",
    sent: [frame(BINARY, "", { mask: null })],
    answers: [],
    code: 1002,
  },
  {
    name: "a ping without a mask",
    sent: [frame(PING, "abc", { mask: null })],
    answers: [],
    code: 1002,
  },
  {
    name: "a close without a mask",
    sent: [frame(CLOSE, bytes(3, 232), { mask: null })],
    answers: [],
    code: 1002,
  },
  {
    name: "the second text without a mask",
    sent: [frame(TEXT, "one"), frame(TEXT, "two", { mask: null }), frame(PING)],
    answers: [text("one")],
    code: 1002,
  },
];

const MASKS = [
  bytes(0, 0, 0, 0),
  bytes(0, 0, 0, 1),
  bytes(255, 255, 255, 255),
  bytes(0x81, 0x82, 0x88, 0x89),
];
const masks = MASKS.map((mask) => ({
  name: `the mask ${mask.toString("hex")}`,
  sent: [7, 8, 9, 31, 32, 33, 63].map((size) => frame(TEXT, letters(size), { mask })).concat(END),
  answers: [7, 8, 9, 31, 32, 33, 63].map((size) => text(letters(size))),
  code: 1000,
}));

// --- pings and pongs

const NOT_TEXT = bytes(0x00, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0x00, 0xff);
const ten = [...Array(10).keys()].map((n) => `payload ${n}`);
const hundred = [...Array(100).keys()].map((n) => `${n}`);

const pings = [
  { name: "a ping without payload", sent: [frame(PING), END], answers: [pong()], code: 1000 },
  {
    name: "a ping with text",
    sent: [frame(PING, "Hello!"), END],
    answers: [pong("Hello!")],
    code: 1000,
  },
  {
    name: "a ping with bytes that are no text",
    sent: [frame(PING, NOT_TEXT), END],
    answers: [pong(NOT_TEXT)],
    code: 1000,
  },
  {
    name: "a ping of 125 bytes",
    sent: [frame(PING, Buffer.alloc(125, 0xfe)), END],
    answers: [pong(Buffer.alloc(125, 0xfe))],
    code: 1000,
  },
  { name: "a ping of 126 bytes", sent: [frame(PING, letters(126))], answers: [], code: 1002 },
  { name: "a ping of 65536 bytes", sent: [frame(PING, letters(65536))], answers: [], code: 1002 },
  {
    name: "a ping with a long form of its length",
    sent: [frame(PING, "", { lengthBytes: 3 })],
    answers: [],
    code: 1002,
  },
  { name: "a pong that nobody asked for", sent: [frame(PONG), END], answers: [], code: 1000 },
  {
    name: "a pong that nobody asked for, with payload",
    sent: [frame(PONG, "unasked"), END],
    answers: [],
    code: 1000,
  },
  { name: "a pong of 125 bytes", sent: [frame(PONG, letters(125)), END], answers: [], code: 1000 },
  { name: "a pong of 126 bytes", sent: [frame(PONG, letters(126))], answers: [], code: 1002 },
  {
    name: "a pong that nobody asked for, then a ping",
    sent: [frame(PONG, "unasked"), frame(PING, "asked"), END],
    answers: [pong("asked")],
    code: 1000,
  },
  {
    name: "ten pings",
    sent: [...ten.map((each) => frame(PING, each)), END],
    answers: ten.map(pong),
    code: 1000,
  },
  {
    name: "a hundred pings",
    sent: [...hundred.map((each) => frame(PING, each)), END],
    answers: hundred.map(pong),
    code: 1000,
  },
  {
    name: "pings between texts",
    sent: [frame(PING, "1"), frame(TEXT, "a"), frame(PING, "2"), frame(TEXT, "b"), END],
    answers: [pong("1"), text("a"), pong("2"), text("b")],
    code: 1000,
  },
];

// --- reserved bits and opcodes

// Alone; behind a text, which is answered; and with a ping behind, which is not.
function failing(name, bad) {
  return [
    { name, sent: [bad], answers: [], code: 1002 },
    {
      name: `${name}, between a text and a ping`,
      sent: [frame(TEXT, "before"), bad, frame(PING)],
      answers: [text("before")],
      code: 1002,
    },
    {
      name: `${name}, within a message`,
      sent: [begin("begun"), bad, last("ended"), frame(PING)],
      answers: [],
      code: 1002,
    },
  ];
}

const RESERVED = [1, 2, 3, 4, 5, 6, 7];
const bits = RESERVED.flatMap((rsv) => [
  ...failing(`reserved bits ${rsv} on a text`, frame(TEXT, "text", { rsv })),
  ...failing(`reserved bits ${rsv} on binary data`, frame(BINARY, NOT_TEXT, { rsv })),
  ...failing(`reserved bits ${rsv} on a ping`, frame(PING, "ping", { rsv })),
  ...failing(`reserved bits ${rsv} on a pong`, frame(PONG, "", { rsv })),
  ...failing(`reserved bits ${rsv} on a close`, frame(CLOSE, bytes(3, 232), { rsv })),
]);

const OPCODES = [3, 4, 5, 6, 7, 11, 12, 13, 14, 15];
const opcodes = OPCODES.flatMap((opcode) => [
  ...failing(`opcode ${opcode}`, frame(opcode)),
  ...failing(`opcode ${opcode} with payload`, frame(opcode, "payload")),
  ...failing(`opcode ${opcode} that is not final`, frame(opcode, "payload", { fin: false })),
]);

// What breaks the rules is refused when it is seen, not when the rest has come.
const early = [
  ["reserved bits", bytes(0xf1)],
  ["an opcode of no use", bytes(0x83)],
  ["a fragmented ping", bytes(0x09)],
  ["a missing mask", bytes(0x81, 0x05)],
  ["a long ping", bytes(0x89, 0xfe)],
].map(([name, first]) => ({
  name: `${name} in the first bytes of a frame`,
  sent: [first],
  answers: [],
  code: 1002,
}));

module.exports = {
  "lengths and masks": [...lengths, ...wideLengths, ...heads, ...masks],
  "pings and pongs": pings,
  "reserved bits": bits,
  "reserved opcodes": [...opcodes, ...early],
};
