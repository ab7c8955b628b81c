/**
 * A simulated network for the engine's tests: takes probes as packets, and gives back the packets that hosts and routers
 * would send, each at its own virtual time.
 *
 * Modelled: per-port behaviour, latency, jitter, loss each way, duplication. Not modelled: a TCP of the hosts' own (every
 * SYN is answered afresh), bandwidth, queues, rate limits.
 */

import { writePacket } from "../../src/socket/segment.ts";
import type { Address } from "../../src/wire/address.ts";
import { u32 } from "../../src/wire/bytes.ts";
import { pseudoSum6 } from "../../src/wire/checksum.ts";
import * as icmp from "../../src/wire/icmp.ts";
import * as icmpv6 from "../../src/wire/icmpv6.ts";
import * as ipv4 from "../../src/wire/ipv4.ts";
import * as ipv6 from "../../src/wire/ipv6.ts";
import { PROTOCOL } from "../../src/wire/protocol.ts";
import * as tcp from "../../src/wire/tcp.ts";

export type Behaviour =
  | "open"
  | "closed"
  | "silent"
  /** The bare SYN of a simultaneous open, and the acknowledgement of the SYN-ACK to it. */
  | "split"
  /** A bare SYN, and nothing after it: anybody could have sent it. */
  | "forged"
  | { readonly icmp: readonly [type: number, code: number]; readonly from?: Address };

export interface NetworkOptions {
  readonly random: (below: number) => number;
  /** One way, in microseconds. */
  readonly latencyUs: number;
  readonly jitterUs?: number;
  /** Chance that a packet is lost, each way, 0 to 1. */
  readonly loss?: number;
  /** Chance that an answer arrives twice. */
  readonly duplication?: number;
  /** What the port at the packet's destination does. */
  behaviour(packet: Uint8Array, at: number, port: number): Behaviour;
}

export interface Network {
  /** Takes a packet that leaves the prober at `nowUs`; the bytes are copied. */
  send(bytes: Uint8Array, at: number, length: number, nowUs: number): void;
  /** When the next packet reaches the prober; Infinity when none is under way. */
  next(): number;
  /** Takes the next packet. */
  receive(): Uint8Array;
  readonly probes: number;
}

export function createNetwork(options: NetworkOptions): Network {
  const { random, latencyUs, jitterUs = 0, loss = 0, duplication = 0 } = options;
  const chance = (probability: number): boolean =>
    probability > 0 && random(1_000_000) < probability * 1_000_000;
  const queue = createTimeQueue<Uint8Array>();
  let probes = 0;
  return {
    get probes() {
      return probes;
    },
    send: (bytes, at, length, nowUs) => {
      probes++;
      if (chance(loss)) return;
      const answer = answerTo(bytes, at, at + length, options);
      if (answer === undefined) return;
      const copies = chance(duplication) ? 2 : 1;
      for (let i = 0; i < copies; i++) {
        const delay = 2 * latencyUs + (jitterUs > 0 ? random(jitterUs) : 0);
        if (!chance(loss)) queue.push(nowUs + delay, answer);
      }
    },
    next: () => queue.peek(),
    receive: () => queue.pop(),
  };
}

const SPLIT_SEQUENCE = 0x1234_5678;

function answerTo(
  b: Uint8Array,
  at: number,
  end: number,
  { behaviour }: NetworkOptions,
): Uint8Array | undefined {
  const segment = at + (b[at] >> 4 === 4 ? ipv4.HEADER_LENGTH : ipv6.HEADER_LENGTH);
  const does = behaviour(b, at, tcp.destinationPort(b, segment));
  if (does === "silent") return undefined;
  if (typeof does === "object") return icmpAbout(b.slice(at, end), does.icmp, does.from);
  const flags = tcp.flags(b, segment);
  if (does === "split" && (flags & tcp.FLAGS.ACK) !== 0) {
    const sequence = (SPLIT_SEQUENCE + 1) >>> 0;
    const acknowledgement = (tcp.sequence(b, segment) + 1) >>> 0;
    return segmentTo(b.subarray(at, end), { flags: tcp.FLAGS.ACK, sequence, acknowledgement });
  }
  const control = {
    open: tcp.FLAGS.SYN | tcp.FLAGS.ACK,
    closed: tcp.FLAGS.RST | tcp.FLAGS.ACK,
    split: tcp.FLAGS.SYN,
    forged: tcp.FLAGS.SYN,
  }[does];
  return segmentTo(b.subarray(at, end), {
    flags: control,
    sequence: does === "closed" ? 0 : SPLIT_SEQUENCE,
    acknowledgement: does === "split" || does === "forged" ? 0 : (tcp.sequence(b, segment) + 1) >>> 0,
  });
}

