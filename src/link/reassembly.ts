/**
 * IP fragments put together again (RFC 791 3.2, RFC 8200 4.5), as the kernel does for raw sockets and for nobody who reads frames.
 *
 * Pure, and bounded: anybody can send fragments. What overlaps is dropped whole (RFC 5722), but a fragment that the network has
 * doubled is not (RFC 8200 4.5); so is the oldest when there are too many, and what has been incomplete for long. Not here: what is
 * in a packet.
 */
import type { Address } from "../wire/address.ts";
import { copy, putU16, u16, u32 } from "../wire/bytes.ts";
import * as ipv4 from "../wire/ipv4.ts";
import * as ipv6 from "../wire/ipv6.ts";

/** Packets that are put together at a time; of 64 KiB at most. */
const MOST_PACKETS = 64;
/** Fragments of one packet. */
const MOST_FRAGMENTS = 64;
/** The most that the length fields of both IP versions can say, in bytes. */
const LONGEST = 65_535;
/** How long a packet may be incomplete, by IP version, in microseconds (Linux's ipfrag_time; RFC 8200 4.5). */
const LONGEST_US = { 4: 30e6, 6: 60e6 } as const;
const FRAGMENT_HEADER_LENGTH = 8;

export interface Reassembly {
  /** Whether `b[at, end)` is a part of a larger packet. An atomic fragment (RFC 6946) is a whole one. */
  isFragment(b: Uint8Array, at: number, end: number): boolean;
  /**
   * Takes a fragment, for which `isFragment` is true.
   * @returns the whole packet, without a trace of fragmentation, when this completes it; the fragment itself when it is the first
   *   of a packet that is given up, so that it can be counted; else undefined
   */
  take(b: Uint8Array, at: number, end: number, nowUs: number): Uint8Array | undefined;
}

interface Part {
  readonly from: number;
  readonly payload: Uint8Array;
}

interface Partial {
  readonly untilUs: number;
  readonly parts: Part[];
  /** The first fragment, whole. */
  first?: Uint8Array;
  /** Bytes of all payload; known when the last fragment is. */
  length?: number;
}

/** One fragment: which packet it is of, where its payload stands, and where that belongs. */
interface Fragment {
  readonly key: string;
  readonly payload: Uint8Array;
  readonly from: number;
  readonly isLast: boolean;
}

