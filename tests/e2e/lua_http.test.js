// mw.http: requests of handlers to other servers, here to servers of Node's on the loopback.
"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const http = require("node:http");
const https = require("node:https");
const net = require("node:net");
const path = require("node:path");
const { after, before, describe, it } = require("node:test");
const { eventually } = require("../support.js");
const { connect, request, serving } = require("./support.js");

const APP = `
local mw = require "moonwire"
local app = { events = {}, routes = {} }

function app.events.http(client, method, url, options)
  local answer, code, detail = mw.http[method](url, options)
  if not answer then return { code = code, detail = detail } end
  return { status = answer.status, body = answer.body, type = answer.headers["content-type"], json = answer:json() }
end
app.routes["GET /proxy"] = function(request)
  local answer, code = mw.http.get(request.query.url)
  if not answer then return nil, "unavailable", code end
  return answer.status, answer.body
end
return app
`;

describe("mw.http", () => {
  const server = serving(APP);
  const pem = fs.readFileSync(path.join(__dirname, "self-signed.pem"));
  let other;
  let secure;
  let silent;
  let gone = 0;

  function answer(asked, answered) {
    const { pathname } = new URL(asked.url, "http://x");
    if (pathname === "/hang") return asked.on("close", () => gone++);
    if (pathname === "/cut") return asked.socket.destroy();
    if (pathname === "/status") return answered.writeHead(418).end("teapot");
    if (pathname === "/moved") return answered.writeHead(302, { Location: "/json" }).end();
    if (pathname === "/large") return answered.end(Buffer.alloc(100_000, "x"));
    let body = "";
    asked.on("data", (piece) => (body += piece));
    asked.on("end", () => {
      answered.setHeader("Content-Type", "application/json");
      const { method, url, headers } = asked;
      answered.end(
        JSON.stringify({ method, url, type: headers["content-type"], key: headers["x-key"], body }),
      );
    });
  }

  const listening = (it) => new Promise((resolve) => it.listen(0, "127.0.0.1", () => resolve(it)));
  const urlOf = (it, scheme = "http") => `${scheme}://127.0.0.1:${it.address().port}`;

  before(async () => {
    other = await listening(http.createServer(answer));
    secure = await listening(https.createServer({ key: pem, cert: pem }, answer));
    silent = await listening(net.createServer(() => {}));
  });
  after(() => {
    [other, secure].forEach((each) => each.closeAllConnections());
    [other, secure, silent].forEach((each) => each.close());
  });

  async function ask(method, target, options = {}) {
    const peer = await connect(server);
    const { data, error } = await peer.call("http", method, target, options);
    await peer.close();
    return data ?? error;
  }

  it("gets, posts and puts", async () => {
    const got = await ask("get", `${urlOf(other)}/json?a=1`, {
      query: { b: "c d&", n: [1, 2] },
      headers: { "X-Key": "k" },
    });
    assert.equal(got.status, 200);
    assert.deepEqual(
      [got.json.method, got.json.url, got.json.key],
      ["GET", "/json?a=1&b=c%20d%26&n=1&n=2", "k"],
    );
    const posted = await ask("post", `${urlOf(other)}/x`, { json: { a: [1] } });
    assert.deepEqual([posted.json.body, posted.json.type], ['{"a":[1]}', "application/json"]);
    const put = await ask("put", `${urlOf(other)}/x`, {
      body: "text",
      headers: { "Content-Type": "text/plain" },
    });
    assert.deepEqual(
      [put.json.method, put.json.body, put.json.type],
      ["PUT", "text", "text/plain"],
    );
    assert.deepEqual(await ask("get", `${urlOf(other)}/status`), {
      status: 418,
      body: "teapot",
    });
  });

  it("follows redirects only where it is asked to", async () => {
    assert.equal((await ask("get", `${urlOf(other)}/moved`)).status, 302);
    assert.equal((await ask("get", `${urlOf(other)}/moved`, { redirects: 1 })).status, 200);
  });

  it("says why there is no answer", async () => {
    const unused = await listening(net.createServer());
    const nobody = urlOf(unused);
    await new Promise((resolve) => unused.close(resolve));
    assert.equal((await ask("get", nobody)).code, "connect");
    assert.equal((await ask("get", urlOf(silent), { timeout: 0.05 })).code, "timeout");
    assert.equal((await ask("get", `${urlOf(other)}/cut`)).code, "broken");
    assert.equal((await ask("get", `${urlOf(other)}/large`, { max_body: 1000 })).code, "too_large");
    assert.equal((await ask("get", "file:///etc/passwd")).code, "bad_url");
    assert.equal((await ask("get", "http://has space/")).code, "bad_url");
  });

  it("trusts no certificate that nobody has signed", async () => {
    const { code, detail } = await ask("get", urlOf(secure, "https"));
    assert.equal(code, "tls");
    assert.match(detail, /certificate/);
  });

  it("waits while others are served, and many at once", async () => {
    const peer = await connect(server);
    const asked = peer.call("http", "get", `${urlOf(silent)}/`, { timeout: 30 });
    asked.catch(() => {});
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, n) =>
        request(server.url, `/proxy?url=${encodeURIComponent(`${urlOf(other)}/${n}`)}`),
      ),
    );
    answers.forEach(({ body }, n) => assert.equal(JSON.parse(body).url, `/${n}`));
    peer.socket.terminate();
  });

  it("is given up when the server ends", async () => {
    const peer = await connect(server);
    peer.call("http", "get", `${urlOf(other)}/hang`).catch(() => {});
    await new Promise((resolve) => other.once("request", resolve));
    await server.stop();
    await eventually("the request is given up", () => gone === 1);
  });
});
