// Clients that come back and have missed nothing, with the unmodified client: beside the reference
// server as far as both promise the same.
"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { within } = require("../../support.js");
const { TRANSPORTS, onEach, visit } = require("./support.js");

// Breaks the connection, as the client's network would.
async function drop(guest) {
  const gone = new Promise((resolve) => guest.socket.once("disconnect", resolve));
  guest.socket.io.engine.close();
  await within(gone, "the end of the connection");
}

async function comeBack(guest) {
  const back = new Promise((resolve, reject) => {
    guest.socket.once("connect", resolve).once("connect_error", reject);
  });
  guest.socket.connect();
  await within(back, "the reconnection");
  return guest;
}

// The first arguments of the events that have come, up to this one.
async function toldUntil(guest, last) {
  const told = [];
  for (;;) {
    const [event, first] = await guest.inbox.take();
    if (event !== "welcome") told.push(first);
    if (first === last) return told;
  }
}

const recovery = { connectionStateRecovery: { maxDisconnectionDuration: 60_000, skipMiddlewares: true } };

onEach("recovery", recovery, (server) => {
  for (const namespace of ["", "/custom"]) {
    for (const transport of Object.keys(TRANSPORTS)) {
      describe(`${namespace || "/"} over ${transport}`, () => {
        // Two guests, one of whom is in a room and has heard something.
        async function meet() {
          const guests = [];
          for (let i = 0; i < 2; i++) {
            guests.push(await visit(server, { namespace, transport, reconnectionDelay: 10 }));
          }
          const [guest, other] = guests;
          await guest.ask("join", "here");
          other.emit("tell", "here", "first");
          await guest.inbox.find(([, first]) => first === "first");
          return guests;
        }

        test("gives back the id, the rooms, the data and what was said", async () => {
          const [guest, other] = await meet();
          const { id } = guest.socket;
          await guest.ask("keep", { n: 7 });
          await drop(guest);
          await other.ask("say", "here", 3);
          await other.ask("say", "elsewhere", 3);
          other.emit("tell", "here", "binary", Buffer.from([1, 2, 3]));
          await other.ask("state");
          await comeBack(guest);
          assert.equal(guest.socket.recovered, true);
          assert.equal(guest.socket.id, id);
          other.emit("tell", "here", "last");
          const told = [];
          for (let first; first !== "last"; told.push(first)) {
            const event = await guest.inbox.take();
            if (event[0] === "welcome") event[1] = "welcome";
            first = event[1];
            if (first === "binary") assert.deepEqual([...event[2]], [1, 2, 3]);
          }
          assert.deepEqual(
            told.filter((first) => first !== "welcome"),
            [1, 2, 3, "binary", "last"],
          );
          assert.deepEqual(await guest.ask("state"), { id, recovered: true, kept: { n: 7 } });
          guest.close();
          other.close();
        });

        test("leaves out what is volatile, and what asks for an answer", async () => {
          const [guest, other] = await meet();
          await drop(guest);
          await other.ask("fleeting", "here");
          await other.ask("ask the room", "here");
          other.emit("tell", "here", "last");
          await other.ask("state");
          await comeBack(guest);
          assert.deepEqual(await toldUntil(guest, "last"), ["last"]);
          guest.close();
          other.close();
        });

        test("is for those only who did not leave", async () => {
          const [guest, other] = await meet();
          const { id } = guest.socket;
          guest.socket.disconnect();
          await guest.disconnected();
          await comeBack(guest);
          assert.equal(guest.socket.recovered, false);
          assert.notEqual(guest.socket.id, id);
          assert.equal((await guest.ask("state")).recovered, false);
          guest.close();
          other.close();
        });

        test("works again and again", async () => {
          const [guest, other] = await meet();
          for (let i = 1; i <= 3; i++) {
            await drop(guest);
            other.emit("tell", "here", i);
            await other.ask("state");
            await comeBack(guest);
            assert.equal(guest.socket.recovered, true);
            assert.deepEqual(await toldUntil(guest, i), [i]);
          }
          guest.close();
          other.close();
        });
      });
    }
  }
});

onEach("recovery of those who were sent away", recovery, (server) => {
  test("does not take place", async () => {
    const guest = await visit(server);
    const gone = guest.disconnected();
    guest.emit("leave_me");
    assert.equal(await gone, "io server disconnect");
    await comeBack(guest);
    assert.equal(guest.socket.recovered, false);
    guest.close();
  });
});

const brief = { connectionStateRecovery: { maxDisconnectionDuration: 1 } };

onEach("recovery after too long a time", brief, (server) => {
  test("does not take place", async () => {
    const guest = await visit(server);
    await guest.next("welcome");
    const { id } = guest.socket;
    await drop(guest);
    await new Promise((resolve) => setTimeout(resolve, 1500)); // the limits are 1 ms, and a sweep each second
    await comeBack(guest);
    assert.equal(guest.socket.recovered, false);
    assert.notEqual(guest.socket.id, id);
    guest.close();
  });
});
