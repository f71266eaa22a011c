--- mw.http: requests to other servers. The handler that asks waits; nobody else does.

local core = require "moonwire.http.core"
local json = require "moonwire.json"
local check = require "moonwire.check"

---@class mw.http
local http = {}

---@class mw.http.options
---@field query? table<string, any> Added to the URL, escaped; a list gives the name several times.
---@field headers? table<string, string|number>
---@field body? string
---@field json? any Sent as JSON, with its content type; instead of body.
---@field timeout? number Seconds for all of it. Default 30.
---@field max_body? integer Bytes of the answer. Default 10 MiB.
---@field redirects? integer How many to follow. Default 0: a redirect is an answer like any other.

---@class mw.http.answer
---@field status integer
---@field headers table<string, string> Names in lower case; several set-cookie are lines of one.
---@field body string
local Answer = {}
Answer.__index = Answer

--- The body as JSON: the value; or nil, "bad_json" and what is wrong where.
---@return any value
---@return string? code
---@return string? detail
function Answer:json()
  return json.decode(self.body)
end

local KNOWN = {
  method = "string", url = "string", query = "table", headers = "table", body = "string", json = "any",
  timeout = "number", max_body = "number", redirects = "number",
}

-- Raises with the place where the app calls us.
local function fail(...)
  check.fail("mw.http: %s", string.format(...))
end

local function escape(text)
  return (tostring(text):gsub("[^%w%-._~]", function(c)
    return string.format("%%%02X", c:byte())
  end))
end

local function add_query(url, query)
  local pairs_ = {}
  local names = {}
  for name in pairs(query) do
    names[#names + 1] = name
  end
  table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
  for _, name in ipairs(names) do
    local value = query[name]
    for _, one in ipairs(type(value) == "table" and value or { value }) do
      pairs_[#pairs_ + 1] = escape(name) .. "=" .. escape(one)
    end
  end
  if #pairs_ == 0 then
    return url
  end
  local address, fragment = url:match("^([^#]*)(.*)$")
  local joint = address:find("?", 1, true) and "&" or "?"
  return address .. joint .. table.concat(pairs_, "&") .. fragment
end

-- The lines as curl takes them, where "Name:" alone leaves a field out and "Name;" sends it empty.
local function header_lines(options)
  local lines, has_type = {}, false
  for name, value in pairs(options.headers or {}) do
    name, value = tostring(name), tostring(value)
    if not name:find("^[%w!#$%%&'*+%-.^_`|~]+$") then
      fail("'%s' is no name of a header", name)
    end
    if value:find("[\r\n%z]") then
      fail("the header %s has a line end in it", name)
    end
    has_type = has_type or name:lower() == "content-type"
    lines[#lines + 1] = value:find("%S") and (name .. ": " .. value) or (name .. ";")
  end
  if not has_type then
    lines[#lines + 1] = options.json ~= nil and "Content-Type: application/json" or "Content-Type:"
  end
  return lines
end

local function send(options)
  check.options("mw.http", options, KNOWN)
  if options.body ~= nil and options.json ~= nil then
    fail("body and json exclude each other")
  end
  if options.url == nil then
    fail("url is missing")
  end
  local method = (options.method or "GET"):upper()
  if not method:find("^%u+$") then
    fail("'%s' is no method", method)
  end
  local url = options.url
  if url:find("[%c ]") then
    return nil, "bad_url", "a space or a control character in the URL"
  end
  local body = options.body
  if options.json ~= nil then
    body = json.encode(options.json)
  end
  local redirects = math.tointeger(options.redirects or 0)
  local max_body = math.tointeger(options.max_body or 10 * 1024 * 1024)
  if redirects == nil or redirects < 0 or redirects > 20 then
    fail("redirects must be a whole number from 0 to 20")
  end
  if max_body == nil or max_body < 0 then
    fail("max_body must be a number of bytes")
  end

  local status, headers, text = core.send(method, options.query and add_query(url, options.query) or url,
    header_lines(options), body, options.timeout or 30, max_body, redirects)
  if status == nil then
    return nil, headers, text
  end
  return setmetatable({ status = status, headers = headers, body = text }, Answer)
end

--- Sends a request and waits for the answer, whatever its status. Without one: nil, a code
--- ("timeout", "resolve", "connect", "tls", "redirects", "bad_url", "too_large", "broken",
--- "overloaded") and a text for people. Certificates are always verified; http and https only.
---@param options mw.http.options | { method?: string, url: string }
---@return mw.http.answer?
---@return string? code
---@return string? detail
function http.request(options)
  if type(options) ~= "table" then
    fail("request takes a table")
  end
  return send(options)
end

local function shortcut(method)
  return function(url, options)
    if type(url) ~= "string" then
      fail("%s takes a URL first", method:lower())
    end
    if options ~= nil and type(options) ~= "table" then
      fail("the options of %s are a table", method:lower())
    end
    local all = { method = method, url = url }
    for name, value in pairs(options or {}) do
      all[name] = value
    end
    return send(all)
  end
end

--- As request, with the method of the name.
---@alias mw.http.shortcut fun(url: string, options?: mw.http.options): mw.http.answer?, string?, string?
---@type mw.http.shortcut
http.get = shortcut "GET"
---@type mw.http.shortcut
http.head = shortcut "HEAD"
---@type mw.http.shortcut
http.post = shortcut "POST"
---@type mw.http.shortcut
http.put = shortcut "PUT"
---@type mw.http.shortcut
http.patch = shortcut "PATCH"
---@type mw.http.shortcut
http.delete = shortcut "DELETE"

return http
