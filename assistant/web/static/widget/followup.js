// How the customer hears of replies once they have left: the address for replies, the code that proves it to be theirs, and
// a copy of the conversation. Or, without a conversation, the address and the code alone, to find those of another device.

import { make } from "./dom.js";
import { inSeconds, joined, t, wordNotices } from "./texts.js";

export class Followup {
  #element;
  #api;
  #chat;
  #onProved;
  #byMail = null; // {email, proved, provable, code_to, code_minutes}, or null: no mail is sent
  #state = "assistant";
  #isAsking = false;
  #code = ""; // as it is typed, until it is right or there is a new one
  #told = ""; // what came of the last action

  /**
   * @param chat {visitor, begin(), prove(code)}
   * @param onProved without a conversation: called once the address is proved
   */
  constructor(element, api, chat, onProved = null) {
    this.#element = element;
    element.tabIndex = -1;
    this.#api = api;
    this.#chat = chat;
    this.#onProved = onProved;
    if (onProved) this.#state = "alone";
  }

  /** @param byMail where replies are sent, as the server says when the conversation is loaded */
  load(byMail) {
    const wasProvable = this.#byMail?.provable;
    this.#byMail = byMail;
    if (!wasProvable || byMail?.provable) return this.draw();
    const hadFocus = this.#element.contains(document.activeElement);
    this.#isAsking = false; // proved, by another tab perhaps
    this.#redraw();
    this.draw();
    if (hadFocus) this.#focus();
  }

  /** @param state who has the conversation: while the assistant answers there is no wait */
  show(state) {
    if (state !== this.#state) this.#told = ""; // has been read
    this.#state = state;
    this.draw();
  }

  draw() {
    this.#element.hidden = this.#state === "assistant" || this.#byMail === null;
    if (this.#element.hidden || this.#element.contains(document.activeElement)) return;
    this.#redraw();
  }

  #redraw() {
    const { email, proved, provable, code_to: codeTo } = this.#byMail ?? {};
    const change = link(t("csat_change"), () => this.#ask());
    const told = this.#told ? make("p.told", { role: "status", dir: "auto" }, this.#told) : null;
    const parts = [];
    if (this.#isAsking) parts.push(this.#addressForm());
    else if (email) parts.push(said(t("by_mail_set", { email }), proved ? null : change));
    else parts.push(link(t(this.#onProved ? "code_find" : "by_mail_offer"), () => this.#ask()));
    if (codeTo && !this.#isAsking) parts.push(...this.#codeParts(codeTo, told));
    else if (email && provable && !this.#isAsking) parts.push(link(t("code_offer"), () => this.#sendCode(email)));
    if (proved) parts.push(link(t("transcript"), () => this.#sendTranscript()));
    if (told && !parts.includes(told)) parts.push(told);
    this.#element.replaceChildren(...parts);
  }

  #ask() {
    this.#isAsking = true;
    this.#told = "";
    this.#redraw();
    this.#focus();
  }

  #addressForm() {
    const field = make("input", { type: "email", required: true, autocomplete: "email", maxLength: 320, dir: "ltr" });
    field.ariaLabel = field.placeholder = t(this.#onProved ? "prechat_email" : "by_mail_address");
    field.value = this.#byMail.email ?? this.#chat.visitor.email ?? "";
    return form(field, t(this.#onProved ? "code_offer" : "by_mail_save"), () =>
      this.#try(async () => {
        if (this.#onProved) return this.#requestCode(field.value);
        this.#byMail = await this.#api.setAddress(field.value);
        this.#isAsking = false;
        return this.#byMail.provable ? this.#requestCode(this.#byMail.email) : "";
      }),
    );
  }

  #codeParts(email, told) {
    const explained = said(joined([t("code_sent", { email }), t("code_valid", { n: this.#byMail.code_minutes })]));
    explained.id = "code-sent";
    const field = make("input.code", { required: true, autocomplete: "one-time-code", maxLength: 30, dir: "ltr" });
    field.inputMode = "numeric";
    field.value = this.#code;
    field.setAttribute("aria-label", t("code_label"));
    field.setAttribute("aria-describedby", explained.id);
    field.placeholder = t("code_label");
    const confirm = () =>
      this.#try(async () => {
        this.#code = field.value;
        await this.#chat.prove(field.value).catch((problem) => {
          if (this.#byMail.provable) throw problem; // else it is proved: an answer was lost
        });
        this.#code = "";
        this.#onProved?.();
        return t("code_proved", { email });
      });
    const again = link(t("code_again"), () => this.#sendCode(email));
    return [explained, form(field, t("code_confirm"), confirm), told ?? "", said(t("code_missing"), again)];
  }

  #sendCode(email) {
    return this.#try(() => this.#requestCode(email));
  }

  async #requestCode(email) {
    await this.#chat.begin();
    const { email: codeTo } = await this.#api.sendCode(email, this.#chat.visitor.language);
    this.#byMail.code_to = codeTo;
    this.#code = "";
    this.#isAsking = false;
    return "";
  }

  #sendTranscript() {
    return this.#try(async () => t("transcript_sent", await this.#api.sendTranscript()));
  }

  /** @param action resolves to what came of it, in words */
  async #try(action) {
    try {
      this.#told = await action();
    } catch (problem) {
      this.#told = whyNot(problem);
    }
    this.#redraw();
    this.#focus(); // what had it has been redrawn
  }

  #focus() {
    (this.#element.querySelector("input") ?? this.#element).focus();
  }
}

function whyNot({ notice, retryAfter, status }) {
  if (status === 429 && retryAfter) return t("code_wait", { when: inSeconds(retryAfter) });
  return wordNotices(notice) ?? t("help_failed");
}

function form(field, text, onSubmit) {
  const onsubmit = (event) => {
    event.preventDefault();
    void onSubmit();
  };
  return make("form", { onsubmit }, field, make("button.pill", {}, text));
}

/** @param link what can be done about it, or null */
function said(text, link) {
  return make("p", {}, make("span", { dir: "auto" }, text), link && " ", link);
}

function link(text, onclick) {
  return make("button.link", { type: "button", onclick }, text);
}
