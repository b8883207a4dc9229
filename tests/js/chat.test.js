import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { Api } from "../../assistant/web/static/widget/api.js";
import { Chat } from "../../assistant/web/static/widget/chat.js";
import { local, Outbox } from "../../assistant/web/static/widget/store.js";
import { useLanguage } from "../../assistant/web/static/widget/texts.js";
import { catalogueOf, json, localStorage, serve, serveUploads, settle } from "./browser.js";

useLanguage({ language: "en", locale: "en", texts: catalogueOf("en") });

/** What the customer would see: messages with their delivery, and the line that says what is being worked on. */
class RecordingThread {
  messages = [];
  deliveries = new Map();
  writing = null;
  notices = [];

  get isEmpty() {
    return !this.messages.length;
  }

  get lastAuthor() {
    const isSaid = ({ client_id: id }) => !["waiting", "failed"].includes(this.deliveries.get(id)?.kind);
    return this.messages.filter(isSaid).at(-1)?.author ?? null;
  }

  has(clientId) {
    return this.messages.some((message) => message.client_id === clientId);
  }

  hasSent(clientId) {
    return this.messages.some((message) => message.id && message.client_id === clientId);
  }

  show(message) {
    if (this.messages.some(({ id }) => id === message.id)) return false;
    const own = this.messages.findIndex(({ id, client_id }) => !id && client_id === message.client_id);
    if (own >= 0) this.messages[own] = message;
    else this.messages.push(message);
    return own < 0;
  }

  showUnsent(item, onLeaveOut) {
    this.messages.push({ author: "customer", text: item.text, client_id: item.clientId });
    this.leaveOut = (at) => onLeaveOut(item.files[at]);
  }

  remove(clientId) {
    this.messages = this.messages.filter(({ client_id }) => client_id !== clientId);
  }

  setProgress() {}

  setDelivery(clientId, delivery) {
    this.deliveries.set(clientId, delivery);
  }

  showRejected(_clientId, files, onRetry) {
    this.rejected = files.map((file) => ({ ...file, retry: () => onRetry(file) }));
  }

  showNotice(text) {
    this.notices.push(text);
  }

  showWriting(text) {
    this.writing = text;
  }

  hideWriting() {
    this.writing = null;
  }

  restartWords() {}

  clear() {
    this.messages = [];
  }

  get delivery() {
    return [...this.deliveries.values()].at(-1);
  }
}

const view = {
  onState() {},
  onConnection() {},
  onNews() {},
  onSent() {},
  onStarted() {},
  onLoaded() {},
  onTyping() {},
  onTrouble() {},
};
const attention = { start() {}, add() {}, apply() {}, forget() {} };
const customer = { id: "msg_1", author: "customer", text: "It leaks." };

const accepted = (body) => {
  const message = { ...customer, text: body.get("text"), client_id: body.get("client_id") };
  return json({ message, conversation_id: "cnv_1", rejected_files: [] }, { status: 201 });
};

/**
 * A server whose conversation and answer to a posted message the test decides; `conversation` null: there is none yet.
 * The stream stays silent.
 */
function serveChat({
  conversation = null,
  begun = true,
  post = accepted,
  open = () => json({ token: "secret" }, { status: 201 }),
  events = null,
}) {
  const known = { id: "cnv_1", state: "assistant", messages: [], last_event_id: 1, jobs_ahead: null };
  return serve(async (path, options) => {
    const now = { ...known, ...conversation };
    if (path === "sessions") return open(JSON.parse(options.body));
    if (path === "conversations" && options.method !== "POST") {
      return json({ session: { renew: false }, conversations: conversation ? [now] : [] });
    }
    if (path === "conversations") {
      const answer = await post(options.body);
      if (!answer.ok) return answer;
      return json({ conversation: now, begun, ...(await answer.json()) }, { status: 201 });
    }
    if (path === "conversations/cnv_1") return json(now);
    if (path === "conversations/cnv_1/messages") return post(options.body);
    if (events) return new Response(events);
    return new Promise((_resolve, reject) => {
      options.signal.addEventListener("abort", () => reject(options.signal.reason));
    });
  });
}

