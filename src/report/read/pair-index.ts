/**
 * Numbers the ports of hosts in order of first mention, so that facts about millions of them fit in typed arrays. The index takes
 * about 30 bytes a port, and 4 where a host has thousands.
 */
import { PROTOCOLS, type Protocol } from "./recorded.ts";

export interface PairIndex {
  /** The port's number, from 0; a new one at its first mention. */
  add(ip: string, proto: Protocol, port: number): number;
  /** Number of ports. */
  size(): number;
  /** Addresses, indexed by `hostOf`. */
  readonly ips: readonly string[];
  hostOf(pair: number): number;
  /** Protocol and port as one number, in their order. */
  portKeyOf(pair: number): number;
  portOf(pair: number): number;
  protoOf(pair: number): Protocol;
}

/** 2^5 hosts share a map: one each would cost too much where every host has one port. */
const GROUP_BITS = 5;
/** A host with this many ports gets an array of its own. */
const DENSE = 4096;

export function createPairIndex(): PairIndex {
  const hosts = new Map<string, number>();
  const ips: string[] = [];
  const groups: Map<number, number>[] = [];
  const dense = new Map<number, Int32Array>();
  const held = createColumn(Uint32Array);
  const hostColumn = createColumn(Uint32Array);
  const portColumn = createColumn(Uint32Array);
  let size = 0;

  function hostNumber(ip: string): number {
    const known = hosts.get(ip);
    if (known !== undefined) return known;
    hosts.set(ip, ips.length);
    ips.push(ip);
    return ips.length - 1;
  }

  function create(host: number, key: number): number {
    hostColumn.set(size, host);
    portColumn.set(size, key);
    return size++;
  }

  /** Moves a host's TCP ports from its group's map to an array. */
  function makeDense(host: number, group: Map<number, number>, base: number): void {
    const table = new Int32Array(65_536).fill(-1);
    for (const [key, pair] of group) {
      if (key < base || key >= base + 65_536) continue;
      table[key - base] = pair;
      group.delete(key);
    }
    dense.set(host, table);
  }

  return {
    ips,
    size: () => size,
    hostOf: (pair) => hostColumn.get(pair),
    portKeyOf: (pair) => portColumn.get(pair),
    portOf: (pair) => portColumn.get(pair) & 0xffff,
    protoOf: (pair) => PROTOCOLS[portColumn.get(pair) >>> 16],
    add(ip, proto, port) {
      const host = hostNumber(ip);
      const key = PROTOCOLS.indexOf(proto) * 65_536 + port;
      if (key < 65_536) {
        const table = dense.get(host);
        if (table !== undefined) {
          if (table[port] < 0) table[port] = create(host, key);
          return table[port];
        }
      }
      groups[host >>> GROUP_BITS] ??= new Map();
      const group = groups[host >>> GROUP_BITS];
      const base = (host & ((1 << GROUP_BITS) - 1)) * PROTOCOLS.length * 65_536;
      const known = group.get(base + key);
      if (known !== undefined) return known;
      const pair = create(host, key);
      group.set(base + key, pair);
      if (key < 65_536) {
        held.set(host, held.get(host) + 1);
        if (held.get(host) >= DENSE) makeDense(host, group, base);
      }
      return pair;
    },
  };
}

/** A growing typed array. Values never set are 0. */
export interface Column {
  get(i: number): number;
  set(i: number, value: number): void;
}

type Numbers = Uint8Array | Uint32Array | Float32Array | Float64Array;

export function createColumn<T extends Numbers>(Type: new (length: number) => T): Column {
  let values = new Type(1024);
  return {
    get: (i) => (i < values.length ? values[i] : 0),
    set(i, value) {
      if (i >= values.length) {
        const larger = new Type(Math.max(2 * values.length, i + 1));
        larger.set(values);
        values = larger;
      }
      values[i] = value;
    },
  };
}

/** Interned texts by number; 0 is the empty text. */
export interface Texts {
  add(text: string): number;
  get(i: number): string;
  readonly all: readonly string[];
}

export function createTexts(): Texts {
  const all = [""];
  const numbers = new Map([["", 0]]);
  return {
    all,
    get: (i) => all[i],
    add(text) {
      const known = numbers.get(text);
      if (known !== undefined) return known;
      numbers.set(text, all.length);
      all.push(text);
      return all.length - 1;
    },
  };
}
