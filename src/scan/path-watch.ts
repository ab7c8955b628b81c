/**
 * What a run learns of the way to its targets while it goes on: round trips and loss of hosts, of their prefixes, of the whole;
 * and, of them, how sure silence is, how fast to go on, and how long to wait for an answer.
 *
 * It keeps the books, stretch by stretch (cohorts.ts), and asks the small pure parts: waits.ts, confidence.ts, odds.ts,
 * congestion.ts. The engine tells it what happened to each probe. Pure: times in microseconds.
 *
 * Loss is proven, never guessed from silence: by a later try that was answered, or by a pilot that was not. ICMP proves no
 * loss, because who sends it limits it.
 */
import { ADDRESS_WORDS } from "../socket/table.ts";
import { createCohorts, FATES, type Fate } from "./cohorts.ts";
import { BESIDE, BESIDE_TRIES, lossOf, lossOfPart, MOST_LOSS, PART_TRIES } from "./confidence.ts";
import { type Congestion, type CongestionOptions, createCongestion } from "./congestion.ts";
import { createHosts, type Hosts, loadPrefix, MARKS } from "./hosts.ts";
import { createLateness } from "./lateness.ts";
import { createOdds } from "./odds.ts";
import { LONGEST_SAMPLE_US, type WaitLimits } from "./round-trip.ts";
import type { SharedRate } from "./shared-rate.ts";
import { createTrend } from "./trend.ts";
import { createWaits, SHORTEST_US, type Waits } from "./waits.ts";

/** SYNs per second: bounds of what may be found, and where to start; bounds that meet leave nothing to find. */
export interface RateLimits {
  readonly minimum: number;
  readonly maximum: number;
  /** Workers that go this way together, this one included: until the path has told, each takes its part. */
  readonly workers?: number;
  /** What they all go by. */
  readonly shared?: SharedRate;
}

export interface PathWatchOptions {
  readonly wait: WaitLimits;
  readonly rate: RateLimits;
  /** Hosts that the run will see at most. */
  readonly hosts: number;
  readonly startUs: number;
  /** SYNs to a silent port at most, and the doubt that ends them before. */
  readonly tries: number;
  readonly acceptedDoubt: number;
  /** Another way to find the rate, for comparison. */
  readonly congestion?: (options: CongestionOptions) => Congestion;
}

/** All waits are whole microseconds. */
type HowLong = "waitUs" | "lookAgainUs" | "soonUs" | "lastWaitUs" | "wholeWaitUs" | "pilotWaitUs";

