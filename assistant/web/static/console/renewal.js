// A panel is replaced whole when it is renewed. The old element takes what it was waiting for with it: a change that was
// announced between a request and its response would never be shown, so the new element asks again; and what was sent
// from the old one would be answered there, where nobody sees it, so the answer goes to the new one. A renewal that
// failed is tried again: nothing else may happen for hours. And because a new element has forgotten when the old one
// last asked, panels rest here, for longer the longer they have waited: a busy server is not asked all the more.

const FROM_STREAM = /([\w-]+) from:#live/g;
const AGAIN_AFTER = 3_000; // milliseconds
const RESTS_FOR = 2; // times as long as the response took
const live = document.querySelector("#live");
const announcedAt = new Map();
const askedAt = new WeakMap();
const restsUntil = new Map(); // by panel
const delayed = new Set();

const PANEL = '[hx-trigger*="from:#live"]';
const panels = () => [...document.querySelectorAll(PANEL)];
const changesShownIn = (panel) => [...panel.getAttribute("hx-trigger").matchAll(FROM_STREAM)].map(([, name]) => name);
const renew = (panel) => window.htmx.trigger(panel, "renew");
/** The id of the panel that this request renews, or "". */
const renewedBy = ({ request, sourceElement }) =>
  request?.method === "GET" && sourceElement.matches(PANEL) ? sourceElement.id : "";

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
document.addEventListener("htmx:before:request", (event) => {
  if (rests(event.detail.ctx)) event.preventDefault();
  else askedAt.set(event.detail.ctx, performance.now());
});
document.addEventListener("htmx:after:request", ({ detail: { ctx } }) => {
  rest(ctx);
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
document.addEventListener("htmx:finally:request", ({ detail: { ctx } }) => {
  swapping.delete(ctx);
  rest(ctx);
});

function rest(ctx) {
  const panel = renewedBy(ctx);
  if (!panel || !askedAt.has(ctx)) return;
  const now = performance.now();
  restsUntil.set(panel, now + RESTS_FOR * (now - askedAt.get(ctx)));
}

/** Whether the panel whose renewal this is still rests. It is then renewed afterwards, once. */
function rests(ctx) {
  const panel = renewedBy(ctx);
  const rest = (restsUntil.get(panel) ?? 0) - performance.now();
  if (rest <= 0) return false;
  if (!delayed.has(panel)) {
    delayed.add(panel);
    setTimeout(() => {
      delayed.delete(panel);
      panels()
        .filter(({ id }) => id === panel)
        .forEach(renew);
    }, rest);
  }
  return true;
}

// While the line is dead nothing is asked for: it is once the line is back.
const failed = new Set();
let timer;

function tryAgain({ detail: { ctx } }) {
  const panel = ctx && renewedBy(ctx);
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
