/**
 * What the command line has, as plain data: the option table, and the commands as commander knows them. Help, shell
 * completion and the man page are made from this, so that none of them can say less or more than what is understood.
 */
import type { Argument, Command, Option } from "commander";
import { longName } from "../options/aliases.ts";
import { type Group, PROBE_OPTIONS } from "../options/table.ts";

/** What a shell can offer for an argument: words, or what only the system knows. */
export type Offer = readonly string[] | "file" | "interface";

export interface OptionEntry {
  /** Short, long, then nmap's: `-p`, `--ports`. */
  readonly spellings: readonly string[];
  /** `<list>`; undefined for one that takes none. */
  readonly argument?: string;
  readonly description: string;
  /** Of an option in the table; the others say of themselves what they are. */
  readonly group?: Group;
  readonly brief?: string;
  /** As text. */
  readonly defaultValue?: string;
  readonly offer?: Offer;
  /** Several values may stand with commas between them. */
  readonly commas: boolean;
  readonly repeatable: boolean;
}

export interface OperandEntry {
  /** As usage lines have it: `<target>`, `[policy...]`. */
  readonly name: string;
  readonly description: string;
  readonly offer?: Offer;
}

export interface CommandEntry {
  readonly name: string;
  readonly description: string;
  /** "synprobe trace [options] <target>" */
  readonly usage: string;
  readonly operands: readonly OperandEntry[];
  readonly options: readonly OptionEntry[];
}

/** @param program with every command registered. @returns its own entry first, under the name "" */
export function catalogue(program: Command): readonly [main: CommandEntry, ...commands: CommandEntry[]] {
  const help = program.createHelp();
  const commands = help.visibleCommands(program).map((command) => entryOf(command, command.name()));
  return [entryOf(program, ""), ...commands];
}

function entryOf(command: Command, name: string): CommandEntry {
  const help = command.createHelp();
  return {
    name,
    description: command.description(),
    usage: help.commandUsage(command),
    operands: command.registeredArguments.map(operandOf),
    options: help.visibleOptions(command).map(optionOf),
  };
}

const SPECS = new Map(PROBE_OPTIONS.map((spec) => [longName(spec.flags), spec]));

/** A command's option of a name that the table has is the same option. */
function optionOf(option: Option): OptionEntry {
  const { flags, description, argChoices, defaultValue, defaultValueDescription, variadic } = option;
  const spec = SPECS.get(longName(flags));
  const known = spec !== undefined && spec.flags === flags ? spec : undefined;
  const argument = /[<[].*$/.exec(flags)?.[0];
  const words = argChoices ?? (typeof known?.values === "object" ? known.values : undefined);
  const offer: Offer | undefined =
    argument === undefined
      ? undefined
      : (words ?? (isFile(argument) ? "file" : known?.values === "interface" ? "interface" : undefined));
  const fallback = defaultValueDescription ?? known?.defaultValue ?? defaultValue;
  return {
    spellings: [...(flags.match(/(?<=^|, )--?[\w-]+/g) ?? []), ...(known?.aliases ?? [])],
    ...(argument === undefined ? {} : { argument }),
    description,
    ...(known === undefined ? {} : { group: known.group }),
    ...(known?.brief === undefined ? {} : { brief: known.brief }),
    // The default of a negated option is commander's own affair.
    ...(fallback === undefined || typeof fallback === "boolean" ? {} : { defaultValue: String(fallback) }),
    ...(offer === undefined ? {} : { offer }),
    commas: known?.commas === true,
    repeatable: known?.repeatable === true || variadic || /\(repeatable\)/.test(description),
  };
}

function operandOf(argument: Argument): OperandEntry {
  const name = argument.name();
  const text = argument.variadic ? `${name}...` : name;
  // Targets are hosts, of which a shell knows little; whatever else a command takes is a file.
  const offer = argument.argChoices ?? (/target|host/.test(name) ? undefined : ("file" as const));
  return {
    name: argument.required ? `<${text}>` : `[${text}]`,
    description: argument.description,
    ...(offer === undefined ? {} : { offer }),
  };
}

const isFile = (argument: string): boolean => /file|base|path/.test(argument);
