---@meta
--- The types of what handlers are given, for editors (LuaLS). Nothing requires this file. Time is in
--- seconds, sizes are in bytes. What waits says so: it parks the handler that calls it, and nobody
--- else. What can fail returns nil and a code; a wrong argument raises an error.

--- A handler table: what a handler file returns, or an array of them, one for each namespace.
---@class moonwire.Handler
---@field namespace? string the path where clients connect: "/" (default), "/chat", "/tenant/:id"
---@field protocol? "raw"|"events"|"engine.io" default: raw where on_message is there and neither events nor on_event; "engine.io": raw messages of engine.io-client
---@field rooms? table<string, moonwire.RoomPolicy> by a room's name, or a beginning and a star: "room:*"
---@field recovery? boolean|moonwire.Recovery whether clients of Socket.IO may come back and miss nothing (default: false)
---@field limits? moonwire.Limits
---@field static? string|table<string, string> a folder, relative to the file, or folders by prefix
---@field origins? string|string[] who may call from a browser: "https://a.example", "https://*.a.example", "*"; default: the same host
---@field subprotocols? string|string[] of WebSocket, the preferred one first
---@field events? table<string, fun(client: moonwire.Client, ...: any): ...> "*" gets (client, event, ...) of all others
---@field routes? table<string, fun(request: moonwire.Request): ...> "GET /users/:id"; see moonwire.Route
---@field timers? table<string, moonwire.Timer>
---@field on_request? fun(request: moonwire.Request): ... the guard of every request and handshake: nothing goes on; nil, code, detail (or false) refuses; status, body, headers answers
---@field on_auth? fun(request: moonwire.Request): moonwire.Identity?, string?, any who it is; nil, code, detail refuses; nothing is "unauthorized". Also answers for a client whose identity is about to end
---@field on_connect? fun(client: moonwire.Client)
---@field on_message? fun(client: moonwire.Client, data: string, kind: "text"|"binary") a raw frame
---@field on_event? fun(client: moonwire.Client, event: string, ...: any): ... before each event's handler, with the values it will get; nil, code, detail (or false) refuses the event, and that is its answer
---@field on_emit? fun(to: moonwire.Client|moonwire.ClientAudience|moonwire.Audience, event: string, ...: any) before what Lua emits or requests in this namespace goes out, once however many hear it; it cannot wait, what it emits does not come back to it, and its errors are logged
---@field on_join? fun(client: moonwire.Client, room: moonwire.Room, options: moonwire.JoinOptions): ... the client asks to join; nil, code, detail (or false) refuses; without this hook it is refused
---@field on_leave? fun(client: moonwire.Client, room: moonwire.Room, reason: string) reason: "left" when it asked or client:leave was called, else why it disconnected
---@field on_disconnect? fun(client: moonwire.Client, reason: string) it receives nothing more; client.rooms is as it was
---@field on_reload? fun() a new version of this file has gone into service

--- What on_auth returns, and client.user is from then on: a table with whatever the app wants to know
--- of the user, and these.
---
--- A client with `expires` is asked for a new token --refresh-before (30 s; at most half of what is
--- left) before its end: WebSocket and Socket.IO with a request "refresh" { expires = … }, a stream with an
--- event of that name, which POST {"event":"refresh","data":…} to ?sid=… answers. The answer's first value,
--- an object or a string (the token), is request.auth when on_auth runs again; all else in that request is
--- what the client came with (request.user, which on_request may have set, is not there any more). What
--- on_auth returns replaces client.user, if the id is the same; without expires it never ends. Whatever else
--- becomes of it changes nothing, and a client that is still there at the end is disconnected: on_disconnect
--- hears "expired", WebSocket's close code is 4401, Socket.IO leaves that namespace, a stream ends. Clients
--- of raw frames (WebSocket and Engine.IO) are not asked.
---@class moonwire.Identity
---@field id string|integer
---@field expires? number until when it holds, in seconds since 1970: mw.now() + 3600, or a token's exp; what is past is "unauthorized"
---@field [string] any