function open(shown = view) {
  const thread = new RecordingThread();
  const api = new Api("https://support.example/widget/v1/");
  return { thread, chat: new Chat({ api, thread, outbox: new Outbox(), attention, view: shown }) };
}

beforeEach(() => {
  mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  for (const key of local.keys("")) local.remove(key);
  localStorage.clear();
});
afterEach(() => mock.timers.reset());

test("the conversation starts with its first message", async () => {
  const requests = serveChat({ post: accepted });
  const { chat, thread } = open();
  await chat.resume();
  assert.deepEqual(requests, []);
  await chat.send({ text: "It leaks.", files: [] });
  assert.deepEqual(
    requests.map(({ path }) => path).filter((path) => !path.endsWith("/events")),
    ["sessions", "conversations"],
  );
  assert.equal(thread.delivery.kind, "sent");
  assert.equal(local.get("session"), "secret");
});

test("a refused message says why, and can be discarded", async () => {
  const notice = { code: "file_empty", params: { name: "a.jpg" } };
  serveChat({ post: () => json({ code: "invalid", detail: "…", notice }, { status: 422 }) });
  const { chat, thread } = open();
  await chat.send({ text: "See photo", files: [] });
  assert.equal(thread.delivery.kind, "failed");
  assert.equal(thread.delivery.text, "Not sent: a.jpg is empty. Please attach it again.");
  assert.deepEqual(
    thread.delivery.actions.map(({ text }) => text),
    ["Try again", "Discard"],
  );
});

test("a refusal without a reason is not given one", async () => {
  serveChat({ post: () => new Response("no", { status: 400 }) });
  const { chat, thread } = open();
  await chat.send({ text: "See photo", files: [] });
  assert.equal(thread.delivery.text, "Not sent");
});

test("a message that a limit holds back says why, and for how long", async () => {
  const limits = [
    [
      429,
      { code: "rate_limited", notice: { code: "too_many_requests", params: {} }, retry_after: 45 },
      /^Too many requests.* Next try in 45 seconds\.$/,
    ],
    [
      503,
      { code: "unavailable", cause: "disk_full", retry_after: 300 },
      /^We cannot take messages at the moment\. Next try in 5 minutes\.$/,
    ],
    [502, {}, /Retrying/],
  ];
  for (const [status, body, said] of limits) {
    serveChat({ post: () => json(body, { status }) });
    const { chat, thread } = open();
    await chat.send({ text: "It leaks.", files: [] });
    await settle();
    assert.equal(thread.delivery.kind, "waiting");
    assert.match(thread.delivery.text, said);
  }
});

const files = ["a.jpg", "b.jpg"].map((name) => ({ name, type: "image/jpeg", blob: new Blob([name]) }));
const sentNames = (request) => request.body.getAll("photos").map(({ name }) => name);

test("a photo is left out while it uploads, and the message goes without it under the same id", async () => {
  local.set("session", "secret");
  serveChat({ conversation: { messages: [customer] } });
  const uploads = [];
  serveUploads((request) => uploads.push(request));
  const { chat, thread } = open();
  await chat.resume();
  const sending = chat.send({ text: "", files });
  await settle();
  thread.leaveOut(0);
  await settle();
  assert.deepEqual(uploads.map(sentNames), [["a.jpg", "b.jpg"], ["b.jpg"]]);
  assert.equal(uploads[0].body.get("client_id"), uploads[1].body.get("client_id"));
  thread.leaveOut(0); // and with it, nothing is left to send
  await sending;
  assert.deepEqual(thread.messages, [customer]);
  assert.equal(thread.writing, "The assistant is writing"); // still, about the message before
  assert.deepEqual(local.keys("outbox."), []);
});

