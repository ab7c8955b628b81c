/** Runs an engine against a simulated network under a virtual clock, as fast as the machine can. */
import { createEngine, type Engine, type EngineOptions } from "../../src/scan/engine/engine.ts";
import { keepVerdict, type Verdict } from "../../src/scan/probe/verdict.ts";
import type { ProbeSource } from "../../src/scan/targets/probe-source.ts";
import { createSourcePorts } from "../../src/socket/ports.ts";
import { loadAddress, storeAddress } from "../../src/socket/table.ts";
import { type Address, parseAddress } from "../../src/wire/address.ts";
import type { Network } from "./network.ts";
import { createSeededRandom } from "./random.ts";

export const address = (text: string): Address => {
  const parsed = parseAddress(text);
  if (parsed === undefined) throw new Error(`not an address: ${text}`);
  return parsed;
};

export const LOCAL_4 = address("198.18.0.1");
export const LOCAL_6 = address("2001:db8::1");

export interface Target {
  readonly address: Address;
  readonly ports: Uint16Array;
}

export const target = (host: string, ...ports: number[]): Target => ({
  address: address(host),
  ports: Uint16Array.from(ports),
});

/** Pairs in the order given; a position is the target's index and the port: see `targetOf`. */
export function sourceOf(targets: readonly Target[]): ProbeSource {
  const pairs = targets.flatMap(({ address, ports }, i) =>
    [...ports].map((port) => ({ address, port, position: i * 65_536 + port })),
  );
  let next = 0;
  return {
    total: pairs.length,
    next: (probe) => {
      if (next === pairs.length) return false;
      const { address, port, position } = pairs[next++];
      loadAddress(probe.words, 0, address, 0, address.length);
      probe.port = port;
      probe.path = address.length === 4 ? 0 : 1;
      probe.position = position;
      return true;
    },
  };
}

/** Index of a verdict's target in what sourceOf was given. */
export const targetOf = ({ position }: Verdict): number => Math.floor(position / 65_536);

/** Fixed waits and rates, as numbers. */
export interface Plain {
  readonly timeoutUs?: number;
  readonly rate?: number | EngineOptions["rate"];
}

export type Overrides = Partial<Omit<EngineOptions, "rate">> & Plain;

/** An engine with everything at its plainest, over IPv4 and IPv6 targets or a source of its own: nothing is adapted. */
export function engineFor(what: readonly Target[] | ProbeSource, overrides: Overrides = {}): Engine {
  const { timeoutUs = 1_000_000, rate = 1_000_000, ...options } = overrides;
  const random = createSeededRandom(7);
  return createEngine({
    paths: [
      { local: LOCAL_4, ttl: 64 },
      { local: LOCAL_6, ttl: 64 },
    ],
    source: "next" in what ? what : sourceOf(what),
    ports: createSourcePorts(61_000, 65_534, random(4535)),
    isnKey: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8),
    seed: random(2 ** 31),
    retries: 2,
    wait: { initialUs: timeoutUs, minUs: timeoutUs, maxUs: timeoutUs },
    rate: typeof rate === "number" ? { minimum: rate, maximum: rate } : rate,
    confidence: 1,
    capacity: 1 << 14,
    startUs: 0,
    ...options,
  });
}

/** The next packet the engine sends at `nowUs`, in memory of its own; undefined when it sends none. */
export function transmit(engine: Engine, nowUs: number): Uint8Array | undefined {
  const out = new Uint8Array(128).fill(0xa5);
  const length = engine.pollTransmit(nowUs, out, 0, 0);
  return length === 0 ? undefined : out.subarray(0, length);
}

/** The sender of the ICMP message that decided, as bytes. */
export const responderOf = ({ family, responder, hasResponder }: Verdict): Uint8Array | undefined =>
  hasResponder ? storeAddress(responder, 0, family === 4 ? 4 : 16) : undefined;

export function drainVerdicts(engine: Engine): Verdict[] {
  const verdicts: Verdict[] = [];
  for (let v = engine.pollVerdict(); v !== undefined; v = engine.pollVerdict()) {
    verdicts.push(keepVerdict(v));
  }
  return verdicts;
}

/** Runs to the end. @returns the virtual time it took, in microseconds */
export function runToEnd(engine: Engine, network: Network, onVerdict: (verdict: Verdict) => void): number {
  const out = new Uint8Array(128);
  let now = 0;
  for (;;) {
    engine.handleTimeout(now);
    for (;;) {
      const length = engine.pollTransmit(now, out, 0, 0);
      if (length === 0) break;
      engine.handleDeparture(0, 1, now, now);
      network.send(out, 0, length, now);
    }
    for (let v = engine.pollVerdict(); v !== undefined; v = engine.pollVerdict()) onVerdict(keepVerdict(v));
    if (engine.done) return now;
    const wake = Math.min(engine.pollTimeout(now), network.next());
    if (wake === Number.POSITIVE_INFINITY) throw new Error("the engine waits for nothing");
    now = Math.max(now, wake);
    while (network.next() <= now) {
      const packet = network.receive();
      engine.handlePacket(packet, 0, packet.length, now);
    }
  }
}
