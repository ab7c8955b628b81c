/** Control probes: their slots and source ports, the targets of pilots, and expiry. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type ControlProbes,
  createControlProbes,
  createDraw,
  KINDS,
} from "../../../src/scan/hosts/control-probes.ts";
import { createSeededRandom } from "../../sim/random.ts";

const host = (n: number): Uint32Array => Uint32Array.of(0, 0, 0xffff, n);
const PORTS = { first: 65_471, last: 65_534 };
const rested = () => true;
const NEVER = Number.POSITIVE_INFINITY;

/** Takes a slot for a pilot, which leaves. */
function leave(controlProbes: ControlProbes, nowUs: number, waitUs: number): number {
  const slot = controlProbes.pickPilot(rested, nowUs);
  if (slot >= 0) controlProbes.sent(slot, nowUs, waitUs, nowUs);
  return slot;
}

/** When the SYNs left that the remembered ports answered. */
const LEFT = new Float64Array(1);

describe("pilots", () => {
  it("go to remembered ports only", () => {
    const controlProbes = createControlProbes(PORTS, createSeededRandom(1));
    expect(controlProbes.pickPilot(rested, 0)).toBe(-1);
    for (let n = 0; n < 5; n++)
      controlProbes.remember(Uint32Array.of(9, ...host(n)), 1, 80 + n, n, 1000 + n, true, LEFT, 0);
    expect(controlProbes.known()).toBe(5);
    const asked = new Set<number>();
    for (let i = 0; i < 64; i++) {
      const slot = leave(controlProbes, i, 1000);
      const n = controlProbes.port[slot] - 80;
      asked.add(n);
      expect(controlProbes.words.slice(slot * 4, slot * 4 + 4)).toEqual(host(n));
      expect([controlProbes.path[slot], controlProbes.host[slot], controlProbes.kind[slot]]).toEqual([
        n,
        1000 + n,
        0,
      ]);
      expect(controlProbes.owns(controlProbes.localPort(slot))).toBe(true);
    }
    expect(asked.size).toBe(5);
    expect([PORTS.first - 1, PORTS.last + 1].map(controlProbes.owns)).toEqual([false, false]);
  });

  it("go to a port that sent RST only while its host is rested", () => {
    const controlProbes = createControlProbes(PORTS, createSeededRandom(1));
    for (let n = 0; n < 20; n++) controlProbes.remember(host(n), 0, 80, 0, n, false, LEFT, 0);
    expect(controlProbes.pickPilot(() => false, 0)).toBe(-1);
    for (let i = 0; i < 50; i++) {
      const slot = controlProbes.pickPilot((n) => n >= 10, 0);
      if (slot >= 0) expect(controlProbes.host[slot]).toBeGreaterThanOrEqual(10);
    }
    controlProbes.remember(host(77), 0, 80, 0, 77, true, LEFT, 0);
    const taken = Array.from({ length: 200 }, () => controlProbes.pickPilot(() => false, 0)).filter(
      (slot) => slot >= 0,
    );
    expect(taken.length).toBeGreaterThan(10);
    for (const slot of taken) expect(controlProbes.host[slot]).toBe(77);
  });

  it("go to the newest of very many, too", () => {
    const controlProbes = createControlProbes(PORTS, createSeededRandom(4));
    for (let n = 0; n < 100_000; n++) controlProbes.remember(host(n), 0, 80, 0, n, true, LEFT, 0);
    expect(controlProbes.known()).toBeLessThan(2000);
    let newer = 0;
    for (let i = 0; i < 100; i++) {
      const slot = leave(controlProbes, i, 1);
      if (controlProbes.host[slot] > 90_000) newer++;
      controlProbes.release(slot);
    }
    expect(newer).toBeGreaterThan(90);
  });
});

