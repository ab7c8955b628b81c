/**
 * The description of a lab: what its hosts and its paths do, as plain data, and its way from JSON.
 *
 * Errors name the place in the file ("hosts[2].ports[0].is: …"). What the data means for a packet is population.ts's,
 * path.ts's and noise.ts's to say; this file knows what may be written.
 *
 *     {
 *       "seed": 1,
 *       "path": { "latencyMs": 40, "jitterMs": 5, "loss": 0.03, "in": { "ratePps": 20000, "queuePackets": 2000 } },
 *       "hosts": [
 *         { "range": "198.18.0.0/16", "ports": [{ "share": 0.03, "is": "open" }],
 *           "mix": [{ "share": 0.5, "rest": "silent", "ports": [] }, { "share": 0.1, "rest": "admin-prohibited" }] },
 *         { "range": "198.18.0.7", "ports": [{ "ports": "80,8000-8010", "is": "open", "service": "http" }] }
 *       ]
 *     }
 */
import { ERROR_CODES, SynprobeError } from "../errors.ts";
import { type Address, parseAddress } from "../wire/address.ts";

/** What an open port does once the connection is made. */
export const SERVICES = [
  /** Takes what comes, says nothing, closes when the peer has closed. */
  "discard",
  /** Sends back what comes, closes when the peer has closed. */
  "echo",
  /** Sends its banner at once, then does as discard. */
  "banner",
  /** Answers a request with a small HTTP/1.0 page and closes. */
  "http",
  /** Sends FIN at once. */
  "close",
  /** Sends RST at once. */
  "reset",
  /** SYN-ACK, and then nothing at all: no connection stands behind it. */
  "tarpit",
] as const;
export type Service = (typeof SERVICES)[number];

/** ICMP errors by nmap's names, with type and code for each IP version that has them. */
export const ICMP_REASONS = {
  "net-unreach": { v4: [3, 0], v6: undefined },
  "host-unreach": { v4: [3, 1], v6: undefined },
  "proto-unreach": { v4: [3, 2], v6: undefined },
  "port-unreach": { v4: [3, 3], v6: [1, 4] },
  "net-prohibited": { v4: [3, 9], v6: undefined },
  "host-prohibited": { v4: [3, 10], v6: undefined },
  "admin-prohibited": { v4: [3, 13], v6: [1, 1] },
  "time-exceeded": { v4: [11, 0], v6: [3, 0] },
  "no-route": { v4: undefined, v6: [1, 0] },
  "beyond-scope": { v4: undefined, v6: [1, 2] },
  "addr-unreach": { v4: undefined, v6: [1, 3] },
  "policy-fail": { v4: undefined, v6: [1, 5] },
  "reject-route": { v4: undefined, v6: [1, 6] },
  "param-problem": { v4: undefined, v6: [4, 1] },
} as const;
export type IcmpReason = keyof typeof ICMP_REASONS;

/** What becomes of a SYN to a port: SYN-ACK, RST, nothing, or an ICMP error. */
export type Fate = "open" | "closed" | "silent" | IcmpReason;

/** One way of a path. Shares are chances from 0 to 1. */
export interface DirectionDescription {
  /** One way, in milliseconds; 0 when left out. */
  readonly latencyMs?: number;
  /** A packet's latency is drawn evenly from `latencyMs` ± `jitterMs`, never below 0; packets overtake each other by it. */
  readonly jitterMs?: number;
  /** Share of packets lost at random. */
  readonly loss?: number;
  /** Share of packets that arrive twice. */
  readonly duplication?: number;
  /** Share of packets held back for `reorderingMs` more (10 when left out), so that later ones overtake them. */
  readonly reordering?: number;
  readonly reorderingMs?: number;
  /** Bottleneck, in packets per second; none when left out. */
  readonly ratePps?: number;
  /** Packets that wait at this bottleneck before the next one is dropped; 1000 when left out. */
  readonly queuePackets?: number;
  /** The bottleneck's later rates, ascending in time; `atMs` counts from the start of the lab. */
  readonly rateChanges?: readonly { readonly atMs: number; readonly ratePps: number }[];
}

