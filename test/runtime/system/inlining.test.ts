/** V8 has the limits of inlining that a large run raises, under the names by which it is asked. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";

it("names flags that V8 has", () => {
  const source = readFileSync(new URL("../../../src/runtime/system/inlining.ts", import.meta.url), "utf8");
  const flags = source.match(/max-inlined-bytecode-size[a-z-]*/g) ?? [];
  expect(flags.length).toBeGreaterThan(1);
  const known = execFileSync(process.execPath, ["--v8-options"], { encoding: "utf8" });
  for (const flag of flags) expect(known).toContain(`--${flag} (`);
});
