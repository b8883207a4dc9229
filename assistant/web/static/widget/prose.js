// Message text as elements: links, bold and code as the model writes them, and a numbered chip after every cited
// sentence. Text is only ever inserted as text.

import { make, safeLink } from "./dom.js";
import { digits, t } from "./texts.js";

const INLINE =
  /(\*\*[^*\n]+\*\*|`[^`\n]+`|https?:\/\/[^\s<>"“„«。、，；：！？（）「」『』【】《》؟،؛]+|[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{2,63}){1,4})/i;

const MAIL = /^[\w.+-]+@[\w-]+(?:\.[\w-]{2,})+$/;

/** The distinct passages that a message cites, numbered from 1 in order of appearance. */
export function passagesOf(citations) {
  const passages = new Map();
  for (const citation of citations) {
    const key = JSON.stringify([citation.article_id, citation.heading, citation.quote]);
    if (!passages.has(key)) passages.set(key, { ...citation, number: passages.size + 1 });
  }
  return [...passages.values()];
}

/**
 * The text of a message as a document fragment.
 * @param onChip called with a passage and its chip when the chip is clicked
 */
export function prose(text, citations = [], onChip = () => {}) {
  const passages = passagesOf(citations);
  const holder = document.createDocumentFragment();
  let from = 0;
  for (const sentence of sentencesOf(citations)) {
    const at = text.indexOf(sentence.text, from);
    if (at >= 0) {
      holder.append(...inline(text.slice(from, at + sentence.text.length)));
      from = at + sentence.text.length;
    }
    const numbers = new Set(sentence.citations.map((citation) => numberOf(citation, passages)));
    for (const number of [...numbers].sort((a, b) => a - b)) holder.append(chip(passages[number - 1], onChip));
  }
  holder.append(...inline(text.slice(from)));
  return holder;
}

function sentencesOf(citations) {
  const sentences = new Map();
  for (const citation of citations) {
    const { sentence_index: index, sentence } = citation;
    if (!sentences.has(index)) sentences.set(index, { index, text: sentence, citations: [] });
    sentences.get(index).citations.push(citation);
  }
  return [...sentences.values()].sort((a, b) => a.index - b.index);
}

function numberOf(citation, passages) {
  const same = (passage) =>
    passage.article_id === citation.article_id &&
    passage.heading === citation.heading &&
    passage.quote === citation.quote;
  return passages.find(same).number;
}

function chip(passage, onChip) {
  const label = t("source", { n: passage.number, title: passage.article_title });
  const button = make(
    "button.chip",
    { type: "button", title: passage.article_title, "aria-label": label },
    digits(passage.number),
  );
  button.addEventListener("click", () => onChip(passage, button));
  // A word joiner keeps the chip on the same line as the sentence's last word.
  const holder = document.createDocumentFragment();
  holder.append("\u2060", button);
  return holder;
}

function inline(text) {
  return text
    .replace(/^[*-] /gm, "• ")
    .split(INLINE)
    .filter(Boolean)
    .map((part) => {
      if (part.startsWith("**") && part.length > 4) return make("strong", {}, part.slice(2, -2));
      if (part.startsWith("`") && part.length > 2) return make("code", { dir: "auto" }, part.slice(1, -1));
      if (/^https?:\/\//i.test(part)) return link(part);
      return MAIL.test(part) ? make("a", { href: `mailto:${part}`, dir: "ltr" }, part) : part;
    });
}

function link(address) {
  const shown = withoutEnd(address);
  const href = safeLink(shown);
  if (!href) return address;
  const holder = document.createDocumentFragment();
  const properties = { href, dir: "ltr", target: "_blank", rel: "noopener noreferrer" };
  holder.append(make("a", properties, shown), address.slice(shown.length));
  return holder;
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
