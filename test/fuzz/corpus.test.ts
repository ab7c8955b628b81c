/** Every input that a fuzzer found, or that reaches what no other does, again: each target comes back as it should. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { TARGETS } from "./targets.ts";

const CORPUS = fileURLToPath(new URL("../corpus", import.meta.url));

describe.each(TARGETS)("$name", ({ name, seeds, run }) => {
  const folder = `${CORPUS}/${name}`;
  const kept = existsSync(folder) ? readdirSync(folder) : [];

  it("takes its seeds", async () => {
    for (const bytes of seeds())
      await expect(Promise.resolve(run(Uint8Array.from(bytes)))).resolves.toBeUndefined();
  });

  it.runIf(kept.length > 0)("takes its corpus", async () => {
    for (const file of kept) await run(new Uint8Array(readFileSync(`${folder}/${file}`)));
  });
});
