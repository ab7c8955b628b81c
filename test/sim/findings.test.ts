/** What a run tells of hosts that limit their RSTs, and of outages of a host or of the path: whole scans under a virtual clock. */
import { describe, expect, it } from "vitest";
import type { LabDescription } from "../../src/lab/description.ts";
import { addressText } from "../../src/socket/table.ts";
import { ALL, everyday } from "../everyday.ts";
import { type Score, scanTruth } from "./truth.ts";

const SECOND = 1e6;
const RANGE = "198.18.0.0/15";
const CLOSED = { range: RANGE, ports: [{ share: 0.05, is: "open" as const }] };

/** Without a kernel that resets them, SYN-ACKs come again. */
const ALL_CLOSED = { hosts: [{ range: RANGE }] };

type More = Parameters<typeof scanTruth>[4];
const scan = (
  description: Partial<LabDescription>,
  size: { readonly hosts: number; readonly ports: number },
  overrides: Parameters<typeof scanTruth>[2] = {},
  more: More = {},
): Score =>
  scanTruth(
    { seed: 5, path: { latencyMs: 20 }, hosts: [CLOSED], ...description },
    size,
    overrides,
    1,
    more,
  )[0];

const namesOf = ({ found }: Score): string[] => found.hosts.map(({ words }) => addressText(words, 0)).sort();
/** Whether the IPv4 packet is to the host with this last byte. */
const isTo = (packet: Uint8Array, last: number): boolean => packet[19] === last;
const seconds = (us: number | undefined): number => Math.round((us ?? Number.NaN) / 1e5) / 10;

describe("hosts that limit their RSTs", () => {
  it.each(everyday([10], [2, 10, 50]))(
    "to %d a second are named, with about that number, and nobody else is",
    (ratePps) => {
      const slow = [7, 77].map((n) => ({
        ...CLOSED,
        range: `198.18.0.${n}`,
        rstLimit: { ratePps, burst: 5 },
      }));
      const found = scan({ hosts: [CLOSED, ...slow] }, { hosts: 80, ports: 12 * Math.max(4, ratePps) });
      expect(namesOf(found)).toEqual(["198.18.0.7", "198.18.0.77"]);
      for (const { perSecond, outages } of found.found.hosts) {
        expect(perSecond).toBeGreaterThan(0.6 * ratePps);
        expect(perSecond).toBeLessThan(1.6 * ratePps);
        expect(outages).toEqual([]);
      }
      expect(found.found.outages).toEqual([]);
    },
  );

  it.each(everyday([0.1], [0, 0.05, 0.2]))(
    "are not seen where a path loses packets (%d) and firewalls are silent",
    (loss) => {
      for (let seed = 0; seed < everyday(1, 10); seed++) {
        const ports = [
          { share: 0.1, is: "open" as const },
          { share: 0.3, is: "silent" as const },
        ];
        const found = scan(
          { seed, path: { latencyMs: 20, loss }, hosts: [{ range: RANGE, ports }] },
          {
            hosts: 200,
            ports: 20,
          },
        );
        expect([found.found.hosts, found.found.outages]).toEqual([[], []]);
      }
    },
  );
});

describe("outages", () => {
  it("of the path: told with their time", () => {
    const lost = [
      [2, 5],
      [8, 9.5],
    ] as const;
    const found = scan(
      ALL_CLOSED,
      { hosts: 500, ports: 60 },
      { rate: { minimum: 10, maximum: 3000 } },
      {
        isLost: (_, us) => lost.some(([from, to]) => us >= from * SECOND && us < to * SECOND),
      },
    );
    const { outages } = found.found;
    expect(outages).toHaveLength(2);
    outages.forEach(({ fromUs, toUs }, i) => {
      // Sending is slow after the first: between two answers some time may pass.
      expect(seconds(fromUs)).toBeGreaterThan(lost[i][0] - 1);
      expect(seconds(fromUs)).toBeLessThan(lost[i][0] + 0.1);
      expect(seconds(toUs)).toBeGreaterThanOrEqual(lost[i][1]);
      expect(seconds(toUs)).toBeLessThan(lost[i][1] + 1.5);
    });
    expect(namesOf(found)).toEqual([]);
  });

  it.runIf(ALL)("of the path that lasts: told without an end", () => {
    const found = scan(
      ALL_CLOSED,
      { hosts: 300, ports: 30 },
      { rate: { minimum: 10, maximum: 3000 }, retries: 1 },
      {
        isLost: (_, us) => us >= SECOND,
      },
    );
    expect(found.found.outages).toEqual([{ fromUs: expect.any(Number) }]);
    expect(Math.abs(seconds(found.found.outages[0].fromUs) - 1)).toBeLessThanOrEqual(0.2);
  });

  it.runIf(ALL)("of one host among others: told, and not taken for a limit of its RSTs", () => {
    const found = scan(
      {},
      { hosts: 5, ports: 6000 },
      { rate: { minimum: 10, maximum: 1000 } },
      {
        isLost: (packet, us) => isTo(packet, 3) && us >= 8 * SECOND && us < 20 * SECOND,
      },
    );
    expect(found.found.outages).toEqual([]);
    expect(namesOf(found)).toEqual(["198.18.0.3"]);
    const [{ perSecond, outages }] = found.found.hosts;
    expect(perSecond).toBeUndefined();
    expect(outages).toHaveLength(1);
    expect(seconds(outages[0].fromUs)).toBeGreaterThanOrEqual(7.5);
    expect(seconds(outages[0].fromUs)).toBeLessThan(10);
    expect(seconds(outages[0].toUs)).toBeGreaterThanOrEqual(20);
    expect(seconds(outages[0].toUs)).toBeLessThan(26);
  });
});
