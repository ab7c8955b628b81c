/**
 * Sends that the link refused: how long each waits before it is tried again, when nothing at all is sent for a while, and since
 * when nothing could be. Pure: times in microseconds.
 *
 * Not here: what an error number means (probe/classify.ts), which rows wait (the engine's timers).
 */

export interface SendBackoff {
  /** Something has left. */
  departed(): void;
  /**
   * The link had no room, its interface is away, or there is no route any more.
   * @param often how often this probe has been refused
   * @returns when it may be tried again
   */
  retryAt(often: number, why: "again" | "away" | "routeless", nowUs: number): number;
  /** Nothing is sent before this. */
  pausedUntil(): number;
  isPaused(nowUs: number): boolean;
  /** Whether nothing has left since all had to pause or a route was lost, and for how long. */
  isStalled(): boolean;
  stalledUs(nowUs: number): number;
  /** The row's last try could not be sent, and why; until it is forgotten. */
  note(row: number, errno: string): void;
  errnoOf(row: number): string | undefined;
  forget(row: number): void;
}

/**
 * A refused probe waits this long, then twice as long, and so on up to the longest; and so do all of them when nothing at all
 * has left between so many refusals, or the interface is away.
 */
const REFUSAL_PAUSE_US = 5_000;
const LONGEST_PAUSE_US = 500_000;
const REFUSALS_OF_ALL = 64;

export function createSendBackoff(): SendBackoff {
  // Refusals since something left; pauses of all since then, and since when.
  let inARow = 0;
  let pauses = 0;
  let stalledSinceUs: number | undefined;
  let pausedUntil = 0;
  const errnos = new Map<number, string>();

  const pauseAfter = (sendBackoff: number): number =>
    Math.min(LONGEST_PAUSE_US, REFUSAL_PAUSE_US * 2 ** Math.min(sendBackoff, 20));

  function pauseAll(nowUs: number): void {
    stalledSinceUs ??= nowUs;
    // One batch's refusals are one.
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
      if (why === "away" || ++inARow >= REFUSALS_OF_ALL) pauseAll(nowUs);
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
