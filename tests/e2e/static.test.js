// Static files: types, conditional requests, ranges, folders; and no way out of the folder.
"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const path = require("node:path");
const { before, describe, it } = require("node:test");
const { request, serving } = require("./support.js");
const { dial } = require("./wire.js");

const BIG = "0123456789abcdef".repeat(3 * 65536); // 3 MiB

const FILES = {
  "app.lua": `
    return {
      { static = { ["/"] = "public", ["/app/v1"] = "other" },
        routes = {
          ["GET /style.css"] = function() return "a route" end,
          ["POST /page.html"] = function() return "posted" end,
          ["POST /posts"] = function() return "posted" end,
        } },
      { namespace = "/chat", on_message = function() end },
    }
  `,
  "public/index.html": "<title>index</title>",
  "public/page.html": "<title>page</title>",
  "public/style.css": "never seen",
  "public/script.js": "js",
  "public/data.json": "{}",
  "public/picture.svg": "<svg/>",
  "public/noext": "plain",
  "public/empty.txt": "",
  "public/a b+ü.txt": "spaces",
  "public/big.txt": BIG,
  "public/digits.txt": "0123456789",
  "public/sub/index.html": "<title>sub</title>",
  "public/bare/file.txt": "in a folder without an index",
  "public/chat/index.html": "<title>chat</title>",
  "other/x.txt": "other x",
  "secret.txt": "SECRET",
  "public-secret/x.txt": "SECRET",
};

describe("static files", () => {
  const server = serving(FILES);
  const file = (target, headers = {}, method = "GET") =>
    request(server.url, target, { method, headers });

  it("are there beside routes for other methods of their path", async () => {
    assert.equal((await file("/page.html")).body.toString(), "<title>page</title>");
    assert.equal((await file("/page.html", {}, "POST")).body.toString(), "posted");
    const refused = await file("/posts");
    assert.equal(refused.status, 405);
    assert.match(refused.headers.allow, /POST/);
  });

  it("have a type, a length, a tag and a date", async () => {
    const types = {
      "/page.html": /^text\/html/,
      "/script.js": /^(text|application)\/javascript/,
      "/data.json": /^application\/json/,
      "/picture.svg": /^image\/svg\+xml/,
      "/digits.txt": /^text\/plain/,
    };
    for (const [target, type] of Object.entries(types)) {
      const answer = await file(target);
      assert.equal(answer.status, 200, target);
      assert.match(answer.headers["content-type"], type);
      assert.equal(Number(answer.headers["content-length"]), answer.body.length);
      assert.ok(answer.headers.etag);
      assert.ok(Date.parse(answer.headers["last-modified"]));
    }
  });

  it("may be empty, large, and strangely named", async () => {
    assert.equal((await file("/empty.txt")).body, "");
    assert.equal((await file("/big.txt")).body, BIG);
    assert.equal((await file("/a%20b+%C3%BC.txt")).body, "spaces");
    assert.equal((await file("/digits.txt?v=2")).body, "0123456789");
  });

  it("are answered to HEAD with the head alone", async () => {
    const answer = await file("/big.txt", {}, "HEAD");
    assert.equal(answer.status, 200);
    assert.equal(Number(answer.headers["content-length"]), BIG.length);
    assert.equal(answer.body, "");
  });

  it("of a folder are its index, behind a slash", async () => {
    assert.match((await file("/")).body, /index/);
    assert.match((await file("/sub/")).body, /sub/);
    const answer = await file("/sub?x=1");
    assert.ok([301, 302, 307, 308].includes(answer.status));
    assert.equal(answer.headers.location, "/sub/?x=1");
    assert.equal((await file("/bare/")).status, 404);
  });

  it("come after routes and endpoints", async () => {
    assert.equal((await file("/style.css")).body, "a route");
    assert.match((await file("/chat/")).body, /chat/);
  });

  it("come from the longest prefix", async () => {
    assert.equal((await file("/app/v1/x.txt")).body, "other x");
    assert.equal((await file("/app/v1x.txt")).status, 404);
  });

  it("are for GET and HEAD alone", async () => {
    const answer = await file("/digits.txt", {}, "POST");
    assert.equal(answer.status, 405);
    assert.match(answer.headers.allow, /GET/);
  });

  it("are not sent again to who has them", async () => {
    const { headers } = await file("/digits.txt");
    const same = [
      { "If-None-Match": headers.etag },
      { "If-None-Match": `"other", ${headers.etag}` },
      { "If-None-Match": `W/${headers.etag.replace("W/", "")}` },
      { "If-None-Match": "*" },
      { "If-Modified-Since": headers["last-modified"] },
      { "If-None-Match": headers.etag, "If-Modified-Since": new Date(0).toUTCString() },
    ];
    for (const condition of same) {
      const answer = await file("/digits.txt", condition);
      assert.equal(answer.status, 304, JSON.stringify(condition));
      assert.equal(answer.body, "");
      assert.equal(answer.headers.etag, headers.etag);
    }
    const changed = [
      { "If-None-Match": '"other"' },
      { "If-Modified-Since": new Date(0).toUTCString() },
      { "If-None-Match": '"other"', "If-Modified-Since": headers["last-modified"] },
      { "If-Modified-Since": "yesterday" },
    ];
    for (const condition of changed) {
      assert.equal((await file("/digits.txt", condition)).status, 200, JSON.stringify(condition));
    }
  });

  it("have another tag when they have changed", async () => {
    const name = path.join(server.folder, "public/changing.txt");
    fs.writeFileSync(name, "one");
    const { headers } = await file("/changing.txt");
    fs.writeFileSync(name, "three");
    const answer = await file("/changing.txt", { "If-None-Match": headers.etag });
    assert.equal(answer.body, "three");
    assert.notEqual(answer.headers.etag, headers.etag);
  });

  it("come in ranges", async () => {
    const ranges = {
      "bytes=0-3": ["0123", "bytes 0-3/10"],
      "bytes=3-3": ["3", "bytes 3-3/10"],
      "bytes=7-": ["789", "bytes 7-9/10"],
      "bytes=-2": ["89", "bytes 8-9/10"],
      "bytes=-99": ["0123456789", "bytes 0-9/10"],
      "bytes=5-99": ["56789", "bytes 5-9/10"],
    };
    for (const [range, [body, described]] of Object.entries(ranges)) {
      const answer = await file("/digits.txt", { Range: range });
      assert.equal(answer.status, 206, range);
      assert.equal(answer.body, body);
      assert.equal(answer.headers["content-range"], described);
    }
    for (const range of ["bytes=10-", "bytes=99-100", "bytes=-0"]) {
      const answer = await file("/digits.txt", { Range: range });
      assert.equal(answer.status, 416, range);
      assert.equal(answer.headers["content-range"], "bytes */10");
    }
    for (const range of ["bytes=3-1", "bytes=a-b", "lines=0-1", "bytes=0-1,3-4"]) {
      const answer = await file("/digits.txt", { Range: range });
      assert.deepEqual([answer.status, answer.body], [200, "0123456789"], range);
    }
    const { headers } = await file("/digits.txt");
    const range = { Range: "bytes=0-0" };
    assert.equal((await file("/digits.txt", { ...range, "If-Range": '"other"' })).status, 200);
    assert.equal(
      (await file("/digits.txt", { ...range, "If-Range": headers["last-modified"] })).status,
      206,
    );
    if (!headers.etag.startsWith("W/")) {
      assert.equal((await file("/digits.txt", { ...range, "If-Range": headers.etag })).status, 206);
    }
  });

  it("wait for a slow reader without holding others up", async () => {
    const slow = await dial(server);
    slow.socket.pause();
    for (let n = 0; n < 8; n++) slow.writeRequest(["GET /big.txt HTTP/1.1", "Host: x"]);
    assert.equal((await file("/digits.txt")).body, "0123456789");
    slow.socket.resume();
    for (let n = 0; n < 8; n++) assert.equal((await slow.response()).body.length, BIG.length);
    slow.destroy();
  });
});

