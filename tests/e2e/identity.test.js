// Tokens and cookies end to end: tokens that jose has made and read, keys from the server's options,
// a session that lives in a signed cookie.
"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const path = require("node:path");
const { before, describe, it } = require("node:test");
const { makeFolder, packages, run } = require("../support.js");
const { connect, post, refused, request, serve, serving } = require("./support.js");
const jose = packages("jose");

const BENCH = `
local mw = require "moonwire"
local function answer(value, code, detail)
  if code then return { code = code, detail = detail } end
  return { value = value }
end
return { routes = {
  ["POST /verify"] = function(request)
    return answer(mw.jwt.verify(request.json.token, request.json.options))
  end,
  ["POST /sign"] = function(request)
    return answer(mw.jwt.sign(request.json.claims, request.json.options))
  end,
} }
`;

const ALGORITHMS = ["HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256", "ES384", "ES512"];

// A key of jose's for the algorithm, and both halves as moonwire takes them.
async function makeKey(algorithm) {
  if (algorithm.startsWith("HS")) {
    const secret = require("node:crypto").randomBytes(48).toString("base64");
    const bytes = new TextEncoder().encode(secret);
    return { makes: bytes, reads: bytes, sign: secret, verify: secret };
  }
  const { privateKey, publicKey } = await jose.generateKeyPair(algorithm, { extractable: true });
  return {
    makes: privateKey,
    reads: publicKey,
    sign: await jose.exportPKCS8(privateKey),
    verify: await jose.exportSPKI(publicKey),
  };
}

describe("tokens of another implementation", () => {
  const server = serving(BENCH);
  const keys = {};
  before(async () => {
    for (const algorithm of ALGORITHMS) keys[algorithm] = await makeKey(algorithm);
  });

  const verify = async (token, options) => (await post(server, "/verify", { token, options })).json;
  const sign = async (claims, options) =>
    (await post(server, "/sign", { claims, options })).json.value;
  const make = (algorithm, claims, header) =>
    new jose.SignJWT(claims)
      .setProtectedHeader({ alg: algorithm, ...header })
      .setIssuedAt()
      .setExpirationTime("5m")
      .sign(keys[algorithm].makes);

  for (const algorithm of ALGORITHMS) {
    it(`${algorithm} is read both ways`, async () => {
      const key = keys[algorithm];
      const claims = { sub: "ann", name: "Änn ☃", deep: { list: [1, 2.5, null, true, "x"] }, n: 2 ** 40 };
      const theirs = await make(algorithm, claims);
      const { value } = await verify(theirs, { key: key.verify });
      assert.deepEqual({ ...value, iat: 0, exp: 0 }, { ...claims, iat: 0, exp: 0 });
      assert.equal(value.exp - value.iat, 300);
      // A private key can check, too.
      assert.equal((await verify(theirs, { key: key.sign, algorithms: algorithm })).value.sub, "ann");

      const ours = await sign(claims, { key: key.sign, algorithm, expires_in: 60, kid: "k1" });
      const { payload, protectedHeader } = await jose.jwtVerify(ours, key.reads, {
        algorithms: [algorithm],
      });
      assert.deepEqual({ ...payload, iat: 0, exp: 0 }, { ...claims, iat: 0, exp: 0 });
      assert.deepEqual(protectedHeader, { alg: algorithm, typ: "JWT", kid: "k1" });
    });

    it(`${algorithm} is not read with another key`, async () => {
      const token = await make(algorithm, { sub: "ann" });
      const other = await makeKey(algorithm);
      assert.equal((await verify(token, { key: other.verify })).code, "bad_signature");
      for (const [name, key] of Object.entries(keys)) {
        if (name === algorithm) continue;
        const { code } = await verify(token, { key: key.verify });
        // A key of the same kind has another signature, one of another kind none at all.
        const kin = name.slice(0, 2) === algorithm.slice(0, 2) && !name.startsWith("ES");
        assert.equal(code, kin ? "bad_signature" : "bad_algorithm", name);
      }
    });
  }

  it("a public key is no secret, whoever signs with it", async () => {
    for (const algorithm of ["RS256", "ES256"]) {
      const { verify: pem } = keys[algorithm];
      for (const text of [pem, pem.trim()]) {
        const forged = await new jose.SignJWT({ sub: "admin" })
          .setProtectedHeader({ alg: "HS256" })
          .sign(new TextEncoder().encode(text));
        assert.equal((await verify(forged, { key: pem })).code, "bad_algorithm");
      }
    }
    const unsigned = new jose.UnsecuredJWT({ sub: "admin" }).encode();
    assert.equal((await verify(unsigned, { key: keys.RS256.verify })).code, "bad_algorithm");
  });

  it("encrypted tokens are not read", async () => {
    const token = await new jose.EncryptJWT({ sub: "ann" })
      .setProtectedHeader({ alg: "dir", enc: "A128CBC-HS256" })
      .encrypt(new Uint8Array(32));
    const { code, detail } = await verify(token, { key: "k" });
    assert.deepEqual([code, detail], ["malformed", "it is encrypted"]);
  });

  it("a certificate is a key, and a key that is too weak is not", async () => {
    const pem = fs.readFileSync(path.join(__dirname, "self-signed.pem"), "utf8");
    const made = await sign({ sub: "ann" }, { key: pem });
    const certificate = /-----BEGIN CERTIFICATE-----[^]*?-----END CERTIFICATE-----/.exec(pem)[0];
    assert.equal((await verify(made, { key: certificate })).value.sub, "ann");
    const { generateKeyPairSync } = require("node:crypto");
    const form = { publicKeyEncoding: { type: "spki", format: "pem" } };
    const weak = generateKeyPairSync("rsa", { modulusLength: 1024, ...form }).publicKey;
    const other = generateKeyPairSync("ed25519", form).publicKey;
    for (const key of [weak, other]) {
      const from = server.output().length;
      assert.equal((await post(server, "/verify", { token: made, options: { key } })).status, 500);
      await server.said(/the key is of no use: (an RSA key needs 2048|it is neither an RSA)/, from);
    }
  });
});

