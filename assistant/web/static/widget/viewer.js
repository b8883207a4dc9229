// A photo at full size, in a native dialog: Escape closes it and focus returns to where it was.

import { t } from "./texts.js";

export class Viewer {
  #dialog;
  #image;
  #photo;
  #onToggle;

  /** @param onToggle called with true when the viewer opens and false when it closes */
  constructor(dialog, { photo, onToggle }) {
    this.#dialog = dialog;
    this.#image = dialog.querySelector("img");
    this.#photo = photo;
    this.#onToggle = onToggle;
    dialog.addEventListener("click", (event) => event.target !== this.#image && dialog.close());
    dialog.addEventListener("close", () => onToggle(false));
  }

  /** Show the thumbnail at once and the full photo once it has loaded. */
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
