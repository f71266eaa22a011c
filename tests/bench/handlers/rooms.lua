-- Rooms by the thousand: clients are told to join many, or to come and go, and say when it is done.
local mw = require "moonwire"

return {
  protocol = "events",
  events = {
    -- Joins `count` rooms of its own.
    fill = function(client, wanted)
      for i = 1, wanted.count do
        local joined, code = client:join(wanted.name .. ":" .. i)
        if not joined then return nil, code end
      end
      return wanted.count
    end,
    -- Joins one room and leaves it again, `count` times.
    churn = function(client, wanted)
      for _ = 1, wanted.count do
        client:join(wanted.name)
        client:leave(wanted.name)
      end
      return mw.room(wanted.name):count()
    end,
  },
}
