import "./browser.js";
import assert from "node:assert/strict";
import { test } from "node:test";

import { passagesOf, prose } from "../../assistant/web/static/widget/prose.js";

const citation = (index, sentence, quote, heading = "Codes") => {
  return { sentence_index: index, sentence, quote, heading, article_id: "art_1", article_title: "Error codes" };
};
const named = (elements, name) => elements.descendants.filter((element) => element.localName === name);

test("passages are numbered in order of appearance, each once", () => {
  const passages = passagesOf([citation(0, "A.", "one"), citation(1, "B.", "two"), citation(2, "C.", "one")]);
  assert.deepEqual(
    passages.map(({ number, quote }) => [number, quote]),
    [
      [1, "one"],
      [2, "two"],
    ],
  );
});

test("a number follows each cited sentence and opens its passage", () => {
  const opened = [];
  const text = "Fill the tank. Then wait. Bye.";
  const citations = [citation(0, "Fill the tank.", "one"), citation(1, "Then wait.", "two")];
  const elements = prose(text, citations, (passage) => opened.push(passage.quote));
  assert.equal(elements.textContent.replaceAll("\u2060", ""), "Fill the tank.1 Then wait.2 Bye.");
  for (const button of named(elements, "button")) button.click();
  assert.deepEqual(opened, ["one", "two"]);
});

test("a sentence that appears twice is found in order", () => {
  const elements = prose("Wait. Wait.", [citation(0, "Wait.", "one"), citation(1, "Wait.", "two")]);
  assert.equal(elements.textContent.replaceAll("\u2060", ""), "Wait.1 Wait.2");
});

test("no text is lost if a cited sentence is not in it", () => {
  const elements = prose("Fill the tank.", [citation(0, "Something else.", "one")]);
  assert.match(elements.textContent, /Fill the tank\.$/);
});

test("bold, code, links and lists are elements, everything else stays text", () => {
  const elements = prose("- **Now** press `E21` <b>x</b>, see https://shop.example/help.");
  assert.equal(elements.textContent, "• Now press E21 <b>x</b>, see https://shop.example/help.");
  assert.equal(named(elements, "strong")[0].textContent, "Now");
  assert.equal(named(elements, "code")[0].textContent, "E21");
  assert.equal(named(elements, "a")[0].href, "https://shop.example/help");
  assert.equal(named(elements, "b").length, 0);
});

test("only http and https become links", () => {
  assert.equal(named(prose("javascript:alert(1) data:text/html,x"), "a").length, 0);
});
