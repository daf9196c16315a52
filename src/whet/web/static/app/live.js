// The page that sharpens the visitor's camera. Nothing here sends anything.

import { Beyond } from "./beyond.js";
import { Compare } from "./compare.js";
import { LINES, Pace } from "./pace.js";

const $ = (id) => document.getElementById(id);
const compare = new Compare($("compare"), { before: "camera", after: "restored" });
const camera = document.createElement("canvas"); // a frame as the camera gave it
const small = document.createElement("canvas"); // what the network made of it, where nothing can enlarge that
const enlarged = new Beyond();
const video = document.createElement("video");
video.muted = video.playsInline = true;

let worker = null;
let backend = "";
let stream = null;
let pace = null;
let busy = false;
const shown = []; // times at which frames were shown, of the last second

function say(sentence, problem = false) {
  $("status").textContent = sentence;
  $("status").classList.toggle("problem", problem);
  // On phones the settings may have pushed it out of sight.
  if (problem) $("status").scrollIntoView({ block: "nearest" });
}

// Before the camera

const invitation = $("invitation").content.firstElementChild;
compare.view.append(invitation);
compare.tools.hidden = true;

async function prepare() {
  const parts = await (await fetch("live.json")).json();
  if (!parts.runtime) {
    $("invitetext").textContent =
      "The runtime that computes in the browser is not on this server yet (33 MB, once). On the machine that serves this page, run:";
    const command = document.createElement("pre");
    command.innerHTML = "<code>whet serve --fetch</code>";
    $("start").replaceWith(command);
    return null;
  }
  return parts.model;
}

const prepared = prepare().catch(() => say("The server does not answer.", true));

function openWorker({ name, multiple }) {
  return new Promise((opened, failed) => {
    worker = new Worker(new URL("live-worker.js", import.meta.url), { type: "module" });
    worker.onerror = (event) => failed(new Error(event.message || "the network cannot be loaded"));
    worker.onmessage = ({ data }) => {
      if (data.failed) failed(new Error(data.failed));
      else {
        backend = data.opened;
        worker.onmessage = receive;
        opened();
      }
    };
    fetch(`models/${name}.onnx`)
      .then((response) => response.arrayBuffer())
      .then((model) => worker.postMessage({ model, multiple }, [model]), failed);
  });
}

// The camera

async function start(deviceId) {
  $("start").disabled = true;
  try {
    if (!navigator.mediaDevices) throw new Error("Browsers give a camera only to pages opened by https or on localhost.");
    const model = await prepared;
    if (!model) return;
    const wanted = { width: { ideal: 1280 }, height: { ideal: 720 } };
    if (deviceId) wanted.deviceId = { exact: deviceId };
    stop();
    stream = await navigator.mediaDevices.getUserMedia({ video: wanted, audio: false });
    watch(stream.getVideoTracks()[0]);
    video.srcObject = stream;
    await video.play();
    say("Opening the network …");
    if (!worker) await openWorker(model);
    say("");
    pace = new Pace(video.videoHeight);
    pace.fix(Number($("resolution").value) || null);
    await listChoices();
    invitation.hidden = true;
    compare.tools.hidden = false;
    $("stop").disabled = false;
    next();
  } catch (error) {
    stop();
    const reasons = {
      NotAllowedError: "The camera was refused; allow it in the browser's address bar.",
      NotFoundError: "There is no camera on this device.",
      NotReadableError: "Another program is using the camera.",
    };
    say(reasons[error.name] ?? error.message, true);
  }
  $("start").disabled = false;
}

/** Hear of a camera that is unplugged, taken away by another program, or covered by its switch. */
function watch(track) {
  const ours = () => track === stream?.getVideoTracks()[0];
  track.addEventListener("ended", () => {
    if (!ours()) return;
    stop();
    say("The camera has ended: it was unplugged, or something else took it. Start it again.", true);
  });
  track.addEventListener("mute", () => ours() && say("The camera gives no picture at the moment.", true));
  track.addEventListener("unmute", () => ours() && say(""));
}

function stop() {
  stream?.getTracks().forEach((track) => track.stop());
  stream = null;
  shown.length = 0;
  $("stop").disabled = true;
  invitation.hidden = false;
  compare.tools.hidden = true;
  for (const id of ["fps", "latency", "lines"]) $(id).textContent = "–";
  $("facts").textContent = "The camera is off.";
}

async function listChoices() {
  const cameras = (await navigator.mediaDevices.enumerateDevices()).filter((d) => d.kind === "videoinput");
  const current = stream.getVideoTracks()[0].getSettings().deviceId;
  $("camera").replaceChildren(...cameras.map((d, i) => new Option(d.label || `camera ${i + 1}`, d.deviceId, false, d.deviceId === current)));
  $("camerafield").hidden = cameras.length < 2;
}

// Frames: one at a time, always the newest

async function next() {
  if (!stream || busy) return;
  busy = true;
  const taken = performance.now();
  try {
    const bitmap = await createImageBitmap(video);
    worker.postMessage({ bitmap, lines: pace.lines, taken }, [bitmap]);
  } catch {
    busy = false; // the camera is not ready for a moment
    setTimeout(next, 100);
  }
}

function receive({ data }) {
  busy = false;
  if (!stream) return;
  if (data.failed) {
    stop();
    say(`The network cannot run here: ${data.failed}`, true);
    return;
  }
  if (data.reopened) {
    backend = data.reopened;
    next();
    return;
  }
  draw(data);
  pace.note(data.milliseconds);
  count(data);
  // A hidden page rests; so does a camera's last frame until the next one is there.
  if (document.hidden) document.addEventListener("visibilitychange", next, { once: true });
  else if (video.requestVideoFrameCallback && data.milliseconds < 25) video.requestVideoFrameCallback(next);
  else next();
}

/**
 * Show the whole frame, with what the network changed in a smaller copy enlarged and added to it: the
 * restored side never has less than the camera gave.
 */
function draw({ bitmap, before, after }) {
  const { width, height } = bitmap;
  sized(camera, width, height).drawImage(bitmap, 0, 0);
  bitmap.close();
  if (enlarged.load({ base: camera, before, after }, [width, height])) {
    enlarged.draw(1);
    compare.show(camera, enlarged.canvas, width, height);
  } else {
    sized(small, before.width, before.height).putImageData(after, 0, 0);
    compare.show(camera, small, width, height);
  }
}

function sized(canvas, width, height) {
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  return canvas.getContext("2d");
}

function count({ before, taken }) {
  const now = performance.now();
  shown.push(now);
  while (shown[0] < now - 2000) shown.shift();
  const span = now - shown[0];
  $("latency").textContent = Math.round(now - taken);
  $("lines").textContent = before.height;
  if (span > 300) $("fps").textContent = (((shown.length - 1) * 1000) / span).toFixed(1);
  const text = `${camera.width} × ${camera.height}, restored at ${before.width} × ${before.height} on the ${backend}`;
  if ($("facts").textContent !== text) $("facts").textContent = text;
}

// Settings

for (const lines of LINES) $("resolution").append(new Option(`${lines} lines`, lines));
$("resolution").addEventListener("change", () => pace?.fix(Number($("resolution").value) || null));
$("strength").addEventListener("input", () => {
  $("strengthvalue").textContent = `${$("strength").value}%`;
  compare.strength = Number($("strength").value) / 100;
});
compare.strength = 1;
$("camera").addEventListener("change", () => start($("camera").value));
$("start").addEventListener("click", () => start());
$("stop").addEventListener("click", stop);
