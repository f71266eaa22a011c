-- Rooms for an unmodified socket.io-client: join-room, leave-room, send-message. A plain WebSocket
-- speaks the same events in the same rooms. See README.md for the Node server that this replaces.
local mw = require "moonwire"

local TEXT_MAX, NAME_MAX = 2000, 32
local TOKEN = mw.env.ADMIN_TOKEN or "development"

local function typed(value, max)
  local text = type(value) == "string" and value:match "^%s*(.-)%s*$" or ""
  local length = utf8.len(text)
  if length and length > 0 and length <= max then return text end
end

local chat = {
  -- The page, and the official client from where npm has put it.
  static = { ["/"] = "public", ["/client"] = "node_modules/socket.io-client/dist" },
  limits = { rate = 20, burst = 40, max_payload = 16384 },
  events = {},
}

-- io({ auth: { name } }), or ws://host/?name=
function chat.on_auth(request)
  local name = typed(request.auth.name or request.query.name, NAME_MAX)
  if not name then return nil, "bad_name", "Please say who you are, in at most 32 letters." end
  return { id = name, name = name }
end

chat.events["join-room"] = function(client, name)
  local room = typed(name, NAME_MAX)
  if not room then return nil, "bad_room", "A room has a name of at most 32 letters." end
  client:join(room)
  client:to(room):emit("user-joined", { room = room, name = client.user.name })
  return { room = room, here = mw.room(room):members() }
end

chat.events["leave-room"] = function(client, room) return client:leave(room) end

chat.events["send-message"] = function(client, message)
  local room = type(message) == "table" and client.rooms[message.room]
  if not room then return nil, "not_in_room", "Enter the room first." end
  local text = typed(message.text, TEXT_MAX)
  if not text then return nil, "bad_text", "A message has 1 to 2000 letters." end
  local said = { room = room.name, from = client.user.name, text = text, time = mw.iso() }
  client:to(room.name):emit("receive-message", said)
  return said
end

-- After leave-room, and when the connection is lost.
function chat.on_leave(client, room)
  room:emit("user-left", { room = room.name, name = client.user.name })
end

-- io("/admin", { auth: { token } }): what goes on, and a word to everybody.
local admin = { namespace = "/admin", events = {} }

function admin.on_auth(request)
  if request.auth.token ~= TOKEN then return nil, "unauthorized", "That is not the token." end
  return { id = "admin" }
end

function admin.events.rooms()
  local counts = {}
  for _, client in ipairs(mw.namespace("/"):clients()) do
    for name in pairs(client.rooms) do counts[name] = (counts[name] or 0) + 1 end
  end
  return counts
end

function admin.events.announce(_, text)
  text = typed(text, TEXT_MAX)
  if not text then return nil, "bad_text" end
  mw.namespace("/"):emit("announcement", { text = text, time = mw.iso() })
  return true
end

return { chat, admin }
