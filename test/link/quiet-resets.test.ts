/** The BPF program that keeps resets from the kernel, run by a small interpreter over real frames. */
import { describe, expect, it } from "vitest";
import { resetProgram } from "../../src/link/quiet-resets.ts";
import { LITTLE_ENDIAN } from "../../src/link/sys/libc.ts";
import { writePacket } from "../../src/socket/segment.ts";
import * as tcp from "../../src/wire/tcp.ts";
import { address } from "../sim/run.ts";

const { SYN, ACK, RST } = tcp.FLAGS;
const PORTS = { first: 61_000, last: 61_999 };
const NEXT = -1;
const DROP = 2;

/** Runs struct bpf_insn[] over a frame, as the kernel does at tcx: a load beyond the frame ends the program with 0. */
function run(program: Uint8Array, frame: Uint8Array): number {
  const view = new DataView(program.buffer, program.byteOffset);
  const frameView = new DataView(frame.buffer, frame.byteOffset, frame.length);
  let r0 = 0;
  for (let at = 0; at < program.length / 8; at++) {
    const code = view.getUint8(8 * at);
    const offset = view.getInt16(8 * at + 2, LITTLE_ENDIAN);
    const constant = view.getInt32(8 * at + 4, LITTLE_ENDIAN);
    const jumps: Record<number, () => boolean> = {
      5: () => true,
      21: () => r0 === constant,
      85: () => r0 !== constant,
      37: () => r0 > constant,
      165: () => r0 < constant,
      69: () => (r0 & constant) !== 0,
    };
    if (code === 0x95) return r0;
    if (code === 0xb7) r0 = constant;
    else if (code === 0x30 || code === 0x28) {
      const size = code === 0x30 ? 1 : 2;
      if (constant + size > frame.length) return 0;
      r0 = size === 1 ? frameView.getUint8(constant) : frameView.getUint16(constant);
    } else if (code in jumps) {
      if (jumps[code]()) at += offset;
    } else if (code !== 0xbf) throw new Error(`instruction ${at}: code 0x${code.toString(16)}`);
  }
  throw new Error("the program has no end");
}

/** A frame with a segment from a scanned host to the prober. */
function frameOf(family: 4 | 6, flags: number, port: number): Uint8Array {
  const frame = new Uint8Array(128);
  frame.set(family === 4 ? [0x08, 0x00] : [0x86, 0xdd], 12);
  const [local, peer] = family === 4 ? ["198.18.0.9", "192.0.2.1"] : ["2001:db8::9", "2001:db8::1"];
  const ends = { local: address(local), peer: address(peer), localPort: 80, peerPort: port, ttl: 64 };
  const segment = { sequence: 1, acknowledgement: 2, flags, window: 3, text: new Uint8Array(0) };
  return frame.subarray(0, 14 + writePacket(frame, 14, ends, segment));
}

describe("the program at the interface's ingress", () => {
  const program = resetProgram(PORTS);

  it.each([4, 6] as const)("drops resets to the run's ports, over IPv%i, and nothing else", (family) => {
    for (const port of [61_000, 61_500, 61_999]) {
      expect(run(program, frameOf(family, RST, port))).toBe(DROP);
      expect(run(program, frameOf(family, RST | ACK, port))).toBe(DROP);
      expect(run(program, frameOf(family, SYN | ACK, port))).toBe(NEXT);
      expect(run(program, frameOf(family, ACK, port))).toBe(NEXT);
    }
    for (const port of [60_999, 62_000, 22, 65_535]) {
      expect(run(program, frameOf(family, RST, port))).toBe(NEXT);
    }
  });

  it("lets pass what it does not understand: other protocols, fragments, options, VLANs, stubs", () => {
    const edited = (at: number, value: number, family: 4 | 6 = 4): Uint8Array => {
      const frame = frameOf(family, RST, 61_000);
      frame[at] = value;
      return frame;
    };
    expect(run(program, edited(12, 0x81))).toBe(NEXT);
    expect(run(program, edited(14 + 9, 17))).toBe(NEXT);
    expect(run(program, edited(14 + 6, 0x20))).toBe(NEXT);
    expect(run(program, edited(14 + 7, 1))).toBe(NEXT);
    expect(run(program, edited(14, 0x46))).toBe(NEXT);
    expect(run(program, edited(14 + 6, 17, 6))).toBe(NEXT);
    const whole = frameOf(4, RST, 61_000);
    for (let length = 0; length < 14 + 34; length++) {
      expect(run(program, whole.subarray(0, length))).not.toBe(DROP);
    }
  });
});
