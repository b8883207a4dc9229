// The customer's conversations, to go back to one or to begin another.

import { icon, make } from "./dom.js";
import { dayOf, digits, t, timeOf, wordNotices } from "./texts.js";

export class Earlier {
  #elements;
  #api;
  #screens;
  #onOpen;

  /**
   * @param elements {list, status}
   * @param api lists conversations
   * @param onOpen called with the id of the conversation to go to
   */
  constructor(elements, { api, screens, onOpen }) {
    this.#elements = elements;
    this.#api = api;
    this.#screens = screens;
    this.#onOpen = onOpen;
  }

  async open() {
    this.#screens.open("earlier");
    const { list, status } = this.#elements;
    const found = this.#api.token ? await this.#api.conversations().catch(() => null) : { conversations: [] };
    const all = found?.conversations ?? [];
    const focused = list.contains(document.activeElement) ? document.activeElement.value : null;
    list.replaceChildren(...all.map((one) => this.#row(one)));
    // Whoever was in the list of before, which has been here until now, stays where they were.
    if (focused) [...list.querySelectorAll("button")].find((row) => row.value === focused)?.focus();
    status.textContent = all.length ? "" : t(found ? "earlier_none" : "help_failed");
  }

  #row(one) {
    const at = new Date(one.updated_at);
    const day = dayOf(at);
    const when = make("time", { dateTime: one.updated_at }, day === t("today") ? timeOf(at) : day);
    const said = wordNotices(one.last_notices) ?? one.last_text;
    const isCurrent = one.id === this.#api.conversation;
    const state = make("small", {}, one.state === "closed" ? t("subtitle_closed") : "", when);
    const unread = one.unread ? make("span.unread", { "aria-label": t("newest") }, digits(one.unread)) : null;
    const words = make("span.last", { dir: "auto" }, said || t("figure"));
    const properties = {
      type: "button",
      onclick: () => this.#onOpen(one.id),
      "aria-current": isCurrent ? "true" : null,
      value: one.id,
    };
    return make("li", {}, make("button.result", properties, state, words, unread, icon("chevron")));
  }
}
