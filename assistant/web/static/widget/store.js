// What the browser keeps: the session's token, the draft, and the outbox with its photos. The page around the widget keeps
// it for us, because many browsers block or throw away what a frame from another site stores. Where nothing can be
// stored, everything still works until the page is closed.

let ours = "assistant."; // what its keys in localStorage begin with
const OF_EARLIER_VERSIONS = ["token", "outbox", "wants_person", "draft"];
const DATABASE = "assistant-widget";
const PHOTOS = "photos";
const ITEM = "outbox.";
const NOWHERE = { conversation: null, after: null }; // of messages that earlier versions have kept

const memory = new Map(); // of the page around us, what it keeps; else what could not be stored
let page = null; // {store(key, raw), claim(key, raw), photos}
const claims = new Map(); // what resolves a claim, by its key

/** Each inbox has a store of its own: the pages of several may share this one. The page around us sees to that itself. */
export function useInbox(key) {
  ours = key === "default" ? "assistant." : `assistant:${key}.`;
  memory.clear();
}

/** localStorage, or this page's memory where it is blocked. */
const own = {
  read: (key) => attempt(() => localStorage.getItem(ours + key)),
  write: (key, raw) => attempt(() => localStorage.setItem(ours + key, raw)),
  remove: (key) => attempt(() => localStorage.removeItem(ours + key)),
  keys: () => attempt(() => Object.keys(localStorage).filter((key) => key.startsWith(ours))) ?? [],
};

function attempt(work) {
  try {
    return work();
  } catch {
    return null; // storage is blocked or full
  }
}

/** Values are JSON. */
export const local = {
  get(key, fallback = null) {
    const raw = (page ? null : own.read(key)) ?? memory.get(key) ?? null;
    try {
      return raw === null ? fallback : JSON.parse(raw);
    } catch {
      return fallback;
    }
  },
  set(key, value) {
    const raw = JSON.stringify(value);
    memory.set(key, raw);
    if (page) page.store(key, raw);
    else own.write(key, raw);
  },
  remove(key) {
    memory.delete(key);
    if (page) page.store(key, null);
    else own.remove(key);
  },
  /** Set a value unless there is one. Resolves to the one there is now: of several tabs, one wins. */
  async claim(key, value) {
    if (page) {
      const told = new Promise((resolve) => claims.set(key, resolve));
      page.claim(key, JSON.stringify(value));
      await told;
    } else if (this.get(key) === null) {
      this.set(key, value);
    }
    return this.get(key);
  },
  keys(prefix) {
    const stored = page ? [] : own.keys().map((key) => key.slice(ours.length));
    return [...new Set([...stored, ...memory.keys()])].filter((key) => key.startsWith(prefix));
  },
};

/**
 * Let the page around us keep everything from now on. What earlier versions kept here moves there.
 * @param stored what it has: JSON by key
 * @param keeper {store(key, json or null), claim(key, json), photos(key, files)}; `photos` resolves to those that it has,
 *   once it has kept these, if any are given, or removed them, if null; pages whose script is older lack it
 */
export function keepOnPage(stored, keeper) {
  memory.clear();
  page = keeper;
  for (const [key, raw] of Object.entries(stored)) memory.set(key, raw);
  for (const key of OF_EARLIER_VERSIONS) {
    const raw = own.read(key);
    own.remove(key);
    if (raw === null || memory.has(key)) continue;
    memory.set(key, raw);
    page.store(key, raw);
  }
}

/** The page has stored something, for us or for another tab; null: removed. */
export function heardFromPage(key, raw) {
  if (raw === null) memory.delete(key);
  else memory.set(key, raw);
  claims.get(key)?.();
  claims.delete(key);
}

/**
 * Messages that the server has not acknowledged. Text is kept as `local` does and photos in IndexedDB, both before
 * anything is sent; an item leaves only when the server acknowledges it or the customer discards it. Each item is a value
 * of its own, so tabs never overwrite each other's.
 *
 * An item: {clientId, text, files: [{name, type, blob}], createdAt, error, isLost, conversation, after}; `conversation` is
 * the one that it was written in. Before there was one it is null, and `after` the one that its customer had left, if any.
 */
