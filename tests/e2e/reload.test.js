// Reloading: fifty versions under load, one in five broken; what survives and what is exchanged;
// every way to ask for it.
"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const path = require("node:path");
const { after, before, describe, it } = require("node:test");
const { eventually, run } = require("../support.js");
const { connect, metric, request, serve, serving } = require("./support.js");

const fds = (server) => fs.readdirSync(`/proc/${server.process.child.pid}/fd`).length;

describe("fifty reloads under load, one in five broken", () => {
  const app = (version) => `
    local mw = require "moonwire"
    local app = { rooms = { all = { history = { size = 100 } } }, events = {}, timers = {}, routes = {} }
    local big = {}
    for i = 1, 1000 do big[i] = { "version ${version}", i } end
    function app.on_auth(request) return { id = request.query.user } end
    function app.on_connect(client) client:join "all" end
    function app.events.say(client, n)
      if n % 7 == 0 then mw.sleep(0.001) end
      mw.room("all"):emit("said", { from = client.user.id, n = n })
      return { n = n, version = ${version} }
    end
    local function count(name)
      return function()
        local ticks = mw.state("ticks", {})
        ticks[name] = (ticks[name] or 0) + 1
      end
    end
    app.timers.old = { every = 0.01, run = count "old" }
    app.timers["only in ${version}"] = { every = 0.01, run = count "${version}" }
    app.routes["GET /version"] = function() return { version = ${version} } end
    app.routes["POST /collect"] = function() collectgarbage() return 204 end
    app.routes["GET /ticks"] = function() return mw.state("ticks", {}) end
    app.routes["GET /only/${version}"] = function() return "here" end
    return app
  `;
  const BROKEN = [
    "return {",
    "error 'at load'",
    "return { on_conect = print }",
    "local x = nil; return x.y",
    "return 7",
  ];

  const RELOADS = 50;
  const CLIENTS = 10;
  const server = serving(app(0));
  let peers;
  let stopping = false;
  let senders;
  const sent = new Array(CLIENTS).fill(0);
  const versions = new Set();

  before(async () => {
    peers = await Promise.all(
      Array.from({ length: CLIENTS }, (_, n) => connect(server, `/?user=${n}`)),
    );
  });
  after(() => peers.forEach((peer) => peer.socket.terminate()));

  // Two messages under way for each client, always.
  async function send(peer, index) {
    while (!stopping) {
      const n = ++sent[index];
      const { data } = await peer.call("say", n);
      assert.equal(data.n, n);
      versions.add(data.version);
    }
  }

  // Lua's, without garbage.
  async function memory() {
    await request(server.url, "/collect", { method: "POST" });
    return metric(server, "moonwire_lua_memory_bytes");
  }

  async function reload(n) {
    const broken = n % 5 === 0;
    fs.writeFileSync(server.file, broken ? BROKEN[(n / 5 - 1) % BROKEN.length] : app(n));
    const from = server.output().length;
    server.signal("SIGHUP");
    await server.said(broken ? /reload failed/ : /version \d+ is in service/, from);
    if (!broken) {
      const { json } = await request(server.url, "/version");
      assert.equal(json.version, n);
    }
  }

  it("close no connection, lose and double no message", async () => {
    senders = peers.flatMap((peer, index) => [send(peer, index), send(peer, index)]);
    for (let n = 1; n <= 4; n++) await reload(n);
    const early = { fds: fds(server), memory: await memory() };
    for (let n = 5; n < RELOADS; n++) await reload(n);
    fs.writeFileSync(server.file, app(51));
    const from = server.output().length;
    server.signal("SIGHUP");
    await server.said(/version \d+ is in service/, from);
    stopping = true;
    await Promise.all(senders);

    const total = sent.reduce((sum, n) => sum + n, 0);
    assert.ok(total > RELOADS * CLIENTS, `${total} messages`);
    assert.ok(versions.size > 20, `${versions.size} versions have answered`);
    for (const peer of peers) {
      const next = new Array(CLIENTS).fill(1);
      for (let n = 0; n < total; n++) {
        const { event, data } = await peer.next();
        assert.equal(event, "said");
        assert.equal(data.n, next[data.from]++, `of ${data.from}`);
      }
      assert.deepEqual(
        next.map((n) => n - 1),
        sent,
      );
    }

    await eventually("no handle more than before", () => fds(server) <= early.fds);
    const late = await memory();
    assert.ok(late < early.memory * 1.1, `${early.memory} bytes, then ${late}`);
    assert.equal(await metric(server, 'moonwire_reloads_total{outcome="done"}'), 41);
    assert.equal(await metric(server, 'moonwire_reloads_total{outcome="failed"}'), 9);
    assert.equal(await metric(server, "moonwire_handler_version"), 42);
  });

  it("leave the timers and routes of the last version, each once", async () => {
    const ticks = async () => (await request(server.url, "/ticks")).json;
    const first = await ticks();
    const last = await eventually("twenty ticks", async () => {
      const now = await ticks();
      return now["51"] >= (first["51"] ?? 0) + 20 && now;
    });
    const grown = (name) => (last[name] ?? 0) - (first[name] ?? 0);
    assert.ok(grown("old") <= 2 * grown("51"), `${grown("old")} beside ${grown("51")}`);
    assert.ok(grown("old") > 0);
    for (let n = 1; n < 50; n++) assert.equal(grown(String(n)), 0);
    assert.equal((await request(server.url, "/only/51")).body, "here");
    assert.equal((await request(server.url, "/only/4")).status, 404);
  });
});

