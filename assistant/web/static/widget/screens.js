// What takes the conversation's place for a while: help articles, earlier conversations. Back and Escape return to where
// the customer was, with the focus.

export class Screens {
  #elements;
  #stack = []; // {name, focused}: the open screens, and what had the focus before

  /** @param elements by name: sections, each with a button `.back` and a place `[data-focus]` where reading begins */
  constructor(elements) {
    this.#elements = elements;
    for (const element of Object.values(elements)) {
      element.querySelector(".back").addEventListener("click", () => this.back());
    }
  }

  get isOpen() {
    return this.#stack.length > 0;
  }

  open(name) {
    if (this.#stack.at(-1)?.name !== name) this.#stack.push({ name, focused: document.activeElement });
    this.#show();
    this.#elements[name].scrollTop = 0;
    this.#elements[name].querySelector("[data-focus]").focus();
  }

  back() {
    const { focused } = this.#stack.pop();
    this.#show();
    focused?.focus();
  }

  close() {
    this.#stack = [];
    this.#show();
  }

  #show() {
    const current = this.#stack.at(-1)?.name ?? null;
    for (const [name, element] of Object.entries(this.#elements)) element.hidden = name !== current;
    document.body.classList.toggle("has-screen", current !== null);
  }
}
