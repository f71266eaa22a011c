// WebSocket conformance: an echo server is sent everything that RFC 6455 and RFC 7692 allow, and what
// they forbid, and must answer exactly as they say. The tables of cases are in conformance/.
"use strict";

const { serving } = require("./support.js");
const closing = require("./conformance/closing.js");
const compression = require("./conformance/compression.js");
const fragmentation = require("./conformance/fragmentation.js");
const framing = require("./conformance/framing.js");
const limits = require("./conformance/limits.js");
const negotiation = require("./conformance/negotiation.js");
const traffic = require("./conformance/traffic.js");
const utf8 = require("./conformance/utf8.js");
const { runCases } = require("./conformance/runner.js");

const APP = `
local function echo(client, data, kind) client:send(data, kind) end
return {
  { on_message = echo },
  { namespace = "/small", limits = { max_payload = ${limits.SMALL} }, on_message = echo },
  {
    namespace = "/bye",
    on_message = function(client)
      client:send("last words")
      client:disconnect("bye")
    end,
  },
}
`;

// Messages of 16 MiB, which may all wait to be written; compressed whatever their size.
const server = serving(APP, {
  args: ["--max-payload", "16M", "--hard-limit", "64M", "--deflate-min", "0"],
});

for (const tables of [framing, fragmentation, utf8, closing, compression, limits.tables]) {
  for (const [title, cases] of Object.entries(tables)) runCases(server, title, cases);
}
negotiation.run(server);
traffic.run(server);
