import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";

class Panel {
  isConnected = true;

  constructor(id, change) {
    Object.assign(this, { id, trigger: `${change} from:#live delay:250ms, renew` });
  }

  getAttribute() {
    return this.trigger;
  }

  matches() {
    return true;
  }
}

let panels = [new Panel("status", "status"), new Panel("thread", "thread")];
let renewed = [];
let now = 0;
const live = new EventTarget();
const connection = { dataset: { state: "on" } };
const page = Object.assign(new EventTarget(), {
  querySelector: (selector) => (selector === "#live" ? live : connection),
  querySelectorAll: () => panels,
  getElementById: (id) => panels.find((panel) => panel.id === id),
});
globalThis.document = page;
globalThis.window = { htmx: { trigger: (panel) => renewed.push(panel) } };
globalThis.performance = { now: () => now };
await import("../../assistant/web/static/console/renewal.js");

const tell = (name, detail) => page.dispatchEvent(Object.assign(new Event(name), { detail }));
const change = (name) => live.dispatchEvent(new Event(name));
const panel = (id) => panels.find((one) => one.id === id);

function ask(id) {
  const ctx = { request: { method: "GET" }, sourceElement: panel(id), target: panel(id) };
  tell("htmx:before:request", { ctx });
  return ctx;
}

/** The response of a request takes the place of its panel; the swap is over later. */
function insert(ctx) {
  const { id, trigger } = panel(ctx.target.id);
  tell("htmx:before:swap", { ctx });
  const replacement = Object.assign(new Panel(id, ""), { trigger });
  panels = panels.map((one) => (one.id === id ? replacement : one));
}

function settle(ctx) {
  tell("htmx:after:swap", { ctx });
  tell("htmx:finally:request", { ctx });
}

beforeEach(() => {
  renewed = [];
  now += 1_000;
  mock.timers.enable({ apis: ["setTimeout"] });
});
afterEach(() => mock.timers.reset());

test("a change that is announced between a request and its response is asked for again", () => {
  const asked = ask("status");
  now += 10;
  change("status");
  insert(asked);
  settle(asked);
  assert.deepEqual(renewed, [panel("status")]);

  now += 10;
  const again = ask("status");
  insert(again);
  settle(again);
  assert.equal(renewed.length, 1);
});

test("so it is if a later request's response is swapped at the same time", () => {
  const early = ask("status");
  now += 10;
  change("status");
  now += 10;
  const late = ask("thread");
  insert(late);
  insert(early);
  settle(late);
  settle(early);
  assert.ok(renewed.includes(panel("status")));
});

test("a renewal that failed is tried again, unless it was refused", () => {
  const refused = { ...ask("status"), response: { status: 404 } };
  tell("htmx:response:error", { ctx: refused });
  mock.timers.tick(60_000);
  assert.deepEqual(renewed, []);

  tell("htmx:response:error", { ctx: { ...ask("status"), response: { status: 503 } } });
  tell("htmx:error", { ctx: ask("thread") });
  mock.timers.tick(60_000);
  assert.deepEqual(renewed, [panel("status"), panel("thread")]);
});

test("while the line is dead nothing is tried, and all of it once it is back", () => {
  connection.dataset.state = "lost";
  tell("htmx:error", { ctx: ask("thread") });
  mock.timers.tick(60_000);
  assert.deepEqual(renewed, []);
  tell("htmx:sse:after:connection", {});
  connection.dataset.state = "on";
  mock.timers.tick(60_000);
  assert.deepEqual(renewed, [panel("thread")]);
});
