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

async function askForToken() {
  const dialog = document.querySelector("#ask");
  if (!dialog.open) dialog.showModal();
  await new Promise((closed) => dialog.addEventListener("close", closed, { once: true }));
  sessionStorage.setItem(TOKEN, dialog.querySelector("input").value.trim());
}

/** POST and return the response; waits while the server is full. */
async function post(address, body, { signal, onWait } = {}) {
  for (;;) {
    const token = sessionStorage.getItem(TOKEN);
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    let response;
    try {
      response = await fetch(address, { method: "POST", body, headers, signal });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Problem(0, "The server does not answer; is whet serve still running?");
    }
    if (response.ok) return response;
    const problem = await response.json().catch(() => ({ detail: response.statusText }));
    if (response.status === 401) await askForToken();
    else if (response.status === 429) {
      const seconds = Number(response.headers.get("Retry-After")) || 2;
      onWait?.(seconds);
      await pause(seconds);
    } else throw new Problem(response.status, problem.detail);
  }
}

const query = (options) => new URLSearchParams(options).toString();

/** Restore `file`; returns {blob, seconds}. Options: model, strength, format. */
export async function restore(file, options, how) {
  const response = await post(`api/restore?${query(options)}`, file, how);
  const timing = /dur=([\d.]+)/.exec(response.headers.get("Server-Timing") ?? "");
  return { blob: await response.blob(), seconds: timing ? Number(timing[1]) / 1000 : null };
}

/** PSNR and SSIM of `file`, before and after, against `reference`. */
export async function score(file, reference, options, how) {
  const form = new FormData();
  form.set("picture", file, "picture");
  form.set("reference", reference, "reference");
  return (await post(`api/score?${query(options)}`, form, how)).json();
}

export async function get(address) {
  const response = await fetch(address);
  if (!response.ok) throw new Problem(response.status, `${address} cannot be read`);
  return response.json();
}