/** Both ways of a path: what is said here holds each way, unless `in` (to the hosts) or `out` (to the prober) says otherwise. */
export interface PathDescription extends DirectionDescription {
  readonly in?: DirectionDescription;
  readonly out?: DirectionDescription;
}

/** A token bucket. */
export interface LimitDescription {
  /** Packets per second. */
  readonly ratePps: number;
  /** Packets at once after a pause; one second's worth when left out, at least 1. */
  readonly burst?: number;
}

/** What some of a host's ports do. */
export interface PortRule {
  /** "22,80,8000-8010"; every port when left out. */
  readonly ports?: string;
  /**
   * Share of those (address, port) pairs, 0 to 1, drawn from the seed; all when left out. Shares of rules with the same `ports`
   * are parts of one draw: no pair is in two of them.
   */
  readonly share?: number;
  readonly is: Fate;
  /** Of an open port; "discard" when left out, "banner" when there is a banner. */
  readonly service?: Service;
  /** What "banner" says, at most 1024 bytes in UTF-8. */
  readonly banner?: string;
}

/** What a host does. */
export interface HostDescription {
  /** Later rules go before earlier ones. */
  readonly ports?: readonly PortRule[];
  /** Every other port; "closed" when left out. A host whose rest is "silent" answers no ping either. */
  readonly rest?: Fate;
  /** SYN-ACK on every port, and then nothing; goes before `ports` and `rest`. */
  readonly tarpit?: boolean;
  /** TTL or hop limit of its packets as the prober sees them, 1 to 255; 64 when left out. */
  readonly ttl?: number;
  /** The router whose address the ICMP errors come from; the host's own when left out. */
  readonly rejectFrom?: string;
  /** RSTs per host where nothing listens. No limit when left out. */
  readonly rstLimit?: LimitDescription;
  /** ICMP errors per sender (Linux: 1000 a second in all, a burst of 50). No limit when left out. */
  readonly icmpLimit?: LimitDescription;
  /** Half-open connections that one listening socket holds; a SYN more is dropped. No bound when left out. */
  readonly backlog?: number;
  /** Retransmissions of a SYN-ACK, 0 to 15; 5 when left out (Linux's tcp_synack_retries). */
  readonly synAckRetries?: number;
  /** Time to the first of them, in milliseconds, doubled for each further one; 1000 when left out. */
  readonly synAckTimeoutMs?: number;
  /** Where the path to these hosts differs from the lab's. With a `ratePps` it has a bottleneck of its own. */
  readonly path?: PathDescription;
}

/** Hosts at addresses. Later entries go before earlier ones. */
export interface HostsDescription extends HostDescription {
  /** "198.18.0.0/16", "198.18.4.1-198.18.4.40" or "198.18.0.7"; IPv6 likewise. Unicast, and not the prober's own. */
  readonly range: string;
  /** Hosts of another kind among them: a share (0 to 1 in all) of the addresses does as this says, and else as the entry says. */
  readonly mix?: readonly MixDescription[];
}
export interface MixDescription extends HostDescription {
  readonly share: number;
}

/** Forged packets to the prober, per second: from addresses and to ports that it has just used, with wrong acknowledgements. */
export interface NoiseDescription {
  readonly synAckPps?: number;
  readonly rstPps?: number;
  readonly icmpPps?: number;
  /** Share of them that hit the port that the prober has just used; the others miss it, as forgers do who must guess. All when left out. */
  readonly aimed?: number;
}

export interface LabDescription {
  /** Everything that chance decides follows from it: an integer from 0 to 2^32 - 1; 1 when left out. */
  readonly seed?: number;
  readonly path?: PathDescription;
  readonly noise?: NoiseDescription;
  readonly hosts: readonly HostsDescription[];
}

