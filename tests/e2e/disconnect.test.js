// mw.user(id):disconnect works at once, on every wire, whatever stands in a client's line.
"use strict";

const assert = require("node:assert/strict");
const { describe, it } = require("node:test");
const { eventually, packages, within } = require("../support.js");
const { connect, get, metric, serving } = require("./support.js");
const { WIRES, app, end, life, newName } = require("./identities.js");
const { frame, upgrade, TEXT } = require("./wire.js");
const engine = packages("engine.io-client");

describe("mw.user(id):disconnect", () => {
  const server = serving(app(1));

  for (const [wire, open] of Object.entries(WIRES)) {
    it(`works at once, whatever the client's line holds: ${wire}`, async () => {
      const [name, admin] = [newName(), newName()];
      const queued = (count) =>
        eventually(`${count} events in line`, async () => {
          return (await metric(server, "moonwire_queued_events")) === count;
        });
      const client = await open(server, `${name}/60`);
      const operator = await connect(server, `/?token=${admin}/never`);
      client.tell("slow", 1);
      client.tell("mark");
      client.tell("mark");
      await queued(2);
      assert.equal((await operator.call("kick", name, "revoked")).data, 1);
      await client.ended("revoked");
      // What stood in line still runs, for a client that is gone.
      assert.deepEqual((await end(server, name)).map(([why]) => why), ["revoked"]);
      assert.deepEqual(
        (await get(`${server.url}/marks`)).json.filter((mark) => mark.startsWith(name)),
        [`${name} gone`, `${name} gone`],
      );
      assert.equal((await operator.call("kick", name)).data, 0);
      await operator.close();
    });
  }

  it("frames behind the one that ends its user are not heard", async () => {
    const name = newName();
    const wire = await upgrade(server, `/?token=${name}/60`);
    const count = frame(TEXT, JSON.stringify({ event: "count" }));
    wire.write(count, count, count);
    const { code, reason } = await wire.frame();
    assert.deepEqual([code, reason], [1000, "revoked"]);
    wire.destroy();
    await end(server, name);
    assert.equal((await life(server, name)).count, 1);
  });
});

describe("mw.user(id):disconnect, of raw frames", () => {
  const server = serving(app(1));

  it("ends WebSockets and sessions of Engine.IO, polling ones too", async () => {
    const name = newName();
    const peer = await connect(server, `/raw?token=${name}/never`);
    const plain = ["polling", "websocket"].map((transport) => {
      const query = { token: `${name}/never` };
      const socket = new engine.Socket(server.url, { path: "/plain", transports: [transport], query });
      return {
        open: within(new Promise((resolve) => socket.on("open", resolve)), "its opening"),
        closed: within(new Promise((resolve) => socket.on("close", resolve)), "its close"),
      };
    });
    await Promise.all(plain.map(({ open }) => open));
    await eventually("all connections", async () => (await life(server, name)).connects === 3);
    assert.equal((await get(`${server.url}/kick/${name}`)).json.count, 3);
    assert.deepEqual(await peer.closed(), { code: 1000, reason: "revoked" });
    await Promise.all(plain.map(({ closed }) => closed));
    const ends = await eventually("three ends", async () => {
      const all = (await life(server, name)).ends;
      return all.length === 3 && all;
    });
    assert.deepEqual(ends.map(([why]) => why), ["revoked", "revoked", "revoked"]);
  });
});
