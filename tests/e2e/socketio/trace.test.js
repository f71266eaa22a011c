// The same script of client actions against the reference server and against moonwire: what a
// client can observe must be the same, letter by letter. Ids are told apart, not compared.
"use strict";

const assert = require("node:assert/strict");
const { after, before, describe, test } = require("node:test");
const { packages, within } = require("../../support.js");
const { request } = require("../support.js");
const { KINDS, PATH, Guest, openPolling, start } = require("./support.js");
const { openSocket } = require("./raw.js");
const { WebSocket } = packages("ws");

const OPTIONS = { pingInterval: 20_000, pingTimeout: 15_000, maxHttpBufferSize: 10_000 };
const FIELDS = ["content-type", "cache-control", "content-encoding", "access-control-allow-origin"];

// The sids of a text, and the ids in a welcome, are numbered in the order in which they appear.
function tidy(text, seen = new Map()) {
  const number = (id) => `<${seen.get(id) ?? seen.set(id, seen.size).size - 1}>`;
  return text
    .replace(/"sid":"([^"]+)"/g, (_, id) => `"sid":"${number(id)}"`)
    .replace(/\["welcome","([^"]+)"\]/g, (_, id) => `["welcome","${number(id)}"]`);
}

const answer = ({ status, headers, body }) => ({
  status,
  body: tidy(body),
  ...Object.fromEntries(FIELDS.map((name) => [name, headers[name]])),
});

// --- requests ---------------------------------------------------------------------------------

// What is asked of a server without a session: [name, target, options].
const REQUESTS = [
  ["no query", "/socket.io/"],
  ["no transport", PATH],
  ["an unknown transport", `${PATH}&transport=carrier-pigeon`],
  ["a transport by the name of a property", `${PATH}&transport=constructor`],
  ["no version", "/socket.io/?transport=polling"],
  ["an old version", "/socket.io/?EIO=3&transport=polling"],
  ["a version to come", "/socket.io/?EIO=5&transport=polling"],
  ["an unknown session", `${PATH}&transport=polling&sid=nobody`],
  ["a session by the name of a property", `${PATH}&transport=polling&sid=__proto__`],
  ["a POST to an unknown session", `${PATH}&transport=polling&sid=nobody`, { method: "POST", body: "2" }],
  ["a POST without a session", `${PATH}&transport=polling`, { method: "POST", body: "40" }],
  ["a PUT without a session", `${PATH}&transport=polling`, { method: "PUT", body: "40" }],
  ["a DELETE without a session", `${PATH}&transport=polling`, { method: "DELETE" }],
  ["an OPTIONS without a session", `${PATH}&transport=polling`, { method: "OPTIONS" }],
  ["a HEAD without a session", `${PATH}&transport=polling`, { method: "HEAD" }],
  ["an empty session", `${PATH}&transport=polling&sid=`],
  ["a WebSocket without an upgrade", `${PATH}&transport=websocket`],
  ["the opening", `${PATH}&transport=polling`],
];

async function traceRequests(server) {
  const trace = [];
  for (const [name, target, options] of REQUESTS) {
    trace.push([name, answer(await request(server.url, target, options))]);
  }
  return trace;
}

// --- WebSocket handshakes ---------------------------------------------------------------------

// How a handshake ends: "open", or the status and the body of its refusal.
function knock(server, query) {
  const socket = new WebSocket(`${server.url.replace("http", "ws")}/socket.io/${query}`);
  const knocking = new Promise((resolve) => {
    socket.on("error", () => {});
    socket.on("open", () => resolve("open"));
    socket.on("unexpected-response", (_, response) => {
      let body = "";
      response.on("data", (piece) => (body += piece));
      response.on("end", () => resolve([response.statusCode, body]));
    });
  });
  return within(knocking, `an answer to ${query}`).finally(() => socket.terminate());
}

async function traceHandshakes(server, queries) {
  const trace = [];
  for (const query of queries) trace.push([query, await knock(server, query)]);
  return trace;
}

const HANDSHAKES = [
  "?EIO=4&transport=websocket",
  "?EIO=4&transport=websocket&sid=nobody",
  "?EIO=4&transport=pigeon",
  "?EIO=4",
];
const OF_ANOTHER_VERSION = ["?EIO=3&transport=websocket", "?transport=websocket"];

