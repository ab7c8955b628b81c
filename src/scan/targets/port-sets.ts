/**
 * Sets of ports. Equal sets are stored once and share a number.
 *
 * Which addresses have which set: merge-spans.ts.
 */
import { MAX_PORT } from "./port-list.ts";

export interface PortSets {
  /** The number of a set: its ports are the first `length` of `ports`, ascending, each once. */
  intern(ports: Uint16Array, length: number): number;
  size(set: number): number;
  /** The lowest port of a set. */
  first(set: number): number;
  /** The ports of a set, ascending; valid until the next set is made. */
  ports(set: number): Uint16Array;
  /** The union of the sets. */
  union(sets: readonly number[]): number;
  /** The union of a set and the first `length` of `ports`. */
  with(set: number, ports: Uint16Array, length: number): number;
  /** A set without the ports of another. */
  without(set: number, other: number): number;
}

/** The number of the set with no port. */
export const NO_PORTS = 0;

const NONE = -1;

export function createPortSets(): PortSets {
  let pool = new Uint16Array(1024);
  // Set i has the ports from starts[i] to starts[i + 1], exclusive.
  let starts = new Float64Array(64);
  let count = 0;
  // Open addressing over the sets' contents.
  let index = new Int32Array(64).fill(NONE);

  const hash = (ports: Uint16Array, from: number, to: number): number => {
    let h = to - from;
    for (let i = from; i < to; i++) h = Math.imul(h ^ ports[i], 0x9e3779b1) ^ (h >>> 15);
    h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
    return h ^ (h >>> 13);
  };
  const equals = (set: number, ports: Uint16Array, length: number): boolean => {
    const from = starts[set];
    if (starts[set + 1] - from !== length) return false;
    for (let i = 0; i < length; i++) if (pool[from + i] !== ports[i]) return false;
    return true;
  };
  const rehash = (): void => {
    index = new Int32Array(index.length * 2).fill(NONE);
    const mask = index.length - 1;
    for (let set = 0; set < count; set++) {
      let slot = hash(pool, starts[set], starts[set + 1]) & mask;
      while (index[slot] !== NONE) slot = (slot + 1) & mask;
      index[slot] = set;
    }
  };
  const intern = (ports: Uint16Array, length: number): number => {
    const mask = index.length - 1;
    let slot = hash(ports, 0, length) & mask;
    for (; index[slot] !== NONE; slot = (slot + 1) & mask) {
      if (equals(index[slot], ports, length)) return index[slot];
    }
    const set = count++;
    index[slot] = set;
    const from = starts[set];
    if (from + length > pool.length) {
      const grown = new Uint16Array(Math.max(pool.length * 1.5, from + length));
      grown.set(pool);
      pool = grown;
    }
    pool.set(ports.subarray(0, length), from);
    if (count + 1 > starts.length) {
      const grown = new Float64Array(starts.length * 2);
      grown.set(starts);
      starts = grown;
    }
    starts[count] = from + length;
    if (count * 2 > index.length) rehash();
    return set;
  };

  // Unions are made in a bitmap, one bit for each port.
  const bits = new Uint32Array((MAX_PORT + 1) / 32);
  const gathered = new Uint16Array(MAX_PORT);
  const mark = (ports: Uint16Array, from: number, to: number): void => {
    for (let i = from; i < to; i++) bits[ports[i] >>> 5] |= 1 << (ports[i] & 31);
  };
  const unmark = (set: number): void => {
    for (let i = starts[set]; i < starts[set + 1]; i++) bits[pool[i] >>> 5] &= ~(1 << (pool[i] & 31));
  };
  const internMarked = (): number => {
    let length = 0;
    for (let w = 0; w < bits.length; w++) {
      for (let word = bits[w]; word !== 0; word &= word - 1)
        gathered[length++] = (w << 5) + 31 - Math.clz32(word & -word);
    }
    bits.fill(0);
    return intern(gathered, length);
  };
  const has = (set: number, port: number): boolean => {
    const at = indexOfPort(pool, starts[set], starts[set + 1], port);
    return at !== NONE;
  };

  const unions = new Map<string, number>();
  const sets: PortSets = {
    intern,
    size: (set) => starts[set + 1] - starts[set],
    first: (set) => pool[starts[set]],
    ports: (set) => pool.subarray(starts[set], starts[set + 1]),
    union: (members) => {
      const distinct = [...new Set(members)].sort((a, b) => a - b);
      if (distinct.length === 1) return distinct[0];
      const key = distinct.join();
      let union = unions.get(key);
      if (union === undefined) {
        for (const set of distinct) mark(pool, starts[set], starts[set + 1]);
        union = internMarked();
        unions.set(key, union);
      }
      return union;
    },
    with: (set, ports, length) => {
      if (set === NO_PORTS) return intern(ports, length);
      let known = 0;
      while (known < length && has(set, ports[known])) known++;
      if (known === length) return set;
      mark(pool, starts[set], starts[set + 1]);
      mark(ports, 0, length);
      return internMarked();
    },
    without: (set, other) => {
      mark(pool, starts[set], starts[set + 1]);
      unmark(other);
      return internMarked();
    },
  };
  intern(gathered, 0);
  return sets;
}

/** The index of a port in ascending `ports`, from `from` to `to`, exclusive; -1 when it is not there. */
export function indexOfPort(ports: Uint16Array, from: number, to: number, port: number): number {
  let low = from;
  let high = to;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (ports[middle] < port) low = middle + 1;
    else high = middle;
  }
  return low < to && ports[low] === port ? low : NONE;
}
