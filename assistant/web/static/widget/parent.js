// Talking to the page that embeds us. Only a page whose origin is allowed is listened to, and answers go to exactly
// that origin; until it has said hello, nothing leaves this frame.

const NAME = "assistant-widget";

export class ParentPage {
  #allowed;
  #origin = null;
  #handlers;

  /**
   * @param origins origins that may embed us, besides our own; "https://*.shop.example" stands for every subdomain
   * @param handlers {hello(options), opened(), closed(), compose({text})}
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
