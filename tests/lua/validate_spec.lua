-- What a handler file may return, and what people are told when it is something else.
local validate = require "moonwire.validate"

local function folder(name) return name ~= "missing" and "/srv/" .. name or nil, "cannot open it" end
local function check(value) return validate(value, "app.lua", folder) end
local function f() end

local function problems(value)
  local compiled, text = check(value)
  assert.is_nil(compiled)
  return text
end

local function refuses(value, expected)
  assert.equal(expected, problems(value))
end

describe("a handler table", function()
  it("may be empty, and is then the namespace /", function()
    local compiled = check {}
    assert.equal(1, #compiled.tables)
    assert.equal("/", compiled.tables[1].namespace)
    assert.is_true(compiled.tables[1].protocol_events)
  end)

  it("is wanted", function()
    assert.matches("is there a `return` at its end", problems(nil), 1, true)
    refuses(7, "app.lua: expected the file to return a handler table, got 7")
    refuses({ {}, 5 }, "app.lua: table 2: expected a handler table, got 5")
  end)

  it("has no unknown keys, and the nearest known one is named", function()
    refuses({ on_conect = f }, 'app.lua: on_conect: unknown key; did you mean "on_connect"?')
    refuses({ Limits = {} }, 'app.lua: Limits: unknown key; did you mean "limits"?')
    assert.matches("unknown key; known are namespace", problems { zzzzzzzzz = 1 }, 1, true)
    refuses({ limits = { rat = 1 } }, 'app.lua: limits.rat: unknown key; did you mean "rate"?')
  end)

  it("has hooks, which are functions", function()
    local hooks = check { on_event = f, on_emit = f }.tables[1].hooks
    assert.equal(f, hooks.on_event)
    assert.equal(f, hooks.on_emit)
    refuses({ on_emit = {} }, "app.lua: on_emit: expected a function, got a table")
    refuses({ on_events = f }, 'app.lua: on_events: unknown key; did you mean "on_event"?')
  end)

  it("has its problems listed all at once", function()
    local text = problems { on_auth = 1, namespace = "chat", events = { say = true } }
    local _, lines = text:gsub("\n", "\n")
    assert.equal(2, lines)
  end)

  it("says which table of several is meant", function()
    refuses({ {}, { namespace = "/b", on_join = 3 } },
      "app.lua: table 2: on_join: expected a function, got 3")
  end)

  it("changes nothing in what it is given", function()
    local events = { ["*"] = f, say = f }
    check { events = events }
    assert.equal(f, events["*"])
  end)
end)

describe("protocol", function()
  local function events_of(t) return check(t).tables[1].protocol_events end

  it("is raw where on_message is there and no events are", function()
    assert.is_false(events_of { on_message = f })
    assert.is_false(events_of { on_message = f, events = {} })
    assert.is_true(events_of { on_message = f, events = { say = f } })
    assert.is_true(events_of { on_message = f, on_event = f })
    assert.is_true(events_of { on_message = f, protocol = "events" })
    assert.is_false(events_of { protocol = "raw" })
  end)

  it("is one of three words, and raw has no events", function()
    refuses({ protocol = "row" },
      'app.lua: protocol: expected "raw", "events" or "engine.io", got "row"')
    assert.matches("has no events", problems { protocol = "raw", events = { a = f } })
    assert.matches("has no events", problems { protocol = "raw", on_event = f })
  end)
end)

describe("rooms", function()
  it("are sorted from the most to the least particular", function()
    local rooms = check { rooms = { ["*"] = {}, ["a:*"] = {}, ["a:b:*"] = {}, ["a:b"] = {} } }
      .tables[1].rooms
    local patterns = {}
    for i, room in ipairs(rooms) do patterns[i] = room.pattern end
    assert.same({ "a:b", "a:b:*", "a:*", "*" }, patterns)
  end)

  it("take a history with size and ttl", function()
    local room = check { rooms = { a = { history = { size = 5, ttl = 1.5 } } } }.tables[1].rooms[1]
    assert.equal(5, room.size)
    assert.equal(1.5, room.ttl)
    for _, size in ipairs { 0, -1, 1.5, "5", 0 / 0, 2000000 } do
      assert.matches("history.size: expected a whole number", problems {
        rooms = { a = { history = { size = size } } } }, 1, true)
    end
    assert.matches("history.size: is missing", problems { rooms = { a = { history = {} } } }, 1, true)
  end)

  it("say what comes in a later version", function()
    refuses({ rooms = { a = { presence = true } } },
      'app.lua: rooms["a"].presence: is not available in this version of moonwire')
    assert.matches('durable: expected true or false, got "yes"', problems {
      rooms = { a = { history = { size = 1, durable = "yes" } } } }, 1, true)
    local function durable(value)
      return check { rooms = { a = { history = { size = 1, durable = value } } } }
        .tables[1].rooms[1].durable
    end
    assert.is_true(durable(true))
    assert.is_false(durable(false))
    assert.is_false(durable(nil))
  end)

  it("have at most one star, at the end", function()
    assert.matches("star that is not its last character", problems { rooms = { ["a*b"] = {} } })
    assert.matches("star that is not its last character", problems { rooms = { ["**"] = {} } })
  end)
end)

describe("recovery", function()
  it("is off, on with defaults, or as it says", function()
    local function recovery(value) return check { recovery = value }.tables[1].recovery end
    assert.same({ size = 0, ttl = 0, durable = false }, recovery(nil))
    assert.same({ size = 0, ttl = 0, durable = false }, recovery(false))
    assert.same({ size = 1000, ttl = 120, durable = false }, recovery(true))
    assert.same({ size = 5, ttl = 120, durable = true }, recovery { size = 5, durable = true })
    assert.same({ size = 1000, ttl = 0.5, durable = false }, recovery { ttl = 0.5 })
  end)

  it("has its own keys and ranges", function()
    assert.matches('recovery.sise: unknown key; did you mean "size"?', problems { recovery = { sise = 1 } }, 1, true)
    assert.matches("recovery.size: expected a whole number", problems { recovery = { size = 0 } }, 1, true)
    assert.matches("recovery.ttl: expected a number of seconds", problems { recovery = { ttl = 0 } }, 1, true)
    assert.matches("recovery.durable: expected true or false", problems { recovery = { durable = 1 } }, 1, true)
    assert.matches("recovery: expected a table", problems { recovery = "yes" }, 1, true)
  end)
end)

describe("limits", function()
  it("are whole numbers in their ranges", function()
    local limits = check { limits = { rate = 20, burst = 40, max_payload = 16384, slow = "close" } }
      .tables[1].limits
    assert.same({ rate = 20, burst = 40, max_payload = 16384, slow = "close" }, limits)
    assert.equal(3, check { limits = { rate = 3 } }.tables[1].limits.burst)
    refuses({ limits = { rate = "20" } },
      'app.lua: limits.rate: expected a whole number from 1 to 1000000, got "20"')
    assert.matches("needs limits.rate", problems { limits = { burst = 2 } })
    assert.matches("less than limits.rate", problems { limits = { rate = 3, burst = 2 } })
  end)

  it("say what becomes of slow readers, and rooms say otherwise", function()
    local function rules(t)
      local checked = check(t).tables[1]
      local limits, room = checked.limits, checked.rooms[1]
      return limits.slow, limits.key, room.slow, room.key
    end
    local room = { rooms = { a = {} } }
    assert.same({ "close", nil, "close", nil }, { rules(room) })
    room.limits = { slow = "latest", key = "id" }
    assert.same({ "latest", "id", "latest", "id" }, { rules(room) })
    room.rooms.a = { slow = "drop" }
    assert.same({ "latest", "id", "drop", nil }, { rules(room) })
    room.rooms.a = { slow = "latest" }
    assert.same({ "latest", "id", "latest", nil }, { rules(room) })
    refuses({ limits = { slow = "never" } },
      'app.lua: limits.slow: expected "close", "drop" or "latest", got "never"')
    refuses({ rooms = { a = { slow = true } } },
      'app.lua: rooms["a"].slow: expected "close", "drop" or "latest", got true')
    assert.matches('limits.key: needs slow = "latest"', problems { limits = { key = "id" } })
    assert.matches('key: needs slow = "latest"', problems { rooms = { a = { slow = "drop", key = "x" } } })
    assert.matches("expected the name of a field", problems { limits = { slow = "latest", key = 1 } })
    assert.matches("expected the name of a field", problems { limits = { slow = "latest", key = "" } })
  end)
end)

describe("static", function()
  it("is a folder, or folders by their prefix", function()
    assert.same({ { prefix = "/", folder = "/srv/public" } }, check { static = "public" }.tables[1].mounts)
    assert.same({ { prefix = "/app", folder = "/srv/x" } },
      check { static = { ["/app"] = "x" } }.tables[1].mounts)
    refuses({ static = "missing" }, "app.lua: static: cannot open it")
    assert.matches("expected a path", problems { static = { app = "x" } })
    assert.matches("also mounted by table 1", problems {
      { static = "a" }, { namespace = "/b", static = "b" } })
  end)
end)

describe("routes", function()
  local function order(routes)
    local result = {}
    for i, route in ipairs(check { routes = routes }.routes) do result[i] = route.key end
    return result
  end

  it("are tried with static segments before parameters", function()
    assert.same({ "GET /a/b", "GET /a/:x", "GET /:y/b" },
      order { ["GET /:y/b"] = f, ["GET /a/:x"] = f, ["GET /a/b"] = f })
  end)

  it("have a method and an absolute path", function()
    assert.matches("unknown method", problems { routes = { ["FETCH /a"] = f } })
    assert.matches("expected a method and a path", problems { routes = { ["/a"] = f } })
    assert.matches('its path must begin with "/"', problems { routes = { ["GET a"] = f } }, 1, true)
    assert.matches("has an empty segment", problems { routes = { ["GET /a//b"] = f } })
    assert.matches("has an empty segment", problems { routes = { ["GET /a/"] = f } })
    assert.matches("without a proper name", problems { routes = { ["GET /:"] = f } })
    assert.matches("twice", problems { routes = { ["GET /:a/:a"] = f } })
    assert.matches("expected a function", problems { routes = { ["GET /a"] = {} } })
  end)

  it("are each there once", function()
    assert.matches("is the same route as", problems { routes = { ["GET /:a"] = f, ["GET /:b"] = f } })
    assert.matches("also a route of table 1", problems {
      { routes = { ["GET /a"] = f } }, { namespace = "/b", routes = { ["GET /a"] = f } } })
  end)

  it("do not hide an endpoint where clients connect", function()
    assert.matches("hides this endpoint", problems {
      namespace = "/a", on_connect = f, routes = { ["GET /a"] = f } })
    assert.is_table(check { routes = { ["GET /"] = f } })
    assert.is_table(check { namespace = "/a", on_connect = f, routes = { ["PUT /a"] = f } })
  end)
end)

describe("namespaces", function()
  it("are each served by one table", function()
    assert.matches("is also that of table 1", problems { {}, {} })
    assert.matches("is also that of table 1", problems {
      { namespace = "/t/:a" }, { namespace = "/t/:b" } })
  end)

  it("are ranked, the plain ones first", function()
    local tables = check { { namespace = "/t/:id" }, { namespace = "/t/new" } }.tables
    assert.is_true(tables[2].rank < tables[1].rank)
  end)

  it("are absolute paths without a slash at the end", function()
    for _, bad in ipairs { "chat", "", "/a/", "/a?b", "//" } do
      assert.matches("namespace:", problems { namespace = bad })
    end
  end)
end)

describe("timers", function()
  it("have a time and a function", function()
    local timer = check { timers = { t = { every = 0.5, run = f } } }.tables[1].timers[1]
    assert.same({ name = "t", every = 0.5, run = f }, timer)
    assert.matches("every: is missing", problems { timers = { t = { run = f } } })
    assert.matches("run: expected a function", problems { timers = { t = { every = 1 } } })
    for _, every in ipairs { 0, -1, "1", 0 / 0, 1 / 0 } do
      assert.matches("expected a number of seconds", problems {
        timers = { t = { every = every, run = f } } })
    end
  end)
end)

describe("lists of strings", function()
  it("are origins", function()
    assert.same({ "https://a.example" }, check { origins = "https://a.example" }.tables[1].origins)
    assert.same({ "https://*.a.example", "*" },
      check { origins = { "https://*.a.example", "*" } }.tables[1].origins)
    for _, bad in ipairs { "a.example", "https://a.example/", "https://a.*.example" } do
      assert.matches("origins:", problems { origins = { bad } })
    end
    assert.matches("expected a list of strings", problems { origins = { 1 } })
    assert.matches("expected a table", problems { origins = 1 })
  end)

  it("are subprotocols", function()
    assert.same({ "v1.chat" }, check { subprotocols = { "v1.chat" } }.tables[1].subprotocols)
    assert.matches("is no token", problems { subprotocols = { "a b" } })
  end)
end)
