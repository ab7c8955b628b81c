/**
 * The only random source: the system's, buffered so that small numbers are cheap.
 */
import { randomBytes } from "node:crypto";

const BUFFER_LENGTH = 4096;

/** `length` unpredictable bytes. */
export const secret = (length: number): Uint8Array => randomBytes(length);

/** A source of uniform integers from 0 to `below - 1`, `below` at most 2^32. */
export function createRandom(): (below: number) => number {
  let words = new Uint32Array(0);
  let at = 0;
  const word = (): number => {
    if (at === words.length) {
      const bytes = randomBytes(BUFFER_LENGTH);
      words = new Uint32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + BUFFER_LENGTH));
      at = 0;
    }
    return words[at++];
  };
  return (below) => {
    // Reject the tail that would favour small numbers.
    const limit = 2 ** 32 - (2 ** 32 % below);
    for (;;) {
      const value = word();
      if (value < limit) return value % below;
    }
  };
}
