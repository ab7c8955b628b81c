/** Bare SYNs that came to rows: which of them are answered, once a try, and that they are forgotten. */
import { expect, it } from "vitest";
import { createSimultaneousOpens } from "../../../src/scan/engine/simultaneous-open.ts";

it("each try of a row gets one SYN-ACK, in the order that the SYNs came", () => {
  const opens = createSimultaneousOpens(true);
  expect([opens.heard(5, 0, 100), opens.heard(5, 0, 101), opens.heard(7, 0, 200)]).toEqual([
    true,
    false,
    true,
  ]);
  expect([opens.next(), opens.next(), opens.next()]).toEqual([5, 7, -1]);
  expect(opens.of(5)).toMatchObject({ attempt: 0, irs: 100 });
  expect([opens.heard(5, 2, 300), opens.heard(5, 1, 300)]).toEqual([true, false]);
  expect(opens.any()).toBe(true);
  expect(opens.next()).toBe(5);
  expect(opens.any()).toBe(false);
});

it("a row that is decided is forgotten, and what waited for it does not leave", () => {
  const opens = createSimultaneousOpens(true);
  opens.heard(5, 0, 100);
  opens.forget(5);
  expect([opens.of(5), opens.any(), opens.next()]).toEqual([undefined, false, -1]);
});

it("a flood of them takes bounded memory", () => {
  const opens = createSimultaneousOpens(true);
  let taken = 0;
  for (let row = 0; row < 100_000; row++) if (opens.heard(row, 0, row)) taken++;
  expect(taken).toBe(4096);
  opens.forget(0);
  expect([opens.heard(1_000_000, 0, 1), opens.heard(1_000_001, 0, 1)]).toEqual([true, false]);
});

it("where no SYN-ACK may be sent, the SYN is remembered all the same", () => {
  const opens = createSimultaneousOpens(false);
  expect(opens.heard(5, 0, 100)).toBe(true);
  expect([opens.any(), opens.of(5)?.irs]).toEqual([false, 100]);
});
