// The support button for your site:
//
//   <script src="https://YOUR-SUPPORT-HOST/widget/loader.js" async></script>
//
// Optional: data-position="left", data-accent="#0b6e5f", data-language="de" (else the page's lang, else the browser's),
// data-name and data-email (of a signed-in customer). Clicking any element with data-support-open opens the chat, with the attribute's value as draft message.
// From scripts: SupportAssistant.open(text), .close(), .toggle().
//
// Everything lives in a shadow root and an iframe from the support host: the page's styles and variables are not
// touched, and messages are exchanged with exactly that origin.
(() => {
  "use strict";
  const script = document.currentScript;
  if (!script || window.SupportAssistant) return;

  const NAME = "assistant-widget";
  const page = new URL("./", script.src);
  const options = {
    accent: script.dataset.accent,
    name: script.dataset.name,
    email: script.dataset.email,
  };
  // [open, close, title of the frame, before the number of new messages]
  const WORDS = {
    ar: ["فتح دردشة المساعدة", "إغلاق دردشة المساعدة", "دردشة المساعدة", "رسائل جديدة"],
    de: ["Hilfe-Chat öffnen", "Hilfe-Chat schließen", "Hilfe-Chat", "Neue Nachrichten"],
    en: ["Open the help chat", "Close the help chat", "Help chat", "New messages"],
    es: ["Abrir el chat de ayuda", "Cerrar el chat de ayuda", "Chat de ayuda", "Mensajes nuevos"],
    fr: ["Ouvrir le chat d’aide", "Fermer le chat d’aide", "Chat d’aide", "Nouveaux messages"],
    it: ["Apri la chat di assistenza", "Chiudi la chat di assistenza", "Chat di assistenza", "Nuovi messaggi"],
    ja: ["ヘルプチャットを開く", "ヘルプチャットを閉じる", "ヘルプチャット", "新しいメッセージ"],
    nl: ["Helpchat openen", "Helpchat sluiten", "Helpchat", "Nieuwe berichten"],
    pl: ["Otwórz czat pomocy", "Zamknij czat pomocy", "Czat pomocy", "Nowe wiadomości"],
    pt: ["Abrir o chat de ajuda", "Fechar o chat de ajuda", "Chat de ajuda", "Novas mensagens"],
    tr: ["Yardım sohbetini aç", "Yardım sohbetini kapat", "Yardım sohbeti", "Yeni mesajlar"],
    zh: ["打开帮助聊天", "关闭帮助聊天", "帮助聊天", "新消息"],
  };
  // What the site says of itself comes before what the browser says of its user.
  const languages = [script.dataset.language, document.documentElement.lang, ...navigator.languages].filter(Boolean);
  const spoken = languages.map((tag) => tag.toLowerCase().split("-")[0]).find((tag) => Object.hasOwn(WORDS, tag));
  const [OPEN, CLOSE, TITLE, NEWS] = WORDS[spoken ?? "en"];
  const isDark = (colour) => {
    const [r, g, b] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
    return 0.299 * r + 0.587 * g + 0.114 * b < 150;
  };
  const accent = /^#[0-9a-f]{6}$/i.test(options.accent || "") ? options.accent : "#0b6e5f";

  const STYLE = `
    :host { all: initial; }
    [hidden] { display: none !important; }
    .button {
      position: fixed; inset-block-end: 20px; z-index: 2147483000; width: 60px; height: 60px; padding: 0;
      border: 0; border-radius: 50%; cursor: pointer; display: grid; place-items: center;
      background: ${accent}; color: ${isDark(accent) ? "#fff" : "#10151c"};
      box-shadow: 0 2px 6px rgb(16 24 40 / .18), 0 10px 28px rgb(16 24 40 / .22); transition: transform .15s;
    }
    .button:hover { transform: translateY(-2px); }
    .button:focus-visible { outline: 3px solid #fff; box-shadow: 0 0 0 6px ${accent}; }
    .button svg { width: 28px; height: 28px; fill: none; stroke: currentColor; stroke-width: 1.8;
      stroke-linecap: round; stroke-linejoin: round; grid-area: 1 / 1; transition: opacity .15s, transform .2s; }
    .button[aria-expanded="true"] .chat, .button[aria-expanded="false"] .cross { opacity: 0; transform: scale(.6); }
    .badge { position: absolute; inset-block-start: -2px; inset-inline-end: -2px; min-width: 22px; height: 22px;
      box-sizing: border-box; padding: 0 6px; border-radius: 11px; background: #c62828; color: #fff;
      font: 600 13px/22px system-ui, sans-serif; text-align: center; }
    .panel { position: fixed; inset-block-end: 94px; z-index: 2147483000; width: 400px; border: 0; border-radius: 18px;
      height: min(690px, calc(100vh - 114px)); overflow: hidden; background: Canvas; color-scheme: light dark;
      box-shadow: 0 4px 12px rgb(16 24 40 / .12), 0 24px 64px rgb(16 24 40 / .26);
      transition: width .2s, height .2s, opacity .16s, transform .16s, visibility .16s; }
    .panel.large { width: min(920px, calc(100vw - 40px)); height: min(860px, calc(100vh - 114px)); }
    .panel.closed { opacity: 0; transform: translateY(12px); visibility: hidden; pointer-events: none; }
    .right { right: 20px; } .left { left: 20px; }
    @media (max-width: 520px) {
      .panel, .panel.large { inset: 0; width: 100%; height: 100%; border-radius: 0; }
      .button[aria-expanded="true"] { display: none; }
    }
    @media (prefers-reduced-motion: reduce) { .panel, .button, .button svg { transition: none; } }
    @media print { .panel, .button { display: none; } }
  `;

  const host = document.createElement("div");
  const root = host.attachShadow({ mode: "closed" });
  const side = script.dataset.position === "left" ? "left" : "right";
  const button = document.createElement("button");
  const badge = document.createElement("span");
  let frame = null;
  let isReady = false;
  let isOpen = false;
  const waiting = []; // messages queued until the frame has loaded
  let focusedBefore = null;

  const remember = (storage, key, value) => {
    try {
      if (value === null) window[storage].removeItem(key);
      else if (value !== undefined) window[storage].setItem(key, value);
      return window[storage].getItem(key);
    } catch {
      return null; // storage is blocked
    }
  };

  function post(type, details) {
    const message = { from: NAME, type, ...details };
    if (isReady) frame.contentWindow.postMessage(message, page.origin);
    else waiting.push(message);
  }

  function makeFrame() {
    if (frame) return;
    frame = document.createElement("iframe");
    frame.className = `panel closed ${side}`;
    frame.title = TITLE;
    frame.src = `${page.href}?language=${encodeURIComponent(languages.join(","))}`;
    frame.addEventListener("load", () => {
      isReady = true;
      post("hello", { options });
      for (const message of waiting.splice(0)) frame.contentWindow.postMessage(message, page.origin);
    });
    root.append(frame);
  }

  function open(text) {
    makeFrame();
    if (typeof text === "string" && text) post("compose", { text });
    if (isOpen) return;
    isOpen = true;
    focusedBefore = document.activeElement;
    // A new frame needs one layout before it can be animated and focused.
    requestAnimationFrame(() => {
      frame.classList.remove("closed");
      frame.focus();
      post("opened");
      fit();
    });
    button.setAttribute("aria-expanded", "true");
    button.setAttribute("aria-label", CLOSE);
    badge.hidden = true;
    remember("sessionStorage", "assistant.open", "1");
  }

  function close() {
    if (!isOpen) return;
    isOpen = false;
    frame.classList.add("closed");
    frame.classList.remove("large");
    post("closed");
    button.setAttribute("aria-expanded", "false");
    button.setAttribute("aria-label", OPEN);
    remember("sessionStorage", "assistant.open", null);
    const before = focusedBefore;
    const isOutside = before && before !== document.body && before !== host; // the host stands for our own button
    if (isOutside && before.isConnected) before.focus();
    else button.focus();
  }

  function toggle() {
    if (isOpen) close();
    else open();
  }

  /** On a phone the keyboard covers what is fixed to the bottom: fit the panel to the visible area. */
  function fit() {
    if (!frame) return;
    const view = window.visualViewport;
    const full = window.matchMedia("(max-width: 520px)").matches && view && view.scale === 1;
    frame.style.height = full ? `${view.height}px` : "";
    frame.style.top = full ? `${view.offsetTop}px` : "";
  }

  function receive(event) {
    if (!frame || event.source !== frame.contentWindow || event.origin !== page.origin) return;
    const message = event.data;
    if (typeof message !== "object" || message === null || message.from !== NAME) return;
    if (message.type === "close") close();
    else if (message.type === "resize") frame.classList.toggle("large", message.large === true);
    else if (message.type === "started") remember("localStorage", "assistant.started", "1");
    else if (message.type === "unread" && !isOpen) showUnread(message.count);
  }

  function showUnread(count) {
    badge.hidden = !(count > 0);
    badge.textContent = count > 9 ? "9+" : String(count);
    button.setAttribute("aria-label", `${OPEN} (${NEWS}: ${badge.textContent})`);
  }

  function drawIcon(name, path) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 24 24");
    svg.setAttribute("class", name);
    svg.setAttribute("aria-hidden", "true");
    const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
    line.setAttribute("d", path);
    svg.append(line);
    return svg;
  }

  /** A constructed style sheet passes every Content-Security-Policy; a style element does not. */
  function applyStyle() {
    if ("adoptedStyleSheets" in root) {
      const sheet = new CSSStyleSheet();
      sheet.replaceSync(STYLE);
      root.adoptedStyleSheets = [sheet];
    } else {
      const style = document.createElement("style");
      style.textContent = STYLE;
      root.append(style);
    }
  }

  function start() {
    applyStyle();
    button.type = "button";
    button.className = `button ${side}`;
    button.setAttribute("aria-label", OPEN);
    button.setAttribute("aria-expanded", "false");
    badge.className = "badge";
    badge.hidden = true;
    button.append(
      drawIcon("chat", "M4 5.5h16v11h-8.5l-4.5 3.5v-3.5h-3zM8.5 9.5h7M8.5 12.5h4.5"),
      drawIcon("cross", "M6.5 6.5l11 11M17.5 6.5l-11 11"),
      badge,
    );
    button.addEventListener("click", toggle);
    root.append(button);
    document.body.append(host);
    window.addEventListener("message", receive);
    window.visualViewport?.addEventListener("resize", fit);
    window.visualViewport?.addEventListener("scroll", fit);
    document.addEventListener("keydown", (event) => event.key === "Escape" && close());
    document.addEventListener("click", (event) => {
      const opener = event.target instanceof Element ? event.target.closest("[data-support-open]") : null;
      if (!opener) return;
      event.preventDefault();
      open(opener.dataset.supportOpen);
    });
    if (remember("sessionStorage", "assistant.open") && window.innerWidth > 520) open();
    else if (remember("localStorage", "assistant.started")) makeFrame(); // replies may arrive while it is closed
  }

  window.SupportAssistant = Object.freeze({ open, close, toggle });
  if (document.body) start();
  else document.addEventListener("DOMContentLoaded", start);
})();
