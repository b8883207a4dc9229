// Requests to /widget/v1. The session's token is sent in a header, never in a URL.

import { upload } from "./upload.js";

/** A request that failed: refused by the server, or never answered. */
export class Problem extends Error {
  constructor({ status, code, detail, notice = null, retryAfter }) {
    super(detail);
    this.status = status;
    this.code = code;
    this.detail = detail;
    this.notice = notice;
    this.retryAfter = retryAfter;
  }

  /** There was no response at all. */
  get isNetwork() {
    return this.status === 0;
  }

  /** The same request may succeed later. */
  get isPassing() {
    return this.isNetwork || this.status === 408 || this.status === 429 || this.status >= 500;
  }

  /** The session has ended: its token is good for nothing. */
  get isEnded() {
    return this.status === 401;
  }

  /** Nobody has begun a session with the token yet, which is good for one. */
  get isUnbegun() {
    return this.isEnded && this.code === "session_unknown";
  }

  /** The conversation was erased, or this session may not see it. */
  get isGone() {
    return this.status === 404;
  }
}

export class Api {
  /** Of the session; null before there is one. */
  token = null;
  /** Id of the conversation that is shown; null before it has begun. */
  conversation = null;
  /** Origin of the page around the widget, which the session is bound to; null without one. */
  origin = null;

  /** What the page says of the visit, by name: told with each message. */
  siteContext = {};
  /** Key of the inbox that the page belongs to. */
  inbox = "default";
  /** What the customer answered before the first message, by the questions' keys. */
  prechat = {};

  /** @param base URL of the widget's API, e.g. /widget/v1/ */
  constructor(base) {
    this.base = base;
  }

  /** Begin or continue a session. Resolves to {token, customer, …} with the token to use from now on. */
  openSession(details) {
    return this.#json("sessions", { method: "POST", json: { inbox: this.inbox, ...details }, anonymous: true });
  }

