// A panel is replaced whole when it is renewed. The old element takes what it was waiting for with it: a change that was
// announced between a request and its response would never be shown, so the new element asks again; and what was sent
// from the old one would be answered there, where nobody sees it, so the answer goes to the new one.

const FROM_STREAM = /([\w-]+) from:#live/g;
const live = document.querySelector("#live");
const announcedAt = new Map();
const askedAt = new WeakMap();

const panels = () => [...document.querySelectorAll('[hx-trigger*="from:#live"]')];
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
document.addEventListener("htmx:before:request", ({ detail }) => askedAt.set(detail.ctx, performance.now()));
document.addEventListener("htmx:after:request", ({ detail: { ctx } }) => {
  if (ctx.target?.id && !ctx.target.isConnected) ctx.target = document.getElementById(ctx.target.id) ?? ctx.target;
});
document.addEventListener("htmx:after:swap", ({ detail }) => {
  const asked = askedAt.get(detail.ctx);
  const replaced = panels().filter((panel) => !shown.has(panel));
  shown = new Set(panels());
  for (const panel of replaced) {
    if (changesShownIn(panel).some((name) => announcedAt.get(name) > asked)) renew(panel);
  }
});
