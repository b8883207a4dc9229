// The API's documentation: operations and schemas that have the words, and commands to copy.

const search = document.querySelector("#search");
const found = document.querySelector("#found");
const cards = [...document.querySelectorAll(".api-docs .card")].map((card) => [card, card.textContent.toLowerCase()]);
const headings = [...document.querySelectorAll(".api-docs h2")];

function look() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  for (const [card, text] of cards) {
    card.hidden = !words.every((word) => text.includes(word));
    if (!card.hidden) count += 1;
  }
  for (const heading of headings) {
    heading.hidden = !following(heading).some((card) => !card.hidden);
  }
  found.textContent = words.length > 0 ? `${count} found` : "";
}

/** The cards between a heading and the next. */
function following(heading) {
  const own = [];
  for (let next = heading.nextElementSibling; next?.matches(".card"); next = next.nextElementSibling) own.push(next);
  return own;
}

search.closest("[hidden]").hidden = false;
search.addEventListener("input", look);
look(); // what was typed is there after Back
for (const button of document.querySelectorAll("button.copy")) {
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.parentElement.querySelector("code").textContent);
    button.textContent = "Copied";
    setTimeout(() => {
      button.textContent = "Copy";
    }, 2000);
  });
}
