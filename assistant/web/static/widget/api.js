// Requests to /widget/v1. The token of the conversation goes into a header, never into an address.

/** What the server (or the network) answered instead of what was asked for. */
export class Problem extends Error {
  constructor({ status, code, detail, retryAfter }) {
    super(detail);
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;
  }

  /** No answer at all: trying again later can help. */
  get isNetwork() {
    return this.status === 0;
  }

  /** The server may take the same request later. */
  get isPassing() {
    return this.isNetwork || this.status === 408 || this.status === 429 || this.status >= 500;
  }

  /** The token is expired or its conversation was erased. */
  get isGone() {
    return this.status === 401 || this.status === 404;
  }
}

export class Api {
  /** @param base where the widget's API lives, e.g. /widget/v1/ */
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

  /** Resolves to {message, rejected}. Sent again under the same client id, the message is stored once. */
  send({ clientId, text, files }) {
    const form = new FormData();
    form.set("client_id", clientId);
    form.set("text", text);
    for (const file of files) form.append("photos", file.blob, file.name);
    return this.#json("messages", { method: "POST", body: form, timeout: 120_000 });
  }

  askForPerson() {
    return this.#json("handoff", { method: "POST" });
  }

  async attachment(id, { thumbnail = false } = {}) {
    const response = await this.#request(`attachments/${encodeURIComponent(id)}${thumbnail ? "?thumbnail=1" : ""}`);
    return response.blob();
  }

  /** A picture of an article, beside the passage that is cited. */
  async figure(id, { thumbnail = false } = {}) {
    const response = await this.#request(`figures/${encodeURIComponent(id)}${thumbnail ? "?thumbnail=1" : ""}`);
    return response.blob();
  }

  /** Say whether an answer helped: true, false, or null to take it back. */
  rate(id, helpful) {
    return this.#json(`messages/${encodeURIComponent(id)}/helpful`, { method: "PUT", json: { helpful } });
  }

  /** The open response of the event stream; the caller reads its body. */
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
      throw new Problem({ status: 0, code: "network", detail: "" }); // the answer broke off
    }
  }

  async #request(path, { method = "GET", json, body, headers = {}, signal, anonymous = false, timeout = 30_000 } = {}) {
    const all = { ...headers };
    if (this.token && !anonymous) all.Authorization = `Bearer ${this.token}`;
    if (json !== undefined) {
      all["Content-Type"] = "application/json";
      body = JSON.stringify(json);
    }
    const limit = timeout === null ? signal : AbortSignal.timeout(timeout);
    let response;
    try {
      response = await fetch(this.base + path, { method, body, headers: all, signal: limit, credentials: "omit" });
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
    // A proxy's error page: the status says enough.
  }
  const wait = Number(body.retry_after ?? response.headers.get("Retry-After"));
  return new Problem({
    status: response.status,
    code: body.code ?? "error",
    detail: body.detail ?? "",
    retryAfter: Number.isFinite(wait) && wait > 0 ? wait : null,
  });
}
