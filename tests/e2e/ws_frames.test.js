// Frames of every kind, right and wrong, as the well-known conformance suites have them (RFC 6455
// section 5 to 8). Each case runs twice: in one write, and with a write for each byte.
"use strict";

const assert = require("node:assert/strict");
const { describe, it } = require("node:test");
const { serving } = require("./support.js");
const wire = require("./wire.js");

const { BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, closeFrame, frame, upgrade } = wire;

const ECHO = `
return { on_message = function(client, data, kind) client:send(data, kind) end }
`;

// What the server should say: frames, as [opcode, payload], and how it ends.
const text = (payload) => [TEXT, Buffer.from(payload)];
const binary = (payload) => [BINARY, Buffer.from(payload)];
const pong = (payload) => [PONG, Buffer.from(payload)];

const bytes = (...values) => Buffer.from(values);
const letters = (count) => "*".repeat(count);
const END = closeFrame(1000);

// name, what is sent, the frames that come back, the code with which it closes
const CASES = [];
function add(name, sent, answers, code) {
  CASES.push({ name, sent: Buffer.concat(sent), answers, code });
}

// --- sizes: each way of writing a length, at its bounds

for (const size of [0, 1, 125, 126, 127, 128, 65535, 65536]) {
  const body = letters(size);
  add(`a text of ${size}`, [frame(TEXT, body), END], [text(body)], 1000);
  add(`binary data of ${size}`, [frame(BINARY, body), END], [binary(body)], 1000);
}
add(
  "the length in more bytes than needed, 16 bits",
  [frame(TEXT, "abc", { lengthBytes: 3 })],
  [],
  1002,
);
add(
  "the length in more bytes than needed, 64 bits",
  [frame(TEXT, "abc", { lengthBytes: 9 })],
  [],
  1002,
);
add(
  "a length with the highest bit",
  [bytes(0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0)],
  [],
  1002,
);

// --- masks

add("a frame without a mask", [frame(TEXT, "abc", { mask: null })], [], 1002);
add("a mask of zeros", [frame(TEXT, "abc", { mask: bytes(0, 0, 0, 0) }), END], [text("abc")], 1000);

// --- ping and pong

for (const size of [0, 1, 125]) {
  add(`a ping of ${size}`, [frame(PING, letters(size)), END], [pong(letters(size))], 1000);
}
add(
  "a ping of bytes that are no text",
  [frame(PING, bytes(0, 255, 254)), END],
  [pong(bytes(0, 255, 254))],
  1000,
);
add("a ping of 126", [frame(PING, letters(126))], [], 1002);
add("a pong that nobody asked for", [frame(PONG, "x"), frame(PING, "y"), END], [pong("y")], 1000);
add(
  "ten pings",
  [..."0123456789"].map((n) => frame(PING, n)).concat(END),
  [..."0123456789"].map(pong),
  1000,
);

// --- reserved bits and opcodes

for (const rsv of [1, 2, 4, 7]) {
  add(
    `reserved bits ${rsv} on a text`,
    [frame(TEXT, "a"), frame(TEXT, "b", { rsv })],
    [text("a")],
    1002,
  );
  add(`reserved bits ${rsv} on a ping`, [frame(PING, "b", { rsv })], [], 1002);
  add(`reserved bits ${rsv} on a close`, [frame(CLOSE, bytes(3, 232), { rsv })], [], 1002);
}
for (const opcode of [3, 4, 5, 6, 7, 11, 12, 13, 14, 15]) {
  add(`opcode ${opcode}`, [frame(opcode, "x")], [], 1002);
  add(
    `opcode ${opcode} within a message`,
    [frame(TEXT, "a", { fin: false }), frame(opcode, "x")],
    [],
    1002,
  );
}

// --- fragments

const begin = (body, opcode = TEXT) => frame(opcode, body, { fin: false });
const middle = (body) => frame(CONTINUATION, body, { fin: false });
const last = (body) => frame(CONTINUATION, body);

add("two fragments", [begin("ab"), last("cd"), END], [text("abcd")], 1000);
add(
  "binary fragments",
  [begin("ab", BINARY), middle("cd"), last("ef"), END],
  [binary("abcdef")],
  1000,
);
add("empty fragments", [begin(""), middle(""), last(""), END], [text("")], 1000);
add("empty fragments around one", [begin(""), middle("x"), last(""), END], [text("x")], 1000);
add(
  "a ping between fragments",
  [begin("ab"), frame(PING, "p"), last("cd"), END],
  [pong("p"), text("abcd")],
  1000,
);
add(
  "pings between all fragments",
  [begin("a"), frame(PING, "1"), middle("b"), frame(PING, "2"), frame(PONG, "3"), last("c"), END],
  [pong("1"), pong("2"), text("abc")],
  1000,
);
add("a close between fragments", [begin("ab"), closeFrame(1001)], [], 1001);
add("a fragmented ping", [frame(PING, "a", { fin: false }), last("b")], [], 1002);
add("a fragmented close", [frame(CLOSE, bytes(3, 232), { fin: false })], [], 1002);
add("a continuation of nothing", [last("a")], [], 1002);
add("a continuation of nothing that is not the last", [middle("a"), last("b")], [], 1002);
add("a continuation after a whole message", [frame(TEXT, "a"), last("b")], [text("a")], 1002);
add("a message within a message", [begin("a"), frame(TEXT, "b")], [], 1002);
add("a beginning within a message", [begin("a"), begin("b", BINARY)], [], 1002);