/** The prober's own addresses in a lab (runtime/lab/lab.ts). They are for documentation (RFC 5737, RFC 3849): nothing real has them. */
export const PROBER = { ipv4: "192.0.2.1", ipv6: "2001:db8::1" } as const;

// --- grammar -----------------------------------------------------------------------------------------------------------

/** Addresses `first` to `last`, both of one IP version. */
export interface AddressRange {
  readonly first: Address;
  readonly last: Address;
}

/** Reads a range as `HostsDescription` has it; a string says what is wrong with it. */
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

/** Where a prober's packets reach no simulated host: its kernel keeps them, or they go to no one host. */
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
  ["::ffff:0:0/96", "which is IPv4 in IPv6's clothes"],
  [PROBER.ipv6, "the prober's own address"],
  ["fe80::/10", "which is link-local"],
  ["ff00::/8", "which is multicast"],
].map(([text, why]) => ({ text, why, range: parseRange(text) }));

/** Judges a range of simulated hosts; a string says what is wrong with it. */
function judgeRange(text: string): AddressRange | string {
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

/** Ports as spans: first and last of each in turn, ascending, apart from each other. */
export type PortSpans = Uint16Array;

/** Reads "22,80,8000-8010"; a string says what is wrong with it. */
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

// --- JSON to values ----------------------------------------------------------------------------------------------------

/** What is wrong, and where: "hosts[2].rest". */
class Fault extends Error {
  readonly path: string;
  constructor(path: string, message: string) {
    super(message);
    this.path = path;
  }
}

/** Checks one value and gives it back. */
type Read<T> = (value: unknown, path: string) => T;

/**
 * Reads a description.
 * @param file its name, for messages
 * @throws {SynprobeError} `ERR_LAB`, naming the place in the file
 */
export function parseDescription(text: string, file: string): LabDescription {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    const [reason] = (error as Error).message.split("\n");
    throw new SynprobeError(ERROR_CODES.lab, `${file}: not JSON: ${reason}`, { cause: error });
  }
  try {
    return readLab(value, "");
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    const where = error.path === "" ? "" : `${error.path}: `;
    throw new SynprobeError(ERROR_CODES.lab, `${file}: ${where}${error.message}`);
  }
}

const show = (value: unknown): string => {
  const text = JSON.stringify(value) ?? "nothing";
  return text.length > 40 ? `${text.slice(0, 40)}…` : text;
};

const number =
  (least: number, most: number, whole = false): Read<number> =>
  (value, path) => {
    if (typeof value !== "number" || value < least || value > most || (whole && !Number.isInteger(value))) {
      const what = whole ? "a whole number" : "a number";
      throw new Fault(path, `${show(value)} is not ${what} from ${least} to ${most}`);
    }
    return value;
  };

const share = number(0, 1);
const milliseconds = number(0, 3_600_000);
const rate = number(0.001, 100_000_000);
const noiseRate = number(0, 1_000_000);

const boolean: Read<boolean> = (value, path) => {
  if (typeof value !== "boolean") throw new Fault(path, `${show(value)} is neither true nor false`);
  return value;
};

const string: Read<string> = (value, path) => {
  if (typeof value !== "string") throw new Fault(path, `${show(value)} is not a string`);
  return value;
};

/** A string that a grammar accepts. */
const text =
  (judge: (text: string) => unknown): Read<string> =>
  (value, path) => {
    const fault = judge(string(value, path));
    if (typeof fault === "string") throw new Fault(path, fault);
    return value as string;
  };

const oneOf =
  <T extends string>(words: readonly T[]): Read<T> =>
  (value, path) => {
    const word = words.find((known) => known === value);
    if (word === undefined) {
      throw new Fault(path, `${show(value)} is none of ${words.join(", ")}${nearest(value, words)}`);
    }
    return word;
  };

