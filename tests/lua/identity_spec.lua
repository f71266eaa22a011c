-- Tokens, digests and cookies, as an app sees them. Tokens that others have made and read are in
-- tests/e2e/identity.test.js.
local mw = require "moonwire"
local b64 = mw.crypto.base64url

-- RFC 7515 appendix A: one payload, signed in three ways.
local PAYLOAD = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
local BEFORE, AT = 1300819379, 1300819380 -- its exp

local SECRET = b64.decode "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
local HS256 = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." .. PAYLOAD .. ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"

local RSA = [[
-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAofgWCuLjybRlzo0tZWJj
NiuSfb4p4fAkd/wWJcyQoTbji9k0l8W26mPddxHmfHQp+Vaw+4qPCJrcS2mJPMEz
P1Pt0Bm4d4QlL+yRT+SFd2lZS+pCgNMsD1W/YpRPEwOWvG6b32690r2jZ47soMZo
9wGzjb/7OMg0LOL+bSf63kpaSHSXndS5z5rexMdbBYUsLA9e+KXBdQOS+UTo7WTB
EMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6/I5IhlJH7aGhyxX
FvUK+DWNmoudF8NAco9/h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXp
oQIDAQAB
-----END PUBLIC KEY-----
]]
local RS256 = "eyJhbGciOiJSUzI1NiJ9." .. PAYLOAD .. "."
  .. "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9"
  .. "uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB"
  .. "_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rq"
  .. "Vt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"

local EC = [[
-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7
6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==
-----END PUBLIC KEY-----
]]
local ES256 = "eyJhbGciOiJFUzI1NiJ9." .. PAYLOAD .. "."
  .. "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"

local NONE = "eyJhbGciOiJub25lIn0." .. PAYLOAD .. "." -- A.5

local SIGNED = {
  { "HS256", HS256, SECRET }, { "RS256", RS256, RSA }, { "ES256", ES256, EC },
}

local function code_of(...)
  local claims, code = mw.jwt.verify(...)
  assert.is_nil(claims)
  return code
end

-- The message of an error that the function raises.
local function raised(fn, ...)
  local ok, message = pcall(fn, ...)
  assert.is_false(ok)
  return message
end

-- A token with this header and these claims as they stand, signed with the secret.
local function forge(header, claims, key)
  local text = b64.encode(header) .. "." .. b64.encode(claims)
  return text .. "." .. b64.encode(mw.crypto.hmac("sha256", key or "k", text))
end

local HEADER = '{"alg":"HS256"}'

