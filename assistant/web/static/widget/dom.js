// Helpers that create elements. Text is only ever set as text: nothing here or elsewhere parses HTML.

const SVG = "http://www.w3.org/2000/svg";

/** make("button.quiet", {type: "button", onclick}, "Send", child) */
export function make(name, properties = {}, ...children) {
  const [tag, ...classes] = name.split(".");
  const element = document.createElement(tag);
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (key.startsWith("aria-") || key === "role" || key === "for") element.setAttribute(key, value);
    else element[key] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const PATHS = {
  back: "M15 6l-6 6 6 6",
  check: "M5 12.5l4.5 4.5L19 7.5",
  close: "M6 6l12 12M18 6L6 18",
  external: "M9 5H5v14h14v-4M13 5h6v6M19 5l-9 9",
  file: "M7 3h7l4 4v14H7zM14 3v4h4",
  warn: "M12 8v5M12 16.5v.5M12 3.5l9.5 17h-19z",
  person: "M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM4.5 20.5c1-4 4-6 7.5-6s6.5 2 7.5 6",
  clock: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM12 7v5.5l3.5 2",
  chevron: "M9 6l6 6-6 6",
  up: "M7 11v9H4v-9zM7 11l4-8a2 2 0 0 1 2.6 1.8V9h5a2 2 0 0 1 2 2.3l-1.2 7a2 2 0 0 1-2 1.7H7",
  down: "M17 13V4h3v9zM17 13l-4 8a2 2 0 0 1-2.6-1.8V15h-5a2 2 0 0 1-2-2.3l1.2-7A2 2 0 0 1 6.6 4H17",
};

/** A decorative icon; its meaning is in the text beside it or the button's label. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("class", "icon");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}

/** The URL if it may become a link, else null: no javascript:, no data:. */
export function safeLink(address) {
  if (!address) return null;
  try {
    const url = new URL(address, location.href);
    return url.protocol === "https:" || url.protocol === "http:" ? url.href : null;
  } catch {
    return null;
  }
}
