// Tells the customer that an agent reads and writes, and the agent that the customer writes.

const live = document.querySelector("[data-presence]");
const TELL_EVERY = 3_000;
const HOLDS_FOR = 6_000; // as the server says: whoever writes says so again before that
let toldAt = 0;
let hide = null;

function tell(values = {}) {
  const token = document.querySelector('input[name="csrf_token"]')?.value ?? "";
  const body = new URLSearchParams({ csrf_token: token, ...values });
  fetch(live.dataset.presence, { method: "POST", body }).catch(() => {}); // the next one may come through
}

function tellSeen() {
  if (!document.hidden) tell();
}

if (live) {
  tellSeen();
  document.addEventListener("visibilitychange", tellSeen);
  live.addEventListener("thread", tellSeen);
  document.addEventListener("input", ({ target }) => {
    if (!target.matches("#draft textarea:not(#note-text)") || !target.value.trim() || Date.now() - toldAt < TELL_EVERY)
      return;
    toldAt = Date.now();
    tell({ typing: "1" });
  });
  live.addEventListener("typing", () => {
    const shown = document.querySelector("#typing");
    shown.hidden = false;
    clearTimeout(hide);
    hide = setTimeout(() => (shown.hidden = true), HOLDS_FOR);
  });
}
