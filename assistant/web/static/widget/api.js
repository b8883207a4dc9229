// Requests to /widget/v1. The conversation's token is sent in a header, never in a URL.

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

  /** The token has expired or its conversation was erased. */
  get isGone() {
    return this.status === 401 || this.status === 404;
  }
}

export class Api {
  /** @param base URL of the widget's API, e.g. /widget/v1/ */
  constructor(base) {
    this.base = base;
    this.token = null;
  }

  start(visitor) {
    return this.#json("conversations", { method: "POST", json: visitor, anonymous: true });
  }

  conversation() {
    return this.#json("conversation");
  }

  /**
   * Resolves to {message, rejected_files}. Sent again under the same client id, the message is stored once.
   * @param onProgress called with the part of the files that has been sent, 0 to 1
   */
  send({ clientId, text, files }, { signal, onProgress } = {}) {
    const form = new FormData();
    form.set("client_id", clientId);
    form.set("text", text);
    for (const file of files) form.append("photos", file.blob, file.name);
    const request = files.length
      ? (address, options) => upload(address, { ...options, signal, onProgress })
      : undefined;
    return this.#json("messages", { method: "POST", body: form, timeout: files.length ? null : 120_000, request });
  }

  /** The texts of the best of these languages: {language, locale, direction, texts}. */
  words(tags) {
    return this.#json(`words?language=${encodeURIComponent(tags)}`, { anonymous: true });
  }

  askForPerson() {
    return this.#json("handoff", { method: "POST" });
  }

  async attachment(id, { thumbnail = false } = {}) {
    const response = await this.#request(`attachments/${encodeURIComponent(id)}${thumbnail ? "?thumbnail=1" : ""}`);
    return response.blob();
  }

  /** An image of an article, shown beside the cited passage. */
  async figure(id, { thumbnail = false } = {}) {
    const response = await this.#request(`figures/${encodeURIComponent(id)}${thumbnail ? "?thumbnail=1" : ""}`);
    return response.blob();
  }

  /** Rate an answer: true (helpful), false, or null to withdraw the rating. */
  rate(id, helpful) {
    return this.#json(`messages/${encodeURIComponent(id)}/helpful`, { method: "PUT", json: { helpful } });
  }

  /** The event stream's response; the caller reads its body. */
  events(lastEventId, signal) {
    const headers = { Accept: "text/event-stream" };
    if (lastEventId !== null) headers["Last-Event-ID"] = String(lastEventId);
    return this.#request("events", { headers, signal, timeout: null });
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
