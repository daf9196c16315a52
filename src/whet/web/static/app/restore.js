// The page that restores pictures and videos.

import { get } from "./api.js";
import { Beyond } from "./beyond.js";
import { mostChanged } from "./changes.js";
import { heavy, listModels, model } from "./choice.js";
import { Compare } from "./compare.js";
import { Film, isFilm, progress, share } from "./films.js";
import { listen } from "./intake.js";
import { make } from "./make.js";
import { Picture, save, thumbnail } from "./pictures.js";
import { Player } from "./player.js";
import { listenForReference, measure } from "./reference.js";
import * as slow from "./slow.js";
import { takeAll } from "./takehome.js";

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
let looked = null; // the picture whose changes were looked for last
let packing = null; // what stops the ZIP at work

const strength = () => Number($("strength").value) / 100;
const ready = () => pictures.filter((picture) => picture.results.has(model()));

function say(sentence, problem = false) {
  $("status").classList.remove("unseen");
  $("status").textContent = sentence;
  $("status").classList.toggle("problem", problem);
}

const patience = {
  onWait: (seconds) => say(`The server is busy; trying again in ${seconds} s.`),
  told: (film) => film === current && show(),
};

// Taking pictures in, and out

function add({ files, skipped }) {
  const fresh = files.map((file) => new (isFilm(file) ? Film : Picture)(file, limits));
  const refused = fresh.map((picture) => picture.refusal).filter(Boolean);
  const taken = fresh.filter((picture) => !picture.refusal);
  if (skipped) refused.push(`${skipped} ${skipped > 1 ? "files are" : "file is"} no picture or video, and left out.`);
  else if (!files.length) refused.push("There is no picture or video in it.");
  say(refused.join("\n"), refused.length > 0);
  pictures.push(...taken);
  for (const picture of taken) addToStrip(picture);
  count();
  if (taken.length) open(taken[0]);
  return taken;
}

function addToStrip(picture) {
  picture.button = make("button", make("i"), { type: "button" });
  picture.button.addEventListener("click", () => open(picture));
  $("strip").append(picture.button);
  mark(picture, "waiting");
}

/** Forget one picture, or all of them. */
function remove(gone) {
  for (const picture of gone) {
    picture.close();
    picture.button.remove();
    const at = pictures.indexOf(picture);
    pictures.splice(at, 1);
    if (picture === current) current = pictures[at] ?? pictures[at - 1] ?? null;
  }
  say("");
  count();
  if (current) open(current);
  else player.hide();
}

function count() {
  const many = pictures.length > 1;
  $("welcome").hidden = pictures.length > 0;
  $("bench").hidden = !pictures.length;
  $("strip").hidden = !many;
  $("downloadall").hidden = !many;
  $("clear").hidden = !many;
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
  const waits = (picture) => picture && !["failed", "stopped"].includes(picture.state) && !picture.results.has(model());
  const wanted = () => (waits(current) ? current : pictures.find(waits));
  for (let picture = wanted(); picture; picture = wanted()) {
    mark(picture, "working");
    if (picture === current) show();
    try {
      await picture.restore(model(), patience);
      mark(picture, "done");
      picture.taken = false;
      if (picture.image && !picture.button.querySelector("canvas"))
        picture.button.prepend(thumbnail(picture.image, picture.size));
    } catch (error) {
      if (error.name === "AbortError") mark(picture, "stopped");
      else mark(picture, "failed", `${picture.name}: ${error.message}`);
    }
    if (!pictures.includes(picture)) continue; // removed meanwhile
    tally();
    if (picture === current) show();
  }
  working = false;
}

function tally() {
  const failed = pictures.filter((picture) => picture.state === "failed");
  const counted = pictures.length > 1 ? `${ready().length} of ${pictures.length} restored.` : "";
  say([counted, ...failed.map((picture) => picture.sentence)].filter(Boolean).join("\n"), failed.length > 0);
}

// Showing one

async function open(picture) {
  if (picture !== current) looked = null;
  current = picture;
  for (const other of pictures) other.button.setAttribute("aria-current", other === picture);
  show();
  if (!picture.image && (picture.moving || picture.file.type.startsWith("image/"))) {
    try {
      await picture.open(patience);
    } catch {
      return work(); // restoring fails the same way, and says how
    }
    if (picture === current) show();
  }
  work();
}

const shownAfter = () => current?.results.get(model())?.image ?? (heavy.has(model()) ? current?.soFar : null) ?? null;

function show() {
  const result = current.results.get(model());
  const busy = !result && !["failed", "stopped"].includes(current.state);
  $("name").textContent = current.name;
  $("facts").textContent = facts(result) || "\u00a0";
  const notes = result?.notes ?? [];
  $("notes").hidden = !notes.length;
  $("notes").replaceChildren(...notes.map((note) => make("li", note)));
  compare.message = trouble(result);
  compare.waiting = busy && !shownAfter();
  $("download").disabled = !result || Boolean(current.working);
  $("downloadall").disabled = !ready().length && !packing;
  $("referencefield").hidden = current.moving || heavy.has(model()) || current.state === "failed";
  // Said once: in place of the picture, and to those who cannot see that.
  $("status").classList.toggle("unseen", pictures.length === 1 && current.state === "failed" && !current.image);
  showProgress();
  if (current.moving && (current.image ?? result?.image)) player.show(...[current.image, result?.image].filter(Boolean));
  else player.hide();
  mix();
  lookAtChanges();
  score();
}

