// Ctrl+K: a box that finds what this page offers, other pages and tickets. What can be done is what can be pressed here,
// so nobody is offered what they may not do.

const HERE = ".crumbs button, #status .buttons button, .modes label, #macros li button, #tabs a, .queue-head a.button";
const WAIT = 120; // milliseconds without typing, before the server is asked

const palette = document.querySelector("#palette");
const box = palette?.querySelector("input");
const list = palette?.querySelector("[role=listbox]");
const nothing = palette?.querySelector(".nothing");
let asked = null;
let timer = 0;

const fold = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
const options = () => [...list.children];

/** What can be pressed on the page, by its words. */
function offeredHere(words) {
  const offered = [...document.querySelectorAll(HERE)].filter((one) => !one.matches(":disabled, fieldset:disabled *"));
  return offered
    .map((element) => ({
      name: element.textContent.replace(/\s+/g, " ").trim(),
      kind: element.closest("#macros") ? "Macro" : element.closest("#tabs") ? "View" : "Here",
      press: () => element.click(),
    }))
    .filter(({ name, kind }) => name && words.every((word) => fold(`${kind} ${name}`).includes(word)));
}

function choose(option) {
  for (const one of options()) one.setAttribute("aria-selected", String(one === option));
  if (option) {
    box.setAttribute("aria-activedescendant", option.id);
    option.scrollIntoView({ block: "nearest" });
  } else box.removeAttribute("aria-activedescendant");
}

const chosen = () => options().find((one) => one.getAttribute("aria-selected") === "true");

function move(by) {
  const all = options();
  const at = all.indexOf(chosen()) + by;
  choose(all[(at + all.length) % all.length]);
}

const doing = new WeakMap();

function show(found) {
  const lines = found.map((one, number) => {
    const option = document.createElement("li");
    option.id = `palette-${number}`;
    option.setAttribute("role", "option");
    option.dir = "auto";
    const kind = document.createElement("small");
    kind.textContent = one.kind;
    option.append(one.name, " ", kind);
    doing.set(option, one.press ?? (() => location.assign(one.url)));
    return option;
  });
  list.replaceChildren(...lines);
  list.hidden = !lines.length;
  nothing.hidden = lines.length > 0;
  box.setAttribute("aria-expanded", String(lines.length > 0));
  choose(lines[0]);
}

async function find() {
  const query = box.value.trim();
  const here = offeredHere(fold(query).split(/\s+/).filter(Boolean));
  asked?.abort();
  asked = new AbortController();
  try {
    const answer = await fetch(`${palette.dataset.from}?${new URLSearchParams({ q: query })}`, asked);
    const { found } = answer.ok ? await answer.json() : { found: [] };
    show([...here, ...found]);
  } catch (error) {
    if (error.name !== "AbortError") show(here); // the server cannot be reached: what is here still works
  }
}

function press(option) {
  if (!option) return;
  palette.close();
  doing.get(option)();
}

/** Open it, or close it again. */
export function togglePalette() {
  if (!palette) return;
  if (palette.open) {
    palette.close();
    return;
  }
  box.value = "";
  show(offeredHere([]));
  palette.showModal();
  find();
}

if (palette) {
  box.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(find, WAIT);
  });
  box.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") move(event.key === "ArrowDown" ? 1 : -1);
    else if (event.key === "Enter") press(chosen());
    else return;
    event.preventDefault();
  });
  list.addEventListener("click", ({ target }) => press(target.closest("[role=option]")));
  palette.addEventListener("click", ({ target }) => target === palette && palette.close());
}