// --- polling sessions -------------------------------------------------------------------------

// Each begins with a session that is open, and tells what it sees.
const SESSIONS = {
  async "it connects, speaks and leaves"(session, see) {
    await see("post", session.post("40"));
    await see("the answer and the welcome", session.all(2));
    await see("event", session.post('421["ask",{"a":[1,2.5,null]},"ü"]'));
    await see("ack", session.get());
    await see("two packets", session.post('42["echo",1]\x1e42["echo",2]'));
    await see("binary event", session.post('451-["echo",{"_placeholder":true,"num":0}]\x1ebAQIDBA=='));
    await see("what comes back", session.all(4));
    await see("close", session.post("1"));
    await see("afterwards", session.get());
  },
  async "a namespace that is not there"(session, see) {
    await see("post", session.post("40/nowhere,"));
    await see("get", session.get());
  },
  async "a pending poll is answered when the client closes"(session, see) {
    const poll = session.get();
    await see("close", session.post("1"));
    await see("poll", poll);
  },
  async "two polls at a time"(session, see) {
    const polls = [session.get(), session.get()].map((poll) => poll.then(answer));
    see.value("polls", (await Promise.all(polls)).sort((a, b) => a.status - b.status));
    await see("afterwards", session.get());
  },
  async "a body that is no payload"(session, see) {
    await see("post", session.post("abc"));
    await see("afterwards", session.get());
  },
  async "an empty body"(session, see) {
    await see("post", session.post(""));
    await see("afterwards", session.get());
  },
  async "a malformed Socket.IO packet"(session, see) {
    await session.connect();
    await see("post", session.post('42["echo"'));
    see.value("the last packet", (await session.get()).body.split("\x1e").pop());
  },
  async "binary data without base64"(session, see) {
    const type = { "Content-Type": "application/octet-stream" };
    await see("post", session.post(Buffer.from([4, 1, 2]), type));
    await see("afterwards", session.get());
  },
  async "another method"(session, see, server) {
    await see("put", request(server.url, session.target, { method: "PUT", body: "40" }));
    await see("delete", request(server.url, session.target, { method: "DELETE" }));
  },
  async "the other transport without an upgrade"(session, see, server) {
    const target = session.target.replace("polling", "websocket");
    await see("get", request(server.url, target));
  },
  async "too large a body"(session, see) {
    const { status } = await session.post("4".repeat(10_001));
    see.value("status", status);
    await session.connect();
  },
  async "a large answer to who takes gzip"(session, see, server) {
    await session.connect();
    await session.send(`42["echo","${"x".repeat(5000)}"]`);
    const { headers } = await request(server.url, session.target, {
      headers: { "Accept-Encoding": "gzip" },
    });
    see.value("encoding", headers["content-encoding"]);
  },
  async "a small answer to who takes gzip"(session, see, server) {
    await session.connect();
    await session.send('42["echo","x"]');
    const headers = { "Accept-Encoding": "gzip" };
    await see("get", request(server.url, session.target, { headers }));
  },
  async "volatile events while nobody polls"(session, see) {
    await session.connect();
    await session.send('42["whisper",2]');
    await see("get", session.get());
  },
};

async function traceSession(server, script) {
  const trace = [];
  const seen = new Map();
  const session = await openPolling(server);
  const see = async (name, asked) => {
    const result = answer(await asked);
    trace.push([name, { ...result, body: tidy(result.body, seen) }]);
  };
  see.value = (name, value) => trace.push([name, value]);
  // So many packets, in as many polls as they take, as one answer.
  session.all = async (count) => {
    const packets = [];
    let last;
    while (packets.length < count) {
      last = await session.get();
      packets.push(...last.body.split("\x1e"));
    }
    return { ...last, body: packets.join("\x1e") };
  };
  await script(session, see, server);
  return trace;
}

// --- packets over a WebSocket -----------------------------------------------------------------

const ANSWER = Symbol("the next packet is waited for");

