-- Everyone joins one room; what a member says goes to all of it, the sender included.
local mw = require "moonwire"

return {
  on_connect = function(client) client:join("bench") end,
  events = { m = function(_, data) mw.room("bench"):emit("m", data) end },
}
