/** A run from several places, with workers that are simulated and take their time: everything is told, once, and none is far ahead. */
import { expect, it } from "vitest";
import { jobOf } from "../../src/runtime/fleet/cell.ts";
import type { Coordinator } from "../../src/runtime/fleet/coordinator.ts";
import type { Among } from "../../src/runtime/fleet/feed.ts";
import { createJoin } from "../../src/runtime/fleet/join.ts";
import { type CutCell, createLedger, type Ledger } from "../../src/runtime/fleet/ledger.ts";
import { startPlaces } from "../../src/runtime/fleet/places.ts";
import type { EngineRunHooks } from "../../src/runtime/run/engine-run.ts";
import { newCounters } from "../../src/scan/engine/counters.ts";
import type { PortState } from "../../src/scan/probe/result.ts";
import { RECORD_LENGTH, writeRecord } from "../../src/scan/probe/result-record.ts";
import { newVerdict } from "../../src/scan/probe/verdict.ts";
import { cutByPrefix } from "../../src/scan/targets/prefixes.ts";
import type { Space } from "../../src/scan/targets/space.ts";
import { createSpaceBuilder } from "../../src/scan/targets/space-builder.ts";
import { loadAddress } from "../../src/socket/table.ts";
import { everyday } from "../everyday.ts";
import { createDraw } from "../fuzz/mutate.ts";
import { address } from "./run.ts";

const SEED = 1n;

function spaceOf(first: string, last: string, ports: number): Space {
  const builder = createSpaceBuilder();
  builder.add(
    address(first),
    address(last),
    Uint16Array.from({ length: ports }, (_, i) => 1 + i),
  );
  return builder.build();
}

const REASONS = { open: "syn-ack", closed: "reset", filtered: "no-response" } as const;

interface Simulated {
  /** Probes the next cell, or some of what waits. @returns false when there is nothing to do now */
  step(): boolean;
}

/** @param stateOf what a place finds of a pair at its first and its second look; without, nothing comes of what is probed */
function simulate(
  space: Space,
  names: readonly string[],
  wanted: () => number,
  stateOf?: (place: number, pair: number, isAgain: boolean) => PortState,
) {
  const prefixes = cutByPrefix(space, { seed: SEED, most: 1e6 });
  const ledgers = names.map(() => createLedger({ space, prefixes }));
  const join = createJoin(names, space.total);
  const told = new Map<number, string>();
  const sides: Simulated[] = [];
  /** Pairs that each place was asked for a second time. */
  const again = names.map(() => 0);
  let nowMs = 0;
  const hooks: EngineRunHooks = {
    keepsRecords: false,
    wants: ["open", "closed", "filtered"],
    onRecords: () => {},
    onResult: ({ position }, _, __, from = []) => {
      expect(told.has(position)).toBe(false);
      told.set(position, from.map(({ place, verdict }) => `${verdict.state} ${place}`).join(", "));
    },
    onCapture: () => {},
    onRateChanges: () => {},
    onReport: () => {},
    room: () => undefined,
  };

  function pairsOf(ledger: Ledger, cell: CutCell): number[] {
    const words = new Uint32Array(4);
    return ledger.spans(cell).flatMap(({ first, ports, pairs }) => {
      loadAddress(words, 0, first, 0, first.length);
      const start = space.indexOf(words, 0, ports[0]);
      return Array.from({ length: pairs }, (_, i) => start + i);
    });
  }

  function start(place: number, among: Among, own: EngineRunHooks): Coordinator {
    const ledger = ledgers[place];
    const looks: CutCell[] = [];
    let end = (): void => {};
    const finished = new Promise<void>((resolve) => {
      end = resolve;
    });
    sides.push({
      step: () => {
        const cell = looks.shift() ?? (among.isAhead() ? undefined : ledger.cut(wanted()));
        for (const pair of stateOf === undefined || cell === undefined ? [] : pairsOf(ledger, cell)) {
          const bytes = new Uint8Array(RECORD_LENGTH);
          const state = stateOf?.(place, pair, cell?.again !== undefined) ?? "filtered";
          const found = { position: among.first + pair, port: 1, state, reason: REASONS[state] };
          writeRecord(bytes, 0, { ...newVerdict(), ...found }, 1e15);
          own.onRecords(bytes, 1);
        }
        if (cell !== undefined) ledger.close(jobOf(cell));
        own.onReport();
        if (ledger.left + ledger.underWay.size === 0 && !among.isAwaited()) end();
        return cell !== undefined;
      },
    });
    return {
      finished,
      reports: () => [{ counts: { ...newCounters(), sent: 1 }, inFlight: 0, receiveDrops: 0, mark: 0 }],
      stop: () => end(),
      kill: () => end(),
      workers: 2,
      perLook: 64,
      again: (pairs) => {
        again[place] += pairs.length;
        looks.push(ledger.again(pairs));
      },
    };
  }

  const run = startPlaces(
    {
      join,
      ledgers,
      pairs: space.total,
      nowMs: () => nowMs,
      start,
    },
    hooks,
  );
  const pass = (ms: number): void => {
    nowMs += ms;
  };
  return { run, sides, told, again, ledgers, pass };
}

