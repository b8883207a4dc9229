// The launcher and the panel on a site's page. The panel has a head, a way to close it, and words for when the support
// host cannot be reached; the conversation itself is in an iframe, which is shown from when it says that it is there.
//
// The server fills in GIVEN: {texts: {language: [...]}, rtl: [languages], company, contact, accent, language}.
((given) => {
  const { attributes, page, emit, ended, ready } = document.currentScript.assistant;
  const { accent = given.accent, name, email, inbox, contact = given.contact, position } = attributes;

  const NAME = "assistant-widget";
  const SILENT = 10_000; // a frame that has not said anything after so long is given up for now
  const SILENT_ONCE_LOADED = 2_000; // as the browser's error pages are
  const FIRST_PAUSE = 5_000; // before another attempt
  const LAST_PAUSE = 60_000;
  const SMALL = "(max-width: 520px), (max-height: 480px)"; // the panel takes the whole screen

  /** What the frame is told when it comes, and again when another one does. */
  const options = { accent, name, email, theme: attributes.theme, context: {} };

  const colour = /^#[0-9a-f]{6}$/i.test(accent || "") ? accent : "#0b6e5f";
  // Of black and white, one always has a contrast of 4.5:1 or more.
  const [r, g, b] = [1, 3, 5].map((at) => (parseInt(colour.slice(at, at + 2), 16) / 255) ** 2.2);
  const filled = `background: ${colour}; color: ${0.2126 * r + 0.7152 * g + 0.0722 * b < 0.18 ? "#fff" : "#000"};`;
  const STYLE = `
    :host { all: initial; position: fixed; z-index: 2147483000; }
    [hidden] { display: none !important; }
    * { box-sizing: border-box; font: 15px/1.5 system-ui, sans-serif; }
    p { margin: 0; }
    button { border: 0; padding: 0; cursor: pointer; }
    svg { fill: none; stroke: currentColor; stroke-width: 1.8; stroke-linecap: round; stroke-linejoin: round; }
    .launcher { position: fixed; inset-block-end: 20px; width: 60px; height: 60px; border-radius: 50%; display: grid;
      place-items: center; ${filled} transition: transform .15s;
      box-shadow: 0 2px 6px rgb(16 24 40 / .18), 0 10px 28px rgb(16 24 40 / .22); }
    .launcher:hover { transform: translateY(-2px); }
    .launcher:focus-visible { outline: 3px solid #fff; box-shadow: 0 0 0 6px ${colour}; }
    .launcher svg { width: 28px; grid-area: 1 / 1; transition: opacity .15s, transform .2s; }
    [aria-expanded="true"] .chat, [aria-expanded="false"] .cross { opacity: 0; transform: scale(.6); }
    .badge { position: absolute; inset-block-start: -2px; inset-inline-end: -2px; min-width: 22px; padding: 0 6px;
      border-radius: 11px; background: #c62828; color: #fff; font: 600 13px/22px system-ui, sans-serif; }
    .panel, .news { position: fixed; background: Canvas; color: CanvasText; color-scheme: light dark;
      box-shadow: 0 4px 12px rgb(16 24 40 / .12), 0 24px 64px rgb(16 24 40 / .26); }
    .panel { inset-block-end: 94px; width: 400px; height: min(690px, calc(100vh - 114px)); border-radius: 18px;
      overflow: hidden; transition: width .2s, height .2s, opacity .16s, transform .16s, visibility .16s; }
    .large { width: min(920px, calc(100vw - 40px)); height: min(860px, calc(100vh - 114px)); }
    .closed { opacity: 0; transform: translateY(12px); visibility: hidden; }
    .left { left: 20px; }
    .right { right: 20px; }
    iframe { position: absolute; inset: 0; width: 100%; height: 100%; border: 0; }
    .panel:not(.ready) iframe { visibility: hidden; }
    .ready > div { visibility: hidden; }
    .head { display: flex; align-items: center; gap: 12px; height: 64px; padding-inline: 20px 12px; ${filled} }
    .head b { flex: 1; font-size: 16px; font-weight: 650; }
    .head button { width: 40px; height: 40px; border-radius: 12px; background: none; color: inherit; }
    .head :focus-visible { outline: 2px solid; }
    .head svg { width: 20px; display: block; margin: auto; }
    .progress { width: 28px; height: 28px; margin: 28px auto; border: 3px solid; border-block-start-color: transparent;
      border-radius: 50%; animation: turn 1s linear infinite; }
    .trouble { padding: 24px 20px; display: grid; gap: 16px; justify-items: start; }
    .trouble button { padding: 8px 18px; border-radius: 20px; ${filled} }
    .trouble a { color: inherit; }
    .news { inset-block-end: 94px; max-width: min(300px, 80vw); padding: 10px 16px; border-radius: 14px;
      text-align: start; }
    .news span { display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 3; overflow: hidden; }
    @keyframes turn { to { transform: rotate(1turn); } }
    @media ${SMALL} {
      .panel { inset: 0; width: 100%; height: 100%; border-radius: 0; }
      .launcher[aria-expanded="true"] { display: none; }
    }
    @media (prefers-reduced-motion: reduce) {
      * { transition: none !important; }
      .progress { animation-duration: 8s; }
    }
    @media print { :host { display: none; } }
  `;

  const make = (tag, className, ...children) => {
    const element = document.createElement(tag);
    if (tag === "button") element.type = "button";
    element.className = className;
    element.append(...children);
    return element;
  };
  const drawIcon = (className, path) => {
    const [svg, line] = ["svg", "path"].map((tag) => document.createElementNS("http://www.w3.org/2000/svg", tag));
    svg.setAttribute("viewBox", "0 0 24 24");
    svg.setAttribute("class", className);
    svg.setAttribute("aria-hidden", "true");
    line.setAttribute("d", path);
    svg.append(line);
    return svg;
  };
  const drawChat = () => drawIcon("chat", "M4 5.5h16v11h-8.5l-4.5 3.5v-3.5h-3zM8.5 9.5h7M8.5 12.5h4.5");
  const drawCross = () => drawIcon("cross", "M6 6l12 12M18 6L6 18");
  const remember = (storage, key, value) => {
    try {
      if (value === null) window[storage].removeItem(key);
      else if (value !== undefined) window[storage].setItem(key, value);
      return window[storage].getItem(key);
    } catch {
      return null; // storage is blocked
    }
  };
  // What the frame wants kept. On the page it is first-party: many browsers block what frames store, or throw it away.
  const KEPT = `assistant/${inbox ?? "default"}/`;
  const kept = () => {
    try {
      const own = Object.entries(localStorage).filter(([key]) => key.startsWith(KEPT));
      return Object.fromEntries(own.map(([key, value]) => [key.slice(KEPT.length), value]));
    } catch {
      return {}; // storage is blocked
    }
  };
  const keep = (key, value) => remember("localStorage", KEPT + key, value);
  // Photos of unsent messages are too large for that.
  const inDatabase = (work) =>
    new Promise((resolve, reject) => {
      const opening = indexedDB.open(NAME, 1);
      opening.onupgradeneeded = () => opening.result.createObjectStore("photos");
      opening.onerror = reject;
      opening.onsuccess = () => {
        const database = opening.result;
        const transaction = database.transaction("photos", "readwrite");
        const request = work(transaction.objectStore("photos"));
        transaction.oncomplete = transaction.onabort = () => resolve(request.result, database.close());
      };
    }).catch(() => null); // it is blocked or full
  const keepPhotos = (key, value) =>
    inDatabase((store) => {
      if (value === undefined) return store.get(KEPT + key);
      return value === null ? store.delete(KEPT + key) : store.put(value, KEPT + key);
    });
  const listen = (target, kind, listener) => target.addEventListener(kind, listener, { signal: ended });

  const side = position === "left" ? "left" : "right";
  const host = document.createElement("div");
  const root = host.attachShadow({ mode: "closed" });
  const badge = make("span", "badge");
  const launcher = make("button", `launcher ${side}`, drawChat(), drawCross(), badge);
  const preview = make("span", "");
  const news = make("button", `news ${side}`, preview);
  const title = make("b", "", given.company);
  const exit = make("button", "", drawCross());
  const progress = make("div", "progress");
  const sorry = make("p", "");
  const again = make("button", "");
  const write = make("p", "");
  const trouble = make("div", "trouble", sorry, again, write);
  const panel = make("div", `panel closed ${side}`, make("div", "head", title, exit), progress, trouble);
  const watch = new MutationObserver(attach);

  let languages;
  let texts; // [what it is, close, new messages, cannot be reached, try again, write to {contact}]
  let isOpen = false;
  let focusedBefore = null;
  let unread = 0;
  let mark = ""; // what we put before the page's title

  // The frame, and messages to and from it

  let frame = null;
  let isReady = false;
  let isRefused = false;
  let silent = 0; // documents that have been loaded into the frame and have not said a word
  let timer = null;
  let pause = FIRST_PAUSE;
  const waiting = []; // messages for a frame that is not there yet

  const RECEIVED = {
    here,
    refused,
    close,
    resize: ({ large }) => panel.classList.toggle("large", large === true),
    store: ({ key, value }) => keep(key, value),
    photos: async ({ id, key, value }) => post("answer", { id, value: await keepPhotos(key, value) }),
    claim: ({ key, value }) => post("stored", { key, value: keep(key) ?? keep(key, value) ?? value }),
    trouble: ({ detail }) => console.error(`SupportAssistant: ${detail}`),
    started: () => remember("localStorage", "assistant.started", "1"),
    unread: showUnread,
    message: ({ author }) => emit("message", { author }),
    rated: ({ rating }) => emit("rated", { rating }),
  };

  function receive({ source, origin, data }) {
    if (!frame || source !== frame.contentWindow || origin !== page.origin || data?.from !== NAME) return;
    if (Object.hasOwn(RECEIVED, data.type)) RECEIVED[data.type](data);
  }

  function post(type, details) {
    const message = { ...details, from: NAME, type };
    if (isReady) frame.contentWindow.postMessage(message, page.origin);
    else waiting.push(message);
  }

  /** Something that stays: a frame that is not there yet is told when it comes. */
  function set(name, value) {
    options[name] = value;
    if (isReady) post(name, { [name]: value });
  }

  /** Forget the customer on this device. The frame ends their session, for which it is left the token. */
  function logout() {
    const { session } = kept();
    for (const key of Object.keys(kept())) keep(key, null);
    void inDatabase((store) => store.delete(IDBKeyRange.bound(KEPT, `${KEPT}\uffff`)));
    if (session) keep("ending", session);
    remember("localStorage", "assistant.started", null);
    options.identity = null;
    if (isReady) post("logout");
    else if (session) makeFrame();
  }

  function makeFrame() {
    if (frame) return;
    silent = 0;
    frame = make("iframe", "");
    frame.title = texts[0];
    frame.loading = "lazy"; // does not hold back the page's load event
    const query = new URLSearchParams({ language: languages, origin: location.origin });
    if (inbox) query.set("inbox", inbox);
    frame.src = `${page.href}?${query}`;
    frame.onload = () => {
      silent += 1;
      if (silent > 0) giveUpIn(SILENT_ONCE_LOADED);
    };
    panel.append(frame);
    giveUpIn(SILENT);
  }

  function renewFrame() {
    frame?.remove();
    frame = null;
    setReady(false);
    makeFrame();
  }

  function setReady(now) {
    isReady = now;
    panel.classList.toggle("ready", now);
  }

  function here() {
    silent -= 1;
    clearTimeout(timer);
    pause = FIRST_PAUSE;
    const hasFocus = root.activeElement !== null; // or the customer has gone on to something else
    setReady(true);
    const before = waiting.splice(0);
    post("hello", { options, stored: kept(), keepsPhotos: true });
    for (const message of before) post(message.type, message);
    if (isOpen) tellOpened(hasFocus);
  }

  function refused({ detail }) {
    isRefused = true;
    console.error(`SupportAssistant: ${detail}`);
    fail();
  }

  function giveUpIn(time) {
    clearTimeout(timer);
    timer = setTimeout(fail, time);
  }

  /** A frame that is only slow may still come until the next attempt. */
  function fail() {
    clearTimeout(timer);
    setReady(false);
    showTrouble(true);
    if (isRefused) return; // until somebody asks again
    timer = setTimeout(renewFrame, pause);
    pause = Math.min(2 * pause, LAST_PAUSE);
  }

  function showTrouble(isTrouble) {
    trouble.hidden = !isTrouble;
    progress.hidden = isTrouble;
  }

  function tryAgain() {
    isRefused = false;
    showTrouble(false);
    exit.focus(); // the button that had it is hidden
    renewFrame();
  }

  function tellOpened(focus) {
    if (focus) frame.focus();
    post("opened", { focus });
  }

  // Open and closed

  function open(text) {
    if (typeof text === "string" && text) post("compose", { text });
    if (!isOpen) show({ focus: true });
  }

  function show({ focus }) {
    isOpen = true;
    focusedBefore = document.activeElement;
    makeFrame();
    void panel.offsetWidth; // one layout, so that opening is animated
    panel.classList.remove("closed");
    launcher.setAttribute("aria-expanded", "true");
    showUnread({ count: 0 });
    remember("sessionStorage", "assistant.open", "1");
    fit();
    if (isReady) tellOpened(focus);
    else if (focus) exit.focus();
    emit("open");
  }

  function close() {
    if (!isOpen) return;
    isOpen = false;
    panel.classList.add("closed");
    panel.classList.remove("large");
    post("closed");
    launcher.setAttribute("aria-expanded", "false");
    remember("sessionStorage", "assistant.open", null);
    // Where the host itself had the focus, it stands for our launcher.
    const isOutside = focusedBefore?.isConnected && focusedBefore !== document.body && focusedBefore !== host;
    (isOutside ? focusedBefore : launcher).focus();
    emit("close");
  }

  function toggle() {
    if (isOpen) close();
    else open();
  }

  /** On a phone the keyboard covers what is fixed to the bottom: fit the panel to the visible area. */
  function fit() {
    const view = window.visualViewport;
    const isWhole = window.matchMedia(SMALL).matches && view?.scale === 1;
    panel.style.height = isWhole ? `${view.height}px` : "";
    panel.style.top = isWhole ? `${view.offsetTop}px` : "";
  }

  // What it looks like and says

  function setLanguage(tag) {
    const own = document.documentElement.lang || given.language; // the page's, else its inbox's
    languages = [tag, attributes.language, own, ...navigator.languages].filter(Boolean);
    const spoken = languages
      .map((one) => one.toLowerCase().split("-")[0])
      .find((one) => Object.hasOwn(given.texts, one));
    texts = given.texts[spoken ?? "en"];
    host.lang = spoken ?? "en";
    for (const element of [panel, news]) element.dir = given.rtl.includes(spoken) ? "rtl" : "ltr";
    panel.setAttribute("aria-label", texts[0]);
    exit.setAttribute("aria-label", texts[1]);
    sorry.textContent = texts[3];
    again.textContent = texts[4];
    const link = make("a", "", contact ?? "");
    link.href = /^https?:/.test(contact) ? contact : `mailto:${contact}`;
    const [before, after] = texts[5].split("{contact}");
    write.replaceChildren(before, link, after);
    showUnread({ count: unread });
    if (frame) post("language", { language: languages.join() });
  }

  function setTheme(theme) {
    const scheme = theme === "light" || theme === "dark" ? theme : "light dark";
    for (const element of [panel, news]) element.style.colorScheme = scheme;
    set("theme", theme);
  }

  function showUnread({ count, preview: text = "" }) {
    const before = unread;
    unread = isOpen ? 0 : count;
    const shown = unread > 9 ? "9+" : String(unread);
    badge.textContent = shown;
    badge.hidden = !unread;
    news.hidden = !unread || !text;
    preview.textContent = text;
    launcher.setAttribute("aria-label", unread ? `${texts[0]} (${texts[2]}: ${shown})` : texts[0]);
    if (unread === before) return;
    const own = document.title.startsWith(mark) ? document.title.slice(mark.length) : document.title;
    mark = unread ? `(${shown}) ` : "";
    document.title = mark + own;
    if (unread > before && attributes.sound === "on") chime();
    emit("unread", { count: unread });
  }

  function chime() {
    const audio = new AudioContext();
    const tone = audio.createOscillator();
    const volume = audio.createGain();
    volume.gain.setValueAtTime(0.1, 0);
    volume.gain.exponentialRampToValueAtTime(0.001, 0.4);
    tone.frequency.value = 880;
    tone.connect(volume).connect(audio.destination);
    tone.start();
    tone.stop(0.4);
    tone.onended = () => audio.close();
  }

  /** A constructed style sheet passes every Content-Security-Policy; a style element does not. */
  function applyStyle() {
    if ("adoptedStyleSheets" in root) {
      const sheet = new CSSStyleSheet();
      sheet.replaceSync(STYLE);
      root.adoptedStyleSheets = [sheet];
    } else {
      root.append(make("style", "", STYLE));
    }
  }

  /** Beside the body, which some sites replace as their visitors go from page to page. */
  function attach() {
    if (host.isConnected) return;
    document.documentElement.append(host);
    watch.observe(document, { childList: true });
    watch.observe(document.documentElement, { childList: true });
  }

  applyStyle();
  setLanguage();
  setTheme(attributes.theme);
  showTrouble(false);
  fit();
  panel.setAttribute("role", "dialog");
  trouble.setAttribute("role", "status");
  launcher.setAttribute("aria-expanded", "false");
  launcher.hidden = attributes.launcher === "hidden";
  write.hidden = !contact;
  root.append(launcher, news, panel);
  attach();

  listen(launcher, "click", toggle);
  listen(news, "click", () => open());
  listen(exit, "click", close);
  listen(again, "click", tryAgain);
  listen(window, "message", receive);
  listen(window, "storage", ({ key, newValue }) => {
    if (isReady && key?.startsWith(KEPT)) post("stored", { key: key.slice(KEPT.length), value: newValue });
    if (key === `${KEPT}session` && newValue) makeFrame(); // the customer has begun in another tab
  });
  listen(window, "online", () => frame && !isReady && renewFrame());
  for (const kind of ["resize", "scroll"]) if (window.visualViewport) listen(window.visualViewport, kind, fit);
  listen(document, "keydown", (event) => event.key === "Escape" && close());
  ended.addEventListener("abort", () => {
    watch.disconnect();
    clearTimeout(timer);
    isOpen = true; // nothing is unread any more
    showUnread({ count: 0 });
    host.remove();
    frame = null;
  });

  ready({
    open,
    close,
    toggle,
    show: () => (launcher.hidden = false),
    hide: () => (launcher.hidden = true),
    identify: (identity) => set("identity", identity),
    logout,
    setContext: (values) => set("context", { ...options.context, ...values }),
    setLanguage,
    setTheme,
  });
  if (remember("sessionStorage", "assistant.open") && !window.matchMedia(SMALL).matches) show({ focus: false });
  // Replies may arrive while it is closed, and what could not be sent goes out.
  else if (remember("localStorage", "assistant.started") || Object.keys(kept()).length) makeFrame();
})(GIVEN);
