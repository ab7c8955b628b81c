/**
 * The table's options as commander's, how they were written on the command line, and whether in vain. What they take is table.ts's
 * business, which command has which main.ts's. Tested by test/cli/spellings.test.ts and test/cli/bad-input.test.ts.
 */
import { type Command, Option } from "commander";
import { longName, mayHoldOption } from "./aliases.ts";
import { type OptionSpec, usage } from "./table.ts";

/** An option's name among commander's values. */
export const attributeOf = ({ flags }: OptionSpec): string => new Option(flags).attributeName();

/** Options whose argument is a name of something on this machine. */
const NAMES_SOMETHING = /<(?:file|name|base)>/;

/** A time as a number without a unit would be given; undefined for whatever is shown as it is. */
const shownDefault = ({ defaultValue, unit }: OptionSpec): string | undefined =>
  unit === "s" ? String(Number(defaultValue) / 1000) : undefined;

/** For an option that may be given more than once: all its arguments, in order. */
export const collect = (text: string, before: readonly string[] = []): readonly string[] => [...before, text];

function commanderOption(spec: OptionSpec): Option {
  const { flags, parse = (text: string): unknown => text } = spec;
  const option = new Option(flags, spec.description).helpGroup(`${spec.group}:`);
  if (spec.defaultValue !== undefined) option.default(spec.defaultValue, shownDefault(spec));
  if (NAMES_SOMETHING.test(flags)) {
    option.argParser((text) => {
      const option = flags.replace(/ <.*/, "");
      if (text === "") throw usage(`${option} needs a name, not an empty argument`);
      // As nmap has it: "-oX -oG" is no wish for a file called "-oG".
      if (!flags.includes("<name>") && /^-./.test(text))
        throw usage(`${option} needs a name, and "${text}" looks like an option: ./${text} if it is meant`);
      return parse(text);
    });
  } else if (spec.repeatable === true && flags.includes("<")) option.argParser(collect);
  else if (spec.parse !== undefined) option.argParser(parse);
  return option;
}

/** Adds a command's options. @returns those that are given as they were written, by commander's name */
export function addOptions(program: Command, specs: readonly OptionSpec[]): Map<string, string | undefined> {
  const written = new Map<string, string | undefined>();
  for (const spec of specs) {
    const option = commanderOption(spec);
    program.addOption(option);
    watch(program, option, written, spec.repeatable === true);
  }
  return written;
}

/** Whether the environment may hold options. */
export const isConfigured = (): boolean =>
  Object.keys(process.env).some((name) => name.startsWith("SYNPROBE_"));

/** Of a table, what a command line needs: where it holds no option, only what says something without being given. */
export const neededOf = (specs: readonly OptionSpec[], argv: readonly string[]): readonly OptionSpec[] =>
  mayHoldOption(argv) || isConfigured()
    ? specs
    : specs.filter(({ flags, defaultValue }) => defaultValue !== undefined || flags.startsWith("--no-"));

/** Records how an option was written. commander would accept it twice and keep the last; here that is an error. */
function watch(
  program: Command,
  option: Option,
  written: Map<string, string | undefined>,
  mayRepeat: boolean,
): void {
  const name = option.attributeName();
  program.on(`option:${option.name()}`, (text: string | null | undefined) => {
    if (written.has(name) && !mayRepeat) throw usage(`option ${longName(option.flags)} is given twice`);
    written.set(name, text ?? undefined);
  });
}

/**
 * Refuses what stands on the command line for nothing. In a configuration it may, for the runs that have what it needs.
 * @param specs of the command
 * @param options as they are now, wherever they come from
 * @param isTyped whether the command line has it, by commander's name: what a run is resumed with nobody can leave out
 * @throws {SynprobeError} `ERR_USAGE`
 */
export function refuseAlone(
  command: Command,
  specs: readonly OptionSpec[],
  options: object,
  isTyped: (name: string) => boolean,
): void {
  const values = new Map(Object.entries(options));
  const attribute = (name: string): string =>
    command.options.find(({ long }) => long === name)?.attributeName() ?? "";
  for (const { flags, needs } of specs) {
    if (needs === undefined) continue;
    const name = longName(flags);
    if (!isTyped(attribute(name))) continue;
    const known = needs.filter((each) => attribute(each) !== "");
    if (known.length > 0 && known.every((each) => (values.get(attribute(each)) ?? false) === false))
      throw usage(`${name} says nothing without ${known.join(" or ")}: give that too, or leave it out`);
  }
}