export class Outbox {
  #items = [];
  #foreign = []; // keys of other tabs' messages, when they were last looked for

  get items() {
    return this.#items;
  }

  async load() {
    for (const row of local.get("outbox", [])) local.set(ITEM + row.clientId, row); // of earlier versions
    local.remove("outbox");
    for (const key of this.#unknown) this.#take(await read(key));
    return this.#items;
  }

  /**
   * Take what another tab has not sent since this was last called: it may be closed. Sent twice, it is stored once. What
   * only that tab has whole, or was refused, is left to it. Resolves to whether there was anything.
   */
  async takeOver() {
    const before = this.#foreign;
    this.#foreign = this.#unknown.filter((key) => local.get(key).error === null);
    const left = await Promise.all(this.#foreign.filter((key) => before.includes(key)).map(read));
    return left.filter((item) => !item.isLost && this.#take(item)).length > 0;
  }

  get #unknown() {
    return local.keys(ITEM).filter((key) => !this.find(key.slice(ITEM.length)));
  }

  /** @returns whether it was still unsent, and unknown */
  #take(item) {
    if (local.get(ITEM + item.clientId) === null || this.find(item.clientId)) return false;
    this.#items.push(item);
    this.#items.sort((one, other) => one.createdAt.localeCompare(other.createdAt));
    return true;
  }

  /** Resolves once the item would survive closing the page. */
  async add(item) {
    this.#items.push(item);
    if (item.files.length) await photos.set(item.clientId, item.files);
    this.#save(item);
  }

  update(item, changes) {
    Object.assign(item, changes);
    this.#save(item);
  }

  remove(item) {
    this.#items = this.#items.filter((other) => other !== item);
    local.remove(ITEM + item.clientId);
    if (item.files.length) void photos.remove(item.clientId);
  }

  /** Take a file out of a message that is still unsent. */
  async leaveOut(item, file) {
    item.files = item.files.filter((one) => one !== file);
    await photos.set(item.clientId, item.files); // before their number: too few count as lost, too many would be sent
    if (this.#items.includes(item)) this.#save(item);
    else void photos.remove(item.clientId);
  }

  clear() {
    for (const item of this.#items) this.remove(item);
  }

  find(clientId) {
    return this.#items.find((item) => item.clientId === clientId) ?? null;
  }

  #save({ clientId, text, files, createdAt, error, conversation, after }) {
    local.set(ITEM + clientId, { clientId, text, photos: files.length, createdAt, error, conversation, after });
  }
}

/** A stored message, with its photos. */
async function read(key) {
  const { photos: count, ...row } = local.get(key);
  const files = count ? ((await photos.get(row.clientId)) ?? []) : [];
  return { ...NOWHERE, ...row, files, isLost: files.length < count };
}

/** A unique id. crypto.randomUUID does not exist on pages served without https. */
export function newClientId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A session's token: 32 random bytes in URL-safe base64. */
export function newToken() {
  const bytes = crypto.getRandomValues(new Uint8Array(32));
  return btoa(String.fromCharCode(...bytes)).replace(/[+/=]/g, (sign) => ({ "+": "-", "/": "_" })[sign] ?? "");
}

const photos = {
  get: async (key) => (await page?.photos?.(key)) ?? inDatabase("readonly", (store) => store.get(key)),
  set: (key, value) => page?.photos?.(key, value) ?? inDatabase("readwrite", (store) => store.put(value, key)),
  remove(key) {
    void page?.photos?.(key, null);
    return inDatabase("readwrite", (store) => store.delete(key));
  },
};

/** The result of one request; null if IndexedDB is blocked, when photos last as long as the page. */
async function inDatabase(mode, work) {
  try {
    const database = await open();
    return await new Promise((resolve, reject) => {
      const transaction = database.transaction(PHOTOS, mode);
      const request = work(transaction.objectStore(PHOTOS));
      transaction.oncomplete = () => resolve(request.result ?? null);
      transaction.onerror = transaction.onabort = () => reject(transaction.error);
    });
  } catch {
    return null;
  }
}

let opening = null;

function open() {
  opening ??= new Promise((resolve, reject) => {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(PHOTOS);
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opening;
}
