/**
 * One option's value from one place: its names, and how a text of the environment or of a file becomes a value. Where the texts
 * come from is config.ts's and config-file.ts's business.
 */
import { SynprobeError } from "../../errors.ts";
import { readServices } from "../../runtime/system/system.ts";
import { parseTargets } from "../../scan/targets/grammar.ts";
import type { Services } from "../../scan/targets/services.ts";
import { parseAddress } from "../../wire/address.ts";
import { longName } from "./aliases.ts";
import { portsOf } from "./arguments.ts";
import { attributeOf } from "./commander.ts";
import { type OptionSpec, PROBE_OPTIONS, usage } from "./table.ts";

/** One option's value from one place. */
export interface Setting {
  /** Precedence, higher wins: the file, the environment, the command line. */
  readonly level: 1 | 2 | 3;
  /** For messages and --print-config: "probe.json:3", "SYNPROBE_MAX_RATE", "command line". */
  readonly origin: string;
  /** As it was written; undefined for an option without argument. */
  readonly text?: string;
  /** The parsed value; undefined when the option is turned off. */
  readonly value: unknown;
}

/** One option's effective value. */
export interface Effect {
  readonly value: unknown;
  readonly texts: readonly string[];
  readonly origins: readonly string[];
}

/** An option's names: in a file, in the environment, commander's. */
export interface Names {
  readonly spec: OptionSpec;
  readonly key: string;
  readonly variable: string;
  readonly attribute: string;
}

export const NAMES: readonly Names[] = PROBE_OPTIONS.map((spec) => {
  const key = longName(spec.flags).slice(2);
  return {
    spec,
    key,
    variable: `SYNPROBE_${key.toUpperCase().replaceAll("-", "_")}`,
    attribute: attributeOf(spec),
  };
});
export const BY_KEY = new Map(NAMES.map((names) => [names.key, names]));
export const BY_VARIABLE = new Map(NAMES.map((names) => [names.variable, names]));

/** @param text as an option's argument; for an option without one, yes or no */
export function settingOf(
  { spec, key }: Names,
  text: string,
  level: 1 | 2,
  origin: string,
  services = readServices(),
): Setting {
  if (!spec.flags.includes("<")) {
    if (/^(1|true|yes|on)$/i.test(text)) return { level, origin, value: true };
    if (/^(0|false|no|off)$/i.test(text)) return { level, origin, value: undefined };
    throw usage(`${origin}: --${key} takes no argument: write 1 or 0, not "${text}"`);
  }
  try {
    return { level, origin, text, value: parse(spec, key, text, services) };
  } catch (error) {
    if (!(error instanceof SynprobeError)) throw error;
    throw new SynprobeError(error.code, `${origin}: ${error.message}`);
  }
}

/** As the command line does, including what the command line checks only later. */
function parse(
  { values, parse: parser }: OptionSpec,
  key: string,
  text: string,
  services: Services,
): unknown {
  if (values === "ports") portsOf(`--${key}`, text, services);
  if (values === "targets") for (const part of text.split(",")) parseTargets(part, services, `--${key}`);
  if (values === "address" && parseAddress(text) === undefined) {
    throw usage(`--${key} takes an IP address, not "${text}"`);
  }
  return parser === undefined ? text : parser(text);
}
