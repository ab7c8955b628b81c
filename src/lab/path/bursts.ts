/**
 * When a path loses everything: in bursts (Gilbert's two-state loss in continuous time) and in outages by time table.
 *
 * Each key of a burst rule, such as a host, is good or bad. While it is bad all its packets are lost. Both sojourns are
 * exponential; the first state is bad with the probability `share`. A key's states are drawn from the seed, the rule and
 * the key alone, each when a packet first comes after it: the weather is the same whatever is sent through it, and a key
 * that gets no packets costs nothing. Keys whose 32-bit hashes agree share their states.
 *
 * Not here: loss that strikes each packet for itself, and queues (path.ts). Tested by test/sim/lab-bursts.test.ts.
 */
import { isIpv4 } from "../answer.ts";
import type { BurstDescription, OutageDescription } from "../description.ts";
import { createRandom, drawAddress, drawExponential, hashAddress } from "../random.ts";
import { rangeTest } from "../ranges.ts";
import type { Flow } from "./flow.ts";

/** From, and up to but not including, in microseconds. */
export type Period = readonly [fromUs: number, toUs: number];

/** One rule: when it loses the packets of which flow. */
export interface Weather {
  /** Whether a packet that enters the path now is lost. Times must not go back. */
  loses(flow: Flow, nowUs: number): boolean;
  /**
   * When it loses all packets of this flow's pair, up to `untilUs`; ascending. Nothing for a rule by the prober's port: that
   * loses some of them.
   */
  periods(flow: Flow, untilUs: number): Period[];
}

/** Salts: of keys, of a key's states, of the prefixes that an outage takes. */
const KEY = 0x4755_5253;
const STATES = 0x5354_4154;
const OUTAGE = 0x4f55_5441;

/** One key's states: good and bad in turn. */
interface Chain {
  bad: boolean;
  /** When this state ends. */
  untilUs: number;
  readonly advance: () => void;
}

function createChain(
  { share, meanMs }: BurstDescription,
  seed: number,
  stream: number,
  startUs: number,
): Chain {
  const random = createRandom(seed, stream);
  const badUs = (meanMs ?? Number.POSITIVE_INFINITY) * 1000;
  const goodUs = share === 0 ? Number.POSITIVE_INFINITY : (badUs * (1 - share)) / share;
  // A key that is always bad, or always good, never changes.
  const sojourn = (bad: boolean): number =>
    share === 1 ? Number.POSITIVE_INFINITY : drawExponential(random, bad ? badUs : goodUs);
  const bad = random() < share;
  const chain: Chain = {
    bad,
    untilUs: startUs + sojourn(bad),
    advance: () => {
      chain.bad = !chain.bad;
      chain.untilUs += sojourn(chain.bad);
    },
  };
  return chain;
}

/** @param salt another for each rule */
export function createBursts(rule: BurstDescription, seed: number, salt: number, startUs: number): Weather {
  const chains = new Map<number, Chain>();
  const keyOf = hashOf(rule.per, seed, (KEY + salt) | 0);
  const chainOf = (key: number): Chain => createChain(rule, key, (STATES + salt) | 0, startUs);
  return {
    loses: (flow, nowUs) => {
      const key = keyOf(flow);
      let chain = chains.get(key);
      if (chain === undefined) {
        chain = chainOf(key);
        chains.set(key, chain);
      }
      while (chain.untilUs <= nowUs) chain.advance();
      return chain.bad;
    },
    periods: (flow, untilUs) => {
      const found: Period[] = [];
      if (rule.per === "flow" || rule.per === "source-port") return found;
      const chain = chainOf(keyOf(flow));
      for (let fromUs = startUs; fromUs < untilUs; ) {
        if (chain.bad) found.push([fromUs, Math.min(untilUs, chain.untilUs)]);
        fromUs = chain.untilUs;
        chain.advance();
      }
      return found;
    },
  };
}

/** @param salt another for each rule */
export function createOutage(
  { fromMs, toMs, share = 1, range }: OutageDescription,
  seed: number,
  salt: number,
  startUs: number,
): Weather {
  const [fromUs, toUs] = [startUs + fromMs * 1000, startUs + toMs * 1000];
  const within = range === undefined ? () => true : rangeTest(range);
  const takes = ({ host }: Flow): boolean =>
    within(host, 0) && (share === 1 || drawAddress(seed, (OUTAGE + salt) | 0, prefixOf(host), 0, 0) < share);
  return {
    loses: (flow, nowUs) => nowUs >= fromUs && nowUs < toUs && takes(flow),
    periods: (flow, untilUs) => (fromUs < untilUs && takes(flow) ? [[fromUs, Math.min(toUs, untilUs)]] : []),
  };
}

/** Periods of several rules as one list: ascending, and apart from each other. */
export function mergePeriods(periods: readonly Period[]): Period[] {
  const merged: [fromUs: number, toUs: number][] = [];
  for (const [from, to] of periods.toSorted(([a], [b]) => a - b)) {
    const last = merged.at(-1);
    if (last !== undefined && from <= last[1]) last[1] = Math.max(last[1], to);
    else merged.push([from, to]);
  }
  return merged;
}

// --- keys ------------------------------------------------------------------------------------------------------------------

const NO_ADDRESS = new Uint32Array(4);
const prefix = new Uint32Array(4);

/** The /24 of an IPv4 address, the /64 of an IPv6 one; overwritten by the next call. */
function prefixOf(host: Uint32Array): Uint32Array {
  prefix.set(host);
  if (isIpv4(host, 0)) prefix[3] &= 0xffff_ff00;
  else prefix.fill(0, 2);
  return prefix;
}

function hashOf(per: BurstDescription["per"], seed: number, salt: number): (flow: Flow) => number {
  const hash = (words: Uint32Array, word: number): number => hashAddress(seed, salt, words, 0, word);
  switch (per) {
    case "path":
      return () => hash(NO_ADDRESS, 0);
    case "prefix":
      return ({ host }) => hash(prefixOf(host), 0);
    case "host":
      return ({ host }) => hash(host, 0);
    case "pair":
      return ({ host, port }) => hash(host, port);
    case "flow":
      return ({ host, port, proberPort }) => hash(host, (port << 16) | proberPort);
    case "source-port":
      return ({ proberPort }) => hash(NO_ADDRESS, proberPort);
  }
}
