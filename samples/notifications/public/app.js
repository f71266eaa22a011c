// The page of the notifications sample: it reads the stream of one user and shows what arrives,
// newest first. Whatever people wrote goes into the page through textContent only.

const $ = (id) => document.getElementById(id);
const minutes = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const seconds = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });

const FIRST_PAUSE = 500; // ms, doubled by each failure
const LONGEST_PAUSE = 20_000; // ms

let user = new URLSearchParams(location.search).get("user") ?? "";
let stream = null;
let lastId = ""; // how far the stream has been read
let failures = 0;
let timer = 0;

// ---- reading ----

function read() {
  clearTimeout(timer);
  stream?.close();
  showStatus("Connecting…");
  const query = new URLSearchParams(lastId ? { user, after: lastId } : { user });
  const source = new EventSource("notifications?" + query);
  stream = source;
  source.addEventListener("connected", () => {
    failures = 0;
    showStatus("Live", true);
  });
  source.addEventListener("notification", ({ data, lastEventId }) => {
    lastId = lastEventId;
    show(JSON.parse(data));
  });
  source.addEventListener("tick", ({ data }) => showPulse(JSON.parse(data)));
  // The browser reconnects by itself after a lost connection, and says how far it has read; but some
  // give up when the server is away for longer, and then it is for us to try again and to say it.
  source.addEventListener("error", () => {
    showStatus("Reconnecting…");
    if (source.readyState !== EventSource.CLOSED || source !== stream) return;
    const ceiling = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** failures++);
    timer = setTimeout(read, ceiling * (0.5 + Math.random() / 2));
  });
}

function showStatus(text, live = false) {
  $("status").textContent = text;
  $("status").className = live ? "on" : "";
  if (!live) $("pulse").textContent = "";
}

function showPulse({ time, readers }) {
  const who = readers === 1 ? "1 reader" : `${readers} readers`;
  $("pulse").textContent = `${who} · ${seconds.format(new Date(time))}`;
}

function element(tag, className, text) {
  const node = document.createElement(tag);
  node.className = className;
  node.textContent = text;
  return node;
}

function show({ title, text, time }) {
  const item = element("li", "unread", "");
  const date = new Date(time);
  const stamp = element("time", "", minutes.format(date));
  stamp.dateTime = date.toISOString();
  const head = element("div", "head", "");
  head.append(element("strong", "", title || "Notification"), stamp);
  item.append(head, element("p", "", text));
  $("list").prepend(item);
  $("empty").hidden = true;
  countUnread();
}

function countUnread() {
  const count = $("list").querySelectorAll(".unread").length;
  $("unread").textContent = `${count} unread`;
  $("unread").hidden = $("read-all").hidden = count === 0;
  document.title = count ? `(${count}) Notifications` : "Notifications";
}

$("read-all").addEventListener("click", () => {
  for (const item of $("list").querySelectorAll(".unread")) item.classList.remove("unread");
  countUnread();
  $("inbox-title").focus(); // the button has gone, and with it the focus
});

$("who").addEventListener("submit", (event) => {
  event.preventDefault();
  user = $("user").value.trim();
  if (!user) return;
  history.replaceState(null, "", "?user=" + encodeURIComponent(user));
  lastId = "";
  $("list").replaceChildren();
  $("empty").hidden = false;
  countUnread();
  start();
});

// ---- sending ----

$("send").addEventListener("submit", async (event) => {
  event.preventDefault();
  const to = $("to").value.trim();
  tell("Sending…");
  try {
    const answer = await fetch("notify/" + encodeURIComponent(to), {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-API-Key": $("key").value },
      body: JSON.stringify({ title: $("title").value, text: $("text").value }),
    });
    if (!answer.ok) return tell(await reason(answer), "bad");
    tell(`Sent to ${to}.`, "good");
    $("title").value = $("text").value = "";
    $("text").focus();
  } catch {
    tell("The server does not answer.", "bad");
  }
});

async function reason(answer) {
  try {
    const { error } = await answer.json();
    return error.detail ?? error.code;
  } catch {
    return `The server answered ${answer.status}.`;
  }
}

function tell(text, className = "") {
  $("sent").textContent = text;
  $("sent").className = className;
}

function start() {
  $("user").value = $("to").value = user;
  if (user) read();
  else $("user").focus();
}

start();
