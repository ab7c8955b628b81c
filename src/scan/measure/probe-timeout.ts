/**
 * How long a probe waits for its answer: by the round trips of its host, or else of its prefix, or else of the whole run; and how
 * long when none of these is known.
 *
 * It owns what is known of the run's round trips, and the length of the queue in them now; congestion/path-state.ts tells it
 * both. Pure: times in microseconds. Not here: RFC 6298's arithmetic (socket/rto.ts), what a missing answer means (loss.ts).
 */
import { sampleRtt, timeoutOf } from "../../socket/rto.ts";
import type { HostCache } from "./host-cache.ts";
import { createRttHistogram, MAX_RTT_US, type TimeoutLimits } from "./rtt.ts";

export interface ProbeTimeouts {
  /** How long a try to this host waits for its answer. Whole microseconds, as all of these. */
  waitUs(host: number): number;
  /** When such a try is looked at next: earlier while the host's round trip may still become known. */
  lookAgainUs(host: number): number;
  /** As `waitUs`, when nothing else waits to be sent: an early retry then delays no other SYN. */
  soonUs(host: number, tries: number): number;
  /** Shortest time after its last try, and after its host's first, before a pair is given up. */
  lastWaitUs(host: number): number;
  wholeWaitUs(host: number): number;
  /** How long a pilot to this host waits. */
  pilotWaitUs(host: number): number;
  /** @param rtt whole microseconds */
  sample(host: number, rtt: number): void;
  /** Recomputes what depends on the run's round trips. */
  learn(): void;
  /** The queue that delays all answers now, as far as it is known; 0 for none. */
  setQueue(us: number): void;
  /** The base round trips learnt so far included a queue: without it they are about this long. */
  relearnBase(us: number): void;
  /** The rate has fallen by this factor: what was sent above it for a round trip is in a queue now. */
  expectQueue(factor: number): void;
  queueUs(): number;
  /** A typical round trip; the times after which most, and nearly all, answers have arrived. */
  rttUs(): number;
  answersAfterUs(): number;
  outcomeAfterUs(): number;
  /** A short round trip, measured lately and without a queue: all runs on a path should agree on it. */
  baseRttUs(): number;
  /** How long a probe to an unknown host waits. */
  unknownTimeoutUs(): number;
  /** Whether the SYN at `times[i]` left late enough after its host's first that its round trip can be compared with the host's base. */
  isSettled(host: number, times: Float64Array, i: number): boolean;
  /** Whether any round trip is known. */
  hasSamples(): boolean;
}

/** Samples from which a prefix, or the run, may speak for an unknown host. */
const PREFIX_SAMPLES = 4;
const RUN_SAMPLES = 8;
/** Base round trips: how many are remembered, and the quantile that counts as the base. */
const BASE_SAMPLES = 512;
const BASE_QUANTILE = 0.1;
/** When nothing else waits to be sent, later tries follow after this part of a round trip. */
const SOONER = 0.5;
/** Scheduling on both sides takes up to this long, in microseconds. */
const SLACK_US = 10_000;
/** The shortest send interval, in microseconds: times are not told apart more finely. */
export const MIN_INTERVAL_US = 5000;
/** The queue that a cut rate leaves is expected to shrink to this part of itself per look, from at most the second number. */
const DRAINING = 0.95;
const MAX_OVERSHOOT_US = 500_000;
/**
 * So many hosts that have answered say how far another in their prefixes may be, and so many prefixes how far a host in another: one of
 * that many, at most, is of another kind, behind a satellite among neighbours. Fewer say nothing, and it is waited for as long as nmap
 * does: where twelve were 1 ms away, one of 350 ms was called silent.
 */
const MANY_HEARD = 128;
/** Then so many times the farthest of them, and so many minimum timeouts at least. */
const FARTHER = 2;
const UNHEARD_TIMEOUTS = 2.5;
/** The last try waits this part of a timeout longer. */
const LAST_TRY = 0.5;
/** Gain of a prefix's round-trip mean: it stands for many hosts. */
const PREFIX_GAIN = 1 / 16;
/** One of this many answers of a known host is sampled; a mask. */
const SAMPLE_MASK = 7;

