// permessage-deflate (RFC 7692): what is agreed on, messages in both directions with every window,
// the limits after inflating, and one compressed frame for a whole broadcast.
"use strict";

const assert = require("node:assert/strict");
const { describe, it } = require("node:test");
const zlib = require("node:zlib");
const { connect, serving } = require("./support.js");
const { CONTINUATION, PING, TEXT, dial, frame, handshake, upgrade } = require("./wire.js");

const APP = `
local mw = require "moonwire"
local function echo(client, data, kind) client:send(data, kind) end
return {
  { on_message = echo },
  { namespace = "/small", limits = { max_payload = 5000 }, on_message = echo },
  { namespace = "/all", on_message = function(_, data, kind) mw.namespace():send(data, kind) end },
}
`;

const COMPRESSED = 4; // the first reserved bit

// A message as section 7.2.1 has it: a sync flush without its last four bytes.
function deflate(data, options) {
  const flush = { finishFlush: zlib.constants.Z_SYNC_FLUSH, ...options };
  return zlib.deflateRawSync(Buffer.from(data), flush).subarray(0, -4);
}

function inflate(payload, windowBits = 15) {
  const tail = Buffer.from([0, 0, 0xff, 0xff]);
  const options = { windowBits, finishFlush: zlib.constants.Z_SYNC_FLUSH };
  return zlib.inflateRawSync(Buffer.concat([payload, tail]), options).toString();
}

// Text that does not become tiny.
function words(size) {
  let text = "";
  for (let n = 0; text.length < size; n++) text += `${(n * 7919) % 9973} `;
  return text.slice(0, size);
}

const NO_CONTEXT = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

describe("the extension", () => {
  const server = serving(APP);

  async function agreed(offer) {
    const client = await dial(server);
    client.writeRequest(handshake("/", { "Sec-WebSocket-Extensions": offer }));
    const answer = await client.response();
    assert.equal(answer.status, 101);
    client.destroy();
    return answer.headers["sec-websocket-extensions"];
  }

  const OFFERS = {
    "permessage-deflate": NO_CONTEXT,
    "permessage-deflate; client_max_window_bits": NO_CONTEXT,
    "permessage-deflate; client_max_window_bits=12": NO_CONTEXT,
    "permessage-deflate; server_no_context_takeover": NO_CONTEXT,
    "permessage-deflate; server_max_window_bits=15": `${NO_CONTEXT}; server_max_window_bits=15`,
    "permessage-deflate; server_max_window_bits=9": `${NO_CONTEXT}; server_max_window_bits=9`,
    'permessage-deflate; server_max_window_bits="10"': `${NO_CONTEXT}; server_max_window_bits=10`,
    "permessage-deflate; server_max_window_bits=8": undefined,
    "permessage-deflate; server_max_window_bits=8, permessage-deflate": NO_CONTEXT,
    "x-webkit-deflate-frame, permessage-deflate": NO_CONTEXT,
    "x-webkit-deflate-frame": undefined,
    "permessage-deflate; server_max_window_bits": undefined,
    "permessage-deflate; server_max_window_bits=16": undefined,
    "permessage-deflate; server_max_window_bits=7": undefined,
    "permessage-deflate; server_max_window_bits=010": undefined,
    "permessage-deflate; client_max_window_bits=16": undefined,
    "permessage-deflate; server_no_context_takeover=1": undefined,
    "permessage-deflate; server_no_context_takeover; server_no_context_takeover": undefined,
    "permessage-deflate; unheard_of": undefined,
  };
  for (const [offer, answer] of Object.entries(OFFERS)) {
    it(`answers "${offer}"`, async () => assert.equal(await agreed(offer), answer));
  }

  it("is not there unless it is asked for", async () => {
    const client = await upgrade(server);
    client.write(frame(TEXT, deflate("x"), { rsv: COMPRESSED }));
    assert.equal((await client.frame()).code, 1002);
    await client.end();
  });
});

