/**
 * What the table says of one option. The options themselves are in target-options.ts, timing-options.ts, probing-options.ts
 * and output-options.ts; table.ts joins them.
 */
import { ERROR_CODES, SynprobeError } from "../../errors.ts";

/** In the order in which help has them. */
export const GROUPS = ["Targets", "Timing", "Probing", "Order", "Output", "Other"] as const;
export type Group = (typeof GROUPS)[number];

export interface OptionSpec {
  /** commander's syntax: short, long, argument. An argument `<file>` is a file's name, to completion too. */
  readonly flags: string;
  readonly description: string;
  readonly group: Group;
  /** Other spellings, most of them nmap's, masscan's or zmap's: `-oJ` takes an argument as `--output-json` does. */
  readonly aliases?: readonly string[];
  readonly parse?: (text: string) => unknown;
  /** Of a number, which a configuration may have without quotes. `parse` holds text to the same range. */
  readonly range?: NumberRange;
  /** Of a time: what a number without a unit means. `range` is in it. */
  readonly unit?: TimeUnit;
  /** What `parse` says of text that it does not take. */
  readonly refusal?: (text: string) => string;
  readonly defaultValue?: unknown;
  /** May be given more than once. */
  readonly repeatable?: boolean;
  /** One of the most used options: what `--help` says about it, in at most 40 characters. */
  readonly brief?: string;
  /** What the argument is: one of these words, or something that only the system knows. Free text when absent. */
  readonly values?: readonly string[] | "interface" | "address" | "ports" | "targets";
  /** Several values may be given, separated by commas. */
  readonly commas?: boolean;
  /** The argument that is assumed when none is given. */
  readonly bare?: string;
  /** With `bare`: how the next word looks when it is the argument, and no target. */
  readonly looksLike?: RegExp;
  /** Why no configuration may set it; for files of results see `whyOneRun`. */
  readonly oneRun?: string;
  /** Options with the same word replace each other: `-p` on the command line replaces `--top-ports` in a configuration. */
  readonly instead?: string;
  /** It says something of these options, and nothing where none of them is given. */
  readonly needs?: readonly string[];
  /** Its lists add up: the command line cannot bring back what a configuration excludes. */
  readonly adds?: boolean;
}

/** Options of one group. */
export const inGroup = (group: Group, options: readonly Omit<OptionSpec, "group">[]): readonly OptionSpec[] =>
  options.map((option) => ({ group, ...option }));

export interface NumberRange {
  readonly least: number;
  readonly most: number;
  readonly whole: boolean;
}

/** What a time without a unit is in: seconds where nmap has the option, else milliseconds. */
export type TimeUnit = "s" | "ms";

/** Why an option belongs to one run, so that neither a configuration nor the environment may set it. */
export function whyOneRun({ flags, group, oneRun }: OptionSpec): string | undefined {
  const writes = group === "Output" && /<(file|base)>/.test(flags);
  return oneRun ?? (writes ? "every run would overwrite the results of the one before" : undefined);
}

export const usage = (message: string): SynprobeError => new SynprobeError(ERROR_CODES.usage, message);

/** Options that name targets and ports, by commander's names. */
const TARGETS = [
  ["ports", "--ports"],
  ["topPorts", "--top-ports"],
  ["inputList", "--input-list"],
  ["inputResults", "--input-results"],
] as const;

/**
 * Beside a policy. @param isTyped whether an option stands on the command line itself, by commander's name
 * @param who takes it, in words @throws {SynprobeError} `ERR_USAGE`
 */
export function refuseTargets(isTyped: (name: string) => boolean, who: string): void {
  const [, wrong] = TARGETS.find(([name]) => isTyped(name)) ?? [];
  if (wrong !== undefined) throw usage(`${wrong}: which targets and ports is the policy's business; ${who}`);
}
