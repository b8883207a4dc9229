// What the widget's modules expect of a browser and node lacks. Import it before them.

import { setMaxListeners } from "node:events";
import { readFileSync } from "node:fs";

/** localStorage or sessionStorage: what is stored are properties of its own. */
export class FakeStorage {
  #isBlocked = false;

  getItem(key) {
    this.#check();
    return Object.hasOwn(this, key) ? this[key] : null;
  }

  setItem(key, value) {
    this.#check();
    this[key] = String(value);
  }

  removeItem(key) {
    this.#check();
    delete this[key];
  }

  clear() {
    for (const key of Object.keys(this)) delete this[key];
  }

  set isBlocked(isBlocked) {
    this.#isBlocked = isBlocked;
  }

  #check() {
    if (this.#isBlocked) throw new DOMException("storage is blocked", "SecurityError");
  }
}

/** One object store, as far as the outbox uses it. */
export class FakeIndexedDB {
  rows = new Map();
  isBlocked = false;

  open() {
    if (this.isBlocked) throw new DOMException("storage is blocked", "SecurityError");
    const request = { result: { transaction: () => this.#transaction(), createObjectStore: () => {} } };
    queueMicrotask(() => request.onsuccess());
    return request;
  }

  #transaction() {
    const transaction = {};
    const done = (result) => {
      queueMicrotask(() => transaction.oncomplete());
      return { result };
    };
    transaction.objectStore = () => ({
      get: (key) => done(this.rows.get(key)),
      put: (value, key) => done(void this.rows.set(key, value)),
      delete: (key) => done(void this.rows.delete(key)),
    });
    return transaction;
  }
}

/** An element, as far as `make` and `prose` use it. */
class FakeElement {
  children = [];
  attributes = {};
  #listeners = new Map();

  constructor(localName) {
    this.localName = localName;
    this.className = "";
  }

  setAttribute(name, value) {
    this.attributes[name] = value;
  }

  append(...children) {
    this.children.push(...children.flatMap((child) => (child.localName === "#fragment" ? child.children : [child])));
  }

  addEventListener(kind, listener) {
    this.#listeners.set(kind, listener);
  }

  click() {
    this.#listeners.get("click")?.({});
  }

  get textContent() {
    return this.children.map((child) => (typeof child === "string" ? child : child.textContent)).join("");
  }

  /** All elements below this one, in the order of the page. */
  get descendants() {
    return this.children.filter((child) => typeof child !== "string").flatMap((child) => [child, ...child.descendants]);
  }
}

const page = new EventTarget();
setMaxListeners(0, page); // each test opens a widget of its own
export const document = Object.assign(new EventTarget(), {
  documentElement: { lang: "" },
  hidden: false,
  createElement: (name) => new FakeElement(name),
  createElementNS: (_namespace, name) => new FakeElement(name),
  createDocumentFragment: () => new FakeElement("#fragment"),
});

export const localStorage = new FakeStorage();
export const indexedDB = new FakeIndexedDB();

const globals = {
  document,
  localStorage,
  indexedDB,
  location: new URL("https://support.example/widget/"),
  addEventListener: page.addEventListener.bind(page),
  dispatchEvent: page.dispatchEvent.bind(page),
};
for (const [name, value] of Object.entries(globals)) {
  Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
}
Object.defineProperty(globalThis, "navigator", { value: { onLine: true }, configurable: true });

/** A language's texts, as the server puts them into the page. */
export function catalogueOf(language) {
  return JSON.parse(readFileSync(new URL(`../../assistant/wording/${language}.json`, import.meta.url), "utf8"));
}

/** Answer every request by a function of (path, options); what it returns is a Response, or it throws. */
export function serve(answer) {
  const requests = [];
  globalThis.fetch = async (address, options = {}) => {
    const path = String(address).replace(/^.*\/widget\/v1\//, "");
    requests.push({ path, ...options });
    return answer(path, options);
  };
  return requests;
}

/** XMLHttpRequest, as far as `upload` uses it: `answer` is called with the request once it has been sent. */
export function serveUploads(answer) {
  globalThis.XMLHttpRequest = class {
    upload = {};
    headers = {};
    status = 0;

    open(method, address) {
      Object.assign(this, { method, address });
    }

    setRequestHeader(name, value) {
      this.headers[name] = value;
    }

    getAllResponseHeaders() {
      return "content-type: application/json\r\nretry-after: 7\r\n";
    }

    send(body) {
      this.body = body;
      answer(this);
    }

    abort() {
      this.#end("onabort");
    }

    respond(status, body) {
      Object.assign(this, { status, response: new Blob([JSON.stringify(body)]) });
      this.#end("onload");
    }

    #end(how) {
      this[how]();
      this.onloadend();
    }
  };
}

export function json(body, { status = 200, headers = {} } = {}) {
  return new Response(JSON.stringify(body), { status, headers: { "Content-Type": "application/json", ...headers } });
}

/** Let everything run that waits for no timer. */
export async function settle() {
  for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}
