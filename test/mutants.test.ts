/** The list of mutants follows the sources: otherwise nobody notices until it is run. */
import { existsSync, readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { MUTANTS } from "./mutants.ts";
import { mutationsOf } from "./mutations.ts";

it.each(MUTANTS.map((mutant) => [`${mutant.file}: ${mutant.from}`, mutant] as const))(
  "%s is there once, and has tests",
  (_name, { file, from, to, tests }) => {
    const source = readFileSync(new URL(`../src/${file}`, import.meta.url), "utf8");
    expect(source.split(from)).toHaveLength(2);
    expect(to).not.toBe(from);
    for (const test of tests) expect(existsSync(new URL(test, import.meta.url)), test).toBe(true);
  },
);

it("a mutation changes what runs: nothing in a comment, wherever it stands", () => {
  const source = "export const spans = [\n  240, // RFC 919 < RFC 1112\n];\n";
  expect(mutationsOf(source)).toEqual([{ at: source.indexOf("240"), from: "240", to: "241" }]);
});
