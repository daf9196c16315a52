// Where a restoration changed most: there the page opens.

const CELL_PX = 32;
const MOST_PX = 12e6; // looked at; of larger pictures every second, third ... row
const STRIP = 256; // rows drawn at once, which bounds the memory

/**
 * Return the middle [x, y] of the changes in the window that differs most between two images.
 *
 * @param before, after what a canvas can draw, both `width` x `height` pixels
 * @param wide, high the window, in pixels; no larger than the picture
 */
export function mostChanged(before, after, [width, height], [wide, high]) {
  const [columns, rows] = [Math.ceil(width / CELL_PX), Math.ceil(height / CELL_PX)];
  const cells = new Float64Array(columns * rows);
  const step = Math.max(1, Math.ceil((width * height) / MOST_PX));
  for (let top = 0; top < height; top += STRIP) {
    const lines = Math.min(STRIP, height - top);
    const [a, b] = [before, after].map((image) => strip(image, top, width, lines));
    for (let y = 0; y < lines; y += step)
      for (let x = 0, at = 4 * y * width; x < width; x++, at += 4)
        cells[Math.floor((top + y) / CELL_PX) * columns + Math.floor(x / CELL_PX)] +=
          Math.abs(a[at] - b[at]) + Math.abs(a[at + 1] - b[at + 1]) + Math.abs(a[at + 2] - b[at + 2]);
  }
  const [across, down] = [wide, high].map((side) => Math.max(1, Math.floor(side / CELL_PX)));
  return middle(cells, columns, fullest(cells, columns, rows, Math.min(across, columns), Math.min(down, rows)));
}

/** Return the middle of the changes in a window of cells, in pixels. */
function middle(cells, columns, { x: left, y: top, wide, high }) {
  let [sum, across, down] = [1e-9, (left + wide / 2) * 1e-9, (top + high / 2) * 1e-9];
  for (let y = top; y < top + high; y++)
    for (let x = left; x < left + wide; x++) {
      const weight = cells[y * columns + x];
      sum += weight;
      across += weight * (x + 0.5);
      down += weight * (y + 0.5);
    }
  return [(across / sum) * CELL_PX, (down / sum) * CELL_PX];
}

function strip(image, top, width, lines) {
  const canvas = new OffscreenCanvas(width, lines);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, -top);
  return context.getImageData(0, 0, width, lines).data;
}

/** Return the window of `wide` x `high` cells that holds the most. */
function fullest(cells, columns, rows, wide, high) {
  const sums = new Float64Array((columns + 1) * (rows + 1));
  const at = (x, y) => y * (columns + 1) + x;
  for (let y = 0; y < rows; y++)
    for (let x = 0; x < columns; x++)
      sums[at(x + 1, y + 1)] = cells[y * columns + x] + sums[at(x, y + 1)] + sums[at(x + 1, y)] - sums[at(x, y)];
  let [best, found] = [-1, null];
  for (let y = 0; y + high <= rows; y++)
    for (let x = 0; x + wide <= columns; x++) {
      const sum = sums[at(x + wide, y + high)] - sums[at(x, y + high)] - sums[at(x + wide, y)] + sums[at(x, y)];
      if (sum > best) [best, found] = [sum, { x, y, wide, high }];
    }
  return found;
}
