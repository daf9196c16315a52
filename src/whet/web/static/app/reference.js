// How close the picture on show comes to a sharp original, by the server's metrics.

import { score } from "./api.js";

const $ = (id) => document.getElementById(id);
let asking = null;

/** Show the scores of a picture at a model and strength, or that there is nothing to compare. */
export async function measure(picture, options, failed) {
  asking?.abort();
  const { reference } = picture;
  if (picture.moving) return;
  $("scores").hidden = !reference;
  $("pickreference").textContent = reference ? "Choose another reference" : "Choose a reference";
  if (!reference || !picture.results.has(options.model)) return;
  asking = new AbortController();
  try {
    const found = await score(picture.file, reference, options, { signal: asking.signal });
    for (const [metric, digits] of [["psnr", 2], ["ssim", 4]]) {
      const [before, after] = [found[`${metric}_degraded`], found[`${metric}_restored`]];
      $(`${metric}0`).textContent = before.toFixed(digits);
      $(`${metric}1`).textContent = after.toFixed(digits);
      $(`${metric}1`).className = after > before ? "better" : after < before ? "worse" : "";
    }
  } catch (error) {
    if (error.name === "AbortError") return;
    picture.reference = null;
    $("scores").hidden = true;
    failed(error.message);
  }
}

/** Call `take` with the file that is chosen as a reference. */
export function listenForReference(take) {
  $("pickreference").addEventListener("click", () => $("referencefile").click());
  $("referencefile").addEventListener("change", (event) => {
    take(event.target.files[0] ?? null);
    event.target.value = "";
  });
}
