// The chat page: it enters with a name, shows one room at a time, and keeps what was typed until
// the room has it. The server's rules (how long a name is, which rooms are listed) are not
// repeated here; they live in app.lua, and what it refuses is shown with its own words.

import { Connection } from "./connection.js";
import { Log, element, paintAvatar } from "./log.js";

const $ = (id) => document.getElementById(id);
const log = new Log({ list: $("log"), scroller: $("scroller"), latest: $("latest"), empty: $("empty") });
const hasKeyboard = matchMedia("(hover: hover) and (pointer: fine)");

let connection = null;
let me = localStorage.getItem("chat.name") ?? "";
let listed = []; // the rooms that the server names
let opened = JSON.parse(localStorage.getItem("chat.rooms") ?? "[]"); // and those opened by name
let room = roomInAddress();
let joined = false; // whether the server counts us in the room
let here = new Set(); // names
let seen = new Set(); // offsets of what is in the log already
let newest; // the last of them
let unread = 0;
let countdown = 0;
const outbox = new Map(); // key -> { room, text, item, failed }, until the room has said it

// ---- the door ----

function showDoor(problem = "") {
  connection?.close();
  connection = null;
  $("chat").hidden = true;
  $("door").hidden = false;
  $("name").value = me;
  $("door-room").textContent = "#" + room;
  complain(problem);
  $("enter").querySelector("button").disabled = false;
  $("name").focus();
  showTitle();
}

function complain(problem) {
  $("name-error").textContent = problem;
  if (problem) $("name").setAttribute("aria-invalid", "true");
  else $("name").removeAttribute("aria-invalid");
}

$("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  me = $("name").value;
  complain("");
  $("enter").querySelector("button").disabled = true;
  connect();
});

$("sign-out").addEventListener("click", () => {
  $("rooms").hidePopover?.();
  localStorage.removeItem("chat.name");
  outbox.clear();
  leaveView();
  showDoor();
});

// ---- the connection ----

function connect() {
  connection?.close();
  connection = new Connection("chat?name=" + encodeURIComponent(me));
  connection.addEventListener("open", showConnected);
  connection.addEventListener("pause", ({ detail }) => showPause(detail));
  connection.addEventListener("refused", ({ detail }) => showDoor(detail.message));
  connection.addEventListener("frame", ({ detail }) => receive(detail));
}

function receive({ event, data, room: from, offset }) {
  if (event === "welcome") enter(data);
  else if (event === "rooms") showRooms((listed = data));
  else if (from === "room:" + room) happen({ event, data, offset });
}

function enter({ name, rooms }) {
  me = name;
  localStorage.setItem("chat.name", me);
  listed = rooms;
  if (!$("door").hidden) {
    $("door").hidden = true;
    $("chat").hidden = false;
    if (hasKeyboard.matches) $("text").focus();
  }
  $("my-name").textContent = me;
  paintAvatar(document.querySelector(".me .avatar"), me);
  showRooms();
  join();
}

function showConnected() {
  clearInterval(countdown);
  $("offline").hidden = true;
  $("status").className = "connected";
  $("status").textContent = "Connected";
}

function showPause(pause) {
  joined = false;
  const until = Date.now() + pause;
  const tell = () => {
    const seconds = Math.ceil((until - Date.now()) / 1000);
    const when = seconds > 0 ? `Retrying in ${seconds} s.` : "Retrying…";
    $("offline-text").textContent = `Connection lost. ${when}`;
    if (!$("door").hidden) complain(`The server does not answer. ${when}`);
  };
  clearInterval(countdown);
  countdown = setInterval(tell, 1000);
  tell();
  $("offline").hidden = false;
  $("status").className = "";
  $("status").textContent = "Reconnecting…";
}

$("retry").addEventListener("click", () => connection?.retry());

// ---- the room ----

function roomInAddress() {
  let name = location.hash.slice(1);
  try {
    name = decodeURIComponent(name);
  } catch {} // a lone % is taken as it is
  return tidy(name) || "lobby";
}

