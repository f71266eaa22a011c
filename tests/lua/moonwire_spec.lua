-- The general part of the library, as an app sees it.
local mw = require "moonwire"

describe("mw.sleep", function()
  it("waits at least as long as it was asked to", function()
    local from = mw.now()
    mw.sleep(0.02)
    assert.is_true(mw.now() - from >= 0.019)
  end)

  it("refuses what is no duration", function()
    for _, bad in ipairs { -1, 0 / 0, 1 / 0, "soon", {} } do
      assert.has_error(function() mw.sleep(bad) end)
    end
  end)

  it("says that it cannot wait inside table.sort", function()
    local ok, message = pcall(function()
      table.sort({ 2, 1 }, function() mw.sleep(1) end)
    end)
    assert.is_false(ok)
    assert.matches("mw.sleep cannot wait inside 'sort'", message, 1, true)
  end)

  it("waits in several coroutines at once", function()
    local from, ended = mw.now(), 0
    for _ = 1, 50 do
      mw.spawn(function()
        mw.sleep(0.05)
        ended = ended + 1
      end)
    end
    while ended < 50 do
      mw.sleep(0.01)
    end
    assert.is_true(mw.now() - from < 50 * 0.05)
  end)
end)

describe("mw.spawn", function()
  it("passes its arguments, also nil", function()
    local seen
    mw.spawn(function(...) seen = table.pack(...) end, 1, nil, 3)
    mw.sleep(0)
    assert.same({ 1, nil, 3, n = 3 }, seen)
  end)

  it("runs after its caller has waited", function()
    local order = {}
    mw.spawn(function() order[#order + 1] = "spawned" end)
    order[#order + 1] = "caller"
    mw.sleep(0)
    assert.same({ "caller", "spawned" }, order)
  end)

  it("wants a function", function()
    assert.has_error(function() mw.spawn("x") end)
  end)
end)

describe("mw.json", function()
  it("tells arrays from objects", function()
    assert.equal("{}", mw.json.encode {})
    assert.equal("[]", mw.json.encode(mw.array {}))
    assert.equal("[1,2]", mw.json.encode { 1, 2 })
    assert.equal('{"1":1}', mw.json.encode(mw.object { 1 }))
  end)

  it("has a null that is true", function()
    local value = mw.json.decode('{"a":null}')
    assert.equal(mw.null, value.a)
    assert.is_truthy(value.a)
    assert.equal("null", tostring(mw.null))
    assert.equal('{"a":null}', mw.json.encode(value))
  end)

  it("answers nil, a code and the place for a text that is no JSON", function()
    local value, code, detail = mw.json.decode("[1,")
    assert.is_nil(value)
    assert.equal("bad_json", code)
    assert.matches("at byte %d+$", detail)
  end)

  it("raises with the place of a value that is no JSON", function()
    local ok, message = pcall(mw.json.encode, { items = { 1, 0 / 0 } })
    assert.is_false(ok)
    assert.matches("value.items[2]: NaN is not JSON", message, 1, true)
  end)
end)

describe("mw.iso", function()
  it("is UTC with milliseconds", function()
    assert.equal("1970-01-01T00:00:00.000Z", mw.iso(0))
    assert.equal("2026-11-22T11:00:00.125Z", mw.iso(1795345200.125))
    assert.equal("1969-12-31T23:59:59.500Z", mw.iso(-0.5))
    assert.matches("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%dZ$", mw.iso())
  end)

  it("refuses what is no time", function()
    assert.has_error(function() mw.iso(0 / 0) end)
    assert.has_error(function() mw.iso(1e300) end)
  end)
end)

describe("mw.env", function()
  it("has the process's variables, and nil for others", function()
    assert.equal(os.getenv("PATH"), mw.env.PATH)
    assert.is_nil(mw.env.NO_SUCH_VARIABLE_HERE)
  end)
end)

describe("mw.state", function()
  it("keeps the first default", function()
    local first = mw.state("spec", { n = 1 })
    first.n = 2
    assert.equal(first, mw.state("spec", { n = 3 }))
    assert.equal(2, mw.state("spec").n)
    assert.is_nil(mw.state("never given"))
  end)
end)

describe("mw.log", function()
  it("takes text and fields of any kind", function()
    mw.log.debug("not shown", { n = 1 })
    mw.log.debug("without fields")
    mw.log.debug({ "a table" }, { list = { 1, 2 }, [1] = true, f = print })
  end)

  it("raises for a level that is none", function()
    assert.error_matches(function() mw.log.info("two", "texts") end,
      "mw.log: the fields are a table, not a string$")
    assert.is_nil(mw.log.loud)
  end)
end)

describe("the standard libraries", function()
  it("refuse what would break the server", function()
    assert.has_error(function() setmetatable({}, { __gc = function() end }) end)
    assert.has_error(function() debug.setmetatable({}, { __gc = true }) end)
    assert.has_error(function() debug.sethook(function() end, "", 1) end)
    assert.has_error(function() os.setlocale("C") end)
    assert.is_table(setmetatable({}, nil))
    assert.is_table(setmetatable({}, { __index = {} }))
  end)

  it("are otherwise there", function()
    assert.is_function(io.open)
    assert.is_function(os.date)
    assert.is_function(utf8.char)
    assert.is_function(load)
    assert.equal(3, load("return 1 + 2")())
  end)
end)
