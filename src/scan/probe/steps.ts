/**
 * One connection attempt in the ten steps of the classic account of connect: what the socket held, what was sent, what came back,
 * with the real bytes. Pure: turns a log of the attempt (runtime/trace/trace.ts) into steps that a person or a program can read.
 *
 * Not here: how they are printed (cli/commands/trace.ts).
 * Tested by test/scan/probe/steps.test.ts, and of real connections by test/lab/trace.test.ts.
 */
import type { ControlBlockView } from "../../socket/connection.ts";
import { type Address, formatAddress, formatEndpoint } from "../../wire/address.ts";
import { fold, pseudoSum4, pseudoSum6, sum } from "../../wire/checksum.ts";
import { describePacket } from "../../wire/describe.ts";
import * as ipv4 from "../../wire/ipv4.ts";
import * as ipv6 from "../../wire/ipv6.ts";
import { PROTOCOL } from "../../wire/protocol.ts";
import * as tcp from "../../wire/tcp.ts";
import { parseOptions, type TcpOption } from "../../wire/tcp-options.ts";
import type { PortState, Reason } from "./result.ts";

/** One packet of the attempt. */
export interface TracedPacket {
  /** `refused`: the kernel did not send it. */
  readonly direction: "sent" | "received" | "refused";
  /** Why it was refused: the errno's name. */
  readonly error?: string;
  /** Microseconds since the first SYN left, or was refused; the first is at 0. */
  readonly atUs: number;
  /** The whole IP packet. */
  readonly bytes: Uint8Array;
  /** Which of the ten steps it belongs to. */
  readonly step: number;
}

/** What happened. */
export interface TraceRecord {
  readonly local: Address;
  readonly peer: Address;
  readonly localPort: number;
  readonly peerPort: number;
  readonly link: string;
  readonly packets: readonly TracedPacket[];
  /** The socket's row: empty, after connect was called, before and after the answer, and at the end. */
  readonly rows: {
    readonly empty: ControlBlockView;
    readonly connecting: ControlBlockView;
    readonly before: ControlBlockView;
    readonly after: ControlBlockView;
    readonly end: ControlBlockView;
  };
  /** Neither is there when the attempt was interrupted before the port was decided. */
  readonly state?: PortState;
  readonly reason?: Reason;
  /** Whether it was ended before its time. */
  readonly interrupted: boolean;
  /** Sender of the deciding ICMP message. */
  readonly responder?: Address;
  /** From SYN to ESTABLISHED; absent when that was not reached. */
  readonly establishedUs?: number;
  /** Why the handshake was left half-open, if it was. */
  readonly halfOpen?: string;
  /** From the first SYN to the end of the attempt. */
  readonly totalUs: number;
}

export interface Field {
  readonly name: string;
  /** The field's bytes in hex; for a bit field, the bytes that contain it. */
  readonly hex: string;
  readonly meaning: string;
}

export interface Step {
  readonly number: number;
  readonly title: string;
  readonly text: readonly string[];
  /** Header fields, in their order on the wire. */
  readonly fields?: readonly Field[];
  /** The row, or what changed in it: name, value before (if it changed), value after. */
  readonly row?: readonly (readonly [name: string, before: string | undefined, after: string])[];
}

export const milliseconds = (us: number): string => `${(us / 1000).toFixed(3)} ms`;