test("a photo that was refused can be sent again alone", async () => {
  local.set("session", "secret");
  serveChat({ conversation: { messages: [customer] } });
  const uploads = [];
  serveUploads((request) => {
    uploads.push(sentNames(request));
    const rejected = uploads.length === 1 ? [{ filename: "b.jpg", notice: { code: "storage_low", params: {} } }] : [];
    const message = { ...customer, id: `msg_${uploads.length + 1}`, client_id: request.body.get("client_id") };
    request.respond(201, { message, conversation_id: "cnv_1", rejected_files: rejected });
  });
  const { chat, thread } = open();
  await chat.resume();
  await chat.send({ text: "See photos", files });
  thread.rejected[0].retry();
  await settle();
  assert.deepEqual(uploads, [["a.jpg", "b.jpg"], ["b.jpg"]]);
});

test("if its photos are lost, a message can go without them", async () => {
  const lost = { clientId: "left", text: "It leaks.", photos: 1, createdAt: "now", error: null };
  local.set("outbox.left", lost);
  const requests = serveChat({ post: accepted });
  const { chat, thread } = open();
  await chat.resume();
  const [without] = thread.delivery.actions;
  assert.equal(without.text, "Send without them");
  without.run();
  await settle();
  assert.equal(thread.delivery.kind, "sent");
  assert.equal(requests.at(-1).path, "conversations/cnv_1/events");
});

test("a message whose response is lost is sent again under the same id", async () => {
  const ids = [];
  const requests = serveChat({
    post: (body) => {
      ids.push(body.get("client_id"));
      if (ids.length === 1) throw new TypeError("Failed to fetch");
      return accepted(body);
    },
  });
  const { chat, thread } = open();
  await chat.send({ text: "It leaks.", files: [] });
  assert.equal(thread.delivery.kind, "waiting");
  mock.timers.tick(2_000);
  await settle();
  assert.equal(thread.delivery.kind, "sent");
  assert.equal(ids.length, 2);
  assert.equal(new Set(ids).size, 1);
  assert.equal(requests.filter(({ path }) => path === "sessions").length, 1);
});

test("what a closed tab has left is sent from the one that is still open", async () => {
  const requests = serveChat({ post: accepted });
  const { chat, thread } = open();
  await chat.resume();
  await new Outbox().add({ clientId: "c_other", text: "It drips.", files: [], createdAt: "now", error: null });
  mock.timers.tick(10_000);
  await settle();
  assert.deepEqual(requests, []); // the other tab may be at it
  mock.timers.tick(10_000);
  await settle();
  assert.equal(thread.messages[0].text, "It drips.");
  assert.equal(thread.delivery.kind, "sent");
  assert.equal(local.keys("outbox.").length, 0);
});

/** A stream that tells what the test enqueues. */
function eventStream() {
  let controller;
  const body = new ReadableStream({ start: (one) => (controller = one) });
  const tell = async (kind, payload, id = null) => {
    const line = id === null ? "" : `id: ${id}\n`;
    controller.enqueue(new TextEncoder().encode(`${line}event: ${kind}\ndata: ${JSON.stringify(payload)}\n\n`));
    await settle();
  };
  return { body, tell };
}

test("a message that is in the conversation is sent, even if its response was lost", async () => {
  local.set("session", "secret");
  const { body, tell } = eventStream();
  let clientId;
  const post = (form) => {
    clientId = form.get("client_id");
    throw new TypeError("Failed to fetch");
  };
  const requests = serveChat({ conversation: { messages: [customer] }, post, events: body });
  const { chat, thread } = open();
  await chat.resume();
  await chat.send({ text: "Still leaks.", files: [] });
  assert.equal(thread.delivery.kind, "waiting");
  await tell("message.created", { id: "msg_2", author: "customer", text: "Still leaks.", client_id: clientId });
  await tell("message.created", { id: "msg_3", author: "assistant", text: "Close the valve." });
  assert.equal(thread.deliveries.get(clientId).kind, "sent");
  mock.timers.tick(60_000);
  await settle();
  assert.equal(thread.deliveries.get(clientId).kind, "sent");
  assert.equal(requests.filter(({ path }) => path.endsWith("/messages")).length, 1);
});

