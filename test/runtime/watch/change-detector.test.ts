/** The change detector: what is told and what is not, each rule by itself. Whole months of it: test/sim/watch.test.ts. */
import { describe, expect, it } from "vitest";
import {
  type ChangeDetector,
  confirmAfterMs,
  createChangeDetector,
  type Verdict,
} from "../../../src/runtime/watch/change-detector.ts";

const MINUTE = 60_000;
const OPEN: Verdict = { state: "open", reason: "syn-ack" };
const CLOSED: Verdict = { state: "closed", reason: "reset" };
const SILENT: Verdict = { state: "filtered", reason: "no-response", doubt: 0.01 };
const PORT = "192.0.2.1:22";

const create = (): ChangeDetector => createChangeDetector({ confirmMs: 30_000, halfLifeMs: 4 * MINUTE });

it("leaves time for the looks that a silence needs, between scans at any pace", () => {
  expect([1000, 10_000, 3 * MINUTE, 60 * MINUTE].map(confirmAfterMs)).toEqual([
    1000 / 6,
    10_000 / 6,
    30_000,
    30_000,
  ]);
});

/** A round of one port: the scan's verdict, then those of probing it again. @returns the events, briefly */
function round(detector: ChangeDetector, nowMs: number, ...[scanned, ...again]: Verdict[]) {
  detector.seen(PORT, scanned);
  const waits: number[] = [];
  for (const verdict of again) {
    const { keys, waitMs } = detector.suspects();
    expect(keys).toEqual([PORT]);
    waits.push(waitMs);
    detector.again(PORT, verdict);
  }
  expect(detector.suspects().keys).toEqual([]);
  const { events, ...rest } = detector.end(nowMs);
  return {
    ...rest,
    waits,
    told: events.map(({ kind, old, verdict }) => `${kind} ${old} ${verdict.state}`),
    events,
  };
}

describe("a change", () => {
  it("that is an answer is told when it is seen a second time", () => {
    const detector = create();
    expect(round(detector, 0, OPEN).told).toEqual([]);
    const { told, waits, events } = round(detector, MINUTE, CLOSED, CLOSED);
    expect({ told, waits, doubt: events[0].doubt }).toEqual({
      told: ["changed open closed"],
      waits: [30_000],
      doubt: 0,
    });
    expect(round(detector, 2 * MINUTE, CLOSED).told).toEqual([]);
  });

  it("to silence is told when it is seen a fifth time, with the doubt that is left", () => {
    const detector = create();
    detector.restore(PORT, OPEN);
    const { told, waits, events } = round(detector, 0, SILENT, SILENT, SILENT, SILENT, SILENT);
    expect({ told, waits }).toEqual({ told: ["changed open filtered"], waits: Array(4).fill(30_000) });
    expect(events[0].doubt).toBeCloseTo(1e-10, 12);
  });

  it("that has passed is not told, and what is known is the newest verdict", () => {
    const detector = create();
    detector.restore(PORT, OPEN);
    const { told, transient, verdicts } = round(detector, 0, SILENT, SILENT, OPEN);
    expect({ told, transient, verdict: verdicts.get(PORT) }).toEqual({
      told: [],
      transient: 1,
      verdict: OPEN,
    });
  });

  it("between three states waits for the next round, and nothing is claimed meanwhile", () => {
    const detector = create();
    detector.restore(PORT, OPEN);
    const { told, unsettled, verdicts, held } = round(
      detector,
      0,
      SILENT,
      CLOSED,
      SILENT,
      CLOSED,
      SILENT,
      CLOSED,
      SILENT,
    );
    expect({ told, unsettled, known: verdicts.has(PORT) }).toEqual({ told: [], unsettled: 1, known: false });
    expect([...held]).toEqual([[PORT, { state: "open", reason: "syn-ack" }]]);
    expect(round(detector, MINUTE, CLOSED, CLOSED).told).toEqual(["changed open closed"]);
  });

  it("that is settled is not taken back by a further result of the round", () => {
    const detector = create();
    detector.restore(PORT, OPEN);
    detector.seen(PORT, CLOSED);
    detector.again(PORT, CLOSED);
    detector.again(PORT, OPEN);
    expect(detector.end(0).events).toMatchObject([{ kind: "changed", old: "open", verdict: CLOSED }]);
  });

  it("a suspect that is not probed again stays as it was", () => {
    const detector = create();
    detector.restore(PORT, OPEN);
    detector.seen(PORT, CLOSED);
    expect(detector.end(0)).toMatchObject({ events: [], unsettled: 1 });
  });
});

describe("a port seen for the first time", () => {
  it("is no event, and its silence is confirmed, or the next answer would pass for a change", () => {
    const detector = create();
    expect(round(detector, 0, SILENT, SILENT, CLOSED).told).toEqual([]);
    expect(round(detector, MINUTE, CLOSED).told).toEqual([]);
    const other = create();
    expect(round(other, 0, SILENT, SILENT, SILENT).told).toEqual([]);
    expect(round(other, MINUTE, CLOSED, CLOSED).told).toEqual(["changed filtered closed"]);
  });
});

