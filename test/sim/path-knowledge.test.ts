/** What a run learns of its path and its hosts, as whole scans show it: through the lab's networks, under a virtual clock. */
import { describe, expect, it } from "vitest";
import type { HostsDescription, LabDescription } from "../../src/lab/description.ts";
import { addTotals, noTotals, pathFindings } from "../../src/runtime/results/totals.ts";
import type { PortState } from "../../src/scan/probe/result.ts";
import { ALL, everyday, someOf } from "../everyday.ts";
import type { Overrides } from "./run.ts";
import { type Score, scanTruth } from "./truth.ts";

const MILLISECOND = 1000;
const SECOND = 1_000_000;
const RANGE = "198.18.0.0/15";

interface Seen {
  readonly host: number;
  readonly port: number;
  readonly state: PortState;
  readonly was: PortState | null;
  readonly tries: number;
  readonly doubt: number;
  readonly answersAll: boolean;
  readonly atUs: number;
}

/** Every verdict of a scan of hosts 198.18.0.0 on, each a number. */
function scan(
  description: LabDescription,
  size: { readonly hosts: number; readonly ports: number; readonly seed?: number },
  overrides: Overrides = {},
): Score & { readonly verdicts: readonly Seen[] } {
  const verdicts: Seen[] = [];
  const [score] = scanTruth(description, size, overrides, 1, {
    onVerdict: ({ position, port, state, was, tries, doubt, answersAll }, atUs) =>
      verdicts.push({
        host: Math.floor(position / size.ports),
        port,
        state,
        was,
        tries,
        doubt,
        answersAll,
        atUs,
      }),
  });
  return { ...score, verdicts };
}

const lab = (host: Omit<HostsDescription, "range">, latencyMs: number, ...more: HostsDescription[]) => ({
  seed: 5,
  path: { latencyMs },
  hosts: [{ range: RANGE, ...host }, ...more],
});

const findingsOf = ({ counts }: Score) => {
  const totals = noTotals();
  addTotals(totals, counts, 0);
  return pathFindings(totals);
};

describe("hosts that answer anything", () => {
  it("are found and labelled, and a host with all its scanned ports open is not one", () => {
    // Open on all that is scanned, but not on the ports that nobody serves.
    const busy = { ports: [{ ports: "1-40", is: "open" as const }] };
    const tarpits: HostsDescription[] = [3, 77, 200].map((n) => ({ range: `198.18.0.${n}`, tarpit: true }));
    const { verdicts, falseOpen, us } = scan(lab(busy, 10, ...tarpits), { hosts: 250, ports: 40 });
    expect(verdicts).toHaveLength(250 * 40);
    const labelled = new Map<number, number>();
    for (const { host, answersAll, state } of verdicts) {
      expect(state).toBe("open");
      if (answersAll) labelled.set(host, (labelled.get(host) ?? 0) + 1);
    }
    // All but the first few ports, which led to the check.
    expect([...labelled.keys()].sort((a, b) => a - b)).toEqual([3, 77, 200]);
    for (const count of labelled.values()) expect(count).toBeGreaterThanOrEqual(37);
    expect(falseOpen).toBe(0);
    expect(us).toBeLessThan(SECOND);
  });
});

describe("hosts that limit their resets", () => {
  const SIZE = { hosts: 1000, ports: 20 };
  const open = [{ share: 0.1, is: "open" as const }];
  const limited = Array.from({ length: 10 }, (_, i) => ({
    range: `198.18.1.${i * 7}`,
    ports: open,
    rstLimit: { ratePps: 10, burst: 10 },
  }));
  const isLimited = ({ host }: Seen): boolean => host >= 256 && host < 256 + 70 && (host - 256) % 7 === 0;
  const lastOf = (verdicts: readonly Seen[]): number => Math.max(...verdicts.map(({ atUs }) => atUs));

  it.runIf(ALL)("go on at a pace of their own, with few more SYNs, and do not hold up the others", () => {
    const without = scan(lab({ ports: open }, 40), SIZE);
    const { verdicts, sent, openFound, ...score } = scan(lab({ ports: open }, 40, ...limited), SIZE);
    const others = verdicts.filter((verdict) => !isLimited(verdict));
    expect(others).toHaveLength(990 * 20);
    expect(others.every(({ state }) => state !== "filtered")).toBe(true);
    expect(lastOf(others)).toBeLessThan(1.1 * lastOf(without.verdicts));
    expect(sent).toBeLessThan(1.05 * without.sent);
    expect(openFound).toBe(score.open);
    // Of the limited ones nearly all is known in the end, though a second's resets are half of what was asked.
    const known = verdicts.filter((verdict) => isLimited(verdict) && verdict.state !== "filtered");
    expect(known.length).toBeGreaterThan(0.9 * 10 * 20);
    expect(score.us).toBeLessThan(10 * SECOND);
  });
});

