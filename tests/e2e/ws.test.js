// WebSockets from the handshake to the close: what is refused, what is agreed on, limits, pings and
// the reasons that on_disconnect hears. Frames are in ws_frames, compression in ws_deflate.
"use strict";

const assert = require("node:assert/strict");
const { describe, it } = require("node:test");
const { connect, metric, refused, serving } = require("./support.js");
const wire = require("./wire.js");

const { CLOSE, CONTINUATION, PING, PONG, TEXT, closeFrame, dial, frame, handshake, upgrade } = wire;

const APP = `
local mw = require "moonwire"

local function echo(client, data, kind) client:send(data, kind) end
local function gone(client, reason) mw.namespace("/watch"):emit("gone", client.namespace, reason) end

return {
  { on_message = echo, on_disconnect = gone },
  { namespace = "/small", limits = { max_payload = 1000 }, on_message = echo, on_disconnect = gone },
  { namespace = "/chosen", subprotocols = { "v2", "v1" }, on_message = echo },
  { namespace = "/listed", origins = { "https://a.example", "https://*.b.example" }, on_message = echo },
  { namespace = "/open", origins = { "*" }, on_message = echo },
  {
    namespace = "/private",
    on_auth = function(request)
      if request.auth.token == "ana" then return { id = "ana" } end
      if request.auth.token == "broken" then error "on_auth is broken" end
      if request.auth.token == "late" then mw.sleep(0.01) return { id = "late" } end
      if request.auth.token == "banned" then return nil, "forbidden", { why = "banned" } end
    end,
    on_message = function(client) client:send(client.user.id) end,
  },
  { namespace = "/watch", on_connect = function(client) client:emit("ready") end },
}
`;

describe("the handshake", () => {
  const server = serving(APP);

  async function answerTo(target, fields) {
    const client = await dial(server);
    client.writeRequest(handshake(target, fields));
    const answer = await client.response();
    client.destroy();
    return answer;
  }

  it("answers the key as the standard's example has it", async () => {
    const answer = await answerTo("/");
    assert.equal(answer.status, 101);
    assert.equal(answer.headers.upgrade.toLowerCase(), "websocket");
    assert.equal(answer.headers.connection.toLowerCase(), "upgrade");
    assert.equal(answer.headers["sec-websocket-accept"], wire.ACCEPT);
    assert.equal(answer.headers["sec-websocket-protocol"], undefined);
    assert.equal(answer.headers["sec-websocket-extensions"], undefined);
  });

  it("takes the fields as proxies and browsers write them", async () => {
    const fields = { Upgrade: "WebSocket", Connection: "keep-alive, Upgrade" };
    assert.equal((await answerTo("/", fields)).status, 101);
    assert.equal((await answerTo("/?token=x&y", fields)).status, 101);
  });

  const WRONG = {
    "no key": [{ "Sec-WebSocket-Key": undefined }, 400],
    "an empty key": [{ "Sec-WebSocket-Key": "" }, 400],
    "a key of 15 bytes": [{ "Sec-WebSocket-Key": Buffer.alloc(15).toString("base64") }, 400],
    "a key of 17 bytes": [{ "Sec-WebSocket-Key": Buffer.alloc(17).toString("base64") }, 400],
    "a key that is no base64": [{ "Sec-WebSocket-Key": "!!!!!!!!!!!!!!!!!!!!!!==" }, 400],
    "no version": [{ "Sec-WebSocket-Version": undefined }, 426],
    "an old version": [{ "Sec-WebSocket-Version": "8" }, 426],
    "a later version": [{ "Sec-WebSocket-Version": "14" }, 426],
  };
  for (const [name, [fields, status]] of Object.entries(WRONG)) {
    it(`is refused with ${name}`, async () => {
      const answer = await answerTo("/", fields);
      assert.equal(answer.status, status);
      if (status === 426) assert.equal(answer.headers["sec-websocket-version"], "13");
    });
  }

  it("is refused where it is no GET of HTTP/1.1", async () => {
    for (const line of ["POST / HTTP/1.1", "GET / HTTP/1.0"]) {
      const client = await dial(server);
      client.writeRequest([line, ...handshake("/").slice(1)]);
      assert.equal((await client.response()).status, 400, line);
      client.destroy();
    }
  });

  it("is refused for a protocol that is none of ours", async () => {
    assert.equal((await answerTo("/", { Upgrade: "h2c" })).status, 400);
  });

  it("is not found where there is no namespace", async () => {
    assert.equal((await answerTo("/nowhere")).status, 404);
  });

  const ORIGINS = [
    ["/", undefined, 101],
    ["/", "null", 403],
    ["/", "https://evil.example", 403],
    ["/listed", "https://a.example", 101],
    ["/listed", "http://a.example", 403],
    ["/listed", "https://x.b.example", 101],
    ["/listed", "https://xb.example", 403],
    ["/listed", "https://a.example.evil.example", 403],
    ["/open", "https://evil.example", 101],
  ];
  for (const [target, origin, status] of ORIGINS) {
    it(`of ${origin ?? "no origin"} at ${target} is answered with ${status}`, async () => {
      assert.equal((await answerTo(target, { Origin: origin })).status, status);
    });
  }

  it("of the same host is let in", async () => {
    const host = `127.0.0.1:${server.port}`;
    assert.equal((await answerTo("/", { Host: host, Origin: `http://${host}` })).status, 101);
    assert.equal((await answerTo("/", { Host: host, Origin: "http://127.0.0.1:1" })).status, 403);
  });

  it("chooses the subprotocol that the server likes best", async () => {
    const protocol = async (offer) =>
      (await answerTo("/chosen", { "Sec-WebSocket-Protocol": offer })).headers[
        "sec-websocket-protocol"
      ];
    assert.equal(await protocol("v1, v2"), "v2");
    assert.equal(await protocol("v1"), "v1");
    assert.equal(await protocol("v3, V1"), undefined);
    const peer = await connect(server, "/chosen", { protocols: ["v0", "v1"] });
    assert.equal(peer.socket.protocol, "v1");
    await peer.close();
  });

  it("is decided by on_auth", async () => {
    assert.equal((await refused(server, "/private")).status, 401);
    const banned = await refused(server, "/private?token=banned");
    assert.equal(banned.status, 403);
    assert.deepEqual(JSON.parse(banned.body), {
      error: { code: "forbidden", detail: { why: "banned" } },
    });
    assert.equal((await refused(server, "/private?token=broken")).status, 500);
    await server.said(/on_auth is broken/);
    for (const [target, headers] of [
      ["/private", { Authorization: "Bearer ana" }],
      ["/private?token=late", {}],
    ]) {
      const peer = await connect(server, target, { headers });
      peer.send("who am I?");
      assert.equal(await peer.next(), target === "/private" ? "ana" : "late");
      await peer.close();
    }
    assert.doesNotMatch(server.output(), /token=/);
  });

  it("may have frames right behind it", async () => {
    const client = await dial(server);
    client.write(`${handshake("/").join("\r\n")}\r\n\r\n`, frame(TEXT, "early"), frame(PING, "p"));
    assert.equal((await client.response()).status, 101);
    assert.equal((await client.frame()).payload.toString(), "early");
    assert.equal((await client.frame()).opcode, PONG);
    client.destroy();
  });
});

