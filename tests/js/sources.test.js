import assert from "node:assert/strict";
import { test } from "node:test";
import { Sources } from "../../assistant/web/static/widget/sources.js";
import { useLanguage } from "../../assistant/web/static/widget/texts.js";
import { catalogueOf } from "./browser.js";

useLanguage({ language: "en", locale: "en", direction: "ltr", texts: catalogueOf("en") });

const cited = {
  sentence_index: 0,
  article_id: "art_1",
  article_title: "Manual",
  heading: "Manual",
  quote: "Turn it left.",
  figures: [],
};
const linkOf = (citation) => {
  const { element } = new Sources([{ ...cited, url: null, page: null, ...citation }], { onOpen() {}, onArticle: null });
  return element.descendants.find(({ localName }) => localName === "a")?.href;
};

test("a cited page opens its file in the inbox of the page around", (context) => {
  const outside = globalThis.location;
  context.after(() => (globalThis.location = outside));
  assert.equal(linkOf({ page: 7 }), "https://support.example/widget/v1/documents/art_1#page=7");
  globalThis.location = new URL("https://support.example/widget/?language=de&inbox=acme");
  assert.equal(linkOf({ page: 7 }), "https://support.example/widget/v1/documents/art_1?inbox=acme#page=7");
  assert.equal(linkOf({ page: 7, url: "https://acme.example/manual" }), "https://acme.example/manual");
  assert.equal(linkOf({}), undefined);
});
