// The page that restores pictures and videos.

import { get, score } from "./api.js";
import { Beyond } from "./beyond.js";
import { Compare } from "./compare.js";
import { Film, isFilm, progress, share } from "./films.js";
import { Picture, save, thumbnail } from "./pictures.js";
import { Player } from "./player.js";

const $ = (id) => document.getElementById(id);
const compare = new Compare($("compare"));
const beyond = new Beyond();
const player = new Player(compare.tools, () => {
  if (strength() <= 1 || !shownAfter()) return;
  beyond.renew();
  beyond.draw(strength());
});
const pictures = []; // and videos
let limits = {};
let current = null;
let working = false;

const model = () => document.querySelector("[name=model]:checked")?.value ?? "small";
const strength = () => Number($("strength").value) / 100;

function say(sentence, problem = false) {
  $("status").classList.remove("unseen");
  $("status").textContent = sentence;
  $("status").classList.toggle("problem", problem);
}

const patience = {
  onWait: (seconds) => say(`The server is busy; trying again in ${seconds} s.`),
  told: (film) => film === current && show(),
};

// Taking pictures in

function add(files) {
  const fresh = [...files].map((file) => new (isFilm(file) ? Film : Picture)(file, limits));
  const refused = fresh.map((picture) => picture.refusal).filter(Boolean);
  const taken = fresh.filter((picture) => !picture.refusal);
  if (refused.length) say(refused.join("\n"), true);
  else say("");
  if (!taken.length) return taken;
  pictures.push(...taken);
  $("welcome").hidden = true;
  $("bench").hidden = false;
  for (const picture of taken) addToStrip(picture);
  $("strip").hidden = pictures.length < 2;
  $("downloadall").hidden = pictures.length < 2;
  open(taken[0]);
  work();
  return taken;
}

function addToStrip(picture) {
  const button = document.createElement("button");
  button.type = "button";
  button.append(document.createElement("i"));
  button.addEventListener("click", () => open(picture));
  picture.button = button;
  $("strip").append(button);
  mark(picture, "waiting");
}

function mark(picture, state, sentence = "") {
  const words = { waiting: "waits", working: "is being restored", done: "is restored", failed: "cannot be restored", stopped: "was stopped" };
  picture.state = state;
  picture.sentence = sentence;
  picture.button.className = state;
  picture.button.querySelector("i").textContent = { waiting: "…", working: "…", done: "✓", failed: "!", stopped: "–" }[state];
  picture.button.setAttribute("aria-label", `${picture.name} ${words[state]}`);
}

/** Restore what waits, the shown picture first, one after the other. */
async function work() {
  if (working) return;
  working = true;
  const wanted = () => {
    const waits = (picture) => picture && !["failed", "stopped"].includes(picture.state) && !picture.results.has(model());
    return waits(current) ? current : pictures.find(waits);
  };
  for (let picture = wanted(); picture; picture = wanted()) {
    mark(picture, "working");
    if (picture === current) show();
    try {
      await picture.restore(model(), patience);
      mark(picture, "done");
      if (picture.image && !picture.button.querySelector("canvas"))
        picture.button.prepend(thumbnail(picture.image, picture.size));
    } catch (error) {
      if (error.name === "AbortError") mark(picture, "stopped");
      else mark(picture, "failed", `${picture.name}: ${error.message}`);
    }
    tally();
    if (picture === current) show();
  }
  working = false;
}

function tally() {
  const failed = pictures.filter((picture) => picture.state === "failed");
  const ready = pictures.filter((picture) => picture.results.has(model())).length;
  const counted = pictures.length > 1 ? `${ready} of ${pictures.length} restored.` : "";
  say([counted, ...failed.map((picture) => picture.sentence)].filter(Boolean).join("\n"), failed.length > 0);
}

// Showing one

async function open(picture) {
  current = picture;
  for (const other of pictures) other.button.setAttribute("aria-current", other === picture);
  show();
  if (!picture.image && (picture.moving || picture.file.type.startsWith("image/"))) {
    try {
      await picture.open(patience);
    } catch {
      return; // restoring fails the same way, and says how
    }
    if (picture === current) show();
  }
  work();
}

const shownAfter = () => current?.results.get(model())?.image ?? null;

function show() {
  const result = current.results.get(model());
  const busy = !result && !["failed", "stopped"].includes(current.state);
  $("name").textContent = current.name;
  $("facts").textContent = facts(result) || "\u00a0";
  compare.message = trouble(result);
  compare.waiting = busy;
  $("download").disabled = !result || Boolean(current.working);
  $("referencefield").hidden = current.moving || current.state === "failed";
  // Said once: in place of the picture, and to those who cannot see that.
  $("status").classList.toggle("unseen", pictures.length === 1 && current.state === "failed" && !current.image);
  showProgress();
  if (current.moving && (current.image ?? result?.image)) player.show(...[current.image, result?.image].filter(Boolean));
  else player.hide();
  mix();
  measure();
}

function facts(result) {
  const words = { failed: "cannot be restored", stopped: "stopped", working: "restoring …", waiting: "waiting …", done: "" };
  const size = current.size?.join(" × ");
  const pace = result?.fps ? `restored at ${result.fps.toFixed(1)} frames / s` : "restored";
  const time = result?.seconds == null ? pace : `restored in ${seconds(result.seconds)}`;
  const lone = current.unplayable && result?.image ? "this browser cannot play the source, so only the result is shown" : "";
  return [size, current.status ? progress(current.status) : result ? time : words[current.state], lone].filter(Boolean).join(", ");
}

