/**
 * Limits of one host: whether a row's next SYN may leave now as far as its host is concerned, or when. The user may limit the rate
 * per host, the rate per prefix and the time per host; and a host may rate-limit its answers itself (rst-limited.ts).
 *
 * Not here: how fast all SYNs together may leave (congestion/pacer.ts).
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
  /** How long one host is probed, from its first SYN on, in microseconds. Ports undecided then are filtered. */
  readonly hostTimeoutUs?: number;
}

export interface HostLimits {
  /** @returns whether the row may be sent now; if not, its timer is armed, or its host's time is over */
  take(row: number, nowUs: number): boolean;
  /** When the time of the row's host is over; Infinity when never. */
  endUs(row: number): number;
  /** Whether the row has a slot, now or when its timer fires. */
  has(row: number): boolean;
  /** The row's SYN leaves, or the row belongs to another pair now: the next SYN needs a slot of its own. */
  clear(row: number): void;
  /** The row needs no slot any more. */
  forget(row: number): void;
}

/** What a row has: nothing, a slot under the user's limits, a place in the line of a host that limits its answers. */
const NONE = 0;
const HAS_SLOT = 1;
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
  const state = new Uint8Array(table.capacity);

  /** @returns when the user's limits let the row's next SYN leave; -1 when its host's time is over */
  function reserve(at: number, nowUs: number): number {
    const atUs = ofHost === undefined ? nowUs : ofHost.reserve(table.peer, at, nowUs);
    if (atUs < 0 || ofPrefix === undefined) return atUs;
    loadPrefix(prefix, table.peer, at);
    return Math.max(atUs, ofPrefix.reserve(prefix, 0, nowUs));
  }

  /** Mean time between the host's answers so far, in microseconds. */
  const answersUs = (host: number, nowUs: number): number =>
    (nowUs - 1000 * hosts.firstMs[host]) / Math.max(1, hosts.closed[host] || hosts.answered[host]);

  const endUs = (row: number): number =>
    ofHost?.endUs(table.peer, row * ADDRESS_WORDS) ?? Number.POSITIVE_INFINITY;

  return {
    take: (row, nowUs) => {
      const isLimited = (marks[hostOf[row]] & MARKS.limited) !== 0;
      if (!byUser && !isLimited && state[row] !== IN_LINE) return true;
      const at = row * ADDRESS_WORDS;
      if (state[row] === NONE) {
        const atUs = reserve(at, nowUs);
        if (atUs < 0) {
          onTimeUp(row, nowUs);
          return false;
        }
        state[row] = HAS_SLOT;
        if (atUs > nowUs) {
          timers.arm(row, atUs);
          return false;
        }
      }
      if (!isLimited && state[row] === HAS_SLOT) return true;
      state[row] = IN_LINE;
      if (nowUs > endUs(row)) {
        onTimeUp(row, nowUs);
        return false;
      }
      const host = hostIn(row, nowUs);
      return rstLimited.take(row, host, table.peer, at, answersUs(host, nowUs), nowUs);
    },
    endUs,
    has: (row) => state[row] !== NONE,
    clear: (row) => {
      state[row] = NONE;
    },
    forget: rstLimited.forget,
  };
}
