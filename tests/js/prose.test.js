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

const ADDRESSES = [
  ["See https://en.wikipedia.org/wiki/Pump_(device) please.", "https://en.wikipedia.org/wiki/Pump_(device)"],
  ["(see https://a.example/x)", "https://a.example/x"],
  ["(see https://a.example/x_(y)).", "https://a.example/x_(y)"],
  ["[here](https://a.example/x)", "https://a.example/x"],
  ["https://a.example/?a[]=1&b=[2].", "https://a.example/?a[]=1&b=[2]"],
  ["Is it https://a.example/x?!", "https://a.example/x"],
  ["HTTPS://A.example/X", "HTTPS://A.example/X"],
  ["“https://a.example/x”, he said", "https://a.example/x"],
  ["<https://a.example/x>", "https://a.example/x"],
  ["请看https://a.example/说明。谢谢", "https://a.example/说明"],
  ["（https://a.example/x）", "https://a.example/x"],
  ["Siehe https://bücher.example/größe, bitte", "https://bücher.example/größe"],
  ["Смотри https://пример.рф/путь.", "https://пример.рф/путь"],
  ["انظر https://a.example/صفحة؟", "https://a.example/صفحة"],
  ["https://a.example/a,b;c:d!e.f", "https://a.example/a,b;c:d!e.f"],
  ["https://a.example/#(1)…", "https://a.example/#(1)"],
];

test("an address is a link as a whole, without what surrounds it", () => {
  for (const [text, address] of ADDRESSES) {
    const elements = prose(text);
    const links = named(elements, "a");
    assert.deepEqual(
      links.map((link) => [link.textContent, link.dir]),
      [[address, "ltr"]],
      text,
    );
    assert.equal(elements.textContent, text);
  }
});

test("a mail address is a link too", () => {
  const elements = prose("Write to help@shop.example. Not to @shop or a@b.");
  assert.deepEqual(
    named(elements, "a").map((link) => link.href),
    ["mailto:help@shop.example"],
  );
  assert.equal(elements.textContent, "Write to help@shop.example. Not to @shop or a@b.");
});

test("an address of many brackets takes no time", () => {
  const text = `https://a.example/${"(".repeat(20_000)}${")".repeat(40_000)}`;
  const elements = prose(text);
  assert.equal(elements.textContent, text);
  assert.equal(named(elements, "a")[0].textContent.length, "https://a.example/".length + 40_000);
});
