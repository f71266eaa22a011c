// A TCP proxy that breaks connections: each one after a number of bytes that it draws, in either
// direction, in the middle of whatever is being said. What it has not passed on by then is lost.
"use strict";

const net = require("node:net");

// The same numbers again for the same seed (xorshift). Without a seed of MOONWIRE_SEED: another.
function dice(seed = Number(process.env.MOONWIRE_SEED) || (Date.now() % 0x7fffffff) + 1) {
  let state = seed >>> 0;
  const below = (bound) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % bound;
  };
  return { seed, below };
}

class Cutter {
  // `down` and `up`: at most so many bytes from the server and from the client until a cut.
  constructor(target, { random, down = 60_000, up = 2_000 }) {
    Object.assign(this, { target, random, down, up, cuts: 0, cutting: true });
    this.sockets = new Set();
    this.server = net.createServer((socket) => this.accept(socket));
  }

  async listen() {
    await new Promise((resolve) => this.server.listen(0, "127.0.0.1", resolve));
    this.port = this.server.address().port;
    this.url = `http://127.0.0.1:${this.port}`;
    return this;
  }

  accept(near) {
    const far = net.connect({ port: this.target.port, host: "127.0.0.1", noDelay: true });
    near.setNoDelay(true);
    const end = () => {
      near.destroy();
      far.destroy();
    };
    for (const socket of [near, far]) {
      this.sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        this.sockets.delete(socket);
        end();
      });
    }
    this.pass(far, near, this.random.below(this.down), end);
    // Most of what a client says is its first words: some are cut there.
    const words = this.random.below(4) ? Infinity : this.random.below(this.up);
    this.pass(near, far, words, end);
  }

  pass(from, to, until, end) {
    let passed = 0;
    from.on("data", (bytes) => {
      const left = this.cutting ? until - passed : Infinity;
      passed += bytes.length;
      if (bytes.length <= left) {
        if (!to.write(bytes)) {
          from.pause();
          to.once("drain", () => from.resume());
        }
        return;
      }
      this.cuts++;
      from.pause();
      // The last bytes go out before the end does.
      to.end(bytes.subarray(0, Math.max(left, 0)), () => setImmediate(end));
    });
  }

  // From now on connections stay.
  calm() {
    this.cutting = false;
  }

  close() {
    this.sockets.forEach((socket) => socket.destroy());
    return new Promise((resolve) => this.server.close(resolve));
  }
}

module.exports = { Cutter, dice };
