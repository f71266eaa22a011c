// Namespaces: several over one connection, those that want a token, those that match a pattern,
// those that are not there.
"use strict";

const assert = require("node:assert/strict");
const { after, test } = require("node:test");
const { within } = require("../../support.js");
const { Guest, TRANSPORTS, onEach, visit } = require("./support.js");

for (const transport of Object.keys(TRANSPORTS)) {
  onEach(`namespaces over ${transport}`, {}, (server) => {
    const guests = [];
    after(() => guests.forEach((guest) => guest.close()));

    const keep = (guest) => {
      guests.push(guest);
      return guest;
    };
    const arrive = async (options) => keep(await visit(server, { transport, ...options }));
    const attempt = (namespace, options) =>
      keep(new Guest(server.url + namespace, { transports: TRANSPORTS[transport], ...options }));

    // A second namespace over the same connection.
    function beside(guest, namespace, auth) {
      const socket = guest.socket.io.socket(namespace, { auth });
      return new Promise((resolve, reject) => {
        socket.once("connect", () => resolve(socket)).once("connect_error", reject);
      });
    }

    test("two of them share a connection, and nothing else", async () => {
      const guest = await arrive();
      const custom = await beside(guest, "/custom");
      assert.notEqual(custom.id, guest.socket.id);
      assert.equal(custom.io, guest.socket.io);
      assert.deepEqual(await custom.timeout(5000).emitWithAck("ask", "custom"), "custom");

      const heard = new Promise((resolve) => custom.onAny((...event) => resolve(event)));
      const stranger = await arrive();
      const other = await arrive({ namespace: "/custom" });
      for (const each of [guest, stranger]) await each.ask("join", "same name");
      await custom.timeout(5000).emitWithAck("join", "same name");
      await other.ask("join", "same name");
      stranger.emit("tell", "same name", "in the main one");
      other.emit("tell", "same name", "in the custom one", Buffer.from("b"));
      assert.deepEqual(await guest.next("told"), ["in the main one"]);
      const event = await within(heard, "an event in the custom namespace");
      assert.deepEqual(event, ["told", "in the custom one", Buffer.from("b")]);
    });

    test("leaving one keeps the other", async () => {
      const guest = await arrive();
      const custom = await beside(guest, "/custom");
      custom.disconnect();
      assert.equal(await guest.ask("ask", "still here"), "still here");
      const again = await beside(guest, "/custom");
      assert.notEqual(again.id, guest.socket.id);
      guest.socket.disconnect();
      assert.equal(await again.timeout(5000).emitWithAck("ask", "also here"), "also here");
    });

    test("being sent away from one keeps the other", async () => {
      const guest = await arrive();
      const custom = await beside(guest, "/custom");
      guest.emit("leave_me");
      assert.equal(await guest.disconnected(), "io server disconnect");
      assert.equal(await custom.timeout(5000).emitWithAck("ask", "still here"), "still here");
    });

    test("a token opens the door, and without it there is an error with data", async () => {
      const stranger = attempt("/admin", { auth: { token: "wrong" } });
      const error = await stranger.refused();
      assert.equal(error.message, "unauthorized");
      assert.deepEqual(error.data, { hint: "a token" });
      assert.equal(stranger.socket.connected, false);

      stranger.socket.auth = { token: "secret" }; // as the documentation has it
      stranger.socket.connect();
      await stranger.connected();
      assert.equal(await stranger.ask("ask", "in"), "in");
    });

    test("the token may come from a function, and refusal leaves other namespaces alone", async () => {
      const guest = await arrive();
      await assert.rejects(beside(guest, "/admin", {}), { message: "unauthorized" });
      assert.equal(await guest.ask("ask", 1), 1);
      const admin = await arrive({ namespace: "/admin", auth: (tell) => tell({ token: "secret" }) });
      assert.equal(await admin.ask("ask", 2), 2);
    });

    test("a namespace that is not there is invalid", async () => {
      const error = await attempt("/nowhere").refused();
      assert.equal(error.message, "Invalid namespace");
      assert.equal(error.data, undefined);
    });

    test("a namespace may be a pattern", async () => {
      const one = await arrive({ namespace: "/tenant/one" });
      const two = await arrive({ namespace: "/tenant/two" });
      assert.equal(await one.ask("tenant"), "one");
      assert.equal(await two.ask("tenant"), "two");
      const error = await attempt("/tenant/").refused();
      assert.equal(error.message, "Invalid namespace");
    });
  });
}
