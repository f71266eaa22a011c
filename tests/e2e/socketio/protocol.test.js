// The examples of the two protocol documents (Engine.IO 4, Socket.IO 5), by hand.
"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { request } = require("../support.js");
const { PATH, SEPARATOR, onEach, openPolling } = require("./support.js");
const { openSocket } = require("./raw.js");

const TARGET = `${PATH}&transport=polling`;

onEach("Engine.IO by hand", {}, (server) => {
  test("the handshake over polling", async () => {
    const { status, headers, body } = await request(server.url, TARGET);
    assert.equal(status, 200);
    assert.equal(headers["content-type"], "text/plain; charset=UTF-8");
    assert.equal(body[0], "0");
    const { sid, ...rest } = JSON.parse(body.slice(1));
    assert.equal(typeof sid, "string");
    assert.deepEqual(rest, {
      upgrades: ["websocket"],
      pingInterval: 25000,
      pingTimeout: 20000,
      maxPayload: 1000000,
    });
  });

  test("the handshake over WebSocket", async () => {
    const socket = await openSocket(server);
    const { sid, ...rest } = socket.open;
    assert.equal(typeof sid, "string");
    assert.deepEqual(rest, {
      upgrades: [],
      pingInterval: 25000,
      pingTimeout: 20000,
      maxPayload: 1000000,
    });
    socket.destroy();
  });

  test("sids differ, and fit in an address", async () => {
    const sessions = await Promise.all([...Array(20)].map(() => openPolling(server)));
    const sids = new Set(sessions.map(({ open }) => open.sid));
    assert.equal(sids.size, 20);
    for (const sid of sids) assert.match(sid, /^[A-Za-z0-9_-]{15,64}$/);
  });

  test("the address of a new session may hold anything beside", async () => {
    const { status } = await request(server.url, `${TARGET}&t=abc&x=%20&y`);
    assert.equal(status, 200);
  });

  test("what is unknown is refused with its code", async () => {
    for (const [target, method, status, code, message] of [
      [`${PATH}`, "GET", 400, 0, "Transport unknown"],
      [`${PATH}&transport=abc`, "GET", 400, 0, "Transport unknown"],
      [`${TARGET}&sid=abc`, "GET", 400, 1, "Session ID unknown"],
      [TARGET, "POST", 400, 2, "Bad handshake method"],
      [TARGET, "PUT", 400, 2, "Bad handshake method"],
      [`${PATH}&transport=websocket`, "GET", 400, 3, "Bad request"],
      ["/socket.io/?EIO=3&transport=polling", "GET", 400, 5, "Unsupported protocol version"],
    ]) {
      const answer = await request(server.url, target, { method });
      assert.deepEqual([answer.status, answer.json], [status, { code, message }], target);
    }
  });

  test("payloads: packets between record separators, binary data as base64", async () => {
    const session = await (await openPolling(server)).connect();
    const body = ['42["echo",1]', '451-["echo",{"_placeholder":true,"num":0}]', "bAQIDBA=="];
    await session.send(...body);
    assert.equal(await session.next(), body[0]);
    assert.equal(await session.next(), body[1]);
    assert.equal(await session.next(), body[2]);
  });

  test("payloads: text of more than one byte, and an answer that waits", async () => {
    const session = await (await openPolling(server)).connect();
    const poll = session.get();
    await session.send('42["echo","€"]');
    const { status, headers, body } = await poll;
    assert.deepEqual([status, body], [200, '42["echo","€"]']);
    assert.equal(headers["content-length"], String(Buffer.byteLength(body)));
  });

  test("several packets go out in one body", async () => {
    const session = await (await openPolling(server)).connect();
    await session.send('42["whisper",0]', '42["echo",1]', '42["echo",2]');
    const packets = [];
    while (packets.length < 3) packets.push(...(await session.get()).body.split(SEPARATOR));
    assert.deepEqual(packets, ['42["whispered all"]', '42["echo",1]', '42["echo",2]']);
  });

  test("a session ends, and is unknown from then on", async () => {
    const session = await (await openPolling(server)).connect();
    const poll = session.get();
    await session.send("1");
    assert.match((await poll).body, /^[16]$/);
    const { status, json } = await session.get();
    assert.deepEqual([status, json], [400, { code: 1, message: "Session ID unknown" }]);
  });

  test("the upgrade: probe, noop, upgrade", async () => {
    const session = await (await openPolling(server)).connect();
    const socket = await openSocket(server, { sid: session.open.sid });
    const poll = session.get();
    socket.send("2probe");
    assert.equal(await socket.next(), "3probe");
    assert.equal((await poll).body, "6");
    socket.send("5");
    socket.send('421["ask","over the new one"]');
    assert.equal(await socket.next(), '431["over the new one"]');
    assert.equal((await session.get()).status, 400);
    const second = await openSocket(server, { sid: session.open.sid });
    await second.closed();
    socket.send('422["ask","still here"]');
    assert.equal(await socket.next(), '432["still here"]');
    socket.destroy();
  });

  test("while a probe is on, polling still works", async () => {
    const session = await (await openPolling(server)).connect();
    const socket = await openSocket(server, { sid: session.open.sid });
    socket.send("2probe");
    assert.equal(await socket.next(), "3probe");
    for (let i = 0; i < 5; i++) {
      await session.send(`42${i}["ask",${i}]`);
      let packet = await session.next();
      while (packet === "6") packet = await session.next();
      assert.equal(packet, `43${i}[${i}]`);
    }
    await session.send('427["ask","the last one"]');
    socket.send("5");
    const packet = await Promise.race([socket.next(), session.next()]);
    assert.match(packet, /^(6|437\["the last one"\])$/);
    socket.destroy();
  });
});

