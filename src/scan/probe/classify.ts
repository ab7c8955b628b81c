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
export type SegmentKind = "syn-ack" | "syn" | "reset" | "odd";

const DECIDING = FLAGS.FIN | FLAGS.SYN | FLAGS.RST | FLAGS.ACK;

/** ECN, PSH and URG decide nothing; FIN, or SYN with RST, answers no SYN. */
export function segmentKind(flags: number): SegmentKind {
  switch (flags & DECIDING) {
    case FLAGS.SYN | FLAGS.ACK:
      return "syn-ack";
    case FLAGS.SYN:
      return "syn";
    case FLAGS.RST:
    case FLAGS.RST | FLAGS.ACK:
      return "reset";
    default:
      return "odd";
  }
}

/** Event and reason of a segment that provably answers a probe. */
export const SEGMENT_VERDICTS = {
  "syn-ack": { event: PROBE_EVENTS.accepted, reason: "syn-ack" },
  syn: { event: PROBE_EVENTS.accepted, reason: "split-handshake-syn" },
  reset: { event: PROBE_EVENTS.refused, reason: "reset" },
} as const satisfies Record<Exclude<SegmentKind, "odd">, { event: ProbeEvent; reason: Reason }>;

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

/** No room in a queue or in the kernel's neighbour table: worth another attempt within milliseconds. */
const NO_ROOM = new Set(["ENOBUFS", "EAGAIN", "ENOMEM", "EINTR"]);
/** The interface is down or gone, for now or for good. */
const AWAY = new Set(["ENETDOWN", "ENODEV", "ENXIO"]);
/** Final: a local firewall, or a packet that cannot be sent at all. */
const FINAL = new Set(["EPERM", "EACCES", "EMSGSIZE", "EINVAL", "EAFNOSUPPORT", "EOPNOTSUPP", "EBADF"]);

/**
 * What a refused send means for the try. `again`: send it soon. `away`: nothing can be sent, so the try did not happen. `never`:
 * the row is decided. `later`: there is no route to this target (ENETUNREACH …), as while routes change; the next try may find one.
 * @param family IPv6 reports a full neighbour table as EINVAL
 */
export function sendErrorVerdict(errno: string, family: 4 | 6): "again" | "away" | "later" | "never" {
  if (NO_ROOM.has(errno) || (family === 6 && errno === "EINVAL")) return "again";
  if (AWAY.has(errno)) return "away";
  return FINAL.has(errno) ? "never" : "later";
}
