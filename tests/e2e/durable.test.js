// History on disk: where it is, what outlives a restart, what a reload does to it, and what becomes of
// people and messages when the disk, the folder or the file is not as it should be.
"use strict";

const assert = require("node:assert/strict");
const { execFileSync } = require("node:child_process");
const fs = require("node:fs");
const path = require("node:path");
const { after, describe, it } = require("node:test");
const { eventually, makeFolder, run } = require("../support.js");
const { connect, metric, serve, stream } = require("./support.js");

const app = (history = "size = 1000, durable = true") => `
  local mw = require "moonwire"
  local app = { events = {}, rooms = { ["room:*"] = { history = { ${history} } } } }
  function app.on_join() return true end
  function app.events.say(client, text) return mw.room "room:1":durable():emit("said", text) end
  function app.events.hurry(client, text) return mw.room "room:1":emit("said", text) end
  function app.events.raw(client, text) return mw.room "room:1":durable():send(text) end
  function app.events.read(client, options)
    local messages, complete, reason = mw.room "room:1":history(options or {})
    if not messages then return nil, complete, reason end
    return { messages = messages, complete = complete, reason = reason }
  end
  return app
`;

// A server that is not left behind by a test that fails.
async function begin(source, options) {
  const server = await serve(source, options);
  after(() => server.kill("SIGKILL").catch(() => {}));
  return server;
}

// Ends it in order and starts it again.
async function restart(server) {
  assert.equal(await server.kill("SIGTERM"), 0);
  await server.start();
  return connect(server);
}

const textsOf = ({ data }) => data.messages.map((message) => message.data);

