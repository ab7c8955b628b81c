/**
 * A month of watching a simulated network, under a virtual clock: real scans by the engine, bursts of loss, ports that change, and
 * what is told of it beside the truth. For watch.test.ts.
 */
import { type ChangeEvent, createChangeDetector } from "../../src/runtime/watch/change-detector.ts";
import { createNetwork, destination4, type Network } from "./network.ts";
import { createSeededRandom } from "./random.ts";
import { engineFor, runToEnd, type Target, targetOf } from "./run.ts";
import { UNTOLD } from "./truth.ts";

const STATES = ["open", "closed", "filtered"] as const;
const BEHAVIOURS = ["open", "closed", "silent"] as const;
const FIRST = 0xc612_0000;
const DAY_S = 86_400;

export interface Month {
  readonly days: number;
  readonly hosts: number;
  readonly ports: number;
  readonly everyS: number;
  readonly changesADay: number;
  /** Share of the time that a host, a /24 and the path lose everything, and how long at a stretch. */
  readonly bursts: readonly {
    readonly per: "host" | "prefix" | "path";
    readonly share: number;
    readonly meanS: number;
  }[];
  readonly seed: number;
}

export interface Told {
  readonly rounds: number;
  readonly portRuns: number;
  /** Real changes that lasted two rounds; of these, told once, and told by the second scan after them. */
  readonly real: number;
  readonly told: number;
  readonly inTime: number;
  /** Events that no real change explains, and those that repeat one. */
  readonly falseEvents: number;
  readonly repeated: number;
  /** Differences of a scan that a single look would have told. */
  readonly unconfirmed: number;
  readonly unsettled: number;
}

/** Exponentially long bursts with gaps between, for one host, network or path: whether a moment lies in one. */
function createBursts(share: number, meanS: number, random: () => number): (nowS: number) => boolean {
  const gapS = (meanS * (1 - share)) / share;
  const exponential = (mean: number): number => -mean * Math.log(1 - random());
  let isLost = false;
  let untilS = Number.NEGATIVE_INFINITY;
  return (nowS) => {
    // After a long time the past says nothing: drawn afresh, as it is at any moment.
    if (nowS - untilS > 20 * (meanS + gapS)) {
      isLost = random() < share;
      untilS = nowS + exponential(isLost ? meanS : gapS);
    }
    while (untilS <= nowS) {
      isLost = !isLost;
      untilS += exponential(isLost ? meanS : gapS);
    }
    return isLost;
  };
}

