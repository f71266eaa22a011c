-- Streams join the room; what a WebSocket says goes to it.
local mw = require "moonwire"

return {
  on_connect = function(client)
    if client.wire == "sse" then client:join("bench") end
  end,
  on_message = function(_, data) mw.room("bench"):send(data) end,
}
