/** What several places have found: each pair is told once, when all have told it, and a difference only after a second look. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createJoin, type Join } from "../../../src/runtime/fleet/join.ts";
import type { Tell } from "../../../src/runtime/results/to-result.ts";
import type { Established, PortState, Reason } from "../../../src/scan/probe/result.ts";
import { RECORD_LENGTH, writeRecord } from "../../../src/scan/probe/result-record.ts";
import { newVerdict } from "../../../src/scan/probe/verdict.ts";
import { everyday } from "../../everyday.ts";
import { createDraw } from "../../fuzz/mutate.ts";

const PAIRS = 1000;
const REASONS: Readonly<Record<PortState, Reason>> = {
  open: "syn-ack",
  closed: "reset",
  filtered: "no-response",
};

function record(
  place: number,
  pair: number,
  state: PortState,
  reason: Reason = REASONS[state],
  doubt = 0.5,
): Uint8Array {
  const bytes = new Uint8Array(RECORD_LENGTH);
  const verdict = { ...newVerdict(), position: place * PAIRS + pair, port: 1 + pair, state, reason, doubt };
  writeRecord(bytes, 0, verdict, 1e15);
  return bytes;
}

/** What was told: `PAIR STATE: STATE from PLACE …`. */
function createListener() {
  const told: string[] = [];
  const handshakes: (Established | undefined)[] = [];
  const tell: Tell = (verdict, established, from) => {
    const seen = from.map(({ place, verdict: { state } }) => `${state} ${place}`);
    told.push(`${verdict.position} ${verdict.state}: ${seen.join(", ")}`);
    handshakes.push(established);
  };
  return { told, handshakes, tell };
}

const ANY = { most: PAIRS, underWay: PAIRS, nowMs: 0, networkOf: (pair: number) => pair, isFree: () => true };
/** Everything that differs. */
const next = (join: Join, nowMs = 0): number[] => join.again({ ...ANY, nowMs });

