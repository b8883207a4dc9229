// Forms that save by themselves what is chosen or typed in them: once it is chosen or left, and before the page is.

import { isChanged } from "./keep.js";

const SAVED = 'form[hx-trigger^="change delay"] :is(select, input:not([type="hidden"]))';

/** Not saved, and not refused: what was refused is told, and is for whoever typed it to change. */
const isUnsaved = (field) => field.matches(SAVED) && isChanged(field) && !("typed" in field.dataset);
const save = (field) => field.dispatchEvent(new Event("change", { bubbles: true }));

// A panel that is replaced takes with it what its fields have announced, and whether they have been typed in.
document.addEventListener("restored", ({ target }) => {
  if (isUnsaved(target) && target !== document.activeElement) save(target);
});
document.addEventListener("focusout", ({ target }) => {
  if (isUnsaved(target)) save(target);
});

const sent = new WeakMap();

/** The answer may come when the page is gone: the next one says what could not be saved. */
function saveBeforeLeaving() {
  for (const field of document.querySelectorAll(SAVED)) {
    if (!isUnsaved(field) || sent.get(field) === field.value) continue;
    sent.set(field, field.value);
    const body = new URLSearchParams(new FormData(field.form));
    body.set("leaving", "1");
    fetch(field.form.action, { method: "POST", body, keepalive: true }).catch(() => {});
  }
}
addEventListener("beforeunload", saveBeforeLeaving);
addEventListener("pagehide", saveBeforeLeaving); // phones know no other
