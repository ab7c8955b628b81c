/**
 * Whether what was lost is lost again more often than chance explains, whatever the cause: of a pair that was answered in the end,
 * each try after the first would be lost as any other SYN of that time.
 *
 * It sees what loss-bursts.ts leaves out: RSTs of hosts that may limit them, which show nothing of the path. So it says of no port how
 * doubtful it is, only that silence is to be verified. Pairs that were never answered are not in it, and by these it errs to one side:
 * it overlooks, and does not cry out.
 */
import type { Tries } from "./loss-bursts.ts";

/** So many standard errors, and losses, more than are expected. */
const ERRORS = 4;
const LOSSES = 3;

export function createRepeatedLosses() {
  /** Tries that were to be lost, and that were. Numbers of their own would be allocated at each change. */
  const expected = new Float64Array(1);
  let seen = 0;
  return {
    /** A pair was answered at its last try; all before it were lost. */
    add: ({ count, losses }: Tries): void => {
      for (let k = 1; k < count; k++) expected[0] += losses[k];
      seen += count - 2;
    },
    isSeen: (): boolean => seen > expected[0] + ERRORS * Math.sqrt(expected[0]) + LOSSES,
  };
}