// --- UTF-8: what is text, also across fragments, and what is not

const GREEK = "κόσμε";
const MANY = "\u0000\u007f\u0080\u07ff\u0800\ud7ff\ue000\ufffd\uffff\u{10000}\u{10ffff}";
add("text in Greek", [frame(TEXT, GREEK), END], [text(GREEK)], 1000);
add("the bounds of UTF-8", [frame(TEXT, MANY), END], [text(MANY)], 1000);
for (let at = 1; at < Buffer.byteLength(GREEK); at++) {
  const all = Buffer.from(GREEK);
  add(
    `text in Greek, cut after ${at} bytes`,
    [begin(all.subarray(0, at)), last(all.subarray(at)), END],
    [text(GREEK)],
    1000,
  );
}
add(
  "text in Greek, a frame for each byte",
  [begin(""), ...[...Buffer.from(GREEK)].map((byte) => middle(bytes(byte))), last(""), END],
  [text(GREEK)],
  1000,
);

const NOT_TEXT = {
  "a lone continuation byte": [0x80],
  "a two-byte start alone": [0xc3],
  "a three-byte start with one byte": [0xe2, 0x82],
  "a four-byte start with two bytes": [0xf0, 0x9f, 0x98],
  "an overlong slash of two bytes": [0xc0, 0xaf],
  "an overlong slash of three bytes": [0xe0, 0x80, 0xaf],
  "an overlong slash of four bytes": [0xf0, 0x80, 0x80, 0xaf],
  "the first surrogate": [0xed, 0xa0, 0x80],
  "the last surrogate": [0xed, 0xbf, 0xbf],
  "beyond U+10FFFF": [0xf4, 0x90, 0x80, 0x80],
  "a five-byte start": [0xf8, 0x88, 0x80, 0x80, 0x80],
  "0xfe": [0xfe],
  "0xff": [0xff],
  "a start, then a letter": [0xc3, 0x28],
};
for (const [name, values] of Object.entries(NOT_TEXT)) {
  const bad = Buffer.concat([Buffer.from("good "), bytes(...values)]);
  add(`not UTF-8: ${name}`, [frame(TEXT, bad)], [], 1007);
  add(
    `not UTF-8, long: ${name}`,
    [frame(TEXT, Buffer.concat([Buffer.from(letters(500)), bad]))],
    [],
    1007,
  );
  add(`not UTF-8, in the last fragment: ${name}`, [begin("a"), last(bad)], [], 1007);
  add(`binary: ${name}`, [frame(BINARY, bad), END], [binary(bad)], 1000);
}
add("bad text is found before its last fragment", [begin(bytes(0xff))], [], 1007);
add(
  "bad text is found before its last byte",
  [frame(TEXT, bytes(0x61, 0xff), { length: 100 })],
  [],
  1007,
);

// --- close frames

const ECHOED = [
  1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999,
];
const REFUSED = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535];
ECHOED.forEach((code) => add(`a close with ${code}`, [closeFrame(code)], [], code));
REFUSED.forEach((code) => add(`a close with ${code}`, [closeFrame(code)], [], 1002));
add("a close without a code", [frame(CLOSE)], [], null);
add("a close with half a code", [frame(CLOSE, "x")], [], 1002);
add("a close with a reason", [closeFrame(1000, "going home")], [], 1000);
add("a close with the longest reason", [closeFrame(1000, letters(123))], [], 1000);
add("a close with too long a reason", [closeFrame(1000, letters(124))], [], 1002);
add(
  "a close with a reason that is no text",
  [closeFrame(1000, bytes(0xce, 0xba, 0xed, 0xa0))],
  [],
  1007,
);
add("a close, then more", [END, frame(TEXT, "late"), frame(PING, "late"), END], [], 1000);

describe("frames", () => {
  const server = serving(ECHO);

  async function check({ sent, answers, code }, write) {
    const client = await upgrade(server);
    write(client, sent);
    for (const [opcode, payload] of answers) {
      const got = await client.frame();
      assert.equal(got.opcode, opcode);
      assert.ok(got.payload.equals(payload), `${got.payload.length} bytes came back`);
      assert.ok(got.fin);
      assert.equal(got.rsv, 0);
    }
    const closing = await client.frame();
    assert.equal(closing.opcode, CLOSE);
    assert.equal(closing.code, code === null ? undefined : code);
    await client.end();
  }

  for (const each of CASES) {
    it(each.name, async () => {
      await check(each, (client, sent) => client.write(sent));
      if (each.sent.length > 1000) return;
      await check(each, (client, sent) => sent.forEach((byte) => client.socket.write(bytes(byte))));
    });
  }
});
