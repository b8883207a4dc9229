// The end of a conversation: the customer ends it, and says how it was.

import { make } from "./dom.js";
import { digits, t } from "./texts.js";

const SCORES = ["csat_1", "csat_2", "csat_3", "csat_4", "csat_5"];

/** "End conversation", which asks once more before it does. */
export class EndButton {
  #holder;
  #button;
  #onEnd;
  #onGone;

  /**
   * @param holder the element around the button, in which the question takes its place
   * @param onGone called to take the focus if the button, which had it, is gone with the conversation
   */
  constructor(holder, button, { onEnd, onGone }) {
    this.#holder = holder;
    this.#button = button;
    this.#onEnd = onEnd;
    this.#onGone = onGone;
    button.addEventListener("click", () => this.#ask());
  }

  #ask() {
    const done = () => {
      question.remove();
      this.#holder.classList.remove("asking");
      if (this.#button.hidden) this.#onGone();
      else this.#button.focus();
    };
    const end = async () => {
      yes.disabled = true;
      await this.#onEnd();
      done();
    };
    const yes = make("button.link", { type: "button", onclick: end }, t("end_now"));
    const no = make("button.link", { type: "button", onclick: done }, t("cancel"));
    const question = make(
      "p.sure",
      { role: "group", "aria-label": t("end_sure") },
      make("span", {}, t("end_sure")),
      yes,
      no,
    );
    this.#holder.classList.add("asking");
    this.#holder.append(question);
    yes.focus();
  }
}

/** How it was, from 1 to 5 and in words. */
export class RatingForm {
  #element;
  #onRate;
  #shown = null; // what is shown, as JSON
  #isChanging = false;

  /** Whether it is there, with the focus on its first part. */
  focus() {
    if (!this.#element.hidden) this.#element.querySelector("input, button")?.focus();
    return this.#element.contains(document.activeElement);
  }

  /** @param onRate stores {score, comment}; resolves to the rating as it is then, or rejects with what to tell */
  constructor(element, onRate) {
    this.#element = element;
    this.#onRate = onRate;
  }

  /** Ask, show what was said, or nothing: for the conversation as it is now. */
  show({ asks_rating: asks = false, rating = null }) {
    if (!asks && rating === null) this.#isChanging = false; // another conversation
    const isChangeable = rating !== null && new Date(rating.changeable_until) > new Date();
    const now = JSON.stringify([asks, rating, isChangeable, t("csat_ask")]);
    if (now === this.#shown || this.#isChanging) return;
    this.#shown = now;
    const hadFocus = this.#element.contains(document.activeElement);
    this.#element.hidden = !asks && rating === null;
    this.#element.replaceChildren();
    if (rating !== null) this.#thank(rating, isChangeable);
    else if (asks) this.#ask();
    if (hadFocus) this.focus(); // an event may replace it at any time, also right after the answer to what was sent
  }

  #thank(rating, isChangeable) {
    const score = make("strong", {}, `${t(SCORES[rating.score - 1])} (${digits(rating.score)}/${digits(5)})`);
    const said = make("p", { role: "status" }, `${t("csat_thanks")} `, score);
    const change = () => {
      this.#isChanging = true;
      this.#ask(rating);
      this.#element.querySelector("input:checked").focus();
    };
    const more = isChangeable ? [make("button.link", { type: "button", onclick: change }, t("csat_change"))] : [];
    this.#element.replaceChildren(said, ...more);
  }

  #ask(rating = null) {
    const choices = SCORES.map((key, at) => {
      const chosen = {
        type: "radio",
        name: "score",
        value: String(at + 1),
        checked: rating?.score === at + 1,
        required: true,
      };
      const input = make("input", { ...chosen, "aria-label": t(key) });
      return make("label", { title: t(key) }, input, make("span", { "aria-hidden": "true" }, digits(at + 1)));
    });
    const ends = make(
      "p.ends",
      { "aria-hidden": "true" },
      make("span", {}, t(SCORES[0])),
      make("span", {}, t(SCORES[4])),
    );
    const comment = make("textarea", {
      rows: 2,
      maxLength: 2000,
      name: "comment",
      value: rating?.comment ?? "",
      dir: "auto",
    });
    const label = make("label.comment", {}, make("span", {}, t("csat_comment")), comment);
    const send = make("button.pill", { type: "submit" }, t("csat_send"));
    const problem = make("p.hint.warning", { role: "alert", hidden: true });
    const more = make("div.more", { hidden: rating === null }, label, send);
    const form = make(
      "form",
      {},
      make("fieldset", {}, make("legend", {}, t("csat_ask")), make("div.scores", {}, ...choices), ends),
      more,
      problem,
    );
    form.addEventListener("change", () => (more.hidden = false));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#send(form, send, problem);
    });
    this.#element.replaceChildren(form);
  }

  async #send(form, button, problem) {
    if (button.ariaDisabled === "true") return;
    const score = Number(new FormData(form).get("score"));
    button.ariaDisabled = "true"; // one that is disabled loses the focus
    try {
      const rating = await this.#onRate({ score, comment: form.elements.comment.value.trim() });
      this.#isChanging = false;
      this.#shown = null; // the form is, also where the rating is what it was
      this.show({ rating });
    } catch (text) {
      button.ariaDisabled = "false";
      problem.textContent = text;
      problem.hidden = false;
    }
  }
}
