/**
 * Runs that are stopped at any moment, on networks and with options of any kind: what is told is what is counted, each pair once, and
 * corrected by name; nothing is sent any more.
 */
import { expect, it } from "vitest";
import type { EngineOptions } from "../../src/scan/engine/engine.ts";
import { createHandshakes } from "../../src/scan/engine/handshakes.ts";
import type { PortState } from "../../src/scan/probe/result.ts";
import { PORT_STATES } from "../../src/scan/probe/result.ts";
import type { ProbeSource } from "../../src/scan/targets/probe-source.ts";
import * as tcp from "../../src/wire/tcp.ts";
import { everyday } from "../everyday.ts";
import { createNetwork } from "./network.ts";
import { createSeededRandom } from "./random.ts";
import { engineFor, LOCAL_4, targetOf } from "./run.ts";

const SECOND = 1_000_000;
const PORTS = 20;
const CONTROLS = { first: 40_000, last: 40_999 };
const SEEDS = everyday(25, 300);

/** Every pair of so many hosts, in random order. */
function pairsOf(hosts: number, random: (below: number) => number): ProbeSource {
  const order = Array.from({ length: hosts * PORTS }, (_, i) => i);
  for (let i = order.length - 1; i > 0; i--) {
    const j = random(i + 1);
    [order[i], order[j]] = [order[j], order[i]];
  }
  let next = 0;
  return {
    total: order.length,
    next: (probe) => {
      if (next === order.length) return false;
      const pair = order[next++];
      const host = Math.floor(pair / PORTS);
      probe.words.set([0, 0, 0xffff, 0xc612_0100 + host]);
      probe.port = 1 + (pair % PORTS);
      probe.path = 0;
      probe.position = host * 65_536 + probe.port;
      return true;
    },
  };
}

it(`tell what they count, whenever they are stopped: ${SEEDS} runs`, { timeout: 120_000 }, () => {
  let stopped = 0;
  let held = 0;
  for (let seed = 1; seed <= SEEDS; seed++) {
    const random = createSeededRandom(seed);
    const pick = <T>(...values: readonly T[]): T => values[random(values.length)];
    const hosts = 1 + random(60);
    const open = pick(5, 10, 50, 90);
    const truth = (host: number, port: number): "open" | "closed" | "silent" => {
      const drawn = createSeededRandom(seed * 65_536 + host * 64 + port)(100);
      return drawn < open ? "open" : drawn > 95 ? "silent" : "closed";
    };
    const network = createNetwork({
      random,
      latencyUs: 100 + random(100_000),
      jitterUs: random(50_000),
      loss: random(3) === 0 ? 0 : random(20) / 100,
      duplication: 0.05,
      behaviour: (b, at, port) => truth(b[at + 19], port),
    });
    const completes = random(2) === 0;
    const options: Partial<EngineOptions> = {
      verify: pick("auto", "off", "all"),
      retries: pick(0, 1, 2, 5, 10),
      confidence: pick(0.9, 0.999, 0.9999, 1),
      capacity: 1 << (8 + random(6)),
      controlPorts: CONTROLS,
      canaryPorts: Uint16Array.of(50_001, 50_002, 50_003, 50_004),
      wait: { initialUs: SECOND, minUs: 100_000, maxUs: SECOND },
      keepHandshakes: completes,
      ...(random(4) === 0 ? { hostTimeoutUs: 200_000 + random(3 * SECOND) } : {}),
      ...(random(6) === 0 ? { ratePerHost: 20 + random(50) } : {}),
    };
    const prober = engineFor(pairsOf(hosts, random), {
      ...options,
      seed,
      rate: { minimum: 1000, maximum: 5000 },
    });
    const engine = completes
      ? createHandshakes(prober, {
          paths: [{ local: LOCAL_4, ttl: 64 }],
          isControl: (port) => port >= CONTROLS.first && port <= CONTROLS.last,
          bannerUs: pick(0, 100_000, 2 * SECOND),
          closeUs: SECOND / 2,
        })
      : prober;
    const told = new Map<number, PortState>();
    let first = 0;
    const take = (): void => {
      for (let v = engine.pollVerdict(); v !== undefined; v = engine.pollVerdict()) {
        expect(v.was ?? undefined, `seed ${seed}`).toBe(told.get(v.position));
        if (v.was === null) first++;
        told.set(v.position, v.state);
        if (v.state !== "filtered") expect(v.state, `seed ${seed}`).toBe(truth(targetOf(v), v.port));
      }
    };
    const out = new Uint8Array(1600);
    const stopAfter = random(3) === 0 ? Number.POSITIVE_INFINITY : random(hosts * PORTS);
    let endUs = Number.POSITIVE_INFINITY;
    for (
      let nowUs = 0;
      ;
      nowUs = Math.max(nowUs, Math.min(engine.pollTimeout(nowUs), network.next(), endUs))
    ) {
      // Now and then the process has no turn for a while.
      if (random(50) === 0) nowUs += random(3 * SECOND);
      if (nowUs >= endUs) break;
      while (network.next() <= nowUs) {
        const packet = network.receive();
        engine.handlePacket(packet, 0, packet.length, nowUs);
      }
      engine.handleTimeout(nowUs);
      for (let n = engine.pollTransmit(nowUs, out, 0, 0); n > 0; n = engine.pollTransmit(nowUs, out, 0, 0)) {
        const isSyn = (tcp.flags(out, 20) & (tcp.FLAGS.SYN | tcp.FLAGS.ACK)) === tcp.FLAGS.SYN;
        if (isSyn) expect(endUs, `seed ${seed}`).toBe(Number.POSITIVE_INFINITY);
        if (random(200) === 0) {
          engine.handleRefusal(0, "ENOBUFS", nowUs);
          break;
        }
        engine.handleDeparture(0, 1, nowUs, nowUs);
        network.send(out, 0, n, nowUs);
      }
      take();
      if (engine.done || (endUs < Number.POSITIVE_INFINITY && engine.inFlight === 0)) break;
      if (first < stopAfter || endUs < Number.POSITIVE_INFINITY) continue;
      engine.abandon(nowUs);
      take();
      endUs = nowUs + SECOND / 2;
    }
    if (endUs < Number.POSITIVE_INFINITY) {
      stopped++;
      const before = first;
      engine.abandon(endUs);
      take();
      if (first > before) held++;
    } else expect(first, `seed ${seed}`).toBe(hosts * PORTS);
    const { states, reasons, decided } = engine.counts;
    const of = (state: PortState): number => [...told.values()].filter((each) => each === state).length;
    expect(decided, `seed ${seed}`).toBe(first);
    for (const state of PORT_STATES) {
      expect(states[state], `seed ${seed} ${state}`).toBe(of(state));
      expect(Object.values(reasons[state]).reduce((sum, n) => sum + n, 0)).toBe(states[state]);
    }
  }
  // Else nothing was tested.
  expect(stopped).toBeGreaterThan(SEEDS / 3);
  expect(held).toBeGreaterThan(SEEDS / 60);
});
