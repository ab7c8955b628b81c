/**
 * Which rule of a policy holds for an address and port: all groups' addresses in one sorted list of intervals, so that a look costs
 * the same for ten groups and for ten thousand.
 *
 * Pure. Not here: reading a policy (policy.ts), judging results (judge.ts).
 */
import type { AddressSpan } from "../scan/targets/address-range.ts";
import { MAX_PORT } from "../scan/targets/port-list.ts";
import { indexOfPort } from "../scan/targets/port-sets.ts";
import { type Address, parseAddress } from "../wire/address.ts";
import type { Group, Policy, Rule } from "./policy.ts";

/** The rule for an address, in any text that parseAddress reads, and a port; undefined when the policy says nothing of it. */
export interface Expectations {
  /** @param from the place from which the port was probed, in a run from several */
  (ip: string, port: number, from?: string): Rule | undefined;
  /** The same for an address as four words, of which an IPv4 address is the last, probed from the run's only place. */
  ofWords(words: Uint32Array, family: 4 | 6, port: number): Rule | undefined;
}

/** The rules that hold for some targets of a group, and which of them for which port. */
interface Cover {
  readonly rules: readonly Rule[];
  readonly table: RuleTable;
}

interface RuleTable {
  /** Ascending. */
  readonly ports: Uint16Array;
  /** Of each, the index of its rule. */
  readonly rules: Uint16Array;
}

/** IPv4 addresses as numbers, IPv6 addresses as big ones. */
type Key = number | bigint;

/**
 * @param names the addresses of names that groups have as targets, as they were looked up (plan.ts): by address, its names. A name
 *   that is not there has no rules
 * @param only the place that probes, when there is one alone and it has a name
 */
export function createExpectations(
  { groups }: Policy,
  names: ReadonlyMap<string, readonly { readonly name: string }[]> = new Map(),
  only?: string,
): Expectations {
  const v4 = createIntervals();
  const v6 = createIntervals();
  const addressesOf = new Map<string, Address[]>();
  for (const [ip, all] of names) {
    const address = parseAddress(ip);
    if (address === undefined) continue;
    for (const { name } of all) addressesOf.set(name, [...(addressesOf.get(name) ?? []), address]);
  }
  const covers: Cover[] = [];
  const tableOf = createTables();
  for (const { targets, rules } of groups) {
    /** By the ports that targets name themselves, as text. */
    const numbers = new Map<string, number>();
    for (const { host, ports } of targets) {
      const own = String(ports ?? "");
      const cover = numbers.get(own) ?? covers.push({ rules, table: tableOf(rules, ports) }) - 1;
      numbers.set(own, cover);
      for (const { first, last } of spansOf(host, addressesOf)) {
        (first.length === 4 ? v4 : v6).add(keyOf(first), keyOf(last), cover);
      }
    }
  }
  const coversOf = { 4: v4.finish(), 6: v6.finish() } as const;

  function find(family: 4 | 6, key: Key, port: number, place: string | undefined): Rule | undefined {
    let rest: Rule | undefined;
    // The last group counts, and its last target.
    const list = coversOf[family](key);
    for (let i = 0; i < list.length; i++) {
      const { rules, table } = covers[list[i]];
      const at = indexOfPort(table.ports, 0, table.ports.length, port);
      if (at < 0) continue;
      const rule = rules[table.rules[at]];
      const { from } = rule.group;
      if (from !== undefined && (place === undefined || !from.includes(place))) continue;
      if (!rule.isElse) return rule;
      rest ??= rule;
    }
    return rest;
  }
  const ofText = (ip: string, port: number, place = only): Rule | undefined => {
    const address = parseAddress(ip);
    if (address === undefined) return undefined;
    return find(address.length === 4 ? 4 : 6, keyOf(address), port, place);
  };
  return Object.assign(ofText, {
    ofWords: (words: Uint32Array, family: 4 | 6, port: number) =>
      find(family, family === 4 ? words[3] : bigKey(words), port, only),
  });
}

/** Makes tables; groups with the same ports share one. */
function createTables(): (rules: readonly Rule[], own: Uint16Array | undefined) => RuleTable {
  const known = new Map<string, RuleTable>();
  /** By port, the index of its rule plus one. */
  const ruleOf = new Uint16Array(MAX_PORT + 1);
  return (rules, own) => {
    const key = `${rules.map(({ portsText, isElse }) => `${portsText}${isElse ? "~" : ""}`).join(" ")} ${own}`;
    const same = known.get(key);
    if (same !== undefined) return same;
    ruleOf.fill(0);
    let count = 0;
    // The first of the rules for a port counts, and what holds for all else comes last.
    for (const [index, { ports = own ?? NO_PORTS }] of rules.entries()) {
      for (const port of ports) {
        if (ruleOf[port] !== 0) continue;
        ruleOf[port] = index + 1;
        count++;
      }
    }
    const table = { ports: new Uint16Array(count), rules: new Uint16Array(count) };
    let at = 0;
    for (let port = 0; port <= MAX_PORT; port++) {
      if (ruleOf[port] === 0) continue;
      table.ports[at] = port;
      table.rules[at++] = ruleOf[port] - 1;
    }
    known.set(key, table);
    return table;
  };
}
const NO_PORTS = new Uint16Array();

function spansOf(
  host: Group["targets"][number]["host"],
  addressesOf: ReadonlyMap<string, readonly Address[]>,
): Iterable<AddressSpan> {
  switch (host.kind) {
    case "address":
      return [{ first: host.address, last: host.address }];
    case "range":
      return host.spans;
    case "name":
      return (addressesOf.get(host.name) ?? []).map((address) => ({ first: address, last: address }));
  }
}

function keyOf(address: Address): Key {
  if (address.length === 4) return ((address[0] * 256 + address[1]) * 256 + address[2]) * 256 + address[3];
  let key = 0n;
  for (let i = 0; i < 16; i++) key = key * 256n + BigInt(address[i]);
  return key;
}

const bigKey = (words: Uint32Array): bigint => words.reduce((key, word) => (key << 32n) | BigInt(word), 0n);

const NONE: readonly number[] = [];

/** Intervals with a number each; `finish` gives a look-up of the numbers of those that hold a key, highest first. */
function createIntervals() {
  const edges: { readonly at: Key; readonly cover: number; readonly opens: boolean }[] = [];
  return {
    add(first: Key, last: Key, cover: number): void {
      const end = typeof last === "bigint" ? last + 1n : last + 1;
      edges.push({ at: first, cover, opens: true }, { at: end, cover, opens: false });
    },
    finish(): (key: Key) => readonly number[] {
      edges.sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0));
      const starts: Key[] = [];
      const lists: (readonly number[])[] = [];
      /** How many open intervals have a number: the spans of one target may touch. */
      const open = new Map<number, number>();
      for (let i = 0; i < edges.length; ) {
        const { at } = edges[i];
        for (; i < edges.length && edges[i].at === at; i++) {
          const { cover, opens } = edges[i];
          const count = (open.get(cover) ?? 0) + (opens ? 1 : -1);
          if (count === 0) open.delete(cover);
          else open.set(cover, count);
        }
        starts.push(at);
        lists.push(open.size === 0 ? NONE : [...open.keys()].sort((a, b) => b - a));
      }
      return (key) => {
        let low = 0;
        let high = starts.length;
        while (low < high) {
          const middle = (low + high) >>> 1;
          if (starts[middle] <= key) low = middle + 1;
          else high = middle;
        }
        return low === 0 ? NONE : lists[low - 1];
      };
    },
  };
}
