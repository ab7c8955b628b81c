/**
 * `synprobe diff OLD NEW`: what changed between two runs, as text or NDJSON. The exit status says whether anything did.
 */
import { createComparison, diffJson, diffText } from "../../report/read/diff.ts";
import type { RecordedRun } from "../../report/read/recorded.ts";
import { readRun } from "../../runtime/results/result-files.ts";
import { EXIT, type ExitStatus } from "../exit.ts";
import { usage } from "../options/table.ts";
import { type Messages, printResult } from "../run/terminal.ts";

/** Parsed options, by commander's names. */
export interface DiffOptions {
  readonly json?: boolean;
  readonly only?: string;
}

/** Characters per write. */
const PIECE = 1 << 16;

/** @throws {SynprobeError} `ERR_RESULTS` for a file that cannot be read or understood */
export async function diff(
  oldFile: string,
  newFile: string,
  options: DiffOptions,
  messages: Messages,
): Promise<ExitStatus> {
  if (options.only !== undefined && options.only !== "open")
    throw usage(`--only takes open, not "${options.only}"`);
  if (oldFile === "-" && newFile === "-") throw usage("only one of the two files can be standard input (-)");
  const comparison = createComparison();
  const old = await readRun(oldFile, comparison.old);
  const now = await readRun(newFile, comparison.new);
  for (const run of [old, now]) noteEnding(run, messages);
  const found = comparison.compare(old, now, options.only === "open");
  let text = "";
  for (const piece of options.json === true ? diffJson(found) : diffText(found, messages.stdoutColour)) {
    text += piece;
    if (text.length < PIECE) continue;
    printResult(text);
    text = "";
  }
  printResult(text);
  // 1, as diff(1) has it.
  return found.total === 0 ? EXIT.complete : EXIT.notOpen;
}

/** Says on standard error which file holds less than a whole run. */
export function noteEnding({ name, ending, brokenLine }: RecordedRun, messages: Messages): void {
  if (brokenLine !== undefined)
    messages.note(`${name}:${brokenLine}: breaks off here; what comes before it counts`);
  else if (ending === "cut-off")
    messages.note(`${name} has no end: its run crashed, or still goes on; what is there counts`);
  else if (ending === "interrupted") messages.note(`${name} is of a run that was interrupted`);
}
