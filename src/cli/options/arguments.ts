/**
 * Options' arguments, from text to values: numbers, times, words, shards, seeds. Each parser throws `ERR_USAGE` with one line
 * that says what the option takes. The bounds are in runtime/api/option-bounds.ts.
 */
import { SynprobeError } from "../../errors.ts";
import { BOUNDS, type Bounds } from "../../runtime/api/option-bounds.ts";
import { parsePorts } from "../../scan/targets/port-list.ts";
import type { Services } from "../../scan/targets/services.ts";
import { type OptionSpec, type TimeUnit, usage } from "./spec.ts";

type Numeric = Required<Pick<OptionSpec, "parse" | "range" | "refusal">>;

/** @param read gives NaN for text that is no such number */
function numeric(
  [least, most]: Bounds,
  whole: boolean,
  refusal: (text: string) => string,
  read: (text: string) => number,
): Numeric {
  return {
    range: { least, most, whole },
    refusal,
    parse: (text) => {
      const value = read(text);
      if (value >= least && value <= most) return value;
      throw usage(refusal(text));
    },
  };
}

export const integer = (name: string, bounds: Bounds): Numeric =>
  numeric(
    bounds,
    true,
    (text) => `${name} takes a whole number from ${bounds[0]} to ${bounds[1]}, not "${text}"`,
    (text) => (/^\d+$/.test(text) ? Number(text) : Number.NaN),
  );

export const decimal = (name: string, bounds: Bounds): Numeric =>
  numeric(
    bounds,
    false,
    (text) => `${name} takes a number from ${bounds[0]} to ${bounds[1]}, such as 0.999, not "${text}"`,
    (text) => (/^\d*\.?\d+$/.test(text) ? Number(text) : Number.NaN),
  );

const UNITS = { d: 86_400_000, h: 3_600_000, m: 60_000, s: 1000, ms: 1 } as const;

/** A time in the largest unit that leaves it whole: `31d`, `100ms`. */
function timeText(ms: number): string {
  const [unit, length] = Object.entries(UNITS).find(([, each]) => ms % each === 0) ?? ["ms", 1];
  return `${ms / length}${unit}`;
}

/** Three times within the bounds, as examples. */
function exampleTimes([least, most]: Bounds, unit: TimeUnit): string {
  const plain = unit === "s" ? "30 (seconds)" : "500 (milliseconds)";
  const all = {
    [plain]: unit === "s" ? 30_000 : 500,
    "800ms": 800,
    "2m": 120_000,
    "6h": 21_600_000,
    "5s": 5000,
  };
  const within = Object.keys(all).filter((text) => all[text] >= least && all[text] <= most);
  return `${within.slice(0, 2).join(", ")} or ${within[2]}`;
}

/**
 * A time as nmap writes it, in milliseconds: 800ms, 30s, 15m, 2h; days, too: 7d.
 * @param bounds in milliseconds
 * @param unit what a number without a unit is in
 */
export function duration(
  name: string,
  [least, most]: Bounds,
  unit: TimeUnit,
): Numeric & Pick<OptionSpec, "unit"> {
  const refusal = (text: string): string =>
    `${name} takes a time from ${timeText(least)} to ${timeText(most)}, such as ${exampleTimes([least, most], unit)}, not "${text}"`;
  return {
    unit,
    // Of a number without a unit, as a configuration may have it.
    range: { least: least / UNITS[unit], most: most / UNITS[unit], whole: false },
    refusal,
    parse: (text) => {
      const [, number, given = unit] = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)?$/.exec(text) ?? [];
      const ms = Number(number) * UNITS[given as keyof typeof UNITS];
      if (ms >= least && ms <= most) return ms;
      throw usage(refusal(text));
    },
  };
}

/** What times come to that were written without a unit: `--host-timeout 30 is 30s`. @param textOf as an option was written */
export const timesWithoutUnit = (
  specs: readonly OptionSpec[],
  textOf: (spec: OptionSpec) => string | undefined,
): string[] =>
  specs.flatMap((spec) => {
    const text = spec.unit === undefined ? undefined : textOf(spec);
    return text !== undefined && /^[\d.]+$/.test(text)
      ? [`${spec.flags.replace(/ .*/, "")} ${text} is ${text}${spec.unit}`]
      : [];
  });

const TEMPLATES = ["paranoid", "sneaky", "polite", "normal", "aggressive", "insane"];

/** nmap's timing template, by number or by name. */
export const template = (name: string, bounds: Bounds): Numeric & Pick<OptionSpec, "values"> => ({
  values: TEMPLATES.map((_, number) => String(number)),
  ...numeric(
    bounds,
    true,
    (text) => {
      const ports = /^:/.test(text) ? ": ports stand after -p, or after a target's colon" : "";
      return `${name} takes a number from 0 (paranoid) to 5 (insane), not "${text}"${ports}`;
    },
    (text) => (/^\d$/.test(text) ? Number(text) : TEMPLATES.includes(text) ? TEMPLATES.indexOf(text) : NaN),
  ),
});

/** One of some words. */
export function oneOf(
  name: string,
  words: readonly string[],
): Required<Pick<OptionSpec, "parse" | "refusal" | "values">> {
  const refusal = (text: string): string =>
    `${name} takes ${words.slice(0, -1).join(", ")} or ${words.at(-1)}, not "${text}"`;
  return {
    values: words,
    refusal,
    parse: (text) => {
      if (words.includes(text)) return text;
      throw usage(refusal(text));
    },
  };
}

export interface Shard {
  /** From 0. */
  readonly index: number;
  readonly count: number;
}

/** `--shard 2/5`: the second of five. */
export function parseShard(text: string): Shard {
  const match = /^(\d+)\/(\d+)$/.exec(text);
  const index = Number(match?.[1]);
  const count = Number(match?.[2]);
  if (match !== null && index >= 1 && index <= count && count <= BOUNDS.shards[1]) {
    return { index: index - 1, count };
  }
  throw usage(
    `--shard takes index/count with an index from 1 to count, such as 1/4 for the first of four, not "${text}"`,
  );
}

/** `--seed`: 64 bits, decimal or 0x… */
export function parseSeed(text: string): bigint {
  const value = /^(\d{1,20}|0x[0-9a-f]{1,16})$/i.test(text) ? BigInt(text) : 1n << 64n;
  if (value < 1n << 64n) return value;
  throw usage(`--seed takes a whole number below 2^64, decimal or 0x…, not "${text}"`);
}

/** An option's list of ports. @param name as it stands before an error @throws {SynprobeError} as parsePorts does */
export function portsOf(name: string, text: string, services: Services): Uint16Array {
  try {
    return parsePorts(text, services);
  } catch (error) {
    if (!(error instanceof SynprobeError)) throw error;
    throw new SynprobeError(error.code, `${name} ${text}: ${error.message}`);
  }
}
