/**
 * `npm run fuzz -- TARGET SECONDS [SEED]`: coverage-guided fuzzing of one target of targets.ts, or of `all`, each for so many seconds of
 * processor time.
 *
 * The sources are bundled with a counter in every branch (istanbul), an input that reaches a branch, or a count of it, that none
 * reached before is kept and mutated further. No ready fuzzer runs here: Jazzer.js needs a newer C library than Debian 12 has. A
 * finding is written to test/corpus/TARGET/ with its error, and makes the exit status 1. With KEEP=1 in the environment the
 * inputs that together reach everything that was reached are written there, too, the shortest first.
 */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build, type Plugin, transformSync } from "esbuild";
import { createInstrumenter } from "istanbul-lib-instrument";
import { createDraw, mutate } from "./mutate.ts";
import type { FuzzTarget } from "./targets.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const SRC = join(ROOT, "src");
const CORPUS = join(ROOT, "test/corpus");
/** A run of one input that takes longer, the fastest of three, is a finding: inputs are a few kilobytes. */
const SLOW_MS = 250;
/** Rounds of mutation of one input before the next is taken. */
const ROUNDS = 64;

/** Istanbul's counters of one file. */
interface Counters {
  readonly s: Record<string, number>;
  readonly f: Record<string, number>;
  readonly b: Record<string, number[]>;
}

const INSTRUMENT: Plugin = {
  name: "instrument",
  setup({ onLoad }) {
    onLoad({ filter: /\.ts$/ }, ({ path }) => {
      const { code } = transformSync(readFileSync(path, "utf8"), {
        loader: "ts",
        target: "node20",
        format: "esm",
      });
      const own = `const moduleUrl = ${JSON.stringify(pathToFileURL(path).href)};\n`;
      const placed = code.replaceAll("import.meta.url", "moduleUrl");
      if (!path.startsWith(SRC)) return { contents: own + placed, loader: "js" };
      const instrumenter = createInstrumenter({
        esModules: true,
        compact: false,
        coverageVariable: "__fuzz__",
      });
      return { contents: instrumenter.instrumentSync(own + placed, path), loader: "js" };
    });
  },
};

/** The targets, with counters in them. */
async function load(): Promise<readonly FuzzTarget[]> {
  const folder = join(ROOT, "node_modules/.cache/synprobe-fuzz");
  mkdirSync(folder, { recursive: true });
  const outfile = join(folder, "targets.mjs");
  await build({
    entryPoints: [fileURLToPath(new URL("./targets.ts", import.meta.url))],
    outfile,
    bundle: true,
    platform: "node",
    target: "node20",
    format: "esm",
    packages: "external",
    plugins: [INSTRUMENT],
    logLevel: "warning",
  });
  return ((await import(pathToFileURL(outfile).href)) as { TARGETS: readonly FuzzTarget[] }).TARGETS;
}

/** The counters of the files that guide a target, as a map of what has been reached. */
function createCoverage(covers: readonly string[]) {
  const all = Object.entries((globalThis as { __fuzz__?: Record<string, Counters> }).__fuzz__ ?? {})
    .filter(([file]) => covers.some((each) => relative(SRC, file).startsWith(each)))
    .map(([, counters]) => counters);
  if (all.length === 0) throw new Error(`no source file begins with ${covers.join(", ")}`);
  const branches = all.flatMap(({ b }) => Object.values(b));
  /** Per branch: which classes of counts have been seen, a bit each. */
  const seen = branches.map((ways) => new Uint8Array(ways.length));
  // 1, 2, 3, 4-7, 8-15, 16-31, 32-127, more
  const classOf = (n: number): number =>
    n < 4 ? 1 << (n - 1) : n < 8 ? 8 : n < 16 ? 16 : n < 32 ? 32 : n < 128 ? 64 : 128;
  return {
    clear: () => {
      for (const ways of branches) ways.fill(0);
    },
    /** @returns whether anything was reached for the first time */
    isNew: (): boolean => {
      let found = false;
      for (let i = 0; i < branches.length; i++) {
        const ways = branches[i];
        for (let k = 0; k < ways.length; k++) {
          if (ways[k] === 0) continue;
          const bit = classOf(ways[k]);
          if ((seen[i][k] & bit) !== 0) continue;
          seen[i][k] |= bit;
          found = true;
        }
      }
      return found;
    },
    reached: () => seen.reduce((sum, ways) => sum + ways.filter((bits) => bits !== 0).length, 0),
    total: branches.reduce((sum, ways) => sum + ways.length, 0),
  };
}

