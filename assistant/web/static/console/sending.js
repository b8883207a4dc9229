// What is on its way and can be taken back, and the files that go with a reply.

const GRACE = 1500; // after the wait is over, workers may need a moment

function showCountdown() {
  const left = document.querySelector(".countdown");
  if (!left) return;
  const remaining = new Date(left.dataset.until) - Date.now();
  const text = remaining > 0 ? `in ${Math.ceil(remaining / 1000)} s` : "";
  if (left.textContent !== text) left.textContent = text;
  if (remaining < -GRACE && !("asked" in left.dataset)) {
    left.dataset.asked = "";
    left.closest(".held").querySelector(".now")?.dispatchEvent(new Event("due"));
  }
}
setInterval(showCountdown, 250);
document.addEventListener("htmx:after:swap", showCountdown);
showCountdown();

/** Upload files beside the reply, as if they had been chosen. */
function attach(files) {
  const input = document.querySelector("#reply-files");
  if (!input || !files.length || document.querySelector("#mode-note:checked")) return false;
  const chosen = new DataTransfer();
  for (const file of files) chosen.items.add(file);
  input.files = chosen.files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
  return true;
}

const composerOf = (event) => event.target.closest?.(".composer");
const bringsFiles = (event) => event.dataTransfer?.types.includes("Files");

document.addEventListener("paste", (event) => {
  const files = [...(event.clipboardData?.files ?? [])];
  if (composerOf(event) && attach(files)) event.preventDefault();
});
document.addEventListener("dragover", (event) => {
  const composer = composerOf(event);
  if (!composer || !bringsFiles(event)) return;
  event.preventDefault();
  composer.classList.add("is-dropping");
});
for (const name of ["dragleave", "drop", "dragend"]) {
  document.addEventListener(name, () => document.querySelector(".is-dropping")?.classList.remove("is-dropping"));
}
document.addEventListener("drop", (event) => {
  if (!composerOf(event) || !bringsFiles(event)) return;
  event.preventDefault();
  attach([...event.dataTransfer.files]);
});
