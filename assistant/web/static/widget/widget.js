// The widget's page: finds the elements, connects the parts, and shows the status around the conversation.

import { setAccent } from "./accent.js";
import { Api } from "./api.js";
import { Attention } from "./attention.js";
import { Chat } from "./chat.js";
import { EndButton, RatingForm } from "./closing.js";
import { Composer } from "./composer.js";
import { icon, make } from "./dom.js";
import { Earlier } from "./earlier.js";
import { Followup } from "./followup.js";
import { Help } from "./help.js";
import { ParentPage } from "./parent.js";
import { Prechat } from "./prechat.js";
import { Screens } from "./screens.js";
import { readContext } from "./site.js";
import { heardFromPage, keepOnPage, Outbox, useInbox } from "./store.js";
import { digits, fillIn, joined, momentOf, onLanguage, t, useLanguage, wordNotices } from "./texts.js";
import { setTheme } from "./theme.js";
import { Thread } from "./thread.js";
import { Viewer } from "./viewer.js";

const RECONNECTING_AFTER = 3_000; // shorter interruptions are not shown

const find = (id) => document.getElementById(id);
const config = JSON.parse(document.body.dataset.config);
useLanguage(config);
useInbox(config.inbox);
setAccent(config.accent);

const api = new Api(config.api);
api.inbox = config.inbox;
// Figures of articles have ids of their own kind; all others are attachments.
const photo = cachedUrls((id, options) =>
  id.startsWith("fig_") ? api.figure(id, options) : api.attachment(id, options),
);
const viewer = new Viewer(find("viewer"), { photo, onToggle: (open) => parentPage.tell("resize", { large: open }) });
const thread = new Thread(
  { log: find("log"), scroller: find("scroller"), writing: find("writing"), newest: find("newest") },
  {
    photo,
    portrait,
    onOpenPhoto: (attachment, thumbnail) => viewer.open(attachment, thumbnail),
    onRate: (id, helpful, feedback) => api.rateAnswer(id, helpful, feedback),
    onPerson: () => askForPerson(),
    onArticle: (id) => help.read(id),
  },
);
const attention = new Attention(api, {
  onUnread: (news) => {
    parentPage.tell("unread", news);
    showElsewhere(news.elsewhere);
  },
  onChange: showSeen,
});
const chat = new Chat({
  api,
  thread,
  outbox: new Outbox(),
  attention,
  view: {
    onState: showState,
    onConnection: showConnection,
    onNews: (message) => {
      announce(message);
      if (message.author === "agent") showTyping(null);
    },
    onSent: announce,
    onLoaded: (now) => {
      loaded = now;
      followup.load(now.by_mail);
    },
    onTyping: showTyping,
    onStarted: () => parentPage.tell("started"),
    onTrouble: (detail) => parentPage.tell("trouble", { detail }),
  },
});
const followup = new Followup(find("followup"), api, chat);
// Of whoever has no conversation here: an address that they prove leads to those of their other devices.
const unproved = { provable: true, code_minutes: config.code_minutes };
const finder = new Followup(find("find-earlier"), api, chat, () => openEarlier());
const screens = new Screens({ help: find("help"), article: find("article"), earlier: find("earlier") });
const help = new Help(
  {
    form: find("help-form"),
    query: find("help-query"),
    status: find("help-status"),
    results: find("help-results"),
    title: find("article-title"),
    body: find("article-body"),
    link: find("article-link"),
    write: document.querySelectorAll(".write-instead"),
  },
  { api, screens, figure: (one) => thread.figure(one), onWrite: (query) => writeInstead(query) },
);
const earlier = new Earlier(
  { list: find("earlier-list"), status: find("earlier-status") },
  { api, screens, onOpen: (id) => continueWith(id) },
);
const rating = new RatingForm(find("csat"), async (said) => {
  try {
    const stored = await chat.rate(said);
    parentPage.tell("rated", { rating: stored.score });
    return stored;
  } catch (problem) {
    throw wordNotices(problem.notice) ?? t("help_failed");
  }
});
const composer = new Composer(
  {
    form: find("composer"),
    text: find("text"),
    chips: find("chips"),
    picker: find("picker"),
    camera: find("camera"),
    send: find("send"),
    notice: find("composer-notice"),
    advice: find("advice"),
    dropZone: document.body,
  },
  config,
  say,
);
const pageKeeper = {
  store: (key, value) => parentPage.tell("store", { key, value }),
  claim: (key, value) => parentPage.tell("claim", { key, value }),
};
const photosOnPage = (key, value) => parentPage.ask("photos", { key, value });
const prechat = new Prechat(find("prechat"), config.prechat, {
  onDone: () => {
    chat.introduce(prechat.person);
    api.prechat = prechat.answers;
    showWelcome();
    focusField();
  },
});
const parentPage = new ParentPage(config.origins, config.parent, {
  hello: ({ options, stored, keepsPhotos }) => {
    setAccent(options?.accent);
    setTheme(options?.theme);
    api.siteContext = readContext(options?.context);
    if (stored) keepOnPage(stored, keepsPhotos ? { ...pageKeeper, photos: photosOnPage } : pageKeeper);
    visitor = visitorFrom(options);
    meet();
    find("close").hidden = false;
    showState(chat.conversation);
    void start(options?.identity);
  },
  stored: ({ key, value }) => {
    heardFromPage(key, value);
    if (key === "ending" && value !== null) void chat.logOut({ isElsewhere: true }).then(forget);
  },
  identity: ({ identity }) => void chat.identify(identity),
  logout: () => void chat.logOut().then(forget),
  opened: ({ focus }) => {
    isOpen = true;
    look();
    if (!thread.isEmpty) thread.scrollToEnd();
    if (focus !== false) focusField();
  },
  closed: () => {
    isOpen = false;
    look();
  },
  language: ({ language }) => speak(language),
  context: ({ context }) => (api.siteContext = readContext(context)),
  theme: ({ theme }) => setTheme(theme),
  compose: ({ text }) => composer.suggest(String(text ?? "").slice(0, config.max_chars)),
});

