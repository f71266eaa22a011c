-- Everyone joins one room; an event goes to all of it with one field changed.
local mw = require "moonwire"

return {
  on_connect = function(client) client:join("bench") end,
  events = {
    m = function(_, order)
      order.hops = order.hops + 1
      mw.room("bench"):emit("m", order)
    end,
  },
}
