/**
 * What routers add to an ICMP error behind the quote (RFC 4884): of its objects the MPLS label stack that the packet had when it
 * was dropped (RFC 4950).
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +-------+-----------------------+-------------------------------+
 *   0 |Version|       Reserved        |           Checksum            |
 *     +-------+-----------------------+---------------+---------------+
 *   4 |             Length            |   Class-Num   |    C-Type     |
 *     +-------------------------------+---------------+---------------+
 *   8 |  Object: MPLS stack entries of 4 bytes, 20 bits of each label |
 *     +---------------------------------------------------------------+
 *
 * Other objects are stepped over. Routers older than RFC 4884 give no length and put the extension behind 128 bytes of quote.
 */
import { putU16, putU32, u16, u32 } from "./bytes.ts";
import { checksum } from "./checksum.ts";
import { HEADER_LENGTH } from "./icmp-header.ts";

/** One entry of a label stack (RFC 3032). */
export interface MplsLabel {
  /** 0 to 2^20 - 1. */
  readonly label: number;
  /** Traffic class, 0 to 7. */
  readonly trafficClass: number;
  readonly ttl: number;
}

/** Bytes of quote before the extension where no length is given (RFC 4884 5.5), and the least where one is. */
const LEAST_QUOTE = 128;
const VERSION = 2;
const EXTENSION_HEADER = 4;
const OBJECT_HEADER = 4;
const MPLS_CLASS = 1;
const INCOMING_STACK = 1;
const ENTRY_LENGTH = 4;

/** Where the length of the quote stands, and the bytes that it counts in: 32-bit words for ICMP, 64-bit ones for ICMPv6. */
const LENGTH_FIELD = { 4: { at: 5, unit: 4 }, 6: { at: 4, unit: 8 } } as const;

/** Where the quote of the error `[at, end)` ends: before its extension, if it says that there is one. */
export function quoteEnd(b: Uint8Array, at: number, end: number, version: 4 | 6): number {
  const field = LENGTH_FIELD[version];
  const length = b[at + field.at] * field.unit;
  return length === 0 ? end : Math.min(end, at + HEADER_LENGTH + length);
}

/** The label stack in the error `[at, end)`, outermost label first; none where there is no extension, or a broken one. */
export function mplsLabels(b: Uint8Array, at: number, end: number, version: 4 | 6): MplsLabel[] {
  const told = quoteEnd(b, at, end, version);
  const start = told < end ? told : at + HEADER_LENGTH + LEAST_QUOTE;
  if (start + EXTENSION_HEADER > end || b[start] >>> 4 !== VERSION) return [];
  // A checksum of 0 is none; without a told length it is all that tells an extension from the packet's own bytes.
  const unchecked = u16(b, start + 2) === 0;
  if (unchecked ? told === end : checksum(b, start, end) !== 0) return [];
  let object = start + EXTENSION_HEADER;
  while (object + OBJECT_HEADER <= end) {
    const length = u16(b, object);
    const next = object + length;
    if (length < OBJECT_HEADER || next > end) return [];
    if (b[object + 2] === MPLS_CLASS && b[object + 3] === INCOMING_STACK) {
      const labels: MplsLabel[] = [];
      for (let entry = object + OBJECT_HEADER; entry + ENTRY_LENGTH <= next; entry += ENTRY_LENGTH) {
        const word = u32(b, entry);
        labels.push({ label: word >>> 12, trafficClass: (word >>> 9) & 7, ttl: word & 0xff });
      }
      return labels;
    }
    object = next;
  }
  return [];
}

/**
 * The body of an error of this version that quotes `quoted` and has a label stack: quote, padding, extension. Its message has to
 * carry `rest` in its second word.
 */
export function withMplsLabels(
  quoted: Uint8Array,
  version: 4 | 6,
  labels: readonly MplsLabel[],
): { readonly body: Uint8Array; readonly rest: number } {
  const { unit } = LENGTH_FIELD[version];
  const start = Math.max(LEAST_QUOTE, Math.ceil(quoted.length / unit) * unit);
  const objectLength = OBJECT_HEADER + labels.length * ENTRY_LENGTH;
  const body = new Uint8Array(start + EXTENSION_HEADER + objectLength);
  body.set(quoted);
  body[start] = VERSION << 4;
  const object = start + EXTENSION_HEADER;
  putU16(body, object, objectLength);
  body[object + 2] = MPLS_CLASS;
  body[object + 3] = INCOMING_STACK;
  labels.forEach(({ label, trafficClass, ttl }, i) => {
    const bottom = i === labels.length - 1 ? 0x100 : 0;
    const word = ((label << 12) | (trafficClass << 9) | bottom | ttl) >>> 0;
    putU32(body, object + OBJECT_HEADER + i * ENTRY_LENGTH, word);
  });
  putU16(body, start + 2, checksum(body, start, body.length));
  return { body, rest: version === 4 ? (start / unit) << 16 : ((start / unit) << 24) >>> 0 };
}