test("what was left unsent is sent when the widget is opened again", async () => {
  await new Outbox().add({ clientId: "left", text: "It leaks.", files: [], createdAt: "now", error: null });
  serveChat({ post: accepted });
  const { chat, thread } = open();
  await chat.resume();
  assert.equal(thread.deliveries.get("left").kind, "sent");
  assert.deepEqual(local.keys("outbox"), []);
});

test("if the session has ended, the message begins a new one", async () => {
  local.set("session", "old");
  const asked = [];
  serve((path, options) => {
    if (path === "sessions") {
      asked.push(JSON.parse(options.body).token);
      return json({ token: "new" }, { status: 201 });
    }
    if (options.headers.Authorization === "Bearer old") return json({}, { status: 401 });
    if (path === "conversations") {
      const message = { ...customer, client_id: options.body.get("client_id") };
      const posted = { message, conversation_id: "cnv_2", rejected_files: [] };
      return json({ conversation: { id: "cnv_2", state: "assistant" }, begun: true, ...posted });
    }
    return new Promise(() => {});
  });
  const { chat, thread } = open();
  await chat.resume();
  await chat.send({ text: "Hello?", files: [] });
  await settle();
  assert.match(asked[0], /^[A-Za-z0-9_-]{43}$/);
  assert.equal(local.get("session"), "new");
  assert.equal(thread.delivery.kind, "sent");
});

test("a token that no session was begun with is kept for one", async () => {
  local.set("session", "drawn by another tab");
  const asked = [];
  let isBegun = false;
  serve((path, options) => {
    if (path === "sessions") {
      asked.push(JSON.parse(options.body).token);
      isBegun = true;
      return json({ token: asked[0] }, { status: 201 });
    }
    if (!isBegun) return json({ code: "session_unknown" }, { status: 401 });
    if (path === "conversations") {
      const message = { ...customer, client_id: options.body.get("client_id") };
      const posted = { message, conversation_id: "cnv_1", rejected_files: [] };
      return json({ conversation: { id: "cnv_1", state: "assistant" }, begun: true, ...posted });
    }
    return new Promise(() => {});
  });
  const { chat, thread } = open();
  await chat.resume();
  assert.equal(local.get("session"), "drawn by another tab");
  await chat.send({ text: "Hello?", files: [] });
  await settle();
  assert.deepEqual(asked, ["drawn by another tab"]);
  assert.equal(thread.delivery.kind, "sent");
});

test("if the answer to a session's beginning is lost, the same one is asked for again", async () => {
  const tokens = [];
  serveChat({
    open: ({ token }) => {
      tokens.push(token);
      if (tokens.length === 1) throw new TypeError("Failed to fetch");
      return json({ token }, { status: 201 });
    },
  });
  const { chat, thread } = open();
  await chat.send({ text: "It leaks.", files: [] });
  mock.timers.tick(2_000);
  await settle();
  assert.equal(thread.delivery.kind, "sent");
  assert.equal(tokens.length, 2);
  assert.equal(new Set(tokens).size, 1);
});

test("who a customer says that they are is told to a session that has begun before", async () => {
  local.set("session", "secret");
  const asked = [];
  serveChat({ open: (details) => asked.push(details) && json({ token: "secret" }) });
  const { chat } = open();
  await chat.resume();
  chat.introduce({ name: "Rosa" });
  await chat.send({ text: "It leaks.", files: [] });
  assert.deepEqual(asked, [{ inbox: "default", token: "secret", name: "Rosa" }]);
});

test("a signed customer's conversation takes the place of the visitor's", async () => {
  local.set("session", "visitor");
  const asked = [];
  serveChat({
    conversation: { messages: [customer] },
    open: (body) => {
      asked.push([body.token, body.identity]);
      return json({ token: "signed" });
    },
  });
  const { chat, thread } = open();
  await chat.resume();
  await chat.identify("jwt");
  assert.deepEqual(asked, [["visitor", "jwt"]]);
  assert.equal(local.get("session"), "signed");
  assert.deepEqual(thread.messages, [customer]);
});

