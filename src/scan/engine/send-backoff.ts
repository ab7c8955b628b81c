/**
 * Back-off after the link refused to send: how long one probe waits, when all sending pauses, and how long it has been stalled.
 * Pure: times in microseconds.
 *
 * Not here: what an error number means (probe/classify.ts), which rows wait (the engine's timers).
 */

export interface SendBackoff {
  /** A packet was sent. */
  departed(): void;
  /**
   * The link had no room, its interface is away, or there is no route any more.
   * @param often how many times this probe has been refused
   * @returns when it may be tried again
   */
  retryAt(often: number, why: "again" | "asking" | "away" | "routeless", nowUs: number): number;
  /** A firewall refused the row's try. @returns when it may be tried again; Infinity for no more */
  retryForbiddenAt(row: number, nowUs: number): number;
  /** Whether any row waits for that, and whether this one does. */
  isForbidding(): boolean;
  isWaiting(row: number): boolean;
  /** Whether so many do that further pairs have to wait for them. */
  holdsPairs(): boolean;
  /** The row's try has left. */
  left(row: number): void;
  /** Sending is paused until then. */
  pausedUntil(): number;
  isPaused(nowUs: number): boolean;
  /** Whether nothing has been sent since the pause began or a route was lost, and for how long. */
  isStalled(): boolean;
  stalledUs(nowUs: number): number;
  /** The row's last try could not be sent, and why. Kept until `forget`. */
  note(row: number, errno: string): void;
  errnoOf(row: number): string | undefined;
  forget(row: number): void;
  /** The row is decided. */
  end(row: number): void;
}

/**
 * A refused probe waits 10 ms, then twice as long each time, up to 500 ms. All sending pauses after 64 refusals with nothing sent in
 * between, or when the interface is down: 5 ms, then twice as long each time.
 */
const REFUSAL_PAUSE_US = 5_000;
const LONGEST_PAUSE_US = 500_000;
const REFUSALS_OF_ALL = 64;

/**
 * What a firewall refuses is tried again for a second, so many times in all: a full table of connections has room for the next one
 * soon. Where refused tries have been seen to leave, as with a limit, for fifteen. So many rows wait at most, so that what a limit lets
 * leave is theirs.
 */
const FORBIDDEN_TRIES = 8;
const LIMITED_TRIES = 128;
const LONGEST_LIMITED_PAUSE_US = 80_000;
const MOST_WAITING = 32;
/** After so many rows that were refused for good, and none that left, it is a rule: further ones are tried for a tenth of a second. */
const MANY_FOR_GOOD = 32;
const RULE_TRIES = 4;
/** Waits of rows that were refused together differ, by up to twice: else a limit would refuse them together again. */
const DIFFERENT = 13;

export function createSendBackoff(): SendBackoff {
  // Since the last packet was sent: refusals, pauses, and when the first pause began.
  let inARow = 0;
  let pauses = 0;
  let stalledSinceUs: number | undefined;
  let pausedUntil = 0;
  const errnos = new Map<number, string>();
  /** Rows that a firewall has refused, and how often, until they leave or are over. */
  const waiting = new Map<number, number>();
  /** How many were refused for good since one left; whether one ever has. */
  let forGood = 0;
  let isLimit = false;

  const pauseAfter = (refusals: number): number =>
    Math.min(LONGEST_PAUSE_US, REFUSAL_PAUSE_US * 2 ** Math.min(refusals, 20));

  function pauseAll(nowUs: number): void {
    stalledSinceUs ??= nowUs;
    // The refusals of one batch count as one.
    if (nowUs < pausedUntil) return;
    pausedUntil = nowUs + pauseAfter(pauses++);
  }

  return {
    departed: () => {
      inARow = 0;
      pauses = 0;
      stalledSinceUs = undefined;
    },
    retryAt: (often, why, nowUs) => {
      if (why === "away" || ++inARow >= REFUSALS_OF_ALL) {
        // Neighbours answer, or are given up, all the time: that is no stall.
        if (why === "asking") pausedUntil = Math.max(pausedUntil, nowUs + REFUSAL_PAUSE_US);
        else pauseAll(nowUs);
      }
      // Other hosts may still have routes, so not all pause; but where nothing leaves at all, it is since now.
      if (why === "routeless") stalledSinceUs ??= nowUs;
      return nowUs + pauseAfter(why === "away" ? 0 : often);
    },
    retryForbiddenAt: (row, nowUs) => {
      const often = (waiting.get(row) ?? 0) + 1;
      const most = forGood >= MANY_FOR_GOOD ? RULE_TRIES : isLimit ? LIMITED_TRIES : FORBIDDEN_TRIES;
      if (often >= most) {
        waiting.delete(row);
        forGood++;
        return Number.POSITIVE_INFINITY;
      }
      waiting.set(row, often);
      const longestUs = isLimit ? LONGEST_LIMITED_PAUSE_US : LONGEST_PAUSE_US;
      const longer = 1 + (((row + 1) * often) % DIFFERENT) / DIFFERENT;
      return nowUs + Math.min(longestUs, pauseAfter(often)) * longer;
    },
    isForbidding: () => waiting.size > 0,
    isWaiting: (row) => waiting.size > 0 && waiting.has(row),
    holdsPairs: () => waiting.size >= MOST_WAITING && forGood < MANY_FOR_GOOD,
    left: (row) => {
      if (!waiting.delete(row)) return;
      forGood = 0;
      isLimit = true;
    },
    pausedUntil: () => pausedUntil,
    isPaused: (nowUs) => nowUs < pausedUntil,
    isStalled: () => stalledSinceUs !== undefined,
    stalledUs: (nowUs) => (stalledSinceUs === undefined ? 0 : nowUs - stalledSinceUs),
    note: (row, errno) => {
      errnos.set(row, errno);
    },
    errnoOf: (row) => errnos.get(row),
    forget: (row) => {
      if (errnos.size > 0) errnos.delete(row);
    },
    end: (row) => {
      if (errnos.size > 0) errnos.delete(row);
      if (waiting.size > 0) waiting.delete(row);
    },
  };
}