let visitor = visitorFrom({}); // as the page says
meet();
let isOpen = !parentPage.isEmbedded;
let loaded = {}; // what the server said of the conversation when it was loaded
let typing = null; // the timer that takes the sign away
let reconnecting = null;
let elsewhere = 0; // unread replies in the customer's other conversations
let calls = 0; // of speak

fillIn(document);
showState(chat.conversation);
showConnection(true);
onLanguage(() => {
  fillIn(document);
  prechat.reword();
  composer.reword();
  chat.reword();
  showSeen();
  showElsewhere(elsewhere);
  followup.draw();
  finder.draw();
  help.reword();
  showConnection(true);
});
document.addEventListener("visibilitychange", look);
find("text").addEventListener("input", () => attention.typed());
find("person").addEventListener("click", askForPerson);
for (const button of document.querySelectorAll(".open-help")) button.addEventListener("click", () => help.open());
find("open-earlier").addEventListener("click", openEarlier);
find("start-new").addEventListener("click", startAnew);
new EndButton(find("under"), find("end"), {
  onEnd: () => chat.end().catch(() => composer.showNotice(t("help_failed"))),
  onGone: () => rating.focus() || composer.focus(),
});
find("welcome-photo").addEventListener("click", () => composer.openPicker());
for (const button of document.querySelectorAll("[data-reply]")) {
  button.addEventListener("click", () => say({ text: button.textContent, files: [] }));
}
find("attach").addEventListener("click", () => composer.openPicker());
find("shoot").addEventListener("click", () => composer.openCamera());
find("close").addEventListener("click", () => parentPage.tell("close"));
addEventListener("online", () => showConnection(true));
addEventListener("offline", () => showConnection(false));
addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || find("viewer").open) return;
  if (screens.isOpen) screens.back();
  else parentPage.tell("close");
});
look();
if (!parentPage.isEmbedded) void start();

/** Continue where an earlier page or another tab stopped, once it is known who keeps that. */
async function start(identity) {
  api.origin = parentPage.origin;
  composer.recall();
  await begin(identity).catch(reportError);
  speakLike(chat.conversation.language);
  showWelcome();
  document.body.classList.add("ready");
}

/** A link in a mail of ours names its conversation behind the #, which is not sent or logged. */
async function begin(identity) {
  const link = new URLSearchParams(location.hash.slice(1)).get("link");
  if (link && !parentPage.isEmbedded) {
    history.replaceState(null, "", location.pathname + location.search);
    await chat.follow(link);
  }
  await chat.resume({ identity });
}

