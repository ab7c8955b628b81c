/**
 * Ranges of addresses and lists of ports, as a description writes them: "198.18.0.0/16", "22,80,8000-8010"; and where no
 * simulated host can be. What stands at them is description.ts's business.
 */
import { loadAddress } from "../socket/table.ts";
import { type Address, parseAddress } from "../wire/address.ts";

/** The prober's own addresses in a lab (runtime/lab/lab.ts). They are for documentation (RFC 5737, RFC 3849): nothing real has them. */
export const PROBER = { ipv4: "192.0.2.1", ipv6: "2001:db8::1" } as const;

/** Addresses `first` to `last`, both of one IP version. */
export interface AddressRange {
  readonly first: Address;
  readonly last: Address;
}

/** Reads a range, as an entry of `hosts` has it. @returns a string that says what is wrong, if anything is */
export function parseRange(text: string): AddressRange | string {
  const [, before, sign, after] = /^([^/-]*)(?:([/-])(.*))?$/.exec(text) ?? [];
  const first = parseAddress(before ?? "");
  if (first === undefined) return `"${before ?? text}" is not an IP address`;
  if (sign === undefined) return { first, last: first };
  if (sign === "-") {
    const last = parseAddress(after);
    if (last === undefined) return `"${after}" is not an IP address`;
    if (last.length !== first.length) return "the ends are of two IP versions";
    if (Buffer.compare(first, last) > 0) return `the range is reversed: write "${after}-${before}"`;
    return { first, last };
  }
  const bits = first.length * 8;
  if (!/^\d{1,3}$/.test(after) || Number(after) > bits) return `the prefix length is 0 to ${bits}`;
  const last = first.slice();
  let clean = true;
  for (let bit = Number(after); bit < bits; bit++) {
    const mask = 0x80 >> (bit & 7);
    if ((first[bit >> 3] & mask) !== 0) clean = false;
    last[bit >> 3] |= mask;
  }
  return clean ? { first, last } : "the address has bits beyond its prefix length";
}

/** An address as four words, IPv4 mapped into IPv6, as everywhere in socket/. */
export function wordsOf(address: Address): Uint32Array {
  const words = new Uint32Array(4);
  loadAddress(words, 0, address, 0, address.length);
  return words;
}

/** @returns whether the address at `words[at]` is in the range that a description has, which its check has accepted */
export function rangeTest(text: string): (words: Uint32Array, at: number) => boolean {
  const range = parseRange(text);
  if (typeof range === "string") throw new RangeError(`range: ${range}`);
  const [first, last] = [wordsOf(range.first), wordsOf(range.last)];
  return (words, at) => compareWords(first, 0, words, at) <= 0 && compareWords(words, at, last, 0) <= 0;
}

function compareWords(a: Uint32Array, at: number, b: Uint32Array, bAt: number): number {
  for (let i = 0; i < 4; i++) if (a[at + i] !== b[bAt + i]) return a[at + i] - b[bAt + i];
  return 0;
}

/** Where packets reach no simulated host: the prober's kernel keeps them, or they are for more hosts than one. */
const NO_HOSTS = [
  ["0.0.0.0/8", "which is no destination"],
  ["127.0.0.0/8", "which is loopback"],
  ["192.0.2.0", "the broadcast address of the prober's network"],
  [PROBER.ipv4, "the prober's own address"],
  ["192.0.2.255", "the broadcast address of the prober's network"],
  ["224.0.0.0/4", "which is multicast"],
  ["255.255.255.255", "which is broadcast"],
  ["::", "which is no destination"],
  ["::1", "which is loopback"],
  ["::ffff:0:0/96", "which is IPv4-mapped"],
  [PROBER.ipv6, "the prober's own address"],
  ["fe80::/10", "which is link-local"],
  ["ff00::/8", "which is multicast"],
].map(([text, why]) => ({ text, why, range: parseRange(text) }));

/** Reads a range of simulated hosts. @returns a string that says what is wrong, if anything is */
export function parseHostRange(text: string): AddressRange | string {
  const range = parseRange(text);
  if (typeof range === "string") return range;
  const { first, last } = range;
  for (const { text: taken, why, range: none } of NO_HOSTS) {
    if (typeof none === "string") throw new RangeError(`${taken}: ${none}`);
    if (none.first.length !== first.length) continue;
    if (Buffer.compare(none.first, last) <= 0 && Buffer.compare(first, none.last) <= 0)
      return `no simulated host can be at ${taken}, ${why}`;
  }
  return range;
}

/** Ports as spans: first and last of each in turn, ascending, with gaps between spans. */
export type PortSpans = Uint16Array;

/** Reads "22,80,8000-8010". @returns a string that says what is wrong, if anything is */
export function parsePorts(text: string): PortSpans | string {
  const spans: (readonly [first: number, last: number])[] = [];
  for (const part of text.split(",")) {
    const [, from, to] = /^\s*(\d{1,5})(?:-(\d{1,5}))?\s*$/.exec(part) ?? [];
    if (from === undefined) return `"${part}" is neither a port nor a range of ports`;
    const first = Number(from);
    const last = to === undefined ? first : Number(to);
    if (first < 1 || last > 65_535) return `"${part}": ports are 1 to 65535`;
    if (first > last) return `"${part}" is reversed`;
    spans.push([first, last]);
  }
  spans.sort(([a], [b]) => a - b);
  const merged: number[] = [];
  for (const [first, last] of spans) {
    const end = merged.length - 1;
    if (end > 0 && first <= merged[end] + 1) merged[end] = Math.max(merged[end], last);
    else merged.push(first, last);
  }
  return Uint16Array.from(merged);
}

export function hasPort(spans: PortSpans, port: number): boolean {
  // Between the first number above the port and the one before it: in a span when that one is a first.
  let low = 0;
  let high = spans.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (spans[middle] <= port) low = middle + 1;
    else high = middle;
  }
  return (low & 1) === 1 || (low > 0 && spans[low - 1] === port);
}
