/**
 * A verdict as the engine hands it over: numbers and addresses, not yet words (result.ts has those), and what it takes to go
 * on with an open port's handshake.
 */
import type { Segment } from "../socket/segment.ts";
import type { Address } from "../wire/address.ts";
import type { Ending, PortState, Reason } from "./result.ts";

/** A verdict with its evidence, before it is put into words. */
export interface Verdict {
  readonly target: number;
  readonly port: number;
  readonly state: PortState;
  readonly reason: Reason;
  /** Microseconds; null when nothing answered, or the answered try is ambiguous. */
  readonly rttUs: number | null;
  readonly ttl: number | null;
  readonly tries: number;
  /** Sender of the deciding ICMP message, the target itself included. */
  readonly responder: Address | null;
  readonly late: boolean;
  readonly was: PortState | null;
  readonly atUs: number;
  /** With `keepHandshakes`, for a port that answered SYN+ACK: what it takes to go on from there. */
  readonly handshake?: Handshake;
  /** How the connection went on and ended, when it did (completion.ts). */
  readonly completion?: Completion;
}

/** A handshake whose third segment is still to be sent. */
export interface Handshake {
  readonly path: number;
  readonly localPort: number;
  readonly peer: Address;
  readonly iss: number;
  readonly sentUs: number;
  readonly synAck: Segment;
}

/** What came of a handshake that was completed. */
export interface Completion {
  /** From SYN to ESTABLISHED, in microseconds. */
  readonly establishedUs: number;
  readonly ending: Ending;
  /** What the peer said first, unescaped; absent when it said nothing. */
  readonly banner?: Uint8Array;
}

/** What a verdict rests on. */
export type Evidence = Pick<
  Verdict,
  "reason" | "rttUs" | "ttl" | "responder" | "late" | "atUs" | "handshake"
>;

/** The evidence of a port from which nothing came. */
export const unanswered = (reason: Reason, atUs: number): Evidence => ({
  reason,
  rttUs: null,
  ttl: null,
  responder: null,
  late: false,
  atUs,
});
