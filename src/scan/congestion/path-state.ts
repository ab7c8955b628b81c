/**
 * A run's state of knowledge about its path, as the engine sees it: puts together the ledger of losses (measure/loss-ledger.ts),
 * the timeouts (measure/probe-timeout.ts) and the monitor of the rate (monitor.ts), and passes events on to them.
 *
 * It owns the caches of hosts and prefixes and the send intervals, which the parts share. Not here: what follows from any of
 * this. Pure: times in microseconds.
 * Tested by test/sim/path-knowledge.test.ts and test/sim/networks.test.ts.
 */
import { ADDRESS_WORDS } from "../../socket/table.ts";
import { createHostCache, type HostCache, loadPrefix, MARKS } from "../measure/host-cache.ts";
import { createLossLedger, type LossLedger } from "../measure/loss-ledger.ts";
import { createOutages, type Outages } from "../measure/outages.ts";
import { createProbeTimeouts, type ProbeTimeouts } from "../measure/probe-timeout.ts";
import { MAX_RTT_US, type TimeoutLimits } from "../measure/rtt.ts";
import { ANSWER, createSendIntervals } from "../measure/send-intervals.ts";
import type { RateChange } from "../probe/result.ts";
import type { RateController, RateControllerOptions } from "./controller.ts";
import { createRateMonitor, type RateLimits, type RateMonitor } from "./monitor.ts";

export interface PathStateOptions {
  readonly wait: TimeoutLimits;
  readonly rate: RateLimits;
  /** Hosts that the run will see at most. */
  readonly hosts: number;
  readonly startUs: number;
  /** Random for each run (socket/table.ts). */
  readonly seed: number;
  /** SYNs to a port without an answer at most, and the doubt that ends them earlier. */
  readonly tries: number;
  readonly acceptedDoubt: number;
  /** Another rule to find the rate, for comparison. */
  readonly congestion?: (options: RateControllerOptions) => RateController;
  readonly onRateChange?: (change: RateChange) => void;
}

type Timeouts = Pick<
  ProbeTimeouts,
  "waitUs" | "lookAgainUs" | "soonUs" | "lastWaitUs" | "wholeWaitUs" | "pilotWaitUs"
>;
type Ledger = Omit<LossLedger, "answered" | "pilotAnswered" | "settle">;

export interface PathState extends Timeouts, Ledger, Pick<RateMonitor, "rate" | "inStartup" | "metrics"> {
  readonly hosts: HostCache;
  /** Times in which the path carried nothing. */
  outages(nowUs: number): ReturnType<Outages["list"]>;
  /** Whether the rate is adapted at all, so that pilots are of use. */
  readonly adaptive: boolean;
  /** The host's entry in `hosts` (HostCache.entryOf). */
  hostOf(words: Uint32Array, at: number, nowUs: number, likely?: number): number;
  /** A SYN is to leave. @returns whether the host had had none for a while */
  sent(host: number, nowUs: number): boolean;
  /** Whether the host has rested long enough to answer the next SYN, whatever limits it has. */
  isRested(host: number, nowUs: number): boolean;
  /**
   * A SYN that left at `times[i]` was answered with SYN-ACK or RST, for the first time, `ageUs` before `nowUs`.
   * @param flags ANSWER (measure/loss-ledger.ts)
   */
  answered(host: number, times: Float64Array, i: number, nowUs: number, ageUs: number, flags: number): void;
  pilotAnswered(host: number, times: Float64Array, i: number, atUs: number): void;
  /** Whether anything has answered: without, nothing is known of loss. */
  hasAnswers(): boolean;
  overrun(nowUs: number): void;
  /**
   * Looks at what has become of the SYNs, when it is time.
   * @param unretriedUs the oldest SYN whose next try has yet to leave left then; Infinity when there is none
   */
  look(nowUs: number, unretriedUs: number): void;
  /** When that will be. */
  lookAt(): number;
}

/** Prefixes that are kept. */
const MAX_PREFIXES = 1 << 16;
/** After this long without a SYN, in milliseconds, a host that limits its answers can answer again. */
const REST_MS = 200;

