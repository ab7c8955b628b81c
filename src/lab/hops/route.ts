/**
 * The routers on the way to hosts: each packet passes them in turn, on a way that its flow chooses where there are several. They
 * count its TTL down, lose, drop, reject or reset it, and say what they say by ICMP.
 *
 * Computed when a packet enters, with the times at which it passes each: packets of one flow do not overtake each other. When
 * packets go on from here, and bottlenecks: network.ts, path.ts.
 */
import { type Address, formatAddress, parseAddress } from "../../wire/address.ts";
import { putU16, putU32, u32 } from "../../wire/bytes.ts";
import { checksum } from "../../wire/checksum.ts";
import * as icmp from "../../wire/icmp.ts";
import { withMplsLabels } from "../../wire/icmp-extensions.ts";
import * as icmpv6 from "../../wire/icmpv6.ts";
import * as ipv4 from "../../wire/ipv4.ts";
import * as ipv6 from "../../wire/ipv6.ts";
import { PROTOCOL } from "../../wire/protocol.ts";
import * as tcp from "../../wire/tcp.ts";
import { HOST, isIpv4, PEER, writeIcmpError, writeSegment } from "../answer.ts";
import { type AccessRule, type HopDescription, ICMP_REASONS, type PathDescription } from "../description.ts";
import { createLimits, type Limits } from "../limits.ts";
import { icmpOf } from "../population.ts";
import { hashAddress, type Random } from "../random.ts";
import { hasPort, type PortSpans, parsePorts, rangeTest, wordsOf } from "../ranges.ts";

/** What `forward` and `back` return for a packet that goes no further. */
export const STOPPED = -1;

/** The rule that decides what becomes of a SYN. */
export interface Deciding {
  /** Counted from 1. */
  readonly hop: number;
  /** The router's address, as text. */
  readonly router: string;
  readonly does: AccessRule["does"];
  readonly back: boolean;
  /** Of the ways that flows take at this place, those that have the rule: 1 for all. */
  readonly share: number;
}

export interface Route {
  /**
   * Takes the packet `b[at, end)` towards its host; `pair` has the host's address and the prober's.
   * @returns microseconds until it arrives, with its TTL counted down; STOPPED when it does not
   */
  forward(b: Uint8Array, at: number, end: number, pair: Uint32Array, nowUs: number): number;
  /** The same for a host's packet `b[0, length)` to the prober. */
  back(b: Uint8Array, length: number, pair: Uint32Array): number;
  /** The first rule that a SYN from anywhere to this port meets, and that stops it or its answer. */
  deciding(host: Uint32Array, port: number): Deciding | undefined;
  /** The routers, in order, that a flow passes: their addresses. */
  routersOf(pair: Uint32Array, ports: number): Address[];
}

/** Takes a router's own packet `b[0, length)`, which leaves for the prober at `atUs` and has passed the routers before. */
export type EmitRouted = (b: Uint8Array, length: number, atUs: number) => void;

interface Rule extends Pick<AccessRule, "does"> {
  readonly spans: PortSpans | undefined;
  readonly within: ReturnType<typeof rangeTest> | undefined;
  readonly at: "in" | "out";
  readonly back: boolean;
  /** Whether the IP version has such an ICMP error: where not, the rule lets its packets pass. */
  readonly v4: boolean;
  readonly v6: boolean;
}

interface Router {
  readonly address4: Uint32Array;
  readonly address6: Uint32Array;
  readonly latencyUs: number;
  readonly loss: number;
  readonly silent: boolean;
  readonly limits: Limits | undefined;
  readonly ttl: number;
  readonly rules: readonly Rule[];
  readonly mtu: number;
  readonly label: number | undefined;
}

/** Longest quote that is worth quoting whole. */
const SCRATCH = 65_536;
/** Addresses that routers have by default: so many of 203.0.113.0/24, and then of 198.51.100.0/24 (MOST_ROUTERS). */
const OF_A_PREFIX = 254;

