// Whom the server reaches: rooms, several of them, all of them, without the members of other rooms.
// Each of these is said to the reference server in its own words (reference.js).
"use strict";

const assert = require("node:assert/strict");
const { after, test } = require("node:test");
const { onEach, visit } = require("./support.js");

onEach("audiences", {}, (server) => {
  const guests = [];
  after(() => guests.forEach((guest) => guest.close()));

  // ana in a; ben in a and b; cleo in b and c; dan nowhere. Each suite of rooms has its own names,
  // for the others are still there.
  let suite = 0;
  async function people() {
    const prefix = `${++suite}:`;
    const name = (room) => prefix + room;
    const all = {};
    for (const who of ["ana", "ben", "cleo", "dan"]) {
      all[who] = await visit(server);
      guests.push(all[who]);
    }
    const joins = { ana: "a", ben: "ab", cleo: "bc", dan: "" };
    for (const [who, rooms] of Object.entries(joins)) {
      for (const room of rooms) await all[who].ask("join", name(room));
    }
    const names = (rooms) => (Array.isArray(rooms) ? rooms.map(name) : name(rooms));
    return { all, names };
  }

  // Who has heard it, among these four: afterwards each of them is answered, so that what was not
  // to come has not come.
  async function hearers(all) {
    const heard = [];
    for (const [who, guest] of Object.entries(all)) {
      await guest.ask("ask");
      const told = guest.inbox.items.filter(([event]) => event === "told").length;
      if (told) heard.push(told > 1 ? `${who} ${told} times` : who);
    }
    return heard.join(" ");
  }

  const SPEECHES = [
    ["tell but", ["a", "b"], ""],
    ["tell but", ["a", []], "ben"],
    ["shout but", ["a", "b"], "ana"],
    ["shout but", ["b", ["a", "none"]], "cleo"],
    ["shout but", [["a", "b"], "c"], "ana ben"],
    ["shout but", [["a", "b"], ["b", "c"]], "ana"],
    ["shout but", [["a", "b"], []], "ana ben cleo"],
    ["broadcast but", ["c"], "ben dan"],
    ["everybody but", ["a"], "cleo dan"],
    ["everybody but", [["a", "c"]], "dan"],
  ];
  for (const [event, rooms, expected] of SPEECHES) {
    test(`${event} ${JSON.stringify(rooms)}`, async () => {
      const { all, names } = await people();
      await all.ana.emit(event, ...rooms.map(names)).ask("ask");
      assert.equal(await hearers(all), expected);
    });
  }

  test("the rooms with somebody in them are listed", async () => {
    const { all, names } = await people();
    const own = async () => {
      const rooms = Object.entries(await all.dan.ask("rooms_there"));
      return Object.fromEntries(rooms.filter(([room]) => room.startsWith(names(""))));
    };
    assert.deepEqual(await own(), { [names("a")]: 2, [names("b")]: 2, [names("c")]: 1 });
    await all.cleo.ask("leave", names("c"));
    assert.deepEqual(await own(), { [names("a")]: 2, [names("b")]: 2 });
  });

  test("those who are there are counted and moved, each once", async () => {
    const { all, names } = await people();
    const { ana, dan } = all;
    assert.equal(await ana.ask("there", names(["a", "b"]), []), 3);
    assert.equal(await ana.ask("there", names(["a", "b"]), names("c")), 2);
    assert.equal(await ana.ask("there", names("b"), names(["a"])), 1);
    await dan.ask("move", names(["a", "b"]), names("c"), names("new"));
    assert.equal(await ana.ask("there", names("new"), []), 2);
    await dan.ask("remove", names(["b", "new"]), names("c"), names("new"));
    assert.equal(await ana.ask("there", names("new"), []), 0);
    assert.equal(await ana.ask("there", names(["a", "b"]), []), 3);
  });

  test("several rooms are asked, each client once", async () => {
    const { all, names } = await people();
    Object.entries(all).forEach(([who, guest]) => guest.socket.on("count me", (ack) => ack(who)));
    const { ana } = all;
    assert.deepEqual(await ana.ask("gather", names(["a", "b"]), []), ["ana", "ben", "cleo"]);
    assert.deepEqual(await ana.ask("gather", names(["a", "b"]), names("c")), ["ana", "ben"]);
    assert.deepEqual(await ana.ask("gather", names("none"), []), []);
  });
});