describe("durable history", () => {
  it("outlives a restart, with its offsets, and missed messages are had afterwards", async () => {
    const server = await begin(app());
    const peer = await connect(server);
    await peer.join("room:1");
    const { data: first } = await peer.call("say", "one");
    const { data: second } = await peer.call("hurry", "two");
    const { data: third } = await peer.call("raw", "raw");
    assert.deepEqual(await peer.next(), {
      event: "said",
      data: "one",
      room: "room:1",
      offset: first,
    });
    const back = await restart(server);
    const { data } = await back.call("read");
    assert.deepEqual(data, {
      messages: [
        { event: "said", data: "one", offset: first },
        { event: "said", data: "two", offset: second },
        { data: "raw", kind: "text", offset: third },
      ],
      complete: true,
    });
    const joined = await back.join("room:1", { after: first });
    assert.equal(joined.recovered, true);
    assert.equal((await back.next()).offset, second);
    assert.equal(await back.next(), "raw");
    const { data: fourth } = await back.call("say", "four");
    assert.equal(fourth, third.replace(/:3$/, ":4"));
    assert.equal((await back.next()).offset, fourth);
    const events = await stream(server, "/?room=room:1", { headers: { "Last-Event-ID": third } });
    assert.equal((await events.next("said")).data, '"four"');
    events.destroy();
    await server.stop();
  });

  it("has what was said just before SIGTERM", async () => {
    const server = await begin(app());
    const peer = await connect(server);
    const told = [];
    for (let i = 0; i < 50; i++) told.push(peer.call("hurry", `m${i}`));
    await Promise.all(told);
    const back = await restart(server);
    assert.deepEqual(
      textsOf(await back.call("read")),
      Array.from({ length: 50 }, (_, i) => `m${i}`),
    );
    await server.stop();
  });

  it("has what was acknowledged when a second signal ends the server at once", async () => {
    const server = await begin(app());
    const acknowledged = [];
    const say = async (peer, name) => {
      for (let n = 0; ; n++) {
        const { data } = await peer.call(n % 2 ? "hurry" : "say", `${name}-${n}`).catch(() => ({}));
        if (!data) return;
        acknowledged.push([data, `${name}-${n}`]);
      }
    };
    const peers = await Promise.all(Array.from({ length: 4 }, () => connect(server)));
    const over = peers.map(say);
    await eventually("something is acknowledged", () => acknowledged.length > 50);
    server.process.child.kill("SIGTERM");
    assert.equal(await server.kill("SIGINT"), 0);
    await Promise.all(over);
    await server.start();
    const back = await connect(server);
    const { data } = await back.call("read");
    const there = new Map(data.messages.map((message) => [message.offset, message.data]));
    for (const [offset, text] of acknowledged.slice(-100)) assert.equal(there.get(offset), text);
    await server.stop();
  });

  it("is beside the app, or in --data, and nowhere while nothing is durable", async () => {
    const plain = await begin(app("size = 100"));
    assert.equal(fs.existsSync(path.join(plain.folder, ".moonwire")), false);
    await plain.stop();

    const checked = makeFolder({ "app.lua": app() });
    const { code, text } = await run(["check", path.join(checked, "app.lua")]);
    assert.equal(code, 0, text);
    assert.equal(fs.existsSync(path.join(checked, ".moonwire")), false);

    const beside = await begin(app());
    assert.ok(fs.existsSync(path.join(beside.folder, ".moonwire", "history.db")));
    assert.equal(fs.statSync(path.join(beside.folder, ".moonwire")).mode & 0o777, 0o700);
    await beside.stop();

    const data = path.join(makeFolder(), "data");
    const elsewhere = await begin(app(), { args: ["--data", data] });
    assert.ok(fs.existsSync(path.join(data, "history.db")));
    assert.equal(fs.existsSync(path.join(elsewhere.folder, ".moonwire")), false);
    await elsewhere.stop();
  });

  it("is counted", async () => {
    const server = await begin(app());
    const peer = await connect(server);
    await peer.call("say", "one");
    assert.ok((await metric(server, "moonwire_store_commits_total")) >= 1);
    assert.ok((await metric(server, "moonwire_store_records_total")) >= 1);
    assert.ok((await metric(server, "moonwire_store_commit_seconds_count")) >= 1);
    assert.equal(await metric(server, "moonwire_store_errors_total"), 0);
    assert.equal(await metric(server, "moonwire_store_queue"), 0);
    await server.stop();
  });

  it("is asked for only where it is", async () => {
    const server = await begin(app("size = 100"));
    const peer = await connect(server);
    assert.deepEqual(await peer.call("say", "one"), { error: { code: "internal_error" } });
    await server.process.said(/the history of 'room:1' is not durable/);
    await server.stop();
  });
});

describe("a reload", () => {
  async function reload(server, source) {
    fs.writeFileSync(server.file, source);
    return run(["reload", server.file, "--control", server.control]);
  }

  it("moves a room's history to disk and back", async () => {
    const server = await begin(app("size = 100"));
    const peer = await connect(server);
    await peer.join("room:1");
    const { data: first } = await peer.call("hurry", "memory");
    assert.equal((await reload(server, app())).code, 0);
    await server.process.said(/the history of 1 rooms is on disk from now on/);
    const { data: second } = await peer.call("say", "disk");
    assert.equal(second, first.replace(/:1$/, ":2"));
    const back = await restart(server);
    await back.join("room:1");
    assert.deepEqual(textsOf(await back.call("read")), ["memory", "disk"]);
    assert.equal((await reload(server, app("size = 100"))).code, 0);
    await server.process.said(/the history of 1 rooms is in memory only from now on/);
    const { data: third } = await back.call("hurry", "memory again");
    assert.equal(third, first.replace(/:1$/, ":3"));
    assert.deepEqual(textsOf(await back.call("read")), ["memory", "disk", "memory again"]);
    const last = await restart(server);
    assert.deepEqual(textsOf(await last.call("read")), []);
    await server.stop();
  });

  it("is refused where the folder cannot be used", async () => {
    const server = await begin(app("size = 100"), { args: ["--data", "/proc/no/such"] });
    const peer = await connect(server);
    const { code, text } = await reload(server, app());
    assert.equal(code, 1);
    assert.match(text, /cannot make the folder \/proc\/no\/such/);
    assert.equal(typeof (await peer.call("hurry", "still here")).data, "string");
    await server.stop();
  });
});

