// The closing handshake (RFC 6455 sections 5.5.1, 7.1 and 7.4): its codes and reasons, and what comes
// after it, which nobody hears. A close frame is answered with its own code.
"use strict";

const { BINARY, CLOSE, PING, TEXT, closeFrame, frame } = require("../wire.js");
const { END, begin, beginningOfFrame, bytes, last, letters, pong, text } = require("./runner.js");

const long = "0123456789abcdef".repeat(16384); // 256 KiB

const order = [
  {
    name: "a text, then a close",
    sent: [frame(TEXT, "Hello!"), END],
    answers: [text("Hello!")],
    code: 1000,
  },
  { name: "two closes", sent: [END, END], answers: [], code: 1000 },
  {
    name: "two closes with different codes",
    sent: [closeFrame(1001), closeFrame(1002)],
    answers: [],
    code: 1001,
  },
  { name: "a close, then a ping", sent: [END, frame(PING, "late")], answers: [], code: 1000 },
  { name: "a close, then a text", sent: [END, frame(TEXT, "late")], answers: [], code: 1000 },
  {
    name: "a close, then what breaks the rules",
    sent: [END, frame(3, "late", { rsv: 7 })],
    answers: [],
    code: 1000,
  },
  {
    name: "a close, then half a frame",
    sent: [END, beginningOfFrame(BINARY, "late", 1000)],
    answers: [],
    code: 1000,
  },
  {
    name: "a beginning, a close, the end",
    sent: [begin("one"), END, last("two")],
    answers: [],
    code: 1000,
  },
  {
    name: "a text of 256 KiB, a text, a close, a ping",
    sent: [frame(TEXT, long), frame(TEXT, "Hello!"), END, frame(PING, "late")],
    answers: [text(long), text("Hello!")],
    code: 1000,
  },
  {
    name: "a hundred texts, a ping and a close",
    sent: [...Array(100).keys()]
      .map((n) => frame(TEXT, `text ${n}`))
      .concat(frame(PING, "ping"), END),
    answers: [...Array(100).keys()].map((n) => text(`text ${n}`)).concat([pong("ping")]),
    code: 1000,
  },
  {
    name: "what breaks the rules, then a close",
    sent: [frame(TEXT, "", { rsv: 1 }), END],
    answers: [],
    code: 1002,
  },
];

const lengths = [
  { name: "a close without payload", sent: [frame(CLOSE)], answers: [], code: null },
  { name: "a close with one byte", sent: [frame(CLOSE, bytes(3))], answers: [], code: 1002 },
  { name: "a close with a code", sent: [closeFrame(1000)], answers: [], code: 1000 },
  {
    name: "a close with a code and a reason",
    sent: [closeFrame(1000, "going home")],
    answers: [],
    code: 1000,
  },
  {
    name: "a close with a reason of 123 bytes",
    sent: [closeFrame(1000, letters(123))],
    answers: [],
    code: 1000,
  },
  {
    name: "a close with a reason of 124 bytes",
    sent: [closeFrame(1000, letters(124))],
    answers: [],
    code: 1002,
  },
  {
    name: "a close with a reason of 1000 bytes",
    sent: [closeFrame(1000, letters(1000))],
    answers: [],
    code: 1002,
  },
];

// Section 7.4.1, IANA's registry of close codes, and section 7.4.2.
const VALID = [
  1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999,
];
const INVALID = [
  0, 1, 255, 256, 999, 1004, 1005, 1006, 1015, 1016, 1100, 1999, 2000, 2999, 5000, 65535,
];

const codes = [
  ...VALID.map((code) => ({
    name: `the code ${code}`,
    sent: [closeFrame(code)],
    answers: [],
    code,
  })),
  ...VALID.map((code) => ({
    name: `the code ${code} with a reason`,
    sent: [closeFrame(code, "why")],
    answers: [],
    code,
  })),
  ...INVALID.map((code) => ({
    name: `the code ${code}`,
    sent: [closeFrame(code)],
    answers: [],
    code: 1002,
  })),
  ...INVALID.map((code) => ({
    name: `the code ${code} with a reason`,
    sent: [closeFrame(code, "why")],
    answers: [],
    code: 1002,
  })),
];

// "/bye" answers the first message and closes. What comes then is not answered, whatever it is, until
// the client's own close frame.
const bye = (name, ...late) => ({
  name,
  sent: [frame(TEXT, "bye"), ...late],
  answers: [text("last words")],
  code: 1000,
  target: "/bye",
});

const byServer = [
  bye("answered by a close", END),
  bye("answered by a close with another code", closeFrame(1001, "me too")),
  bye("answered by a close without a code", frame(CLOSE)),
  bye("a text before the answer", frame(TEXT, "late"), END),
  bye("a ping before the answer", frame(PING, "late"), END),
  bye("the beginning of a message before the answer", begin("late"), END),
  bye("a whole message in fragments before the answer", begin("one"), last("two"), END),
  bye("a text of 256 KiB before the answer", frame(TEXT, long), END),
  bye("answered by what breaks the rules", frame(3, "late", { rsv: 7 })),
  bye("answered by a text that is not UTF-8", frame(TEXT, bytes(0xff))),
  bye("answered by a close with a code that must not be", closeFrame(1005)),
];

module.exports = {
  "the order of a close": order,
  "the length of a close": lengths,
  "the codes of a close": codes,
  "a close by the server": byServer,
};
