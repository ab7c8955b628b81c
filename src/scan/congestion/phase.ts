/**
 * The phases of the rate controller, and which may follow which.
 *
 *     startup ──> draining ──> probing
 *        ^  └────────│──────────^  ^
 *        │           v             │
 *        └────── suspecting ───────┘
 *
 * A phase carries only what is meaningless outside it. What each phase does stands in controller.ts.
 */

export type Phase =
  /** The rate is multiplied after each round trip that was answered well (slow-start.ts). */
  | { readonly name: "startup" }
  /** The rate was cut, or another sender filled the queue: no growth until the queue is gone. */
  | {
      readonly name: "draining";
      /** A queue that is still there then is another sender's as well: the rate is cut once more. */
      readonly yieldUs: number;
      /** A queue that is still there then is taken for a longer path. */
      readonly acceptUs: number;
    }
  /** No queue: the rate grows with time until a queue or loss shows. */
  | { readonly name: "probing" }
  /**
   * The rate was cut because fewer SYNs were answered, the queue is gone, and it is not yet known whether the cut helped. Growth
   * pauses; then it is as in probing.
   */
  | { readonly name: "suspecting" };

export type PhaseName = Phase["name"];

const NEXT: Readonly<Record<PhaseName, readonly PhaseName[]>> = {
  startup: ["draining", "probing"],
  // A queue may grow, or a deadline move, while the last one drains. Startup resumes when loss turned out unrelated to the rate.
  draining: ["draining", "probing", "suspecting", "startup"],
  probing: ["draining"],
  suspecting: ["draining", "probing", "startup"],
};

export interface PhaseMachine {
  current(): Phase;
  is(name: PhaseName): boolean;
  /** @throws {Error} when `next` may not follow the current phase: a bug in the controller */
  transitionTo(next: Phase): void;
}

/** Begins in startup. */
export function createPhaseMachine(): PhaseMachine {
  let phase: Phase = { name: "startup" };
  return {
    current: () => phase,
    is: (name) => phase.name === name,
    transitionTo: (next) => {
      if (!NEXT[phase.name].includes(next.name)) {
        throw new Error(`the rate controller cannot go from ${phase.name} to ${next.name}`);
      }
      phase = next;
    },
  };
}
