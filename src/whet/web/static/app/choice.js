// Which model: in words, with the time that the server measured once.

import { get } from "./api.js";
import { make } from "./make.js";

const list = document.getElementById("models");
/** Models that take minutes, and are asked for at another address. */
export const heavy = new Set();
const AGAIN_MS = 1500;

export const model = () => list.querySelector(":checked")?.value ?? "small";

/** List the models, and again until each was measured. */
export async function listModels() {
  const found = (await get("api/models")).sort((a, b) => a.kmac_per_px - b.kmac_per_px);
  if (!list.querySelector("input")) list.append(...found.map((entry) => option(entry, found.length === 1)));
  for (const { name, seconds_per_mpx: pace } of found)
    list.querySelector(`[value="${name}"]`).parentElement.querySelector("span").textContent = pace
      ? `${pace.toPrecision(2)}\u00a0s/megapixel`
      : "measuring …";
  await listHeavy();
  if (found.some((entry) => !entry.seconds_per_mpx)) setTimeout(() => listModels().catch(() => {}), AGAIN_MS);
}

/** Add those that take minutes, where their weights are here. */
async function listHeavy() {
  if (heavy.size) return;
  for (const { name, summary } of await get("api/studio")) {
    heavy.add(name);
    const entry = option({ name, word: "best, in minutes" }, false);
    entry.querySelector("span").textContent = summary;
    list.append(entry);
  }
}

function option({ name, word }, alone) {
  const input = make("input", [], { type: "radio", name: "model", value: name, checked: name === "small" || alone });
  const words = word ? [make("b", word), make("small", name)] : [make("b", name)];
  return make("label", [input, ...words, make("span")]);
}
