--- mw.jwt: signed tokens (RFC 7519). What is right and wrong about a token is decided here; taking it
--- apart and its signature are in C.

local core = require "moonwire.jwt.core"
local clock = require "moonwire.core".now
local json = require "moonwire.json"
local check = require "moonwire.check"

---@class mw.jwt
local jwt = {}

-- What each algorithm needs (RFC 7518 section 3.1). "none" is not among them.
local KIND = {
  HS256 = "secret", HS384 = "secret", HS512 = "secret",
  RS256 = "RSA", RS384 = "RSA", RS512 = "RSA",
  ES256 = "P-256", ES384 = "P-384", ES512 = "P-521",
}
local NAMES = {
  "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256", "ES384", "ES512",
}
local DEFAULT = { secret = "HS256", RSA = "RS256", ["P-256"] = "ES256", ["P-384"] = "ES384", ["P-521"] = "ES512" }

-- --- keys ---

-- Keys that have been looked at, by their text: reading PEM takes longer than a signature.
local known, known_count = {}, 0

local function look_at(name, text)
  if text:find("-----BEGIN", 1, true) then
    text = text:gsub("\\n", "\n") -- as variables of the environment often have it
    local key, kind, private = core.key(text)
    if not key then
      check.fail("%s: the key is of no use: %s", name, kind)
    end
    return { kind = kind, verify = key, sign = private and text or nil }
  end
  -- A public key in another form, taken for a secret, would be a secret that everybody knows.
  if text:find("^%s*ssh%-") or text:find("^%s*ecdsa%-") or text:find("^%s*{.*\"kty\"") then
    check.fail("%s: the key is neither a secret nor PEM text; convert it to PEM", name)
  end
  if text == "" then
    check.fail("%s: the key is empty", name)
  end
  return { kind = "secret", verify = text, sign = text }
end

local function key_of(name, text)
  if type(text) ~= "string" then
    check.fail("%s: a key must be a string, not a %s", name, type(text))
  end
  local key = known[text]
  if not key then
    key = look_at(name, text)
    if known_count >= 256 then
      known, known_count = {}, 0
    end
    known[text], known_count = key, known_count + 1
  end
  return key
end

