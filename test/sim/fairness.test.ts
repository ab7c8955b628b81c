/**
 * Two runs that know nothing of each other, through one bottleneck: what each gets of it while both are under way.
 *
 * Only their first seconds are held here, and within wide bounds: shares do not converge. In runs of 10 s and more one of two
 * has been seen to get nearly all.
 */
import { describe, expect, it } from "vitest";
import { type Score, scanTruth } from "./truth.ts";

const SIZE = { hosts: 8192, ports: 10 };
/** The second one's beginning is no part of what is measured. */
const SETTLING_US = 300_000;

/** @returns the first one's share of the SYNs while both ran, and for how long they did */
function share(roundMs: number, seed: number, secondUs: number) {
  const description = {
    seed,
    path: { latencyMs: roundMs / 2, in: { ratePps: 20_000, queuePackets: 2000 } },
    hosts: [{ range: "198.18.0.0/15", ports: [{ share: 0.03, is: "open" as const }] }],
  };
  const scores = scanTruth(description, { ...SIZE, seed }, {}, 2, { startsUs: [0, secondUs] });
  const fromUs = secondUs + SETTLING_US;
  const toUs = Math.min(...scores.map(({ us }) => us));
  const sentAt = ({ rates }: Score, us: number): number => rates.findLast((each) => each.us <= us)?.sent ?? 0;
  const [first, second] = scores.map((score) => sentAt(score, toUs) - sentAt(score, fromUs));
  return { scores, first: first / (first + second), bothUs: toUs - fromUs };
}

describe("two runs through a bottleneck of 20,000 packets a second", () => {
  it.each([
    ["together", 0],
    ["one after the other", 700_000],
  ])(
    "that begin %s: in the first seconds both get on, none is wrong, and neither place is the better one",
    (_, secondUs) => {
      const shares: number[] = [];
      for (const roundMs of [40, 150]) {
        for (const seed of [1, 2]) {
          const { scores, first, bothUs } = share(roundMs, seed, secondUs);
          expect(bothUs).toBeGreaterThan(1_000_000);
          expect(first, `${roundMs} ms, seed ${seed}`).toBeGreaterThan(0.2);
          expect(first, `${roundMs} ms, seed ${seed}`).toBeLessThan(0.8);
          shares.push(first);
          for (const { pairs, openFound, open, closedRight, closed } of scores) {
            expect([openFound, closedRight]).toEqual([open, closed]);
            expect(open + closed).toBe(pairs);
          }
        }
      }
      const mean = shares.reduce((sum, each) => sum + each, 0) / shares.length;
      expect(mean).toBeGreaterThan(0.35);
      expect(mean).toBeLessThan(0.65);
    },
    120_000,
  );
});
