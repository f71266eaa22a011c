// Text is UTF-8 (RFC 6455 section 8.1, RFC 3629): in one frame, in fragments that cut its characters,
// compressed, and in the reason of a close. Not to be UTF-8 is noticed at the first byte that
// cannot stand where it does, not at the end of the message. The sequences are those of Markus Kuhn's
// stress test for decoders.
"use strict";

const { BINARY, PING, TEXT, closeFrame, frame } = require("../wire.js");
const runner = require("./runner.js");

const {
  COMPRESSED,
  END,
  begin,
  beginningOfFrame,
  binary,
  bytes,
  deflate,
  fragments,
  last,
  letters,
  middle,
  pong,
  text,
} = runner;

const DEFLATE = "permessage-deflate";
const BRIEFLY = ["in one write", "octet by octet"];
const AT_LENGTH = ["in one write", "in pieces"];

const hex = (digits) => Buffer.from(digits.replaceAll(" ", ""), "hex");
const range = (from, to) => [...Array(to - from + 1).keys()].map((n) => from + n);

// --- the sequences

const GREEK = hex("cebae1bdb9cf83cebcceb5"); // the word kosme, whose second letter has three bytes

const VALID = {
  "one byte to four": range(0, 3).map((n) => Buffer.from(`hello${["$", "¢", "€", "𤭢"][n]}world`)),
  Greek: [GREEK],
  "the first of each length": ["00", "c280", "e0a080", "f0908080"].map(hex),
  "the last of each length": ["7f", "dfbf", "efbfbf", "f48fbfbf"].map(hex),
  "around the surrogates": ["ed9fbf", "ee8080"].map(hex),
  specials: range(0xfff9, 0xffff).map((point) => Buffer.from(String.fromCodePoint(point))),
  "a byte order mark": [hex("efbbbf"), hex("efbbbf61")],
  "no characters": [
    ...range(0xfdd0, 0xfdef).map((point) => Buffer.from(String.fromCodePoint(point))),
    ...range(0, 16)
      .flatMap((plane) => ["fffe", "ffff"].map((low) => parseInt(low, 16) + plane * 0x10000))
      .map((point) => Buffer.from(String.fromCodePoint(point))),
  ],
};

const INCOMPLETE = [
  "c0",
  "e080",
  "f08080",
  "f8808080",
  "fc80808080",
  "df",
  "efbf",
  "f7bfbf",
  "fbbfbfbf",
  "fdbfbfbfbf",
];
const HIGH = ["eda080", "edadbf", "edae80", "edafbf"];
const LOW = ["edb080", "edbe80", "edbfbf"];
const lonely = (from, to) => Buffer.from(range(from, to).flatMap((byte) => [byte, 0x20]));

const INVALID = {
  "the first of five and six bytes": ["f888808080", "fc8480808080"].map(hex),
  "the last beyond U+10FFFF": ["f7bfbfbf", "fbbfbfbfbf", "fdbfbfbfbfbf"].map(hex),
  "just beyond U+10FFFF": ["f4908080", "f5808080"].map(hex),
  "continuation bytes": [1, 2, 3, 4, 5, 6, 7]
    .map((count) => hex("80bf80bf80bf80".slice(0, 2 * count)))
    .concat(hex("bf")),
  "all continuation bytes": [Buffer.from(range(0x80, 0xbf))],
  "lonely start bytes": [
    lonely(0xc0, 0xdf),
    lonely(0xe0, 0xef),
    lonely(0xf0, 0xf7),
    lonely(0xf8, 0xfb),
    lonely(0xfc, 0xfd),
  ],
  "without their last byte": INCOMPLETE.map(hex),
  "many without their last byte": [hex(INCOMPLETE.join(""))],
  "without their last byte, before a letter": ["df61", "efbf61", "f48fbf61", "ce20"].map(hex),
  "impossible bytes": ["fe", "ff", "fefeffff"].map(hex),
  "an overlong slash": ["c0af", "e080af", "f08080af", "f8808080af", "fc80808080af"].map(hex),
  "the longest overlong": ["c1bf", "e09fbf", "f08fbfbf", "f887bfbfbf", "fc83bfbfbfbf"].map(hex),
  "an overlong NUL": ["c080", "e08080", "f0808080", "f880808080", "fc8080808080"].map(hex),
  surrogates: [...HIGH, ...LOW].map(hex),
  "pairs of surrogates": HIGH.flatMap((high) => ["edb080", "edbfbf"].map((low) => hex(high + low))),
  "a surrogate between letters": [Buffer.concat([GREEK, hex("eda080"), Buffer.from("edited")])],
};

