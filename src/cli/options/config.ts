/**
 * Options from the environment and from a configuration file, where the command line leaves them open: merged.
 *
 * A file is read only when --config or SYNPROBE_CONFIG names it (config-file.ts). What each option takes is table.ts's business,
 * how a text becomes its value setting.ts's, what --print-config says of it print-config.ts's.
 */
import { didYouMean } from "../../suggest.ts";
import { fileSettings, readConfiguration } from "./config-file.ts";
import { refusalOfOneRun } from "./config-schema.ts";
import { printConfig } from "./print-config.ts";
import { BY_VARIABLE, type Effect, NAMES, type Names, type Setting, settingOf } from "./setting.ts";
import { type ProbeOptions, TIMING, usage, whyOneRun } from "./table.ts";

export interface Configured<Options> {
  readonly options: Options;
  /** Whether an option is set anywhere, by commander's name. */
  readonly given: (name: string) => boolean;
  /** The effective values in the file's own format. @param complete the options with -T's template filled in */
  readonly print: (complete: Options) => string;
}

/**
 * Merges the command line, the environment and the file.
 *
 * @param options as commander parsed them; those that are not in the table stay as they are
 * @param written the options given on the command line, by commander's name, as they were written
 * @param knows whether the command has an option, by commander's name: others are checked, and left out
 * @throws {SynprobeError} `ERR_USAGE` for a file that cannot be read, and for any key, variable or value that is wrong
 */
export function configure<Options extends Pick<ProbeOptions, "drop" | "config">>(
  options: Options,
  written: ReadonlyMap<string, string | undefined>,
  env: NodeJS.ProcessEnv,
  knows: (name: string) => boolean,
): Configured<Options> {
  const settings = new Map<string, Setting[]>();
  const add = ({ attribute }: Names, setting: Setting): void => {
    const before = settings.get(attribute);
    if (before === undefined) settings.set(attribute, [setting]);
    else before.push(setting);
  };
  const given = options as Readonly<Record<string, unknown>>;
  for (const names of NAMES) {
    if (!written.has(names.attribute)) continue;
    const text = written.get(names.attribute);
    const value = given[names.attribute];
    add(names, { level: 3, origin: "command line", value, ...(text === undefined ? {} : { text }) });
  }
  for (const [names, setting] of environmentSettings(env)) add(names, setting);
  const { SYNPROBE_CONFIG } = env;
  const file = options.config ?? (SYNPROBE_CONFIG || undefined);
  if (file !== undefined) {
    for (const [names, setting] of fileSettings(file, readConfiguration(file, options.drop)))
      add(names, setting);
  }
  const effects = join(settings);
  const joined: Record<string, unknown> = { ...given };
  for (const { spec, attribute } of NAMES) {
    if (!knows(attribute)) continue;
    // A command's own default, where it has one.
    const builtIn = written.has(attribute) ? spec.defaultValue : given[attribute];
    const value = effects.get(attribute)?.value ?? (/^--no-/.test(spec.flags) ? true : builtIn);
    if (value === undefined) delete joined[attribute];
    else joined[attribute] = value;
  }
  return {
    options: joined as Options,
    given: (name) => effects.get(name)?.value !== undefined,
    print: (complete) => printConfig(effects, complete as Readonly<Record<string, unknown>>, file),
  };
}

/** Each option's highest setting, or the sum of lists that add up, unless a higher setting of another option replaces it. */
function join(settings: ReadonlyMap<string, readonly Setting[]>): ReadonlyMap<string, Effect> {
  const highest = (attribute: string): Setting | undefined =>
    settings.get(attribute)?.reduce((best, setting) => (setting.level > best.level ? setting : best));
  const timing = highest("timing");
  const effects = new Map<string, Effect>();
  for (const { spec, attribute } of NAMES) {
    const best = highest(attribute);
    if (best === undefined) continue;
    if (spec.adds === true) {
      const all = [...(settings.get(attribute) ?? [])].sort((a, b) => b.level - a.level);
      effects.set(attribute, {
        value: sum(all.map(({ value }) => value)),
        texts: all.flatMap(({ text }) => text ?? []),
        origins: all.map(({ origin }) => origin),
      });
      continue;
    }
    const replaced = NAMES.some(
      (other) =>
        spec.instead !== undefined &&
        other.spec.instead === spec.instead &&
        other.attribute !== attribute &&
        (highest(other.attribute)?.value === undefined ? 0 : (highest(other.attribute)?.level ?? 0)) >
          best.level,
    );
    const templated = timing !== undefined && timing.level > best.level && yields(attribute, best, timing);
    if (replaced || templated) continue;
    const texts = best.text === undefined ? [] : [best.text];
    effects.set(attribute, { value: best.value, texts, origins: [best.origin] });
  }
  return effects;
}

/**
 * Whether an option gives way to a -T of higher precedence. A maximum rate gives way only to a lower one: it stays the upper
 * bound.
 */
function yields(attribute: string, { value }: Setting, timing: Setting): boolean {
  const template = TIMING[timing.value as number];
  if (attribute === "maxRate") return (value as number) > (template.rate ?? Number.POSITIVE_INFINITY);
  if (attribute === "hostTimeout") return template.hostTimeoutMs !== undefined;
  return attribute === "timeout" || attribute === "retries";
}

/** Lists concatenated; ports as one text. */
const sum = (values: readonly unknown[]): unknown =>
  values.every((value) => typeof value === "string") ? values.join(",") : values.flat();

/* The environment. */

/** SYNPROBE_ variables that are not options. */
const OTHER_VARIABLES = ["SYNPROBE_CONFIG", "SYNPROBE_LAB", "SYNPROBE_FLEET"];

function environmentSettings(env: NodeJS.ProcessEnv): [Names, Setting][] {
  return Object.entries(env).flatMap(([variable, text]): [Names, Setting][] => {
    if (!variable.startsWith("SYNPROBE_") || text === undefined || text === "") return [];
    if (OTHER_VARIABLES.includes(variable)) return [];
    const names = BY_VARIABLE.get(variable);
    if (names === undefined) {
      // Other programs may have variables with this prefix; a misspelt one of ours must not go unnoticed.
      const short = (name: string): string => name.slice("SYNPROBE_".length);
      const meant = didYouMean(
        short(variable),
        [...BY_VARIABLE.keys()].map(short),
        (best) => `SYNPROBE_${best}`,
      );
      if (meant === "") return [];
      throw usage(`${variable} in the environment is no option${meant}`);
    }
    if (whyOneRun(names.spec) !== undefined) throw usage(`${variable}: ${refusalOfOneRun(names.spec)}`);
    return [[names, settingOf(names, text, 2, variable)]];
  });
}