function look() {
  attention.isLooking = isOpen && !document.hidden;
}

/** Neither page nor browser speaks a language that we have: the customer's own may be one. */
function speakLike(language) {
  if (!config.known && config.languages.includes(language)) void speak(language);
}

/** Speak the best of these languages (BCP 47 tags, separated by commas) from now on. */
async function speak(tags) {
  const call = ++calls;
  const words = await api.words([tags, ...navigator.languages].join(",")).catch(() => null);
  if (!words || call !== calls) return; // another language has been asked for meanwhile
  config.spoken = words.spoken;
  chat.visitor.language = words.spoken;
  useLanguage(words);
}

async function askForPerson() {
  const button = find("person");
  button.disabled = true;
  button.textContent = t("person_asking");
  const begun = await chat.askForPerson();
  button.disabled = false;
  button.textContent = t("person");
  if (!begun) find("hint").hidden = false;
  composer.focus(); // the button is gone, or waits for a first message
}

function say(message) {
  find("hint").hidden = true;
  void chat.send(message);
  showWelcome();
}

/** What the customer has typed here counts more than what the page says of its visitor. */
function meet() {
  prechat.recall();
  api.prechat = prechat.answers;
  chat.visitor = { ...visitor, language: config.spoken, ...prechat.person };
  prechat.prefill(visitor);
}

/** Nobody is logged in any more: what the last one typed is not the next one's. */
function forget() {
  meet();
  showWelcome();
}

/** Before the first message. Until the inbox's questions are answered, there is nowhere to write. */
function showWelcome() {
  prechat.know(chat.isKnown);
  find("welcome").hidden = !thread.isEmpty;
  find("end").hidden = thread.isEmpty || chat.conversation.state === "closed";
  document.body.classList.toggle("asking", thread.isEmpty && prechat.isAsking);
}

function openEarlier() {
  finder.load(config.code_minutes && !chat.isKnown ? unproved : null);
  void earlier.open();
}

function startAnew() {
  screens.close();
  chat.startAnew();
  showWelcome();
  composer.focus();
}

/** Where the customer types: the inbox's questions come first. */
function focusField() {
  if (document.body.classList.contains("asking")) prechat.focus();
  else composer.focus();
}

/** What was searched for, and not found, goes into the message unless something is written there already. */
function writeInstead(query) {
  screens.close();
  composer.suggest(query);
  composer.focus();
}

async function continueWith(id) {
  screens.close();
  if (id !== api.conversation) await chat.open(id);
  showWelcome();
  composer.focus();
}

function showState(conversation) {
  const { state, queue_position: position, agent_name: agent, agent_picture: picture } = conversation;
  const subtitle = {
    assistant: t("subtitle_assistant"),
    handed_off: t("subtitle_waiting"),
    agent: t("subtitle_agent", { name: agent ?? t("agent") }),
    closed: t("subtitle_closed"),
  }[state];
  find("subtitle").textContent = subtitle;
  document.body.dataset.state = state;
  find("person").hidden = state !== "assistant";
  if (state !== "assistant") find("hint").hidden = true;
  if (state !== "agent") showTyping(null);
  showBanner(bannerFor(state, position, agent, picture));
  followup.show(state);
  rating.show(conversation);
  showWelcome();
}

function bannerFor(state, position, agent, picture) {
  if (state === "handed_off") {
    return { symbol: "clock", title: t("banner_waiting"), text: joined([...outlook(position), t("come_back_later")]) };
  }
  if (state === "agent") {
    const title = t("banner_agent", { name: agent ?? t("agent") });
    return { symbol: portrait(picture) ?? initialsOf(agent) ?? "person", title, text: t("banner_agent_text") };
  }
  if (state === "closed") {
    const action = { text: t("start_new"), run: startAnew };
    return { symbol: "check", title: t("banner_closed"), text: t("banner_closed_text"), action };
  }
  return null;
}

