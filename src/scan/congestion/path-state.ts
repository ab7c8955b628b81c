/**
 * What a run learns of the way to its targets while it goes on: round trips and loss of hosts, of their prefixes, of the whole;
 * and, of them, how sure silence is.
 *
 * It keeps the books, stretch by stretch (measure/send-intervals.ts), and asks the small pure parts: how long to wait (measure/probe-timeout.ts), what loss and
 * doubt there are (measure/loss.ts, measure/missed-ports.ts), how fast to go on (monitor.ts). The engine tells it what happened to each probe.
 * Pure: times in microseconds.
 *
 * Loss is proven, never guessed from silence: by a later try that was answered, or by a pilot that was not. ICMP proves no
 * loss, because who sends it limits it.
 * Tested by test/sim/path-knowledge.test.ts and test/sim/networks.test.ts.
 */
import { ADDRESS_WORDS } from "../../socket/table.ts";
import { createHostCache, type HostCache, loadPrefix, MARKS } from "../measure/host-cache.ts";
import { BESIDE, BESIDE_TRIES, lossOf, lossOfPart, MOST_LOSS, PART_TRIES } from "../measure/loss.ts";
import { createMissedPorts } from "../measure/missed-ports.ts";
import { createProbeTimeouts, type ProbeTimeouts } from "../measure/probe-timeout.ts";
import { LONGEST_SAMPLE_US, type TimeoutLimits } from "../measure/rtt.ts";
import { FATES, type Fate } from "../measure/send-intervals.ts";
import type { RateController, RateControllerOptions } from "./controller.ts";
import { createRateMonitor, type RateLimits } from "./monitor.ts";

export interface PathStateOptions {
  readonly wait: TimeoutLimits;
  readonly rate: RateLimits;
  /** Hosts that the run will see at most. */
  readonly hosts: number;
  readonly startUs: number;
  /** SYNs to a silent port at most, and the doubt that ends them before. */
  readonly tries: number;
  readonly acceptedDoubt: number;
  /** Another way to find the rate, for comparison. */
  readonly congestion?: (options: RateControllerOptions) => RateController;
}

/** All waits are whole microseconds. */
type HowLong = "waitUs" | "lookAgainUs" | "soonUs" | "lastWaitUs" | "wholeWaitUs" | "pilotWaitUs";

export interface PathState extends Pick<ProbeTimeouts, HowLong> {
  readonly hosts: HostCache;
  /** SYNs per second that may leave. */
  rate(): number;
  /** Whether the rate is looked for at all, so that pilots are of use. */
  readonly adaptive: boolean;
  /** Whether the rate still grows so fast that first SYNs, which tell most, are worth more than others. */
  isStarting(): boolean;
  hostOf(words: Uint32Array, at: number, nowUs: number): number;
  /** A SYN is to leave. @returns whether the host had had none for a while */
  sent(host: number, nowUs: number): boolean;
  /** One left at `times[i]`, the first to its port or not. (A time handed over by itself would be an object.) */
  departed(times: Float64Array, i: number, isFresh: boolean): void;
  /** Whether the host has had no SYN for so long that no limit of its own keeps it from answering the next. */
  isRested(host: number, nowUs: number): boolean;
  /**
   * A SYN that left at `times[i]` was answered with SYN-ACK or RST, for the first time, `ageUs` before `nowUs`.
   * @param tells of the path: no limit of the host's has a part in what becomes of this SYN
   * @param timed the round trip is that of this SYN and no other
   */
  answered(
    host: number,
    times: Float64Array,
    i: number,
    nowUs: number,
    ageUs: number,
    tells: boolean,
    timed: boolean,
    isFresh: boolean,
  ): void;
  /** A SYN must have been lost, or its answer: a later one of the same pair was answered. */
  lost(host: number, times: Float64Array, i: number, tells: boolean): void;
  /** It was not lost after all: the answer came later. */
  regained(host: number, times: Float64Array, i: number, tells: boolean): void;
  /** It was a pilot; later its fate is told: answered, lost, or not known because it had not left after all. */
  pilotDeparted(times: Float64Array, i: number): void;
  pilotUnknown(times: Float64Array, i: number): void;
  pilotAnswered(host: number, times: Float64Array, i: number, atUs: number): void;
  pilotLost(times: Float64Array, i: number): void;
  /**
   * Writes the chance that SYNs to this host, which left at `times[i]`, `times[i + step]` …, were all lost, or their answers, to
   * `doubt[0]`.
   * @param limited whether the host may have limited its answers: resets, not SYN-ACKs
   */
  reckonDoubt(
    host: number,
    times: Float64Array,
    i: number,
    step: number,
    count: number,
    limited: boolean,
  ): void;
  readonly doubt: Float64Array;
  /** A port is open whose first SYN left at `times[i]`. */
  foundOpen(times: Float64Array, i: number): void;
  /** For each open port found, how many of its like were missed: the sum. */
  missedPorts(): number;
  /** The loss to reckon with, of a round trip. */
  loss(): number;
  /** Nothing more will come: what is known has to do. */
  finish(): void;
  overrun(nowUs: number): void;
  /** Looks at what has become of what left, when it is time. */
  look(nowUs: number): void;
  /** When it will be time; Infinity while nothing is under way. */
  lookAt(): number;
  /** Round trips known to have failed, and to have succeeded, of stretches whose last word is spoken. */
  lostSoFar(): number;
  answeredSoFar(): number;
}

