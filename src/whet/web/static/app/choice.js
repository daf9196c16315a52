// Which model: in words, with the time that the server measured once.

import { get } from "./api.js";
import { make } from "./make.js";

const list = document.getElementById("models");
const AGAIN_MS = 1500;

export const model = () => list.querySelector(":checked")?.value ?? "small";

/** List the models, and again until each was measured. */
export async function listModels() {
  const found = (await get("api/models")).sort((a, b) => a.kmac_per_px - b.kmac_per_px);
  if (!list.querySelector("input")) list.append(...found.map((entry) => option(entry, found.length === 1)));
  for (const { name, seconds_per_mpx: pace } of found)
    list.querySelector(`[value="${name}"]`).parentElement.querySelector("span").textContent = pace
      ? `${pace.toPrecision(2)} s/megapixel`
      : "measuring …";
  if (found.some((entry) => !entry.seconds_per_mpx)) setTimeout(() => listModels().catch(() => {}), AGAIN_MS);
}

function option({ name, word }, alone) {
  const input = make("input", [], { type: "radio", name: "model", value: name, checked: name === "small" || alone });
  const words = word ? [make("b", word), make("small", name)] : [make("b", name)];
  return make("label", [input, ...words, make("span")]);
}
