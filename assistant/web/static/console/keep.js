// When a panel refreshes, what the agent has typed or opened in it is restored, and so is keyboard focus. If the draft
// they were editing is gone (sent or replaced by a newer one), their text moves to the reply box; if the whole ticket is,
// it is shown in its place.

const FIELDS = "main textarea[id], main input[id]:not([type=hidden], [type=radio]), main select[id]";

export function isChanged(field) {
  if ("typed" in field.dataset) return true; // returned with an error: the page holds the only copy
  if (field.tagName !== "SELECT") return field.value !== field.defaultValue;
  const original = [...field.options].find((option) => option.defaultSelected) ?? field.options[0];
  return field.value !== original?.value;
}

/** What has been typed and opened on the page, except what the form has submitted: its response has that. */
function remember(answeredForm, submitted) {
  const fields = [...document.querySelectorAll(FIELDS)];
  const typed = fields.filter((field) => isChanged(field) && submitted?.get(field.id) !== field.value);
  return {
    typed: typed.map(({ id, value, dataset }) => ({ id, value, isDraft: "draft" in dataset, refused: dataset.typed })),
    opened: [...document.querySelectorAll("details[id]")].map((details) => [details.id, details.open]),
    mode: answeredForm?.closest(".composer") ? null : modeInUse(),
    focusTargets: focusTargetsNear(lastFocused),
  };
}

/** The composer's mode, if it was chosen or somebody writes in it: a new draft does not take its place. */
function modeInUse() {
  const mode = document.querySelector(".composer input[name=mode]:checked");
  if (!mode) return null;
  const isWriting = [...document.querySelectorAll(".composer textarea")].some((area) => isChanged(area) && area.value);
  return isWriting || mode.defaultChecked === false || mode.closest(".composer").contains(lastFocused) ? mode.id : null;
}

/** What a panel says of what was refused: it stays until something else is sent there. */
function refusalIn(panel) {
  const words = panel.querySelector(":scope > p.error");
  return words && { panel: panel.id, words };
}

function tellAgain({ panel: id, words }) {
  const panel = document.getElementById(id);
  if (!panel || panel.querySelector("p.error")) return;
  words.removeAttribute("role"); // it has been read out
  panel.prepend(words);
}

/** What forms of a panel were returned with: a reason, perhaps a question. It stays until the form is sent again. */
function askedIn(panel) {
  return [...panel.querySelectorAll(".asked")].filter((one) => one.childElementCount);
}

function askAgain(asked) {
  const place = document.getElementById(asked.id);
  if (place && !place.childElementCount) place.replaceWith(asked);
}

function restore({ typed, opened, mode, focusTargets, told, asked }) {
  const unsent = document.querySelector("#unsent");
  for (const [id, open] of opened) {
    const details = document.getElementById(id);
    if (details && open) details.open = true;
  }
  const restored = [];
  for (const { id, value, isDraft, refused } of typed) {
    const field = document.getElementById(id);
    if (field && !isChanged(field)) {
      field.value = value;
      if (refused !== undefined) field.dataset.typed = refused;
      restored.push(field);
    } else if (!field && unsent) keepUnsent(unsent, id, value);
    else if (!field && isDraft) moveToReply(value);
  }
  const choice = mode && document.getElementById(mode);
  if (choice) choice.checked = true;
  for (const form of document.querySelectorAll("form.correctable")) markChanged(form);
  for (const area of document.querySelectorAll("textarea")) fit(area);
  if (told) tellAgain(told);
  asked.forEach(askAgain);
  refocus(focusTargets);
  for (const field of restored) field.dispatchEvent(new Event("restored", { bubbles: true }));
}

/** The ticket is out of sight: what was typed there can be copied. */
function keepUnsent(unsent, id, text) {
  if (!text.trim()) return;
  const area = document.createElement("textarea");
  Object.assign(area, { id, value: text, readOnly: true, dir: "auto" });
  area.setAttribute("aria-label", "What you had typed");
  area.dataset.typed = "";
  unsent.append(area);
  unsent.hidden = false;
}

function moveToReply(text) {
  const reply = document.querySelector("#reply-text");
  if (!reply || reply.value.includes(text)) return;
  reply.value = reply.value ? `${reply.value}\n\n${text}` : text;
  document.querySelector("#mode-reply").checked = true;
  const notice = document.querySelector("#kept");
  notice.textContent = "The draft you were editing is gone. Your text is in the reply box.";
  notice.hidden = false;
}

