// The support chat on a site's pages:
//
//   <script src="https://YOUR-SUPPORT-HOST/widget/loader.js" async></script>
//
// Its attributes and the methods of SupportAssistant are described at /widget/docs and in widget.d.ts.
//
// This script keeps what the page asks for, and once the page has everything of its own it fetches shell.js, which
// draws the launcher. So whoever sees a launcher also has what it opens, even if the support host is gone by then. The
// server fills in GIVEN: {shell, integrity}, the address of that script and its hash if the page insists on one.
((given) => {
  "use strict";
  const script = document.currentScript;
  const asked = window.SupportAssistant; // an array: calls from before this script, each [method, ...arguments]
  if (!script || (asked && !Array.isArray(asked))) return;

  const METHODS = [
    "open",
    "close",
    "toggle",
    "show",
    "hide",
    "identify",
    "logout",
    "setContext",
    "setLanguage",
    "setTheme",
  ];
  const EVENTS = ["ready", "open", "close", "message", "unread", "rated"];
  const FIRST_PAUSE = 5_000; // before the shell is asked for again
  const LAST_PAUSE = 60_000;

  const ended = new AbortController();
  const listeners = Object.fromEntries(EVENTS.map((event) => [event, new Set()]));
  const calls = []; // for the shell, when it comes
  let shell = null; // {[method]: function}
  let part = null; // the script element that brings it
  let hasFailed = false;
  let timer = null;
  let pause = FIRST_PAUSE;

  function call(method, ...args) {
    if (shell) return shell[method](...args);
    calls.push([method, ...args]);
    if (method === "open" || method === "toggle") fetchShell();
  }

  function on(event, listener) {
    if (!listeners[event]) throw new TypeError(`SupportAssistant: no event "${event}", only ${EVENTS.join(", ")}`);
    listeners[event].add(listener);
    if (event === "ready" && shell) listener({});
    return () => listeners[event].delete(listener);
  }

  function emit(event, details = {}) {
    for (const listener of listeners[event]) {
      try {
        listener(details);
      } catch (error) {
        reportError(error); // the page's mistake does not become ours
      }
    }
  }

  function destroy() {
    ended.abort();
    clearTimeout(timer);
    part?.remove();
    window.SupportAssistant = undefined;
  }

  function fetchShell() {
    if (part || ended.signal.aborted) return;
    clearTimeout(timer);
    part = document.createElement("script");
    // What it needs of us. It answers by calling `ready` with its methods.
    part.assistant = { attributes: script.dataset, page: new URL("./", script.src), emit, ended: ended.signal, ready };
    part.nonce = script.nonce;
    if (given.integrity) Object.assign(part, { integrity: given.integrity, crossOrigin: "anonymous" });
    part.onerror = failed;
    const address = new URL(given.shell, script.src);
    if (script.dataset.inbox && !given.integrity) address.searchParams.set("inbox", script.dataset.inbox);
    part.src = trusted(address.href);
    document.documentElement.append(part); // a page may have lost its head
  }

  function ready(methods) {
    shell = methods;
    hasFailed = false;
    for (const [method, ...args] of calls.splice(0)) shell[method](...args);
    emit("ready");
  }

  function failed() {
    part.remove();
    part = null;
    hasFailed = true;
    timer = setTimeout(fetchShell, pause);
    pause = Math.min(2 * pause, LAST_PAUSE);
  }

  /** Sites that use Trusted Types let scripts through by policies. */
  function trusted(address) {
    const policy = window.trustedTypes?.createPolicy("assistant-widget", { createScriptURL: (same) => same });
    return policy ? policy.createScriptURL(address) : address;
  }

  function whenIdle() {
    const idle = window.requestIdleCallback ?? setTimeout;
    idle(fetchShell);
  }

  const api = { on, destroy, push: (...all) => all.forEach(([method, ...args]) => void api[method](...args)) };
  for (const method of METHODS) api[method] = (...args) => void call(method, ...args);
  window.SupportAssistant = Object.freeze(api);
  if (asked) api.push(...asked);

  document.addEventListener(
    "click",
    (event) => {
      const opener = event.target instanceof Element && event.target.closest("[data-support-open]");
      if (!opener || hasFailed) return; // a link then leads where it leads
      event.preventDefault();
      api.open(opener.dataset.supportOpen);
    },
    { signal: ended.signal },
  );
  if (document.readyState === "complete") whenIdle();
  else addEventListener("load", whenIdle, { signal: ended.signal });
})(GIVEN);
