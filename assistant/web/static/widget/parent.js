// Messages to and from the embedding page. Only allowed origins are listened to, and only the page's own hears us: the
// loader names it, and the server has checked it. Of a loader that does not, it is known from its hello.

const NAME = "assistant-widget";

export class ParentPage {
  #allowed;
  #origin = null;
  #handlers;
  #asked = []; // what resolves each question, by its number

  /**
   * @param origins origins that may embed the widget, besides its own; "https://*.shop.example" allows every subdomain
   * @param origin of the embedding page, if known
   * @param handlers by the type of a message, each called with the message: hello({options, stored}), opened({focus}), …
   */
  constructor(origins, origin, handlers) {
    this.#allowed = [location.origin, ...origins];
    this.#origin = origin;
    this.#handlers = handlers;
    if (!this.isEmbedded) return;
    addEventListener("message", (event) => this.#receive(event));
    this.tell("here");
  }

  get isEmbedded() {
    return window.parent !== window;
  }

  /** Of the page around us; of our own without one. */
  get origin() {
    return this.#origin ?? location.origin;
  }

  tell(type, details = {}) {
    if (this.#origin) window.parent.postMessage({ from: NAME, type, ...details }, this.#origin);
  }

  /** Ask the page. Resolves to the value that it answers. */
  ask(type, details) {
    return new Promise((resolve) => this.tell(type, { ...details, id: this.#asked.push(resolve) - 1 }));
  }

  #receive(event) {
    if (event.source !== window.parent || !this.#allowed.some((pattern) => matches(event.origin, pattern))) return;
    const message = event.data;
    if (typeof message !== "object" || message === null || message.from !== NAME) return;
    this.#origin = event.origin;
    if (message.type === "answer") this.#asked[message.id]?.(message.value);
    const handler = Object.hasOwn(this.#handlers, message.type) ? this.#handlers[message.type] : null;
    handler?.(message);
  }
}

function matches(origin, pattern) {
  const [scheme, host] = pattern.split("://*.");
  return host === undefined ? origin === pattern : origin.startsWith(`${scheme}://`) && origin.endsWith(`.${host}`);
}
