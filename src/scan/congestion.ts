/**
 * Finds the rate that a path holds. Fed with what became of the SYNs of one stretch of time after another (path-watch.ts), it
 * says how many a second may leave.
 *
 * The model: one bottleneck of capacity C, shared or not, with a queue before it, behind loss that has nothing to do with it.
 * Below C the round trips are the usual ones and loss is what it always was. Above C the queue grows by (rate/C - 1) seconds a
 * second, and when it is full the share 1 - C/rate is lost. Either sign says what C is, so one look is enough to get there:
 *
 *     start    twice the rate of each stretch that was answered without a queue: doubles every round trip
 *     sign     C = rate / (1 + slope of the delay), or rate * (1 - loss) / (1 - usual loss); go below it until it shows
 *     steady   up by a root of the rate each round trip, faster the longer nothing happens; the next sign ends it
 *
 * Loss is a sign only against the usual loss; and if it stays when the rate has gone down, it was usual, and the rate comes back.
 *
 * Why this one: nmap's AIMD (a window, halved at each loss) takes random loss for congestion, and at 3 % each way sends
 * at a small part of what the path holds; it also needs an answer for each packet that is to leave. In simulation over
 * random networks (test/sim/congestion.test.ts holds both against an oracle) it needs several times the time of this
 * model. A delay-only rule (Vegas, Copa) was left aside: with jitter of half a round trip it sees queues late or everywhere.
 * The growth by a root, as in binomial congestion control, and common factors on the way down make shares of a bottleneck
 * converge.
 *
 * Pure: times in microseconds, rates in SYNs per second. Not here: when SYNs leave (pacing.ts), hosts that limit their
 * answers (path-watch.ts gives them a pace of their own).
 */

/** One stretch of time, and what left in it. */
export interface Stretch {
  readonly nowUs: number;
  readonly fromUs: number;
  readonly toUs: number;
  /** SYNs per second that left, and that might have. */
  readonly sent: number;
  readonly allowed: number;
  /** A typical round trip without queue. */
  readonly roundUs: number;
}

/** The answers to a stretch that have come at first. */
export interface Answers extends Stretch {
  readonly answers: number;
  /** Of how many it is known how much longer than usual they took; mean and standard deviation of that. */
  readonly delays: number;
  readonly delayUs: number;
  readonly spreadUs: number;
}

/** What became of those SYNs of a stretch that must have been answered. */
export interface Outcome extends Stretch {
  readonly answered: number;
  readonly lost: number;
}

export interface Congestion {
  /** SYNs per second that may leave now. */
  rate(): number;
  handleAnswers(answers: Answers): void;
  handleOutcome(outcome: Outcome): void;
  /** This machine itself lost packets on arrival. */
  handleOverrun(nowUs: number): void;
  /** Nothing has answered for so long that it is no use to wait for a sign. */
  handleSilence(): void;
}

export interface CongestionOptions {
  readonly minimum: number;
  readonly maximum: number;
  readonly initial: number;
  /** The rate when nothing at all answers. */
  readonly blind: number;
  readonly startUs: number;
}

/** Answers and outcomes that a look must rest on. */
const FEWEST_ANSWERS = 3;
const FEWEST_DELAYS = 12;
const FEWEST_OUTCOMES = 16;
const MOST_OUTCOMES = 400;
/** Queueing below this is nothing: schedulers alone make as much. */
const SMALL_QUEUE_US = 8000;
/** Standard errors away from chance: there are many looks. */
const SURE = 4;
/** Loss this much above the usual is worth a reaction. */
const SMALL_LOSS = 0.03;
/** A path that loses this much is away. */
const OUTAGE = 0.6;
/** The belief that there is hardly any usual loss, as so many round trips. */
const PRIOR = { answered: 49.5, lost: 0.5 };
/** After so many round trips without a sign the steps grow. */
const PATIENCE = 3;
/** Back from a slow-down: not quite what the path was found to hold. */
const BELOW = 0.95;