/** @returns undefined for a path without hops */
export function createRoute(
  { hops = [], returnDetour = 0 }: PathDescription,
  seed: number,
  random: Random,
  emit: EmitRouted,
): Route | undefined {
  if (hops.length === 0) return undefined;
  let made = 0;
  const compile = (hop: HopDescription): Router => compileRouter(hop, ++made);
  const places = hops.map(({ branches, ...hop }) =>
    branches === undefined ? [[compile(hop)]] : branches.map((way) => way.map(compile)),
  );
  const out = new Uint8Array(SCRATCH);
  const quoted = new Uint8Array(SCRATCH);
  const ends = new Uint32Array(8);

  const way = (pair: Uint32Array, ports: number): Router[] =>
    places.flatMap((branches, i) =>
      branches.length === 1
        ? branches[0]
        : branches[hashAddress(seed, (i + 1) << 8, pair, HOST, ports) % branches.length],
    );

  /** Sends what was written to `out` back past the routers that the packet has passed. */
  function answer(length: number, passed: readonly Router[], atUs: number): void {
    const delayUs = travelBack(passed);
    if (delayUs !== STOPPED) emit(out, length, atUs + delayUs);
  }

  function travelBack(passed: readonly Router[]): number {
    let delayUs = 0;
    for (const router of passed) {
      if (router.loss > 0 && random() < router.loss) return STOPPED;
      delayUs += router.latencyUs;
    }
    return delayUs;
  }

  function complain(
    router: Router,
    passed: readonly Router[],
    type: number,
    code: number,
    rest: number,
    b: Uint8Array,
    at: number,
    end: number,
    pair: Uint32Array,
    atUs: number,
  ): void {
    const v4 = isIpv4(pair, HOST);
    ends.set(v4 ? router.address4 : router.address6, HOST);
    ends.set(pair.subarray(PEER, PEER + 4), PEER);
    if (router.limits !== undefined && !router.limits.take(ends, HOST, atUs)) return;
    quoted.set(b.subarray(at, end));
    setTtl(quoted, 0, Math.max(1, ttlOf(b, at) - passed.length + 1));
    const ttl = router.ttl - passed.length + 1 - returnDetour;
    const length = end - at;
    const { label } = router;
    if (label === undefined) {
      answer(writeIcmpError(out, ends, ttl, type, code, quoted, 0, length, rest), passed, atUs);
      return;
    }
    const labels = [{ label, trafficClass: 0, ttl: 1 }];
    const extended = withMplsLabels(quoted.subarray(0, Math.min(length, 128)), v4 ? 4 : 6, labels);
    const { body } = extended;
    answer(
      writeIcmpError(out, ends, ttl, type, code, body, 0, body.length, extended.rest | rest),
      passed,
      atUs,
    );
  }

  /** What a rule does with a packet, which goes no further. */
  function enforce(
    rule: Rule,
    router: Router,
    passed: readonly Router[],
    b: Uint8Array,
    at: number,
    end: number,
    pair: Uint32Array,
    atUs: number,
  ): void {
    if (rule.does === "drop") return;
    if (rule.does !== "reset") {
      const [type, code] = icmpOf(rule.does, isIpv4(pair, HOST) ? 4 : 16);
      complain(router, passed, type, code, 0, b, at, end, pair, atUs);
      return;
    }
    const segment = segmentAt(b, at, end);
    if (segment < 0 || (tcp.flags(b, segment) & tcp.FLAGS.RST) !== 0) return;
    const ports = u32(b, segment + tcp.SOURCE_PORT);
    const swapped = ((ports << 16) | (ports >>> 16)) >>> 0;
    const ttl = router.ttl - passed.length + 1 - returnDetour;
    const acknowledged = (u32(b, segment + tcp.SEQUENCE) + 1) >>> 0;
    const { RST, ACK } = tcp.FLAGS;
    answer(writeSegment(out, pair, swapped, ttl, RST | ACK, 0, acknowledged, 0, 0), passed, atUs);
  }

  function forward(b: Uint8Array, at: number, end: number, pair: Uint32Array, nowUs: number): number {
    const segment = segmentAt(b, at, end);
    const sourcePort = segment < 0 ? 0 : tcp.sourcePort(b, segment);
    const port = segment < 0 ? 0 : tcp.destinationPort(b, segment);
    const v4 = isIpv4(pair, HOST);
    const ttl = ttlOf(b, at);
    const routers = way(pair, ((port << 16) | sourcePort) >>> 0);
    let atUs = nowUs;
    for (let i = 0; i < routers.length; i++) {
      const router = routers[i];
      const passed = routers.slice(0, i + 1);
      if (router.loss > 0 && random() < router.loss) return STOPPED;
      atUs += router.latencyUs;
      const rule = router.rules.find((each) => !each.back && fits(each, pair, port));
      if (rule?.at === "in") {
        enforce(rule, router, passed, b, at, end, pair, atUs);
        return STOPPED;
      }
      if (ttl - i <= 1) {
        const { TIME_EXCEEDED } = v4 ? icmp.TYPE : icmpv6.TYPE;
        if (!router.silent) complain(router, passed, TIME_EXCEEDED, 0, 0, b, at, end, pair, atUs);
        return STOPPED;
      }
      if (rule !== undefined) {
        enforce(rule, router, passed, b, at, end, pair, atUs);
        return STOPPED;
      }
      if (end - at > router.mtu) {
        const [type, code] = v4
          ? [icmp.TYPE.DESTINATION_UNREACHABLE, icmp.CODE.FRAGMENTATION_NEEDED]
          : [icmpv6.TYPE.PACKET_TOO_BIG, 0];
        complain(router, passed, type, code, router.mtu, b, at, end, pair, atUs);
        return STOPPED;
      }
    }
    setTtl(b, at, ttl - routers.length);
    return atUs - nowUs;
  }

  function back(b: Uint8Array, length: number, pair: Uint32Array): number {
    const segment = segmentAt(b, 0, length);
    const port = segment < 0 ? 0 : tcp.sourcePort(b, segment);
    const peerPort = segment < 0 ? 0 : tcp.destinationPort(b, segment);
    const routers = way(pair, ((port << 16) | peerPort) >>> 0);
    if (routers.some(({ rules }) => rules.some((rule) => rule.back && fits(rule, pair, port))))
      return STOPPED;
    const ttl = ttlOf(b, 0) - routers.length - returnDetour;
    if (ttl < 1) return STOPPED;
    setTtl(b, 0, ttl);
    return travelBack(routers);
  }

  function deciding(host: Uint32Array, port: number): Deciding | undefined {
    const v4 = isIpv4(host, 0);
    const found = [false, true].flatMap((isBack) => {
      let hop = 0;
      return places.flatMap((branches): Deciding[] => {
        const stopping = branches.flatMap((routers) => {
          for (const [i, { rules, address4, address6 }] of routers.entries()) {
            const rule = rules.find((each) => each.back === isBack && fits(each, host, port));
            if (rule !== undefined) return [{ hop: hop + i + 1, rule, router: v4 ? address4 : address6 }];
          }
          return [];
        });
        hop += branches[0].length;
        return stopping.slice(0, 1).map(({ rule, router, ...where }) => ({
          ...where,
          router: textOf(router),
          does: rule.does,
          back: isBack,
          share: stopping.length / branches.length,
        }));
      });
    });
    return found.find(({ share }) => share === 1) ?? found[0];
  }

  return {
    forward,
    back,
    deciding,
    routersOf: (pair, ports) =>
      way(pair, ports).map(({ address4, address6 }) => bytesOf(isIpv4(pair, HOST) ? address4 : address6)),
  };
}

