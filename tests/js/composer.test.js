import assert from "node:assert/strict";
import { test } from "node:test";

import "./browser.js";
import { filesIn } from "../../assistant/web/static/widget/composer.js";

function clipboard(text, ...names) {
  return { files: names.map((name) => ({ name })), getData: (kind) => (kind === "text/plain" ? text : "") };
}

test("a screenshot is pasted as a file", () => {
  assert.equal(filesIn(clipboard("", "image.png")).length, 1);
});

test("cells from Excel and paragraphs from Word are pasted as text, not as their picture", () => {
  assert.deepEqual(filesIn(clipboard("Order\tE21\r\n7\t8\r\n", "image.png")), []);
});

test("files from a file manager are pasted, though their names come along as text", () => {
  assert.equal(filesIn(clipboard("/home/rosa/a.jpg\n/home/rosa/b.pdf\n", "a.jpg", "b.pdf")).length, 2);
});
