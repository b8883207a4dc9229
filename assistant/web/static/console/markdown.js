// What agents and the assistant write, as the widget shows it to customers; and a preview of it.

import { prose } from "../widget/prose.js";

/** Replace an element's text by what it says: lists, tables, bold, code and links. */
function show(element, text, hasLinks = true) {
  element.replaceChildren(prose(text, [], { hasLinks }));
  element.classList.add("prose");
}

function showAll() {
  for (const element of document.querySelectorAll("[data-prose]:not(.prose)")) {
    show(element, element.textContent, element.dataset.prose === "agent");
  }
}
document.addEventListener("htmx:after:swap", showAll);
showAll();

function togglePreview(button) {
  const form = button.form;
  const [preview, area] = [form.querySelector(".preview"), form.querySelector("textarea")];
  preview.hidden = !preview.hidden;
  button.setAttribute("aria-pressed", String(!preview.hidden));
  show(preview, area.value || "Nothing written yet.");
}
document.addEventListener("click", ({ target }) => {
  if (target.matches?.(".show-preview")) togglePreview(target);
});
document.addEventListener("input", ({ target }) => {
  const preview = target.form?.querySelector(".preview:not([hidden])");
  if (preview && target.tagName === "TEXTAREA") show(preview, target.value);
});
