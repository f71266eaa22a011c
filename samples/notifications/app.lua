-- Notifications over server-sent events: `GET /notifications?user=ana` is a stream, and
-- `POST /notify/ana` reaches every stream of ana, on every page and every machine she has open.
local mw = require "moonwire"

local KEY = mw.env.NOTIFY_KEY or "development"
local USER_MAX, TITLE_MAX, TEXT_MAX = 64, 100, 2000

local app = {
  static = "public",
  rooms = { ["user:*"] = { history = { size = 100, ttl = 86400 } } }, -- a day to come back in
  routes = {},
  timers = {},
}

if not mw.env.NOTIFY_KEY then
  mw.log.warn "NOTIFY_KEY is not set: everybody who knows the key 'development' can notify"
end

-- A sample takes people at their word; a real application looks at a session or a token here.
function app.on_auth(request)
  local user = request.query.user
  if not user or user == "" then return nil, "unauthorized", "Say who you are: ?user=NAME" end
  if #user > USER_MAX then return nil, "bad_user", "That name is too long." end
  return { id = user }
end

function app.on_connect(client)
  client:emit("connected", { user = client.user.id, time = mw.iso() })
end

-- A stream that comes back is sent what it has missed: the browser says by itself, in
-- Last-Event-ID, how far it has read.
app.routes["GET /notifications"] = function(request)
  local user, code, why = app.on_auth(request)
  if not user then return nil, code, why end
  return mw.sse(request, { user = user, rooms = { "readers", "user:" .. user.id } })
end

app.routes["POST /notify/:user"] = function(request)
  if request.headers["x-api-key"] ~= KEY then
    return nil, "unauthorized", "The X-API-Key header is not the key."
  end
  local note = type(request.json) == "table" and request.json or {}
  local title, text = note.title or "", note.text
  if type(text) ~= "string" or text == "" or #text > TEXT_MAX then
    return nil, "bad_text", ("text is a string of 1 to %d bytes."):format(TEXT_MAX)
  end
  if type(title) ~= "string" or #title > TITLE_MAX then
    return nil, "bad_title", ("title is a string of at most %d bytes."):format(TITLE_MAX)
  end
  local user = request.params.user
  if #user > USER_MAX then return nil, "bad_user", "That name is too long." end
  mw.room("user:" .. user):emit("notification", { title = title, text = text, time = mw.iso() })
  return 202, { user = user }
end

-- Once a second, for as long as anybody reads.
app.timers.tick = {
  every = 1,
  run = function()
    local readers = mw.room("readers"):count()
    if readers == 0 then return end
    local ticks = mw.state("ticks", { sent = 0 })
    ticks.sent = ticks.sent + 1
    mw.room("readers"):emit("tick", { time = mw.iso(), readers = readers })
  end,
}

app.routes["GET /stats"] = function()
  return { readers = mw.room("readers"):count(), ticks = mw.state("ticks", { sent = 0 }).sent }
end

return app
