/** Send and receive buffers against plain arrays. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createReceiveBuffer, createSendBuffer } from "../../src/socket/buffers.ts";
import { seqAdd } from "../../src/socket/sequence.ts";

describe("the send buffer", () => {
  it("is a queue of bytes, wherever in its memory they lie", () => {
    const step = fc.oneof(
      fc.record({ write: fc.uint8Array({ maxLength: 12 }) }),
      fc.record({ acknowledge: fc.nat(12) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const buffer = createSendBuffer(new Uint8Array(10));
        let held: number[] = [];
        for (const step of steps) {
          if ("write" in step) {
            const taken = Math.min(step.write.length, 10 - held.length);
            expect(buffer.write(step.write)).toBe(taken);
            held.push(...step.write.subarray(0, taken));
          } else {
            const count = Math.min(step.acknowledge, held.length);
            buffer.acknowledge(count);
            held = held.slice(count);
          }
          expect([buffer.length, buffer.free]).toEqual([held.length, 10 - held.length]);
          for (let offset = 0; offset <= held.length; offset++) {
            expect([...buffer.copy(offset, held.length - offset)]).toEqual(held.slice(offset));
          }
        }
      }),
    );
  });
});

describe("the receive buffer", () => {
  const START = 0xffff_fff0;
  /** Bytes at 2, 4, 6 …: as many gaps as are kept. */
  function gappy() {
    const buffer = createReceiveBuffer(new Uint8Array(256));
    buffer.start(START);
    for (let i = 1; i <= 32; i++) buffer.insert(seqAdd(START, 2 * i), Uint8Array.of(2 * i));
    return buffer;
  }

  it("with all the gaps that it keeps takes what comes in order, and no gap more", () => {
    const buffer = gappy();
    expect(buffer.insert(seqAdd(START, 70), Uint8Array.of(70))).toBe(false);
    // Touches nothing that is held.
    expect(buffer.insert(START, Uint8Array.of(0))).toBe(true);
    expect(buffer.readable).toBe(1);
    for (let i = 1; i < 64; i += 2) expect(buffer.insert(seqAdd(START, i), Uint8Array.of(i))).toBe(true);
    expect([...buffer.read(256)]).toEqual(Array.from({ length: 65 }, (_, i) => i));
    // The seventieth was lost, and comes again.
    expect(buffer.insert(seqAdd(START, 65), Uint8Array.of(65, 66, 67, 68, 69))).toBe(true);
    expect([...buffer.read(256)]).toEqual([65, 66, 67, 68, 69]);
    expect(buffer.insert(seqAdd(START, 70), Uint8Array.of(70))).toBe(true);
    expect([...buffer.read(256)]).toEqual([70]);
  });

  it("is the stream of what came, up to the first gap, however it came", () => {
    const SIZE = 24;
    const piece = fc.record({ from: fc.integer({ min: -30, max: 40 }), length: fc.nat(20), read: fc.nat(8) });
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 60 }), (pieces) => {
        const buffer = createReceiveBuffer(new Uint8Array(SIZE));
        buffer.start(START);
        const byteAt = (i: number): number => (7 * i) & 0xff;
        /** Which of the stream's bytes are held, by their place in it; how many have been read. */
        const held = new Set<number>();
        let read = 0;
        const next = (): number => {
          let i = read;
          while (held.has(i)) i++;
          return i;
        };
        for (const { from, length, read: wanted } of pieces) {
          const first = next() + from;
          const places = Array.from({ length }, (_, i) => first + i);
          buffer.insert(seqAdd(START, first), Uint8Array.from(places, byteAt));
          for (const i of places) if (i >= next() && i < read + SIZE) held.add(i);
          const readable = next() - read;
          expect(buffer.readable).toBe(readable);
          expect(buffer.next).toBe(seqAdd(START, next()));
          expect(buffer.furthest).toBe(seqAdd(START, Math.max(next(), ...[...held].map((i) => i + 1))));
          const got = buffer.read(wanted);
          expect([...got]).toEqual(
            Array.from({ length: Math.min(wanted, readable) }, (_, i) => byteAt(read + i)),
          );
          read += got.length;
        }
      }),
      { numRuns: 200 },
    );
  });
});
