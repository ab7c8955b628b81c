#!/usr/bin/env node
/**
 * Starts a bundled program: as `NAME.cjs` it runs `NAME.code`, which bundle.ts has put beside it. V8 takes the functions compiled
 * already from `NAME.cache` if the same V8 has made them. If not, or if there is no such file, it compiles as it goes: the
 * program is the same, and starts a little later.
 */
import { readFileSync } from "node:fs";
import { Script } from "node:vm";

const name = __filename.slice(0, -".cjs".length);

function readCache(): Buffer | undefined {
  try {
    return readFileSync(`${name}.cache`);
  } catch {
    return undefined;
  }
}

// All of it is ASCII (bundle.ts).
const script = new Script(readFileSync(`${name}.code`, "latin1"), {
  filename: `${name}.code`,
  cachedData: readCache(),
});
script.runInThisContext()(require, __filename);
