// What is agreed on (RFC 7692 section 7.1): every combination of the four parameters, lists of offers,
// and offers that nobody can accept. Whatever the answer is, it must be one that the offer allows,
// and both sides must then keep it. A raw window of 8 bits may be declined; zlib cannot make one.
"use strict";

const assert = require("node:assert/strict");
const { describe, it } = require("node:test");
const { BINARY, TEXT, dial, frame, handshake } = require("../wire.js");
const payloads = require("./payloads.js");
const {
  COMPRESSED,
  END,
  deflate,
  expectClose,
  expectFrame,
  inflate,
  open,
} = require("./runner.js");

const WINDOWS = [8, 9, 10, 11, 12, 13, 14, 15];
const DATA = payloads.distances();
const PACKED = new Map(
  WINDOWS.map((bits) => [bits, deflate(DATA, { windowBits: Math.max(bits, 9) })]),
);

// { name: value } of an answer's parameters; true where there is no value.
function parse(answer) {
  const [name, ...parameters] = answer.split(";").map((each) => each.trim());
  assert.equal(name, "permessage-deflate");
  const result = {};
  for (const parameter of parameters) {
    const [key, value = true] = parameter.split("=");
    assert.equal(result[key], undefined, `${key} stands twice in ${answer}`);
    result[key] = value;
  }
  return result;
}

// Is this answer one to an offer with these parameters? The windows that it leaves to both sides.
function checkAnswer(answer, offer) {
  const { server_no_context_takeover, client_no_context_takeover, ...windows } = parse(answer);
  for (const flag of [server_no_context_takeover, client_no_context_takeover]) {
    assert.ok(flag === undefined || flag === true, answer);
  }
  if (offer.server_no_context_takeover) assert.equal(server_no_context_takeover, true, answer);
  const { server_max_window_bits: server, client_max_window_bits: client, ...rest } = windows;
  assert.deepEqual(rest, {}, answer);
  for (const bits of [server, client]) {
    assert.ok(bits === undefined || (Number(bits) >= 8 && Number(bits) <= 15), answer);
  }
  if (offer.server_max_window_bits)
    assert.ok(Number(server) <= offer.server_max_window_bits, answer);
  assert.ok(client === undefined || offer.client_max_window_bits, answer);
  return { server: Number(server || 15), client: Number(client || 15) };
}

// A message there and back, twice: without a context they look the same.
async function exchange(client, windows) {
  const sent = frame(BINARY, PACKED.get(windows.client), { rsv: COMPRESSED });
  client.write(sent, sent, END);
  for (let n = 0; n < 2; n++) {
    const got = await client.frame();
    assert.equal(got.rsv, COMPRESSED, "it becomes shorter");
    assert.ok(inflate(got.payload, windows.server).equals(DATA));
  }
  await expectClose(client, 1000);
}

async function exchangePlain(client) {
  client.write(frame(TEXT, "not compressed"), END);
  expectFrame(await client.frame(), [TEXT, Buffer.from("not compressed")]);
  await expectClose(client, 1000);
}

const write = (offer) =>
  Object.entries(offer)
    .filter(([, value]) => value !== undefined && value !== false)
    .reduce(
      (line, [name, value]) => `${line}; ${name}${value === true ? "" : `=${value}`}`,
      "permessage-deflate",
    );

async function checkOffer(server, offer) {
  const line = write(offer);
  const client = await open(server, { offer: line });
  const answer = client.answer.headers["sec-websocket-extensions"];
  if (offer.server_max_window_bits === 8) {
    assert.equal(answer, undefined, line);
    await exchangePlain(client);
  } else {
    assert.ok(answer, `${line} was declined`);
    const windows = checkAnswer(answer, offer);
    const own = offer.client_max_window_bits; // true: only that it could have one
    if (own !== true) windows.client = Math.min(windows.client, own || 15);
    await exchange(client, windows);
  }
  client.destroy();
}

// --- lists and lines

