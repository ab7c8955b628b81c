/**
 * Checks of what callers of the library pass: numbers, a host with a port, a signal. JavaScript callers have no types.
 */
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import { parseTarget, type TargetSpec } from "../../scan/targets/grammar.ts";
import { parseServices } from "../../scan/targets/services.ts";
import { formatEndpoint } from "../../wire/address.ts";

/** @throws {SynprobeError} `ERR_USAGE` unless it is a whole number from `least` to `most` */
export function wholeNumber(name: string, value: number, least: number, most: number): number {
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw new SynprobeError(
    ERROR_CODES.usage,
    `${name} is a whole number from ${least} to ${most}, not ${String(value)}`,
  );
}

/** @throws {SynprobeError} `ERR_PORT`, `ERR_USAGE`, `ERR_TARGET_SYNTAX` */
export function oneTarget(host: string, port: number): TargetSpec {
  if (!Number.isInteger(port) || port < 1 || port > 65_535) {
    throw new SynprobeError(ERROR_CODES.port, `port is a whole number from 1 to 65535, not ${String(port)}`);
  }
  if (typeof host !== "string") throw new SynprobeError(ERROR_CODES.usage, "host is a name or an IP address");
  return parseTarget(formatEndpoint(host, port), parseServices(""));
}

/** Stops waiting for something that cannot be cancelled, such as a name lookup. Rejects with the signal's reason. */
export function orAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
