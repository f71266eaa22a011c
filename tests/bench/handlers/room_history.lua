-- As room.lua, and what was said last stays in memory for those who come back.
local mw = require "moonwire"

return {
  rooms = { bench = { history = { size = 200 } } },
  on_connect = function(client) client:join("bench") end,
  on_message = function(_, data, kind) mw.room("bench"):send(data, kind) end,
}
