-- What the Socket.IO tests ask of a server. reference.js says the same to the reference server;
-- the two are kept alike, event by event.
local mw = require "moonwire"

local root = { events = {} }
local reasons = mw.state("reasons", {}) -- client id -> why it went
local received = mw.state("received", {}) -- key -> numbers, in the order in which they came

function root.on_connect(client) client:emit("welcome", client.id) end

function root.on_join() return true end -- asked by plain WebSockets only

function root.on_disconnect(client, reason)
  reasons[client.id] = reason
  mw.log.info("gone: " .. reason)
end

function root.events.echo(client, ...) client:emit("echo", ...) end

function root.events.ask(_, ...) return ... end

function root.events.fail(_, code, detail) return nil, code, detail end

function root.events.call(client, event, ...)
  local answers = table.pack(client:timeout(0.5):request(event, ...))
  if answers[1] == nil and answers[2] == "timeout" then return client:emit("unanswered") end
  client:emit("answered", table.unpack(answers, 1, answers.n))
end

function root.events.join(client, room)
  client:join(room)
  return true
end

function root.events.leave(client, room)
  client:leave(room)
  return true
end

function root.events.tell(client, room, ...) client:to(room):emit("told", ...) end

function root.events.shout(_, room, ...) mw.room(room):emit("told", ...) end

function root.events.broadcast(client, ...) client:broadcast("told", ...) end

local function rooms_but(rooms, except)
  return (type(rooms) == "table" and mw.rooms(rooms) or mw.room(rooms)):except(except)
end

root.events["tell but"] = function(client, room, except) client:to(room):except(except):emit "told" end

root.events["shout but"] = function(_, rooms, except) rooms_but(rooms, except):emit "told" end

root.events["broadcast but"] = function(client, except) client:except(except):emit "told" end

root.events["everybody but"] = function(_, except) mw.namespace():except(except):emit "told" end

function root.events.there(_, rooms, except) return #rooms_but(rooms, except):clients() end

function root.events.move(_, rooms, except, room)
  rooms_but(rooms, except):join(room)
  return true
end

function root.events.remove(_, rooms, except, room)
  rooms_but(rooms, except):leave(room)
  return true
end

function root.events.gather(_, rooms, except)
  local answers = {}
  for _, answer in ipairs((rooms_but(rooms, except):timeout(5):request "count me")) do
    answers[#answers + 1] = answer[1]
  end
  table.sort(answers)
  return mw.array(answers)
end

function root.events.whisper(client, times)
  for i = 1, times do client:volatile():emit("whispered", i) end
  client:emit "whispered all"
end

function root.events.who(client)
  local rooms = mw.array {}
  for name in pairs(client.rooms) do rooms[#rooms + 1] = name end
  table.sort(rooms)
  return { id = client.id, auth = client.request.auth, query = client.request.query.q, rooms = rooms }
end

function root.events.handshake(client)
  local request = client.request
  return { address = request.ip, secure = request.secure, seconds = request.time }
end

function root.events.leave_me(client) client:disconnect() end

function root.events.leave_me_all(client) client:disconnect(nil, true) end

function root.events.rooms_there()
  local counts = mw.object {}
  for name, room in pairs(mw.namespace():rooms()) do counts[name] = room:count() end
  return counts
end

function root.events.reason(_, id) return reasons[id] or mw.null end

function root.events.up(client, key, n)
  received[key] = received[key] or mw.array {}
  table.insert(received[key], n)
  client:emit("down", 2 * n)
  client:emit("down", 2 * n + 1)
end

function root.events.received(_, key) return received[key] or mw.array {} end

local custom = { namespace = "/custom", events = { ask = root.events.ask, tell = root.events.tell } }

function custom.events.join(client, room)
  client:join(room)
  return true
end

for _, namespace in ipairs { root, custom } do
  local ttl = mw.env.RECOVERY_SECONDS
  namespace.recovery = ttl and { ttl = tonumber(ttl) }

  function namespace.events.keep(client, value)
    client.data.kept = value
    return true
  end

  function namespace.events.state(client)
    return { id = client.id, recovered = client.recovered, kept = client.data.kept }
  end

  function namespace.events.say(client, room, count)
    for i = 1, count do client:to(room):emit("said", i) end
  end

  function namespace.events.fleeting(client, room) client:to(room):volatile():emit("told", "fleeting") end

  namespace.events["ask the room"] = function(client, room)
    client:to(room):timeout(0.05):request("asked", 1)
    return true
  end
end

local admin = { namespace = "/admin", events = {} }

function admin.on_auth(request)
  if request.auth.token ~= "secret" then return nil, "unauthorized", { hint = "a token" } end
  return { id = "admin" }
end

function admin.events.ask(_, ...) return ... end

local tenant = { namespace = "/tenant/:id", events = {} }

function tenant.events.tenant(client) return client.params.id end

-- Engine.IO without Socket.IO: what comes goes back.
local plain = { namespace = "/plain", protocol = "engine.io" }

function plain.on_connect(client) client:send("hello " .. client.request.query.name) end

function plain.on_message(client, data, kind)
  if data == "leave me" then return client:disconnect() end
  client:send(data, kind)
end

return { root, custom, admin, tenant, plain }
