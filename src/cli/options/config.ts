/**
 * Options from the environment and from a configuration file, where the command line leaves them open: read, checked,
 * merged, and printed by --print-config.
 *
 * A file is JSON with comments; its keys are the long options (config-schema.ts). It is read only when --config or
 * SYNPROBE_CONFIG names it, under sudo with the invoking user's permissions. What each option takes is table.ts's business.
 */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { Option } from "commander";
import { type Node, type ParseError, parseTree, printParseErrorCode } from "jsonc-parser";
import { safeParse } from "valibot";
import { SynprobeError } from "../../errors.ts";
import { escapeText } from "../../report/escape.ts";
import { whyUnreadable } from "../../runtime/plan/list-file.ts";
import { asInvoker } from "../../runtime/system/invoker.ts";
import { readServices } from "../../runtime/system/system.ts";
import { parseTargets } from "../../scan/targets/grammar.ts";
import { parsePorts } from "../../scan/targets/port-list.ts";
import type { Services } from "../../scan/targets/services.ts";
import { didYouMean } from "../../suggest.ts";
import { parseAddress } from "../../wire/address.ts";
import { longName } from "./aliases.ts";
import { configurationSchema, refusalOfOneRun } from "./config-schema.ts";
import {
  GROUPS,
  type OptionSpec,
  PROBE_OPTIONS,
  type ProbeOptions,
  TIMING,
  usage,
  whyOneRun,
} from "./table.ts";

