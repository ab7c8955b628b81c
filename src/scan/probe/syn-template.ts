/**
 * The probe: one SYN in one IP packet, made from a template in which only addresses, ports, sequence number and two
 * checksums change.
 *
 * The template holds the one's-complement sum of everything that stays the same (RFC 1071 §2: addition is associative), and each
 * probe adds its own words. It offers what a current Linux kernel's SYN does, as some hosts and middleboxes answer nothing less
 * (zmap#855: 1.331 % of addresses where 1.328 % answer MSS alone), or MSS alone.
 *
 * Not here: when a probe is sent (engine/transmit.ts).
 */
import type { Address } from "../../wire/address.ts";
import { putU16 } from "../../wire/bytes.ts";
import { fold, pseudoSum4, pseudoSum6, sum } from "../../wire/checksum.ts";
import * as ipv4 from "../../wire/ipv4.ts";
import * as ipv6 from "../../wire/ipv6.ts";
import { PROTOCOL } from "../../wire/protocol.ts";
import * as tcp from "../../wire/tcp.ts";
import { emitOptions, optionsLength, type TcpOption } from "../../wire/tcp-options.ts";

/** Longest packet that is sent, and that a peer is asked for, in bytes: what an Ethernet frame holds, whatever more the route could take. */
export const LONGEST_PACKET = 1500;
/** IP and TCP headers without options, in bytes (RFC 9293 §3.7.1), of IPv4 and IPv6. */
export const HEADERS = { 4: 40, 6: 60 } as const;
/** MSS announced where a path has none of its own. */
export const MSS = { 4: LONGEST_PACKET - HEADERS[4], 6: LONGEST_PACKET - HEADERS[6] } as const;
/** Receive window announced with MSS alone, in bytes, and Linux's over Ethernet. */
export const WINDOW = 1024;
const WINDOW_OF_LINUX = { 4: 64_240, 6: 64_800 } as const;
/** Linux's, for the usual limit of a receive buffer, 6 MiB. */
const WINDOW_SCALE = 7;

export interface SynTemplate {
  /** Length of every probe in bytes. */
  readonly length: number;
  /**
   * Writes one probe at `out[at]`, from the local address of the template to the peer in `words` (see loadAddress).
   * @param identification IPv4 identification, 16 bits; IPv6 has none
   */
  write(
    out: Uint8Array,
    at: number,
    words: Uint32Array,
    wordsAt: number,
    localPort: number,
    peerPort: number,
    sequence: number,
    identification: number,
  ): void;
}

/**
 * The IPv4 identification of the probe with this sequence number: as random, and reveals nothing about it (RFC 6864 §4.1 requires
 * no more). Derived from it, so that a probe can be rebuilt from its answer.
 * @param seed of the run
 */
export const identificationOf = (sequence: number, seed: number): number =>
  (Math.imul(sequence ^ seed, 0x9e3779b1) >>> 16) & 0xffff;

/** What a SYN offers: MSS alone, unless there is a time stamp. */
export interface SynOffer {
  /** 32 bits: offers all that Linux does, in its order, with this as the clock's value (RFC 7323 §3.2), the same in every probe. */
  readonly timestamp?: number | undefined;
  /** Announced receive window, in bytes; by default 1,024, or Linux's. */
  readonly window?: number;
  /** In bytes; MSS when left out. */
  readonly mss?: number | undefined;
}

/** @param ttl TTL or hop limit, 1 to 255 */
export function createSynTemplate(local: Address, ttl: number, offer: SynOffer = {}): SynTemplate {
  return local.length === 4 ? createTemplate4(local, ttl, offer) : createTemplate6(local, ttl, offer);
}

/** Writes the TCP header of a template: everything but ports, sequence number and checksum. @returns its length */
function emitTcp(frame: Uint8Array, at: number, family: 4 | 6, offer: SynOffer): number {
  const { timestamp, window } = offer;
  const mss: TcpOption = { kind: "mss", value: offer.mss ?? MSS[family] };
  const options: readonly TcpOption[] =
    timestamp === undefined
      ? [mss]
      : [
          mss,
          { kind: "sack-permitted" },
          { kind: "timestamps", value: timestamp, echo: 0 },
          { kind: "nop" },
          { kind: "window-scale", shift: WINDOW_SCALE },
        ];
  const raw = new Uint8Array(optionsLength(options));
  emitOptions(raw, 0, options);
  return tcp.emit(frame, at, {
    sourcePort: 0,
    destinationPort: 0,
    sequence: 0,
    acknowledgement: 0,
    flags: tcp.FLAGS.SYN,
    window: window ?? (timestamp === undefined ? WINDOW : WINDOW_OF_LINUX[family]),
    urgentPointer: 0,
    checksum: 0,
    options: raw,
    dataOffset: tcp.HEADER_LENGTH + raw.length,
  });
}

