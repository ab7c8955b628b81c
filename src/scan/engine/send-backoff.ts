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

export function createSendBackoff(): SendBackoff {
  // Since the last packet was sent: refusals, pauses, and when the first pause began.
  let inARow = 0;
  let pauses = 0;
  let stalledSinceUs: number | undefined;
  let pausedUntil = 0;
  const errnos = new Map<number, string>();

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