describe("mw.jwt.verify", function()
  for _, each in ipairs(SIGNED) do
    local name, token, key = table.unpack(each)

    it("takes the " .. name .. " of RFC 7515", function()
      local claims, code = mw.jwt.verify(token, { key = key, now = BEFORE })
      assert.is_nil(code)
      assert.same({ iss = "joe", exp = AT, ["http://example.com/is_root"] = true }, claims)
      assert.equal("expired", code_of(token, { key = key, now = AT }))
      assert.equal("expired", code_of(token, { key = key }))
      assert.truthy(mw.jwt.verify(token, { key = key, now = AT + 4, leeway = 5 }))
      assert.equal("expired", code_of(token, { key = key, now = AT + 5, leeway = 5 }))
    end)

    it("sees each changed byte of the " .. name, function()
      local options = { key = key, now = BEFORE }
      for at = 1, #token do
        local c = token:sub(at, at)
        local other = token:sub(1, at - 1) .. (c == "A" and "B" or "A") .. token:sub(at + 1)
        assert.is_nil((mw.jwt.verify(other, options)), at)
        assert.is_nil((mw.jwt.verify(token:sub(1, at - 1), options)), at)
      end
      assert.is_nil((mw.jwt.verify(token .. "A", options)))
      assert.equal("malformed", code_of(token .. "=", options))
      assert.equal("malformed", code_of(token .. "\n", options))
      assert.equal("malformed", code_of(token .. "\0", options))
    end)
  end

  it("refuses what is not signed", function()
    for _, key in ipairs { SECRET, RSA, EC } do
      assert.equal("bad_algorithm", code_of(NONE, { key = key, now = BEFORE }))
    end
    for _, alg in ipairs { "None", "NONE", "nOnE", "", "hs256", "HS256 ", "PS256", "EdDSA" } do
      local token = forge(('{"alg":"%s"}'):format(alg), "{}")
      assert.equal("bad_algorithm", code_of(token, { key = "k" }))
    end
    for _, header in ipairs { "{}", '{"alg":null}', '{"alg":256}', '{"alg":["HS256"]}' } do
      assert.equal("bad_algorithm", code_of(forge(header, "{}"), { key = "k" }))
    end
    assert.equal("bad_signature", code_of(HS256:match "^(.*%.)", { key = SECRET, now = BEFORE }))
    assert.matches("unknown algorithm 'none'", raised(mw.jwt.verify, NONE, { key = "k", algorithms = "none" }))
  end)

  it("takes no public key for a secret", function()
    local forged = forge(HEADER, "{}", RSA)
    assert.equal("bad_algorithm", code_of(forged, { key = RSA }))
    assert.equal("bad_algorithm", code_of(forged, { keys = { RSA, EC } }))
    assert.equal("bad_signature", code_of(forged, { keys = { RSA, "another" } }))
    assert.matches("no key is of the kind", raised(mw.jwt.verify, forged, { key = RSA, algorithms = "HS256" }))
    assert.matches("neither a secret nor PEM", raised(mw.jwt.verify, forged, { key = "ssh-rsa AAAAB3Nza" }))
    assert.matches("neither a secret nor PEM", raised(mw.jwt.verify, forged, { key = '{ "kty": "RSA" }' }))
    assert.matches("holds neither a key", raised(mw.jwt.verify, forged, { key = RSA:sub(1, 100) }))
    assert.equal("bad_algorithm", code_of(ES256, { key = RSA, now = BEFORE }))
    assert.equal("bad_algorithm", code_of(RS256, { key = EC, now = BEFORE }))
    assert.equal("bad_algorithm", code_of(HS256, { key = EC, now = BEFORE }))
  end)

  it("takes PEM text whose lines end in \\n, as the environment has it", function()
    for _, each in ipairs { { RS256, RSA }, { ES256, EC } } do
      local key = each[2]:gsub("\n", "\\n")
      assert.truthy(mw.jwt.verify(each[1], { key = key, now = BEFORE }))
    end
  end)

  it("takes only algorithms that are named", function()
    assert.equal("bad_algorithm", code_of(HS256, { key = SECRET, algorithms = { "HS384", "HS512" }, now = BEFORE }))
    assert.truthy(mw.jwt.verify(HS256, { key = SECRET, algorithms = "HS256", now = BEFORE }))
    assert.equal("bad_algorithm",
      code_of(HS256, { keys = { SECRET, RSA }, algorithms = "RS256", now = BEFORE }))
  end)

  it("tries several keys, or the one with the kid", function()
    local old = mw.jwt.sign({ n = 1 }, { key = "old" })
    local new = mw.jwt.sign({ n = 2 }, { key = "new", kid = "2" })
    assert.equal(1, mw.jwt.verify(old, { keys = { "new", RSA, "old" } }).n)
    assert.equal("bad_signature", code_of(old, { keys = { "new", "newer" } }))
    assert.equal(2, mw.jwt.verify(new, { keys = { ["1"] = "old", ["2"] = "new" } }).n)
    assert.equal(1, mw.jwt.verify(old, { keys = { ["1"] = "old", ["2"] = "new" } }).n)
    local _, code, detail = mw.jwt.verify(new, { keys = { ["1"] = "old", ["3"] = "new" } })
    assert.same({ "bad_signature", "no key has this kid" }, { code, detail })
    assert.equal("bad_signature", code_of(new, { keys = { ["2"] = "old", ["1"] = "new" } }))
  end)

  it("says what is no token", function()
    assert.equal("missing", code_of(nil, { key = "k" }))
    assert.equal("missing", code_of(mw.null, { key = "k" }))
    local bad = {
      "", ".", "..", "...", "a", "a.b", "a.b.c.d", "a.b.c.d.e", "!.!.!", 7, true, {}, ("a"):rep(70000),
      b64.encode "{}" .. ".." , "." .. b64.encode "{}" .. ".", (" "):rep(10), HS256:gsub("%.", ".."),
      " " .. HS256, HS256:gsub("_", "/"), forge("[]", "{}"), forge("{", "{}"), forge(HEADER, "[1]"),
      forge(HEADER, "7"), forge(HEADER, "nil"), forge(HEADER, '{"a":1,}'), forge(HEADER, '{"a":"\xff"}'),
      forge('{"alg":"HS256","crit":["exp"],"exp":1}', "{}"),
      forge(HEADER, '{"exp":"never"}'), forge(HEADER, '{"exp":null}'), forge(HEADER, '{"nbf":[]}'),
      forge(HEADER, '{"iat":"now"}'),
    }
    for i, token in ipairs(bad) do
      assert.equal("malformed", code_of(token, { key = "k" }), i)
    end
  end)

  it("reads whatever JSON can say", function()
    local claims = mw.jwt.verify(forge(HEADER,
      '{"n":123456789012345678901234567890,"z":"\\u0000","sub":"a","sub":"b"}'), { key = "k" })
    assert.same({ n = 1.2345678901234568e29, z = "\0", sub = "b" }, claims)
  end)

  it("waits for nbf", function()
    local token = forge(HEADER, '{"nbf":1000,"exp":2000.5}')
    assert.equal("not_yet_valid", code_of(token, { key = "k", now = 999.9 }))
    assert.truthy(mw.jwt.verify(token, { key = "k", now = 1000 }))
    assert.truthy(mw.jwt.verify(token, { key = "k", now = 998, leeway = 2 }))
    assert.equal("not_yet_valid", code_of(token, { key = "k", now = 997, leeway = 2 }))
    assert.truthy(mw.jwt.verify(token, { key = "k", now = 2000.4 }))
    assert.equal("expired", code_of(token, { key = "k", now = 2000.5 }))
  end)

  it("is for its audience only", function()
    local one, two = forge(HEADER, '{"aud":"a"}'), forge(HEADER, '{"aud":["a","b",7]}')
    local none = forge(HEADER, "{}")
    assert.equal("wrong_audience", code_of(one, { key = "k" }))
    assert.equal("wrong_audience", code_of(one, { key = "k", audience = "b" }))
    assert.equal("wrong_audience", code_of(none, { key = "k", audience = "b" }))
    assert.equal("wrong_audience", code_of(two, { key = "k", audience = { "c", "7" } }))
    assert.truthy(mw.jwt.verify(none, { key = "k" }))
    assert.truthy(mw.jwt.verify(one, { key = "k", audience = "a" }))
    assert.truthy(mw.jwt.verify(one, { key = "k", audience = false }))
    assert.truthy(mw.jwt.verify(two, { key = "k", audience = { "c", "b" } }))
    for _, aud in ipairs { "null", "{}", "[]", "7", '""' } do
      assert.equal("wrong_audience", code_of(forge(HEADER, '{"aud":' .. aud .. "}"), { key = "k", audience = "a" }))
    end
  end)

  it("is from its issuer only", function()
    local token = forge(HEADER, '{"iss":"joe"}')
    assert.truthy(mw.jwt.verify(token, { key = "k", issuer = { "ann", "joe" } }))
    assert.equal("wrong_issuer", code_of(token, { key = "k", issuer = "ann" }))
    assert.equal("wrong_issuer", code_of(forge(HEADER, "{}"), { key = "k", issuer = "ann" }))
  end)

  it("raises on options that mean nothing", function()
    assert.matches("unknown option 'kyes'; did you mean 'keys'", raised(mw.jwt.verify, HS256, { kyes = {} }))
    assert.matches("unknown algorithm 'HS265'; did you mean 'HS256'",
      raised(mw.jwt.verify, HS256, { key = "k", algorithms = "HS265" }))
    assert.matches("key must be a string", raised(mw.jwt.verify, HS256, { key = 7 }))
    assert.matches("a key must be a string", raised(mw.jwt.verify, HS256, { keys = { 7 } }))
    assert.matches("exclude each other", raised(mw.jwt.verify, HS256, { key = "k", keys = { "k" } }))
    assert.matches("no key: give options.key", raised(mw.jwt.verify, HS256))
    assert.matches("no key: give options.key", raised(mw.jwt.verify, HS256, { keys = {} }))
    assert.matches("the key is empty", raised(mw.jwt.verify, HS256, { key = "" }))
    assert.matches("options are a table", raised(mw.jwt.verify, HS256, "k"))
    assert.matches("audience is a string", raised(mw.jwt.verify, HS256, { key = "k", audience = true }))
    -- Where the app calls, and not somewhere in the library.
    assert.matches("^tests/lua/identity_spec.lua:%d+: ", raised(function() mw.jwt.verify(HS256, {}) end))
  end)
end)

