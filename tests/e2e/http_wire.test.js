// HTTP/1.1 byte by byte: what is refused and with which status, the bounds of section 5 of the
// design and one past each, pipelines, chunks, Expect, and time.
"use strict";

const assert = require("node:assert/strict");
const { describe, it } = require("node:test");
const { serving } = require("./support.js");
const { dial } = require("./wire.js");

const APP = `
local mw = require "moonwire"
return {
  routes = {
    ["GET /"] = function() return "root" end,
    ["GET /n/:n"] = function(request) return request.params.n end,
    ["GET /slow/:n"] = function(request) mw.sleep(0.03) return "slow " .. request.params.n end,
    ["POST /length"] = function(request) return tostring(#request.body) end,
    ["POST /body"] = function(request) return request.body end,
  },
}
`;

const HOST = "Host: x";

describe("a request", () => {
  const server = serving(APP);

  // Answers to bytes, after which the connection must be over.
  async function onlyAnswer(bytes, options) {
    const client = await dial(server);
    client.write(bytes);
    const answer = await client.response(options);
    await client.end();
    client.destroy();
    return answer;
  }

  const REFUSED = {
    "no Host": ["GET / HTTP/1.1\r\n\r\n", 400],
    "two Hosts": ["GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400],
    "HTTP/2.0": ["GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505],
    "HTTP/1.2": ["GET / HTTP/1.2\r\nHost: x\r\n\r\n", 505],
    "HTTP/0.9": ["GET /\r\n\r\n", 400],
    "two spaces": ["GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400],
    "a space in the target": ["GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", 400],
    "a continued field": ["GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", 400],
    "a LF without CR": ["GET / HTTP/1.1\nHost: x\n\n", 400],
    "a CR without LF": ["GET / HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n", 400],
    "a space before the colon": ["GET / HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n", 400],
    "a field without a name": ["GET / HTTP/1.1\r\nHost: x\r\n: b\r\n\r\n", 400],
    "NUL in a field": ["GET / HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n", 400],
    "NUL in the target": ["GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n", 400],
    "an escape that is none": ["GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400],
    "an unknown method": ["BREW / HTTP/1.1\r\nHost: x\r\n\r\n", 501],
    "a method of RTSP": ["DESCRIBE / HTTP/1.1\r\nHost: x\r\n\r\n", 501],
    CONNECT: ["CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n", 501],
    "two lengths": [
      "POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
      400,
    ],
    "a list of lengths": ["POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 1\r\n\r\na", 400],
    "a length with a sign": ["POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\na", 400],
    "a length beyond 64 bits": [
      "POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
      400,
    ],
    "a length and chunks": [
      "POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      400,
    ],
    "another coding": [
      "POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
      400,
    ],
    "chunks twice": [
      "POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
      400,
    ],
    "chunks in HTTP/1.0": [
      "POST /body HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      400,
    ],
    "a chunk size that is none": [
      "POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxy\r\n",
      400,
    ],
    "a chunk that is too long": [
      "POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
      400,
    ],
    "another expectation": [
      "POST /body HTTP/1.1\r\nHost: x\r\nExpect: cake\r\nContent-Length: 1\r\n\r\n",
      417,
    ],
    "the head of a TLS client": [
      Buffer.from([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 13, 10, 13, 10]),
      400,
    ],
  };
  for (const [name, [bytes, status]] of Object.entries(REFUSED)) {
    it(`with ${name} is refused with ${status}`, async () => {
      assert.equal((await onlyAnswer(bytes)).status, status);
    });
  }

  it("has a head of 16 KiB and no byte more", async () => {
    const begin = `GET / HTTP/1.1\r\n${HOST}\r\nA: `;
    const fill = (size) => `${begin}${"a".repeat(size - begin.length - 4)}\r\n\r\n`;
    const client = await dial(server);
    client.write(fill(16384));
    assert.equal((await client.response()).status, 200);
    client.destroy();
    assert.equal((await onlyAnswer(fill(16385))).status, 431);
  });

  it("has a hundred fields and none more", async () => {
    const lines = (count) => Array.from({ length: count - 1 }, (_, n) => `F${n}: x`);
    const client = await dial(server);
    client.writeRequest(["GET / HTTP/1.1", HOST, ...lines(100)]);
    assert.equal((await client.response()).status, 200);
    client.destroy();
    const head = ["GET / HTTP/1.1", HOST, ...lines(101)].join("\r\n");
    assert.equal((await onlyAnswer(`${head}\r\n\r\n`)).status, 431);
  });

  it("has a body of 1 MiB and no byte more", async () => {
    const bound = 1024 * 1024;
    const client = await dial(server);
    client.writeRequest(
      ["POST /length HTTP/1.1", HOST, `Content-Length: ${bound}`],
      Buffer.alloc(bound),
    );
    assert.equal((await client.response()).body, String(bound));
    client.writeRequest(["POST /length HTTP/1.1", HOST, `Content-Length: ${bound + 1}`]);
    assert.equal((await client.response()).status, 413);
    await client.end();
  });

  it("has that bound in chunks too", async () => {
    const half = Buffer.concat([
      Buffer.from("80000\r\n"),
      Buffer.alloc(0x80000),
      Buffer.from("\r\n"),
    ]);
    const head = ["POST /length HTTP/1.1", HOST, "Transfer-Encoding: chunked"];
    const client = await dial(server);
    client.writeRequest(head);
    client.write(half, half, "0\r\n\r\n");
    assert.equal((await client.response()).body, String(1024 * 1024));
    client.writeRequest(head);
    client.write(half, half, "1\r\nx\r\n");
    assert.equal((await client.response()).status, 413);
    await client.end();
  });

  it("may come in chunks with extensions and trailers", async () => {
    const client = await dial(server);
    client.writeRequest(["POST /body HTTP/1.1", HOST, "Transfer-Encoding: Chunked"]);
    client.write('5;a=b\r\nhello\r\n1;q="x;y"\r\n,\r\n6\r\n world\r\n0\r\nX-Sum: 1\r\n\r\n');
    assert.equal((await client.response()).body, "hello, world");
    client.writeRequest(["GET /n/7 HTTP/1.1", HOST]);
    assert.equal((await client.response()).body, "7");
    client.destroy();
  });

  it("may come byte by byte", async () => {
    const client = await dial(server);
    const bytes =
      `\r\nPOST /body HTTP/1.1\r\n${HOST}\r\nContent-Length: 3\r\n\r\nabc` +
      `POST /body HTTP/1.1\r\n${HOST}\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ndef\r\n0\r\n\r\n`;
    for (const byte of Buffer.from(bytes)) client.socket.write(Buffer.from([byte]));
    assert.equal((await client.response()).body, "abc");
    assert.equal((await client.response()).body, "def");
    client.destroy();
  });

  it("may be one of many, and the answers keep their order", async () => {
    const client = await dial(server);
    const all = ["/slow/1", "/n/2", "/slow/3", "/n/4"].map(
      (target) => `GET ${target} HTTP/1.1\r\n${HOST}\r\n\r\n`,
    );
    all.splice(2, 0, `POST /body HTTP/1.1\r\n${HOST}\r\nContent-Length: 2\r\n\r\nab`);
    client.write(...all);
    for (const body of ["slow 1", "2", "ab", "slow 3", "4"])
      assert.equal((await client.response()).body, body);
    client.destroy();
  });

  it("may be one of a thousand", async () => {
    const client = await dial(server);
    client.write(
      ...Array.from({ length: 1000 }, (_, n) => `GET /n/${n} HTTP/1.1\r\n${HOST}\r\n\r\n`),
    );
    for (let n = 0; n < 1000; n++) assert.equal((await client.response()).body, String(n));
    client.destroy();
  });

  it("of HTTP/1.0 is answered, and the connection closed", async () => {
    const answer = await onlyAnswer("GET /n/1 HTTP/1.0\r\n\r\n");
    assert.equal(answer.body, "1");
  });

  it("with Connection: close is the last one", async () => {
    const answer = await onlyAnswer(
      `GET /n/1 HTTP/1.1\r\n${HOST}\r\nConnection: close\r\n\r\nGET /n/2 HTTP/1.1\r\n${HOST}\r\n\r\n`,
    );
    assert.equal(answer.body, "1");
    assert.equal(answer.headers.connection, "close");
  });

  it("is answered to who has already said that nothing more comes", async () => {
    const client = await dial(server, { allowHalfOpen: true });
    client.writeRequest(["GET /slow/1 HTTP/1.1", HOST]);
    client.socket.end();
    assert.equal((await client.response()).body, "slow 1");
    await client.end();
  });

  it("that waits for the word to go on gets it", async () => {
    const client = await dial(server);
    client.writeRequest(["POST /body HTTP/1.1", HOST, "Content-Length: 3", "Expect: 100-continue"]);
    assert.equal((await client.response()).status, 100);
    client.write("abc");
    assert.equal((await client.response()).body, "abc");
    client.writeRequest([
      "POST /body HTTP/1.1",
      HOST,
      "Content-Length: 9999999",
      "Expect: 100-continue",
    ]);
    assert.equal((await client.response()).status, 413);
    await client.end();
  });

  it("whose client goes is forgotten", async () => {
    const client = await dial(server);
    client.writeRequest(["GET /slow/1 HTTP/1.1", HOST]);
    client.socket.resetAndDestroy();
    const other = await dial(server);
    other.writeRequest(["GET /slow/2 HTTP/1.1", HOST]);
    assert.equal((await other.response()).body, "slow 2");
    other.destroy();
  });
});

describe("time", () => {
  const server = serving(APP, {
    args: ["--handshake-timeout", "0.1", "--keep-alive-timeout", "0.1"],
  });

  it("is short for a request that does not end", async () => {
    for (const begun of [
      "GET / HTTP/1.1\r\nHos",
      `POST /body HTTP/1.1\r\n${HOST}\r\nContent-Length: 3\r\n\r\na`,
    ]) {
      const client = await dial(server);
      client.write(begun);
      assert.equal((await client.response()).status, 408);
      await client.end();
    }
  });

  it("is short for a connection on which nothing is asked", async () => {
    const client = await dial(server);
    client.writeRequest(["GET / HTTP/1.1", HOST]);
    assert.equal((await client.response()).status, 200);
    await client.end();
    const silent = await dial(server);
    await silent.end();
  });
});

describe("connections", () => {
  const server = serving(APP, {
    args: ["--max-connections", "3"],
  });

  it("beyond the limit are told so", async () => {
    const clients = await Promise.all([dial(server), dial(server), dial(server)]);
    for (const client of clients) {
      client.writeRequest(["GET / HTTP/1.1", HOST]);
      assert.equal((await client.response()).status, 200);
    }
    const late = await dial(server);
    assert.equal((await late.response()).status, 503);
    await late.end();
    clients.forEach((client) => client.destroy());
  });
});

describe("options", () => {
  const server = serving(APP, { args: ["--max-body", "10", "--max-head", "1K"] });

  it("move the bounds", async () => {
    const client = await dial(server);
    client.writeRequest(["POST /length HTTP/1.1", HOST, "Content-Length: 10"], "0123456789");
    assert.equal((await client.response()).body, "10");
    client.writeRequest(["POST /length HTTP/1.1", HOST, "Content-Length: 11"]);
    assert.equal((await client.response()).status, 413);
    await client.end();
    const long = await dial(server);
    long.writeRequest(["GET / HTTP/1.1", HOST, `A: ${"a".repeat(1000)}`]);
    assert.equal((await long.response()).status, 431);
    await long.end();
  });
});