/** @param prefixes of each host, `hosts.prefix` says which */
export function createProbeTimeouts(
  limits: TimeoutLimits,
  hosts: HostCache,
  prefixes: HostCache,
): ProbeTimeouts {
  const prefixOf = hosts.prefix;
  const rtts = createRttHistogram();
  /** Round trips while no queue is seen; forgets faster. */
  let baseRtts = createRttHistogram(BASE_SAMPLES);
  let samples = 0;
  /** Whole or fractional microseconds; changed once per look, not per packet. */
  let rttUs = limits.initialUs;
  let baseRttUs = limits.initialUs;
  let unknownTimeoutUs = limits.initialUs;
  /** How long a host that never answered is waited for since its first SYN: in a known prefix, and in an unknown one. */
  let neighbourUs = limits.initialUs;
  let strangerUs = limits.initialUs;
  let answersAfterUs = limits.initialUs;
  let outcomeAfterUs = limits.initialUs;
  let queueUs = 0;
  /** The queue that a rate which was too high may have left. */
  let overshootUs = 0;
  /** Hosts and prefixes that have answered. */
  let hostsHeard = 0;
  let prefixesHeard = 0;
  /** The run's round trips are known well enough to speak for any host. */
  let learnt = false;

  // Calls pass the arrays, not their numbers, which would be allocated. `| 0` makes a whole number, which is not.
  const timeoutIn = (known: HostCache, entry: number): number =>
    Math.min(limits.maxUs, Math.max(limits.minUs, timeoutOf(known.srtt, known.rttvar, entry) + queueUs)) | 0;

  function waitUs(host: number): number {
    if (hosts.srtt[host] > 0) return timeoutIn(hosts, host);
    const prefix = prefixOf[host];
    return prefixes.answered[prefix] >= PREFIX_SAMPLES ? timeoutIn(prefixes, prefix) : unknownTimeoutUs;
  }

  /** Whether the host itself, or its prefix, tells how long answers take. */
  const isKnown = (host: number): boolean =>
    hosts.srtt[host] > 0 || prefixes.answered[prefixOf[host]] >= PREFIX_SAMPLES;

  /** How long one more is waited for when `heard` have answered, the farthest of them `farthestUs` away. */
  function unheardTimeout(farthestUs: number, heard: number): number {
    if (heard < MANY_HEARD) return limits.initialUs;
    return Math.min(limits.initialUs, Math.max(UNHEARD_TIMEOUTS * limits.minUs, FARTHER * farthestUs)) | 0;
  }

  return {
    waitUs,
    lookAgainUs: (host) => (isKnown(host) || learnt ? waitUs(host) : Math.min(waitUs(host), limits.minUs)),
    soonUs: (host, tries) => {
      if (!learnt || limits.minUs === limits.maxUs) return waitUs(host);
      const srtt = hosts.srtt[host] > 0 ? hosts.srtt[host] : prefixes.srtt[prefixOf[host]];
      const roundTrip = Math.max(outcomeAfterUs, 1.25 * srtt + SLACK_US);
      // A host that sends RSTs may rate-limit them: sending faster is no use there.
      const isSooner = tries > 1 && hosts.closed[host] === 0;
      return (
        Math.min(waitUs(host), Math.max(0.5 * limits.minUs, isSooner ? SOONER * roundTrip : roundTrip)) | 0
      );
    },
    lastWaitUs: (host) => (limits.minUs === limits.maxUs ? 0 : (LAST_TRY * waitUs(host)) | 0),
    wholeWaitUs: (host) => {
      if (hosts.srtt[host] > 0) return 0;
      return isKnown(host) ? neighbourUs : strangerUs;
    },
    pilotWaitUs: (host) =>
      (rtts.samples() < PREFIX_SAMPLES || rttUs === limits.initialUs
        ? Math.min(limits.initialUs, 3 * hosts.srtt[host] + SLACK_US)
        : Math.max(outcomeAfterUs, 1.5 * hosts.srtt[host] + SLACK_US + queueUs) + overshootUs) | 0,
    sample: (host, rtt) => {
      if (rtt > MAX_RTT_US) return;
      const isFirst = hosts.srtt[host] === 0;
      if (queueUs === 0 && (++samples & SAMPLE_MASK) === 0) baseRtts.sample(rtt);
      sampleRtt(hosts.srtt, hosts.rttvar, host, rtt);
      if (isFirst) {
        hostsHeard++;
        if (prefixes.srtt[prefixOf[host]] === 0) prefixesHeard++;
        sampleRtt(prefixes.srtt, prefixes.rttvar, prefixOf[host], rtt, PREFIX_GAIN);
        rtts.sample(rtt);
      } else if ((hosts.answered[host] & SAMPLE_MASK) === 0) {
        rtts.sample(rtt);
      }
    },
    learn: () => {
      const median = rtts.quantile(0.5);
      if (Number.isNaN(median)) return;
      rttUs = median;
      baseRttUs = baseRtts.samples() < RUN_SAMPLES ? median : baseRtts.quantile(BASE_QUANTILE);
      answersAfterUs = rtts.quantile(0.9) + queueUs + MIN_INTERVAL_US;
      outcomeAfterUs = 1.2 * rtts.quantile(0.98) + SLACK_US + queueUs;
      if (rtts.samples() < RUN_SAMPLES) return;
      learnt = true;
      const farthest = rtts.quantile(0.999) + queueUs;
      unknownTimeoutUs =
        Math.min(limits.maxUs, Math.max(limits.minUs, 1.2 * rtts.quantile(0.999) + queueUs)) | 0;
      neighbourUs = unheardTimeout(farthest, hostsHeard);
      strangerUs = unheardTimeout(farthest, prefixesHeard);
    },
    setQueue: (us) => {
      queueUs = us;
    },
    relearnBase: (us) => {
      baseRtts = createRttHistogram(BASE_SAMPLES);
      for (let i = 0; i < RUN_SAMPLES; i++) baseRtts.sample(us);
    },
    expectQueue: (factor) => {
      const leftUs = Math.min(MAX_OVERSHOOT_US, 1.5 * (factor - 1) * (rttUs + MIN_INTERVAL_US));
      overshootUs = Math.max(DRAINING * overshootUs, leftUs);
    },
    queueUs: () => queueUs,
    rttUs: () => rttUs,
    baseRttUs: () => baseRttUs,
    answersAfterUs: () => answersAfterUs,
    outcomeAfterUs: () => outcomeAfterUs,
    unknownTimeoutUs: () => unknownTimeoutUs,
    isSettled: (host, times, i) => times[i] - 1000 * hosts.firstMs[host] > outcomeAfterUs,
    hasSamples: () => rtts.samples() > 0,
  };
}
