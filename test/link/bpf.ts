/**
 * A classic BPF interpreter, as slow and plain as the manual (Linux Documentation/networking/filter.rst), to run filters
 * in tests. A load beyond the packet ends the program with 0, as in the kernel.
 */
import type { Instruction } from "../../src/link/filter.ts";

/** What the kernel knows of a packet beside its bytes (linux/filter.h, SKF_AD_OFF). */
export interface Beside {
  readonly interfaceIndex?: number;
  readonly vlanTag?: number;
}

/** @returns how many bytes of the packet the filter keeps; 0 drops it */
export function runFilter(
  program: readonly Instruction[],
  packet: Uint8Array,
  { interfaceIndex = 0, vlanTag = 0 }: Beside = {},
): number {
  let a = 0;
  let x = 0;
  for (let pc = 0; pc < program.length; pc++) {
    const [code, jt, jf, k] = program[pc];
    const load = (at: number, size: 1 | 2): number | undefined => {
      if (at + size > packet.length) return undefined;
      return size === 1 ? packet[at] : packet[at] * 256 + packet[at + 1];
    };
    let loaded: number | undefined = 0;
    switch (code) {
      case 0x20: // ld #ifidx, ld #vlan_tci
        a = k === 0xffff_f008 ? interfaceIndex : k === 0xffff_f02c ? vlanTag : Number.NaN;
        break;
      case 0x30: // ldb [k]
        loaded = load(k, 1);
        a = loaded ?? 0;
        break;
      case 0x50: // ldb [x+k]
        loaded = load(x + k, 1);
        a = loaded ?? 0;
        break;
      case 0x28: // ldh [k]
        loaded = load(k, 2);
        a = loaded ?? 0;
        break;
      case 0x48: // ldh [x+k]
        loaded = load(x + k, 2);
        a = loaded ?? 0;
        break;
      case 0xb1: // ldxb 4*([k]&0xf)
        loaded = load(k, 1);
        x = 4 * ((loaded ?? 0) & 0xf);
        break;
      case 0x54: // and #k
        a &= k;
        break;
      case 0x64: // lsh #k
        a <<= k;
        break;
      case 0x0c: // add x
        a += x;
        break;
      case 0x07: // tax
        x = a;
        break;
      case 0x15: // jeq
        pc += a === k ? jt : jf;
        break;
      case 0x25: // jgt
        pc += a > k ? jt : jf;
        break;
      case 0x35: // jge
        pc += a >= k ? jt : jf;
        break;
      case 0x45: // jset
        pc += (a & k) !== 0 ? jt : jf;
        break;
      case 0x06: // ret
        return k;
      default:
        throw new Error(`instruction ${pc}: unknown code ${code}`);
    }
    if (loaded === undefined) return 0;
  }
  throw new Error("the program runs off its end");
}