describe("resets that are limited", () => {
  const open = { share: 0.1, is: "open" as const };
  const silent = { share: 0.1, is: "silent" as const };
  const ports = [open, silent];
  /** Every tenth of 1000 hosts limits its resets to so many a second. */
  const tenth = (ratePps: number): HostsDescription[] =>
    Array.from({ length: 100 }, (_, i) => ({
      range: `198.18.${(10 * i) >> 8}.${(10 * i) & 255}`,
      ports,
      rstLimit: { ratePps },
    }));
  const size = { hosts: 1000, ports: 20 };
  const isLimited = ({ host }: Seen): boolean => host % 10 === 0;
  const lastOf = (verdicts: readonly Seen[]): number => Math.max(...verdicts.map(({ atUs }) => atUs));

  const PACES = [
    [10, 5],
    [1, 80],
    [100, 1],
    [2, 30],
    [5, 10],
  ] as const;
  it.each(PACES.slice(0, everyday(1, 5)))(
    "to %d a second, on one host in ten: closed ports are found, the others wait for nobody",
    (rate, seconds) => {
      const without = scan(lab({ ports }, 20), size);
      const found = scan(lab({ ports }, 20, ...tenth(rate)), size);
      expect(found.closedRight).toBeGreaterThan(0.999 * found.closed);
      expect(found.filteredRight).toBe(found.filtered);
      expect(found.openFound).toBe(found.open);
      expect(lastOf(found.verdicts.filter((seen) => !isLimited(seen)))).toBeLessThan(1.2 * without.us);
      expect(found.us).toBeLessThan(seconds * SECOND);
      // They are a tenth of the pairs, and take no more than six SYNs each.
      expect(found.sent - without.sent).toBeLessThan(5 * 0.1 * found.pairs);
      // Nothing of it is taken for loss of the path, or for open ports missed.
      expect(findingsOf(found).loss.round).toBeLessThan(0.005);
      expect(findingsOf(found).missedOpen.expected).toBeLessThan(0.1);
    },
  );

  it.each(
    someOf(2, [
      [100, 15],
      [10, 120],
    ]),
  )("to %d a second on one host with 1000 ports: its pace is found", (rate, seconds) => {
    const found = scan(lab({ ports, rstLimit: { ratePps: rate } }, 20), { hosts: 1, ports: 1000 });
    expect(found.closedRight).toBeGreaterThan(0.99 * found.closed);
    expect(found.filteredRight).toBe(found.filtered);
    expect(found.openFound).toBe(found.open);
    expect(found.us).toBeLessThan(seconds * SECOND);
  });

  it("leave a doubt that is told where tries or time do not do", () => {
    const limited = lab({ ports: [open], rstLimit: { ratePps: 2 } }, 20);
    const hosts = { hosts: everyday(80, 200), ports: 20 };
    for (const overrides of [{ retries: 1 }, { retries: 2 }]) {
      const found = scan(limited, hosts, overrides);
      const { verdicts, openFound } = found;
      const wrong = verdicts.filter(({ state }) => state === "filtered");
      expect(wrong.length).toBe(found.closed - found.closedRight);
      expect(wrong.length).toBeGreaterThan(0.1 * found.closed);
      const doubts = wrong.map(({ doubt }) => doubt).sort((a, b) => a - b);
      expect(doubts[doubts.length >> 1]).toBeGreaterThan(0.05);
      // Hosts do not limit their SYN-ACKs: no open port is missed, and none is made out to be.
      expect(openFound).toBe(found.open);
      expect(findingsOf(found).missedOpen.expected).toBeLessThan(0.2);
    }
    const timed = scan(limited, { hosts: 20, ports: 20 }, { hostTimeoutUs: 2 * SECOND });
    expect(timed.us).toBeLessThan(2.5 * SECOND);
  });

  // Before there were controls it took 1.12, 1.49, 1.90 and 1.54 SYNs a pair.
  it.each(
    someOf(4, [
      [0.03, 0.1, 1.6],
      [0.1, 0.1, 2.2],
      [0, 0.5, 1.85],
      [0, 0.1, 1.16],
    ]),
  )(
    "are not taken for limited where a firewall is silent (loss %d, %d of the ports)",
    (loss, share, most) => {
      const rules = [open, { share, is: "silent" as const }];
      const found = scan(
        { seed: 5, path: { latencyMs: 20, loss }, hosts: [{ range: RANGE, ports: rules }] },
        size,
      );
      // A port is called silent with a chance below 1 in 10,000 that it is not.
      expect(found.closedRight).toBeGreaterThanOrEqual((1 - (loss > 0 ? 1e-4 : 0)) * found.closed);
      expect(found.filteredRight).toBe(found.filtered);
      expect(found.sent).toBeLessThan(most * found.pairs);
      expect(found.us).toBeLessThan((1 + 80 * loss) * SECOND);
    },
  );
});

