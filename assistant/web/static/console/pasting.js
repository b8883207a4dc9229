// Pictures that are pasted or dropped into an article's text are stored, and named where the cursor is.

const form = document.querySelector("#editor[data-pictures]");
const text = form?.querySelector("textarea[name='text']");
const news = document.querySelector("#picture-news");

/** Store a picture. The Markdown by which the text refers to it; null, and why is said, if that fails. */
async function store(file) {
  const body = new FormData();
  body.append("csrf_token", form.querySelector('input[name="csrf_token"]').value);
  body.append("picture", file, file.name || "picture.png");
  try {
    const answer = await fetch(form.dataset.pictures, { method: "POST", body });
    if (answer.ok) return `![](${(await answer.json()).name})`;
    news.textContent = "The picture was not taken: it must be a JPEG, PNG, WebP or GIF that is not too large.";
  } catch {
    news.textContent = "The picture could not be sent. Try again once the connection is back.";
  }
  return null;
}

async function take(event, files) {
  const pictures = [...(files ?? [])].filter((file) => file.type.startsWith("image/"));
  if (!pictures.length) return;
  event.preventDefault();
  news.textContent = "Storing the picture…";
  for (const picture of pictures) {
    const named = await store(picture);
    if (!named) return;
    text.setRangeText(`\n\n${named}\n\n`, text.selectionStart, text.selectionEnd, "end");
    text.dispatchEvent(new Event("input", { bubbles: true }));
  }
  news.textContent = "Describe between the brackets what the picture shows: it is found by that.";
}

text?.addEventListener("paste", (event) => take(event, event.clipboardData?.files));
text?.addEventListener("drop", (event) => take(event, event.dataTransfer?.files));