// How many bytes there are up to and with the first that cannot stand where it does; 0: every one of
// them can, though more may be wanted.
function bytesToTheBad(sequence) {
  let wanted = 0;
  let low = 0x80;
  let high = 0xbf;
  for (const [index, byte] of sequence.entries()) {
    if (wanted) {
      if (byte < low || byte > high) return index + 1;
      wanted--;
      [low, high] = [0x80, 0xbf];
    } else if (byte >= 0x80) {
      if (byte < 0xc2 || byte > 0xf4) return index + 1;
      wanted = byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3;
      low = { 0xe0: 0xa0, 0xf0: 0x90 }[byte] || 0x80;
      high = { 0xed: 0x9f, 0xf4: 0x8f }[byte] || 0xbf;
    }
  }
  return 0;
}

// --- cases from a sequence

const compressed = (payload) => frame(TEXT, deflate(payload), { rsv: COMPRESSED });
const behindLetters = (sequence, count) => Buffer.concat([Buffer.from(letters(count)), sequence]);

function goodCases(name, sequence) {
  const far = behindLetters(sequence, 1000);
  return [
    { name, sent: [frame(TEXT, sequence), END], answers: [text(sequence)], code: 1000 },
    {
      name: `${name}, in fragments`,
      sent: [...fragments(TEXT, sequence, 1), END],
      answers: [text(sequence)],
      code: 1000,
      ways: BRIEFLY,
    },
    {
      name: `${name}, behind letters`,
      sent: [frame(TEXT, far), END],
      answers: [text(far)],
      code: 1000,
      ways: AT_LENGTH,
    },
    {
      name: `${name}, compressed`,
      sent: [compressed(sequence), END],
      answers: [text(sequence)],
      code: 1000,
      offer: DEFLATE,
      ways: BRIEFLY,
    },
    {
      name: `${name}, in a reason`,
      sent: [closeFrame(1000, sequence.subarray(0, 123))],
      answers: [],
      code: 1000,
      ways: BRIEFLY,
    },
  ];
}

function badCases(name, sequence) {
  const far = behindLetters(sequence, 1000);
  const good = Buffer.from("good ");
  const cases = [
    { name, sent: [frame(TEXT, sequence), END], answers: [], code: 1007 },
    {
      name: `${name}, in fragments`,
      sent: [...fragments(TEXT, sequence, 1), END],
      answers: [],
      code: 1007,
      ways: BRIEFLY,
    },
    {
      name: `${name}, behind letters`,
      sent: [frame(TEXT, far), END],
      answers: [],
      code: 1007,
      ways: AT_LENGTH,
    },
    {
      name: `${name}, in the last fragment`,
      sent: [begin(good), last(sequence), END],
      answers: [],
      code: 1007,
      ways: BRIEFLY,
    },
    {
      name: `${name}, in binary data`,
      sent: [frame(BINARY, sequence), END],
      answers: [binary(sequence)],
      code: 1000,
      ways: BRIEFLY,
    },
    {
      name: `${name}, compressed`,
      sent: [compressed(sequence), END],
      answers: [],
      code: 1007,
      offer: DEFLATE,
      ways: BRIEFLY,
    },
    {
      name: `${name}, in a reason`,
      sent: [closeFrame(1000, sequence.subarray(0, 123))],
      answers: [],
      code: 1007,
      ways: BRIEFLY,
    },
  ];
  const count = bytesToTheBad(sequence);
  if (count) {
    const soFar = Buffer.concat([good, sequence.subarray(0, count)]);
    cases.push(
      {
        name: `${name}: nothing behind the bad byte of a frame`,
        sent: [beginningOfFrame(TEXT, soFar, 500)],
        answers: [],
        code: 1007,
      },
      {
        name: `${name}: nothing behind the bad fragment`,
        sent: [begin(good), middle(sequence.subarray(0, count))],
        answers: [],
        code: 1007,
      },
    );
  } else {
    cases.push({
      name: `${name}: it might go on until the message ends`,
      sent: [begin(sequence), frame(PING, "not yet"), last("")],
      answers: [pong("not yet")],
      code: 1007,
    });
  }
  return cases;
}

