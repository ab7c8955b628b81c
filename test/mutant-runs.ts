/** Breaking the program in a copy of it, and running tests there: for mutants.ts and mutant-samples.ts. */
import { execFile } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("..", import.meta.url));

/** Tests that are run together. */
export interface TestSet {
  /** Files and folders below test/. */
  readonly tests: readonly string[];
  /** A mutant that takes more seconds of processor time than this, in any process, never ends: however busy the machine is. */
  readonly limitS: number;
}

/** By the first file of tests that failed, or because a process was ended. */
export type Outcome = `killed by ${string}` | "survived";

/** Of a test that waits, in milliseconds: the machine may have other work. */
const PATIENCE_MS = "600000";

/** A copy of what tests read, which may be broken. */
export function copyOf(): string {
  const copy = mkdtempSync(join(tmpdir(), "synprobe-mutants-"));
  for (const name of ["src", "test", "package.json", "tsconfig.json", "README.md"]) {
    cpSync(join(ROOT, name), join(copy, name), { recursive: true });
  }
  symlinkSync(join(ROOT, "node_modules"), join(copy, "node_modules"));
  return copy;
}

/**
 * Runs tests up to the first that fails.
 * @param report where their results go, as JSON
 * @throws when none could be run
 */
export async function run(copy: string, { tests, limitS }: TestSet, report = ""): Promise<Outcome> {
  const files = tests.map((file) => `test/${file}`).filter((file) => existsSync(join(copy, file)));
  if (files.length === 0) throw new Error(`there are no tests ${tests.join(", ")}`);
  const vitest = ["node_modules/vitest/vitest.mjs", "run", "--config", "test/vitest.config.ts"];
  const options = ["--bail", "1", "--testTimeout", PATIENCE_MS, "--hookTimeout", PATIENCE_MS];
  const limited = ["-c", 'ulimit -t "$0" && exec "$@"', String(limitS), process.execPath];
  const env = { ...process.env, SYNPROBE_TEST_REPORT: report };
  return new Promise((resolve, reject) => {
    execFile(
      "sh",
      [...limited, ...vitest, ...options, ...files],
      { cwd: copy, maxBuffer: 1 << 26, env },
      (error, stdout, stderr) => {
        if (/No test files found/.test(stdout)) reject(new Error(`vitest runs none of ${files.join(", ")}`));
        else if (error === null) resolve("survived");
        else
          resolve(`killed by ${/FAIL .*?test\/([\w/.-]+)/.exec(stdout + stderr)?.[1] ?? "the time limit"}`);
      },
    );
  });
}

/** Breaks a file below src/ for as long as it takes, and runs one set of tests after the other. */
export async function outcomeOf(
  copy: string,
  file: string,
  change: (source: string) => string,
  sets: readonly TestSet[],
): Promise<Outcome> {
  const path = join(copy, "src", file);
  const whole = readFileSync(path, "utf8");
  writeFileSync(path, change(whole));
  try {
    for (const set of sets) {
      const outcome = await run(copy, set);
      if (outcome !== "survived") return outcome;
    }
    return "survived";
  } finally {
    writeFileSync(path, whole);
  }
}
