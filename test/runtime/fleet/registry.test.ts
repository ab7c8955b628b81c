/** Which run a worker serves next. */
import { expect, it } from "vitest";
import { inTurn, type Run } from "../../../src/runtime/fleet/registry.ts";

it("serves each run in its turn, also when the last one is over", () => {
  const runs = ["a", "c", "e"].map((id) => ({ id }) as Run);
  const order = (last: string): string =>
    inTurn(runs, last)
      .map(({ id }) => id)
      .join("");
  expect(["", "a", "c", "d", "e", "f"].map(order)).toEqual(["ace", "cea", "eac", "eac", "ace", "ace"]);
});
