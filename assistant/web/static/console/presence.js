// Tells the customer that an agent reads and writes, the agent that the customer writes, and agents who else is there.

const live = document.querySelector("[data-presence]");
const TELL_EVERY = 3_000;
const HERE_EVERY = 8_000; // the server believes it for 25 seconds
const HOLDS_FOR = 6_000; // as the server says: whoever writes says so again before that
let toldAt = 0;
let hide = null;

function tell(values = {}) {
  const token = document.querySelector('input[name="csrf_token"]')?.value ?? "";
  const body = new URLSearchParams({ csrf_token: token, ...values });
  fetch(live.dataset.presence, { method: "POST", body })
    .then((answer) => (answer.ok ? answer.json() : { colleagues: [] }))
    .then(showColleagues)
    .catch(() => {}); // the next one may come through
}

/** Who else is here, above what one is about to write. */
function showColleagues({ colleagues }) {
  const shown = document.querySelector("#colleagues");
  const sentences = colleagues.map(
    ({ name, writes }) => `${name} ${writes ? "is writing a reply" : "is looking at this ticket"}.`,
  );
  const words = sentences.join(" ");
  if (shown.textContent !== words) shown.textContent = words; // else it would be read out again and again
  shown.classList.toggle(
    "is-writing",
    colleagues.some(({ writes }) => writes),
  );
}

function tellSeen() {
  if (!document.hidden && live.isConnected) tell(); // else the ticket is out of sight
}

if (live) {
  tellSeen();
  setInterval(tellSeen, HERE_EVERY);
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
