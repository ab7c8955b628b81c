/**
 * Turns: whether a row's next SYN may leave now as far as its host is concerned, or when. A host has so many SYNs a second as the
 * user allows it, or its prefix, or as it answers itself (rst-limited.ts); and so much time.
 *
 * Not here: how fast all of them may leave (congestion/pacer.ts).
 */
import { ADDRESS_WORDS } from "../../socket/table.ts";
import type { PathState } from "../congestion/path-state.ts";
import { loadPrefix, MARKS } from "../measure/host-cache.ts";
import type { InFlight } from "../probe/in-flight.ts";
import { createHostRate } from "./host-rate.ts";
import type { RstLimited } from "./rst-limited.ts";

export interface HostLimitOptions {
  /** Random for each run (socket/table.ts). */
  readonly seed: number;
  /** SYNs per second to one host. */
  readonly ratePerHost?: number;
  /** SYNs per second to one prefix, /24 of IPv4 or /64 of IPv6. */
  readonly ratePerPrefix?: number;
  /** How long one host is probed, from its first SYN on, in microseconds: what is undecided then is filtered. */
  readonly hostTimeoutUs?: number;
}

export interface HostLimits {
  /** @returns whether the row may be sent now; otherwise its timer brings it back, or its host's time is over */
  take(row: number, nowUs: number): boolean;
  /** When the time of the row's host is over; Infinity when never. */
  endUs(row: number): number;
  /** Whether the row has its turn, now or when its timer says. */
  has(row: number): boolean;
  /** The row's SYN leaves, or the row is another pair's now: the next needs a turn of its own. */
  clear(row: number): void;
  /** The row needs no turn any more. */
  forget(row: number): void;
}

/** What a row has: nothing, a turn as far as the user's limits go, a place in the line of a host with a pace of its own. */
const NONE = 0;
const OWN_TURN = 1;
const IN_LINE = 2;

/** @param onTimeUp the time of the row's host is over */
export function createHostLimits(
  limits: HostLimitOptions,
  { table, timers, hostOf, hostIn }: InFlight,
  { hosts }: Pick<PathState, "hosts">,
  rstLimited: RstLimited,
  onTimeUp: (row: number, nowUs: number) => void,
): HostLimits {
  const { marks } = hosts;
  const {
    ratePerHost: rate = Number.POSITIVE_INFINITY,
    hostTimeoutUs: timeoutUs = Number.POSITIVE_INFINITY,
    ratePerPrefix,
    seed,
  } = limits;
  const ofHost =
    Math.min(rate, timeoutUs) === Number.POSITIVE_INFINITY
      ? undefined
      : createHostRate({ rate, timeoutUs, seed });
  const ofPrefix =
    ratePerPrefix === undefined
      ? undefined
      : createHostRate({ rate: ratePerPrefix, timeoutUs: Number.POSITIVE_INFINITY, seed });
  const prefix = new Uint32Array(ADDRESS_WORDS);
  const byUser = ofHost !== undefined || ofPrefix !== undefined;
  const hostLimits = new Uint8Array(table.capacity);

  /** @returns when the user's limits let the row's next SYN leave; -1 when its host's time is over */
  function userTurn(at: number, nowUs: number): number {
    const turn = ofHost === undefined ? nowUs : ofHost.turn(table.peer, at, nowUs);
    if (turn < 0 || ofPrefix === undefined) return turn;
    loadPrefix(prefix, table.peer, at);
    return Math.max(turn, ofPrefix.turn(prefix, 0, nowUs));
  }

  /** The mean time between its answers so far. */
  const answersUs = (host: number, nowUs: number): number =>
    (nowUs - 1000 * hosts.firstMs[host]) / Math.max(1, hosts.closed[host] || hosts.answered[host]);

  const endUs = (row: number): number =>
    ofHost?.endUs(table.peer, row * ADDRESS_WORDS) ?? Number.POSITIVE_INFINITY;

  return {
    take: (row, nowUs) => {
      const paced = (marks[hostOf[row]] & MARKS.limited) !== 0;
      if (!byUser && !paced && hostLimits[row] !== IN_LINE) return true;
      const at = row * ADDRESS_WORDS;
      if (hostLimits[row] === NONE) {
        const turn = userTurn(at, nowUs);
        if (turn < 0) {
          onTimeUp(row, nowUs);
          return false;
        }
        hostLimits[row] = OWN_TURN;
        if (turn > nowUs) {
          timers.arm(row, turn);
          return false;
        }
      }
      if (!paced && hostLimits[row] === OWN_TURN) return true;
      hostLimits[row] = IN_LINE;
      if (nowUs > endUs(row)) {
        onTimeUp(row, nowUs);
        return false;
      }
      const host = hostIn(row, nowUs);
      return rstLimited.take(row, host, table.peer, at, answersUs(host, nowUs), nowUs);
    },
    endUs,
    has: (row) => hostLimits[row] !== NONE,
    clear: (row) => {
      hostLimits[row] = NONE;
    },
    forget: rstLimited.forget,
  };
}
