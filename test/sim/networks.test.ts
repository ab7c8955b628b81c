/** Random networks: nothing open that is not, hardly anything missed, and the run knows how much; in reasonable time. */
import { expect, it } from "vitest";
import { ALL, everyday } from "../everyday.ts";
import { scanNetworks } from "./random-networks.ts";

it("finds what there is on paths of any kind, and says how sure it is", { timeout: 120_000 }, () => {
  const tally = scanNetworks(1, everyday(7, 41));
  expect(tally.falseOpen).toBe(0);
  expect(tally.twice).toBe(0);
  // The stated confidence, over all of them.
  expect(tally.missed).toBeLessThanOrEqual(tally.answering * 1e-4);
  expect(tally.within).toBeGreaterThanOrEqual(everyday(6, 38));
  const { ratios } = tally;
  expect(ratios[ratios.length / 2]).toBeLessThan(1.8);
  expect(ratios.at(-2)).toBeLessThan(3);
  expect(ratios.at(-1)).toBeLessThan(4);
});

it("says how many open ports it has missed when it may not send as many SYNs as it would", {
  timeout: 120_000,
}, () => {
  const tally = scanNetworks(101, everyday(106, 131), 1);
  expect(tally.falseOpen).toBe(0);
  // A 95 % interval does not hold in every one.
  // With one retransmission a path that loses a tenth hides a hundredth: there is something to be stated.
  expect(tally.missedOpen).toBeGreaterThan(everyday(10, 20));
  expect(tally.within).toBeGreaterThanOrEqual(everyday(4, 28));
});

it.runIf(ALL)(
  "says so, too, when it may send no second SYN, and hardly any loss is ever proven",
  {
    timeout: 120_000,
  },
  () => {
    const tally = scanNetworks(101, 131, 0);
    expect(tally.falseOpen).toBe(0);
    expect(tally.missedOpen).toBeGreaterThan(500);
    expect(tally.within).toBeGreaterThanOrEqual(28);
  },
);

it.runIf(ALL)(
  "does not flood slow paths of short queues and much loss, where it is hard to tell whose loss it is",
  {
    timeout: 120_000,
  },
  () => {
    for (const seed of [156, 170, 202, 585, 753]) {
      const { missed, within } = scanNetworks(seed, seed + 1);
      expect(missed, `seed ${seed}`).toBeLessThanOrEqual(3);
      expect(within, `seed ${seed}`).toBe(1);
    }
  },
);