export function createPathState(options: PathStateOptions): PathState {
  const { wait, rate: limits, startUs, tries, acceptedDoubt, congestion, onRateChange } = options;
  const hosts = createHostCache(options.hosts, options.seed);
  const prefixes = createHostCache(Math.min(options.hosts, MAX_PREFIXES), options.seed);
  const prefix = new Uint32Array(ADDRESS_WORDS);
  const intervals = createSendIntervals();
  const timeouts = createProbeTimeouts(wait, hosts, prefixes);
  const monitor = createRateMonitor({
    rate: limits,
    startUs,
    patienceUs: wait.initialUs,
    hosts,
    intervals,
    timeouts,
    ...(congestion === undefined ? {} : { congestion }),
    ...(onRateChange === undefined ? {} : { onRateChange }),
  });
  const ledger = createLossLedger({
    hosts,
    prefixes,
    intervals,
    timeouts,
    startUs,
    tries,
    acceptedDoubt,
    onOutcomeWithoutPilots: monitor.observeOutcome,
  });
  const outages = createOutages();
  /** Something has answered. */
  let hasAnswers = false;

  /**
   * Takes the round trip of the SYN that left at `times[i]`.
   * @param rtt whole microseconds
   */
  function sample(host: number, interval: number, times: Float64Array, i: number, rtt: number): void {
    if (rtt > MAX_RTT_US) return;
    monitor.sample(host, interval, times, i, rtt);
    timeouts.sample(host, rtt);
  }

  return {
    ...timeouts,
    ...ledger,
    hosts,
    adaptive: limits.minimum < limits.maximum,
    rate: monitor.rate,
    inStartup: monitor.inStartup,
    metrics: monitor.metrics,
    hostOf: (words, at, nowUs, likely) => {
      const host = hosts.entryOf(words, at, nowUs, likely);
      if (hosts.srtt[host] === 0) {
        loadPrefix(prefix, words, at);
        // 0 may be an entry that nobody has had yet.
        hosts.prefix[host] = prefixes.entryOf(prefix, 0, nowUs, hosts.prefix[host] || -1);
      }
      return host;
    },
    sent: (host, nowUs) => {
      monitor.sent(nowUs);
      const nowMs = nowUs / 1000;
      const rested = nowMs - hosts.sentMs[host] >= REST_MS;
      if (hosts.firstMs[host] === Number.NEGATIVE_INFINITY) hosts.firstMs[host] = nowMs;
      hosts.sentMs[host] = nowMs;
      return rested;
    },
    isRested: (host, nowUs) =>
      nowUs / 1000 - hosts.sentMs[host] >= REST_MS && (hosts.marks[host] & MARKS.limited) === 0,
    departed: (times, i, isFirst) => {
      ledger.departed(times, i, isFirst);
      monitor.departed(times, i);
    },
    departedTogether: (times, first, last, syns, firstSyns) => {
      if (!ledger.departedTogether(times, first, last, syns, firstSyns)) return false;
      monitor.departed(times, last);
      return true;
    },
    outages: outages.list,
    pilotDeparted: (times, i) => {
      ledger.pilotDeparted(times, i);
      outages.asked(times, i);
    },
    answered: (host, times, i, nowUs, ageUs, flags) => {
      hasAnswers = true;
      outages.answered(times, i, nowUs, ageUs);
      const interval = ledger.answered(host, times, i, flags);
      if ((flags & ANSWER.timed) !== 0) {
        sample(host, interval, times, i, Math.max(1, nowUs - ageUs - times[i]) | 0);
      }
    },
    pilotAnswered: (host, times, i, atUs) => {
      outages.answered(times, i, atUs, 0);
      const interval = ledger.pilotAnswered(times, i);
      sample(host, interval, times, i, Math.max(1, atUs - times[i]) | 0);
    },
    finish: () => {
      ledger.finish();
      monitor.finish();
    },
    hasAnswers: () => hasAnswers,
    overrun: monitor.overrun,
    look: (nowUs, unretriedUs) => {
      if (nowUs < monitor.lookAt()) return;
      timeouts.learn();
      if (hasAnswers) {
        monitor.observe(nowUs);
        ledger.settle(nowUs, unretriedUs);
      }
      monitor.follow(nowUs, hasAnswers);
    },
    lookAt: monitor.lookAt,
  };
}
