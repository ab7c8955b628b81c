/**
 * The Link: how packets reach the kernel, or a simulated network, and how they come back. It moves whole IP packets and
 * knows nothing of scans.
 *
 * Implementations: raw-ip.ts (raw sockets), packet.ts (Ethernet frames, over ethernet.ts), connect/ (the kernel's own handshake). Decorators: tracer.ts. A received
 * packet comes with its age, so that a link needs no clock shared with the caller.
 */
import type { Address } from "../wire/address.ts";

/** Slots the caller fills with IP packets before it sends them. */
export interface TransmitBatch {
  /** The IP packet of slot `i` starts at `i * slotLength + offset`; the bytes before it are the link's own. */
  readonly data: Uint8Array;
  /** Bytes used of each slot. */
  readonly lengths: Uint16Array;
  readonly slots: number;
  readonly slotLength: number;
  readonly offset: number;
}

/**
 * Takes one received IP packet, `bytes[at, end)`, valid only until it returns.
 * `ageUs` is how long before the call of `drain` it arrived, in microseconds; 0 when the link can't tell, negative for one
 * that came while `drain` was at work.
 */
export type PacketHandler = (bytes: Uint8Array, at: number, end: number, ageUs: number) => void;

/** Sends a third of the batch's slots at a time in another thread, which is of use once there is one (outbox.ts). */
export interface Behind {
  /** Whether a third is free to be filled and handed over. */
  isFree(): boolean;
  /** The third to fill and hand over, 0 or 1; the last one is never handed over. */
  third(): number;
  /** Whether something is under way. */
  isBusy(): boolean;
  /**
   * Hands over the first `count` slots of `third()`.
   * @returns false when `send` must do it, because not all of them can be sent this way
   */
  give(count: number): boolean;
  /**
   * The next third whose state has changed, in the order handed over; valid until the next call. It is reported when its
   * sending has begun, so that early answers find when their packets left, and when it is over. Undefined when none has.
   */
  take(): SentThird | undefined;
  /** Blocks this thread until a third has been sent, for at most this many microseconds. */
  wait(timeoutUs: number): void;
}

export interface SentThird {
  readonly third: number;
  readonly count: number;
  /** Number of packets sent, counted from the first; all of them while sending goes on. */
  readonly sent: number;
  /** Whether this is the first report of it. */
  readonly isFirst: boolean;
  readonly isOver: boolean;
  /** How long ago its sending began and ended, in microseconds; an end in the future is estimated, and negative. */
  readonly sinceUs: number;
  readonly untilUs: number;
}

/** How many SYNs a link can have under way, where they are few: each is a socket of the kernel's (connect/). */
export interface Undecided {
  /** For how many more there is room. A SYN beyond it is refused. */
  room(): number;
  /** When room is made, or `drain` has something to tell: in microseconds from now. */
  nextInUs(): number;
  /**
   * A pair has been decided: what is still under way to it is ended.
   * @param peer as socket/table.ts has it
   * @param isOther whether a local port is not one of the pair's tries
   */
  decided(peer: Uint32Array, family: 4 | 6, port: number, isOther: (localPort: number) => boolean): void;
}

export interface Link {
  /** Short name for messages: "raw-ip". */
  readonly name: string;
  readonly batch: TransmitBatch;
  /**
   * Sends slots `first` to `first + count - 1` of the batch, or as many as one call can send.
   * @returns how many were taken: 1 or more, or 0 when slot `first` was refused: see `sendError`.
   */
  send(first: number, count: number): number;
  /** How long after the last call of `send` its system call began, in microseconds; undefined where each packet has one. */
  readonly preparedUs?: number | undefined;
  /** errno name of the last refusal: `"ENOBUFS"`. */
  readonly sendError: string;
  /** Sending in another thread, where that is possible. */
  readonly behind?: Behind | undefined;
  readonly undecided?: Undecided | undefined;
  /**
   * Sets the handler of packets, which `drain` calls. `onReadable` is called when packets wait, `onError` when the link has
   * become unusable.
   */
  listen(handler: PacketHandler, onReadable: () => void, onError: (error: Error) => void): void;
  /**
   * Hands over what waits now, to `listen`'s handler.
   * @returns true when nothing was left waiting; false when there was more than one turn should take
   */
  drain(): boolean;
  /** In how many microseconds `drain` has something to do, though nothing is received; Infinity when it never has. */
  dueIn?(): number;
  /** Neighbours that have not answered when they were asked for their hardware address, a few thousand at most. */
  unresolved?(): readonly Address[];
  /** Packets the kernel dropped because they were not read in time. */
  receiveDrops(): number;
  /** Size of the receive buffer that was granted, in bytes; 0 when there is none. */
  readonly receiveBuffer: number;
  close(): void;
}