/** The ten steps; those that were not reached say why. */
export function stepsOf(record: TraceRecord): Step[] {
  const { rows, packets, localPort, peerPort } = record;
  const local = formatEndpoint(formatAddress(record.local), localPort);
  const peer = formatEndpoint(formatAddress(record.peer), peerPort);
  const [syn] = packets;
  const answer = packets.find(({ step }) => step === 7);
  const repeats = packets.filter(({ step }, i) => i > 0 && step === 5);
  const established = record.establishedUs !== undefined;
  return [
    {
      number: 1,
      title: "The socket is created, empty",
      text: ["A control block without a peer, without buffers; nothing of it will ever travel."],
      row: rowOf(undefined, rows.empty),
    },
    {
      number: 2,
      title: `connect: the peer ${peer} is recorded, buffer memory is reserved`,
      text: [`Local end ${local}; initial send sequence number ${rows.connecting.iss}.`],
      row: rowOf(rows.empty, rows.connecting),
    },
    {
      number: 3,
      title: "TCP builds a header, with SYN = 1",
      text: [],
      fields: tcpFields(syn.bytes),
    },
    {
      number: 4,
      title: `IP wraps it: ${syn.bytes.length} bytes in all, by the link ${record.link}`,
      text: [],
      fields: ipFields(syn.bytes),
    },
    {
      number: 5,
      title:
        syn.direction === "refused" ? `The kernel refuses to send it: ${syn.error}` : "It is sent, at t = 0",
      text: [
        describePacket(syn.bytes, 0, syn.bytes.length),
        ...repeats.map(({ atUs, error }) =>
          error === undefined
            ? `sent again at ${milliseconds(atUs)}: no answer until then`
            : `to be sent again at ${milliseconds(atUs)}: the kernel refused, ${error}`,
        ),
      ],
    },
    {
      number: 6,
      title: "What the server's TCP does, as far as the wire shows",
      text: [...strays(record), serverSide(record)],
    },
    {
      number: 7,
      title: answer === undefined ? "The answer: silence" : `The answer, after ${milliseconds(answer.atUs)}`,
      text:
        answer === undefined
          ? [
              `Nothing came within ${milliseconds(record.totalUs)}${record.interrupted ? ", when it was interrupted" : ""}.`,
            ]
          : [describePacket(answer.bytes, 0, answer.bytes.length)],
      ...(answer !== undefined && isTcp(answer.bytes) ? { fields: tcpFields(answer.bytes) } : {}),
    },
    {
      number: 8,
      title: `The socket's row after it: ${verdictText(record)}`,
      text: [],
      row: rowOf(rows.before, rows.after),
    },
    {
      number: 9,
      title: established && !isRefused(packets, 9) ? "An ACK goes back" : "No ACK goes back",
      text: established
        ? packets.filter(({ step }) => step === 9).map(({ bytes, error }) => refusedText(bytes, error))
        : [record.halfOpen ?? "There is no connection to acknowledge."],
    },
    {
      number: 10,
      title: "Control returns to the application",
      text: ending(record),
      row: rowOf(rows.after, rows.end),
    },
  ];
}

/** Whether the kernel sent nothing of a step. */
function isRefused(packets: readonly TracedPacket[], step: number): boolean {
  const of = packets.filter((packet) => packet.step === step);
  return of.length > 0 && of.every(({ direction }) => direction === "refused");
}

function verdictText({ state, reason, responder }: TraceRecord): string {
  if (state === undefined) return "interrupted, the port is not decided";
  return `the port is ${state} (${reason}${responder === undefined ? "" : ` from ${formatAddress(responder)}`})`;
}

/** What passed between the SYN and its answer. */
function strays({ packets }: TraceRecord): string[] {
  const between = packets.filter(({ step }) => step === 6);
  if (between.length === 0) return [];
  return [
    "It knows an older connection with the same ports still, and acknowledges that; a RST ends it (RFC 9293 §3.5.1):",
    ...between.map(packetLine),
  ];
}

const ARROWS = { sent: "->", received: "<-", refused: "-x" } as const;

const packetLine = ({ direction, atUs, bytes, error }: TracedPacket): string =>
  `${ARROWS[direction]} ${milliseconds(atUs)}  ${refusedText(bytes, error)}`;

/** A packet in words, and why it was not sent. */
const refusedText = (bytes: Uint8Array, error: string | undefined): string =>
  `${describePacket(bytes, 0, bytes.length)}${error === undefined ? "" : `: the kernel refused to send it, ${error}`}`;

function serverSide({ state, reason, responder, peerPort, packets }: TraceRecord): string {
  const router = responder === undefined ? "a router" : formatAddress(responder);
  if (state === "open") {
    return `It finds a socket that listens on port ${peerPort}, marks the new connection as connecting, and answers SYN+ACK.`;
  }
  if (state === "closed") return `It finds no socket that listens on port ${peerPort}, and answers RST+ACK.`;
  if (reason === undefined) return "Nothing shows: it was interrupted before an answer came.";
  if (reason.startsWith("send-")) {
    const times = packets.some(({ direction }) => direction === "sent") ? " again" : "";
    return `Nothing shows: this machine's kernel refused to send the SYN${times}.`;
  }
  if (reason === "no-response") {
    return "Nothing shows: the SYN, or its answer, was dropped on the way, or the host is not there.";
  }
  if (reason === "unproved-reset") {
    return "What came back is a RST that does not acknowledge the SYN: it proves nothing, and may be anybody's.";
  }
  if (reason === "unproved-syn") {
    return "What came back is a SYN, whose sender did not acknowledge ours: it proves nothing, and may be anybody's.";
  }
  return `The SYN probably never reached it: ${router} sent an ICMP error instead.`;
}

