/**
 * `--resume`: the targets and options of the run that a journal is of, where none are given in their place. Reading the journal
 * is run/journal.ts's business. Tested by test/cli/options/resumed.test.ts and test/lab/resume.test.ts.
 */
import { resolve } from "node:path";
import { Command } from "commander";
import { expandAliases, longName } from "./aliases.ts";
import { addOptions, attributeOf } from "./commander.ts";
import { type OptionSpec, PROBE_OPTIONS, usage } from "./table.ts";

/** Options of a journal's run that do not go on with it. */
const NOT_TAKEN_UP = new Set(["--journal", "--resume", "--dry-run", "--print-config"]);
const STDIO = "-";
const NAMES_FILE = /<(file|base)>/;

/** What gives a resumed run its targets now. */
export interface GivenTargets {
  /** Words, -iL or -iR on the command line. */
  readonly named: readonly string[] | undefined;
  /** Standard input may bring some. */
  readonly piped: boolean;
}

/**
 * Gives `program` the options of an earlier command line, and its targets where none are named now.
 * @param journal its name, for the error
 * @param earlier that command line, and the directory that its files' names are relative to
 * @param written options that are given now, as they were written, by commander's name; those taken up are added
 * @returns the targets
 * @throws {SynprobeError} `ERR_USAGE` when they came from standard input, and nothing gives any now
 */
export function resumeOptions(
  journal: string,
  { argv, directory }: { readonly argv: readonly string[]; readonly directory: string },
  program: Command,
  written: Map<string, string | undefined>,
  { named, piped }: GivenTargets,
): readonly string[] {
  const past = new Command("synprobe")
    .argument("[targets...]")
    .exitOverride()
    .action(() => {});
  past.configureOutput({ outputError: () => {} });
  const before = addOptions(past, PROBE_OPTIONS);
  past.parse(expandAliases(argv), { from: "user" });
  const lists = ["inputList", "inputResults"];
  const hadStdin =
    lists.some((name) => before.get(name) === STDIO) ||
    (past.args.length === 0 && !lists.some((name) => before.has(name)));
  if (named === undefined && hadStdin && !piped)
    throw usage(
      `journal ${journal} is of a run whose targets came from standard input: give --resume them again`,
    );
  const isLeftOut = leftOutOf(before, written, named !== undefined);
  const replaced = new Set(
    PROBE_OPTIONS.flatMap((spec) => (written.has(attributeOf(spec)) ? (spec.instead ?? []) : [])),
  );
  for (const spec of PROBE_OPTIONS) {
    const name = attributeOf(spec);
    const isGiven = written.has(name) || (spec.instead !== undefined && replaced.has(spec.instead));
    if (isGiven || !before.has(name) || isLeftOut(spec)) continue;
    const absolute = (text: unknown): unknown =>
      NAMES_FILE.test(spec.flags) && typeof text === "string" && text !== STDIO
        ? resolve(directory, text)
        : text;
    const value: unknown = past.getOptionValue(name);
    program.setOptionValueWithSource(
      name,
      Array.isArray(value) ? value.map(absolute) : absolute(value),
      "cli",
    );
    written.set(name, before.get(name));
  }
  return named ?? past.args;
}

/** Which options of the earlier command do not go on, although none of the same name is given. */
function leftOutOf(
  before: ReadonlyMap<string, string | undefined>,
  written: ReadonlyMap<string, string | undefined>,
  isNamed: boolean,
): (spec: OptionSpec) => boolean {
  const isResult = ({ flags, group }: OptionSpec): boolean => group === "Output" && NAMES_FILE.test(flags);
  const hasStdout = PROBE_OPTIONS.some((spec) => isResult(spec) && written.get(attributeOf(spec)) === STDIO);
  const isOfTargets = new Set([
    "inputList",
    "inputResults",
    ...(written.has("inputResults") ? [] : ["only"]),
  ]);
  return (spec) => {
    const name = attributeOf(spec);
    if (NOT_TAKEN_UP.has(longName(spec.flags)) || (isNamed && isOfTargets.has(name))) return true;
    if (before.get(name) !== STDIO) return false;
    // The journal keeps what was excluded, and standard input has something else now, or nothing.
    return name === "excludeFile" || (hasStdout && isResult(spec));
  };
}