// What is sent on a socket of its own, behind "40" where the name does not say otherwise.
const CONVERSATIONS = {
  "an event": ['42["echo",1,"a",null,[],{}]'],
  "an event with an id": ['4212["ask","x"]', '420["ask"]', "4213[\"ask\",null]"],
  "an event that nobody handles": ['42["nobody"]'],
  "a question that nobody handles": ['425["nobody"]'],
  "an empty event": ["42[]"],
  "an event that is an object": ["42{}"],
  "an event that is a string": ['42"echo"'],
  "an event without a body": ["42"],
  "an event whose name is an object": ["42[{}]"],
  "an event whose name is null": ["42[null]"],
  "an event that is cut off": ['42["echo"'],
  "an event with something behind it": ['42["echo"]x'],
  "an event with spaces": ['42 ["echo"]'],
  "a reserved name": ['42["connect"]'],
  "another reserved name": ['42["disconnecting"]'],
  "an id that is too large for a number": ['4299999999999999999999["ask",1]'],
  "an answer that nobody waits for": ['437["x"]'],
  "an answer that is no list": ["437{}"],
  "an answer without an id": ['43["x"]'],
  "a type that is not there": ["47"],
  "a type that is a letter": ["4x"],
  "no type": ["4"],
  "an error from a client": ['44"x"'],
  "a disconnect": ["40/custom,", ANSWER, "41"],
  "a disconnect with a body": ["40/custom,", ANSWER, "41{}"],
  "a second connect": ["40"],
  "another namespace": ["40/custom,", ANSWER, '42/custom,5["ask","x"]', ANSWER, "41/custom,"],
  "another namespace without a comma": ["40/custom", ANSWER, '42/custom,5["ask","x"]'],
  "a namespace with a query": ["40/custom?a=b,", ANSWER],
  "a namespace that is not there": ["40/nowhere,", ANSWER],
  "a namespace by the name of a property": ["40/__proto__,", ANSWER],
  "a namespace without a token": ['40/admin,{"token":"x"}', ANSWER, '40/admin,{"token":"secret"}', ANSWER],
  "a namespace that matches": ["40/tenant/7,", ANSWER, '42/tenant/7,1["tenant"]'],
  "an event to a namespace that was not entered": ['42/custom,1["ask"]'],
  "a connect with a list": ["40/custom,[]"],
  "a connect with a string": ['40/custom,"x"'],
  "a connect that is cut off": ['40/custom,{"a":1'],
  "keys like those of a prototype": ['421["ask",{"__proto__":{"a":1}},{"constructor":2},{"toString":3}]'],
  "two keys alike": ['421["ask",{"a":1,"a":2}]'],
  "numbers": ["421[\"ask\",0,-0,1.0,1e2,1E-7,123456789012,0.1]"],
  "strings": ['421["ask","\\u0000","\\ud83d\\ude00","\\ud83d","\\/","é"]'],
  "a binary event": ['451-["echo",{"_placeholder":true,"num":0}]', Buffer.from([1, 2, 3])],
  "a binary event of two": [
    '452-["echo",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]',
    Buffer.from("zero"),
    Buffer.from("one"),
  ],
  "a binary event with an id": [
    '451-8["ask",{"a":[{"_placeholder":true,"num":0}]}]',
    Buffer.from("x"),
  ],
  "a binary event in a namespace": [
    "40/custom,",
    ANSWER,
    '451-/custom,8["ask",{"_placeholder":true,"num":0}]',
    Buffer.from("x"),
  ],
  "a binary event of none": ['450-["echo",1]'],
  "a binary event without a count": ['45["echo"]'],
  "a binary event without a dash": ['451["echo"]'],
  "a placeholder beyond the count": ['451-["echo",{"_placeholder":true,"num":1}]', Buffer.from("x")],
  "a placeholder of less than none": ['451-["echo",{"_placeholder":true,"num":-1}]', Buffer.from("x")],
  "a placeholder that is no number": ['451-["echo",{"_placeholder":true,"num":"0"}]', Buffer.from("x")],
  "text where an attachment is owed": ['451-["echo",{"_placeholder":true,"num":0}]', '42["echo"]'],
  "an attachment that nobody asked for": [Buffer.from("x")],
  "placeholders in an event that is not binary": ['42["echo",{"_placeholder":true}]'],
  "a ping from a client": ["2"],
  "a probe outside of an upgrade": ["2probe"],
  "a pong that nobody asked for": ["3"],
  "an upgrade that nobody asked for": ["5"],
  "a noop from a client": ["6"],
  "an opening from a client": ["0"],
  "a packet that is not there": ["9"],
  "an empty frame": [""],
  "a close": ["1"],
  "an event before the connect (raw)": ['42["echo"]'],
  "a disconnect before the connect (raw)": ["41"],
  "an answer before the connect (raw)": ['431["x"]'],
  "only another namespace (raw)": ["40/custom,", ANSWER, '42/custom,1["ask"]'],
  "a connect with an empty namespace (raw)": ["40,", ANSWER],
  "a connect with the main namespace by name (raw)": ["40/,", ANSWER],
};

