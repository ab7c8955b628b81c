/**
 * A TCP segment as the state machine sees it: sequence space, control bits, window and text; and its way from and to an
 * IP packet. Ports and addresses are its socket's (`Ends`), header layouts are wire/'s.
 * Tested by test/socket/segment.test.ts and test/socket/control-block.test.ts.
 */
import type { Address } from "../wire/address.ts";
import { pseudoSum4, pseudoSum6 } from "../wire/checksum.ts";
import * as ipv4 from "../wire/ipv4.ts";
import * as ipv6 from "../wire/ipv6.ts";
import { PROTOCOL } from "../wire/protocol.ts";
import * as tcp from "../wire/tcp.ts";
import { emitOptions, optionsLength, parseOptions } from "../wire/tcp-options.ts";
import { seqAdd } from "./sequence.ts";

const { FLAGS } = tcp;
const NO_TEXT = new Uint8Array(0);

export interface Segment {
  /** SEG.SEQ */
  readonly sequence: number;
  /** SEG.ACK; meaningful with the ACK bit. */
  readonly acknowledgement: number;
  /** Control bits, as wire/tcp.ts's FLAGS. */
  readonly flags: number;
  /** SEG.WND, in bytes. */
  readonly window: number;
  /** MSS option, in bytes, on a segment with SYN that has one. */
  readonly mss?: number;
  /** The segment's text. */
  readonly text: Uint8Array;
}

export const hasFlag = (segment: Segment, flag: number): boolean => (segment.flags & flag) !== 0;

/** SEG.LEN: text, plus one each for SYN and FIN (RFC 9293 §3.4). */
export const segmentLength = ({ flags, text }: Segment): number =>
  text.length + ((flags & FLAGS.SYN) !== 0 ? 1 : 0) + ((flags & FLAGS.FIN) !== 0 ? 1 : 0);

/** What a socket that does not exist answers (§3.10.7.1): nothing to a RST, a RST to anything else. */
export function resetFor(segment: Segment): Segment[] {
  if (hasFlag(segment, FLAGS.RST)) return [];
  const base = { window: 0, text: NO_TEXT };
  if (hasFlag(segment, FLAGS.ACK)) {
    return [{ ...base, sequence: segment.acknowledgement, acknowledgement: 0, flags: FLAGS.RST }];
  }
  return [
    {
      ...base,
      sequence: 0,
      acknowledgement: seqAdd(segment.sequence, segmentLength(segment)),
      flags: FLAGS.RST | FLAGS.ACK,
    },
  ];
}

/** "SYN,ACK seq=1 ack=2 win=3 len=4", for messages and tests. */
export function describeSegment(segment: Segment): string {
  const names = (["SYN", "FIN", "RST", "PSH", "ACK"] as const).filter((name) =>
    hasFlag(segment, FLAGS[name]),
  );
  const ack = hasFlag(segment, FLAGS.ACK) ? ` ack=${segment.acknowledgement}` : "";
  const text = segment.text.length > 0 ? ` len=${segment.text.length}` : "";
  return `${names.join(",") || "none"} seq=${segment.sequence}${ack} win=${segment.window}${text}`;
}

/** Reads the segment at `b[at, end)`, text copied; undefined when it is malformed. Checksums are the caller's to verify. */
export function readSegment(b: Uint8Array, at: number, end: number): Segment | undefined {
  const header = tcp.parse(b, at, end);
  if (header === undefined) return undefined;
  const { options } = parseOptions(header.options, 0, header.options.length);
  const mss = options.find((option) => option.kind === "mss");
  return {
    sequence: header.sequence,
    acknowledgement: header.acknowledgement,
    flags: header.flags,
    window: header.window,
    ...(mss?.kind === "mss" ? { mss: mss.value } : {}),
    text: Uint8Array.from(b.subarray(at + header.dataOffset, end)),
  };
}

/** The two ends of a connection, as a packet needs them. */
export interface Ends {
  readonly local: Address;
  readonly peer: Address;
  readonly localPort: number;
  readonly peerPort: number;
  /** TTL or hop limit. */
  readonly ttl: number;
}

/** Writes `segment` as one IP packet at `out[at]`, checksums filled. @returns its length */
export function writePacket(out: Uint8Array, at: number, ends: Ends, segment: Segment): number {
  const { local, peer, ttl } = ends;
  const options = segment.mss === undefined ? [] : [{ kind: "mss", value: segment.mss } as const];
  const raw = new Uint8Array(optionsLength(options));
  emitOptions(raw, 0, options);
  const ipLength = local.length === 4 ? ipv4.HEADER_LENGTH : ipv6.HEADER_LENGTH;
  const length = ipLength + tcp.HEADER_LENGTH + raw.length + segment.text.length;
  const segmentAt = at + ipLength;
  const headerLength = tcp.emit(out, segmentAt, {
    sourcePort: ends.localPort,
    destinationPort: ends.peerPort,
    sequence: segment.sequence,
    acknowledgement: segment.acknowledgement,
    flags: segment.flags,
    window: segment.window,
    urgentPointer: 0,
    checksum: 0,
    options: raw,
    dataOffset: tcp.HEADER_LENGTH + raw.length,
  });
  out.set(segment.text, segmentAt + headerLength);
  const end = at + length;
  const protocol = PROTOCOL.TCP;
  if (local.length === 4) {
    ipv4.emit(out, at, {
      tos: 0,
      // RFC 6864 §4.1: an atomic datagram (DF set, whole) needs no identification.
      identification: 0,
      dontFragment: true,
      moreFragments: false,
      fragmentOffset: 0,
      ttl,
      protocol,
      source: local,
      destination: peer,
      options: NO_OPTIONS,
      totalLength: length,
    });
    const pseudo = pseudoSum4(out, at + ipv4.SOURCE, at + ipv4.DESTINATION, protocol, end - segmentAt);
    tcp.fillChecksum(out, segmentAt, end, pseudo);
  } else {
    ipv6.emit(out, at, {
      trafficClass: 0,
      flowLabel: 0,
      payloadLength: end - segmentAt,
      nextHeader: protocol,
      hopLimit: ttl,
      source: local,
      destination: peer,
    });
    const pseudo = pseudoSum6(out, at + ipv6.SOURCE, at + ipv6.DESTINATION, protocol, end - segmentAt);
    tcp.fillChecksum(out, segmentAt, end, pseudo);
  }
  return length;
}

const NO_OPTIONS = new Uint8Array(0);