function tidy(name) {
  return name.trim().replace(/^#/, "").toLowerCase().replace(/\s+/g, "-");
}

function leaveView() {
  joined = false;
  seen = new Set();
  newest = undefined;
  log.clear();
  log.whenEmpty("");
  showPeople((here = new Set()));
}

addEventListener("hashchange", () => {
  const next = roomInAddress();
  if (next === room) return;
  connection?.request({ leave: "room:" + room }).catch(() => {});
  room = next;
  leaveView();
  $("rooms").hidePopover?.();
  $("door-room").textContent = "#" + room;
  showRooms();
  if (!$("chat").hidden) join();
  if (hasKeyboard.matches) $("text").focus();
});

async function join() {
  const wanted = room;
  try {
    const answer = await connection.request({ join: "room:" + wanted, after: newest });
    if (wanted !== room) return;
    joined = true;
    showPeople((here = new Set([me, ...answer.here.map(({ name }) => name)])));
    if (answer.gap) log.notice("Some of what was said meanwhile is no longer there.");
    log.quietly(() => answer.history.forEach(happen));
    log.whenEmpty(`It is quiet in #${room}. Say the first word.`);
    for (const [key, message] of outbox) {
      if (message.room !== room) continue;
      if (!message.item.isConnected) {
        message.item = log.sending(me, message.text); // the room was left with it unsent
        message.failed = false;
      }
      if (!message.failed) deliver(key);
    }
  } catch (refusal) {
    if (refusal.code === "gone" || wanted !== room) return; // the next "welcome" joins again
    log.whenEmpty(`#${room} cannot be entered. ${refusal.message}`);
  }
}

// Something that is in the room's log: live, missed and sent now, or from its history, which may
// bring what is here already: the offset tells.
function happen({ event, data, offset }) {
  if (offset !== undefined) {
    if (seen.has(offset)) return;
    seen.add(offset);
    newest = offset;
  }
  if (event === "said") said(data);
  else if (event === "joined" && data.name !== me) comeOrGo(data.name, true);
  else if (event === "left" && data.name !== me) comeOrGo(data.name, false);
}

function said(message) {
  const mine = message.from === me;
  const sent = mine ? outbox.get(message.key) : undefined;
  outbox.delete(message.key);
  log.said(message, mine, sent?.item);
  if (!mine && document.hidden) unread += 1;
  showTitle();
}

function comeOrGo(name, isHere) {
  if (isHere) here.add(name);
  else here.delete(name);
  log.notice(`${name} ${isHere ? "joined" : "left"}`);
  showPeople();
}

// ---- sending ----

async function deliver(key) {
  const message = outbox.get(key);
  try {
    const data = { room: "room:" + message.room, text: message.text, key };
    await connection.request({ event: "say", data });
    if (message.room !== room) outbox.delete(key); // nobody will tell us that it was said
  } catch (refusal) {
    if (refusal.code === "gone") return; // it is sent again after the next join
    message.failed = true;
    log.failed(message.item, refusal.message, () => {
      message.failed = false;
      if (joined) deliver(key);
    });
  }
}

$("compose").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  if (!text) return;
  const key = Math.random().toString(36).slice(2) + Date.now().toString(36);
  outbox.set(key, { room, text, item: log.sending(me, text), failed: false });
  if (joined) deliver(key);
  $("text").value = "";
  fitText();
  $("text").focus();
});

$("text").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $("compose").requestSubmit();
});

// The typing area grows with what is typed, up to the height that the style sheet allows.
function fitText() {
  $("text").style.height = "auto";
  $("text").style.height = $("text").scrollHeight + "px";
}

$("text").addEventListener("input", fitText);

// ---- what surrounds the log ----

function showRooms() {
  if (room && !listed.includes(room) && !opened.includes(room)) {
    opened = [room, ...opened].slice(0, 8);
    localStorage.setItem("chat.rooms", JSON.stringify(opened));
  }
  const names = [...new Set([...listed, ...opened])];
  $("room-list").replaceChildren(
    ...names.map((name) => {
      const link = element("a", "", name);
      link.href = "#" + encodeURIComponent(name);
      link.title = name;
      if (name === room) link.setAttribute("aria-current", "page");
      const item = element("li");
      item.append(link);
      return item;
    }),
  );
  $("room-title").textContent = room;
  $("room-title").title = room;
  $("text").placeholder = "Message #" + room;
  $("scroller").setAttribute("aria-label", "Messages in " + room);
  showTitle();
}

function showPeople() {
  const names = [...here].sort((a, b) => a.localeCompare(b));
  $("people-count").textContent = String(names.length);
  $("people-list").replaceChildren(
    ...names.map((name) => {
      const item = element("li");
      const avatar = paintAvatar(element("span", "avatar"), name);
      avatar.setAttribute("aria-hidden", "true");
      const label = element("span", "name", name);
      label.title = name;
      item.append(avatar, label);
      if (name === me) item.append(element("span", "you", "you"));
      return item;
    }),
  );
}

function showTitle() {
  const place = $("chat").hidden ? "Chat" : `#${room} · Chat`;
  document.title = unread ? `(${unread}) ${place}` : place;
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  unread = 0;
  showTitle();
  connection?.retry();
});

$("open-room").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = tidy($("room-name").value);
  if (!name) return;
  $("room-name").value = "";
  location.hash = encodeURIComponent(name);
});

// In a wide window the drawers are columns, and must not stay open as drawers.
matchMedia("(min-width: 60rem)").addEventListener("change", () => {
  for (const drawer of [$("rooms"), $("people")]) drawer.hidePopover?.();
});

if (me) connect();
else showDoor();