function facts(result) {
  const words = { failed: "cannot be restored", stopped: "stopped", working: "restoring …", waiting: "waiting …", done: "" };
  const size = current.size?.join(" × ");
  const pace = result?.fps ? `restored at ${result.fps.toFixed(1)} frames / s` : "restored";
  const lone = current.unplayable && result?.image ? "this browser cannot play the source, so only the result is shown" : "";
  const told = current.status && (slow.isSlow(current.status) ? slow.progress(current.status) : progress(current.status));
  return [size, told ? told : result ? pace : words[current.state], lone].filter(Boolean).join(", ");
}

/** What is said where no picture can be shown. */
function trouble(result) {
  if (current.state === "failed" && !current.image) return current.sentence;
  if (!current.unplayable || result?.image) return "";
  const then = result ? "Download it to see the result." : "It is restored all the same, for you to download.";
  return `This browser cannot play ${current.name}. ${then}`;
}

/** The bar and the button of a video, or of a heavy network, at work. */
function showProgress() {
  const busy = Boolean(current.working);
  $("job").hidden = !busy && current.state !== "stopped";
  $("progress").hidden = !busy;
  $("stop").textContent = busy ? "Stop" : `Restore this ${current.moving ? "video" : "picture"}`;
  const how = slow.isSlow(current.status) ? slow.share : share;
  const done = busy && current.status ? how(current.status) : null;
  if (done == null) $("progress").removeAttribute("value");
  else $("progress").value = done;
}

/** Show both pictures at the chosen strength. */
function mix() {
  const [before, after] = [current.image, shownAfter()];
  const [wide, high] = current.size ?? [0, 0];
  let over = null;
  if (strength() > 1 && before && after) {
    if (beyond.load({ base: before, before, after }, current.size)) {
      beyond.draw(strength());
      over = beyond.canvas;
    } else say("This browser shows up to 100%; the download has the strength that you choose.");
  }
  compare.show(before, after, wide, high, over);
  compare.strength = Math.min(1, strength());
}

/** Open a large picture where the most was changed, unless the visitor chose what is seen. */
function lookAtChanges() {
  const after = shownAfter();
  if (looked === current || current.moving || !current.image || !after) return;
  looked = current;
  if (!compare.crops || compare.moved) return;
  current.place ??= mostChanged(current.image, after, current.size, compare.window);
  compare.lookAt(...current.place);
}

const score = () => !heavy.has(model()) && measure(current, { model: model(), strength: strength() }, (sentence) => say(sentence, true));

// Settings

$("strength").addEventListener("input", () => {
  $("strengthvalue").textContent = `${$("strength").value}%`;
  if (current) mix();
});
$("strength").addEventListener("change", () => current && score());
$("models").addEventListener("change", () => {
  for (const picture of pictures) if (picture.state !== "failed") mark(picture, picture.results.has(model()) ? "done" : "waiting");
  if (current) show();
  work();
});
listenForReference((file) => {
  current.reference = file;
  score();
});

// Results

async function download(picture) {
  try {
    save(await picture.download(model(), strength(), patience));
    picture.taken = true;
  } catch (error) {
    if (error.name !== "AbortError") say(`${picture.name}: ${error.message}`, true);
  }
}

async function downloadAll() {
  if (packing) return packing.abort();
  const wanted = ready();
  packing = new AbortController();
  $("packing").hidden = false;
  const told = (done) => {
    $("packing").value = done / wanted.length;
    $("downloadall").textContent = `Stop (${done} of ${wanted.length} packed)`;
  };
  told(0);
  const file = (picture) => picture.download(model(), strength(), patience);
  const failures = await takeAll(wanted, { file, told, signal: packing.signal });
  packing = null;
  $("packing").hidden = true;
  $("downloadall").textContent = "Download all";
  if (failures.length) say(failures.join("\n"), true);
  else tally();
}

$("stop").addEventListener("click", () => {
  if (current.working) current.stop();
  else {
    mark(current, "waiting");
    work();
  }
});
compare.view.addEventListener("keydown", (event) => {
  if (event.key === "Delete") remove([current]);
  if (event.key !== " " || !current?.moving) return;
  event.preventDefault();
  player.toggle();
});
$("strip").addEventListener("keydown", ({ key, target }) => {
  const picture = pictures.find(({ button }) => button === target);
  if (key === "Delete" && picture) remove([picture]);
});
$("download").addEventListener("click", () => download(current));
$("downloadall").addEventListener("click", downloadAll);
$("remove").addEventListener("click", () => remove([current]));
$("clear").addEventListener("click", () => remove([...pictures]));

// What was restored is nowhere but here.
addEventListener("beforeunload", (event) => {
  const precious = ({ results, state, taken, fleeting }) => !fleeting && ((results.size && !taken) || ["waiting", "working"].includes(state));
  if (pictures.some(precious)) event.preventDefault();
});

// Ways in

listen(add, (sentence) => say(sentence, true));
$("example").addEventListener("click", async () => {
  try {
    const load = async (name) => new File([await (await fetch(`api/example/${name}`)).blob()], name, { type: "image/png" });
    const [soft, sharp] = await Promise.all([load("soft.png"), load("sharp.png")]);
    const [picture] = add({ files: [soft], skipped: 0 });
    picture.reference = sharp;
    picture.fleeting = true; // it can be had again
  } catch {
    say("The example cannot be loaded.", true);
  }
});

get("api/limits").then((found) => (limits = found), () => {});
listModels().catch((error) => say(error.message, true));
