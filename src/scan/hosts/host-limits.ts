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
import { type RstLimited, TURN, type Turn } from "./rst-limited.ts";

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
  /** Whether the row may be sent now. When `later`, its timer brings it back; after `control`, `give` is to be called. */
  take(row: number, nowUs: number): Turn;
  /** Uses the slot that a row was offered with `control`. */
  give(row: number, toControl: boolean, nowUs: number): void;
  /** Whether the row has a slot, now or when its timer fires. */
  has(row: number): boolean;
  /**
   * Whether the user's limits hold back the SYN of a row that may be sent: what has left meanwhile was more than its slot reckoned
   * with, or its host's time is up meanwhile. Its timer brings it back then.
   */
  holdsBack(row: number, nowUs: number): boolean;
  /** The row's SYN leaves: the next needs a slot of its own. */
  leaves(row: number, nowUs: number): void;
  /** The row belongs to another pair now. */
  clear(row: number): void;
  /** The row needs no slot any more. */
  forget(row: number): void;
}

/** What a row has: nothing, a slot under the user's limits, a place in the line of a host that limits its answers. */
const NONE = 0;
const HAS_SLOT = 1;
const IN_LINE = 2;

/** What the user allows each host. */
export interface UserLimits {
  /** Whether there is any limit on when a SYN leaves. */
  readonly isSet: boolean;
  /** When a SYN to the row's host may leave; -1 when the host's time is up. */
  turn(row: number, nowUs: number): number;
  /** When the time of the row's host is up; Infinity when never. */
  endUs(row: number): number;
  /** Whether a SYN of the row may leave now, after those that have. */
  isFree(row: number, nowUs: number): boolean;
  /** When one that may not is to come again. */
  again(row: number, nowUs: number): number;
  left(row: number, nowUs: number): void;
}

export function createUserLimits(limits: HostLimitOptions, peer: Uint32Array): UserLimits {
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
  return {
    isSet: ofHost !== undefined || ofPrefix !== undefined,
    turn: (row, nowUs) => {
      const at = row * ADDRESS_WORDS;
      const turn = ofHost === undefined ? nowUs : ofHost.reserve(peer, at, nowUs);
      if (turn < 0 || ofPrefix === undefined) return turn;
      loadPrefix(prefix, peer, at);
      return Math.max(turn, ofPrefix.reserve(prefix, 0, nowUs));
    },
    endUs: (row) => ofHost?.endUs(peer, row * ADDRESS_WORDS) ?? Number.POSITIVE_INFINITY,
    isFree: (row, nowUs) => {
      const at = row * ADDRESS_WORDS;
      if (ofHost?.isFree(peer, at, nowUs) === false) return false;
      loadPrefix(prefix, peer, at);
      return ofPrefix?.isFree(prefix, 0, nowUs) !== false;
    },
    again: (row, nowUs) => {
      const at = row * ADDRESS_WORDS;
      loadPrefix(prefix, peer, at);
      return Math.max(ofHost?.again(peer, at, nowUs) ?? nowUs, ofPrefix?.again(prefix, 0, nowUs) ?? nowUs);
    },
    left: (row, nowUs) => {
      const at = row * ADDRESS_WORDS;
      loadPrefix(prefix, peer, at);
      ofHost?.left(peer, at, nowUs);
      ofPrefix?.left(prefix, 0, nowUs);
    },
  };
}

export function createHostLimits(
  userLimits: UserLimits,
  { table, timers, hostOf, hostIn }: InFlight,
  { hosts }: Pick<PathState, "hosts">,
  rstLimited: Pick<RstLimited, "take" | "give" | "forget">,
): HostLimits {
  const { marks } = hosts;
  const held = new Uint8Array(table.capacity);

  /** Mean time between the host's answers so far, in microseconds. */
  const answersUs = (host: number, nowUs: number): number =>
    (nowUs - 1000 * hosts.firstMs[host]) / Math.max(1, hosts.closed[host] || hosts.answered[host]);

  return {
    take: (row, nowUs) => {
      const paced = (marks[hostOf[row]] & MARKS.limited) !== 0;
      if (!userLimits.isSet && !paced && held[row] !== IN_LINE) return TURN.now;
      if (held[row] === NONE) {
        const turnUs = userLimits.turn(row, nowUs);
        if (turnUs < 0) return TURN.never;
        held[row] = HAS_SLOT;
        if (turnUs > nowUs) {
          timers.arm(row, turnUs);
          return TURN.later;
        }
      }
      if (nowUs > userLimits.endUs(row)) return TURN.never;
      if (!paced && held[row] === HAS_SLOT) return TURN.now;
      held[row] = IN_LINE;
      const at = row * ADDRESS_WORDS;
      const host = hostIn(row, nowUs);
      return rstLimited.take(row, host, table.peer, at, answersUs(host, nowUs), nowUs);
    },
    give: rstLimited.give,
    has: (row) => held[row] !== NONE,
    holdsBack: (row, nowUs) => {
      if (!userLimits.isSet) return false;
      const leftUs = userLimits.endUs(row) - nowUs;
      if (leftUs >= 0 && userLimits.isFree(row, nowUs)) return false;
      held[row] = Math.max(held[row], HAS_SLOT);
      timers.arm(row, leftUs < 0 ? nowUs : Math.min(userLimits.again(row, nowUs), nowUs + leftUs + 1));
      return true;
    },
    leaves: (row, nowUs) => {
      held[row] = NONE;
      if (userLimits.isSet) userLimits.left(row, nowUs);
    },
    clear: (row) => {
      held[row] = NONE;
    },
    forget: rstLimited.forget,
  };
}