-- The keys of the options, as a list of { id, key }; a string in `keys` is the key's id.
local function keys_of(name, options)
  if options.key and options.keys then
    check.fail("%s: key and keys exclude each other", name)
  end
  local texts = options.keys or { options.key or core.defaults.key }
  local keys = {}
  for id, text in pairs(texts) do
    keys[#keys + 1] = { id = type(id) == "string" and id or nil, key = key_of(name, text) }
  end
  if #keys == 0 then
    check.fail("%s: no key: give options.key, or set jwt_key (MOONWIRE_JWT_KEY)", name)
  end
  return keys
end

-- --- algorithms ---

local function check_algorithm(name, algorithm)
  if not KIND[algorithm] then
    check.fail("%s: unknown algorithm '%s'%s", name, algorithm, check.guess(algorithm, NAMES))
  end
end

-- The algorithms that were named, as a set; nil: whatever the kind of the key allows.
local function named_algorithms(name, options, keys)
  local list = options.algorithms
  if list == nil and options.key == nil and options.keys == nil and core.defaults.algorithms then
    list = {}
    for each in core.defaults.algorithms:gmatch "[^%s,]+" do
      list[#list + 1] = each
    end
  end
  if list == nil then
    return nil
  end
  local set, fits = {}, false
  for _, algorithm in ipairs(check.list(name .. ": algorithms", list)) do
    check_algorithm(name, algorithm)
    set[algorithm] = true
    for _, each in ipairs(keys) do
      fits = fits or each.key.kind == KIND[algorithm]
    end
  end
  if not fits then
    check.fail("%s: no key is of the kind that the algorithms need (it is for %s)", name,
      DEFAULT[keys[1].key.kind])
  end
  return set
end

-- --- verifying ---

local VERIFY = {
  key = "string", keys = "table", algorithms = "string table", audience = "string table boolean",
  issuer = "string table", leeway = "number", now = "number",
}

-- Has one of the keys made the signature? A key is only asked about an algorithm of its own kind.
local function check_signature(token, header, keys, algorithms)
  local algorithm, fits, named = header.alg, false, false
  if type(algorithm) ~= "string" or not KIND[algorithm] then
    return "bad_algorithm", algorithm == "none" and "the token is not signed" or "unknown alg"
  end
  if algorithms and not algorithms[algorithm] then
    return "bad_algorithm", algorithm .. " is not among those that are allowed"
  end
  for _, each in ipairs(keys) do
    named = named or (each.id ~= nil and each.id == header.kid)
  end
  for _, each in ipairs(keys) do
    if KIND[algorithm] == each.key.kind then
      fits = true
      local meant = each.id == nil or header.kid == nil or each.id == header.kid
      if meant and core.verify(token, algorithm, each.key.verify) then
        return nil
      end
    end
  end
  if not fits then
    return "bad_algorithm", "no key is for " .. algorithm
  end
  return "bad_signature", header.kid ~= nil and not named and "no key has this kid" or nil
end

-- A NumericDate (RFC 7519 section 2), or nil; false: something else.
local function date(value)
  if value == nil then
    return nil
  end
  return type(value) == "number" and value or false
end

local function check_time(claims, options)
  local now, leeway = options.now or clock(), options.leeway or 0
  local from, to = date(claims.nbf), date(claims.exp)
  if from == false or to == false or date(claims.iat) == false then
    return "malformed", "exp, nbf and iat are numbers"
  end
  if to and now >= to + leeway then
    return "expired", nil
  end
  if from and now < from - leeway then
    return "not_yet_valid", nil
  end
end

local function one_of(value, list)
  for _, each in ipairs(list) do
    if each == value then
      return true
    end
  end
  return false
end

-- RFC 7519 section 4.1.3: a token for an audience is for nobody else.
local function check_audience(claims, options)
  local wanted, aud = options.audience, claims.aud
  if wanted == nil then
    wanted = core.defaults.audience
  end
  if wanted == false or (wanted == nil and aud == nil) then
    return nil
  end
  if wanted == nil then
    return "wrong_audience", "it has an audience: name yours"
  end
  for _, each in ipairs(type(aud) == "table" and aud or { aud }) do
    if one_of(each, check.list("mw.jwt.verify: audience", wanted)) then
      return nil
    end
  end
  return "wrong_audience", nil
end

local function check_issuer(claims, options)
  local wanted = options.issuer or core.defaults.issuer
  if wanted and not one_of(claims.iss, check.list("mw.jwt.verify: issuer", wanted)) then
    return "wrong_issuer", nil
  end
end

--- The claims of a token whose signature, time, audience and issuer are right; otherwise nil, a code and
--- perhaps a text for people. Codes: missing (there is no token), malformed, bad_algorithm,
--- bad_signature, expired, not_yet_valid, wrong_audience, wrong_issuer. A wrong option raises.
---
--- Without options (or without key): jwt_key, jwt_algorithms, jwt_audience and jwt_issuer of the server's
--- options, such as MOONWIRE_JWT_KEY in the environment. A key in PEM text is for RS256 or ES256 and their
--- like, and is never a secret; all else is a secret, for HS256 and its like.
---@param token any
---@param options? mw.jwt.verify.options
---@return table? claims
---@return string? code
---@return string? detail
function jwt.verify(token, options)
  options = check.options("mw.jwt.verify", options, VERIFY)
  if options.audience == true then
    check.fail("mw.jwt.verify: audience is a string, a list of them, or false")
  end
  local keys = keys_of("mw.jwt.verify", options)
  local algorithms = named_algorithms("mw.jwt.verify", options, keys)
  if token == nil or token == json.null then
    return nil, "missing"
  end
  if type(token) ~= "string" then
    return nil, "malformed", "it is a " .. type(token)
  end
  local header, claims = core.parse(token)
  if not header then
    return nil, "malformed", claims
  end
  if header.crit ~= nil then -- RFC 7515 section 4.1.11: what must be understood, and is not.
    return nil, "malformed", "its header has crit"
  end
  local code, detail = check_signature(token, header, keys, algorithms)
  for _, look in ipairs { check_time, check_audience, check_issuer } do
    if not code then
      code, detail = look(claims, options)
    end
  end
  if code then
    return nil, code, detail
  end
  return claims
end

-- --- signing ---

local SIGN = { key = "string", algorithm = "string", kid = "string", expires_in = "number" }

--- A token with these claims. Times in exp, nbf and iat become whole seconds.
---@param claims table
---@param options? mw.jwt.sign.options
---@return string token
function jwt.sign(claims, options)
  options = check.options("mw.jwt.sign", options, SIGN)
  if type(claims) ~= "table" then
    check.fail("mw.jwt.sign: the claims are a table, not a %s", type(claims))
  end
  local key = keys_of("mw.jwt.sign", options)[1].key
  local algorithm = options.algorithm or DEFAULT[key.kind]
  check_algorithm("mw.jwt.sign", algorithm)
  if KIND[algorithm] ~= key.kind then
    check.fail("mw.jwt.sign: the key is not for %s, but for %s", algorithm, DEFAULT[key.kind])
  end
  if not key.sign then
    check.fail("mw.jwt.sign: the key is a public one, which cannot sign")
  end
  local all = {}
  for name, value in pairs(claims) do
    all[name] = value
  end
  if options.expires_in then
    all.iat = all.iat or clock()
    all.exp = all.iat + options.expires_in
  end
  for _, name in ipairs { "exp", "nbf", "iat" } do
    if all[name] ~= nil then
      all[name] = math.tointeger(all[name]) or math.floor(all[name])
    end
  end
  local token = core.sign(json.encode(json.object(all)), algorithm, key.sign, options.kid)
  if not token then
    check.fail("mw.jwt.sign: the claims cannot stand in a token (U+0000 cannot), or the key is broken")
  end
  return token
end

-- What is wrong with the server's options is said at the start, not to the first who has a token.
if core.defaults.key then
  named_algorithms("jwt_algorithms", {}, keys_of("jwt_key", {}))
end

return jwt