function compileRouter(hop: HopDescription, number: number): Router {
  const byDefault4 = number <= OF_A_PREFIX ? `203.0.113.${number}` : `198.51.100.${number - OF_A_PREFIX}`;
  return {
    address4: wordsIn(hop.ipv4 ?? byDefault4),
    address6: wordsIn(hop.ipv6 ?? `2001:db8:ff::${number.toString(16)}`),
    latencyUs: (hop.latencyMs ?? 0) * 1000,
    loss: hop.loss ?? 0,
    silent: hop.silent === true,
    limits: hop.icmpLimit && createLimits(hop.icmpLimit),
    ttl: hop.ttl ?? 64,
    mtu: hop.mtu ?? Number.POSITIVE_INFINITY,
    label: hop.mplsLabel,
    rules: (hop.rules ?? []).map(compileRule),
  };
}

function compileRule({ ports, range, does, at = "out", back = false }: AccessRule): Rule {
  const isPlain = does === "drop" || does === "reset";
  const spans = ports === undefined ? undefined : parsePorts(ports);
  if (typeof spans === "string") throw new RangeError(`ports: ${spans}`);
  return {
    does,
    at,
    back,
    v4: isPlain || ICMP_REASONS[does].v4 !== undefined,
    v6: isPlain || ICMP_REASONS[does].v6 !== undefined,
    spans,
    within: range === undefined ? undefined : rangeTest(range),
  };
}

/** Whether a rule is about packets to or from this port of the host `pair[HOST]`. */
function fits({ spans, within, v4, v6 }: Rule, pair: Uint32Array, port: number): boolean {
  if (!(isIpv4(pair, HOST) ? v4 : v6)) return false;
  if (spans !== undefined && !hasPort(spans, port)) return false;
  return within === undefined || within(pair, HOST);
}

function wordsIn(text: string): Uint32Array {
  const address = parseAddress(text);
  if (address === undefined) throw new RangeError(`not an address: ${text}`);
  return wordsOf(address);
}

function bytesOf(words: Uint32Array): Address {
  const bytes = new Uint8Array(16);
  for (let i = 0; i < 4; i++) putU32(bytes, 4 * i, words[i]);
  return isIpv4(words, 0) ? bytes.slice(12) : bytes;
}

const textOf = (words: Uint32Array): string => formatAddress(bytesOf(words));

/** Where the TCP header of a packet starts; -1 where there is none to be seen. */
function segmentAt(b: Uint8Array, at: number, end: number): number {
  const v4 = b[at] >>> 4 === 4;
  const segment = at + (v4 ? ipv4.headerLength(b, at) : ipv6.HEADER_LENGTH);
  const protocol = v4 ? ipv4.protocol(b, at) : ipv6.nextHeader(b, at);
  return protocol === PROTOCOL.TCP && tcp.checkLength(b, segment, end) > 0 ? segment : -1;
}

const ttlOf = (b: Uint8Array, at: number): number =>
  b[at] >>> 4 === 4 ? ipv4.ttl(b, at) : ipv6.hopLimit(b, at);

function setTtl(b: Uint8Array, at: number, ttl: number): void {
  if (b[at] >>> 4 !== 4) {
    b[at + ipv6.HOP_LIMIT] = ttl;
    return;
  }
  b[at + ipv4.TTL] = ttl;
  putU16(b, at + ipv4.CHECKSUM, 0);
  putU16(b, at + ipv4.CHECKSUM, checksum(b, at, at + ipv4.headerLength(b, at)));
}
