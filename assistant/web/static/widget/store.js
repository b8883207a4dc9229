// What the browser keeps: the token, the unsent text, and the outbox with its photos. In a private window or a frame
// without storage everything still works, until the page is closed.

const PREFIX = "assistant.";
const DATABASE = "assistant-widget";
const PHOTOS = "photos";

const memory = new Map();

/** localStorage where it can be used, else this page's memory. Values are JSON. */
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
 * Messages that the server has not acknowledged. Text lies in localStorage, photos in IndexedDB, and both are written
 * before anything is sent; an item leaves only when it was acknowledged or the customer removes it.
 *
 * An item: {clientId, text, files: [{name, type, blob}], createdAt, error, isLost}.
 */
export class Outbox {
  #items = [];

  get items() {
    return this.#items;
  }

  async load() {
    for (const row of local.get("outbox", [])) {
      if (this.#items.some((item) => item.clientId === row.clientId)) continue;
      const files = row.photos ? ((await photos.get(row.clientId)) ?? []) : [];
      this.#items.push({ ...row, files, isLost: files.length < row.photos });
    }
    return this.#items;
  }

  /** Resolves when the item would survive the page. */
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
    this.#save();
    if (item.files.length) void photos.remove(item.clientId);
  }

  find(clientId) {
    return this.#items.find((item) => item.clientId === clientId) ?? null;
  }

  #save() {
    const rows = this.#items.map(({ clientId, text, files, createdAt, error }) => {
      return { clientId, text, photos: files.length, createdAt, error };
    });
    local.set("outbox", rows);
  }
}

/** An id that nobody else makes. randomUUID is missing on pages that are not served by https. */
export function newClientId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const photos = {
  get: (key) => inDatabase("readonly", (store) => store.get(key)),
  set: (key, value) => inDatabase("readwrite", (store) => store.put(value, key)),
  remove: (key) => inDatabase("readwrite", (store) => store.delete(key)),
};

/** The result of one request, or null where there is no database: then photos live as long as the page. */
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
