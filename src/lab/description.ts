/**
 * What a description of a lab may say: one schema, from which come the types, the check of a file (parse-description.ts), and
 * lab.schema.json for editors.
 *
 * Not here: what contradicts itself (contradictions.ts), and what a description means for a packet (population.ts, path/path.ts,
 * noise.ts).
 *
 *     { "path": { "latencyMs": 40, "loss": 0.03, "in": { "ratePps": 20000 } },
 *       "hosts": [{ "range": "198.18.0.0/16", "ports": [{ "share": 0.03, "is": "open" }] }] }
 */
import * as v from "valibot";
import { didYouMean } from "../suggest.ts";
import { parseAddress } from "../wire/address.ts";
import { parseHostRange, parsePorts, parseRange } from "./ranges.ts";

// --- building blocks: each says in one line what is wrong ----------------------------------------------------------------

/** A value for a message, in at most 41 characters. Lists and objects are not gone into: they may be deep. */
function show(value: unknown): string {
  if (Array.isArray(value)) return value.length === 0 ? "[]" : "[…]";
  if (typeof value === "object" && value !== null) return Object.keys(value).length === 0 ? "{}" : "{…}";
  const text = JSON.stringify(value) ?? "nothing";
  return text.length > 40 ? `${text.slice(0, 40)}…` : text;
}

const number = (least: number, most: number) => {
  const refusal = ({ input }: { readonly input: unknown }): string =>
    `${show(input)} is not a number from ${least} to ${most}`;
  return v.pipe(v.number(refusal), v.minValue(least, refusal), v.maxValue(most, refusal));
};

const wholeNumber = (least: number, most: number) => {
  const refusal = ({ input }: { readonly input: unknown }): string =>
    `${show(input)} is not a whole number from ${least} to ${most}`;
  return v.pipe(v.number(refusal), v.integer(refusal), v.minValue(least, refusal), v.maxValue(most, refusal));
};

const boolean = v.boolean(({ input }) => `${show(input)} is neither true nor false`);

const anyText = v.string(({ input }) => `${show(input)} is not a string`);

/** A string of a grammar. @param parse gives a string that says what is wrong, if anything is */
const text = (parse: (text: string) => unknown) =>
  v.pipe(
    anyText,
    v.check(
      (written) => typeof parse(written) !== "string",
      ({ input }) => String(parse(input)),
    ),
  );

const oneOf = <const Words extends readonly string[]>(words: Words) =>
  v.picklist(words, ({ input }) => {
    const meant = typeof input === "string" ? didYouMean(input, words, JSON.stringify) : "";
    return `${show(input)} is none of ${words.join(", ")}${meant}`;
  });

const list = <Entry extends v.GenericSchema>(entry: Entry, most: number) =>
  v.pipe(
    v.array(entry, ({ input }) => `${show(input)} is not a list`),
    v.maxLength(most, ({ input }) => `${input.length} entries; at most ${most} are allowed`),
    v.readonly(),
  );

/** An object with these keys and no others. valibot takes a list for an object too, so that is asked first. */
const object = <Entries extends v.ObjectEntries>(entries: Entries) =>
  v.pipe(
    v.custom<object>(
      (input) => typeof input === "object" && input !== null && !Array.isArray(input),
      ({ input }) => `${show(input)} is not an object`,
    ),
    v.strictObject(entries, ({ expected, path }) => {
      if (expected !== "never") {
        // Often the one that is missing is there, misspelt.
        const strange = Object.keys(Object(path?.at(-1)?.input)).find((key) => !Object.hasOwn(entries, key));
        return strange === undefined
          ? "is missing"
          : `is missing, and there is no such key as ${JSON.stringify(strange)}`;
      }
      const key = String(path?.at(-1)?.key);
      return `no such key${didYouMean(key, Object.keys(entries), JSON.stringify)}`;
    }),
  );

/** A key that has to be there, or one that may be left out, with what editors say of it. */
const required = <Schema extends v.GenericSchema>(schema: Schema, description: string) =>
  v.pipe(schema, v.description(description));
