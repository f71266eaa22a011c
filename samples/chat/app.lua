-- A chat with rooms. Start it with `moonwire dev samples/chat/app.lua`, open the page in two
-- browsers, and edit this file while they talk: the change is there, and nobody was disconnected.
local mw = require "moonwire"

local ROOMS = { "lobby", "music", "night-shift" } -- always listed; any other name opens a room too
local NAME_MAX, TEXT_MAX, HISTORY = 32, 2000, 50

local chat = {
  namespace = "/chat",
  static = "public",
  -- On disk, in .moonwire beside this file: what was said is there after a restart, for a week.
  rooms = { ["room:*"] = { history = { size = 200, ttl = 7 * 86400, durable = true } } },
  limits = { rate = 20, burst = 40, max_payload = 16384 },
  events = {},
}

-- What somebody typed, without the white space around it; or nil, a code and a sentence for people.
local function typed(value, max, what)
  local text = type(value) == "string" and value:match "^%s*(.-)%s*$" or ""
  if text == "" then return nil, "empty", "Please type a " .. what .. "." end
  local length = utf8.len(text)
  if not length then return nil, "not_text", "That " .. what .. " is not valid text." end
  if length > max then
    return nil, "too_long", ("A %s has at most %d characters."):format(what, max)
  end
  return text
end

-- Whether a person is in a room, before or after this very connection of theirs: a second tab is
-- not a second person.
local function is_here(room, user)
  for _, member in ipairs(room:members()) do
    if member.id == user.id then return true end
  end
  return false
end

function chat.on_auth(request)
  local name, code, why = typed(request.query.name, NAME_MAX, "name")
  if not name then return nil, code, why end
  return { id = name, name = name }
end

function chat.on_connect(client)
  client:emit("welcome", { name = client.user.name, rooms = ROOMS })
end

function chat.on_join(client, room, options)
  local _, code, why = typed(room.name:match "^room:(.*)$", NAME_MAX, "room name")
  if code then return nil, code, why end
  -- Who comes back is sent what was missed, behind this answer; anybody else gets the end of the talk.
  local recovered = options.recovered
  local history = recovered and mw.array {} or room:history { limit = HISTORY }
  if not is_here(room, client.user) then
    client:to(room.name):emit("joined", { name = client.user.name })
  end
  return { here = room:members(), history = history, gap = recovered == false }
end

function chat.on_leave(client, room)
  if not is_here(room, client.user) then room:emit("left", { name = client.user.name }) end
end

function chat.events.say(client, message)
  if type(message) ~= "table" then return nil, "bad_message" end
  local room = client.rooms[message.room]
  if not room then return nil, "not_in_room", "Enter the room first." end
  local text, code, why = typed(message.text, TEXT_MAX, "message")
  if not text then return nil, code, why end
  -- The key is the sender's own: by it the page knows which of its unsent messages this is.
  local said = { from = client.user.name, text = text, key = message.key, time = mw.iso() }
  local id
  id, code, why = room:durable():emit("said", said) -- waits until it cannot be lost any more
  if not id then return nil, code, why end
  return { id = id }
end

-- After an edit everybody sees the new list of rooms at once.
function chat.on_reload() mw.namespace():emit("rooms", ROOMS) end

return chat
