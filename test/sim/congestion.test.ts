/**
 * The way in which a run finds its rate, against nmap's and against one that goes by delay alone, over random networks
 * (random-networks.ts). `npx tsx test/sim/compare.ts` prints the whole table.
 */
import { beforeAll, describe, expect, it } from "vitest";
import { ALL, everyday } from "../everyday.ts";
import { type Comparison, compare, median, type Rival, timesOurs } from "./compare.ts";
import { HOSTS, PORTS, randomNetwork } from "./random-networks.ts";
import { scanTruth } from "./truth.ts";

const NETWORKS = everyday(5, 30);
const SLOW = 300_000;

describe(`in ${NETWORKS} random networks`, () => {
  const all: Comparison[] = [];
  beforeAll(() => {
    for (let seed = 1; seed <= NETWORKS; seed++) all.push(compare(seed, ["ours", "aimd"]));
  }, SLOW);
  const recallOf = ({ runs }: Comparison, rival: Rival): number => runs.get(rival)?.recall ?? 0;

  it("no open port is missed, which nmap's window pays for with its time", () => {
    for (const one of all) {
      expect(recallOf(one, "ours"), `seed ${one.seed}`).toBeGreaterThanOrEqual(0.999);
      expect(recallOf(one, "ours"), `seed ${one.seed}`).toBeGreaterThanOrEqual(recallOf(one, "aimd") - 0.001);
    }
  });

  it("it is several times as fast as nmap's window, in the median, and never much slower", () => {
    const times = all.map((one) => timesOurs(one, "aimd"));
    expect(median(times)).toBeGreaterThan(4);
    expect(Math.min(...times)).toBeGreaterThan(0.5);
  });

  it("it is more so where loss has nothing to do with the rate", () => {
    const lossy = all.filter(({ loss, ratePps }) => loss > 0.02 && ratePps > 5000);
    expect(lossy.length).toBeGreaterThan(everyday(1, 12));
    const times = lossy.map((one) => timesOurs(one, "aimd"));
    expect(median(times)).toBeGreaterThan(6);
    expect(Math.min(...times)).toBeGreaterThan(0.9);
  });
});

it.each(everyday([14], [1, 2, 3, 5, 7, 9, 11, 14]))(
  "a rate that an earlier run has found is begun with: fewer SYNs, and nothing missed, also when it is twice the path's now (network %i)",
  (seed) => {
    const { description, ratePps } = randomNetwork(seed);
    const score = (limits: { readonly found?: number }) => {
      const rate = { minimum: 10, maximum: 10_000_000, ...limits };
      const [{ sent, open, openFound, rates }] = scanTruth(
        description,
        { hosts: HOSTS, ports: PORTS, seed },
        { rate },
      );
      return { sent, recall: openFound / open, first: rates[0].rate };
    };
    const without = score({});
    const found = score({ found: 0.8 * ratePps });
    expect(found.first / ratePps).toBeGreaterThan(0.5);
    expect(found.sent).toBeLessThan(without.sent);
    expect(found.recall).toBeGreaterThanOrEqual(without.recall);
    const stale = score({ found: 2 * ratePps });
    expect(stale.sent).toBeLessThan(1.1 * without.sent);
    expect(stale.recall).toBeGreaterThanOrEqual(without.recall);
  },
  SLOW,
);

it.runIf(ALL)(
  "delay alone is no guide where the first SYNs fill the queue: it floods, and open ports are missed",
  () => {
    // Seeds of slow bottlenecks with short queues.
    for (const seed of [4, 12]) {
      const { runs, ratePps } = compare(seed, ["vegas"]);
      expect(ratePps).toBeLessThan(1000);
      expect(runs.get("vegas")?.recall, `seed ${seed}`).toBeLessThan(0.96);
    }
  },
  SLOW,
);
