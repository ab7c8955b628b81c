/**
 * What a walk has found: the hops, and for each port how far its SYNs come and what stops them.
 *
 * Types only. Hops are counted from 1, the first router; 0 is this machine. Times are in microseconds.
 * Tested by test/sim/path.test.ts.
 */
import type { Address } from "../../wire/address.ts";
import type { MplsLabel } from "../../wire/icmp-extensions.ts";
import type { PortState, Reason } from "../probe/result.ts";

/** A router, or the host, that answered a SYN which expired there. */
export interface HopAnswer {
  readonly address: Address;
  /** The shortest round trip measured. */
  readonly rttUs: number;
  /** MPLS labels that the SYN had there (RFC 4950), outermost first. */
  readonly labels: readonly MplsLabel[];
  /** Ports whose SYNs it answered. */
  readonly ports: readonly number[];
}

export interface PathHop {
  readonly hop: number;
  /** None where the router is silent; more than one where flows part. */
  readonly answers: readonly HopAnswer[];
}

/** What stops a port's SYNs, and between which hops; `other` is the port that they were compared with. */
export type Where =
  /** Nothing: the host answers, as far as can be seen. */
  | { readonly kind: "host"; readonly hop: number }
  /** Dropped without a word: hop `from` has seen the SYNs, and from hop `to` on only another port's are answered. */
  | { readonly kind: "dropped"; readonly from: number; readonly to: number; readonly other: number }
  /**
   * They pass the last hop that can be seen before the host, `from`, and nothing comes back: the host drops them, or that hop does
   * behind itself, or the answer is dropped on its way back. Under `rstLimit` it may as well be closed: the host has closed other ports,
   * and a limit of its RSTs looks the same.
   */
  | {
      readonly kind: "at-host";
      readonly from: number;
      readonly to: number;
      readonly other: number;
      readonly rstLimit?: true;
    }
  /** An ICMP error of `by` says so; `by` is the host itself under `self`. Hop 0: this machine refuses to send them. */
  | {
      readonly kind: "rejected";
      readonly by: Address;
      readonly self: boolean;
      readonly from: number;
      readonly to: number;
    }
  /** Answered in the host's name by a box between these hops, while another port's SYNs go on to hop `beyond`. */
  | {
      readonly kind: "box";
      readonly from: number;
      readonly to: number;
      readonly beyond: number;
      readonly other: number;
    }
  /** Some flows get through where others do not: a matter of one branch of the way, or of loss. */
  | { readonly kind: "some-flows"; readonly from: number; readonly passed: number; readonly asked: number }
  /**
   * No other port's SYNs come further than these: whether a filter, silent routers or no host at all is behind it cannot be known; under
   * `usedUp` none was sent that could. Of a port that was answered: once, by whom at what distance its later SYNs have not told.
   */
  | { readonly kind: "unknown"; readonly from: number; readonly usedUp?: true };

export interface PortPath {
  readonly port: number;
  readonly state: PortState;
  readonly reason: Reason;
  /** The last hop that has told of one of its SYNs; 0 for none. */
  readonly seenAt: number;
  /** The least TTL with which a SYN was answered as by the host, where one was. */
  readonly reach?: number;
  readonly rttUs?: number;
  /** TTL or hop limit of that answer as it came in. */
  readonly ttl?: number;
  readonly where: Where;
  /** Chance that `where` is wrong; undefined where nothing is claimed. */
  readonly doubt?: number;
  /** Of so many SYNs, how many this machine's kernel refused to send, and why; absent for none. */
  readonly refused?: { readonly syns: number; readonly of: number; readonly reason: Reason };
  /** Whether the port was not asked for, but taken to compare with. */
  readonly reference: boolean;
}

/** What was noticed about the way beside its hops. */
export type PathNote =
  | { readonly kind: "loop"; readonly address: Address; readonly hops: readonly number[] }
  /** From this hop on, routers see the SYNs with other addresses or ports: a translator (NAT) is before it. */
  | { readonly kind: "nat"; readonly hop: number }
  /** The host's own address answers for this hop, and some of its ports are answered only behind it. */
  | { readonly kind: "behind-host"; readonly hop: number }
  /** Packets that came in meanwhile and were dropped inside this machine: at least so many, on the machine as a whole. */
  | { readonly kind: "dropped-here"; readonly packets: number };

/** One source port's way to one port, where several were walked. */
export interface FlowPath {
  readonly port: number;
  readonly sourcePort: number;
  /** Answering addresses as text, by hop; "" where none did. */
  readonly hops: readonly string[];
  /** SYNs sent with a TTL that reaches the host, and how many of them were answered. */
  readonly sent: number;
  readonly answered: number;
  readonly seenAt: number;
}

export interface PathResult {
  readonly target: Address;
  readonly local: Address;
  readonly hops: readonly PathHop[];
  readonly ports: readonly PortPath[];
  readonly notes: readonly PathNote[];
  readonly flows: readonly FlowPath[];
  readonly sent: number;
  readonly elapsedUs: number;
  readonly interrupted: boolean;
  /** Why nothing got further than this machine's own link, where that is known. */
  readonly stuck?: string;
}
