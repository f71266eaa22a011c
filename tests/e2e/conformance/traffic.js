// Compressed traffic in bulk: five kinds of data and seven ways of asking for the extension, each
// with messages from 16 bytes to 128 KiB in one frame or in many.
"use strict";

const { describe, it } = require("node:test");
const { BINARY, TEXT } = require("../wire.js");
const payloads = require("./payloads.js");
const runner = require("./runner.js");

const { COMPRESSED, END, deflate, expectClose, expectFrame, fragments, open, receive } = runner;

const KIB = 1024;
const BUDGET = 128 * KIB; // bytes of one test's messages
const MOST = 100; // and how many there are of them

// The size of a message, and of its frames.
const SIZES = [
  ...[16, 64, 256, KIB, 4 * KIB, 8 * KIB, 16 * KIB, 32 * KIB, 64 * KIB, 128 * KIB].map((size) => [
    size,
    Infinity,
  ]),
  ...[8, 16, 32, 64, 128].map((size) => [size * KIB, 256]),
  ...[KIB, 4 * KIB, 32 * KIB].map((frameSize) => [128 * KIB, frameSize]),
];

const DATA = {
  prose: payloads.prose(),
  JSON: payloads.json(),
  HTML: payloads.html(),
  "an image": payloads.image(),
  "a document": payloads.mixed(),
};

// What is asked for, and the window of the answer; none: nothing can be agreed on.
const OFFERS = [
  ["permessage-deflate", 15],
  ["permessage-deflate; server_no_context_takeover", 15],
  ["permessage-deflate; server_max_window_bits=9", 9],
  ["permessage-deflate; server_max_window_bits=15", 15],
  ["permessage-deflate; server_no_context_takeover; server_max_window_bits=9", 9],
  ["permessage-deflate; server_no_context_takeover; server_max_window_bits=15", 15],
  [
    "permessage-deflate; server_no_context_takeover; server_max_window_bits=8, " +
      "permessage-deflate; server_no_context_takeover, permessage-deflate",
    15,
  ],
];

async function exchange(server, { data, size, frameSize, offer, window, count }) {
  const opcode = typeof data === "string" ? TEXT : BINARY;
  const messages = payloads.pieces(data, size, count || Math.max(3, Math.min(MOST, BUDGET / size)));
  const client = await open(server, { offer });
  for (const message of messages) {
    client.write(...fragments(opcode, deflate(message), frameSize, { rsv: COMPRESSED }));
  }
  client.write(END);
  for (const message of messages)
    expectFrame(await receive(client, { offer, window }), [opcode, message]);
  await expectClose(client, 1000);
  client.destroy();
}

function run(server) {
  for (const [kind, data] of Object.entries(DATA)) {
    describe(`compressed traffic: ${kind}`, { concurrency: 2 }, () => {
      for (const [size, frameSize] of SIZES) {
        it(`messages of ${size} bytes in frames of ${frameSize}`, () =>
          exchange(server, { data, size, frameSize, offer: "permessage-deflate", window: 15 }));
      }
    });
  }
  for (const [offer, window] of OFFERS) {
    describe(`compressed traffic: ${offer}`, { concurrency: 2 }, () => {
      for (const [size, frameSize] of SIZES) {
        it(`messages of ${size} bytes in frames of ${frameSize}`, () =>
          exchange(server, { data: DATA.JSON, size, frameSize, offer, window }));
      }
    });
  }
  describe("compressed traffic: many messages", () => {
    for (const size of [16, 64, 256]) {
      it(`1000 of ${size} bytes`, () =>
        exchange(server, {
          data: DATA.JSON,
          size,
          frameSize: Infinity,
          offer: "permessage-deflate",
          window: 15,
          count: 1000,
        }));
    }
  });
}

module.exports = { run };
