// Tickets that are selected in the queue stay selected while it is renewed; shift selects a range.

const boxes = () => [...document.querySelectorAll("td.pick input")];
const picked = new Set();
let last = null;

function show() {
  const all = boxes();
  for (const box of all) box.checked = picked.has(box.value);
  const here = all.filter((box) => box.checked).length;
  const every = document.querySelector("#pick-all");
  if (!every) return;
  every.checked = here > 0 && here === all.length;
  every.indeterminate = here > 0 && here < all.length;
  document.querySelector("#picked").textContent = `${here} selected`;
}

function pick(box, on) {
  if (on) picked.add(box.value);
  else picked.delete(box.value);
}

/** Select the ticket of a row, or no longer. */
export function pickRow(row) {
  const box = row?.querySelector("td.pick input");
  if (!box) return;
  pick(box, !box.checked);
  show();
}

document.addEventListener("click", (event) => {
  const box = event.target.closest?.("td.pick input");
  if (!box) return;
  const all = boxes();
  const from = event.shiftKey && last ? all.findIndex((one) => one.value === last) : -1;
  const to = all.indexOf(box);
  const range = from < 0 ? [box] : all.slice(Math.min(from, to), Math.max(from, to) + 1);
  for (const one of range) pick(one, box.checked);
  last = box.value;
  show();
});

document.addEventListener("change", (event) => {
  if (event.target.id !== "pick-all") return;
  for (const box of boxes()) pick(box, event.target.checked);
  show();
});

// What has been done to them is done, and the rows show it; those that have left the page are no longer selected.
document.addEventListener("htmx:after:swap", (event) => {
  if (!document.querySelector("#rows")) return;
  const isAnswer = event.detail.ctx.request?.method === "POST";
  const here = new Set(boxes().map((box) => box.value));
  const isDone = isAnswer && !document.querySelector("#done .error");
  for (const value of [...picked]) if (isDone || !here.has(value)) picked.delete(value);
  if (isDone) document.querySelector("#bulk")?.reset();
  if (isAnswer) window.htmx.trigger(document.querySelector("#rows"), "renew");
  show();
});

document.body.classList.add("is-scripted");
show();
