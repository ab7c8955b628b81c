/**
 * The TCP header (RFC 9293 3.1).
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +-------------------------------+-------------------------------+
 *   0 |          Source Port          |       Destination Port        |
 *     +-------------------------------+-------------------------------+
 *   4 |                        Sequence Number                        |
 *     +---------------------------------------------------------------+
 *   8 |                     Acknowledgement Number                    |
 *     +-------+-----+-+-+-+-+-+-+-+-+-+-------------------------------+
 *     | Data  |     |A|C|E|U|A|P|R|S|F|                               |
 *  12 | Off-  |Rsrvd|E|W|C|R|C|S|S|Y|I|            Window             |
 *     | set   |     | |R|E|G|K|H|T|N|N|                               |
 *     +-------+-----+-+-+-+-+-+-+-+-+-+-------------------------------+
 *  16 |           Checksum            |        Urgent Pointer         |
 *     +-------------------------------+-------------------------------+
 *  20 |                  Options, padded to 32 bits                   |
 *     +---------------------------------------------------------------+
 *
 * Accessors read the bytes at `at` and check nothing: `checkLength` comes first. Any combination of control
 * bits and any option bytes are accepted: a prober records what came back. What options say is in
 * tcp-options.ts; what a segment means is for the socket to decide.
 */
import { copy, putU16, putU32, u16, u32 } from "./bytes.ts";
import { checksum, fold, sum } from "./checksum.ts";

/** Bytes in a header without options. */
export const HEADER_LENGTH = 20;

export const SOURCE_PORT = 0;
export const DESTINATION_PORT = 2;
export const SEQUENCE = 4;
export const ACKNOWLEDGEMENT = 8;
/** The upper four bits of this byte. */
export const DATA_OFFSET = 12;
/** Eight of the nine control bits; AE is the lowest bit of the byte before. */
export const CONTROL_BITS = 13;
export const WINDOW = 14;
export const CHECKSUM = 16;
export const URGENT_POINTER = 18;
export const OPTIONS = 20;

/** The control bits (RFC 9293 3.1), with AE, once NS, from RFC 9768. */
export const FLAGS = {
  FIN: 1,
  SYN: 2,
  RST: 4,
  PSH: 8,
  ACK: 16,
  URG: 32,
  ECE: 64,
  CWR: 128,
  AE: 256,
} as const;

const ALL_FLAGS = 0x1ff;
const MAX_OPTIONS_LENGTH = 40;

/**
 * The length of the header with its options (20 … 60 bytes), or 0 when `[at, end)` does not hold one:
 * truncated, or a data offset that is below 5 or beyond `end`. `end` is where the IP payload ends.
 */
export function checkLength(b: Uint8Array, at: number, end: number): number {
  if (at + HEADER_LENGTH > end) return 0;
  const length = headerLength(b, at);
  return length >= HEADER_LENGTH && at + length <= end ? length : 0;
}

/** Header and options in bytes, 0 … 60, as the data offset field says. */
export function headerLength(b: Uint8Array, at: number): number {
  return (b[at + DATA_OFFSET] >>> 4) * 4;
}

export function sourcePort(b: Uint8Array, at: number): number {
  return u16(b, at + SOURCE_PORT);
}

export function destinationPort(b: Uint8Array, at: number): number {
  return u16(b, at + DESTINATION_PORT);
}

/** 0 … 2^32 - 1. Sequence numbers wrap: compare them modulo 2^32. */
export function sequence(b: Uint8Array, at: number): number {
  return u32(b, at + SEQUENCE);
}

/** 0 … 2^32 - 1; it means something only with ACK set. */
export function acknowledgement(b: Uint8Array, at: number): number {
  return u32(b, at + ACKNOWLEDGEMENT);
}

/** The nine control bits, a sum of `FLAGS`. */
export function flags(b: Uint8Array, at: number): number {
  return u16(b, at + DATA_OFFSET) & ALL_FLAGS;
}

/** 0 … 65535 bytes, not yet scaled (RFC 7323 2); never scaled in a SYN. */
export function window(b: Uint8Array, at: number): number {
  return u16(b, at + WINDOW);
}

export function checksumField(b: Uint8Array, at: number): number {
  return u16(b, at + CHECKSUM);
}

export function urgentPointer(b: Uint8Array, at: number): number {
  return u16(b, at + URGENT_POINTER);
}

