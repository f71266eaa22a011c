// Identities that end, over every wire: the question before the end, its answer through on_auth, the
// end itself.
"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const { describe, it } = require("node:test");
const { eventually, packages, within } = require("../support.js");
const { connect, get, post, refused, request, serving, stream } = require("./support.js");
const { WIRES, app, end, life, newName } = require("./identities.js");
const { Guest, TRANSPORTS, visit } = require("./socketio/support.js");
const { closeFrame, frame, upgrade, CLOSE, TEXT } = require("./wire.js");
const engine = packages("engine.io-client");
const { EventSource } = packages("eventsource");

describe("an identity that ends", { concurrency: true }, () => {
  const server = serving(app(1));

  for (const [wire, open] of Object.entries(WIRES)) {
    const arrive = async (token, headers = { "x-agent": wire }) => open(server, token, headers);

    it(`is asked for, and goes on as another user table: ${wire}`, async () => {
      const name = newName();
      const client = await arrive(`${name}/6/first`);
      const before = await client.call("who");
      const question = await client.asked();
      assert.ok(Math.abs(question.data.expires - before.expires) < 0.002, "the end, in ms");
      client.answer(question, { token: `${name}/6/second` });
      const user = await eventually("the new user", async () => {
        const who = await client.call("who");
        return who.note === "second" && who;
      });
      assert.ok(user.expires > before.expires);
      assert.equal(user.agent, wire, "request.headers are those of its first request");
      // A string is a token, too; and one without an end is not asked for again.
      client.answer(await client.asked(), `${name}/never/third`);
      await eventually("the third user", async () => (await client.call("who")).note === "third");
      // Somebody with the same end as the second goes, which is later than its own would have been.
      const other = newName();
      const witness = await connect(server, `/?token=${other}/${user.expires - Date.now() / 1000}`);
      await witness.closed();
      assert.equal((await client.call("who")).note, "third");
      const { auths, connects } = await life(server, name);
      assert.deepEqual([auths, connects], [3, 1]);
      client.destroy();
      assert.notEqual((await end(server, name))[0][0], "expired");
    });

    it(`ends in time where nobody answers: ${wire}`, async () => {
      const name = newName();
      const client = await arrive(`${name}/4`);
      await client.asked();
      await client.ended("expired");
      assert.deepEqual(await end(server, name), [["expired", true]]);
    });

    it(`ends in time where on_auth refuses, fails or means another: ${wire}`, async () => {
      const answers = [
        { token: "bad" },
        { token: `${newName()}/60` },
        { token: "NAME/60/error" },
        { token: "NAME/-5" },
        {},
        7,
        null,
        [],
      ];
      await Promise.all(
        answers.map(async (answer) => {
          const name = newName();
          const client = await arrive(`${name}/8/first`);
          const question = await client.asked();
          if (answer?.token) answer.token = answer.token.replace("NAME", name);
          const status = (await client.answer(question, answer))?.status;
          if (wire === "sse") assert.ok([400, 401, 500].includes(status), `${status}`);
          assert.equal((await client.call("who")).note, "first");
          await client.ended("expired");
          assert.deepEqual(await end(server, name), [["expired", true]]);
        }),
      );
    });

    it(`ends while on_auth waits: ${wire}`, async () => {
      const name = newName();
      const client = await arrive(`${name}/6`);
      client.answer(await client.asked(), { token: `${name}/60/late/5` });
      await client.ended("expired");
      assert.deepEqual(await end(server, name), [["expired", true]]);
      await eventually("its on_auth", async () => (await life(server, name)).returned === 2);
      assert.equal((await life(server, name)).ends.length, 1);
    });

    it(`may go while on_auth waits: ${wire}`, async () => {
      const name = newName();
      const client = await arrive(`${name}/8`);
      client.answer(await client.asked(), { token: `${name}/60/late/1` });
      await eventually("the question", async () => (await life(server, name)).auths === 2);
      client.destroy();
      assert.notEqual((await end(server, name))[0][0], "expired");
      await eventually("its on_auth", async () => (await life(server, name)).returned === 2);
    });
  }

  it("is no identity where it has ended already", async () => {
    const { status } = await refused(server, "/?token=early/-1");
    assert.equal(status, 401);
    const answer = await get(`${server.url}/?token=early/-1`, {
      headers: { Accept: "text/event-stream" },
    });
    assert.deepEqual(
      [answer.status, answer.json.error],
      [401, { code: "unauthorized", detail: "expired" }],
    );
    const guest = new Guest(server.url, { transports: ["websocket"], auth: { token: "early/-1" } });
    const error = await guest.refused();
    assert.deepEqual([error.message, error.data], ["unauthorized", "expired"]);
    guest.close();
    assert.equal((await get(`${server.url}/stream/-1?id=early`)).status, 401);
    const once = await post(server, "/?token=once/-1", { event: "who" });
    assert.equal(once.status, 401);
  });

  it("ends at a time, if at all", async () => {
    const peer = await connect(server, `/?token=${newName()}/huge/odd`);
    assert.equal((await peer.call("slow", 0)).error, undefined);
    await peer.close();
    assert.equal((await refused(server, `/?token=${newName()}/less/odd`)).status, 401);
    for (const [odd, type] of Object.entries({ text: "string", nan: "number", null: "userdata", table: "table" })) {
      const from = server.output().length;
      assert.equal((await refused(server, `/?token=${newName()}/${odd}/odd`)).status, 500);
      await server.said(new RegExp(`expires must be a time in seconds.*, not a ${type}`), from);
    }
  });

  it("is each namespace's own on a connection of several", async () => {
    const [name, other] = [newName(), newName()];
    const guest = await visit(server, { auth: { token: `${name}/4` } });
    const second = guest.socket.io.socket("/other", { auth: { token: `${other}/never` } });
    await within(new Promise((resolve) => second.once("connect", resolve)), "the second namespace");
    assert.equal(await guest.disconnected(), "io server disconnect");
    assert.deepEqual(await end(server, name), [["expired", true]]);
    assert.ok(second.connected, "the other one stays");
    const other2 = newName();
    guest.socket.auth = { token: `${other2}/never` };
    guest.socket.connect();
    await guest.connected();
    assert.equal((await guest.ask("who")).id, other2);
    guest.close();
    assert.notEqual((await end(server, other))[0][0], "expired");
  });

  it("is asked for in each namespace, and each answer is for its own", async () => {
    const names = [newName(), newName()];
    const guest = await visit(server, { auth: { token: `${names[0]}/8` } });
    const second = guest.socket.io.socket("/other", { auth: { token: `${names[1]}/8` } });
    const asked = (socket) =>
      within(
        new Promise((resolve) => socket.once("refresh", (_, answer) => resolve(answer))),
        "its question",
      );
    const answers = await Promise.all([asked(guest.socket), asked(second)]);
    // The first answers with what would be good for the other one only.
    answers[0]({ token: `${names[1]}/60` });
    answers[1]({ token: `${names[1]}/60/again` });
    assert.equal(await guest.disconnected(), "io server disconnect");
    assert.deepEqual(await end(server, names[0]), [["expired", true]]);
    assert.ok(second.connected);
    const { auths, ends } = await life(server, names[1]);
    assert.deepEqual([auths, ends], [3, []]);
    guest.close();
    await end(server, names[1]);
  });

  it("lets an EventSource speak for itself", async () => {
    const name = newName();
    const source = new EventSource(`${server.url}/?sid=new&token=${name}/6`);
    const heard = (event) =>
      within(new Promise((resolve) => source.addEventListener(event, resolve)), event);
    const [sid, question] = await Promise.all([heard("sid"), heard("refresh")]);
    assert.equal(JSON.parse(question.data).expires > Date.now() / 1000, true);
    const token = `${name}/4/second`;
    const answer = await post(server, `/?sid=${JSON.parse(sid.data).sid}`, {
      event: "refresh",
      data: { token },
    });
    assert.equal(answer.status, 204);
    assert.deepEqual(await end(server, name), [["expired", true]]);
    source.close();
  });

  it("is not asked for in raw frames, which are the app's own", async () => {
    const name = newName();
    const peer = await connect(server, `/raw?token=${name}/4`);
    peer.send("hello");
    assert.equal(await peer.next(), "hello");
    assert.deepEqual(await peer.closed(), { code: 4401, reason: "expired" });
    assert.deepEqual(peer.inbox.items, []);
    assert.deepEqual(await end(server, name), [["expired", true]]);
  });

  for (const [transport, transports] of Object.entries(TRANSPORTS)) {
    it(`ends Engine.IO without Socket.IO over ${transport}`, async () => {
      const name = newName();
      const query = { token: `${name}/4` };
      const socket = new engine.Socket(server.url, { path: "/plain", transports, query });
      const heard = [];
      socket.on("message", (data) => heard.push(data));
      await within(new Promise((resolve) => socket.on("close", resolve)), "the end");
      assert.deepEqual(await end(server, name), [["expired", true]]);
      assert.deepEqual(heard, []);
    });
  }

  it("can be given to a stream by a route", async () => {
    const name = newName();
    const events = await stream(server, `/stream/4?id=${name}`);
    await events.next("refresh");
    await events.ended();
    assert.deepEqual(await end(server, name), [["expired", true]]);
  });

  it("hears no answer after its end, nor a second one", async () => {
    const name = newName();
    const wire = await upgrade(server, `/?token=${name}/4`);
    const { id } = JSON.parse((await wire.frame()).payload);
    const answer = frame(TEXT, JSON.stringify({ id, data: `${name}/60` }));
    const { opcode, code, reason } = await wire.frame();
    assert.deepEqual([opcode, code, reason], [CLOSE, 4401, "expired"]);
    wire.write(answer, answer, closeFrame(4401));
    await wire.end();
    assert.deepEqual(await end(server, name), [["expired", true]]);
    assert.equal((await life(server, name)).auths, 1);

    const twice = newName();
    const second = await upgrade(server, `/?token=${twice}/8`);
    const question = JSON.parse((await second.frame()).payload);
    const reply = frame(TEXT, JSON.stringify({ id: question.id, data: `${twice}/60/x/0.2` }));
    second.write(reply, reply, frame(TEXT, JSON.stringify({ id: 1, event: "slow", data: 0.4 })));
    assert.deepEqual(JSON.parse((await second.frame()).payload), { id: 1, data: "x" });
    assert.equal((await life(server, twice)).auths, 2);
    second.destroy();
  });

  it("knows no stream after its end", async () => {
    const name = newName();
    const events = await stream(server, `/?sid=new&token=${name}/3`);
    const { sid } = JSON.parse((await events.next("sid")).data);
    await events.ended();
    const late = await post(server, `/?sid=${sid}`, { event: "refresh", data: `${name}/60` });
    assert.equal(late.status, 404);
  });

  it("is not asked for again where the answer has won no time", async () => {
    const name = newName();
    const session = await connect(server, `/cookie?token=${name}`);
    const question = await session.find(({ event }) => event === "refresh");
    session.send({ id: question.id, data: {} });
    assert.deepEqual(await session.closed(), { code: 4401, reason: "expired" });
    assert.deepEqual(session.inbox.items, [], "one question");
    assert.equal((await life(server, name)).auths, 2);
  });
});

