/** A thousand simulated workers and a billion pairs, under a virtual clock: cells of the right size, little waiting at the end, little memory. */
import { expect, it } from "vitest";
import { jobOf } from "../../src/runtime/fleet/cell.ts";
import { type CutCell, cellSize, createLedger } from "../../src/runtime/fleet/ledger.ts";
import { cutByPrefix } from "../../src/scan/targets/prefixes.ts";
import { createSpaceBuilder } from "../../src/scan/targets/space-builder.ts";
import { everyday } from "../everyday.ts";
import { createDraw } from "../fuzz/mutate.ts";
import { address } from "./run.ts";

const WORKERS = 1000;
/** Pairs a second of a worker on average: the slowest is half as fast, the fastest half as fast again. */
const RATE = 1000;
const DEATHS_A_MINUTE = 0.01;
const LEASE_S = 30;
/** From the end of a lock to the cell's start elsewhere, and from a cell's end to the next one's start. */
const [FOUND_S, BETWEEN_S] = [6, 0.5];

/** What happens next: the earliest first. A binary heap would be faster; a thousand entries are few. */
interface Event {
  readonly atS: number;
  /** The worker's, in pairs a second. */
  readonly rate: number;
  readonly cell: CutCell | undefined;
  readonly dies: boolean;
}

it.each(everyday([1], [1, 2, 3]))(
  "takes at most a tenth longer than is ideal, with one worker in a hundred dying each minute (seed %i)",
  (seed) => {
    const builder = createSpaceBuilder();
    builder.add(
      address("10.0.0.0"),
      address("10.255.255.255"),
      Uint16Array.from({ length: 60 }, (_, i) => i + 1),
    );
    const space = builder.build();
    expect(space.total).toBeGreaterThan(1e9);
    const before = process.memoryUsage().heapUsed;
    const ledger = createLedger({ space, prefixes: cutByPrefix(space, { seed: 1n, most: 1e6 }) });
    const draw = createDraw(seed);
    const chance = (share: number): boolean => draw(1e9) < share * 1e9;
    const again: { readonly cell: CutCell; readonly fromS: number }[] = [];
    const events: Event[] = Array.from({ length: WORKERS }, (_, i) => ({
      atS: 0,
      rate: RATE * (0.5 + i / WORKERS),
      cell: undefined,
      dies: false,
    }));
    let taken = 0;
    let deaths = 0;
    let longS = 0;
    let endS = 0;
    while (events.length > 0) {
      const next = events.reduce((least, each, i) => (each.atS < events[least].atS ? i : least), 0);
      const [{ atS, rate, cell, dies }] = events.splice(next, 1);
      if (cell !== undefined && dies) {
        deaths++;
        again.push({ cell, fromS: atS + LEASE_S + FOUND_S });
      } else if (cell !== undefined) {
        expect(ledger.close(jobOf(cell))).toBe(true);
        taken += cell.pairs;
        endS = atS;
      }
      // Whoever died is replaced at once; a cell whose lock has run out comes first.
      const lost = again.findIndex(({ fromS }) => fromS <= atS);
      const [found] = lost < 0 ? [] : again.splice(lost, 1);
      const busyS = [0, ...events.map((other) => Math.max(0, other.atS - atS))];
      const outlook = { left: ledger.left, workers: WORKERS, perSecond: RATE, busyS };
      const work = found?.cell ?? ledger.cut(cellSize(outlook));
      if (work === undefined) {
        const waits = again.map(({ fromS }) => fromS);
        if (waits.length > 0) events.push({ atS: Math.min(...waits), rate, cell: undefined, dies: false });
        continue;
      }
      const seconds = work.pairs / rate;
      longS = Math.max(longS, work.pairs / RATE);
      const fatal = chance((DEATHS_A_MINUTE * seconds) / 60);
      events.push({
        atS: atS + BETWEEN_S + (fatal ? seconds * (draw(1000) / 1000) : seconds),
        cell: work,
        rate,
        dies: fatal,
      });
    }
    expect(taken).toBe(space.total);
    expect(ledger.underWay.size).toBe(0);
    expect(deaths).toBeGreaterThan(30);
    expect(longS).toBeLessThanOrEqual(120);
    const ideal = space.total / (WORKERS * RATE);
    expect(endS / ideal).toBeLessThanOrEqual(1.1);
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(300e6);
  },
);
