// The line to the server: whether the page is live, and what an agent is told, where they look, if a request fails.

import { renewAll } from "./renewal.js";

const connection = document.querySelector("#connection");
const live = document.querySelector("#live");
const STATES = { on: "Live", off: "Not live", lost: "Reconnecting…" };
const PINGS_WITHIN = 8_000; // the server says something every 3 seconds
const POLL = 20_000;
let heardAt = performance.now();

function setConnection(state) {
  if (!connection) return;
  connection.dataset.state = state;
  connection.textContent = STATES[state];
}

function heard() {
  heardAt = performance.now();
}

document.addEventListener("htmx:sse:after:connection", () => {
  heard();
  setConnection("on");
});
document.addEventListener("htmx:sse:before:message", () => {
  heard();
  setConnection("on");
});
document.addEventListener("visibilitychange", heard); // a hidden page has no stream
if (live?._htmx?.sse) setConnection("on"); // the stream opened before this script ran
document.addEventListener("htmx:sse:close", () => setConnection("off"));
document.addEventListener("htmx:sse:error", (event) => {
  setConnection("lost");
  if (event.detail?.status === 401) location.reload(); // signed out: reloading leads to the sign-in page
});
// A network that is gone closes nothing: silence says so.
setInterval(() => {
  if (connection?.dataset.state !== "on" || document.hidden || performance.now() - heardAt < PINGS_WITHIN) return;
  setConnection("lost");
  live._htmx?.sse?.reader?.cancel(); // then it connects again
}, 1_000);
setInterval(() => {
  if (!connection || connection.dataset.state === "on" || document.hidden || !live.isConnected) return;
  window.htmx.trigger(live, "connect");
  renewAll();
}, POLL);

/** Where a refusal is shown that comes without a panel: above what was submitted. */
function slotFor(element) {
  const form = element.closest("form");
  if (!form) return null;
  const slot = form.querySelector(":scope > .told") ?? document.createElement("div");
  slot.className = "told";
  slot.setAttribute("role", "alert");
  form.prepend(slot);
  return slot;
}

document.addEventListener("htmx:before:request", ({ detail }) => {
  detail.ctx.sourceElement.closest("form")?.querySelector(":scope > .told")?.remove();
});
document.addEventListener("htmx:response:error", ({ detail: { ctx } }) => {
  const slot = ctx.hx?.retarget === "#notice" && ctx.sourceElement.isConnected && slotFor(ctx.sourceElement);
  if (slot) ctx.hx.retarget = slot;
});
document.addEventListener("htmx:error", ({ detail: { ctx } }) => {
  const slot = ctx?.request?.method === "POST" && slotFor(ctx.sourceElement);
  if (!slot) return;
  const words = document.createElement("p");
  words.className = "error";
  words.textContent = "The server cannot be reached. What you typed is still here: try again in a moment.";
  slot.replaceChildren(words);
});
