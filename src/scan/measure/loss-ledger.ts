/**
 * The ledger of losses: which SYNs were answered or lost, by send interval, host and prefix, and how doubtful a missing answer is.
 *
 * Loss is proven, never inferred from a missing answer: by a later try of the same pair that was answered, or by a pilot that
 * was not. ICMP errors prove no loss, because routers rate-limit them. The engine tells what happened to each probe.
 *
 * Pure: times in microseconds. Not here: arithmetic (loss.ts), missed ports, round trips, what loss means for the rate (congestion/).
 * Tested by test/sim/path-knowledge.test.ts and test/sim/networks.test.ts.
 */
import { type HostCache, MARKS } from "./host-cache.ts";
import { lossOf, lossOfPart, MAX_LOSS, NEIGHBOURS, SMOOTHING_TRIES } from "./loss.ts";
import { createLossBursts } from "./loss-bursts.ts";
import { createMissedPorts } from "./missed-ports.ts";
import type { ProbeTimeouts } from "./probe-timeout.ts";
import { createRepeatedLosses } from "./repeated-losses.ts";
import { ANSWER, FATES, type Fate, type SendIntervals } from "./send-intervals.ts";
import { createTryLosses } from "./try-losses.ts";
import { createUnretried } from "./unretried.ts";
import { unseenPorts } from "./unseen-bursts.ts";

export interface LossLedger {
  /** A SYN left at `times[i]`. (A time as an argument would be allocated.) */
  departed(times: Float64Array, i: number, isFirst: boolean): void;
  /**
   * `syns` SYNs left one after the other from `times[first]` to `times[last]`, `firstSyns` of them first ones.
   * @returns false when that is not one send interval: then nothing is counted
   */
  departedTogether(
    times: Float64Array,
    first: number,
    last: number,
    syns: number,
    firstSyns: number,
  ): boolean;
  /**
   * A SYN that left at `times[i]` was answered with SYN-ACK or RST, for the first time.
   * @param flags ANSWER
   * @returns its send interval
   */
  answered(host: number, times: Float64Array, i: number, flags: number): number;
  /**
   * A SYN or its answer must have been lost: a later SYN of the same pair was answered.
   * @param isOfPath no limit of the host's can be the cause
   */
  lost(host: number, times: Float64Array, i: number, isOfPath: boolean): void;
  /** It was not lost after all: the answer arrived later. */
  regained(host: number, times: Float64Array, i: number, isOfPath: boolean): void;
  /** A pilot left; its fate follows: answered, lost, or unknown because it had not left after all. */
  pilotDeparted(times: Float64Array, i: number): void;
  pilotUnknown(times: Float64Array, i: number): void;
  /** @returns its send interval */
  pilotAnswered(times: Float64Array, i: number): number;
  pilotLost(times: Float64Array, i: number): void;
  /** The same of one to an open port, which no limit of its host's can have kept silent, and which answered at `known[i]`. */
  openPilotAnswered(times: Float64Array, known: Float64Array, i: number): void;
  openPilotLost(times: Float64Array, known: Float64Array, i: number): void;
  /**
   * Writes the probability that the `count` SYNs to this host that left at `times[i]`, `times[i + step]` ... were all lost, or
   * their answers, to `doubt[0]`.
   * @param mayBeLimited the host may rate-limit the answers in question: RSTs, not SYN-ACKs
   * @param withoutBursts as if losses never came in bursts
   */
  reckonDoubt(
    host: number,
    times: Float64Array,
    i: number,
    step: number,
    count: number,
    mayBeLimited: boolean,
    withoutBursts?: boolean,
  ): void;
  /** The probability, and that part of it that bursts of loss make. */
  readonly doubt: Float64Array;
  /**
   * A pair was answered at the last of its `count` tries, which left at `times[i]`, `times[i + step]` ...
   * @param isOfPath that all before were lost tells of the path alone
   */
  recovered(times: Float64Array, i: number, step: number, count: number, isOfPath: boolean): void;
  /** A follow-up's last try was answered, or lost as all before it were. */
  followedUp(
    times: Float64Array,
    i: number,
    step: number,
    count: number,
    knownUs: number,
    isAnswered: boolean,
  ): void;
  /** A pair is to be given up that had tries from `times[first]` to `times[last]`. */
  gaveUp(times: Float64Array, first: number, last: number): void;
  /** Whether a port's next try, after the one that left at `times[i]`, has to wait longer than usual: what was lost stays lost for a while. */
  mustSpread(times: Float64Array, i: number): boolean;
  /** Whether losses are known to come in bursts; whether they may; whether they are known not to. */
  isClustered(): boolean;
  isSuspected(): boolean;
  isIndependent(): boolean;
  /** The mean time of a burst, in microseconds; and the share of the time that a pair is in one. */
  burstUs(): number;
  burstShare(): number;
  /** How many of the ports that answer can be hidden by bursts that nothing shows: where `answering` did, and `silent` did not. */
  unseen(answering: number, silent: number): number;
  /** A port is open whose first SYN left at `times[i]`. */
  foundOpen(times: Float64Array, i: number): void;
  /** Sum over the open ports found: how many like each were missed. */
  missedPorts(): number;
  /** The round-trip loss to expect now. */
  loss(): number;
  /** Round trips known to have failed, and to have succeeded, in settled intervals. */
  lostSoFar(): number;
  /** Whether any loss has been seen at all: at once, not only when its interval is settled. */
  hasLost(): boolean;
  answeredSoFar(): number;
  /**
   * Closes the intervals whose fates are known by now, and updates all estimates.
   * @param unretriedUs the oldest SYN whose next try has yet to leave left then; Infinity, or left out, when there is none
   */
  settle(nowUs: number, unretriedUs?: number): void;
  /** Nothing more will come: settles all intervals. */
  finish(): void;
}

