// What both pages show and do, whatever the wire: `open(changed)` connects under the name that is
// typed, `call(event, data)` asks the server. All text is set as text: markup stays text.

const $ = (id) => document.getElementById(id);

function element(tag, className, text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

// Fills a list, or says that there is nothing.
export function show(list, texts, nothing) {
  const items = texts.map((text) => element("li", "", text));
  list.replaceChildren(...(items.length ? items : [element("li", "nobody", nothing)]));
}

export class Room {
  constructor({ name, open, call }) {
    Object.assign(this, { name, open, call, joined: "", as: "", here: new Set() });
    $("name").value = sessionStorage.getItem("rooms.name") ?? "";
    $("enter").addEventListener("submit", (event) => {
      event.preventDefault();
      this.attempt(() => this.enter($("room").value.trim()));
    });
    $("leave").addEventListener("click", () => this.attempt(() => this.leave()));
    $("compose").addEventListener("submit", (event) => {
      event.preventDefault();
      this.attempt(() => this.say($("text").value.trim()));
    });
  }

  // What goes wrong is said where it can be read.
  async attempt(act) {
    $("problem").textContent = "";
    try {
      await act();
    } catch (error) {
      $("problem").textContent = error.message;
    }
  }

  async enter(room) {
    const changed = this.as !== "" && this.as !== this.name();
    if (this.joined && !changed) await this.leave();
    this.joined = "";
    await this.open(changed);
    this.as = this.name();
    sessionStorage.setItem("rooms.name", this.as);
    await this.join(room);
    $("log").replaceChildren();
    this.notice(`You are in ${room}`);
    $("text").focus();
  }

  async join(room) {
    const answer = await this.call("join-room", room);
    this.joined = answer.room;
    this.showHere(answer.here.map(({ name }) => name));
    this.showRoom();
  }

  async leave() {
    await this.call("leave-room", this.joined);
    this.notice(`You have left ${this.joined}`);
    this.joined = "";
    this.showHere([]);
    this.showRoom();
  }

  async say(text) {
    if (!text) return;
    $("text").value = "";
    try {
      this.said(await this.call("send-message", { room: this.joined, text }), true);
    } catch (error) {
      $("text").value = text;
      throw error;
    }
  }

  // The connection has come back: the server has forgotten in which room we were.
  back() {
    if (this.joined) this.attempt(() => this.join(this.joined));
  }

  happen(event, data) {
    if (event === "announcement") return this.notice(`Announcement: ${data.text}`, "announcement");
    if (data.room !== this.joined) return undefined;
    if (event === "receive-message") return this.said(data, false);
    const joins = event === "user-joined";
    this.here[joins ? "add" : "delete"](data.name);
    this.showHere(this.here);
    return this.notice(`${data.name} ${joins ? "joined" : "left"}`);
  }

  // ---- what is shown ----

  said({ from, text, time }, mine) {
    const item = element("li", mine ? "message mine" : "message");
    const stamp = element("time", "", new Date(time).toLocaleTimeString([], { timeStyle: "short" }));
    stamp.dateTime = time;
    item.append(element("span", "from", from), stamp, element("p", "text", text));
    this.append(item);
  }

  notice(text, className = "notice") {
    this.append(element("li", className, text));
  }

  append(item) {
    $("log").append(item);
    $("log").scrollTop = $("log").scrollHeight;
  }

  showHere(names) {
    this.here = new Set(names);
    show($("here"), [...this.here].sort((a, b) => a.localeCompare(b)), "Nobody yet");
  }

  showRoom() {
    const inside = this.joined !== "";
    $("title").textContent = inside ? this.joined : "Enter a room";
    document.title = inside ? `${this.joined} · Rooms` : "Rooms";
    $("leave").hidden = !inside;
    $("text").disabled = $("compose").querySelector("button").disabled = !inside;
    $("text").placeholder = inside ? `Message ${this.joined}` : "Enter a room to write";
  }

  showStatus(connected, text) {
    if (!connected) this.showHere([]); // nobody tells us any more
    $("status").className = connected ? "connected" : "";
    $("status").textContent = text;
  }
}