describe("many identities", () => {
  const server = serving(app(1));

  it("end in the order of their time, whoever goes before", async () => {
    const peers = await Promise.all(
      Array.from({ length: 120 }, async (_, n) => {
        const seconds = 6 + ((n * 37) % 120) / 100;
        return connect(server, `/?token=${newName()}/${seconds}/crowd`);
      }),
    );
    const [leaving, staying] = [0, 1].map((part) => peers.filter((_, n) => (n % 3 === 0) === !part));
    leaving.forEach((peer) => peer.socket.terminate());
    await Promise.all(staying.map(async (peer) => assert.equal((await peer.closed()).code, 4401)));
    const ends = await eventually("all ends", async () => {
      const { json } = await get(`${server.url}/order`);
      return json.length === peers.length && json;
    });
    const times = ends.filter(([, why]) => why === "expired").map(([time]) => Math.ceil(time * 1000));
    assert.equal(times.length, staying.length);
    assert.deepEqual(times, [...times].sort((a, b) => a - b));
  });

  it("end in the same moment", async () => {
    const name = newName();
    const peers = await Promise.all(
      Array.from({ length: 300 }, () => connect(server, `/cookie?token=${name}&seconds=8`)),
    );
    const codes = await Promise.all(peers.map(async (peer) => (await peer.closed()).code));
    assert.deepEqual([...new Set(codes)], [4401]);
    const { ends } = await eventually("all ends", async () => {
      const now = await life(server, name);
      return now.ends.length === peers.length && now;
    });
    assert.deepEqual([...new Set(ends.map(([why]) => why))], ["expired"]);
  });
});