describe("a port that changes again and again", () => {
  it("is told as flapping once, then nothing, then as settled when it has been quiet", () => {
    const detector = create();
    detector.restore(PORT, OPEN);
    const told = Array.from({ length: 40 }, (_, i) => {
      const verdict = i < 8 ? (i % 2 === 0 ? CLOSED : OPEN) : OPEN;
      const changes = i < 8;
      return round(detector, i * MINUTE, ...(changes ? [verdict, verdict] : [verdict])).told;
    });
    expect(told.flat()).toEqual([
      "changed open closed",
      "changed closed open",
      "flapping open closed",
      "settled open open",
    ]);
    expect(told.findIndex((each) => each.some((text) => text.startsWith("settled")))).toBeGreaterThan(14);
    // Afterwards it is a port like any other.
    expect(round(detector, 60 * MINUTE, CLOSED, CLOSED).told).toEqual(["changed open closed"]);
  });

  it("is told as settled when it is next seen, where the round in which it is let go has not seen it", () => {
    const detector = create();
    detector.restore(PORT, OPEN, { penalty: 2600, atMs: 0, told: "closed" });
    expect(detector.end(100 * MINUTE).events).toEqual([]);
    expect(round(detector, 101 * MINUTE, OPEN).told).toEqual(["settled closed open"]);
  });

  it("is still held down after a restart", () => {
    const detector = create();
    detector.restore(PORT, OPEN, { penalty: 2600, atMs: 0, told: "closed" });
    expect(round(detector, MINUTE, CLOSED, CLOSED).told).toEqual([]);
    expect(round(detector, 100 * MINUTE, CLOSED).told).toEqual(["settled closed closed"]);
  });
});

describe("a name", () => {
  const [A, B, C] = ["192.0.2.1:443", "192.0.2.2:443", "192.0.2.3:443"];
  const NAME = "web.example 443";
  /** A round of these results; what is suspected is seen once more, as often as is asked. */
  function named(
    detector: ChangeDetector,
    seen: readonly (readonly [key: string, verdict: Verdict])[],
  ): string[] {
    for (const [key, verdict] of seen) detector.seen(key, verdict, [NAME]);
    for (let { keys } = detector.suspects(); keys.length > 0; { keys } = detector.suspects()) {
      for (const key of keys) detector.again(key, new Map(seen).get(key) ?? SILENT);
    }
    return detector.end(0).events.map(({ key, old, verdict }) => `${key} ${old} ${verdict.state}`);
  }

  it("that moves to an address where its port is another has changed, and none that is as it was", () => {
    const detector = create();
    expect(named(detector, [[A, OPEN]])).toEqual([]);
    expect(named(detector, [[B, OPEN]])).toEqual([]);
    expect(named(detector, [[C, CLOSED]])).toEqual([`${C} open closed`]);
    expect(named(detector, [[C, CLOSED]])).toEqual([]);
    // What is known of an address itself counts.
    expect(named(detector, [[A, CLOSED]])).toEqual([`${A} open closed`]);
  });

  it("that moves to where nothing answers has changed when silence has been seen as often as any", () => {
    const detector = create();
    named(detector, [[A, OPEN]]);
    expect(named(detector, [[B, SILENT]])).toEqual([`${B} open filtered`]);
  });

  it("with one more address has not moved", () => {
    const detector = create();
    named(detector, [[A, OPEN]]);
    expect(
      named(detector, [
        [A, OPEN],
        [B, CLOSED],
      ]),
    ).toEqual([]);
    expect(named(detector, [[B, CLOSED]])).toEqual([]);
  });

  it("with one more address has not moved, either, where the one that it had could not be probed", () => {
    const detector = create();
    named(detector, [[A, OPEN]]);
    detector.missed(A, [NAME]);
    expect(named(detector, [[B, CLOSED]])).toEqual([]);
    expect(named(detector, [[B, CLOSED]])).toEqual([]);
  });

  it("of several of one address has moved where that address stays another's", () => {
    const detector = create();
    const round = (...results: [key: string, verdict: Verdict, names: string[]][]): string[] => {
      for (const [key, verdict, names] of results) detector.seen(key, verdict, names);
      for (let { keys } = detector.suspects(); keys.length > 0; { keys } = detector.suspects())
        for (const key of keys) detector.again(key, results.find(([each]) => each === key)?.[1] ?? SILENT);
      return detector.end(0).events.map(({ key, old, verdict }) => `${key} ${old} ${verdict.state}`);
    };
    const MAIL = "mail.example 443";
    expect(round([A, OPEN, [NAME, MAIL]])).toEqual([]);
    expect(round([A, OPEN, [NAME]], [B, CLOSED, [MAIL]])).toEqual([`${B} open closed`]);
    expect(round([A, OPEN, [NAME]], [B, CLOSED, [MAIL]], [C, CLOSED, [NAME]])).toEqual([]);
  });

  it("that moves in a round that is cut short has changed in the next", () => {
    const detector = create();
    named(detector, [[A, OPEN]]);
    // Nothing is asked of suspects then.
    detector.seen(B, CLOSED, [NAME]);
    expect(detector.end(0).verdicts.size).toBe(0);
    expect(named(detector, [[B, CLOSED]])).toEqual([`${B} open closed`]);
  });

  it("of which a round that is cut short has seen one more address has not moved", () => {
    const detector = create();
    named(detector, [[A, OPEN]]);
    detector.seen(B, CLOSED, [NAME]);
    detector.end(0);
    expect(
      named(detector, [
        [A, OPEN],
        [B, CLOSED],
      ]),
    ).toEqual([]);
  });

  it("is followed over a restart, from the address that it had last", () => {
    const detector = create();
    detector.restore(A, CLOSED, undefined, [NAME]);
    detector.restore(B, OPEN, undefined, [NAME]);
    expect(named(detector, [[C, CLOSED]])).toEqual([`${C} open closed`]);
  });
});