describe("results of several places", () => {
  function start(names: readonly string[] = ["fra", "lon"]) {
    const join = createJoin(names, PAIRS);
    const { told, handshakes, tell } = createListener();
    const take = (place: number, pair: number, state: PortState, reason?: Reason, extra?: Established) =>
      join.take(record(place, pair, state, reason), 0, extra);
    return { join, told, handshakes, tell, take };
  }

  it("are told when all agree, as what was found first in the order of places", () => {
    const { join, told, tell, take } = start();
    take(0, 7, "open");
    join.settle(0, 0, tell);
    expect(told).toEqual([]);
    take(1, 7, "open");
    expect(join.isWaiting).toBe(true);
    join.settle(1, 0, tell);
    expect(told).toEqual(["7 open: open fra, open lon"]);
    expect(join.isWaiting).toBe(false);
    expect(join.totals).toMatchObject({ decided: 1, states: { open: 1, closed: 0, filtered: 0 } });
  });

  it("are those of its places, and no others", () => {
    const { join } = start();
    expect(join.take(record(1, PAIRS - 1, "open"), 0)).toBe(true);
    expect(join.take(record(2, 0, "open"), 0)).toBe(false);
  });

  it("that differ are looked at again from all, and told as the second look has them", () => {
    const { join, told, tell, take } = start();
    for (const pair of [3, 4]) {
      take(0, pair, "open");
      take(1, pair, "filtered");
    }
    join.settle(0, 0, tell);
    join.settle(1, 0, tell);
    expect(told).toEqual([]);
    expect(next(join)).toEqual([3, 4]);
    expect(next(join)).toEqual([]);
    for (const pair of [3, 4]) take(0, pair, "open");
    join.settle(0, 9000, tell);
    expect(told).toEqual([]);
    take(1, 3, "open");
    take(1, 4, "filtered");
    join.settle(1, 9000, tell);
    expect(told).toEqual(["3 open: open fra, open lon", "4 open: open fra, filtered lon"]);
    expect(join.totals.reasons).toEqual({ open: { "syn-ack": 2 }, closed: {}, filtered: {} });
  });

  it("are in doubt only where a pair is silent from all, by the look that counts", () => {
    const { join, tell, take } = start();
    for (const place of [0, 1]) {
      take(place, 3, place === 0 ? "open" : "filtered");
      take(place, 4, "filtered");
      take(place, 5, "filtered", "admin-prohibited");
      join.settle(place, 0, tell);
    }
    expect(next(join)).toEqual([3]);
    take(0, 3, "open");
    take(1, 3, "filtered");
    join.settle(0, 9000, tell);
    join.settle(1, 9000, tell);
    expect(join.totals.reasons.filtered).toEqual({ "no-response": 1, "admin-prohibited": 1 });
    expect(join.totals.doubts).toBe(0.5);
    expect(join.totals.silentTries).toBe(newVerdict().tries);
  });

  it("of a cell that is not complete are not told, because more may correct them", () => {
    const { join, told, tell, take } = start();
    take(0, 1, "filtered");
    take(1, 1, "filtered");
    join.settle(1, 0, tell);
    expect(told).toEqual([]);
    take(0, 1, "open");
    join.settle(0, 0, tell);
    expect(told).toEqual([]);
    expect(next(join)).toEqual([1]);
  });

  it("of a second look that failed leave the first as it is", () => {
    const { join, told, tell, take } = start();
    take(0, 1, "open");
    take(1, 1, "closed");
    for (const place of [0, 1]) join.settle(place, 0, tell);
    expect(next(join)).toEqual([1]);
    take(0, 1, "filtered", "send-enetunreach");
    take(1, 1, "closed");
    for (const place of [0, 1]) join.settle(place, 0, tell);
    expect(told).toEqual(["1 open: open fra, closed lon"]);
  });

  it("of a second silence are the one in less doubt", () => {
    for (const [doubts, told] of [
      [[0.2, 0.5], 0.2],
      [[0.5, 0.2], 0.2],
    ] as const) {
      const { join, tell, take } = start();
      let found: number | undefined;
      for (const [i, doubt] of doubts.entries()) {
        take(0, 1, "open");
        join.take(record(1, 1, "filtered", "no-response", doubt), 0);
        for (const place of [0, 1])
          join.settle(place, 0, (verdict, established, from) => {
            found = from[1].verdict.doubt;
            tell(verdict, established, from);
          });
        expect(next(join)).toHaveLength(i === 0 ? 1 : 0);
      }
      expect(found).toBeCloseTo(told);
    }
  });

  it("of second looks more than a minute apart are looked at again, three times at most", () => {
    const { join, told, tell, take } = start();
    let nowMs = 0;
    let looks = 0;
    for (; told.length === 0; nowMs += 61_000) {
      take(0, 1, "open");
      take(1, 1, "filtered");
      for (const place of [0, 1]) join.settle(place, nowMs, tell);
      looks += next(join, nowMs).length;
    }
    expect(looks).toBe(3);
    expect(told).toEqual(["1 open: open fra, filtered lon"]);
  });

  it("count as they are when nobody looks again, or may", () => {
    const { join, told, tell, take } = start();
    for (const pair of [1, 2]) {
      take(0, pair, "filtered");
      take(1, pair, "closed");
    }
    join.settle(0, 0, tell);
    join.settle(1, 0, tell);
    expect(next(join)).toEqual([1, 2]);
    take(0, 1, "filtered");
    join.settle(0, 0, tell);
    join.giveUp(1, [1]);
    join.settle(1, 0, tell);
    expect(told).toEqual(["1 closed: filtered fra, closed lon"]);
    take(0, 5, "open");
    take(1, 5, "closed");
    join.settle(0, undefined, tell);
    join.settle(1, undefined, tell);
    expect(told.slice(1)).toEqual(["5 open: open fra, closed lon"]);
  });

  it("of which a place is missing at the end are told, and are not decided", () => {
    const { join, told, tell, take } = start(["fra", "lon", "nyc"]);
    take(1, 1, "open");
    join.settle(1, 0, tell);
    take(2, 2, "closed");
    for (const place of [0, 1, 2]) take(place, 3, place === 0 ? "open" : "filtered");
    for (const place of [0, 1, 2]) join.settle(place, 0, tell);
    join.rest(tell);
    expect(told).toEqual([
      "1 open: open lon",
      "2 closed: closed nyc",
      "3 open: open fra, filtered lon, filtered nyc",
    ]);
    // Of the last the second look is missing.
    expect(join.totals.decided).toBe(0);
    expect(join.isWaiting).toBe(false);
  });

  it("keep the handshake of the place that is told", () => {
    const { join, handshakes, tell, take } = start();
    take(0, 1, "closed");
    take(1, 1, "open", undefined, { ms: 2, ending: "fin" });
    take(0, 2, "open", undefined, { ms: 1, ending: "fin" });
    take(1, 2, "open", undefined, { ms: 3, ending: "reset" });
    for (const place of [0, 1]) join.settle(place, undefined, tell);
    expect(handshakes).toEqual([
      { ms: 2, ending: "fin" },
      { ms: 1, ending: "fin" },
    ]);
  });

  it("correct nothing that was told, though a place has corrected itself", () => {
    const { join, tell } = start();
    const corrected = record(0, 1, "open");
    const verdict = {
      ...newVerdict(),
      position: 1,
      port: 2,
      state: "open",
      reason: "syn-ack",
      was: "filtered",
    } as const;
    writeRecord(corrected, 0, verdict, 1e15);
    join.take(record(0, 1, "filtered"), 0);
    join.take(corrected, 0);
    join.take(record(1, 1, "open"), 0);
    const was: (PortState | null)[] = [];
    for (const place of [0, 1])
      join.settle(place, 0, (told, established, from) => {
        was.push(told.was, ...from.map((each) => each.verdict.was));
        tell(told, established, from);
      });
    expect(was).toEqual([null, null, null]);
  });

  it("that were told are forgotten, with their memory", () => {
    const { join, tell } = start();
    const records = [0, 1].flatMap((place) =>
      Array.from({ length: 200 }, (_, pair) => record(place, pair, "open")),
    );
    const before = process.memoryUsage().arrayBuffers;
    for (let round = 0; round < 200; round++) {
      for (const each of records) join.take(each, 0);
      for (const place of [0, 1]) join.settle(place, 0, tell);
    }
    expect(join.totals.decided).toBe(40_000);
    // Records of a place for a piece of memory take half a megabyte; of all these it would be five.
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(4e6);
  });

  it("of one network are looked at again together, and no more than may be at a time", () => {
    const { join, tell, take } = start();
    for (let pair = 0; pair < 40; pair++) {
      take(0, pair, "open");
      take(1, pair, "closed");
    }
    for (const place of [0, 1]) join.settle(place, 0, tell);
    const ask = { ...ANY, underWay: 20, networkOf: (pair: number) => Math.floor(pair / 10) };
    expect(join.again({ ...ask, most: 4, isFree: (ten) => ten !== 0 })[0]).toBe(10);
    expect(join.again({ ...ask, most: 11 })).toHaveLength(20);
    expect(join.again({ ...ask, most: 4 })).toEqual([]);
    expect(join.isWaiting).toBe(true);
    // When some have been looked at, others may be.
    for (let pair = 10; pair < 20; pair++) {
      take(0, pair, "open");
      take(1, pair, "closed");
    }
    for (const place of [0, 1]) join.settle(place, 0, tell);
    expect(join.again({ ...ask, most: 4, underWay: 30 })).toHaveLength(10);
  });
});

