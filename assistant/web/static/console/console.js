// What the console needs beyond htmx: typed text survives refreshes (keep.js, saving.js), failures are seen (line.js), relative
// times, a photo viewer, keys.

import "./keep.js";
import "./saving.js";
import "./markdown.js";
import "./presence.js";
import "./sending.js";
import "./line.js";
import "./pasting.js";
import "./viewer.js";
import { chooseMacro, write } from "./composer.js";
import { chooseArticle } from "./inserting.js";
import { togglePalette } from "./palette.js";
import { pickRow } from "./picking.js";

const UNITS = [
  ["day", 86400],
  ["hour", 3600],
  ["minute", 60],
];
const words = new Intl.RelativeTimeFormat("en", { numeric: "always", style: "short" });

function showAges() {
  for (const time of document.querySelectorAll("time[data-ago]")) {
    const date = new Date(time.dateTime);
    const seconds = (Date.now() - date) / 1000;
    const [unit, length] = UNITS.find(([, size]) => seconds >= size) ?? [null, 1];
    time.textContent = unit ? words.format(-Math.floor(seconds / length), unit) : "just now";
    time.title = date.toLocaleString();
  }
  for (const time of document.querySelectorAll("time[data-due]")) {
    const date = new Date(time.dateTime);
    const seconds = (date - Date.now()) / 1000;
    const [unit, length] = UNITS.find(([, size]) => Math.abs(seconds) >= size) ?? UNITS.at(-1);
    time.textContent = `${seconds > 0 ? "due" : "was due"} ${words.format(Math.trunc(seconds / length), unit)}`;
    time.classList.toggle("overdue", seconds <= 0);
    time.title = date.toLocaleString();
  }
}
function showTimes() {
  for (const time of document.querySelectorAll("time[data-at]")) {
    time.textContent = new Date(time.dateTime).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
  }
}
// A time that is typed is one of this browser's, too. The server is told how far that is from UTC on that day.
document.addEventListener("formdata", ({ target, formData }) => {
  const field = formData.has("zone") && target.querySelector('input[type="datetime-local"]');
  if (!field?.value) return;
  const minutes = -new Date(field.value).getTimezoneOffset();
  const [hours, rest] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  formData.set("zone", `${minutes < 0 ? "-" : "+"}${String(hours).padStart(2, "0")}:${String(rest).padStart(2, "0")}`);
});

showTimes();
document.addEventListener("htmx:after:swap", showTimes);
showAges();
setInterval(showAges, 30_000);
document.addEventListener("htmx:after:swap", showAges);

// Announces new messages to screen readers.
let messageCount = document.querySelectorAll(".message").length;
document.addEventListener("htmx:after:swap", () => {
  const messages = [...document.querySelectorAll(".message")];
  const author = messages.at(-1)?.querySelector("strong")?.textContent;
  if (messages.length > messageCount) document.querySelector("#news").textContent = `New message from ${author}`;
  messageCount = messages.length;
});

// Hovering or focusing a line of text or a field highlights its place in the photo.
for (const [name, on] of [
  ["mouseover", true],
  ["focusin", true],
  ["mouseout", false],
  ["focusout", false],
]) {
  document.addEventListener(name, (event) => {
    const line = event.target.closest?.(".evidence [data-line]");
    const lineBox = line?.closest("[data-photo]").querySelector(`.overlay [data-line="${line.dataset.line}"]`);
    lineBox?.classList.toggle("is-pointed-at", on);
    const field = event.target.closest?.(".evidence [data-field]");
    const fieldBox = field?.closest("[data-photo]").querySelector(`.overlay [data-field="${field.dataset.field}"]`);
    fieldBox?.classList.toggle("is-shown", on);
  });
}

function moveAlongRows(by) {
  const links = [...document.querySelectorAll(".queue .main-cell a")];
  const at = links.indexOf(document.activeElement);
  links[Math.max(0, Math.min(links.length - 1, at + by))]?.focus();
}

const KEYS = {
  "/": () => document.querySelector("#q")?.focus(),
  j: () => moveAlongRows(1),
  k: () => moveAlongRows(-1),
  r: () => write("reply"),
  n: () => write("note"),
  m: chooseMacro,
  i: chooseArticle,
  "?": () => document.querySelector("#keys")?.showModal(),
  x: () => pickRow(document.activeElement.closest(".queue tr")),
};

/** What says so itself is pressed by its key, if it is on the page. */
function pressByKey(key) {
  const element = document.querySelector(`main [aria-keyshortcuts="${CSS.escape(key)}"]:is(a, button):not(dialog *)`);
  element?.click();
  return Boolean(element);
}

document.addEventListener("keydown", (event) => {
  if (event.key === "k" && (event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey) {
    event.preventDefault();
    togglePalette();
    return;
  }
  const typing = event.target.closest?.("input, textarea, select, dialog[open]");
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.tagName === "TEXTAREA") {
    event.target.form.requestSubmit(event.target.form.querySelector("button.primary"));
  } else if (!typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    if (KEYS[event.key]) KEYS[event.key]();
    else if (event.key.length > 1 || !pressByKey(event.key)) return;
    event.preventDefault();
  }
});