export interface PathWatch extends Pick<Waits, HowLong> {
  readonly hosts: Hosts;
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
  odds(): number;
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

/** Without a bound a run begins with this rate, and goes on with the other while nothing answers. */
const INITIAL_RATE = 4000;
export const BLIND_RATE = 10_000;
/** A round trip is looked at in so many stretches, each as long as this at least and at most. */
const STRETCHES = 8;
const LONGEST_US = 100_000;
/** Before round trips are known. */
const FIRST_US = 20_000;
/** What leaves at once at the very start (pacing.ts) makes a queue that is no rate's. */
const BURST_US = 5000;
/** Stretches with too few answers are looked at together, so many at most. */
const MOST_TOGETHER = 64;
/** What a look must rest on. */
const FEWEST_ANSWERS = 3;
const FEWEST_OUTCOMES = 8;
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

export function createPathWatch(options: PathWatchOptions): PathWatch {
  const { wait, rate: limits, startUs } = options;
  const adaptive = limits.minimum < limits.maximum;
  const within = (rate: number): number => Math.min(limits.maximum, Math.max(limits.minimum, rate));
  const congestion = (options.congestion ?? createCongestion)({
    ...limits,
    initial: within(INITIAL_RATE / (limits.workers ?? 1)),
    blind: within(BLIND_RATE / (limits.workers ?? 1)),
    startUs,
  });
  const hosts = createHosts(options.hosts);
  const prefixes = createHosts(Math.min(options.hosts, MOST_PREFIXES));
  /** The prefix of each host. */
  const prefixOf = hosts.prefix;
  const prefix = new Uint32Array(ADDRESS_WORDS);
  const waits = createWaits(wait, hosts, prefixes);
  const sharedRate = (): number => limits.shared?.share(congestion.rate()) ?? congestion.rate();
  let rate = sharedRate();
  const cohorts = createCohorts(startUs, rate);
  const lateness = createLateness(hosts, cohorts, waits);
  const trend = createTrend(startUs + BURST_US);
  /** Stretches below these have been looked at: for their answers, for their outcomes, for the last time. */
  let answersSeen = 0;
  let outcomesSeen = 0;
  let settled = 0;
  let lostSoFar = 0;
  let answeredSoFar = 0;
  /** The same, but what is long ago counts less and less. */
  let lostOfLate = 0;
  let answeredOfLate = 0;
  let stretchUs = FIRST_US;
  /** Looks come as often as is right without a queue: else who was met in one would see the next too late. */
  let lookUs = FIRST_US;
  let loss = lossOf(0, 0);
  /** What becomes of SYNs to ports that answer, whatever has a part in it. */
  let missed = 0;
  let heardOf = 0;
  let resetLoss = loss;
  let resetsLimited = false;
  let nextLook = startUs;
  let heard = false;
  let starting = true;
  /** When a pilot whose fate is known last left. */
  let pilotUs = startUs;
  /** When the last SYN left: a number in an array, which is no object of its own each time it changes. */
  const lastUs = Float64Array.of(startUs);

  const doubt = new Float64Array(1);
  /** Stretches below this have their loss. */
  let smoothed = 0;
  const odds = createOdds(cohorts, options.acceptedDoubt, options.tries);
  const worse = new Float64Array(1);
  const lossThen = new Float64Array(1);
  const middle = new Float64Array(1);
  /**
   * Takes the round trip of the SYN that left at `times[i]`.
   * @param rtt whole microseconds
   */
  function sampleOf(host: number, cohort: number, times: Float64Array, i: number, rtt: number): void {
    if (rtt > LONGEST_SAMPLE_US) return;
    if (starting) trend.add(times, i, rtt);
    lateness.sample(host, cohort, times, i, rtt);
    waits.sample(host, rtt);
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
      const cohort = cohorts.at(times, from + i * step);
      if (cohort >= 0 && cohort < smoothed) {
        product *= Math.min(MOST_LOSS, worse[0] * cohorts.loss(cohort));
        continue;
      }
      let lost = 0;
      let answered = 0;
      if (cohort >= 0) {
        // The losses of pairs show only later: until then pilots speak for them.
        lost = cohorts.get(cohort, FATES.pilotLost);
        answered = cohorts.get(cohort, FATES.pilotAnswered);
      }
      // lossOfPart, but a call would make objects of its numbers.
      product *= Math.min(
        MOST_LOSS,
        (worse[0] * (lost + PART_TRIES * loss)) / (lost + answered + PART_TRIES),
      );
    }
    doubt[0] = product;
  }

  function add(cohort: number, fate: Fate, often = 1): void {
    if (cohort < 0) return;
    cohorts.add(cohort, fate, often);
    if (cohort >= settled) return;
    if (fate === FATES.lost || fate === FATES.pilotLost) lostSoFar += often;
    else answeredSoFar += often;
  }

