/**
 * What a reply means: control bits and ICMP codes → event and reason (REFERENCE: nmap's `get_pcap_result`; RFC 9293
 * §3.10.7.3, RFC 792, RFC 1122 §4.2.3.9, RFC 4443).
 *
 * Tables only. Not here: whether a reply is ours (engine/receive.ts), which events may still change a verdict
 * (socket/state.ts).
 */

import { PROBE_EVENTS, PROBE_STATES, type ProbeEvent, type ProbeState } from "../../socket/state.ts";
import { FLAGS } from "../../wire/tcp.ts";
import type { PortState, Reason } from "./result.ts";

/** What a TCP segment says in answer to a SYN. */
export type SegmentKind = "syn-ack" | "syn" | "reset" | "ack" | "odd";

const DECIDING = FLAGS.SYN | FLAGS.RST | FLAGS.ACK;

/**
 * FIN, PSH, URG and ECN beside them change nothing: what a segment proves is in its acknowledgement number (nmap-os-db: 21
 * fingerprints reset with FIN). SYN with RST is no answer.
 */
export function segmentKind(flags: number): SegmentKind {
  switch (flags & DECIDING) {
    case FLAGS.SYN | FLAGS.ACK:
      return "syn-ack";
    case FLAGS.SYN:
      return (flags & FLAGS.FIN) === 0 ? "syn" : "odd";
    case FLAGS.RST:
    case FLAGS.RST | FLAGS.ACK:
      return "reset";
    case FLAGS.ACK:
      return "ack";
    default:
      return "odd";
  }
}

/**
 * The event and the reason of a segment that is proved to answer a probe; `ack` is one that acknowledges our SYN-ACK to a bare
 * SYN, the third step of a simultaneous open.
 */
export const SEGMENT_VERDICTS = {
  "syn-ack": { event: PROBE_EVENTS.accepted, reason: "syn-ack" },
  ack: { event: PROBE_EVENTS.accepted, reason: "split-handshake-syn" },
  reset: { event: PROBE_EVENTS.refused, reason: "reset" },
} as const satisfies Record<Exclude<SegmentKind, "odd" | "syn">, { event: ProbeEvent; reason: Reason }>;

/**
 * Whether a segment's acknowledgement number proves that its sender has seen the SYN with this ISN. A SYN-ACK acknowledges ISN + 1
 * (RFC 9293 §3.10.7.2). Some stacks reset with the ISN itself (nmap-os-db's T5: 26 fingerprints), which nobody else knows either.
 * @param acknowledged the acknowledgement number less the ISN, modulo 2^32: a small number, which takes no object to hand over
 */
export const isProof = (kind: SegmentKind, acknowledged: number): boolean =>
  acknowledged === 1 || (acknowledged === 0 && kind === "reset");

const ICMP_UNREACHABLE: Readonly<Record<number, Reason>> = {
  0: "net-unreach",
  1: "host-unreach",
  2: "proto-unreach",
  3: "port-unreach",
  9: "net-prohibited",
  10: "host-prohibited",
  13: "admin-prohibited",
};

const ICMPV6_UNREACHABLE: Readonly<Record<number, Reason>> = {
  0: "no-route",
  1: "admin-prohibited",
  2: "beyond-scope",
  3: "addr-unreach",
  4: "port-unreach",
  5: "policy-fail",
  6: "reject-route",
};

/** Why an ICMP error filters the port it is about; undefined for one that decides nothing. */
export function icmpReason(type: number, code: number): Reason | undefined {
  if (type === 3) return ICMP_UNREACHABLE[code];
  if (type === 11) return "time-exceeded";
  return undefined;
}

/** The same for ICMPv6. */
export function icmpv6Reason(type: number, code: number): Reason | undefined {
  if (type === 1) return ICMPV6_UNREACHABLE[code];
  if (type === 3) return "time-exceeded";
  if (type === 4 && code === 1) return "param-problem";
  return undefined;
}

/** The verdict that a decided row stands for. */
export function portState(state: ProbeState): PortState {
  if (state === PROBE_STATES.open) return "open";
  if (state === PROBE_STATES.closed) return "closed";
  return "filtered";
}

/**
 * What a refused send means for the try. Of this machine's state, so that the try did not happen: `again`, there is no room just
 * now; `asking`, the link asks as many neighbours as it may (link/solicitations.ts), which is no error; `away`, nothing can be sent while the interface is; `routeless`, there is no route any more, which may come back;
 * `forbidden`, a firewall says no, to all such packets, or, as one that limits them or has no room for another connection, to some: which of
 * these only further tries tell. Of the host: `later`, this try is over and the next may find a way. Of the packet, or of all packets for
 * good: `never`.
 */
export type SendErrorVerdict = "again" | "asking" | "away" | "routeless" | "forbidden" | "later" | "never";

/** Every errno of a send over raw and packet sockets (send(2), ip(7), packet(7)); one that is not here says `later`. */
export const SEND_ERRORS: Readonly<Record<string, SendErrorVerdict>> = {
  // A queue is full, or the kernel's table of neighbours.
  ENOBUFS: "again",
  EAGAIN: "again",
  ENOMEM: "again",
  EINTR: "again",
  // A socket of the kernel's that connects takes a descriptor.
  EMFILE: "again",
  ENFILE: "again",
  EINPROGRESS: "asking",
  // The interface is down, or gone.
  ENETDOWN: "away",
  ENODEV: "away",
  ENXIO: "away",
  // There was a route and a source address when the run was planned.
  ENETUNREACH: "routeless",
  EADDRNOTAVAIL: "routeless",
  // A route or neighbour says so of this host.
  EHOSTUNREACH: "later",
  EHOSTDOWN: "later",
  // Netfilter's, for a rule as for a full table of connections.
  EPERM: "forbidden",
  // A route forbids this packet, or it is too long or not well formed.
  EACCES: "never",
  EMSGSIZE: "never",
  EINVAL: "never",
  // The socket cannot send such packets at all.
  EAFNOSUPPORT: "never",
  EOPNOTSUPP: "never",
  EBADF: "never",
};

/** @param family IPv6 says EINVAL when the table of neighbours is full */
export function sendErrorVerdict(errno: string, family: 4 | 6): SendErrorVerdict {
  if (family === 6 && errno === "EINVAL") return "again";
  return SEND_ERRORS[errno] ?? "later";
}
