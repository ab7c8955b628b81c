/** Hosts that may answer anything: whose verdicts wait, for how long, and what becomes of them. */
import { describe, expect, it } from "vitest";
import { createSuspects, type Suspects } from "../../../src/scan/hosts/tarpits.ts";
import { newVerdictSlot } from "../../../src/scan/probe/verdict.ts";

const verdict = (position: number) => ({ ...newVerdictSlot(), position, state: "open" as const });
const drain = (suspects: Suspects): [number, boolean][] => {
  const all: [number, boolean][] = [];
  for (let v = suspects.release(); v !== undefined; v = suspects.release())
    all.push([v.position, v.answersAll]);
  return all;
};
const NONE = Number.POSITIVE_INFINITY;

describe("suspects", () => {
  it("keep their verdicts until the last canary is heard of, and give them back in order, labelled", () => {
    const suspects = createSuspects();
    for (let i = 0; i < 3; i++) suspects.ask(7);
    expect(suspects.hold(8, verdict(1))).toBe(false);
    for (const position of [30, 10, 20]) expect(suspects.hold(7, verdict(position))).toBe(true);
    expect(suspects.hear(7, true)).toBeUndefined();
    expect(suspects.hear(7, false)).toBeUndefined();
    expect([suspects.pending(), drain(suspects)]).toEqual([1, []]);
    expect(suspects.hear(7, true)).toEqual({ tarpit: true });
    expect(suspects.hold(7, verdict(40))).toBe(false);
    expect(suspects.pending()).toBe(3);
    expect(drain(suspects)).toEqual([
      [30, true],
      [10, true],
      [20, true],
    ]);
    expect(suspects.pending()).toBe(0);
  });

  it("are honest when but one canary was accepted, or when none was answered", () => {
    for (const heard of [
      [true, false, false],
      [false, false, false],
    ]) {
      const suspects = createSuspects();
      for (const _ of heard) suspects.ask(1);
      suspects.hold(1, verdict(5));
      const judged = heard.map((accepted) => suspects.hear(1, accepted));
      expect(judged).toEqual([undefined, undefined, { tarpit: false }]);
      expect(drain(suspects)).toEqual([[5, false]]);
    }
    expect(createSuspects().hear(1, true)).toBeUndefined();
  });

  it("are judged each by its own, and a verdict kept is a copy", () => {
    const suspects = createSuspects();
    suspects.ask(1);
    suspects.ask(2);
    suspects.ask(2);
    const slot = verdict(11);
    suspects.hold(1, slot);
    slot.position = 999;
    slot.peer[3] = 999;
    suspects.hold(2, verdict(22));
    suspects.hear(2, true);
    suspects.hear(1, true);
    suspects.hear(2, true);
    const [one, two] = [suspects.release(), suspects.release()];
    expect([one?.position, one?.peer[3], one?.answersAll]).toEqual([11, 0, false]);
    expect([two?.position, two?.answersAll]).toEqual([22, true]);
    expect(suspects.release()).toBeUndefined();
  });

  it("know the lowest position that is not handed over yet", () => {
    const suspects = createSuspects();
    expect(suspects.lowestPosition()).toBe(NONE);
    suspects.ask(1);
    expect(suspects.lowestPosition()).toBe(NONE);
    suspects.ask(2);
    suspects.hold(1, verdict(50));
    suspects.hold(2, verdict(40));
    suspects.hold(2, verdict(60));
    expect(suspects.lowestPosition()).toBe(40);
    suspects.hear(2, false);
    expect(suspects.lowestPosition()).toBe(40);
    suspects.release();
    expect(suspects.lowestPosition()).toBe(50);
    suspects.hear(1, false);
    suspects.release();
    expect(suspects.lowestPosition()).toBe(50);
    suspects.release();
    expect([suspects.lowestPosition(), suspects.pending()]).toEqual([NONE, 0]);
  });

  it("are given up without a label, after what was released before; nothing is left or comes twice", () => {
    const suspects = createSuspects();
    suspects.ask(1);
    suspects.ask(2);
    suspects.ask(3);
    suspects.ask(3);
    suspects.hold(1, verdict(1));
    suspects.hold(2, verdict(2));
    suspects.hold(2, verdict(3));
    suspects.hold(3, verdict(4));
    suspects.hear(3, true);
    suspects.hear(1, false);
    suspects.giveUp();
    expect(suspects.lowestPosition()).toBe(1);
    expect(drain(suspects)).toEqual([1, 2, 3, 4].map((position) => [position, false]));
    suspects.giveUp();
    expect([drain(suspects), suspects.pending(), suspects.hear(3, true)]).toEqual([[], 0, undefined]);
  });

  it("hold a whole host's ports", () => {
    const suspects = createSuspects();
    suspects.ask(1);
    for (let port = 1; port <= 65_535; port++) suspects.hold(1, verdict(port));
    suspects.giveUp();
    expect(drain(suspects).map(([position]) => position)).toEqual(
      Array.from({ length: 65_535 }, (_, i) => i + 1),
    );
  });
});