export function createCongestion(options: CongestionOptions): Congestion {
  const { minimum, maximum, startUs } = options;
  const clamp = (rate: number): number => Math.min(maximum, Math.max(minimum, rate));
  let rate = clamp(options.initial);
  let starting = true;
  /** What left before the last slow-down, or the last growth, says nothing of the present rate. */
  let slowedUs = startUs;
  let grownUs = startUs;
  /** After a slow-down: the rate to come back to as soon as the queue is gone. */
  let comeBack: number | undefined;
  /** The usual outcome, that since the last slow-down, and the newest of all. */
  const usual = { ...PRIOR };
  const recent = { answered: 0, lost: 0 };
  const newest = { answered: 0, lost: 0 };
  /** A slow-down because of loss, until it shows whether it helped. */
  let suspicion: { readonly loss: number; readonly sent: number; readonly rate: number } | undefined;
  /** The last stretches whose delay is known, a round trip of them. */
  const delays: Delay[] = [];
  /** Round trips without a sign. */
  let clean = 0;

  const lossOf = ({ answered, lost }: { answered: number; lost: number }): number => lost / (answered + lost);

  function slowDown(to: number, nowUs: number): void {
    starting = false;
    clean = 0;
    rate = clamp(to);
    slowedUs = nowUs;
    recent.answered = 0;
    recent.lost = 0;
  }

  function handleAnswers(e: Answers): void {
    if (e.answers < FEWEST_ANSWERS) return;
    const middleUs = (e.fromUs + e.toUs) / 2;
    if (e.delays > 0) {
      const { sent, delays: answers, delayUs, spreadUs } = e;
      delays.push({ atUs: middleUs, sent, answers, delayUs, squares: delayUs ** 2 + spreadUs ** 2 });
      while (delays.length > 3 && delays[0].atUs < middleUs - e.roundUs) delays.shift();
    }
    if (e.fromUs < slowedUs) return;
    const queue = queueIn(delays);
    if (queue > Math.max(SMALL_QUEUE_US, 0.1 * e.roundUs)) {
      const capacity = capacityFrom(delays) * (1 - excessLoss());
      // Half of the queue in two round trips, but never less than half the rate.
      const drain = 1 - Math.min(0.5, queue / (4 * Math.max(e.roundUs, SMALL_QUEUE_US)));
      slowDown(capacity * drain, e.nowUs);
      comeBack = BELOW * capacity;
      return;
    }
    if (comeBack !== undefined && suspicion === undefined) {
      rate = clamp(Math.max(rate, comeBack));
      comeBack = undefined;
      grownUs = e.nowUs;
    }
    if (starting) rate = clamp(Math.max(rate, 2 * e.sent));
  }

  /** What is lost beyond the usual: of a queue that is full, delays tell no more. */
  function excessLoss(): number {
    const count = newest.answered + newest.lost;
    if (count < FEWEST_OUTCOMES) return 0;
    const excess = lossOf(newest) - lossOf(usual);
    const error = Math.sqrt((lossOf(newest) * (1 - lossOf(newest))) / count);
    return excess > Math.max(SMALL_LOSS, 2 * error) ? excess / (1 - lossOf(usual)) : 0;
  }

  function handleOutcome(e: Outcome): void {
    newest.answered += e.answered;
    newest.lost += e.lost;
    forget(newest, 2 * FEWEST_OUTCOMES);
    if (e.fromUs < slowedUs) return;
    recent.answered += e.answered;
    recent.lost += e.lost;
    const count = recent.answered + recent.lost;
    if (count < FEWEST_OUTCOMES) return;
    const now = lossOf(recent);
    const before = lossOf(usual);
    const pooled = (recent.lost + usual.lost) / (count + usual.answered + usual.lost);
    const error = Math.sqrt(pooled * (1 - pooled) * (1 / count + 1 / (usual.answered + usual.lost)));
    if (suspicion !== undefined) {
      // Lost whatever the rate, it would be as much as then; too fast still, so much that as many arrive as then; else as usual.
      const still = 1 - ((1 - suspicion.loss) * suspicion.sent) / e.sent;
      const middle = (suspicion.loss + Math.max(before, still)) / 2;
      const chance = 2 * Math.sqrt((middle * (1 - middle)) / count);
      if (now > middle + chance && now < OUTAGE) {
        usual.answered = recent.answered;
        usual.lost = recent.lost;
        rate = clamp(Math.max(rate, suspicion.rate));
        grownUs = e.nowUs;
        suspicion = undefined;
      } else if (now < middle - chance || count > MOST_OUTCOMES) suspicion = undefined;
      else return;
    }
    if (now - before > Math.max(SMALL_LOSS, SURE * error)) {
      const capacity = (e.sent * (1 - now)) / (1 - before);
      suspicion = { loss: now, sent: e.sent, rate: Math.min(rate, e.allowed) };
      slowDown(Math.max(0.8 * capacity, 0.3 * rate), e.nowUs);
      comeBack = BELOW * capacity;
      return;
    }
    // What is usual falls by itself, and rises only when slowing down has not helped: else a rate that is a little too high, for
    // long, would become usual itself.
    if (now <= before) {
      usual.answered += e.answered;
      usual.lost += e.lost;
      forget(usual, 4000);
    }
    forget(recent, MOST_OUTCOMES);
    grow(e);
  }

  function grow(e: Outcome): void {
    if (starting || comeBack !== undefined || e.fromUs < grownUs || e.sent < 0.8 * e.allowed) return;
    grownUs = e.nowUs;
    clean++;
    const step = 2 * Math.sqrt(rate) * 2 ** Math.max(0, clean - PATIENCE);
    rate = clamp(rate + Math.min(step, rate));
  }

  return {
    rate: () => rate,
    handleAnswers,
    handleOutcome,
    handleOverrun: (nowUs) => {
      if (nowUs - slowedUs < 100_000) return;
      const to = 0.7 * rate;
      comeBack = undefined;
      slowDown(to, nowUs);
    },
    handleSilence: () => {
      rate = clamp(Math.max(rate, options.blind));
    },
  };
}

