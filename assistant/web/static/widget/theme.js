// Light or dark by the page's wish instead of the system's.

const DARK = /\(prefers-color-scheme: *dark\)/;
const ALWAYS = "(min-width: 0px)";
const NEVER = "(max-width: 0px)";
const darkRules = new Map(); // the media queries as they are written, by their rules

/** @param theme "light", "dark", or anything else for what the system says */
export function setTheme(theme) {
  const isChosen = theme === "light" || theme === "dark";
  document.documentElement.style.colorScheme = isChosen ? theme : "";
  for (const rule of [...document.styleSheets].flatMap((sheet) => [...sheet.cssRules])) {
    if (!(rule instanceof CSSMediaRule)) continue;
    if (!darkRules.has(rule) && DARK.test(rule.media.mediaText)) darkRules.set(rule, rule.media.mediaText);
    const written = darkRules.get(rule);
    if (written) rule.media.mediaText = isChosen ? written.replace(DARK, theme === "dark" ? ALWAYS : NEVER) : written;
  }
}
