--- What `require "moonwire"` gives: the server's library. Time is in seconds everywhere. What waits
--- (marked so) parks the handler that calls it and nobody else.

local core = require "moonwire.core"
local hub = require "moonwire.hub"
local json = require "moonwire.json"
local check = require "moonwire.check"

---@class mw
local mw = {}

--- Waits this long. Raises where nothing can wait: while a file loads, inside table.sort and the like.
---@type fun(seconds: number)
mw.sleep = core.sleep

--- Runs a function on its own, with these arguments, as soon as the running handler waits or ends.
--- Its errors are logged. While a file loads, it is kept until that version is in service.
---@type fun(fn: function, ...: any)
mw.spawn = core.spawn

--- Seconds since 1970, with a fraction.
---@type fun(): number
mw.now = core.now

--- A time (default: now) as UTC, "2026-11-22T11:00:00.000Z".
---@type fun(seconds?: number): string
mw.iso = core.iso

--- What was kept under this name, or `default`, which is kept from now on. Survives a reload, but not
--- a restart; every worker has its own. Give a table and change what is in it.
---@type fun(name: string, default: any): any
mw.state = core.state

--- The environment variables, as the process had them when this version was loaded.
---@type table<string, string>
mw.env = core.env

--- JSON null. It is a value of its own, and true in a condition: compare with `== mw.null`.
mw.null = json.null

--- Marks a table (default: a new one), so that it becomes a JSON array even while it is empty.
--- Decoded arrays are marked. Raises when the table has another metatable.
---@type fun(t?: table): table
mw.array = json.array

--- Marks a table (default: a new one), so that it becomes a JSON object even with keys 1 to n.
---@type fun(t?: table): table
mw.object = json.object

--- Marks a string as bytes: it reaches a Socket.IO client as a binary value, and the others as base64.
--- Binary values of a client arrive so: { bytes = "..." }, of which `#`, `==` and tostring are those of
--- the bytes.
---@type fun(bytes: string): { bytes: string }
mw.binary = json.binary

---@class mw.json
mw.json = {
  --- Raises an error that names the place ("value.items[3]: NaN is not JSON").
  ---@type fun(value: any): string
  encode = json.encode,

  --- The value; or nil, "bad_json" and what is wrong where. JSON null is mw.null.
  ---@type fun(text: string): any, string?, string?
  decode = json.decode,
}

---@type mw.http
mw.http = require "moonwire.http"

---@type mw.jwt
mw.jwt = require "moonwire.jwt"

---@type mw.cookie
mw.cookie = require "moonwire.cookie"

---@type mw.crypto
mw.crypto = require "moonwire.crypto"

--- Structured log lines: `mw.log.info("joined", { room = name })`. `mw.log(...)` and `print` are info.
---@class mw.log
---@field debug fun(text: any, fields?: table<string, any>)
---@field info fun(text: any, fields?: table<string, any>)
---@field warn fun(text: any, fields?: table<string, any>)
---@field error fun(text: any, fields?: table<string, any>)
---@overload fun(text: any, fields?: table<string, any>)
mw.log = {}

local function write(level, text, fields)
  if fields ~= nil and type(fields) ~= "table" then
    check.fail("mw.log: the fields are a table, not a %s", type(fields))
  end
  local keys, flat = {}, {}
  for key in pairs(fields or {}) do
    keys[#keys + 1] = key
  end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  for i, key in ipairs(keys) do
    flat[2 * i - 1] = tostring(key)
    flat[2 * i] = fields[key]
  end
  core.log(level, text, table.unpack(flat, 1, 2 * #keys))
end

for _, level in ipairs { "debug", "info", "warn", "error" } do
  mw.log[level] = function(text, fields)
    write(level, text, fields)
  end
end

setmetatable(mw.log, {
  __call = function(_, text, fields)
    write("info", text, fields)
  end,
})

-- Clients, rooms and namespaces; types.lua describes them.
for name, fn in pairs(hub) do
  mw[name] = fn
end

return mw
