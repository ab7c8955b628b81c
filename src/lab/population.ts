/**
 * What each host and each port does: a pure function of seed, address and port, so that a /15 needs no row per host.
 *
 * A description is compiled once: ranges to sorted segments of the address space, host descriptions to kinds. What a kind does
 * with a packet is host.ts's business.
 */
import { type Address, parseAddress } from "../wire/address.ts";
import {
  type Fate,
  type HostDescription,
  ICMP_REASONS,
  type IcmpReason,
  type LabDescription,
  type PathDescription,
  type PortRules,
  type Service,
} from "./description.ts";
import { createLimits, type Limits } from "./limits.ts";
import { drawAddress } from "./random.ts";
import { hasPort, type PortSpans, parsePorts, parseRange, wordsOf } from "./ranges.ts";

/** What a port does; one value shared by all ports alike. */
export interface PortKind {
  readonly state: "open" | "closed" | "silent" | "rejected";
  readonly reason: "syn-ack" | "reset" | "no-response" | IcmpReason;
  readonly service: Service | undefined;
  readonly banner: Uint8Array;
  /** Type and code of the error that rejects. */
  readonly icmp: readonly [type: number, code: number] | undefined;
}

/** What a host does; one value shared by all hosts alike. */
export interface HostKind {
  /** The IP version's number of address bytes: 4 or 16. */
  readonly length: number;
  readonly ttl: number;
  readonly tarpit: boolean;
  /** Whether it answers echo requests. */
  readonly pings: boolean;
  /** Four words: the sender of ICMP errors; undefined for the host itself. */
  readonly router: Uint32Array | undefined;
  readonly rstLimits: Limits | undefined;
  readonly icmpLimits: Limits | undefined;
  readonly backlog: number;
  readonly synAckRetries: number;
  readonly synAckTimeoutUs: number;
  /** Where its path differs from the lab's. */
  readonly path: PathDescription | undefined;
  /** What its port does, by port rules and the rest. */
  portKind(words: Uint32Array, at: number, port: number): PortKind;
}

export interface Population {
  /** The kind of the host at the address `words[at]`; undefined where nothing is simulated. */
  kindAt(words: Uint32Array, at: number): HostKind | undefined;
  readonly kinds: readonly HostKind[];
}

interface Entry {
  readonly salt: number;
  readonly kind: HostKind;
  /** Parts of the draw, up to `below`, that are of other kinds. */
  readonly mix: readonly { readonly below: number; readonly kind: HostKind }[];
}

const NO_BANNER = new Uint8Array(0);

export function createPopulation(description: LabDescription, seed: number): Population {
  const kinds: HostKind[] = [];
  const portSets = new Map<string, PortSpans>();
  const ranges = description.hosts.map((hosts, index) => {
    const range = parseRange(hosts.range);
    if (typeof range === "string") throw new RangeError(`hosts[${index}].range: ${range}`);
    const { length } = range.first;
    const compile = (host: HostDescription, salt: number): HostKind => {
      const kind = compileHost(host, length, (rules, rest) =>
        compilePorts(rules, rest, length, portSets, seed, salt),
      );
      kinds.push(kind);
      return kind;
    };
    let below = 0;
    const salt = (index + 1) << 12;
    const mix = (hosts.mix ?? []).map(({ share, ...other }, i) => {
      below += share;
      return { below, kind: compile({ ...hosts, ...other }, salt + i + 1) };
    });
    const entry: Entry = { salt, kind: compile(hosts, salt), mix };
    return { first: toNumber(range.first), last: toNumber(range.last), entry };
  });

  const { starts, entries } = segmentsOf(ranges);
  return {
    kinds,
    kindAt: (words, at) => {
      const entry = entries[segmentOf(starts, words, at)];
      if (entry === undefined) return undefined;
      if (entry.mix.length > 0) {
        const draw = drawAddress(seed, entry.salt, words, at, 0);
        for (const { below, kind } of entry.mix) if (draw < below) return kind;
      }
      return entry.kind;
    },
  };
}

// --- the address space in segments ---------------------------------------------------------------------------------------

const toNumber = (address: Address): bigint =>
  wordsOf(address).reduce((n, word) => (n << 32n) | BigInt(word), 0n);

interface Range {
  readonly first: bigint;
  readonly last: bigint;
  readonly entry: Entry;
}

/** Cuts the address space where ranges begin and end. Each segment belongs to the last range that covers it. */
function segmentsOf(ranges: readonly Range[]) {
  const cuts = [...new Set([0n, ...ranges.flatMap(({ first, last }) => [first, last + 1n])])]
    .filter((cut) => cut >> 128n === 0n)
    .sort((a, b) => (a < b ? -1 : 1));
  const starts = new Uint32Array(cuts.length * 4);
  const entries = cuts.map((cut, i) => {
    for (let word = 0; word < 4; word++)
      starts[4 * i + word] = Number(BigInt.asUintN(32, cut >> BigInt(96 - 32 * word)));
    return ranges.findLast(({ first, last }) => first <= cut && cut <= last)?.entry;
  });
  return { starts, entries };
}

