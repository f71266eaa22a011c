// A WebSocket that comes back. It sends requests that are answered by their id, hands on every
// other frame, and reconnects with growing, jittered pauses. It knows nothing of chat: app.js
// uses it and says again, after each "open", what it wants to hear.

const FIRST_PAUSE = 500; // ms, doubled by each failure
const LONGEST_PAUSE = 20_000; // ms
const ANSWER_WITHIN = 10_000; // ms; a server that is silent for longer is taken for gone

// An answer of the server that says no, or (code "gone") the end of the wait for one.
export class Refusal extends Error {
  constructor(code, detail) {
    super(detail || code);
    this.code = code;
  }
}

// A server that restarts says when it wants to see us again ("server restart; retry=3.217"), so
// that not all who were there come at once.
function hintOf({ code, reason }) {
  const [, seconds] = (code === 1012 && /retry=([\d.]+)/.exec(reason)) || [];
  return seconds && Math.round(seconds * 1000); // ms
}

// Emits CustomEvents: "open"; "frame" (detail: the frame); "pause" (detail: ms until the next
// attempt); "refused" (detail: a Refusal; no further attempt is made).
export class Connection extends EventTarget {
  #url;
  #socket = null;
  #waiting = new Map(); // id of a request -> { resolve, reject, timer }
  #lastId = 0;
  #failures = 0;
  #timer = 0;

  constructor(url) {
    super();
    this.#url = new URL(url, location.href);
    this.#url.protocol = this.#url.protocol.replace("http", "ws");
    this.retry = this.retry.bind(this);
    addEventListener("online", this.retry);
    this.#dial();
  }

  // Resolves to the answer's data.
  request(frame) {
    return new Promise((resolve, reject) => {
      if (this.#socket?.readyState !== WebSocket.OPEN) return reject(new Refusal("gone"));
      const id = ++this.#lastId;
      const socket = this.#socket;
      const timer = setTimeout(() => this.#lost(socket), ANSWER_WITHIN);
      this.#waiting.set(id, { resolve, reject, timer });
      socket.send(JSON.stringify({ ...frame, id }));
    });
  }

  // Ends the pause before the next attempt, if there is one.
  retry() {
    if (!this.#timer) return;
    clearTimeout(this.#timer);
    this.#dial();
  }

  close() {
    removeEventListener("online", this.retry);
    clearTimeout(this.#timer);
    this.#timer = 0;
    const socket = this.#socket;
    this.#socket = null; // from here on its events are ignored
    socket?.close();
    this.#rejectAll();
  }

  #dial() {
    this.#timer = 0;
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    let opened = false;
    socket.onopen = () => {
      opened = true;
      if (socket === this.#socket) this.#tell("open");
    };
    socket.onmessage = ({ data }) => socket === this.#socket && this.#receive(JSON.parse(data));
    socket.onclose = async (event) => {
      if (socket !== this.#socket) return;
      const refusal = opened ? null : await this.#askWhy();
      if (socket !== this.#socket) return;
      if (refusal) {
        this.close();
        this.#tell("refused", refusal);
      } else {
        this.#lost(socket, hintOf(event));
      }
    };
  }

  // A browser does not tell why a handshake failed. The same address asked over HTTP goes through
  // the same door and answers with the code; null means that there is nothing wrong with us.
  async #askWhy() {
    const url = new URL(this.#url);
    url.protocol = url.protocol.replace("ws", "http");
    const stop = new AbortController();
    const timer = setTimeout(() => stop.abort(), ANSWER_WITHIN);
    try {
      const answer = await fetch(url, {
        headers: { Accept: "text/event-stream" },
        signal: stop.signal,
      });
      if (![400, 401, 403].includes(answer.status)) return null;
      const { error } = await answer.json();
      return new Refusal(error.code, error.detail);
    } catch {
      return null;
    } finally {
      clearTimeout(timer);
      stop.abort();
    }
  }

  #receive(frame) {
    this.#failures = 0;
    const request = this.#waiting.get(frame.id);
    if (!request) return this.#tell("frame", frame);
    this.#waiting.delete(frame.id);
    clearTimeout(request.timer);
    if (frame.error) request.reject(new Refusal(frame.error.code, frame.error.detail));
    else request.resolve(frame.data);
  }

  #lost(socket, hint) {
    if (socket !== this.#socket) return;
    this.#socket = null;
    socket.close();
    this.#rejectAll();
    const ceiling = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** this.#failures++);
    const pause = hint ?? ceiling * (0.5 + Math.random() / 2);
    this.#timer = setTimeout(() => this.#dial(), pause);
    this.#tell("pause", pause);
  }

  #rejectAll() {
    for (const { reject, timer } of this.#waiting.values()) {
      clearTimeout(timer);
      reject(new Refusal("gone"));
    }
    this.#waiting.clear();
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
