// The same rooms with the browser's own WebSocket: the events are the same, as JSON in frames.

import { Room } from "./room.js";

const name = () => document.getElementById("name").value.trim();
const calls = new Map(); // id -> who waits for the answer
let socket;
let lastId = 0;

const room = new Room({
  name,
  async open(changed) {
    if (changed) socket?.close();
    else if (socket?.readyState === WebSocket.OPEN) return;
    await connect();
  },
  call(event, data) {
    return new Promise((resolve, reject) => {
      if (socket.readyState !== WebSocket.OPEN) return reject(new Error("Not connected."));
      calls.set(++lastId, { resolve, reject });
      socket.send(JSON.stringify({ event, data, id: lastId }));
    });
  },
});

function connect() {
  const mine = new WebSocket(`${location.origin.replace("http", "ws")}/?name=${encodeURIComponent(name())}`);
  socket = mine;
  mine.addEventListener("message", ({ data }) => receive(JSON.parse(data)));
  mine.addEventListener("close", ({ reason }) => {
    const [, seconds = 1] = /retry=([\d.]+)/.exec(reason) ?? []; // which a server that restarts says
    calls.forEach(({ reject }) => reject(new Error("The connection was lost.")));
    calls.clear();
    if (socket !== mine) return;
    room.showStatus(false, room.joined ? "Reconnecting…" : "Not connected");
    if (room.joined) setTimeout(() => socket === mine && connect().catch(() => {}), seconds * 1000);
  });
  return new Promise((resolve, reject) => {
    mine.addEventListener("open", () => {
      room.showStatus(true, "Connected over a plain WebSocket");
      resolve();
      room.back();
    });
    mine.addEventListener("error", () => reject(new Error("The server does not let you in, or is away.")));
  });
}

function receive({ event, data, id, error }) {
  const call = calls.get(id);
  calls.delete(id);
  if (event) room.happen(event, data);
  else if (error) call?.reject(new Error(error.detail ?? error.code));
  else call?.resolve(data);
}
