// Two videos that play as one: the first leads and has the sound, the second follows.

import { make } from "./make.js";

const FAR_S = 0.2; // farther apart than this, the follower jumps
const SAME_S = 0.01; // both show the same frame
const STEP_S = 1;

export class Player {
  #leader = null;
  #follower = null;
  #times = new Map(); // video -> time of the frame that it shows
  #onFrame;

  /** The bar stands before `tools`; `onFrame` is called when both show the same frame. */
  constructor(tools, onFrame) {
    this.#onFrame = onFrame;
    this.bar = make("div", [], { className: "player", hidden: true });
    this.bar.innerHTML = `
      <button type="button" class="play" aria-label="Play"><svg viewBox="0 0 20 20" aria-hidden="true"><path class="go" d="M6 3.5v13l11-6.5z"/><path class="halt" d="M5 3.5h3.5v13H5zm6.5 0H15v13h-3.5z"/></svg></button>
      <input type="range" min="0" step="0.01" value="0" aria-label="Position in the video">
      <output aria-live="off"></output>
      <button type="button" class="sound" aria-pressed="false">Sound</button>`;
    [this.button, this.position, this.clock, this.sound] = this.bar.children;
    tools.before(this.bar);
    this.button.addEventListener("click", () => this.toggle());
    this.position.addEventListener("input", () => this.seek(Number(this.position.value)));
    this.sound.addEventListener("click", () => {
      this.#leader.muted = !this.#leader.muted;
      this.sound.setAttribute("aria-pressed", !this.#leader.muted);
    });
  }

  /** Show the controls of two videos; the second may be null. */
  show(leader, follower) {
    if (leader === this.#leader && follower === this.#follower) return;
    const time = leader === this.#leader ? leader.currentTime : 0;
    this.hide();
    [this.#leader, this.#follower] = [leader, follower];
    this.bar.hidden = false;
    this.position.max = leader.duration;
    for (const video of this.#both) this.#watch(video);
    this.seek(time);
    this.#tick();
  }

  hide() {
    for (const video of this.#both) video.pause();
    this.#leader = this.#follower = null;
    this.#times.clear();
    this.bar.hidden = true;
    this.#mark();
  }

  get #both() {
    return [this.#leader, this.#follower].filter(Boolean);
  }

  toggle() {
    if (!this.#leader) return;
    if (!this.#leader.paused) for (const video of this.#both) video.pause();
    else {
      for (const video of this.#both) video.play().catch(() => this.#mark());
      requestAnimationFrame(() => this.#tick());
    }
    this.#mark();
  }

  seek(seconds) {
    for (const video of this.#both) video.currentTime = Math.min(seconds, video.duration || seconds);
    this.#tell();
  }

  /** Move by seconds; for the keyboard. */
  step(direction) {
    if (this.#leader) this.seek(Math.max(0, this.#leader.currentTime + direction * STEP_S));
  }

  /** Keep the follower where the leader is. */
  #tick() {
    const [leader, follower] = [this.#leader, this.#follower];
    if (!leader) return;
    this.#tell();
    if (follower && !leader.paused) {
      const apart = follower.currentTime - leader.currentTime;
      if (Math.abs(apart) > FAR_S && !follower.seeking) follower.currentTime = leader.currentTime;
      follower.playbackRate = Math.min(1.2, Math.max(0.8, 1 - 2 * apart));
    }
    if (leader.paused) {
      if (follower && follower.currentTime !== leader.currentTime) follower.currentTime = leader.currentTime;
      this.#mark();
    } else requestAnimationFrame(() => this.#tick());
  }

  #watch(video) {
    const shown = (_, frame) => {
      if (!this.#both.includes(video)) return;
      this.#times.set(video, frame.mediaTime);
      const [first, second = first] = this.#both.map((each) => this.#times.get(each));
      if (Math.abs(first - second) < SAME_S) this.#onFrame();
      video.requestVideoFrameCallback(shown);
    };
    if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(shown);
    else video.ontimeupdate = video.onseeked = () => this.#onFrame();
  }

  #tell() {
    const { currentTime, duration } = this.#leader ?? { currentTime: 0, duration: 0 };
    this.position.value = currentTime;
    this.clock.textContent = `${clock(currentTime)} / ${clock(duration)}`;
    this.position.setAttribute("aria-valuetext", `${clock(currentTime)} of ${clock(duration)}`);
  }

  #mark() {
    const playing = Boolean(this.#leader && !this.#leader.paused);
    this.button.setAttribute("aria-label", playing ? "Pause" : "Play");
    this.button.classList.toggle("playing", playing);
    this.sound.setAttribute("aria-pressed", Boolean(this.#leader && !this.#leader.muted));
  }
}

const clock = (seconds) =>
  `${Math.floor((seconds || 0) / 60)}:${String(Math.floor((seconds || 0) % 60)).padStart(2, "0")}`;