// Everything that comes until the answer to a last question, or until the end.
async function traceConversation(server, name, packets) {
  const socket = await openSocket(server);
  const seen = new Map();
  const trace = [tidy(JSON.stringify(socket.open))];
  const raw = name.endsWith("(raw)");
  const custom = packets[0] === "40/custom," && (raw || packets[2].startsWith("41"));
  const hear = async () => {
    const packet = await socket.next().catch(() => undefined);
    if (packet === undefined) trace.push(await socket.closed());
    else trace.push(typeof packet === "string" ? tidy(packet, seen) : packet.toString("hex"));
    return packet;
  };
  if (!raw) await socket.connect();
  for (const packet of [...packets, custom ? '42/custom,99["ask","end"]' : '4299["ask","end"]']) {
    if (packet === ANSWER) await hear();
    else socket.send(packet);
  }
  let last;
  do last = await hear();
  while (last !== undefined && !String(last).endsWith('99["end"]'));
  socket.destroy();
  return trace;
}

// --- the upgrade ------------------------------------------------------------------------------

const UPGRADES = {
  async "in order"(session, see, server) {
    const socket = await openSocket(server, { sid: session.open.sid });
    const poll = session.get();
    socket.send("2probe");
    see("probe", await socket.next());
    see("poll", answer(await poll));
    socket.send("5", '421["ask","over the new one"]');
    see("answer", await socket.next());
    see("a poll afterwards", answer(await session.get()));
    see("a post afterwards", answer(await session.post('42["echo"]')));
    socket.destroy();
  },
  async "a probe with other words"(session, see, server) {
    const socket = await openSocket(server, { sid: session.open.sid });
    socket.send("2hello");
    see("end", await socket.closed());
    await session.send('421["ask","still here"]');
    see("session", answer(await session.get()));
  },
  async "without a probe"(session, see, server) {
    const socket = await openSocket(server, { sid: session.open.sid });
    socket.send('42["echo"]');
    see("end", await socket.closed());
    await session.send('421["ask","still here"]');
    see("session", answer(await session.get()));
  },
  async "broken off after the probe"(session, see, server) {
    const socket = await openSocket(server, { sid: session.open.sid });
    socket.send("2probe");
    see("probe", await socket.next());
    socket.destroy();
    await session.send('421["ask","still here"]');
    const body = await session.next();
    see("session", body === "6" ? await session.next() : body);
  },
  async "tried again after it was broken off"(session, see, server) {
    const first = await openSocket(server, { sid: session.open.sid });
    first.socket.close();
    await first.closed();
    const socket = await openSocket(server, { sid: session.open.sid });
    socket.send("2probe");
    see("probe", await socket.next());
    socket.send("5", '421["ask","here"]');
    see("answer", await socket.next());
    socket.destroy();
  },
  async "two at a time"(session, see, server) {
    const first = await openSocket(server, { sid: session.open.sid });
    first.send("2probe");
    see("probe", await first.next());
    const second = await openSocket(server, { sid: session.open.sid });
    see("second", await second.closed());
    first.send("5", '421["ask","here"]');
    see("first", await first.next());
    const third = await openSocket(server, { sid: session.open.sid });
    see("third", await third.closed());
    first.send('422["ask","still here"]');
    see("first", await first.next());
    first.destroy();
  },
};

async function traceUpgrade(server, script) {
  const trace = [];
  const session = await (await openPolling(server)).connect();
  await script(session, (name, value) => trace.push([name, value]), server);
  return trace;
}

// --- the unmodified client --------------------------------------------------------------------

