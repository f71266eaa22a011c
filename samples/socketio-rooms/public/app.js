// The page with the official client: every line about the connection is as the documentation of
// Socket.IO writes it.

import { io } from "./client/socket.io.esm.min.js";
import { Room, show } from "./room.js";

const $ = (id) => document.getElementById(id);
const name = () => $("name").value.trim();

// A page opened with ?transports=polling (or websocket) uses that one alone.
const transports = new URLSearchParams(location.search).get("transports")?.split(",");
const socket = io({ autoConnect: false, auth: (tell) => tell({ name: name() }), ...(transports && { transports }) });

const room = new Room({
  name,
  // A new name is a new connection.
  async open(changed) {
    if (changed) socket.disconnect();
    if (socket.connected) return;
    const answered = new Promise((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("connect_error", reject);
    });
    socket.connect();
    await answered.catch((error) => Promise.reject(new Error(error.data ?? error.message)));
  },
  async call(event, ...args) {
    const answer = await socket.timeout(10_000).emitWithAck(event, ...args);
    if (answer?.error) throw new Error(answer.detail ?? answer.error);
    return answer;
  },
});

for (const event of ["receive-message", "user-joined", "user-left", "announcement"]) {
  socket.on(event, (data) => room.happen(event, data));
}

function showTransport() {
  room.showStatus(true, `Connected over ${socket.io.engine.transport.name}`);
}

socket.on("connect", () => {
  showTransport();
  socket.io.engine.on("upgrade", showTransport);
  room.back();
});

socket.on("disconnect", (reason) => {
  room.showStatus(false, socket.active ? "Reconnecting…" : "Not connected");
  console.info(`disconnected: ${reason}`);
});

// ---- /admin ----

const admin = io("/admin", { autoConnect: false, auth: (tell) => tell({ token: $("token").value }) });

async function showRooms() {
  const rooms = await admin.emitWithAck("rooms");
  const names = Object.keys(rooms).sort();
  show($("rooms"), names.map((each) => `${each}: ${rooms[each]}`), "No rooms");
}

$("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  admin.connect();
});

admin.on("connect", () => {
  $("refusal").textContent = "";
  $("sign-in").hidden = true;
  $("desk").hidden = false;
  showRooms();
});

admin.on("connect_error", (error) => {
  $("refusal").textContent = error.data ?? error.message;
});

$("refresh").addEventListener("click", showRooms);

$("announce").addEventListener("submit", (event) => {
  event.preventDefault();
  admin.emit("announce", $("words").value);
  $("words").value = "";
});