describe("a connection", () => {
  const server = serving(APP);

  async function watcher() {
    const watch = await connect(server, "/watch");
    assert.equal((await watch.next()).event, "ready");
    return watch;
  }

  it("echoes text and binary data, in order", async () => {
    const peer = await connect(server);
    const sent = [
      "a",
      Buffer.from([0, 1, 255]),
      "",
      "ünïcödé 🌙",
      Buffer.alloc(0),
      "x".repeat(70000),
    ];
    sent.forEach((each) => peer.send(each));
    for (const each of sent) assert.deepEqual(await peer.next(), each);
    await peer.close();
  });

  it("takes a message of 1 MiB and no byte more", async () => {
    const bound = 1024 * 1024;
    const peer = await connect(server);
    peer.send(Buffer.alloc(bound, 7));
    assert.equal((await peer.next()).length, bound);
    peer.send(Buffer.alloc(bound + 1, 7));
    assert.equal((await peer.closed()).code, 1009);
  });

  it("counts a message's fragments together", async () => {
    const client = await upgrade(server, "/small");
    client.write(
      frame(TEXT, "a".repeat(600), { fin: false }),
      frame(CONTINUATION, "a".repeat(400)),
    );
    assert.equal((await client.frame()).payload.length, 1000);
    client.write(
      frame(TEXT, "a".repeat(600), { fin: false }),
      frame(CONTINUATION, "a".repeat(401)),
    );
    assert.equal((await client.frame()).code, 1009);
    await client.end();
  });

  it("refuses a length when it is announced", async () => {
    const client = await upgrade(server, "/small");
    client.write(frame(TEXT, "", { length: 1001, lengthBytes: 3 }));
    assert.equal((await client.frame()).code, 1009);
    await client.end();
  });

  it("closes over a flood of control frames", async () => {
    const watch = await watcher();
    const client = await upgrade(server, "/small");
    const pings = Array.from({ length: 101 }, (_, n) => frame(PING, String(n)));
    client.write(...pings);
    for (let n = 0; n < 100; n++)
      assert.equal((await client.frame()).payload.toString(), String(n));
    const closing = await client.frame();
    assert.equal(closing.opcode, CLOSE);
    assert.equal(closing.code, 1008);
    await client.end();
    assert.deepEqual((await watch.next()).args, ["/small", "protocol error"]);
    await watch.close();
  });

  it("tells on_disconnect why it ended", async () => {
    const watch = await watcher();
    const endings = [
      ["client closed", (client) => client.write(closeFrame(1000))],
      ["client closed", (client) => client.socket.end()],
      ["transport error", (client) => client.socket.resetAndDestroy()],
      ["protocol error", (client) => client.write(frame(3, ""))],
      ["message too big", (client) => client.write(frame(TEXT, "a".repeat(1001)))],
    ];
    for (const [reason, end] of endings) {
      const client = await upgrade(server, "/small");
      end(client);
      assert.deepEqual((await watch.next()).args, ["/small", reason]);
      client.destroy();
    }
    await watch.close();
  });

  it("is counted by wire", async () => {
    const before = await metric(server, 'moonwire_clients{wire="websocket"}');
    const peer = await connect(server);
    assert.equal(await metric(server, 'moonwire_clients{wire="websocket"}'), before + 1);
    await peer.close();
  });
});

describe("pings", () => {
  const server = serving(APP, { args: ["--ping-interval", "0.1", "--ping-timeout", "0.2"] });

  it("go out again and again to who answers them", async () => {
    const peer = await connect(server);
    for (let count = 0; count < 3; count++)
      await new Promise((resolve) => peer.socket.once("ping", resolve));
    peer.send("still here");
    assert.equal(await peer.next(), "still here");
    await peer.close();
  });

  it("end the connection of who does not", async () => {
    const watch = await connect(server, "/watch");
    const client = await upgrade(server, "/small");
    assert.equal((await client.frame()).opcode, PING);
    await client.end();
    const { args } = await watch.find((message) => message.event === "gone");
    assert.deepEqual(args, ["/small", "ping timeout"]);
    await watch.close();
  });
});
