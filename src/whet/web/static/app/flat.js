// What is flat comes back as it was; the same rule as whet/runtime/flat_areas.py, which says why.

const SIDE = 4; // contrast is measured in squares of this side, and those next to them
const BITS = 3; // from 8 levels on a change is left as it is

/**
 * Scale every change by the contrast around it, in place.
 * @param {ImageData} before what the network got
 * @param {ImageData} after what it made of it; its bytes are changed
 */
export function keepFlat({ data: before, width, height }, { data: after }) {
  const columns = Math.ceil(width / SIDE);
  const rows = Math.ceil(height / SIDE);
  const highest = new Uint8Array(3 * rows * columns);
  const lowest = new Uint8Array(3 * rows * columns).fill(255);
  for (let y = 0, pixel = 0; y < height; y++) {
    const row = (y >> 2) * columns;
    for (let x = 0; x < width; x++, pixel += 4) {
      const square = 3 * (row + (x >> 2));
      for (let colour = 0; colour < 3; colour++) {
        const value = before[pixel + colour];
        if (value > highest[square + colour]) highest[square + colour] = value;
        if (value < lowest[square + colour]) lowest[square + colour] = value;
      }
    }
  }
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const contrast = contrastAround(highest, lowest, rows, columns, row, column);
      if (contrast < 1 << BITS) fade(before, after, width, height, row, column, contrast);
    }
  }
}

function contrastAround(highest, lowest, rows, columns, row, column) {
  let contrast = 0;
  for (let colour = 0; colour < 3; colour++) {
    let high = 0;
    let low = 255;
    for (let y = Math.max(0, row - 1); y < Math.min(rows, row + 2); y++) {
      for (let x = Math.max(0, column - 1); x < Math.min(columns, column + 2); x++) {
        const square = 3 * (y * columns + x) + colour;
        high = Math.max(high, highest[square]);
        low = Math.min(low, lowest[square]);
      }
    }
    contrast = Math.max(contrast, high - low);
  }
  return contrast;
}

function fade(before, after, width, height, row, column, contrast) {
  for (let y = SIDE * row; y < Math.min(height, SIDE * (row + 1)); y++) {
    for (let x = SIDE * column; x < Math.min(width, SIDE * (column + 1)); x++) {
      for (let i = 4 * (y * width + x), colour = 0; colour < 3; colour++, i++) {
        const change = (after[i] - before[i]) * contrast;
        after[i] = before[i] + ((change + (1 << (BITS - 1))) >> BITS);
      }
    }
  }
}
