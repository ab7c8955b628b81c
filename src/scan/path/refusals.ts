/**
 * SYNs of a walk that this machine's kernel refuses to send, by port: when the next one is tried, and when that is for good.
 *
 * A firewall's rule for a port refuses them all. One that limits new connections, or a full table of them, refuses some, with the same
 * errno: so a port is tried again, ever later, for a second and more, before it is said to be refused.
 * Tested by test/sim/path-refused.test.ts.
 */
import type { Reason } from "../probe/result.ts";

/** What becomes of a SYN: tried again later, left out, or never sent, as none to its port is. */
export type Refusal = "again" | "lost" | "never";

export interface Refused {
  readonly syns: number;
  readonly reason: Reason;
}

export interface Refusals {
  /** The kernel has refused a SYN. */
  refused(port: number, reason: Reason, nowUs: number): Refusal;
  /** The kernel has taken a SYN. @returns whether all to its port were said never to be sent */
  left(port: number): boolean;
  /** Until when no SYN is tried to the port. */
  heldUntil(port: number): number;
  /** Of a port, how many were refused; undefined for none. */
  of(port: number): Refused | undefined;
}

interface State {
  /** Of the ports with refusals, the how many-th it is. */
  readonly index: number;
  syns: number;
  reason: Reason;
  /** Since the last that left: how many, and since when. */
  inARow: number;
  sinceUs: number;
  heldUntilUs: number;
  isNever: boolean;
}

/** Tries of a port that are refused before it is given up, at least, and over how long; where some were refused to any port and others left. */
const FEWEST = 3;
const SPREAD_US = 1_000_000;
const SPREAD_OF_LIMIT_US = 4_000_000;
/** Pauses after a refusal, at first and at most; each is twice the one before. */
const PAUSE_US = 50_000;
const LONGEST_PAUSE_US = 500_000;
/** Ports whose pauses differ, by up to twice: of two that were tried again together, a limit would refuse the same one each time. */
const DIFFERENT = 8;

export function createRefusals(): Refusals {
  const states = new Map<number, State>();
  const left = new Set<number>();
  return {
    refused: (port, reason, nowUs) => {
      const state = states.get(port) ?? {
        index: states.size,
        syns: 0,
        reason,
        inARow: 0,
        sinceUs: nowUs,
        heldUntilUs: 0,
        isNever: false,
      };
      states.set(port, state);
      if (state.inARow === 0) state.sinceUs = nowUs;
      state.syns++;
      state.inARow++;
      state.reason = reason;
      const isLimit = [...states.keys()].some((each) => left.has(each));
      const spreadUs = isLimit ? SPREAD_OF_LIMIT_US : SPREAD_US;
      if (state.inARow >= FEWEST && nowUs - state.sinceUs >= spreadUs) {
        // Whatever else there is to send is tried once.
        state.heldUntilUs = nowUs;
        state.isNever ||= !left.has(port);
        return state.isNever ? "never" : "lost";
      }
      const pauseUs = Math.min(LONGEST_PAUSE_US, PAUSE_US * 2 ** (state.inARow - 1));
      state.heldUntilUs = nowUs + pauseUs * (1 + (state.index % DIFFERENT) / DIFFERENT);
      return "again";
    },
    left: (port) => {
      left.add(port);
      const state = states.get(port);
      if (state === undefined) return false;
      const wasNever = state.isNever;
      state.inARow = 0;
      state.isNever = false;
      return wasNever;
    },
    heldUntil: (port) => states.get(port)?.heldUntilUs ?? Number.NEGATIVE_INFINITY,
    of: (port) => states.get(port),
  };
}
