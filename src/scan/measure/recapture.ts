/**
 * Capture and recapture: a random sample of the ports that were called silent has been asked once more, long after; so many of them
 * answered. From that alone, how many open ports are still called silent: exact bounds, without a model of how losses come.
 *
 * It assumes that the later SYN is lost as independent ones are, so it sees neither a burst that lasts beyond it nor a host that was
 * away all the time; and that open ports are missed no more often than others that answer. Where bursts are known to last longer, what
 * the doubts say they hide is added to the bounds.
 */
import type { Missed } from "./loss.ts";

/** Which silent pairs are asked again at the end: a sample where losses may have hidden answers; none; all. */
export const VERIFY = ["auto", "off", "all"] as const;
export type Verify = (typeof VERIFY)[number];

export interface Recapture {
  /** Silent ports that were asked once more, and how many of them were found open and closed by that. */
  readonly asked: number;
  readonly open: number;
  readonly closed: number;
  /** Ports that are still called silent, those that stayed silent then among them. */
  readonly silent: number;
  /** Of all ports: open ones and closed ones. */
  readonly openFound: number;
  readonly closedFound: number;
  /** Of these, those found in the last round in which who was silent was asked once more, and in the round before; 0 for no such. */
  readonly last: number;
  readonly before: number;
  /** Loss of a round trip, 0 to 1. */
  readonly loss: number;
  /** Ports that answer, at most, of which the sample shows nothing: their bursts of loss outlast the time to it, or they had no try left. */
  readonly unseen: number;
}

/** So long after its last try a port is asked once more, in microseconds: most bursts are over then. */
export const AFTER_US = 3_000_000;
/** A sample has at least so many ports, if there are. */
export const FEWEST_ASKED = 200;

/** Whether those that were asked, some of which `answered`, tell more than doubts do: many, half of all, or enough to contradict. */
export const isTelling = (asked: number, answered: number, silent: number): boolean =>
  asked > 0 && (answered > 0 || asked >= Math.min(FEWEST_ASKED, silent / 2));

const TAIL = 0.025;
const BISECTIONS = 60;
/** Terms that are this much smaller than the largest do not count. */
const NEGLIGIBLE = 1e-17;

/** P(X <= k), of `n` trials that each succeed with the probability `p`, where k <= n p: summed from its largest term down. */
function atMost(k: number, n: number, p: number): number {
  if (k >= n) return 1;
  if (k < 0 || p >= 1) return 0;
  let logTerm = k * Math.log(p) + (n - k) * Math.log1p(-p);
  for (let i = 1; i <= k; i++) logTerm += Math.log((n - k + i) / i);
  let term = 1;
  let sum = 1;
  for (let i = k; i > 0 && term > NEGLIGIBLE; i--) {
    term *= (i / (n - i + 1)) * ((1 - p) / p);
    sum += term;
  }
  return sum * Math.exp(logTerm);
}

/** The greatest share of which `k` or fewer in `n` come with a probability of 2.5 % or more (Clopper and Pearson 1934). */
export function upperShare(k: number, n: number): number {
  if (k >= n) return 1;
  let low = k / n;
  let high = 1;
  for (let i = 0; i < BISECTIONS; i++) {
    const middle = (low + high) / 2;
    if (atMost(k, n, middle) >= TAIL) low = middle;
    else high = middle;
  }
  return high;
}

/** The smallest share of which `k` or more in `n` come with a probability of 2.5 % or more. */
export const lowerShare = (k: number, n: number): number => 1 - upperShare(n - k, n);

/** The greatest number of which, each found with the probability `p`, no more than `k` are found with a probability of 2.5 % or more. */
function upperNumber(k: number, p: number): number {
  let n = k;
  while (n < 2 * k + 100 && atMost(k, n + 1, p) >= TAIL) n++;
  return n;
}

/** Whether more answered than can be chance where `expected` were. */
export function contradicts(answered: number, expected: number): boolean {
  let term = Math.exp(-expected);
  let fewer = 0;
  for (let k = 0; k < answered; k++) {
    fewer += term;
    term *= expected / (k + 1);
  }
  return 1 - fewer < 2 * TAIL;
}

/** Ports that answer and are still called silent, and the open ones of them: the expected number, and bounds of a 95 % interval. */
export function recaptured(recapture: Recapture): { readonly answering: Missed; readonly open: Missed } {
  const { asked, open, closed, silent, openFound, closedFound, last, before, loss, unseen } = recapture;
  const answered = open + closed;
  // Who was lost before is lost once more by this chance: at least as the path loses, or as rounds thin out.
  const lostAgain = Math.min(0.99, Math.max(loss, before > 0 ? last / (last + before) : 0));
  const lostAgainMost = Math.min(0.99, Math.max(loss, before > 0 ? upperShare(last, last + before) : 0));
  const found = 1 - lostAgain;
  const unasked = Math.max(0, silent - (asked - answered));
  const answering = openFound + closedFound;
  const share = openFound / Math.max(1, answering);
  const expected = (unasked * answered) / asked / found + (last * lostAgain) / found;
  const most = upperShare(openFound, Math.max(1, answering));
  const least = lowerShare(openFound, Math.max(1, answering));
  const unaskedMost = unasked * Math.min(1, upperShare(answered, asked) / (1 - lostAgainMost));
  const missedAgain = upperNumber(last, 1 - lostAgainMost) - last;
  // After a second round those that were not asked are no random rest of a sample: they had no try left, and met more with all of theirs.
  const low = last === answered ? unasked * lowerShare(answered, asked) : 0;
  return {
    answering: {
      expected,
      low: Math.floor(low),
      high: Math.min(silent, Math.ceil(unaskedMost) + missedAgain + Math.ceil(unseen)),
    },
    open: {
      expected: share * expected,
      low: Math.floor(least * low),
      high: Math.min(silent, Math.ceil(most * unaskedMost) + Math.floor(most * (missedAgain + unseen))),
    },
  };
}
