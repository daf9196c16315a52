// The server's side of a study. What it has not acknowledged is sent again until it is.

const study = location.pathname.split("/").filter(Boolean).pop();
const root = new URL(`../api/study/${study}`, import.meta.url);

/** A refusal, with the server's sentence. */
export class Refusal extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

// The participant's token stands behind "#", which browsers never send.
export const token = () => location.hash.slice(1);
export const keepToken = (drawn) => history.replaceState(null, "", `${location.pathname}#${drawn}`);

const pause = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

/** Ask for `path` below the study; `onWait(sentence)` is told whenever it has to be asked again. */
export async function call(path = "", { method = "GET", body, onWait } = {}) {
  const headers = {};
  if (token()) headers["Whet-Participant"] = token();
  if (body) headers["Content-Type"] = "application/json";
  const request = { method, headers, body: body && JSON.stringify(body) };
  for (let wait = 1; ; wait = Math.min(2 * wait, 8)) {
    const response = await fetch(root + path, request).catch(() => null);
    if (response?.ok) return response;
    const problem = await response?.json().catch(() => ({ detail: response.statusText }));
    if (response && response.status < 502 && response.status !== 429) throw new Refusal(response.status, problem.detail);
    onWait?.(problem?.detail ?? "The server does not answer. Trying again; please leave this page open.");
    await pause(Number(response?.headers.get("Retry-After")) || wait);
  }
}