describe("a start is refused, with the path and the reason, when", () => {
  async function assertRefused(folder, pattern) {
    const file = path.join(folder, "app.lua");
    const { code, text } = await run(["run", file, "--port", "0", "--control", `${folder}/c`]);
    assert.equal(code, 1, text);
    assert.match(text, pattern);
    assert.ok(text.includes(folder), text);
    assert.doesNotMatch(text, /Sanitizer|runtime error/);
  }

  // A folder in which a server has run and ended.
  async function used() {
    const server = await begin(app());
    const peer = await connect(server);
    await peer.call("say", "one");
    assert.equal(await server.kill("SIGTERM"), 0);
    return { folder: server.folder, file: path.join(server.folder, ".moonwire", "history.db") };
  }

  it("another moonwire has it", async () => {
    const server = await begin(app());
    await assertRefused(
      server.folder,
      new RegExp(`in use by another moonwire \\(process ${server.process.child.pid}\\)`),
    );
    await server.stop();
  });

  it("a file is where the folder should be", () =>
    assertRefused(makeFolder({ "app.lua": app(), ".moonwire": "" }), /cannot write in the folder/));

  it("the file is no database", async () => {
    const { folder, file } = await used();
    fs.writeFileSync(file, "no database ".repeat(1000));
    await assertRefused(folder, /cannot use .*history\.db: file is not a database/);
  });

  it("the file is broken", async () => {
    const { folder, file } = await used();
    const bytes = fs.readFileSync(file);
    bytes.fill(0xff, 100, 4096); // the page of the schema, behind the header
    fs.writeFileSync(file, bytes);
    await assertRefused(folder, /cannot use .*history\.db: .*malformed/);
  });

  // SQLite's file format, section 1.3: the user version is at 60, big-endian.
  it("a newer moonwire wrote it", async () => {
    const { folder, file } = await used();
    const bytes = fs.readFileSync(file);
    bytes.writeUInt32BE(7, 60);
    fs.writeFileSync(file, bytes);
    await assertRefused(folder, /written by a newer version of moonwire \(schema 7, /);
  });
});

describe("a disk that takes no more", () => {
  const limitFiles = (server, bytes) =>
    execFileSync("prlimit", ["--pid", String(server.process.child.pid), `--fsize=${bytes}`]);

  it("is told to who waits, heard of by nobody, and forgotten when it is well again", async () => {
    const server = await begin(app());
    const peer = await connect(server);
    await peer.join("room:1");
    await peer.call("say", "before");
    limitFiles(server, "1:unlimited");
    const refused = await peer.call("say", "lost");
    assert.equal(refused.error.code, "unavailable");
    assert.equal(typeof refused.error.detail, "string");
    const { data: told } = await peer.call("hurry", "lost too");
    assert.equal(typeof told, "string");
    await eventually("both are counted", async () => {
      return (await metric(server, "moonwire_store_errors_total")) >= 2;
    });
    limitFiles(server, "unlimited:unlimited");
    const { data: offset } = await peer.call("say", "after");
    assert.ok(Number(offset.split(":")[1]) > Number(told.split(":")[1]), `${offset}, ${told}`);
    assert.deepEqual(textsOf(await peer.call("read")), ["before", "after"]);
    assert.equal((await peer.next()).data, "before");
    assert.equal((await peer.next()).data, "after");
    assert.equal(server.output().match(/the store fails/g).length, 1, server.output());
    assert.match(server.output(), /the store works again/);
    const missed = await peer.call("read", { after: told });
    assert.deepEqual([textsOf(missed), missed.data.complete], [["after"], true]);
    const back = await restart(server);
    assert.deepEqual(textsOf(await back.call("read")), ["before", "after"]);
    await server.stop();
  });
});