describe("what is said of the path", () => {
  it.each(
    someOf(3, [
      [0.02, 0.1],
      [0.1, 0.02],
      [0.05, 0.05],
    ]),
  )("loss of %d out and %d back is told apart, from SYN-ACKs that come again", (out, back) => {
    const description = {
      seed: 5,
      path: { latencyMs: 40, in: { loss: out }, out: { loss: back } },
      hosts: [{ range: RANGE, ports: [{ share: 0.3, is: "open" as const }] }],
    };
    // Slowly: what comes again comes a second later.
    const found = scan(description, { hosts: 1024, ports: 10 }, { rate: { minimum: 10, maximum: 2000 } });
    const { loss } = findingsOf(found);
    expect(Math.abs(loss.round - (1 - (1 - out) * (1 - back)))).toBeLessThan(0.03);
    expect(Math.abs((loss.out ?? 1) - out)).toBeLessThan(0.035);
    expect(Math.abs((loss.back ?? 1) - back)).toBeLessThan(0.035);
  });

  it.runIf(ALL)("loss one way only is not made out to be the other's", () => {
    const description = {
      seed: 5,
      path: { latencyMs: 40, in: { loss: 0.08 } },
      hosts: [{ range: RANGE, ports: [{ share: 0.3, is: "open" as const }] }],
    };
    const found = scan(description, { hosts: 1024, ports: 10 }, { rate: { minimum: 10, maximum: 2000 } });
    const { loss } = findingsOf(found);
    expect(loss.round).toBeGreaterThan(0.05);
    expect(loss.back ?? 0).toBeLessThan(0.01);
  });

  it.runIf(ALL)("doubt that bounded tries leave is told, of each port and of the whole", () => {
    const open = { share: 0.3, is: "open" as const };
    const silent = { share: 0.3, is: "silent" as const };
    const description = {
      seed: 5,
      path: { latencyMs: 40, loss: 0.1 },
      hosts: [{ range: RANGE, ports: [open, silent] }],
    };
    const size = { hosts: 512, ports: 10 };
    const bounded = scan(description, size, { retries: 1 });
    expect(bounded.missed).toBeGreaterThan(10);
    const { expected, low } = findingsOf(bounded).missedOpen;
    expect(low).toBeGreaterThan(0);
    expect(low).toBeLessThanOrEqual(bounded.missed);
    expect(expected).toBeGreaterThan(3);
    const silences = bounded.verdicts.filter(({ state }) => state === "filtered");
    expect(silences.every(({ tries, doubt }) => tries === 2 && doubt > 1e-4 && doubt < 0.7)).toBe(true);
    // A few left when by chance most of what is known was lost.
    expect(silences.filter(({ doubt }) => doubt > 0.2).length).toBeLessThan(0.01 * silences.length);
    // 19 % a try are lost: 3.6 % of both.
    const mean = silences.reduce((sum, { doubt }) => sum + doubt, 0) / silences.length;
    expect(mean).toBeGreaterThan(0.012);
    expect(mean).toBeLessThan(0.07);
    // Where tries are not so bounded, hardly any doubt is left: what little is known of bursts of loss.
    const free = scan(description, size);
    expect(findingsOf(free).missedOpen.expected).toBeLessThan(0.2);
    expect(free.missed).toBe(0);
    const left = free.verdicts.filter(({ state }) => state === "filtered").map(({ doubt }) => doubt);
    expect(left.reduce((sum, doubt) => sum + doubt, 0) / left.length).toBeLessThan(1e-3);
    expect(Math.max(...left)).toBeLessThan(0.02);
  });
});

