// What the tests of recovery share: the handlers, and words for what a peer hears.
"use strict";

const assert = require("node:assert/strict");

const APP = `
local mw = require "moonwire"
local app = {
  rooms = {
    ["log:*"] = { history = { size = 20000 } },
    ["disk:*"] = { history = { size = 20000, durable = true } },
    ["some:*"] = { history = { size = 3000 } },
    ["small:*"] = { history = { size = 5 } },
    ["brief:*"] = { history = { size = 100, ttl = 1 } },
  },
  events = {}, routes = {},
}
local events = app.events

function app.on_join(client, room, options)
  if options.forbid then return nil, "forbidden" end
  local seen = { after = options.after, recovered = options.recovered, reason = options.reason }
  if options.read then
    local history, complete, reason = room:history { after = options.after, limit = options.limit }
    seen.history, seen.complete, seen.why = history, complete, reason
  end
  if options.newest then seen.history = room:history { limit = 2 } end
  if options.peek then mw.room(options.peek):history { after = options.after } end
  if options.wait then
    mw.room("gate"):emit "waiting"
    while not mw.state("open", { true })[1] do mw.sleep(0.005) end
  end
  return seen
end

-- Whoever waits in on_join goes on.
function events.gate(client, open) mw.state("open", { true })[1] = open end
function events.say(client, room, n, size)
  return mw.room(room):emit("said", { room = room, n = n, pad = size and ("x"):rep(size) })
end
function events.many(client, room, first, last, size)
  local offset
  for n = first, last do offset = events.say(client, room, n, size) end
  return offset
end
function events.loose(client, room, n) mw.room(room):volatile():emit("said", { room = room, n = n }) end
function events.raw(client, room) mw.room(room):send("raw text"); mw.room(room):send("\\0\\1", "binary") end
function events.mine(client, room, n) client:to(room):emit("said", { room = room, n = n }) end
function events.both(client, rooms, n) mw.rooms(rooms):emit("said", { room = "several", n = n }) end
function events.join(client, room, options) return client:join(room, options) end
function events.quit(client, room) return client:leave(room) end
function events.count(client, room) return mw.room(room):count() end
function events.history(client, room) return #mw.room(room):history() end

-- Says 1 to total in each room, in bursts, and never waits for anybody.
function events.flood(client, rooms, total)
  mw.spawn(function()
    local n = 0
    while n < total do
      for _ = 1, math.min(math.random(20), total - n) do
        n = n + 1
        for _, room in ipairs(rooms) do events.say(client, room, n, math.random(0, 300)) end
      end
      mw.sleep(0.002)
    end
  end)
end

app.routes["GET /stream/:room"] = function(request)
  mw.sse(request, { rooms = { request.params.room } })
end
return app
`;

const numbers = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

// The next messages of a peer, as their numbers.
async function take(peer, count) {
  const got = [];
  while (got.length < count) {
    const { event, data } = await peer.next();
    assert.equal(event, "said");
    got.push(data.n);
  }
  return got;
}

// Nothing more comes but this.
async function onlyHears(peer, driver, room, n) {
  await driver.call("say", room, n);
  assert.deepEqual(await take(peer, 1), [n]);
}

module.exports = { APP, numbers, onlyHears, take };
