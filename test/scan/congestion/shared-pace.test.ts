/** Two runs at one pace: what the earlier one sends is taken from the later one's allowance, and nothing from the earlier one's. */
import { expect, it } from "vitest";
import { createPacer } from "../../../src/scan/congestion/pacer.ts";
import { createSharedPace, paceMemory } from "../../../src/scan/congestion/shared-pace.ts";
import { engineFor, target, transmit } from "../../sim/run.ts";

it("counts what the earlier runs have sent since it was asked, in parts for each engine, also past the largest number", () => {
  const [first, second] = [paceMemory(), paceMemory()];
  new Int32Array(first)[0] = 2 ** 31 - 2;
  const earlier = createSharedPace(first, [], 1);
  const later = createSharedPace(second, [first], 2);
  expect(later.spentBefore()).toBe(0);
  for (let i = 0; i < 5; i++) earlier.spend();
  expect(later.spentBefore()).toBe(2.5);
  expect(later.spentBefore()).toBe(0);
  later.spend();
  expect(earlier.spentBefore()).toBe(0);
  const last = createSharedPace(paceMemory(), [first, second], 1);
  earlier.spend();
  later.spend();
  expect(last.spentBefore()).toBe(2);
});

it.each([0, 0.3, 0.9, 1, 3])(
  "holds both together to the later one's rate, when the earlier one sends %f of it; never less than one of them",
  (part) => {
    const [first, second] = [paceMemory(), paceMemory()];
    const rate = 1000;
    const earlier = createPacer(Math.max(1, part * rate), 0, createSharedPace(first, [], 1));
    const later = createPacer(rate, 0, createSharedPace(second, [first], 1));
    const sent = { earlier: 0, later: 0 };
    const turn = (nowUs: number): void => {
      while (part > 0 && earlier.allowance(nowUs) >= 1) {
        earlier.spend();
        sent.earlier++;
      }
      while (later.allowance(nowUs) >= 1) {
        later.spend();
        sent.later++;
      }
    };
    for (let us = 0; us < 10e6; us += 1000) turn(us);
    const both = sent.earlier + sent.later;
    const [burst, expected] = [10 * Math.max(1, part) * 2, 10 * rate * Math.max(1, part)];
    expect(both).toBeGreaterThanOrEqual(expected - 2 * burst);
    expect(both).toBeLessThanOrEqual(expected + burst);
    // When the earlier one has ended, the later one has all of it within two bursts.
    const before = sent.later;
    for (let us = 10e6; us < 11e6; us += 1000)
      while (later.allowance(us) >= 1) {
        later.spend();
        sent.later++;
      }
    expect(sent.later - before).toBeGreaterThanOrEqual(rate - 21);
  },
);

it("is what engines keep to, and tell", () => {
  const [first, second] = [paceMemory(), paceMemory()];
  const targets = [target("192.0.2.1", ...Array.from({ length: 100 }, (_, i) => i + 1))];
  const earlier = engineFor(targets, { rate: 1000, pace: createSharedPace(first, [], 1) });
  const later = engineFor(targets, { rate: 1000, pace: createSharedPace(second, [first], 1) });
  const sendAll = (engine: typeof earlier, nowUs: number): number => {
    let count = 0;
    while (transmit(engine, nowUs) !== undefined) count++;
    return count;
  };
  expect(sendAll(later, 0)).toBe(10);
  expect(sendAll(earlier, 10_000)).toBe(10);
  expect(sendAll(later, 10_000)).toBe(0);
  expect(sendAll(later, 15_000)).toBe(5);
  expect(sendAll(earlier, 20_000)).toBe(10);
  expect(sendAll(later, 30_000)).toBe(5);
});