describe("a reload", () => {
  const APP = (version, more = "") => `
    local mw = require "moonwire"
    local helper = require "helper"
    local app = { rooms = { log = { history = { size = 5 } } }, events = {}, routes = {} }
    function app.on_join() return true end
    function app.on_reload() mw.room("log"):emit("reloaded", ${version}) end
    function app.events.version() return { version = ${version}, helper = helper.version } end
    function app.events.gate(client)
      local state = mw.state("gate", { open = false })
      while not state.open do mw.sleep(0.002) end
      return ${version}
    end
    function app.events.open() mw.state("gate").open = true end
    function app.events.fail() error "on purpose" end
    function app.events.kept(client) client.data.n = (client.data.n or 0) + 1 return client.data.n end
    function app.events.say(client, text) return mw.room("log"):emit("said", text) end
    function app.events.history(client) return mw.room("log"):history() end
    ${more}
    return app
  `;
  const files = () => ({ "app.lua": APP(1), "helper.lua": "return { version = 1 }" });
  const server = serving(files());
  const write = (name, text) => fs.writeFileSync(path.join(server.folder, name), text);

  async function reload() {
    const from = server.output().length;
    server.signal("SIGHUP");
    const [, version] = await server.said(/version (\d+) is in service/, from);
    return Number(version);
  }

  it("exchanges handlers and modules, and keeps everything else", async () => {
    const peer = await connect(server);
    await peer.join("log");
    await peer.call("kept");
    const { data: offset } = await peer.call("say", "before");
    await peer.next();
    assert.deepEqual((await peer.call("version")).data, { version: 1, helper: 1 });
    write("app.lua", APP(2));
    write("helper.lua", "return { version = 2 }");
    assert.equal(await reload(), 2);
    const { event, data } = await peer.next();
    assert.deepEqual([event, data], ["reloaded", 2]);
    assert.deepEqual((await peer.call("version")).data, { version: 2, helper: 2 });
    assert.equal((await peer.call("kept")).data, 2);
    const [history, complete] = (await peer.call("history")).args;
    assert.deepEqual([history[0].data, history[0].offset, complete], ["before", offset, true]);
    await peer.close();
  });

  it("lets waiting handlers finish on the old version", async () => {
    const [waiting, other] = [await connect(server), await connect(server)];
    const first = waiting.call("gate");
    const behind = waiting.call("version");
    await other.call("version");
    write("app.lua", APP(3));
    await reload();
    assert.equal((await other.call("version")).data.version, 3);
    await other.call("open");
    assert.deepEqual(await first, { data: 2 });
    assert.equal((await behind).data.version, 3);
    await waiting.close();
    await other.close();
  });

  it("that fails changes nothing and says what is wrong", async () => {
    const peer = await connect(server);
    const wrong = [
      [APP(9, "\n\n  syntax error here"), /app\.lua:\d+:.*syntax error|app\.lua:\d+:.*near/],
      [APP(9, "local t = nil\nt.x = 1"), /app\.lua:\d+:.*index a nil value.*'t'/],
      [APP(9, "app.on_mesage = print"), /on_mesage.*on_message/],
      [APP(9, "mw.sleep(1)"), /nothing can wait while a file loads/],
      [APP(9, 'require "nowhere"'), /module 'nowhere' not found/],
    ];
    for (const [text, said] of wrong) {
      const from = server.output().length;
      write("app.lua", text);
      server.signal("SIGHUP");
      await server.said(/reload failed.*\n/, from);
      assert.match(server.output().slice(from), said);
      assert.equal((await peer.call("version")).data.version, 3);
    }
    write("app.lua", APP(3));
    await reload();
    await peer.close();
  });

  it("is named in the errors of its version", async () => {
    const version = await reload();
    const peer = await connect(server);
    const from = server.output().length;
    await peer.call("fail");
    await server.said(/on purpose/, from);
    assert.match(server.output().slice(from), new RegExp(`version=${version} `));
    await peer.close();
  });

  it("may take a namespace away, whose clients stay", async () => {
    write(
      "app.lua",
      `return { ${["a", "b"].map((n) => `{ namespace = "/${n}", events = { n = function() return "${n}" end } }`)} }`,
    );
    await reload();
    const [a, b] = [await connect(server, "/a"), await connect(server, "/b")];
    assert.deepEqual(await b.call("n"), { data: "b" });
    write("app.lua", 'return { namespace = "/a", events = { n = function() return "new" end } }');
    await reload();
    assert.deepEqual(await a.call("n"), { data: "new" });
    assert.deepEqual(await b.call("n"), { error: { code: "not_found" } });
    await a.close();
    await b.close();
  });
});

