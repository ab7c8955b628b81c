/**
 * What one direction of a path does to a packet: a bottleneck with its queue, loss, latency with jitter, reordering,
 * duplication. Each is a small rule; a direction is the rules in this order. Loss in bursts and outages are bursts.ts's: what
 * counts for them is when a packet enters.
 *
 * The packets themselves wait in network.ts.
 */

import type { DirectionDescription, PathDescription } from "../description.ts";
import type { Random } from "../random.ts";
import { createBursts, createOutage, type Weather } from "./bursts.ts";
import { newFlow, readFlow } from "./flow.ts";

/** What `enter` returns in place of a time. */
export const LOST = -1;
export const QUEUE_FULL = -2;

export interface Direction {
  /**
   * The packet `b[at, end)` enters. @returns when it leaves the bottleneck, or LOST or QUEUE_FULL.
   */
  enter(b: Uint8Array, at: number, end: number, nowUs: number): number;
  /** Copies of a packet that arrive: 1, or 2 when it is duplicated. */
  copies(): number;
  /** Delay of one copy from there, in microseconds. */
  delay(): number;
  /** When everything is lost, as far as it depends on what the packet is of: bursts and outages. */
  readonly weather: readonly Weather[];
}

/** When a packet that arrives at `nowUs` leaves the queue; QUEUE_FULL when it is dropped. */
export type Bottleneck = (nowUs: number) => number;

/** Both ways between the prober and some hosts. */
export interface Path {
  readonly in: Direction;
  readonly out: Direction;
}

/**
 * The network's rules, and those of paths that differ: what a path leaves out is as the network has it.
 * @param seed of bursts and outages
 * @param random what befalls single packets, each way
 */
export function createPaths(
  network: PathDescription,
  startUs: number,
  seed: number,
  random: { in: Random; out: Random },
) {
  const shared = {
    in: bottleneckOf(rulesOf(network, "in"), startUs),
    out: bottleneckOf(rulesOf(network, "out"), startUs),
  };
  /** One rule, one weather: for both ways, and for all paths that have it from the network. */
  const known = new Map<object, Weather>();
  function create<Rule extends object>(
    rules: readonly Rule[] = [],
    make: (rule: Rule, seed: number, salt: number, startUs: number) => Weather,
  ): Weather[] {
    return rules.map((rule) => {
      const weather = known.get(rule) ?? make(rule, seed, known.size, startUs);
      known.set(rule, weather);
      return weather;
    });
  }
  const weatherOf = ({ bursts, outages }: DirectionDescription): Weather[] => [
    ...create(outages, createOutage),
    ...create(bursts, createBursts),
  ];
  return (own: PathDescription = {}): Path => {
    const direction = (way: "in" | "out"): Direction => {
      const ownRules = rulesOf(own, way);
      const bottleneck = ownRules.ratePps === undefined ? shared[way] : bottleneckOf(ownRules, startUs);
      const rules = { ...rulesOf(network, way), ...ownRules };
      return createDirection(way, rules, bottleneck, weatherOf(rules), random[way]);
    };
    return { in: direction("in"), out: direction("out") };
  };
}

/** What a path says about one direction. */
function rulesOf({ in: inward, out: outward, ...both }: PathDescription, way: "in" | "out") {
  return { ...both, ...(way === "in" ? inward : outward) };
}

function createDirection(
  way: "in" | "out",
  rules: DirectionDescription,
  bottleneck: Bottleneck | undefined,
  weather: readonly Weather[],
  random: Random,
): Direction {
  const { loss = 0, duplication = 0, reordering = 0, reorderingMs = 10, latencyMs = 0, jitterMs = 0 } = rules;
  const latencyUs = latencyMs * 1000;
  const jitterUs = jitterMs * 1000;
  const flow = newFlow();
  function isAway(b: Uint8Array, at: number, end: number, nowUs: number): boolean {
    if (weather.length === 0) return false;
    readFlow(flow, b, at, end, way);
    return weather.some((rule) => rule.loses(flow, nowUs));
  }
  return {
    weather,
    enter: (b, at, end, nowUs) => {
      const through = bottleneck === undefined ? nowUs : bottleneck(nowUs);
      if (through === QUEUE_FULL) return through;
      return (loss > 0 && random() < loss) || isAway(b, at, end, nowUs) ? LOST : through;
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