const optional = <Schema extends v.GenericSchema>(schema: Schema, description: string) =>
  v.exactOptional(v.pipe(schema, v.description(description)));

const share = number(0, 1);
const milliseconds = number(0, 3_600_000);
const rate = number(0.001, 100_000_000);
const noiseRate = number(0, 1_000_000);
/** On the lab's clock. */
const moment = number(0, 1e9);

// --- paths -----------------------------------------------------------------------------------------------------------------

/** What is good or bad as one. A prefix is a /24 or a /64, a pair a host and a port of it, a flow that and the prober's port. */
const KEYS = ["path", "prefix", "host", "pair", "flow", "source-port"] as const;
const burst = object({
  per: required(
    oneOf(KEYS),
    "What is good or bad as one: the path, a prefix (/24 or /64), a host, a pair (host and port), a flow (and the prober's port), or a port of the prober's.",
  ),
  share: required(share, "Share of the time that each of them is bad, and loses every packet."),
  meanMs: optional(
    number(1, 3_600_000),
    "Mean milliseconds of a bad time; both kinds of time are exponential. For ever when left out: then share is one of them, not of time.",
  ),
});
export type BurstDescription = v.InferOutput<typeof burst>;

const outage = object({
  fromMs: required(moment, "Milliseconds since the start of the lab."),
  toMs: required(moment, "When it is over."),
  share: optional(share, "Share of the prefixes (/24 or /64) that are away; all by default."),
  range: optional(text(parseRange), "Addresses that are away, written as a range of hosts; all by default."),
});
export type OutageDescription = v.InferOutput<typeof outage>;

/** One way of a path. Shares are probabilities. */
const DIRECTION = {
  latencyMs: optional(milliseconds, "One way, in milliseconds; 0 by default."),
  jitterMs: optional(
    milliseconds,
    "A packet's latency is drawn evenly from latencyMs ± jitterMs, never below 0. Packets overtake each other by it.",
  ),
  loss: optional(share, "Share of packets lost at random."),
  bursts: optional(
    list(burst, 100),
    "Loss in bursts, beside loss. Both ways share the states of a rule that the path gives; in and out have their own.",
  ),
  outages: optional(list(outage, 1000), "Times in which every packet is lost."),
  duplication: optional(share, "Share of packets that arrive twice."),
  reordering: optional(
    share,
    "Share of packets held back by reorderingMs, so that later ones overtake them.",
  ),
  reorderingMs: optional(milliseconds, "10 by default."),
  ratePps: optional(rate, "Bottleneck, in packets per second; none by default."),
  queuePackets: optional(
    wholeNumber(1, 10_000_000),
    "Length of the bottleneck's queue; a packet more is dropped. 1000 by default.",
  ),
  rateChanges: optional(
    list(
      object({
        atMs: required(moment, "Milliseconds since the start of the lab."),
        ratePps: required(rate, "Packets per second from then on."),
      }),
      1000,
    ),
    "The bottleneck's later rates, ascending in time.",
  ),
};
const direction = object(DIRECTION);

/** A token bucket. */
const limit = object({
  ratePps: required(rate, "Packets per second."),
  burst: optional(
    wholeNumber(1, 1e6),
    "Packets that may go at once after a pause; by default one second's worth, at least 1.",
  ),
});
export type LimitDescription = v.InferOutput<typeof limit>;

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

const judgeAddress = (address: string): string | undefined =>
  parseAddress(address) === undefined ? `"${address}" is not an IP address` : undefined;
const judgeRouter = (length: 4 | 16) => (address: string) =>
  parseAddress(address)?.length === length
    ? undefined
    : `"${address}" is not an IPv${length === 4 ? 4 : 6} address`;

/** Most routers on the way to a host, and equal ways at one place. */
const MOST_HOPS = 64;
const MOST_BRANCHES = 16;

/** Routers of one path, those on branches included: as many as have addresses by default (hops/route.ts). */
export const MOST_ROUTERS = 508;

