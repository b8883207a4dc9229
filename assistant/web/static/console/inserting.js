// What is found in articles, and earlier drafts, are put where the agent writes: at the cursor, beside what stands there.

const found = () => document.querySelector("#found-articles");
const search = () => document.querySelector("#find-articles");

/** The box that is being written in: that of the draft while it is offered, else that of the reply. */
function boxInUse() {
  if (!document.querySelector("#mode-draft:checked")) document.querySelector("#mode-reply").checked = true;
  else {
    const edit = document.querySelector(".as-draft .edit");
    edit.open = true;
    return edit.querySelector("textarea");
  }
  return document.querySelector("#reply-text");
}

// Boxes in which there is a cursor; in others, one continues at the end.
const entered = new WeakSet();
document.addEventListener("focusin", ({ target }) => target.tagName === "TEXTAREA" && entered.add(target));

function insert(text) {
  const box = boxInUse();
  const at = entered.has(box) ? box.selectionEnd : box.value.length;
  const [before, after] = [box.value.slice(0, at), box.value.slice(at)];
  const apart = (side) => (side.trim() && !/^\n|\n$/.test(side) ? "\n\n" : "");
  box.setRangeText(apart(before) + text + apart(after), at, at, "end");
  box.dispatchEvent(new Event("input", { bubbles: true }));
  document.querySelector("#articles")?.hidePopover?.();
  box.focus();
}

/** Show the articles to choose from. */
export function chooseArticle() {
  [...document.querySelectorAll("[popovertarget=articles]")].find((button) => button.offsetParent)?.click();
}

document.addEventListener("click", ({ target }) => {
  if (target.matches?.("[data-insert]")) insert(target.dataset.insert);
});
// What the customer asked is searched for when it is first opened; nobody waits for it on the page.
document.querySelector("#articles[popover]")?.addEventListener("toggle", ({ newState }) => {
  if (newState === "open" && !found().childElementCount) search().requestSubmit();
});
