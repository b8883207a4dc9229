// Messages to and from the embedding page. Only allowed origins are listened to, and replies go to exactly that origin;
// nothing leaves this frame before its hello.

const NAME = "assistant-widget";

export class ParentPage {
  #allowed;
  #origin = null;
  #handlers;

  /**
   * @param origins origins that may embed the widget, besides its own; "https://*.shop.example" allows every subdomain
   * @param handlers {hello(options), opened(), closed(), compose({text}), language({language})}
   */
  constructor(origins, handlers) {
    this.#allowed = [location.origin, ...origins];
    this.#handlers = handlers;
    if (this.isEmbedded) addEventListener("message", (event) => this.#receive(event));
  }

  get isEmbedded() {
    return window.parent !== window;
  }

  tell(type, details = {}) {
    if (this.#origin) window.parent.postMessage({ from: NAME, type, ...details }, this.#origin);
  }

  #receive(event) {
    if (event.source !== window.parent || !this.#allowed.some((pattern) => matches(event.origin, pattern))) return;
    const message = event.data;
    if (typeof message !== "object" || message === null || message.from !== NAME) return;
    this.#origin = event.origin;
    const handler = Object.hasOwn(this.#handlers, message.type) ? this.#handlers[message.type] : null;
    handler?.(message);
  }
}

function matches(origin, pattern) {
  const [scheme, host] = pattern.split("://*.");
  return host === undefined ? origin === pattern : origin.startsWith(`${scheme}://`) && origin.endsWith(`.${host}`);
}
