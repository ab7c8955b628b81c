/**
 * Neighbour solicitations and advertisements, the two ICMPv6 messages that find a link-layer address (RFC 4861 4.3, 4.4).
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +---------------+---------------+-------------------------------+
 *   0 | Type 135, 136 |    Code 0     |           Checksum            |
 *     +-+-+-+---------+---------------+-------------------------------+
 *   4 |R|S|O|      Reserved; the three flags in advertisements only   |
 *     +-+-+-+---------------------------------------------------------+
 *   8 |                  Target Address (16 bytes)                    |
 *     +---------------+---------------+-------------------------------+
 *  24 |     Type      |   Length / 8  |  Options: a link-layer        |
 *     +---------------+---------------+  address, and others          +
 *
 * The checksum and its pseudo-header are ICMPv6's (icmpv6.ts). That the hop limit was 255 only the IP header tells, and it
 * is the caller's to check (RFC 4861 7.1). Routers, redirects and prefixes are not modelled.
 */
import type { Address } from "./address.ts";
import { copy, putU16, putU32, u32 } from "./bytes.ts";
import { checksum } from "./checksum.ts";
import { CHECKSUM, CODE_OF_MESSAGE, TYPE_OF_MESSAGE, type } from "./icmp-header.ts";
import { TYPE } from "./icmpv6.ts";

/** Bytes before the options. */
export const HEADER_LENGTH = 24;
/** The hop limit of every message: it has crossed no router (RFC 4861 7.1). */
export const HOP_LIMIT = 255;

export const FLAGS_FIELD = 4;
export const TARGET = 8;
export const OPTIONS = 24;

/** Flags of an advertisement. */
export const FLAGS = { ROUTER: 0x8000_0000, SOLICITED: 0x4000_0000, OVERRIDE: 0x2000_0000 } as const;

/** Option types with a link-layer address: the sender's in a solicitation, the target's in an advertisement. */
export const OPTION = { SOURCE_LINK_ADDRESS: 1, TARGET_LINK_ADDRESS: 2 } as const;

const LINK_ADDRESS_LENGTH = 6;
const LINK_OPTION_LENGTH = 8;

/**
 * 24, or 0 when `[at, end)` is no solicitation or advertisement: truncated, another type or code, or an option that is
 * empty or cut off (RFC 4861 7.1 wants such a message dropped).
 */
export function checkLength(b: Uint8Array, at: number, end: number): number {
  if (at + HEADER_LENGTH > end || b[at + CODE_OF_MESSAGE] !== 0) return 0;
  const kind = type(b, at);
  if (kind !== TYPE.NEIGHBOUR_SOLICITATION && kind !== TYPE.NEIGHBOUR_ADVERTISEMENT) return 0;
  let option = at + OPTIONS;
  while (option + 2 <= end) {
    if (b[option + 1] === 0) return 0;
    option += optionLength(b, option);
  }
  return option === end ? HEADER_LENGTH : 0;
}

/** Bytes of the option at `at`; the field counts units of eight. */
function optionLength(b: Uint8Array, at: number): number {
  return b[at + 1] * 8;
}

/** The word of flags, unsigned: a sum of `FLAGS`. */
export function flags(b: Uint8Array, at: number): number {
  return u32(b, at + FLAGS_FIELD);
}

/** Where the six bytes of an Ethernet address in the first option of type `wanted` stand; -1 without one. */
export function linkAddressAt(b: Uint8Array, at: number, end: number, wanted: number): number {
  for (let option = at + OPTIONS; option < end; option += optionLength(b, option)) {
    if (b[option] === wanted) return optionLength(b, option) === LINK_OPTION_LENGTH ? option + 2 : -1;
  }
  return -1;
}

/** A message as a value. Options other than its own link-layer address are not in it. */
export interface NeighbourMessage {
  readonly type: typeof TYPE.NEIGHBOUR_SOLICITATION | typeof TYPE.NEIGHBOUR_ADVERTISEMENT;
  /** A sum of `FLAGS`; 0 in a solicitation. */
  readonly flags: number;
  /** Whose link-layer address is asked for or told. */
  readonly target: Address;
  /** 6 bytes: the sender's in a solicitation, the target's in an advertisement. */
  readonly linkAddress?: Uint8Array;
}

/** Which option of a message of this type carries its own link-layer address. */
const ownOption = (kind: number): number =>
  kind === TYPE.NEIGHBOUR_SOLICITATION ? OPTION.SOURCE_LINK_ADDRESS : OPTION.TARGET_LINK_ADDRESS;

/** The message at `at`, in memory of its own, or undefined when `checkLength` refuses it. The checksum is not verified. */
export function parse(b: Uint8Array, at: number, end: number): NeighbourMessage | undefined {
  if (checkLength(b, at, end) === 0) return undefined;
  const kind = type(b, at) as NeighbourMessage["type"];
  const linkAt = linkAddressAt(b, at, end, ownOption(kind));
  return {
    type: kind,
    flags: flags(b, at),
    target: copy(b, at + TARGET, at + OPTIONS),
    ...(linkAt < 0 ? {} : { linkAddress: copy(b, linkAt, linkAt + LINK_ADDRESS_LENGTH) }),
  };
}

/** Bytes that `emit` will write. */
export function bufferLength(m: NeighbourMessage): number {
  return HEADER_LENGTH + (m.linkAddress === undefined ? 0 : LINK_OPTION_LENGTH);
}

/**
 * Writes every byte of the message, checksum included, and returns its length. `pseudoSum` is for that length, which
 * `bufferLength` tells.
 */
export function emit(b: Uint8Array, at: number, m: NeighbourMessage, pseudoSum: number): number {
  const length = bufferLength(m);
  b[at + TYPE_OF_MESSAGE] = m.type;
  b[at + CODE_OF_MESSAGE] = 0;
  putU16(b, at + CHECKSUM, 0);
  putU32(b, at + FLAGS_FIELD, m.flags);
  b.set(m.target, at + TARGET);
  if (m.linkAddress !== undefined) {
    b[at + OPTIONS] = ownOption(m.type);
    b[at + OPTIONS + 1] = LINK_OPTION_LENGTH / 8;
    b.set(m.linkAddress, at + OPTIONS + 2);
  }
  putU16(b, at + CHECKSUM, checksum(b, at, at + length, pseudoSum));
  return length;
}
