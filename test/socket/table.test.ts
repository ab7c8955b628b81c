/** The socket table, against a Map: who is found, who makes room, and when it is full. */
import { describe, expect, it } from "vitest";
import { PROBE_STATES } from "../../src/socket/state.ts";
import {
  ANSWERED_KEPT,
  addressOf,
  createSocketTable,
  loadAddress,
  sameWords,
  storeAddress,
} from "../../src/socket/table.ts";
import { everyday } from "../everyday.ts";
import { createSeededRandom } from "../sim/random.ts";

it("an address in words is IPv4's where it is mapped, and only there", () => {
  const of = (...four: number[]): number => addressOf(Uint32Array.of(...four), 0).length;
  expect(of(0, 0, 0xffff, 7)).toBe(4);
  for (const four of [
    [1, 0, 0xffff, 7],
    [0, 1, 0xffff, 7],
    [0, 0, 0xfffe, 7],
    [0, 0, 0, 1],
  ])
    expect(of(...four)).toBe(16);
});

const words = (last: number): Uint32Array => Uint32Array.of(0, 0, 0xffff, last);

describe("the socket table", () => {
  it("finds a row by its peer, and only by it", () => {
    const table = createSocketTable(8, 3, 1);
    const row = table.insert(words(1), 0, 80);
    expect(table.find(words(1), 0, 80)).toBe(row);
    expect(table.find(words(1), 0, 81)).toBe(-1);
    expect(table.find(words(2), 0, 80)).toBe(-1);
    expect(table.find(Uint32Array.of(1, 0, 0xffff, 1), 0, 80)).toBe(-1);
    expect(table.state[row]).toBe(PROBE_STATES.synSent);
    expect(table.tries[row]).toBe(0);
  });

  it("is full when every row is undecided, and makes room by the oldest decided one", () => {
    const table = createSocketTable(3, 1, 1);
    const rows = [1, 2, 3].map((peer) => table.insert(words(peer), 0, 80));
    expect(table.insert(words(4), 0, 80)).toBe(-1);
    table.linger(rows[1], true);
    table.linger(rows[0], true);
    expect(table.insert(words(4), 0, 80)).toBe(rows[1]);
    expect(table.find(words(2), 0, 80)).toBe(-1);
    expect(table.find(words(1), 0, 80)).toBe(rows[0]);
    expect(table.insert(words(5), 0, 80)).toBe(rows[0]);
    expect(table.insert(words(6), 0, 80)).toBe(-1);
    expect([table.used(), table.lingering()]).toEqual([3, 0]);
  });

  it("gives up answered rows before silent ones, and the oldest when more than enough are kept", () => {
    const table = createSocketTable(3, 1, 1);
    const rows = [1, 2, 3].map((peer) => table.insert(words(peer), 0, 80));
    table.linger(rows[0], false);
    table.linger(rows[1], true);
    table.linger(rows[2], false);
    expect(table.lingering()).toBe(3);
    expect([4, 5, 6].map((peer) => table.insert(words(peer), 0, 80))).toEqual([rows[1], rows[0], rows[2]]);

    const large = createSocketTable(3 * ANSWERED_KEPT, 1, 1);
    for (let peer = 0; peer <= ANSWERED_KEPT; peer++) large.linger(large.insert(words(peer), 0, 80), true);
    // One is one too many: its row is used again before fresh ones are touched.
    expect(large.insert(words(ANSWERED_KEPT + 1), 0, 80)).toBe(0);
    expect([large.lingering(), large.touched()]).toEqual([ANSWERED_KEPT, ANSWERED_KEPT + 1]);
    expect(large.find(words(0), 0, 80)).toBe(-1);
    expect(large.find(words(1), 0, 80)).toBeGreaterThanOrEqual(0);
    // Enough are kept now.
    expect(large.insert(words(ANSWERED_KEPT + 2), 0, 80)).toBe(ANSWERED_KEPT + 1);
  });

  it("gives a row that was another's as new", () => {
    const table = createSocketTable(1, 1, 1);
    const row = table.insert(words(1), 0, 80);
    table.tries[row] = 1;
    table.refusals[row] = 2;
    table.unsent[row] = 3;
    table.state[row] = PROBE_STATES.silent;
    table.linger(row, true);
    expect(table.insert(words(2), 0, 81)).toBe(row);
    expect([table.tries[row], table.refusals[row], table.unsent[row]]).toEqual([0, 0, 0]);
    expect(table.state[row]).toBe(PROBE_STATES.synSent);
    expect(table.peerPort[row]).toBe(81);
  });

  it("refuses a second row for one peer, and a capacity out of range", () => {
    const table = createSocketTable(4, 1, 1);
    table.insert(words(1), 0, 80);
    expect(() => table.insert(words(1), 0, 80)).toThrow(RangeError);
    expect(() => createSocketTable(0, 1, 1)).toThrow(RangeError);
    expect(() => createSocketTable(2 ** 25, 1, 1)).toThrow(RangeError);
  });

  it("finds every row after it has grown, again and again", () => {
    const capacity = 20_000;
    const table = createSocketTable(capacity, 1, 7);
    const rows = Array.from({ length: capacity }, (_, peer) => table.insert(words(peer), 0, 80));
    expect(rows.map((_, peer) => table.find(words(peer), 0, 80))).toEqual(rows);
    expect([table.used(), table.touched(), table.lingering()]).toEqual([capacity, capacity, 0]);
  });

  it("agrees with a Map through a long life of insertions and evictions", () => {
    const random = createSeededRandom(5);
    const capacity = 200;
    const table = createSocketTable(capacity, 1, random(2 ** 31));
    const hashes = new Int32Array(1);
    const oracle = new Map<string, number>();
    const lingering: string[] = [];
    const undecided: string[] = [];
    const wrong: number[] = [];
    for (let step = 0; step < everyday(25_000, 100_000); step++) {
      // Few distinct peers and ports, so that clusters form and keys come back.
      const peer = random(64);
      const port = 1 + random(16);
      const key = `${peer}:${port}`;
      if (table.find(words(peer), 0, port) !== (oracle.get(key) ?? -1)) wrong.push(step);
      if (!oracle.has(key)) {
        const full = oracle.size === capacity;
        // Every other time by way of `touch`, which leaves everything as it is.
        if (step % 2 === 0) table.touch(words(peer), Uint16Array.of(port), 1, hashes);
        const row =
          step % 2 === 0 ? table.insert(words(peer), 0, port, hashes[0]) : table.insert(words(peer), 0, port);
        if (full && lingering.length === 0) {
          if (row !== -1) wrong.push(step);
        } else {
          if (full) oracle.delete(lingering.shift() as string);
          if (row < 0 || [...oracle.values()].includes(row)) wrong.push(step);
          oracle.set(key, row);
          undecided.push(key);
        }
      }
      if (undecided.length > 0 && random(2) === 0) {
        const [chosen] = undecided.splice(random(undecided.length), 1);
        table.linger(oracle.get(chosen) as number, true);
        lingering.push(chosen);
      }
      if (step % 1000 === 0) {
        for (const [k, row] of oracle) {
          const [p, q] = k.split(":").map(Number);
          if (table.find(words(p), 0, q) !== row) wrong.push(step);
        }
      }
    }
    expect(wrong).toEqual([]);
    expect(table.used()).toBe(oracle.size);
  });
});

