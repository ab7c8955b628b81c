/**
 * What one direction of a path does to a packet: a bottleneck with its queue, loss, latency with jitter, reordering,
 * duplication. Each is a small rule; a direction is the rules in this order.
 *
 * Rules know times only; the packets themselves wait in network.ts.
 */
import type { DirectionDescription, PathDescription } from "./description.ts";
import type { Random } from "./random.ts";

/** What `enter` returns in place of a time. */
export const LOST = -1;
export const QUEUE_FULL = -2;

export interface Direction {
  /**
   * A packet enters. @returns when it leaves the bottleneck, or LOST or QUEUE_FULL.
   */
  enter(nowUs: number): number;
  /** Copies of a packet that arrive: 1, or 2 when it is duplicated. */
  copies(): number;
  /** Delay of one copy from there, in microseconds. */
  delay(): number;
}

/** When a packet that arrives at `nowUs` leaves the queue; QUEUE_FULL when it is dropped. */
export type Bottleneck = (nowUs: number) => number;

/** Both ways between the prober and some hosts. */
export interface Path {
  readonly in: Direction;
  readonly out: Direction;
}

/** The network's rules, and those of paths that differ: what a path leaves out is as the network has it. */
export function createPaths(network: PathDescription, startUs: number, random: { in: Random; out: Random }) {
  const shared = {
    in: bottleneckOf(rulesOf(network, "in"), startUs),
    out: bottleneckOf(rulesOf(network, "out"), startUs),
  };
  return (own: PathDescription = {}): Path => {
    const direction = (way: "in" | "out"): Direction => {
      const ownRules = rulesOf(own, way);
      const bottleneck = ownRules.ratePps === undefined ? shared[way] : bottleneckOf(ownRules, startUs);
      return createDirection({ ...rulesOf(network, way), ...ownRules }, bottleneck, random[way]);
    };
    return { in: direction("in"), out: direction("out") };
  };
}

/** What a path says about one direction. */
function rulesOf({ in: inward, out: outward, ...both }: PathDescription, way: "in" | "out") {
  return { ...both, ...(way === "in" ? inward : outward) };
}

function createDirection(
  rules: DirectionDescription,
  bottleneck: Bottleneck | undefined,
  random: Random,
): Direction {
  const { loss = 0, duplication = 0, reordering = 0, reorderingMs = 10, latencyMs = 0, jitterMs = 0 } = rules;
  const latencyUs = latencyMs * 1000;
  const jitterUs = jitterMs * 1000;
  return {
    enter: (nowUs) => {
      const through = bottleneck === undefined ? nowUs : bottleneck(nowUs);
      return through !== QUEUE_FULL && loss > 0 && random() < loss ? LOST : through;
    },
    copies: () => (duplication > 0 && random() < duplication ? 2 : 1),
    delay: () => {
      const jitter = jitterUs > 0 ? (2 * random() - 1) * jitterUs : 0;
      const held = reordering > 0 && random() < reordering ? reorderingMs * 1000 : 0;
      return Math.max(0, latencyUs + jitter) + held;
    },
  };
}

/**
 * A tail-drop queue, computed from S(t), the packets served since the start: a packet that arrives after `v` accepted ones
 * leaves when S reaches v + 1.
 */
function bottleneckOf(rules: DirectionDescription, startUs: number): Bottleneck | undefined {
  const { ratePps, queuePackets = 1000, rateChanges = [] } = rules;
  if (ratePps === undefined) return undefined;
  /** Intervals of constant rate: start, packets served by then, and packets per microsecond. */
  const pieces = [{ fromUs: startUs, served: 0, perUs: ratePps / 1e6 }];
  for (const { atMs, ratePps: next } of rateChanges) {
    const { fromUs, served, perUs } = pieces[pieces.length - 1];
    const until = startUs + atMs * 1000;
    pieces.push({ fromUs: until, served: served + (until - fromUs) * perUs, perUs: next / 1e6 });
  }
  /** Packets accepted, plus what could have been served in idle time. */
  let taken = 0;
  /** The interval of the last arrival: times do not go back. */
  let current = 0;
  return (nowUs) => {
    while (current + 1 < pieces.length && pieces[current + 1].fromUs <= nowUs) current++;
    const { fromUs, served, perUs } = pieces[current];
    const now = served + (nowUs - fromUs) * perUs;
    taken = Math.max(taken, now);
    // One is being sent; the others wait.
    if (taken - now > queuePackets) return QUEUE_FULL;
    taken++;
    let piece = current;
    while (piece + 1 < pieces.length && pieces[piece + 1].served < taken) piece++;
    return pieces[piece].fromUs + (taken - pieces[piece].served) / pieces[piece].perUs;
  };
}
