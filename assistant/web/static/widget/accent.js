// The shop's accent colour, adjusted so that text on it and text in it have a contrast of at least 4.5:1 (WCAG 2.2 AA).

const MIN_CONTRAST = 4.5;

/** Use a colour such as #0b6e5f; anything else is ignored. */
export function setAccent(colour) {
  if (!/^#[0-9a-f]{6}$/i.test(colour ?? "")) return;
  const accent = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  const style = document.documentElement.style;
  const onAccent = contrast(accent, [255, 255, 255]) >= MIN_CONTRAST ? "#ffffff" : "#10151c";
  style.setProperty("--accent-light", css(legible(accent, [255, 255, 255], [0, 0, 0])));
  style.setProperty("--accent-dark", css(legible(accent, [23, 27, 33], [255, 255, 255])));
  style.setProperty("--accent", colour);
  style.setProperty("--on-accent", onAccent);
}

/** `colour`, mixed with `towards` until it is readable on `background`. */
function legible(colour, background, towards) {
  let mixed = colour;
  for (let part = 0; part <= 1 && contrast(mixed, background) < MIN_CONTRAST; part += 0.05) {
    mixed = colour.map((value, index) => Math.round(value * (1 - part) + towards[index] * part));
  }
  return mixed;
}

/** Contrast ratio of two sRGB colours as defined by WCAG. */
function contrast(one, other) {
  const [light, dark] = [luminance(one), luminance(other)].sort((a, b) => b - a);
  return (light + 0.05) / (dark + 0.05);
}

function luminance(colour) {
  const [r, g, b] = colour.map((value) => {
    const part = value / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function css(colour) {
  return `rgb(${colour.join(" ")})`;
}
