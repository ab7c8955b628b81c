/**
 * What the rate controller is told: one shape per kind of evidence, each about SYNs that left together.
 *
 * monitor.ts makes them from the send intervals, controller.ts acts on them. Types only. Times are in microseconds of the run's
 * clock, rates in SYNs per second.
 * Tested by test/scan/congestion/controller.test.ts.
 */

/** SYNs that left in the same send interval, or in a few adjacent ones. */
export interface SentSyns {
  /** When the observation is made. */
  readonly nowUs: number;
  /** When the first of these SYNs could leave. */
  readonly fromUs: number;
  /** The rate at which they left. */
  readonly sentRate: number;
}

export interface Observation extends SentSyns {
  readonly toUs: number;
  /** The rate that was allowed. `sentRate` is lower when there was nothing to send. */
  readonly allowedRate: number;
  /** A typical round trip on this path without queueing. */
  readonly baseRttUs: number;
}

/** How much longer than usual a group of answers took. */
export interface Delay {
  /** When their SYNs left, on average. */
  readonly atUs: number;
  readonly sentRate: number;
  readonly answers: number;
  /** Round trip minus the host's base round trip: mean, and mean of the squares. */
  readonly delayUs: number;
  readonly squares: number;
}

/** Delays of answers that have just arrived: the earliest sign of a queue. */
export interface DelayObservation extends Observation, Delay {}

/** During startup: round trips rise from one SYN to the next. */
export interface RttGrowthObservation extends Observation {
  /** Seconds per second. */
  readonly slope: number;
  /** How much they rose from the first SYN to the last. */
  readonly queueUs: number;
}

/** The answers to a group of SYNs, counted when most of them should have arrived. */
export interface AnswersObservation extends Observation {
  readonly answers: number;
  /** SYNs that were the first to their port, and how many of those were answered. */
  readonly firstSyns: number;
  readonly firstSynsAnswered: number;
  /** Answers whose delay is known, and the mean of those delays. */
  readonly delays: number;
  readonly delayUs: number;
}

/** The fate of SYNs that had to be answered (pilots): known last, and certain. */
export interface OutcomeObservation extends Observation {
  readonly answered: number;
  readonly lost: number;
}