describe("mw.jwt.sign", function()
  it("makes what verify takes", function()
    local claims = { sub = "ann", n = 7, f = 0.5, list = mw.array { 1, "two" }, deep = { yes = true } }
    local token = mw.jwt.sign(claims, { key = "k" })
    assert.same(claims, (mw.jwt.verify(token, { key = "k" })))
    assert.same({}, (mw.jwt.verify(mw.jwt.sign({}, { key = "k" }), { key = "k" })))
    for _, algorithm in ipairs { "HS256", "HS384", "HS512" } do
      token = mw.jwt.sign({ sub = "x" }, { key = "k", algorithm = algorithm })
      assert.matches('"alg":"' .. algorithm .. '"', b64.decode(token:match "^[^.]+"), 1, true)
      assert.equal("x", mw.jwt.verify(token, { key = "k" }).sub)
    end
  end)

  it("says times in whole seconds", function()
    local now = mw.now()
    local claims = mw.jwt.verify(mw.jwt.sign({}, { key = "k", expires_in = 60 }), { key = "k" })
    assert.equal("integer", math.type(claims.exp))
    assert.is_true(claims.iat <= now + 1 and claims.iat >= now - 1 and claims.exp >= claims.iat + 59)
    local given = { exp = now + 5.5, nbf = now - 5.5 }
    claims = mw.jwt.verify(mw.jwt.sign(given, { key = "k" }), { key = "k" })
    assert.equal(math.floor(now + 5.5), claims.exp)
    assert.equal(math.floor(now - 5.5), claims.nbf)
    assert.equal(now + 5.5, given.exp)
  end)

  it("raises on what cannot be signed", function()
    assert.matches("a public one", raised(mw.jwt.sign, {}, { key = RSA }))
    assert.matches("not for RS256, but for HS256", raised(mw.jwt.sign, {}, { key = "k", algorithm = "RS256" }))
    assert.matches("unknown algorithm 'none'", raised(mw.jwt.sign, {}, { key = "k", algorithm = "none" }))
    assert.matches("claims are a table", raised(mw.jwt.sign, nil, { key = "k" }))
    assert.matches("U%+0000", raised(mw.jwt.sign, { a = "\0" }, { key = "k" }))
    assert.matches("no key", raised(mw.jwt.sign, {}))
  end)
end)