async function traceClient(server, transports) {
  const trace = [];
  const guest = new Guest(server.url, { transports });
  const { socket } = guest;
  const manager = socket.io;
  const told = (arg) => (typeof arg === "function" ? "an acknowledgement" : arg);
  socket.onAny((event, ...args) => trace.push([event, ...(event === "welcome" ? [] : args.map(told))]));
  socket.onAnyOutgoing((event) => trace.push(["out", event]));
  socket.on("disconnect", (reason) => trace.push(["disconnect", reason]));
  await guest.connected();
  await guest.next("welcome");
  trace.push(["ask", await guest.ask("ask", { a: Buffer.from("b"), list: [] }, null)]);
  trace.push(["fail", await guest.ask("fail", "code", [1])]);
  socket.on("sum", (a, b, ack) => ack(a + b));
  trace.push(["call", await guest.emit("call", "sum", 1, 2).next("answered")]);
  await guest.ask("join", "room");
  trace.push(["shout", await guest.emit("shout", "room", Buffer.from("x"), {}).next("told")]);
  guest.emit("leave_me");
  trace.push(["reason", await guest.disconnected()]);
  socket.emit("echo", "kept until it is back");
  socket.connect();
  await guest.connected();
  trace.push(["kept", await guest.next("echo")]);
  socket.disconnect();
  manager.engine.close();
  return trace;
}

// --- where we differ, and why -----------------------------------------------------------------

const OPENED = '{"sid":"<0>","upgrades":[],"pingInterval":20000,"pingTimeout":15000,"maxPayload":10000}';
const CLOSED = [OPENED, { code: 1005, reason: "" }];
const UNSUPPORTED = [400, "Unsupported protocol version"];
const BAD_REQUEST = {
  status: 400,
  body: '{"code":3,"message":"Bad request"}',
  "content-type": "application/json",
  "cache-control": undefined,
  "content-encoding": undefined,
  "access-control-allow-origin": undefined,
};

// What moonwire does in place of what the reference server does. An entry that has become
// superfluous fails.
const DIFFERENCES = {
  // The reference server completes the handshake and then writes an HTTP answer into the WebSocket.
  "handshakes of another version": OF_ANOTHER_VERSION.map((query) => [query, UNSUPPORTED]),
  // It answers 500 without a word.
  "polling: another method": [
    ["put", BAD_REQUEST],
    ["delete", BAD_REQUEST],
  ],
  // It lets these pass as events without a name, or ignores them; here a malformed packet closes.
  "packets: an event without a body": CLOSED,
  "packets: an answer without an id": CLOSED,
  // It rounds the id, and its answer is one to nobody.
  "packets: an id that is too large for a number": CLOSED,
  // It takes the space for the id 0.
  "packets: an event with spaces": [OPENED, '42["echo"]', '4399["end"]'],
  // It ignores the packet by which the document lets a client close.
  "packets: a close": CLOSED,
  // It leaves who asks waiting.
  "packets: a question that nobody handles": [
    OPENED,
    '435[{"error":"not_found"}]',
    '4399["end"]',
  ],
};

// --- both -------------------------------------------------------------------------------------

describe("what a client observes", () => {
  const servers = [];
  const ours = KINDS.includes("moonwire") ? "moonwire" : "reference";

  before(async () => {
    for (const kind of ["reference", ours]) servers.push(await start(kind, OPTIONS));
  });
  after(async () => {
    for (const server of servers) await server.stop();
  });

  const compare = (name, observe) =>
    test(name, async () => {
      const [reference, server] = servers;
      const expected = await observe(reference);
      const seen = await observe(server);
      if (server.kind === "reference" || !DIFFERENCES[name]) return assert.deepEqual(seen, expected);
      assert.notDeepEqual(seen, expected);
      return assert.deepEqual(seen, DIFFERENCES[name]);
    });

  compare("requests without a session", traceRequests);
  compare("handshakes", (server) => traceHandshakes(server, HANDSHAKES));
  compare("handshakes of another version", (server) => traceHandshakes(server, OF_ANOTHER_VERSION));
  for (const [name, script] of Object.entries(SESSIONS)) {
    compare(`polling: ${name}`, (server) => traceSession(server, script));
  }
  for (const [name, packets] of Object.entries(CONVERSATIONS)) {
    compare(`packets: ${name}`, (server) => traceConversation(server, name, packets));
  }
  for (const [name, script] of Object.entries(UPGRADES)) {
    compare(`upgrade: ${name}`, (server) => traceUpgrade(server, script));
  }
  for (const transports of [["polling"], ["websocket"]]) {
    compare(`the client over ${transports}`, (server) => traceClient(server, transports));
  }
});
