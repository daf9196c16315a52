// Pictures that the visitor picked: each file with what can be shown of it and what came back.

import { Problem, restore, restoreSlowly } from "./api.js";
import { heavy } from "./choice.js";

const ENDINGS = { "image/jpeg": "jpg", "image/tiff": "tif", "image/x-portable-pixmap": "ppm", "image/heif": "heic" };
const SHOWN = /^image\/(jpeg|png|webp|gif|bmp|avif)$/;

/** One picture. `results` maps a model's name to {image, blob, notes}. */
export class Picture {
  moving = false;
  results = new Map();
  state = "waiting"; // waiting, working, done, failed
  sentence = "";
  reference = null;
  image = null;
  status = null; // of a heavy network at work
  soFar = null; // what it has finished
  #leaving = null;

  constructor(file, limits) {
    this.file = file;
    this.limits = limits;
    this.name = file.name || "pasted picture";
  }

  get stem() {
    return this.name.replace(/\.[^.]+$/, "") || "picture";
  }

  /** [width, height] in pixels, or null. */
  get size() {
    return this.image && [this.image.naturalWidth, this.image.naturalHeight];
  }

  /** Why it is not worth sending, or "". */
  get refusal() {
    return tooLarge(this, this.limits.max_bytes);
  }

  /** Load what the browser can show of the untouched picture. */
  async open(how) {
    if (this.image) return;
    this.image = await shown(this.file).catch(async () => {
      // TIFF, HEIC and the like: the server decodes them.
      const { blob } = await restore(this.file, { strength: 0, format: "png" }, how);
      return shown(blob);
    });
  }

  /** Restore at full strength with `model`, once; weaker ones are mixed on the screen. */
  async restore(model, how) {
    if (this.results.has(model)) return this.results.get(model);
    if (heavy.has(model)) return this.#slowly(model, how);
    const { blob, notes } = await restore(this.file, { model }, how);
    const image = SHOWN.test(blob.type) ? await shown(blob).catch(() => null) : null;
    const result = { blob, notes, image };
    if (!image)
      result.image = await shown((await restore(this.file, { model, format: "png" }, how)).blob);
    this.results.set(model, result);
    await this.open(how);
    return result;
  }

  /** Restore with a heavy network, which takes minutes and shows what it has. */
  async #slowly(model, { onWait, told }, strength = 1) {
    await this.open({ onWait });
    this.#leaving = new AbortController();
    const onStatus = (status) => {
      this.status = status;
      told(this);
    };
    const onLook = async (blob) => {
      this.soFar = await shown(blob).catch(() => null);
      told(this);
    };
    try {
      const how = { signal: this.#leaving.signal, onWait, onStatus, onLook };
      const { blob, notes } = await restoreSlowly(this.file, { model, strength }, how);
      if (strength !== 1) return { blob, notes };
      const image = SHOWN.test(blob.type) ? blob : (await restore(blob, { strength: 0, format: "png" }, { onWait })).blob;
      const result = { blob, notes, image: await shown(image) };
      this.results.set(model, result);
      return result;
    } finally {
      this.status = this.soFar = this.#leaving = null;
      told(this);
    }
  }

  /** Give up what a heavy network is doing for it. */
  stop() {
    this.#leaving?.abort();
  }

  get working() {
    return this.#leaving !== null;
  }

  /** The file to keep, as the command line would write it. */
  async download(model, strength, how) {
    const ready = strength === 1 && this.results.get(model);
    const again = () => (heavy.has(model) ? this.#slowly(model, how, strength) : restore(this.file, { model, strength }, how));
    const { blob, notes } = ready || (await again());
    const ending = ENDINGS[blob.type] ?? blob.type.split("/")[1];
    const file = new File([blob], `${this.stem}-whet.${ending}`, { type: blob.type });
    return Object.assign(file, { notes });
  }

  /** Let the browser forget what it shows. */
  close() {
    this.stop();
    for (const { image } of [this, ...this.results.values()]) if (image) URL.revokeObjectURL(image.src);
  }
}

/** Say that a file is empty or has more than `most` bytes, or "". */
export function tooLarge({ name, file }, most = Infinity) {
  const megabytes = (bytes) => (bytes / 1e6).toFixed(1);
  if (file.size > most) return `${name} has ${megabytes(file.size)} MB, the limit is ${megabytes(most)}`;
  return file.size ? "" : `${name} is empty`;
}

async function shown(blob) {
  const image = new Image();
  image.src = URL.createObjectURL(blob);
  image.alt = "";
  try {
    await image.decode();
  } catch {
    URL.revokeObjectURL(image.src);
    throw new Problem(415, "the browser cannot show it");
  }
  return image;
}

/** Draw a small copy of an image or of a video's frame. */
export function thumbnail(image, [wide, high]) {
  const canvas = document.createElement("canvas");
  canvas.width = 184;
  canvas.height = 140;
  const scale = Math.max(184 / wide, 140 / high);
  const [width, height] = [wide * scale, high * scale];
  canvas.getContext("2d").drawImage(image, (184 - width) / 2, (140 - height) / 2, width, height);
  return canvas;
}

/** Hand a file to the browser's downloads. */
export function save(file) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = file.name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}
