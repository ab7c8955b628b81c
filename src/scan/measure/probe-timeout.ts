/**
 * How long to wait for an answer, by the round trips of the host, of its prefix, or of the whole run, the first of them that is
 * known; and how long for one that was never heard of.
 *
 * It owns what round trips are known of and the queue that is in them now; congestion/path-state.ts tells it both. Pure: times in
 * microseconds. Not here: RFC 6298's arithmetic (rtt.ts), what silence means (loss.ts).
 */
import type { HostCache } from "./host-cache.ts";
import { createSpread, LONGEST_SAMPLE_US, sampleRtt, type TimeoutLimits, timeoutOf } from "./rtt.ts";

export interface ProbeTimeouts {
  /** How long a try to this host waits for its answer, in whole microseconds, as all of these. */
  waitUs(host: number): number;
  /** When such a try is looked at next: not later than that, and sooner while its host may still become known. */
  lookAgainUs(host: number): number;
  /** The same when nothing else waits to be sent: a try too early costs nobody's turn then. */
  soonUs(host: number, tries: number): number;
  /** How long after its last try, and after its host's first, a pair is called silent at the earliest. */
  lastWaitUs(host: number): number;
  wholeWaitUs(host: number): number;
  /** How long a pilot to this host waits. */
  pilotWaitUs(host: number): number;
  /**
   * Takes a round trip.
   * @param rtt whole microseconds
   */
  sample(host: number, rtt: number): void;
  /** Reckons anew what the run's round trips say. */
  learn(): void;
  /** The queue that all are held up by, as far as it is known; 0 for none. */
  setQueue(us: number): void;
  /** What was taken for round trips without a queue had one in it: without, they are about so long. */
  relearnClear(us: number): void;
  /** The rate has fallen to so much less: it leaves a queue behind, of what was too much for a round trip and more. */
  expectQueue(fell: number): void;
  queueUs(): number;
  /** A typical round trip; when most answers have come; when nearly all have. */
  roundUs(): number;
  answersAfterUs(): number;
  outcomeAfterUs(): number;
  /** A round trip that one in ten does not exceed of late while no queue is seen: all runs on a path are to agree on it. */
  clearRoundUs(): number;
  /** How long a host of which nothing is known is waited for. */
  unknownTimeoutUs(): number;
  /** Whether the SYN at `times[i]` left so long after its host's first that a round trip can be compared with the usual one. */
  isSettled(host: number, times: Float64Array, i: number): boolean;
  /** Whether any round trip is known. */
  isHeard(): boolean;
}

/** Samples from which a prefix, or the run, may speak for a host of which nothing is known. */
const PREFIX_SAMPLES = 4;
const RUN_SAMPLES = 8;
/** Round trips without a queue: so many are remembered, and this part of them is shorter than what is called one. */
const CLEAR_SAMPLES = 512;
const CLEAR_QUANTILE = 0.1;
/** When nothing else is to be sent, a pair that was silent once gets its next SYNs after such a part of a round trip. */
const SOONER = 0.5;
/** Schedulers on both sides take their time. */
const SLACK_US = 10_000;
export const SHORTEST_US = 5000;
/** What a rate that was too high has put into a queue is expected to leave it at this pace a look. */
const DRAINING = 0.95;
const MOST_OVERSHOOT_US = 500_000;
/** A host of which only its neighbours are known may be far behind them: as far as a satellite. */
const NEIGHBOUR_US = 700_000;
/**
 * How far is told by those heard of: that one more is beyond `f` times the farthest of `n` has a chance of about 1 / (n f^2),
 * the tail of a Pareto distribution of index 2. So much of it is accepted: an answer that comes later still corrects.
 */
const FARTHER = 1e-3;
/** Prefixes that must be known before they speak for another; and the least that is waited for those never heard of, in least waits. */
const FEWEST_PREFIXES = 16;
const UNHEARD_WAITS = 2.5;
/** So much longer the last try waits. */
const LAST = 0.5;

