// Tells a customer, before a photo is sent, that it will be hard to read. All on the device; it advises and never decides.

const SIDE = 512; // pixels of the longer side at which photos are judged
const SMALLEST = 320; // pixels of the longer side that a label needs to be read

// Grey levels. Sharpness and overexposure are judged as the server judges them (assistant/media/quality.py). Measured on 98
// photos (91 real: parcels, groceries, receipts, signs; 7 drawn) and 34 screenshots, as they are and degraded: false alarms 1 of 98 and
// none of 34. Noticed: blur of 0.4 % of the longer side or more 98 of 98, shake of 1.5 % 78 and of 3 % 98 of 98, an eighth of
// the light or less 98 of 98; reflections with a radius of 10 and 20 % of the shorter side on things 111 of 136, on white
// paper 6 of 60.
const DARK = 120; // not even the brightest spots are brighter
const BRIGHT = { mean: 225, darkest: 180 };
const BLURRED = 0.1;
const PLAIN = { share: 0.9, edge: 90, edges: 20 };

const WHITE = 250; // what a reflection burns out
// A burnt-out spot: its share of the photo; how far around it is looked at, in its own size; how steeply at most, and by how
// many levels at least, it fades there.
const REFLECTION = { least: 0.012, most: 0.6, reach: 0.4, steepest: 24, fall: 60 };

/**
 * What is wrong with a photo, as a code of the catalogue: photo_small, photo_dark, photo_bright, photo_blurred or
 * photo_glare; null if nothing is, or the browser cannot show it.
 * @param blob an image file
 */
export async function adviceOn(blob) {
  try {
    const image = await createImageBitmap(blob);
    const scale = Math.min(1, SIDE / Math.max(image.width, image.height));
    const [width, height] = [image.width, image.height].map((side) => Math.max(1, Math.round(side * scale)));
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.fillStyle = "#fff";
    context.fillRect(0, 0, width, height);
    context.imageSmoothingQuality = "high";
    context.drawImage(image, 0, 0, width, height);
    return judge(context.getImageData(0, 0, width, height), Math.max(image.width, image.height));
  } catch {
    return null; // damaged, or of a kind that this browser does not know: the server will say
  }
}

/**
 * The code for an image of at most SIDE pixels, else null.
 * @param image {data, width, height} as in ImageData
 * @param longer the longer side of the whole photo, in pixels
 */
export function judge({ data, width, height }, longer) {
  if (longer < SMALLEST) return "photo_small";
  const grey = greyOf(data);
  const counts = countsOf(grey);
  const [darkest, low, high, brightest] = [0.001, 0.005, 0.98, 0.995].map((share) => percentile(counts, share));
  if (brightest < DARK) return "photo_dark";
  if (isWritingOnPlainGround(grey, counts, width)) return null;
  const mean = grey.reduce((sum, level) => sum + level, 0) / grey.length;
  if (mean > BRIGHT.mean && darkest > BRIGHT.darkest) return "photo_bright";
  if (sharpness(grey, width, height) < BLURRED * (high - low)) return "photo_blurred";
  return reflections(data, grey, width, height) ? "photo_glare" : null;
}

function greyOf(data) {
  const grey = new Uint8ClampedArray(data.length / 4);
  for (let at = 0; at < grey.length; at += 1) {
    grey[at] = 0.299 * data[4 * at] + 0.587 * data[4 * at + 1] + 0.114 * data[4 * at + 2];
  }
  return grey;
}

function countsOf(levels, most = 255) {
  const counts = new Uint32Array(most + 1);
  for (const level of levels) counts[Math.min(most, level)] += 1;
  return counts;
}

/** The level that this share of the counted ones does not exceed. */
function percentile(counts, share) {
  const total = counts.reduce((sum, count) => sum + count, 0);
  let below = 0;
  const found = counts.findIndex((count) => {
    below += count;
    return below >= share * total;
  });
  return Math.max(0, found);
}

