--- What the Lua parts of the library share: errors that point at the app's line, and options that may
--- be misspelt. Apps do not require this.

local nearest = require "moonwire.core".nearest

local check = {}

--- Raises with the place where the app has called the library.
function check.fail(...)
  local level = 2
  while (debug.getinfo(level, "S") or { source = "" }).source:find("^=lua/moonwire/") do
    level = level + 1
  end
  error(string.format(...), level)
end

--- The options (nil: none) after a look at their names and types: `known` has the types of each name,
--- separated by spaces, or "any".
function check.options(name, options, known)
  if options == nil then
    return {}
  end
  if type(options) ~= "table" then
    check.fail("%s: the options are a table, not a %s", name, type(options))
  end
  for key, value in pairs(options) do
    local wanted = known[key]
    if wanted == nil then
      local names = {}
      for each in pairs(known) do
        names[#names + 1] = each
      end
      table.sort(names)
      local guess = type(key) == "string" and nearest(key, names)
      check.fail("%s: unknown option '%s'%s", name, tostring(key),
        guess and ("; did you mean '" .. guess .. "'?") or "")
    end
    if wanted ~= "any" and not (" " .. wanted .. " "):find(" " .. type(value) .. " ", 1, true) then
      check.fail("%s: %s must be a %s, not a %s", name, key, wanted:gsub(" ", " or a "), type(value))
    end
  end
  return options
end

--- A string as a list of one; a list (of strings) as it is.
function check.list(name, value)
  if type(value) == "string" then
    return { value }
  end
  if type(value) ~= "table" or #value == 0 then
    check.fail("%s: expected a string or a list of strings", name)
  end
  for _, each in ipairs(value) do
    if type(each) ~= "string" then
      check.fail("%s: expected a string or a list of strings, not a %s in it", name, type(each))
    end
  end
  return value
end

--- The one of the list that was probably meant, as the end of an error message.
function check.guess(word, list)
  local near = nearest(word, list)
  return near and ("; did you mean '" .. near .. "'?") or ""
end

return check