const list =
  <T>(read: Read<T>, most: number): Read<readonly T[]> =>
  (value, path) => {
    if (!Array.isArray(value)) throw new Fault(path, `${show(value)} is not a list`);
    if (value.length > most) throw new Fault(path, `${value.length} entries; at most ${most} are taken`);
    return value.map((entry, i) => read(entry, `${path}[${i}]`));
  };

/** An object with these keys and no others. */
const object =
  <T extends object>(
    shape: { readonly [K in keyof T]-?: Read<NonNullable<T[K]>> },
    required: readonly (keyof T & string)[] = [],
    judge: (read: T, path: string) => void = () => undefined,
  ): Read<T> =>
  (value, path) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw new Fault(path, `${show(value)} is not an object`);
    }
    const at = (key: string): string => (path === "" ? key : `${path}.${key}`);
    const readers = shape as Readonly<Record<string, Read<unknown>>>;
    const read: Record<string, unknown> = {};
    for (const [key, entry] of Object.entries(value)) {
      if (!Object.hasOwn(readers, key)) {
        throw new Fault(at(key), `no such key${nearest(key, Object.keys(readers))}`);
      }
      read[key] = readers[key](entry, at(key));
    }
    for (const key of required) if (!Object.hasOwn(read, key)) throw new Fault(at(key), "is missing");
    judge(read as T, path);
    return read as T;
  };

/** "; did you mean …?" when a word is near, and else nothing. */
function nearest(value: unknown, words: readonly string[]): string {
  if (typeof value !== "string") return "";
  const [best] = words
    .map((word) => ({ word, distance: editDistance(value.toLowerCase(), word.toLowerCase()) }))
    .filter(({ word, distance }) => distance <= Math.ceil(word.length / 3))
    .sort((a, b) => a.distance - b.distance);
  return best === undefined ? "" : `; did you mean "${best.word}"?`;
}

/** Letters to insert, delete or replace to make `a` of `b` (Levenshtein). */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1));
    }
    row = next;
  }
  return row[b.length];
}

const DIRECTION = {
  latencyMs: milliseconds,
  jitterMs: milliseconds,
  loss: share,
  duplication: share,
  reordering: share,
  reorderingMs: milliseconds,
  ratePps: rate,
  queuePackets: number(1, 10_000_000, true),
  rateChanges: list(object({ atMs: number(0, 1e9), ratePps: rate }, ["atMs", "ratePps"]), 1000),
};

function judgeDirection(read: DirectionDescription, path: string): void {
  const changes = read.rateChanges ?? [];
  changes.forEach(({ atMs }, i) => {
    if (i > 0 && atMs <= changes[i - 1].atMs) {
      throw new Fault(`${path}.rateChanges[${i}].atMs`, "is not after the one before it");
    }
  });
}

/** What is said of a bottleneck must be of one that there is: of this path, and of this way. */
function judgePath(read: PathDescription, path: string): void {
  judgeDirection(read, path);
  const { in: inward = {}, out: outward = {} } = read;
  const ways = [
    [path, read, [read, inward, outward]],
    [`${path}.in`, inward, [read, inward]],
    [`${path}.out`, outward, [read, outward]],
  ] as const;
  for (const [at, rules, sources] of ways) {
    if (sources.some(({ ratePps }) => ratePps !== undefined)) continue;
    for (const key of ["queuePackets", "rateChanges"] as const) {
      if (rules[key] !== undefined)
        throw new Fault(`${at}.${key}`, "there is no bottleneck without a ratePps beside it");
    }
  }
}

const readDirection = object<DirectionDescription>(DIRECTION, [], judgeDirection);
const readPath = object<PathDescription>(
  { ...DIRECTION, in: readDirection, out: readDirection },
  [],
  judgePath,
);

const readLimit = object<LimitDescription>({ ratePps: rate, burst: number(1, 1e6, true) }, ["ratePps"]);

