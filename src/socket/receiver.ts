/**
 * The receive side of a connection: the receive sequence space (RFC 9293 §3.3.1), the window that is announced, and a FIN
 * that is ahead of missing text.
 *
 * What a segment must be to get here, and what is answered, is control-block.ts; where bytes are kept is buffers.ts.
 * Tested by test/socket/control-block.test.ts and test/socket/segment-scripts.test.ts.
 */
import { createReceiveBuffer } from "./buffers.ts";
import { seqAdd, seqDiff, seqLess } from "./sequence.ts";

export interface Receiver {
  /** IRS */
  readonly irs: number;
  /** RCV.NXT */
  readonly next: number;
  /** RCV.WND: what the peer may still send, in bytes. */
  readonly window: number;
  /** Bytes in order, not read yet. */
  readonly readable: number;
  /** The peer's FIN has been taken, and all text before it. */
  readonly finished: boolean;
  /** Gives it its memory; before `start`. */
  reserve(memory: Uint8Array): void;
  /** The memory goes; what has not been read stays. */
  release(): void;
  /** The peer's SYN. */
  start(irs: number): void;
  /** Takes text that lies within the window; that behind a gap is kept. */
  takeText(sequence: number, text: Uint8Array): void;
  /** Takes a FIN, or holds it until the text before it has come (§3.10.7.4, SHLD-31). */
  takeFin(sequence: number): void;
  /** @returns whether a FIN's turn has come just now */
  advanceToFin(): boolean;
  /** Takes up to `max` bytes out. */
  read(max: number): Uint8Array;
  /** Room that the peer should hear of without being asked, as the window has been opened since it was last announced. */
  readonly opened: boolean;
  /** The window stands in a segment that is sent now. */
  announce(): void;
}

const NO_TEXT = new Uint8Array(0);

/** @param mss the largest segment that the peer may send, in bytes */
export function createReceiver(mss: number): Receiver {
  let buffer = createReceiveBuffer(NO_TEXT);
  let capacity = 0;
  let held = false;
  let irs = 0;
  let finished = false;
  let finAt: number | undefined;
  /** Right edge of the window, RCV.NXT + RCV.WND: it never moves left (§3.8.6), nor right by little. */
  let edge = 0;
  let announced = 0;
  /** What is left to read when the memory has gone, and where the stream had got to. */
  let unread: Uint8Array = NO_TEXT;
  let last = 0;

  const textNext = (): number => (held ? buffer.next : last);

  /**
   * Silly window avoidance (§3.8.6.2.2, MUST-39): the right edge stays until it can move by a full segment, or by half of
   * the buffer.
   */
  function openWindow(): void {
    const widest = seqAdd(buffer.next, buffer.window);
    if (seqDiff(widest, edge) >= Math.min(capacity / 2, mss)) edge = widest;
  }

  return {
    get irs() {
      return irs;
    },
    get next() {
      return seqAdd(textNext(), finished ? 1 : 0);
    },
    get window() {
      return held ? Math.max(0, seqDiff(edge, textNext()) - (finished ? 1 : 0)) : 0;
    },
    get readable() {
      return held ? buffer.readable : unread.length;
    },
    get finished() {
      return finished;
    },
    reserve: (memory) => {
      buffer = createReceiveBuffer(memory);
      capacity = memory.length;
      held = true;
      openWindow();
    },
    release: () => {
      last = buffer.next;
      unread = buffer.read(buffer.readable);
      buffer = createReceiveBuffer(NO_TEXT);
      held = false;
    },
    start: (sequence) => {
      irs = sequence;
      buffer.start(seqAdd(irs, 1));
      edge = buffer.next;
      openWindow();
      announced = edge;
    },
    takeText: (sequence, text) => {
      // Nothing comes behind a FIN: the stream ends there, whatever the peer says later.
      const length = Math.min(text.length, Math.max(0, seqDiff(finAt ?? edge, sequence)));
      buffer.insert(sequence, text.subarray(0, length));
    },
    takeFin: (sequence) => {
      if (finAt !== undefined || seqLess(sequence, buffer.furthest) || seqLess(edge, sequence)) return;
      finAt = sequence;
    },
    advanceToFin: () => {
      if (finished || finAt === undefined || finAt !== textNext()) return false;
      finished = true;
      return true;
    },
    read: (max) => {
      if (held) {
        const bytes = buffer.read(max);
        openWindow();
        return bytes;
      }
      const bytes = unread.subarray(0, max);
      unread = unread.subarray(bytes.length);
      return bytes;
    },
    get opened() {
      return held && !finished && edge !== announced;
    },
    announce: () => {
      announced = edge;
    },
  };
}
