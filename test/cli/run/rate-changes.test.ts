/** Changes of the rate in words. */
import { expect, it } from "vitest";
import { rateChangeLine } from "../../../src/cli/run/rate-changes.ts";
import { RATE_CHANGE_REASONS, type RateDecision } from "../../../src/scan/probe/result.ts";

const change = (more: Partial<RateDecision>): RateDecision => ({
  worker: 1,
  timeMs: 0,
  fromRate: 14_000,
  toRate: 9800.4,
  reason: "queue-grew",
  ...more,
});

it("names both rates, the reason and its evidence", () => {
  expect(rateChangeLine(change({ queueUs: 23_400 }), 1)).toBe(
    "rate fell from 14,000 to 9,800 SYNs/s: the queue on the path grew to 23 ms",
  );
  expect(rateChangeLine(change({ reason: "queue-stayed", queueUs: 30_000 }), 1)).toBe(
    "rate fell from 14,000 to 9,800 SYNs/s: a queue that others fill stayed at 30 ms",
  );
  expect(
    rateChangeLine(change({ reason: "fewer-answered", answeredShare: 0.612, usualShare: 0.99 }), 1),
  ).toBe("rate fell from 14,000 to 9,800 SYNs/s: fewer SYNs were answered: 61 % instead of 99 %");
});

it("says that the rate rose, and which worker's it is when there are several", () => {
  expect(rateChangeLine(change({ worker: 2, toRate: 49_000, reason: "answered-well" }), 4)).toBe(
    "worker 2: rate rose from 14,000 to 49,000 SYNs/s: the share of answers holds",
  );
});

it("has words for every reason", () => {
  const lines = RATE_CHANGE_REASONS.map((reason) => rateChangeLine(change({ reason }), 1));
  expect(new Set(lines).size).toBe(RATE_CHANGE_REASONS.length);
  for (const line of lines) expect(line).not.toContain("undefined");
});