const FATES: readonly Fate[] = ["open", "closed", "silent", ...(Object.keys(ICMP_REASONS) as IcmpReason[])];
const fate = oneOf(FATES);

/** Longest banner, in bytes. */
const MAX_BANNER = 1024;

const readRule = object<PortRule>(
  {
    ports: text(parsePorts),
    share,
    is: fate,
    service: oneOf(SERVICES),
    banner: text((banner) =>
      Buffer.byteLength(banner) > MAX_BANNER ? `longer than ${MAX_BANNER} bytes` : undefined,
    ),
  },
  ["is"],
  ({ is, service, banner }, path) => {
    for (const [key, given] of Object.entries({ service, banner })) {
      if (given !== undefined && is !== "open")
        throw new Fault(`${path}.${key}`, "only an open port has one");
    }
    if (banner !== undefined && service !== undefined && service !== "banner") {
      throw new Fault(`${path}.banner`, `the service is "${service}"`);
    }
  },
);

const HOST = {
  ports: list(readRule, 1000),
  rest: fate,
  tarpit: boolean,
  ttl: number(1, 255, true),
  rejectFrom: text((address) =>
    parseAddress(address) === undefined ? `"${address}" is not an IP address` : undefined,
  ),
  rstLimit: readLimit,
  icmpLimit: readLimit,
  backlog: number(1, 1_000_000, true),
  synAckRetries: number(0, 15, true),
  synAckTimeoutMs: number(1, 60_000),
  path: readPath,
};

const readMix = object<MixDescription>({ ...HOST, share }, ["share"], judgeShares);
const readHosts = object<HostsDescription>(
  { ...HOST, range: text(judgeRange), mix: list(readMix, 100) },
  ["range"],
  (read, path) => {
    judgeShares(read, path);
    judgeSum(read.mix ?? [], `${path}.mix`);
    const range = parseRange(read.range);
    if (typeof range === "string") return;
    judgeFamily(read, path, range.first.length);
    (read.mix ?? []).forEach((host, i) => {
      judgeFamily(host, `${path}.mix[${i}]`, range.first.length);
    });
  },
);

/** Shares of one draw: rules with the same ports. */
function judgeShares(host: HostDescription, path: string): void {
  const rules = host.ports ?? [];
  for (const ports of new Set(rules.map((rule) => rule.ports))) {
    judgeSum(
      rules.filter((rule) => rule.ports === ports && rule.share !== undefined),
      `${path}.ports`,
    );
  }
}

function judgeSum(parts: readonly { readonly share?: number }[], path: string): void {
  const sum = parts.reduce((total, part) => total + (part.share ?? 0), 0);
  if (sum > 1 + 1e-9)
    throw new Fault(path, `the shares come to ${Number(sum.toFixed(6))}; they are 1 at most`);
}

/** ICMP errors and routers of the range's own IP version. */
function judgeFamily(host: HostDescription, path: string, length: number): void {
  const family = length === 4 ? "v4" : "v6";
  const judge = (is: Fate | undefined, at: string): void => {
    if (is === undefined || is === "open" || is === "closed" || is === "silent") return;
    if (ICMP_REASONS[is][family] === undefined) throw new Fault(at, `there is no "${is}" in IP${family}`);
  };
  judge(host.rest, `${path}.rest`);
  (host.ports ?? []).forEach((rule, i) => {
    judge(rule.is, `${path}.ports[${i}].is`);
  });
  if (host.rejectFrom !== undefined && parseAddress(host.rejectFrom)?.length !== length) {
    throw new Fault(`${path}.rejectFrom`, "is not of the range's IP version");
  }
}

/** Port rules of all kinds of host together: each takes some hundred bytes. */
const MAX_RULES = 100_000;

