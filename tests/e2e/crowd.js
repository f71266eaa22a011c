// Many clients at little cost, on every wire: each has one socket (polling: one after another on
// it), reads what comes piece by piece, and may stop reading and go on. For tests of a room of a
// thousand.
"use strict";

const assert = require("node:assert/strict");
const net = require("node:net");
const zlib = require("node:zlib");
const { within } = require("../support.js");
const { Inbox } = require("./support.js");
const { TEXT, frame, handshake, readFrame, readResponse } = require("./wire.js");

const DEFLATE = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
const TAIL = Buffer.from([0, 0, 0xff, 0xff]); // RFC 7692 section 7.2.2
const SEPARATOR = "\x1e";

// One client. `said` gets each message as the text of its event; a wire extends this with `open`
// and `read`, which takes what is complete from the front of the bytes and returns how much.
class Member {
  constructor(server, said) {
    this.server = server;
    this.said = said;
    this.bytes = Buffer.alloc(0);
    this.ended = false;
    this.inbox = new Inbox("a member"); // of what comes before it has entered
    this.entered = false;
  }

  async connect(target) {
    this.socket = net.connect({ port: this.server.port, host: "127.0.0.1", noDelay: true });
    this.socket.on("data", (data) => {
      this.bytes = this.bytes.length ? Buffer.concat([this.bytes, data]) : data;
      this.take();
    });
    this.socket.on("error", () => {});
    this.socket.on("close", () => this.end());
    await within(
      new Promise((resolve) => this.socket.on("connect", resolve)),
      "a connection",
    );
    await this.open(target);
    this.entered = true;
    return this;
  }

  take() {
    let at = 0;
    for (;;) {
      const size = this.read(this.bytes.subarray(at));
      if (!size) break;
      at += size;
    }
    this.bytes = this.bytes.subarray(at);
  }

  hear(text) {
    if (this.entered) this.said(text);
    else this.inbox.put(text);
  }

  end() {
    this.ended = true;
  }

  stop() {
    this.socket.pause();
  }

  resume() {
    this.socket.resume();
  }

  destroy() {
    this.socket.destroy();
  }
}

class WebSocketMember extends Member {
  async open(target, fields) {
    this.upgraded = false;
    this.socket.write(`${handshake(target, fields).join("\r\n")}\r\n\r\n`);
    const answer = await this.inbox.take();
    assert.equal(answer.status, 101);
    return answer;
  }

  read(bytes) {
    if (!this.upgraded) {
      const answer = readResponse(bytes, {});
      if (!answer) return 0;
      this.upgraded = true;
      this.inbox.put(answer);
      return answer.size;
    }
    const got = readFrame(bytes);
    if (!got) return 0;
    if (got.opcode === TEXT) this.hear(this.text(got));
    return got.size;
  }

  text(got) {
    return got.payload.toString();
  }
}

class DeflateMember extends WebSocketMember {
  async open(target) {
    const answer = await super.open(target, { "Sec-WebSocket-Extensions": DEFLATE });
    assert.match(answer.headers["sec-websocket-extensions"], /^permessage-deflate/);
  }

  text({ rsv, payload }) {
    if (!rsv) return payload.toString();
    const options = { finishFlush: zlib.constants.Z_SYNC_FLUSH };
    return zlib.inflateRawSync(Buffer.concat([payload, TAIL]), options).toString();
  }
}

class StreamMember extends Member {
  async open(target) {
    const fields = ["Host: x", "Accept: text/event-stream"];
    this.socket.write(`GET ${target} HTTP/1.1\r\n${fields.join("\r\n")}\r\n\r\n`);
    assert.match(await this.inbox.take(), /^HTTP\/1.1 200 /);
  }

  read(bytes) {
    const end = bytes.indexOf(this.begun ? "\n\n" : "\r\n\r\n");
    if (end < 0) return 0;
    const size = end + (this.begun ? 2 : 4);
    const text = bytes.subarray(0, end).toString();
    if (!this.begun) {
      this.begun = true;
      this.inbox.put(text);
    } else if (text.includes("data:")) {
      this.hear(text);
    }
    return size;
  }
}

// Packets of Engine.IO; with `sio`, those of Socket.IO within.
const engine = (Base, sio) =>
  class extends Base {
    hear(text) {
      if (!this.entered) this.inbox.put(text);
      else if (text[0] === "4") this.said(text.slice(1));
    }

    async enter() {
      if (!sio) return;
      this.packet("40");
      assert.match(await this.inbox.take(), /^40\{/);
    }
  };

const engineSockets = (sio) =>
  class extends engine(WebSocketMember, sio) {
    async open(target) {
      await super.open(`${target}&EIO=4&transport=websocket`);
      assert.match(await this.inbox.take(), /^0\{/);
      await this.enter();
    }

    packet(text) {
      this.socket.write(frame(TEXT, text));
    }
  };

const enginePolling = (sio) =>
  class extends engine(Member, sio) {
    async open(target) {
      this.target = `${target}&EIO=4&transport=polling`;
      this.polling = true;
      this.poll();
      const open = JSON.parse((await this.inbox.take()).slice(1));
      this.target += `&sid=${open.sid}`;
      await this.enter();
    }

    request(method, body) {
      const length = body === undefined ? "" : `Content-Length: ${Buffer.byteLength(body)}\r\n`;
      this.socket.write(`${method} ${this.target} HTTP/1.1\r\nHost: x\r\n${length}\r\n${body ?? ""}`);
    }

    poll() {
      this.pending = true;
      this.request("GET");
    }

    // Before the next poll, since the answers on a connection keep the order of its requests.
    packet(text) {
      this.request("POST", text);
    }

    read(bytes) {
      const answer = readResponse(bytes, {});
      if (!answer) return 0;
      if (answer.status !== 200) {
        this.polling = false; // its session has ended
      } else if (answer.body !== "ok") {
        this.pending = false;
        answer.body.split(SEPARATOR).forEach((packet) => this.hear(packet));
      }
      if (!this.pending && this.polling) setImmediate(() => this.again());
      return answer.size;
    }

    again() {
      if (!this.pending && this.polling && !this.ended && this.target.includes("&sid=")) this.poll();
    }

    stop() {
      this.polling = false;
    }

    resume() {
      this.polling = true;
      this.again();
    }
  };

const WIRES = {
  websocket: { Member: WebSocketMember, target: "/?" },
  deflate: { Member: DeflateMember, target: "/?" },
  sse: { Member: StreamMember, target: "/?" },
  "socket.io over websocket": { Member: engineSockets(true), target: "/socket.io/?" },
  "socket.io over polling": { Member: enginePolling(true), target: "/socket.io/?" },
  "engine.io over websocket": { Member: engineSockets(false), target: "/engine?" },
  "engine.io over polling": { Member: enginePolling(false), target: "/engine?" },
};

// A client on this wire that hears everything from now on. `query` goes into its URL.
function enter(server, wire, query, said) {
  const { Member: Wire, target } = WIRES[wire];
  return new Wire(server, said).connect(target + query);
}

module.exports = { WIRES, enter };
