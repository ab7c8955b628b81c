/**
 * What a watch tells of a simulated network that loses 1 to 5 % in bursts and in which ports really change: each change that lasts, once,
 * within two rounds; and nothing else.
 */
import { describe, expect, it } from "vitest";
import { everyday } from "../everyday.ts";
import { type Month, watchMonth } from "./watch.ts";

const SIZE = everyday({ days: 2, hosts: 96, ports: 10 }, { days: 5, hosts: 4096, ports: 10 });
const MONTHS: readonly (readonly [string, Month["bursts"]])[] = [
  ["1 % by host, 2 s at a stretch", [{ per: "host", share: 0.01, meanS: 2 }]],
  [
    "5 %, by host, network and path",
    [
      { per: "host", share: 0.03, meanS: 2 },
      { per: "prefix", share: 0.01, meanS: 1 },
      { per: "path", share: 0.01, meanS: 0.3 },
    ],
  ],
];

describe("a month", () => {
  it.each(MONTHS.slice(everyday(1, 0)))(
    "with a loss of %s: every change is told once, and nothing else",
    { timeout: 3_600_000 },
    (_, bursts) => {
      const told = watchMonth({ ...SIZE, everyS: 6 * 3600, changesADay: 40, bursts, seed: 5 });
      console.info(JSON.stringify(told));
      const { real, portRuns } = told;
      expect(real).toBeGreaterThan(40);
      expect(told).toMatchObject({ told: real, repeated: 0 });
      // A silent port that answers now, and whose answers are lost in two scans running, looks as it did: 3 in 100,000 changes a scan.
      expect(told.inTime).toBeGreaterThanOrEqual(real - everyday(0, 3));
      // Fewer than one in a million.
      expect(told.falseEvents).toBeLessThan(Math.max(1, portRuns / 1e6));
      // The loss is such that it would have been told of.
      expect(told.unconfirmed).toBeGreaterThan(real);
    },
  );
});
