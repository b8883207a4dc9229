// What the customer has seen of their conversations: told to the server, which tells their other tabs and devices, and
// counted for the launcher's badge. Of the conversation that is shown every message is known here; of the others, what the
// server said when it was last asked.

const TYPING_EVERY = 3_000; // the server holds a sign of typing for six seconds
const FIRST_RETRY = 2_000;
const LAST_RETRY = 60_000;
const PREVIEW = 140; // characters

export class Attention {
  #api;
  #onUnread;
  #onChange;
  #isLooking = false;
  #messages = []; // public ones, in order
  #known = { delivered: null, seen: null, seen_by_agents: null };
  #listed = []; // all conversations of the customer, the newest first
  #told = ""; // what the server was told last
  #retry = { timer: null, pause: FIRST_RETRY };
  #typedAt = 0;

  /**
   * @param view {onUnread({count, preview, elsewhere}), onChange()}: `count` is of all conversations, `elsewhere` of those
   *   that are not shown; onChange when either side has seen more
   */
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

  /** No conversation is shown any more. */
  forget() {
    this.start([], { delivered: null, seen: null, seen_by_agents: null });
  }

  /** All conversations of the customer, as the server lists them. */
  set listed(conversations) {
    this.#listed = conversations;
    this.#tell();
  }

  /** Whether there is a conversation of which nothing is heard unless the server is asked. */
  get hasOthers() {
    return this.#others.length > 0;
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

  get #others() {
    return this.#listed.filter(({ id }) => id !== this.#api.conversation);
  }

  get #unread() {
    return this.#messages.slice(this.#place(this.#known.seen) + 1).filter(isReply);
  }

  #tell() {
    const here = this.#isLooking ? [] : this.#unread;
    const shown = this.#messages.length ? this.#listed.find(({ id }) => id === this.#api.conversation) : null;
    if (shown) shown.unread = here.length; // for when it is left
    const others = this.#others.filter(({ unread }) => unread > 0);
    const elsewhere = others.reduce((sum, { unread }) => sum + unread, 0);
    const preview =
      here.at(-1)?.text ?? others.find(({ last_author }) => isReply({ author: last_author }))?.last_text ?? "";
    this.#onUnread({ count: here.length + elsewhere, preview: preview.slice(0, PREVIEW), elsewhere });
    this.#acknowledge();
  }

  /** Tell the server how far the customer is, until it knows. */
  #acknowledge() {
    const newest = this.#messages.at(-1);
    if (!newest || !this.#messages.some(isReply)) return;
    const at = this.#messages.length - 1;
    const isKnown = this.#place(this.#isLooking ? this.#known.seen : this.#known.delivered) >= at;
    const news = `${newest.id} ${this.#isLooking}`;
    if (isKnown || news === this.#told) return;
    this.#told = news;
    clearTimeout(this.#retry.timer);
    this.#api.read(newest.id, this.#isLooking).then(
      () => (this.#retry.pause = FIRST_RETRY),
      (problem) => problem.isPassing && news === this.#told && this.#tellLater(),
    );
  }

  #tellLater() {
    this.#told = "";
    this.#retry.timer = setTimeout(() => this.#acknowledge(), this.#retry.pause);
    this.#retry.pause = Math.min(2 * this.#retry.pause, LAST_RETRY);
  }

  #place(messageId) {
    return this.#messages.findIndex(({ id }) => id === messageId);
  }
}

function isReply({ author }) {
  return author === "assistant" || author === "agent";
}
