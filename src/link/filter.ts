/**
 * Classic BPF programs (bpf(4), Linux Documentation/networking/filter.rst) that let a raw socket keep only what a run
 * may have caused: TCP for its own source ports, and ICMP errors that quote a TCP segment from them.
 *
 * Pure: builds `struct sock_filter` arrays; the links attach them. What a filter lets through is still untrusted.
 * On an IPv4 raw socket a program sees the packet from its IP header on; on an IPv6 raw socket from the upper-layer
 * header on; on a packet socket from the link header on, or from the IP header
 * on where the kernel takes link headers off.
 */

import * as ethernet from "../wire/ethernet.ts";
import { TYPE } from "../wire/icmpv6.ts";
import { PROTOCOL } from "../wire/protocol.ts";

/** One instruction: operation, jump if true, jump if false, constant. */
export type Instruction = readonly [code: number, jt: number, jf: number, k: number];

/** A source-port range, both ends included, 1 to 65535. */
export interface PortRange {
  readonly first: number;
  readonly last: number;
}

const OP = {
  loadByte: 0x30, // A = P[k:1]
  loadByteX: 0x50, // A = P[X+k:1]
  loadHalfX: 0x48, // A = P[X+k:2]
  loadHalf: 0x28, // A = P[k:2]
  loadWord: 0x20, // A = P[k:4]
  loadHeaderLength: 0xb1, // X = 4 * (P[k:1] & 0xf)
  and: 0x54, // A &= k
  shiftLeft: 0x64, // A <<= k
  addX: 0x0c, // A += X
  toX: 0x07, // X = A
  jumpEqual: 0x15,
  jumpGreater: 0x25,
  jumpGreaterEqual: 0x35,
  jumpSet: 0x45,
  return: 0x06,
} as const;

const ACCEPT = 0xffff;
const NEIGHBOUR_ADVERTISEMENT = TYPE.NEIGHBOUR_ADVERTISEMENT;
/** Places that are not in the packet (linux/filter.h, SKF_AD_OFF): its interface, and its VLAN tag, 0 without one. */
const INTERFACE_INDEX = 0xffff_f008;
const VLAN_TAG = 0xffff_f02c;

/** Symbolic jumps: `drop` goes to the final `return 0`, `next` falls through, a number skips that many. */
type Jump = "next" | "drop" | number;
type Line = readonly [code: number, k: number, ifTrue?: Jump, ifFalse?: Jump];

function assemble(lines: readonly Line[]): Instruction[] {
  const end = lines.length;
  const resolve = (jump: Jump | undefined, at: number): number =>
    jump === undefined || jump === "next" ? 0 : jump === "drop" ? end - at - 1 : jump;
  return [
    ...lines.map(
      ([code, k, ifTrue, ifFalse], at) =>
        [code, resolve(ifTrue, at), resolve(ifFalse, at), k] as const satisfies Instruction,
    ),
    [OP.return, 0, 0, 0],
  ];
}

/** Keeps A if it is a port of the range, then accepts the packet. */
const acceptPorts = ({ first, last }: PortRange): Line[] => [
  [OP.jumpGreaterEqual, first, "next", "drop"],
  [OP.jumpGreater, last, "drop", "next"],
  [OP.return, ACCEPT],
];

/** Accepts the packet if A is `value`. */
const accept = (value: number): Line[] => [
  [OP.jumpEqual, value, "next", 1],
  [OP.return, ACCEPT],
];

/** TCP in the IPv4 packet at `at`; later fragments have no ports and are dropped. */
const tcp4Lines = (ports: PortRange, at: number): Line[] => [
  [OP.loadHalf, at + 6],
  [OP.jumpSet, 0x1fff, "drop", "next"],
  [OP.loadHeaderLength, at],
  [OP.loadHalfX, at + 2],
  ...acceptPorts(ports),
];

/** Later fragments of TCP and ICMP, whatever they are about: only the whole packet tells (reassembly.ts). */
const later4Lines = (at: number): Line[] => [
  [OP.loadHalf, at + 6],
  [OP.jumpSet, 0x1fff, "next", 4],
  [OP.loadByte, at + 9],
  [OP.jumpEqual, PROTOCOL.TCP, 1, "next"],
  [OP.jumpEqual, PROTOCOL.ICMP, "next", "drop"],
  [OP.return, ACCEPT],
];

/** TCP with its header at `at`. */
const tcp6Lines = (ports: PortRange, at: number): Line[] => [[OP.loadHalf, at + 2], ...acceptPorts(ports)];

const icmp4Lines = (ports: PortRange, at: number): Line[] => [
  [OP.loadHeaderLength, at],
  [OP.loadByteX, at],
  [OP.jumpEqual, 3, 2, "next"],
  [OP.jumpEqual, 11, 1, "next"],
  [OP.jumpEqual, 12, "next", "drop"],
  [OP.loadByteX, at + 8 + 9],
  [OP.jumpEqual, PROTOCOL.TCP, "next", "drop"],
  // X = start of the quoted TCP header, less `at` and the 8 bytes of ICMP header
  [OP.loadByteX, at + 8],
  [OP.and, 0x0f],
  [OP.shiftLeft, 2],
  [OP.addX, 0],
  [OP.toX, 0],
  [OP.loadHalfX, at + 8],
  ...acceptPorts(ports),
];