interface Delay {
  readonly atUs: number;
  readonly sent: number;
  readonly answers: number;
  readonly delayUs: number;
  /** Mean square of the delays. */
  readonly squares: number;
}

/**
 * How much longer than usual answers take by the newest stretches, in microseconds; 0 when that may be chance. A queue holds up
 * all of them: where some are as fast as ever, it was a scheduler or the path's jitter.
 */
function queueIn(delays: readonly Delay[]): number {
  let count = 0;
  let sum = 0;
  let squares = 0;
  for (let i = delays.length - 1; i >= 0 && count < FEWEST_DELAYS; i--) {
    count += delays[i].answers;
    sum += delays[i].answers * delays[i].delayUs;
    squares += delays[i].answers * delays[i].squares;
  }
  if (count < FEWEST_DELAYS) return 0;
  const mean = sum / count;
  const spread = Math.sqrt(Math.max(0, squares / count - mean * mean));
  return mean - Math.max(1, SURE / Math.sqrt(count)) * spread > 0 ? mean : 0;
}

/** What was sent, less what the queue before the bottleneck took of it: its growth by least squares. */
function capacityFrom(delays: readonly Delay[]): number {
  let weight = 0;
  let time = 0;
  let delay = 0;
  let sent = 0;
  for (const each of delays) {
    weight += each.answers;
    time += each.answers * each.atUs;
    delay += each.answers * each.delayUs;
    sent += each.answers * each.sent;
  }
  time /= weight;
  delay /= weight;
  let covariance = 0;
  let variance = 0;
  for (const each of delays) {
    covariance += each.answers * (each.atUs - time) * (each.delayUs - delay);
    variance += each.answers * (each.atUs - time) ** 2;
  }
  const slope = variance === 0 ? 0 : covariance / variance;
  return sent / weight / (1 + Math.min(3, Math.max(-0.5, slope)));
}

/** Halves what has grown beyond `most`, so that it follows when the world changes. */
function forget(outcome: { answered: number; lost: number }, most: number): void {
  if (outcome.answered + outcome.lost <= most) return;
  outcome.answered /= 2;
  outcome.lost /= 2;
}
