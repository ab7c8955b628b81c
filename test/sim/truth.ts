/**
 * Whole scans through the lab's networks under a virtual clock, scored against the lab's truth: what the tests of congestion
 * and confidence share.
 */

import type { LabDescription } from "../../src/lab/description.ts";
import { createNetwork, type LabNetwork } from "../../src/lab/network.ts";
import { pathFindings } from "../../src/runtime/results/totals.ts";
import type { RateLimits } from "../../src/scan/congestion/monitor.ts";
import { createSharedRate, sharedRates } from "../../src/scan/congestion/shared-rate.ts";
import type { Engine } from "../../src/scan/engine/engine.ts";
import { canaryPorts } from "../../src/scan/hosts/canary-ports.ts";
import type { Verdict } from "../../src/scan/probe/verdict.ts";
import { createOrder } from "../../src/scan/targets/permutation.ts";
import type { ProbeSource } from "../../src/scan/targets/probe-source.ts";
import { createSourcePorts } from "../../src/socket/ports.ts";
import { createSeededRandom } from "./random.ts";
import { address, engineFor, type Overrides } from "./run.ts";

export const FIRST = 0xc612_0000;

/** `hosts` hosts from 198.18.0.0 on, on ports 1 to `ports`, in random order; `share` of `shares` of them. */
export function spaceOf(hosts: number, ports: number, seed: number, index = 0, count = 1): ProbeSource {
  const order = createOrder(hosts * ports, {
    seed: BigInt(seed),
    sequential: false,
    worker: { index, count },
  });
  let place = 0;
  return {
    total: order.count,
    next: (probe) => {
      if (place === order.count) return false;
      const i = order.indexAt(place++);
      probe.words[0] = 0;
      probe.words[1] = 0;
      probe.words[2] = 0xffff;
      probe.words[3] = FIRST + Math.floor(i / ports);
      probe.port = 1 + (i % ports);
      probe.path = 0;
      probe.position = i;
      return true;
    },
  };
}

export interface Score {
  /** Virtual time from the first SYN to the last verdict, in microseconds. */
  readonly us: number;
  readonly pairs: number;
  readonly sent: number;
  readonly open: number;
  readonly openFound: number;
  readonly falseOpen: number;
  readonly closed: number;
  readonly closedRight: number;
  readonly filtered: number;
  readonly filteredRight: number;
  readonly twice: number;
  /** Open ports called filtered, and what the run itself says of them. */
  readonly missed: number;
  readonly stated: { readonly expected: number; readonly low: number; readonly high: number };
  /** The same of all ports that answer. */
  readonly statedAnswering: { readonly expected: number; readonly low: number; readonly high: number };
  readonly loss: number;
  /** Every tenth of a second: the rate found, and what has been sent so far. */
  readonly rates: readonly { readonly us: number; readonly rate: number; readonly sent: number }[];
  readonly tries: ReadonlyMap<string, number>;
  readonly counts: Engine["counts"];
  readonly found: {
    readonly hosts: ReturnType<Engine["hostFindings"]>;
    readonly outages: ReturnType<Engine["outages"]>;
  };
  readonly network: LabNetwork;
}

/** Waits and rates as the program has them when nothing is said. */
export const UNTOLD: Overrides = {
  wait: { initialUs: 1_100_000, minUs: 100_000, maxUs: 10_000_000 },
  rate: { minimum: 10, maximum: 10_000_000 },
  confidence: 0.9999,
  retries: 10,
  capacity: 1 << 18,
  ports: createSourcePorts(64_402, 65_470, 1),
  controlPorts: { first: 65_471, last: 65_534 },
  canaryPorts: canaryPorts([]),
};

