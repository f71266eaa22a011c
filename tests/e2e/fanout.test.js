// A thousand clients in one room, over both wires: everybody hears everything, once and in order.
"use strict";

const assert = require("node:assert/strict");
const { describe, it } = require("node:test");
const { connect, metric, serving, stream } = require("./support.js");

const APP = `
local mw = require "moonwire"
return {
  on_join = function() return true end,
  events = { say = function(client, text) mw.room("all"):emit("said", text) end },
}
`;

const SOCKETS = 700;
const STREAMS = 300;
const SPEAKERS = 4;
const WORDS = 10; // of each speaker

// Some at a time, so that no queue of connections overflows.
async function inBatches(count, open) {
  const all = [];
  while (all.length < count) {
    const size = Math.min(50, count - all.length);
    all.push(...(await Promise.all(Array.from({ length: size }, open))));
  }
  return all;
}

describe("a room of a thousand", () => {
  const server = serving(APP);

  it("hears every word once, in each speaker's order", async () => {
    const peers = await inBatches(SOCKETS, async () => {
      const peer = await connect(server);
      await peer.join("all");
      return peer;
    });
    const streams = await inBatches(STREAMS, async () => {
      const events = await stream(server, "/?room=all");
      await events.next("joined");
      return events;
    });
    assert.equal(await metric(server, 'moonwire_clients{wire="websocket"}'), SOCKETS);
    assert.equal(await metric(server, 'moonwire_clients{wire="sse"}'), STREAMS);

    for (let word = 0; word < WORDS; word++) {
      peers.slice(0, SPEAKERS).forEach((peer, speaker) => peer.emit("say", [speaker, word]));
    }
    const count = SPEAKERS * WORDS;
    const ofPeer = async (peer) => {
      const heard = [];
      while (heard.length < count) heard.push((await peer.next()).data);
      return heard;
    };
    const ofStream = async (events) => {
      const heard = [];
      while (heard.length < count) heard.push(JSON.parse((await events.next()).data));
      return heard;
    };
    const everybody = await Promise.all([...peers.map(ofPeer), ...streams.map(ofStream)]);
    const [first] = everybody;
    for (let speaker = 0; speaker < SPEAKERS; speaker++) {
      const words = first.filter(([from]) => from === speaker).map(([, word]) => word);
      assert.deepEqual(
        words,
        Array.from({ length: WORDS }, (_, word) => word),
      );
    }
    // One worker has one order.
    everybody.forEach((heard) => assert.deepEqual(heard, first));
    peers.forEach((peer) => peer.socket.terminate());
    streams.forEach((events) => events.destroy());
  });
});
