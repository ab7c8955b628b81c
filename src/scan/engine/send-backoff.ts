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
  /**
   * A firewall refused the row's probe. @param often as above
   * @returns when it may be tried again; Infinity for no more
   */
  retryForbiddenAt(row: number, often: number, nowUs: number): number;
  /** Whether a firewall has refused anything, so that `passed` is to be told. */
  isForbidding(): boolean;
  /** Whether it refuses everything now, and it is not known yet whether for good: further probes would only be refused, too. */
  refusesAll(): boolean;
  /** A probe has left that had been refused. */
  passed(): void;
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
}

/**
 * A refused probe waits 10 ms, then twice as long each time, up to 500 ms. All sending pauses after 64 refusals with nothing sent in
 * between, or when the interface is down: 5 ms, then twice as long each time.
 */
const REFUSAL_PAUSE_US = 5_000;
const LONGEST_PAUSE_US = 500_000;
const REFUSALS_OF_ALL = 64;

/**
 * What a firewall refuses is tried again for a second, so many times in all: a full table of connections has room for the next one soon.
 * Where refused probes have been seen to leave, as with a limit, for five.
 */
const FORBIDDEN_TRIES = 8;
const LIMITED_TRIES = 16;
/** After so many probes in a row that were refused for good it is a rule: of further ones only each so-many-th is tried again. */
const MANY_FOR_GOOD = 32;
const STILL_TRIED = 16;
/** Waits of rows that were refused together differ, by up to twice: else a limit would refuse them together again. */
const DIFFERENT = 8;

export function createSendBackoff(): SendBackoff {
  // Since the last packet was sent: refusals, pauses, and when the first pause began.
  let inARow = 0;
  let pauses = 0;
  let stalledSinceUs: number | undefined;
  let pausedUntil = 0;
  const errnos = new Map<number, string>();
  // Of a firewall's refusals: whether there are any, probes in a row that were given up, whether one has left that had been refused.
  let isForbidding = false;
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
    retryForbiddenAt: (row, often, nowUs) => {
      isForbidding = true;
      const isRule = forGood >= MANY_FOR_GOOD && row % STILL_TRIED !== 0;
      if (isRule || often >= (isLimit ? LIMITED_TRIES : FORBIDDEN_TRIES)) {
        forGood++;
        inARow = 0;
        return Number.POSITIVE_INFINITY;
      }
      inARow++;
      return nowUs + pauseAfter(often) * (1 + (row % DIFFERENT) / DIFFERENT);
    },
    isForbidding: () => isForbidding,
    refusesAll: () => isForbidding && forGood < MANY_FOR_GOOD && inARow >= REFUSALS_OF_ALL,
    passed: () => {
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
  };
}
