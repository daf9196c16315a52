// The list of evaluation reports.

import { get } from "./api.js";
import { make } from "./make.js";

const place = document.getElementById("reports");

const signed = (value) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(2);

function cell(gain) {
  if (!gain) return make("td", "");
  const known = gain.low != null && gain.high != null;
  const verdict = !known ? "" : gain.low > 0 ? "good" : gain.high < 0 ? "bad" : "";
  const interval = make("small", known ? `${signed(gain.low)} to ${signed(gain.high)}` : "one scene");
  return make("td", [make("span", signed(gain.mean), { className: verdict }), interval]);
}

function table(report) {
  const names = [...new Set(report.suites.flatMap((suite) => suite.gains.map((gain) => gain.restorer)))];
  const heads = ["suite", "pictures", "untouched, dB", ...names].map((name) => make("th", name, { scope: "col" }));
  const rows = report.suites.map((suite) =>
    make("tr", [
      make("td", suite.name, { title: suite.description }),
      make("td", String(suite.pictures)),
      make("td", suite.psnr_degraded == null ? "" : suite.psnr_degraded.toFixed(2)),
      ...names.map((name) => cell(suite.gains.find((gain) => gain.restorer === name))),
    ]),
  );
  const whole = make("table", [make("thead", make("tr", heads)), make("tbody", rows)], { className: "table" });
  return make("div", whole, { className: "scroll", tabIndex: 0, role: "region", ariaLabel: `Gains of ${report.name}` });
}

function card(report) {
  const day = new Date(report.written).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  const head = make("div", [make("h2", report.name), make("p", day, { className: "small" })]);
  const link = report.page
    ? make("a", "Open the full report: triplets, tables, curves", { href: `reports/${encodeURIComponent(report.id)}` })
    : make("p", "Its page is not beside it; whet evaluate writes one.", { className: "small" });
  return make("section", [head, table(report), link], { className: "card" });
}

try {
  const reports = await get("api/reports");
  place.append(...reports.map(card));
  if (!reports.length) {
    const words = make("p", "No report was found. Make one, then name its folder:");
    const command = make("code", "whet evaluate --model small -o reports/small\nwhet serve --reports reports");
    place.append(make("section", [words, make("pre", command, { tabIndex: 0 })], { className: "card" }));
  }
} catch (error) {
  document.getElementById("status").textContent = error.message;
}
