// The support chat's scripts put this on `window`. Calls are kept until the chat is there. Before the loader has run,
// make them like this:
//
//   (window.SupportAssistant ||= []).push(["setContext", { order_number: "1042" }]);

/** What the page knows: at most 20 names of letters, digits and _, with short values. Agents see it; it proves nothing. */
export type SupportContext = Record<string, string | number | boolean | null>;

export interface SupportEvents {
  /** The launcher is on the page. */
  ready: Record<string, never>;
  open: Record<string, never>;
  close: Record<string, never>;
  /** Something was written in the conversation, by whom. */
  message: { author: "customer" | "assistant" | "agent" };
  /** The number of messages that the customer has not seen, when it changes. */
  unread: { count: number };
  /** The customer has rated the conversation, from 1 to 5. */
  rated: { rating: number };
}

export type SupportCall = {
  [Method in keyof SupportAssistant]: [Method, ...Parameters<SupportAssistant[Method]>];
}[keyof SupportAssistant];

export interface SupportAssistant {
  /** Open the chat, with a draft for the customer to send if there is one. */
  open(draft?: string): void;
  close(): void;
  toggle(): void;
  /** Show the launcher. */
  show(): void;
  /** Hide the launcher, e.g. for a button of your own that calls `open`. */
  hide(): void;
  /** Say who is signed in, by a token that your server has signed. */
  identify(token: string): void;
  /** Forget who is signed in, and the conversation on this device. */
  logout(): void;
  /** Add to what agents see of the page or order that the customer is asking about; null takes a value back. */
  setContext(values: SupportContext): void;
  /** A BCP 47 tag such as "de-AT"; without one, as the page and the browser say. */
  setLanguage(language?: string): void;
  setTheme(theme: "light" | "dark" | "auto"): void;
  /** Listen. Returns a function that ends it. */
  on<Event extends keyof SupportEvents>(event: Event, listener: (details: SupportEvents[Event]) => void): () => void;
  /** Take everything off the page. The script may be loaded again. */
  destroy(): void;
  push(...calls: SupportCall[]): void;
}

declare global {
  interface Window {
    SupportAssistant?: SupportAssistant | SupportCall[];
  }
}
