// Where the customer types: a growing text area; files by picker, camera, paste or drag and drop, with removable previews.

import { icon, make } from "./dom.js";
import { local } from "./store.js";
import { t } from "./texts.js";

const SHOWN_BY_BROWSERS = ["image/jpeg", "image/png", "image/webp", "image/gif"];
const PHOTOS = ["image/*", ".heic", ".heif"]; // the latter are unknown to most browsers

export class Composer {
  #form;
  #text;
  #chips;
  #picker;
  #camera;
  #send;
  #notice;
  #advice;
  #limits;
  #onSend;
  #files = [];
  #advised = new Map(); // file to {code, line}
  #suggested = null;

  /**
   * @param elements {form, text, chips, picker, camera, send, notice, advice, dropZone}
   * @param limits {max_files, max_bytes, max_chars, accept}: accept has the extensions of files besides photos, or is null
   * @param onSend called with {text, files}; files are {name, type, blob}
   */
  constructor({ form, text, chips, picker, camera, send, notice, advice, dropZone }, limits, onSend) {
    this.#form = form;
    this.#text = text;
    this.#chips = chips;
    this.#picker = picker;
    this.#camera = camera;
    this.#send = send;
    this.#notice = notice;
    this.#advice = advice;
    this.#limits = limits;
    this.#onSend = onSend;
    if (limits.accept) picker.accept = [...PHOTOS, ...limits.accept].join(",");
    this.#listen();
    this.#acceptDrops(dropZone);
  }

  focus() {
    this.#text.focus();
  }

  /** Show what was typed on an earlier page and not sent. */
  recall() {
    this.setText(local.get("draft", ""));
  }

  setText(text) {
    this.#text.value = text;
    this.#changed();
  }