const HEADS = {
  "another extension first": ["x-webkit-deflate-frame, permessage-deflate", {}],
  "another extension with parameters first": ['foo; bar="quoted"; baz=1, permessage-deflate', {}],
  "a window of 8, then without": [
    "permessage-deflate; server_max_window_bits=8, permessage-deflate",
    {},
  ],
  "a parameter that nobody knows, then without": [
    "permessage-deflate; shiny, permessage-deflate",
    {},
  ],
  "the first that is possible": [
    "permessage-deflate; server_max_window_bits=8, permessage-deflate; server_max_window_bits=10, permessage-deflate",
    { server_max_window_bits: 10 },
  ],
  "a value in quotes": [
    'permessage-deflate; server_max_window_bits="12"',
    { server_max_window_bits: 12 },
  ],
  "blanks wherever they may stand": [
    " permessage-deflate ;\tserver_max_window_bits = 12 ; server_no_context_takeover ",
    { server_max_window_bits: 12, server_no_context_takeover: true },
  ],
  "empty elements of the list": [", , permessage-deflate,", {}],
};

const DECLINED = [
  "x-webkit-deflate-frame",
  "permessage-bzip2",
  "permessage-deflate; shiny",
  "permessage-deflate; shiny=1",
  "permessage-deflate; server_max_window_bits",
  "permessage-deflate; server_max_window_bits=7",
  "permessage-deflate; server_max_window_bits=16",
  "permessage-deflate; server_max_window_bits=010",
  "permessage-deflate; server_max_window_bits=-9",
  "permessage-deflate; server_max_window_bits=1e1",
  "permessage-deflate; server_max_window_bits=4294967305",
  "permessage-deflate; server_max_window_bits=",
  'permessage-deflate; server_max_window_bits=""',
  'permessage-deflate; server_max_window_bits="9',
  "permessage-deflate; client_max_window_bits=7",
  "permessage-deflate; client_max_window_bits=16",
  "permessage-deflate; client_max_window_bits=09",
  "permessage-deflate; client_max_window_bits=x",
  "permessage-deflate; server_no_context_takeover=1",
  "permessage-deflate; client_no_context_takeover=true",
  "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
  "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
  "permessage-deflate; server_max_window_bits=9; server_max_window_bits=9",
  "permessage-deflate; client_max_window_bits; client_max_window_bits=9",
  "permessage-deflate; server_max_window_bits=8; client_max_window_bits=8",
  "permessage-deflate=1",
];

function run(server) {
  describe("every combination of parameters", () => {
    for (const serverWindow of [undefined, ...WINDOWS]) {
      it(`server_max_window_bits ${serverWindow || "not asked for"}`, async () => {
        for (const clientWindow of [undefined, true, ...WINDOWS]) {
          const flags = [
            [false, false],
            [false, true],
            [true, false],
            [true, true],
          ];
          await Promise.all(
            flags.map(([serverFlag, clientFlag]) =>
              checkOffer(server, {
                client_max_window_bits: clientWindow,
                server_no_context_takeover: serverFlag,
                server_max_window_bits: serverWindow,
                client_no_context_takeover: clientFlag,
              }),
            ),
          );
        }
      });
    }
  });

  describe("lists of offers", () => {
    for (const [name, [line, offer]] of Object.entries(HEADS)) {
      it(name, async () => {
        const client = await open(server, { offer: line });
        const answer = client.answer.headers["sec-websocket-extensions"];
        assert.ok(answer, `${line} was declined`);
        await exchange(client, checkAnswer(answer, offer));
        client.destroy();
      });
    }

    // RFC 6455 section 9.1: the field may stand more than once, and is one list.
    it("offers in two fields", async () => {
      const client = await dial(server);
      const first = "permessage-deflate; server_max_window_bits=8";
      const lines = handshake("/", { "Sec-WebSocket-Extensions": first });
      client.writeRequest([
        ...lines,
        "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=11",
      ]);
      const { status, headers } = await client.response();
      assert.equal(status, 101);
      assert.ok(headers["sec-websocket-extensions"], "the second field was overlooked");
      await exchange(
        client,
        checkAnswer(headers["sec-websocket-extensions"], { server_max_window_bits: 11 }),
      );
      client.destroy();
    });
  });

  describe("offers that cannot be accepted", () => {
    for (const line of DECLINED) {
      it(`goes on without the extension: ${line}`, async () => {
        const client = await open(server, { offer: line });
        assert.equal(client.answer.headers["sec-websocket-extensions"], undefined);
        await exchangePlain(client);
        client.destroy();
      });
    }
  });
}

module.exports = { run };
