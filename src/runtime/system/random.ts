/**
 * The only random source: the kernel's, buffered so that small numbers are cheap.
 * Tested by test/runtime/system/random.test.ts.
 */
import { randomBytes } from "node:crypto";
import { closeSync, fstatSync, openSync, readSync } from "node:fs";

const BUFFER_LENGTH = 4096;

/** Its device's number on Linux, 1:9 (random(4)). */
const URANDOM = 0x109;

/** `length` unpredictable bytes: from /dev/urandom, as node:crypto, which reads there too, takes 3 ms to load. */
export function secret(length: number, device = "/dev/urandom"): Uint8Array {
  const bytes = new Uint8Array(length);
  try {
    const fd = openSync(device, "r");
    try {
      if (fstatSync(fd).rdev === URANDOM && readSync(fd, bytes) === length) return bytes;
    } finally {
      closeSync(fd);
    }
  } catch {
    // There is none: a container without /dev, another system.
  }
  return randomBytes(length);
}

/** A seed, 0 to 2^64 - 1. */
export const randomSeed = (): bigint => Buffer.from(secret(8)).readBigUInt64BE();

/** A source of uniform integers from 0 to `below - 1`, `below` at most 2^32. */
export function createRandom(): (below: number) => number {
  let words = new Uint32Array(0);
  let at = 0;
  const word = (): number => {
    if (at === words.length) {
      words = new Uint32Array(secret(BUFFER_LENGTH).slice().buffer);
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
