// What the compressed traffic is made of: five kinds of data, from readable to incompressible, the
// same in every run.
"use strict";

const KIB = 1024;
const SIZE = 512 * KIB;

// Numbers below 2^24 from a linear congruential generator.
function dice(seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 8;
  };
}

function repeatUntil(size, make) {
  const pieces = [];
  for (let length = 0; length < size; length += pieces[pieces.length - 1].length)
    pieces.push(make());
  return pieces.join("");
}

const SYLLABLES =
  "an be der für grüß in ken lich mäd mond nacht schloß sei tal über wer wind zu".split(" ");

function word(roll) {
  return Array.from({ length: 1 + (roll() % 3) }, () => SYLLABLES[roll() % SYLLABLES.length]).join(
    "",
  );
}

function prose() {
  const roll = dice(1);
  return repeatUntil(SIZE, () => `${word(roll)}${roll() % 9 ? " " : ".\n"}`);
}

function json() {
  const roll = dice(2);
  return repeatUntil(SIZE, () => {
    const value = {
      id: roll(),
      name: word(roll),
      at: [roll() / 1000, roll() / 1000],
      on: roll() % 2 === 0,
    };
    return `${JSON.stringify(value)},\n`;
  });
}

function html() {
  const roll = dice(3);
  return repeatUntil(
    SIZE,
    () => `<li class="row-${roll() % 7}"><a href="/${word(roll)}">${word(roll)}</a></li>\n`,
  );
}

// Grey values that change slowly, with a little noise.
function image() {
  const roll = dice(4);
  return Buffer.from(
    Uint8Array.from(
      { length: SIZE },
      (_, at) => 128 + 60 * Math.sin(at / 512 / 40) + ((at % 512) >> 3) + (roll() % 4),
    ),
  );
}

// Half of it noise, as documents with pictures are.
function mixed() {
  const roll = dice(5);
  const result = Buffer.from(prose()).subarray(0, SIZE);
  for (let at = 0; at < SIZE; at++) if ((at >> 12) % 2) result[at] = roll();
  return result;
}

// `count` pieces of `size` bytes, one behind the other and round again. Text is cut between characters
// and filled up.
function pieces(data, size, count) {
  const isText = typeof data === "string";
  const all = Buffer.from(data);
  let at = 0;
  return Array.from({ length: count }, () => {
    if (at + size > all.length) at = 0;
    let end = at + size;
    if (isText) while (end < all.length && (all[end] & 0xc0) === 0x80) end--;
    const piece = Buffer.alloc(size, "-");
    all.copy(piece, 0, at, end);
    at = end;
    return piece;
  });
}

// Repetitions over every distance that tells one window from the next: a compressor whose window were
// too large would be found out by an inflater of the right one. What is between does not repeat, but has
// only a few letters, so that the whole becomes shorter in any case.
function distances() {
  const roll = dice(6);
  const noise = (size) => Buffer.from(Uint8Array.from({ length: size }, () => roll() >> 19));
  const theme = noise(100);
  const gaps = [300, 600, 1200, 2500, 5000, 10_000, 20_000];
  return Buffer.concat([theme, ...gaps.flatMap((gap) => [noise(gap), theme])]);
}

module.exports = { distances, html, image, json, mixed, pieces, prose };