/** Prefixes of which something is kept. */
const MOST_PREFIXES = 1 << 16;
/** A host loses so many more than chance explains, and standard errors, as tries of a pair share their fate: it limits its answers. */
const LIMITED_LOST = 2;
const BEYOND_CHANCE = 4;
const WITHOUT_PILOTS_US = 1_000_000;
/** What a stretch says of the run's loss counts so much less with every stretch that follows. */
const FADING = 0.995;
const MOST_UNSEEN = 0.8;
/** What is lost while so much of everything is tells nothing of one host. */
const LOSS_OF_ALL = 0.3;
/** After so long without a SYN a host has tokens again, whatever limits its answers. */
const REST_MS = 200;

export function createPathState(options: PathStateOptions): PathState {
  const { wait, rate: limits, startUs } = options;
  const adaptive = limits.minimum < limits.maximum;
  const hosts = createHostCache(options.hosts);
  const prefixes = createHostCache(Math.min(options.hosts, MOST_PREFIXES));
  /** The prefix of each host. */
  const prefixOf = hosts.prefix;
  const prefix = new Uint32Array(ADDRESS_WORDS);
  const timeouts = createProbeTimeouts(wait, hosts, prefixes);
  const rates = createRateMonitor({
    rate: limits,
    startUs,
    patienceUs: wait.initialUs,
    hosts,
    timeouts,
    ...(options.congestion === undefined ? {} : { congestion: options.congestion }),
  });
  const { intervals, areFatesKnown } = rates;
  /** Stretches below this have been looked at for the last time. */
  let settled = 0;
  let lostSoFar = 0;
  let answeredSoFar = 0;
  /** The same, but what is long ago counts less and less. */
  let lostOfLate = 0;
  let answeredOfLate = 0;
  let loss = lossOf(0, 0);
  /** What becomes of SYNs to ports that answer, whatever has a part in it. */
  let missed = 0;
  let heardOf = 0;
  let resetLoss = loss;
  let resetsLimited = false;
  let heard = false;
  /** When a pilot whose fate is known last left. */
  let pilotUs = startUs;
  const doubt = new Float64Array(1);
  /** Stretches below this have their loss. */
  let smoothed = 0;
  const missedPorts = createMissedPorts(intervals, options.acceptedDoubt, options.tries);
  const worse = new Float64Array(1);
  const lossThen = new Float64Array(1);
  /**
   * Takes the round trip of the SYN that left at `times[i]`.
   * @param rtt whole microseconds
   */
  function sampleOf(host: number, interval: number, times: Float64Array, i: number, rtt: number): void {
    if (rtt > LONGEST_SAMPLE_US) return;
    rates.sample(host, interval, times, i, rtt);
    timeouts.sample(host, rtt);
  }

  function bump(counts: Uint32Array, i: number): void {
    if (counts[i] < 0xffff) counts[i]++;
  }

  /** What becomes of pairs' SYNs in all prefixes together: what one has lost is held against it, as much of it was early. */
  let pairsLost = 0;
  let pairsAnswered = 0;
  let pairLoss = loss;

  /** How many times what prefixes lose this one loses: to `worse[0]`, as a number handed back would be an object. */
  function notePrefix(known: number): void {
    worse[0] = Math.max(1, lossOfPart(prefixes.lost[known], prefixes.answered[known], pairLoss) / pairLoss);
  }

  /** How many times the run's loss a host's is: at least once, by what it has shown itself, or else its prefix, or hosts like it. */
  function noteWorse(host: number): void {
    const known = prefixOf[host];
    notePrefix(known);
    const ofPrefix = loss * worse[0];
    // A host that answers with resets may limit them, as others here do.
    const ofLike = hosts.closed[host] > 0 ? Math.max(ofPrefix, resetLoss) : ofPrefix;
    worse[0] = Math.max(1, lossOfPart(hosts.lost[host], hosts.answered[host], ofLike) / loss);
  }

  function reckonDoubt(
    host: number,
    times: Float64Array,
    from: number,
    step: number,
    count: number,
    limited: boolean,
  ): void {
    worse[0] = 1;
    if (!limited) {
      const known = prefixOf[host];
      if (prefixes.lost[known] > 0) notePrefix(known);
    } else if (
      hosts.lost[host] + prefixes.lost[prefixOf[host]] > 0 ||
      (hosts.closed[host] > 0 && resetsLimited)
    ) {
      noteWorse(host);
    }
    let product = 1;
    for (let i = 0; i < count; i++) {
      const interval = intervals.at(times, from + i * step);
      if (interval >= 0 && interval < smoothed) {
        product *= Math.min(MOST_LOSS, worse[0] * intervals.loss(interval));
        continue;
      }
      let lost = 0;
      let answered = 0;
      if (interval >= 0) {
        // The losses of pairs show only later: until then pilots speak for them.
        lost = intervals.get(interval, FATES.pilotLost);
        answered = intervals.get(interval, FATES.pilotAnswered);
      }
      // lossOfPart, but a call would make objects of its numbers.
      product *= Math.min(
        MOST_LOSS,
        (worse[0] * (lost + PART_TRIES * loss)) / (lost + answered + PART_TRIES),
      );
    }
    doubt[0] = product;
  }

  function add(interval: number, fate: Fate, often = 1): void {
    if (interval < 0) return;
    intervals.add(interval, fate, often);
    if (interval >= settled) return;
    if (fate === FATES.lost || fate === FATES.pilotLost) lostSoFar += often;
    else answeredSoFar += often;
  }

  /** Loses more than others do: from now on it gets no more than it answers. */
  function noteLoss(host: number, interval: number, tells: boolean): void {
    noteLossOf(interval);
    // When everybody's are lost it is no limit of this host's.
    if (lossThen[0] > LOSS_OF_ALL) return;
    bump(hosts.lost, host);
    if (tells) {
      bump(prefixes.lost, prefixOf[host]);
      pairsLost++;
    }
    const lost = hosts.lost[host];
    const all = lost + hosts.answered[host];
    const usual = Math.max(lossThen[0], pairLoss);
    if (lost > all * usual + BEYOND_CHANCE * Math.sqrt(all * usual * (1 - usual)) + LIMITED_LOST) {
      hosts.marks[host] |= MARKS.paced;
    }
  }

  /** What a stretch loses, and the run if that is more: to `lossThen[0]`, as a number handed back would be an object. */
  function noteLossOf(interval: number): void {
    lossThen[0] = loss;
    if (interval < 0) return;
    const lost = intervals.get(interval, FATES.pilotLost) + intervals.get(interval, FATES.lost);
    const answered = intervals.get(interval, FATES.pilotAnswered) + intervals.get(interval, FATES.answered);
    lossThen[0] = Math.max(loss, lossOfPart(lost, answered, loss));
  }

  /** Of a pair that lost all its tries nothing is known: for each loss that shows there are so many, the more the fewer tries. */
  const unseen = (): number => 1 / (1 - Math.min(MOST_UNSEEN, loss ** (options.tries - 1)));

  /** Losses of stretches with those beside them, as each alone has seen too little; and what they tell of open ports missed. */
  function smooth(nowUs: number, until: number): void {
    smoothed = Math.max(smoothed, intervals.first());
    for (; smoothed < until; smoothed++) {
      let lost = BESIDE_TRIES * loss;
      let all = BESIDE_TRIES;
      const end = Math.min(settled, smoothed + BESIDE + 1);
      for (let i = Math.max(intervals.first(), smoothed - BESIDE); i < end; i++) {
        const gone = unseen() * intervals.get(i, FATES.lost) + intervals.get(i, FATES.pilotLost);
        lost += gone;
        all += gone + intervals.get(i, FATES.answered) + intervals.get(i, FATES.pilotAnswered);
      }
      intervals.setLoss(smoothed, Math.min(MOST_LOSS, lost / all));
    }
    missedPorts.reckon(
      smoothed,
      settled,
      timeouts.unknownTimeoutUs(),
      nowUs === Number.POSITIVE_INFINITY,
      resetsLimited,
    );
  }

  /** By now the next try of whatever was lost has been answered, most often. */
  function settle(nowUs: number): void {
    const last = intervals.count() - 1;
    settled = Math.max(settled, intervals.first());
    const after = 2 * Math.max(timeouts.unknownTimeoutUs(), timeouts.outcomeAfterUs()) + timeouts.roundUs();
    for (; settled < last && intervals.fromUs(settled + 1) + after <= nowUs; settled++) {
      const pilotsLost = intervals.get(settled, FATES.pilotLost);
      const pilotsAnswered = intervals.get(settled, FATES.pilotAnswered);
      const lost = unseen() * intervals.get(settled, FATES.lost) + pilotsLost;
      const answered = intervals.get(settled, FATES.answered) + pilotsAnswered;
      lostSoFar += lost;
      answeredSoFar += answered;
      lostOfLate = FADING * lostOfLate + lost;
      answeredOfLate = FADING * answeredOfLate + answered;
      if (pilotsLost + pilotsAnswered > 0) pilotUs = intervals.fromUs(settled);
      missed += intervals.get(settled, FATES.missed);
      heardOf += intervals.get(settled, FATES.heard);
      // Where no pilots can be sent, what became of the probes themselves has to do.
      if (intervals.fromUs(settled) < pilotUs + WITHOUT_PILOTS_US) continue;
      rates.tell(nowUs, settled, intervals.get(settled, FATES.heard), intervals.get(settled, FATES.missed));
    }
    // Of what is not settled too little loss is known, but sometimes more than of all that went before.
    let lost = lostOfLate;
    let answered = answeredOfLate;
    // Of pilots it is known sooner, and of both fates alike.
    let pilotsGone = 0;
    let pilotsBack = 0;
    for (let i = settled; i <= last; i++) {
      if (areFatesKnown(i)) {
        pilotsGone += intervals.get(i, FATES.pilotLost);
        pilotsBack += intervals.get(i, FATES.pilotAnswered);
      }
      lost += intervals.get(i, FATES.lost) + intervals.get(i, FATES.pilotLost);
      answered += intervals.get(i, FATES.answered) + intervals.get(i, FATES.pilotAnswered);
    }
    loss = Math.max(
      lossOf(lostOfLate, answeredOfLate),
      lossOf(lost, answered),
      // Too many tries cost little, too few a port.
      pilotsGone === 0 ? 0 : lossOf(pilotsGone + Math.sqrt(pilotsGone), pilotsBack),
    );
    pairLoss = lossOf(pairsLost, pairsAnswered);
    resetLoss = lossOf(missed, heardOf);
    resetsLimited = resetLoss > loss;
    smooth(nowUs, settled - BESIDE);
  }

  return {
    hosts,
    adaptive,
    rate: rates.rate,
    isStarting: rates.isStarting,
    hostOf: (words, at, nowUs) => {
      const host = hosts.entryOf(words, at, nowUs);
      if (hosts.srtt[host] === 0) {
        loadPrefix(prefix, words, at);
        prefixOf[host] = prefixes.entryOf(prefix, 0, nowUs);
      }
      return host;
    },
    waitUs: timeouts.waitUs,
    lookAgainUs: timeouts.lookAgainUs,
    soonUs: timeouts.soonUs,
    lastWaitUs: timeouts.lastWaitUs,
    wholeWaitUs: timeouts.wholeWaitUs,
    pilotWaitUs: timeouts.pilotWaitUs,
    sent: (host, nowUs) => {
      rates.sent(nowUs);
      const nowMs = nowUs / 1000;
      const rested = nowMs - hosts.sentMs[host] >= REST_MS;
      if (hosts.firstMs[host] === Number.NEGATIVE_INFINITY) hosts.firstMs[host] = nowMs;
      hosts.sentMs[host] = nowMs;
      return rested;
    },
    isRested: (host, nowUs) =>
      nowUs / 1000 - hosts.sentMs[host] >= REST_MS && (hosts.marks[host] & MARKS.paced) === 0,
    answered: (host, times, i, nowUs, ageUs, tells, timed, isFresh) => {
      heard = true;
      const interval = intervals.at(times, i);
      // Where no second SYN may follow no loss of a pair ever shows: then only pilots tell.
      if (tells && options.tries > 1) add(interval, FATES.answered);
      intervals.add(interval, FATES.heard);
      if (isFresh) intervals.add(interval, FATES.freshHeard);
      bump(hosts.answered, host);
      if (tells) {
        bump(prefixes.answered, prefixOf[host]);
        pairsAnswered++;
      }
      if (timed) sampleOf(host, interval, times, i, Math.max(1, nowUs - ageUs - times[i]) | 0);
    },
    lost: (host, times, i, tells) => {
      const interval = intervals.at(times, i);
      if (tells) add(interval, FATES.lost);
      intervals.add(interval, FATES.missed);
      if (interval >= 0 && interval < settled) missed++;
      noteLoss(host, interval, tells);
    },
    regained: (host, times, i, tells) => {
      if (tells) add(intervals.at(times, i), FATES.lost, -1);
      if (hosts.lost[host] > 0) hosts.lost[host]--;
    },
    departed: (times, i, isFresh) => {
      const interval = intervals.at(times, i);
      intervals.add(interval, FATES.sent);
      if (isFresh) intervals.add(interval, FATES.fresh);
      rates.departed(times, i);
    },
    pilotDeparted: (times, i) => intervals.add(intervals.at(times, i), FATES.pilotSent),
    pilotUnknown: (times, i) => intervals.add(intervals.at(times, i), FATES.pilotSent, -1),
    pilotAnswered: (host, times, i, atUs) => {
      const interval = intervals.at(times, i);
      add(interval, FATES.pilotAnswered);
      sampleOf(host, interval, times, i, Math.max(1, atUs - times[i]) | 0);
    },
    pilotLost: (times, i) => add(intervals.at(times, i), FATES.pilotLost),
    reckonDoubt,
    doubt,
    foundOpen: (times, i) => intervals.add(intervals.at(times, i), FATES.open),
    missedPorts: missedPorts.sum,
    loss: () => loss,
    finish: () => {
      intervals.begin(intervals.fromUs(intervals.count() - 1) + 1, 0);
      settle(Number.POSITIVE_INFINITY);
      smooth(Number.POSITIVE_INFINITY, settled);
      rates.finish();
    },
    overrun: rates.overrun,
    look: (nowUs) => {
      if (nowUs < rates.lookAt()) return;
      timeouts.learn();
      if (heard) {
        rates.hear(nowUs);
        settle(nowUs);
      }
      rates.follow(nowUs, heard);
    },
    lookAt: rates.lookAt,
    lostSoFar: () => lostSoFar,
    answeredSoFar: () => answeredSoFar,
  };
}
