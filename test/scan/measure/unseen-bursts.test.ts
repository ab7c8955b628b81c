/** Bursts that a run was too short to see: known values, and whether the bound holds in simulated runs that show nothing. */
import { describe, expect, it } from "vitest";
import { createHostCache } from "../../../src/scan/measure/host-cache.ts";
import { mostUnseen, unseenPorts } from "../../../src/scan/measure/unseen-bursts.ts";
import { createSeededRandom } from "../../sim/random.ts";

const SECOND = 1_000_000;

describe("the most that can be away without a trace", () => {
  it.each([
    // Hundreds of hosts, asked for a quarter of a burst's length, for all of it, and for fifteen.
    [512, 512, 0.5 * SECOND, 12],
    [512, 512, 2 * SECOND, 3],
    [512, 512, 30 * SECOND, 0],
    // No more than were silent; and none of one, which is away for a twentieth of the time.
    [512, 1, 0.5 * SECOND, 1],
    [512, 0, 0.5 * SECOND, 0],
    [1, 100, 0.5 * SECOND, 0],
    [3, 100, 0.5 * SECOND, 1],
    // Asked in one moment nothing shows: the share alone bounds it, 5,000 with three standard deviations.
    [100_000, 100_000, 0, 5139],
  ])("%d answer, %d are silent, each asked for %d us: %d", (answering, silent, us, most) => {
    expect(mostUnseen({ answering, silent, us })).toBe(most);
  });

  it("is exceeded without a trace in at most one run of forty, whatever share of the time is lost", () => {
    const random = createSeededRandom(7);
    const chance = (): number => (random(1 << 30) + 0.5) / (1 << 30);
    const RUNS = 2000;
    const HOSTS = 400;
    for (const seconds of [0.4, 1.5, 6]) {
      const bound = mostUnseen({ answering: HOSTS, silent: HOSTS, us: seconds * SECOND });
      for (const share of [0.0005, 0.003, 0.01, 0.02, 0.05]) {
        let wrong = 0;
        for (let run = 0; run < RUNS; run++) {
          // A host that is away shows when its burst ends while it is asked.
          let away = 0;
          let ends = 0;
          for (let host = 0; host < HOSTS; host++) {
            if (chance() >= share) continue;
            if (-2 * Math.log(chance()) < seconds) ends++;
            else away++;
          }
          if (ends === 0 && away > bound) wrong++;
        }
        expect(wrong / RUNS).toBeLessThan(0.035);
      }
    }
  });
});

/** What it comes to when some have more ports than others: 1.96 standard deviations more. */
const spread = (ports: number): number => ports + 1.96 * Math.sqrt(ports);

describe("ports that may be hidden", () => {
  const NET = 0xc612_0000;

  /** Hosts of 198.18.0.0/16 that were asked for so long each; of every prefix, the first `answering` answered on `ports` ports. */
  function seen(prefixes: number, hostsOf: number, answering: (prefix: number) => number, us: number) {
    const hosts = createHostCache(prefixes * hostsOf, 1, 1 << 15);
    const words = new Uint32Array([0, 0, 0xffff, 0]);
    for (let i = 0; i < prefixes * hostsOf; i++) {
      const prefix = Math.floor(i / hostsOf);
      words[3] = NET + 256 * prefix + (i % hostsOf);
      const host = hosts.entryOf(words, 0, 0);
      hosts.firstMs[host] = 5;
      hosts.sentMs[host] = 5 + us / 1000;
      hosts.prefix[host] = 16 * prefix;
      if (i % hostsOf < answering(prefix)) hosts.closed[host] = 10;
    }
    return hosts;
  }
  const SHORT = { spanUs: 0.2 * SECOND, pilotUs: 500 * SECOND };

  it("are of as many hosts as can be away, with as many ports as others have", () => {
    const hosts = seen(4, 200, () => 100, 0.5 * SECOND);
    const unseen = unseenPorts({ ...SHORT, hosts, answering: 4000, silent: 4000 });
    expect(unseen).toBeCloseTo(spread(10 * mostUnseen({ answering: 400, silent: 400, us: 0.5 * SECOND })));
  });

  it("are whole prefixes where some are silent beside many that answer", () => {
    const hosts = seen(20, 40, (prefix) => (prefix < 16 ? 20 : 0), 0.5 * SECOND);
    const unseen = unseenPorts({ ...SHORT, hosts, answering: 3200, silent: 4800 });
    expect(unseen).toBeCloseTo(spread(200 * mostUnseen({ answering: 16, silent: 4, us: 0.5 * SECOND })));
    expect(unseen).toBeGreaterThan(200);
  });

  it("are single ports where every host answers", () => {
    const hosts = seen(1, 4, () => 4, 0.5 * SECOND);
    const most = unseenPorts({ ...SHORT, pilotUs: 0, hosts, answering: 4000, silent: 4000 });
    expect(most).toBeCloseTo(spread(mostUnseen({ answering: 4000, silent: 4000, us: 0.2 * SECOND })));
    // The longer pilots show ports to be there, the fewer.
    expect(
      unseenPorts({ ...SHORT, pilotUs: 8000 * SECOND, hosts, answering: 4000, silent: 4000 }),
    ).toBeLessThan(most / 2);
  });

  it("are none where nothing answers, or nothing is silent, and no more than are silent", () => {
    const hosts = seen(4, 200, () => 100, 0.5 * SECOND);
    expect(unseenPorts({ ...SHORT, hosts, answering: 0, silent: 4000 })).toBe(0);
    expect(unseenPorts({ ...SHORT, hosts, answering: 4000, silent: 0 })).toBe(0);
    expect(unseenPorts({ ...SHORT, hosts, answering: 4000, silent: 7 })).toBe(7);
  });
});
