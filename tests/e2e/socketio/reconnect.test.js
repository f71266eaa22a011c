// A server that dies and comes back: the unmodified client reconnects by itself.
"use strict";

const assert = require("node:assert/strict");
const { after, describe, test } = require("node:test");
const { within } = require("../../support.js");
const { Guest, KINDS, TRANSPORTS, start } = require("./support.js");

const PATIENCE = { reconnection: true, reconnectionDelay: 50, reconnectionDelayMax: 200 };

for (const kind of KINDS) {
  describe(`reconnection (${kind})`, () => {
    let server;
    after(() => server?.stop());

    for (const transport of Object.keys(TRANSPORTS)) {
      test(`a client over ${transport} is back after a restart, with what it said meanwhile`, async () => {
        server = server ?? (await start(kind));
        const options = { transports: TRANSPORTS[transport], ...PATIENCE };
        const guest = new Guest(server.url, options);
        await guest.connected();
        if (transport === "upgrade") await guest.upgraded();
        const first = guest.socket.id;
        await guest.ask("join", "before");

        const gone = guest.disconnected();
        await server.kill("SIGKILL");
        assert.match(await gone, /^transport (close|error)$/);
        guest.emit("echo", "said meanwhile", 1).emit("echo", "said meanwhile", 2);
        const back = new Promise((resolve) => guest.socket.once("connect", resolve));
        await server.start();
        await within(back, "the reconnection");

        assert.notEqual(guest.socket.id, first);
        assert.ok(!guest.socket.recovered);
        assert.deepEqual(await guest.next("echo"), ["said meanwhile", 1]);
        assert.deepEqual(await guest.next("echo"), ["said meanwhile", 2]);
        assert.deepEqual((await guest.ask("who")).rooms, []);
        guest.close();
      });

      test(`a server that shuts down ends a client over ${transport}`, async () => {
        const other = await start(kind);
        const guest = new Guest(other.url, { transports: TRANSPORTS[transport] });
        await guest.connected();
        if (transport === "upgrade") await guest.upgraded();
        const gone = guest.disconnected();
        await other.kill("SIGTERM");
        assert.match(await gone, /^(transport close|transport error|io server disconnect)$/);
        guest.close();
      });
    }
  });
}
