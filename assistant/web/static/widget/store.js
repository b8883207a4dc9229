// What the browser stores: the token, the draft, and the outbox with its photos. Where storage is blocked (private
// windows, third-party frames) everything still works until the page is closed.

const PREFIX = "assistant.";
const DATABASE = "assistant-widget";
const PHOTOS = "photos";

const memory = new Map();

/** localStorage, or this page's memory where it is blocked. Values are JSON. */
export const local = {
  get(key, fallback = null) {
    let raw = null;
    try {
      raw = localStorage.getItem(PREFIX + key);
    } catch {
      // storage is blocked
    }
    raw ??= memory.get(key) ?? null;
    try {
      return raw === null ? fallback : JSON.parse(raw);
    } catch {
      return fallback;
    }
  },
  set(key, value) {
    const raw = JSON.stringify(value);
    memory.set(key, raw);
    try {
      localStorage.setItem(PREFIX + key, raw);
    } catch {
      // blocked or full
    }
  },
  remove(key) {
    memory.delete(key);
    try {
      localStorage.removeItem(PREFIX + key);
    } catch {
      // blocked
    }
  },
};

/**
 * Messages that the server has not acknowledged. Text is stored in localStorage and photos in IndexedDB, both before
 * anything is sent; an item leaves only when the server acknowledges it or the customer discards it. Tabs share the
 * store: each writes its own items and leaves the others alone.
 *
 * An item: {clientId, text, files: [{name, type, blob}], createdAt, error, isLost}.
 */
export class Outbox {
  #items = [];

  get items() {
    return this.#items;
  }

  async load() {
    for (const { photos: count, ...row } of local.get("outbox", [])) {
      if (this.find(row.clientId)) continue;
      const files = count ? ((await photos.get(row.clientId)) ?? []) : [];
      this.#items.push({ ...row, files, isLost: files.length < count });
    }
    return this.#items;
  }

  /** Resolves once the item would survive closing the page. */
  async add(item) {
    this.#items.push(item);
    if (item.files.length) await photos.set(item.clientId, item.files);
    this.#save();
  }

  update(item, changes) {
    Object.assign(item, changes);
    this.#save();
  }

  remove(item) {
    this.#items = this.#items.filter((other) => other !== item);
    this.#save({ removed: item.clientId });
    if (item.files.length) void photos.remove(item.clientId);
  }

  find(clientId) {
    return this.#items.find((item) => item.clientId === clientId) ?? null;
  }

  #save({ removed = null } = {}) {
    const others = local.get("outbox", []).filter((row) => row.clientId !== removed && !this.find(row.clientId));
    const own = this.#items.map(({ clientId, text, files, createdAt, error }) => {
      return { clientId, text, photos: files.length, createdAt, error };
    });
    local.set("outbox", [...others, ...own]);
  }
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
  get: (key) => inDatabase("readonly", (store) => store.get(key)),
  set: (key, value) => inDatabase("readwrite", (store) => store.put(value, key)),
  remove: (key) => inDatabase("readwrite", (store) => store.delete(key)),
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