export interface LossLedgerOptions {
  readonly hosts: HostCache;
  /** Of each host, `hosts.prefix` says which. */
  readonly prefixes: HostCache;
  readonly intervals: SendIntervals;
  readonly timeouts: ProbeTimeouts;
  readonly startUs: number;
  /** SYNs to a port without an answer at most, and the doubt that ends them earlier. */
  readonly tries: number;
  readonly acceptedDoubt: number;
  /** An interval is settled, and no pilot's fate was known for a while: what became of the other SYNs in it. */
  onOutcomeWithoutPilots(nowUs: number, interval: number, answered: number, lost: number): void;
}

/** A host rate-limits its answers when it loses this many SYNs, and standard errors, more than chance explains. Tries of a pair share their fate. */
const LIMITED_LOST = 2;
const LIMITED_ERRORS = 4;
/** Without pilots for this long, in microseconds, the other SYNs' fates are used. */
const WITHOUT_PILOTS_US = 1_000_000;
/** Weight of an interval in the run's loss, relative to the next one. */
const FADING = 0.995;
/** At most this share of the losses is assumed to be invisible. */
const MAX_UNSEEN = 0.8;
/** Above this overall loss, a lost SYN is not held against its host. */
const LOSS_OF_ALL = 0.3;
/** Above this, what is sent at once is lost like what was sent before. */
const LOSS_OF_OUTAGE = 0.5;