/** The segment of an address: the last that starts at or before it. */
function segmentOf(starts: Uint32Array, words: Uint32Array, at: number): number {
  let low = 0;
  let high = starts.length / 4 - 1;
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if (startsAfter(starts, 4 * middle, words, at)) high = middle - 1;
    else low = middle;
  }
  return low;
}

function startsAfter(starts: Uint32Array, startAt: number, words: Uint32Array, at: number): boolean {
  for (let i = 0; i < 4; i++) {
    if (starts[startAt + i] !== words[at + i]) return starts[startAt + i] > words[at + i];
  }
  return false;
}

// --- hosts ---------------------------------------------------------------------------------------------------------------

function compileHost(
  host: HostDescription,
  length: number,
  compile: (rules: PortRules, rest: PortKind) => HostKind["portKind"],
): HostKind {
  const { ports = [], rest = "closed", tarpit = false } = host;
  const router = host.rejectFrom === undefined ? undefined : parseAddress(host.rejectFrom);
  return {
    length,
    ttl: host.ttl ?? 64,
    tarpit,
    pings: rest !== "silent",
    router: router && wordsOf(router),
    rstLimits: host.rstLimit && createLimits(host.rstLimit),
    icmpLimits: host.icmpLimit && createLimits(host.icmpLimit),
    backlog: host.backlog ?? Number.POSITIVE_INFINITY,
    synAckRetries: host.synAckRetries ?? 5,
    synAckTimeoutUs: (host.synAckTimeoutMs ?? 1000) * 1000,
    path: host.path,
    portKind: compile(tarpit ? [{ is: "open", service: "tarpit" }] : ports, portKind(rest, length)),
  };
}

/** @param length bytes of the host's address: ICMP errors differ by IP version */
function portKind(is: Fate, length: number, service: Service = "discard", banner = NO_BANNER): PortKind {
  const common = { service: undefined, banner: NO_BANNER, icmp: undefined };
  switch (is) {
    case "open":
      return { state: "open", reason: "syn-ack", service, banner, icmp: undefined };
    case "closed":
      return { ...common, state: "closed", reason: "reset" };
    case "silent":
      return { ...common, state: "silent", reason: "no-response" };
    default:
      return { ...common, state: "rejected", reason: is, icmp: icmpOf(is, length) };
  }
}

/** Compiles rules to a function. Rules with the same ports share one draw; each share is a part of it. */
function compilePorts(
  rules: PortRules,
  rest: PortKind,
  length: number,
  /** By their text: equal texts share one set. */
  portSets: Map<string, PortSpans>,
  seed: number,
  salt: number,
): HostKind["portKind"] {
  const setOf = (text: string): PortSpans => {
    const set = portSets.get(text) ?? parsePorts(text);
    if (typeof set === "string") throw new RangeError(`ports: ${set}`);
    portSets.set(text, set);
    return set;
  };
  const groups = [...new Set(rules.map(({ ports }) => ports))];
  const taken = groups.map(() => 0);
  const compiled = rules.map(({ ports, share, is, service, banner }) => {
    const set = ports === undefined ? undefined : setOf(ports);
    const group = groups.indexOf(ports);
    const from = share === undefined ? 0 : taken[group];
    if (share !== undefined) taken[group] += share;
    return {
      set,
      group,
      always: share === undefined,
      from,
      below: from + (share ?? 1),
      kind: portKind(
        is,
        length,
        service ?? (banner === undefined ? "discard" : "banner"),
        new TextEncoder().encode(banner ?? "220 lab ready\r\n"),
      ),
    };
  });
  compiled.reverse();
  return (words, at, port) => {
    let drawn = -1;
    let draw = 0;
    for (const rule of compiled) {
      if (rule.set !== undefined && !hasPort(rule.set, port)) continue;
      if (rule.always) return rule.kind;
      if (drawn !== rule.group) {
        drawn = rule.group;
        draw = drawAddress(seed, salt + ((drawn + 1) << 22), words, at, port);
      }
      if (draw >= rule.from && draw < rule.below) return rule.kind;
    }
    return rest;
  };
}

/** Type and code of an ICMP error. @param length of an address of the IP version, in bytes */
export function icmpOf(reason: IcmpReason, length: number): readonly [type: number, code: number] {
  const { v4, v6 } = ICMP_REASONS[reason];
  const found = length === 4 ? v4 : v6;
  if (found === undefined) throw new RangeError(`there is no "${reason}" in this IP version`);
  return found;
}