export function scanTruth(
  description: LabDescription,
  size: { readonly hosts: number; readonly ports: number; readonly seed?: number },
  overrides: Overrides = {},
  parts = 1,
  more: {
    /** When each part begins, in microseconds; 0 when left out. */
    readonly startsUs?: readonly number[];
    /** Sees every verdict as it falls; it must keep nothing of it. */
    readonly onVerdict?: (verdict: Verdict, nowUs: number) => void;
    /** Whether a SYN that leaves then is lost for certain, whoever it is for. */
    readonly isLost?: (packet: Uint8Array, nowUs: number) => boolean;
    /** They are workers of one run: all go by what all find. */
    readonly workers?: boolean;
    /** Ends before the scans do: what is scored then is what they had by that time. */
    readonly untilUs?: number;
    /** All SYNs leave from this port (-g); there are no control probes from ports of their own then. */
    readonly sourcePort?: number;
  } = {},
): Score[] {
  const network = createNetwork(description, { startUs: 0 });
  const { hosts, ports, seed = 1 } = size;
  const rates = sharedRates(parts);
  const { controlPorts: _own, ...untold } = UNTOLD;
  const scans = Array.from({ length: parts }, (_, index) => {
    const width = Math.floor(1024 / parts);
    const startUs = more.startsUs?.[index] ?? 0;
    const engine = engineFor(spaceOf(hosts, ports, seed, index, parts), {
      ...untold,
      ...(more.sourcePort === undefined ? portsOf(64_402 + index * width, width) : onePort(more.sourcePort)),
      seed: seed * 7919 + index,
      startUs,
      ...overrides,
      ...(more.workers === true ? { rate: shareRate(overrides, rates, index, parts) } : {}),
    });
    return {
      engine,
      startUs,
      state: new Uint8Array(hosts * ports),
      twice: 0,
      endUs: 0,
      tries: new Map<string, number>(),
      rates: [] as { us: number; rate: number; sent: number }[],
    };
  });
  const out = new Uint8Array(1600);
  const order = createSeededRandom(seed);
  let now = 0;
  let sampledUs = 0;
  for (let running = parts; running > 0; ) {
    // Nobody is always first at a full queue.
    const first = order(parts);
    for (let turn = 0; turn < parts; turn++) {
      const scan = scans[(first + turn) % parts];
      const { engine } = scan;
      if (scan.endUs > 0 || now < scan.startUs) continue;
      engine.handleTimeout(now);
      for (let n = engine.pollTransmit(now, out, 0, 0); n > 0; n = engine.pollTransmit(now, out, 0, 0)) {
        engine.handleDeparture(0, 1, now, now);
        if (more.isLost?.(out, now) !== true) network.handlePacket(out, 0, n, now);
      }
      for (let v = engine.pollVerdict(); v !== undefined; v = engine.pollVerdict()) {
        const code = v.state === "open" ? 1 : v.state === "closed" ? 2 : 3;
        scan.tries.set(`${v.state} ${v.reason}`, (scan.tries.get(`${v.state} ${v.reason}`) ?? 0) + v.tries);
        more.onVerdict?.(v, now);
        if (scan.state[v.position] !== 0 && v.was === null) scan.twice++;
        scan.state[v.position] = code;
      }
      if (engine.done) {
        scan.endUs = now;
        running--;
      }
      if (now >= sampledUs) {
        scan.rates.push({ us: now, rate: engine.counts.path.rate, sent: engine.counts.sent });
      }
    }
    if (now >= sampledUs) sampledUs = now + 100_000;
    if (running === 0 || now >= (more.untilUs ?? Number.POSITIVE_INFINITY)) break;
    let wake = network.pollTimeout();
    for (const { engine, endUs, startUs } of scans) {
      if (endUs === 0) wake = Math.min(wake, now < startUs ? startUs : engine.pollTimeout(now));
    }
    if (wake === Number.POSITIVE_INFINITY) throw new Error("everybody waits for nothing");
    // Real loops wake up no more often than this.
    now = Math.max(now + 50, Math.ceil(wake));
    for (let n = network.pollTransmit(now, out, 0); n > 0; n = network.pollTransmit(now, out, 0)) {
      const port = (out[22] << 8) | out[23];
      const index =
        parts === 1 ? 0 : Math.floor((destinationPort(out, port) - 64_402) / Math.floor(1024 / parts));
      scans[index]?.engine.handlePacket(out, 0, n, now);
    }
  }
  return scans.map((scan, index) => score(scan, network, spaceOf(hosts, ports, seed, index, parts)));
}

/** Ports of a part's own, the last of them for control probes. */
const portsOf = (first: number, width: number) => ({
  ports: createSourcePorts(first, first + width - 65, 1),
  controlPorts: { first: first + width - 64, last: first + width - 1 },
});

const onePort = (port: number) => ({ ports: createSourcePorts(port, port, 1) });

/** A worker's rate: its part of the bounds, and of what all find. */
function shareRate(
  { rate }: Overrides,
  rates: SharedArrayBuffer,
  index: number,
  workers: number,
): RateLimits {
  const { minimum, maximum } = typeof rate === "object" ? rate : { minimum: 10, maximum: 10_000_000 };
  const shared = createSharedRate(rates, index);
  return { minimum: minimum / workers, maximum: maximum / workers, workers, shared };
}

/** The port of ours that a packet is about: a TCP segment's destination, an ICMP error's quoted source. */
const destinationPort = (b: Uint8Array, port: number): number => (b[9] === 1 ? (b[48] << 8) | b[49] : port);

function score(
  scan: {
    engine: Engine;
    state: Uint8Array;
    twice: number;
    endUs: number;
    tries: Map<string, number>;
    rates: Score["rates"];
  },
  network: LabNetwork,
  source: ProbeSource,
): Score {
  const { engine } = scan;
  const { counts } = engine;
  const probe = { words: new Uint32Array(4), port: 0, path: 0, position: 0 };
  const peer = address("198.18.0.0");
  const tally = {
    pairs: 0,
    open: 0,
    openFound: 0,
    falseOpen: 0,
    closed: 0,
    closedRight: 0,
    filtered: 0,
    filteredRight: 0,
    missed: 0,
  };
  while (source.next(probe)) {
    tally.pairs++;
    for (let i = 0; i < 4; i++) peer[i] = probe.words[3] >>> (24 - 8 * i);
    const said = scan.state[probe.position];
    const { state } = network.truth(peer, probe.port);
    tally[state]++;
    if (state === "open") {
      if (said === 1) tally.openFound++;
      else if (said === 3) tally.missed++;
    } else if (said === 1) tally.falseOpen++;
    if (state === "closed" && said === 2) tally.closedRight++;
    if (state === "filtered" && said === 3) tally.filteredRight++;
  }
  const { path } = counts;
  return {
    ...tally,
    us: scan.endUs,
    sent: counts.sent,
    twice: scan.twice,
    stated: pathFindings(counts).missedOpen,
    statedAnswering: pathFindings(counts).missed,
    loss: path.lost / Math.max(1, path.lost + path.answered),
    rates: scan.rates,
    tries: scan.tries,
    counts,
    found: { hosts: engine.hostFindings(), outages: engine.outages(scan.endUs) },
    network,
  };
}
