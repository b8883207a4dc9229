// The conversation: sending, receiving, and its state. Displays through a Thread and a view; touches no elements.

import { local, newClientId, newToken } from "./store.js";
import { EventStream } from "./stream.js";
import { inSeconds, joined, t, wordNotices } from "./texts.js";

const SLOW = 20_000; // after this long the customer is told that it is still in progress
const ASK_POSITION_EVERY = 30_000;
const ASK_JOBS_AHEAD_EVERY = 3_000;
const ASK_ELSEWHERE_EVERY = 20_000;
const TAKE_OVER_EVERY = 10_000; // what another tab has not sent for so long
const FIRST_RETRY = 2_000;
const LAST_RETRY = 30_000;

export class Chat {
  /** The visitor according to the embedding page: {name, email, language}, all optional. */
  visitor = {};
  conversation = { state: "assistant", queue_position: null, agent_name: null, agent_picture: null };
  /** Whether somebody else says who the customer is: their site, or a code that was sent to their address. */
  isKnown = false;

  #api;
  #thread;
  #outbox;
  #attention;
  #view;
  #stream;
  #opening = null; // the request for a session, while it is on its way
  #isOpen = false; // the server has confirmed the session
  #identity = null; // what the site has signed of its customer
  #isSending = false;
  #sending = null; // {item, stop}: what is on its way
  #isSyncing = false;
  #retry = { timer: null, pause: FIRST_RETRY };
  #awaits = null; // key of the text shown while waiting for an answer, else null
  #slowTimer = null;
  #aheadTimer = null;
  #syncTimer = null;
  #hearsWholeAnswer = false; // an answer is streamed only if its beginning was received

