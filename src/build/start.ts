#!/usr/bin/env node
/**
 * Starts a bundled program: as `NAME.cjs` it runs `NAME.code`, which bundle.ts has put beside it, and the later layers of the same
 * program when it asks for what they have. V8 takes the functions compiled already from a third file, where there is one: the program
 * is the same without, and starts a little later.
 *
 * That file is no part of the package, as nobody could read what is in it. The first run by the owner of this folder makes it; and
 * one without flags of Node's makes it anew when V8 does not take it, but no thread does.
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

/** The digests of all code here, by name; and which layer has a module (bundle.ts). */
declare const DIGESTS: Readonly<Record<string, string>>;
declare const HOLDERS: Readonly<Record<string, string>>;

interface Loaded {
  exports: Readonly<Record<string, unknown>>;
}
type Code = (
  require: NodeJS.Require,
  filename: string,
  module: Loaded,
  later: (path: string) => unknown,
) => void;

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
function readCompiled(name: string): Buffer | "foreign" | undefined {
  let fd: number;
  try {
    fd = openSync(compiledPath(name), "r");
  } catch {
    return undefined;
  }
  try {
    const compiled = fstatSync(fd);
    const code = statSync(codePath(name));
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

/** Whether Node has flags, which may be V8's: it takes compiled functions only under those that they were made with. */
function hasFlags(): boolean {
  const { NODE_OPTIONS = "" } = process.env;
  return process.execArgv.length > 0 || NODE_OPTIONS !== "";
}

/** Threads come when the program has been at work for a while, and may have given V8 flags (runtime/system/inlining.ts). */
function isThread(): boolean {
  const { isMainThread } = require("node:worker_threads") as typeof import("node:worker_threads");
  return !isMainThread;
}

const loaded = new Map<string, Loaded>();

function load(name: string): Loaded {
  const before = loaded.get(name);
  if (before !== undefined) return before;
  let compiled = readCompiled(name);
  if (compiled === undefined && name === NAME && !isThread()) {
    makeCompiled();
    compiled = readCompiled(name);
  }
  const script = new Script(readCode(name), {
    filename: codePath(name),
    cachedData: compiled === "foreign" ? undefined : compiled,
  });
  // Made under flags, perhaps, as the first run was, or damaged: most runs have none, and would all start without.
  if (script.cachedDataRejected === true && name === NAME && !hasFlags() && !isThread()) makeCompiled();
  const module: Loaded = { exports: {} };
  loaded.set(name, module);
  (script.runInThisContext() as Code)(
    require,
    __filename,
    module,
    (path) => load(HOLDERS[path]).exports[path],
  );
  return module;
}

load(NAME);
