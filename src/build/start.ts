#!/usr/bin/env node
/**
 * Starts a bundled program: as `NAME.cjs` it runs `NAME.code`, which bundle.ts has put beside it. V8 takes the functions compiled
 * already from a third file, where there is one: the program is the same without, and starts a little later.
 *
 * That file is no part of the package, as nobody could read what is in it. The first run by the owner of this folder makes it.
 * It counts only where it is the code's owner's, nobody else may write it, and it is younger than the code; its name has the
 * code's digest and Node's version.
 */
import {
  closeSync,
  fstatSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { Script } from "node:vm";

/** The programs' digests, by name (bundle.ts). */
declare const DIGESTS: Readonly<Record<string, string>>;

const FOLDER = dirname(__filename);
const NAME = basename(__filename, ".cjs");
const OTHERS_MAY_WRITE = 0o022;
const ANYBODY_MAY_WRITE = 0o002;

const codePath = (name: string): string => join(FOLDER, `${name}.code`);
const compiledPath = (name: string): string =>
  join(FOLDER, `${name}.${DIGESTS[name]}.${process.version}.cache`);

// All of it is ASCII (bundle.ts).
const readCode = (name: string): string => readFileSync(codePath(name), "latin1");

/** Undefined where there is none; "foreign" for one that does not count. */
function readCompiled(): Buffer | "foreign" | undefined {
  let fd: number;
  try {
    fd = openSync(compiledPath(NAME), "r");
  } catch {
    return undefined;
  }
  try {
    const compiled = fstatSync(fd);
    const code = statSync(codePath(NAME));
    const isOwners = compiled.uid === code.uid && (compiled.mode & OTHERS_MAY_WRITE) === 0;
    return isOwners && compiled.mtimeMs >= code.mtimeMs ? readFileSync(fd) : "foreign";
  } catch {
    return "foreign";
  } finally {
    closeSync(fd);
  }
}

/** Compiles every function, not only those that are called at the start. What flags V8 has had meanwhile does not show. */
function compile(name: string): Script {
  // Takes a millisecond to load, which other runs need not wait for.
  const { setFlagsFromString } = require("node:v8") as typeof import("node:v8");
  setFlagsFromString("--no-lazy");
  const script = new Script(readCode(name), { filename: codePath(name) });
  setFlagsFromString("--lazy");
  return script;
}

/** Makes the files of all programs here: later this process may be another user. Only where they would be safe. */
function makeCompiled(): void {
  try {
    const { uid, mode } = statSync(FOLDER);
    if (uid !== process.geteuid?.() || (mode & ANYBODY_MAY_WRITE) !== 0) return;
    for (const name of Object.keys(DIGESTS)) {
      if (statSync(codePath(name)).uid !== uid) return;
      const path = compiledPath(name);
      const unfinished = `${path}.${process.pid}`;
      try {
        writeFileSync(unfinished, compile(name).createCachedData(), { flag: "wx", mode: 0o644 });
        renameSync(unfinished, path);
      } finally {
        rmSync(unfinished, { force: true });
      }
    }
  } catch {
    // A file system that is read-only or full: every run compiles as it goes.
  }
}

let compiled = readCompiled();
if (compiled === undefined) {
  makeCompiled();
  compiled = readCompiled();
}
const script = new Script(readCode(NAME), {
  filename: codePath(NAME),
  cachedData: compiled === "foreign" ? undefined : compiled,
});
script.runInThisContext()(require, __filename);
