// Searching and reading the help articles, before a conversation and beside it.

import { icon, make, safeLink } from "./dom.js";
import { prose } from "./prose.js";
import { dayOf, t } from "./texts.js";

const PAUSE = 400; // milliseconds after the last key
const LEAST = 3; // letters that are searched for while they are typed

export class Help {
  #elements;
  #api;
  #screens;
  #figure;
  #timer = null;
  #asked = null; // the query whose articles are shown or on their way
  #article = null; // id of the article that is shown or on its way
  #reword = () => {};

  /**
   * @param elements {form, query, status, results, title, body, link, write}; `write` are the buttons that lead to the chat
   * @param api finds and fetches articles
   * @param figure creates the element for a figure
   * @param onWrite called with what was searched for when the customer wants to write instead
   */
  constructor(elements, { api, screens, figure, onWrite }) {
    this.#elements = elements;
    this.#api = api;
    this.#screens = screens;
    this.#figure = figure;
    const { form, query, write } = elements;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#search();
    });
    query.addEventListener("input", () => {
      clearTimeout(this.#timer);
      if (query.value.trim().length >= LEAST) this.#timer = setTimeout(() => this.#search(), PAUSE);
    });
    for (const button of write) button.addEventListener("click", () => onWrite(query.value.trim()));
  }

  open() {
    this.#screens.open("help");
  }

  /** Show an article to read. */
  async read(id) {
    const { title, body, link } = this.#elements;
    this.#article = id;
    title.textContent = "";
    body.replaceChildren();
    link.hidden = true;
    this.#screens.open("article");
    const article = await this.#api.article(id).catch((problem) => ({ problem }));
    if (this.#article !== id) return; // another one was opened meanwhile
    if (article.problem) {
      title.textContent = t(article.problem.isGone ? "article_gone" : "help_failed");
    } else {
      title.textContent = article.title;
      body.lang = article.language;
      body.replaceChildren(...this.#sections(article), updated(article));
      link.href = safeLink(article.url) ?? "";
      link.hidden = !safeLink(article.url);
    }
    title.focus();
  }

  /** Say everything in the language that is spoken now. */
  reword() {
    this.#reword();
  }

  async #search() {
    clearTimeout(this.#timer);
    const query = this.#elements.query.value.trim();
    if (!query || query === this.#asked) return;
    this.#asked = query;
    const found = await this.#api.articles(query).catch(() => null);
    if (this.#asked !== query) return; // the customer has gone on typing
    if (!found) this.#asked = null;
    this.#reword = () => this.#show(found?.articles ?? null);
    this.#reword();
  }

  #show(articles) {
    const { status, results } = this.#elements;
    if (articles === null) status.textContent = t("help_failed");
    else status.textContent = articles.length ? t("help_found", { n: articles.length }) : t("help_none");
    results.replaceChildren(...(articles ?? []).map((article) => this.#result(article)));
  }

  #result({ id, title, heading, excerpt }) {
    const words = [make("strong", { dir: "auto" }, title), make("span", { dir: "auto" }, excerpt)];
    if (heading) words.splice(1, 0, make("small", { dir: "auto" }, heading));
    const button = make("button.result", { type: "button", onclick: () => this.read(id) }, ...words);
    return make("li", {}, button);
  }

  #sections({ sections }) {
    let above = [];
    return sections.flatMap(({ headings, text, figures }) => {
      const differing = headings.findIndex((heading, level) => heading !== above[level]);
      const level = differing < 0 ? headings.length : differing; // of the first heading that does not stand above already
      above = headings;
      const titles = headings
        .slice(level)
        .map((heading, at) => make(`h${Math.min(level + at + 3, 6)}`, { dir: "auto" }, heading));
      const shown = figures.map((one) => this.#figure(one));
      return [
        ...titles,
        make("div", { dir: "auto" }, prose(text, [], { hasLinks: true })),
        ...(shown.length ? [make("div.figures", {}, ...shown)] : []),
      ];
    });
  }
}

function updated({ updated_at: at }) {
  return make("p.fine", {}, icon("clock"), t("article_updated", { date: dayOf(new Date(at)) }));
}
