/** The receive ring's reader, over a ring that this test fills as the kernel would (tpacket_rcv, prb_close_block). */
import { describe, expect, it } from "vitest";
import { addressOf, nativeMemory } from "../../src/link/sys/libc.ts";
import { createRingReader } from "../../src/link/sys/packet-socket.ts";

const BLOCK_SIZE = 4096;
const BLOCKS = 2;

function fakeRing() {
  const memory = nativeMemory(BLOCK_SIZE * BLOCKS);
  const words = new Uint32Array(memory.buffer);
  const halves = new Uint16Array(memory.buffer);
  return {
    reader: createRingReader({ fd: -1, address: addressOf(memory), blockSize: BLOCK_SIZE, blocks: BLOCKS }),
    /** Puts one frame for each number into a block, and gives it away. */
    fill: (block: number, numbers: readonly number[]): void => {
      const start = block * BLOCK_SIZE;
      words[(start + 12) / 4] = numbers.length;
      words[(start + 16) / 4] = 48;
      numbers.forEach((number, i) => {
        const at = start + 48 + i * 160;
        words[at / 4] = i === numbers.length - 1 ? 0 : 160;
        words[at / 4 + 3] = 20 + i;
        halves[(at + 24) / 2] = 82;
        memory.fill(number, at + 82, at + 82 + 20 + i);
      });
      words[(start + 8) / 4] = 1;
    },
    given: (block: number): boolean => words[(block * BLOCK_SIZE + 8) / 4] === 1,
  };
}

describe("the ring reader", () => {
  it("hands over frames in order, block after block, and gives the blocks back", () => {
    const { reader, fill, given } = fakeRing();
    const seen: [number, number, number][] = [];
    const read = (limit = 100): boolean =>
      reader.read(limit, (b, at, end, ageUs) => seen.push([b[at], end - at, ageUs]));
    expect(read()).toBe(true);
    fill(0, [1, 2, 3]);
    fill(1, [4]);
    expect(read()).toBe(true);
    fill(0, []);
    fill(1, [5, 6]);
    expect(read()).toBe(true);
    // A frame without a stamp is of unknown age.
    expect(seen).toEqual([
      [1, 20, 0],
      [2, 21, 0],
      [3, 22, 0],
      [4, 20, 0],
      [5, 20, 0],
      [6, 21, 0],
    ]);
    expect([given(0), given(1)]).toEqual([false, false]);
  });

  it("stops after a while when handing over takes long, and goes on where it was", () => {
    const memory = nativeMemory(1 << 16);
    const words = new Uint32Array(memory.buffer);
    const reader = createRingReader({ fd: -1, address: addressOf(memory), blockSize: 1 << 16, blocks: 1 });
    const frames = 300;
    words[3] = frames;
    words[4] = 48;
    for (let i = 0; i < frames; i++) words[(48 + i * 160) / 4] = 160;
    words[2] = 1;
    let seen = 0;
    const slow = (): void => {
      seen++;
      for (const from = performance.now(); performance.now() - from < 0.05; );
    };
    // 64 frames take 3 ms.
    expect(reader.read(2048, slow, 1000)).toBe(false);
    expect(seen).toBe(64);
    expect(reader.read(2048, slow, 60_000_000)).toBe(true);
    expect(seen).toBe(frames);
  });

  it("stops in the middle of a block when it has given as many as it was to, and goes on there", () => {
    const { reader, fill, given } = fakeRing();
    const seen: number[] = [];
    const read = (limit: number): boolean => reader.read(limit, (b, at) => seen.push(b[at]));
    fill(0, [1, 2, 3]);
    fill(1, [4, 5]);
    expect(read(2)).toBe(false);
    expect([seen, given(0)]).toEqual([[1, 2], true]);
    expect(read(2)).toBe(false);
    expect([seen, given(0), given(1)]).toEqual([[1, 2, 3, 4], false, true]);
    expect(read(2)).toBe(true);
    expect([seen, given(1)]).toEqual([[1, 2, 3, 4, 5], false]);
  });

  it("hands no frame over twice when its taker throws", () => {
    const { reader, fill, given } = fakeRing();
    const seen: number[] = [];
    fill(0, [1, 2]);
    const throwing = (b: Uint8Array, at: number): void => {
      seen.push(b[at]);
      throw new Error("no more");
    };
    expect(() => reader.read(9, throwing)).toThrow("no more");
    expect(() => reader.read(9, throwing)).toThrow("no more");
    expect(given(0)).toBe(true);
    expect(reader.read(9, throwing)).toBe(true);
    expect([seen, given(0)]).toEqual([[1, 2], false]);
  });
});
