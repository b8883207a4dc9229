import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { beforeEach, test } from "node:test";

import {
  dayOf,
  digits,
  digitsBeside,
  joined,
  onLanguage,
  t,
  timeOf,
  useLanguage,
  wordNotices,
} from "../../assistant/web/static/widget/texts.js";
import { catalogueOf } from "./browser.js";

const ROOT = new URL("../../", import.meta.url);
const read = (path) => readFileSync(new URL(path, ROOT), "utf8");
const CATALOGUES = Object.fromEntries(
  readdirSync(new URL("assistant/wording/", ROOT))
    .filter((name) => name.endsWith(".json"))
    .map((name) => [name.slice(0, 2), catalogueOf(name.slice(0, 2))]),
);
const WIDGET = "assistant/web/static/widget/";

function speak(locale) {
  const language = locale.split("-")[0];
  const direction = language === "ar" ? "rtl" : "ltr";
  useLanguage({ language, locale, direction, texts: CATALOGUES[language] });
}

beforeEach(() => speak("en"));

test("every text of the page and its scripts is in the catalogue", () => {
  const scripts = readdirSync(new URL(WIDGET, ROOT)).filter((name) => name.endsWith(".js") && name !== "texts.js");
  const named = [...read("templates/widget/frame.html").matchAll(/data-(?:text|label|hint)="(\w+)"/g)];
  const called = scripts.flatMap((name) => [...read(WIDGET + name).matchAll(/\bt\(\s*"(\w+)"/g)]);
  assert.ok(called.length > 40);
  for (const [, key] of [...named, ...called]) assert.ok(key in CATALOGUES.en, `${key} has no text`);
});

test("every form that a browser asks for is there", () => {
  for (const [language, texts] of Object.entries(CATALOGUES)) {
    const asked = new Intl.PluralRules(language).resolvedOptions().pluralCategories.sort();
    for (const [key, text] of Object.entries(texts)) {
      if (typeof text !== "string") assert.deepEqual(Object.keys(text).sort(), asked, `${language}: ${key}`);
    }
  }
});

test("what is counted has the form of its number", () => {
  speak("pl");
  const files = [1, 3, 5].map((n) => t("files_today", { n }).match(/plik\S*/)[0]);
  assert.deepEqual(files, ["plik.", "pliki.", "plików."]);
  speak("ar");
  assert.match(t("files_today", { n: 2 }), /ملفين/);
});

test("numbers are written as they are where the customer lives", () => {
  const written = (locale) => {
    speak(locale);
    return t("text_too_long", { n: 20_000 }).match(/\p{Nd}\S*\p{Nd}/u)[0];
  };
  assert.deepEqual(["en", "de", "ar-EG"].map(written), ["20,000", "20.000", "٢٠٬٠٠٠"]);
});

test("a tag that no browser knows does not stop the chat", () => {
  useLanguage({ language: "de", locale: "de-!", texts: CATALOGUES.de });
  assert.equal(digits(1.5), "1,5");
});

test("times and dates are written as they are where the customer lives", () => {
  const evening = new Date(2024, 2, 3, 17, 5);
  const written = (locale) => {
    speak(locale);
    return [timeOf(evening), dayOf(evening)];
  };
  assert.deepEqual(written("en-GB"), ["17:05", "3 March 2024"]);
  assert.deepEqual(
    written("en-US").map((text) => text.replace("\u202f", " ")),
    ["5:05 PM", "March 3, 2024"],
  );
  assert.match(written("ar-EG").join(" "), /٥:٠٥ .*٣ مارس ٢٠٢٤/);
  assert.doesNotMatch(written("ar-MA").join(" "), /[٠-٩]/);
  speak("de");
  assert.equal(dayOf(new Date()), "Heute");
});

test("a number beside an English text has no Arabic digits", () => {
  speak("ar-EG");
  assert.deepEqual([digitsBeside("Error codes", 12), digitsBeside("رموز الخطأ", 12)], ["12", "١٢"]);
});

test("who shows texts is told when the language changes, and so is the page", () => {
  const said = [];
  onLanguage(() => said.push(t("send")));
  speak("fr");
  speak("ar");
  assert.deepEqual(said, ["Envoyer", "إرسال"]);
  assert.deepEqual([document.documentElement.lang, document.documentElement.dir], ["ar", "rtl"]);
});

test("values are filled in as they are", () => {
  assert.equal(t("remove", { name: "a $& {n}.jpg" }), "Remove a $& {n}.jpg");
});

test("a name is set apart from words that run the other way", () => {
  assert.match(t("remove", { name: "صورة.jpg" }), /^Remove \u2068صورة\.jpg\u2069$/);
  speak("ar");
  assert.match(t("remove", { name: "a (1).jpg" }), /\u2068a \(1\)\.jpg\u2069/);
});

test("notices are worded one after the other, with their values", () => {
  const notices = [
    { code: "handoff_needs_human", params: {} },
    { code: "queue_position", params: { n: 12 } },
  ];
  speak("de");
  assert.match(wordNotices(notices), /^Das sollte sich .+ weiter\. Sie sind Nummer 12 in der Warteschlange\.$/);
  speak("ja");
  assert.match(wordNotices(notices), /いたします。現在12番目に/);
  assert.equal(joined(["一。", "二。"]), "一。二。");
});

test("what has no notice, or one from a newer server, is left to the caller", () => {
  assert.equal(wordNotices(null), null);
  assert.equal(wordNotices([]), null);
  assert.equal(wordNotices([{ code: "constructor", params: {} }]), null);
});
