/**
 * Fields of a JSON object of a line, each with its type checked: what the readers of JSON lines share.
 * Tested by test/report/read/read.test.ts.
 */
import { isIP } from "node:net";
import { canonicalAddress } from "../addresses.ts";
import type { ReadFault } from "./recorded.ts";

export type Fields = {
  readonly [name: string]: unknown;
  readonly type?: unknown;
  readonly proto?: unknown;
  readonly interrupted?: unknown;
  readonly hops?: unknown;
  readonly ip?: unknown;
  readonly shown?: unknown;
  readonly silence?: unknown;
  readonly state?: unknown;
  readonly port?: unknown;
  readonly from?: unknown;
};

export const isObject = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** The value of a line; undefined when it is not JSON. */
export function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

/** @param fault makes the error to throw */
export function createFields(fault: ReadFault) {
  function number(fields: Fields, key: string, low = 0, high = Number.MAX_VALUE): number {
    const value = fields[key];
    if (typeof value === "number" && value >= low && value <= high) return value;
    throw fault(`"${key}" is ${say(value)}, not a number from ${low}${high < 1e300 ? ` to ${high}` : ""}`);
  }

  function optional(fields: Fields, key: string, low?: number, high?: number): number | undefined {
    return fields[key] === undefined || fields[key] === null ? undefined : number(fields, key, low, high);
  }

  function text(fields: Fields, key: string): string {
    const value = fields[key];
    if (typeof value === "string") return value;
    throw fault(`"${key}" is ${say(value)}, not a text`);
  }

  const optionalText = (fields: Fields, key: string): string | undefined =>
    fields[key] === undefined ? undefined : text(fields, key);

  function part(fields: Fields, key: string): Fields | undefined {
    const value = fields[key];
    if (value === undefined || isObject(value)) return value;
    throw fault(`"${key}" is ${say(value)}, not an object`);
  }

  function list(fields: Fields, key: string): Fields[] | undefined {
    const value = fields[key];
    if (value === undefined) return undefined;
    if (Array.isArray(value) && value.every(isObject)) return value;
    throw fault(`"${key}" is ${say(value)}, not a list of objects`);
  }

  function texts(fields: Fields, key: string): readonly string[] | undefined {
    const value = fields[key];
    if (value === undefined) return undefined;
    if (Array.isArray(value) && value.every((each) => typeof each === "string")) return value;
    throw fault(`"${key}" is ${say(value)}, not a list of texts`);
  }

  function time(fields: Fields, key: string): number | undefined {
    const value = optionalText(fields, key);
    if (value === undefined) return undefined;
    const ms = Date.parse(value);
    if (Number.isNaN(ms)) throw fault(`"${key}" is ${say(value)}, not a time`);
    return ms;
  }

  function oneOf<T extends string>(words: readonly T[], fields: Fields, key: string): T {
    const found = words.find((word) => word === fields[key]);
    if (found !== undefined) return found;
    throw fault(`"${key}" is ${say(fields[key])}, not ${words.join(", ")}`);
  }

  function wholePort(fields: Fields): number {
    const port = number(fields, "port", 0, 65_535);
    if (Number.isInteger(port)) return port;
    throw fault(`"port" is ${port}, not a whole number`);
  }

  function address(fields: Fields, key: string): string {
    const ip = text(fields, key);
    if (isIP(ip) !== 0) return canonicalAddress(ip);
    throw fault(`"${key}" is ${say(ip)}, not an address`);
  }

  return { number, optional, text, optionalText, part, list, texts, time, oneOf, wholePort, address };
}

/** A value for a message: short, and on one line. */
export function say(value: unknown): string {
  const json = JSON.stringify(value) ?? "missing";
  return json.length > 60 ? `${json.slice(0, 59)}…` : json;
}