/** What is said where no picture can be shown. */
function trouble(result) {
  if (current.state === "failed" && !current.image) return current.sentence;
  if (!current.unplayable) return "";
  if (result?.image) return "";
  const then = result ? "Download it to see the result." : "It is restored all the same, for you to download.";
  return `This browser cannot play ${current.name}. ${then}`;
}

/** The bar and the button of a video at work. */
function showProgress() {
  const working = Boolean(current.working);
  $("job").hidden = !working && current.state !== "stopped";
  $("progress").hidden = !working;
  $("stop").textContent = working ? "Stop" : "Restore this video";
  const done = working && current.status ? share(current.status) : null;
  if (done == null) $("progress").removeAttribute("value");
  else $("progress").value = done;
}

/** Show both pictures at the chosen strength. */
function mix() {
  const [before, after] = [current.image, shownAfter()];
  const [wide, high] = current.size ?? [0, 0];
  let over = null;
  if (strength() > 1 && before && after) {
    if (beyond.load(before, after, current.size)) {
      beyond.draw(strength());
      over = beyond.canvas;
    } else say("This browser shows up to 100%; the download has the strength that you choose.");
  }
  compare.show(before, after, wide, high, over);
  compare.strength = Math.min(1, strength());
}

const seconds = (value) => (value < 0.995 ? `${Math.round(value * 1000)} ms` : `${value.toFixed(1)} s`);

// Settings

$("strength").addEventListener("input", () => {
  $("strengthvalue").textContent = `${$("strength").value}%`;
  if (current) mix();
});
$("strength").addEventListener("change", measure);

async function listModels() {
  const found = await get("api/models");
  if (!$("models").querySelector("input")) {
    for (const entry of found) {
      const label = document.createElement("label");
      label.innerHTML = '<input type="radio" name="model"><b></b><span></span>';
      const input = label.querySelector("input");
      input.value = entry.name;
      input.checked = entry.name === "small" || found.length === 1;
      label.querySelector("b").textContent = entry.name;
      $("models").append(label);
    }
  }
  for (const entry of found) {
    const span = $("models").querySelector(`[value="${entry.name}"]`).parentElement.querySelector("span");
    const pace = entry.seconds_per_mpx;
    span.textContent = pace ? `${seconds(pace)} / megapixel` : "measuring …";
  }
  if (found.some((entry) => !entry.seconds_per_mpx)) setTimeout(listModels, 1500);
}

$("models").addEventListener("change", () => {
  for (const picture of pictures) if (picture.state !== "failed") mark(picture, picture.results.has(model()) ? "done" : "waiting");
  if (current) show();
  work();
});

// A reference

let measuring = null;

async function measure() {
  measuring?.abort();
  const { reference } = current;
  if (current.moving) return;
  $("scores").hidden = !reference;
  $("pickreference").textContent = reference ? "Choose another reference" : "Choose a reference";
  if (!reference || !current.results.has(model())) return;
  measuring = new AbortController();
  const options = { model: model(), strength: strength() };
  try {
    const found = await score(current.file, reference, options, { signal: measuring.signal });
    for (const [metric, digits] of [["psnr", 2], ["ssim", 4]]) {
      const [before, after] = [found[`${metric}_degraded`], found[`${metric}_restored`]];
      $(`${metric}0`).textContent = before.toFixed(digits);
      $(`${metric}1`).textContent = after.toFixed(digits);
      $(`${metric}1`).className = after > before ? "better" : after < before ? "worse" : "";
    }
  } catch (error) {
    if (error.name === "AbortError") return;
    current.reference = null;
    $("scores").hidden = true;
    say(error.message, true);
  }
}

$("pickreference").addEventListener("click", () => $("referencefile").click());
$("referencefile").addEventListener("change", (event) => {
  current.reference = event.target.files[0] ?? null;
  event.target.value = "";
  measure();
});

// Results

async function download(picture) {
  try {
    save(await picture.download(model(), strength(), patience));
  } catch (error) {
    if (error.name !== "AbortError") say(`${picture.name}: ${error.message}`, true);
  }
}

$("stop").addEventListener("click", () => {
  if (current.working) current.stop();
  else {
    mark(current, "waiting");
    work();
  }
});
compare.view.addEventListener("keydown", (event) => {
  if (event.key !== " " || !current?.moving) return;
  event.preventDefault();
  player.toggle();
});

$("download").addEventListener("click", () => download(current));
$("downloadall").addEventListener("click", async () => {
  for (const picture of pictures) if (picture.results.has(model())) await download(picture);
});

// Ways in

for (const button of document.querySelectorAll("[data-pick]"))
  button.addEventListener("click", () => $("files").click());
$("files").addEventListener("change", (event) => {
  add(event.target.files);
  event.target.value = "";
});
addEventListener("paste", (event) => add(event.clipboardData.files));
addEventListener("dragover", (event) => {
  event.preventDefault();
  $("veil").hidden = false;
});
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) $("veil").hidden = true;
});
addEventListener("drop", (event) => {
  event.preventDefault();
  $("veil").hidden = true;
  add(event.dataTransfer.files);
});
$("example").addEventListener("click", async () => {
  try {
    const load = async (name) => new File([await (await fetch(`api/example/${name}`)).blob()], name, { type: "image/png" });
    const [soft, sharp] = await Promise.all([load("soft.png"), load("sharp.png")]);
    const [picture] = add([soft]);
    picture.reference = sharp;
  } catch {
    say("The example cannot be loaded.", true);
  }
});

get("api/limits").then((found) => (limits = found), () => {});
listModels().catch((error) => say(error.message, true));