/** A scan or screenshot: light and lenses leave no ground of one level and no edge as hard. */
function isWritingOnPlainGround(grey, counts, width) {
  const ground = counts.indexOf(Math.max(...counts));
  const near = counts.slice(Math.max(0, ground - 2), ground + 3).reduce((sum, count) => sum + count, 0);
  if (near < PLAIN.share * grey.length) return false;
  let edges = 0;
  for (let at = 1; at < grey.length; at += 1) {
    if (at % width && Math.abs(grey[at] - grey[at - 1]) >= PLAIN.edge) edges += 1;
  }
  return edges >= PLAIN.edges;
}

/** Strength of the sharpest edges in the direction that has the weakest ones: camera shake wipes out one direction. */
function sharpness(grey, width, height) {
  if (Math.min(width, height) < 3) return 255;
  const strengths = [1, width, width + 1, width - 1].map((step) => {
    const counts = new Uint32Array(511);
    for (let y = 1; y < height - 1; y += 1) {
      for (let x = 1, at = y * width + 1; x < width - 1; x += 1, at += 1) {
        counts[Math.abs(grey[at - step] + grey[at + step] - 2 * grey[at])] += 1;
      }
    }
    const [noise, edge] = [percentile(counts, 0.5), percentile(counts, 0.985)];
    return Math.sqrt(Math.max(0, edge ** 2 - (3.6 * noise) ** 2)); // Gaussian noise alone would give 3.6 times its median
  });
  return Math.min(...strengths);
}

/** Whether a burnt-out spot fades softly into its surroundings, as lamps and flashes do on gloss, and white paper does not. */
function reflections(data, grey, width, height) {
  const label = new Int32Array(grey.length); // 0: not looked at
  for (let at = 0; at < grey.length; at += 1) {
    const isNew = label[at] === 0 && isWhite(data, at);
    if (!isNew) continue;
    const spot = spread([at], width, height, label, at + 1, (next) => isWhite(data, next));
    const share = spot.length / grey.length;
    if (share >= REFLECTION.least && share <= REFLECTION.most && fadesSoftly(spot, grey, width, height)) return true;
  }
  return false;
}

function isWhite(data, at) {
  return data[4 * at] >= WHITE && data[4 * at + 1] >= WHITE && data[4 * at + 2] >= WHITE;
}

/** The pixels that hang together with `start` and satisfy `belongs`; marked in `label`. */
function spread(start, width, height, label, mark, belongs) {
  const found = [...start];
  for (const at of found) label[at] = mark;
  for (let next = 0; next < found.length; next += 1) {
    for (const at of neighbours(found[next], width, height)) {
      if (label[at] === mark || !belongs(at)) continue;
      label[at] = mark;
      found.push(at);
    }
  }
  return found;
}

/** Mean grey level by distance from the spot. */
function rings(spot, grey, width, height) {
  const seen = new Uint8Array(grey.length);
  for (const at of spot) seen[at] = 1;
  let edge = spot;
  const means = [];
  for (let distance = 0; distance < 8 + REFLECTION.reach * Math.sqrt(spot.length); distance += 1) {
    const ring = [];
    let sum = 0;
    for (const from of edge) {
      for (const at of neighbours(from, width, height)) {
        if (seen[at]) continue;
        seen[at] = 1;
        sum += grey[at];
        ring.push(at);
      }
    }
    if (!ring.length) break;
    means.push(sum / ring.length);
    edge = ring;
  }
  return means;
}

function fadesSoftly(spot, grey, width, height) {
  const means = rings(spot, grey, width, height);
  const steps = means.slice(1).map((mean, at) => means[at] - mean);
  return Math.max(...steps) <= REFLECTION.steepest && means[0] - means.at(-1) >= REFLECTION.fall;
}

function neighbours(at, width, height) {
  const x = at % width;
  const y = (at - x) / width;
  const found = [];
  if (x > 0) found.push(at - 1);
  if (x < width - 1) found.push(at + 1);
  if (y > 0) found.push(at - width);
  if (y < height - 1) found.push(at + width);
  return found;
}