  endSession(token) {
    return this.#request("sessions/current", {
      method: "DELETE",
      headers: { Authorization: `Bearer ${token}` },
      anonymous: true,
    });
  }

  renewToken() {
    return this.#json("sessions/current/token", { method: "POST" });
  }

  /** Mail a code to an address, in the best of these languages. Resolves to {email}: the address, tidied up. */
  sendCode(email, language) {
    return this.#json("sessions/current/code", { method: "POST", json: { email, language } });
  }

  /** Prove that address by its code. `token`: to be used from now on. Resolves to the session. */
  prove(code, token) {
    return this.#json("sessions/current/proof", { method: "POST", json: { code, token } });
  }

  /** Resolves to {session, conversations}, the newest conversation first. */
  conversations() {
    return this.#json("conversations");
  }

  /** The conversation with its messages and everything else that a page needs to continue it. */
  load() {
    return this.#json(this.#inside(""));
  }

  /**
   * Begin a conversation with its first message. If one has begun since `item.after`, the message goes there. Resolves to
   * {conversation, begun} and what `send` resolves to. `watch` as in `send`.
   */
  start(item, { language = null } = {}, watch = {}) {
    const form = formOf(item);
    if (item.after) form.set("after", item.after);
    if (language) form.set("language", language);
    if (Object.keys(this.prechat).length) form.set("prechat", JSON.stringify(this.prechat));
    return this.#post("conversations", form, item.files, watch);
  }

  /**
   * Resolves to {message, conversation_id, rejected_files}. Sent again under the same client id, the message is stored
   * once, perhaps in another conversation.
   * @param watch {signal, onProgress}; `onProgress` is called with the part of the files that has been sent, 0 to 1
   */
  send(item, watch) {
    return this.#post(this.#inside("/messages", item.conversation), formOf(item), item.files, watch);
  }

  /** The texts of the best of these languages: {language, locale, direction, texts}. */
  words(tags) {
    return this.#json(`words?language=${encodeURIComponent(tags)}`, { anonymous: true });
  }

  askForPerson() {
    return this.#json(this.#inside("/handoff"), { method: "POST" });
  }

  /** Everything up to this message has arrived or, with `seen`, is before the customer's eyes. */
  read(message, seen) {
    return this.#request(this.#inside("/read"), { method: "PUT", json: { message, seen } });
  }

  typing() {
    return this.#request(this.#inside("/typing"), { method: "POST" });
  }

  /** Send replies that the customer misses to this address, too. Resolves to {email, proved}. */
  setAddress(email) {
    return this.#json(this.#inside("/address"), { method: "PUT", json: { email } });
  }

  /** Mail the conversation to its customer. Resolves to {email}. */
  sendTranscript() {
    return this.#json(this.#inside("/transcript"), { method: "POST" });
  }

  async attachment(id, { thumbnail = false } = {}) {
    const path = this.#inside(`/attachments/${encodeURIComponent(id)}${thumbnail ? "?thumbnail=1" : ""}`);
    return (await this.#request(path)).blob();
  }

  /** An image of an article, shown beside the cited passage. */
  async figure(id, { thumbnail = false } = {}) {
    const path = this.#ofInbox(`figures/${encodeURIComponent(id)}`, thumbnail && { thumbnail: 1 });
    return (await this.#request(path)).blob();
  }

  /** Where an agent's picture is. */
  addressOf(sha256) {
    return `${this.base}pictures/${sha256}`;
  }

  /** Rate an answer: true (helpful), false, or null to withdraw the rating; of one that does not help, what is missing. */
  rateAnswer(id, helpful, feedback) {
    const path = this.#inside(`/messages/${encodeURIComponent(id)}/helpful`);
    return this.#json(path, { method: "PUT", json: { helpful, ...(feedback && { feedback }) } });
  }

  /** The customer needs nothing more. Resolves to the conversation as it is then. */
  end() {
    return this.#json(this.#inside("/end"), { method: "POST" });
  }

  /** Rate the conversation: {score: 1 to 5, comment}. */
  rate(rating) {
    return this.#json(this.#inside("/rating"), { method: "PUT", json: rating });
  }

  /** The help articles for a query, best first: {articles}. */
  articles(query) {
    return this.#json(this.#ofInbox("articles", { query, language: document.documentElement.lang }));
  }

  /** A help article to read. */
  article(id) {
    return this.#json(this.#ofInbox(`articles/${encodeURIComponent(id)}`));
  }

  /** The event stream's response; the caller reads its body. */
  events(lastEventId, signal) {
    const headers = { Accept: "text/event-stream" };
    if (lastEventId !== null) headers["Last-Event-ID"] = String(lastEventId);
    return this.#request(this.#inside("/events"), { headers, signal, timeout: null });
  }

  /** What its customers may read without a session. */
  #ofInbox(path, query = {}) {
    return `${path}?${new URLSearchParams({ inbox: this.inbox, ...query })}`;
  }

  #inside(path, conversation = this.conversation) {
    return `conversations/${encodeURIComponent(conversation)}${path}`;
  }

  #post(path, body, files, { signal, onProgress } = {}) {
    if (Object.keys(this.siteContext).length) body.set("context", JSON.stringify(this.siteContext));
    if (!files.length) return this.#json(path, { method: "POST", body, timeout: 120_000 });
    const request = (address, options) => upload(address, { ...options, signal, onProgress });
    return this.#json(path, { method: "POST", body, timeout: null, request });
  }

  async #json(path, options = {}) {
    const response = await this.#request(path, options);
    try {
      return await response.json();
    } catch {
      throw new Problem({ status: 0, code: "network", detail: "" }); // the response was cut off
    }
  }

  async #request(
    path,
    { method = "GET", json, body, headers = {}, signal, anonymous = false, timeout = 30_000, request = fetch } = {},
  ) {
    const all = { ...headers };
    if (this.token && !anonymous) all.Authorization = `Bearer ${this.token}`;
    if (this.origin) all["Widget-Origin"] = this.origin;
    if (json !== undefined) {
      all["Content-Type"] = "application/json";
      body = JSON.stringify(json);
    }
    const limit = timeout === null ? signal : AbortSignal.timeout(timeout);
    let response;
    try {
      response = await request(this.base + path, { method, body, headers: all, signal: limit, credentials: "omit" });
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new Problem({ status: 0, code: "network", detail: "" });
    }
    if (!response.ok) throw await problemFrom(response);
    return response;
  }
}

function formOf({ clientId, text, files }) {
  const form = new FormData();
  form.set("client_id", clientId);
  form.set("text", text);
  for (const file of files) form.append("photos", file.blob, file.name);
  return form;
}

async function problemFrom(response) {
  let body = {};
  try {
    body = await response.json();
  } catch {
    // A proxy's error page: the status is enough.
  }
  const wait = Number(body.retry_after ?? response.headers.get("Retry-After"));
  return new Problem({
    status: response.status,
    code: body.code ?? "error",
    detail: body.detail ?? "",
    notice: body.notice ?? null,
    retryAfter: Number.isFinite(wait) && wait > 0 ? wait : null,
  });
}
