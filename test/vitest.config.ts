/**
 * The test run, in parts that can be had alone with `--project NAME` (test/README.md says what each is). Files of one part
 * share three or four processes at a time; `alone` comes after the others, one file at a time.
 *
 * With SYNPROBE_TEST_REPORT=FILE in the environment the results are also written there as JSON, from which .ci/run counts.
 * With SYNPROBE_TEST_ALL=more only those files run that do more then than every day (everyday.ts).
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { defineConfig, type TestProjectInlineConfiguration } from "vitest/config";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const { SYNPROBE_TEST_REPORT: report, SYNPROBE_TEST_ALL: all } = process.env;

/** Neither root nor a build is needed: values, the engine, and what stands around it, called as functions. */
const UNIT = [
  // Whatever is not of the other parts below, so that no folder can be forgotten.
  "test/!(cli|sim|lab)/**/*.test.ts",
  "test/cli/run/{journal,progress,spill,writer}.test.ts",
  "test/cli/options/aliases.test.ts",
  "test/{architecture,mutants,readme}.test.ts",
];
/**
 * They measure time or memory, or fill the machine, such as the kernel's one table of neighbours for all namespaces: beside others
 * they would disturb or be disturbed.
 */
const ALONE = ["test/lab/{neighbours,packet}.test.ts"];
/** Of those folders, but they start the program that was built. */
const PROGRAM = ["test/report/html/page.test.ts"];

/** Files that do every day all that they can. */
const SAME_EVERY_DAY = readdirSync(join(ROOT, "test"), { recursive: true, encoding: "utf8" })
  .map((file) => `test/${file}`)
  .filter((file) => file.endsWith(".test.ts"))
  .filter((file) => !/from "(fast-check|[./]+everyday\.ts)"/.test(readFileSync(join(ROOT, file), "utf8")));

/** A part of the run: these files without those. */
function project(
  name: string,
  include: readonly string[],
  exclude: readonly string[],
  options: TestProjectInlineConfiguration["test"] = {},
): TestProjectInlineConfiguration {
  return {
    root: ROOT,
    test: {
      name,
      include: [...include],
      exclude: [...exclude, ...(all === "more" ? SAME_EVERY_DAY : [])],
      setupFiles: ["test/setup.ts"],
      // Real kernels and whole processes share two cores with everything else.
      testTimeout: 60_000,
      hookTimeout: 60_000,
      // Of an everyday run's time much is waiting; of that of `test:more` little is.
      maxWorkers: all === undefined ? 4 : 3,
      // A file leaves nothing behind in its process for the next one: each would take a third of a second to start another.
      isolate: false,
      sequence: { groupOrder: 0 },
      ...options,
    },
  };
}

// biome-ignore lint/style/noDefaultExport: vitest takes its configuration from the default export
export default defineConfig({
  test: {
    root: ROOT,
    reporters: report ? ["default", ["json", { outputFile: report }]] : ["default"],
    projects: [
      project("unit", UNIT, [...ALONE, ...PROGRAM]),
      project("sim", ["test/sim/**/*.test.ts"], ALONE),
      project(
        "program",
        ["test/*.test.ts", "test/cli/**/*.test.ts", ...PROGRAM],
        [...UNIT.slice(1), ...ALONE],
      ),
      project("lab", ["test/lab/**/*.test.ts"], ALONE),
      project("alone", ALONE, [], { fileParallelism: false, isolate: true, sequence: { groupOrder: 1 } }),
    ],
  },
});
