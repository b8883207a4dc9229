import "./browser.js";
import assert from "node:assert/strict";
import { test } from "node:test";

import { prose, sourcesOf } from "../../assistant/web/static/widget/prose.js";

const citation = (index, sentence, quote, heading = "Codes") => {
  return { sentence_index: index, sentence, quote, heading, article_id: "art_1", article_title: "Error codes" };
};
const named = (elements, name) => elements.descendants.filter((element) => element.localName === name);

test("an article is one source, with each passage once, in order of appearance", () => {
  const citations = [citation(0, "A.", "one"), citation(1, "B.", "two"), citation(2, "C.", "one")];
  const other = { ...citation(3, "D.", "one"), article_id: "art_2", article_title: "Care" };
  assert.deepEqual(
    sourcesOf([...citations, other]).map(({ number, title, passages }) => [number, title, passages.length]),
    [
      [1, "Error codes", 2],
      [2, "Care", 1],
    ],
  );
});

test("the number of its source follows each cited sentence and opens its passages", () => {
  const opened = [];
  const text = "Fill the tank. Then wait. Bye.";
  const citations = [
    citation(0, "Fill the tank.", "one"),
    { ...citation(1, "Then wait.", "two"), article_id: "art_2" },
  ];
  const onChip = (source, cited) => opened.push([source.number, ...cited.map(({ quote }) => quote)]);
  const elements = prose(text, citations, { onChip });
  assert.equal(elements.textContent.replaceAll("\u2060", ""), "Fill the tank.1 Then wait.2 Bye.");
  for (const button of named(elements, "button")) button.onclick();
  assert.deepEqual(opened, [
    [1, "one"],
    [2, "two"],
  ]);
});

test("a sentence that appears twice is found in order", () => {
  const elements = prose("Wait. Wait.", [citation(0, "Wait.", "one"), citation(1, "Wait.", "two")]);
  assert.equal(elements.textContent.replaceAll("\u2060", ""), "Wait.1 Wait.1");
});

test("no text is lost if a cited sentence is not in it", () => {
  const elements = prose("Fill the tank.", [citation(0, "Something else.", "one")]);
  assert.match(elements.textContent, /Fill the tank\.$/);
});

test("bold, code and links are elements, everything else stays text", () => {
  const elements = prose("**Now** press `E21` <b>x</b>, see https://shop.example/help.");
  assert.equal(elements.textContent, "Now press E21 <b>x</b>, see https://shop.example/help.");
  assert.equal(named(elements, "strong")[0].textContent, "Now");
  assert.equal(named(elements, "code")[0].textContent, "E21");
  assert.equal(named(elements, "a")[0].href, "https://shop.example/help");
  assert.equal(named(elements, "b").length, 0);
});

test("steps keep their numbers, and lists their order and depth", () => {
  const text = "Do this:\n3. Fill it\n   to the line.\n4. Wait:\n   - a minute\n   - or two\n\n5. Press.\nDone.";
  const elements = prose(text);
  assert.deepEqual(
    elements.children.map((child) => child.localName),
    ["p", "ol", "p"],
  );
  const steps = elements.children[1].children;
  assert.deepEqual(
    steps.map((step) => step.value),
    [3, 4, 5],
  );
  assert.match(steps[0].textContent, /^Fill it\s+to the line\.$/);
  assert.deepEqual(
    named(steps[1], "li").map((item) => item.textContent),
    ["a minute", "or two"],
  );
});

const cells = (elements, name) => named(elements, name).map((cell) => cell.textContent);

test("a table is a table, and pipes are not shown", () => {
  const elements = prose("| Code | Meaning |\n|:--|---|\n| E21 | The **pump** |\n| E04 | |\nSee below.");
  assert.deepEqual(cells(elements, "th"), ["Code", "Meaning"]);
  assert.deepEqual(cells(elements, "td"), ["E21", "The pump", "E04", ""]);
  assert.ok(!elements.textContent.includes("|"));
  assert.deepEqual(cells(prose("| E21 | Pump |"), "td"), ["E21", "Pump"]); // a quoted row without its table's head
  assert.equal(prose("either | or").textContent, "either | or");
});

test("what quotes several rows of a table is shown as that table, with its source once", () => {
  const row = (code) => `| Code | Light |\n|---|---|\n| ${code} | on |`;
  const citations = [citation(0, "- E1: on.", row("E1")), citation(1, "- E2: on.", row("E2"))];
  const elements = prose("These:\n- E1: on.\n- E2: on.", citations);
  assert.deepEqual(cells(elements, "td"), ["E1", "on", "E2", "on"]);
  assert.deepEqual(cells(elements, "button"), ["1"]);
  const others = prose("- E1: on.\n- It is off.", [citations[0], citation(1, "- It is off.", "It is off.")]);
  assert.deepEqual(cells(others, "li").length, 2); // not rows alone
});

test("figures stand beside the sentence that cites their passage, each once", () => {
  const figures = [{ id: "fig_1" }, { id: "fig_2" }];
  const citations = [
    { ...citation(0, "Turn it.", "one"), figures: [figures[0]] },
    { ...citation(1, "Press.", "two"), figures },
  ];
  const figure = ({ id }) => Object.assign(document.createElement("img"), { id });
  const elements = prose("Turn it.\n\nPress.", citations, { figure });
  assert.deepEqual(
    elements.children.map((child) => named(child, "img").map(({ id }) => id)),
    [[], ["fig_1"], [], ["fig_2"]],
  );
});

test("only articles hide an address behind words", () => {
  const text = "See [the guide](https://a.example/x) or [that](javascript:alert).";
  assert.equal(prose(text).textContent, text);
  const [link, ...others] = named(prose(text, [], { hasLinks: true }), "a");
  assert.deepEqual(
    [link.textContent, link.href, link.rel],
    ["the guide", "https://a.example/x", "noopener noreferrer"],
  );
  assert.deepEqual(others, []);
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
