// The blocks of a text: paragraphs, headings, lists and tables as Markdown writes them, each with its place in the text.

const ITEM = /^(\s*)(?:(\d{1,3})[.)]|[-*•])\s+(?=\S)/;
const RULE = /^\s*\|?(?:\s*:?-+:?\s*\|)+\s*(?::?-+:?\s*)?$/;
const HEADING = /^#{1,6}\s+(?=\S)/;

/**
 * The blocks of text[from..to):
 *   {kind: "paragraph" | "heading", from, to}
 *   {kind: "list", items: [{number, from, to, list}], from, to}   number: null of a bullet; list: one within the item
 *   {kind: "table", head: cells or null, rows: [cells], from, to}
 */
export function blocksOf(text, from = 0, to = text.length) {
  const lines = linesOf(text, from, to);
  const blocks = [];
  for (let at = 0; at < lines.length; ) {
    const block = isRow(lines[at]) ? table(lines, at) : ITEM.test(lines[at].text) ? list(lines, at) : words(lines, at);
    at = block.end;
    if (block.kind) blocks.push(block);
  }
  return blocks;
}

function cellsOf(row) {
  return row
    .trim()
    .replace(/^\|/, "")
    .replace(/\|$/, "")
    .split("|")
    .map((cell) => cell.trim());
}

function linesOf(text, from, to) {
  const lines = [];
  for (let start = from; start <= to; ) {
    const feed = text.indexOf("\n", start);
    const end = feed < 0 || feed > to ? to : feed;
    lines.push({ text: text.slice(start, end), from: start, to: end });
    start = end + 1;
  }
  return lines;
}

function isRow(line) {
  return line.text.trim().startsWith("|") && cellsOf(line.text).length > 1;
}

function table(lines, first) {
  let end = first;
  while (end < lines.length && isRow(lines[end])) end += 1;
  const rows = lines.slice(first, end).map((line) => line.text);
  const hasHead = rows.length > 1 && RULE.test(rows[1]);
  const body = rows.slice(hasHead ? 2 : 0).filter((row) => !RULE.test(row));
  const place = { from: lines[first].from, to: lines[end - 1].to };
  return { kind: "table", head: hasHead ? cellsOf(rows[0]) : null, rows: body.map(cellsOf), ...place, end };
}

/** A list, with lists within its items and lines that continue them. */
function list(lines, first) {
  const [, indent] = ITEM.exec(lines[first].text);
  const items = [];
  let at = first;
  while (at < lines.length) {
    const { text, from, to } = lines[at];
    const item = ITEM.exec(text);
    const depth = item ? item[1].length : text.length - text.trimStart().length;
    if (item && depth > indent.length && items.length && !items.at(-1).list) {
      const inner = list(lines, at);
      items.at(-1).list = inner;
      at = inner.end;
    } else if (item && depth >= indent.length) {
      items.push({ number: item[2] ? Number(item[2]) : null, from: from + item[0].length, to, list: null });
      at += 1;
    } else if (!item && text.trim() && depth > indent.length && !items.at(-1).list) {
      items.at(-1).to = to;
      at += 1;
    } else if (!text.trim() && ITEM.exec(lines[at + 1]?.text ?? "")?.[1].length >= indent.length) {
      at += 1; // items with empty lines between them
    } else {
      break;
    }
  }
  return { kind: "list", items, from: items[0].from, to: lines[at - 1].to, end: at };
}

/** A heading, or lines up to an empty one or another block; no kind for empty lines. */
function words(lines, first) {
  const { text, from, to } = lines[first];
  if (!text.trim()) return { end: first + 1 };
  const heading = HEADING.exec(text);
  if (heading) return { kind: "heading", from: from + heading[0].length, to, end: first + 1 };
  let end = first + 1;
  while (end < lines.length && isPlain(lines[end])) end += 1;
  return { kind: "paragraph", from, to: lines[end - 1].to, end };
}

function isPlain(line) {
  return line.text.trim() !== "" && !isRow(line) && !ITEM.test(line.text) && !HEADING.test(line.text);
}