// The element that last had focus: a button loses it when it is disabled during its request.
let lastFocused = null;
document.addEventListener("focusin", (event) => (lastFocused = event.target));
document.addEventListener("pointerdown", () => (lastFocused = null));

/** Ids that may take the focus when a panel is replaced: the same element, those before it, the panel itself. */
function focusTargetsNear(element) {
  const panel = element?.closest("main section[id]");
  if (!panel) return [];
  const stops = [...panel.querySelectorAll("a, button, input:not([type=hidden]), select, textarea, summary")];
  const before = stops.slice(0, stops.indexOf(element) + 1).reverse();
  return [...before.map((stop) => stop.id).filter(Boolean), panel.id];
}

function refocus(ids) {
  if (!ids.length || document.activeElement !== document.body) return;
  const target = ids.map((id) => document.getElementById(id)).find(Boolean);
  if (target?.matches("section")) target.tabIndex = -1;
  target?.focus({ preventScroll: true });
}

/** "Save corrections" appears once there is something to save. */
function markChanged(form) {
  const changed = [...form.elements].some((field) => field.matches("input, select, textarea") && isChanged(field));
  form.classList.toggle("is-changed", changed);
}

/** Make a text area as tall as its text, where CSS cannot. */
function fit(area) {
  if (CSS.supports("field-sizing", "content")) return;
  area.dataset.rows ??= area.rows;
  area.rows = Math.max(Number(area.dataset.rows), area.value.split("\n").length);
}

/** A choice in this panel is about to be submitted. Leave the panel alone: the response refreshes it. */
function isChoosing(panel) {
  const fields = panel.querySelectorAll('form[hx-trigger^="change"] :is(select, input:not([type="hidden"]))');
  return [...fields].some(isChanged);
}

// By request, what its form said. The form may be another one once the response is there, as panels renew themselves.
const submissions = new WeakMap();
document.addEventListener("htmx:before:request", ({ detail: { ctx } }) => {
  const fields = ctx.request?.method === "POST" ? (ctx.sourceElement.closest("form")?.elements ?? []) : [];
  submissions.set(ctx, new Map([...fields].map((field) => [field.id, field.value])));
});

const remembered = new WeakMap();
document.addEventListener("htmx:before:swap", (event) => {
  const { ctx } = event.detail;
  const isAction = ctx.request?.method === "POST";
  if (!isAction && isChoosing(ctx.sourceElement)) {
    event.preventDefault();
    return;
  }
  // Where the ticket is out of sight, the answer has nothing of what was submitted.
  const submitted = ctx.hx?.retarget === "#live" ? null : submissions.get(ctx);
  const kept = remember(isAction ? ctx.sourceElement.closest("form") : null, submitted);
  const panel = ctx.sourceElement;
  remembered.set(ctx, { ...kept, told: isAction ? null : refusalIn(panel), asked: isAction ? [] : askedIn(panel) });
});
document.addEventListener("htmx:after:swap", (event) => {
  const kept = remembered.get(event.detail.ctx);
  if (kept) restore(kept);
});
document.addEventListener("input", (event) => {
  const form = event.target.closest("form.correctable");
  if (form) markChanged(form);
  if (event.target.tagName === "TEXTAREA") fit(event.target);
});
document.addEventListener("reset", (event) => setTimeout(() => markChanged(event.target)));
for (const form of document.querySelectorAll("form.correctable")) markChanged(form);
for (const area of document.querySelectorAll("textarea")) fit(area);

// What would be lost with the page: not what is saved by itself (saving.js), unless that was refused.
const UNSAVED =
  "#draft textarea, #unsent textarea, .correctable :is(input, textarea, select), #new-tag, #other-ticket, #fields [data-typed]";
let leavingBy = null; // the form that is submitted
document.addEventListener("submit", (event) => {
  if (!event.defaultPrevented) leavingBy = event.target;
});
window.addEventListener("beforeunload", (event) => {
  const typed = [...document.querySelectorAll(UNSAVED)].filter((field) => isChanged(field) && field.value.trim());
  if (typed.some((field) => !leavingBy || field.form !== leavingBy)) event.preventDefault();
});
