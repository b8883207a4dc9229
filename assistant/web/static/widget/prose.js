// Text as elements: paragraphs, lists and small tables, links, bold and code as the model writes them; after a cited
// sentence the number of its source and the figures beside it. Text is only ever inserted as text.

import { blocksOf } from "./blocks.js";
import { make, safeLink } from "./dom.js";
import { digitsBeside, t } from "./texts.js";

const INLINE =
  /\*\*[^*\n]+\*\*|`[^`\n]+`|https?:\/\/[^\s<>"“”„«。、，；：！？（）「」『』【】《》؟،؛]+|[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{2,63}){1,4}/gi;
// As articles write a link: [words](address).
const LINKED = new RegExp(`\\[[^[\\]\\n]{1,300}\\]\\(<?https?://[^\\s<>()]{1,2000}>?\\)|${INLINE.source}`, "gi");
const MAIL = /^[\w.+-]+@[\w-]+(?:\.[\w-]{2,})+$/;
const WIDEST = 4; // columns that fit; a wider table is scrolled sideways

/** The articles that are cited, numbered from 1 in order of appearance: {number, id, title, passages}. */
export function sourcesOf(citations) {
  const sources = new Map();
  for (const citation of citations) {
    const { article_id: id, article_title: title } = citation;
    if (!sources.has(id)) sources.set(id, { number: sources.size + 1, id, title, passages: [] });
    const { passages } = sources.get(id);
    const isSame = ({ heading, quote }) => heading === citation.heading && quote === citation.quote;
    if (!passages.some(isSame)) passages.push(citation);
  }
  return [...sources.values()];
}

/**
 * A text as a document fragment.
 * @param onChip called with a source and the citations behind its chip when that is clicked
 * @param figure creates the element for a figure of a cited passage; without it none is shown
 * @param hasLinks whether links may have their address behind words, as in our own articles
 */
export function prose(text, citations = [], { onChip = () => {}, figure = null, hasLinks = false } = {}) {
  return new Prose(text, citations, { onChip, figure, hasLinks }).fragment();
}

class Prose {
  #text;
  #sources;
  #marks;
  #onChip;
  #figure;
  #hasLinks;
  #shownFigures = new Set();

  constructor(text, citations, { onChip, figure, hasLinks }) {
    this.#text = text;
    this.#sources = sourcesOf(citations);
    this.#marks = marksOf(text, citations);
    this.#onChip = onChip;
    this.#figure = figure;
    this.#hasLinks = hasLinks;
  }

  fragment() {
    const holder = document.createDocumentFragment();
    let from = -1;
    for (const block of blocksOf(this.#text)) {
      const marks = this.#marksWithin(from, block.to);
      holder.append(...this.#block(block), ...this.#figures(marks));
      from = block.to;
    }
    return holder;
  }

  #block(block) {
    if (block.kind === "list") return this.#citedTable(block) ?? [this.#list(block)];
    if (block.kind === "table") return this.#table(block.head, block.rows, this.#marksWithin(block.from, block.to));
    const words = this.#words(block.from, block.to);
    return [make("p", {}, ...(block.kind === "heading" ? [make("strong", {}, ...words)] : words))];
  }

  #list({ items }) {
    // Items keep their numbers: an answer may quote the third step alone.
    const isOrdered = items[0].number !== null;
    const list = make(isOrdered ? "ol" : "ul");
    for (const { number, from, to, list: inner } of items) {
      const item = make("li", { dir: "auto" }, ...this.#words(from, to));
      if (isOrdered && number !== null) item.value = number;
      if (inner) item.append(this.#list(inner));
      list.append(item);
    }
    return list;
  }

  /** The table whose rows the items of a list say in words; null if they do not. */
  #citedTable({ items, from, to }) {
    const quoted = items.map((item) => rowQuotedBy(this.#marks.filter((mark) => mark.covers(item))));
    const head = quoted[0]?.head.join();
    if (items.length < 2 || quoted.some((one) => !one || one.head.join() !== head)) return null;
    const rows = quoted.map((one) => one.rows[0]);
    return this.#table(quoted[0].head, rows, this.#marksWithin(from, to));
  }

  #table(head, rows, marks) {
    const cells = (name, row) => row.map((cell) => make(name, { dir: "auto" }, ...this.#inline(cell)));
    const title = head ? [make("thead", {}, make("tr", {}, ...cells("th", head)))] : [];
    const body = make("tbody", {}, ...rows.map((row) => make("tr", {}, ...cells("td", row))));
    const isWide = (head ?? rows[0]).length > WIDEST;
    const table = make(
      isWide ? "div.table.wide" : "div.table",
      isWide ? { tabIndex: 0 } : {},
      make("table", {}, ...title, body),
    );
    return [table, ...(marks.length ? [make("p.cites", {}, ...this.#chips(marks))] : [])];
  }

  /** text[from..to), each sentence with the numbers of its sources. */
  #words(from, to) {
    const words = [];
    let at = from;
    for (const mark of this.#marksWithin(from, to)) {
      words.push(...this.#inline(this.#text.slice(at, mark.at)), ...this.#chips([mark]));
      at = Math.max(at, mark.at);
    }
    return [...words, ...this.#inline(this.#text.slice(at, to))];
  }

  #marksWithin(from, to) {
    return this.#marks.filter((mark) => from < mark.at && mark.at <= to);
  }

  #chips(marks) {
    const cited = marks.flatMap((mark) => mark.citations);
    return this.#sources
      .filter(({ id }) => cited.some((citation) => citation.article_id === id))
      .map((source) => {
        const own = cited.filter((citation) => citation.article_id === source.id);
        return chip(source, () => this.#onChip(source, own));
      });
  }

  /** The figures beside the cited passages, each once in a message. */
  #figures(marks) {
    if (!this.#figure) return [];
    const beside = marks.flatMap((mark) => mark.citations).flatMap((citation) => citation.figures ?? []);
    const fresh = beside.filter(({ id }) => !this.#shownFigures.has(id) && this.#shownFigures.add(id));
    return fresh.length ? [make("div.figures", {}, ...fresh.map((one) => this.#figure(one)))] : [];
  }

  #inline(text) {
    const found = [];
    let at = 0;
    for (const match of text.matchAll(this.#hasLinks ? LINKED : INLINE)) {
      found.push(text.slice(at, match.index), token(match[0]));
      at = match.index + match[0].length;
    }
    return [...found, text.slice(at)].filter((part) => part !== "");
  }
}

/** Where the cited sentences begin and end: {from, at, citations, covers}, in order. */
function marksOf(text, citations) {
  const sentences = new Map();
  for (const citation of citations) {
    const { sentence_index: index, sentence } = citation;
    if (!sentences.has(index)) sentences.set(index, { index, sentence, citations: [] });
    sentences.get(index).citations.push(citation);
  }
  let from = 0;
  return [...sentences.values()]
    .sort((a, b) => a.index - b.index)
    .map(({ sentence, citations }) => {
      const begin = text.indexOf(sentence, from);
      from = begin < 0 ? from : begin + sentence.length;
      const at = from;
      const covers = (item) => begin >= 0 && begin <= item.from && item.to <= at;
      return { at, citations, covers };
    });
}

/** The one row of a table that a sentence quotes, with the table's head. */
function rowQuotedBy(marks) {
  const citations = marks.flatMap((mark) => mark.citations);
  const blocks = citations.length === 1 ? blocksOf(citations[0].quote) : [];
  return blocks.length === 1 && blocks[0].head && blocks[0].rows.length === 1 ? blocks[0] : null;
}

function chip({ number, title }, onclick) {
  const label = t("source", { n: number, title });
  const button = make(
    "button.chip",
    { type: "button", title, "aria-label": label, onclick },
    digitsBeside(title, number),
  );
  // A word joiner keeps the chip on the same line as the sentence's last word.
  const holder = document.createDocumentFragment();
  holder.append("\u2060", button);
  return holder;
}

function token(text) {
  if (text.startsWith("**")) return make("strong", {}, text.slice(2, -2));
  if (text.startsWith("`")) return make("code", { dir: "auto" }, text.slice(1, -1));
  if (text.startsWith("[")) return linked(text);
  if (/^https?:\/\//i.test(text)) return link(text);
  return MAIL.test(text) ? make("a", { href: `mailto:${text}`, dir: "ltr" }, text) : text;
}

function linked(text) {
  const [, words, address] = /^\[(.*)\]\(<?(.*?)>?\)$/.exec(text);
  return anchor(safeLink(address), words, {}) ?? words;
}

function link(address) {
  const shown = withoutEnd(address);
  const element = anchor(safeLink(shown), shown, { dir: "ltr" });
  if (!element) return address;
  const holder = document.createDocumentFragment();
  holder.append(element, address.slice(shown.length));
  return holder;
}

function anchor(href, words, more) {
  return href ? make("a", { href, target: "_blank", rel: "noopener noreferrer", ...more }, words) : null;
}

/** The address without what belongs to the sentence around it: punctuation, and brackets that it does not open. */
function withoutEnd(address) {
  const counts = {};
  for (const character of address) counts[character] = (counts[character] ?? 0) + 1;
  let end = address.length;
  for (; /[.,;:!?…'’”»*)\]}]/.test(address[end - 1]); end -= 1) {
    const last = address[end - 1];
    const opening = { ")": "(", "]": "[", "}": "{" }[last];
    if (opening && counts[opening] >= counts[last]) break;
    counts[last] -= 1;
  }
  return address.slice(0, end);
}