describe("mw.crypto", function()
  local crypto = mw.crypto
  local hex = crypto.hex.encode

  it("knows the digests of FIPS 180 and RFC 1321", function()
    assert.equal("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", hex(crypto.hash("sha256", "abc")))
    assert.equal("a9993e364706816aba3e25717850c26c9cd0d89d", hex(crypto.hash("sha1", "abc")))
    assert.equal("900150983cd24fb0d6963f7d28e17f72", hex(crypto.hash("md5", "abc")))
    assert.equal(48, #crypto.hash("sha384", ""))
    assert.equal(64, #crypto.hash("sha512", ""))
  end)

  it("knows the HMACs of RFC 4231", function()
    assert.equal("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
      hex(crypto.hmac("sha256", "Jefe", "what do ya want for nothing?")))
    assert.equal("b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
      hex(crypto.hmac("sha256", ("\x0b"):rep(20), "Hi There")))
    assert.has_error(function() crypto.hmac("sha256", "", "x") end)
  end)

  it("names the algorithm that was meant", function()
    assert.matches("mw.crypto.hash: unknown algorithm 'sha265'; did you mean 'sha256'?",
      raised(crypto.hash, "sha265", ""), 1, true)
    assert.matches("mw.crypto.hmac: unknown algorithm 'whirlpool' (sha256,",
      raised(crypto.hmac, "whirlpool", "k", ""), 1, true)
  end)

  it("makes random bytes", function()
    assert.equal("", crypto.random(0))
    assert.equal(16, #crypto.random(16))
    assert.not_equal(crypto.random(16), crypto.random(16))
    for _, bad in ipairs { -1, 1.5, 2 ^ 40, "x" } do
      assert.has_error(function() crypto.random(bad) end)
    end
  end)

  it("compares", function()
    assert.is_true(crypto.equal("a\0b", "a\0b"))
    assert.is_true(crypto.equal("", ""))
    assert.is_false(crypto.equal("a\0b", "a\0c"))
    assert.is_false(crypto.equal("a", "ab"))
    assert.is_false(crypto.equal(nil, nil))
    assert.is_false(crypto.equal("", nil))
    assert.has_error(function() crypto.equal({}, "") end)
  end)

  it("writes bytes in three forms, and reads them", function()
    local all = {}
    for i = 0, 255 do all[#all + 1] = string.char(i) end
    local bytes = table.concat(all)
    for _, name in ipairs { "hex", "base64", "base64url" } do
      local form = crypto[name]
      for length = 0, 256 do
        local part = bytes:sub(257 - length)
        assert.equal(part, (form.decode(form.encode(part))))
      end
    end
    assert.equal("00ff", hex "\0\xff")
    assert.equal("\0\xff", (crypto.hex.decode "00Ff"))
    assert.equal("_-8", crypto.base64url.encode "\xff\xef")
    assert.equal("/+8=", crypto.base64.encode "\xff\xef")
    assert.same({ nil, "bad_hex" }, { crypto.hex.decode "0" })
    assert.same({ nil, "bad_hex" }, { crypto.hex.decode "0g" })
    for _, bad in ipairs { "_-8=", "/+8", "_-9", "a", "_ 8", "_-8\n" } do
      assert.same({ nil, "bad_base64url" }, { crypto.base64url.decode(bad) })
    end
    assert.same({ nil, "bad_base64" }, { crypto.base64.decode "a" })
  end)
end)

describe("mw.cookie", function()
  local cookie = mw.cookie

  it("signs any bytes, in a form that a cookie holds", function()
    for _, value in ipairs { "", "ann", "a b;c=\"d\", é", "\0\xff", ("x"):rep(1000) } do
      local text = cookie.sign(value, "key")
      assert.matches("^[%w_.-]+$", text)
      assert.equal(value, (cookie.verify(text, "key")))
      assert.matches("^session=" .. text:gsub("%p", "%%%0") .. "; ", cookie.header("session", text))
    end
  end)

  it("verifies with each key, and signs with the first", function()
    local old = cookie.sign("v", "old")
    assert.equal("v", (cookie.verify(old, { "new", "old" })))
    assert.equal(cookie.sign("v", { "new", "old" }), cookie.sign("v", "new"))
    assert.same({ nil, "bad_signature" }, { cookie.verify(old, "new") })
  end)

  it("sees each changed byte", function()
    local text = cookie.sign("ann", "key")
    for at = 1, #text do
      local c = text:sub(at, at)
      assert.is_nil((cookie.verify(text:sub(1, at - 1) .. (c == "A" and "B" or "A") .. text:sub(at + 1), "key")))
      assert.is_nil((cookie.verify(text:sub(1, at - 1), "key")))
    end
    assert.is_nil((cookie.verify(text .. "A", "key")))
  end)

  it("says what is none", function()
    assert.same({ nil, "missing" }, { cookie.verify(nil, "key") })
    for _, bad in ipairs { "", ".", "ann", "a.b.c", "a b.c", 7 } do
      assert.same({ nil, "malformed" }, { cookie.verify(bad, "key") })
    end
    assert.has_error(function() cookie.sign(nil, "key") end)
    assert.has_error(function() cookie.sign("v", "") end)
    assert.has_error(function() cookie.sign("v", {}) end)
    assert.has_error(function() cookie.sign("v") end)
  end)

  it("writes Set-Cookie", function()
    assert.equal("a=1; Path=/; HttpOnly; SameSite=Lax", cookie.header("a", 1))
    assert.equal("a=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax", cookie.header("a", "", { max_age = 0 }))
    assert.equal("__Host-a=b; Max-Age=60; Path=/; Secure; SameSite=Strict",
      cookie.header("__Host-a", "b", { max_age = 60, secure = true, http_only = false, same_site = "strict" }))
    assert.equal("a=b; Path=/x; Domain=example.org; Secure; HttpOnly; SameSite=None",
      cookie.header("a", "b", { path = "/x", domain = "example.org", secure = true, same_site = "none" }))
    local all = {}
    for byte = 33, 126 do
      local c = string.char(byte)
      if not c:find '[",;\\]' then all[#all + 1] = c end
    end
    local value = table.concat(all)
    assert.equal("a=" .. value, cookie.header("a", value):sub(1, #value + 2))
  end)

  it("refuses what would say something else", function()
    local header = cookie.header
    for _, value in ipairs { "a b", "a;b", "a,b", 'a"', "a\\", "a\r\nb", "é", "\0", "\x7f" } do
      assert.matches("a cookie cannot hold the byte 0x%x+ at %d of 'a'", raised(header, "a", value))
    end
    assert.matches("is a string, not a nil", raised(header, "a"))
    for _, name in ipairs { "", "a b", "a=b", "a;b", "é", "a\n" } do
      assert.matches("no name of a cookie", raised(header, name, "v"))
    end
    assert.matches("needs secure", raised(header, "a", "b", { same_site = "none" }))
    assert.matches("same_site is", raised(header, "a", "b", { same_site = "any" }))
    assert.matches("needs secure", raised(header, "__Secure-a", "b"))
    assert.matches("has no domain", raised(header, "__Host-a", "b", { secure = true, path = "/x" }))
    assert.matches("is no path", raised(header, "a", "b", { path = "/;x" }))
    assert.matches("is no domain", raised(header, "a", "b", { domain = "x;y" }))
    assert.matches("did you mean 'max_age'", raised(header, "a", "b", { maxage = 1 }))
    assert.matches("whole number", raised(header, "a", "b", { max_age = 1.5 }))
    assert.matches("browsers keep 4096", raised(header, "a", ("x"):rep(4096)))
  end)
end)
