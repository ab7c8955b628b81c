/**
 * `npm run coverage [vitest's arguments]`: which lines and branches of each folder of src/ the tests run. Those of the tests' own
 * processes are vitest's to count; of every program that a test starts V8 leaves a file behind (process.ts), which is traced
 * back through the bundle's source map. Needs root for the tests of test/lab, as the tests themselves do; a program that is
 * killed leaves nothing behind.
 *
 * Not part of `npm test`: it takes twice as long. The exit status is 1 when a folder stays below LEAST, whatever the tests said.
 */
import { spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import type { Profiler } from "node:inspector";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { convert } from "ast-v8-to-istanbul";
import coverage, { type BranchMapping, type CoverageMap } from "istanbul-lib-coverage";
import { parseAst } from "vite";

interface ProcessCov {
  readonly result: readonly Profiler.ScriptCoverage[];
}
const { mergeProcessCovs } = createRequire(import.meta.url)("@bcoe/v8-coverage") as {
  mergeProcessCovs(all: readonly ProcessCov[]): ProcessCov;
};

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const SRC = join(ROOT, "src");
/** Share of a folder's lines, in percent. */
const LEAST = 90;
/** Files that are merged at once: each is a megabyte or so. */
const AT_ONCE = 20;

/** What runs by itself, not as a part of the program: the build, and what runs in browsers. */
const APART = /^(build|report\/html\/client)\//;

function run(command: string, args: readonly string[], env: Readonly<Record<string, string>>): void {
  const { status } = spawnSync(command, args, {
    cwd: ROOT,
    stdio: "inherit",
    env: { ...process.env, ...env },
  });
  if (status !== 0) console.error(`${command} ${args[0]}: exit status ${status}`);
}

/** What ran of the built programs, by file, in all processes together. */
function readPrograms(folder: string): ProcessCov["result"] {
  let all: ProcessCov = { result: [] };
  const files = readdirSync(folder).filter((file) => file.endsWith(".json"));
  for (let at = 0; at < files.length; at += AT_ONCE) {
    const some = files.slice(at, at + AT_ONCE).flatMap((file): ProcessCov[] => {
      try {
        const { result } = JSON.parse(readFileSync(join(folder, file), "utf8")) as ProcessCov;
        return [{ result: result.filter(({ url }) => isProgram(url)) }];
      } catch {
        // Cut short by a signal.
        return [];
      }
    });
    all = mergeProcessCovs([all, ...some]);
  }
  console.log(`${files.length} programs left behind what they ran`);
  return all.result;
}

const isProgram = (url: string): boolean =>
  url.startsWith("file:") &&
  relative(join(ROOT, "dist"), fileURLToPath(url)).search(/^[\w/-]+\.(code|cjs|js)$/) === 0;

/** Adds what ran of a built file to the sources it was made of, whose lines and branches are as vitest has them. */
async function trace(map: CoverageMap, script: ProcessCov["result"][number]): Promise<void> {
  // As start.ts reads it, so that V8's offsets are those of this text.
  const code = readFileSync(fileURLToPath(script.url), script.url.endsWith(".code") ? "latin1" : "utf8");
  const [, encoded] =
    /\/\/# sourceMappingURL=data:application\/json;(?:charset=utf-8;)?base64,(\S+)\s*$/.exec(code) ?? [];
  if (encoded === undefined) return;
  const sourceMap = JSON.parse(Buffer.from(encoded, "base64").toString("utf8"));
  const data = await convert({ code, wrapperLength: 0, coverage: script, sourceMap, ast: parseAst(code) });
  for (const [path, found] of Object.entries(data)) {
    if (map.data[path] === undefined) continue;
    const ran = coverage.createFileCoverage(found);
    const lines = ran.getLineCoverage();
    const { s, statementMap, b, branchMap } = map.fileCoverageFor(path).data;
    for (const id of Object.keys(s)) s[id] += lines[statementMap[id].start.line] ?? 0;
    const branches = new Map(
      Object.entries(ran.data.branchMap).map(([id, branch]) => [placeOf(branch), ran.data.b[id]]),
    );
    for (const id of Object.keys(b)) {
      const ways = branches.get(placeOf(branchMap[id])) ?? [];
      if (ways.length === b[id].length) b[id] = b[id].map((count, way) => count + ways[way]);
    }
  }
}

const placeOf = ({ type, loc: { start } }: BranchMapping): string => `${type} ${start.line}:${start.column}`;

interface Count {
  covered: number;
  total: number;
}
const percent = ({ covered, total }: Count): string =>
  total === 0 ? "" : ((100 * covered) / total).toFixed(1);

/** @returns whether every folder has enough */
function tell(map: CoverageMap): boolean {
  const folders = new Map<string, { lines: Count; branches: Count }>();
  for (const path of map.files()) {
    const file = relative(SRC, path);
    if (APART.test(file)) continue;
    const { lines, branches } = map.fileCoverageFor(path).toSummary().data;
    for (const name of [dirname(file).replace(/^\.$/, "src"), "all"]) {
      const sum = folders.get(name) ?? {
        lines: { covered: 0, total: 0 },
        branches: { covered: 0, total: 0 },
      };
      for (const [to, from] of [[sum.lines, lines] as const, [sum.branches, branches] as const]) {
        to.covered += from.covered;
        to.total += from.total;
      }
      folders.set(name, sum);
    }
  }
  console.log(`${"folder".padEnd(24)}${"lines".padStart(8)}${"branches".padStart(10)}`);
  let enough = true;
  for (const [name, { lines, branches }] of [...folders].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const low = 100 * lines.covered < LEAST * lines.total;
    if (low) enough = false;
    console.log(
      `${name.padEnd(24)}${percent(lines).padStart(8)}${percent(branches).padStart(10)}${low ? `  below ${LEAST}` : ""}`,
    );
  }
  return enough;
}

const scratch = mkdtempSync(join(tmpdir(), "synprobe-coverage-"));
process.on("exit", () => rmSync(scratch, { recursive: true, force: true }));
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(130));
const left = mkdtempSync(join(scratch, "programs-"));
// Programs that give up root write there, too.
chmodSync(scratch, 0o755);
chmodSync(left, 0o1777);
const env = { SYNPROBE_COVERAGE: left };

run("npm", ["run", "--silent", "build"], env);
run("npx", ["tsc", "-p", "src/build/library.tsconfig.json", "--inlineSourceMap"], {});
// Where anybody may write start.ts makes no file of compiled functions: of those V8 counts no branches.
chmodSync(join(ROOT, "dist"), 0o777);
// The tests read the page that the build made.
run("npm", ["run", "--silent", "man"], { NODE_V8_COVERAGE: left });
run(
  process.execPath,
  [
    join(ROOT, "node_modules/vitest/vitest.mjs"),
    "run",
    "--config=test/vitest.config.ts",
    "--coverage.enabled",
    "--coverage.include=src/**/*.ts",
    "--coverage.reporter=json",
    "--coverage.reportOnFailure",
    `--coverage.reportsDirectory=${join(scratch, "tests")}`,
    ...process.argv.slice(2),
  ],
  env,
);
const map = coverage.createCoverageMap(
  JSON.parse(readFileSync(join(scratch, "tests/coverage-final.json"), "utf8")),
);
for (const script of readPrograms(left)) await trace(map, script);
chmodSync(join(ROOT, "dist"), 0o755);
if (!tell(map)) process.exitCode = 1;
