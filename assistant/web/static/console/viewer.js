// Photos at full size: larger and smaller, turned, one after the other, with or without what was read in them.

const viewer = document.querySelector("#viewer");
const ZOOMS = [1, 1.5, 2, 3, 4, 6, 8];
const LARGEST_FIT = 3; // a small photo is not blown up beyond this
const KEYS = {
  ArrowLeft: "previous",
  ArrowRight: "next",
  "-": "out",
  "+": "in",
  "=": "in",
  0: "fit",
  r: "rotate",
  b: "boxes",
};
let frames = [];
let at = 0;
let zoom = 0;
let turns = 0;

const part = (name) => viewer.querySelector(`.viewer-${name}`);

function show(index) {
  at = (index + frames.length) % frames.length;
  zoom = turns = 0;
  const frame = frames[at];
  const image = frame.querySelector("img").cloneNode();
  image.removeAttribute("loading");
  image.src = image.dataset.whole;
  part("photo").replaceChildren(image, ...[...frame.querySelectorAll("svg")].map((boxes) => boxes.cloneNode(true)));
  part("place").textContent = `${at + 1} of ${frames.length}`;
  part("download").href = image.dataset.whole;
  part("download").download = frame.dataset.name;
  place();
}

/** Fit the photo, as it is turned, into the stage; a zoomed one keeps the middle where it was. */
function place() {
  const [stage, photo] = [part("stage"), part("photo")];
  const image = photo.querySelector("img");
  const [width, height] = [Number(image.getAttribute("width")), Number(image.getAttribute("height"))];
  const lying = turns % 2 === 1;
  const [across, down] = lying ? [height, width] : [width, height];
  const fit = Math.min(stage.clientWidth / across, stage.clientHeight / down, LARGEST_FIT);
  const scale = fit * ZOOMS[zoom];
  const middle = [
    (stage.scrollLeft + stage.clientWidth / 2) / stage.scrollWidth,
    (stage.scrollTop + stage.clientHeight / 2) / stage.scrollHeight,
  ];
  // The element is as large as the turned photo; what is in it is turned about its own middle.
  Object.assign(part("room").style, { width: `${across * scale}px`, height: `${down * scale}px` });
  Object.assign(photo.style, {
    width: `${width * scale}px`,
    height: `${height * scale}px`,
    rotate: `${turns * 90}deg`,
  });
  stage.scrollTo(
    middle[0] * stage.scrollWidth - stage.clientWidth / 2,
    middle[1] * stage.scrollHeight - stage.clientHeight / 2,
  );
}

function zoomBy(step) {
  zoom = Math.max(0, Math.min(ZOOMS.length - 1, zoom + step));
  place();
}

/** Boxes around what was read are drawn in the viewer and on the page, or nowhere. */
function showBoxes(on) {
  document.body.classList.toggle("without-boxes", !on);
  viewer.querySelector('[data-do="boxes"]').setAttribute("aria-pressed", String(on));
}

const ACTIONS = {
  previous: () => show(at - 1),
  next: () => show(at + 1),
  in: () => zoomBy(1),
  out: () => zoomBy(-1),
  fit: () => zoomBy(-zoom),
  rotate: () => {
    turns = (turns + 1) % 4;
    place();
  },
  boxes: () => showBoxes(document.body.classList.contains("without-boxes")),
  close: () => viewer.close(),
};

function open(frame) {
  frames = [...document.querySelectorAll("[data-view]")];
  viewer.showModal();
  show(frames.indexOf(frame));
}

if (viewer) {
  document.addEventListener("click", (event) => {
    const frame = event.target.closest("[data-view]");
    if (frame && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      open(frame);
    }
  });
  viewer.addEventListener("click", ({ target }) => {
    const action = target.closest("[data-do]")?.dataset.do;
    if (action) ACTIONS[action]();
    else if (target === viewer || target === part("stage")) viewer.close();
  });
  viewer.addEventListener("keydown", (event) => {
    const action = KEYS[event.key];
    if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    ACTIONS[action]();
  });
  viewer.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    zoomBy(event.deltaY < 0 ? 1 : -1);
  });
  viewer.addEventListener("dblclick", ({ target }) => target.closest(".viewer-stage") && zoomBy(zoom ? -zoom : 2));
  part("stage").addEventListener("pointermove", (event) => {
    if (event.buttons === 1) part("stage").scrollBy(-event.movementX, -event.movementY);
  });
  window.addEventListener("resize", () => viewer.open && place());
}

// A photo whose evidence is opened is shown large beside it.
document.addEventListener(
  "toggle",
  ({ target }) => {
    const image = target.matches?.("details.read") && target.closest("[data-photo]").querySelector("img");
    if (image && target.open && image.src !== image.dataset.whole) image.src = image.dataset.whole;
  },
  true,
);
