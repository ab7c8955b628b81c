/**
 * Keeps a run's own RST replies from the kernel's TCP, which would look each of them up in vain: a
 * few instructions of BPF at the interface's ingress (tcx, Linux 6.6), after the tap that receives them. Only for speed.
 * SYN-ACKs pass: the kernel's RST closes what they have opened on the target.
 *
 * The attachment is a descriptor: it ends with the process, however that ends. It needs CAP_BPF and CAP_NET_ADMIN; where they,
 * or the kernel's part, are missing, the run is a little slower, nothing else. Not for ports that others may use.
 */
import { ETHERTYPE, ETHERTYPE_AT, HEADER_LENGTH } from "../wire/ethernet.ts";
import { FLAGS } from "../wire/tcp.ts";
import type { PortRange } from "./filter.ts";
import { addressOf, LITTLE_ENDIAN, libc, nativeMemory, systemCall, systemCallInPool } from "./sys/libc.ts";
import { IPPROTO_TCP } from "./sys/linux.ts";

/** bpf(2): commands, types and places (linux/bpf.h). */
const BPF = { progLoad: 5, linkCreate: 28, schedCls: 3, tcxIngress: 46 } as const;
const ATTRIBUTES_LENGTH = 128;
/** Return values of a program at tcx: continue with the next one, or drop. */
const TCX = { next: -1, drop: 2 } as const;

/** One eBPF instruction: code, destination and source register, jump offset, constant. */
type Instruction = readonly [code: number, registers: number, offset: number, constant: number];

const CODE = {
  move: 0xbf,
  moveConstant: 0xb7,
  and: 0x57,
  loadByte: 0x30,
  loadHalf: 0x28,
  jump: 0x05,
  ifEqual: 0x15,
  ifNot: 0x55,
  ifGreater: 0x25,
  ifLess: 0xa5,
  ifSet: 0x45,
  exit: 0x95,
} as const;

/** Jumps are to labels, resolved when the program is laid out. */
type Step =
  | Instruction
  | readonly [code: number, registers: number, to: "pass" | "drop" | "v6", constant: number]
  | "v6";

/**
 * `if (TCP, to one of the ports, RST set) drop; else next`, for plain IPv4 and IPv6 headers.
 * @returns struct bpf_insn[], in host byte order
 */
export function resetProgram({ first, last }: PortRange): Uint8Array<ArrayBuffer> {
  const load = (code: number, at: number): Step => [code, 0, 0, at];
  const segment = (at: number): Step[] => [
    load(CODE.loadHalf, at + 2),
    [CODE.ifLess, 0, "pass", first],
    [CODE.ifGreater, 0, "pass", last],
    load(CODE.loadByte, at + 13),
    [CODE.ifSet, 0, "drop", FLAGS.RST],
  ];
  const steps: Step[] = [
    // The loads below want the context in register 6.
    [CODE.move, 0x16, 0, 0],
    load(CODE.loadHalf, ETHERTYPE_AT),
    [CODE.ifEqual, 0, "v6", ETHERTYPE.IPV6],
    [CODE.ifNot, 0, "pass", ETHERTYPE.IPV4],
    // No options, no fragment.
    load(CODE.loadByte, HEADER_LENGTH),
    [CODE.ifNot, 0, "pass", 0x45],
    load(CODE.loadHalf, HEADER_LENGTH + 6),
    [CODE.ifSet, 0, "pass", 0x3fff],
    load(CODE.loadByte, HEADER_LENGTH + 9),
    [CODE.ifNot, 0, "pass", IPPROTO_TCP],
    ...segment(HEADER_LENGTH + 20),
    [CODE.jump, 0, "pass", 0],
    "v6",
    load(CODE.loadByte, HEADER_LENGTH + 6),
    [CODE.ifNot, 0, "pass", IPPROTO_TCP],
    ...segment(HEADER_LENGTH + 40),
  ];
  const code = steps.filter((step) => step !== "v6");
  const labels = { v6: steps.indexOf("v6"), pass: code.length, drop: code.length + 2 };
  const program: Instruction[] = [
    ...code.map(
      ([opcode, registers, to, constant], i): Instruction => [
        opcode,
        registers,
        typeof to === "string" ? labels[to] - i - 1 : to,
        constant,
      ],
    ),
    [CODE.moveConstant, 0, 0, TCX.next],
    [CODE.exit, 0, 0, 0],
    [CODE.moveConstant, 0, 0, TCX.drop],
    [CODE.exit, 0, 0, 0],
  ];
  const bytes = nativeMemory(program.length * 8);
  const view = new DataView(bytes.buffer);
  program.forEach(([opcode, registers, offset, constant], i) => {
    view.setUint8(8 * i, opcode);
    // Bit fields start at the low end on little-endian machines.
    view.setUint8(8 * i + 1, LITTLE_ENDIAN ? registers : ((registers & 15) << 4) | (registers >> 4));
    view.setInt16(8 * i + 2, offset, LITTLE_ENDIAN);
    view.setInt32(8 * i + 4, constant, LITTLE_ENDIAN);
  });
  return bytes;
}

/** @returns the descriptor that holds it; undefined where it is not possible */
export async function quietResets(interfaceIndex: number, ports: PortRange): Promise<number | undefined> {
  const program = resetProgram(ports);
  const licence = nativeMemory(4);
  licence.set(new TextEncoder().encode("MIT"));
  const load = nativeMemory(ATTRIBUTES_LENGTH);
  const view = new DataView(load.buffer);
  view.setUint32(0, BPF.schedCls, LITTLE_ENDIAN);
  view.setUint32(4, program.length / 8, LITTLE_ENDIAN);
  view.setBigUint64(8, addressOf(program), LITTLE_ENDIAN);
  view.setBigUint64(16, addressOf(licence), LITTLE_ENDIAN);
  view.setUint32(68, BPF.tcxIngress, LITTLE_ENDIAN);
  const programFd = systemCall("bpf", BPF.progLoad, load, load.length);
  // The kernel reads the buffers up to here.
  program.fill(0);
  licence.fill(0);
  if (programFd < 0) return undefined;
  const link = nativeMemory(ATTRIBUTES_LENGTH);
  const linkView = new DataView(link.buffer);
  linkView.setUint32(0, programFd, LITTLE_ENDIAN);
  linkView.setUint32(4, interfaceIndex, LITTLE_ENDIAN);
  linkView.setUint32(8, BPF.tcxIngress, LITTLE_ENDIAN);
  // The kernel waits until no processor runs what was there before.
  try {
    const linkFd = await systemCallInPool("bpf", BPF.linkCreate, link, link.length);
    return linkFd < 0 ? undefined : linkFd;
  } finally {
    libc.close(programFd);
  }
}