/** What a router does to some packets. */
const accessRule = object({
  ports: optional(text(parsePorts), "Ports of the hosts; every packet by default."),
  range: optional(text(parseRange), "Addresses of hosts; all by default."),
  does: required(
    oneOf(["drop", "reset", ...(Object.keys(ICMP_REASONS) as IcmpReason[])]),
    "Drop them, answer a RST in the host's name, or reject them with an ICMP error of the router's own; one that an IP version does not have leaves its packets alone.",
  ),
  at: optional(
    oneOf(["in", "out"]),
    "Before the router counts the TTL down, or after, as a rule for forwarding is; out by default.",
  ),
  back: optional(boolean, "Holds for packets from these ports on their way back, which are dropped."),
});
export type AccessRule = v.InferOutput<typeof accessRule>;

const HOP = {
  ipv4: optional(
    text(judgeRouter(4)),
    "Address that its ICMP errors come from; 203.0.113.N for the N-th router by default.",
  ),
  ipv6: optional(text(judgeRouter(16)), "The same for IPv6; 2001:db8:ff::N by default."),
  latencyMs: optional(milliseconds, "Of the link before it, one way; 0 by default."),
  loss: optional(share, "Share of packets lost on that link, each way."),
  silent: optional(boolean, "Sends no ICMP error when a TTL is used up."),
  icmpLimit: optional(limit, "Limit of its ICMP errors. None by default."),
  ttl: optional(wholeNumber(1, 255), "TTL or hop limit with which its own packets start; 64 by default."),
  rules: optional(list(accessRule, 1000), "What it does to some packets; the first rule that fits counts."),
  mtu: optional(wholeNumber(576, 65_535), "Longest packet that the link behind it takes, in bytes."),
  mplsLabel: optional(wholeNumber(0, 0xf_ffff), "Label of packets that come to it, told in its ICMP errors."),
};
const hop = object(HOP);
export type HopDescription = v.InferOutput<typeof hop>;
const hopOrBranches = object({
  ...HOP,
  branches: optional(
    v.pipe(list(list(hop, MOST_HOPS), MOST_BRANCHES), v.minLength(2, "one branch is none: give two or more")),
    "In place of one router, several ways of one or more; addresses and ports of a packet choose.",
  ),
});
export type HopOrBranches = v.InferOutput<typeof hopOrBranches>;

const path = object({
  ...DIRECTION,
  hops: optional(
    list(hopOrBranches, MOST_HOPS),
    "The routers on the way to the hosts, the prober's first. None by default: then TTLs do not count down.",
  ),
  returnDetour: optional(
    wholeNumber(0, MOST_HOPS),
    "Hops that the way back has beside those of hops; 0 by default.",
  ),
  in: optional(direction, "What differs on the way to the hosts."),
  out: optional(direction, "What differs on the way to the prober."),
});
export type DirectionDescription = v.InferOutput<typeof direction>;
export type PathDescription = v.InferOutput<typeof path>;

// --- hosts -----------------------------------------------------------------------------------------------------------------

