// What the page says of the visit. The server takes the same and leaves the rest out silently; here its developer is told.

const NAME = /^[A-Za-z][A-Za-z0-9_]{0,39}$/;
const MOST = 20;

/** The names and values that agents will see. */
export function readContext(values) {
  const given = Object.entries(values ?? {}).filter(([, value]) => value !== null && value !== undefined);
  const good = given.filter(
    ([name, value]) => NAME.test(name) && ["string", "number", "boolean"].includes(typeof value),
  );
  const kept = good.slice(0, MOST);
  const left = given.filter((entry) => !kept.includes(entry)).map(([name]) => name);
  if (left.length) {
    const rule = `at most ${MOST} names of letters, digits and _, with texts, numbers or booleans`;
    console.error(`SupportAssistant: setContext left out ${left.join(", ")}. It takes ${rule}.`);
  }
  return Object.fromEntries(kept);
}
