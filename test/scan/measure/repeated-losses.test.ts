/** Losses that repeat: seen where a pair's tries share their fate, not where each is lost by itself, at any loss. */
import { describe, expect, it } from "vitest";
import { createRandom } from "../../../src/lab/random.ts";
import { createRepeatedLosses } from "../../../src/scan/measure/repeated-losses.ts";

const TRIES = 10;

/** So many pairs, each asked until it is answered or has had all its tries. @param again the loss of a SYN after a lost one */
function watch(pairs: number, loss: number, again: number, seed: number) {
  const repeated = createRepeatedLosses();
  const random = createRandom(seed, 0);
  const losses = new Float64Array(TRIES).fill(loss);
  for (let i = 0; i < pairs; i++) {
    let lost = random() < loss ? 1 : 0;
    while (lost > 0 && lost < TRIES && random() < again) lost++;
    if (lost === 0 || lost === TRIES) continue;
    repeated.add({ times: losses, i: 0, step: 1, count: lost + 1, losses });
  }
  return repeated;
}

describe("losses that repeat", () => {
  it.each([0.002, 0.01, 0.05, 0.2])("are not seen where each SYN is lost by itself: loss %d", (loss) => {
    for (let seed = 1; seed <= 200; seed++) expect(watch(5000, loss, loss, seed).isSeen()).toBe(false);
  });

  it.each([
    [0.002, 0.6],
    [0.02, 0.3],
    [0.05, 0.3],
  ])("are seen where a pair's tries share their fate: loss %d, after a loss %d", (loss, again) => {
    let seen = 0;
    for (let seed = 1; seed <= 200; seed++) if (watch(5000, loss, again, seed).isSeen()) seen++;
    expect(seen).toBeGreaterThanOrEqual(180);
  });

  it("count from four more than are expected on", () => {
    const repeated = createRepeatedLosses();
    const losses = new Float64Array(TRIES).fill(1e-6);
    const add = (count: number) => repeated.add({ times: losses, i: 0, step: 1, count, losses });
    add(2);
    expect(repeated.isSeen()).toBe(false);
    add(5);
    expect(repeated.isSeen()).toBe(false);
    add(3);
    expect(repeated.isSeen()).toBe(true);
  });
});
