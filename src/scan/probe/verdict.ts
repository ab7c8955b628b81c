/**
 * A verdict as the engine hands it over: numbers and addresses, not yet words (result.ts has those), and what it takes to go
 * on with an open port's handshake.
 * Tested by test/scan/engine/engine.test.ts.
 */
import type { Segment } from "../../socket/segment.ts";
import type { Address } from "../../wire/address.ts";
import type { Ending, PortState, Reason } from "./result.ts";

/** A verdict with its evidence. Those that come out of an engine are reused: see `Engine.pollVerdict`. */
export interface Verdict {
  /** The pair's place in the run's order (ProbeSource). */
  readonly position: number;
  /** The address as four words (socket/table.ts), and its IP version. */
  readonly peer: Uint32Array;
  readonly family: 4 | 6;
  readonly port: number;
  /** Index of the path that the probes took. */
  readonly path: number;
  readonly state: PortState;
  readonly reason: Reason;
  /** Microseconds; NaN when nothing answered, or the answered try is ambiguous. */
  readonly rttUs: number;
  /** 0 when nothing answered, or the link did not tell. */
  readonly ttl: number;
  readonly tries: number;
  /** Which try was answered, from 1; 0 when none was, or it is ambiguous. */
  readonly answered: number;
  /** Sender of the deciding ICMP message, the target itself included. */
  readonly responder: Address | null;
  readonly late: boolean;
  /** For silence: the chance that every try was lost, or its answer; NaN for anything else. */
  readonly doubt: number;
  /** The host answers SYN-ACK on any port. */
  readonly answersAll: boolean;
  readonly was: PortState | null;
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

/** A verdict under construction, whose memory is used again and again. */
export type VerdictSlot = { -readonly [K in keyof Verdict]: Verdict[K] } & {
  /** Where `responder` lies when there is one. */
  readonly responder4: Uint8Array;
  readonly responder6: Uint8Array;
};

export function newVerdictSlot(): VerdictSlot {
  return {
    position: 0,
    peer: new Uint32Array(4),
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
    responder: null,
    late: false,
    doubt: 0.5,
    answersAll: false,
    was: null,
    atUs: 0.5,
    handshake: undefined,
    completion: undefined,
    responder4: new Uint8Array(4),
    responder6: new Uint8Array(16),
  };
}

/** A copy that stays as it is. */
export const keepVerdict = (verdict: Verdict): Verdict => ({
  ...verdict,
  peer: verdict.peer.slice(),
  responder: verdict.responder === null ? null : verdict.responder.slice(),
});
