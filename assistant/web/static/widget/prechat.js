// The form before the first message: name, e-mail address and the inbox's own questions, as far as it asks for them.

import { make } from "./dom.js";
import { local } from "./store.js";
import { t } from "./texts.js";

export class Prechat {
  #form;
  #asked;
  #onDone;
  #given = null;
  #isKnown = false;

  /**
   * @param form an empty <form>
   * @param asked {name, email, questions: [{key, text, choices, required}]}; name and email are "no", "optional" or "required"
   * @param onDone called once the customer has filled it in
   */
  constructor(form, asked, { onDone }) {
    this.#form = form;
    this.#asked = asked;
    this.#onDone = onDone;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#take();
    });
    this.recall();
  }

  /** Take what was filled in on an earlier page, if anything, and drop what is typed. */
  recall() {
    this.#given = local.get("prechat");
    this.#draw();
  }

  get isAsking() {
    const { name, email, questions } = this.#wanted;
    return this.#given === null && (name !== "no" || email !== "no" || questions.length > 0);
  }

  get #wanted() {
    return this.#isKnown ? { ...this.#asked, name: "no", email: "no" } : this.#asked;
  }

  /** Of a customer who is signed in, or has proved their address, neither name nor address is asked. */
  know(isKnown) {
    if (isKnown === this.#isKnown) return;
    this.#isKnown = isKnown;
    this.reword();
  }

  get answers() {
    return this.#given?.answers ?? {};
  }

  /** Name and address that were typed here. */
  get person() {
    const { name, email } = this.#given ?? {};
    return { ...(name && { name }), ...(email && { email }) };
  }

  focus() {
    this.#form.elements[0]?.focus();
  }

  /** What the page knows of its visitor need not be typed. */
  prefill({ name, email }) {
    for (const [key, value] of Object.entries({ name, email })) {
      const field = this.#form.elements.namedItem(key);
      if (field && value && !field.value) field.value = value;
    }
  }

  /** In another language, keeping what was typed. */
  reword() {
    const typed = new FormData(this.#form);
    this.#draw();
    for (const [key, value] of typed) {
      const field = this.#form.elements.namedItem(key);
      if (field) field.value = value;
    }
  }

  #take() {
    const { name, email, ...answers } = Object.fromEntries(
      [...new FormData(this.#form)].map(([key, value]) => [key.replace(/^question-/, ""), value.trim()]),
    );
    this.#given = { name, email, answers };
    local.set("prechat", this.#given);
    this.#onDone();
  }

  #draw() {
    const { name, email, questions } = this.#wanted;
    const fields = [
      name !== "no" && labelled(t("prechat_name"), input("name", "text", name === "required", "name")),
      email !== "no" && labelled(t("prechat_email"), input("email", "email", email === "required", "email")),
      ...questions.map(({ key, text, choices, required }) => {
        const id = `question-${key}`;
        return labelled(text, choices.length ? select(id, choices, required) : input(id, "text", required, "off"));
      }),
    ];
    const begin = make("button.pill", { type: "submit" }, t("prechat_begin"));
    this.#form.replaceChildren(...fields.filter(Boolean), begin);
  }
}

function labelled(text, field) {
  const words = make("span", { dir: "auto" }, text);
  if (!field.required) words.append(make("small", {}, ` (${t("prechat_optional")})`));
  return make("label", {}, words, field);
}

function input(name, type, required, autocomplete) {
  return make("input", { name, type, required, autocomplete, maxLength: 300, dir: "auto" });
}

function select(name, choices, required) {
  const options = choices.map((choice) => make("option", { value: choice }, choice));
  return make("select", { name, required }, make("option", { value: "" }, t("prechat_choose")), ...options);
}