/** What an open port does once the connection is made. */
export const SERVICES = [
  /** Reads and says nothing; closes when the peer has closed. */
  "discard",
  /** Sends back what comes; closes when the peer has closed. */
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

/** What becomes of a SYN to a port: SYN-ACK, RST, nothing, or an ICMP error. */
const fate = oneOf(["open", "closed", "silent", ...(Object.keys(ICMP_REASONS) as IcmpReason[])]);
export type Fate = v.InferOutput<typeof fate>;

/** Longest banner, in bytes. */
const MAX_BANNER = 1024;
const judgeBanner = (banner: string): string | undefined =>
  Buffer.byteLength(banner) > MAX_BANNER ? `longer than ${MAX_BANNER} bytes` : undefined;

/** What some of a host's ports do. */
const portRule = object({
  ports: optional(text(parsePorts), '"22,80,8000-8010"; every port by default.'),
  share: optional(
    share,
    "Share of those (address, port) pairs, drawn from the seed; all by default. Rules with the same ports share one draw: no pair is in two of them.",
  ),
  is: required(fate, "What becomes of a SYN: a SYN-ACK, a RST, silence, or an ICMP error."),
  service: optional(
    oneOf(SERVICES),
    'Of an open port: "discard" by default, "banner" when there is a banner.',
  ),
  banner: optional(text(judgeBanner), `What "banner" sends, at most ${MAX_BANNER} bytes in UTF-8.`),
});

const HOST = {
  ports: optional(list(portRule, 1000), "Rules; later ones override earlier ones."),
  rest: optional(
    fate,
    'What every other port does; "closed" by default. A host whose rest is "silent" answers no ping either.',
  ),
  tarpit: optional(boolean, "SYN-ACK on every port, and then nothing. Overrides ports and rest."),
  ttl: optional(
    wholeNumber(1, 255),
    "TTL or hop limit of its packets: as the prober sees them, or before the hops of the way count it down; 64 by default.",
  ),
  rejectFrom: optional(
    text(judgeAddress),
    "Address of the router that sends the ICMP errors; the host's own by default.",
  ),
  rstLimit: optional(limit, "Limit of RSTs per host. None by default."),
  icmpLimit: optional(
    limit,
    "Limit of ICMP errors per sender (Linux: 1000 a second, bursts of 50). None by default.",
  ),
  backlog: optional(
    wholeNumber(1, 1_000_000),
    "Half-open connections of one listening socket; a SYN more is dropped. Unbounded by default.",
  ),
  synAckRetries: optional(
    wholeNumber(0, 15),
    "Retransmissions of a SYN-ACK; 5 by default (Linux's tcp_synack_retries).",
  ),
  synAckTimeoutMs: optional(
    number(1, 60_000),
    "Milliseconds to the first retransmission, doubled for each further one; 1000 by default.",
  ),
  path: optional(
    path,
    "Where the path to these hosts differs from the lab's. With a ratePps it has a bottleneck of its own.",
  ),
};
const host = object(HOST);
const mix = object({
  ...HOST,
  share: required(share, "Share of the entry's addresses that do this instead."),
});
const hosts = object({
  range: required(
    text(parseHostRange),
    '"198.18.0.0/16", "198.18.4.1-198.18.4.40" or "198.18.0.7"; IPv6 likewise. Unicast, and not the prober\'s own.',
  ),
  ...HOST,
  mix: optional(list(mix, 100), "Hosts of other kinds among them; their shares add up to at most 1."),
});
export type HostDescription = v.InferOutput<typeof host>;
export type PortRules = NonNullable<HostDescription["ports"]>;
export type MixDescription = v.InferOutput<typeof mix>;
export type HostsDescription = v.InferOutput<typeof hosts>;

// --- the lab ---------------------------------------------------------------------------------------------------------------

const noise = object({
  synAckPps: optional(noiseRate, "Forged SYN-ACKs per second."),
  rstPps: optional(noiseRate, "Forged RSTs per second."),
  icmpPps: optional(noiseRate, "Forged ICMP errors per second."),
  aimed: optional(
    share,
    "Share of them that hit a port that the prober has just used; the others miss it, as an attacker does who must guess. All by default.",
  ),
});
export type NoiseDescription = v.InferOutput<typeof noise>;

/** The schema that a file is checked against. */
export const LAB_DESCRIPTION = object({
  $schema: optional(anyText, "For editors."),
  seed: optional(
    wholeNumber(0, 0xffff_ffff),
    "Everything that chance decides follows from it; 1 by default.",
  ),
  path: optional(path, "The path to all hosts, both ways."),
  noise: optional(
    noise,
    "Forged packets to the prober, with wrong acknowledgements, from addresses that it has just probed.",
  ),
  hosts: required(list(hosts, 1000), "Hosts at addresses; later entries override earlier ones."),
});
export type LabDescription = v.InferOutput<typeof LAB_DESCRIPTION>;
