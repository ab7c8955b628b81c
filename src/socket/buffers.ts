/**
 * Buffer memory of a connection: reserved when it is opened, returned when it is closed (the "buffer memory" of the classic
 * account of connect). Bytes are addressed by sequence number.
 *
 * The send buffer holds bytes written and not yet acknowledged; the receive buffer bytes that have arrived and are not yet
 * read, out-of-order ones included. No policy: control-block.ts decides what is sent when.
 */
import { seqAdd, seqDiff, seqLess, seqLessEqual } from "./sequence.ts";

/** Counts the bytes that connections hold, up to a limit. */
export interface BufferPool {
  /** Bytes reserved now. */
  readonly reserved: number;
  /** Reserves memory; undefined when the pool is exhausted. */
  reserve(length: number): Uint8Array | undefined;
  release(memory: Uint8Array): void;
}

/** @param limit most bytes reserved at once */
export function createBufferPool(limit: number): BufferPool {
  let reserved = 0;
  return {
    get reserved() {
      return reserved;
    },
    reserve: (length) => {
      if (reserved + length > limit) return undefined;
      reserved += length;
      return new Uint8Array(length);
    },
    release: (memory) => {
      reserved -= memory.length;
    },
  };
}

export interface SendBuffer {
  /** Bytes held: written and not acknowledged. */
  readonly length: number;
  /** Bytes that may still be written. */
  readonly free: number;
  /** Takes as much as fits. @returns the number of bytes taken */
  write(bytes: Uint8Array): number;
  /** Copies `length` bytes that start `offset` after the oldest unacknowledged one. */
  copy(offset: number, length: number): Uint8Array;
  /** Forgets the oldest `count` bytes: they are acknowledged. */
  acknowledge(count: number): void;
}

export function createSendBuffer(memory: Uint8Array): SendBuffer {
  let head = 0;
  let length = 0;
  return {
    get length() {
      return length;
    },
    get free() {
      return memory.length - length;
    },
    write: (bytes) => {
      const count = Math.min(bytes.length, memory.length - length);
      const at = (head + length) % memory.length;
      const beforeEnd = Math.min(count, memory.length - at);
      memory.set(bytes.subarray(0, beforeEnd), at);
      memory.set(bytes.subarray(beforeEnd, count), 0);
      length += count;
      return count;
    },
    copy: (offset, count) => {
      if (offset + count > length) throw new RangeError("beyond what was written");
      const bytes = new Uint8Array(count);
      const at = (head + offset) % memory.length;
      const part = memory.subarray(at, at + count);
      bytes.set(part);
      bytes.set(memory.subarray(0, count - part.length), part.length);
      return bytes;
    },
    acknowledge: (count) => {
      if (count > length) throw new RangeError("acknowledged more than was written");
      head = (head + count) % memory.length;
      length -= count;
    },
  };
}

export interface ReceiveBuffer {
  /** Bytes in order, ready to be read. */
  readonly readable: number;
  /** Bytes that may still come after `next`: the window to announce. */
  readonly window: number;
  /** Sequence number of the next byte in order (RCV.NXT, before any FIN). */
  readonly next: number;
  /** Sequence number behind the last byte held, in order or not. */
  readonly furthest: number;
  /** Sets where the stream starts; once. */
  start(sequence: number): void;
  /**
   * Takes the bytes at `sequence` that lie within the window; those out of order are kept.
   * @returns true when `next` moved
   */
  insert(sequence: number, bytes: Uint8Array): boolean;
  /** Takes up to `max` readable bytes out. */
  read(max: number): Uint8Array;
}

/** Gaps kept at once. With more, the newest bytes are dropped, and the peer sends them again. */
const MAX_RANGES = 32;

export function createReceiveBuffer(memory: Uint8Array): ReceiveBuffer {
  /** Sequence number of the oldest unread byte, at `memory[head]`. */
  let base = 0;
  let head = 0;
  let next = 0;
  /** Bytes beyond `next`, as [first, end) sequence numbers, ascending, not adjacent. */
  let ranges: [first: number, end: number][] = [];

  const limit = (): number => seqAdd(base, memory.length);

  function remember(first: number, end: number): boolean {
    const merged: [number, number] = [first, end];
    const apart = ranges.filter(([a, b]) => {
      if (seqLess(b, merged[0]) || seqLess(merged[1], a)) return true;
      if (seqLess(a, merged[0])) merged[0] = a;
      if (seqLess(merged[1], b)) merged[1] = b;
      return false;
    });
    // Bytes in order open no gap.
    if (apart.length >= MAX_RANGES && first !== next) return false;
    ranges = [...apart, merged].sort((x, y) => seqDiff(x[0], y[0]));
    return true;
  }

  return {
    get readable() {
      return seqDiff(next, base);
    },
    get window() {
      return seqDiff(limit(), next);
    },
    get next() {
      return next;
    },
    get furthest() {
      return ranges.at(-1)?.[1] ?? next;
    },
    start: (sequence) => {
      base = sequence;
      next = sequence;
    },
    insert: (sequence, bytes) => {
      const first = seqLess(sequence, next) ? next : sequence;
      const end = seqLess(limit(), seqAdd(sequence, bytes.length)) ? limit() : seqAdd(sequence, bytes.length);
      if (seqLessEqual(end, first) || !remember(first, end)) return false;
      const from = seqDiff(first, sequence);
      const to = seqDiff(first, base);
      const count = seqDiff(end, first);
      for (let i = 0; i < count; i++) memory[(head + to + i) % memory.length] = bytes[from + i];
      const [[a, b]] = ranges;
      if (a !== next) return false;
      next = b;
      ranges.shift();
      return true;
    },
    read: (max) => {
      const count = Math.min(max, seqDiff(next, base));
      const bytes = new Uint8Array(count);
      for (let i = 0; i < count; i++) bytes[i] = memory[(head + i) % memory.length];
      head = (head + count) % memory.length;
      base = seqAdd(base, count);
      return bytes;
    },
  };
}
