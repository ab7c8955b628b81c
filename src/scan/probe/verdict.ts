/**
 * A verdict as the engine hands it over, and as a record holds it: numbers, and addresses as words. People and formats get a
 * PortResult (result.ts), which is made as result-columns.ts says.
 * Tested by test/scan/engine/engine.test.ts.
 */
import type { Segment } from "../../socket/segment.ts";
import { ADDRESS_WORDS } from "../../socket/table.ts";
import type { Address } from "../../wire/address.ts";
import type { Ending, PortState, Reason } from "./result.ts";

/** A verdict with its evidence. Its memory is used again: see `Engine.pollVerdict`. */
export interface Verdict {
  /** The pair's place in the run's order (ProbeSource). */
  readonly position: number;
  /** The address probed, in words (socket/table.ts), and its IP version. */
  readonly peer: Uint32Array;
  readonly family: 4 | 6;
  readonly port: number;
  /** Index of the path that the probes took. Records do not have it. */
  readonly path: number;
  readonly state: PortState;
  readonly reason: Reason;
  /** Round trip in microseconds; NaN when nothing answered, or the answered try is ambiguous. */
  readonly rttUs: number;
  /** TTL or hop limit of the answer; 0 when nothing answered, or the link did not tell. */
  readonly ttl: number;
  /** SYNs sent, 0 to 255. */
  readonly tries: number;
  /** Which try was answered, from 1; 0 when none was, or it is ambiguous. */
  readonly answered: number;
  /** With `hasResponder`: sender of the deciding ICMP message, in words; it may be the target itself. */
  readonly responder: Uint32Array;
  readonly hasResponder: boolean;
  /** A SYN+ACK's offer (offer.ts) is in the responder's place. */
  readonly hasOffer: boolean;
  /** The answer came after the deadline of its try. */
  readonly late: boolean;
  /** For silence: the chance that every try was lost, or its answer; NaN for anything else. */
  readonly doubt: number;
  /** The host answers SYN-ACK on any port. */
  readonly answersAll: boolean;
  /** An open port's SYN+ACK had window 0 and no options, as nobody's TCP sends it: forged, perhaps. */
  readonly doubtful: boolean;
  /** The kernel did the handshake, by connect: its answer has no TTL, and its round trip is connect's. */
  readonly connect: boolean;
  /** The state that this verdict corrects. */
  readonly was: PortState | null;
  /** When the verdict fell, in microseconds by the clock of the engine; in one read from a record, since the Unix epoch. */
  readonly atUs: number;
  /** With `keepHandshakes`, for a port that answered SYN+ACK: what it takes to go on from there. */
  readonly handshake?: Handshake | undefined;
  /** How the connection went on and ended, when it did (engine/handshakes.ts). */
  readonly completion?: Completion | undefined;
}

/** A handshake whose third segment is still to be sent. */
export interface Handshake {
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

/** A verdict that is being filled in: by the engine, or from a record. */
export type VerdictDraft = { -readonly [K in keyof Verdict]: Verdict[K] };

export const newVerdict = (): VerdictDraft => ({
  position: 0,
  peer: new Uint32Array(ADDRESS_WORDS),
  family: 4,
  port: 0,
  path: 0,
  state: "filtered",
  reason: "no-response",
  // Not an integer: V8 then keeps the field unboxed for good.
  rttUs: 0.5,
  ttl: 0,
  tries: 0,
  answered: 0,
  responder: new Uint32Array(ADDRESS_WORDS),
  hasResponder: false,
  hasOffer: false,
  late: false,
  doubt: 0.5,
  answersAll: false,
  doubtful: false,
  connect: false,
  was: null,
  atUs: 0.5,
  handshake: undefined,
  completion: undefined,
});

/** A copy that stays as it is. */
export const keepVerdict = (verdict: Verdict): Verdict => ({
  ...verdict,
  peer: verdict.peer.slice(),
  responder: verdict.responder.slice(),
});
