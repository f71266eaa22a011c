--- mw.cookie: values that only this server can have written, and the Set-Cookie field.

local crypto = require "moonwire.crypto"
local check = require "moonwire.check"
local json = require "moonwire.json"

---@class mw.cookie
local cookie = {}

local MAX = 4096 -- bytes of a name, a value and their attributes: what browsers keep at least

-- What is signed begins with this, so that no signature of another kind is one of these.
local PURPOSE = "moonwire cookie\0"

local function signature(key, text)
  return crypto.base64url.encode(crypto.hmac("sha256", key, PURPOSE .. text))
end

local function keys_of(name, keys)
  keys = check.list(name .. ": keys", keys)
  for _, key in ipairs(keys) do
    if key == "" then
      check.fail("%s: a key is empty", name)
    end
  end
  return keys
end

--- The value, of any bytes, in a form that a cookie can hold, with a signature; of several keys the
--- first one signs. Who has it can read it, and it is good for as long as the key is: put into it what
--- it is for, and until when.
---@param value string
---@param keys string|string[]
---@return string
function cookie.sign(value, keys)
  if type(value) ~= "string" then
    check.fail("mw.cookie.sign: the value is a string, not a %s", type(value))
  end
  local text = crypto.base64url.encode(value)
  return text .. "." .. signature(keys_of("mw.cookie.sign", keys)[1], text)
end

--- The value that one of the keys has signed; otherwise nil and a code: missing (there is no cookie),
--- malformed, bad_signature.
---@param text string?
---@param keys string|string[]
---@return string? value
---@return string? code
function cookie.verify(text, keys)
  keys = keys_of("mw.cookie.verify", keys)
  if text == nil or text == json.null then
    return nil, "missing"
  end
  local value, given = tostring(text):match "^([%w_-]*)%.([%w_-]+)$"
  if not value then
    return nil, "malformed"
  end
  for _, key in ipairs(keys) do
    if crypto.equal(given, signature(key, value)) then
      return (crypto.base64url.decode(value))
    end
  end
  return nil, "bad_signature"
end

-- --- Set-Cookie (RFC 6265 section 4.1) ---

local HEADER = {
  max_age = "number", path = "string", domain = "string", secure = "boolean", http_only = "boolean",
  same_site = "string",
}
local SAME_SITE = { strict = "Strict", lax = "Lax", none = "None" }

local function check_value(name, value)
  if type(value) ~= "string" and math.type(value) ~= "integer" then
    check.fail("mw.cookie.header: the value of '%s' is a string, not a %s", name, type(value))
  end
  value = tostring(value)
  local at = value:find '[%c ",;\\\x80-\xff]'
  if at then
    check.fail("mw.cookie.header: a cookie cannot hold the byte 0x%02X at %d of '%s': encode the value "
      .. "(mw.crypto.base64url.encode) or sign it (mw.cookie.sign)", value:byte(at), at, name)
  end
  return value
end

local function check_attribute(name, value, pattern)
  if value and not value:find(pattern) then
    check.fail("mw.cookie.header: '%s' is no %s", value, name)
  end
end

-- What browsers promise for these names, and refuse without.
local function check_prefix(name, options)
  local host = name:lower():find "^__host%-"
  if (host or name:lower():find "^__secure%-") and not options.secure then
    check.fail("mw.cookie.header: '%s' needs secure = true", name)
  end
  if host and (options.domain or (options.path or "/") ~= "/") then
    check.fail("mw.cookie.header: '%s' has no domain, and the path /", name)
  end
end

--- The value of a Set-Cookie field, for a route's headers: { ["Set-Cookie"] = mw.cookie.header(…) }.
--- Unless the options say otherwise it is for the whole site (path "/"), for this host only, unseen by
--- scripts (http_only) and not sent by requests that other sites make (same_site "lax"). max_age = 0
--- takes it away. Behind TLS say secure = true.
---@param name string
---@param value string|integer
---@param options? mw.cookie.options
---@return string
function cookie.header(name, value, options)
  options = check.options("mw.cookie.header", options, HEADER)
  if type(name) ~= "string" or not name:find "^[%w!#$%%&'*+%-.^_`|~]+$" then
    check.fail("mw.cookie.header: '%s' is no name of a cookie", tostring(name))
  end
  local same_site = SAME_SITE[(options.same_site or "lax"):lower()]
  if not same_site then
    check.fail("mw.cookie.header: same_site is strict, lax or none, not '%s'", options.same_site)
  end
  if same_site == "None" and not options.secure then
    check.fail("mw.cookie.header: same_site = \"none\" needs secure = true")
  end
  check_prefix(name, options)
  check_attribute("path", options.path, "^/[^%c;\x80-\xff]*$")
  check_attribute("domain", options.domain, "^%.?%w[%w.-]*$")
  if options.max_age and not math.tointeger(options.max_age) then
    check.fail("mw.cookie.header: max_age is a whole number of seconds")
  end
  local parts = { name .. "=" .. check_value(name, value) }
  local function add(wanted, text)
    if wanted then
      parts[#parts + 1] = text
    end
  end
  add(options.max_age, ("Max-Age=%d"):format(options.max_age or 0))
  add(true, "Path=" .. (options.path or "/"))
  add(options.domain, "Domain=" .. (options.domain or ""))
  add(options.secure, "Secure")
  add(options.http_only ~= false, "HttpOnly")
  add(true, "SameSite=" .. same_site)
  local text = table.concat(parts, "; ")
  if #text > MAX then
    check.fail("mw.cookie.header: '%s' has %d bytes, and browsers keep %d", name, #text, MAX)
  end
  return text
end

return cookie