/** ICMPv6 with its header at `at`. */
const icmp6Lines = (ports: PortRange, at: number): Line[] => [
  [OP.loadByte, at],
  [OP.jumpGreaterEqual, 1, "next", "drop"],
  [OP.jumpGreater, 4, "drop", "next"],
  [OP.loadByte, at + 8 + 6],
  [OP.jumpEqual, PROTOCOL.TCP, "next", "drop"],
  [OP.loadHalf, at + 8 + 40],
  ...acceptPorts(ports),
];

/** On an IPv4 raw socket: TCP segments to the range. */
export const tcp4Filter = (ports: PortRange): Instruction[] => assemble(tcp4Lines(ports, 0));

/** On an IPv6 raw socket: TCP segments to the range. */
export const tcp6Filter = (ports: PortRange): Instruction[] => assemble(tcp6Lines(ports, 0));

/** ICMP destination unreachable (3), time exceeded (11) and parameter problem (12) about TCP from the range. */
export const icmp4Filter = (ports: PortRange): Instruction[] => assemble(icmp4Lines(ports, 0));

/** ICMPv6 errors (types 1 to 4) about TCP from the range. Our probes carry no extension headers; a quote that has some is not let through. */
export const icmp6Filter = (ports: PortRange): Instruction[] => assemble(icmp6Lines(ports, 0));

/**
 * On a packet socket that keeps link headers: Ethernet frames, untagged, with any of the four above, and what neighbours tell of
 * their hardware addresses: ARP, and neighbour advertisements.
 */
export const frameFilter = (ports: PortRange): Instruction[] =>
  ipFilter(ports, ethernet.HEADER_LENGTH, [[OP.loadHalf, ethernet.ETHERTYPE_AT]], ethernet.ETHERTYPE);

/**
 * On a packet socket that takes link headers off: IP packets with any of the four above, untagged.
 * @param interfaces indexes of those on which they may come
 */
export const packetFilter = (ports: PortRange, interfaces: readonly number[]): Instruction[] =>
  ipFilter(
    ports,
    0,
    [
      [OP.loadWord, INTERFACE_INDEX],
      ...interfaces.map(
        (index, i): Line => [
          OP.jumpEqual,
          index,
          interfaces.length - 1 - i,
          i === interfaces.length - 1 ? "drop" : "next",
        ],
      ),
      [OP.loadByte, 0],
      [OP.and, 0xf0],
    ],
    { IPV4: 0x40, IPV6: 0x60 },
  );

/**
 * Both IP versions in one program. `version` loads what tells them apart. A program has no loops, so IPv6 packets
 * with extension headers all pass: they are rare, and the reader walks the headers anyway.
 */
function ipFilter(
  ports: PortRange,
  at: number,
  version: readonly Line[],
  { IPV4, IPV6, ARP }: { readonly IPV4: number; readonly IPV6: number; readonly ARP?: number },
): Instruction[] {
  const tcp4 = tcp4Lines(ports, at);
  const tcp6 = tcp6Lines(ports, at + 40);
  const v4: Line[] = [
    ...later4Lines(at),
    [OP.loadByte, at + 9],
    [OP.jumpEqual, PROTOCOL.TCP, "next", tcp4.length],
    ...tcp4,
    [OP.jumpEqual, PROTOCOL.ICMP, "next", "drop"],
    ...icmp4Lines(ports, at),
  ];
  return assemble([
    // The kernel takes the tag off and keeps it beside the frame: another VLAN's frames are not this interface's. 0 is no VLAN.
    [OP.loadWord, VLAN_TAG],
    [OP.jumpSet, 0x0fff, "drop", "next"],
    ...version,
    [OP.jumpEqual, IPV4, "next", v4.length],
    ...v4,
    ...(ARP === undefined ? [] : accept(ARP)),
    [OP.jumpEqual, IPV6, "next", "drop"],
    [OP.loadByte, at + 6],
    [OP.jumpEqual, PROTOCOL.TCP, "next", tcp6.length],
    ...tcp6,
    [OP.jumpEqual, PROTOCOL.HOP_BY_HOP, 3, "next"],
    [OP.jumpEqual, PROTOCOL.ROUTING, 2, "next"],
    [OP.jumpEqual, PROTOCOL.FRAGMENT, 1, "next"],
    [OP.jumpEqual, PROTOCOL.DESTINATION_OPTIONS, "next", 1],
    [OP.return, ACCEPT],
    [OP.jumpEqual, PROTOCOL.ICMPV6, "next", "drop"],
    ...(ARP === undefined ? [] : ([[OP.loadByte, at + 40], ...accept(NEIGHBOUR_ADVERTISEMENT)] as const)),
    ...icmp6Lines(ports, at + 40),
  ]);
}

/** `struct sock_filter[]` in host byte order: u16 code, u8 jt, u8 jf, u32 k. */
export function encodeFilter(
  program: readonly Instruction[],
  littleEndian: boolean,
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(new ArrayBuffer(program.length * 8));
  const view = new DataView(bytes.buffer);
  program.forEach(([code, jt, jf, k], i) => {
    view.setUint16(i * 8, code, littleEndian);
    view.setUint8(i * 8 + 2, jt);
    view.setUint8(i * 8 + 3, jf);
    view.setUint32(i * 8 + 4, k, littleEndian);
  });
  return bytes;
}