describe("addresses as words", () => {
  it("map IPv4 into IPv6, big-endian", () => {
    const to = new Uint32Array(5);
    loadAddress(to, 1, Uint8Array.of(9, 192, 0, 2, 255), 1, 4);
    expect([...to]).toEqual([0, 0, 0, 0xffff, 0xc00002ff]);
  });
  it.each([4, 16])("come back as %i bytes, and touch no other word", (length) => {
    const bytes = Uint8Array.from({ length: length + 3 }, (_, i) => 0xf0 ^ (37 * i));
    const to = new Uint32Array(6).fill(0xa5a5_a5a5);
    loadAddress(to, 1, bytes, 3, length);
    expect([to[0], to[5]]).toEqual([0xa5a5_a5a5, 0xa5a5_a5a5]);
    expect(storeAddress(to, 1, length)).toEqual(bytes.subarray(3));
  });
  it("take IPv6 as it is", () => {
    const to = new Uint32Array(4);
    loadAddress(
      to,
      0,
      Uint8Array.from({ length: 16 }, (_, i) => 0xf0 + i),
      0,
      16,
    );
    expect([...to]).toEqual([0xf0f1f2f3, 0xf4f5f6f7, 0xf8f9fafb, 0xfcfdfeff]);
    expect(sameWords(to, 0, Uint32Array.of(0xf0f1f2f3, 0xf4f5f6f7, 0xf8f9fafb, 0xfcfdfeff), 0)).toBe(true);
    expect(sameWords(to, 0, Uint32Array.of(0xf0f1f2f3, 0xf4f5f6f7, 0xf8f9fafb, 0xfcfdfefe), 0)).toBe(false);
  });
});