/** What Linux's connect fails with at an ICMP error: icmp_err_convert of net/ipv4/icmp.c, tab_unreach of net/ipv6/icmp.c. */
const ICMP_ERRNO: Readonly<Record<4 | 6, Readonly<Record<string, string>>>> = {
  4: {
    "net-unreach": "ENETUNREACH",
    "host-unreach": "EHOSTUNREACH",
    "proto-unreach": "ENOPROTOOPT",
    "port-unreach": "ECONNREFUSED",
    "net-prohibited": "ENETUNREACH",
    "host-prohibited": "EHOSTUNREACH",
    "admin-prohibited": "EHOSTUNREACH",
    "time-exceeded": "EHOSTUNREACH",
  },
  6: {
    "no-route": "ENETUNREACH",
    "admin-prohibited": "EACCES",
    "beyond-scope": "EHOSTUNREACH",
    "addr-unreach": "EHOSTUNREACH",
    "port-unreach": "ECONNREFUSED",
    "policy-fail": "EACCES",
    "reject-route": "EACCES",
    "time-exceeded": "EHOSTUNREACH",
  },
};

function ending(record: TraceRecord): string[] {
  const { establishedUs, packets, reason } = record;
  if (establishedUs === undefined) {
    if (reason === undefined || record.state === undefined)
      return [`connect would still wait: interrupted after ${milliseconds(record.totalUs)}.`];
    const filtered = reason.startsWith("send-")
      ? reason.slice("send-".length).toUpperCase()
      : "no connection";
    const errno = ICMP_ERRNO[record.local.length === 4 ? 4 : 6][reason];
    const answer = packets.find(({ direction, step }) => direction === "received" && step === 7);
    if (errno !== undefined && answer !== undefined)
      return [
        `Linux's connect would return: ${errno}, after ${milliseconds(answer.atUs)}. This attempt waited until ${milliseconds(record.totalUs)}, as such an error may pass, or be forged (RFC 9293 §3.9.2.2).`,
      ];
    const error = { open: "left half-open", closed: "ECONNREFUSED", filtered }[record.state];
    return [`connect would return: ${error}, after ${milliseconds(record.totalUs)}.`];
  }
  const close = packets.filter(({ step }) => step === 10);
  const end = isRefused(packets, 10) ? "what would close it was refused" : "then closed again";
  return [`Connected, ${milliseconds(establishedUs)} after the SYN left; ${end}:`, ...close.map(packetLine)];
}

/** The row's fields, or what has changed in them. */
function rowOf(before: ControlBlockView | undefined, after: ControlBlockView): NonNullable<Step["row"]> {
  const names: readonly (readonly [string, keyof ControlBlockView])[] = [
    ["state", "state"],
    ["ISS", "iss"],
    ["IRS", "irs"],
    ["SND.UNA", "sndUna"],
    ["SND.NXT", "sndNxt"],
    ["SND.WND", "sndWnd"],
    ["RCV.NXT", "rcvNxt"],
    ["RCV.WND", "rcvWnd"],
    ["peer's MSS", "peerMss"],
    ["RTO µs", "rtoUs"],
    ["buffer bytes", "reserved"],
  ];
  return names
    .filter(([, key]) => before === undefined || before[key] !== after[key])
    .map(([name, key]) => [name, before === undefined ? undefined : String(before[key]), String(after[key])]);
}

const isTcp = (b: Uint8Array): boolean =>
  (b[0] >> 4 === 4 ? ipv4.protocol(b, 0) : ipv6.nextHeader(b, 0)) === PROTOCOL.TCP;

function hex(b: Uint8Array, at: number, length: number): string {
  return Array.from(b.subarray(at, at + length), (byte) => byte.toString(16).padStart(2, "0")).join(" ");
}

/** The TCP header of an IP packet, field by field (RFC 9293 §3.1). */
export function tcpFields(b: Uint8Array): Field[] {
  const at = b[0] >> 4 === 4 ? ipv4.headerLength(b, 0) : ipv6.HEADER_LENGTH;
  const length = tcp.headerLength(b, at);
  const field = (name: string, offset: number, size: number, meaning: string): Field => ({
    name,
    hex: hex(b, at + offset, size),
    meaning,
  });
  const flags = tcp.flags(b, at);
  const acknowledges = (flags & tcp.FLAGS.ACK) !== 0;
  return [
    field("source port", tcp.SOURCE_PORT, 2, String(tcp.sourcePort(b, at))),
    field("destination port", tcp.DESTINATION_PORT, 2, String(tcp.destinationPort(b, at))),
    field("sequence number", tcp.SEQUENCE, 4, String(tcp.sequence(b, at))),
    field(
      "acknowledgement number",
      tcp.ACKNOWLEDGEMENT,
      4,
      acknowledges
        ? String(tcp.acknowledgement(b, at))
        : `${tcp.acknowledgement(b, at)}, without meaning: ACK = 0`,
    ),
    field("data offset", tcp.DATA_OFFSET, 1, `${length / 4} words: a header of ${length} bytes`),
    field("control bits", tcp.CONTROL_BITS, 1, tcp.flagNames(flags)),
    field("window", tcp.WINDOW, 2, `${tcp.window(b, at)} bytes may come`),
    field("checksum", tcp.CHECKSUM, 2, checksumMeaning(b, at)),
    field("urgent pointer", tcp.URGENT_POINTER, 2, "without meaning: URG = 0"),
    ...optionFields(b, at + tcp.HEADER_LENGTH, at + length),
  ];
}