/** One option's value from one place. */
interface Setting {
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
interface Effect {
  readonly value: unknown;
  readonly texts: readonly string[];
  readonly origins: readonly string[];
}

export interface Configured<Options> {
  readonly options: Options;
  /** Whether an option is set anywhere, by commander's name. */
  readonly given: (name: string) => boolean;
  /** The effective values in the file's own format. @param complete the options with -T's template filled in */
  readonly print: (complete: Options) => string;
}

/** An option's names: in a file, in the environment, commander's. */
interface Names {
  readonly spec: OptionSpec;
  readonly key: string;
  readonly variable: string;
  readonly attribute: string;
}

const NAMES: readonly Names[] = PROBE_OPTIONS.map((spec) => {
  const key = longName(spec.flags).slice(2);
  return {
    spec,
    key,
    variable: `SYNPROBE_${key.toUpperCase().replaceAll("-", "_")}`,
    attribute: new Option(spec.flags).attributeName(),
  };
});
const BY_KEY = new Map(NAMES.map((names) => [names.key, names]));
const BY_VARIABLE = new Map(NAMES.map((names) => [names.variable, names]));

/** Largest file that is read, in bytes. */
const MOST_BYTES = 1 << 20;

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
    print: (complete) => print(effects, complete as Readonly<Record<string, unknown>>, file),
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
const OTHER_VARIABLES = ["SYNPROBE_CONFIG", "SYNPROBE_LAB"];

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

/** @param text as an option's argument; for an option without one, yes or no */
function settingOf(
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
  if (values === "ports") {
    try {
      parsePorts(text, services);
    } catch (error) {
      if (!(error instanceof SynprobeError)) throw error;
      throw new SynprobeError(error.code, `--${key} ${text}: ${error.message}`);
    }
  }
  if (values === "targets") for (const part of text.split(",")) parseTargets(part, services, `--${key}`);
  if (values === "address" && parseAddress(text) === undefined) {
    throw usage(`--${key} takes an IP address, not "${text}"`);
  }
  return parser === undefined ? text : parser(text);
}

/* The file. */

/** The text of a file, read with the invoking user's permissions under sudo. @throws {SynprobeError} `ERR_USAGE` */
function readConfiguration(file: string, drop: boolean): string {
  try {
    const fd = asInvoker(drop, () => openSync(file, "r"));
    try {
      if (fstatSync(fd).isDirectory()) throw Object.assign(new Error(), { code: "EISDIR" });
      const bytes = Buffer.alloc(MOST_BYTES + 1);
      let length = 0;
      for (let read = -1; read !== 0 && length < bytes.length; length += read) {
        read = readSync(fd, bytes, length, bytes.length - length, null);
      }
      if (length > MOST_BYTES) throw usage(`the configuration ${file} is larger than ${MOST_BYTES} bytes`);
      return bytes.toString("utf8", 0, length).replace(/^\uFEFF/, "");
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    if (error instanceof SynprobeError) throw error;
    throw usage(`cannot read the configuration ${file}: ${whyUnreadable(error)}`);
  }
}

function fileSettings(file: string, text: string): [Names, Setting][] {
  const where = ({ offset }: { readonly offset: number }): string =>
    `${file}:${text.slice(0, offset).split("\n").length}`;
  const root = parseJson(text, file, where);
  checkConfiguration(root, where);
  const services = readServices();
  return (root.children ?? []).flatMap((property): [Names, Setting][] => {
    const [name, node] = property.children ?? [];
    const names = BY_KEY.get(String(name.value));
    if (names === undefined) return [];
    const origin = where(property);
    return textsOf(names, node, text).map((written) => {
      // A relative name is relative to the configuration.
      const isFile = /<file>/.test(names.spec.flags) && written !== "-";
      return [
        names,
        settingOf(names, isFile ? resolve(dirname(file), written) : written, 1, origin, services),
      ];
    });
  });
}

/** @throws {SynprobeError} `ERR_USAGE` for an unknown or repeated key, and for a value of the wrong type */
function checkConfiguration(root: Node, where: (at: { readonly offset: number }) => string): void {
  const properties = new Map<string, Node>();
  // Of more keys than there are options one is unknown, or stands twice, among the first of them.
  for (const property of (root.children ?? []).slice(0, NAMES.length + 2)) {
    const key = String(property.children?.[0].value);
    const before = properties.get(key);
    if (before !== undefined)
      throw usage(`${where(property)}: "${key}" is set twice: first in ${where(before)}`);
    properties.set(key, property);
  }
  const values = Object.fromEntries(
    [...properties].map(([key, { children = [] }]) => [key, shallowValue(children[1])]),
  );
  const faults = (safeParse(configurationSchema(), values).issues ?? [])
    .map(({ path, message }) => ({ property: properties.get(String(path?.[0].key)) ?? root, message }))
    .sort((a, b) => a.property.offset - b.property.offset);
  if (faults.length > 0) throw usage(`${where(faults[0].property)}: ${faults[0].message}`);
}

/** A scalar or a list; deeper nesting is no option's value, and could exhaust the stack. */
function shallowValue({ type, value, children = [] }: Node, isEntry = false): unknown {
  if (type === "array" && !isEntry) return children.map((child) => shallowValue(child, true));
  return type === "array" || type === "object" ? {} : value;
}

function parseJson(text: string, file: string, where: (at: { readonly offset: number }) => string): Node {
  const errors: ParseError[] = [];
  let root: Node | undefined;
  try {
    root = parseTree(text, errors, { allowTrailingComma: true });
  } catch (error) {
    if (error instanceof RangeError) throw usage(`${file}: nested too deeply to be a configuration`);
    throw error;
  }
  const [error] = errors;
  if (error !== undefined && text.trim() !== "") {
    const what = printParseErrorCode(error.error)
      .replace(/(?<=[a-z])(?=[A-Z])/g, " ")
      .toLowerCase();
    throw usage(`${where(error)}: not JSON with comments: ${what}`);
  }
  if (root?.type !== "object") throw usage(`${file}: write an object of options: { "max-rate": 2000 }`);
  return root;
}

/** A checked value as the option's argument would be written; several texts where an option that adds up has a list. */
function textsOf({ spec }: Names, node: Node, text: string): string[] {
  if (spec.bare !== undefined && node.value === true) return [spec.bare];
  // A number's source text: 64 bits are more than a JavaScript number holds.
  const texts = (node.type === "array" ? (node.children ?? []) : [node]).map(
    ({ type, value, offset, length }) =>
      type === "number" ? text.slice(offset, offset + length) : String(value),
  );
  return spec.commas === true ? [texts.join(",")] : texts;
}

/* --print-config. */

function print(
  effects: ReadonlyMap<string, Effect>,
  complete: Readonly<Record<string, unknown>>,
  file: string | undefined,
): string {
  const rows = GROUPS.flatMap((group) => [
    { line: `// ${group}`, live: false, origin: "" },
    ...NAMES.filter(({ spec, key }) => spec.group === group && !["config", "print-config"].includes(key)).map(
      (names) => rowOf(names, effects, complete),
    ),
  ]);
  const last = rows.findLastIndex(({ live }) => live);
  return [
    "{",
    `  // command line, then environment, then ${file === undefined ? "no file" : printable(file)}, then built-in`,
    ...rows.map(({ line, live, origin }, i) => {
      const comma = live && i !== last ? "," : "";
      return `  ${line}${comma}${origin === "" ? "" : ` // ${origin}`}`;
    }),
    "}",
    "",
  ].join("\n");
}

/** A set option is a live line, any other a comment. */
function rowOf(
  { spec, key, attribute }: Names,
  effects: ReadonlyMap<string, Effect>,
  complete: Readonly<Record<string, unknown>>,
): { readonly line: string; readonly live: boolean; readonly origin: string } {
  const effect = effects.get(attribute);
  if (effect !== undefined) {
    const origin = effect.origins.map(printable).join(", ");
    const line = `"${key}": ${valueText(spec, effect)}`;
    const why = whyOneRun(spec);
    return why === undefined
      ? { line, live: true, origin }
      : { line: `// ${line},`, live: false, origin: `${origin}; ${why}` };
  }
  const value = complete[attribute];
  if (value === undefined || typeof value === "boolean") {
    return { line: `// "${key}"`, live: false, origin: "not set" };
  }
  const origin =
    value === spec.defaultValue
      ? "built-in"
      : effects.has("timing")
        ? 'as "timing" has it'
        : "follows from others";
  const number = spec.unit === "s" && typeof value === "number" ? value / 1000 : value;
  return { line: `// "${key}": ${JSON.stringify(number)},`, live: false, origin };
}

function valueText({ flags, commas }: OptionSpec, { value, texts }: Effect): string {
  if (!flags.includes("<")) return String(value !== undefined);
  // A file's name must mean the same from another directory.
  const whole = flags.includes("<file>") ? texts.map((text) => (text === "-" ? text : resolve(text))) : texts;
  const parts = commas === true ? whole.flatMap((text) => text.split(",")) : whole;
  const written = parts.map((part) =>
    /^(0|[1-9]\d*)$/.test(part) && Number.isSafeInteger(Number(part)) ? part : JSON.stringify(part),
  );
  return written.length === 1 ? written[0] : `[${written.join(", ")}]`;
}

/** A file's name may contain line breaks. */
const printable = (text: string): string => escapeText(text, 1000);
