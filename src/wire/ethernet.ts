/**
 * The Ethernet II header (IEEE 802.3 3.2.6; RFC 894 and RFC 2464 for IP in it).
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +---------------------------------------------------------------+
 *   0 |                      Destination address                      |
 *     +                               +-------------------------------+
 *   4 |                               |                               |
 *     +-------------------------------+                               +
 *   8 |                        Source address                         |
 *     +-------------------------------+-------------------------------+
 *  12 |           EtherType           |
 *     +-------------------------------+
 *
 * Tags (IEEE 802.1Q 9.3: TPID and TCI, four bytes each) come before the EtherType; reading skips them, writing has none.
 * A value below 0x600 is the length of an IEEE 802.3 frame, which is not Ethernet II: it is left to the caller, which finds no
 * EtherType that it knows.
 */
import { copy, putU16, u16 } from "./bytes.ts";

/** Bytes in a header without tags. */
export const HEADER_LENGTH = 14;

export const DESTINATION = 0;
export const SOURCE = 6;
export const ETHERTYPE_AT = 12;

export const ETHERTYPE = { IPV4: 0x0800, ARP: 0x0806, IPV6: 0x86dd } as const;

const TAG_LENGTH = 4;
/** Tag protocol identifiers: customer tag (802.1Q) and service tag (802.1ad). */
const C_TAG = 0x8100;
const S_TAG = 0x88a8;

/** A hardware address: 6 bytes, in the order in which they are sent. */
export type Mac = Uint8Array;
export const MAC_LENGTH = 6;

/**
 * The length of the header with its tags (14, 18, 22 …), or 0 when `[at, end)` is too short for it. The payload may be
 * empty, and may be followed by padding.
 */
export function checkLength(b: Uint8Array, at: number, end: number): number {
  for (let length = HEADER_LENGTH; at + length <= end; length += TAG_LENGTH) {
    const type = etherType(b, at, length);
    if (type !== C_TAG && type !== S_TAG) return length;
  }
  return 0;
}

/** What the payload is: one of ETHERTYPE, or any other. `length` is what `checkLength` gave. */
export function etherType(b: Uint8Array, at: number, length = HEADER_LENGTH): number {
  return u16(b, at + length - 2);
}

/** A header as a value, tags left out. */
export interface EthernetHeader {
  readonly destination: Mac;
  readonly source: Mac;
  readonly etherType: number;
}

/** The header at `at`, in memory of its own, or undefined when `checkLength` refuses it. */
export function parse(b: Uint8Array, at: number, end: number): EthernetHeader | undefined {
  const length = checkLength(b, at, end);
  if (length === 0) return undefined;
  return {
    destination: copy(b, at + DESTINATION, at + SOURCE),
    source: copy(b, at + SOURCE, at + ETHERTYPE_AT),
    etherType: etherType(b, at, length),
  };
}

/** Bytes that `emit` will write. */
export function bufferLength(_h: EthernetHeader): number {
  return HEADER_LENGTH;
}

/** Writes every byte of the header and returns its length. */
export function emit(b: Uint8Array, at: number, h: EthernetHeader): number {
  b.set(h.destination, at + DESTINATION);
  b.set(h.source, at + SOURCE);
  putU16(b, at + ETHERTYPE_AT, h.etherType);
  return HEADER_LENGTH;
}

/** The 6 bytes at `at` as "02:00:5e:00:53:01". */
export function formatMac(b: Uint8Array, at = 0): string {
  return Array.from({ length: MAC_LENGTH }, (_, i) => b[at + i].toString(16).padStart(2, "0")).join(":");
}

/** The address that six pairs of hex digits spell, all joined by ":" or all by "-"; undefined when `text` is none. */
export function parseMac(text: string): Mac | undefined {
  if (!/^[0-9a-f]{2}([:-])(?:[0-9a-f]{2}\1){4}[0-9a-f]{2}$/i.test(text)) return undefined;
  return Uint8Array.from(text.split(/[:-]/), (pair) => Number.parseInt(pair, 16));
}
