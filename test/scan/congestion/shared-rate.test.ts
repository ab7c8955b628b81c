/** The rate that workers share: its arithmetic, and two threads that share it. */
import { Worker } from "node:worker_threads";
import { expect, it } from "vitest";
import { createSharedRate, sharedRates } from "../../../src/scan/congestion/shared-rate.ts";

it("is the mean over the workers that have published a rate", () => {
  const memory = sharedRates(3);
  const [a, b, c] = [0, 1, 2].map((i) => createSharedRate(memory, i));
  expect(a.share(1000)).toBe(1000);
  expect(b.share(3000)).toBe(2000);
  expect(c.share(2000)).toBe(2000);
  expect(a.share(1300)).toBe(2100);
  // A worker that has left no longer counts.
  b.leave();
  expect(a.share(1300)).toBe(1650);
  c.leave();
  expect(a.share(1300)).toBe(1300);
});

it("is exact to a hundredth, for the slowest and the fastest rate", () => {
  const memory = sharedRates(2);
  const [a, b] = [createSharedRate(memory, 0), createSharedRate(memory, 1)];
  a.share(0.1);
  expect(b.share(0.3)).toBeCloseTo(0.2, 5);
  a.share(10_000_000);
  expect(b.share(10_000_000)).toBe(10_000_000);
  // A rate that rounds to 0 would mean no worker.
  a.share(0.001);
  expect(b.share(100)).toBeCloseTo(50.005, 5);
});

it("passes between threads", async () => {
  const memory = sharedRates(2);
  const mine = createSharedRate(memory, 0);
  mine.share(100);
  const code = `const { workerData } = require("node:worker_threads");
    new Uint32Array(workerData)[1] = 300 * 100;`;
  const thread = new Worker(code, { eval: true, workerData: memory });
  await new Promise((resolve) => thread.once("exit", resolve));
  expect(mine.share(100)).toBe(200);
});
