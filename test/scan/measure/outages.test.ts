/** Outages of the path: eight pilots in a row without an answer, and more than a second without any. */
import { describe, expect, it } from "vitest";
import { createOutages } from "../../../src/scan/measure/outages.ts";

const SECOND = 1_000_000;

/** Pilots leave and answers come at these times, in seconds; the answered SYN left at `sent`. */
function createPath() {
  const outages = createOutages();
  return {
    outages,
    pilots: (...seconds: number[]): void => {
      for (const s of seconds) outages.asked(Float64Array.of(-1, s * SECOND), 1);
    },
    answer: (at: number, sent = at - 0.01, age = 0): void =>
      outages.answered(Float64Array.of(-1, sent * SECOND), 1, (at + age) * SECOND, age * SECOND),
    list: (at: number) =>
      outages.list(at * SECOND).map(({ fromUs, toUs = Number.NaN }) => [fromUs / SECOND, toUs / SECOND]),
  };
}
const EIGHT = [1.1, 1.15, 1.2, 1.25, 1.3, 1.35, 1.4, 1.45];

describe("an outage", () => {
  it("is from the answer before it to the first one to what left after eight lost pilots", () => {
    const { pilots, answer, list } = createPath();
    answer(1);
    pilots(...EIGHT);
    answer(3, 2.99, 0.2);
    expect(list(3)).toEqual([[1, 3]]);
    // It is told once, and the next begins with eight others.
    answer(5);
    pilots(...EIGHT.slice(1).map((s) => s + 4));
    answer(8);
    expect(list(8)).toEqual([[1, 3]]);
    pilots(...EIGHT.map((s) => s + 7));
    answer(9.5);
    expect(list(9.5)).toEqual([
      [1, 3],
      [8, 9.5],
    ]);
  });

  it("lasts a second or more, and has eight pilots lost: those under way when an older SYN is answered are not", () => {
    const { pilots, answer, list } = createPath();
    answer(1);
    pilots(...EIGHT);
    answer(1.999);
    expect(list(2)).toEqual([]);
    pilots(...EIGHT.map((s) => s + 1));
    answer(2.999);
    expect(list(3)).toHaveLength(1);
    pilots(...EIGHT.map((s) => s + 2));
    answer(4.5, 3.45);
    expect(list(4.5)).toHaveLength(1);
  });

  it("that lasts is told without an end, a second after what shows it", () => {
    const { pilots, answer, list } = createPath();
    expect(list(100)).toEqual([]);
    answer(1);
    pilots(...EIGHT);
    expect(list(2.4)).toEqual([]);
    expect(list(2.45)).toEqual([[1, Number.NaN]]);
    answer(3);
    expect(list(3)).toEqual([[1, 3]]);
  });

  it("is one of a hundred at most", () => {
    const { pilots, answer, list } = createPath();
    answer(0);
    for (let n = 1; n <= 120; n++) {
      pilots(...EIGHT.map((s) => s + 2 * (n - 1) - 1));
      answer(2 * n);
    }
    expect(list(240)).toHaveLength(100);
    expect(list(240).at(-1)).toEqual([198, 200]);
  });
});
