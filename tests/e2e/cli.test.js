// The command line: help, versions, options from everywhere, mistakes that people make, metrics,
// and the end of a server.
"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const net = require("node:net");
const path = require("node:path");
const { describe, it } = require("node:test");
const { BINARY, ROOT, makeFolder, run, startProcess } = require("../support.js");
const { connect, get, metric, request, serve, serving, stream } = require("./support.js");
const { dial, upgrade } = require("./wire.js");

const APP = `
local mw = require "moonwire"
return {
  events = { ping = function() return "pong" end },
  routes = {
    ["GET /page"] = function() return "root" end,
    ["GET /slow"] = function() mw.sleep(0.05) return "slow" end,
  },
  on_join = function() return true end,
}
`;

describe("moonwire", () => {
  it("--help lists every command and every option", async () => {
    const { code, text } = await run(["--help"]);
    assert.equal(code, 0);
    for (const command of ["run", "dev", "check", "reload", "version"])
      assert.match(text, new RegExp(`^  ${command} `, "m"));
    const table = fs.readFileSync(path.join(ROOT, "core/base/config.c"), "utf8");
    const options = [...table.matchAll(/^ {4}\{"(\w+)", OPTION_/gm)].map(([, name]) =>
      name.replaceAll("_", "-"),
    );
    assert.ok(options.length > 20);
    for (const option of options)
      assert.match(text, new RegExp(`--(\\[no-\\])?${option}\\b`), option);
  });

  it("without a command says how it is used", async () => {
    const { code, text } = await run([]);
    assert.equal(code, 2);
    assert.match(text, /usage: moonwire/);
  });

  it("tells its version", async () => {
    for (const args of [["version"], ["--version"]]) {
      const { code, text } = await run(args);
      assert.equal(code, 0);
      assert.match(text, /^moonwire \d+\.\d+\.\d+/);
    }
  });

  it("knows what it was told wrongly", async () => {
    const folder = makeFolder({ "app.lua": APP, "bad.json": '{"prot": 1}', "worse.json": "{,}" });
    const file = path.join(folder, "app.lua");
    const wrong = [
      [["rum", file], 2, /unknown command 'rum'/],
      [["run"], 2, /which handler file/],
      [["run", file, file], 2, /one handler file/],
      [["run", path.join(folder, "nope.lua")], 1, /nope\.lua: No such file/],
      [["run", folder], 1, /moonwire: /],
      [["run", file, "--prot", "1"], 2, /--prot: unknown option; did you mean --port\?/],
      [["run", file, "--port", "x"], 2, /--port: 'x' is not a whole number/],
      [["run", file, "--port", "65536"], 2, /--port: 65536 is out of range/],
      [["run", file, "--port"], 2, /--port/],
      [["run", file, "--max-body", "1X"], 2, /--max-body: '1X' is not a size/],
      [["run", file, "--admin", "nowhere"], 2, /--admin: 'nowhere' is not an address/],
      [["run", file, "--log-level", "loud"], 2, /--log-level: 'loud' is none of/],
      [
        ["run", file, "--config", path.join(folder, "bad.json")],
        2,
        /prot: unknown option; did you mean port\?/,
      ],
      [["run", file, "--config", path.join(folder, "worse.json")], 2, /worse\.json:1:/],
      [["run", file, "--config", path.join(folder, "none.json")], 2, /none\.json: No such file/],
    ];
    for (const [args, code, said] of wrong) {
      const answer = await run(args);
      assert.match(answer.text, said);
      assert.equal(answer.code, code, answer.text);
    }
    const variable = await run(["run", file], { env: { ...process.env, MOONWIRE_PORT: "many" } });
    assert.match(variable.text, /MOONWIRE_PORT: 'many' is not/);
    assert.equal(variable.code, 2);
  });

  it("says which port is in use", async () => {
    const taken = net.createServer();
    await new Promise((resolve) => taken.listen(0, "127.0.0.1", resolve));
    const { port } = taken.address();
    const file = path.join(makeFolder({ "app.lua": APP }), "app.lua");
    const { code, text } = await run(["run", file, "--host", "127.0.0.1", "--port", String(port)]);
    assert.equal(code, 1);
    assert.match(
      text,
      new RegExp(`cannot listen on 127\\.0\\.0\\.1 port ${port}: address already in use`),
    );
    const admin = await run(["run", file, "--port", "0", "--admin", `127.0.0.1:${port}`]);
    assert.equal(admin.code, 1);
    assert.match(admin.text, /admin.*in use/);
    taken.close();
  });
});

describe("moonwire check", () => {
  const check = (text, files = {}) =>
    run(["check", path.join(makeFolder({ "app.lua": text, ...files }), "app.lua")]);

  it("finds nothing in what is right", async () => {
    const { code, text } = await check(APP);
    assert.equal(code, 0);
    assert.match(text, /app\.lua is fine/);
  });

  const WRONG = {
    "a key of the table": [
      "return { on_conect = print }",
      /app\.lua: on_conect: unknown key; did you mean "on_connect"\?/,
    ],
    "a key of limits": [
      "return { limits = { rat = 1 } }",
      /limits\.rat: unknown key; did you mean "rate"\?/,
    ],
    "a key of a room": [
      'return { rooms = { ["a:*"] = { histroy = {} } } }',
      /histroy: unknown key; did you mean "history"\?/,
    ],
    "a hook that is none": ["return { on_auth = 7 }", /on_auth: expected a function, got 7/],
    "an event that is none": [
      "return { events = { say = {} } }",
      /events\["say"\]: expected a function/,
    ],
    "a route's method": ['return { routes = { ["FETCH /"] = print } }', /unknown method "FETCH"/],
    "a route's path": ['return { routes = { ["GET a"] = print } }', /must begin with "\/"/],
    "two routes in one": [
      'return { routes = { ["GET /:a"] = print, ["GET /:b"] = print } }',
      /is the same route as/,
    ],
    "a timer without time": ["return { timers = { t = { run = print } } }", /every: is missing/],
    "two tables in one namespace": ["return { {}, {} }", /namespace.*also that of table 1/],
    "a folder that is not there": ['return { static = "nowhere" }', /static: .*nowhere/],
    "no table": ["return 7", /expected the file to return a handler table, got 7/],
    "no return": ["local a = {}", /is there a `return`/],
    "no Lua": ["return {", /app\.lua:1:.*expected/],
    "an error": ["local t = nil\nreturn t.x", /app\.lua:2:.*index a nil value/],
    "a module that is not there": ['return require "nowhere"', /module 'nowhere' not found/],
    "what comes later": [
      "return { rooms = { a = { presence = true } } }",
      /presence.*not available in this version/,
    ],
  };
  for (const [name, [source, said]] of Object.entries(WRONG)) {
    it(`finds ${name}`, async () => {
      const { code, text } = await check(source);
      assert.match(text, said);
      assert.equal(code, 1);
    });
  }

  it("finds all mistakes at once, and the module's line", async () => {
    const both = await check("return { on_conect = print, limits = { rat = 1 } }");
    assert.match(both.text, /on_conect[^]*rat/);
    const module = await check('return require "part"', { "part.lua": "\n\nreturn 1 + nil" });
    assert.match(module.text, /part\.lua:3:.*arithmetic/);
    assert.match(module.text, /app\.lua:1/);
  });

  it("is what run does first", async () => {
    const folder = makeFolder({ "app.lua": "return { on_conect = print }" });
    const { code, text } = await run(["run", path.join(folder, "app.lua"), "--port", "0"]);
    assert.equal(code, 1);
    assert.match(text, /did you mean "on_connect"/);
  });
});

describe("options", () => {
  it("come from flags, the environment, a file, in this order", async () => {
    const config = path.join(
      makeFolder({ "config.json": '{"max_body": 10, "max_headers": 5, "log_level": "debug"}' }),
      "config.json",
    );
    const server = await serve(APP, {
      args: ["--config", config, "--max-body=30"],
      env: { MOONWIRE_MAX_BODY: "20", MOONWIRE_MAX_HEADERS: "7" },
    });
    const status = async (size) =>
      (await request(server.url, "/page", { method: "POST", body: "x".repeat(size) })).status;
    assert.notEqual(await status(30), 413);
    assert.equal(await status(31), 413);
    const fields = async (count) => {
      const client = await dial(server);
      client.writeRequest([
        "GET /page HTTP/1.1",
        "Host: x",
        ...Array.from({ length: count - 1 }, (_, n) => `F${n}: x`),
      ]);
      const answer = await client.response();
      client.destroy();
      return answer.status;
    };
    assert.equal(await fields(7), 200);
    assert.equal(await fields(8), 431);
    await server.stop();
  });
});

describe("metrics", () => {
  const server = serving(APP);

  it("are in Prometheus' form", async () => {
    const { status, headers, body } = await get(`${server.admin}/metrics`);
    assert.equal(status, 200);
    assert.match(headers["content-type"], /^text\/plain; version=0\.0\.4/);
    const types = {};
    const seen = new Set();
    for (const line of body.trimEnd().split("\n")) {
      const meta = /^# (HELP|TYPE) (\w+) (.+)$/.exec(line);
      if (meta) {
        if (meta[1] === "TYPE") types[meta[2]] = meta[3];
        continue;
      }
      const sample = /^([a-z_]+)(\{[a-z]+="[^"\\\n]*"\})? (-?[0-9.e+-]+|\+Inf|NaN)$/.exec(line);
      assert.ok(sample, line);
      assert.ok(!seen.has(sample[1] + sample[2]), `${line} is there twice`);
      seen.add(sample[1] + sample[2]);
      const family = types[sample[1]] ?? types[sample[1].replace(/_(bucket|sum|count)$/, "")];
      assert.ok(family, `no TYPE for ${line}`);
      if (family === "counter") assert.match(sample[1], /_total$/);
    }
    const buckets = [...body.matchAll(/^moonwire_handler_seconds_bucket\{le="([^"]+)"\} (\d+)$/gm)];
    assert.equal(buckets.at(-1)[1], "+Inf");
    const counts = buckets.map(([, , count]) => Number(count));
    assert.deepEqual(
      counts,
      [...counts].sort((a, b) => a - b),
    );
  });

  it("move with what happens", async () => {
    const names = {
      'moonwire_messages_received_total{wire="websocket"}': 2,
      'moonwire_deliveries_total{wire="websocket"}': 2,
      'moonwire_clients_total{wire="websocket"}': 1,
      'moonwire_clients_total{wire="sse"}': 1,
      'moonwire_handler_calls_total{hook="event"}': 2,
      'moonwire_handler_calls_total{hook="route"}': 1,
      'moonwire_http_requests_total{status="1xx"}': 1,
      'moonwire_http_requests_total{status="4xx"}': 1,
    };
    const read = () => Promise.all(Object.keys(names).map((name) => metric(server, name)));
    const before = await read();
    const received = await metric(server, "moonwire_received_bytes_total");
    const peer = await connect(server);
    await peer.call("ping");
    await peer.call("ping");
    const events = await stream(server);
    await request(server.url, "/page");
    await request(server.url, "/nope");
    const after = await read();
    assert.deepEqual(
      after.map((value, index) => value - before[index]),
      Object.values(names),
    );
    assert.ok((await metric(server, "moonwire_received_bytes_total")) > received);
    events.destroy();
    await peer.close();
  });

  it("are refused to other methods, and not found elsewhere", async () => {
    assert.equal((await get(`${server.admin}/metrics`, { method: "POST" })).status, 405);
    assert.equal((await get(`${server.admin}/`)).status, 404);
  });

  it("are off in run and on in dev unless asked otherwise", async () => {
    const file = path.join(makeFolder({ "app.lua": APP }), "app.lua");
    for (const [command, on] of [
      ["run", false],
      ["dev", true],
    ]) {
      const running = startProcess(BINARY, [command, file, "--host", "127.0.0.1", "--port", "0"]);
      await running.said(/serving .* on http:/);
      if (on) await running.said(/admin on port \d+/);
      assert.equal(await running.kill("SIGINT"), 0);
      assert.equal(/admin on port/.test(running.text), on);
    }
  });
});

describe("the end", () => {
  for (const signal of ["SIGTERM", "SIGINT"]) {
    it(`by ${signal} tells everybody and is clean`, async () => {
      const server = await serve(APP);
      const peers = await Promise.all([connect(server), connect(server), connect(server)]);
      const events = await stream(server);
      const idle = await dial(server);
      const asked = request(server.url, "/slow");
      await peers[0].join("a");
      idle.writeRequest(["GET /page HTTP/1.1", "Host: x"]);
      assert.equal((await idle.response()).status, 200);
      const waiting = new Promise((resolve) => setImmediate(resolve)).then(() =>
        metric(server, "moonwire_connections"),
      );
      await waiting;
      server.signal(signal);
      const closings = await Promise.all(peers.map((peer) => peer.closed()));
      closings.forEach(({ code }) => assert.equal(code, 1012));
      assert.equal(await events.ended(), true);
      await idle.end();
      assert.equal((await asked).body, "slow");
      assert.equal(await server.exit(), 0);
      assert.doesNotMatch(server.output(), /Sanitizer|runtime error/);
    });
  }

  it("takes no new connections, and is told by /healthz", async () => {
    const server = await serve(APP, { args: ["--shutdown-timeout", "0.5"] });
    const silent = await upgrade(server); // it will not answer the close frame
    const from = server.output().length;
    const agent = await dial({ port: Number(new URL(server.admin).port) });
    server.signal("SIGTERM");
    await server.said(/shutting down/, from);
    agent.writeRequest(["GET /healthz HTTP/1.1", "Host: x"]);
    assert.equal((await agent.response()).status, 503);
    await assert.rejects(request(server.url, "/page"), /ECONNREFUSED/);
    assert.equal((await silent.frame()).code, 1012);
    assert.equal(await server.exit(), 0);
    assert.match(server.output(), /deadline/);
    silent.destroy();
    agent.destroy();
  });

  it("leaves no socket behind, and frees the port", async () => {
    const server = await serve(APP);
    assert.ok(fs.existsSync(server.control));
    await server.stop();
    assert.ok(!fs.existsSync(server.control));
    await server.start();
    assert.equal((await request(server.url, "/page")).body, "root");
    await server.stop();
  });

  // What is opened first would otherwise become standard error, and log lines would go into it.
  it("is in order without a standard error", async () => {
    const folder = makeFolder({ "app.lua": APP });
    const server = startProcess("/bin/sh", [
      ...["-c", 'exec "$@" 2>&-', "sh", BINARY, "run", path.join(folder, "app.lua")],
      ...["--host", "127.0.0.1", "--port", "0", "--control", path.join(folder, "control.sock")],
    ]);
    const [, url] = await server.said(/ on (http:\/\/127\.0\.0\.1:\d+)\//);
    assert.equal(fs.readlinkSync(`/proc/${server.child.pid}/fd/2`), "/dev/null");
    assert.equal((await request(url, "/page")).body, "root");
    assert.equal(await server.kill("SIGTERM"), 0);
  });
});
