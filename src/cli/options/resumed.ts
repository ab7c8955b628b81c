/**
 * `--resume` without targets: the options of the run that a journal is of, where none are given in their place. Reading the journal
 * is run/journal.ts's business. Tested by test/lab/resume.test.ts.
 */
import { resolve } from "node:path";
import { Command } from "commander";
import { expandAliases, longName } from "./aliases.ts";
import { addOptions, attributeOf } from "./commander.ts";
import { PROBE_OPTIONS, usage } from "./table.ts";

/** Options of a journal's run that do not go on with it. */
const NOT_TAKEN_UP = new Set(["--journal", "--resume", "--dry-run", "--print-config"]);

/**
 * Gives `program` the options of an earlier command line.
 * @param journal its name, for the error
 * @param earlier that command line, and the directory that its files' names are relative to
 * @param written options that are given now, as they were written, by commander's name; those taken up are added
 * @returns the targets
 * @throws {SynprobeError} `ERR_USAGE` when they came from standard input
 */
export function resumeOptions(
  journal: string,
  { argv, directory }: { readonly argv: readonly string[]; readonly directory: string },
  program: Command,
  written: Map<string, string | undefined>,
): readonly string[] {
  const past = new Command("synprobe")
    .argument("[targets...]")
    .exitOverride()
    .action(() => {});
  past.configureOutput({ outputError: () => {} });
  const before = addOptions(past, PROBE_OPTIONS);
  past.parse(expandAliases(argv), { from: "user" });
  if (
    past.getOptionValue("inputList") === "-" ||
    (past.args.length === 0 && !before.has("inputList") && !before.has("inputResults"))
  )
    throw usage(
      `journal ${journal} is of a run whose targets came from standard input: give --resume them again`,
    );
  const replaced = new Set(
    PROBE_OPTIONS.flatMap((spec) => (written.has(attributeOf(spec)) ? (spec.instead ?? []) : [])),
  );
  for (const spec of PROBE_OPTIONS) {
    const name = attributeOf(spec);
    const isGiven = written.has(name) || (spec.instead !== undefined && replaced.has(spec.instead));
    if (isGiven || !before.has(name) || NOT_TAKEN_UP.has(longName(spec.flags))) continue;
    const absolute = (text: unknown): unknown =>
      /<(file|base)>/.test(spec.flags) && typeof text === "string" && text !== "-"
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
  return past.args;
}
