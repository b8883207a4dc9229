// The ticket page opens at what was said last and stays there; the composer's modes are chosen by key.

const composer = document.querySelector(".composer");
const newestMessage = () => [...document.querySelectorAll("#thread .message")].at(-1);
const NEAR = 120; // pixels

/** Bring the last message into sight: its end, or its beginning if it is taller than the room for it. */
function showNewest() {
  const newest = newestMessage();
  if (!newest) return;
  const room =
    innerHeight - document.querySelector(".composer").offsetHeight - document.querySelector(".bar").offsetHeight;
  newest.scrollIntoView({ block: newest.offsetHeight > room ? "start" : "end" });
}

function isAtNewest() {
  const newest = newestMessage();
  return !newest || newest.getBoundingClientRect().bottom < innerHeight + NEAR;
}

/** Write in this mode: "reply" or "note". */
export function write(mode) {
  const choice = document.querySelector(`#mode-${mode}`);
  if (!choice) return;
  choice.checked = true;
  document.querySelector(`#${mode}-text`).focus();
}

/** Show the macros to choose from. */
export function chooseMacro() {
  const macros = document.querySelector("#macros");
  if (!macros) return;
  document.querySelector("#mode-reply").checked = true;
  document.querySelector("[popovertarget=macros]").click(); // so it opens beside its button
}

function findMacro(words) {
  for (const item of document.querySelectorAll("#macros li")) {
    item.hidden = !item.textContent.toLowerCase().includes(words.trim().toLowerCase());
  }
}

if (composer) {
  document.addEventListener("input", ({ target }) => target.id === "macro-search" && findMacro(target.value));
  document.addEventListener("keydown", (event) => {
    if (event.target.id !== "macro-search" || event.key !== "Enter") return;
    event.preventDefault(); // it would send the reply
    document.querySelector("#macros li:not([hidden]) button")?.click();
  });
  history.scrollRestoration = "manual";
  const makeRoom = () => {
    const height = document.querySelector(".composer")?.offsetHeight ?? 0;
    document.documentElement.style.scrollPaddingBlockEnd = `${height + 12}px`;
  };
  makeRoom();
  if (!location.hash) showNewest();
  const seen = new WeakMap();
  document.addEventListener("htmx:before:swap", ({ detail }) => {
    seen.set(detail.ctx, { last: newestMessage()?.id, isThere: isAtNewest() });
  });
  document.addEventListener("htmx:after:swap", ({ detail }) => {
    makeRoom();
    const before = seen.get(detail.ctx);
    if (before?.isThere && before.last !== newestMessage()?.id) showNewest();
  });
  document.addEventListener("click", ({ target, detail }) => {
    // By pointer, a choice leads to its text; by keyboard, one may still be choosing.
    if (detail && target.name === "mode" && target.id !== "mode-draft") write(target.id.replace("mode-", ""));
  });
}
