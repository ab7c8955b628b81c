/**
 * The loop of a walk: what it sends and when, which answers it takes, and that nothing else decides anything: forged segments and
 * quotes, quotes cut short, and any byte of a true answer changed.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { HOST, PEER, writeIcmpError, writeSegment } from "../../../src/lab/answer.ts";
import type { Probe } from "../../../src/scan/path/flow.ts";
import { createWalk, type Walk } from "../../../src/scan/path/walk.ts";
import { loadAddress } from "../../../src/socket/table.ts";
import { type Address, formatAddress, parseAddress } from "../../../src/wire/address.ts";
import * as ipv4 from "../../../src/wire/ipv4.ts";
import * as ipv6 from "../../../src/wire/ipv6.ts";
import * as tcp from "../../../src/wire/tcp.ts";
import { everyday } from "../../everyday.ts";
import { createSeededRandom } from "../../sim/random.ts";

const at = (text: string): Address => parseAddress(text) as Address;
const WAYS = {
  IPv4: { local: at("192.0.2.1"), target: at("198.18.0.1"), router: at("203.0.113.7"), header: 20 },
  IPv6: { local: at("2001:db8::1"), target: at("2001:db8:18::1"), router: at("2001:db8:ff::7"), header: 40 },
} as const;
const FIRST_PORT = 61_000;

interface Bed {
  readonly walk: Walk;
  readonly probes: readonly Probe[];
  /** Sends what is due. */
  send(nowUs: number): Uint8Array[];
}

/** A walk that sends one SYN of one flow with each of these TTLs, and is over. */
function bed(version: keyof typeof WAYS, ttls: readonly number[], follows = false): Bed {
  const { local, target } = WAYS[version];
  const walk = createWalk({
    local,
    target,
    rate: 100,
    follows,
    sourcePorts: { first: FIRST_PORT, last: FIRST_PORT + 9 },
    random: createSeededRandom(5),
  });
  const flow = walk.flow(443);
  if (flow === undefined) throw new Error("no flow");
  const probes = ttls.map((ttl) => walk.probe(flow, ttl));
  walk.start(
    (function* () {
      yield probes;
    })(),
    0,
  );
  return {
    walk,
    probes,
    send: (nowUs) => {
      const out = new Uint8Array(128);
      const sent: Uint8Array[] = [];
      for (let length = walk.pollTransmit(out, 0, nowUs); length > 0; ) {
        sent.push(out.slice(0, length));
        length = walk.pollTransmit(out, 0, nowUs);
      }
      return sent;
    },
  };
}

function pairOf(from: Address, to: Address): Uint32Array {
  const pair = new Uint32Array(8);
  loadAddress(pair, HOST, from, 0, from.length);
  loadAddress(pair, PEER, to, 0, to.length);
  return pair;
}

/** What a router says of a SYN whose TTL was used up. @param kept bytes of it that are quoted */
function timeExceeded(version: keyof typeof WAYS, syn: Uint8Array, kept = syn.length): Uint8Array {
  const { local, router } = WAYS[version];
  const out = new Uint8Array(1500);
  const type = version === "IPv4" ? 11 : 3;
  return out.slice(0, writeIcmpError(out, pairOf(router, local), 60, type, 0, syn, 0, kept));
}

function segment(version: keyof typeof WAYS, syn: Uint8Array, flags: number, beyondIss = 1): Uint8Array {
  const { local, target, header } = WAYS[version];
  const out = new Uint8Array(1500);
  const ports = ((443 << 16) | tcp.sourcePort(syn, header)) >>> 0;
  const acknowledged = (tcp.sequence(syn, header) + beyondIss) >>> 0;
  return out.slice(0, writeSegment(out, pairOf(target, local), ports, 55, flags, 1, acknowledged, 0, 0));
}

const SYN_ACK = tcp.FLAGS.SYN | tcp.FLAGS.ACK;
const RST_ACK = tcp.FLAGS.RST | tcp.FLAGS.ACK;
const take = (walk: Walk, packet: Uint8Array, nowUs: number): void =>
  walk.handlePacket(packet, 0, packet.length, nowUs);

