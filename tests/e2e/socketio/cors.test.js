// Pages of other origins: the same requests to the reference server with its cors option, and to
// moonwire with origins, and what a browser would be told.
"use strict";

const assert = require("node:assert/strict");
const { after, before, describe, test } = require("node:test");
const { request, serve } = require("../support.js");
const { KINDS, PATH, start } = require("./support.js");

const POLLING = `${PATH}&transport=polling`;
const PAGE = "https://page.example";

const told = ({ status, headers }) => ({
  status,
  type: headers["content-type"],
  origin: headers["access-control-allow-origin"],
  credentials: headers["access-control-allow-credentials"],
  fields: headers["access-control-allow-headers"],
  methods: headers["access-control-allow-methods"],
  age: headers["access-control-max-age"],
  vary: headers.vary?.split(/, */).sort().join(", "),
});

// All that a page asks of a server in a session's life: [name, what it is told].
async function trace(server) {
  const seen = [];
  const ask = async (name, query, options = {}) => {
    const headers = { Origin: PAGE, ...options.headers };
    const answer = await request(server.url, POLLING + query, { ...options, headers });
    seen.push([name, told(answer)]);
    return answer;
  };
  const preflight = (fields) => ({
    method: "OPTIONS",
    headers: {
      "Access-Control-Request-Method": "POST",
      ...(fields && { "Access-Control-Request-Headers": fields }),
    },
  });
  const { body } = await ask("handshake", "");
  const sid = `&sid=${JSON.parse(body.slice(1)).sid}`;
  await ask("post", sid, { method: "POST", body: "40" });
  await ask("poll", sid);
  await ask("preflight", sid, preflight("x-page"));
  await ask("preflight without fields", sid, preflight());
  await ask("an unknown session", "&sid=nobody");
  await ask("another method", "", { method: "PUT", body: "40" });
  return seen;
}

const NAMES = ["preflight", "preflight without fields"];
const ours = {
  // Only what was asked for is allowed, and for ten minutes.
  methods: (reference) => reference && "POST",
  age: (reference, name) => (NAMES.includes(name) ? "600" : reference),
};

const CASES = {
  "one that is listed, with credentials": {
    cors: { origin: [PAGE], credentials: true },
    origins: `{ "${PAGE}" }`,
    // The answer to a preflight depends on all that it is asked with.
    vary: (reference, name) =>
      NAMES.includes(name)
        ? "Access-Control-Request-Headers, Access-Control-Request-Method, Origin"
        : reference,
  },
  "any, without credentials": {
    cors: { origin: "*" },
    origins: '{ "*" }',
    vary: (reference, name) =>
      NAMES.includes(name) ? "Access-Control-Request-Headers, Access-Control-Request-Method" : reference,
  },
};

for (const [name, { cors, origins, vary }] of Object.entries(CASES)) {
  describe(`what a page of another origin is told: ${name}`, { skip: KINDS.length < 2 }, () => {
    let reference;
    let server;
    before(async () => {
      reference = await start("reference", { cors });
      server = await serve(`return { origins = ${origins}, events = {} }`);
    });
    after(async () => {
      await reference?.stop();
      await server?.stop();
    });

    test("as by the reference server, but for what is asked beforehand", async () => {
      const expected = await trace(reference);
      for (const [step, answer] of expected) {
        for (const [field, change] of Object.entries({ ...ours, vary })) {
          answer[field] = change(answer[field], step);
        }
      }
      assert.deepEqual(await trace(server), expected);
    });
  });
}
