/** The chance of a silence, against the integral that it stands for. */
import { describe, expect, it } from "vitest";
import { chanceOfSilence } from "../../../src/scan/path/doubt.ts";

/** Summed over shares of SYNs that are answered, each as likely before the first. */
function integral(answered: number, sent: number, asked: number): number {
  let all = 0;
  let silent = 0;
  const steps = 20_000;
  for (let i = 0; i < steps; i++) {
    const share = (i + 0.5) / steps;
    const likelihood = share ** answered * (1 - share) ** (sent - answered);
    all += likelihood;
    silent += likelihood * (1 - share) ** asked;
  }
  return silent / all;
}

describe("the chance of a silence", () => {
  it.each([
    [0, 0, 1],
    [5, 5, 5],
    [3, 10, 10],
    [0, 8, 8],
    [12, 12, 3],
  ])("after %i of %i answers, %i SYNs long", (answered, sent, asked) => {
    expect(chanceOfSilence(answered, sent, asked)).toBeCloseTo(integral(answered, sent, asked), 6);
  });

  it("is a half for one SYN of which nothing is known, and sinks with every answer and every silence", () => {
    expect(chanceOfSilence(0, 0, 1)).toBe(0.5);
    expect(chanceOfSilence(0, 0, 0)).toBe(1);
    for (let n = 1; n < 20; n++) {
      expect(chanceOfSilence(n, n, 5)).toBeLessThan(chanceOfSilence(n - 1, n - 1, 5));
      expect(chanceOfSilence(5, 5, n)).toBeLessThan(chanceOfSilence(5, 5, n - 1));
    }
  });
});