  /** Suggest a text, but never replace what the customer has typed. */
  suggest(text) {
    if (this.#text.value.trim() && this.#text.value !== this.#suggested) return;
    this.#suggested = text;
    this.setText(text);
  }

  openPicker() {
    this.#picker.click();
  }

  /** Take a photo, where the device has a camera app; elsewhere a picker opens. */
  openCamera() {
    this.#camera.click();
  }

  /** Show a notice above the text area, e.g. why a file was not added; empty hides it. */
  showNotice(text) {
    this.#notice.textContent = text;
    this.#notice.hidden = !text;
  }

  addFiles(list) {
    this.showNotice("");
    for (const blob of list) {
      const file = { name: nameOf(blob), type: blob.type, blob };
      if (this.#files.length >= this.#limits.max_files) {
        this.showNotice(t("files_too_many", { n: this.#limits.max_files }));
        break;
      }
      const objection = this.#objectionTo(file);
      if (objection) {
        this.showNotice(objection);
        continue;
      }
      this.#files.push(file);
      this.#chips.append(this.#chip(file));
      void this.#coach(file);
    }
    this.#changed();
    this.focus();
  }

  /** Say what makes a photo hard to read, while it can still be replaced. */
  async #coach(file) {
    if (!SHOWN_BY_BROWSERS.includes(file.type)) return;
    const { adviceOn } = await import("./coach.js");
    const code = await adviceOn(file.blob);
    if (code && this.#files.includes(file)) this.#advise(file, code);
  }

  #advise(file, code) {
    const replace = () => {
      this.#remove(file);
      this.openPicker();
    };
    const button = make("button.link", { type: "button", onclick: replace }, t("photo_again"));
    const line = make("p.hint", {}, make("span", { dir: "auto" }, t(code, { name: file.name })), " ", button);
    this.#advised.set(file, { code, line });
    this.#advice.append(line);
  }

  #remove(file) {
    const at = this.#files.indexOf(file);
    this.#files.splice(at, 1);
    this.#chips.children[at].remove();
    this.#advised.get(file)?.line.remove();
    this.#advised.delete(file);
    this.#changed();
    this.focus();
  }

  /** Say everything in the language that is spoken now. */
  reword() {
    this.showNotice("");
    this.#chips.replaceChildren(...this.#files.map((file) => this.#chip(file)));
    this.#advice.replaceChildren();
    for (const [file, { code }] of this.#advised) this.#advise(file, code);
  }

  /** Why the server would refuse a file, as far as that can be told from here; null if it would not. */
  #objectionTo({ name, type, blob }) {
    const { max_bytes: most, accept } = this.#limits;
    if (blob.size > most) return t("file_too_large", { name, megabytes: most / 1e6 });
    if (blob.size === 0) return t("file_empty", { name });
    const isTaken = !accept || type.startsWith("image/") || [...PHOTOS, ...accept].some((end) => endsWith(name, end));
    return isTaken ? null : t("file_kind", { name });
  }

  #listen() {
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#text.addEventListener("input", () => this.#changed());
    this.#text.addEventListener("keydown", (event) => {
      // While an input method is composing, Enter picks a candidate.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
      event.preventDefault();
      this.#submit();
    });
    this.#text.addEventListener("paste", (event) => {
      const files = filesIn(event.clipboardData);
      if (!files.length) return;
      event.preventDefault();
      this.addFiles(files);
    });
    for (const input of [this.#picker, this.#camera]) {
      input.addEventListener("change", () => {
        this.addFiles([...input.files]);
        input.value = "";
      });
    }
  }

  #acceptDrops(zone) {
    let depth = 0;
    const carriesFiles = (event) => [...event.dataTransfer.types].includes("Files");
    const show = (on) => zone.classList.toggle("dropping", on);
    zone.addEventListener("dragenter", (event) => {
      if (carriesFiles(event)) show(++depth > 0);
    });
    zone.addEventListener("dragleave", (event) => {
      if (carriesFiles(event)) show(--depth > 0);
    });
    zone.addEventListener("dragover", (event) => {
      if (!carriesFiles(event)) return;
      event.preventDefault();
      event.dataTransfer.dropEffect = "copy";
    });
    zone.addEventListener("drop", (event) => {
      if (!carriesFiles(event)) return;
      event.preventDefault();
      depth = 0;
      show(false);
      this.addFiles([...event.dataTransfer.files]);
    });
  }

  #chip(file) {
    const remove = make(
      "button.icon-button",
      { type: "button", "aria-label": t("remove", { name: file.name }) },
      icon("close"),
    );
    const onDamage = () => this.showNotice(t("file_damaged", { name: file.name }));
    const shown = preview(file, onDamage);
    const chip = make("li.attached", { title: file.name }, shown, make("bdi.filename", {}, file.name), remove);
    remove.addEventListener("click", () => this.#remove(file));
    return chip;
  }

  #submit() {
    const text = this.#text.value.trim();
    if (!text && !this.#files.length) return;
    if ([...text].length > this.#limits.max_chars) {
      this.showNotice(t("text_too_long", { n: this.#limits.max_chars }));
      return;
    }
    const files = this.#files;
    this.#files = [];
    this.#chips.replaceChildren();
    this.#advice.replaceChildren();
    this.#advised.clear();
    this.showNotice("");
    this.setText("");
    this.#onSend({ text, files });
    this.focus();
  }

  #changed() {
    local.set("draft", this.#text.value);
    this.#chips.hidden = !this.#files.length;
    this.#send.disabled = !this.#text.value.trim() && !this.#files.length;
    this.#text.style.height = "auto";
    this.#text.style.height = `${this.#text.scrollHeight}px`; // widget.css has the largest
  }
}

/** @param onDamage called if it should be an image that browsers show, and cannot be shown */
function preview(file, onDamage) {
  const symbol = (name) => make("span.preview", {}, icon(name));
  if (!SHOWN_BY_BROWSERS.includes(file.type)) return symbol("file");
  const address = URL.createObjectURL(file.blob);
  const image = make("img.preview", { alt: "", src: address });
  image.addEventListener("load", () => URL.revokeObjectURL(address), { once: true });
  image.addEventListener("error", () => {
    image.replaceWith(symbol("warn"));
    onDamage();
  });
  return image;
}

/**
 * The files on a clipboard, unless it holds text: Excel and Word put a picture of the text beside it. A file manager puts
 * the files' names beside them.
 */
export function filesIn(clipboard) {
  const files = [...clipboard.files];
  const lines = clipboard
    .getData("text/plain")
    .split(/[\r\n]+/)
    .filter((line) => line.trim());
  const areNames = lines.every((line) => files.some(({ name }) => name && line.trim().endsWith(name)));
  return areNames ? files : [];
}

function endsWith(name, extension) {
  return name.toLowerCase().endsWith(extension);
}

/** Pasted images may have no name. */
function nameOf(blob) {
  if (blob.name) return blob.name;
  const extension = (blob.type.split("/")[1] ?? "").replace("jpeg", "jpg");
  return extension ? `photo.${extension}` : "file";
}
