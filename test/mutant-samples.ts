/**
 * `npm run mutants -- sample COUNT SEED [words]`: so many of all mutants that mutations.ts finds, drawn by chance, and which share
 * of them the everyday tests kill. A mutant is tried on the tests of its file, then on the recorded runs, then on the tests of its
 * folder and the quick ones among the whole scans (sim), at last on the slow ones, and is over at the first test that fails. Scans
 * whose code does not import the file are left out.
 *
 * Not here: tests of processes and kernels (cli, lab), which would kill more, and take hours.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { createDraw } from "./fuzz/mutate.ts";
import { outcomeOf, ROOT, run, type TestSet } from "./mutant-runs.ts";
import { type Mutation, mutated, mutationsOf } from "./mutations.ts";

const SAMPLED = ["wire/", "socket/", "scan/", "runtime/journal/", "link/filter"];
const RECORDED = "sim/recorded-runs.test.ts";
/** Those scans are quick that take the least time, and together this share of the time of all. */
const QUICK = 0.1;
/** All tests of a sample, unbroken. */
const WHOLE_LIMIT_S = 1800;
/** A mutant may take so many seconds, and so many times what the tests take without it. */
const LIMIT_S = 30;
const LIMIT_FACTOR = 3;

/** The tests that call a file as functions: at its own path, and those that its head names. */
function unitsOf(file: string, source: string): string[] {
  const own = file.replace(/\.ts$/, ".test.ts");
  const [, named = ""] = /\bTested by ([\s\S]*?)\*\//.exec(source.replace(/\n \* ?/g, " ")) ?? [];
  return [own, ...[...named.matchAll(/\btest\/([\w/-]+\.test\.ts)/g)].map(([, path]) => path)].filter(
    (path) => !/^(lab|cli|sim)\//.test(path) && existsSync(join(ROOT, "test", path)),
  );
}

const testsIn = (folder: string): string[] =>
  readdirSync(join(ROOT, "test", folder))
    .filter((name) => name.endsWith(".test.ts"))
    .map((name) => join(folder, name));

/** All files that a file imports, directly or not, but for types alone; itself included. Paths from the root. */
function importsOf(file: string, known = new Set<string>()): Set<string> {
  if (known.has(file)) return known;
  known.add(file);
  const source = readFileSync(join(ROOT, file), "utf8");
  for (const [, path] of source.matchAll(/^(?:import|export)(?! type\b)[^;]*? ?"(\.[^"]+\.ts)";$/gm))
    importsOf(relative(ROOT, join(ROOT, dirname(file), path)), known);
  return known;
}

/** Seconds that each of these takes without a mutant. @throws when one fails: it would kill every mutant */
async function timesOf(copy: string, tests: readonly string[]): Promise<Map<string, number>> {
  const report = join(copy, "report.json");
  const outcome = await run(copy, { tests, limitS: WHOLE_LIMIT_S }, report);
  interface Result {
    readonly name: string;
    readonly status: string;
    readonly startTime: number;
    readonly endTime: number;
  }
  const { testResults } = JSON.parse(readFileSync(report, "utf8")) as { readonly testResults: Result[] };
  const failed = testResults.filter(({ status }) => status !== "passed").map(({ name }) => name);
  if (outcome !== "survived") throw new Error(`fail as they are: ${failed.join(", ")}`);
  return new Map(
    testResults.map(({ name, startTime, endTime }) => [
      relative(join(copy, "test"), name),
      (endTime - startTime) / 1000,
    ]),
  );
}

export async function runSample(
  copy: string,
  count: number,
  seed: number,
  words: readonly string[],
): Promise<void> {
  const all = readdirSync(join(ROOT, "src"), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts") && SAMPLED.some((room) => file.startsWith(room)))
    .filter((file) => words.length === 0 || words.some((word) => file.includes(word)))
    .toSorted()
    .flatMap((file) => {
      const source = readFileSync(join(ROOT, "src", file), "utf8");
      return mutationsOf(source).map((mutation) => ({ file, source, mutation }));
    });
  const draw = createDraw(seed);
  const size = Math.min(count, all.length);
  console.log(`${size} of ${all.length} mutants, seed ${seed}`);
  const drawn = Array.from({ length: size }, () => all.splice(draw(all.length), 1)[0]).map((mutant) => {
    const units = unitsOf(mutant.file, mutant.source);
    const others = testsIn(dirname(mutant.file)).filter((test) => !units.includes(test));
    return { ...mutant, units, others };
  });
  const scans = testsIn("sim");
  const imported = new Map(scans.map((scan) => [scan, importsOf(join("test", scan))]));
  const used = drawn.flatMap(({ units, others }) => [...units, ...others]);
  const times = await timesOf(copy, [...new Set([...used, ...scans])]);
  const secondsOf = (tests: readonly string[]): number =>
    tests.reduce((sum, test) => sum + (times.get(test) ?? 0), 0);
  scans.sort((a, b) => secondsOf([a]) - secondsOf([b]));
  const quick = scans.filter((_, i) => secondsOf(scans.slice(0, i + 1)) < QUICK * secondsOf(scans));
  console.log(`scans that are quick: ${[RECORDED, ...quick].join(" ")}`);
  const kills = new Map<string, number>();
  let killed = 0;
  for (const [i, { file, source, mutation, units, others }] of drawn.entries()) {
    const runsIt = (scan: string): boolean => imported.get(scan)?.has(join("src", file)) === true;
    const tried = new Set([RECORDED, ...quick]);
    const slow = scans.filter((scan) => !tried.has(scan) && runsIt(scan));
    const sets = [units, [RECORDED].filter(runsIt), [...others, ...quick.filter(runsIt)], slow]
      .filter((tests) => tests.length > 0)
      .map((tests): TestSet => ({ tests, limitS: Math.ceil(LIMIT_S + LIMIT_FACTOR * secondsOf(tests)) }));
    const outcome = await outcomeOf(copy, file, () => mutated(source, mutation), sets);
    if (outcome !== "survived") killed++;
    const [, by = ""] = /^killed by (.*)/.exec(outcome) ?? [];
    kills.set(by, (kills.get(by) ?? 0) + 1);
    const share = `${((100 * killed) / (i + 1)).toFixed(1)} %`;
    console.log(`${describe(file, source, mutation)}: ${outcome} (${share} of ${i + 1})`);
  }
  for (const [by, count] of [...kills].sort((a, b) => b[1] - a[1]))
    if (by !== "") console.log(`${count} by ${by}`);
  const rate = killed / size;
  const error = 1.96 * Math.sqrt((rate * (1 - rate)) / size);
  console.log(`${killed} of ${size} killed, ${(100 * rate).toFixed(1)} % ± ${(100 * error).toFixed(1)}`);
}

/** Where it is, and its line as it becomes. */
function describe(file: string, source: string, mutation: Mutation): string {
  const before = source.slice(0, mutation.at).split("\n");
  const after = mutated(source, mutation).split("\n")[before.length - 1].trim();
  return `${file}:${before.length}: ${mutation.from} → ${mutation.to === "" ? "nothing" : mutation.to}: ${after}`;
}
