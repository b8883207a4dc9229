// "Did this help?" under an answer. If it did not, the customer can say what is missing, and ask for a person.

import { icon, make } from "./dom.js";
import { t } from "./texts.js";

/**
 * @param message the answer
 * @param onRate rates it (id, true | false | null, feedback); resolves once the server has stored it
 * @param onPerson asks for a person
 */
export function helpful(message, { onRate, onPerson }) {
  const holder = make("div.rating");
  let value = message.helpful ?? null;
  const buttons = [true, false].map((choice) => {
    const label = t(choice ? "helpful_yes" : "helpful_no");
    const button = make("button", { type: "button", "aria-label": label, title: label }, icon(choice ? "up" : "down"));
    button.addEventListener("click", () => rate(value === choice ? null : choice));
    return [choice, button];
  });
  const show = () => {
    for (const [choice, button] of buttons) button.setAttribute("aria-pressed", String(value === choice));
    holder.querySelector(".feedback")?.remove();
  };
  // Pressing the chosen one again takes it back.
  const rate = (next) => {
    const before = value;
    value = message.helpful = next;
    show();
    if (next === false) holder.append(feedback(message, { onRate, onPerson }));
    onRate(message.id, next).catch(() => {
      value = message.helpful = before;
      show();
    });
  };
  const group = { role: "group", "aria-label": t("helpful") };
  holder.append(make("div.verdict", group, make("span", {}, t("helpful")), ...buttons.map(([, button]) => button)));
  show();
  return holder;
}

function feedback(message, { onRate, onPerson }) {
  const text = make("textarea", { rows: 2, maxLength: 2000, dir: "auto" });
  const send = make("button.pill", { type: "submit" }, t("feedback_send"));
  const person = make("button.link", { type: "button", onclick: onPerson }, t("person"));
  const form = make("form.feedback", {}, make("label", {}, make("span", {}, t("feedback_ask")), text), send, person);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!text.value.trim()) return text.focus();
    send.disabled = true;
    const stored = await onRate(message.id, false, text.value.trim()).catch(() => null);
    send.disabled = false;
    if (!stored) return;
    message.feedback = text.value.trim();
    form.replaceChildren(make("p", { role: "status" }, t("feedback_thanks")), person);
    person.focus(); // what had it is gone
  });
  return form;
}