const NAMES = ["fra", "lon", "nyc"];

it.each(
  everyday(
    [1, 2],
    Array.from({ length: 50 }, (_, i) => i),
  ),
)("tells every pair once, and asks again only for those that differ (seed %i)", async (seed) => {
  const draw = createDraw(seed);
  const space = spaceOf("198.18.0.0", "198.18.4.3", 2);
  const firstLook = new Map<string, PortState>();
  // From lon one pair in fifty is filtered; one in fifty is lost at the first look.
  const lasting = (place: number, pair: number): PortState =>
    place === 1 && pair % 50 === 7 ? "filtered" : pair % 3 === 0 ? "open" : "closed";
  const { run, sides, told, again, pass } = simulate(
    space,
    NAMES,
    () => 1 + draw(500),
    (place, pair, isAgain) => {
      const state = !isAgain && draw(50) === 0 ? "filtered" : lasting(place, pair);
      if (!isAgain) firstLook.set(`${place} ${pair}`, state);
      return state;
    },
  );
  let isOver = false;
  void run.finished.then(() => {
    isOver = true;
  });
  for (let idle = 0; !isOver && idle < 1000; idle++) {
    if (sides[draw(sides.length)].step()) idle = 0;
    pass(draw(3000));
    await undefined;
  }
  await run.finished;
  expect(told.size).toBe(space.total);
  let differing = 0;
  for (let pair = 0; pair < space.total; pair++) {
    const firsts = NAMES.map((_, place) => firstLook.get(`${place} ${pair}`));
    const isDifferent = new Set(firsts).size > 1;
    if (isDifferent) differing++;
    // What all have lost is looked at once.
    const said = isDifferent ? NAMES.map((_, place) => lasting(place, pair)) : firsts;
    expect(told.get(pair)).toBe(NAMES.map((name, place) => `${said[place]} ${name}`).join(", "));
  }
  expect(differing).toBeGreaterThan(space.total / 50);
  for (const count of again) expect(count).toBeGreaterThanOrEqual(differing);
  const [{ counts }] = run.reports();
  expect(counts.decided).toBe(space.total);
  expect(counts.states.open + counts.states.closed).toBeGreaterThan(space.total - 10);
  expect(counts.sent).toBe(NAMES.length);
});

it("waits with what would be far ahead of a place that has no worker", () => {
  const space = spaceOf("10.0.0.0", "10.3.255.255", 16);
  const { sides, ledgers } = simulate(space, ["fra", "lon"], () => 1e5);
  const ahead = (): number => space.total - ledgers[0].left - ledgers[1].over;
  while (sides[0].step());
  expect(ahead()).toBeGreaterThanOrEqual(2 ** 19);
  expect(ahead()).toBeLessThanOrEqual(2 ** 19 + 2e5);
  expect(sides[1].step()).toBe(true);
  expect(sides[0].step()).toBe(true);
  expect(ahead()).toBeLessThanOrEqual(2 ** 19 + 2e5);
});