export function watchMonth({ days, hosts, ports, everyS, changesADay, bursts, seed }: Month): Told {
  const below = createSeededRandom(seed);
  const random = (): number => below(2 ** 31) / 2 ** 31;
  const truth = Uint8Array.from({ length: hosts * ports }, () =>
    random() < 0.05 ? 0 : random() < 0.6 ? 1 : 2,
  );
  const endS = days * DAY_S;
  // Every port changes once at most, so that each change lasts.
  const changing = new Set<number>();
  while (changing.size < changesADay * days) changing.add(below(truth.length));
  const changes = [...changing]
    .map((pair) => ({ pair, atS: random() * endS, to: (truth[pair] + 1 + below(2)) % 3 }))
    .sort((a, b) => a.atS - b.atS);
  let applied = 0;
  let nowS = 0;
  const advance = (toS: number): void => {
    for (nowS = toS; applied < changes.length && changes[applied].atS <= nowS; applied++)
      truth[changes[applied].pair] = changes[applied].to;
  };
  const losses = bursts.map(({ per, share, meanS }) => {
    const bits = { host: 0, prefix: 8, path: 32 }[per];
    const each = new Map<number, (nowS: number) => boolean>();
    return (address: number, atS: number): boolean => {
      const group = bits === 32 ? 0 : address >>> bits;
      const found = each.get(group) ?? createBursts(share, meanS, random);
      each.set(group, found);
      return found(atS);
    };
  });

  /** Probes pairs from `nowS` on. @returns seconds that it took */
  function probe(
    pairs: Iterable<number>,
    onResult: (pair: number, state: number, doubt: number) => void,
  ): number {
    const byHost = new Map<number, number[]>();
    for (const pair of pairs) {
      const host = Math.floor(pair / ports);
      byHost.set(host, [...(byHost.get(host) ?? []), 1 + (pair % ports)]);
    }
    const targets: Target[] = [...byHost].map(([host, list]) => {
      const ip = FIRST + host;
      return { address: Uint8Array.of(ip >>> 24, ip >>> 16, ip >>> 8, ip), ports: Uint16Array.from(list) };
    });
    const hostList = [...byHost.keys()];
    const startS = nowS;
    const network = createNetwork({
      random: below,
      latencyUs: 15_000,
      jitterUs: 2000,
      behaviour: (packet, at, port) => {
        const pair = (destination4(packet, at) - FIRST) * ports + port - 1;
        return port > ports ? "silent" : BEHAVIOURS[truth[pair]];
      },
    });
    const lossy: Network = {
      ...network,
      send: (bytes, at, length, nowUs) => {
        const atS = startS + nowUs / 1e6;
        const address = destination4(bytes, at) >>> 0;
        if (!losses.some((isLost) => isLost(address, atS))) network.send(bytes, at, length, nowUs);
      },
    };
    const { controlPorts: _, canaryPorts: __, ...plain } = UNTOLD;
    const engine = engineFor(targets, {
      ...plain,
      seed: below(2 ** 31),
      isnKey: Uint8Array.from({ length: 8 }, () => below(256)),
      rate: { minimum: 10, maximum: 20_000 },
      hosts: targets.length,
    });
    const us = runToEnd(engine, lossy, (verdict) => {
      const pair = hostList[targetOf(verdict)] * ports + (verdict.position % 65_536) - 1;
      onResult(pair, STATES.indexOf(verdict.state), verdict.reason === "no-response" ? verdict.doubt : -1);
    });
    return us / 1e6;
  }

  const detector = createChangeDetector({ confirmMs: 30_000, halfLifeMs: 4 * everyS * 1000 });
  const verdictOf = (state: number, doubt: number) => ({
    state: STATES[state],
    reason: "",
    ...(doubt < 0 ? {} : { doubt }),
  });
  const events: (ChangeEvent & { readonly round: number })[] = [];
  const startsS: number[] = [];
  let unconfirmed = 0;
  let unsettled = 0;
  for (let round = 0; round * everyS < endS; round++) {
    advance(round * everyS);
    startsS.push(nowS);
    let took = probe(truth.keys(), (pair, state, doubt) =>
      detector.seen(String(pair), verdictOf(state, doubt)),
    );
    for (let first = true; ; first = false) {
      const { keys, waitMs } = detector.suspects();
      if (first && round > 0) unconfirmed += keys.length;
      if (keys.length === 0) break;
      advance(nowS + took + waitMs / 1000);
      took = probe(keys.map(Number), (pair, state, doubt) =>
        detector.again(String(pair), verdictOf(state, doubt)),
      );
    }
    const ended = detector.end(nowS * 1000);
    unsettled += ended.unsettled;
    events.push(...ended.events.map((event) => ({ ...event, round })));
  }

  const told = new Map<number, number[]>();
  let falseEvents = 0;
  const changeOf = new Map(changes.map((change) => [change.pair, change]));
  for (const { key, verdict, round } of events) {
    const change = changeOf.get(Number(key));
    if (change === undefined || STATES[change.to] !== verdict.state) falseEvents++;
    else told.set(change.pair, [...(told.get(change.pair) ?? []), round]);
  }
  // One that comes after the last scan but one does not last two rounds.
  const real = changes.filter(({ atS }) => startsS.filter((startS) => startS >= atS).length >= 2);
  const inTime = ({ pair, atS }: (typeof changes)[number]): boolean =>
    (told.get(pair)?.[0] ?? Number.POSITIVE_INFINITY) <= startsS.findIndex((startS) => startS >= atS) + 1;
  return {
    rounds: startsS.length,
    portRuns: startsS.length * truth.length,
    real: real.length,
    told: real.filter(({ pair }) => told.get(pair)?.length === 1).length,
    inTime: real.filter(inTime).length,
    falseEvents,
    repeated: [...told.values()].filter(({ length }) => length > 1).length,
    unconfirmed,
    unsettled,
  };
}