const nameOf = (bytes: Uint8Array): string => createHash("sha1").update(bytes).digest("hex").slice(0, 12);

function corpusOf(target: string): Uint8Array[] {
  const folder = join(CORPUS, target);
  if (!existsSync(folder)) return [];
  return readdirSync(folder).map((name) => new Uint8Array(readFileSync(join(folder, name))));
}

function keep(target: string, bytes: Uint8Array): string {
  const folder = join(CORPUS, target);
  mkdirSync(folder, { recursive: true });
  const path = join(folder, nameOf(bytes));
  writeFileSync(path, bytes);
  return relative(ROOT, path);
}

/** Processor time of this process so far, in milliseconds: that the machine is busy is no finding, and no hour of fuzzing. */
function busyMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** @returns whether it went well */
async function fuzz(target: FuzzTarget, seconds: number, seed: number): Promise<boolean> {
  const draw = createDraw(seed);
  const coverage = createCoverage(target.covers);
  const words = (target.words ?? []).map((word) => new TextEncoder().encode(word));
  const queue: Uint8Array[] = [];
  let runs = 0;

  async function timed(bytes: Uint8Array): Promise<number> {
    const fromMs = busyMs();
    await target.run(bytes);
    return busyMs() - fromMs;
  }

  /** @returns the error that the input brings about */
  async function attempt(bytes: Uint8Array): Promise<unknown> {
    runs++;
    coverage.clear();
    try {
      let fastest = await timed(bytes);
      const isNew = coverage.isNew();
      for (let again = 0; fastest > SLOW_MS && again < 2; again++)
        fastest = Math.min(fastest, await timed(bytes));
      if (fastest > SLOW_MS) return new Error(`takes ${Math.round(fastest)} ms for ${bytes.length} bytes`);
      if (isNew) queue.push(bytes);
      return undefined;
    } catch (error) {
      return error;
    }
  }

  function tell(bytes: Uint8Array, error: unknown): boolean {
    const where = keep(target.name, bytes);
    console.error(`${target.name}: ${where}: ${error instanceof Error ? error.stack : String(error)}`);
    return false;
  }

  for (const bytes of [...target.seeds().map((each) => Uint8Array.from(each)), ...corpusOf(target.name)]) {
    const error = await attempt(bytes);
    if (error !== undefined) return tell(bytes, error);
    if (queue.length === 0) queue.push(bytes);
  }
  const untilMs = busyMs() + seconds * 1000;
  while (busyMs() < untilMs) {
    // The newest are the least explored.
    const back = Math.min(draw(queue.length), draw(queue.length));
    const parent = queue[queue.length - 1 - back];
    for (let i = 0; i < ROUNDS && busyMs() < untilMs; i++) {
      const bytes = mutate(parent, queue, words, target.most, draw);
      const error = await attempt(bytes);
      if (error !== undefined) return tell(bytes, error);
    }
  }
  console.log(
    `${target.name}: ${runs} runs, ${coverage.reached()} of ${coverage.total} branches, ${queue.length} inputs, no finding`,
  );
  const { KEEP } = process.env;
  if (KEEP === "1") {
    const fresh = createCoverage(target.covers);
    for (const bytes of queue.toSorted((a, b) => a.length - b.length)) {
      fresh.clear();
      await target.run(bytes);
      if (fresh.isNew()) keep(target.name, bytes);
    }
  }
  return true;
}

const [name = "all", seconds = "20", seed = String(Date.now() % 2 ** 31)] = process.argv.slice(2);
const targets = await load();
const chosen = name === "all" ? targets : targets.filter((target) => target.name === name);
if (chosen.length === 0 || !(Number(seconds) > 0)) {
  console.error(`usage: npm run fuzz -- all|${targets.map((each) => each.name).join("|")} SECONDS [SEED]`);
  process.exit(2);
}
let passed = 0;
for (const target of chosen) if (await fuzz(target, Number(seconds), Number(seed))) passed++;
console.log(`seed ${seed}: ${passed} passed, ${chosen.length - passed} failed`);
process.exit(passed === chosen.length ? 0 : 1);
