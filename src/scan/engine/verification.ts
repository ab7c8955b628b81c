/**
 * Verification: when every pair is decided, a random sample of the silent ones is asked once more, well after its last try and from
 * another source port. What answers then is corrected as by any late answer, and how many did bounds what is still missed without
 * any model of loss (measure/recapture.ts).
 *
 * Only pairs that are still in the table, which are the last 131,072 silent ones, and that have a try left: no port gets more SYNs
 * than --retries allows, but where the interface went away behind its last (timeouts.ts). Not pairs of hosts that were found to limit
 * their RSTs, whose silence is no loss. When more answer than the doubts said, or were to be, all others are asked, too, and who
 * stayed silent again, until a round shows no more of them.
 *
 * Not here: what the answer is (receive.ts), what is stated (runtime/results/totals.ts). Tested by test/sim/verification.test.ts.
 */
import { PROBE_STATES } from "../../socket/state.ts";
import { ADDRESS_WORDS } from "../../socket/table.ts";
import type { PathState } from "../congestion/path-state.ts";
import type { HostLimits } from "../hosts/host-limits.ts";
import { type RstLimited, TURN } from "../hosts/rst-limited.ts";
import { AFTER_US, contradicts, FEWEST_ASKED, type Verify } from "../measure/recapture.ts";
import { type InFlight, SPREAD_ASKED, SPREAD_VERIFIED } from "../probe/in-flight.ts";
import type { EngineCounters } from "./counters.ts";
import type { RowQueue } from "./row-queue.ts";

export interface Verification {
  /** Every pair is decided. */
  begin(): void;
  /** Whether silent pairs are being asked, or will be. */
  isPending(): boolean;
  /** When `proceed` has something to do; Infinity when only rows have. */
  nextAt(): number;
  /** Handles the deadline of a decided row. */
  expire(row: number, nowUs: number): void;
  /** Asks the next, if it is their turn. */
  proceed(nowUs: number): void;
  /** What is under way is over. */
  giveUp(): void;
  /** The part of the silent pairs that had no try left when the sample was drawn: it does not speak for them. */
  spent(): number;
}

export interface VerificationOptions {
  readonly verify: Verify;
  readonly inFlight: InFlight;
  readonly pathState: PathState;
  /** With less doubt than this a pair may be called silent; 0 where none was asked for. */
  readonly acceptedDoubt: number;
  readonly hostLimits: HostLimits;
  readonly rstLimited: Pick<RstLimited, "findings">;
  readonly retransmitQueue: RowQueue;
  readonly counts: EngineCounters;
  /** A whole number from 0 to `below - 1`. */
  readonly random: (below: number) => number;
  readonly startUs: number;
  /** No pair is asked any more. */
  readonly onEnd: () => void;
}

/** A sample has at least FEWEST_ASKED, or this share of the SYNs sent so far. */
const SHARE = 0.15;
/** A round takes at most so long, or this share of the run's time. */
const LONGEST_US = 3_000_000;
const MOST_ROUNDS = 4;
/** Fewer lost round trips than this show neither bursts nor that there are none. */
const FEW_LOST = 20;
/** The same where nothing speaks for bursts: of pairs whose last try is that long ago, so that none is waited for. */
const SHARE_UNASKED_FOR = 0.05;