describe("a reload between question and answer", () => {
  const server = serving(app(1), { args: ["--refresh-before", "3"] });

  it("leaves the answer to the new on_auth", async () => {
    const name = newName();
    const peer = await connect(server, `/?token=${name}/8`);
    const asked = peer.find(({ event }) => event === "refresh");
    const question = await asked;
    const left = question.data.expires - Date.now() / 1000;
    assert.ok(left <= 3, `asked ${left} s before the end`);
    fs.writeFileSync(server.file, app(2));
    const from = server.output().length;
    server.signal("SIGHUP");
    await server.said(/version 2 is in service/, from);
    peer.send({ id: question.id, data: { token: `${name}/60` } });
    await eventually("the new version's user", async () => {
      return (await peer.call("who")).data.version === 2;
    });
    await peer.close();
  });

  it("without on_auth lets nobody stay", async () => {
    const name = newName();
    const peer = await connect(server, `/?token=${name}/8`);
    const question = await peer.find(({ event }) => event === "refresh");
    fs.writeFileSync(server.file, `return { events = { here = function() return true end } }`);
    const from = server.output().length;
    server.signal("SIGHUP");
    await server.said(/version 3 is in service/, from);
    peer.send({ id: question.id, data: { token: `${name}/60` } });
    assert.equal((await peer.call("here")).data, true);
    assert.deepEqual(await peer.closed(), { code: 4401, reason: "expired" });
  });
});

describe("the server's stop", () => {
  const server = serving(app(1));

  it("leaves nothing of identities that would have ended, asked or not", async () => {
    const names = [newName(), newName(), newName()];
    await connect(server, `/?token=${names[0]}/600`);
    const peer = await connect(server, `/?token=${names[1]}/8`);
    const question = await peer.find(({ event }) => event === "refresh");
    peer.send({ id: question.id, data: { token: `${names[1]}/600/x/30` } });
    await eventually("on_auth", async () => (await life(server, names[1])).auths === 2);
    const { status } = await request(server.url, `/life/${names[0]}`);
    assert.equal(status, 200);
  });
});
