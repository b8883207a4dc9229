// The conversation on screen: bubbles, notices, photos, sources, and the answer being written.

import { icon, make } from "./dom.js";
import { helpful } from "./helpful.js";
import { prose } from "./prose.js";
import { Sources } from "./sources.js";
import { dayOf, t, timeOf, wordNotices } from "./texts.js";

const SHOWN_BY_BROWSERS = ["image/jpeg", "image/png", "image/webp", "image/gif"];
const MARGIN = 12; // pixels kept free above a message at the upper edge
const NEAR = 48; // pixels from the end that still count as the end
const UNSENT = Infinity;
// What is said of a file that cannot be opened any more.
const LOST = { missing: "file_lost", damaged: "file_lost", infected: "file_infected", removed: "file_removed" };

export class Thread {
  #log;
  #scroller;
  #writing;
  #newest;
  #photo;
  #portrait;
  #onOpenPhoto;
  #onRate;
  #onPerson;
  #onArticle;
  #byId = new Map();
  #messages = new Map(); // as the server has them, by id
  #byClientId = new Map();
  #times = new WeakMap(); // when what is shown was said, in milliseconds; UNSENT until the server has it
  #streamed = "";
  #isAtEnd = true;
  #sizes = ""; // heights of scroller and content at the last check

  /**
   * @param elements {log, scroller, writing, newest}
   * @param photo resolves an attachment (id, {thumbnail}) to an object URL
   * @param portrait creates the element for an agent's picture, or nothing
   * @param onOpenPhoto called with an attachment and its thumbnail's URL
   * @param onPerson asks for a person
   * @param onArticle called with the id of an article that the customer wants to read
   * @param onRate rates an answer (id, true | false | null, feedback); resolves once the server has stored it
   */
  constructor(
    { log, scroller, writing, newest },
    { photo, portrait = () => null, onOpenPhoto, onRate, onPerson, onArticle },
  ) {
    this.#log = log;
    this.#scroller = scroller;
    this.#writing = writing;
    this.#newest = newest;
    this.#photo = photo;
    this.#portrait = portrait;
    this.#onOpenPhoto = onOpenPhoto;
    this.#onRate = onRate;
    this.#onPerson = onPerson;
    this.#onArticle = onArticle;
    scroller.addEventListener("scroll", () => this.#noticeScroll(), { passive: true });
    newest.addEventListener("click", () => {
      this.scrollToEnd();
      scroller.focus(); // the button is gone
    });
    new ResizeObserver(() => this.#isAtEnd && this.#jumpToEnd()).observe(log);
    new ResizeObserver(() => this.#isAtEnd && this.#jumpToEnd()).observe(scroller);
  }

  get isEmpty() {
    return this.#log.childElementCount === 0;
  }

  clear() {
    this.#log.replaceChildren();
    this.#byId.clear();
    this.#messages.clear();
    this.#byClientId.clear();
    this.hideWriting();
  }

  /** Author of the last message: customer, assistant or agent; null if there is none. What is not sent does not count. */
  get lastAuthor() {
    const said = this.#log.querySelectorAll(".entry:not([data-delivery=waiting], [data-delivery=failed])");
    return [...said].at(-1)?.dataset.author ?? null;
  }

  /** Whether this message of the customer's is shown, sent or not. */
  has(clientId) {
    return this.#byClientId.has(clientId);
  }

  /** Whether the server has this message of the customer's. */
  hasSent(clientId) {
    return this.#isKnown(this.#byClientId.get(clientId));
  }

  /** Show a message from the server. Returns whether it is new; one sent from here replaces its unsent bubble. */
  show(message) {
    if (this.#byId.has(message.id)) return false;
    const own = message.client_id ? this.#byClientId.get(message.client_id) : null;
    const entry = this.#entry(message);
    this.#messages.set(message.id, message);
    this.#byId.set(message.id, entry);
    if (message.client_id) this.#byClientId.set(message.client_id, entry);
    if (own) this.#replace(own, entry);
    this.#place(entry, Date.parse(message.created_at));
    this.#follow(message.author === "customer");
    return !own;
  }

  /** Show a message as it is now, in its place: a file of it was lost. */
  update(message) {
    const shown = this.#byId.get(message.id);
    if (!shown) return;
    const entry = this.#entry(message);
    entry.setAttribute("aria-live", "off"); // it has been read aloud
    const delivery = shown.querySelector(".delivery");
    if (delivery) entry.querySelector(".delivery")?.replaceWith(delivery);
    this.#messages.set(message.id, message);
    this.#byId.set(message.id, entry);
    if (message.client_id) this.#byClientId.set(message.client_id, entry);
    this.#times.set(entry, this.#times.get(shown));
    this.#replace(shown, entry);
  }

  /** Show everything in the language that is spoken now. What is being sent is left to whoever sends it. */
  reword() {
    for (const message of this.#messages.values()) this.update(message);
    this.#drawDays();
    for (const state of this.#log.querySelectorAll("[data-delivery=sent] .delivery span"))
      state.textContent = t("sent");
    for (const button of this.#log.querySelectorAll(".unsent button"))
      button.ariaLabel = t("remove", { name: button.value });
  }

  /** Show a message that the server has not acknowledged. `onLeaveOut` takes one of its files out of it. */
  showUnsent(item, onLeaveOut) {
    const message = { author: "customer", text: item.text, created_at: item.createdAt, attachments: [], citations: [] };
    const entry = this.#entry(message);
    const photos = make("div.photos");
    for (const file of item.files) photos.append(this.#unsentFile(file, onLeaveOut));
    if (item.files.length) entry.querySelector(".bubble").before(photos);
    if (!item.text) entry.querySelector(".bubble").hidden = true;
    this.#byClientId.set(item.clientId, entry);
    this.#place(entry, UNSENT);
    this.#isAtEnd = true;
    this.#jumpToEnd();
  }

  /** A file of an unsent message: how far it is, and a button that takes it out. */
  #unsentFile(file, onLeaveOut) {
    const { name, blob } = file;
    const remove = make("button.icon-button", { type: "button", value: name, "aria-label": t("remove", { name }) });
    const bar = make("progress", { max: blob.size, value: 0, "aria-label": name });
    const holder = make("span.unsent", {}, localFile(file), bar, remove);
    remove.append(icon("close"));
    remove.addEventListener("click", () => {
      const next = holder.nextElementSibling ?? holder.previousElementSibling;
      holder.remove();
      (next?.querySelector("button") ?? this.#scroller).focus();
      onLeaveOut(file);
    });
    return holder;
  }

  /** Set the line under a message of the customer's. `actions` are {text, run}. */
  setDelivery(clientId, { kind, text, actions = [] }) {
    const entry = this.#byClientId.get(clientId);
    const place = entry?.querySelector(".delivery");
    if (!place) return;
    const hadFocus = place.contains(document.activeElement);
    entry.dataset.delivery = kind;
    // What was refused stays where it is. What waits moves on: it comes after what was said meanwhile.
    if (kind === "failed")
      this.#times.set(entry, this.#timeBefore(entry) || Date.parse(entry.querySelector("time").dateTime));
    else if (this.#times.get(entry) !== UNSENT && !this.#isKnown(entry)) this.#place(entry, UNSENT);
    const symbol = { sent: "check", failed: "warn", waiting: "clock", sending: "clock" }[kind];
    place.replaceChildren(icon(symbol), make("span", { dir: "auto" }, text));
    for (const action of actions) place.append(link(action.text, action.run));
    if (hadFocus) (place.querySelector("button") ?? this.#scroller).focus();
  }

  /** How much of a message's files has been sent, 0 to 1: they go one after the other. */
  setProgress(clientId, part) {
    const bars = [...(this.#byClientId.get(clientId)?.querySelectorAll(".unsent progress") ?? [])];
    let sent = part * bars.reduce((sum, { max }) => sum + max, 0);
    for (const bar of bars) {
      bar.value = Math.max(0, Math.min(sent, bar.max));
      sent -= bar.max;
    }
  }

  /** Show the files that the server rejected, and why, under their message; `onRetry` sends one of them again. */
  showRejected(clientId, files, onRetry) {
    const entry = this.#byClientId.get(clientId);
    for (const file of files) {
      const text = wordNotices(file.notice) ?? t("file_refused", { name: file.filename });
      const line = make("p.rejected", { role: "alert" }, icon("warn"), make("span", { dir: "auto" }, text));
      const leave = (then) => () => {
        line.remove();
        this.#scroller.focus();
        then?.(file);
      };
      line.append(link(t("try_again"), leave(onRetry)), link(t("discard"), leave()));
      entry?.append(line);
    }
    this.#follow(false);
  }

  remove(clientId) {
    const entry = this.#byClientId.get(clientId);
    const hadFocus = entry?.contains(document.activeElement);
    entry?.remove();
    if (hadFocus) this.#scroller.focus();
    this.#byClientId.delete(clientId);
  }

  /** Show a notice of the widget itself. */
  showNotice(text) {
    const notice = make("p.notice", { dir: "auto" }, text);
    this.#times.set(notice, this.#timeBefore());
    this.#log.append(notice);
    this.#follow(true);
  }

  // The answer being written is outside the log, so that screen readers read the finished message once, not every word.

  showWriting(text) {
    this.#writing.hidden = false;
    const status = this.#writing.querySelector(".status");
    if (status.textContent !== text) status.textContent = text; // a screen reader would say the same again
    this.#follow(false);
  }

  restartWords() {
    this.#streamed = "";
    this.#writing.querySelector(".words").replaceChildren();
    this.#writing.classList.remove("has-words");
  }

  addWords(text) {
    this.#streamed += text;
    this.#writing.hidden = false;
    this.#writing.classList.add("has-words");
    this.#writing.querySelector(".words").replaceChildren(prose(this.#streamed));
    this.#follow(false);
  }

  hideWriting() {
    this.#writing.hidden = true;
    this.#writing.querySelector(".status").textContent = "";
    this.restartWords();
  }

  scrollToEnd() {
    this.#isAtEnd = true;
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.#scroller.scrollTo({ top: this.#end(), behavior: calm ? "instant" : "smooth" });
    this.#newest.hidden = true;
  }

  #jumpToEnd() {
    this.#scroller.scrollTop = Math.max(this.#scroller.scrollTop, this.#end()); // never scroll back
    this.#sizes = this.#measure();
    this.#newest.hidden = true;
  }

  /** Where to scroll: to the end, but not past the beginning of the latest reply. */
  #end() {
    if (this.isEmpty) return 0;
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    const end = Math.max(0, scrollHeight - clientHeight);
    const last = this.#log.lastElementChild;
    const newest = last.matches(".customer") && !this.#writing.hidden ? this.#writing : last;
    if (!newest.matches(".assistant, .agent")) return end;
    const above = newest.getBoundingClientRect().top - this.#scroller.getBoundingClientRect().top;
    return Math.max(0, Math.min(end, Math.floor(scrollTop + above) - MARGIN));
  }

  #measure() {
    return `${this.#scroller.clientHeight} ${this.#scroller.scrollHeight}`;
  }

  #follow(always) {
    if (always || this.#isAtEnd) {
      this.#isAtEnd = true;
      this.#jumpToEnd();
    } else {
      this.#newest.hidden = false;
    }
  }

  #noticeScroll() {
    const sizes = this.#measure();
    if (this.#isAtEnd && sizes !== this.#sizes) return this.#jumpToEnd(); // the content grew: this was no scrolling by the customer
    this.#sizes = sizes;
    this.#isAtEnd = this.#scroller.scrollTop > this.#end() - NEAR;
    if (this.#isAtEnd) this.#newest.hidden = true;
  }

  /** Put something before the first thing that was said later: pages learn of messages in any order. */
  #place(entry, time) {
    this.#times.set(entry, time);
    const all = [...this.#log.children].filter((one) => this.#times.has(one));
    const others = all.filter((one) => one !== entry);
    const later = others.find((one) => this.#times.get(one) > time);
    // What is in its place already keeps the focus and is not read aloud again.
    const isThere = all.includes(entry) && all[all.indexOf(entry) + 1] === later;
    if (!isThere) this.#log.insertBefore(entry, later ?? null);
    this.#drawDays();
  }

  #replace(shown, entry) {
    const hadFocus = shown.contains(document.activeElement);
    shown.replaceWith(entry);
    if (hadFocus) this.#scroller.focus();
  }

  #isKnown(entry) {
    return [...this.#byId.values()].includes(entry);
  }

  /** The latest time that the server has told of anything before this entry, or of anything at all; 0 if of nothing. */
  #timeBefore(entry = null) {
    const all = [...this.#log.children];
    const before = entry === null ? all : all.slice(0, all.indexOf(entry));
    return Math.max(0, ...before.map((one) => this.#times.get(one)).filter((time) => time < UNSENT));
  }

  /** A line before the first message of each day, unless it is today. Lines that are right are left alone. */
  #drawDays() {
    let last = new Date().toDateString();
    let line = null; // above the message that is looked at
    for (const shown of [...this.#log.children]) {
      if (shown.matches(".day")) {
        line?.remove();
        line = shown;
        continue;
      }
      const said = this.#times.get(shown);
      const date = said === UNSENT ? new Date() : new Date(said || shown.querySelector("time")?.dateTime || Date.now());
      const words = date.toDateString() === last ? null : dayOf(date);
      if (words === null) line?.remove();
      else if (line === null) shown.before(make("p.day", {}, words));
      else if (line.textContent !== words) line.textContent = words;
      last = date.toDateString();
      line = null;
    }
    line?.remove();
  }

  #entry(message) {
    if (message.author === "system") {
      // Messages from before notices had codes are in English.
      return make("p.notice", { dir: "auto" }, wordNotices(message.notices) ?? message.text);
    }
    const entry = make(`article.entry.${message.author}`);
    entry.dataset.author = message.author;
    const name = { customer: t("you"), assistant: t("assistant"), agent: message.author_name ?? t("agent") }[
      message.author
    ];
    entry.append(byline(message, name, this.#portrait(message.author_picture)));
    const photos = this.#photos(message.attachments);
    if (photos) entry.append(photos);
    // Opening a source stops the thread from following new messages.
    const figure = (one) => this.figure(one);
    const sources = new Sources(message.citations, {
      onOpen: () => (this.#isAtEnd = false),
      onArticle: this.#onArticle,
    });
    const onChip = (source, cited) => sources.show(source, cited);
    const words = message.parts?.length
      ? message.parts.map((part) =>
          part.quoted ? quotation(part.text) : make("div", { dir: "auto" }, prose(part.text.trim())),
        )
      : [prose(message.text, message.citations, { onChip, figure, hasLinks: message.author === "agent" })];
    const bubble = make("div.bubble", { dir: "auto" }, ...words);
    bubble.hidden = !message.text;
    entry.append(bubble);
    if (sources.element) entry.append(sources.element);
    if (message.author === "assistant" && message.citations.length) {
      entry.append(helpful(message, { onRate: this.#onRate, onPerson: this.#onPerson }));
    }
    if (message.author === "customer") {
      entry.setAttribute("aria-live", "off"); // its author need not hear it, but what becomes of it
      entry.append(make("p.delivery", { "aria-live": "polite" }));
    }
    return entry;
  }

  #photos(attachments) {
    if (!attachments.length) return null;
    const holder = make("div.photos");
    for (const attachment of attachments) {
      const isLost = attachment.condition in LOST;
      if (isLost) holder.append(lostFile(attachment));
      else holder.append(attachment.kind === "photo" ? this.#thumbnail(attachment) : this.#download(attachment));
    }
    return holder;
  }

  /** A picture of an article. */
  figure(one) {
    return this.#thumbnail({ ...one, filename: one.alt || t("figure") });
  }

  #thumbnail(attachment) {
    const image = make("img", { alt: t("photo", { name: attachment.filename }), decoding: "async" });
    if (attachment.width) image.style.aspectRatio = `${attachment.width} / ${attachment.height}`;
    const label = t("open_photo", { name: attachment.filename });
    const button = make("button.photo", { type: "button", "aria-label": label }, image);
    button.addEventListener("click", () => this.#onOpenPhoto(attachment, image.src));
    const showName = () => button.replaceChildren(icon("file"), make("bdi", {}, attachment.filename));
    image.addEventListener("error", showName);
    this.#photo(attachment.id, { thumbnail: true }).then((address) => (image.src = address), showName);
    return button;
  }

  #download(attachment) {
    const label = t("download", { name: attachment.filename });
    const button = make(
      "button.file",
      { type: "button", "aria-label": label },
      icon("file"),
      make("bdi", {}, attachment.filename),
    );
    button.addEventListener("click", async () => {
      const address = await this.#photo(attachment.id, { thumbnail: false }).catch(() => null);
      if (address) make("a", { href: address, download: attachment.filename }).click();
    });
    return button;
  }
}

function link(text, run) {
  return make("button.link", { type: "button", onclick: run }, text);
}

/** Quoted mail or a signature, folded. */
function quotation(text) {
  return make("details.quoted", {}, make("summary", {}, t("quoted")), make("div", { dir: "auto" }, prose(text.trim())));
}

function byline(message, name, portrait = null) {
  const time = timeOf(new Date(message.created_at));
  return make(
    "p.byline",
    {},
    portrait,
    make("span.author", { dir: "auto" }, name),
    make("time", { dateTime: message.created_at }, time),
  );
}

/** A file that cannot be opened any more, and why. */
function lostFile({ filename, condition }) {
  const text = t(LOST[condition], { name: filename });
  return make("p.rejected", {}, icon("warn"), make("span", {}, text));
}

/** An unsent file: an image if the browser can show it (most cannot show HEIC, none a damaged one), else its name. */
function localFile(file) {
  const asFile = () => make("span.file", {}, icon("file"), make("bdi", {}, file.name));
  if (!SHOWN_BY_BROWSERS.includes(file.type)) return asFile();
  const image = make("img", { alt: t("photo", { name: file.name }) });
  const holder = make("span.photo", {}, image);
  const address = URL.createObjectURL(file.blob);
  image.addEventListener("load", () => URL.revokeObjectURL(address), { once: true });
  image.addEventListener("error", () => holder.replaceWith(asFile()), { once: true });
  image.src = address;
  return holder;
}
