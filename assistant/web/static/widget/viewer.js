// One photo, large. A native dialog: Escape closes it, and the focus goes back to where it was.

import { t } from "./texts.js";

export class Viewer {
  #dialog;
  #image;
  #photo;
  #onToggle;

  /** @param onToggle called with whether the viewer is open */
  constructor(dialog, { photo, onToggle }) {
    this.#dialog = dialog;
    this.#image = dialog.querySelector("img");
    this.#photo = photo;
    this.#onToggle = onToggle;
    dialog.addEventListener("click", (event) => event.target !== this.#image && dialog.close());
    dialog.addEventListener("close", () => onToggle(false));
  }

  /** Show the thumbnail at once and the whole photo as soon as it is here. */
  async open(attachment, thumbnail) {
    this.#image.alt = t("photo", { name: attachment.filename });
    if (attachment.width) {
      this.#image.width = attachment.width;
      this.#image.height = attachment.height;
    }
    this.#image.src = thumbnail;
    this.#dialog.showModal();
    this.#onToggle(true);
    this.#image.src = await this.#photo(attachment.id, { thumbnail: false }).catch(() => thumbnail);
  }
}