test("a signed token that is refused is told to the page, and the customer can write all the same", async () => {
  const told = [];
  serveChat({
    open: ({ token, identity }) => (identity ? json({ detail: "expired" }, { status: 422 }) : json({ token })),
  });
  const { chat, thread } = open({ ...view, onTrouble: (detail) => told.push(detail) });
  await chat.resume({ identity: "jwt" });
  assert.deepEqual(told, ["expired"]);
  await chat.send({ text: "It leaks.", files: [] });
  assert.equal(thread.delivery.kind, "sent");
});

test("logging out forgets everything and ends the session, if need be later", async () => {
  local.set("session", "secret");
  let isOffline = true;
  const requests = serveChat({ conversation: { messages: [customer] } });
  const answer = globalThis.fetch;
  globalThis.fetch = (address, options) => {
    if (isOffline && options.method === "DELETE") throw new TypeError("Failed to fetch");
    if (options.method !== "DELETE") return answer(address, options);
    requests.push({ path: "sessions/current", ...options });
    return new Response(null, { status: 204 });
  };
  const { chat, thread } = open();
  await chat.resume();
  local.set("draft", "Psst");
  local.set("prechat", { name: "Rosa" });
  await chat.logOut();
  assert.deepEqual(thread.messages, []);
  assert.deepEqual(local.keys(""), ["ending"]);
  isOffline = false;
  await open().chat.resume();
  assert.equal(requests.at(-1).headers.Authorization, "Bearer secret");
  assert.deepEqual(local.keys(""), []);
});

test("a token that another tab was given is taken over", async () => {
  local.set("session", "old");
  serveChat({ conversation: { messages: [customer] } });
  const { chat, thread } = open();
  await chat.resume();
  const answer = globalThis.fetch;
  globalThis.fetch = (address, options) =>
    options.headers.Authorization === "Bearer old" ? json({}, { status: 401 }) : answer(address, options);
  local.set("session", "new");
  await chat.send({ text: "Still leaks.", files: [] });
  await settle();
  assert.equal(thread.delivery.kind, "sent");
  assert.equal(local.get("session"), "new");
  assert.deepEqual(thread.notices, []);
});

test("a proof changes the token, also if its answer is lost, and only then", async () => {
  local.set("session", "old");
  let valid = "old";
  let answer = () => json({ notice: { code: "code_wrong", params: { n: 4 } } }, { status: 422 });
  serveChat({ conversation: { messages: [customer] } });
  const rest = globalThis.fetch;
  globalThis.fetch = async (address, options) => {
    if (options.headers.Authorization !== `Bearer ${valid}`) return json({}, { status: 401 });
    return address.endsWith("/proof") ? answer(JSON.parse(options.body)) : rest(address, options);
  };
  const { chat, thread } = open();
  await chat.resume();
  await assert.rejects(chat.prove("123456"), { status: 422 });
  assert.deepEqual([local.get("session"), local.get("next_session")], ["old", null]);

  let drawn = null;
  answer = ({ token }) => {
    drawn = valid = token;
    throw new TypeError("Failed to fetch");
  };
  await assert.rejects(chat.prove("654321"), { isNetwork: true });
  assert.match(drawn, /^[\w-]{43,}$/);
  await chat.prove("654321"); // refused, as the old token is: it had been proved
  assert.deepEqual([local.get("session"), local.get("next_session")], [drawn, null]);
  await chat.send({ text: "Still leaks.", files: [] });
  assert.equal(thread.delivery.kind, "sent");
  assert.deepEqual(thread.notices, []);
});

