/**
 * The pace of a run that begins before another one over the same path has ended: what the earlier one still sends counts against the
 * later one's rate, so that both together send no faster than one. The earlier one need not know.
 *
 * Each run counts what it sends in memory of its own, which threads share. Not here: pacing (pacer.ts), how a rate is found
 * (controller.ts).
 */

export interface SharedPace {
  /** This run sends a packet. */
  spend(): void;
  /** What the earlier run has sent since this was last asked: this engine's part of it. */
  spentBefore(): number;
}

/** @returns memory for the count of one run */
export const paceMemory = (): SharedArrayBuffer => new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);

/**
 * @param own this run's memory
 * @param before the earlier run's
 * @param engines of this run, among which its rate is divided
 */
export function createSharedPace(
  own: SharedArrayBuffer,
  before: SharedArrayBuffer | undefined,
  engines: number,
): SharedPace {
  const sent = new Int32Array(own);
  const earlier = before === undefined ? undefined : new Int32Array(before);
  const count = (): number => (earlier === undefined ? 0 : Atomics.load(earlier, 0));
  let seen = count();
  return {
    spend: () => void Atomics.add(sent, 0, 1),
    spentBefore: () => {
      const now = count();
      // The count may have passed the largest number there is.
      const more = (now - seen) | 0;
      seen = now;
      return more / engines;
    },
  };
}
