/**
 * Classic BPF programs (bpf(4), Linux Documentation/networking/filter.rst) that let a raw socket keep only what a run
 * may have caused: TCP for its own source ports, and ICMP errors that quote a TCP segment from them.
 *
 * Pure: builds `struct sock_filter` arrays; link/raw-ip.ts attaches them. What a filter lets through is still untrusted.
 * On an IPv4 raw socket a program sees the packet from its IP header on; on an IPv6 raw socket from the upper-layer
 * header on, because that is where the kernel has got to.
 */

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
const TCP = 6;

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

/** IPv4 TCP segments to the range; later fragments have no ports and are dropped. */
export const tcp4Filter = (ports: PortRange): Instruction[] =>
  assemble([
    [OP.loadHalf, 6],
    [OP.jumpSet, 0x1fff, "drop", "next"],
    [OP.loadHeaderLength, 0],
    [OP.loadHalfX, 2],
    ...acceptPorts(ports),
  ]);

/** IPv6 TCP segments to the range. */
export const tcp6Filter = (ports: PortRange): Instruction[] =>
  assemble([[OP.loadHalf, 2], ...acceptPorts(ports)]);

/** ICMP destination unreachable (3), time exceeded (11) and parameter problem (12) about TCP from the range. */
export const icmp4Filter = (ports: PortRange): Instruction[] =>
  assemble([
    [OP.loadHeaderLength, 0],
    [OP.loadByteX, 0],
    [OP.jumpEqual, 3, 2, "next"],
    [OP.jumpEqual, 11, 1, "next"],
    [OP.jumpEqual, 12, "next", "drop"],
    [OP.loadByteX, 8 + 9],
    [OP.jumpEqual, TCP, "next", "drop"],
    // X = start of the quoted TCP header, less the 8 bytes of ICMP header
    [OP.loadByteX, 8],
    [OP.and, 0x0f],
    [OP.shiftLeft, 2],
    [OP.addX, 0],
    [OP.toX, 0],
    [OP.loadHalfX, 8],
    ...acceptPorts(ports),
  ]);

/** ICMPv6 errors (types 1 to 4) about TCP from the range. Our probes carry no extension headers; a quote that has some is not let through. */
export const icmp6Filter = (ports: PortRange): Instruction[] =>
  assemble([
    [OP.loadByte, 0],
    [OP.jumpGreaterEqual, 1, "next", "drop"],
    [OP.jumpGreater, 4, "drop", "next"],
    [OP.loadByte, 8 + 6],
    [OP.jumpEqual, TCP, "next", "drop"],
    [OP.loadHalf, 8 + 40],
    ...acceptPorts(ports),
  ]);

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
