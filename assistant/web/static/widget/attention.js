// What the customer has seen of the conversation: told to the server, which tells their other tabs and devices, and
// counted for the launcher's badge.

const TYPING_EVERY = 3_000; // the server holds a sign of typing for six seconds
const PREVIEW = 140; // characters

export class Attention {
  #api;
  #onUnread;
  #onChange;
  #isLooking = false;
  #messages = []; // public ones, in order
  #known = { delivered: null, seen: null, seen_by_agents: null };
  #told = ""; // what the server was told last
  #typedAt = 0;

  /** @param view {onUnread({count, preview}), onChange()}: onChange when either side has seen more */
  constructor(api, { onUnread, onChange }) {
    this.#api = api;
    this.#onUnread = onUnread;
    this.#onChange = onChange;
  }

  /** Begin with a conversation as loaded: its messages, and how far each side has come. */
  start(messages, known) {
    this.#messages = messages;
    this.#told = "";
    this.apply(known);
  }

  forget() {
    this.start([], { delivered: null, seen: null, seen_by_agents: null });
  }

  add(message) {
    if (this.#messages.some(({ id }) => id === message.id)) return;
    this.#messages.push(message);
    this.#tell();
  }

  apply(known) {
    this.#known = known;
    this.#tell();
    this.#onChange();
  }

  /** Whether the conversation is before the customer's eyes: the widget is open on a page that is visible. */
  set isLooking(looks) {
    this.#isLooking = looks;
    this.#tell();
  }

  /** What the customer wrote last. */
  get lastOwn() {
    return this.#messages.findLast(({ author }) => author === "customer") ?? null;
  }

  /** Whether an agent has seen the customer's message. */
  isSeenByAgents(messageId) {
    const at = this.#place(messageId);
    return at >= 0 && at <= this.#place(this.#known.seen_by_agents);
  }

  /** The customer has typed something: agents are told, at most every few seconds. */
  typed() {
    if (this.#api.conversation === null || Date.now() - this.#typedAt < TYPING_EVERY) return;
    this.#typedAt = Date.now();
    this.#api.typing().catch(() => {}); // the next sign may come through
  }

  get #unread() {
    return this.#messages.slice(this.#place(this.#known.seen) + 1).filter(isReply);
  }

  #tell() {
    const newest = this.#messages.at(-1);
    const unread = this.#isLooking ? [] : this.#unread;
    this.#onUnread({ count: unread.length, preview: unread.at(-1)?.text.slice(0, PREVIEW) ?? "" });
    if (!newest || !this.#messages.some(isReply)) return;
    const at = this.#messages.length - 1;
    const isKnown = this.#place(this.#isLooking ? this.#known.seen : this.#known.delivered) >= at;
    const news = `${newest.id} ${this.#isLooking}`;
    if (isKnown || news === this.#told) return;
    this.#told = news;
    this.#api.read(newest.id, this.#isLooking).catch(() => (this.#told = "")); // told again with the next change
  }

  #place(messageId) {
    return this.#messages.findIndex(({ id }) => id === messageId);
  }
}

function isReply({ author }) {
  return author === "assistant" || author === "agent";
}