export function createVerification(options: VerificationOptions): Verification {
  const { verify, inFlight, pathState, acceptedDoubt, hostLimits, rstLimited, retransmitQueue } = options;
  const { counts, random, startUs, onEnd } = options;
  const { table, timers, spread, unprovedReset, columnOf, hostIn } = inFlight;
  const { path } = counts;
  let state: "idle" | "due" | "asking" | "over" = "idle";
  /** Silent rows that were not asked in this round: the first `left`. */
  let candidates = new Int32Array(0);
  let left = 0;
  let pending = 0;
  let rounds = 0;
  /** How long a round may take, and when this one ends. */
  let roundUs = Number.POSITIVE_INFINITY;
  let endUs = Number.POSITIVE_INFINITY;
  let spent = 0;
  /** What was stated before, the mean doubt of a silent port; no more than was asked for. */
  let doubt = 0;

  const keyOf = (words: Uint32Array, at: number): string => words.subarray(at, at + ADDRESS_WORDS).join(":");

  /** Losses come in bursts, or may: a few may be all that is seen of these, which long runs find out in little of their time. */
  const mayCluster = (nowUs: number): boolean =>
    pathState.isClustered() ||
    pathState.isSuspected() ||
    (pathState.lostSoFar() < FEW_LOST && AFTER_US <= SHARE * (nowUs - startUs));

  /** @param latestUs rows whose last try left later are left out */
  function collect(latestUs: number): void {
    candidates = new Int32Array(counts.states.filtered);
    left = 0;
    const limited = new Set(
      rstLimited
        .findings(pathState.loss())
        .filter(({ perSecond }) => perSecond !== undefined)
        .map(({ words }) => keyOf(words, 0)),
    );
    const touched = table.touched();
    let silent = 0;
    let without = 0;
    for (let row = 0; row < touched && left < candidates.length; row++) {
      if (table.state[row] !== PROBE_STATES.silent) continue;
      const tries = table.tries[row];
      silent++;
      if (tries >= table.maxTries) {
        without++;
        continue;
      }
      // Its host's time was up before its first SYN, as it would be now.
      if (tries === 0) continue;
      if (unprovedReset[row] === 1 || table.sentAt[columnOf(row, tries - 1)] > latestUs) continue;
      if (limited.size === 0 || !limited.has(keyOf(table.peer, row * ADDRESS_WORDS)))
        candidates[left++] = row;
    }
    if (rounds === 0) spent = without / Math.max(1, silent);
  }

  /** @param most so many, drawn at random */
  function beginRound(most: number, nowUs: number): void {
    rounds++;
    path.verifiedBefore = path.verifiedLast;
    path.verifiedLast = 0;
    endUs = nowUs + AFTER_US + roundUs;
    for (let n = Math.min(most, left); n > 0; n--) {
      const drawn = random(left);
      const row = candidates[drawn];
      candidates[drawn] = candidates[--left];
      pending++;
      timers.arm(row, Math.max(nowUs + 1, table.sentAt[columnOf(row, table.tries[row] - 1)] + AFTER_US));
    }
  }

  function begin(nowUs: number): void {
    const isWorthTime = verify === "all" || mayCluster(nowUs);
    collect(isWorthTime ? nowUs : nowUs - AFTER_US);
    const stated = path.doubts / Math.max(1, counts.reasons.filtered["no-response"] ?? 0);
    doubt = acceptedDoubt > 0 ? Math.min(stated, acceptedDoubt) : stated;
    if (verify === "auto") roundUs = Math.max(LONGEST_US, SHARE * (nowUs - startUs));
    const share = isWorthTime ? SHARE : SHARE_UNASKED_FOR;
    beginRound(verify === "all" ? left : Math.max(FEWEST_ASKED, share * counts.sent), nowUs);
  }

  /** The row's turn has come, or its time is up. */
  function expire(row: number, nowUs: number): void {
    if (state !== "asking") return;
    if ((spread[row] & SPREAD_ASKED) !== 0) {
      const sentUs = table.sentAt[columnOf(row, table.tries[row] - 1)];
      const host = hostIn(row, nowUs);
      const waitUs = Math.max(
        pathState.waitUs(host) + pathState.lastWaitUs(host),
        pathState.wholeWaitUs(host),
      );
      const untilUs = sentUs + waitUs;
      if (nowUs < untilUs) timers.arm(row, untilUs);
      // A SYN that could not be sent has no time.
      else count(row, !Number.isNaN(sentUs));
      return;
    }
    const turn = table.state[row] === PROBE_STATES.silent ? hostLimits.take(row, nowUs) : TURN.never;
    if (turn === TURN.later) return;
    if (turn === TURN.never) {
      // It has answered meanwhile, or its host's time is up.
      hostLimits.forget(row);
      pending--;
      return;
    }
    if (turn === TURN.control) hostLimits.give(row, false, nowUs);
    spread[row] |= SPREAD_ASKED;
    retransmitQueue.push(row);
  }

  function count(row: number, wasAsked: boolean): void {
    pending--;
    spread[row] &= ~SPREAD_ASKED;
    if (!wasAsked) {
      // The try did not happen.
      table.tries[row]--;
      return;
    }
    if ((spread[row] & SPREAD_VERIFIED) === 0) path.verified++;
    spread[row] |= SPREAD_VERIFIED;
    if (table.state[row] === PROBE_STATES.silent) return;
    path.verifiedLast++;
    if (table.state[row] === PROBE_STATES.open) path.verifiedOpen++;
    else path.verifiedClosed++;
  }

  /** Nobody is asked any more who has had no turn, or waits to be sent to. */
  function withdraw(): void {
    const touched = table.touched();
    for (let row = 0; row < touched; row++) {
      if (table.state[row] === PROBE_STATES.synSent) continue;
      retransmitQueue.cancel(row);
      hostLimits.forget(row);
    }
    pending = 0;
    // Half a round shows nothing of how rounds thin out: what it found counts with the one before.
    path.verifiedLast += path.verifiedBefore;
    path.verifiedBefore = 0;
  }

  function end(): void {
    state = "over";
    onEnd();
  }

  return {
    begin: () => {
      if (state !== "idle") return;
      if (verify === "all" || (verify === "auto" && pathState.hasLost())) state = "due";
      else end();
    },
    isPending: () => state === "due" || state === "asking",
    nextAt: () => {
      if (state === "due" || (state === "asking" && pending === 0)) return Number.NEGATIVE_INFINITY;
      return state === "asking" ? endUs : Number.POSITIVE_INFINITY;
    },
    expire,
    proceed: (nowUs) => {
      if (state === "due") {
        state = "asking";
        begin(nowUs);
      }
      if (state !== "asking" || (pending > 0 && nowUs < endUs)) return;
      // Of ports that have just been verified the doubts leave next to nothing.
      const isNews = contradicts(path.verifiedLast, rounds === 1 ? path.verified * doubt : 0);
      if (pending > 0) withdraw();
      else if (isNews && rounds < MOST_ROUNDS) {
        collect(nowUs);
        if (left > 0) beginRound(Number.POSITIVE_INFINITY, nowUs);
      }
      if (pending === 0) end();
    },
    giveUp: () => {
      if (state === "asking") withdraw();
      if (state === "due" || state === "asking") end();
    },
    spent: () => spent,
  };
}