export function createReassembly(): Reassembly {
  const upper = ipv6.newUpper();
  /** In the order of their first fragments. */
  const packets = new Map<string, Partial>();

  function read(b: Uint8Array, at: number, end: number): Fragment | undefined {
    if (b[at] >> 4 === 4) {
      const headerLength = ipv4.checkLength(b, at, end);
      if (headerLength === 0 || !ipv4.verifyChecksum(b, at)) return undefined;
      const hosts = copy(b, at + ipv4.SOURCE, at + ipv4.OPTIONS);
      return {
        key: keyOf(hosts, ipv4.identification(b, at), ipv4.protocol(b, at)),
        payload: copy(b, at + headerLength, at + ipv4.totalLength(b, at)),
        from: ipv4.fragmentOffset(b, at),
        isLast: !ipv4.moreFragments(b, at),
      };
    }
    if (ipv6.checkLength(b, at, end) === 0) return undefined;
    const to = at + ipv6.HEADER_LENGTH + ipv6.payloadLength(b, at);
    const header = ipv6.fragmentHeaderAt(b, at, to);
    if (header < 0) return undefined;
    const offsetAndFlags = u16(b, header + 2);
    return {
      // The next header may differ between fragments; the first one's counts (RFC 8200 4.5).
      key: keyOf(copy(b, at + ipv6.SOURCE, at + ipv6.HEADER_LENGTH), u32(b, header + 4), -1),
      payload: copy(b, header + FRAGMENT_HEADER_LENGTH, to),
      from: offsetAndFlags & 0xfff8,
      isLast: (offsetAndFlags & 1) === 0,
    };
  }

  const giveUp = (key: string): Uint8Array | undefined => {
    const first = packets.get(key)?.first;
    packets.delete(key);
    return first;
  };

  /** Makes room. @returns the first fragment of what is given up for it */
  function giveUpOldest(nowUs: number): Uint8Array | undefined {
    for (const [key, { untilUs }] of packets)
      return packets.size >= MOST_PACKETS || nowUs > untilUs ? giveUp(key) : undefined;
    return undefined;
  }

  return {
    isFragment: (b, at, end) => {
      if (at + ipv4.HEADER_LENGTH > end) return false;
      if (b[at] >> 4 === 4) return ipv4.isFragment(b, at);
      return (
        b[at] >> 4 === 6 && at + ipv6.HEADER_LENGTH <= end && ipv6.walk(b, at, end, upper) && upper.fragment
      );
    },
    take: (b, at, end, nowUs) => {
      const fragment = read(b, at, end);
      if (fragment === undefined) return undefined;
      const { key, payload, from, isLast } = fragment;
      const to = from + payload.length;
      const before = packets.get(key);
      const isLate = before !== undefined && nowUs > before.untilUs;
      const known = isLate ? undefined : before;
      const lost = isLate ? giveUp(key) : known === undefined ? giveUpOldest(nowUs) : undefined;
      const packet: Partial = known ?? { untilUs: nowUs + LONGEST_US[b[at] >> 4 === 4 ? 4 : 6], parts: [] };
      if (packet.parts.some((part) => part.from === from && sameBytes(part.payload, payload)))
        return undefined;
      packets.set(key, packet);
      // All but the last are of whole units of eight bytes.
      const isBad =
        payload.length === 0 ||
        (!isLast && payload.length % 8 !== 0) ||
        packet.parts.length === MOST_FRAGMENTS ||
        packet.parts.some((part) => from < part.from + part.payload.length && part.from < to) ||
        (isLast && (packet.length !== undefined || packet.parts.some((part) => part.from > from))) ||
        to > (packet.length ?? LONGEST);
      if (isBad) return giveUp(key) ?? lost;
      packet.parts.push({ from, payload });
      if (from === 0) packet.first = copy(b, at, end);
      if (isLast) packet.length = to;
      const have = packet.parts.reduce((sum, part) => sum + part.payload.length, 0);
      if (packet.first === undefined || packet.length !== have) return lost;
      packets.delete(key);
      return join(packet.first, packet.length, packet.parts) ?? packet.first;
    },
  };
}

const sameBytes = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && a.every((byte, i) => byte === b[i]);

const keyOf = (hosts: Address, identification: number, protocol: number): string =>
  `${hosts.join()} ${identification} ${protocol}`;

/** The packet whose first fragment, payload and its length these are; undefined when it is longer than a packet can be. */
function join(first: Uint8Array, length: number, parts: readonly Part[]): Uint8Array | undefined {
  if (first[0] >> 4 === 4) {
    const header = ipv4.parse(first, 0, first.length);
    if (header === undefined) throw new RangeError("a fragment that was taken has no header");
    const headerLength = ipv4.bufferLength(header);
    if (headerLength + length > LONGEST) return undefined;
    const packet = new Uint8Array(headerLength + length);
    ipv4.emit(packet, 0, { ...header, totalLength: packet.length, moreFragments: false });
    for (const { from, payload } of parts) packet.set(payload, headerLength + from);
    return packet;
  }
  const at = ipv6.fragmentHeaderAt(first, 0, first.length);
  if (at - ipv6.HEADER_LENGTH + length > LONGEST) return undefined;
  const packet = new Uint8Array(at + length);
  packet.set(first.subarray(0, at));
  putU16(packet, ipv6.PAYLOAD_LENGTH, packet.length - ipv6.HEADER_LENGTH);
  packet[ipv6.nextHeaderFieldBefore(first, 0, at)] = first[at];
  for (const { from, payload } of parts) packet.set(payload, at + from);
  return packet;
}
