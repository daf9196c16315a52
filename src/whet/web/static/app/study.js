// A participant's way through a study: consent, training, trials, breaks, the end.
// The next trial is shown when the server says that the answer to this one is kept.

import { make } from "./make.js";
import { listChecks, sizeExactly, suits, watch } from "./screen.js";
import { call, keepToken, token } from "./study-api.js";

const $ = (id) => document.getElementById(id);
// After a new picture has appeared: the second click of a double click must not rate it.
const SETTLE_MS = 500;
const [DELETE, SURE] = ["Delete all my answers", "Really delete all of them"];
const NAMES = {
  candidate: "the picture to rate",
  degraded: "before",
  sharp: "the sharp original",
  left: "left",
  right: "right",
};

let study = null; // what the server says of the study
let turn = null; // where this participant stands
let view = ""; // the section on show
let ready = false; // whether an answer is taken now
let shownAt = 0;
let rested = 0; // the trial whose break is over

function say(sentence, problem = false) {
  $("status").textContent = sentence;
  $("status").classList.toggle("problem", problem);
}

/** The number under which a panel sent this person; null if it is missing, undefined if nobody asks. */
const external = () => (study.external ? new URLSearchParams(location.search).get(study.external) || null : undefined);

const onWait = (sentence) => say(sentence, true);
const fail = (error) => say(error.message, true);

function show(name, heading) {
  view = name;
  document.body.classList.toggle("trial", ["trial", "interlude", "narrow"].includes(name));
  for (const id of ["welcome", "trial", "interlude", "narrow", "end"]) $(id).hidden = id !== name;
  $("pause").hidden = name === "welcome" || !token();
  $("pause").textContent = name === "end" ? "My answers" : "Pause";
  $(heading).focus({ preventScroll: name === "trial" });
}

// Before it begins

function welcome() {
  document.title = study.title;
  $("title").textContent = study.title;
  const kinds = { acr: "one picture each", dcr: "three pictures each", pairs: "two pictures each" };
  const training = study.practice ? ` The first ${study.practice} are for training.` : "";
  $("summary").textContent = `${study.trials} pages, ${kinds[study.protocol] ?? ""}.${training} You can pause and come back.`;
  $("instructions").textContent = study.instructions;
  $("instructions").hidden = !study.instructions;
  $("question").textContent = study.question;
  $("scale").replaceChildren(...study.answers.map(({ label }) => make("li", label)));
  $("consent").textContent = study.consent;
  show("welcome", "title");
  allowBegin();
}

function allowBegin() {
  listChecks($("checks"), study);
  const missing = [
    [external() === null, "Please open the link that your panel gave you, as it is."],
    [!suits(study), "Your screen comes first, see above."],
    [!$("agree").checked, "Please agree first."],
  ].find(([yes]) => yes);
  $("begin").disabled = Boolean(missing);
  $("missing").textContent = missing?.[1] ?? "";
}

async function begin() {
  $("begin").disabled = true;
  try {
    const body = { consented: $("agree").checked, display_ok: suits(study), external_id: external() };
    keepToken((await (await call("/join", { method: "POST", body, onWait })).json()).token);
    await resume();
  } catch (error) {
    fail(error);
    allowBegin();
  }
}

async function resume() {
  await take(await (await call("/turn", { onWait })).json());
}

// Trials

/** Go where the server says this participant stands. */
async function take(next) {
  turn = next;
  $("progress").hidden = false;
  $("bar").max = turn.total;
  $("bar").value = turn.rated;
  const { trial } = turn;
  $("place").textContent = trial ? `${trial.practice ? "Training, " : ""}${trial.index} of ${turn.total}` : `${turn.total} of ${turn.total}`;
  say("");
  if (!trial) end("Thank you.", `All ${turn.total} answers are kept. You can close this page.`, turn.completion);
  else if (!suits(study)) makeRoom();
  else if (rested !== trial.index && interlude(trial)) return;
  else await present(trial);
}

/** Show what stands before some trials; returns whether there is anything. */
function interlude(trial) {
  let words = null;
  if (trial.practice && trial.index === 1)
    words = ["First, some training", "See how good and how bad the pictures can get. These answers do not count."];
  else if (study.practice && trial.index === study.practice + 1)
    words = ["From here on it counts", "Trust your first impression. Some pictures may look alike."];
  else if (trial.break_before)
    words = ["Rest your eyes", `${turn.rated} of ${turn.total} answers are kept. Look out of the window for a minute, then go on.`];
  if (!words) return false;
  [$("interludetitle").textContent, $("interludetext").textContent] = words;
  show("interlude", "interludetitle");
  return true;
}

function makeRoom() {
  listChecks($("narrowchecks"), study);
  if (view !== "narrow") show("narrow", "narrowtitle");
}