/** @param prefixes of each host, `hosts.prefix` says which */
export function createProbeTimeouts(
  wait: TimeoutLimits,
  hosts: HostCache,
  prefixes: HostCache,
): ProbeTimeouts {
  const prefixOf = hosts.prefix;
  const spread = createSpread();
  /** The same of one in eight answers while there is no queue, and sooner forgotten. */
  let clear = createSpread(CLEAR_SAMPLES);
  let turn = 0;
  /** Microseconds; changed once a look, not once a packet. */
  let roundUs = wait.initialUs;
  let clearRoundUs = wait.initialUs;
  let unknownTimeoutUs = wait.initialUs;
  /** From a host's first SYN on, while it is not heard of: when its prefix is known, and when it is not. */
  let neighbourUs = Math.min(wait.initialUs, NEIGHBOUR_US);
  let strangerUs = wait.initialUs;
  let answersAfterUs = wait.initialUs;
  let outcomeAfterUs = wait.initialUs;
  let queueUs = 0;
  /** Microseconds that a queue may take which a rate left behind that was too high. */
  let overshootUs = 0;
  /** Hosts and prefixes that were heard of. */
  let hostsHeard = 0;
  let prefixesHeard = 0;
  /** The run's round trips are known well enough to speak for any host. */
  let learnt = false;

  // The arrays go through the calls, not their numbers: each would be an object. A whole number that is known to be one is none.
  const waitOf = (known: HostCache, entry: number): number =>
    Math.min(wait.maxUs, Math.max(wait.minUs, timeoutOf(known.srtt, known.rttvar, entry) + queueUs)) | 0;

  function waitUs(host: number): number {
    if (hosts.srtt[host] > 0) return waitOf(hosts, host);
    const known = prefixOf[host];
    return prefixes.answered[known] >= PREFIX_SAMPLES ? waitOf(prefixes, known) : unknownTimeoutUs;
  }

  /** @returns whether a prefix or the host itself has told how long its answers take */
  const isKnown = (host: number): boolean =>
    hosts.srtt[host] > 0 || prefixes.answered[prefixOf[host]] >= PREFIX_SAMPLES;

  /** How long one more is waited for when `heard` have been heard of, the farthest of them `farthestUs` away. */
  function unheardWait(mostUs: number, farthestUs: number, heard: number): number {
    const us = farthestUs / Math.min(0.5, Math.sqrt(heard * FARTHER));
    return Math.min(mostUs, Math.max(UNHEARD_WAITS * wait.minUs, us)) | 0;
  }

  return {
    waitUs,
    lookAgainUs: (host) => (isKnown(host) || learnt ? waitUs(host) : Math.min(waitUs(host), wait.minUs)),
    soonUs: (host, tries) => {
      if (!learnt || wait.minUs === wait.maxUs) return waitUs(host);
      const srtt = hosts.srtt[host] > 0 ? hosts.srtt[host] : prefixes.srtt[prefixOf[host]];
      const roundTrip = Math.max(outcomeAfterUs, 1.25 * srtt + SLACK_US);
      // Who answers with resets may limit them: more at once is no use there.
      const isSooner = tries > 1 && hosts.closed[host] === 0;
      return (
        Math.min(waitUs(host), Math.max(0.5 * wait.minUs, isSooner ? SOONER * roundTrip : roundTrip)) | 0
      );
    },
    lastWaitUs: (host) => (wait.minUs === wait.maxUs ? 0 : (LAST * waitUs(host)) | 0),
    wholeWaitUs: (host) => {
      if (hosts.srtt[host] > 0) return 0;
      return isKnown(host) ? neighbourUs : strangerUs;
    },
    pilotWaitUs: (host) =>
      (spread.samples() < PREFIX_SAMPLES || roundUs === wait.initialUs
        ? Math.min(wait.initialUs, 3 * hosts.srtt[host] + SLACK_US)
        : Math.max(outcomeAfterUs, 1.5 * hosts.srtt[host] + SLACK_US + queueUs) + overshootUs) | 0,
    sample: (host, rtt) => {
      if (rtt > LONGEST_SAMPLE_US) return;
      const isFirst = hosts.srtt[host] === 0;
      if (queueUs === 0 && (++turn & 7) === 0) clear.sample(rtt);
      sampleRtt(hosts.srtt, hosts.rttvar, host, rtt);
      if (isFirst) {
        hostsHeard++;
        if (prefixes.srtt[prefixOf[host]] === 0) prefixesHeard++;
        sampleRtt(prefixes.srtt, prefixes.rttvar, prefixOf[host], rtt, 1 / 16);
        spread.sample(rtt);
      } else if ((hosts.answered[host] & 7) === 0) {
        spread.sample(rtt);
      }
    },
    learn: () => {
      const median = spread.quantile(0.5);
      if (Number.isNaN(median)) return;
      roundUs = median;
      clearRoundUs = clear.samples() < RUN_SAMPLES ? median : clear.quantile(CLEAR_QUANTILE);
      answersAfterUs = spread.quantile(0.9) + queueUs + SHORTEST_US;
      outcomeAfterUs = 1.2 * spread.quantile(0.98) + SLACK_US + queueUs;
      if (spread.samples() < RUN_SAMPLES) return;
      learnt = true;
      const farthest = spread.quantile(0.999) + queueUs;
      unknownTimeoutUs =
        Math.min(wait.maxUs, Math.max(wait.minUs, 1.2 * spread.quantile(0.999) + queueUs)) | 0;
      neighbourUs = unheardWait(Math.min(wait.initialUs, NEIGHBOUR_US), farthest, hostsHeard);
      if (prefixesHeard > 1) strangerUs = Math.min(wait.initialUs, NEIGHBOUR_US);
      if (prefixesHeard >= FEWEST_PREFIXES) strangerUs = unheardWait(strangerUs, farthest, prefixesHeard);
    },
    setQueue: (us) => {
      queueUs = us;
    },
    relearnClear: (us) => {
      clear = createSpread(CLEAR_SAMPLES);
      for (let i = 0; i < RUN_SAMPLES; i++) clear.sample(us);
    },
    expectQueue: (fell) => {
      const leftUs = Math.min(MOST_OVERSHOOT_US, 1.5 * (fell - 1) * (roundUs + SHORTEST_US));
      overshootUs = Math.max(DRAINING * overshootUs, leftUs);
    },
    queueUs: () => queueUs,
    roundUs: () => roundUs,
    clearRoundUs: () => clearRoundUs,
    answersAfterUs: () => answersAfterUs,
    outcomeAfterUs: () => outcomeAfterUs,
    unknownTimeoutUs: () => unknownTimeoutUs,
    isSettled: (host, times, i) => times[i] - 1000 * hosts.firstMs[host] > outcomeAfterUs,
    isHeard: () => spread.samples() > 0,
  };
}
