// What the visitor picked: each file with what can be shown of it and what came back.

import { Problem, restore } from "./api.js";

const SHOWN = /^image\/(jpeg|png|webp|gif|bmp|avif)$/;
let limits = { max_bytes: Infinity };

export const limit = (found) => (limits = found);

/** One picture. `results` maps a model's name to {image, blob, type, seconds}. */
export class Picture {
  results = new Map();
  state = "waiting"; // waiting, working, done, failed
  sentence = "";
  reference = null;
  image = null;

  constructor(file) {
    this.file = file;
    this.name = file.name || "pasted picture";
  }

  get stem() {
    return this.name.replace(/\.[^.]+$/, "") || "picture";
  }

  /** Why it is not worth sending, or "". */
  get refusal() {
    const megabytes = (bytes) => (bytes / 1e6).toFixed(1);
    if (this.file.type.startsWith("video/"))
      return `${this.name} is a video; sharpen it with: whet video "${this.name}"`;
    if (this.file.size > limits.max_bytes)
      return `${this.name} has ${megabytes(this.file.size)} MB, the limit is ${megabytes(limits.max_bytes)}`;
    return this.file.size ? "" : `${this.name} is empty`;
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
    const { blob, seconds } = await restore(this.file, { model }, how);
    const image = SHOWN.test(blob.type) ? await shown(blob).catch(() => null) : null;
    const result = { blob, seconds, image };
    if (!image)
      result.image = await shown((await restore(this.file, { model, format: "png" }, how)).blob);
    this.results.set(model, result);
    await this.open(how);
    return result;
  }

  /** The file to keep, as the command line would write it. */
  async download(model, strength, how) {
    const ready = this.results.get(model);
    if (strength === 1 && ready) return ready.blob;
    return (await restore(this.file, { model, strength }, how)).blob;
  }
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

/** Draw a small copy of an image. */
export function thumbnail(image) {
  const canvas = document.createElement("canvas");
  canvas.width = 184;
  canvas.height = 140;
  const scale = Math.max(184 / image.naturalWidth, 140 / image.naturalHeight);
  const [width, height] = [image.naturalWidth * scale, image.naturalHeight * scale];
  canvas.getContext("2d").drawImage(image, (184 - width) / 2, (140 - height) / 2, width, height);
  return canvas;
}

/** Hand a blob to the browser's downloads. */
export function save(blob, stem) {
  const endings = { "image/jpeg": "jpg", "image/tiff": "tif", "image/x-portable-pixmap": "ppm", "image/heif": "heic" };
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `${stem}-whet.${endings[blob.type] ?? blob.type.split("/")[1]}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}
