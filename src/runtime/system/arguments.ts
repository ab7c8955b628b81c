/**
 * Checks of what callers of the library pass: numbers, a host with a port, a signal. JavaScript callers have no types.
 */
import { getMaxListeners, setMaxListeners } from "node:events";
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import { parseTarget, type TargetSpec } from "../../scan/targets/grammar.ts";
import { parseServices } from "../../scan/targets/services.ts";
import { formatEndpoint } from "../../wire/address.ts";

const usage = (message: string): SynprobeError => new SynprobeError(ERROR_CODES.usage, message);

/** @throws {SynprobeError} `ERR_USAGE` unless it is a whole number from `least` to `most` */
export function wholeNumber(name: string, value: number, least: number, most: number): number {
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw usage(`${name} is a whole number from ${least} to ${most}, not ${String(value)}`);
}

/** Options that mean the same to `path` and to `connect`. */
export const SHARED_OPTIONS = ["interface", "sourceIp", "family", "signal"] as const;

interface SharedOptions {
  readonly interface?: string;
  readonly sourceIp?: string;
  readonly family?: 4 | 6;
  readonly signal?: AbortSignal;
}

/**
 * @param names all options that there are
 * @throws {SynprobeError} `ERR_USAGE` for one that does not exist, and for a shared one with a wrong value
 */
export function checkShared(options: SharedOptions, names: readonly string[]): void {
  for (const name of Object.keys(options))
    if (!names.includes(name)) throw usage(`there is no option ${name}`);
  const { family, signal } = options;
  for (const name of ["interface", "sourceIp"] as const) {
    if (options[name] !== undefined && typeof options[name] !== "string") throw usage(`${name} is a text`);
  }
  if (family !== undefined && family !== 4 && family !== 6) throw usage("family is 4 or 6");
  if (signal !== undefined && !(signal instanceof AbortSignal)) throw usage("signal is an AbortSignal");
}

/** @throws {SynprobeError} `ERR_PORT`, `ERR_USAGE`, `ERR_TARGET_SYNTAX` */
export function oneTarget(host: string, port: number): TargetSpec {
  if (!Number.isInteger(port) || port < 1 || port > 65_535) {
    throw new SynprobeError(ERROR_CODES.port, `port is a whole number from 1 to 65535, not ${String(port)}`);
  }
  if (typeof host !== "string") throw usage("host is a name or an IP address");
  return parseTarget(formatEndpoint(host, port), parseServices(""));
}

/**
 * Listens for the abort of a signal that many calls may share: Node takes more than ten listeners for a leak, and would print a
 * warning about them.
 * @returns stops listening; to be called once
 */
export function onAbort(signal: AbortSignal | undefined, abort: () => void): () => void {
  if (signal === undefined) return () => {};
  const allowMore = (by: 1 | -1): void => {
    const most = getMaxListeners(signal);
    // 0 is any number of them.
    if (most > 0) setMaxListeners(most + by, signal);
  };
  allowMore(1);
  signal.addEventListener("abort", abort, { once: true });
  return () => {
    signal.removeEventListener("abort", abort);
    allowMore(-1);
  };
}

/** Stops waiting for something that cannot be cancelled, such as a name lookup. Rejects with the signal's reason. */
export function orAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason);
    if (signal.aborted) abort();
    const leaveSignal = onAbort(signal, abort);
    promise.then(resolve, reject).finally(leaveSignal);
  });
}
