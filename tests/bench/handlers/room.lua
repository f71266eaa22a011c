-- Everyone joins one room; what a member sends goes to all of it, the sender included.
local mw = require "moonwire"

return {
  on_connect = function(client) client:join("bench") end,
  on_message = function(_, data, kind) mw.room("bench"):send(data, kind) end,
}
