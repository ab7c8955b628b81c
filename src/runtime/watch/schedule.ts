/**
 * When the rounds of a watch are due. That is by the wall clock, which may be set while the watch waits, and goes on while the machine
 * sleeps; timers know of neither. Not here: what --every and --cron say (cli/commands/watch.ts).
 */

/** The wall's, and one that is never set and stands still while the machine sleeps; both in milliseconds. */
export interface Clocks {
  wall(): number;
  steady(): number;
}

/** After a sleep of the machine, or when the clock was set forward, a round that is due begins so late at most, in milliseconds. */
const PIECE_MS = 60_000;
/** Clocks run apart by less than this in any wait; by more when one was set. */
const SET_MS = 1000;

/**
 * Waits for a time of the wall clock. One that is set back makes the wait no longer: the watch would see nothing for as long as it was
 * set back.
 * @param wait for so many milliseconds at most
 * @param isOver nobody waits any more
 */
export async function waitUntil(
  atMs: number,
  wait: (ms: number) => Promise<void>,
  isOver: () => boolean,
  { wall, steady }: Clocks,
): Promise<void> {
  const lastMs = steady() + atMs - wall() + SET_MS;
  while (!isOver() && wall() < atMs && steady() < lastMs)
    await wait(Math.min(atMs - wall(), lastMs - steady(), PIECE_MS));
}

/** Rounds that are counted one by one, at most: a clock that was years behind would have left out millions. */
const MOST_COUNTED = 10_000;

/**
 * The next time that has not passed.
 * @param next the time after a time
 * @param firstMs the first that may be it
 * @returns and how many have passed, or as many as are counted
 */
export function nextDue(
  next: (afterMs: number) => number,
  firstMs: number,
  nowMs: number,
): { readonly dueMs: number; readonly missed: number; readonly isCounted: boolean } {
  let dueMs = firstMs;
  let missed = 0;
  for (; dueMs < nowMs && missed < MOST_COUNTED; missed++) dueMs = next(dueMs);
  return dueMs < nowMs
    ? { dueMs: next(nowMs), missed, isCounted: false }
    : { dueMs, missed, isCounted: true };
}

/** Times of a schedule that are looked at, at most, and for how long: a week has whatever days differ. */
const MOST_TIMES = 2000;
const WEEK_MS = 7 * 24 * 3_600_000;

/**
 * How far apart the rounds of a schedule are. Those of working hours, say, lie ten minutes apart but for nights, and which of both comes
 * next is chance.
 * @param next the time after a time; undefined when there is none
 * @returns the least, and the mean; a week each where only one is left
 */
export function gapsOf(
  next: (afterMs: number) => number | undefined,
  nowMs: number,
): { readonly leastMs: number; readonly meanMs: number } {
  const firstMs = next(nowMs);
  let leastMs = Number.POSITIVE_INFINITY;
  let lastMs = firstMs;
  let count = 0;
  let sum = 0;
  while (firstMs !== undefined && lastMs !== undefined && count < MOST_TIMES && sum < WEEK_MS) {
    const atMs = next(lastMs);
    if (atMs !== undefined) {
      leastMs = Math.min(leastMs, atMs - lastMs);
      sum = atMs - firstMs;
      count++;
    }
    lastMs = atMs;
  }
  return count === 0 ? { leastMs: WEEK_MS, meanMs: WEEK_MS } : { leastMs, meanMs: sum / count };
}