/** How the checksum is computed: RFC 9293 §3.1, RFC 1071. */
function checksumMeaning(b: Uint8Array, at: number): string {
  const v4 = b[0] >> 4 === 4;
  const pseudo = v4
    ? pseudoSum4(b, ipv4.SOURCE, ipv4.DESTINATION, PROTOCOL.TCP, b.length - at)
    : pseudoSum6(b, ipv6.SOURCE, ipv6.DESTINATION, PROTOCOL.TCP, b.length - at);
  if (tcp.verifyChecksum(b, at, b.length, pseudo) === tcp.CHECKSUM_VERDICT.offloaded) {
    return `pseudo-header alone: the sender left the rest to hardware that this packet never met`;
  }
  const blank = b.slice(at);
  blank[tcp.CHECKSUM] = 0;
  blank[tcp.CHECKSUM + 1] = 0;
  const word = (value: number): string => `0x${value.toString(16).padStart(4, "0")}`;
  const segment = fold(sum(blank, 0, blank.length));
  const total = fold(pseudo + segment);
  return `~(pseudo-header ${word(fold(pseudo))} + header and text ${word(segment)}) = ~${word(total)} = ${word(~total & 0xffff)}`;
}

function optionFields(b: Uint8Array, at: number, end: number): Field[] {
  if (at >= end) return [];
  const { options } = parseOptions(b, at, end);
  return [{ name: "options", hex: hex(b, at, end - at), meaning: options.map(describeOption).join(", ") }];
}

function describeOption(option: TcpOption): string {
  switch (option.kind) {
    case "mss":
      return `maximum segment size ${option.value}`;
    case "window-scale":
      return `window scale ${option.shift}`;
    case "timestamps":
      return `time stamps ${option.value}/${option.echo}`;
    case "unknown":
      return `kind ${option.code}`;
    default:
      return option.kind;
  }
}

/** The IP header, field by field (RFC 791 §3.1, RFC 8200 §3). */
export function ipFields(b: Uint8Array): Field[] {
  const field = (name: string, at: number, size: number, meaning: string): Field => ({
    name,
    hex: hex(b, at, size),
    meaning,
  });
  if (b[0] >> 4 === 4) {
    return [
      field("version, header length", 0, 1, `4, ${ipv4.headerLength(b, 0)} bytes`),
      field("type of service", ipv4.TOS, 1, "routine (DSCP 0, no ECN)"),
      field("total length", ipv4.TOTAL_LENGTH, 2, `${ipv4.totalLength(b, 0)} bytes`),
      field("identification", ipv4.IDENTIFICATION, 2, String(ipv4.identification(b, 0))),
      field(
        "flags, fragment offset",
        ipv4.FRAGMENT,
        2,
        ipv4.dontFragment(b, 0) ? "don't fragment" : "may be fragmented",
      ),
      field("time to live", ipv4.TTL, 1, `${ipv4.ttl(b, 0)} hops`),
      field("protocol", ipv4.PROTOCOL, 1, "6, TCP"),
      field("header checksum", ipv4.CHECKSUM, 2, "over the header alone"),
      field("source", ipv4.SOURCE, 4, formatAddress(b, ipv4.SOURCE, 4)),
      field("destination", ipv4.DESTINATION, 4, formatAddress(b, ipv4.DESTINATION, 4)),
    ];
  }
  return [
    field("version, class, flow label", 0, 4, "6"),
    field("payload length", ipv6.PAYLOAD_LENGTH, 2, `${ipv6.payloadLength(b, 0)} bytes`),
    field("next header", ipv6.NEXT_HEADER, 1, "6, TCP"),
    field("hop limit", ipv6.HOP_LIMIT, 1, `${ipv6.hopLimit(b, 0)} hops`),
    field("source", ipv6.SOURCE, 16, formatAddress(b, ipv6.SOURCE, 16)),
    field("destination", ipv6.DESTINATION, 16, formatAddress(b, ipv6.DESTINATION, 16)),
  ];
}