export function createLossLedger(options: LossLedgerOptions): LossLedger {
  const { hosts, prefixes, intervals, timeouts, startUs, tries } = options;
  const prefixOf = hosts.prefix;
  /** Intervals below this are settled; of these, those below `smoothed` have their loss. */
  let settled = 0;
  let smoothed = 0;
  let lostSoFar = 0;
  let hasLost = false;
  let answeredSoFar = 0;
  /** The same, with older intervals fading. */
  let recentLost = 0;
  let recentAnswered = 0;
  let loss = lossOf(0, 0);
  /** Fates of SYNs to ports that answer, whatever decided them; the loss in these. */
  let anyLost = 0;
  let anyAnswered = 0;
  let anyLoss = loss;
  /** Hosts here rate-limit their RSTs: more is lost than the path alone loses. */
  let resetsLimited = false;
  /** Fates of pairs' SYNs in all prefixes: a prefix is compared with these, as it has as many early SYNs. */
  let pairsLost = 0;
  let pairsAnswered = 0;
  let pairLoss = loss;
  /** When the last pilot with a known fate left. */
  let pilotUs = startUs;
  const missedPorts = createMissedPorts(intervals, options.acceptedDoubt, tries);
  // Results of functions on the hot path: a fraction that is returned would be allocated.
  const doubt = new Float64Array(2);
  const factor = new Float64Array(1);
  const intervalLoss = new Float64Array(1);
  const tryLosses = createTryLosses(intervals);
  const { tries: pairTries, losses } = tryLosses;
  const bursts = createLossBursts();
  const repeated = createRepeatedLosses();
  const unretried = createUnretried();

  function increment(counts: Uint32Array, i: number): void {
    if (counts[i] < 0xffff) counts[i]++;
  }

  /** Writes to `factor[0]` how many times the prefixes' mean loss this prefix loses. */
  function comparePrefix(prefix: number): void {
    const ofPrefix = lossOfPart(prefixes.lost[prefix], prefixes.answered[prefix], pairLoss);
    factor[0] = Math.max(1, ofPrefix / pairLoss);
  }

  /** Writes to `factor[0]` how many times the run's loss this host loses: by its own fates, its prefix's, or similar hosts'. */
  function compareHost(host: number): void {
    comparePrefix(prefixOf[host]);
    const ofPrefix = loss * factor[0];
    // A host that sends RSTs may limit them, as others here do.
    const expected = hosts.closed[host] > 0 ? Math.max(ofPrefix, anyLoss) : ofPrefix;
    factor[0] = Math.max(1, lossOfPart(hosts.lost[host], hosts.answered[host], expected) / loss);
  }

  function reckonDoubt(
    host: number,
    times: Float64Array,
    from: number,
    step: number,
    count: number,
    mayBeLimited: boolean,
    withoutBursts = false,
  ): void {
    factor[0] = 1;
    const prefix = prefixOf[host];
    if (!mayBeLimited) {
      if (prefixes.lost[prefix] > 0) comparePrefix(prefix);
    } else if (hosts.lost[host] + prefixes.lost[prefix] > 0 || (hosts.closed[host] > 0 && resetsLimited)) {
      compareHost(host);
    }
    tryLosses.lookUp(times, from, step, count, factor, smoothed);
    let product = 1;
    for (let i = 0; i < count; i++) product *= losses[i];
    doubt[0] = product;
    doubt[1] = 0;
    if (count === 0 || withoutBursts) return;
    bursts.reckon(pairTries);
    doubt[1] = Math.min(1 - product, product * bursts.excess[0]);
    doubt[0] += doubt[1];
  }

  function add(interval: number, fate: Fate, times = 1): void {
    if (interval < 0) return;
    intervals.add(interval, fate, times);
    if (interval >= settled) return;
    if (fate === FATES.pathLost || fate === FATES.pilotLost) lostSoFar += times;
    else answeredSoFar += times;
  }

  /** Counts a loss of the host's, and marks a host that loses more than others as limited. */
  function countHostLoss(host: number, interval: number, isOfPath: boolean): void {
    estimateInterval(interval);
    if (intervalLoss[0] > LOSS_OF_ALL) return;
    increment(hosts.lost, host);
    if (isOfPath) {
      increment(prefixes.lost, prefixOf[host]);
      pairsLost++;
    }
    const lost = hosts.lost[host];
    const all = lost + hosts.answered[host];
    const usual = Math.max(intervalLoss[0], pairLoss);
    if (lost > all * usual + LIMITED_ERRORS * Math.sqrt(all * usual * (1 - usual)) + LIMITED_LOST) {
      hosts.marks[host] |= MARKS.limited;
    }
  }

  /** Writes the loss of an interval, at least the run's, to `intervalLoss[0]`. */
  function estimateInterval(interval: number): void {
    intervalLoss[0] = loss;
    if (interval < 0) return;
    const lost = intervals.get(interval, FATES.pilotLost) + intervals.get(interval, FATES.pathLost);
    const answered =
      intervals.get(interval, FATES.pilotAnswered) + intervals.get(interval, FATES.pathAnswered);
    intervalLoss[0] = Math.max(loss, lossOfPart(lost, answered, loss));
  }

  /** A pair that lost all its tries shows no loss: each visible loss stands for this many, more where tries are few. */
  const visibility = (): number => 1 / (1 - Math.min(MAX_UNSEEN, loss ** (tries - 1)));

  /** Estimates losses of settled intervals below `end`, each with its neighbours, and from them the missed ports. */
  function smooth(nowUs: number, end: number): void {
    smoothed = Math.max(smoothed, intervals.first());
    const weight = visibility();
    for (; smoothed < end; smoothed++) {
      let lost = SMOOTHING_TRIES * loss;
      let all = SMOOTHING_TRIES;
      const to = Math.min(settled, smoothed + NEIGHBOURS + 1);
      for (let i = Math.max(intervals.first(), smoothed - NEIGHBOURS); i < to; i++) {
        const gone = weight * intervals.get(i, FATES.pathLost) + intervals.get(i, FATES.pilotLost);
        lost += gone;
        all += gone + intervals.get(i, FATES.pathAnswered) + intervals.get(i, FATES.pilotAnswered);
      }
      intervals.setLoss(smoothed, Math.min(MAX_LOSS, lost / all));
    }
    missedPorts.update({
      smoothed,
      settled,
      timeoutUs: timeouts.unknownTimeoutUs(),
      isLast: nowUs === Number.POSITIVE_INFINITY,
      resetsLimited,
    });
  }

  function settleInterval(nowUs: number, interval: number): void {
    const pilotsLost = intervals.get(interval, FATES.pilotLost);
    const pilotsAnswered = intervals.get(interval, FATES.pilotAnswered);
    const lost = visibility() * intervals.get(interval, FATES.pathLost) + pilotsLost;
    const answered = intervals.get(interval, FATES.pathAnswered) + pilotsAnswered;
    lostSoFar += lost;
    answeredSoFar += answered;
    recentLost = FADING * recentLost + lost;
    recentAnswered = FADING * recentAnswered + answered;
    if (pilotsLost + pilotsAnswered > 0) pilotUs = intervals.fromUs(interval);
    anyLost += intervals.get(interval, FATES.anyLost);
    anyAnswered += intervals.get(interval, FATES.anyAnswered);
    if (intervals.fromUs(interval) < pilotUs + WITHOUT_PILOTS_US) return;
    options.onOutcomeWithoutPilots(
      nowUs,
      interval,
      intervals.get(interval, FATES.anyAnswered),
      intervals.get(interval, FATES.anyLost),
    );
  }

  function settle(nowUs: number, unretriedUs = Number.POSITIVE_INFINITY): void {
    const last = intervals.count() - 1;
    settled = Math.max(settled, intervals.first());
    // By then the next try of most lost SYNs has been answered.
    const afterUs = 2 * Math.max(timeouts.unknownTimeoutUs(), timeouts.outcomeAfterUs()) + timeouts.rttUs();
    unretried.note(nowUs, unretriedUs, timeouts.answersAfterUs());
    const endUs = nowUs < Number.POSITIVE_INFINITY ? Math.min(nowUs - afterUs, unretried.sinceUs()) : nowUs;
    for (; settled < last && intervals.fromUs(settled + 1) <= endUs; settled++)
      settleInterval(nowUs, settled);
    // Unsettled intervals show too little loss, but sometimes more than all before them.
    let lost = recentLost;
    let answered = recentAnswered;
    // Fates of pilots are known earlier, and losses as soon as answers.
    let pilotsLost = 0;
    let pilotsAnswered = 0;
    for (let i = settled; i <= last; i++) {
      if (intervals.arePilotFatesKnown(i)) {
        pilotsLost += intervals.get(i, FATES.pilotLost);
        pilotsAnswered += intervals.get(i, FATES.pilotAnswered);
      }
      lost += intervals.get(i, FATES.pathLost) + intervals.get(i, FATES.pilotLost);
      answered += intervals.get(i, FATES.pathAnswered) + intervals.get(i, FATES.pilotAnswered);
    }
    loss = Math.max(
      lossOf(recentLost + pilotsLost, recentAnswered + pilotsAnswered),
      lossOf(lost, answered),
      // One standard error more: too many tries cost little, too few a port.
      pilotsLost === 0 ? 0 : lossOf(pilotsLost + Math.sqrt(pilotsLost), pilotsAnswered),
    );
    tryLosses.setLoss(loss);
    pairLoss = lossOf(pairsLost, pairsAnswered);
    anyLoss = lossOf(anyLost, anyAnswered);
    resetsLimited = anyLoss > loss;
    bursts.update();
    smooth(nowUs, settled - NEIGHBOURS);
  }

  return {
    departed: (times, i, isFirst) => {
      const interval = intervals.at(times, i);
      intervals.add(interval, FATES.sent);
      if (isFirst) intervals.add(interval, FATES.firstSyn);
    },
    departedTogether: (times, first, last, syns, firstSyns) => {
      const interval = intervals.at(times, first);
      if (intervals.at(times, last) !== interval) return false;
      intervals.add(interval, FATES.sent, syns);
      intervals.add(interval, FATES.firstSyn, firstSyns);
      return true;
    },
    answered: (host, times, i, flags) => {
      const interval = intervals.at(times, i);
      const isOfPath = (flags & ANSWER.ofPath) !== 0;
      // With a single try no loss of a pair can show: only pilots tell.
      if (isOfPath && tries > 1) add(interval, FATES.pathAnswered);
      intervals.add(interval, FATES.anyAnswered);
      if ((flags & ANSWER.firstSyn) !== 0) intervals.add(interval, FATES.firstSynAnswered);
      increment(hosts.answered, host);
      if (isOfPath) {
        increment(prefixes.answered, prefixOf[host]);
        pairsAnswered++;
      }
      return interval;
    },
    lost: (host, times, i, isOfPath) => {
      const interval = intervals.at(times, i);
      if (isOfPath) {
        hasLost = true;
        add(interval, FATES.pathLost);
      }
      intervals.add(interval, FATES.anyLost);
      if (interval >= 0 && interval < settled) anyLost++;
      countHostLoss(host, interval, isOfPath);
    },
    regained: (host, times, i, isOfPath) => {
      if (isOfPath) add(intervals.at(times, i), FATES.pathLost, -1);
      if (hosts.lost[host] > 0) hosts.lost[host]--;
    },
    pilotDeparted: (times, i) => intervals.add(intervals.at(times, i), FATES.pilotSent),
    pilotUnknown: (times, i) => intervals.add(intervals.at(times, i), FATES.pilotSent, -1),
    pilotAnswered: (times, i) => {
      const interval = intervals.at(times, i);
      add(interval, FATES.pilotAnswered);
      return interval;
    },
    pilotLost: (times, i) => {
      hasLost = true;
      add(intervals.at(times, i), FATES.pilotLost);
    },
    openPilotAnswered: bursts.pilotAnswered,
    openPilotLost: (times, known, i) => {
      if (tryLosses.lookUpEvidence(times, i, 0, 1, smoothed))
        bursts.pilotLost(times[i] - known[i], losses[0]);
    },
    reckonDoubt,
    doubt,
    recovered: (times, i, step, count, isOfPath) => {
      if (!tryLosses.lookUpEvidence(times, i, step, count, smoothed)) return;
      repeated.add(pairTries);
      if (isOfPath) bursts.recovered(pairTries);
    },
    followedUp: (times, i, step, count, knownUs, isAnswered) => {
      if (tryLosses.lookUpEvidence(times, i, step, count, smoothed))
        bursts.followedUp(pairTries, knownUs, isAnswered);
    },
    gaveUp: bursts.gaveUp,
    mustSpread: (times, i) => {
      if (bursts.isClustered()) return true;
      factor[0] = 1;
      tryLosses.lookUp(times, i, 0, 1, factor, smoothed);
      return losses[0] > LOSS_OF_OUTAGE;
    },
    isClustered: bursts.isClustered,
    isSuspected: () => bursts.isSuspected(lostSoFar) || repeated.isSeen(),
    isIndependent: bursts.isIndependent,
    burstUs: bursts.meanUs,
    burstShare: bursts.share,
    unseen: (answering, silent) =>
      unseenPorts({ hosts, answering, silent, spanUs: bursts.spanUs(), pilotUs: bursts.pilotUs() }),
    foundOpen: (times, i) => intervals.add(intervals.at(times, i), FATES.open),
    missedPorts: missedPorts.sum,
    loss: () => loss,
    lostSoFar: () => lostSoFar,
    hasLost: () => hasLost,
    answeredSoFar: () => answeredSoFar,
    settle,
    finish: () => {
      intervals.begin(intervals.fromUs(intervals.count() - 1) + 1, 0);
      settle(Number.POSITIVE_INFINITY);
      smooth(Number.POSITIVE_INFINITY, settled);
    },
  };
}