describe("moonwire reload", () => {
  const server = serving("return { routes = { ['GET /v'] = function() return 'one' end } }");
  const command = () => run(["reload", server.file, "--control", server.control]);

  it("tells the server, and says how it went", async () => {
    fs.writeFileSync(
      server.file,
      "return { routes = { ['GET /v'] = function() return 'two' end } }",
    );
    const good = await command();
    assert.deepEqual([good.code, good.text], [0, "version 2 is in service\n"]);
    assert.equal((await request(server.url, "/v")).body, "two");
    fs.writeFileSync(server.file, "return {\n  routes = {\n");
    const bad = await command();
    assert.equal(bad.code, 1);
    assert.match(bad.text, /app\.lua:\d+:/);
    assert.equal((await request(server.url, "/v")).body, "two");
  });

  it("says where nobody listens", async () => {
    const other = await serve("return {}");
    await other.stop();
    const answer = await run(["reload", other.file, "--control", other.control]);
    assert.equal(answer.code, 1);
    assert.match(answer.text, /no server runs/);
  });
});

describe("moonwire dev", () => {
  const version = (n) => `
    local part = require "sub.part"
    return { routes = {
      ["GET /v"] = function() return tostring(${n} + part) end,
      ["GET /late"] = function() return require "late" end,
    } }
  `;
  const files = { "app.lua": version(1), "sub/part.lua": "return 0", "late.lua": "return 'early'" };
  const server = serving(files, { command: "dev" });
  const file = (name) => path.join(server.folder, name);

  // What the route answers once a save has had its effect.
  async function saved(save, pattern = /version \d+ is in service/) {
    const from = server.output().length;
    save();
    await server.said(pattern, from);
    return (await request(server.url, "/v")).body;
  }

  it("reloads when the file is saved", async () => {
    assert.equal(await saved(() => fs.writeFileSync(server.file, version(2))), "2");
  });

  it("reloads when a required module is saved", async () => {
    assert.equal(await saved(() => fs.writeFileSync(file("sub/part.lua"), "return 10")), "12");
  });

  it("reloads when a module that a handler required is saved", async () => {
    assert.equal((await request(server.url, "/late")).body, "early");
    await saved(() => fs.writeFileSync(file("late.lua"), "return 'later'"));
    assert.equal((await request(server.url, "/late")).body, "later");
  });

  it("sees editors that write through a rename", async () => {
    for (const [n, name, text] of [
      ["13", "app.lua", version(3)],
      ["23", "sub/part.lua", "return 20"],
      ["24", "app.lua", version(4)],
    ]) {
      const body = await saved(() => {
        fs.writeFileSync(`${file(name)}.tmp`, text);
        fs.renameSync(`${file(name)}.tmp`, file(name));
      });
      assert.equal(body, n);
    }
  });

  it("sees editors that move the old file away first", async () => {
    const body = await saved(() => {
      fs.renameSync(server.file, `${server.file}~`);
      fs.writeFileSync(server.file, version(5));
    });
    assert.equal(body, "25");
  });

  it("takes a burst of saves for one", async () => {
    const before = await metric(server, 'moonwire_reloads_total{outcome="done"}');
    const burst = () => {
      for (let n = 0; n < 10; n++) fs.writeFileSync(server.file, version(n + 10));
    };
    assert.equal(await saved(burst), "39");
    assert.equal(await saved(() => fs.writeFileSync(server.file, version(6))), "26");
    assert.equal(await metric(server, 'moonwire_reloads_total{outcome="done"}'), before + 2);
  });

  it("goes on after a mistake, wherever it was", async () => {
    const failed = /reload failed.*\n/;
    assert.equal(await saved(() => fs.writeFileSync(server.file, "return {"), failed), "26");
    assert.equal(await saved(() => fs.writeFileSync(server.file, version(7))), "27");
    assert.equal(
      await saved(() => fs.writeFileSync(file("sub/part.lua"), "return +"), failed),
      "27",
    );
    assert.equal(await saved(() => fs.writeFileSync(file("sub/part.lua"), "return 30")), "37");
    fs.writeFileSync(file("sub/new.lua"), "error 'new is broken'");
    const uses = version(8).replace("return", 'local n = require "sub.new"; return');
    assert.equal(await saved(() => fs.writeFileSync(server.file, uses), failed), "37");
    assert.equal(await saved(() => fs.writeFileSync(file("sub/new.lua"), "return 1")), "38");
  });
});