function casesOf(table, make) {
  return Object.entries(table).flatMap(([name, sequences]) =>
    sequences.flatMap((sequence) =>
      make(`${name}: ${sequence.subarray(0, 8).toString("hex")}`, sequence),
    ),
  );
}

// Each beginning of a text is text if it ends between two characters.
const beginnings = range(1, GREEK.length).flatMap((length) => {
  const sequence = GREEK.subarray(0, length);
  const isText = GREEK.toString().startsWith(sequence.toString());
  return (isText ? goodCases : badCases)(`${length} bytes of Greek`, sequence);
});

// --- whole messages

const SENTENCE = Buffer.from("Hello-µ@ßöäüàá-UTF-8!!");
const cut = (at) => [begin(SENTENCE.subarray(0, at)), last(SENTENCE.subarray(at)), END];

const messages = [
  { name: "a sentence", sent: [frame(TEXT, SENTENCE), END], answers: [text(SENTENCE)], code: 1000 },
  ...range(1, SENTENCE.length - 1).map((at) => ({
    name: `a sentence cut after ${at} bytes`,
    sent: cut(at),
    answers: [text(SENTENCE)],
    code: 1000,
    ways: BRIEFLY,
  })),
  {
    name: "a sentence in a fragment for each byte, with pings",
    sent: [
      begin(""),
      ...[...SENTENCE].flatMap((byte) => [middle(bytes(byte)), frame(PING)]),
      last(""),
      END,
    ],
    answers: [...[...SENTENCE].map(() => pong()), text(SENTENCE)],
    code: 1000,
  },
];

// A character beyond U+10FFFF, cut before and within its bytes: the first part is fine, and the
// second is refused although the third has not been sent.
const late = [11, 12].flatMap((at) => {
  const wrong = Buffer.concat([GREEK, hex("f4908080"), Buffer.from("edited")]);
  const parts = [wrong.subarray(0, at), wrong.subarray(at, at + 1 + (at === 11 ? 1 : 0))];
  return [
    {
      name: `a bad character in the second fragment, from byte ${at}`,
      sent: [begin(parts[0]), frame(PING, "so far"), middle(parts[1])],
      answers: [pong("so far")],
      code: 1007,
    },
    {
      name: `a bad character in the second part of a frame, from byte ${at}`,
      sent: [beginningOfFrame(TEXT, Buffer.concat(parts), wrong.length)],
      answers: [],
      code: 1007,
    },
  ];
});

// Every character there is, 4096 to a message.
const everything = range(0, 0x10f).map((block) => {
  const points = range(block * 4096, block * 4096 + 4095).filter(
    (point) => point < 0xd800 || point > 0xdfff,
  );
  return points.map((point) => String.fromCodePoint(point)).join("");
});
const all = {
  name: "every character there is",
  sent: [...everything.map((each) => frame(TEXT, each)), END],
  answers: everything.map(text),
  code: 1000,
  ways: ["in one write", "frame by frame"],
};

module.exports = {
  "UTF-8 in messages": [...messages, ...late, all],
  "what is UTF-8": [...casesOf(VALID, goodCases), ...beginnings],
  "what is not UTF-8": casesOf(INVALID, badCases),
};
