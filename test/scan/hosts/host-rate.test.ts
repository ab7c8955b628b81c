/** Pacing per host: slots in time, alone and in the engine. */
import { describe, expect, it } from "vitest";
import { createHostRate } from "../../../src/scan/hosts/host-rate.ts";
import { drainVerdicts, engineFor, target, transmit } from "../../sim/run.ts";

const host = (n: number): Uint32Array => Uint32Array.of(0, 0, 0xffff, n);
const NEVER = Number.POSITIVE_INFINITY;

describe("slots of a host", () => {
  it("are reserved ahead, one interval apart, for each host by itself", () => {
    const hostRate = createHostRate({ rate: 10, timeoutUs: NEVER, seed: 1 });
    expect([1, 2, 3].map(() => hostRate.reserve(host(1), 0, 1000))).toEqual([1000, 101_000, 201_000]);
    expect(hostRate.reserve(host(2), 0, 1000)).toBe(1000);
    // Unused slots are not saved.
    expect([1, 2].map(() => hostRate.reserve(host(1), 0, 9e6))).toEqual([9e6, 9.1e6]);
  });

  it("are not all: what has left counts, and who is held back comes again in turn", () => {
    const hostRate = createHostRate({ rate: 10, timeoutUs: NEVER, seed: 1 });
    expect(hostRate.isFree(host(1), 0, 1000)).toBe(true);
    hostRate.left(host(1), 0, 1000);
    // A timer's lateness early, and no more.
    expect(hostRate.isFree(host(1), 0, 95_999)).toBe(false);
    expect(hostRate.isFree(host(1), 0, 96_000)).toBe(true);
    expect([1, 2, 3].map(() => hostRate.again(host(1), 0, 2000))).toEqual([101_000, 201_000, 301_000]);
    // Early ones are not made up for by more of them.
    hostRate.left(host(1), 0, 96_000);
    expect(hostRate.isFree(host(1), 0, 195_999)).toBe(false);
    expect(hostRate.isFree(host(1), 0, 196_000)).toBe(true);
    expect(hostRate.isFree(host(2), 0, 2000)).toBe(true);
    // What was not used is not saved.
    hostRate.left(host(1), 0, 9e6);
    expect(hostRate.isFree(host(1), 0, 9.09e6)).toBe(false);
  });

  it("remember what has left while others come and go", () => {
    const hostRate = createHostRate({ rate: 10, timeoutUs: NEVER, seed: 1 });
    hostRate.reserve(host(1), 0, 1000);
    hostRate.left(host(1), 0, 90_000);
    hostRate.left(host(1), 0, 90_000);
    for (let n = 2; n < 5000; n++) hostRate.left(host(n), 0, 110_000);
    expect(hostRate.isFree(host(1), 0, 110_000)).toBe(false);
    expect(hostRate.isFree(host(1), 0, 290_000)).toBe(true);
  });

  it("end when the host's time is over", () => {
    const hostRate = createHostRate({ rate: NEVER, timeoutUs: 5e6, seed: 1 });
    expect(hostRate.reserve(host(1), 0, 1e6)).toBe(1e6);
    expect(hostRate.reserve(host(1), 0, 6e6)).toBe(6e6);
    expect(hostRate.reserve(host(1), 0, 6e6 + 1)).toBe(-1);
    expect(hostRate.reserve(host(2), 0, 6e6 + 1)).toBe(6e6 + 1);
  });

  it("agree with a Map for very many hosts, some of them forgotten", () => {
    const hostRate = createHostRate({ rate: 1, timeoutUs: NEVER, seed: 1 });
    const oracle = new Map<number, number>();
    let now = 1;
    let wrong = 0;
    for (let i = 0; i < 200_000; i++) {
      const n = (i * 7919) % 30_011;
      const expected = Math.max(now, oracle.get(n) ?? 0);
      if (hostRate.reserve(host(n), 0, now) !== expected) wrong++;
      oracle.set(n, expected + 1e6);
      now += 50;
    }
    expect(wrong).toBe(0);
  });
});

describe("the engine", () => {
  it("sends to a host at most at its rate, retransmissions included, while other hosts go on", () => {
    const engine = engineFor([target("198.18.0.2", 1, 2, 3, 4), target("198.18.0.3", 1)], {
      ratePerHost: 10,
      retries: 1,
      timeoutUs: 150_000,
    });
    const sent = new Map<number, number[]>();
    let now = 0;
    while (!engine.done) {
      engine.handleTimeout(now);
      for (let p = transmit(engine, now); p !== undefined; p = transmit(engine, now)) {
        sent.set(p[19], [...(sent.get(p[19]) ?? []), now]);
      }
      now = Math.max(now + 1, Math.min(engine.pollTimeout(now), now + 1e6));
    }
    expect(sent.get(2)).toHaveLength(8);
    expect(sent.get(3)).toHaveLength(2);
    expect(sent.get(3)?.[0]).toBe(0);
    const times = sent.get(2) as number[];
    for (let i = 1; i < times.length; i++) expect(times[i] - times[i - 1]).toBeGreaterThanOrEqual(99_999);
  });

  it("gives up a host when its time is over", () => {
    const engine = engineFor([target("198.18.0.2", 1, 2, 3)], {
      ratePerHost: 1,
      hostTimeoutUs: 1_500_000,
      retries: 0,
      timeoutUs: 100_000,
    });
    let now = 0;
    while (!engine.done) {
      engine.handleTimeout(now);
      while (transmit(engine, now) !== undefined);
      now = Math.max(now + 1, engine.pollTimeout(now));
    }
    expect(drainVerdicts(engine).map(({ port, reason, tries }) => [port, reason, tries])).toEqual([
      [3, "host-timeout", 0],
      [1, "no-response", 1],
      [2, "no-response", 1],
    ]);
    expect(engine.counts.reasons.filtered).toEqual({ "host-timeout": 1, "no-response": 2 });
  });

  it.each([
    // The rate of all together, and that of the network, hold SYNs back whose hosts have time.
    { rate: 4, retries: 1 },
    { ratePerPrefix: 4, retries: 1 },
    { ratePerPrefix: 4, ratePerHost: 3, retries: 0 },
  ])("sends nothing to a host whose time is over, whatever held it back: %o", (limits) => {
    const targets = [2, 3, 4, 5].map((n) => target(`198.18.0.${n}`, 1, 2, 3));
    const engine = engineFor(targets, {
      ...limits,
      hostTimeoutUs: 1_300_000,
      timeoutUs: 400_000,
      startUs: 1,
    });
    const first = new Map<number, number>();
    const spans: number[] = [];
    let now = 1;
    while (!engine.done) {
      engine.handleTimeout(now);
      for (let p = transmit(engine, now); p !== undefined; p = transmit(engine, now)) {
        if (!first.has(p[19])) first.set(p[19], now);
        spans.push(now - (first.get(p[19]) ?? 0));
      }
      now = Math.max(now + 1, Math.min(engine.pollTimeout(now), now + 1e6));
    }
    expect(spans.length).toBeGreaterThan(4);
    expect(Math.max(...spans)).toBeLessThanOrEqual(1_300_000);
    expect(engine.counts.reasons.filtered["host-timeout"]).toBeGreaterThan(0);
    expect(drainVerdicts(engine)).toHaveLength(12);
  });
});