onEach("Socket.IO by hand", {}, (server) => {
  test("connecting: the answer holds the id, and nothing else", async () => {
    const socket = await openSocket(server);
    socket.send("40");
    const packet = await socket.next();
    assert.match(packet, /^40\{"sid":"[A-Za-z0-9_-]+"\}$/);
    assert.notEqual(JSON.parse(packet.slice(2)).sid, socket.open.sid);
    socket.destroy();
  });

  test("connecting with a payload", async () => {
    const socket = await openSocket(server);
    socket.send('40{"token":"123"}');
    assert.match(await socket.next(), /^40\{"sid":"[^"]+"\}$/);
    assert.match(await socket.next(), /^42\["welcome",/);
    socket.send('421["who"]');
    assert.deepEqual(JSON.parse((await socket.next()).slice(3))[0].auth, { token: "123" });
    socket.destroy();
  });

  test("without a payload it is an empty object, and no list", async () => {
    const socket = await openSocket(server);
    await socket.connect();
    socket.send('421["who"]');
    assert.match(await socket.next(), /^431\[\{.*"auth":\{\}/);
    socket.destroy();
  });

  test("namespaces, with a comma and without", async () => {
    const socket = await openSocket(server);
    for (const packet of ["40/custom,", "40/tenant/5"]) {
      socket.send(packet);
      const [name] = /\/[^,]*/.exec(packet);
      const answer = await socket.next();
      assert.ok(answer.startsWith(`40${name},{"sid":"`), answer);
    }
    socket.send("40/random");
    assert.equal(await socket.next(), '44/random,{"message":"Invalid namespace"}');
    socket.send("40/admin,{}");
    const refusal = '44/admin,{"message":"unauthorized","data":{"hint":"a token"}}';
    assert.equal(await socket.next(), refusal);
    socket.destroy();
  });

  test("leaving one namespace", async () => {
    const socket = await openSocket(server);
    await socket.connect();
    await socket.connect("/custom");
    socket.send("41/custom,");
    socket.send('421["ask","here"]');
    assert.equal(await socket.next(), '431["here"]');
    socket.destroy();
  });

  test("events and answers", async () => {
    const socket = await openSocket(server);
    await socket.connect();
    socket.send('42["echo",1,"2",{"3":[false]}]');
    assert.equal(await socket.next(), '42["echo",1,"2",{"3":[false]}]');
    socket.send('42456["ask",1,"2",{"3":[false]}]');
    assert.equal(await socket.next(), '43456[1,"2",{"3":[false]}]');
    socket.send('420["ask"]');
    assert.equal(await socket.next(), "430[]");
    socket.destroy();
  });

  test("binary events and answers", async () => {
    const socket = await openSocket(server);
    await socket.connect();
    const [first, second] = [Buffer.from([1, 2, 3]), Buffer.from([4, 5, 6])];
    const list = '{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}';
    for (const [packet, answer] of [
      [`452-["echo",${list}]`, `452-["echo",${list}]`],
      [`452-789["ask",${list}]`, `462-789[${list}]`],
    ]) {
      socket.send(packet, first, second);
      assert.equal(await socket.next(), answer);
      assert.deepEqual(await socket.next(), first);
      assert.deepEqual(await socket.next(), second);
    }
    socket.destroy();
  });

  test("the server asks", async () => {
    const socket = await openSocket(server);
    await socket.connect();
    socket.send('42["call","question",1]');
    const [, id] = /^42(\d+)\["question",1\]$/.exec(await socket.next());
    socket.send(`43${id}["answer"]`, `43${id}["answered already"]`);
    assert.equal(await socket.next(), '42["answered","answer"]');
    socket.send('42["call","question",2]');
    const [, next] = /^42(\d+)\["question",2\]$/.exec(await socket.next());
    socket.send(`461-${next}[{"_placeholder":true,"num":0}]`, Buffer.from("b"));
    assert.equal(await socket.next(), '451-["answered",{"_placeholder":true,"num":0}]');
    assert.deepEqual(await socket.next(), Buffer.from("b"));
    socket.destroy();
  });

  test("what is malformed closes this connection, and no other", async () => {
    const bystander = await openSocket(server);
    await bystander.connect();
    for (const packet of ["4abc", "42{}", '42["echo"', "4", '451-["x"]x', Buffer.from("?")]) {
      const socket = await openSocket(server);
      await socket.connect();
      socket.send(packet, '42["echo"]');
      await socket.closed();
    }
    const early = await openSocket(server);
    early.send('42["echo","before the connect"]');
    await early.closed();
    bystander.send('421["ask","here"]');
    assert.equal(await bystander.next(), '431["here"]');
    bystander.destroy();
  });

  test("hostile keys and counts harm nobody", async () => {
    const socket = await openSocket(server);
    await socket.connect();
    socket.send('421["ask",{"__proto__":{"polluted":1},"constructor":{"prototype":{"p":1}}}]');
    await socket.next();
    socket.send('422["__proto__"]', '42["toString"]', '423["ask",1]');
    let packet = await socket.next();
    while (!packet.startsWith("433")) packet = await socket.next();
    assert.equal(packet, "433[1]");
    socket.destroy();
    const greedy = await openSocket(server);
    await greedy.connect();
    greedy.send('4599999999999-["ask",{"_placeholder":true,"num":0}]', "4x");
    await greedy.closed();
  });
});

onEach("a client that never connects", { connectTimeout: 200 }, (server) => {
  test("it is closed, and who has connected to a namespace is not", async () => {
    const idle = await openSocket(server);
    const busy = await openSocket(server);
    await busy.connect("/custom");
    await idle.closed();
    const polling = await openPolling(server);
    assert.match((await polling.get()).body, /^[16]$/);
    busy.send('42/custom,1["ask","here"]');
    assert.equal(await busy.next(), '43/custom,1["here"]');
    busy.destroy();
  });
});