  /** Loses more than others do: from now on it gets no more than it answers. */
  function noteLoss(host: number, cohort: number, tells: boolean): void {
    noteLossOf(cohort);
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
  function noteLossOf(cohort: number): void {
    lossThen[0] = loss;
    if (cohort < 0) return;
    const lost = cohorts.get(cohort, FATES.pilotLost) + cohorts.get(cohort, FATES.lost);
    const answered = cohorts.get(cohort, FATES.pilotAnswered) + cohorts.get(cohort, FATES.answered);
    lossThen[0] = Math.max(loss, lossOfPart(lost, answered, loss));
  }

  // --- looking -----------------------------------------------------------------------------------------------------

  function look(nowUs: number): void {
    if (nowUs < nextLook) return;
    waits.learn();
    if (waits.isHeard()) {
      stretchUs = Math.min(LONGEST_US, Math.max(SHORTEST_US, waits.roundUs() / STRETCHES));
      lookUs = Math.min(stretchUs, Math.max(SHORTEST_US, waits.clearRoundUs() / STRETCHES));
    }
    if (heard) {
      const before = congestion.rate();
      if (starting) lookAtTrend(nowUs);
      lookAtDelays(nowUs);
      lookAtAnswers(nowUs);
      lookAtOutcomes(nowUs);
      settle(nowUs);
      waits.expectQueue(before / congestion.rate());
    } else if (nowUs - startUs > wait.initialUs) congestion.handleSilence();
    congestion.handleTime(nowUs);
    starting = congestion.isStarting();
    rate = sharedRate();
    const newest = cohorts.count() - 1;
    const isNew = rate !== cohorts.allowed(newest) || nowUs - cohorts.fromUs(newest) >= stretchUs;
    if (cohorts.get(newest, FATES.sent) > 0 && isNew) beginStretch(nowUs);
    nextLook = nowUs + lookUs;
  }

  /** What has left belongs to the stretches before. */
  function beginStretch(nowUs: number): void {
    const fromUs = Math.max(nowUs, lastUs[0]);
    const before = cohorts.allowed(cohorts.count() - 1);
    cohorts.begin(fromUs, rate);
    if (rate > before) trend.startAnew(fromUs);
    if (rate < before) trend.end(fromUs);
  }

  const stretch = (nowUs: number, from: number, to: number) => {
    const fromUs = cohorts.fromUs(from);
    const toUs = cohorts.fromUs(to);
    let sent = 0;
    let allowed = 0;
    for (let i = from; i < to; i++) {
      sent += cohorts.get(i, FATES.sent);
      allowed += cohorts.allowed(i) * (cohorts.fromUs(i + 1) - cohorts.fromUs(i));
    }
    const length = Math.max(1, toUs - fromUs);
    allowed /= length;
    // After a pause a burst may leave: it is no rate.
    return {
      nowUs,
      fromUs,
      toUs,
      sent: Math.min(allowed, (sent * 1e6) / length),
      allowed,
      roundUs: waits.clearRoundUs(),
    };
  };

  /** A queue shows in the answers that come, long before it is known what became of all that left with them. */
  function lookAtDelays(nowUs: number): void {
    const late = lateness.take();
    if (late === undefined) return;
    middle[0] = late.atUs;
    const cohort = cohorts.at(middle, 0);
    const from = Math.max(cohorts.first(), cohort - 1);
    const to = Math.min(cohorts.count() - 1, cohort + 2);
    if (cohort >= 0 && to > from) congestion.handleDelays(Object.assign(stretch(nowUs, from, to), late));
  }

  /** While starting a queue shows in round trips that grow, before any host is heard of twice. */
  function lookAtTrend(nowUs: number): void {
    const growth = trend.growth();
    if (growth === undefined) return;
    middle[0] = growth.fromUs;
    const from = cohorts.at(middle, 0);
    if (from < 0 || from === cohorts.count() - 1) return;
    congestion.handleGrowth({ ...stretch(nowUs, from, from + 1), ...growth });
    if (congestion.isStarting()) return;
    // What was learnt of round trips so far had the queue in it.
    waits.relearnClear(growth.clearUs);
    waits.setQueue(growth.queueUs);
    lateness.expectQueue(growth.clearUs + 2 * growth.scatterUs);
  }

  function lookAtAnswers(nowUs: number): void {
    answersSeen = Math.max(answersSeen, cohorts.first());
    const last = cohorts.count() - 1;
    const afterUs = waits.answersAfterUs();
    let to = answersSeen;
    while (to < last && cohorts.fromUs(to + 1) + afterUs <= nowUs) {
      to++;
      let answers = 0;
      let fresh = 0;
      let freshAnswers = 0;
      let delays = 0;
      let sum = 0;
      for (let i = answersSeen; i < to; i++) {
        answers += cohorts.get(i, FATES.heard) + cohorts.get(i, FATES.pilotAnswered);
        fresh += cohorts.get(i, FATES.fresh);
        freshAnswers += cohorts.get(i, FATES.freshHeard);
        delays += cohorts.delays(i);
        sum += cohorts.delaySum(i);
      }
      if (answers < FEWEST_ANSWERS && to - answersSeen < MOST_TOGETHER) continue;
      const delayUs = delays === 0 ? 0 : sum / delays;
      // Assigned, not spread: each copied number would be one object more.
      congestion.handleAnswers(
        Object.assign(stretch(nowUs, answersSeen, to), {
          answers,
          fresh,
          freshAnswers,
          delays,
          delayUs,
        }),
      );
      answersSeen = to;
    }
  }

  function lookAtOutcomes(nowUs: number): void {
    outcomesSeen = Math.max(outcomesSeen, cohorts.first());
    const last = cohorts.count() - 1;
    let to = outcomesSeen;
    while (to < last && cohorts.fromUs(to + 1) + SHORTEST_US <= nowUs && fatesAreKnown(to)) {
      to++;
      let answered = 0;
      let lost = 0;
      for (let i = outcomesSeen; i < to; i++) {
        answered += cohorts.get(i, FATES.pilotAnswered);
        lost += cohorts.get(i, FATES.pilotLost);
      }
      if (answered + lost < FEWEST_OUTCOMES && to - outcomesSeen < MOST_TOGETHER) continue;
      congestion.handleOutcome({ ...stretch(nowUs, outcomesSeen, to), answered, lost });
      outcomesSeen = to;
    }
  }

  /** Of a pair that lost all its tries nothing is known: for each loss that shows there are so many, the more the fewer tries. */
  const unseen = (): number => 1 / (1 - Math.min(MOST_UNSEEN, loss ** (options.tries - 1)));

  /** Losses of stretches with those beside them, as each alone has seen too little; and what they tell of open ports missed. */
  function smooth(nowUs: number, until: number): void {
    smoothed = Math.max(smoothed, cohorts.first());
    for (; smoothed < until; smoothed++) {
      let lost = BESIDE_TRIES * loss;
      let all = BESIDE_TRIES;
      const end = Math.min(settled, smoothed + BESIDE + 1);
      for (let i = Math.max(cohorts.first(), smoothed - BESIDE); i < end; i++) {
        const gone = unseen() * cohorts.get(i, FATES.lost) + cohorts.get(i, FATES.pilotLost);
        lost += gone;
        all += gone + cohorts.get(i, FATES.answered) + cohorts.get(i, FATES.pilotAnswered);
      }
      cohorts.setLoss(smoothed, Math.min(MOST_LOSS, lost / all));
    }
    odds.reckon(smoothed, settled, waits.unknownWaitUs(), nowUs === Number.POSITIVE_INFINITY, resetsLimited);
  }

  /** What is lost shows last: a look at half of the fates would see too many answers. */
  const fatesAreKnown = (cohort: number): boolean =>
    cohorts.get(cohort, FATES.pilotAnswered) + cohorts.get(cohort, FATES.pilotLost) >=
    cohorts.get(cohort, FATES.pilotSent);

  /** By now the next try of whatever was lost has been answered, most often. */
  function settle(nowUs: number): void {
    const last = cohorts.count() - 1;
    settled = Math.max(settled, cohorts.first());
    const after = 2 * Math.max(waits.unknownWaitUs(), waits.outcomeAfterUs()) + waits.roundUs();
    for (; settled < last && cohorts.fromUs(settled + 1) + after <= nowUs; settled++) {
      const pilotsLost = cohorts.get(settled, FATES.pilotLost);
      const pilotsAnswered = cohorts.get(settled, FATES.pilotAnswered);
      const lost = unseen() * cohorts.get(settled, FATES.lost) + pilotsLost;
      const answered = cohorts.get(settled, FATES.answered) + pilotsAnswered;
      lostSoFar += lost;
      answeredSoFar += answered;
      lostOfLate = FADING * lostOfLate + lost;
      answeredOfLate = FADING * answeredOfLate + answered;
      if (pilotsLost + pilotsAnswered > 0) pilotUs = cohorts.fromUs(settled);
      missed += cohorts.get(settled, FATES.missed);
      heardOf += cohorts.get(settled, FATES.heard);
      // Where no pilots can be sent, what became of the probes themselves has to do.
      if (cohorts.fromUs(settled) < pilotUs + WITHOUT_PILOTS_US) continue;
      congestion.handleOutcome({
        ...stretch(nowUs, settled, settled + 1),
        answered: cohorts.get(settled, FATES.heard),
        lost: cohorts.get(settled, FATES.missed),
      });
    }
    // Of what is not settled too little loss is known, but sometimes more than of all that went before.
    let lost = lostOfLate;
    let answered = answeredOfLate;
    // Of pilots it is known sooner, and of both fates alike.
    let pilotsGone = 0;
    let pilotsBack = 0;
    for (let i = settled; i <= last; i++) {
      if (fatesAreKnown(i)) {
        pilotsGone += cohorts.get(i, FATES.pilotLost);
        pilotsBack += cohorts.get(i, FATES.pilotAnswered);
      }
      lost += cohorts.get(i, FATES.lost) + cohorts.get(i, FATES.pilotLost);
      answered += cohorts.get(i, FATES.answered) + cohorts.get(i, FATES.pilotAnswered);
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
    rate: () => rate,
    isStarting: () => starting,
    hostOf: (words, at, nowUs) => {
      const host = hosts.entryOf(words, at, nowUs);
      if (hosts.srtt[host] === 0) {
        loadPrefix(prefix, words, at);
        prefixOf[host] = prefixes.entryOf(prefix, 0, nowUs);
      }
      return host;
    },
    waitUs: waits.waitUs,
    lookAgainUs: waits.lookAgainUs,
    soonUs: waits.soonUs,
    lastWaitUs: waits.lastWaitUs,
    wholeWaitUs: waits.wholeWaitUs,
    pilotWaitUs: waits.pilotWaitUs,
    sent: (host, nowUs) => {
      const newest = cohorts.count() - 1;
      if (cohorts.get(newest, FATES.sent) === 0 && cohorts.isOlder(newest, nowUs, stretchUs)) {
        beginStretch(nowUs);
      }
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
      const cohort = cohorts.at(times, i);
      // Where no second SYN may follow no loss of a pair ever shows: then only pilots tell.
      if (tells && options.tries > 1) add(cohort, FATES.answered);
      cohorts.add(cohort, FATES.heard);
      if (isFresh) cohorts.add(cohort, FATES.freshHeard);
      bump(hosts.answered, host);
      if (tells) {
        bump(prefixes.answered, prefixOf[host]);
        pairsAnswered++;
      }
      if (timed) sampleOf(host, cohort, times, i, Math.max(1, nowUs - ageUs - times[i]) | 0);
    },
    lost: (host, times, i, tells) => {
      const cohort = cohorts.at(times, i);
      if (tells) add(cohort, FATES.lost);
      cohorts.add(cohort, FATES.missed);
      if (cohort >= 0 && cohort < settled) missed++;
      noteLoss(host, cohort, tells);
    },
    regained: (host, times, i, tells) => {
      if (tells) add(cohorts.at(times, i), FATES.lost, -1);
      if (hosts.lost[host] > 0) hosts.lost[host]--;
    },
    departed: (times, i, isFresh) => {
      const cohort = cohorts.at(times, i);
      cohorts.add(cohort, FATES.sent);
      if (isFresh) cohorts.add(cohort, FATES.fresh);
      if (times[i] > lastUs[0]) lastUs[0] = times[i];
    },
    pilotDeparted: (times, i) => cohorts.add(cohorts.at(times, i), FATES.pilotSent),
    pilotUnknown: (times, i) => cohorts.add(cohorts.at(times, i), FATES.pilotSent, -1),
    pilotAnswered: (host, times, i, atUs) => {
      const cohort = cohorts.at(times, i);
      add(cohort, FATES.pilotAnswered);
      sampleOf(host, cohort, times, i, Math.max(1, atUs - times[i]) | 0);
    },
    pilotLost: (times, i) => add(cohorts.at(times, i), FATES.pilotLost),
    reckonDoubt,
    doubt,
    foundOpen: (times, i) => cohorts.add(cohorts.at(times, i), FATES.open),
    odds: odds.sum,
    loss: () => loss,
    finish: () => {
      cohorts.begin(cohorts.fromUs(cohorts.count() - 1) + 1, 0);
      settle(Number.POSITIVE_INFINITY);
      smooth(Number.POSITIVE_INFINITY, settled);
      limits.shared?.leave();
    },
    overrun: congestion.handleOverrun,
    look,
    lookAt: () => nextLook,
    lostSoFar: () => lostSoFar,
    answeredSoFar: () => answeredSoFar,
  };
}
