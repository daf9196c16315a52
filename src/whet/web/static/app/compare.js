// Two pictures of equal size, one over the other: a boundary to move, zoom and pan, strength.
// The layers are anything an element can show: images, canvases.

const WHOLE = "fit";

export class Compare {
  #scale = 1; // CSS pixels per picture pixel
  #x = 0;
  #y = 0;
  #mode = WHOLE;
  #split = 50;
  #size = [0, 0];
  #held = new Map(); // pointer id -> [x, y]
  #pinch = 0;
  #movesSplit = false;
  moved = false; // whether the visitor has chosen what is seen

  constructor(place, { before = "before", after = "after" } = {}) {
    place.classList.add("compare");
    place.innerHTML = `
      <div class="view" tabindex="0" role="group" aria-roledescription="picture comparison">
        <div class="layer before"></div>
        <div class="layer after"></div>
        <span class="tag before"></span><span class="tag after"></span>
        <div class="handle" role="slider" tabindex="0" aria-valuemin="0" aria-valuemax="100"
          aria-label="Boundary between ${before} and ${after}"></div>
        <p class="message" hidden></p>
        <div class="wait" hidden></div>
      </div>
      <div class="tools">
        <div class="group" role="group" aria-label="Zoom">
          <button type="button" data-do="out" aria-label="Zoom out">−</button>
          <button type="button" data-do="fit" aria-pressed="true">Fit</button>
          <button type="button" data-do="one" aria-pressed="false">100%</button>
          <button type="button" data-do="in" aria-label="Zoom in">+</button>
        </div>
        <button type="button" class="hold" title="Hold to see what it was before (key: B)">Hold<span class="more">: ${before}</span></button>
        <output aria-live="off"></output>
      </div>`;
    this.view = place.querySelector(".view");
    this.tools = place.querySelector(".tools");
    this.handle = place.querySelector(".handle");
    this.before = place.querySelector(".layer.before");
    this.after = place.querySelector(".layer.after");
    place.querySelector(".tag.before").textContent = before;
    place.querySelector(".tag.after").textContent = after;
    this.view.setAttribute(
      "aria-label",
      `${before} and ${after}. Plus and minus zoom, 0 fits, 1 shows 100 percent, arrows pan, hold B for ${before} alone`,
    );
    this.#listen();
    this.#listenToHolding(place.querySelector(".hold"));
    this.split = 50;
  }

  /**
   * Show two elements, both `width` x `height` picture pixels; the zoom starts anew if that changes.
   * Either may be null. `over` hides `after`, which stays: a video that leaves the page would stop.
   */
  show(before, after, width, height, over = null) {
    for (const element of [before, after, over]) {
      if (!element) continue;
      element.style.width = `${width}px`;
      element.style.height = `${height}px`;
      if (element instanceof HTMLImageElement) element.draggable = false;
    }
    fill(this.before, [before]);
    fill(this.after, [after, over]);
    this.view.classList.toggle("lone", !(before && after));
    const [oldWidth, oldHeight] = this.#size;
    this.#size = [width, height];
    if (width !== oldWidth || height !== oldHeight) {
      this.moved = false;
      this.fit();
    } else this.#place();
  }

  /** Share of the restored picture, 0 to 1, laid over the untouched one. */
  set strength(share) {
    this.after.style.opacity = share;
    // At full strength nothing may shine through transparent parts.
    this.view.classList.toggle("full", share === 1 && this.after.childElementCount > 0);
  }

  /** A sentence instead of pictures, or "". */
  set message(sentence) {
    const place = this.view.querySelector(".message");
    place.textContent = sentence;
    place.hidden = !sentence;
  }

  set waiting(yes) {
    this.view.querySelector(".wait").hidden = !yes;
    this.view.setAttribute("aria-busy", yes);
  }

  get split() {
    return this.#split;
  }