// The handler of the README, in short.
const CHAT = `
local mw = require "moonwire"
local chat = { events = {}, routes = {} }

function chat.on_auth(request)
  local claims, err = mw.jwt.verify(request.auth.token or request.cookies.session)
  if not claims then return nil, "unauthorized", err end
  return { id = claims.sub, name = claims.name, expires = claims.exp }
end
function chat.events.who(client) return client.user end
return chat
`;

describe("mw.jwt.verify(token)", () => {
  const secret = "a secret from the environment, long enough";
  const server = serving(CHAT, { env: { MOONWIRE_JWT_KEY: secret } });
  const token = (claims, key = secret) =>
    new jose.SignJWT({ sub: "ann", ...claims })
      .setProtectedHeader({ alg: "HS256" })
      .sign(new TextEncoder().encode(key));

  it("takes its key from the environment, and the token's end becomes the client's", async () => {
    const exp = Math.floor(Date.now() / 1000) + 8;
    const peer = await connect(server, `/?token=${await token({ name: "Ann", exp })}`);
    assert.deepEqual((await peer.call("who")).data, { id: "ann", name: "Ann", expires: exp });
    const question = await peer.find(({ event }) => event === "refresh");
    assert.deepEqual(question.data, { expires: exp });
    peer.send({ id: question.id, data: await token({ name: "Ann", exp: exp + 1 }) });
    assert.deepEqual(await peer.closed(), { code: 4401, reason: "expired" });
    assert.ok(Date.now() / 1000 >= exp + 1);
  });

  it("finds it in a cookie and in the Bearer field", async () => {
    const text = await token({});
    for (const headers of [{ Cookie: `a=b; session=${text}` }, { Authorization: `Bearer ${text}` }]) {
      const peer = await connect(server, "/", { headers });
      assert.equal((await peer.call("who")).data.id, "ann");
      await peer.close();
    }
  });

  it("says why not", async () => {
    const now = Math.floor(Date.now() / 1000);
    const cases = [
      ["missing", ""],
      ["malformed", "x"],
      ["expired", await token({ exp: now - 1 })],
      ["not_yet_valid", await token({ nbf: now + 100 })],
      ["bad_signature", await token({}, "another secret")],
      ["bad_algorithm", new jose.UnsecuredJWT({ sub: "ann" }).encode()],
      ["wrong_audience", await token({ aud: "somebody" })],
    ];
    for (const [code, text] of cases) {
      const answer = await refused(server, text ? `/?token=${text}` : "/");
      assert.equal(answer.status, 401);
      assert.deepEqual(JSON.parse(answer.body).error, { code: "unauthorized", detail: code });
    }
    assert.doesNotMatch(server.output(), /token=|eyJ/, "no token is logged");
  });
});