/**
 * Any order of cells, places and second looks, and a process that is killed at any moment and goes on from its journal: each pair is
 * told once with what each place said last, and a difference only after a second look.
 */
it("are told once each, in whatever order they come, and however often the process is killed", () => {
  const STATES: readonly PortState[] = ["open", "closed", "filtered"];
  fc.assert(
    fc.property(
      fc.integer({ min: 2, max: 4 }),
      fc.integer({ min: 1, max: 30 }),
      fc.nat(),
      (places, pairs, seed) => {
        const draw = createDraw(seed);
        const names = Array.from({ length: places }, (_, i) => `p${i}`);
        /** What a place finds at its first and at its second look. */
        const truth = Array.from({ length: pairs }, () => {
          const isSame = draw(3) > 0;
          const common = STATES[draw(3)];
          const lasting = names.map(() => (isSame ? common : STATES[draw(3)]));
          return { first: lasting.map((state) => (draw(5) === 0 ? "filtered" : state)), lasting };
        });
        /** Records in order, as a journal has them. */
        const journal: { place: number; pair: number; state: PortState }[] = [];
        let isDone = false;
        for (let life = 0; !isDone; life++) {
          const join = createJoin(names, PAIRS);
          const told = new Map<number, string>();
          const looked = new Set<number>();
          const tell: Tell = (verdict, _, from) => {
            expect(told.has(verdict.position)).toBe(false);
            const states = from.map(({ verdict: { state } }) => state);
            expect(states).toHaveLength(places);
            if (new Set(states).size > 1) expect(looked.has(verdict.position)).toBe(true);
            told.set(verdict.position, states.join());
          };
          const last = new Map(journal.map((each) => [`${each.place} ${each.pair}`, each]));
          for (const { place, pair, state } of last.values()) {
            join.take(record(place, pair, state), 0);
            join.settle(place, 0, tell);
          }
          /** Work that is to be done, each place's in its own order. */
          const work = names.map((_, place) =>
            Array.from({ length: pairs }, (_, pair) => pair)
              .filter((pair) => !last.has(`${place} ${pair}`))
              .sort(() => draw(3) - 1)
              .map((pair) => ({ pair, isAgain: false })),
          );
          // Every life gets further than the one before.
          let stepsLeft = life < 3 ? draw(20 * places) : Number.POSITIVE_INFINITY;
          for (; stepsLeft > 0; stepsLeft--) {
            for (let again = next(join); again.length > 0; again = next(join))
              for (const pair of again) {
                looked.add(pair);
                for (const each of work) each.unshift({ pair, isAgain: true });
              }
            const busy = [...work.keys()].filter((place) => work[place].length > 0);
            if (busy.length === 0) break;
            const place = busy[draw(busy.length)];
            // A cell: some of the work, taken whole.
            for (const { pair, isAgain } of work[place].splice(0, 1 + draw(4))) {
              const { first, lasting } = truth[pair];
              const state = isAgain ? lasting[place] : first[place];
              // A cell's last record of a pair counts.
              if (draw(6) === 0) join.take(record(place, pair, STATES[draw(3)]), 0);
              join.take(record(place, pair, state), 0);
              journal.push({ place, pair, state });
            }
            join.settle(place, 0, tell);
          }
          isDone = work.every(({ length }) => length === 0) && !join.isWaiting && told.size === pairs;
          if (life >= 3) expect(isDone).toBe(true);
          if (!isDone) continue;
          const said = names.map(() => Array<PortState>(pairs));
          for (const { place, pair, state } of journal) said[place][pair] = state;
          for (let pair = 0; pair < pairs; pair++)
            expect(told.get(pair)).toBe(names.map((_, place) => said[place][pair]).join());
          expect(join.totals.decided).toBe(pairs);
        }
      },
    ),
    { numRuns: everyday(50, 3000) },
  );
});