  set split(percent) {
    this.#split = Math.min(100, Math.max(0, percent));
    this.view.style.setProperty("--split", this.#split);
    this.handle.setAttribute("aria-valuenow", Math.round(this.#split));
    this.handle.setAttribute("aria-valuetext", `${Math.round(this.#split)} percent before`);
  }

  fit() {
    this.#mode = WHOLE;
    this.#place();
  }

  /** One picture pixel on one pixel of the screen. */
  fullSize() {
    this.#zoomTo(1 / devicePixelRatio, this.view.clientWidth / 2, this.view.clientHeight / 2);
  }

  /** Show a place of the picture, in its pixels, in the middle at 100%. */
  lookAt(x, y) {
    this.#scale = 1 / devicePixelRatio;
    this.#x = this.view.clientWidth / 2 - x * this.#scale;
    this.#y = this.view.clientHeight / 2 - y * this.#scale;
    this.#mode = "free";
    this.#place();
  }

  /** Whether 100% shows less than the whole picture. */
  get crops() {
    const [width, height] = this.#size.map((side) => side / devicePixelRatio);
    return width > this.view.clientWidth || height > this.view.clientHeight;
  }

  /** How many pixels of the picture the view shows at 100%, across and down. */
  get window() {
    return [this.view.clientWidth, this.view.clientHeight].map((side) => Math.round(side * devicePixelRatio));
  }

  /** Show only what was before, or both again. */
  set peeking(yes) {
    this.view.classList.toggle("peeking", yes);
  }

  #fitting() {
    const [width, height] = this.#size;
    if (!width) return 1;
    const room = Math.min(this.view.clientWidth / width, this.view.clientHeight / height);
    return Math.min(room, 4 / devicePixelRatio);
  }

  #zoomTo(scale, x, y) {
    const least = Math.min(this.#fitting(), 1 / devicePixelRatio);
    const next = Math.min(16, Math.max(least, scale));
    this.#x = x - ((x - this.#x) * next) / this.#scale;
    this.#y = y - ((y - this.#y) * next) / this.#scale;
    this.#scale = next;
    this.#mode = "free";
    this.#place();
  }

  #place() {
    const [width, height] = this.#size;
    const [wide, high] = [this.view.clientWidth, this.view.clientHeight];
    if (this.#mode === WHOLE) this.#scale = this.#fitting();
    const inside = (offset, room, size) =>
      size <= room ? (room - size) / 2 : Math.min(0, Math.max(room - size, offset));
    this.#x = inside(this.#x, wide, width * this.#scale);
    this.#y = inside(this.#y, high, height * this.#scale);
    const whole = (value) => Math.round(value * devicePixelRatio) / devicePixelRatio;
    const transform = `translate(${whole(this.#x)}px, ${whole(this.#y)}px) scale(${this.#scale})`;
    for (const layer of [this.before, this.after])
      for (const element of layer.children) element.style.transform = transform;
    const screen = this.#scale * devicePixelRatio;
    const roomy = width * this.#scale > wide + 1 || height * this.#scale > high + 1;
    this.view.classList.toggle("roomy", roomy);
    this.view.classList.toggle("pixels", screen >= 2);
    this.tools.querySelector("output").textContent = width ? `${Math.round(screen * 100)}%` : "";
    this.#press("fit", this.#mode === WHOLE);
    this.#press("one", this.#mode !== WHOLE && Math.abs(screen - 1) < 0.005);
  }

  #press(name, yes) {
    this.tools.querySelector(`[data-do=${name}]`).setAttribute("aria-pressed", yes);
  }

  #listen() {
    const view = this.view;
    new ResizeObserver(() => this.#place()).observe(view);
    this.tools.addEventListener("click", (event) => this.#do(event.target.dataset.do));
    view.addEventListener("keydown", (event) => this.#key(event));
    view.addEventListener("dblclick", (event) => {
      if (event.target === this.handle) return;
      this.moved = true;
      if (this.#mode === WHOLE) this.#zoomTo(1 / devicePixelRatio, ...this.#point(event));
      else this.fit();
    });
    view.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        this.moved = true;
        this.#zoomTo(this.#scale * Math.exp(-event.deltaY / 400), ...this.#point(event));
      },
      { passive: false },
    );
    view.addEventListener("pointerdown", (event) => this.#down(event));
    view.addEventListener("pointermove", (event) => this.#move(event));
    for (const kind of ["pointerup", "pointercancel"])
      view.addEventListener(kind, (event) => {
        this.#held.delete(event.pointerId);
        this.#pinch = 0;
        if (!this.#held.size) view.classList.remove("held");
      });
  }

  #listenToHolding(button) {
    const hold = (yes) => {
      this.peeking = yes;
      button.setAttribute("aria-pressed", yes);
    };
    button.addEventListener("pointerdown", (event) => {
      button.setPointerCapture(event.pointerId);
      hold(true);
    });
    for (const kind of ["pointerup", "pointercancel", "lostpointercapture", "blur"])
      button.addEventListener(kind, () => hold(false));
    // A long press opens a menu on phones.
    button.addEventListener("contextmenu", (event) => event.preventDefault());
    const ours = (event) => (event.target === button ? [" ", "Enter", "b", "B"] : ["b", "B"]).includes(event.key);
    const typing = (event) => /^(input|select|textarea)$/i.test(event.target.tagName) && event.target.type !== "range";
    addEventListener("keydown", (event) => {
      if (!ours(event) || event.ctrlKey || event.metaKey || event.altKey || typing(event)) return;
      event.preventDefault();
      hold(true);
    });
    addEventListener("keyup", (event) => ours(event) && hold(false));
    addEventListener("blur", () => hold(false));
  }

  #do(what) {
    const middle = [this.view.clientWidth / 2, this.view.clientHeight / 2];
    this.moved ||= Boolean(what);
    if (what === "fit") this.fit();
    else if (what === "one") this.fullSize();
    else if (what === "in") this.#zoomTo(this.#scale * 1.5, ...middle);
    else if (what === "out") this.#zoomTo(this.#scale / 1.5, ...middle);
  }

  #key(event) {
    const step = event.shiftKey ? 10 : 2;
    const along = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const named = { "+": "in", "=": "in", "-": "out", 0: "fit", 1: "one" };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (named[event.key]) this.#do(named[event.key]);
    else if (event.target === this.handle) {
      const moves = { ArrowLeft: -step, ArrowRight: step, ArrowDown: -step, ArrowUp: step };
      if (event.key in moves) this.split += moves[event.key];
      else if (event.key === "Home") this.split = 0;
      else if (event.key === "End") this.split = 100;
      else return;
    } else if (along[event.key] && this.view.classList.contains("roomy")) {
      this.moved = true;
      this.#x -= along[event.key][0] * 40;
      this.#y -= along[event.key][1] * 40;
      this.#mode = "free";
      this.#place();
    } else return;
    event.preventDefault();
  }

  #point(event) {
    const box = this.view.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  #down(event) {
    // Captured pointers would take a button's click away from it.
    if (event.button || event.target.closest("button")) return;
    const point = this.#point(event);
    this.#held.set(event.pointerId, point);
    this.view.setPointerCapture(event.pointerId);
    this.#movesSplit = event.target === this.handle || !this.view.classList.contains("roomy");
    if (this.#movesSplit) this.split = (point[0] / this.view.clientWidth) * 100;
    else this.view.classList.add("held");
  }

  #move(event) {
    const before = this.#held.get(event.pointerId);
    if (!before) return;
    const point = this.#point(event);
    this.#held.set(event.pointerId, point);
    if (this.#held.size === 2) {
      this.moved = true;
      const [[ax, ay], [bx, by]] = [...this.#held.values()];
      const apart = Math.hypot(ax - bx, ay - by);
      if (this.#pinch) this.#zoomTo((this.#scale * apart) / this.#pinch, (ax + bx) / 2, (ay + by) / 2);
      this.#pinch = apart;
    } else if (this.#movesSplit) {
      this.split = (point[0] / this.view.clientWidth) * 100;
    } else {
      this.moved = true;
      this.#x += point[0] - before[0];
      this.#y += point[1] - before[1];
      this.#mode = "free";
      this.#place();
    }
  }
}

/** Let a layer hold just these elements, without moving those that are there. */
function fill(layer, elements) {
  const wanted = elements.filter(Boolean);
  for (const child of [...layer.children]) if (!wanted.includes(child)) child.remove();
  for (const element of wanted) if (element.parentElement !== layer) layer.append(element);
}
