/** Hosts that are checked for being tarpits: which verdicts wait, until when, and how they are labelled. */
import { describe, expect, it } from "vitest";
import { createTarpits, type Tarpits } from "../../../src/scan/hosts/tarpits.ts";
import { newVerdict } from "../../../src/scan/probe/verdict.ts";

const verdict = (position: number) => ({ ...newVerdict(), position, state: "open" as const });
const drain = (tarpits: Tarpits): [number, boolean][] => {
  const all: [number, boolean][] = [];
  for (let v = tarpits.release(); v !== undefined; v = tarpits.release())
    all.push([v.position, v.answersAll]);
  return all;
};
const NONE = Number.POSITIVE_INFINITY;

describe("hosts that are checked", () => {
  it("hold their verdicts until the fate of the last canary, and release them in order, labelled", () => {
    const tarpits = createTarpits();
    for (let i = 0; i < 3; i++) tarpits.ask(7);
    expect(tarpits.hold(8, verdict(1))).toBe(false);
    for (const position of [30, 10, 20]) expect(tarpits.hold(7, verdict(position))).toBe(true);
    expect(tarpits.hear(7, "syn-ack")).toBeUndefined();
    // Lost: that says nothing.
    expect(tarpits.hear(7, undefined)).toBeUndefined();
    expect([tarpits.pending(), drain(tarpits)]).toEqual([1, []]);
    expect(tarpits.hear(7, "syn-ack")).toEqual({ tarpit: true });
    expect(tarpits.hold(7, verdict(40))).toBe(false);
    expect(tarpits.pending()).toBe(3);
    expect(drain(tarpits)).toEqual([
      [30, true],
      [10, true],
      [20, true],
    ]);
    expect(tarpits.pending()).toBe(0);
  });

  it("are honest when one canary was refused, or none was answered", () => {
    for (const heard of [
      ["syn-ack", undefined, "reset"],
      ["reset", "syn-ack", "syn-ack"],
      [undefined, undefined, undefined],
    ] as const) {
      const tarpits = createTarpits();
      for (const _ of heard) tarpits.ask(1);
      tarpits.hold(1, verdict(5));
      const judged = heard.map((answer) => tarpits.hear(1, answer));
      expect(judged).toEqual([undefined, undefined, { tarpit: false }]);
      expect(drain(tarpits)).toEqual([[5, false]]);
    }
    expect(createTarpits().hear(1, "syn-ack")).toBeUndefined();
  });

  it("are judged each by its own canaries, and a held verdict is a copy", () => {
    const tarpits = createTarpits();
    tarpits.ask(1);
    tarpits.ask(2);
    tarpits.ask(2);
    const slot = verdict(11);
    tarpits.hold(1, slot);
    slot.position = 999;
    slot.peer[3] = 999;
    tarpits.hold(2, verdict(22));
    tarpits.hear(2, "syn-ack");
    tarpits.hear(1, "reset");
    tarpits.hear(2, "syn-ack");
    const [one, two] = [tarpits.release(), tarpits.release()];
    expect([one?.position, one?.peer[3], one?.answersAll]).toEqual([11, 0, false]);
    expect([two?.position, two?.answersAll]).toEqual([22, true]);
    expect(tarpits.release()).toBeUndefined();
  });

  it("know the lowest position not released yet", () => {
    const tarpits = createTarpits();
    expect(tarpits.lowestPosition()).toBe(NONE);
    tarpits.ask(1);
    expect(tarpits.lowestPosition()).toBe(NONE);
    tarpits.ask(2);
    tarpits.hold(1, verdict(50));
    tarpits.hold(2, verdict(40));
    tarpits.hold(2, verdict(60));
    expect(tarpits.lowestPosition()).toBe(40);
    tarpits.hear(2, undefined);
    expect(tarpits.lowestPosition()).toBe(40);
    tarpits.release();
    expect(tarpits.lowestPosition()).toBe(50);
    tarpits.hear(1, undefined);
    tarpits.release();
    expect(tarpits.lowestPosition()).toBe(50);
    tarpits.release();
    expect([tarpits.lowestPosition(), tarpits.pending()]).toEqual([NONE, 0]);
  });

  it("are released without a label when given up, after earlier releases, each once", () => {
    const tarpits = createTarpits();
    tarpits.ask(1);
    tarpits.ask(2);
    tarpits.ask(3);
    tarpits.ask(3);
    tarpits.hold(1, verdict(1));
    tarpits.hold(2, verdict(2));
    tarpits.hold(2, verdict(3));
    tarpits.hold(3, verdict(4));
    tarpits.hear(3, "syn-ack");
    tarpits.hear(1, undefined);
    tarpits.giveUp();
    expect(tarpits.lowestPosition()).toBe(1);
    expect(drain(tarpits)).toEqual([1, 2, 3, 4].map((position) => [position, false]));
    tarpits.giveUp();
    expect([drain(tarpits), tarpits.pending(), tarpits.hear(3, "syn-ack")]).toEqual([[], 0, undefined]);
  });

  it("can hold all ports of a host", () => {
    const tarpits = createTarpits();
    tarpits.ask(1);
    for (let port = 1; port <= 65_535; port++) tarpits.hold(1, verdict(port));
    tarpits.giveUp();
    expect(drain(tarpits).map(([position]) => position)).toEqual(
      Array.from({ length: 65_535 }, (_, i) => i + 1),
    );
  });
});
