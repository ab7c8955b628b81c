/**
 * Turns: whether a row's next SYN may leave now as far as its host is concerned, or when. A host has so many SYNs a second as the
 * user allows it, or its prefix, or as it answers itself; and so much time.
 *
 * Not here: how fast all of them may leave (pacing.ts), what a host's own pace is (path-watch.ts).
 */
import { ADDRESS_WORDS } from "../socket/table.ts";
import { createHostPace } from "./host-pace.ts";
import { loadPrefix, MARKS } from "./hosts.ts";
import type { PathWatch } from "./path-watch.ts";
import type { Probes } from "./probes.ts";

export interface TurnLimits {
  /** SYNs per second to one host. */
  readonly ratePerHost?: number;
  /** SYNs per second to one prefix, /24 of IPv4 or /64 of IPv6. */
  readonly ratePerPrefix?: number;
  /** How long one host is probed, from its first SYN on, in microseconds: what is undecided then is filtered. */
  readonly hostTimeoutUs?: number;
}

export interface Turns {
  /** @returns whether the row may be sent now; otherwise its timer brings it back, or its host's time is over */
  take(row: number, nowUs: number): boolean;
  /** Whether the row has its turn, now or when its timer says. */
  has(row: number): boolean;
  /** The row's SYN leaves, or the row is another pair's now: the next needs a turn of its own. */
  clear(row: number): void;
}

/** @param onTimeUp the time of the row's host is over */
export function createTurns(
  limits: TurnLimits,
  { table, timers, hostOf, hostIn }: Probes,
  watch: Pick<PathWatch, "hosts" | "turn">,
  onTimeUp: (row: number, nowUs: number) => void,
): Turns {
  const { marks } = watch.hosts;
  const {
    ratePerHost: rate = Number.POSITIVE_INFINITY,
    hostTimeoutUs: timeoutUs = Number.POSITIVE_INFINITY,
    ratePerPrefix,
  } = limits;
  const ofHost =
    Math.min(rate, timeoutUs) === Number.POSITIVE_INFINITY ? undefined : createHostPace({ rate, timeoutUs });
  const ofPrefix =
    ratePerPrefix === undefined
      ? undefined
      : createHostPace({ rate: ratePerPrefix, timeoutUs: Number.POSITIVE_INFINITY });
  const prefix = new Uint32Array(ADDRESS_WORDS);
  const hasTurn = new Uint8Array(table.capacity);
  return {
    take: (row, nowUs) => {
      const paced = (marks[hostOf[row]] & MARKS.paced) !== 0;
      if ((ofHost === undefined && ofPrefix === undefined && !paced) || hasTurn[row] === 1) return true;
      let turn = nowUs;
      if (ofHost !== undefined) {
        turn = ofHost.turn(table.peer, row * ADDRESS_WORDS, nowUs);
        if (turn < 0) {
          onTimeUp(row, nowUs);
          return false;
        }
      }
      if (ofPrefix !== undefined) {
        loadPrefix(prefix, table.peer, row * ADDRESS_WORDS);
        turn = Math.max(turn, ofPrefix.turn(prefix, 0, nowUs));
      }
      if (paced) turn = Math.max(turn, watch.turn(hostIn(row, nowUs), nowUs));
      hasTurn[row] = 1;
      if (turn <= nowUs) return true;
      timers.arm(row, turn);
      return false;
    },
    has: (row) => hasTurn[row] === 1,
    clear: (row) => {
      hasTurn[row] = 0;
    },
  };
}
