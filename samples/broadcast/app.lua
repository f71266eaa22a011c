local mw = require "moonwire"

return {
  static = "public",
  on_connect = function(client) client:send(mw.json.encode { type = "welcome", time = mw.iso() }) end,
  on_message = function(_, data, kind) mw.namespace():send(data, kind) end,
}