async function present(trial) {
  ready = false;
  const figures = await Promise.all(trial.slots.map((slot) => figure(trial, slot)));
  if (turn.trial !== trial) return; // another turn came meanwhile
  $("ask").textContent = trial.question;
  $("pictures").querySelectorAll("img").forEach((image) => URL.revokeObjectURL(image.src));
  $("pictures").replaceChildren(...figures);
  $("answers").replaceChildren(...trial.answers.map(button));
  $("answers").classList.toggle("pair", study.protocol === "pairs");
  show("trial", "ask");
  shownAt = performance.now();
  setTimeout(() => {
    ready = turn.trial === trial;
    $("answers").querySelectorAll("button").forEach((one) => one.removeAttribute("aria-disabled"));
  }, SETTLE_MS);
}

async function figure(trial, slot) {
  const image = new Image();
  // Fetched, not linked: the token is in a header, and no address tells which picture this is.
  image.src = URL.createObjectURL(await (await call(`/trials/${trial.id}/${slot}`, { onWait })).blob());
  image.alt = NAMES[slot] ?? slot;
  image.draggable = false;
  await image.decode();
  sizeExactly(image);
  if (trial.slots.length === 1) return make("figure", image);
  const caption = make("figcaption", NAMES[slot] ?? slot, { ariaHidden: "true" });
  return make("figure", [caption, image], { className: slot });
}

function button({ value, label }) {
  const pair = study.protocol === "pairs";
  const content = [make("kbd", String(value)), make("span", label)];
  const one = make("button", content, { type: "button", ariaDisabled: "true", ariaLabel: pair ? `${label} picture` : `${value}, ${label}` });
  one.dataset.value = value;
  one.addEventListener("click", () => answer(value));
  return one;
}

async function answer(value) {
  if (!ready) return;
  ready = false;
  const body = { answer: value, elapsed_ms: Math.round(performance.now() - shownAt) };
  for (const one of $("answers").children) {
    one.ariaDisabled = "true";
    one.ariaPressed = String(Number(one.dataset.value) === value);
  }
  const slow = setTimeout(() => say("Keeping your answer …"), 1000);
  try {
    const kept = call(`/trials/${turn.trial.id}`, { method: "POST", body, onWait });
    const reply = await kept.finally(() => clearTimeout(slow));
    await take((await reply.json()).turn);
  } catch (error) {
    fail(error);
  }
}

// The end, and stopping before it

function end(title, text, completion = "") {
  $("endtitle").textContent = title;
  $("endtext").textContent = text;
  const link = /^https:/.test(completion);
  const shown = link ? make("a", "Tell your panel that you have finished", { href: completion, className: "button primary" }) : make("code", completion);
  $("completion").replaceChildren(...(!completion ? [] : link ? [shown] : ["Your completion code: ", shown]));
  show("end", "endtitle");
}

async function withdraw() {
  if ($("withdraw").textContent !== SURE) {
    $("withdraw").textContent = SURE;
    return;
  }
  try {
    await call("/answers", { method: "DELETE", onWait });
    $("rest").close();
    keepToken("");
    $("progress").hidden = true;
    say("");
    end("Your answers are deleted.", "Nothing of them is left here. Thank you for your time.");
  } catch (error) {
    $("rest").close();
    fail(error);
  }
}

// Keys, window, start

function pressed(event) {
  // A key held down would answer one trial after the other.
  if (event.repeat && ["Enter", " "].includes(event.key)) event.preventDefault();
  if (view !== "trial" || event.repeat || event.ctrlKey || event.metaKey || event.altKey || $("rest").open) return;
  const buttons = [...$("answers").children];
  const chosen = buttons.find((one) => one.dataset.value === event.key);
  if (chosen) answer(Number(event.key));
  const step = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const at = buttons.indexOf(document.activeElement);
  const ends = step > 0 && study.protocol !== "pairs" ? 0 : step > 0 ? buttons.length - 1 : 0;
  buttons[at < 0 ? ends : Math.min(Math.max(at + step, 0), buttons.length - 1)].focus();
}

function changed() {
  if (!study) return;
  if (view === "welcome") allowBegin();
  else if (view === "trial" && !suits(study)) makeRoom();
  else if (view === "narrow") {
    if (suits(study)) take(turn).catch(fail);
    else makeRoom();
  } else if (view === "trial") $("pictures").querySelectorAll("img").forEach(sizeExactly);
}

$("agree").addEventListener("change", allowBegin);
$("begin").addEventListener("click", begin);
$("continue").addEventListener("click", () => {
  rested = turn.trial.index;
  take(turn).catch(fail);
});
$("pause").addEventListener("click", () => {
  $("link").value = location.href;
  $("withdraw").textContent = DELETE;
  $("rest").showModal();
});
$("rest").addEventListener("close", () => (shownAt = performance.now()));
$("link").addEventListener("focus", () => $("link").select());
$("withdraw").addEventListener("click", withdraw);
addEventListener("keydown", pressed, { capture: true });
addEventListener("hashchange", () => location.reload());
watch(changed);

try {
  study = await (await call("", { onWait })).json();
  say("");
  document.title = study.title;
  if (token()) await resume();
  else welcome();
} catch (error) {
  fail(error);
}
