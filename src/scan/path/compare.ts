/**
 * Two ports asked in turn at the same hop, or one port at two hops, from a new flow each time, until it is clear whether both are
 * answered or one never is.
 *
 * New flows, so that which of several equal ways a SYN takes is drawn anew each time, for both ports alike. Who goes first
 * alternates, so that a router that answers so many a second keeps its answers from both. The first SYNs go quickly; where they do
 * not make it clear, more go ever more slowly.
 * Tested by test/sim/path.test.ts and test/sim/path-limits.test.ts.
 */
import { chanceOfSilence } from "./doubt.ts";
import type { Answer, Probe } from "./flow.ts";
import type { Surveyed } from "./walk.ts";

export interface Comparison {
  /** How many SYNs of the first port were answered, and how many of the second. */
  readonly answered: number;
  readonly sent: number;
  readonly otherAnswered: number;
  readonly otherSent: number;
  /** The chance that the second port's silence is chance; 1 when it was answered. */
  readonly doubt: number;
}

/** A silence is taken for real below this. */
export const SURE = 0.004;
const FIRST_PAIRS = 5;
const GAP_US = 40_000;
/** Pauses before the further pairs. */
const PAUSES_US = [150_000, 300_000, 600_000, 1_000_000, 1_000_000, 1_000_000, 1_000_000];

/** Pauses after which it is asked once more although it seems clear, where the silence may be a stretch of bad time. */
const LATER_US = [500_000, 1_000_000];

/** What is asked: a port, with a TTL. */
interface Side {
  readonly port: number;
  readonly ttl: number;
}

/**
 * @param otherSide the one that is in doubt
 * @param counts whether an answer counts for the question
 * @param mostSyns to the other side's port, over all that it was ever sent
 * @param isFirstWord whether nothing at all was heard of that port: then it is asked again later
 */
export function* compare(
  walk: Surveyed,
  side: Side,
  otherSide: Side,
  counts: (answer: Answer) => boolean,
  mostSyns: number,
  isFirstWord = false,
): Generator<readonly Probe[], Comparison> {
  const [mine, theirs]: [Probe[], Probe[]] = [[], []];
  let pairs = 0;

  function* ask(count: number, pauseUs: number): Generator<readonly Probe[], void> {
    const batch: Probe[] = [];
    for (let i = 0; i < count; i++, pairs++) {
      // The one that is in doubt goes first at first: a single answer of its own settles it.
      const order = pairs % 2 === 0 ? [otherSide, side] : [side, otherSide];
      for (const [j, each] of order.entries()) {
        const flow = walk.flow(each.port);
        if (flow === undefined) break;
        const afterUs = pauseUs + i * GAP_US + (j * GAP_US) / 2;
        const probe = walk.probe(flow, each.ttl, { afterUs });
        batch.push(probe);
        (each === side ? mine : theirs).push(probe);
      }
    }
    yield batch;
  }

  const hits = (probes: readonly Probe[]): number =>
    probes.filter(({ answer }) => answer !== undefined && counts(answer)).length;
  // What the kernel has refused was not asked.
  const asked = (probes: readonly Probe[]): number => probes.filter(({ skipped }) => !skipped).length;
  function judge(): Comparison {
    const [answered, sent] = [hits(mine), asked(mine)];
    const [otherAnswered, otherSent] = [hits(theirs), asked(theirs)];
    const doubt = otherAnswered > 0 ? 1 : chanceOfSilence(answered, sent, otherSent);
    return { answered, sent, otherAnswered, otherSent, doubt };
  }

  yield* ask(FIRST_PAIRS, 0);
  for (const pauseUs of PAUSES_US) {
    const { otherAnswered, doubt } = judge();
    if (otherAnswered > 0 || doubt <= SURE || walk.sentTo(otherSide.port) >= mostSyns) break;
    yield* ask(1, pauseUs);
  }
  for (const pauseUs of isFirstWord ? LATER_US : []) if (judge().doubt <= SURE) yield* ask(1, pauseUs);
  return judge();
}

/** Runs several surveys side by side: their batches become one. */
export function* together(
  surveys: readonly Generator<readonly Probe[], void>[],
): Generator<readonly Probe[], void> {
  let live = surveys.slice();
  while (live.length > 0) {
    const batches = live.map((survey) => survey.next());
    live = live.filter((_, i) => batches[i].done !== true);
    const batch = batches.flatMap((next) => (next.done === true ? [] : next.value));
    if (live.length > 0) yield batch;
  }
}