/** What `verifyChecksum` says. */
export const CHECKSUM_VERDICT = {
  good: "good",
  offloaded: "offloaded",
  bad: "bad",
} as const;
export type ChecksumVerdict = (typeof CHECKSUM_VERDICT)[keyof typeof CHECKSUM_VERDICT];

/**
 * Checks the checksum of the segment `[at, end)`, header and data, under the pseudo-header of `pseudoSum`.
 *
 * "offloaded": the segment was sent by this machine's kernel and never crossed a wire. On loopback and veth
 * Linux leaves the checksum to hardware that is not there (CHECKSUM_PARTIAL) and only puts the folded
 * pseudo-header sum, not complemented, in the field; a raw or packet socket sees it like that. It vouches for
 * addresses and length, but not for the segment: trust it where no wire is in between.
 */
export function verifyChecksum(b: Uint8Array, at: number, end: number, pseudoSum: number): ChecksumVerdict {
  if (fold(sum(b, at, end, pseudoSum)) === 0xffff) return CHECKSUM_VERDICT.good;
  return checksumField(b, at) === fold(pseudoSum) ? CHECKSUM_VERDICT.offloaded : CHECKSUM_VERDICT.bad;
}

/** Computes the checksum of the segment `[at, end)`, header and data, and writes it into its field. */
export function fillChecksum(b: Uint8Array, at: number, end: number, pseudoSum: number): void {
  putU16(b, at + CHECKSUM, 0);
  putU16(b, at + CHECKSUM, checksum(b, at, end, pseudoSum));
}

/** A header as a value. The three reserved bits are not in it. */
export interface TcpHeader {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly sequence: number;
  readonly acknowledgement: number;
  /** Header and options in bytes, as parsed. `emit` takes it from `options` instead. */
  readonly dataOffset: number;
  /** A sum of `FLAGS`. */
  readonly flags: number;
  readonly window: number;
  /** The field's value, unscaled. */
  readonly checksum: number;
  readonly urgentPointer: number;
  /**
   * As they stand in the header, padding included, at most 40 bytes; `emit` pads with zeros to a multiple of
   * 4.
   */
  readonly options: Uint8Array;
}

/**
 * The header at `at`, in memory of its own, or undefined when `checkLength` refuses it. The checksum is not
 * verified.
 */
export function parse(b: Uint8Array, at: number, end: number): TcpHeader | undefined {
  const length = checkLength(b, at, end);
  if (length === 0) return undefined;
  return {
    sourcePort: sourcePort(b, at),
    destinationPort: destinationPort(b, at),
    sequence: sequence(b, at),
    acknowledgement: acknowledgement(b, at),
    dataOffset: length,
    flags: flags(b, at),
    window: window(b, at),
    checksum: checksumField(b, at),
    urgentPointer: urgentPointer(b, at),
    options: copy(b, at + OPTIONS, at + length),
  };
}

/** Bytes that `emit` will write. Throws a RangeError when the options do not fit a header. */
export function bufferLength(h: TcpHeader): number {
  if (h.options.length > MAX_OPTIONS_LENGTH) {
    throw new RangeError(`TCP options take ${h.options.length} bytes; at most ${MAX_OPTIONS_LENGTH} fit`);
  }
  return HEADER_LENGTH + Math.ceil(h.options.length / 4) * 4;
}

/**
 * Writes every byte of the header, with the checksum as given (see `fillChecksum`), and returns its length.
 */
export function emit(b: Uint8Array, at: number, h: TcpHeader): number {
  const length = bufferLength(h);
  putU16(b, at + SOURCE_PORT, h.sourcePort);
  putU16(b, at + DESTINATION_PORT, h.destinationPort);
  putU32(b, at + SEQUENCE, h.sequence);
  putU32(b, at + ACKNOWLEDGEMENT, h.acknowledgement);
  putU16(b, at + DATA_OFFSET, ((length / 4) << 12) | (h.flags & ALL_FLAGS));
  putU16(b, at + WINDOW, h.window);
  putU16(b, at + CHECKSUM, h.checksum);
  putU16(b, at + URGENT_POINTER, h.urgentPointer);
  b.set(h.options, at + OPTIONS);
  b.fill(0, at + OPTIONS + h.options.length, at + length);
  return length;
}

/** The names of the control bits that are set, lowest bit first: "SYN,ACK"; "none" when none is. */
export function flagNames(flags: number): string {
  const names = Object.entries(FLAGS).filter(([, bit]) => (flags & bit) !== 0);
  return names.length === 0 ? "none" : names.map(([name]) => name).join(",");
}
