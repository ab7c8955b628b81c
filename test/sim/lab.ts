/** Packets into and out of a simulated network, under a virtual clock: for the lab's own tests. */
import type { HostsDescription, LabDescription } from "../../src/lab/description.ts";
import { createNetwork, type LabNetwork } from "../../src/lab/network.ts";
import { readSegment, type Segment, writePacket } from "../../src/socket/segment.ts";
import { type Address, formatAddress } from "../../src/wire/address.ts";
import { describePacket } from "../../src/wire/describe.ts";
import * as tcp from "../../src/wire/tcp.ts";
import { address } from "./run.ts";

export const SECOND = 1_000_000;
export const PROBER_4 = address("192.0.2.1");
export const PROBER_6 = address("2001:db8:ffff::1");
const NO_TEXT = new Uint8Array(0);

/** A network of one entry for 198.18.0.0/15. */
export const labOf = (
  host: Omit<HostsDescription, "range">,
  more: Partial<LabDescription> = {},
): LabNetwork => createNetwork({ hosts: [{ range: "198.18.0.0/15", ...host }], ...more }, { startUs: 0 });

/** A segment from the prober. */
export function segmentFrom(
  peer: Address,
  port: number,
  fields: Partial<Segment> & { localPort?: number } = {},
): Uint8Array {
  const out = new Uint8Array(1600);
  const { localPort = 61_000, ...segment } = fields;
  const local = peer.length === 4 ? PROBER_4 : PROBER_6;
  const length = writePacket(
    out,
    0,
    { local, peer, localPort, peerPort: port, ttl: 64 },
    { sequence: 1000, acknowledgement: 0, flags: tcp.FLAGS.SYN, window: 1024, text: NO_TEXT, ...segment },
  );
  return out.slice(0, length);
}

export const synTo = (host: string, port: number, localPort = 61_000): Uint8Array =>
  segmentFrom(address(host), port, { localPort, mss: 1460 });

export interface Arrival {
  readonly atUs: number;
  readonly packet: Uint8Array;
}

/** Puts a packet in. */
export const send = (network: LabNetwork, packet: Uint8Array, nowUs: number): void =>
  network.handlePacket(packet, 0, packet.length, nowUs);

/** Takes everything that reaches the prober until `untilUs`, each at its time. */
export function receive(network: LabNetwork, untilUs: number): Arrival[] {
  const arrivals: Arrival[] = [];
  const out = new Uint8Array(1600);
  for (let now = network.pollTimeout(); now <= untilUs; now = network.pollTimeout()) {
    for (let length = network.pollTransmit(now, out, 0); length > 0; ) {
      arrivals.push({ atUs: now, packet: out.slice(0, length) });
      length = network.pollTransmit(now, out, 0);
    }
  }
  return arrivals;
}

/** "198.18.0.1:80 SYN,ACK", for a TCP packet. */
export function describe(packet: Uint8Array): string {
  const at = packet[0] >> 4 === 4 ? 20 : 40;
  const source = packet[0] >> 4 === 4 ? formatAddress(packet, 12, 4) : formatAddress(packet, 8, 16);
  const port = tcp.sourcePort(packet, at);
  return `${source}:${port} ${tcp.flagNames(tcp.flags(packet, at))}`;
}

export const lineOf = (packet: Uint8Array): string => describePacket(packet, 0, packet.length);

export const segmentIn = (packet: Uint8Array): Segment =>
  readSegment(packet, packet[0] >> 4 === 4 ? 20 : 40, packet.length) as Segment;
