// What the tests of identities share: handlers whose tokens say who somebody is and until when, and the
// same life on each wire. A token is "user/seconds/note/wait": what on_auth makes of it, and how long
// it takes. GET /life/:id tells what has become of a user.
"use strict";

const assert = require("node:assert/strict");
const { eventually } = require("../support.js");
const { connect, get, post, stream } = require("./support.js");
const { TRANSPORTS, visit } = require("./socketio/support.js");

const app = (version) => `
local mw = require "moonwire"
local lives = mw.state("lives", {})
local function life(id)
  lives[id] = lives[id] or { auths = 0, returned = 0, connects = 0, ends = mw.array {} }
  return lives[id]
end

local ODD = { huge = math.huge, text = "soon", nan = 0 / 0, null = mw.null, table = {}, less = -math.huge }
local function on_auth(request)
  local id, seconds, note, wait = tostring(request.auth.token):match "^([^/]+)/([^/]+)/?([^/]*)/?([^/]*)$"
  if not id then return nil, "unauthorized", "no token" end
  life(id).auths = life(id).auths + 1
  if tonumber(wait) then mw.sleep(tonumber(wait)) end
  life(id).returned = life(id).returned + 1
  if note == "error" then error "a bug of on_auth" end
  if note == "odd" then return { id = id, expires = ODD[seconds] } end
  return {
    id = id, note = note, agent = request.headers["x-agent"], version = ${version},
    expires = tonumber(seconds) and mw.now() + seconds or nil,
  }
end
local function on_connect(client)
  life(client.user.id).connects = life(client.user.id).connects + 1
end
local order = mw.state("order", mw.array {})
local function on_disconnect(client, reason)
  if client.user.note == "crowd" then order[#order + 1] = { client.user.expires, reason } end
  local ends = life(client.user.id).ends
  ends[#ends + 1] = { reason, mw.now() >= (client.user.expires or 0) }
end

local function handler(namespace, more)
  local t = { namespace = namespace, on_auth = on_auth, on_connect = on_connect,
    on_disconnect = on_disconnect, events = {}, routes = {} }
  for key, value in pairs(more or {}) do t[key] = value end
  return t
end
local main = handler "/"
function main.events.who(client) return client.user end
function main.events.slow(client, seconds) mw.sleep(seconds) return client.user.note end
function main.events.mark(client)
  local marks = mw.state("marks", {})
  marks[#marks + 1] = client.user.id .. (client.connected and " there" or " gone")
end
main.routes["GET /marks"] = function() return mw.array(mw.state("marks", {})) end
function main.events.kick(client, id, reason) return mw.user(id):disconnect(reason) end
function main.events.count(client)
  local l = life(client.user.id)
  l.count = (l.count or 0) + 1
  if l.count == 1 then mw.user(client.user.id):disconnect("revoked") end
end
main.routes["GET /kick/:id"] = function(request)
  local count = 0
  for _, namespace in ipairs { "/", "/raw", "/plain" } do
    count = count + mw.namespace(namespace):user(request.params.id):disconnect("revoked")
  end
  return { count = count }
end
main.routes["GET /order"] = function() return order end
main.routes["GET /life/:id"] = function(request) return life(request.params.id) end
main.routes["GET /stream/:seconds"] = function(request)
  return mw.sse(request, { user = { id = request.query.id,
    expires = mw.now() + tonumber(request.params.seconds) } })
end
-- Whoever shows the same thing again gets the same end.
local fixed = handler("/cookie", { protocol = "events" })
function fixed.on_auth(request)
  local l = life(request.query.token)
  l.auths, l.till = l.auths + 1, l.till or mw.now() + (tonumber(request.query.seconds) or 4)
  return { id = request.query.token, expires = l.till }
end
local function echo(client, data) client:send(data) end
return { main, fixed, handler "/other",
  handler("/raw", { on_message = echo }),
  handler("/plain", { on_message = echo, protocol = "engine.io" }) }
`;

// What each wire makes of the same life: its question, the answer to it, a call, and its end.
const WIRES = {
  async websocket(server, token, headers) {
    const peer = await connect(server, `/?token=${token}`, { headers });
    return {
      asked: () => peer.find(({ event }) => event === "refresh"),
      answer: (question, data) => peer.send({ id: question.id, data }),
      call: async (event, ...args) => (await peer.call(event, ...args)).data,
      tell: (event, ...args) => peer.emit(event, ...args),
      async ended(reason) {
        assert.deepEqual(await peer.closed(), {
          code: reason === "expired" ? 4401 : 1000,
          reason,
        });
      },
      destroy: () => peer.socket.terminate(),
    };
  },

  async sse(server, token, headers) {
    const events = await stream(server, `/?sid=new&token=${token}`, { headers });
    const { sid } = JSON.parse((await events.next("sid")).data);
    const speak = (event, data) => post(server, `/?sid=${sid}`, { event, data });
    return {
      async asked() {
        const { data } = await events.next("refresh");
        return { event: "refresh", data: JSON.parse(data) };
      },
      answer: (_, data) => speak("refresh", data),
      call: async (event, ...args) => (await speak(event, ...args)).json,
      tell: (event, ...args) => speak(event, ...args),
      ended: () => events.ended(),
      destroy: () => events.destroy(),
    };
  },
};
for (const transport of Object.keys(TRANSPORTS)) {
  WIRES[`socket.io over ${transport}`] = async (server, token, headers) => {
    const guest = await visit(server, { transport, auth: { token }, extraHeaders: headers });
    return {
      async asked() {
        const [data, respond] = await guest.next("refresh");
        return { event: "refresh", data, respond };
      },
      answer: (question, data) => question.respond(data),
      call: (...args) => guest.ask(...args),
      tell: (...args) => guest.emit(...args),
      async ended() {
        assert.equal(await guest.disconnected(), "io server disconnect");
      },
      destroy: () => guest.close(),
    };
  };
}

let number = 0;
const newName = () => `user-${++number}`;

const life = async (server, name) => (await get(`${server.url}/life/${name}`)).json;
const end = (server, name) =>
  eventually(`the end of ${name}`, async () => {
    const { ends } = await life(server, name);
    return ends.length > 0 && ends;
  });

module.exports = { WIRES, app, end, life, newName };