describe("compressed messages", () => {
  const server = serving(APP);

  const offer = (more = "") => ({ "Sec-WebSocket-Extensions": `permessage-deflate${more}` });
  const compressed = (payload, options) => frame(TEXT, payload, { rsv: COMPRESSED, ...options });

  it("pass both ways with the window of every size", async () => {
    for (let bits = 9; bits <= 15; bits++) {
      const perMessageDeflate = {
        serverMaxWindowBits: bits,
        clientMaxWindowBits: bits,
        threshold: 0,
      };
      const peer = await connect(server, "/", { perMessageDeflate });
      assert.match(peer.socket.extensions, /permessage-deflate/);
      for (const message of ["", "short", words(1024), words(100000), Buffer.from(words(40000))]) {
        peer.send(message);
        assert.deepEqual(await peer.next(), message, `${bits} bits, ${message.length} bytes`);
      }
      await peer.close();
    }
  });

  it("are compressed from 1 KiB on, where that makes them shorter", async () => {
    const client = await upgrade(server, "/", offer("; server_max_window_bits=10"));
    for (const [message, bit] of [
      ["a".repeat(1023), 0],
      ["a".repeat(1024), COMPRESSED],
    ]) {
      client.write(frame(TEXT, message));
      const got = await client.frame();
      assert.equal(got.rsv, bit);
      assert.equal(bit ? inflate(got.payload, 10) : got.payload.toString(), message);
    }
    const random = require("node:crypto").randomBytes(2000);
    client.write(frame(2, random));
    const got = await client.frame();
    assert.equal(got.rsv, 0);
    assert.ok(got.payload.equals(random));
    client.destroy();
  });

  const FORMS = {
    "in one frame": (data) => [compressed(data)],
    "in fragments": (data) => [
      compressed(data.subarray(0, 1), { fin: false }),
      frame(CONTINUATION, data.subarray(1, 3), { fin: false }),
      frame(CONTINUATION, data.subarray(3)),
    ],
    "in fragments around a ping": (data) => [
      compressed(data.subarray(0, 2), { fin: false }),
      frame(PING, ""),
      frame(CONTINUATION, data.subarray(2)),
    ],
    "with an empty last fragment": (data) => [
      compressed(data, { fin: false }),
      frame(CONTINUATION, ""),
    ],
  };
  for (const [name, cut] of Object.entries(FORMS)) {
    it(`are understood ${name}`, async () => {
      const client = await upgrade(server, "/", offer());
      client.write(...cut(deflate("Hello, κόσμε")));
      let got = await client.frame();
      if (name.includes("ping")) got = await client.frame();
      assert.equal(got.payload.toString(), "Hello, κόσμε");
      client.destroy();
    });
  }

  const BODIES = {
    "stored blocks": deflate("stored", { level: 0 }),
    "fixed codes": deflate("fixed", { strategy: zlib.constants.Z_FIXED }),
    "the standard's block with the final bit": Buffer.from([
      0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00,
    ]),
    "the standard's empty message": Buffer.from([0x00]),
    "several blocks": Buffer.concat([
      deflate("one "),
      Buffer.from([0, 0, 0xff, 0xff]),
      deflate("two"),
    ]),
  };
  const TEXTS = ["stored", "fixed", "Hello", "", "one two"];
  Object.entries(BODIES).forEach(([name, body], index) => {
    it(`are understood in ${name}`, async () => {
      const client = await upgrade(server, "/", offer());
      client.write(compressed(body));
      assert.equal((await client.frame()).payload.toString(), TEXTS[index]);
      client.destroy();
    });
  });

  const WRONG = {
    "what is no deflate stream": [[compressed(Buffer.from([0xff, 0xff, 0xff]))], 1007],
    "a block that is cut off": [[compressed(Buffer.from([0x05]))], 1007],
    "text that is not UTF-8": [[compressed(deflate(Buffer.from([0x61, 0xff])))], 1007],
    "the bit on a continuation": [
      [
        compressed(deflate("ab").subarray(0, 1), { fin: false }),
        frame(CONTINUATION, "", { rsv: COMPRESSED }),
      ],
      1002,
    ],
    "the bit on a ping": [[frame(PING, "", { rsv: COMPRESSED })], 1002],
    "another bit": [[frame(TEXT, deflate("a"), { rsv: 6 })], 1002],
  };
  for (const [name, [frames, code]] of Object.entries(WRONG)) {
    it(`are refused: ${name}`, async () => {
      const client = await upgrade(server, "/", offer());
      client.write(...frames);
      assert.equal((await client.frame()).code, code);
      await client.end();
    });
  }

  it("have their limit after inflating, at the bound and one past it", async () => {
    const client = await upgrade(server, "/small", offer());
    client.write(compressed(deflate("a".repeat(5000))));
    assert.equal(inflate((await client.frame()).payload).length, 5000);
    client.write(compressed(deflate("a".repeat(5001))));
    assert.equal((await client.frame()).code, 1009);
    await client.end();
  });

  it("that would fill the memory are refused", async () => {
    const client = await upgrade(server, "/", offer());
    client.write(compressed(deflate(Buffer.alloc(64 * 1024 * 1024))));
    assert.equal((await client.frame()).code, 1009);
    await client.end();
  });

  it("go to a whole room as the same bytes", async () => {
    const first = await upgrade(server, "/all", offer());
    const second = await upgrade(server, "/all", offer());
    const narrow = await upgrade(server, "/all", offer("; server_max_window_bits=9"));
    const plain = await upgrade(server, "/all");
    const message = words(5000);
    first.write(frame(TEXT, message));
    const [a, b, c, d] = await Promise.all(
      [first, second, narrow, plain].map((each) => each.frame()),
    );
    assert.equal(a.rsv, COMPRESSED);
    assert.ok(a.payload.equals(b.payload));
    assert.equal(inflate(a.payload), message);
    assert.equal(c.rsv, COMPRESSED);
    assert.equal(inflate(c.payload, 9), message);
    assert.equal(d.rsv, 0);
    assert.equal(d.payload.toString(), message);
    [first, second, narrow, plain].forEach((each) => each.destroy());
  });
});

describe("with --no-deflate", () => {
  const server = serving(APP, { args: ["--no-deflate"] });

  it("nothing is agreed on", async () => {
    const peer = await connect(server, "/", { perMessageDeflate: true });
    assert.equal(peer.socket.extensions, "");
    peer.send(words(3000));
    assert.equal(await peer.next(), words(3000));
    await peer.close();
  });
});
