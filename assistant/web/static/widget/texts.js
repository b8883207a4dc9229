// Texts in the customer's language. The server gives the page the catalogue of one language (assistant/wording); what
// counts {n} has a form for each of its plural categories. What the assistant and agents write is shown as is.

let texts = {};
let locale = "en";
let isRightToLeft = false;
let number = new Intl.NumberFormat("en");
let plural = new Intl.PluralRules("en");
let clock;
let day;
let dayOfYear;
const listeners = [];

/**
 * Speak another language: what `fillIn` filled is filled again, and whoever shows more is told (`onLanguage`).
 * @param language {language, locale, direction, texts}: the catalogue, and the tag whose dates and digits are used
 */
export function useLanguage({ language, locale: tag, direction, texts: catalogue }) {
  texts = catalogue;
  locale = isKnown(tag) ? tag : language;
  isRightToLeft = direction === "rtl";
  number = new Intl.NumberFormat(locale, { maximumFractionDigits: 1 });
  plural = new Intl.PluralRules(locale);
  clock = new Intl.DateTimeFormat(locale, { timeStyle: "short" });
  day = new Intl.DateTimeFormat(locale, { weekday: "long", day: "numeric", month: "long" });
  dayOfYear = new Intl.DateTimeFormat(locale, { day: "numeric", month: "long", year: "numeric" });
  document.documentElement.lang = language;
  document.documentElement.dir = direction;
  for (const listener of listeners) listener();
}

/** Call `listener` after every change of the language, to word again what it shows. */
export function onLanguage(listener) {
  listeners.push(listener);
}

/** A number in the customer's digits. */
export function digits(value) {
  return number.format(value);
}

/** A number beside a text that we have not worded: Arabic digits stand in Arabic texts only. */
export function digitsBeside(text, value) {
  return /\p{Script=Arabic}/u.test(text) ? digits(value) : String(value);
}

/** The time of day, with 12 or 24 hours as is usual where the customer lives. */
export function timeOf(date) {
  return clock.format(date);
}

/** A time within the next days with its weekday, a later one with its date, in the reader's time zone. */
export function momentOf(date) {
  const isSoon = date - Date.now() < 6 * 86_400_000;
  const day = isSoon ? { weekday: "long" } : { day: "numeric", month: "long" };
  return new Intl.DateTimeFormat(locale, { ...day, hour: "numeric", minute: "2-digit" }).format(date);
}

/** "Today", "Yesterday", or the date; with its year if that is another one. */
export function dayOf(date) {
  const today = new Date();
  const daysAgo = (days) => new Date(today.getFullYear(), today.getMonth(), today.getDate() - days).toDateString();
  if (date.toDateString() === daysAgo(0)) return t("today");
  if (date.toDateString() === daysAgo(1)) return t("yesterday");
  return (date.getFullYear() === today.getFullYear() ? day : dayOfYear).format(date);
}

/** The text with its {placeholders} filled in. */
export function t(key, values = {}) {
  const text = texts[key] ?? key;
  const form = typeof text === "string" ? text : (text[plural.select(values.n)] ?? text.other);
  return form.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? shown(values[name]) : whole));
}

/** What the server tells as {code, params}, or as a list of them: null if there is nothing, or a code is not known. */
export function wordNotices(notices) {
  const all = [notices ?? []].flat();
  if (!all.length || all.some(({ code }) => !Object.hasOwn(texts, code))) return null;
  return joined(all.map(({ code, params }) => t(code, params)));
}

/** How long from now, in words: "in 45 seconds". */
export function inSeconds(seconds) {
  const words = new Intl.RelativeTimeFormat(locale);
  return seconds < 90 ? words.format(Math.ceil(seconds), "second") : words.format(Math.ceil(seconds / 60), "minute");
}

/** Sentences as one text: Chinese and Japanese put no spaces between them. */
export function joined(sentences) {
  return sentences.join(/^(zh|ja)\b/.test(locale) ? "" : " ");
}

/** Fill in every element that names a text: data-text, data-label (aria-label), data-hint (placeholder). */
export function fillIn(root) {
  for (const element of root.querySelectorAll("[data-text]")) element.textContent = t(element.dataset.text);
  for (const element of root.querySelectorAll("[data-label]")) {
    element.setAttribute("aria-label", t(element.dataset.label));
    if (element.localName === "button") element.title = t(element.dataset.label);
  }
  for (const element of root.querySelectorAll("[data-hint]")) element.placeholder = t(element.dataset.hint);
}

function shown(value) {
  if (typeof value === "number") return number.format(value);
  // A name in the other direction must not carry the words around it along.
  const isApart = isRightToLeft || /[\u0590-\u08ff\u202a-\u202e\ufb1d-\ufdff\ufe70-\ufefc]/.test(value);
  return isApart ? `\u2068${value}\u2069` : String(value);
}

function isKnown(tag) {
  try {
    return Intl.NumberFormat.supportedLocalesOf(tag).length > 0;
  } catch {
    return false; // not well-formed
  }
}
