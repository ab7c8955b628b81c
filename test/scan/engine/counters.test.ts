/** The tally of verdicts: what is added, corrected and stated of silence. */
import { expect, it } from "vitest";
import { createVerdictTally, newCounters } from "../../../src/scan/engine/counters.ts";
import { PROBE_STATES } from "../../../src/socket/state.ts";

it("what was decided without a doubt takes none away when it is corrected, whatever its row had before", () => {
  const counts = newCounters();
  const tally = createVerdictTally(counts, 2, () => 3);
  for (const row of [0, 1]) {
    tally.add(row, "filtered", "no-response");
    tally.addSilence(row, Float64Array.of(0.25, 0.25, 0));
  }
  // The row is another pair's now.
  tally.add(0, "filtered", "host-timeout");
  tally.remove(0, PROBE_STATES.silent);
  tally.add(0, "open", "syn-ack");
  expect(counts.path).toMatchObject({ doubts: 0.5, silentTries: 6 });
});

it("SYNs that verify a silent port are not taken back with those before", () => {
  const counts = newCounters();
  let tries = 3;
  const tally = createVerdictTally(counts, 1, () => tries);
  tally.add(0, "filtered", "no-response");
  tally.addSilence(0, Float64Array.of(0.25, 0.25, 0));
  tries++;
  tally.remove(0, PROBE_STATES.silent);
  tally.add(0, "open", "syn-ack");
  expect(counts.path).toMatchObject({ doubts: 0, silentTries: 0 });
});

it("a corrected verdict moves its pair, and takes its own doubt along and a like part of what bursts and hosts made", () => {
  const counts = newCounters();
  const tries = Uint8Array.of(4, 2, 3, 5);
  const tally = createVerdictTally(counts, 4, (row) => tries[row]);
  // Of all, open; of that bursts: multiples of powers of two, which floats hold.
  tally.add(0, "filtered", "no-response");
  tally.addSilence(0, Float64Array.of(0.75, 0.25, 0.125));
  tally.add(1, "filtered", "no-response");
  tally.addSilence(1, Float64Array.of(0.5, 0.75, 0.125));
  tally.add(2, "filtered", "host-unreach");
  tally.add(3, "closed", "reset");
  expect(counts.states).toEqual({ open: 0, closed: 1, filtered: 3 });
  expect(counts.reasons).toEqual({
    open: {},
    closed: { reset: 1 },
    filtered: { "no-response": 2, "host-unreach": 1 },
  });
  expect(counts.path).toMatchObject({ doubts: 1, burstDoubts: 0.25, withheld: 0.5, silentTries: 6 });

  tally.remove(0, PROBE_STATES.silent);
  tally.add(0, "open", "syn-ack");
  expect(counts.states).toEqual({ open: 1, closed: 1, filtered: 2 });
  expect(counts.reasons.filtered).toEqual({ "no-response": 1, "host-unreach": 1 });
  expect(counts.path).toMatchObject({ doubts: 0.75, burstDoubts: 0.1875, withheld: 0.375, silentTries: 2 });

  // What a router said leaves no doubt behind.
  tally.remove(2, PROBE_STATES.rejected);
  tally.add(2, "open", "syn-ack");
  expect(counts.states).toEqual({ open: 2, closed: 1, filtered: 1 });
  expect(counts.reasons.filtered).toEqual({ "no-response": 1, "host-unreach": 0 });
  expect(counts.reasons.open).toEqual({ "syn-ack": 2 });
  expect(counts.path).toMatchObject({ doubts: 0.75, burstDoubts: 0.1875, withheld: 0.375, silentTries: 2 });

  tally.remove(1, PROBE_STATES.silent);
  tally.add(1, "closed", "reset");
  expect(counts.path).toMatchObject({ doubts: 0, burstDoubts: 0, withheld: 0, silentTries: 0 });
});
