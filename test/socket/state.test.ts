/** A probe's states: every transition, over every path of events, against what may never happen. */
import { describe, expect, it } from "vitest";
import {
  nextState,
  PROBE_EVENTS,
  PROBE_STATES,
  type ProbeEvent,
  type ProbeState,
} from "../../src/socket/state.ts";

const EVENTS = Object.values(PROBE_EVENTS);
const S = PROBE_STATES;
const E = PROBE_EVENTS;

describe("a probe's transitions", () => {
  it("lead from SYN-SENT to what decided", () => {
    const decided = EVENTS.map((event) => nextState(S.synSent, event));
    expect(decided).toEqual([S.open, S.closed, S.rejected, S.silent, S.unsent]);
  });

  it("never leave open or closed, and never leave an empty row", () => {
    for (const event of EVENTS) {
      for (const state of [S.open, S.closed, S.empty]) expect(nextState(state, event)).toBe(state);
    }
  });

  it("let only a segment overturn filtered", () => {
    for (const state of [S.rejected, S.silent, S.unsent]) {
      expect(nextState(state, E.accepted)).toBe(S.open);
      expect(nextState(state, E.refused)).toBe(S.closed);
      for (const event of [E.rejected, E.exhausted, E.unsendable])
        expect(nextState(state, event)).toBe(state);
    }
  });

  it("never go back to undecided, over any path", () => {
    const seen = new Set<ProbeState>();
    const visit = (state: ProbeState): void => {
      if (seen.has(state)) return;
      seen.add(state);
      for (const event of EVENTS as ProbeEvent[]) visit(nextState(state, event));
    };
    visit(nextState(S.synSent, E.rejected));
    expect(seen.has(S.synSent)).toBe(false);
    expect(seen.has(S.empty)).toBe(false);
  });
});

it("states and events are the numbers of the table's rows and columns, each its own", () => {
  expect(Object.values(PROBE_STATES)).toEqual([0, 1, 2, 3, 4, 5, 6]);
  expect(Object.values(PROBE_EVENTS)).toEqual([0, 1, 2, 3, 4]);
});