function createTemplate4(local: Address, ttl: number, offer: SynOffer): SynTemplate {
  const frame = new Uint8Array(64);
  const segment = ipv4.HEADER_LENGTH;
  const length = segment + emitTcp(frame, segment, 4, offer);
  ipv4.emit(frame, 0, {
    tos: 0,
    identification: 0,
    dontFragment: true,
    moreFragments: false,
    fragmentOffset: 0,
    ttl,
    protocol: PROTOCOL.TCP,
    source: local,
    destination: new Uint8Array(4),
    options: new Uint8Array(0),
    totalLength: length,
  });
  putU16(frame, ipv4.CHECKSUM, 0);
  const headerSum = sum(frame, 0, segment);
  const segmentSum = sum(
    frame,
    segment,
    length,
    pseudoSum4(frame, ipv4.SOURCE, ipv4.DESTINATION, PROTOCOL.TCP, length - segment),
  );
  const frameWords = wordsOf(frame, 0, segment);
  const segmentWords = wordsOf(frame, segment, length);
  const viewOf = createViewer();
  return {
    length,
    write: (out, at, words, wordsAt, localPort, peerPort, sequence, identification) => {
      const view = viewOf(out);
      const peer = words[wordsAt + 3];
      const peerSum = (peer >>> 16) + (peer & 0xffff);
      // Identification and checksum are halves of their words.
      view.setInt32(at, frameWords[0]);
      view.setInt32(at + 4, frameWords[1] | (identification << 16));
      view.setInt32(at + 8, frameWords[2] | (~fold(headerSum + identification + peerSum) & 0xffff));
      view.setInt32(at + 12, frameWords[3]);
      view.setInt32(at + ipv4.DESTINATION, peer);
      writeSegment(view, at + segment, segmentWords, localPort, peerPort, sequence, segmentSum + peerSum);
    },
  };
}

function createTemplate6(local: Address, hopLimit: number, offer: SynOffer): SynTemplate {
  const frame = new Uint8Array(64 + 24);
  const segment = ipv6.HEADER_LENGTH;
  const segmentLength = emitTcp(frame, segment, 6, offer);
  const length = segment + segmentLength;
  ipv6.emit(frame, 0, {
    trafficClass: 0,
    flowLabel: 0,
    payloadLength: segmentLength,
    nextHeader: PROTOCOL.TCP,
    hopLimit,
    source: local,
    destination: new Uint8Array(16),
  });
  const segmentSum = sum(
    frame,
    segment,
    length,
    pseudoSum6(frame, ipv6.SOURCE, ipv6.DESTINATION, PROTOCOL.TCP, segmentLength),
  );
  const frameWords = wordsOf(frame, 0, ipv6.DESTINATION);
  const segmentWords = wordsOf(frame, segment, length);
  const viewOf = createViewer();
  return {
    length,
    write: (out, at, words, wordsAt, localPort, peerPort, sequence) => {
      const view = viewOf(out);
      for (let i = 0; i < frameWords.length; i++) view.setInt32(at + 4 * i, frameWords[i]);
      let total = segmentSum;
      for (let i = 0; i < 4; i++) {
        const word = words[wordsAt + i];
        view.setInt32(at + ipv6.DESTINATION + 4 * i, word);
        total += (word >>> 16) + (word & 0xffff);
      }
      writeSegment(view, at + segment, segmentWords, localPort, peerPort, sequence, total);
    },
  };
}

/** Writes a segment word by word: each once, those that change with what changes in them. */
function writeSegment(
  view: DataView,
  at: number,
  template: Int32Array,
  localPort: number,
  peerPort: number,
  sequence: number,
  partialSum: number,
): void {
  const total = partialSum + localPort + peerPort + (sequence >>> 16) + (sequence & 0xffff);
  view.setInt32(at, (localPort << 16) | peerPort);
  view.setInt32(at + tcp.SEQUENCE, sequence);
  view.setInt32(at + 8, template[2]);
  view.setInt32(at + 12, template[3]);
  view.setInt32(at + tcp.CHECKSUM, ~fold(total) << 16);
  for (let i = 5; i < template.length; i++) view.setInt32(at + 4 * i, template[i]);
}

/** Bytes of a frame as words: one is written in the time of a byte. */
function wordsOf(frame: Uint8Array, from: number, end: number): Int32Array {
  const view = new DataView(frame.buffer);
  return Int32Array.from({ length: (end - from) / 4 }, (_, i) => view.getInt32(from + 4 * i));
}

/** Views of the memory that frames are written to, which is mostly the same each time. */
function createViewer(): (memory: Uint8Array) => DataView {
  let last: Uint8Array = new Uint8Array(0);
  let view: DataView = new DataView(last.buffer);
  return (memory) => {
    if (memory !== last) {
      last = memory;
      view = new DataView(memory.buffer, memory.byteOffset, memory.byteLength);
    }
    return view;
  };
}
