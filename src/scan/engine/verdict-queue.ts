/**
 * Verdicts that wait to be taken, in the order they fell. Their memory is used again and again.
 *
 * Not here: what decides a row (row-lifecycle.ts), verdicts that wait for what else their host answers (hosts/tarpits.ts).
 * Tested by test/scan/engine/engine.test.ts and test/sim/path-knowledge.test.ts.
 */
import { newVerdict, type Verdict, type VerdictDraft } from "../probe/verdict.ts";

export interface VerdictQueue {
  /** Memory for the next verdict. It is queued by `enqueue`; until then each call returns the same. */
  draft(): VerdictDraft;
  /** Queues the draft, which is complete. */
  enqueue(): void;
  /** The next verdict. It is valid until the next `draft` after the queue has been emptied. */
  poll(): Verdict | undefined;
}

/** Slots that are kept to be used again. */
const MOST_SLOTS = 8192;

export function createVerdictQueue(): VerdictQueue {
  /** Verdicts to hand over, from `head` to `end`, then the draft; the slots are used again when all are taken. */
  const slots: VerdictDraft[] = [];
  let head = 0;
  let end = 0;
  return {
    draft: () => {
      if (end === slots.length) slots.push(newVerdict());
      return slots[end];
    },
    enqueue: () => {
      end++;
    },
    poll: () => {
      if (head < end) return slots[head++];
      head = 0;
      end = 0;
      // After a stall there may be very many.
      if (slots.length > MOST_SLOTS) slots.length = MOST_SLOTS;
      return undefined;
    },
  };
}
