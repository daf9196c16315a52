// Which resolution a device manages: the largest whose predicted time fits the frame rate.

export const LINES = [144, 176, 240, 288, 360, 480, 576, 720, 1080]; // multiples of 8

const WANTED_MS = 40; // 25 frames per second
const MARGIN = 0.8; // going up must promise some room, or it would go up and down for ever
const FRAMES = 8; // measured before each decision

export class Pace {
  #times = [];
  #fixed = null;

  constructor(cameraLines) {
    this.choices = LINES.filter((lines) => lines <= Math.max(cameraLines, LINES[0]));
    this.lines = this.choices.includes(240) ? 240 : this.choices[0];
  }

  /** Keep to one resolution, or to null: choose. */
  fix(lines) {
    this.#fixed = lines;
    this.#times = [];
    if (lines) this.lines = lines;
  }

  /** Take note of a frame's time; changes `lines` now and then. */
  note(milliseconds) {
    this.#times.push(milliseconds);
    if (this.#fixed || this.#times.length < FRAMES) return;
    const middle = this.#times.sort((a, b) => a - b)[FRAMES >> 1];
    this.#times = [];
    const predicted = (lines) => middle * (lines / this.lines) ** 2;
    const fitting = this.choices.filter(
      (lines) => predicted(lines) <= WANTED_MS * (lines > this.lines ? MARGIN : 1),
    );
    this.lines = fitting.at(-1) ?? this.choices[0];
  }
}