describe.each(["IPv4", "IPv6"] as const)("a walk over %s", (version) => {
  const { header, router } = WAYS[version];

  it("sends SYNs that differ in TTL and mark alone, at its rate", () => {
    const { walk, send } = bed(version, [1, 2, 3, 63]);
    const sent: { atUs: number; bytes: Uint8Array }[] = [];
    for (let now = 0; sent.length < 4; now = walk.pollTimeout()) {
      expect(now).toBeLessThan(1e6);
      sent.push(...send(now).map((bytes) => ({ atUs: now, bytes })));
    }
    expect(sent.map(({ atUs }) => atUs)).toEqual([0, 10_000, 20_000, 30_000]);
    const ttl = (b: Uint8Array): number => (version === "IPv4" ? ipv4.ttl(b, 0) : ipv6.hopLimit(b, 0));
    expect(sent.map(({ bytes }) => ttl(bytes))).toEqual([1, 2, 3, 63]);
    for (const { bytes } of sent) {
      // The ports and the sequence number: all that routers quote, and what load balancers go by.
      expect(bytes.slice(header, header + 8)).toEqual(sent[0].bytes.slice(header, header + 8));
      if (version === "IPv6") expect(bytes.slice(0, 4)).toEqual(sent[0].bytes.slice(0, 4));
    }
    expect(walk.sent).toBe(4);
  });

  it("waits a turn where others have left just before it", () => {
    const { walk, send } = bed(version, [1], true);
    expect(send(0)).toEqual([]);
    expect(walk.pollTimeout()).toBe(10_000);
    expect(send(9_999)).toEqual([]);
    expect(send(10_000)).toHaveLength(1);
  });

  it("knows by the quote which SYN a router speaks of, and its round trip", () => {
    const { walk, probes, send } = bed(version, [1, 2, 3]);
    const syns = [0, 10_000, 20_000].flatMap(send);
    take(walk, timeExceeded(version, syns[2]), 29_000);
    take(walk, timeExceeded(version, syns[0]), 29_500);
    expect(probes.map(({ answer }) => answer?.atUs)).toEqual([29_500, undefined, 29_000]);
    expect(probes[0].answer).toMatchObject({ kind: "router", from: router, ttl: 60, translated: false });
    expect(walk.done).toBe(false);
  });

  it("is over when every SYN was answered, or waited for", () => {
    const { walk, send } = bed(version, [1, 2]);
    const syns = [0, 10_000].flatMap(send);
    for (const syn of syns) take(walk, timeExceeded(version, syn), 15_000);
    walk.handleTimeout(15_000);
    expect(walk.done).toBe(true);

    const silent = bed(version, [1, 2]);
    silent.send(0);
    silent.send(10_000);
    expect(silent.walk.pollTimeout()).toBe(510_000);
    silent.walk.handleTimeout(509_999);
    expect(silent.walk.done).toBe(false);
    silent.walk.handleTimeout(510_000);
    expect(silent.walk.done).toBe(true);
  });

  it("sends a SYN again that the kernel did not take", () => {
    const { walk, send } = bed(version, [1, 2]);
    send(0);
    walk.unsend();
    expect(walk.sent).toBe(0);
    expect(send(20_000)).toHaveLength(1);
    expect(send(30_000)).toHaveLength(1);
    expect(walk.sent).toBe(2);
  });

  it("takes segments that acknowledge its own sequence number, and no others", () => {
    for (const [flags, beyond, kind] of [
      [SYN_ACK, 1, "syn-ack"],
      [RST_ACK, 1, "reset"],
      [RST_ACK, 0, "reset"],
      [SYN_ACK, 0, undefined],
      [SYN_ACK, 2, undefined],
      [RST_ACK, 2, undefined],
      [tcp.FLAGS.SYN, 1, undefined],
      [tcp.FLAGS.ACK, 1, undefined],
    ] as const) {
      const { walk, send } = bed(version, [5]);
      const [syn] = send(0);
      take(walk, segment(version, syn, flags, beyond), 7000);
      expect(walk.flows[0].finals.map((answer) => answer.kind)).toEqual(kind === undefined ? [] : [kind]);
    }
  });

  it("does not believe an answer to a SYN that was never sent", () => {
    const { walk, probes, send } = bed(version, [1, 2, 3]);
    const [syn] = send(0);
    const other = syn.slice();
    // The second hop's mark, before its SYN has left.
    if (version === "IPv4") other[5] = 2;
    else other[header + 15] += 1;
    take(walk, timeExceeded(version, other), 500);
    expect(probes.every(({ answer }) => answer === undefined)).toBe(true);
  });

  it("cannot be told by a quote too short for its mark, and says nothing of it", () => {
    const { walk, probes, send } = bed(version, [1]);
    const [syn] = send(0);
    for (let kept = 0; kept < header + 8; kept++) take(walk, timeExceeded(version, syn, kept), 500);
    expect(probes[0].answer).toBeUndefined();
    take(walk, timeExceeded(version, syn, header + 8), 600);
    // IPv4 has the mark in its own header.
    expect(probes[0].answer !== undefined).toBe(version === "IPv4");
  });

  it("believes no forgery: whoever does not know the sequence number decides nothing", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 4, maxLength: 4 }), fc.boolean(), (sequence, isError) => {
        const { walk, probes, send } = bed(version, [1]);
        const [syn] = send(0);
        const guess = syn.slice();
        guess.set(sequence, header + 4);
        fc.pre(!guess.every((byte, i) => byte === syn[i]));
        const forged = isError ? timeExceeded(version, guess) : segment(version, guess, SYN_ACK);
        take(walk, forged, 500);
        expect(probes[0].answer).toBeUndefined();
        expect(walk.flows[0].finals).toEqual([]);
      }),
      { numRuns: everyday(100, 3000) },
    );
  });

  it("survives any packet: bytes changed, cut off, or at random", () => {
    const { walk, send } = bed(version, [1, 2, 3]);
    const syns = [0, 10_000, 20_000].flatMap(send);
    const seeds = [timeExceeded(version, syns[0]), segment(version, syns[0], SYN_ACK)];
    const change = fc.record({
      seed: fc.nat(1),
      length: fc.nat(120),
      changes: fc.array(fc.tuple(fc.nat(119), fc.nat(255)), { maxLength: 6 }),
    });
    fc.assert(
      fc.property(change, ({ seed, length, changes }) => {
        const packet = seeds[seed].slice(0, length);
        for (const [i, byte] of changes) if (i < packet.length) packet[i] = byte;
        take(walk, packet, 25_000);
      }),
      { numRuns: everyday(500, 20_000) },
    );
  });
});

it("says of a quote with other addresses that they were translated", () => {
  const { walk, probes, send } = bed("IPv4", [1]);
  const [syn] = send(0);
  syn.set(at("198.51.100.9"), ipv4.SOURCE);
  take(walk, timeExceeded("IPv4", syn), 500);
  expect(probes[0].answer).toMatchObject({ kind: "router", translated: true });
  expect(formatAddress(probes[0].answer?.from ?? new Uint8Array(4))).toBe("203.0.113.7");
});
