/**
 * How long ago the oldest SYN left whose next try is due and has not left: a loss shows when the next try is answered, and tries wait
 * for others, above all while a run looks for its rate. Until then an interval shows what arrived of it, and nothing of what was lost.
 *
 * Pure: times in microseconds. Not here: what a loss means (loss-ledger.ts).
 * Tested by test/scan/measure/unretried.test.ts and test/sim/lab-scan.test.ts.
 */

export interface Unretried {
  /**
   * @param sinceUs the oldest such SYN left then; Infinity when there is none
   * @param answerUs after this time the answers to most next tries are there
   */
  note(nowUs: number, sinceUs: number, answerUs: number): void;
  /** What left from then on may have lost what nothing shows yet. */
  sinceUs(): number;
}

/** Parts of the time that an answer takes, which are told apart. */
const PARTS = 8;

export function createUnretried(): Unretried {
  /** The oldest of each of the last parts: what was retried lately is not answered yet. */
  const oldest = new Float64Array(PARTS + 1).fill(Number.POSITIVE_INFINITY);
  let part = 0;
  let endUs = 0;
  return {
    note: (nowUs, sinceUs, answerUs) => {
      if (nowUs >= endUs) {
        part = (part + 1) % oldest.length;
        oldest[part] = Number.POSITIVE_INFINITY;
        endUs = nowUs + answerUs / PARTS;
      }
      oldest[part] = Math.min(oldest[part], sinceUs);
    },
    sinceUs: () => oldest.reduce((least, us) => Math.min(least, us)),
  };
}
