// The list of messages of one room, drawn. Whatever people typed goes into the page through
// textContent only, so markup in it stays text. app.js decides what is added; this file decides
// how it looks, groups it, and keeps the newest message in view while the reader is at the end.

const GROUP_WITHIN = 5 * 60_000; // ms; a later message of the same person gets its own heading
const AT_END = 80; // px from the end that still count as reading the newest

const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const calendar = new Intl.DateTimeFormat(undefined, { dateStyle: "full" });

export function element(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

// A person's colour is made from the name, so that it is the same on every screen.
export function paintAvatar(node, name) {
  let hash = 7;
  for (const char of name) hash = (hash * 31 + char.codePointAt(0)) % 997;
  node.style.setProperty("--hue", String((hash * 47) % 360));
  node.textContent = [...name][0]?.toUpperCase() ?? "";
  return node;
}

export class Log {
  #list;
  #scroller;
  #latest;
  #empty;
  #last = null; // the newest settled message: { from, time, day }
  #following = true; // whether the reader is at the end

  constructor({ list, scroller, latest, empty }) {
    this.#list = list;
    this.#scroller = scroller;
    this.#latest = latest;
    this.#empty = empty;
    scroller.addEventListener("scroll", () => this.#onScroll(), { passive: true });
    new ResizeObserver(() => this.#settle()).observe(scroller);
    latest.addEventListener("click", () => this.toEnd());
  }

  clear() {
    this.#list.replaceChildren();
    this.#last = null;
    this.#empty.hidden = true;
    this.toEnd();
  }

  // Draws what was said before without having it all read out by a screen reader.
  quietly(draw) {
    this.#list.setAttribute("aria-live", "off");
    draw();
    requestAnimationFrame(() => this.#list.setAttribute("aria-live", "polite"));
  }

  // A message that is in the room's log. `pending` is the element that add drew for it while it
  // was on its way, if there is one: it is settled where it stands.
  said({ from, text, time }, mine, pending) {
    const date = new Date(time);
    const before = pending?.isConnected ? pending : this.#list.querySelector(".pending");
    const follows = this.#onNewDay(date, before) ? false : this.#continues(from, date);
    const item = pending ?? this.#bubble(from, text, mine);
    item.classList.remove("pending", "failed");
    item.classList.toggle("follows", follows);
    item.querySelector(".problem")?.remove();
    item.querySelector(".text").textContent = text; // the server may have changed it
    const stamp = item.querySelector("time");
    stamp.dateTime = date.toISOString();
    stamp.textContent = clock.format(date);
    if (item !== before) this.#list.insertBefore(item, before);
    this.#last = { from, time: date, day: date.toDateString() };
    this.#settle(!mine);
  }

  // A message of ours that the server has not confirmed yet. Returns its element.
  sending(from, text) {
    const item = this.#bubble(from, text, true);
    item.classList.add("pending");
    item.classList.toggle("follows", this.#continues(from, new Date()));
    item.querySelector("time").textContent = "sending…";
    this.#list.append(item);
    this.toEnd();
    return item;
  }

  // Says under a message of ours why it did not arrive; `again` is called when it shall be retried.
  failed(item, why, again) {
    item.classList.add("failed");
    item.querySelector("time").textContent = "not sent";
    item.querySelector(".problem")?.remove();
    const button = element("button", "", "Try again");
    button.type = "button";
    button.addEventListener("click", () => {
      item.classList.remove("failed");
      item.querySelector("time").textContent = "sending…";
      item.querySelector(".problem")?.remove();
      again();
    });
    const problem = element("p", "problem", why + " ");
    problem.append(button);
    item.querySelector(".body").append(problem);
    this.#settle();
  }

  notice(text) {
    const item = element("li", "notice", text);
    this.#list.insertBefore(item, this.#list.querySelector(".pending"));
    this.#last = this.#last && { ...this.#last, from: null };
    this.#settle();
  }

  // What an empty room says in place of messages.
  whenEmpty(text) {
    this.#empty.textContent = text;
    this.#settle();
  }

  toEnd() {
    this.#following = true;
    this.#latest.hidden = true;
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  #bubble(from, text, mine) {
    const item = element("li", mine ? "message mine" : "message");
    const avatar = paintAvatar(element("span", "avatar"), from);
    avatar.setAttribute("aria-hidden", "true");
    const head = element("p", "head");
    const who = element("span", "from", from);
    who.style.setProperty("--hue", avatar.style.getPropertyValue("--hue"));
    head.append(who, " ", element("time"));
    const body = element("div", "body");
    body.append(head, element("p", "text", text));
    item.append(avatar, body);
    return item;
  }

  #continues(from, date) {
    return this.#last?.from === from && date - this.#last.time < GROUP_WITHIN;
  }

  // Marks the first message of a day; returns whether this is one.
  #onNewDay(date, before) {
    const day = date.toDateString();
    if (this.#last?.day === day) return false;
    const today = day === new Date().toDateString();
    const label = element("span", "", today ? "Today" : calendar.format(date));
    const item = element("li", "day");
    item.append(label);
    this.#list.insertBefore(item, before);
    return true;
  }

  #onScroll() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    this.#following = scrollHeight - scrollTop - clientHeight < AT_END;
    if (this.#following) this.#latest.hidden = true;
  }

  #settle(isNew = false) {
    this.#empty.hidden = !this.#empty.textContent || this.#list.childElementCount > 0;
    if (this.#following) this.#scroller.scrollTop = this.#scroller.scrollHeight;
    else if (isNew) this.#latest.hidden = false;
  }
}
