// The list of studies.

import { get } from "./api.js";
import { make } from "./make.js";

const place = document.getElementById("studies");
const shown = { acr: "one picture at a time", dcr: "three pictures side by side", pairs: "two pictures side by side" };

function card({ id, title, protocol, trials, width_px, height_px }) {
  const facts = `${trials} pages, ${shown[protocol] ?? protocol}. It needs a window of ${width_px} × ${height_px} at 100%.`;
  const link = make("a", "Take part", { href: `study/${encodeURIComponent(id)}`, className: "button primary" });
  link.ariaLabel = `Take part: ${title}`;
  return make("section", [make("h2", title), make("p", facts, { className: "small" }), make("div", link)], { className: "card" });
}

try {
  const studies = await get("api/studies");
  place.append(...studies.map(card));
  if (!studies.length) {
    const words = make("p", "No study is open here. Build one, then name its folder:");
    const command = make("code", "whet study new -o mystudy --model small --baseline unsharp\nwhet serve --study mystudy");
    place.append(make("section", [words, make("pre", command, { tabIndex: 0 })], { className: "card" }));
  }
} catch (error) {
  document.getElementById("status").textContent = error.message;
}
