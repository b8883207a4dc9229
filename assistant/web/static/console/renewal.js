// A panel is replaced whole when it is renewed. The old element takes what it was waiting for with it: a change that was
// announced between a request and its response would never be shown, so the new element asks again; and what was sent
// from the old one would be answered there, where nobody sees it, so the answer goes to the new one. A renewal that
// failed is tried again: nothing else may happen for hours.

const FROM_STREAM = /([\w-]+) from:#live/g;
const AGAIN_AFTER = 3_000; // milliseconds
const live = document.querySelector("#live");
const announcedAt = new Map();
const askedAt = new WeakMap();

const PANEL = '[hx-trigger*="from:#live"]';
const panels = () => [...document.querySelectorAll(PANEL)];
const changesShownIn = (panel) => [...panel.getAttribute("hx-trigger").matchAll(FROM_STREAM)].map(([, name]) => name);
const renew = (panel) => window.htmx.trigger(panel, "renew");

/** Request every live panel again. */
export function renewAll() {
  panels().forEach(renew);
}

for (const name of new Set(panels().flatMap(changesShownIn))) {
  live?.addEventListener(name, () => announcedAt.set(name, performance.now()));
}

let shown = new Set(panels());
// Responses that arrive together are swapped in turns: whose a new panel is, nobody says, so the oldest of them counts.
const swapping = new Map();
document.addEventListener("htmx:before:request", ({ detail }) => askedAt.set(detail.ctx, performance.now()));
document.addEventListener("htmx:after:request", ({ detail: { ctx } }) => {
  if (ctx.target?.id && !ctx.target.isConnected) ctx.target = document.getElementById(ctx.target.id) ?? ctx.target;
});
document.addEventListener("htmx:before:swap", ({ detail: { ctx } }) => swapping.set(ctx, askedAt.get(ctx)));
document.addEventListener("htmx:after:swap", () => {
  const asked = Math.min(...swapping.values());
  const replaced = panels().filter((panel) => !shown.has(panel));
  shown = new Set(panels());
  for (const panel of replaced) {
    if (changesShownIn(panel).some((name) => announcedAt.get(name) > asked)) renew(panel);
  }
});
document.addEventListener("htmx:finally:request", ({ detail: { ctx } }) => swapping.delete(ctx));

// While the line is dead nothing is asked for: it is once the line is back.
const failed = new Set();
let timer;

function tryAgain({ detail: { ctx } }) {
  const panel = ctx?.request?.method === "GET" && ctx.sourceElement.matches(PANEL) ? ctx.sourceElement.id : "";
  if (!panel || ctx.response?.status < 500) return;
  failed.add(panel);
  clearTimeout(timer);
  timer = setTimeout(renewFailed, AGAIN_AFTER * (1 + Math.random()));
}

function renewFailed() {
  if (document.querySelector("#connection")?.dataset.state !== "on") return;
  const again = panels().filter((panel) => failed.has(panel.id));
  failed.clear();
  again.forEach(renew);
}

document.addEventListener("htmx:response:error", tryAgain);
document.addEventListener("htmx:error", tryAgain);
document.addEventListener("htmx:sse:after:connection", () => setTimeout(renewFailed)); // once line.js knows of it