describe("the folder of static files", () => {
  const server = serving(FILES);

  before(() => {
    const inside = path.join(server.folder, "public");
    fs.symlinkSync("../secret.txt", path.join(inside, "link.txt"));
    fs.symlinkSync("..", path.join(inside, "up"));
    fs.symlinkSync("/etc", path.join(inside, "etc"));
    fs.symlinkSync("digits.txt", path.join(inside, "inner.txt"));
    fs.symlinkSync("nowhere", path.join(inside, "dangling.txt"));
    fs.symlinkSync("loop.txt", path.join(inside, "loop.txt"));
  });

  const ATTEMPTS = [
    "/../secret.txt",
    "/sub/../../secret.txt",
    "/%2e%2e/secret.txt",
    "/.%2e/secret.txt",
    "/..%2fsecret.txt",
    "/%2e%2e%2fsecret.txt",
    "/sub/..%2f..%2fsecret.txt",
    "/..%5csecret.txt",
    "/..\\secret.txt",
    "/%252e%252e/secret.txt",
    "/%c0%ae%c0%ae/secret.txt",
    "/..;/secret.txt",
    "/.../secret.txt",
    "//secret.txt",
    "//etc/passwd",
    "/%2fetc/passwd",
    "/../public-secret/x.txt",
    "/-secret/x.txt",
    "/digits.txt%00",
    "/digits.txt%00.html",
    "/link.txt",
    "/up/secret.txt",
    "/up/public/link.txt",
    "/etc/passwd",
    "/dangling.txt",
    "/loop.txt",
    "/app/v1/../../../secret.txt",
    "/app/v1/..%2f..%2fsecret.txt",
    "/digits.txt/",
    "/digits.txt/../../secret.txt",
  ];
  for (const target of ATTEMPTS) {
    it(`is not left by ${target}`, async () => {
      const client = await dial(server);
      client.writeRequest([`GET ${target} HTTP/1.1`, "Host: x"]);
      const answer = await client.response();
      assert.ok([400, 403, 404].includes(answer.status), `${answer.status}: ${answer.body}`);
      assert.doesNotMatch(answer.body, /SECRET|root:/);
      client.destroy();
    });
  }

  it("may have links that stay inside", async () => {
    assert.equal((await request(server.url, "/inner.txt")).body, "0123456789");
  });

  it("sends nobody to another host", async () => {
    for (const target of [
      "//evil.example/..",
      "//sub",
      "/%2fevil.example/%2e%2e",
      "/\\evil.example",
    ]) {
      const client = await dial(server);
      client.writeRequest([`GET ${target} HTTP/1.1`, "Host: x"]);
      const { headers } = await client.response();
      assert.doesNotMatch(headers.location ?? "/fine", /^\/\/|^\/\\|:/, target);
      client.destroy();
    }
  });
});