test("a token of earlier versions is exchanged once", async () => {
  local.set("token", "old");
  const asked = [];
  serveChat({
    conversation: { messages: [customer] },
    open: (body) => {
      asked.push(body.conversation_token);
      return json({ token: "secret" });
    },
  });
  await open().chat.resume();
  const { chat, thread } = open();
  await chat.resume();
  assert.deepEqual(asked, ["old"]);
  assert.equal(thread.messages.length, 1);
});

test("a conversation that was left stays left, and the next message begins another", async () => {
  local.set("session", "secret");
  const requests = serveChat({ conversation: { messages: [customer] } });
  const first = open();
  await first.chat.resume();
  first.chat.startAnew();
  const { chat, thread } = open();
  await chat.resume();
  assert.deepEqual(thread.messages, []);
  await chat.send({ text: "Something else", files: [] });
  const begun = requests.find(({ path, method }) => path === "conversations" && method === "POST");
  assert.equal(begun.body.get("after"), "cnv_1");
});

test("a message of a conversation that was left goes there, and is not shown in the next one", async () => {
  local.set("session", "secret");
  let isDown = true;
  const requests = serveChat({
    conversation: { messages: [customer] },
    post: (form) => (isDown ? new Response("", { status: 503 }) : accepted(form)),
  });
  const { chat, thread } = open();
  await chat.resume();
  await chat.send({ text: "Hello?", files: [] });
  chat.startAnew();
  isDown = false;
  mock.timers.tick(2_000);
  await settle();
  const posts = requests.filter(({ method }) => method === "POST").map(({ path }) => path);
  assert.equal(posts.at(-1), "conversations/cnv_1/messages");
  assert.deepEqual(thread.messages, []);
  assert.deepEqual(local.keys("outbox"), []);
});

test("what a closed tab wrote to begin anew begins another conversation, which is not the one that is shown", async () => {
  local.set("session", "secret");
  const row = { clientId: "new", text: "Another thing.", photos: 0, createdAt: "now", error: null };
  const posted = [];
  serve((path, options) => {
    const now = { id: "cnv_1", state: "assistant", messages: [customer], last_event_id: 1, jobs_ahead: null };
    if (path === "sessions") return json({ token: "secret" });
    if (path === "conversations/cnv_1") return json(now);
    if (path === "conversations" && options.method !== "POST") {
      return json({ session: { renew: false }, conversations: [now] });
    }
    if (path !== "conversations") return new Promise(() => {});
    posted.push(options.body);
    const message = { ...customer, client_id: "new" };
    const begun = { id: "cnv_2", state: "assistant" };
    return json({ conversation: begun, begun: true, message, conversation_id: "cnv_2", rejected_files: [] });
  });
  const { chat, thread } = open();
  await chat.resume();
  local.set("outbox.new", { ...row, conversation: null, after: "cnv_1" });
  for (let times = 0; times < 2; times++) {
    mock.timers.tick(10_000);
    await settle();
  }
  assert.equal(posted.length, 1);
  assert.equal(posted[0].get("after"), "cnv_1");
  assert.deepEqual(thread.messages, [customer]);
  assert.deepEqual(local.keys("outbox"), []);
});

test("what waits here is shown once, also when something of another tab comes to it", async () => {
  serveChat({ post: () => new Response("", { status: 503 }) });
  const { chat, thread } = open();
  await chat.resume();
  await chat.send({ text: "Hello?", files: [] });
  local.set("outbox.other", { clientId: "other", text: "It leaks.", photos: 0, createdAt: "0", error: null });
  for (let times = 0; times < 3; times++) {
    mock.timers.tick(10_000);
    await settle();
  }
  assert.deepEqual(thread.messages.map(({ text }) => text).sort(), ["Hello?", "It leaks."]);
});

test("a person who answers first leaves nothing to wait for", async () => {
  local.set("session", "secret");
  const events = "id: 2\nevent: answer.started\ndata: {}\n\n";
  serveChat({ conversation: { messages: [customer, { ...answered[1], author: "agent" }] }, events });
  const { chat, thread } = open();
  await chat.resume();
  await settle();
  assert.equal(thread.writing, null);
});