describe("slots", () => {
  /** Operations, in any order. */
  const step = fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({ kind: fc.constant("pilot" as const), waitUs: fc.integer({ min: 1, max: 99 }) }),
    },
    {
      weight: 2,
      arbitrary: fc.record({ kind: fc.constant("ask" as const), port: fc.integer({ min: 1, max: 9 }) }),
    },
    {
      weight: 2,
      arbitrary: fc.record({ kind: fc.constant("canary" as const), waitUs: fc.integer({ min: 1, max: 99 }) }),
    },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant("expire" as const) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant("answer" as const), which: fc.nat(2000) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant("time" as const), us: fc.nat(30) }) },
  );

  it("hold one probe each, are found by port and peer, and expire in time: compared with a list", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
        // With as many ports as slots, each slot has its own.
        const controlProbes = createControlProbes({ first: 60_000, last: 61_023 }, createSeededRandom(5));
        for (let n = 0; n < 9; n++) controlProbes.remember(host(n), 0, 80, 0, n, true, LEFT, 0);
        const underWay = new Map<number, { until: number; peer: number; port: number; canary: boolean }>();
        const waiting: number[] = [];
        let now = 0;
        for (const each of steps) {
          if (each.kind === "time") now += each.us;
          else if (each.kind === "pilot") {
            const slot = leave(controlProbes, now, each.waitUs);
            expect(slot).toBeGreaterThanOrEqual(0);
            expect(underWay.has(slot)).toBe(false);
            underWay.set(slot, {
              until: now + each.waitUs,
              peer: controlProbes.host[slot],
              port: 80,
              canary: false,
            });
          } else if (each.kind === "ask") {
            expect(controlProbes.ask(host(50), 0, each.port, 1, 50, KINDS.canary)).toBeGreaterThanOrEqual(0);
            waiting.push(each.port);
          } else if (each.kind === "canary") {
            const slot = controlProbes.pickAsked(KINDS.canary);
            expect(slot >= 0).toBe(waiting.length > 0);
            if (slot < 0) continue;
            expect(underWay.has(slot)).toBe(false);
            waiting.splice(waiting.indexOf(controlProbes.port[slot]), 1);
            controlProbes.sent(slot, now, each.waitUs, 7);
            underWay.set(slot, {
              until: now + each.waitUs,
              peer: 50,
              port: controlProbes.port[slot],
              canary: true,
            });
          } else if (each.kind === "expire") {
            for (let slot = controlProbes.expired(now); slot >= 0; slot = controlProbes.expired(now)) {
              expect(underWay.get(slot)?.until).toBeLessThanOrEqual(now);
              underWay.delete(slot);
              controlProbes.release(slot);
            }
          } else {
            const [slot, probe] = [...underWay][each.which % underWay.size] ?? [-1];
            if (probe === undefined) continue;
            const local = controlProbes.localPort(slot);
            expect(controlProbes.kind[slot] === KINDS.canary).toBe(probe.canary);
            expect(controlProbes.find(host(probe.peer), 0, probe.port, local)).toBe(slot);
            expect(controlProbes.find(host(probe.peer + 100), 0, probe.port, local)).toBe(-1);
            expect(controlProbes.find(host(probe.peer), 0, probe.port + 1000, local)).toBe(-1);
            underWay.delete(slot);
            controlProbes.release(slot);
            expect(controlProbes.find(host(probe.peer), 0, probe.port, local)).toBe(-1);
          }
          expect(controlProbes.waiting()).toBe(waiting.length > 0);
          const untils = [...underWay.values()].map(({ until }) => until);
          expect(controlProbes.nextExpiry()).toBe(Math.min(NEVER, ...untils));
          if (untils.every((until) => until > now)) expect(controlProbes.expired(now)).toBe(-1);
        }
      }),
      { numRuns: 60 },
    );
  });

  it("are limited: when all are in use, one must be released first", () => {
    const controlProbes = createControlProbes(PORTS, createSeededRandom(6));
    controlProbes.remember(host(1), 0, 80, 0, 1, true, LEFT, 0);
    for (let n = 2; n < 400; n++) controlProbes.remember(host(n), 0, 80, 0, n, true, LEFT, 0);
    const slots = new Set<number>();
    // A draw may find its source port in use to that peer: only many failures mean that all slots are taken.
    for (let inVain = 0; inVain < 2000; ) {
      const slot = leave(controlProbes, 0, 10);
      if (slot < 0) {
        inVain++;
        continue;
      }
      inVain = 0;
      expect(slots.has(slot)).toBe(false);
      slots.add(slot);
    }
    expect(slots.size).toBeGreaterThanOrEqual(64);
    expect(controlProbes.ask(host(1), 0, 22_222, 0, 1, KINDS.canary)).toBe(-1);
    const [any] = slots;
    controlProbes.release(any);
    // Releasing it twice changes nothing.
    controlProbes.release(any);
    expect(controlProbes.ask(host(1), 0, 22_222, 0, 1, KINDS.canary)).toBeGreaterThanOrEqual(0);
    expect(controlProbes.ask(host(1), 0, 22_223, 0, 1, KINDS.canary)).toBe(-1);
    expect(controlProbes.waiting()).toBe(true);
    // A canary that is released before it left no longer waits.
    const canary = controlProbes.pickAsked(KINDS.canary);
    expect([
      controlProbes.port[canary],
      controlProbes.waiting(),
      controlProbes.pickAsked(KINDS.canary),
    ]).toEqual([22_222, false, -1]);
  });

  it("that wait to be sent never expire", () => {
    const controlProbes = createControlProbes(PORTS, createSeededRandom(7));
    controlProbes.ask(host(1), 0, 22_222, 0, 1, KINDS.canary);
    expect([controlProbes.nextExpiry(), controlProbes.expired(1e12)]).toEqual([NEVER, -1]);
    const slot = controlProbes.pickAsked(KINDS.canary);
    expect(controlProbes.expired(1e12)).toBe(-1);
    // Released ones no longer wait.
    controlProbes.ask(host(2), 0, 22_223, 0, 2, KINDS.canary);
    for (let other = 0; other < 1024; other++) if (other !== slot) controlProbes.release(other);
    expect([controlProbes.waiting(), controlProbes.pickAsked(KINDS.canary)]).toEqual([false, -1]);
    controlProbes.sent(slot, 0, 5, 1);
    expect([controlProbes.expired(4), controlProbes.expired(5), controlProbes.nextExpiry()]).toEqual([
      -1,
      slot,
      5,
    ]);
  });
});

it("draws are uniform, below their bound, and determined by the seed", () => {
  const draw = createDraw(42);
  const counts = Array(10).fill(0);
  const drawn = Array.from({ length: 20_000 }, () => draw(10));
  for (const each of drawn) counts[each]++;
  for (const count of counts) expect(Math.abs(count - 2000)).toBeLessThan(200);
  const again = createDraw(42);
  expect(drawn.every((each) => each === again(10))).toBe(true);
  // A state of zero would stay zero.
  const zero = createDraw(0);
  expect(new Set(Array.from({ length: 50 }, () => zero(1000))).size).toBeGreaterThan(30);
});
