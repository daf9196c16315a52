// Videos that the visitor picked. The browser plays them from its own memory; the server restores
// them one after the other.

import { restoreVideo } from "./api.js";
import { tooLarge } from "./pictures.js";

const ENDINGS = /\.(mp4|m4v|mov|mkv|webm|ts|mts|m2ts|avi|flv|ogv|wmv|mpg|mpeg)$/i;
const PATIENCE_MS = 20000;

export const isFilm = (file) => file.type.startsWith("video/") || ENDINGS.test(file.name);

/** One video; what is the same for pictures is called the same. */
export class Film {
  moving = true;
  results = new Map(); // model, or model and strength -> {image, blob, seconds, suffix}
  state = "waiting"; // waiting, working, done, failed, stopped
  sentence = "";
  image = null; // null too where this browser cannot play it
  opened = null;
  status = null;
  #leaving = null;
  #turn = Promise.resolve();

  constructor(file, limits) {
    this.file = file;
    this.limits = limits;
    this.name = file.name || "pasted video";
  }

  get stem() {
    return this.name.replace(/\.[^.]+$/, "") || "video";
  }

  get size() {
    if (this.image) return [this.image.videoWidth, this.image.videoHeight];
    const shown = [...this.results.values()].find((result) => result.image)?.image;
    return shown ? [shown.videoWidth, shown.videoHeight] : null;
  }

  get refusal() {
    if (this.limits.videos === 0) return `${this.name} is a video, and this server takes none; use: whet video`;
    return tooLarge(this, this.limits.max_video_bytes);
  }

  /** Whether it was found out that this browser cannot play the file. */
  get unplayable() {
    return this.opened !== null && !this.image;
  }

  async open() {
    if (this.opened === null) this.image = await player(this.file);
    this.opened = true;
  }

  /** Restore with `model` at full strength, once; `told` is called when its status changes. */
  restore(model, how) {
    return this.#make(model, { model, strength: 1 }, how);
  }

  /** One job after the other, for the server has few places. */
  #make(key, options, how) {
    const made = this.#turn.then(() => this.results.get(key) ?? this.#send(key, options, how));
    this.#turn = made.catch(() => {});
    return made;
  }

  async #send(key, options, { onWait, told }) {
    const opening = this.open();
    this.#leaving = new AbortController();
    const onStatus = (status) => {
      this.status = status;
      told(this);
    };
    try {
      const { blob, status } = await restoreVideo(this.file, options, { signal: this.#leaving.signal, onWait, onStatus });
      await opening;
      const result = { blob, suffix: status.suffix, fps: status.fps, notes: status.notes, image: await player(blob) };
      this.results.set(key, result);
      return result;
    } finally {
      this.status = this.#leaving = null;
      told(this);
    }
  }

  /** Give up what the server is doing for it. */
  stop() {
    this.#leaving?.abort();
  }

  get working() {
    return this.#leaving !== null;
  }

  async download(model, strength, how) {
    const key = strength === 1 ? model : `${model} ${strength}`;
    const { blob, suffix, notes } = await this.#make(key, { model, strength }, how);
    return Object.assign(new File([blob], `${this.stem}-whet${suffix}`, { type: blob.type }), { notes });
  }

  /** Stop its work, and let the browser forget what it shows. */
  close() {
    this.stop();
    for (const { image } of [this, ...this.results.values()]) if (image) URL.revokeObjectURL(image.src);
  }
}

/** Say where a video stands. */
export function progress({ state, share, frames, frames_expected: expected, fps, seconds_left: left }) {
  if (state === "uploading") return share < 1 ? `sending, ${Math.round(share * 100)}%` : "being opened …";
  if (state === "waiting") return "waiting for other videos …";
  if (state === "fetching") return "fetching the result …";
  const words = [`frame ${frames}${expected ? ` of ${expected}` : ""}`];
  if (fps) words.push(`${fps.toFixed(1)} frames / s`);
  if (left != null) words.push(`${span(left)} left`);
  return words.join(", ");
}

/** How much of the work is done, 0 to 1, or null. */
export function share({ state, share: sent, frames, frames_expected: expected }) {
  if (state === "uploading") return sent;
  return expected ? Math.min(1, frames / expected) : null;
}

const span = (seconds) => (seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.ceil(seconds / 60)} min`);

/** Return a <video> that can show its first frame, or null. */
async function player(blob) {
  const video = document.createElement("video");
  Object.assign(video, { muted: true, loop: true, playsInline: true, preload: "auto" });
  const ready = new Promise((done) => {
    video.onloadeddata = () => done(video.videoWidth > 0);
    video.onerror = () => done(false);
    setTimeout(done, PATIENCE_MS, false);
  });
  video.src = URL.createObjectURL(blob);
  if (await ready) return video;
  URL.revokeObjectURL(video.src);
  return null;
}
