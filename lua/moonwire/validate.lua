--- Checks what a handler file returned, and compiles it into plain lists that script/handler.c
--- copies into C. It changes nothing in the tables it is given and runs none of their functions.
--- All problems are collected, so that one attempt to load names every one of them.

local nearest = require "moonwire.core".nearest

local HOOKS = {
  "on_request", "on_auth", "on_connect", "on_message", "on_event", "on_emit", "on_join", "on_leave",
  "on_disconnect", "on_reload",
}
local METHODS = {
  GET = true, HEAD = true, POST = true, PUT = true, PATCH = true, DELETE = true, OPTIONS = true,
}

local TABLE_KEYS = {
  "namespace", "protocol", "rooms", "recovery", "limits", "static", "origins", "subprotocols", "events",
  "routes", "timers", table.unpack(HOOKS),
}
local LIMIT_KEYS = { "rate", "burst", "max_payload", "slow", "key" }
local ROOM_KEYS = { "history", "presence", "slow", "key" }
local HISTORY_KEYS = { "size", "ttl", "durable" }
local RECOVERY_KEYS = { "size", "ttl", "durable" }
local TIMER_KEYS = { "every", "run" }

-- What is not in this version but is no mistake of spelling either.
local LATER = "is not available in this version of moonwire"

local function set(list)
  local result = {}
  for _, value in ipairs(list) do result[value] = true end
  return result
end

-- A value in a message: short, on one line, with its type where that is not plain to see.
local function show(value)
  if type(value) == "string" then
    if #value > 40 then value = value:sub(1, 37) .. "..." end
    return ("%q"):format(value):gsub("\\\n", "\\n")
  end
  if type(value) == "number" or type(value) == "boolean" then return tostring(value) end
  if value == nil then return "nothing" end
  return "a " .. type(value)
end

