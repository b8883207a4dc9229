import "./browser.js";
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { beforeEach, test } from "node:test";

import {
  chooseLanguage,
  currentLanguage,
  LANGUAGES,
  t,
  translateNotice,
} from "../../assistant/web/static/widget/texts.js";

const ROOT = new URL("../../", import.meta.url);
const placeholders = (text) => [...text.matchAll(/\{(\w+)\}/g)].map(([, name]) => name).sort();

beforeEach(() => chooseLanguage(["en"]));

test("every language has the same texts", () => {
  for (const [language, texts] of Object.entries(LANGUAGES)) {
    assert.deepEqual(Object.keys(texts).sort(), Object.keys(LANGUAGES.en).sort(), language);
  }
});

test("every language fills in the same values", () => {
  for (const [language, texts] of Object.entries(LANGUAGES)) {
    for (const [key, text] of Object.entries(texts)) {
      assert.deepEqual(placeholders(text), placeholders(LANGUAGES.en[key]), `${language}: ${key}`);
    }
  }
});

test("every text is used, and every text that is used exists", () => {
  const folder = new URL("assistant/web/static/widget/", ROOT);
  const scripts = readdirSync(folder).filter((name) => name.endsWith(".js") && name !== "texts.js");
  const code = scripts.map((name) => readFileSync(new URL(name, folder), "utf8")).join("\n");
  const page = readFileSync(new URL("templates/widget/frame.html", ROOT), "utf8");
  const named = [...page.matchAll(/data-(?:text|label|hint)="(\w+)"/g)].map(([, key]) => key);
  const called = [...code.matchAll(/\bt\(\s*"(\w+)"/g)].map(([, key]) => key);
  for (const key of [...named, ...called]) assert.ok(key in LANGUAGES.en, `${key} has no text`);
  for (const key of Object.keys(LANGUAGES.en)) {
    assert.ok(named.includes(key) || code.includes(`"${key}"`), `${key} is used nowhere`);
  }
});

test("the first language that is known is chosen, whatever its region", () => {
  chooseLanguage([undefined, "fr-CA", "de-AT", "en"]);
  assert.equal(currentLanguage(), "de");
  assert.equal(document.documentElement.lang, "de");
});

test("English is chosen if no language is known", () => {
  chooseLanguage(["fr", "constructor"]);
  assert.equal(currentLanguage(), "en");
});

test("values are filled in as they are", () => {
  assert.equal(t("remove", { name: "a $& {n}.jpg" }), "Remove a $& {n}.jpg");
});

test("notices are translated sentence by sentence, with their numbers", () => {
  chooseLanguage(["de"]);
  const translated = translateNotice("A colleague will take over from here. You are number 12 in line.");
  assert.match(translated, /^Ab hier übernimmt ein Mensch\. Sie sind Nummer 12 in der Warteschlange\.$/);
});

test("a notice that is not known stays as it came", () => {
  chooseLanguage(["de"]);
  assert.equal(translateNotice("We moved to a new office."), "We moved to a new office.");
});
