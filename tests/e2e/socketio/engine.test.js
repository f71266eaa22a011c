// An endpoint of Engine.IO without Socket.IO above it, for the unmodified engine.io-client.
"use strict";

const assert = require("node:assert/strict");
const { after, test } = require("node:test");
const { packages, within } = require("../../support.js");
const { Inbox, request } = require("../support.js");
const { TRANSPORTS, onEach } = require("./support.js");
const { Socket } = packages("engine.io-client");

for (const transport of Object.keys(TRANSPORTS)) {
  onEach(`Engine.IO alone over ${transport}`, {}, (server) => {
    const sockets = [];
    after(() => sockets.forEach((socket) => socket.close()));

    async function open(name) {
      const options = { path: "/plain", transports: TRANSPORTS[transport], query: { name } };
      const socket = new Socket(server.url, options);
      sockets.push(socket);
      socket.binaryType = "nodebuffer";
      const inbox = new Inbox(name);
      socket.on("message", (data) => inbox.put(data));
      const gone = new Promise((resolve) => socket.on("close", resolve));
      const upgraded = new Promise((resolve) => socket.on("upgrade", resolve));
      assert.equal(await inbox.take(), `hello ${name}`);
      if (transport === "upgrade") await within(upgraded, "the upgrade");
      return { socket, next: () => inbox.take(), gone: () => within(gone, "its close") };
    }

    test("text and binary messages go both ways, in order", async () => {
      const { socket, next } = await open("ana");
      const messages = [" ", "ünï ☃", Buffer.from([0, 255]), "[1]", Buffer.alloc(0), "x".repeat(50_000)];
      for (let i = 0; i < 100; i++) messages.push(i % 3 ? `text ${i}` : Buffer.from([i]));
      for (const message of messages) socket.send(message);
      for (const message of messages) assert.deepEqual(await next(), message);
    });

    test("what looks like Socket.IO is text here", async () => {
      const { socket, next } = await open("ben");
      for (const text of ["0", '2["event"]', "2probe", "6", "b64"]) {
        socket.send(text);
        assert.equal(await next(), text);
      }
    });

    test("the server closes it", async () => {
      const { socket, gone } = await open("eve");
      socket.send("leave me");
      assert.equal(await gone(), "transport close");
    });

    test("it is no Socket.IO, and Socket.IO is not it", async () => {
      const { socket } = await open("kim");
      const { status, json } = await request(
        server.url,
        `/socket.io/?EIO=4&transport=polling&sid=${socket.id}`,
      );
      assert.deepEqual([status, json], [400, { code: 1, message: "Session ID unknown" }]);
    });
  });
}