-- The keys of a table in an order that is the same at every load.
local function sorted_keys(t)
  local keys = {}
  for key in next, t do keys[#keys + 1] = key end
  table.sort(keys, function(a, b)
    if type(a) == type(b) and (type(a) == "string" or type(a) == "number") then return a < b end
    return tostring(a) < tostring(b)
  end)
  return keys
end

-- Everything below is handed `report`, which collects problems: report(where, text). An empty
-- `where` is the table itself.

local function join(where, key)
  if where == "" then return key end
  return where .. "." .. key
end

local function check_keys(report, where, t, known)
  local names = set(known)
  for _, key in ipairs(sorted_keys(t)) do
    if type(key) ~= "string" then
      report(where, ("unknown key %s (the keys here are names)"):format(show(key)))
    elseif not names[key] then
      local guess = nearest(key, known)
      report(join(where, key), guess and ("unknown key; did you mean %q?"):format(guess)
        or "unknown key; known are " .. table.concat(known, ", "))
    end
  end
end

local function check_table(report, where, value)
  if value == nil then return {} end
  if type(value) ~= "table" then
    report(where, "expected a table, got " .. show(value))
    return {}
  end
  return value
end

-- A whole number within bounds, or nil (reported where there was something else).
local function check_integer(report, where, value, low, high)
  if value == nil then return nil end
  local number = math.type(value) and math.tointeger(value)
  if not number or number < low or number > high then
    report(where, ("expected a whole number from %d to %d, got %s"):format(low, high, show(value)))
    return nil
  end
  return number
end

local function check_seconds(report, where, value)
  if value == nil then return nil end
  if type(value) ~= "number" or not (value >= 0.001 and value <= 1e9) then
    report(where, ("expected a number of seconds (0.001 or more), got %s"):format(show(value)))
    return nil
  end
  return value
end

local function check_function(report, where, value)
  if type(value) ~= "function" then
    report(where, "expected a function, got " .. show(value))
    return nil
  end
  return value
end

-- A list of strings, or one string in its place. `check` may refuse an entry with a text.
local function check_strings(report, where, value, check)
  local result = {}
  if type(value) == "string" then value = { value } end
  value = check_table(report, where, value)
  for key, entry in next, value do
    if math.type(key) ~= "integer" or type(entry) ~= "string" then
      report(where, "expected a list of strings")
      return {}
    end
    local refusal = check(entry)
    if refusal then report(where, ("%s %s"):format(show(entry), refusal)) end
  end
  for _, entry in ipairs(value) do result[#result + 1] = entry end
  return result
end

-- Paths --------------------------------------------------------------------------------------

-- "/a/:id" as { "a", ":id" }, or nil and what is wrong with it. "/" has no segments.
local function parse_path(path)
  if type(path) ~= "string" or path:sub(1, 1) ~= "/" then return nil, 'must begin with "/"' end
  local segments, names = {}, {}
  if path == "/" then return segments end
  for segment in (path .. "/"):sub(2):gmatch "([^/]*)/" do
    if segment == "" then return nil, "has an empty segment" end
    if segment == "." or segment == ".." then return nil, "has a dot segment" end
    if segment:find "[%c?#]" then return nil, "has a character that no path has" end
    if segment:sub(1, 1) == ":" then
      local name = segment:sub(2)
      if not name:find "^[%a_][%w_]*$" then
        return nil, ("has a parameter without a proper name: %q"):format(segment)
      end
      if names[name] then return nil, ("names the parameter %q twice"):format(name) end
      names[name] = true
    end
    segments[#segments + 1] = segment
  end
  return segments
end

local function is_parameter(segment) return segment:sub(1, 1) == ":" end

-- What two paths have in common when they match the same requests.
local function shape(segments)
  local parts = {}
  for i, segment in ipairs(segments) do parts[i] = is_parameter(segment) and ":" or segment end
  return "/" .. table.concat(parts, "/")
end

-- Static segments come before parameters, so that the first match of a sorted list is the one
-- that is most to the point, whatever the order in the file.
local function path_before(a, b)
  for i = 1, math.min(#a, #b) do
    local param_a, param_b = is_parameter(a[i]), is_parameter(b[i])
    if param_a ~= param_b then return param_b end
    if not param_a and a[i] ~= b[i] then return a[i] < b[i] end
  end
  return #a < #b
end

-- The keys of a table -------------------------------------------------------------------------

local function check_history(report, where, history)
  if history == nil then return nil end
  history = check_table(report, where, history)
  check_keys(report, where, history, HISTORY_KEYS)
  if history.durable ~= nil and type(history.durable) ~= "boolean" then
    report(where .. ".durable", "expected true or false, got " .. show(history.durable))
  end
  local size = check_integer(report, where .. ".size", history.size, 1, 1000000)
  if history.size == nil then report(where .. ".size", "is missing: how many messages to keep") end
  return {
    size = size,
    ttl = check_seconds(report, where .. ".ttl", history.ttl),
    durable = history.durable == true,
  }
end

-- How long, and over how many messages, a client of Socket.IO may be away and miss nothing.
local function check_recovery(report, recovery)
  if recovery == nil or recovery == false then
    return { size = 0, ttl = 0, durable = false }
  end
  if recovery == true then recovery = {} end
  recovery = check_table(report, "recovery", recovery)
  check_keys(report, "recovery", recovery, RECOVERY_KEYS)
  local durable = recovery.durable
  if durable ~= nil and type(durable) ~= "boolean" then
    report("recovery.durable", "expected true or false, got " .. show(durable))
  end
  return {
    size = check_integer(report, "recovery.size", recovery.size, 1, 1000000) or 1000,
    ttl = check_seconds(report, "recovery.ttl", recovery.ttl) or 120,
    durable = recovery.durable or false,
  }
end

-- What becomes of messages to readers that are slow: a policy, and the field by which "latest"
-- tells rows apart. `usual` counts where nothing is said.
local function check_slow(report, where, t, usual)
  local slow, key = t.slow, t.key
  if slow ~= nil and slow ~= "close" and slow ~= "drop" and slow ~= "latest" then
    report(where .. ".slow", 'expected "close", "drop" or "latest", got ' .. show(slow))
  end
  if key ~= nil and slow ~= "latest" then
    report(where .. ".key", 'needs slow = "latest" beside it')
  elseif key ~= nil and (type(key) ~= "string" or key == "" or key:find "%z") then
    report(where .. ".key", "expected the name of a field, got " .. show(key))
  end
  if slow == nil then return usual.slow, usual.key end
  return slow, key
end

local function check_rooms(report, rooms, limits)
  local result = {}
  rooms = check_table(report, "rooms", rooms)
  for _, pattern in ipairs(sorted_keys(rooms)) do
    local where = ("rooms[%s]"):format(show(pattern))
    local star = type(pattern) == "string" and pattern:find("*", 1, true)
    if type(pattern) ~= "string" or pattern == "" then
      report(where, "expected a room's name or the beginning of one and a star")
    elseif star and star ~= #pattern then
      report(where, "has a star that is not its last character")
    else
      local room = check_table(report, where, rooms[pattern])
      check_keys(report, where, room, ROOM_KEYS)
      if room.presence then report(where .. ".presence", LATER) end
      local history = check_history(report, where .. ".history", room.history) or {}
      local slow, key = check_slow(report, where, room, limits)
      result[#result + 1] = {
        pattern = pattern, size = history.size or 0, ttl = history.ttl or 0,
        durable = history.durable or false, slow = slow, key = key,
      }
    end
  end
  -- A full name beats a pattern, and the longer pattern the shorter: the first match is the one.
  table.sort(result, function(a, b)
    local star_a, star_b = a.pattern:sub(-1) == "*", b.pattern:sub(-1) == "*"
    if star_a ~= star_b then return star_b end
    if #a.pattern ~= #b.pattern then return #a.pattern > #b.pattern end
    return a.pattern < b.pattern
  end)
  return result
end

local function check_limits(report, limits)
  limits = check_table(report, "limits", limits)
  check_keys(report, "limits", limits, LIMIT_KEYS)
  local rate = check_integer(report, "limits.rate", limits.rate, 1, 1000000)
  local burst = check_integer(report, "limits.burst", limits.burst, 1, 1000000)
  if burst and not limits.rate then report("limits.burst", "needs limits.rate beside it") end
  if burst and rate and burst < rate then report("limits.burst", "is less than limits.rate") end
  local slow, key = check_slow(report, "limits", limits, { slow = "close" })
  return {
    rate = rate or 0,
    burst = burst or rate or 0,
    max_payload = check_integer(report, "limits.max_payload", limits.max_payload, 1, 1 << 30) or 0,
    slow = slow,
    key = key,
  }
end

local function check_protocol(report, t, events)
  local protocol = t.protocol
  local some = next(events) ~= nil or t.on_event ~= nil
  if protocol == nil then return t.on_message == nil or some end
  if protocol == "raw" or protocol == "engine.io" then
    if some then
      report("protocol", show(protocol) .. ' has no events, but the table has some: choose "events"')
    end
    return false
  end
  if protocol ~= "events" then
    report("protocol", 'expected "raw", "events" or "engine.io", got ' .. show(protocol))
  end
  return true
end

local function check_events(report, events)
  local result = {}
  events = check_table(report, "events", events)
  for _, name in ipairs(sorted_keys(events)) do
    local where = ("events[%s]"):format(show(name))
    if type(name) ~= "string" or name == "" then
      report(where, "expected an event's name as the key")
    else
      result[name] = check_function(report, where, events[name])
    end
  end
  return result
end

local function check_mount(report, mounts, where, prefix, folder, resolve)
  if type(prefix) ~= "string" or not parse_path(prefix) or prefix:find(":", 1, true) then
    return report(where, 'expected a path such as "/" or "/app" as the key')
  end
  if type(folder) ~= "string" or folder == "" then
    return report(where, "expected a folder's name, got " .. show(folder))
  end
  local path, problem = resolve(folder)
  if not path then return report(where, problem) end
  mounts[#mounts + 1] = { prefix = prefix, folder = path }
end

local function check_static(report, static, resolve)
  local mounts = {}
  if type(static) == "string" then
    check_mount(report, mounts, "static", "/", static, resolve)
  elseif static ~= nil then
    static = check_table(report, "static", static)
    for _, prefix in ipairs(sorted_keys(static)) do
      local where = ("static[%s]"):format(show(prefix))
      check_mount(report, mounts, where, prefix, static[prefix], resolve)
    end
  end
  return mounts
end

local function check_routes(report, routes)
  local result, seen = {}, {}
  routes = check_table(report, "routes", routes)
  for _, key in ipairs(sorted_keys(routes)) do
    local where = ("routes[%s]"):format(show(key))
    local method, path = tostring(key):match "^(%S+) +(%S+)$"
    local segments, problem
    if path then segments, problem = parse_path(path) end
    if type(key) ~= "string" or not method then
      report(where, 'expected a method and a path as the key, such as "GET /users/:id"')
    elseif not METHODS[method] then
      report(where, ("unknown method %s"):format(show(method)))
    elseif not segments then
      report(where, "its path " .. problem)
    else
      local identity = method .. " " .. shape(segments)
      if seen[identity] then
        report(where, ("is the same route as %s"):format(show(seen[identity])))
      end
      seen[identity] = key
      result[#result + 1] = {
        key = key, method = method, segments = segments, identity = identity,
        run = check_function(report, where, routes[key]),
      }
    end
  end
  return result
end

local function check_timers(report, timers)
  local result = {}
  timers = check_table(report, "timers", timers)
  for _, name in ipairs(sorted_keys(timers)) do
    local where = ("timers[%s]"):format(show(name))
    local timer = check_table(report, where, timers[name])
    if type(name) ~= "string" then report(where, "expected a timer's name as the key") end
    check_keys(report, where, timer, TIMER_KEYS)
    if timer.every == nil then report(where .. ".every", "is missing: seconds between two runs") end
    result[#result + 1] = {
      name = tostring(name),
      every = check_seconds(report, where .. ".every", timer.every),
      run = check_function(report, where .. ".run", timer.run),
    }
  end
  return result
end

local function token_problem(text)
  if not text:find "^[%w!#$%%&'*+.^_`|~-]+$" then return "is no token (RFC 6455, section 4.1)" end
end

local function origin_problem(text)
  if text == "*" or text == "null" then return nil end
  local scheme, host = text:match "^(%a[%w+.-]*)://([^/?#@%s]+)$"
  if not scheme then return 'is no origin: expected "https://host", "https://*.host" or "*"' end
  if host:find("*", 1, true) and not host:find "^%*%.[^*]+$" then
    return "may have a star only in place of its first label"
  end
end

local function check_handler(report, t, resolve)
  check_keys(report, "", t, TABLE_KEYS)
  local namespace = t.namespace
  if namespace == nil then namespace = "/" end
  local segments, problem = parse_path(namespace)
  if not segments then report("namespace", show(namespace) .. " " .. problem) end

  local events = check_events(report, t.events)
  local limits = check_limits(report, t.limits)
  local compiled = {
    namespace = namespace,
    segments = segments or {},
    protocol_events = check_protocol(report, t, events),
    protocol_engine = t.protocol == "engine.io",
    recovery = check_recovery(report, t.recovery),
    rooms = check_rooms(report, t.rooms, limits),
    limits = limits,
    origins = check_strings(report, "origins", t.origins, origin_problem),
    subprotocols = check_strings(report, "subprotocols", t.subprotocols, token_problem),
    mounts = check_static(report, t.static, resolve),
    routes = check_routes(report, t.routes),
    timers = check_timers(report, t.timers),
    hooks = {},
    any = events["*"],
    events = events,
  }
  events["*"] = nil
  for _, hook in ipairs(HOOKS) do
    if t[hook] ~= nil then compiled.hooks[hook] = check_function(report, hook, t[hook]) end
  end
  -- A table in which nobody speaks (only routes, say) does not claim its endpoint from them.
  compiled.speaks = t.on_connect ~= nil or t.on_message ~= nil or t.on_event ~= nil or t.on_join ~= nil
    or compiled.any ~= nil or next(events) ~= nil
  return compiled
end

-- Between tables ------------------------------------------------------------------------------

local function check_conflicts(tables, reports)
  local namespaces, routes, mounts = {}, {}, {}
  for i, t in ipairs(tables) do
    local own = shape(t.segments)
    if namespaces[own] then
      reports[i]("namespace", ("%s is also that of table %d"):format(show(t.namespace),
        namespaces[own]))
    end
    namespaces[own] = namespaces[own] or i
    for _, mount in ipairs(t.mounts) do
      if mounts[mount.prefix] then
        reports[i]("static", ("%s is also mounted by table %d"):format(show(mount.prefix),
          mounts[mount.prefix]))
      end
      mounts[mount.prefix] = mounts[mount.prefix] or i
    end
    for _, route in ipairs(t.routes) do
      if routes[route.identity] and routes[route.identity] ~= i then
        reports[i](("routes[%q]"):format(route.key), ("is also a route of table %d"):format(
          routes[route.identity]))
      end
      routes[route.identity] = routes[route.identity] or i
    end
  end
  for i, t in ipairs(tables) do
    for _, method in ipairs { "GET", "POST" } do
      local owner = t.speaks and routes[method .. " " .. shape(t.segments)]
      if owner then
        reports[i]("namespace", ("the route %q hides this endpoint, where clients connect: move one "
          .. "of them to another path"):format(method .. " " .. t.namespace))
      end
    end
  end
end

-- One list of all routes, in the order in which they are tried.
local function gather_routes(tables)
  local routes = {}
  for i, t in ipairs(tables) do
    for _, route in ipairs(t.routes) do
      route.table = i
      routes[#routes + 1] = route
    end
    t.routes = nil
  end
  table.sort(routes, function(a, b)
    if path_before(a.segments, b.segments) then return true end
    if path_before(b.segments, a.segments) then return false end
    -- GET serves HEAD too, so that a route of HEAD's own has to come before it.
    if (a.method == "GET") ~= (b.method == "GET") then return b.method == "GET" end
    return a.identity < b.identity
  end)
  return routes
end

-- The same order for namespaces; the tables themselves stay in the order of the file.
local function rank_namespaces(tables)
  local order = table.move(tables, 1, #tables, 1, {})
  table.sort(order, function(a, b) return path_before(a.segments, b.segments) end)
  for rank, t in ipairs(order) do t.rank = rank end
end

--- Compiles what a handler file returned.
--- @param value any what the file returned: a handler table, or an array of them
--- @param file string the file's name, which begins every problem
--- @param resolve fun(folder: string): string?, string? a folder, relative to the file, as an
---   absolute path that exists; or nil and why not
--- @return table? compiled `{ tables = {...}, routes = {...} }`
--- @return string? problems one a line
return function(value, file, resolve)
  if type(value) ~= "table" then
    return nil, ("%s: expected the file to return a handler table, got %s"):format(file,
      value == nil and "nothing (is there a `return` at its end?)" or show(value))
  end
  local sources = value
  if value[1] == nil then sources = { value } end

  local problems, reports, tables = {}, {}, {}
  for i, source in ipairs(sources) do
    local place = #sources > 1 and ("%s: table %d"):format(file, i) or file
    reports[i] = function(where, text)
      problems[#problems + 1] = where == "" and ("%s: %s"):format(place, text)
        or ("%s: %s: %s"):format(place, where, text)
    end
    if type(source) == "table" then
      tables[i] = check_handler(reports[i], source, resolve)
    else
      reports[i]("", "expected a handler table, got " .. show(source))
    end
  end
  if sources == value then
    for key in next, value do
      if math.type(key) ~= "integer" or key < 1 or key > #sources then
        problems[#problems + 1] = ("%s: unknown key %s in the list of handler tables"):format(file,
          show(key))
      end
    end
  end

  if #problems == 0 then check_conflicts(tables, reports) end
  if #problems > 0 then return nil, table.concat(problems, "\n") end
  rank_namespaces(tables)
  return { tables = tables, routes = gather_routes(tables) }
end
