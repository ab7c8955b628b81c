/**
 * A connection as its user has it: its states, what it hears of, what it may ask for (RFC 9293 §3.3.2, §3.9.1).
 *
 * Types alone: control-block.ts makes it so.
 * Tested by test/socket/control-block.test.ts.
 */
import type { BufferPool } from "./buffers.ts";
import type { RtoOptions } from "./rto.ts";
import type { Segment } from "./segment.ts";

/** RFC 9293 §3.3.2. */
export const TCP_STATES = [
  "CLOSED",
  "LISTEN",
  "SYN-SENT",
  "SYN-RECEIVED",
  "ESTABLISHED",
  "FIN-WAIT-1",
  "FIN-WAIT-2",
  "CLOSE-WAIT",
  "CLOSING",
  "LAST-ACK",
  "TIME-WAIT",
] as const;
export type TcpState = (typeof TCP_STATES)[number];

/** What the connection's user hears of. */
export type ConnectionEvent =
  /** The handshake is complete. */
  | "established"
  /** RST answered our SYN. */
  | "refused"
  /** RST ended an established connection. */
  | "reset"
  /** A segment was not acknowledged however often it was sent. */
  | "timed-out"
  /** The peer will send no more; what it sent can still be read. */
  | "peer-closed"
  /** Both sides are done, or the connection was given up here; its state is CLOSED or TIME-WAIT. */
  | "closed";

export interface ControlBlockOptions {
  /** Initial send sequence number. */
  readonly iss: number;
  /** MSS to announce, in bytes; also bounds what is sent. */
  readonly mss: number;
  /** Assumed of a peer that names no MSS, in bytes: `DEFAULT_MSS`, IPv4's when left out. */
  readonly defaultMss?: number;
  /** Where the buffers come from. */
  readonly pool: BufferPool;
  /** Bytes of each buffer, at most 65,535: there is no window scaling. */
  readonly bufferLength: number;
  /** Retransmissions of a SYN before it is given up. */
  readonly synRetries: number;
  /** Retransmissions of anything else. */
  readonly retries: number;
  /** Maximum segment lifetime, in microseconds: TIME-WAIT lasts twice as long. */
  readonly mslUs: number;
  readonly rto?: RtoOptions;
}

/** What the socket holds, as plain values. */
export interface ControlBlockView {
  readonly state: TcpState;
  readonly iss: number;
  readonly irs: number;
  readonly sndUna: number;
  readonly sndNxt: number;
  readonly sndWnd: number;
  readonly rcvNxt: number;
  readonly rcvWnd: number;
  readonly peerMss: number;
  readonly rtoUs: number;
  readonly srttUs: number;
  /** Bytes of buffer memory reserved. */
  readonly reserved: number;
  /** Bytes written and not acknowledged; bytes received and not read. */
  readonly unacknowledged: number;
  readonly readable: number;
}

export interface ControlBlock {
  readonly state: TcpState;
  view(): ControlBlockView;
  /** Active open: reserves the buffers and sends a SYN. @returns false when there is no buffer memory */
  open(nowUs: number): boolean;
  /** Passive open by a SYN that came to a listening socket. @returns false when there is no buffer memory */
  accept(syn: Segment, nowUs: number): boolean;
  handleSegment(segment: Segment, nowUs: number): void;
  handleTimeout(nowUs: number): void;
  /** When `handleTimeout` has something to do; Infinity when never. */
  pollTimeout(): number;
  /** The next segment to send. */
  pollSegment(nowUs: number): Segment | undefined;
  pollEvent(): ConnectionEvent | undefined;
  /** Takes as much as the send buffer holds. @returns bytes taken; 0 after `close` */
  write(bytes: Uint8Array): number;
  /** Takes up to `max` bytes that have arrived in order. */
  read(max: number): Uint8Array;
  /** Sends FIN after everything written. What still comes can be read. */
  close(): void;
  /**
   * The user reads no more. Once it has closed too, text that was not read, or that comes yet, is answered with RST: it is lost,
   * and the peer is not told otherwise (§3.6.1, SHLD-3).
   */
  stopReading(): void;
  /** Sends RST and forgets everything. */
  abort(): void;
}
