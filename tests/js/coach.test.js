import assert from "node:assert/strict";
import { test } from "node:test";

import { judge } from "../../assistant/web/static/widget/coach.js";

const SIDE = 400;

/** A photo of `level(x, y)`, 0 to 255. */
function photo(level) {
  const data = new Uint8ClampedArray(SIDE * SIDE * 4).fill(255);
  for (let at = 0; at < SIDE * SIDE; at += 1) data.fill(level(at % SIDE, Math.floor(at / SIDE)), 4 * at, 4 * at + 3);
  return { data, width: SIDE, height: SIDE };
}

/** A label: lines of marks on a lit, uneven ground. */
const label = (x, y) => (y % 20 < 8 && (x * 7 + (y >> 4) * 13) % 11 < 4 ? 30 : 150 + (x * 60) / SIDE);

/** The label as a lens out of focus sees it. */
function soft(x, y) {
  let sum = 0;
  for (let dx = -6; dx <= 6; dx += 1) for (let dy = -6; dy <= 6; dy += 1) sum += label(x + dx, y + dy);
  return sum / 169;
}

/** Light between the marks of the label: burnt out within `radius`, fading over `fade` pixels. */
function lit(radius, fade) {
  return (x, y) => {
    const beyond = Math.max(0, Math.hypot(x - 200, y - 200) - radius);
    return (beyond < 60 ? 150 : label(x, y)) + 150 * Math.exp(-((beyond / fade) ** 2));
  };
}

test("a sharp, well-lit photo needs no advice", () => {
  assert.equal(judge(photo(label), 2000), null);
});

test("what makes a photo hard to read is told", () => {
  assert.equal(judge(photo(label), 200), "photo_small");
  assert.equal(judge(photo(soft), 2000), "photo_blurred");
  assert.equal(
    judge(
      photo((x, y) => label(x, y) * 0.3),
      2000,
    ),
    "photo_dark",
  );
  assert.equal(
    judge(
      photo((x, y) => 235 + label(x, y) / 20),
      2000,
    ),
    "photo_bright",
  );
  assert.equal(judge(photo(lit(50, 20)), 2000), "photo_glare");
});

test("camera shake blurs in one direction only", () => {
  const shaken = (x, y) => Array.from({ length: 33 }, (_, step) => label(x + step, y)).reduce((a, b) => a + b) / 33;
  assert.equal(judge(photo(shaken), 2000), "photo_blurred");
});

test("a white card and a page of text are no reflection", () => {
  assert.equal(
    judge(
      photo((x, y) => (Math.hypot(x - 200, y - 200) < 60 ? 255 : label(x, y))),
      2000,
    ),
    null,
  );
  assert.equal(
    judge(
      photo((x, y) => (x % 40 < 2 && y % 20 < 8 ? 0 : 255)),
      2000,
    ),
    null,
  );
});

test("noise is not taken for sharpness", () => {
  let seed = 1;
  const noise = () => {
    let sum = 0;
    for (let one = 0; one < 12; one += 1) {
      seed = (seed * 48271) % 2147483647;
      sum += seed / 2147483647;
    }
    return (sum - 6) * 6;
  };
  assert.equal(
    judge(
      photo((x, y) => soft(x, y) + noise()),
      2000,
    ),
    "photo_blurred",
  );
});