/** A mix without ports of its own has those of its entry. */
function judgeRules({ hosts }: LabDescription): void {
  const rules = hosts
    .flatMap(({ ports = [], mix = [] }) => [ports, ...mix.map((host) => host.ports ?? ports)])
    .reduce((sum, { length }) => sum + length, 0);
  if (rules > MAX_RULES) {
    throw new Fault(
      "hosts",
      `${rules} port rules in all, those that mixes inherit included; at most ${MAX_RULES} are taken`,
    );
  }
}

const readLab: Read<LabDescription> = object<LabDescription>(
  {
    seed: number(0, 0xffff_ffff, true),
    path: readPath,
    noise: object<NoiseDescription>({
      synAckPps: noiseRate,
      rstPps: noiseRate,
      icmpPps: noiseRate,
      aimed: share,
    }),
    hosts: list(readHosts, 1000),
  },
  ["hosts"],
  judgeRules,
);

// --- the lab without a file --------------------------------------------------------------------------------------------

/** What a host does, and for which last part of its address it does so in both prefixes. */
const CAST: readonly (HostDescription & { readonly at: number })[] = [
  {
    // One port of every service.
    at: 1,
    ports: [
      { ports: "7", is: "open", service: "echo" },
      { ports: "9", is: "open", service: "discard" },
      { ports: "13", is: "open", service: "close" },
      { ports: "19", is: "open", service: "reset" },
      { ports: "21", is: "open", banner: "220 lab FTP ready\r\n" },
      { ports: "22", is: "open", banner: "SSH-2.0-lab\r\n" },
      { ports: "80,8080", is: "open", service: "http" },
      { ports: "23", is: "silent" },
      { ports: "25", is: "admin-prohibited" },
    ],
  },
  // A firewall that drops, one that rejects, and one whose router speaks for it.
  { at: 2, ports: [{ ports: "80,443", is: "open", service: "http" }], rest: "silent" },
  { at: 3, ports: [{ ports: "80", is: "open", service: "http" }], rest: "admin-prohibited" },
  { at: 5, tarpit: true },
  // Answers slowly, and not always.
  {
    at: 6,
    ports: [{ ports: "22", is: "open", banner: "SSH-2.0-far\r\n" }],
    path: { latencyMs: 150, jitterMs: 40, loss: 0.1 },
  },
  // Sends ten RSTs a second, as some stacks do.
  { at: 7, ports: [{ ports: "80", is: "open", service: "http" }], rstLimit: { ratePps: 10 } },
  { at: 8, rest: "silent" },
];

const CROWD: HostDescription & { readonly mix: readonly MixDescription[] } = {
  ports: [
    { share: 0.01, is: "open", service: "http" },
    { share: 0.01, is: "open", banner: "220 lab ready\r\n" },
    { share: 0.01, is: "open", service: "echo" },
    { share: 0.02, is: "silent" },
  ],
  mix: [
    { share: 0.2, ports: [], rest: "silent" },
    { share: 0.05, rest: "admin-prohibited", icmpLimit: { ratePps: 1000, burst: 50 } },
    { share: 0.02, tarpit: true },
  ],
};

/** The lab without a file: a host of every kind at 198.18.0.1-8 and 2001:db8:18::1-8, and a crowd behind them. */
export const DEFAULT_DESCRIPTION: LabDescription = {
  seed: 1,
  path: { latencyMs: 5, jitterMs: 1 },
  hosts: [
    { range: "198.18.0.0/15", ...CROWD },
    { range: "2001:db8:18::/64", ...CROWD },
    ...CAST.map(({ at, ...host }) => ({ range: `198.18.0.${at}`, ...host })),
    ...CAST.map(({ at, ...host }) => ({ range: `2001:db8:18::${at}`, ...host })),
    { range: "198.18.0.4", rest: "host-unreach", rejectFrom: "198.18.0.254" },
    { range: "2001:db8:18::4", rest: "addr-unreach", rejectFrom: "2001:db8:18::fe" },
  ],
};
