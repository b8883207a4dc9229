// The articles under an answer: one entry each, which expands to the passages that are cited.

import { icon, make, safeLink } from "./dom.js";
import { prose, sourcesOf } from "./prose.js";
import { digitsBeside, t } from "./texts.js";

let count = 0;

export class Sources {
  #rows = new Map();
  #onOpen;
  #onArticle;

  /**
   * @param onOpen called when an entry is expanded
   * @param onArticle called with the id of an article to read it here; null if that cannot be done
   */
  constructor(citations, { onOpen, onArticle }) {
    this.#onOpen = onOpen;
    this.#onArticle = onArticle;
    const sources = sourcesOf(citations);
    this.element = sources.length ? make("div.sources", {}, make("p.sources-title", {}, t("sources"))) : null;
    for (const source of sources) this.element.append(this.#row(source));
  }

  /** Expand a source at the passages behind a chip; if it shows them already, close it. */
  show(source, cited) {
    const { button, panel, quotes } = this.#rows.get(source.number);
    const isShown = !panel.hidden && cited.every((citation) => quotes.get(keyOf(citation)).matches(".marked"));
    this.#set(source, !isShown);
    if (isShown) return;
    for (const quote of quotes.values()) quote.classList.remove("marked");
    for (const citation of cited) quotes.get(keyOf(citation)).classList.add("marked");
    button.focus({ preventScroll: true });
    quotes.get(keyOf(cited[0])).scrollIntoView({ block: "nearest" });
  }

  #set(source, open) {
    const { button, panel, row } = this.#rows.get(source.number);
    panel.hidden = !open;
    row.classList.toggle("open", open);
    button.setAttribute("aria-expanded", String(open));
    if (!open) return;
    this.#onOpen();
    row.scrollIntoView({ block: "nearest" });
  }

  #row(source) {
    const id = `source-${++count}`;
    const name = make("span.name", {}, make("span.title", { dir: "auto" }, source.title));
    const number = make("span.number", {}, digitsBeside(source.title, source.number));
    const expands = { type: "button", "aria-expanded": "false", "aria-controls": id };
    const button = make("button.source", expands, number, name, icon("chevron"));
    const panel = make("div.passages", { id, hidden: true });
    const quotes = new Map();
    let above = "";
    for (const passage of withTables(source.passages)) {
      const quote = make("blockquote", { dir: "auto" }, prose(passage.quote, [], { hasLinks: true }));
      const where = pathOf(passage);
      const path = where && where !== above ? make("p.path", { dir: "auto" }, where) : null;
      panel.append(make("div.passage", {}, path, quote));
      above = where;
      for (const citation of passage.citations) quotes.set(keyOf(citation), quote);
    }
    panel.append(this.#links(source));
    const row = make("div.source-row", {}, button, panel);
    button.addEventListener("click", () => this.#set(source, panel.hidden));
    this.#rows.set(source.number, { button, panel, row, quotes });
    return row;
  }

  #links({ id, passages: [first] }) {
    const read = this.#onArticle && { type: "button", onclick: () => this.#onArticle(id) };
    const href = safeLink(addressOf(first));
    const properties = { href, target: "_blank", rel: "noopener noreferrer" };
    return make(
      "p.links",
      {},
      read ? make("button.link", read, t("article_read")) : null,
      href ? make("a.article", properties, t("open_article"), icon("external")) : null,
    );
  }
}

function keyOf({ heading, quote }) {
  return JSON.stringify([heading, quote]);
}

/** The passages to show: rows of one table below each other are one table. Each with the citations it is of. */
function withTables(passages) {
  const shown = [];
  for (const passage of passages) {
    const last = shown.at(-1);
    const head = headOf(passage.quote);
    if (last && head && last.heading === passage.heading && headOf(last.quote) === head) {
      last.quote += passage.quote.slice(head.length);
      last.citations.push(passage);
    } else {
      shown.push({ ...passage, citations: [passage] });
    }
  }
  return shown;
}

/** The first two lines, if they are those of a table. */
function headOf(quote) {
  return /^\|.*\|\n\|(?:-+\|)+(?=\n)/.exec(quote)?.[0] ?? null;
}

/** The article's address, else that of the file it was read from, at the page. */
function addressOf({ url, page, article_id: id }) {
  if (url || !page) return url;
  const frame = new URL(location.href);
  const file = new URL(`v1/documents/${encodeURIComponent(id)}#page=${page}`, frame);
  const inbox = frame.searchParams.get("inbox");
  if (inbox) file.searchParams.set("inbox", inbox);
  return file.href;
}

/** The heading path without the article's title, which stands above, and the page. */
function pathOf({ heading, article_title: title, page }) {
  const parts = (heading ?? "").split(" > ");
  const below = parts.slice(parts.lastIndexOf(title) + 1).join(" › ");
  return [below, page && t("page", { n: page })].filter(Boolean).join(" · ");
}
