// The widget's page: finds the elements, connects the parts, and shows the status around the conversation.

import { setAccent } from "./accent.js";
import { Api } from "./api.js";
import { Chat } from "./chat.js";
import { Composer } from "./composer.js";
import { icon, make } from "./dom.js";
import { ParentPage } from "./parent.js";
import { readContext } from "./site.js";
import { Outbox } from "./store.js";
import { fillIn, joined, onLanguage, t, useLanguage } from "./texts.js";
import { setTheme } from "./theme.js";
import { Thread } from "./thread.js";
import { Viewer } from "./viewer.js";

const RECONNECTING_AFTER = 3_000; // shorter interruptions are not shown

const find = (id) => document.getElementById(id);
const config = JSON.parse(document.body.dataset.config);
useLanguage(config);

const api = new Api(config.api);
// Figures of articles have ids of their own kind; all others are attachments.
const photo = cachedUrls((id, options) =>
  id.startsWith("fig_") ? api.figure(id, options) : api.attachment(id, options),
);
const viewer = new Viewer(find("viewer"), { photo, onToggle: (open) => parentPage.tell("resize", { large: open }) });
const thread = new Thread(
  { log: find("log"), scroller: find("scroller"), writing: find("writing"), newest: find("newest") },
  {
    photo,
    onOpenPhoto: (attachment, thumbnail) => viewer.open(attachment, thumbnail),
    onRate: (id, helpful) => api.rate(id, helpful),
  },
);
const chat = new Chat({
  api,
  thread,
  outbox: new Outbox(),
  view: {
    onState: showState,
    onConnection: showConnection,
    onNews: (message) => {
      announce(message);
      countNews(message);
    },
    onSent: announce,
    onStarted: () => parentPage.tell("started"),
  },
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
  (message) => {
    find("hint").hidden = true;
    void chat.send(message);
    showWelcome();
  },
);
const parentPage = new ParentPage(config.origins, config.parent, {
  hello: ({ options }) => {
    setAccent(options?.accent);
    setTheme(options?.theme);
    api.siteContext = readContext(options?.context);
    chat.visitor = visitorFrom(options);
    find("close").hidden = false;
    showState(chat.conversation);
  },
  opened: ({ focus }) => {
    isOpen = true;
    unread = 0;
    if (!thread.isEmpty) thread.scrollToEnd();
    if (focus !== false) composer.focus();
  },
  closed: () => (isOpen = false),
  language: ({ language }) => speak(language),
  context: ({ context }) => (api.siteContext = readContext(context)),
  theme: ({ theme }) => setTheme(theme),
  compose: ({ text }) => composer.suggest(String(text ?? "").slice(0, config.max_chars)),
});

chat.visitor = visitorFrom({});
let isOpen = !parentPage.isEmbedded;
let unread = 0;
let reconnecting = null;
let calls = 0; // of speak

fillIn(document);
showState(chat.conversation);
showConnection(true);
onLanguage(() => {
  fillIn(document);
  composer.reword();
  chat.reword();
  showConnection(true);
});
find("person").addEventListener("click", askForPerson);
find("welcome-photo").addEventListener("click", () => composer.openPicker());
find("attach").addEventListener("click", () => composer.openPicker());
find("shoot").addEventListener("click", () => composer.openCamera());
find("close").addEventListener("click", () => parentPage.tell("close"));
addEventListener("online", () => showConnection(true));
addEventListener("offline", () => showConnection(false));
addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !find("viewer").open) parentPage.tell("close");
});
chat.resume().finally(() => {
  speakLike(chat.conversation.language);
  showWelcome();
  document.body.classList.add("ready");
});

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
  if (!begun) {
    find("hint").hidden = false;
    composer.focus();
  }
}

function showWelcome() {
  find("welcome").hidden = !thread.isEmpty;
}

function showState({ state, queue_position: position, agent_name: agent }) {
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
  showBanner(bannerFor(state, position, agent));
}

function bannerFor(state, position, agent) {
  if (state === "handed_off") {
    const place = position > 1 ? t("queue_position", { n: position }) : t("queue_next");
    return { symbol: "clock", title: t("banner_waiting"), text: joined([place, t("come_back_later")]) };
  }
  if (state === "agent") {
    return { symbol: "person", title: t("banner_agent", { name: agent ?? t("agent") }), text: t("banner_agent_text") };
  }
  if (state === "closed") {
    const startAnew = () => {
      chat.startAnew();
      showWelcome();
      composer.focus();
    };
    const action = { text: t("start_new"), run: startAnew };
    return { symbol: "check", title: t("banner_closed"), text: t("banner_closed_text"), action };
  }
  return null;
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
  element.replaceChildren(icon(banner.symbol), words);
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

function countNews(message) {
  if (isOpen || message.author === "system") return;
  unread += 1;
  parentPage.tell("unread", { count: unread });
}

function visitorFrom(options) {
  const visitor = { language: config.spoken };
  for (const name of ["name", "email"]) {
    if (typeof options?.[name] === "string" && options[name].trim()) visitor[name] = options[name].trim();
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
