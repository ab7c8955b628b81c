/**
 * The Link: how packets reach the kernel, or a simulated network, and how they come back. It moves whole IP packets and
 * knows nothing of scans.
 *
 * Implementations: raw-ip.ts (raw sockets), packet.ts (Ethernet frames, over ethernet.ts). Decorators: tracer.ts. Times are
 * the caller's business: a received packet comes with its age, so that a link needs no clock that others share.
 */

/** Slots the caller fills with IP packets before it sends them. */
export interface TransmitBatch {
  /** The IP packet of slot `i` starts at `i * slotLength + offset`; what is before it is the link's own. */
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

export interface Link {
  /** Short name for messages: "raw-ip". */
  readonly name: string;
  readonly batch: TransmitBatch;
  /**
   * Sends slots `first` to `first + count - 1` of the batch, or as many of them as go in one call.
   * @returns how many were taken: 1 or more, or 0 when slot `first` was refused: see `sendError`.
   */
  send(first: number, count: number): number;
  /** errno name of the last refusal: `"ENOBUFS"`. */
  readonly sendError: string;
  /**
   * Says who takes packets, which `drain` hands over. `onReadable` is called when packets wait, `onError` when the link has
   * become unusable.
   */
  listen(handler: PacketHandler, onReadable: () => void, onError: (error: Error) => void): void;
  /**
   * Hands over what waits now, to `listen`'s handler.
   * @returns true when nothing was left waiting; false when there was more than one turn should take
   */
  drain(): boolean;
  /** Packets the kernel dropped because nobody read them in time. */
  receiveDrops(): number;
  /** Size of the receive buffer that was granted, in bytes; 0 when there is none. */
  readonly receiveBuffer: number;
  close(): void;
}
