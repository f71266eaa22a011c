-- lua/moonwire/types.lua describes what there is: its classes are compared with the tables in C,
-- with what `require "moonwire"` gives, and with the keys that a handler table may have.
local mw = require "moonwire"
local validate = require "moonwire.validate"

local function read(path)
  local file = assert(io.open(path))
  local text = file:read "a"
  file:close()
  return text
end

local function sorted(set)
  local list = {}
  for name in pairs(set) do list[#list + 1] = name end
  table.sort(list)
  return list
end

-- Class -> { fields = set, methods = set, parent = name }.
local function parse_classes(text)
  local classes, named, last = {}, {}, nil
  for line in text:gmatch "[^\n]*" do
    local class, parent = line:match "^%-%-%-@class ([%w._]+) ?:? ?([%w._]*)"
    local field = line:match "^%-%-%-@field ([%w_]+)"
    local variable = line:match "^local ([%w_]+) = {}"
    local owner, method = line:match "^function ([%w_]+)[.:]([%w_]+)"
    if class then
      last = { fields = {}, methods = {}, parent = parent }
      classes[class] = last
    elseif field then
      last.fields[field] = true
    elseif variable then
      named[variable] = last
    elseif owner then
      named[owner].methods[method] = true
    end
  end
  return classes
end

local classes = parse_classes(read "lua/moonwire/types.lua")

local function methods_of(name, into)
  into = into or {}
  local class = assert(classes[name], name)
  for method in pairs(class.methods) do into[method] = true end
  if class.parent ~= "" then methods_of(class.parent, into) end
  return into
end

-- The names that stand first in the entries of an array in C.
local function entries(path, array)
  local body = assert(read(path):match(array .. "%[[%w_]*%] = {(.-)\n?};"), array)
  local names = {}
  for name in body:gmatch '"([%w_]+)"' do names[name] = true end
  return names
end

describe("types.lua", function()
  it("has every method of rooms, users and namespaces, and no other", function()
    local kinds = { room = "Room", rooms = "Rooms", user = "User", namespace = "Namespace",
      client = "ClientAudience" }
    for kind, class in pairs(kinds) do
      assert.same(sorted(entries("core/script/lib_room.c", kind .. "_methods")),
        sorted(methods_of("moonwire." .. class)), class)
    end
  end)

  it("has every method and field of a client", function()
    assert.same(sorted(entries("core/script/lib_client.c", " methods")),
      sorted(methods_of "moonwire.Client"))
    assert.same(sorted(entries("core/script/lib_client.c", "field_names")),
      sorted(classes["moonwire.Client"].fields))
  end)

  it("has every field of a request", function()
    local fields = read("core/script/lib_request.c"):match "} fields%[%] = {(.-)\n};"
    local names = {}
    for name in fields:gmatch '{"([%w_]+)"' do names[name] = true end
    assert.same(sorted(names), sorted(classes["moonwire.Request"].fields))
  end)

  it("has every key of a handler table", function()
    local _, problems = validate({ ["no such key"] = 1 }, "app.lua", print)
    local keys = {}
    for name in problems:match("known are (.*)"):gmatch "[%w_]+" do keys[name] = true end
    assert.same(sorted(keys), sorted(classes["moonwire.Handler"].fields))
  end)

  it("or init.lua has all that the library gives", function()
    local known = methods_of "mw"
    local annotated = false
    for line in read("lua/moonwire/init.lua"):gmatch "[^\n]*" do
      local name = line:match "^mw%.([%w_]+) ="
      if name and annotated then known[name] = true end
      annotated = line:match "^%-%-%-" ~= nil
    end
    assert.same(sorted(mw), sorted(known))
  end)
end)
