// What the console needs beyond htmx: ages in words, a photo viewer, and care for what an agent is typing.

// A draft that an agent has begun to edit is not replaced under their hands.
let edited = false;
Object.defineProperty(window, "assistantMayRenewDraft", { get: () => !edited });
document.addEventListener("input", (event) => {
  if (event.target.closest("#draft")) edited = true;
});
document.addEventListener("htmx:after:swap", (event) => {
  if (document.activeElement?.closest?.("#draft") == null) edited = false;
  renewAges();
});
window.addEventListener("beforeunload", (event) => {
  const typed = document.querySelector("#reply-text")?.value.trim();
  if (typed) event.preventDefault();
});
document.addEventListener("submit", (event) => {
  if (event.target.closest("#draft")) edited = false;
});

const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60]];
const words = new Intl.RelativeTimeFormat("en", { numeric: "always", style: "short" });
function renewAges() {
  for (const time of document.querySelectorAll("time[data-ago]")) {
    const date = new Date(time.dateTime);
    const seconds = (Date.now() - date) / 1000;
    const [unit, length] = UNITS.find(([, size]) => seconds >= size) ?? [null, 1];
    time.textContent = unit ? words.format(-Math.round(seconds / length), unit) : "just now";
    time.title = date.toLocaleString();
  }
}
renewAges();
setInterval(renewAges, 30_000);

document.addEventListener("click", (event) => {
  const frame = event.target.closest("[data-view]");
  const viewer = document.querySelector("#viewer");
  if (frame && viewer) {
    const copy = frame.cloneNode(true);
    copy.removeAttribute("data-view");
    viewer.querySelector(".viewer-body").replaceChildren(...copy.childNodes);
    viewer.showModal();
  } else if (event.target === viewer) {
    viewer.close();
  }
});

// Ctrl+Enter sends what is being typed.
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.tagName === "TEXTAREA") {
    event.target.form.requestSubmit(event.target.form.querySelector("button.primary"));
  }
});
