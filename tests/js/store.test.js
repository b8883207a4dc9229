import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import {
  heardFromPage,
  keepOnPage,
  local,
  newClientId,
  newToken,
  Outbox,
  useInbox,
} from "../../assistant/web/static/widget/store.js";
import { indexedDB, localStorage } from "./browser.js";

const photo = { name: "e21.jpg", type: "image/jpeg", blob: new Blob(["photo"]) };
const item = (clientId, files = []) => ({
  clientId,
  text: `text of ${clientId}`,
  files,
  createdAt: "now",
  error: null,
  conversation: null,
  after: null,
});

beforeEach(() => {
  for (const key of local.keys("")) local.remove(key);
  localStorage.isBlocked = indexedDB.isBlocked = false;
  localStorage.clear();
  indexedDB.rows.clear();
});

test("an unsent message survives the page, with its photos", async () => {
  await new Outbox().add(item("a", [photo]));
  const [found] = await new Outbox().load();
  assert.deepEqual(found, { ...item("a", [photo]), isLost: false });
});

test("a sent message leaves nothing behind", async () => {
  const outbox = new Outbox();
  await outbox.add(item("a", [photo]));
  outbox.remove(outbox.find("a"));
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(await new Outbox().load(), []);
  assert.equal(indexedDB.rows.size, 0);
});

test("why a message was refused is kept", async () => {
  const outbox = new Outbox();
  await outbox.add(item("a"));
  outbox.update(outbox.find("a"), { error: "too large" });
  assert.equal((await new Outbox().load())[0].error, "too large");
});

test("a message whose photos are no longer stored is lost", async () => {
  await new Outbox().add(item("a", [photo]));
  indexedDB.rows.clear();
  assert.equal((await new Outbox().load())[0].isLost, true);
});

test("a second tab keeps the messages of the first", async () => {
  const [first, second] = [new Outbox(), new Outbox()];
  await first.load();
  await second.load();
  await first.add(item("a"));
  await second.add(item("b"));
  second.remove(second.find("b"));
  await second.add(item("c"));
  const found = await new Outbox().load();
  assert.deepEqual(found.map(({ clientId }) => clientId).sort(), ["a", "c"]);
});

test("what another tab leaves unsent is taken over, but not what it is sending, has sent or was refused", async () => {
  const [closed, open] = [new Outbox(), new Outbox()];
  for (const id of ["left", "sent", "refused"]) await closed.add(item(id, [photo]));
  closed.update(closed.find("refused"), { error: { code: "file_kind", params: {} } });
  assert.equal(await open.takeOver(), false);
  closed.remove(closed.find("sent"));
  await closed.add(item("new"));
  assert.equal(await open.takeOver(), true);
  assert.deepEqual(open.items, [{ ...item("left", [photo]), isLost: false }]);
  assert.equal(await open.takeOver(), true);
  assert.deepEqual(
    open.items.map(({ clientId }) => clientId),
    ["left", "new"],
  );
  assert.equal(await open.takeOver(), false);
});

test("a message of an earlier version was written nowhere in particular", async () => {
  local.set("outbox.old", { clientId: "old", text: "text of old", photos: 0, createdAt: "now", error: null });
  assert.deepEqual(await new Outbox().load(), [{ ...item("old"), isLost: false }]);
});

test("a message whose photos only its own tab has is left to it", async () => {
  const outbox = new Outbox();
  await new Outbox().add(item("a", [photo]));
  indexedDB.rows.clear();
  await outbox.takeOver();
  assert.equal(await outbox.takeOver(), false);
  assert.equal((await new Outbox().load())[0].error, null);
});

test("loading twice adds nothing", async () => {
  const outbox = new Outbox();
  await outbox.add(item("a"));
  await outbox.load();
  assert.equal((await outbox.load()).length, 1);
});

test("without storage everything works until the page is closed", async () => {
  localStorage.isBlocked = indexedDB.isBlocked = true;
  const outbox = new Outbox();
  await outbox.add(item("a", [photo]));
  assert.equal(outbox.find("a").files[0], photo);
  local.set("token", "secret");
  assert.equal(local.get("token"), "secret");
  local.remove("token");
  assert.equal(local.get("token"), null);
});

test("a value that is no JSON counts as absent", () => {
  localStorage.setItem("assistant.token", "{broken");
  assert.equal(local.get("token", "none"), "none");
});

test("external ids differ and fit the server's limit", () => {
  const ids = new Set(Array.from({ length: 100 }, newClientId));
  assert.equal(ids.size, 100);
  for (const id of ids) assert.match(id, /^[0-9a-f]{32}$/);
});

test("a token has 32 random bytes and no signs that an address would escape", () => {
  const tokens = new Set(Array.from({ length: 100 }, newToken));
  assert.equal(tokens.size, 100);
  for (const token of tokens) assert.match(token, /^[A-Za-z0-9_-]{43}$/);
});

test("an outbox of earlier versions is taken over", async () => {
  local.set("outbox", [{ clientId: "a", text: "old", photos: 0, createdAt: "now", error: null }]);
  assert.equal((await new Outbox().load())[0].text, "old");
  assert.equal(local.get("outbox"), null);
});

test("each inbox has a store of its own", () => {
  local.set("session", "of the default one");
  useInbox("outbox"); // like the keys of unsent messages
  assert.equal(local.get("session"), null);
  local.set("session", "of another");
  useInbox("default");
  assert.equal(local.get("session"), "of the default one");
  assert.deepEqual(local.keys(""), ["session"]);
});

// Last: from here on, the page keeps everything.

test("the page around the widget keeps everything, and what was kept here moves there", async () => {
  localStorage.setItem("assistant.token", '"old"');
  localStorage.setItem("assistant.session", '"of this site, not of that page"');
  const stored = new Map([["draft", '"Hello"']]);
  const store = (key, raw) => (raw === null ? stored.delete(key) : stored.set(key, raw));
  const claim = (key, raw) => {
    if (!stored.has(key)) stored.set(key, raw);
    queueMicrotask(() => heardFromPage(key, stored.get(key)));
  };
  keepOnPage(Object.fromEntries(stored), { store, claim });
  assert.equal(local.get("draft"), "Hello");
  assert.equal(local.get("token"), "old");
  assert.equal(local.get("session"), null);
  assert.equal(localStorage.getItem("assistant.token"), null);
  await new Outbox().add(item("a"));
  assert.ok(stored.has("outbox.a"));
  assert.equal(await local.claim("session", "mine"), "mine");
  assert.equal(await local.claim("session", "another tab's"), "mine");
  heardFromPage("session", null);
  assert.equal(local.get("session"), null);
});

test("where a frame can store nothing, the page around it keeps the photos of unsent messages", async () => {
  indexedDB.isBlocked = localStorage.isBlocked = true;
  const [kept, stored] = [new Map(), new Map()];
  const photos = async (key, files) => {
    if (files === null) kept.delete(key);
    else if (files) kept.set(key, files);
    return kept.get(key);
  };
  const store = (key, raw) => (raw === null ? stored.delete(key) : stored.set(key, raw));
  keepOnPage({}, { store, photos });
  await new Outbox().add(item("a", [photo]));
  keepOnPage(Object.fromEntries(stored), { store, photos });
  const outbox = new Outbox();
  const [found] = await outbox.load();
  assert.deepEqual([found.files, found.isLost], [[photo], false]);
  outbox.remove(found);
  assert.deepEqual([kept.size, stored.size], [0, 0]);
});
