/**
 * An engine over a link with room for few SYNs: never asked for more than there is room for, woken when there is, and its verdicts
 * and counts told as a connect scan's.
 */
import { describe, expect, it } from "vitest";
import { countsByConnect, limitUndecided } from "../../../src/runtime/run/undecided.ts";
import { newCounters } from "../../../src/scan/engine/counters.ts";
import type { Engine } from "../../../src/scan/engine/engine.ts";
import { newVerdict, type Verdict } from "../../../src/scan/probe/verdict.ts";

function limited(room: number, nextInUs: number, verdicts: Verdict[] = []) {
  const decided: [number, boolean][] = [];
  const engine = {
    pollTransmit: () => 44,
    pollTimeout: (nowUs: number) => nowUs,
    pollVerdict: () => verdicts.shift(),
    inFlight: 9,
  } as unknown as Engine;
  const undecided = {
    room: () => room,
    nextInUs: () => nextInUs,
    decided: (_: Uint32Array, __: 4 | 6, port: number, isOther: (localPort: number) => boolean) => {
      decided.push([port, isOther(65_000)]);
    },
  };
  return { engine: limitUndecided(engine, undecided, (port) => port === 65_000), decided };
}

describe("an engine over few sockets", () => {
  it("has as many SYNs a round as there is room for", () => {
    const { engine } = limited(2, Number.POSITIVE_INFINITY);
    const out = new Uint8Array(44);
    expect([0, 1, 2, 3].map((token) => engine.pollTransmit(0, out, 0, token))).toEqual([44, 44, 0, 0]);
    expect(engine.inFlight).toBe(9);
  });

  it("sleeps without room, until some is made", () => {
    expect(limited(1, Number.POSITIVE_INFINITY).engine.pollTimeout(7)).toBe(7);
    expect(limited(0, 300).engine.pollTimeout(7)).toBe(307);
    const later = limited(0, Number.POSITIVE_INFINITY).engine.pollTimeout(7);
    expect(later).toBeGreaterThan(1007);
    expect(later).toBeLessThan(100_000);
  });

  it("tells the link what is decided, and the verdict's method", () => {
    const closed = { ...newVerdict(), port: 5, state: "closed", reason: "reset" } as const;
    const silent = { ...newVerdict(), port: 6, state: "filtered", reason: "no-response" } as const;
    const { engine, decided } = limited(1, 0, [closed, silent]);
    expect(engine.pollVerdict()).toMatchObject({ port: 5, reason: "conn-refused", connect: true });
    expect(engine.pollVerdict()).toMatchObject({ port: 6, reason: "no-response", connect: true });
    expect(engine.pollVerdict()).toBeUndefined();
    expect(decided).toEqual([
      [5, true],
      [6, true],
    ]);
  });

  it("counts refusals by the name that its verdicts have", () => {
    const counts = newCounters();
    expect(countsByConnect(counts)).toBe(counts);
    Object.assign(counts.reasons.closed, { reset: 3 });
    counts.reasons.filtered["no-response"] = 2;
    expect(countsByConnect(counts).reasons).toEqual({
      open: {},
      closed: { "conn-refused": 3 },
      filtered: { "no-response": 2 },
    });
    expect(counts.reasons.closed).toEqual({ reset: 3 });
  });
});