describe("how long is waited", () => {
  it("a network 600 ms away among others 2 ms away is not called filtered first and corrected later", () => {
    const ports = [{ share: 0.3, is: "open" as const }];
    const far = { range: "198.18.1.0/24", ports, path: { latencyMs: 300 } };
    for (const seed of everyday([1], [1, 2, 3])) {
      const { verdicts } = scan(lab({ ports }, 1, far), { hosts: 512, ports: 10, seed });
      const ofFar = verdicts.filter(({ host }) => host >= 256);
      expect(ofFar).toHaveLength(256 * 10);
      expect(ofFar.filter(({ state, was }) => state === "filtered" || was !== null)).toEqual([]);
    }
  });

  it("a host far behind its neighbours is not missed while the run lasts: what was called silent is corrected", () => {
    const ports = [{ share: 0.3, is: "open" as const }];
    const hosts = [3, 40, 170].map((n) => ({ range: `198.18.1.${n}`, ports, path: { latencyMs: 450 } }));
    for (const seed of everyday([1], [1, 2, 3])) {
      // Slow enough that the run takes some seconds.
      const rate = { rate: { minimum: 10, maximum: 2000 } };
      const { verdicts, openFound, open, closedRight, closed } = scan(
        lab({ ports }, 1, ...hosts),
        { hosts: 1024, ports: 10, seed },
        rate,
      );
      expect([openFound, closedRight]).toEqual([open, closed]);
      const corrected = verdicts.filter(({ was }) => was === "filtered");
      // No more of them than ports, and of nobody else.
      expect(corrected.length).toBeLessThanOrEqual(30);
      for (const { host } of corrected) expect([259, 296, 426]).toContain(host);
    }
  });

  it.runIf(ALL)(
    "hosts that were never heard of are waited for no longer than those heard of make likely",
    () => {
      const mix = [{ share: 0.5, rest: "silent" as const, ports: [] }];
      const { us, filtered, filteredRight, sent, pairs } = scan(lab({ mix }, 1), { hosts: 1024, ports: 10 });
      expect(filteredRight).toBe(filtered);
      expect(filtered).toBeGreaterThan(4000);
      expect(us).toBeLessThan(0.6 * SECOND);
      expect(sent).toBeLessThan(2 * pairs);
    },
  );

  it("a LAN of 2 ms does not wait a second for a silent port, on one host or on many", () => {
    const ports = [{ ports: "3", is: "silent" as const }];
    const one = scan(lab({ rest: "open", ports }, 1), { hosts: 1, ports: 10 });
    expect([one.filtered, one.filteredRight, one.openFound]).toEqual([1, 1, 9]);
    expect(one.us).toBeLessThan(0.5 * SECOND);
    const many = scan(lab({ ports }, 1), { hosts: 100, ports: 10 });
    expect([many.filtered, many.filteredRight, many.closedRight]).toEqual([100, 100, 900]);
    expect(many.us).toBeLessThan(0.6 * SECOND);
    // With a shorter least wait it is quicker still: the wait follows the round trips.
    const quick = { wait: { initialUs: SECOND, minUs: 10 * MILLISECOND, maxUs: 10 * SECOND } };
    expect(scan(lab({ ports }, 1), { hosts: 100, ports: 10 }, quick).us).toBeLessThan(0.3 * SECOND);
  });
});
