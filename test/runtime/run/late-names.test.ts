/** Names that are found while a run goes on: what a run that ends between two rounds has left undone. */
import { describe, expect, it } from "vitest";
import type { Plan } from "../../../src/runtime/plan/plan.ts";
import { scanLateNames } from "../../../src/runtime/run/late-names.ts";
import type { RunningScan, ScanHooks } from "../../../src/runtime/run/running-scan.ts";
import type { OpenScan } from "../../../src/runtime/run/scan.ts";

const planOf = (total: number, pending?: Partial<NonNullable<Plan["pending"]>>): Plan =>
  ({
    space: { total, hosts: total },
    knownHosts: 0,
    faults: [],
    ...(pending === undefined ? {} : { pending: { unresolved: () => 1, ...pending } }),
  }) as unknown as Plan;

/** A scan that has decided all its pairs at once. */
const scanOf = (total: number): OpenScan => {
  const running = {
    finished: Promise.resolve(),
    summary: () => ({ unfinished: 0 }),
    progress: () => ({ total }),
    totals: () => ({}),
    stop: () => {},
    kill: () => {},
  } as unknown as RunningScan;
  return { means: { workers: 1 }, run: () => running, close: () => {} } as unknown as OpenScan;
};

describe("a run that ends while the scan of names that were found is being opened", () => {
  const second = planOf(5, { pairs: 3 });
  const first = planOf(7, { pairs: 8, next: () => Promise.resolve(second) });
  const hooks = { onFaults: () => {} } as unknown as ScanHooks;

  it("counts their pairs as unfinished when it is stopped", async () => {
    const late = scanLateNames(scanOf(7), first, async () => {
      running.stop();
      expect(running.progress()).toMatchObject({ total: 7 + 5 + 3, lookingUp: 1 });
      return scanOf(5);
    });
    const running: RunningScan = late.run(hooks);
    expect(running.progress().total).toBe(7 + 8);
    expect((await running.finished).unfinished).toBe(5 + 3);
  });

  it("counts them when that fails", async () => {
    const late = scanLateNames(scanOf(7), first, () => Promise.reject(new Error("no socket")));
    const running = late.run(hooks);
    await expect(running.finished).rejects.toThrow("no socket");
    expect(running.summary().unfinished).toBe(5 + 3);
  });
});