test("an open question shows that an answer is being written", async () => {
  local.set("session", "secret");
  serveChat({ conversation: { messages: [customer] }, post: accepted });
  const { chat, thread } = open();
  await chat.resume();
  assert.equal(thread.writing, "The assistant is writing");
});

const answered = [customer, { id: "msg_2", author: "assistant", text: "Close the valve." }];

test("nothing is being written once the answer has come, however it was learned of", async () => {
  // Another tab has begun the conversation, and it is loaded after the answer: no event tells of that.
  const now = { messages: [], last_event_id: 9 };
  const post = (form) => {
    now.messages = [{ ...customer, client_id: form.get("client_id") }, answered[1]];
    return accepted(form);
  };
  const requests = serveChat({ conversation: now, post, begun: false });
  const { chat, thread } = open();
  await chat.send({ text: "It leaks.", files: [] });
  await settle();
  assert.equal(requests.at(-1).headers["Last-Event-ID"], "9");
  assert.equal(thread.messages.length, 2);
  assert.equal(thread.writing, null);
});

test("who waits asks, and sees an answer whose event is lost", async () => {
  local.set("session", "secret");
  const now = { messages: [customer] };
  serveChat({ conversation: now });
  const { chat, thread } = open();
  await chat.resume();
  Object.assign(now, { messages: answered, last_event_id: 2 });
  mock.timers.tick(3_000);
  await settle();
  assert.deepEqual(thread.messages, answered);
  assert.equal(thread.writing, null);
});

test("what was loaded before the stream told of more does not count any more", async () => {
  local.set("session", "secret");
  const { body, tell } = eventStream();
  const now = { messages: [customer] };
  serveChat({ conversation: now, events: body });
  const rest = globalThis.fetch;
  let answer = null; // the second time, it takes a while
  globalThis.fetch = async (address, options) => {
    const response = await rest(address, options);
    if (address.endsWith("/cnv_1") && answer === null) answer = () => response;
    else if (address.endsWith("/cnv_1")) await new Promise((resolve) => (answer = resolve));
    return response;
  };
  const states = [];
  const { chat, thread } = open({ ...view, onState: ({ state }) => states.push(state) });
  await chat.resume();
  mock.timers.tick(3_000);
  await settle();
  await tell("conversation.updated", { state: "handed_off" }, 7);
  answer();
  await settle();
  assert.equal(states.at(-1), "handed_off");
  assert.equal(thread.writing, null);
});

test("a conversation that has been left is not shown in the next one", async () => {
  local.set("session", "secret");
  let answer;
  const post = (form) => new Promise((resolve) => (answer = () => resolve(accepted(form))));
  serveChat({ conversation: { messages: answered }, post });
  const { chat, thread } = open();
  await chat.resume();
  const sending = chat.send({ text: "Still leaks.", files: [] });
  await settle();
  chat.startAnew();
  answer();
  await sending;
  assert.deepEqual(thread.messages, []);
  assert.equal(thread.writing, null);
});

test("nothing is being written in a closed conversation until a message has reopened it", async () => {
  local.set("session", "secret");
  const { body, tell } = eventStream();
  serveChat({ conversation: { state: "closed", messages: [customer] }, post: accepted, events: body });
  const { chat, thread } = open();
  await chat.resume();
  await chat.send({ text: "Thank you!", files: [] }); // which may be left without an answer
  mock.timers.tick(60_000);
  await settle();
  assert.equal(thread.writing, null);
  await tell("conversation.updated", { state: "assistant" });
  assert.equal(thread.writing, "The assistant is writing");
});

test("how many are ahead is shown while the customer waits", async () => {
  local.set("session", "secret");
  serveChat({ conversation: { messages: [customer], jobs_ahead: 3 }, post: accepted });
  const { chat, thread } = open();
  await chat.resume();
  mock.timers.tick(3_000);
  await settle();
  assert.equal(thread.writing, "In the queue: 3 messages ahead of yours");
});
