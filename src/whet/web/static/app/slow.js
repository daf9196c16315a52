// Heavy networks: how their work on a picture is said.

const span = (seconds) => (seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.ceil(seconds / 60)} min`);

/** Whether a status is that of a heavy network. */
export const isSlow = (status) => status !== null && "tiles" in status;

/** Say how far it is. */
export function progress({ state, tiles, tiles_expected: expected, seconds_left: left, ahead, seconds_until_start: wait }) {
  if (state === "waiting") return ahead ? `waiting for ${ahead} before it, about ${span(wait)}` : "about to begin …";
  if (!expected) return "preparing …";
  const words = [`tile ${tiles} of ${expected}`];
  if (left != null) words.push(`${span(left)} left`);
  return words.join(", ");
}

/** How much of the work is done, 0 to 1, or null. */
export const share = ({ tiles, tiles_expected: expected }) => (expected ? tiles / expected : null);