/** When a reply may be expected, in sentences: when people are back, else the place in the line and what is usual. */
function outlook(position) {
  if (loaded.opens_at) return [t("away_until", { when: momentOf(new Date(loaded.opens_at)) })];
  const place = position > 1 ? t("queue_position", { n: position }) : t("queue_next");
  const minutes = loaded.reply_minutes;
  if (!minutes) return [place];
  const usual =
    minutes > 55
      ? t("reply_hours", { n: Math.ceil(minutes / 60) })
      : t("reply_minutes", { n: minutes > 5 ? Math.ceil(minutes / 5) * 5 : minutes });
  return [place, usual];
}

/** An agent's picture; null if they have none. */
function portrait(sha256) {
  return sha256 ? make("img.portrait", { src: api.addressOf(sha256), alt: "", decoding: "async" }) : null;
}

function initialsOf(name) {
  const letters = [...(name ?? "").matchAll(/(?<!\p{L})\p{L}/gu)].map(([letter]) => letter);
  const shown = letters.length > 1 ? letters[0] + letters.at(-1) : letters[0];
  return shown ? make("span.initials", { "aria-hidden": "true" }, shown.toUpperCase()) : null;
}

function showBanner(banner) {
  const element = find("banner");
  element.hidden = banner === null;
  if (banner === null) {
    element.replaceChildren();
    return;
  }
  const words = make("p", {}, make("strong", {}, banner.title), joined(["", ""]), make("span", {}, banner.text));
  // Screen readers would read the same text again.
  if (element.querySelector("p")?.textContent === words.textContent) return;
  element.replaceChildren(typeof banner.symbol === "string" ? icon(banner.symbol) : banner.symbol, words);
  if (banner.action) {
    element.append(make("button.pill", { type: "button", onclick: banner.action.run }, banner.action.text));
  }
}

function showConnection(connected) {
  clearTimeout(reconnecting);
  const element = find("connection");
  if (!navigator.onLine) {
    element.textContent = t("offline");
    element.hidden = false;
  } else if (connected) {
    element.hidden = true;
    element.textContent = "";
  } else {
    reconnecting = setTimeout(() => {
      element.textContent = t("reconnecting");
      element.hidden = false;
    }, RECONNECTING_AFTER);
  }
}

/** Tell the page's scripts that something was written, not what. */
function announce({ author }) {
  if (author !== "system") parentPage.tell("message", { author });
}

/** Replies wait in conversations that are not shown. */
function showElsewhere(count) {
  elsewhere = count;
  const button = find("open-earlier");
  const label = t("earlier");
  button.setAttribute("aria-label", count ? `${label} (${t("newest")}: ${digits(count)})` : label);
  button.title = label;
  if (count) button.dataset.unread = count > 9 ? `${digits(9)}+` : digits(count);
  else delete button.dataset.unread;
}

/** An agent has seen what the customer wrote last. */
function showSeen() {
  const last = attention.lastOwn;
  if (!last?.client_id || !attention.isSeenByAgents(last.id)) return;
  thread.setDelivery(last.client_id, { kind: "sent", text: t("seen") });
}

/** @param sign {name, seconds} of an agent who writes; null: nobody does */
function showTyping(sign) {
  clearTimeout(typing);
  const element = find("agent-writing");
  element.hidden = sign === null;
  element.textContent = sign === null ? "" : t("agent_writing", { name: sign.name ?? t("agent") });
  if (sign !== null) typing = setTimeout(() => showTyping(null), sign.seconds * 1000);
}

function visitorFrom(options) {
  const visitor = { language: config.spoken };
  for (const name of ["name", "email"]) {
    if (typeof options?.[name] === "string" && options[name].trim()) visitor[name] = options[name].trim();
  }
  if (visitor.email && !/^[^@\s]+@[^@\s]+$/.test(visitor.email)) {
    console.warn(`SupportAssistant: data-email is not an address: ${visitor.email}`);
    delete visitor.email; // the site's mistake does not silence its customers
  }
  return visitor;
}

/** Object URLs of attachments, each fetched once; failures are retried on the next use. */
function cachedUrls(fetchBlob) {
  const addresses = new Map();
  return (id, options) => {
    const key = `${id} ${options.thumbnail}`;
    if (!addresses.has(key)) {
      const address = fetchBlob(id, options).then((blob) => URL.createObjectURL(blob));
      addresses.set(key, address);
      address.catch(() => addresses.delete(key));
    }
    return addresses.get(key);
  };
}