/** A TCP segment that goes back where `probe` came from. */
export function segmentTo(
  probe: Uint8Array,
  fields: {
    flags: number;
    sequence?: number;
    acknowledgement?: number;
    ttl?: number;
    window?: number;
    mss?: number;
  },
): Uint8Array {
  const v4 = probe[0] >> 4 === 4;
  const at = v4 ? ipv4.HEADER_LENGTH : ipv6.HEADER_LENGTH;
  const { flags, sequence = 0, acknowledgement = 0, ttl = 57, window = 65_535, mss } = fields;
  const packet = new Uint8Array(at + tcp.HEADER_LENGTH + (mss === undefined ? 0 : 4));
  const ends = {
    local: v4 ? probe.slice(16, 20) : probe.slice(24, 40),
    peer: v4 ? probe.slice(12, 16) : probe.slice(8, 24),
    localPort: tcp.destinationPort(probe, at),
    peerPort: tcp.sourcePort(probe, at),
    ttl,
  };
  writePacket(packet, 0, ends, {
    flags,
    sequence,
    acknowledgement,
    window,
    ...(mss === undefined ? {} : { mss }),
    text: new Uint8Array(0),
  });
  return packet;
}

/** An ICMP error about `probe`, from `from` or else from the probe's destination. */
export function icmpAbout(
  probe: Uint8Array,
  [type, code]: readonly [type: number, code: number],
  from?: Address,
): Uint8Array {
  if (probe[0] >> 4 === 4) {
    const at = ipv4.HEADER_LENGTH;
    const packet = new Uint8Array(at + icmp.HEADER_LENGTH + probe.length);
    icmp.emitError(packet, at, { type, code }, probe);
    wrap4(packet, from ?? probe.slice(16, 20), probe.slice(12, 16), PROTOCOL.ICMP, 61);
    return packet;
  }
  const at = ipv6.HEADER_LENGTH;
  const packet = new Uint8Array(at + icmpv6.HEADER_LENGTH + probe.length);
  wrap6(packet, from ?? probe.slice(24, 40), probe.slice(8, 24), PROTOCOL.ICMPV6, 61);
  const pseudo = pseudoSum6(packet, 8, 24, PROTOCOL.ICMPV6, packet.length - at);
  icmpv6.emitError(packet, at, { type, code }, probe, pseudo);
  return packet;
}

function wrap4(
  packet: Uint8Array,
  source: Address,
  destination: Address,
  protocol: number,
  ttl: number,
): void {
  ipv4.emit(packet, 0, {
    tos: 0,
    identification: 0,
    dontFragment: true,
    moreFragments: false,
    fragmentOffset: 0,
    ttl,
    protocol,
    source,
    destination,
    options: new Uint8Array(0),
    totalLength: packet.length,
  });
}

function wrap6(
  packet: Uint8Array,
  source: Address,
  destination: Address,
  nextHeader: number,
  hopLimit: number,
): void {
  ipv6.emit(packet, 0, {
    trafficClass: 0,
    flowLabel: 0,
    payloadLength: packet.length - ipv6.HEADER_LENGTH,
    nextHeader,
    hopLimit,
    source,
    destination,
  });
}

/** The destination of an IPv4 packet as one number. */
export const destination4 = (packet: Uint8Array, at: number): number => u32(packet, at + ipv4.DESTINATION);

/** A binary heap of things to come. */
function createTimeQueue<T>() {
  const times: number[] = [];
  const items: T[] = [];
  const swap = (a: number, b: number): void => {
    [times[a], times[b]] = [times[b], times[a]];
    [items[a], items[b]] = [items[b], items[a]];
  };
  return {
    peek: (): number => times[0] ?? Number.POSITIVE_INFINITY,
    push: (time: number, item: T): void => {
      let i = times.push(time) - 1;
      items.push(item);
      while (i > 0 && times[(i - 1) >> 1] > times[i]) {
        swap(i, (i - 1) >> 1);
        i = (i - 1) >> 1;
      }
    },
    pop: (): T => {
      const [top] = items;
      const lastTime = times.pop() as number;
      const lastItem = items.pop() as T;
      if (times.length > 0) {
        times[0] = lastTime;
        items[0] = lastItem;
        for (let i = 0; ; ) {
          let least = i;
          for (const child of [2 * i + 1, 2 * i + 2]) {
            if (child < times.length && times[child] < times[least]) least = child;
          }
          if (least === i) break;
          swap(i, least);
          i = least;
        }
      }
      return top;
    },
  };
}
