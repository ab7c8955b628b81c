/**
 * Lines of the table as bytes, of the same ports as those of ndjson-bytes.ts, and for the same reason. The bytes are those of table.ts,
 * without colours.
 */
import { escapeWord } from "../escape.ts";
import type { PackedResult } from "../reporter.ts";
import {
  ascii,
  DOT,
  digitsOf,
  isPlain,
  LONGEST_SERVICE,
  put,
  putAddress,
  putNumber,
  wholeUs,
} from "./ndjson-bytes.ts";

const COLON = 0x3a;
const SPACE = 0x20;
const GAP = ascii("  ");
const MS = ascii(" ms  ");
const END = ascii("\n");
/** Round trips from here on, in microseconds, have two decimals. */
const FEWER_DECIMALS = 1_000_000;
const WIDTHS = { state: 8, service: 12, rtt: 3, ttl: 3, tries: 5 };

/** A number, with spaces before it. */
function putPadded(n: number, width: number, b: Uint8Array, start: number): number {
  let at = start;
  for (let i = digitsOf(n); i < width; i++) b[at++] = SPACE;
  return putNumber(n, b, at);
}

/** @param serviceOf the system's name of a port */
export function createTableLines(serviceOf: (port: number) => string | undefined) {
  const byReason = new Map<string, readonly [state: Uint8Array, reason: Uint8Array]>();
  const services: Uint8Array[] = [];

  function partsOf(state: string, reason: string): readonly [Uint8Array, Uint8Array] {
    const known = byReason.get(reason);
    if (known !== undefined) return known;
    const parts = [ascii(`  ${state.padEnd(WIDTHS.state)}  `), ascii(reason)] as const;
    byReason.set(reason, parts);
    return parts;
  }

  /** Escaped it may have an ellipsis, which is no ASCII: longer names are not taken. */
  function servicePart(port: number): Uint8Array {
    services[port] ??= Buffer.from(`${escapeWord(serviceOf(port) ?? "-").padEnd(WIDTHS.service)}  `);
    return services[port];
  }

  return {
    takes: (packed: PackedResult): boolean =>
      isPlain(packed) &&
      wholeUs(packed.rttUs) < FEWER_DECIMALS &&
      servicePart(packed.port).length <= LONGEST_SERVICE,
    /**
     * Puts its line at `start`, where there is room for LONGEST_LINE bytes.
     * @param targetWidth columns of its first cell, of which no address and port takes more
     * @returns where the line ends
     */
    put: (b: Uint8Array, start: number, packed: PackedResult, targetWidth: number): number => {
      const { peer, port, state, reason, rttUs, ttl, tries } = packed;
      const [statePart, reasonPart] = partsOf(state, reason);
      let at = putAddress(peer[3], b, start);
      b[at++] = COLON;
      at = putNumber(port, b, at);
      while (at < start + targetWidth) b[at++] = SPACE;
      at = put(servicePart(port), b, put(statePart, b, at));
      const us = wholeUs(rttUs);
      const ms = (us / 1000) | 0;
      at = putPadded(ms, WIDTHS.rtt, b, at);
      // A leading 1, which the point then takes the place of, keeps the zeros.
      at = putNumber(1000 + us - ms * 1000, b, at);
      b[at - 4] = DOT;
      at = put(GAP, b, putPadded(ttl, WIDTHS.ttl, b, put(MS, b, at)));
      at = put(GAP, b, putPadded(tries, WIDTHS.tries, b, at));
      return put(END, b, put(reasonPart, b, at));
    },
  };
}