describe("keys in files", () => {
  it("are read again with each version, for the audience and the issuer of the options", async () => {
    const [first, second] = [await makeKey("RS256"), await makeKey("ES256")];
    const file = path.join(makeFolder({ "key.pem": first.verify }), "key.pem");
    const server = await serve(CHAT, {
      args: ["--jwt-key", `@${file}`, "--jwt-audience", "chat", "--jwt-issuer", "accounts"],
    });
    const make = (algorithm, key, claims) =>
      new jose.SignJWT({ sub: "ann", aud: ["mail", "chat"], iss: "accounts", ...claims })
        .setProtectedHeader({ alg: algorithm })
        .sign(key.makes);
    const code = async (token) => JSON.parse((await refused(server, `/?token=${token}`)).body).error.detail;

    const peer = await connect(server, `/?token=${await make("RS256", first)}`);
    assert.equal(await code(await make("RS256", first, { aud: "mail" })), "wrong_audience");
    assert.equal(await code(await make("RS256", first, { iss: "me" })), "wrong_issuer");
    assert.equal(await code(await make("ES256", second)), "bad_algorithm");

    fs.writeFileSync(file, second.verify);
    server.signal("SIGHUP");
    await server.said(/version 2 is in service/);
    const other = await connect(server, `/?token=${await make("ES256", second)}`);
    assert.equal(await code(await make("RS256", first)), "bad_algorithm");
    assert.equal((await peer.call("who")).data.id, "ann", "who is there stays");

    // A key that cannot be read is no reason to forget the one in service.
    fs.rmSync(file);
    server.signal("SIGHUP");
    await server.said(/jwt_key: cannot read/);
    assert.equal((await other.call("who")).data.id, "ann");
    await connect(server, `/?token=${await make("ES256", second)}`);
    await server.stop();
  });
});

describe("options of tokens that are wrong", () => {
  for (const [what, args, says] of [
    ["an algorithm", ["--jwt-algorithms", "HS265"], /jwt_algorithms: unknown algorithm 'HS265'; did you mean 'HS256'/],
    ["no algorithm", ["--jwt-algorithms", "none"], /jwt_algorithms: unknown algorithm 'none'/],
    ["an algorithm of other keys", ["--jwt-algorithms", "RS256"], /jwt_algorithms: no key is of the kind/],
    ["a key", ["--jwt-key", "-----BEGIN PUBLIC KEY-----"], /jwt_key: the key is of no use/],
  ]) {
    it(`are found at the start: ${what}`, async () => {
      const file = path.join(makeFolder({ "app.lua": CHAT }), "app.lua");
      const { code, text } = await run(["check", file, "--jwt-key", "a secret", ...args]);
      assert.equal(code, 1);
      assert.match(text, says);
    });
  }
});

const LOGIN = `
local mw = require "moonwire"
local app = { events = {}, routes = {} }
local KEYS = { "the new key", "the old key" }

app.routes["POST /login"] = function(request)
  local session = mw.cookie.sign(mw.json.encode { id = request.json.name, till = mw.now() + 60 }, KEYS)
  return 204, nil, { ["Set-Cookie"] = {
    mw.cookie.header("session", session, { max_age = 60, same_site = "strict" }),
    mw.cookie.header("old", "", { max_age = 0 }),
  } }
end
function app.on_auth(request)
  local text, err = mw.cookie.verify(request.cookies.session, KEYS)
  if not text then return nil, "unauthorized", err end
  local session = mw.json.decode(text)
  return { id = session.id, expires = session.till }
end
function app.events.who(client) return client.user.id end
app.routes["GET /old"] = function(request) return mw.cookie.sign('{"id":"eve"}', "the old key") end
return app
`;

describe("a signed cookie", () => {
  const server = serving(LOGIN);

  it("is a session, for those to whom it was given", async () => {
    const name = 'Änn; "x", \\';
    const { status, headers } = await post(server, "/login", { name });
    assert.equal(status, 204);
    const [session, old] = headers["set-cookie"];
    assert.match(
      session,
      /^session=[\w-]+\.[\w-]{43}; Max-Age=60; Path=\/; HttpOnly; SameSite=Strict$/,
    );
    assert.equal(old, "old=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax");
    const cookie = session.split(";")[0];
    const peer = await connect(server, "/", { headers: { Cookie: `x=y; ${cookie}` } });
    assert.equal((await peer.call("who")).data, name);
    await peer.close();

    const forged = cookie.replace(/=./, (c) => (c === "=A" ? "=B" : "=A"));
    for (const [Cookie, code] of [
      [forged, "bad_signature"],
      ["session=x", "malformed"],
      ["a=b", "missing"],
    ]) {
      const answer = await refused(server, "/", { headers: { Cookie } });
      assert.deepEqual([answer.status, JSON.parse(answer.body).error.detail], [401, code]);
    }
  });

  it("of the key before is still good", async () => {
    const { body } = await request(server.url, "/old");
    const peer = await connect(server, "/", { headers: { Cookie: `session=${body}` } });
    assert.equal((await peer.call("who")).data, "eve");
    await peer.close();
  });
});
