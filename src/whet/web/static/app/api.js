// The server's addresses. A picture is sent as it is, without its name.

const TOKEN = "whet-token";

// The token arrives behind "#", which browsers never send; it leaves the address bar at once.
const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given) {
  sessionStorage.setItem(TOKEN, given);
  history.replaceState(null, "", location.pathname + location.search);
}

/** A refusal, with the server's sentence. */
export class Problem extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

const pause = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

/** Ask for the token; `sent` is the one that the server did not take, if there was one. */
async function askForToken(sent) {
  const dialog = document.querySelector("#ask");
  dialog.querySelector("#wrongtoken").hidden = !sent;
  if (!dialog.open) {
    dialog.returnValue = "";
    dialog.showModal();
  }
  await new Promise((closed) => dialog.addEventListener("close", closed, { once: true }));
  if (!dialog.returnValue) throw new Problem(401, "this server takes nothing without its token");
  sessionStorage.setItem(TOKEN, dialog.querySelector("input").value.trim());
}

const SILENT = "The server does not answer; is whet serve still running?";
const UNREADABLE = "it can no longer be read; choose it again";

/** Why sending `body` failed without an answer: files may be moved or changed after they were chosen. */
async function silence(body) {
  const files = body instanceof FormData ? [...body.values()] : [body];
  for (const file of files.filter((part) => part instanceof Blob)) {
    try {
      await file.slice(0, 1).arrayBuffer();
    } catch {
      return new Problem(0, UNREADABLE);
    }
  }
  return new Problem(0, SILENT);
}

function headers() {
  const token = sessionStorage.getItem(TOKEN);
  return token ? { Authorization: `Bearer ${token}` } : {};
}

/** POST and return the response; waits while the server is full. */
async function post(address, body, { signal, onWait } = {}) {
  for (;;) {
    const sent = sessionStorage.getItem(TOKEN);
    let response;
    try {
      response = await fetch(address, { method: "POST", body, headers: headers(), signal });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw await silence(body);
    }
    if (response.ok) return response;
    const problem = await response.json().catch(() => ({ detail: response.statusText }));
    if (response.status === 401) await askForToken(sent);
    else if (response.status === 429) {
      const seconds = Number(response.headers.get("Retry-After")) || 2;
      onWait?.(seconds);
      await pause(seconds);
    } else throw new Problem(response.status, problem.detail);
  }
}

const query = (options) => new URLSearchParams(options).toString();

/** Restore `file`; returns {blob, notes}. Options: model, strength, format. */
export async function restore(file, options, how) {
  const response = await post(`api/restore?${query(options)}`, file, how);
  const notes = JSON.parse(response.headers.get("Whet-Notes") ?? "[]");
  return { blob: await response.blob(), notes };
}

/** PSNR and SSIM of `file`, before and after, against `reference`. */
export async function score(file, reference, options, how) {
  const form = new FormData();
  form.set("picture", file, "picture");
  form.set("reference", reference, "reference");
  return (await post(`api/score?${query(options)}`, form, how)).json();
}

const POLL_S = 0.4;

/**
 * Restore a video; returns {blob, status}. Options: model, strength. `onStatus` hears what the
 * server says of it, and {state, share} while it travels. Nothing of it stays on the server.
 */
export async function restoreVideo(file, options, { signal, onWait, onStatus }) {
  const place = await post(`api/videos?${query({ ...options, bytes: file.size })}`, null, { signal, onWait });
  const address = `api/videos/${(await place.json()).id}`;
  const drop = () => fetch(address, { method: "DELETE", headers: headers(), keepalive: true }).catch(() => {});
  addEventListener("pagehide", drop);
  try {
    let status = await upload(address, file, signal, (share) => onStatus({ state: "uploading", share }));
    for (; status.state !== "done"; status = await get(address)) {
      if (status.state === "failed") throw new Problem(422, status.detail);
      onStatus(status);
      await pause(POLL_S);
      signal.throwIfAborted();
    }
    onStatus({ state: "fetching" });
    const result = await fetch(`${address}/result`, { signal });
    if (!result.ok) throw new Problem(result.status, "the result cannot be fetched");
    return { blob: await result.blob(), status };
  } finally {
    removeEventListener("pagehide", drop);
    drop();
  }
}

const LOOK_S = 2;

/**
 * Restore a picture with a heavy network; returns {blob, notes}. `onStatus` hears what the server
 * says of it, `onLook` gets a small JPEG in which finished tiles appear. Nothing stays there.
 */
export async function restoreSlowly(file, options, { signal, onWait, onStatus, onLook }) {
  let status = await (await post(`api/studio?${query(options)}`, file, { signal, onWait })).json();
  const address = `api/studio/${status.id}`;
  const drop = () => fetch(address, { method: "DELETE", headers: headers(), keepalive: true }).catch(() => {});
  addEventListener("pagehide", drop);
  let seen = 0;
  let looked = 0;
  try {
    for (; status.state !== "done"; status = await get(address)) {
      if (status.state === "failed") throw new Problem(422, status.detail);
      onStatus(status);
      if (status.tiles > seen && performance.now() - looked > LOOK_S * 1000) {
        [seen, looked] = [status.tiles, performance.now()];
        const look = await fetch(`${address}/so-far`, { signal });
        if (look.ok) onLook(await look.blob());
      }
      await pause(POLL_S);
      signal.throwIfAborted();
    }
    const result = await fetch(`${address}/result`, { signal });
    if (!result.ok) throw new Problem(result.status, "the result cannot be fetched");
    return { blob: await result.blob(), notes: status.notes };
  } finally {
    removeEventListener("pagehide", drop);
    drop();
  }
}

/** PUT with progress, which fetch does not tell. */
function upload(address, file, signal, onShare) {
  return new Promise((done, failed) => {
    const request = new XMLHttpRequest();
    request.open("PUT", address);
    for (const [name, value] of Object.entries(headers())) request.setRequestHeader(name, value);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.responseType = "json";
    request.upload.onprogress = (event) => onShare(event.loaded / file.size);
    request.onerror = () => silence(file).then(failed);
    request.onabort = () => failed(signal.reason);
    request.onload = () => {
      if (request.status < 300) done(request.response);
      else failed(new Problem(request.status, request.response?.detail ?? request.statusText));
    };
    signal.addEventListener("abort", () => request.abort(), { once: true });
    if (signal.aborted) failed(signal.reason);
    else request.send(file);
  });
}

export async function get(address) {
  const response = await fetch(address).catch(() => null);
  if (!response) throw new Problem(0, SILENT);
  if (!response.ok) throw new Problem(response.status, `${address} cannot be read`);
  return response.json();
}
