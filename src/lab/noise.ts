/**
 * Forged packets: SYN-ACKs, RSTs and ICMP errors from addresses that the prober has just probed, to ports that it has just used,
 * with random numbers. A prober must not believe any of them.
 *
 * Each kind arrives at random moments (a Poisson process) from the prober's first SYN until a while after its last.
 */
import { FLAGS } from "../wire/tcp.ts";
import { HOST, isIpv4, PEER, writeIcmpError, writeSegment } from "./answer.ts";
import type { NoiseDescription } from "./description.ts";
import { icmpOf } from "./population.ts";
import { drawExponential, type Random } from "./random.ts";

export interface Noise {
  /** The prober, `pair`'s peer, has sent a SYN to the host. */
  observe(pair: Uint32Array, ports: number, nowUs: number): void;
  handleTimeout(nowUs: number): void;
  pollTimeout(): number;
}

/** 4-tuples remembered, a power of two. */
const REMEMBERED = 256;
/** How long noise goes on after the last SYN. */
const TAIL_US = 2_000_000;
const TTL = 55;
const NEVER = Number.POSITIVE_INFINITY;

/** @param emit takes `out[0, length)`, a packet that reaches the prober at `nowUs` */
export function createNoise(
  description: NoiseDescription,
  random: Random,
  emit: (out: Uint8Array, length: number, nowUs: number) => void,
): Noise {
  const out = new Uint8Array(256);
  const quoted = new Uint8Array(128);
  const pairs = new Uint32Array(8 * REMEMBERED);
  const ports = new Uint32Array(REMEMBERED);
  let seen = 0;
  let lastSeenUs = 0;
  const word = (): number => Math.floor(random() * 0x1_0000_0000);

  const forge = {
    synAck: (pair: Uint32Array, tuple: number): number =>
      writeSegment(out, pair, tuple, TTL, FLAGS.SYN | FLAGS.ACK, word(), word(), 65_535, 1460),
    rst: (pair: Uint32Array, tuple: number): number =>
      writeSegment(out, pair, tuple, TTL, FLAGS.RST | FLAGS.ACK, 0, word(), 0, 0),
    icmp: (pair: Uint32Array, tuple: number): number => {
      const swapped = new Uint32Array(8);
      swapped.set(pair.subarray(HOST, HOST + 4), PEER);
      swapped.set(pair.subarray(PEER, PEER + 4), HOST);
      const back = ((tuple << 16) | (tuple >>> 16)) >>> 0;
      const length = writeSegment(quoted, swapped, back, TTL, FLAGS.SYN, word(), 0, 1024, 0);
      const [type, code] = icmpOf("admin-prohibited", isIpv4(pair, HOST) ? 4 : 16);
      return writeIcmpError(out, pair, TTL, type, code, quoted, 0, length);
    },
  };
  const sources = [
    { pps: description.synAckPps ?? 0, write: forge.synAck, next: NEVER },
    { pps: description.rstPps ?? 0, write: forge.rst, next: NEVER },
    { pps: description.icmpPps ?? 0, write: forge.icmp, next: NEVER },
  ].filter(({ pps }) => pps > 0);
  const { aimed = 1 } = description;
  /** The ports that the prober used, or a random port in place of its own. */
  const aim = (tuple: number): number =>
    aimed === 1 || random() < aimed ? tuple : ((tuple & 0xffff_0000) | (word() >>> 16)) >>> 0;
  const gap = (pps: number): number => drawExponential(random, 1e6 / pps);

  return {
    observe: (pair, tuple, nowUs) => {
      if (sources.length === 0) return;
      const at = seen++ & (REMEMBERED - 1);
      pairs.set(pair, 8 * at);
      ports[at] = tuple;
      lastSeenUs = nowUs;
      for (const source of sources) if (source.next === NEVER) source.next = nowUs + gap(source.pps);
    },
    handleTimeout: (nowUs) => {
      for (const source of sources) {
        if (source.next > nowUs) continue;
        const at = Math.floor(random() * Math.min(seen, REMEMBERED));
        emit(out, source.write(pairs.subarray(8 * at, 8 * at + 8), aim(ports[at])), source.next);
        source.next += gap(source.pps);
        if (source.next > lastSeenUs + TAIL_US) source.next = NEVER;
      }
    },
    pollTimeout: () => sources.reduce((first, { next }) => Math.min(first, next), NEVER),
  };
}