  /**
   * @param view {onState(state), onConnection(connected), onNews(message), onSent(message), onStarted(), onLoaded(now),
   *   onTyping(sign), onTrouble(detail)}
   */
  constructor({ api, thread, outbox, attention, view }) {
    this.#api = api;
    this.#thread = thread;
    this.#outbox = outbox;
    this.#attention = attention;
    this.#view = view;
    this.#stream = new EventStream(api, {
      onEvent: (kind, payload) => this.#receive(kind, payload),
      onConnection: ({ connected, problem }) => this.#connectionChanged(connected, problem),
    });
    addEventListener("online", () => this.#flush());
    setInterval(() => this.#askPosition(), ASK_POSITION_EVERY);
    setInterval(() => this.#attention.hasOthers && this.#askElsewhere(), ASK_ELSEWHERE_EVERY);
    setInterval(() => this.#takeOver(), TAKE_OVER_EVERY);
  }

  get wantsPerson() {
    return local.get("wants_person", false);
  }

  /** Continue the customer's conversation from an earlier page or another tab, and send what was left unsent. */
  async resume({ identity = null } = {}) {
    this.#identity = identity;
    this.#api.token = local.get("session");
    await this.#endSession();
    await this.#exchangeOldToken();
    await this.#signIn();
    if (this.#api.token) await this.#sync();
    await this.#outbox.load();
    this.#showAllUnsent();
    await this.#flush();
  }

  async send({ text, files }) {
    const conversation = this.#api.conversation;
    const createdAt = new Date().toISOString();
    const after = conversation === null ? local.get("left") : null;
    const item = { clientId: newClientId(), text, files, createdAt, error: null, conversation, after };
    this.#showUnsent(item);
    this.#thread.setDelivery(item.clientId, { kind: "sending", text: t("sending") });
    if (navigator.onLine) this.#await(files.length ? "reading_photo" : "writing");
    await this.#outbox.add(item);
    await this.#flush();
  }

  /** Resolves to whether the handoff has been requested; before the first message, it waits for that. */
  async askForPerson() {
    local.set("wants_person", true);
    const begun = this.#hasBegun && !this.#thread.isEmpty;
    if (begun || this.#outbox.items.length) await this.#flush();
    return begun;
  }

  /** Show the conversation that a link in a mail of ours opens. */
  async follow(link) {
    try {
      await this.#requestSession({ link });
      local.remove("left");
    } catch (problem) {
      this.#thread.showNotice(wordNotices(problem.notice) ?? t("reconnecting"));
    }
  }

  /** The customer needs nothing more. */
  async end() {
    if (this.#hasBegun) this.#setState(await this.#api.end());
  }

  /** Rate the conversation: {score, comment}. Resolves to the rating as it is stored. */
  async rate(said) {
    const rating = await this.#api.rate(said);
    this.#setState({ ...this.conversation, asks_rating: false, rating });
    return rating;
  }

  /** Show another of the customer's conversations. Resolves to false if something unsent keeps them in this one. */
  async open(id) {
    await this.#flush();
    if (this.#nextUnsent()) return false;
    local.remove("left");
    this.#leave();
    this.#thread.clear();
    this.#api.conversation = id;
    await this.#sync();
    this.#showAllUnsent();
    void this.#askElsewhere();
    return true;
  }

  /** Leave the conversation: the next message begins another. */
  startAnew() {
    local.set("left", this.#api.conversation);
    this.#leave();
    local.remove("wants_person");
    this.#thread.clear();
    void this.#askElsewhere();
  }

  /** Say everything in the language that is spoken now. */
  reword() {
    this.#thread.reword();
    for (const item of this.#outbox.items) {
      if (item.error !== null) this.#showFailure(item);
    }
    if (this.#awaits !== null) this.#thread.showWriting(t(this.#awaits));
    if (this.#retry.timer !== null) void this.#flush(); // and say again why it waits, if it still must
    this.#view.onState(this.conversation);
  }

  get #hasBegun() {
    return this.#api.conversation !== null;
  }

  // The session

  /** The session begins with the first message, or with a proof: opening the widget alone leaves no trace. */
  async begin() {
    if (this.#isOpen) return;
    this.#opening ??= this.#requestSession()
      .catch((problem) => this.#withoutIdentity(problem))
      .finally(() => (this.#opening = null));
    await this.#opening;
  }

  async #requestSession(details = {}) {
    // Kept before it is sent: if the answer is lost, or another tab is at it, the same session is asked for again.
    this.#api.token = await local.claim("session", newToken());
    const { name, email } = this.visitor;
    const given = { name, email, identity: this.#identity ?? undefined, ...details };
    let opened;
    try {
      opened = await this.#api.openSession({ token: this.#api.token, ...given });
    } catch (problem) {
      if (!problem.isEnded) throw problem;
      this.#keepToken(this.#nextToken() ?? newToken());
      opened = await this.#api.openSession({ token: this.#api.token, ...given });
    }
    this.#keepToken(opened.token);
    this.#begun(opened);
  }

  #begun({ customer }) {
    this.#isOpen = true;
    this.isKnown = Boolean(customer?.verified_by);
  }

  /** The customer has typed who they are, which the session is told before the next message. */
  introduce({ name, email }) {
    Object.assign(this.visitor, name && { name }, email && { email });
    this.#isOpen = false;
  }

  /** Talk as the customer whom the site has signed: {identity} is its token. */
  async identify(identity) {
    this.#identity = identity;
    this.#isOpen = false;
    await this.#signIn();
    if (!this.#isOpen) return;
    this.#leave();
    this.#thread.clear();
    await this.#sync();
    this.#showAllUnsent();
    await this.#flush();
  }

  /** Without an answer, the site's token goes along with the next request for a session. */
  async #signIn() {
    if (this.#identity === null) return;
    try {
      await this.#requestSession();
    } catch (problem) {
      if (problem.isPassing) return;
      this.#refuseIdentity(problem);
    }
  }

  /** What the site has signed is wrong: the page's developer is told, and its customer can write all the same. */
  #withoutIdentity(problem) {
    if (this.#identity === null || problem.isPassing) throw problem;
    this.#refuseIdentity(problem);
    return this.#requestSession();
  }

  #refuseIdentity({ detail }) {
    this.#identity = null;
    this.#view.onTrouble(detail);
  }

  /**
   * Forget the customer and everything of theirs.
   * @param isElsewhere somebody logged out in another tab, which ends the session
   */
  async logOut({ isElsewhere = false } = {}) {
    const token = this.#api.token;
    this.#identity = null;
    this.#outbox.clear();
    this.#forgetSession();
    this.#leave();
    local.remove("wants_person");
    local.remove("draft");
    local.remove("prechat");
    this.#thread.clear();
    if (isElsewhere) return;
    if (token !== null) local.set("ending", token);
    await this.#endSession();
  }

  /** End the session of who has logged out: now, or when there is a connection again. */
  async #endSession() {
    const token = local.get("ending");
    if (token === null) return;
    try {
      await this.#api.endSession(token);
    } catch (problem) {
      if (problem.isPassing) return;
    }
    local.remove("ending");
  }

  #keepToken(token) {
    this.#api.token = token;
    local.set("session", token);
  }

  /** What to use when our token is refused: what another tab was given, or what a proof with a lost answer has brought. */
  #nextToken() {
    const stored = local.get("session");
    if (stored !== null && stored !== this.#api.token) return stored;
    const drawn = local.get("next_session");
    local.remove("next_session");
    return drawn;
  }

  /**
   * The customer reads what is sent to their address, as this code of it says, and may see more than before: so the token
   * changes. Ours to draw and to keep before it is sent, or a lost answer would end the session. Rejects if refused.
   */
  async prove(code) {
    const token = await local.claim("next_session", newToken());
    try {
      this.#begun(await this.#api.prove(code, token));
    } catch (problem) {
      if (problem.isEnded) return this.#gone(problem); // proved already, by another tab or with a lost answer
      if (!problem.isPassing) local.remove("next_session");
      throw problem;
    }
    this.#keepToken(token);
    local.remove("next_session");
    await this.#sync();
  }

  /** Earlier versions kept a token for each conversation. */
  async #exchangeOldToken() {
    const old = local.get("token");
    if (old === null) return;
    try {
      await this.#requestSession({ conversation_token: old });
    } catch (problem) {
      if (problem.isPassing) return;
    }
    local.remove("token");
  }

  /** Ask for a new token from time to time. */
  async #renewToken() {
    const { token } = await this.#api.renewToken();
    this.#keepToken(token);
  }

  // Sending

  async #flush() {
    if (this.#isSending) return;
    this.#isSending = true;
    clearTimeout(this.#retry.timer);
    this.#retry.timer = null;
    try {
      for (let item = this.#nextUnsent(); item; item = this.#nextUnsent()) await this.#deliver(item);
      if (this.wantsPerson && this.#hasBegun && !this.#thread.isEmpty) await this.#handOff();
      this.#retry.pause = FIRST_RETRY;
    } catch (problem) {
      this.#sendLater(problem);
    } finally {
      this.#isSending = false;
    }
    if (this.#nextUnsent() && this.#retry.timer === null) await this.#flush();
  }

  /** Send what a tab that is closed by now has left. */
  async #takeOver() {
    if (!navigator.onLine) return;
    if (!(await this.#outbox.takeOver())) return;
    this.#showAllUnsent();
    await this.#flush();
  }

  /** Whether a message was written in the conversation that is shown, or before either had begun. */
  #isOfThis({ conversation, after }) {
    const shown = this.#api.conversation;
    return conversation === null ? shown === null || shown !== after : conversation === shown;
  }

  #showAllUnsent() {
    for (const item of this.#outbox.items) if (this.#isOfThis(item)) this.#showUnsent(item);
  }

  #nextUnsent() {
    return this.#outbox.items.find((item) => item.error === null);
  }

  async #deliver(item, { isSecondTry = false } = {}) {
    const cancelled = this.#showSending(item);
    let posted;
    try {
      await this.begin();
      const watch = { signal: cancelled, onProgress: (part) => this.#thread.setProgress(item.clientId, part) };
      posted = await (item.conversation === null ? this.#start(item, watch) : this.#api.send(item, watch));
    } catch (problem) {
      if (cancelled.aborted) {
        this.#await(null); // nobody looks at its photos now; without one that was taken out, it is sent again
        return this.#awaitAnswer();
      }
      if ((problem.isEnded || problem.isGone) && !isSecondTry) {
        if (problem.isEnded || this.#isOfThis(item)) await this.#gone(problem);
        // Of a session that has ended, or of a conversation that was erased, it begins another.
        const isLost = problem.isGone || problem.isUnbegun || this.#api.token === null;
        if (isLost) this.#outbox.update(item, { conversation: null, after: null });
        return this.#deliver(item, { isSecondTry: true });
      }
      if (problem.isPassing) throw problem;
      this.#refused(item, problem.notice);
      return this.#awaitAnswer();
    }
    this.#outbox.remove(item);
    if (posted.conversation_id !== this.#api.conversation) {
      this.#thread.remove(item.clientId);
      return this.#askElsewhere();
    }
    this.#thread.show(posted.message);
    this.#attention.add(posted.message);
    this.#thread.setDelivery(item.clientId, { kind: "sent", text: t("sent") });
    this.#showRejected(item, posted.rejected_files);
    this.#view.onSent(posted.message);
    this.#awaitAnswer(); // a message sent late starts the wait only now; its answer may also have arrived already
  }

  /** A message with files takes its time: its sender sees how far it is, and can stop it. Returns the signal of that. */
  #showSending(item) {
    const stop = new AbortController();
    this.#sending = { item, stop };
    const cancel = () => {
      this.#refused(item, { code: "upload_cancelled", params: {} });
      stop.abort();
    };
    const actions = item.files.length ? [{ text: t("cancel"), run: cancel }] : [];
    // One that the server has is sent again only to learn which of its files were refused.
    if (!this.#thread.hasSent(item.clientId)) {
      this.#thread.setDelivery(item.clientId, { kind: "sending", text: t("sending"), actions });
    }
    return stop.signal;
  }

  /** The message goes without this file, also if it is on its way already. */
  #leaveOut(item, file) {
    const isSending = this.#sending?.item === item;
    void this.#outbox.leaveOut(item, file);
    if (!item.text && !item.files.length) this.#discard(item);
    if (isSending) this.#sending.stop.abort();
  }

  #discard(item) {
    this.#outbox.remove(item);
    this.#thread.remove(item.clientId);
  }

  /** The message went without these files. One of them alone can be sent again, or is left at that. */
  #showRejected(item, rejected) {
    this.#thread.showRejected(item.clientId, rejected, ({ filename }) => {
      const file = item.files.find(({ name }) => name === filename);
      if (file) void this.send({ text: "", files: [file] });
    });
  }

  async #handOff() {
    const state = await this.#api.askForPerson().catch((problem) => {
      if (problem.isPassing) throw problem;
      return null; // refused: the button stays, for another try
    });
    local.remove("wants_person");
    if (state) this.#setState(state);
  }

  /** The first message begins a conversation, unless one has begun since it was written. */
  async #start(item, watch) {
    const posted = await this.#api.start(item, { language: this.visitor.language }, watch);
    const begun = posted.conversation;
    if (!this.#hasBegun) {
      this.#api.conversation = begun.id;
      this.#setState(begun);
      this.#view.onStarted();
      if (posted.begun) this.#stream.start(0);
      else void this.#sync(); // another tab has begun it
    }
    return posted;
  }

  #sendLater(problem) {
    this.#await(null);
    const text = whyLater(problem);
    const actions = [{ text: t("try_again"), run: () => this.#flush() }];
    const unsent = ({ error, clientId }) => error === null && !this.#thread.hasSent(clientId);
    for (const item of this.#outbox.items.filter(unsent)) {
      this.#thread.setDelivery(item.clientId, { kind: "waiting", text, actions: navigator.onLine ? actions : [] });
    }
    const pause = problem.retryAfter ? problem.retryAfter * 1000 : this.#retry.pause;
    this.#retry.pause = Math.min(this.#retry.pause * 2, LAST_RETRY);
    this.#retry.timer = setTimeout(() => this.#flush(), pause);
  }

  /** @param notice why, as {code, params} or a list of them; null if nobody knows */
  #refused(item, notice) {
    this.#outbox.update(item, { error: notice ?? [] });
    this.#showFailure(item);
  }

  #showUnsent(item) {
    if (this.#thread.hasSent(item.clientId)) return this.#outbox.remove(item);
    if (this.#thread.has(item.clientId)) return;
    this.#thread.showUnsent(item, (file) => this.#leaveOut(item, file));
    if (item.isLost && item.error === null) this.#outbox.update(item, { error: { code: "photos_lost", params: {} } });
    if (item.error !== null) this.#showFailure(item);
  }

  #showFailure(item) {
    const retry = () => {
      this.#outbox.update(item, { error: null, isLost: false });
      void this.#flush();
    };
    const actions = [{ text: t("discard"), run: () => this.#discard(item) }];
    const isEmpty = !item.text && !item.files.length;
    if (!isEmpty) actions.unshift({ text: t(item.isLost ? "send_without" : "try_again"), run: retry });
    const reason = wordNotices(item.error);
    const text = reason === null ? t("not_sent") : t("not_sent_because", { reason });
    this.#thread.setDelivery(item.clientId, { kind: "failed", text, actions });
  }

  // Receiving

  #receive(kind, payload) {
    if (kind === "message.created") this.#showMessage(payload);
    else if (kind === "message.updated") this.#thread.update(payload);
    else if (kind === "conversation.updated") this.#setState(payload);
    else if (kind === "conversation.read") this.#attention.apply(payload);
    else if (kind === "typing") this.#view.onTyping(payload);
    else if (kind === "conversation.rated")
      this.#setState({ ...this.conversation, asks_rating: false, rating: payload });
    else if (kind === "answer.started") this.#answerStarted();
    else if (kind === "answer.delta" && this.#hearsWholeAnswer) this.#thread.addWords(payload.text);
    else if (kind === "answer.dropped") this.#thread.restartWords();
  }

  #showMessage(message) {
    const isNew = this.#thread.show(message);
    this.#attention.add(message);
    if (message.author === "customer") {
      const item = this.#outbox.find(message.client_id);
      if (item) this.#arrived(item);
      else if (isNew) this.#awaitAnswer(); // sent from another tab
      return;
    }
    if (message.author !== "system") this.#await(null);
    if (isNew) this.#view.onNews(message);
  }

  /** The server has the message, although its response may have been lost: only that says which files were refused. */
  #arrived(item) {
    if (!item.files.length) this.#outbox.remove(item);
    this.#thread.setDelivery(item.clientId, { kind: "sent", text: t("sent") });
  }

  #answerStarted() {
    if (this.#thread.lastAuthor !== "customer") return; // a person was quicker
    clearTimeout(this.#aheadTimer);
    this.#hearsWholeAnswer = true;
    this.#thread.restartWords();
    if (this.#awaits === null) this.#await("writing");
    else this.#thread.showWriting(t(this.#awaits));
  }

  /** Show whether the customer's last message still wants an answer. */
  #awaitAnswer() {
    const isOpen = this.conversation.state === "assistant" && this.#thread.lastAuthor === "customer";
    if (!isOpen) this.#await(null);
    else if (this.#awaits === null) this.#await("writing");
  }

  /** Show the text of this key while an answer is awaited; null when none is. */
  #await(text) {
    clearTimeout(this.#slowTimer);
    clearTimeout(this.#aheadTimer);
    // In a closed conversation only what reopens it is answered, which its new state tells: thanks may be left as they are.
    this.#awaits = this.conversation.state === "assistant" ? text : null;
    if (this.#awaits === null) {
      this.#hearsWholeAnswer = false;
      this.#thread.hideWriting();
      return;
    }
    this.#thread.showWriting(t(text));
    this.#slowTimer = setTimeout(() => this.#thread.showWriting(t("writing_long")), SLOW);
    this.#aheadTimer = setTimeout(() => this.#askJobsAhead(), ASK_JOBS_AHEAD_EVERY);
  }

  /** Show how many jobs are ahead of the customer's until its turn comes. */
  async #askJobsAhead() {
    const timer = this.#aheadTimer;
    const now = document.hidden || !this.#hasBegun ? null : await this.#api.load().catch(() => null);
    if (now) this.#loaded(now); // it may have been answered
    if (timer !== this.#aheadTimer || this.#awaits === null || this.#hearsWholeAnswer) return;
    if (now?.jobs_ahead > 0) {
      clearTimeout(this.#slowTimer);
      this.#thread.showWriting(t("jobs_ahead", { n: now.jobs_ahead }));
    }
    this.#aheadTimer = setTimeout(() => this.#askJobsAhead(), ASK_JOBS_AHEAD_EVERY);
  }

  #setState({
    state,
    queue_position = null,
    agent_name = null,
    agent_picture = null,
    asks_rating = false,
    rating = null,
  }) {
    const wasClosed = this.conversation.state === "closed";
    const begunToWait = state === "handed_off" && this.conversation.state !== "handed_off";
    this.conversation = { state, queue_position, agent_name, agent_picture, asks_rating, rating };
    if (state !== "assistant") this.#await(null);
    else if (wasClosed && this.#thread.lastAuthor === "customer") this.#await("writing");
    if (state === "handed_off" || state === "agent") local.remove("wants_person");
    this.#view.onState(this.conversation);
    if (begunToWait) void this.#sync(); // when people are back, and how long a reply takes
  }

  // Synchronizing

  async #sync() {
    if (this.#isSyncing || !this.#api.token) return;
    this.#isSyncing = true;
    let problem = null;
    try {
      if (!this.#hasBegun) await this.#findConversation();
      let isShown = false; // the customer may go on to another conversation meanwhile
      while (this.#hasBegun && !isShown) isShown = this.#loaded(await this.#api.load());
    } catch (caught) {
      problem = caught;
    } finally {
      this.#isSyncing = false;
    }
    if (problem) await this.#notSynced(problem); // now, as it may begin anew
  }

  /** Show a conversation as it was loaded, unless the stream has told more by now. Returns false if it has been left. */
  #loaded(now) {
    if (now.id !== this.#api.conversation) return false;
    this.#view.onLoaded(now);
    if (this.#stream.start(now.last_event_id)) {
      for (const message of now.messages) this.#thread.show(message);
      this.#attention.start(now.messages, now.attention);
      this.#setState(now);
    }
    this.#awaitAnswer();
    if (now.messages.length) this.#view.onStarted();
    return true;
  }

  #notSynced(problem) {
    if (problem.isEnded || problem.isGone) return this.#gone(problem);
    this.#view.onConnection(false);
    clearTimeout(this.#syncTimer);
    this.#syncTimer = setTimeout(() => this.#sync(), (problem.retryAfter ?? 4) * 1000);
  }

  /** The newest conversation, unless the customer has left it. */
  async #findConversation() {
    const { session, conversations } = await this.#api.conversations();
    this.#begun(session);
    if (session.renew) await this.#renewToken();
    const [newest] = conversations;
    if (newest && newest.id !== local.get("left")) this.#api.conversation = newest.id;
    this.#attention.listed = conversations;
  }

  /** What has come in the customer's other conversations, of which no stream tells. */
  async #askElsewhere() {
    const listed = this.#api.token && navigator.onLine ? await this.#api.conversations().catch(() => null) : null;
    if (listed) this.#attention.listed = listed.conversations;
  }

  #askPosition() {
    if (this.conversation.state === "handed_off" && !document.hidden) void this.#sync();
  }

  #connectionChanged(connected, problem) {
    if (problem?.isEnded || problem?.isGone) return this.#gone(problem);
    if (problem?.status > 0) void this.#sync(); // the server answers, but not with a stream: poll
    this.#view.onConnection(connected);
  }

  /** The session has ended, or the conversation was erased. */
  async #gone({ isEnded, isUnbegun }) {
    const next = isEnded ? this.#nextToken() : null;
    if (next !== null) {
      this.#keepToken(next);
      this.#stream.stop();
      return this.#sync();
    }
    if (isUnbegun) this.#isOpen = false;
    else if (isEnded) this.#forgetSession();
    this.#leave();
    if (!this.#thread.isEmpty) this.#thread.showNotice(t("gone"));
    this.#view.onConnection(true);
  }

  #forgetSession() {
    this.#isOpen = false;
    this.isKnown = false;
    this.#api.token = null;
    this.#attention.listed = [];
    for (const key of ["session", "next_session", "left"]) local.remove(key);
  }

  #leave() {
    this.#stream.stop();
    this.#api.conversation = null;
    this.#attention.forget();
    this.#setState({ state: "assistant" });
    this.#await(null);
  }
}

/** Why a message waits, and for how long if the server said so. */
function whyLater(problem) {
  if (!navigator.onLine) return t("waiting");
  if (problem.isNetwork || !problem.retryAfter) return t("retrying");
  const reason = wordNotices(problem.notice) ?? t("not_accepting");
  return joined([reason, t("next_try", { when: inSeconds(problem.retryAfter) })]);
}
