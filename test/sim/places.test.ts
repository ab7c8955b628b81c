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
import { ALL, everyday } from "../everyday.ts";
import { createDraw } from "../fuzz/mutate.ts";
import { address } from "./run.ts";

const SEED = 1n;

/** So many hosts in each of some /24. */
function spaceOf(first: string, networks: number, hosts: number, ports: number): Space {
  const builder = createSpaceBuilder();
  const [a, b] = first.split(".").map(Number);
  for (let i = 0; i < networks; i++) {
    const network = `${a}.${b + (i >> 8)}.${i & 255}`;
    const list = Uint16Array.from({ length: ports }, (_, port) => 1 + port);
    builder.add(address(`${network}.0`), address(`${network}.${hosts - 1}`), list);
  }
  return builder.build();
}

const REASONS = { open: "syn-ack", closed: "reset", filtered: "no-response" } as const;

interface Simulated {
  /** Probes the next cell, or some of what waits. @returns false when there is nothing to do now */
  step(): boolean;
}

/**
 * @param draw what happens next
 * @param stateOf what a place finds of a pair at its first and its second look; without, nothing comes of what is probed
 * @param isDone what an earlier coordinator has taken
 */
function simulate(
  space: Space,
  names: readonly string[],
  { draw, wanted }: { readonly draw: (below: number) => number; readonly wanted: () => number },
  stateOf?: (place: number, pair: number, isAgain: boolean) => PortState,
  isDone: (place: number, pair: number) => boolean = () => false,
) {
  const prefixes = cutByPrefix(space, { seed: SEED, most: 1e6 });
  const pairs = Array.from({ length: stateOf === undefined ? 0 : space.total }, (_, pair) => pair);
  const ledgers = names.map((_, place) =>
    createLedger({
      space,
      prefixes,
      isDone: (pair) => isDone(place, pair),
      decided: pairs.filter((pair) => isDone(place, pair)).length,
    }),
  );
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

  function recordOf(place: number, pair: number, isAgain: boolean): Uint8Array {
    const bytes = new Uint8Array(RECORD_LENGTH);
    const state = stateOf?.(place, pair, isAgain) ?? "filtered";
    const found = { position: place * space.total + pair, port: 1, state, reason: REASONS[state] };
    writeRecord(bytes, 0, { ...newVerdict(), ...found }, 1e15);
    return bytes;
  }

  /** The networks that are probed for a cell. */
  function networksOf(ledger: Ledger, cell: CutCell): number[] {
    return [...new Set(pairsOf(ledger, cell).map(ledger.prefixOf))];
  }

  function start(place: number, among: Among, own: EngineRunHooks): Coordinator {
    const ledger = ledgers[place];
    const looks: CutCell[] = [];
    /** Cells that workers have, and results that were taken and are not told. */
    const held: CutCell[] = [];
    let isTaken = false;
    let isEnded = false;
    let end = (): void => {};
    const finished = new Promise<void>((resolve) => {
      end = () => {
        isEnded = true;
        resolve();
      };
    });
    sides.push({
      step: () => {
        if (isEnded) return false;
        const next = isTaken || held.length === 2 || (held.length === 1 && draw(2) === 0);
        const cell = next
          ? undefined
          : (looks.shift() ?? (among.isAhead() ? undefined : ledger.cut({ pairs: wanted() })));
        if (cell !== undefined) {
          // No network is probed for two cells at a time.
          const others = new Set(held.flatMap((each) => networksOf(ledger, each)));
          if (stateOf !== undefined)
            expect(networksOf(ledger, cell).filter((each) => others.has(each))).toEqual([]);
          held.push(cell);
          return true;
        }
        const [done] = isTaken ? [] : held.splice(draw(held.length), 1);
        if (done !== undefined) {
          ledger.close(jobOf(done));
          const found = stateOf === undefined ? [] : pairsOf(ledger, done);
          for (const pair of found) own.onRecords(recordOf(place, pair, done.again !== undefined), 1);
          isTaken = true;
          return true;
        }
        const was = isTaken;
        isTaken = false;
        own.onReport();
        if (ledger.left + ledger.underWay.size === 0 && !among.isAwaited()) end();
        return was;
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
  for (const place of names.keys())
    for (const pair of pairs.filter((each) => isDone(place, each))) {
      join.take(recordOf(place, pair, false), 0);
      join.settle(place, 0, (verdict, established, from) => hooks.onResult(verdict, 0, established, from));
    }
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
  const space = spaceOf("198.18.0.0", 60, 16, 2);
  const firstLook = new Map<string, PortState>();
  const done = new Set<string>();
  for (let i = 0; i < 2 * space.total; i++) done.add(`${draw(NAMES.length)} ${draw(space.total)}`);
  // From lon one pair in fifty is filtered; one in fifty is lost at the first look.
  const lasting = (place: number, pair: number): PortState =>
    place === 1 && pair % 50 === 7 ? "filtered" : pair % 3 === 0 ? "open" : "closed";
  const { run, sides, told, again, pass } = simulate(
    space,
    NAMES,
    { draw, wanted: () => 1 + draw(200) },
    (place, pair, isAgain) => {
      const state = !isAgain && draw(50) === 0 ? "filtered" : lasting(place, pair);
      if (!isAgain) firstLook.set(`${place} ${pair}`, state);
      return state;
    },
    // Every second run is one that goes on.
    (place, pair) => seed % 2 === 0 && done.has(`${place} ${pair}`),
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
  expect(isOver).toBe(true);
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
  const space = spaceOf("10.0.0.0", 1024, 256, 16);
  const { sides, ledgers } = simulate(space, ["fra", "lon"], { draw: () => 0, wanted: () => 1e5 });
  const ahead = (): number => space.total - ledgers[0].left - ledgers[1].over;
  while (sides[0].step());
  expect(ahead()).toBeGreaterThanOrEqual(2 ** 19);
  expect(ahead()).toBeLessThanOrEqual(2 ** 19 + 2e5);
  // A cell of the other place, until it is taken.
  for (let i = 0; i < 3; i++) expect(sides[1].step()).toBe(true);
  expect(sides[0].step()).toBe(true);
  while (sides[0].step());
  expect(ahead()).toBeLessThanOrEqual(2 ** 19 + 2e5);
});

it.runIf(ALL)(
  "waits with more where so much differs that second looks fall behind, but only while there is one",
  () => {
    const space = spaceOf("10.0.0.0", 144, 256, 16);
    const prefixes = cutByPrefix(space, { seed: SEED, most: 1e6 });
    const ledgers = NAMES.slice(1).map(() => createLedger({ space, prefixes }));
    const join = createJoin(NAMES.slice(1), space.total);
    const sides: { readonly among: Among; readonly hooks: EngineRunHooks }[] = [];
    const none = (): void => {};
    startPlaces(
      {
        join,
        ledgers,
        pairs: space.total,
        nowMs: () => 0,
        start: (place, among, hooks) => {
          sides.push({ among, hooks });
          const again = (pairs: readonly number[]) => void ledgers[place].again(pairs);
          const idle = { finished: new Promise<void>(none), reports: () => [], stop: none, kill: none };
          return { ...idle, workers: 1, perLook: 64, again };
        },
      },
      {
        keepsRecords: false,
        wants: [],
        onRecords: none,
        onResult: none,
        onCapture: none,
        onRateChanges: none,
        onReport: none,
        room: () => undefined,
      },
    );
    const record = new Uint8Array(RECORD_LENGTH);
    for (const [place, state] of (["open", "filtered"] as const).entries()) {
      const verdict = { ...newVerdict(), port: 1, state, reason: REASONS[state] };
      const cell = ledgers[place].cut({ pairs: space.total });
      ledgers[place].close(jobOf(cell ?? { from: 0, to: 0 }));
      for (let pair = 0; pair < space.total; pair++) {
        verdict.position = place * space.total + pair;
        writeRecord(record, 0, verdict, 1e15);
        join.take(record, 0);
      }
    }
    const isAhead = () => sides.map(({ among }) => among.isAhead());
    for (const [place] of sides.entries()) join.settle(place, 0, none);
    expect(isAhead()).toEqual([false, false]);
    sides[0].hooks.onReport();
    expect(join.backlog).toBeGreaterThan(2 ** 19);
    expect(isAhead()).toEqual([true, true]);
    // As when nobody takes the second look.
    for (const [place, ledger] of ledgers.entries())
      for (const { again } of ledger.underWay.values())
        sides[place].among.setAside(again?.pairs ?? new Set());
    for (const [place] of sides.entries()) join.settle(place, 0, none);
    expect(isAhead()).toEqual([false, false]);
  },
);
