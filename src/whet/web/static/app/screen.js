// Whether this window shows pictures as they are: large enough, at 100%, pixel for pixel.

import { make } from "./make.js";

// Borders and a scroll bar make a window a little wider than its page; zoom steps are 10% or more.
const ZOOM_TOLERANCE = 0.06;

/** The browser's zoom: how much wider the window is than what it says of its inside. */
function browserZoom() {
  // Touch screens zoom by pinching, and call their bars what they like.
  if (matchMedia("(pointer: coarse)").matches || !outerWidth) return 1;
  return outerWidth / innerWidth;
}

/** Return [{ok, text}] for a display {width_px, height_px}. */
export function checks({ width_px, height_px }) {
  const zoom = browserZoom() * (visualViewport?.scale ?? 1);
  const zoomed = Math.abs(zoom - 1) > ZOOM_TOLERANCE;
  const large = innerWidth >= width_px && innerHeight >= height_px;
  return [
    {
      ok: !zoomed,
      text: zoomed
        ? `The page is zoomed to about ${Math.round(zoom * 100)}%. Press Ctrl (or ⌘) and 0, zoom out with two fingers, close side bars.`
        : "Zoom: 100%",
    },
    {
      ok: large,
      text: large
        ? `Window: ${innerWidth} × ${innerHeight}, large enough`
        : `The window shows ${innerWidth} × ${innerHeight}; it takes ${width_px} × ${height_px}. Enlarge it, or use a larger screen.`,
    },
  ];
}

export const suits = (display) => checks(display).every(({ ok }) => ok);

/** Show the checks as items of a list. */
export function listChecks(list, display) {
  const items = checks(display).map(({ ok, text }) => make("li", text, { className: ok ? "ok" : "wrong" }));
  // Unchanged lists stay, so that they are not read aloud again.
  if (list.textContent !== items.map((item) => item.textContent).join("")) list.replaceChildren(...items);
}

/** Call `changed` when the window or its zoom changes. */
export function watch(changed) {
  addEventListener("resize", changed);
  visualViewport?.addEventListener("resize", changed);
}

/**
 * Size an image so that each of its pixels covers whole pixels of the screen: at a device pixel
 * ratio of 1, 2 or 3 one CSS pixel; in between (1.25, 2.6) the whole number below, since a
 * resampled picture is a blurred one.
 */
export function sizeExactly(image) {
  const ratio = devicePixelRatio || 1;
  const whole = Math.max(1, Math.floor(ratio + 0.01));
  image.style.width = `${(image.naturalWidth * whole) / ratio}px`;
  image.style.height = `${(image.naturalHeight * whole) / ratio}px`;
}