--- What a client's join says, with whatever else it holds. A client that comes back says in `after`
--- (or ?after= in its URL, or Last-Event-ID) up to which offset it has seen the room. Then it gets the
--- messages after that, as they were live, behind the reply; the reply says `recovered` and `reason` as
--- they are when the membership begins, and in `offset` where the client stands with it. An on_join that itself reads room:history { after = … } hands
--- out what it has read: only what came after that follows.
---@class moonwire.JoinOptions
---@field join string the room's name
---@field after string? of the offsets that it came with, the one that is meant here
---@field recovered boolean? with `after`: can it get all that it has missed?
---@field reason? "trimmed"|"expired"|"epoch"|"invalid"|"no_history"|"joined" why not: as of room:history; the room keeps none; it is in the room already
---@field [string] any

---@class moonwire.RoomPolicy
---@field history? { size: integer, ttl?: number, durable?: boolean } how many messages to keep, and for how long after the last one (default: an hour); durable: on disk, in the folder --data
---@field slow? moonwire.Slow what becomes of messages to members that do not read (default: limits.slow)
---@field key? string with slow = "latest": the field that tells rows apart

--- Connection state recovery of Socket.IO. A client whose connection breaks (all ways but its own
--- disconnect, the server's, and malformed packets) may come back within the time: it has its id, user,
--- data and rooms again, gets the events that it missed, in order, before anything newer, and on_connect
--- runs with client.recovered. What a room, several, a user, the namespace or the client were told, and whom
--- that left out, counts as it was when it was said; what is volatile or asks for an answer is not repeated.
--- The drop runs on_leave and on_disconnect; coming back asks neither on_auth nor on_join. Whose rights
--- end meanwhile does not come back: mw.user(id):disconnect() forgets his clients that have gone since the server started, too. Otherwise it
--- is somebody new, and client.recovery_reason says why: "expired" (the time was over), "trimmed" (more
--- was said than the log holds), "epoch" (the server has started again), "identity" (what on_auth said has
--- ended), "skipped" (it was slow, and its policy had left something out), "invalid" (it presents nonsense).
---@class moonwire.Recovery
---@field size? integer messages that the namespace's log holds (default: 1000)
---@field ttl? number seconds that a client may be away (default: 120)
---@field durable? boolean on disk, in the folder --data, so that it works after a restart too: what is said then goes to clients of Socket.IO once it is committed; client.user and client.data come back as far as JSON can say them, data as it was within the last second

---@class moonwire.Limits
---@field rate? integer events a second from one client; beyond it: rate_limited
---@field burst? integer events at once (default: rate)
---@field max_payload? integer of one message (default: --max-payload)
---@field slow? moonwire.Slow what becomes of messages to a client that does not read (default: "close"): those to no room (client:emit, mw.user, broadcast), and to rooms that do not say otherwise
---@field key? string with slow = "latest": the field that tells rows apart

--- The policy for a reader whose unread output is above --high-mark. "close": it is closed. "drop":
--- messages are dropped until it has read everything, then it hears the event "dropped"
--- { count = 12, rooms = { ["room:1"] = 12 } } in their place. "latest": while its socket takes no
--- more, the newest message takes the place of the one before it with the same room, event and value
--- of the field `key` in the first argument (a string, a number or a boolean; without it: of the same
--- event). They go out in the order in which they were said. Replies and requests are never dropped,
--- and may overtake what "latest" holds back. Above --hard-limit every policy closes. What is said to
--- one client alone (client:emit, client:send) "close" closes only there: above the mark nothing more is
--- read from that client.
---@alias moonwire.Slow "close"|"drop"|"latest"

---@class moonwire.Timer
---@field every number seconds between two runs; it never overlaps with itself
---@field run fun() in the table's namespace

--- What routes return: status, body, headers; or a table alone (200, JSON), a string alone (200,
--- text), nothing (204), or nil, code, detail. A body is a string (text/plain unless the headers say
--- otherwise) or a table (JSON). A header is a string or a list of them.
---@alias moonwire.Route fun(request: moonwire.Request): (integer|string|table|nil), any, table<string, string|string[]>?

--- Somebody connected, whatever the wire. The same client is always the same object. After
--- on_disconnect id, user and data stay readable; methods return nil, "closed".
---@class moonwire.Client
---@field id string
---@field user moonwire.Identity what on_auth returned; without it { id = client.id }
---@field data table the app's own fields; a table from the first reading on
---@field wire "websocket"|"sse"|"post"|"socket.io"|"engine.io"
---@field connected boolean
---@field recovered boolean it has come back, and nothing is missing (see moonwire.Recovery)
---@field recovery_reason? "invalid"|"epoch"|"expired"|"trimmed"|"skipped"|"identity" it has come back, but as somebody new
---@field namespace string the concrete one: "/tenant/42"
---@field params table<string, string> the namespace's parameters: { id = "42" }
---@field request moonwire.Request the one it came with, without its body
---@field rooms table<string, moonwire.Room> those it is in: client.rooms[name] or nil; pairs and # work
local client = {}

--- Sends an event to this client only. nil, "closed" when it has gone.
---@param event string
---@param ... any JSON values
---@return true? sent, string? code
function client:emit(event, ...) end

--- Sends a raw frame.
---@param data string UTF-8 unless kind is "binary"
---@param kind? "text"|"binary"
---@return true? sent, string? code
function client:send(data, kind) end

--- Begins a membership without asking on_join. Codes: bad_room, too_many_rooms, closed. With
--- options: what became of `after`, up to which offset the client has seen the room, as of a join that
--- the client asks for; and `offset`, where the client stands in the room's history before anything is
--- replayed.
---@param room string
---@param options? { after: string? }
---@return true? joined, string|{ recovered: boolean?, reason: string?, offset: string? }|nil code_or_outcome
function client:join(room, options) end

--- Ends a membership; on_leave(client, room, "left") runs after the client's running handler.
---@param room string
---@return boolean? was_in, string? code
function client:leave(room) end

--- The room without this client, whether it is in it or not.
---@param room string
---@return moonwire.Room
function client:to(room) end

--- The namespace without this client and those: as broadcast, with exceptions.
---@param ... moonwire.Client|moonwire.Room|string|(moonwire.Client|moonwire.Room|string)[] as of audience:except
---@return moonwire.Namespace
function client:except(...) end

--- To everybody in the namespace but this client.
---@param event string
---@return true? sent, string? code
function client:broadcast(event, ...) end

--- This client, for messages that may be dropped while its socket takes no more.
---@return moonwire.ClientAudience
function client:volatile() end

--- This client, for a request with this timeout: client:timeout(2):request("ready").
---@param seconds number
---@return moonwire.ClientAudience
function client:timeout(seconds) end

--- Closes the connection (WebSocket: code 1000; Socket.IO: leaves the namespace, and with `true` all
--- namespaces and the connection). on_leave and on_disconnect follow.
---@param reason? string default: "disconnected", with Socket.IO "server namespace disconnect"
---@param connection? boolean Socket.IO's disconnect(true)
---@return true? closing, string? code
function client:disconnect(reason, connection) end

---@class moonwire.ClientAudience
local client_audience = {}
function client_audience:emit(event, ...) end
function client_audience:send(data, kind) end
---@return moonwire.ClientAudience
function client_audience:volatile() end
---@param seconds number
---@return moonwire.ClientAudience
function client_audience:timeout(seconds) end

--- Waits for the client's answer (default: 10 s). Returns its values; or nil and a code: "timeout",
--- "closed", "backpressure" (too many requests, or events, wait), or the code that it answered with.
---@param event string
---@return any ...
function client_audience:request(event, ...) end

--- What can be spoken to. Each modifier makes a new light object and leaves the old as it was.
---@class moonwire.Audience
local audience = {}

--- Sends an event to everybody in it. In a room with history: the message's offset. Where that is
--- durable, delivery follows the commit; nil, "unavailable" when nothing more can be written.
---@param event string
---@param ... any JSON values
---@return string|true? offset
---@return string? code
---@return string? detail
function audience:emit(event, ...) end

--- Sends a raw frame.
---@param data string UTF-8 unless kind is "binary"
---@param kind? "text"|"binary"
---@return string|true? offset
---@return string? code
---@return string? detail
function audience:send(data, kind) end

--- Without these clients and without whoever is in these rooms (of the same namespace) when it is
--- used. Lists of both are taken, too; repeated calls add. At most 256.
---@generic T : moonwire.Audience
---@param self T
---@param ... moonwire.Client|moonwire.Room|string|(moonwire.Client|moonwire.Room|string)[] a string is a room's name
---@return T
function audience:except(...) end

--- For messages that may be dropped where a socket takes no more.
---@generic T : moonwire.Audience
---@param self T
---@return T
function audience:volatile() end

--- A room, several rooms, a user or a namespace: each client in it is met once.
---@class moonwire.Gathering : moonwire.Audience
local gathering = {}

--- For a request: the longest wait.
---@generic T : moonwire.Gathering
---@param self T
---@param seconds number
---@return T
function gathering:timeout(seconds) end

--- Asks everybody in it and waits until all have answered or the time is over (default: 10 s).
--- `answers` has one entry for each client that answered; `silent` are those that did not, in time
--- or at all. Requests are no part of a room's history.
---@param event string
---@return { client: moonwire.Client, n: integer?, error: string?, [integer]: any }[] answers the values at 1 to n, or the error's code
---@return moonwire.Client[] silent
function gathering:request(event, ...) end

--- How many connections are in it (those left out are not).
---@return integer
function gathering:count() end

--- The connections in it.
---@return moonwire.Client[]
function gathering:clients() end

--- Each of its connections joins the room, without asking on_join; those that are in too many rooms
--- stay out. How many are in it now.
---@param room string
---@return integer
function gathering:join(room) end

--- Each of its connections leaves the room; on_leave(client, room, "left") follows. How many did.
---@param room string
---@return integer
function gathering:leave(room) end

--- Closes all of its connections (Socket.IO: leaves the namespace); how many.
---@param reason? string as of client:disconnect
---@param connection? boolean as of client:disconnect
---@return integer
function gathering:disconnect(reason, connection) end

--- mw.rooms { ... }
---@class moonwire.Rooms : moonwire.Gathering
local rooms = {}
---@return table[]
function rooms:members() end

--- A name; valid while nobody is in it.
---@class moonwire.Room : moonwire.Gathering
---@field name string
local room = {}

--- The users in it (client.user), each once, however many connections he has. JSON can say it.
---@return table[]
function room:members() end

--- The room, whose emit and send then wait until the message is on disk (and on its way to everybody)
--- and return its offset; or nil, "unavailable" and a reason: nobody will hear of it. For rooms with
--- durable history; in others emit and send are then an error.
---@return moonwire.Room
function room:durable() end

--- What was said, oldest first: { event, data (or args, where there were several), offset }, or for
--- raw frames { data, kind, offset }. With `after` the oldest ones behind it, otherwise the newest.
--- Of those before an offset that is unknown there are none. `complete` is false where messages after
--- `after` are no longer there, or one of the two is unknown; then `reason` says why: "trimmed" (there
--- were more than `size`), "expired" (`ttl` was over), "epoch" (of another log, or the server has been
--- restarted since), "invalid" (no offset, or one of the future), "no_history" (the room keeps none).
---@param options? { after: string?, before: string?, limit: integer? }
---@return table[]? messages nil, "unavailable" where they cannot be read from disk
---@return boolean|string complete
---@return string? reason
function room:history(options) end

--- All connections of a user.
---@class moonwire.User : moonwire.Gathering
---@field id string
local user = {}

---@class moonwire.Namespace : moonwire.Gathering
---@field name string
local namespace = {}
---@return table[]
function namespace:members() end
---@param name string
---@return moonwire.Room
function namespace:room(name) end
--- By name, those with somebody in them.
---@return table<string, moonwire.Room>
function namespace:rooms() end
---@param id string
---@return moonwire.User
function namespace:user(id) end

--- An HTTP request. Only `user` can be set: on_request may leave it for on_auth and routes.
---@class moonwire.Request
---@field method string
---@field path string decoded
---@field params table<string, string> of the route's pattern
---@field query table<string, string> decoded; of repeated keys the last one
---@field headers table<string, string> found however the name is written; repeated fields are joined with ", "
---@field cookies table<string, string>
---@field body string
---@field json any the body; nil where it is no JSON
---@field ip string the address of the peer
---@field secure boolean the peer's connection is TLS; behind a proxy its headers know
---@field time integer seconds since 1970: when it was received
---@field user any
---@field auth { token: string?, [string]: any } what a Socket.IO client presented; else the Bearer token, or ?token=

--- Whose tokens are taken. A list of keys is for the time in which one follows another; by the ids of
--- the keys ({ ["2026-11"] = key }) a token's kid chooses.
---@class mw.jwt.verify.options
---@field key? string a secret (HS256, …), or the PEM text of a public or private key or a certificate (RS256, ES256, …)
---@field keys? string[]|table<string, string> several
---@field algorithms? string|string[] those that may be used; default: those of the key's kind
---@field audience? string|string[]|false who we are; a token with aud that names nobody of them is refused, as is one with aud where nothing was asked for (RFC 7519); false: whoever it is for
---@field issuer? string|string[] who may have made it; default: anybody
---@field leeway? number seconds by which clocks may differ, in exp and nbf (default: 0)
---@field now? number seconds since 1970, in place of the clock

---@class mw.jwt.sign.options
---@field key? string a secret or a private key; default: jwt_key of the server's options
---@field algorithm? string default: HS256, RS256, ES256, ES384 or ES512, by the kind of the key
---@field kid? string the key's id, for the header
---@field expires_in? number seconds: sets iat and exp

--- Set-Cookie without its name and value.
---@class mw.cookie.options
---@field max_age? integer seconds; without it until the browser ends
---@field path? string default: "/"
---@field domain? string default: this host alone
---@field secure? boolean over TLS only
---@field http_only? boolean unseen by scripts (default: true)
---@field same_site? "strict"|"lax"|"none" default: "lax"

--- Bytes are strings. Algorithms: sha256, sha384, sha512, and sha1 and md5 for those who still ask for them.
---@class mw.crypto
---@field hash fun(algorithm: string, data: string): string the digest, as bytes
---@field hmac fun(algorithm: string, key: string, data: string): string
---@field random fun(count: integer): string unguessable bytes, at most 1 MiB
---@field equal fun(a: string?, b: string?): boolean in a time that does not tell where they differ; nil equals nothing
---@field hex mw.crypto.form codes: "bad_hex"
---@field base64 mw.crypto.form either alphabet, padded or not; "bad_base64"
---@field base64url mw.crypto.form without padding; "bad_base64url"

---@class mw.crypto.form
---@field encode fun(bytes: string): string
---@field decode fun(text: string): string?, string? the bytes; or nil and a code

---@class mw
local mw = {}

--- A room of the namespace whose hook, route or timer runs; elsewhere an error.
---@param name string
---@return moonwire.Room
function mw.room(name) end

--- Several rooms, of which each recipient gets the message once, from the first that it is in. At
--- most 256. It stands in the history of each that keeps one: who recovers several of them gets it
--- from each.
---@param names string[]
---@return moonwire.Rooms
function mw.rooms(names) end

--- All connections of a user in that namespace.
---@param id string
---@return moonwire.User
function mw.user(id) end

--- The connected client with this id, in any namespace.
---@param id string
---@return moonwire.Client?
function mw.client(id) end

--- Without a name the namespace of the running hook; by name any that a handler table has.
---@param name? string
---@return moonwire.Namespace
function mw.namespace(name) end

--- In a route: turns the request into a client on a stream of server-sent events, in these rooms.
--- Without `user`, on_auth is asked (and may wait). nil and a code where it refuses or the
--- connection has gone. The route's results are then ignored.
---@param request moonwire.Request
---@param options? { rooms: string[]?, user: moonwire.Identity? }
---@return moonwire.Client? client
---@return string? code
---@return any detail
function mw.sse(request, options) end
