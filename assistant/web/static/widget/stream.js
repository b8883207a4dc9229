// A conversation's live stream: server-sent events read with fetch, because EventSource cannot send headers and would
// put the token into the URL. Reconnects by itself and resumes after the last event.

const SILENCE = 40_000; // the server pings every 12 seconds: a connection silent for this long is dead
const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 15_000;
// Background tabs release their connection: browsers allow only six per site.
const HIDDEN_FOR = 30_000;

export class EventStream {
  #api;
  #onEvent;
  #onConnection;
  #run = null; // {abort}: what is followed at present; what has been replaced ends without another word

  #wake = null;
  #lastEventId = null;
  #isResting = false;
  #restTimer = null;

  /**
   * @param onEvent called with (kind, payload), once per event
   * @param onConnection called with {connected, problem}: after each connect and each failure
   */
  constructor(api, { onEvent, onConnection }) {
    this.#api = api;
    this.#onEvent = onEvent;
    this.#onConnection = onConnection;
    addEventListener("online", () => this.#retryNow());
    document.addEventListener("visibilitychange", () => this.#visibilityChanged());
  }

  /**
   * Tell what has happened since this event. Returns whether that is news: false if what came after it has been told, and
   * goes on being told from there.
   */
  start(lastEventId) {
    if (this.#lastEventId > lastEventId) return false;
    this.#lastEventId = lastEventId;
    if (this.#run === null) {
      this.#run = { abort: null };
      void this.#keepFollowing(this.#run);
    }
    return true;
  }

  stop() {
    const ended = this.#run;
    this.#run = null;
    this.#lastEventId = null;
    ended?.abort?.abort();
    this.#retryNow();
  }

  async #keepFollowing(run) {
    let pause = FIRST_PAUSE;
    while (run === this.#run) {
      try {
        if (this.#isResting) await this.#sleep(HIDDEN_FOR);
        if (this.#isResting) continue;
        await this.#follow(run, () => (pause = FIRST_PAUSE));
        await this.#sleep(100); // the server ends streams from time to time: reconnect at once
      } catch (problem) {
        if (run !== this.#run) return;
        if (this.#isResting) continue;
        this.#onConnection({ connected: false, problem });
        await this.#sleep(problem.retryAfter ? problem.retryAfter * 1000 : pause * (0.75 + Math.random() / 2));
        pause = Math.min(pause * 2, LONGEST_PAUSE);
      }
    }
  }

  async #follow(run, onOpen) {
    const abort = new AbortController();
    run.abort = abort;
    const watch = watchdog(SILENCE, () => abort.abort());
    try {
      const response = await this.#api.events(this.#lastEventId, abort.signal);
      if (run !== this.#run) return;
      onOpen();
      this.#onConnection({ connected: true, problem: null });
      const read = reader((kind, data, id) => run === this.#run && this.#receive(kind, data, id));
      const body = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { done, value } = await body.read();
        if (done) return;
        watch.reset();
        read(value);
      }
    } finally {
      watch.clear();
      abort.abort();
    }
  }

  #receive(kind, data, id) {
    if (id !== null) this.#lastEventId = Number(id);
    if (data === null) return;
    let payload;
    try {
      payload = JSON.parse(data);
    } catch {
      return;
    }
    this.#onEvent(kind, payload);
  }

  #sleep(milliseconds) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #retryNow() {
    this.#wake?.();
  }

  #visibilityChanged() {
    clearTimeout(this.#restTimer);
    if (document.hidden) {
      this.#restTimer = setTimeout(() => {
        this.#isResting = true;
        this.#run?.abort?.abort();
      }, HIDDEN_FOR);
    } else {
      this.#isResting = false;
      this.#retryNow();
    }
  }
}

/** A function that takes chunks of a text/event-stream and calls onEvent(kind, data, id) for each complete event. */
export function reader(onEvent) {
  let rest = "";
  let kind = "message";
  let id = null;
  let data = [];
  const line = (text) => {
    if (text === "") {
      onEvent(kind, data.length ? data.join("\n") : null, id);
      kind = "message";
      data = [];
      return;
    }
    const colon = text.indexOf(":");
    if (colon === 0) return; // a ping
    const field = colon < 0 ? text : text.slice(0, colon);
    const value = colon < 0 ? "" : text.slice(colon + 1).replace(/^ /, "");
    if (field === "event") kind = value;
    else if (field === "data") data.push(value);
    else if (field === "id") id = value;
  };
  return (piece) => {
    // A trailing carriage return may be half of a CRLF: keep it until the next chunk.
    const lines = (rest + piece).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop();
    lines.forEach(line);
  };
}

function watchdog(milliseconds, bark) {
  let timer = setTimeout(bark, milliseconds);
  return {
    reset() {
      clearTimeout(timer);
      timer = setTimeout(bark, milliseconds);
    },
    clear: () => clearTimeout(timer),
  };
}
