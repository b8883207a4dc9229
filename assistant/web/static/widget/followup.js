// How the customer hears of replies once they have left: the address for replies, and a copy of the conversation.

import { make } from "./dom.js";
import { t, wordNotices } from "./texts.js";

export class Followup {
  #element;
  #api;
  #byMail = null; // {email, proved}, or null: no mail is sent
  #isShown = false;
  #isAsking = false;
  #told = ""; // what came of the last action

  constructor(element, api) {
    this.#element = element;
    element.tabIndex = -1;
    this.#api = api;
  }

  /** @param byMail as the server says; `state`: who has the conversation. While the assistant answers there is no wait. */
  show({ byMail = this.#byMail, state }) {
    this.#byMail = byMail;
    this.#isShown = state !== "assistant";
    this.draw();
  }

  draw() {
    this.#element.hidden = !this.#isShown || this.#byMail === null;
    if (this.#element.hidden || this.#element.contains(document.activeElement)) return;
    this.#redraw();
  }

  #redraw() {
    const { email, proved } = this.#byMail ?? {};
    const parts = [];
    if (this.#isAsking) parts.push(this.#form());
    else if (!email) parts.push(link(t("by_mail_offer"), () => this.#ask()));
    else parts.push(make("span", { dir: "auto" }, t("by_mail_set", { email })));
    if (proved) parts.push(link(t("transcript"), () => this.#sendTranscript()));
    if (this.#told) parts.push(make("span", { role: "status", dir: "auto" }, this.#told));
    this.#element.replaceChildren(...parts);
  }

  #ask() {
    this.#isAsking = true;
    this.#told = "";
    this.#redraw();
    this.#element.querySelector("input").focus();
  }

  #form() {
    const field = make("input", { type: "email", required: true, autocomplete: "email", maxLength: 320, dir: "ltr" });
    field.setAttribute("aria-label", t("by_mail_address"));
    field.placeholder = t("by_mail_address");
    const onsubmit = (event) => {
      event.preventDefault();
      void this.#try(async () => {
        this.#byMail = await this.#api.setAddress(field.value);
        this.#isAsking = false;
        return "";
      }).then(() => (this.#element.querySelector("input") ?? this.#element).focus()); // what had it has been redrawn
    };
    return make("form", { onsubmit }, field, make("button.pill", {}, t("by_mail_save")));
  }

  #sendTranscript() {
    const sent = this.#try(async () => t("transcript_sent", await this.#api.sendTranscript()));
    return sent.then(() => this.#element.focus()); // the button has been redrawn
  }

  async #try(action) {
    try {
      this.#told = await action();
    } catch (problem) {
      this.#told = wordNotices(problem.notice) ?? t("not_sent");
    }
    this.#redraw();
  }
}

function link(text, onclick) {
  return make("button.link", { type: "button", onclick }, text);
}
