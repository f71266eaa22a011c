// Messages of several frames, and control frames between them (RFC 6455 section 5.4). Every way in
// which the bytes arrive is the runner's business.
"use strict";

const { BINARY, CLOSE, PING, PONG, TEXT, closeFrame, frame } = require("../wire.js");
const {
  END,
  begin,
  binary,
  bytes,
  fragments,
  last,
  letters,
  middle,
  pong,
  text,
} = require("./runner.js");

// --- what may not be fragmented

const control = [
  {
    name: "a ping in two fragments",
    sent: [begin("one", PING), last("two")],
    answers: [],
    code: 1002,
  },
  {
    name: "a pong in two fragments",
    sent: [begin("one", PONG), last("two")],
    answers: [],
    code: 1002,
  },
  {
    name: "a close in two fragments",
    sent: [begin(bytes(3, 232), CLOSE), last("two")],
    answers: [],
    code: 1002,
  },
  { name: "an empty ping that is not final", sent: [begin("", PING)], answers: [], code: 1002 },
  {
    name: "a ping in two fragments, within a message",
    sent: [begin("one"), begin("p", PING), last("two")],
    answers: [],
    code: 1002,
  },
];

// --- messages in fragments, and what may stand between them

const whole = [
  {
    name: "a text in two fragments",
    sent: [begin("one"), last("two"), END],
    answers: [text("onetwo")],
    code: 1000,
  },
  {
    name: "binary data in two fragments",
    sent: [begin(bytes(0, 255), BINARY), last(bytes(254)), END],
    answers: [binary(bytes(0, 255, 254))],
    code: 1000,
  },
  {
    name: "a text in one fragment for each byte",
    sent: [...fragments(TEXT, letters(40), 1), END],
    answers: [text(letters(40))],
    code: 1000,
  },
  {
    name: "a text in empty fragments",
    sent: [begin(""), middle(""), last(""), END],
    answers: [text("")],
    code: 1000,
  },
  {
    name: "empty fragments before, between and behind",
    sent: [begin(""), middle("a"), middle(""), middle("b"), last(""), END],
    answers: [text("ab")],
    code: 1000,
  },
  {
    name: "fragments of every length's form",
    sent: [
      begin(letters(125)),
      middle(letters(126)),
      middle(letters(65535)),
      last(letters(65536)),
      END,
    ],
    answers: [text(letters(125 + 126 + 65535 + 65536))],
    code: 1000,
  },
  {
    name: "two messages in fragments, one after the other",
    sent: [begin("a"), last("b"), begin("c", BINARY), last("d"), frame(TEXT, "e"), END],
    answers: [text("ab"), binary("cd"), text("e")],
    code: 1000,
  },
];

const between = [
  {
    name: "a ping between two fragments",
    sent: [begin("one"), frame(PING, "ping"), last("two"), END],
    answers: [pong("ping"), text("onetwo")],
    code: 1000,
  },
  {
    name: "a pong between two fragments",
    sent: [begin("one"), frame(PONG, "unasked"), last("two"), END],
    answers: [text("onetwo")],
    code: 1000,
  },
  {
    name: "a ping of 125 bytes between two fragments",
    sent: [begin("one"), frame(PING, letters(125)), last("two"), END],
    answers: [pong(letters(125)), text("onetwo")],
    code: 1000,
  },
  {
    name: "pings between five fragments",
    sent: [
      begin("1"),
      middle("2"),
      frame(PING, "a"),
      middle("3"),
      middle("4"),
      frame(PING, "b"),
      last("5"),
      END,
    ],
    answers: [pong("a"), pong("b"), text("12345")],
    code: 1000,
  },
  {
    name: "pings around fragments without payload",
    sent: [
      begin(""),
      frame(PING, "a"),
      middle(""),
      frame(PING, "b"),
      last(""),
      frame(PING, "c"),
      END,
    ],
    answers: [pong("a"), pong("b"), text(""), pong("c")],
    code: 1000,
  },
  {
    name: "a close between two fragments",
    sent: [begin("one"), closeFrame(1000), last("two")],
    answers: [],
    code: 1000,
  },
];

// --- what cannot be continued, or may not be begun

const first = frame(TEXT, "whole");
const orphans = [
  { name: "a final continuation of nothing", sent: [last("lost"), first], answers: [], code: 1002 },
  {
    name: "a continuation of nothing, not final",
    sent: [middle("lost"), first],
    answers: [],
    code: 1002,
  },
  { name: "an empty continuation of nothing", sent: [last("")], answers: [], code: 1002 },
  {
    name: "a continuation behind a text",
    sent: [first, last("lost"), first],
    answers: [text("whole")],
    code: 1002,
  },
  {
    name: "a final continuation behind a message in fragments",
    sent: [begin("one"), last("two"), last("lost"), first],
    answers: [text("onetwo")],
    code: 1002,
  },
  {
    name: "a continuation, not final, behind a message in fragments",
    sent: [begin("one"), last("two"), middle("lost"), first],
    answers: [text("onetwo")],
    code: 1002,
  },
  {
    name: "twice a continuation, not final, before a message in fragments",
    sent: [middle("lost"), begin("one"), last("two"), middle("lost"), begin("one"), last("two")],
    answers: [],
    code: 1002,
  },
  {
    name: "twice a final continuation before a message in fragments",
    sent: [last("lost"), begin("one"), last("two"), last("lost"), begin("one"), last("two")],
    answers: [],
    code: 1002,
  },
  {
    name: "a continuation of nothing behind a ping",
    sent: [frame(PING, "ping"), last("lost")],
    answers: [pong("ping")],
    code: 1002,
  },
];

const nested = [
  {
    name: "a text within a text",
    sent: [begin("one"), frame(TEXT, "two")],
    answers: [],
    code: 1002,
  },
  {
    name: "binary data within a text",
    sent: [begin("one"), frame(BINARY, "two")],
    answers: [],
    code: 1002,
  },
  {
    name: "a text within binary data",
    sent: [begin("one", BINARY), frame(TEXT, "two")],
    answers: [],
    code: 1002,
  },
  {
    name: "a text that begins twice",
    sent: [begin("one"), begin("two"), last("three")],
    answers: [],
    code: 1002,
  },
  {
    name: "a text within a text without payload",
    sent: [begin(""), frame(TEXT, "")],
    answers: [],
    code: 1002,
  },
  {
    name: "a text within a text, behind a ping",
    sent: [begin("one"), frame(PING, "ping"), frame(TEXT, "two")],
    answers: [pong("ping")],
    code: 1002,
  },
];

// The size of a network's packets, as a client that streams a file would choose it.
const long = letters(65536);
const automatic = [
  {
    name: "a text of 65536 in frames of 1300",
    sent: [...fragments(TEXT, long, 1300), END],
    answers: [text(long)],
    code: 1000,
  },
  {
    name: "binary data of 65536 in frames of 1300",
    sent: [...fragments(BINARY, long, 1300), END],
    answers: [binary(long)],
    code: 1000,
  },
];

module.exports = {
  "fragmented control frames": control,
  "messages in fragments": [...whole, ...automatic],
  "control frames between fragments": between,
  "continuations of nothing": orphans,
  "messages within messages": nested,
};
