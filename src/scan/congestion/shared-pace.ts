/**
 * The pace of a run that begins before others over the same path have ended: what the earlier ones send counts against the later one's
 * rate, so that all together send no faster than one. The earlier ones need not know, and the later one takes what they leave.
 *
 * Each run counts what it sends in memory of its own, which threads share. Not here: pacing (pacer.ts), how a rate is found
 * (controller.ts).
 */

export interface SharedPace {
  /** This run sends a packet. */
  spend(): void;
  /** What the earlier runs have sent since this was last asked: this engine's part of it. */
  spentBefore(): number;
}

/** @returns memory for the count of one run */
export const paceMemory = (): SharedArrayBuffer => new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);

/**
 * @param own this run's memory
 * @param before the earlier runs'
 * @param engines of this run, among which its rate is divided
 */
export function createSharedPace(
  own: SharedArrayBuffer,
  before: readonly SharedArrayBuffer[],
  engines: number,
): SharedPace {
  const sent = new Int32Array(own);
  const earlier = before.map((memory) => new Int32Array(memory));
  const count = (): number => {
    let sum = 0;
    for (const each of earlier) sum += Atomics.load(each, 0);
    return sum;
  };
  let seen = count();
  return {
    spend: () => void Atomics.add(sent, 0, 1),
    spentBefore: () => {
      const now = count();
      // A count may have passed the largest number there is.
      const more = (now - seen) | 0;
      seen = now;
      return more / engines;
    },
  };
}
