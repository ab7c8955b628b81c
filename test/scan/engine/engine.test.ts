/** The engine, packet by packet: what counts as evidence, what does not, and what a refused send becomes. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Engine } from "../../../src/scan/engine/engine.ts";
import { createDraw } from "../../../src/scan/hosts/control-probes.ts";
import type { Verdict } from "../../../src/scan/probe/verdict.ts";
import { createSourcePorts, type SourcePorts } from "../../../src/socket/ports.ts";
import { describePacket } from "../../../src/wire/describe.ts";
import * as icmp from "../../../src/wire/icmp.ts";
import * as ipv4 from "../../../src/wire/ipv4.ts";
import * as tcp from "../../../src/wire/tcp.ts";
import { icmpAbout, segmentTo } from "../../sim/network.ts";
import { address, drainVerdicts, engineFor, LOCAL_4, responderOf, target, transmit } from "../../sim/run.ts";

const { SYN, ACK, RST, FIN, PSH } = tcp.FLAGS;
const SECOND = 1_000_000;
const SEGMENT = ipv4.HEADER_LENGTH;

/** An engine that has just sent the first SYN to 198.18.0.2:80. */
function afterFirstSyn(overrides = {}): { engine: Engine; probe: Uint8Array; iss: number } {
  const engine = engineFor([target("198.18.0.2", 80)], overrides);
  const probe = transmit(engine, 0);
  if (probe === undefined) throw new Error("nothing sent");
  return { engine, probe, iss: tcp.sequence(probe, SEGMENT) };
}

function deliver(engine: Engine, packet: Uint8Array, atUs = 1000): void {
  engine.handlePacket(packet, 0, packet.length, atUs);
}

const ignoredSum = (engine: Engine): number =>
  Object.values(engine.counts.ignored).reduce((a, b) => a + b, 0);

describe("evidence", () => {
  it.each([
    ["SYN+ACK", SYN | ACK, "open", "syn-ack"],
    ["SYN+ACK with PSH and ECN bits", SYN | ACK | PSH | tcp.FLAGS.ECE, "open", "syn-ack"],
    ["RST+ACK", RST | ACK, "closed", "reset"],
    ["SYN+FIN+ACK", SYN | FIN | ACK, "open", "syn-ack"],
    ["RST without ACK that carries the right number", RST, "closed", "reset"],
    ["RST+FIN+ACK", RST | FIN | ACK, "closed", "reset"],
    ["RST+ACK of the ISN itself", RST | ACK, "closed", "reset", 0],
    ["RST that carries the ISN itself", RST, "closed", "reset", 0],
  ] as [string, number, string, string, number?][])(
    "%s decides",
    (_name, flags, state, reason, beyond = 1) => {
      const { engine, probe, iss } = afterFirstSyn();
      deliver(engine, segmentTo(probe, { flags, acknowledgement: (iss + beyond) >>> 0, ttl: 99 }), 1234);
      expect(drainVerdicts(engine)).toMatchObject([
        { state, reason, ttl: 99, rttUs: 1234, tries: 1, late: false, was: null },
      ]);
      expect(engine.done).toBe(true);
      expect(engine.pollTimeout(2000)).toBe(Number.POSITIVE_INFINITY);
    },
  );

  it.each([
    ["window 0 and no options", { window: 0 }, true],
    ["window 0 and an option", { window: 0, mss: 1460 }, false],
    ["a window and no options", { window: 1 }, false],
  ])("a SYN+ACK with %s opens the port; whether that is doubtful", (_what, fields, doubtful) => {
    const { engine, probe, iss } = afterFirstSyn();
    deliver(engine, segmentTo(probe, { flags: SYN | ACK, acknowledgement: (iss + 1) >>> 0, ...fields }));
    expect(drainVerdicts(engine)).toMatchObject([{ state: "open", reason: "syn-ack", doubtful }]);
  });

  it("a reset with window 0 is as resets are", () => {
    const { engine, probe, iss } = afterFirstSyn();
    deliver(engine, segmentTo(probe, { flags: RST | ACK, acknowledgement: (iss + 1) >>> 0, window: 0 }));
    expect(drainVerdicts(engine)).toMatchObject([{ state: "closed", doubtful: false }]);
  });

  it.each([
    [3, 0, "net-unreach"],
    [3, 1, "host-unreach"],
    [3, 2, "proto-unreach"],
    [3, 3, "port-unreach"],
    [3, 9, "net-prohibited"],
    [3, 10, "host-prohibited"],
    [3, 13, "admin-prohibited"],
    [11, 0, "time-exceeded"],
  ])("ICMP %i code %i that quotes our probe is %s", (type, code, reason) => {
    const { engine, probe } = afterFirstSyn();
    const router = address("203.0.113.9");
    deliver(engine, icmpAbout(probe, [type, code], router));
    const verdicts = drainVerdicts(engine);
    expect(verdicts).toMatchObject([{ state: "filtered", reason, ttl: 61 }]);
    expect(responderOf(verdicts[0])).toEqual(router);
  });

  it.each([
    [1, 0, "no-route"],
    [1, 1, "admin-prohibited"],
    [1, 2, "beyond-scope"],
    [1, 3, "addr-unreach"],
    [1, 4, "port-unreach"],
    [1, 5, "policy-fail"],
    [1, 6, "reject-route"],
    [3, 0, "time-exceeded"],
    [4, 1, "param-problem"],
  ])("ICMPv6 %i code %i that quotes our probe is %s", (type, code, reason) => {
    const engine = engineFor([target("2001:db8::2", 80)]);
    const probe = transmit(engine, 0) as Uint8Array;
    deliver(engine, icmpAbout(probe, [type, code]));
    const verdicts = drainVerdicts(engine);
    expect(verdicts).toMatchObject([{ state: "filtered", reason }]);
    expect(responderOf(verdicts[0])).toEqual(address("2001:db8::2"));
  });

  it.each([
    [3, 4],
    [3, 11],
    [3, 12],
    [12, 0],
  ])("ICMP %i code %i decides nothing, and is counted", (type, code) => {
    const { engine, probe } = afterFirstSyn();
    deliver(engine, icmpAbout(probe, [type, code]));
    expect(drainVerdicts(engine)).toEqual([]);
    expect(engine.counts.ignored.icmpNoVerdict).toBe(1);
  });
});

describe("no evidence", () => {
  const cases: [string, keyof Engine["counts"]["ignored"], (probe: Uint8Array, iss: number) => Uint8Array][] =
    [
      [
        "a SYN+ACK of another ISN",
        "wrongAck",
        (p, iss) => segmentTo(p, { flags: SYN | ACK, acknowledgement: (iss + 2) >>> 0 }),
      ],
      [
        "a SYN+ACK that acknowledges the ISN itself",
        "wrongAck",
        (p, iss) => segmentTo(p, { flags: SYN | ACK, acknowledgement: iss }),
      ],
      ["a blind RST", "wrongAck", (p) => segmentTo(p, { flags: RST })],
      ["a FIN", "oddFlags", (p, iss) => segmentTo(p, { flags: FIN | ACK, acknowledgement: (iss + 1) >>> 0 })],
      ["a bare ACK", "oddFlags", (p, iss) => segmentTo(p, { flags: ACK, acknowledgement: (iss + 1) >>> 0 })],
      [
        "SYN with RST",
        "oddFlags",
        (p, iss) => segmentTo(p, { flags: SYN | RST | ACK, acknowledgement: (iss + 1) >>> 0 }),
      ],
      ["no flags at all", "oddFlags", (p) => segmentTo(p, { flags: 0 })],
      [
        "a bad TCP checksum",
        "badChecksum",
        (p, iss) => flip(segmentTo(p, { flags: SYN | ACK, acknowledgement: (iss + 1) >>> 0 }), SEGMENT + 14),
      ],
      [
        "a bad IP checksum",
        "badChecksum",
        (p, iss) => flip(segmentTo(p, { flags: SYN | ACK, acknowledgement: (iss + 1) >>> 0 }), 8),
      ],
      [
        "a truncated segment",
        "malformed",
        (p, iss) => segmentTo(p, { flags: SYN | ACK, acknowledgement: (iss + 1) >>> 0 }).subarray(0, 39),
      ],
      ["an empty packet", "malformed", () => new Uint8Array(0)],
      ["IP version 5", "malformed", () => new Uint8Array(40).fill(0x50)],
      [
        "a segment from another port",
        "foreign",
        (p, iss) =>
          segmentTo(edited(p, SEGMENT + 2, 0x12), { flags: SYN | ACK, acknowledgement: (iss + 1) >>> 0 }),
      ],
      [
        "a segment to a port that no try left from",
        "foreign",
        (p, iss) =>
          segmentTo(edited(p, SEGMENT, 0x12), { flags: SYN | ACK, acknowledgement: (iss + 1) >>> 0 }),
      ],
      [
        "a segment to another address of ours",
        "foreign",
        (p, iss) => segmentTo(edited(p, 15, 77), { flags: SYN | ACK, acknowledgement: (iss + 1) >>> 0 }),
      ],
      [
        "an ICMP quote with another sequence number",
        "foreign",
        (p) => icmpAbout(edited(p, SEGMENT + 7, p[SEGMENT + 7] ^ 1), [3, 1]),
      ],
      ["an ICMP quote to another host", "foreign", (p) => icmpAbout(edited(p, 19, 99), [3, 1])],
      ["an ICMP quote from another source", "foreign", (p) => icmpAbout(edited(p, 15, 99), [3, 1])],
      ["an ICMP quote with another protocol", "foreign", (p) => icmpAbout(edited(p, 9, 17), [3, 1])],
      ["an ICMP quote that is too short", "malformed", (p) => icmpAbout(p.subarray(0, 27), [3, 1])],
      ["an ICMP echo reply", "foreign", (p) => icmpAbout(p, [icmp.TYPE.ECHO_REPLY, 0])],
      ["an ICMP error with a bad checksum", "badChecksum", (p) => flip(icmpAbout(p, [3, 1]), SEGMENT + 5)],
      [
        "a fragment",
        "fragment",
        (p, iss) => fragment(segmentTo(p, { flags: SYN | ACK, acknowledgement: (iss + 1) >>> 0 })),
      ],
      ["our own SYN, back through loopback", "foreign", (p) => p.slice()],
    ];
  it.each(cases)("%s is counted and decides nothing", (_name, counter, make) => {
    const { engine, probe, iss } = afterFirstSyn();
    const packet = make(probe, iss);
    deliver(engine, packet);
    expect(drainVerdicts(engine)).toEqual([]);
    expect(engine.counts.ignored[counter]).toBe(1);
    expect(ignoredSum(engine)).toBe(1);
    expect(engine.done).toBe(false);
  });

  it("is not fooled by the SYN of one of its own probes to one of its own addresses", () => {
    // Port 61010 of this machine is probed from 61005, and 61005 from 61010: each SYN looks like the other's answer.
    const own = "198.18.0.1";
    const ports = [61_010, 61_005];
    const engine = engineFor([target(own, 61_005, 61_010)], {
      ports: {
        ...createSourcePorts(61_000, 65_534, 0),
        start: () => ports.shift() ?? 0,
        portOf: (start) => start,
      },
    });
    const first = transmit(engine, 0) as Uint8Array;
    const second = transmit(engine, 0) as Uint8Array;
    expect([tcp.sourcePort(first, SEGMENT), tcp.destinationPort(first, SEGMENT)]).toEqual([61_010, 61_005]);
    expect([tcp.sourcePort(second, SEGMENT), tcp.destinationPort(second, SEGMENT)]).toEqual([61_005, 61_010]);
    deliver(engine, first);
    deliver(engine, second);
    expect(drainVerdicts(engine)).toEqual([]);
    expect(engine.counts.ignored.foreign).toBe(2);
  });

  it("knows its own probes when their rows are gone, by every proof there is, and nobody else's", () => {
    const engine = engineFor([target("198.18.0.2", 80, 81)], { retries: 0, capacity: 1 });
    const probe = transmit(engine, 0) as Uint8Array;
    const iss = tcp.sequence(probe, SEGMENT);
    engine.handleTimeout(SECOND + 1000);
    expect(transmit(engine, SECOND + 1000)).toBeDefined();
    const ignored = (flags: number, acknowledgement: number) => {
      const { duplicate, foreign } = engine.counts.ignored;
      deliver(engine, segmentTo(probe, { flags, acknowledgement: acknowledgement >>> 0 }), SECOND + 2000);
      const now = engine.counts.ignored;
      return { duplicate: now.duplicate - duplicate, foreign: now.foreign - foreign };
    };
    for (const [flags, acknowledgement] of [
      [SYN | ACK, iss + 1],
      [RST | ACK, iss + 1],
      [RST | ACK, iss],
    ])
      expect(ignored(flags, acknowledgement)).toEqual({ duplicate: 1, foreign: 0 });
    for (const [flags, acknowledgement] of [
      [SYN | ACK, iss],
      [RST | ACK, iss + 2],
    ])
      expect(ignored(flags, acknowledgement)).toEqual({ duplicate: 0, foreign: 1 });
  });

  it("survives any bytes", () => {
    const { engine } = afterFirstSyn();
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 120 }), fc.constantFrom(0x45, 0x60, 0x4f), (bytes, first) => {
        const before = ignoredSum(engine);
        if (bytes.length > 0) bytes[0] = first;
        deliver(engine, bytes);
        expect(ignoredSum(engine)).toBe(before + 1);
        expect(drainVerdicts(engine)).toEqual([]);
      }),
      { numRuns: 2000 },
    );
  });

  it("survives any one byte of a good answer changed, and never misreads it", () => {
    fc.assert(
      fc.property(fc.nat(39), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const { engine, probe, iss } = afterFirstSyn();
        const packet = segmentTo(probe, { flags: SYN | ACK, acknowledgement: (iss + 1) >>> 0 });
        packet[at] ^= change;
        deliver(engine, packet);
        // Checksums catch every change of a single byte.
        expect(drainVerdicts(engine)).toEqual([]);
      }),
    );
  });
});

describe("a bare SYN", () => {
  /** Delivers a bare SYN, and hands back our SYN-ACK to it. */
  const askedBy = (engine: Engine, probe: Uint8Array, nowUs: number): Uint8Array | undefined => {
    deliver(engine, segmentTo(probe, { flags: SYN, sequence: 7 }), nowUs);
    return transmit(engine, nowUs);
  };

  it("is overruled by anything that is proved", () => {
    const { engine, probe, iss } = afterFirstSyn();
    deliver(engine, segmentTo(probe, { flags: SYN, sequence: 7 }), 1000);
    deliver(engine, segmentTo(probe, { flags: SYN, sequence: 7 }), 1100);
    expect(drainVerdicts(engine)).toEqual([]);
    expect(engine.counts.ignored.duplicate).toBe(1);
    deliver(engine, segmentTo(probe, { flags: RST | ACK, acknowledgement: (iss + 1) >>> 0 }), 2000);
    expect(drainVerdicts(engine)).toMatchObject([{ state: "closed", reason: "reset" }]);
  });

  it("is answered with SYN-ACK, and makes the port open once that is acknowledged", () => {
    const { engine, probe, iss } = afterFirstSyn({ retries: 0 });
    const synAck = askedBy(engine, probe, 1000) as Uint8Array;
    expect(describePacket(synAck, 0, synAck.length)).toMatch(new RegExp(`SYN,ACK .*seq=${iss} ack=8 `));
    const ack = { flags: ACK, sequence: 8, acknowledgement: (iss + 1) >>> 0, ttl: 33 };
    deliver(engine, segmentTo(probe, { ...ack, acknowledgement: iss }), 2000);
    deliver(engine, segmentTo(probe, { ...ack, sequence: 9 }), 2000);
    expect(drainVerdicts(engine)).toEqual([]);
    deliver(engine, segmentTo(probe, ack), 2000);
    expect(drainVerdicts(engine)).toMatchObject([{ state: "open", reason: "split-handshake-syn", ttl: 33 }]);
  });

  it("alone is told, and opens nothing, however many tries get one", () => {
    for (const ports of [createSourcePorts(61_000, 62_000, 0), createSourcePorts(53, 53, 0)]) {
      for (const retries of [0, 3]) {
        const engine = engineFor([target("198.18.0.2", 80)], { retries, ports });
        for (let now = 0; !engine.done; now += 100_000) {
          engine.handleTimeout(now);
          const packet = transmit(engine, now);
          const isProbe = packet !== undefined && (tcp.flags(packet, 20) & ACK) === 0;
          if (isProbe) deliver(engine, segmentTo(packet, { flags: SYN, sequence: 7 }), now + 1000);
        }
        expect(drainVerdicts(engine)).toMatchObject([{ state: "filtered", reason: "unproved-syn" }]);
      }
    }
  });

  it("gets one SYN-ACK a try, and no acknowledgement counts without one", () => {
    const { engine, probe, iss } = afterFirstSyn();
    deliver(engine, segmentTo(probe, { flags: ACK, sequence: 8, acknowledgement: (iss + 1) >>> 0 }), 900);
    expect(engine.counts.ignored.oddFlags).toBe(1);
    expect(askedBy(engine, probe, 1000)).toBeDefined();
    expect(askedBy(engine, probe, 1100)).toBeUndefined();
  });

  it("whose SYN-ACK leaves just before the last deadline still has a round trip to be acknowledged", () => {
    const { engine, probe, iss } = afterFirstSyn({ retries: 0 });
    expect(askedBy(engine, probe, SECOND - 1000)).toBeDefined();
    engine.handleTimeout(SECOND + 1000);
    expect(drainVerdicts(engine)).toEqual([]);
    const ack = { flags: ACK, sequence: 8, acknowledgement: (iss + 1) >>> 0 };
    deliver(engine, segmentTo(probe, ack), 1.5 * SECOND);
    expect(drainVerdicts(engine)).toMatchObject([
      { state: "open", reason: "split-handshake-syn", was: null, late: false },
    ]);
  });

  it("to a decided port gets no SYN-ACK", () => {
    const { engine, probe } = afterFirstSyn({ retries: 0 });
    engine.handleTimeout(SECOND + 1000);
    expect(drainVerdicts(engine)).toMatchObject([{ reason: "no-response" }]);
    expect(askedBy(engine, probe, SECOND + 2000)).toBeUndefined();
    expect(engine.counts.ignored.duplicate).toBe(1);
  });

  it("gets no SYN-ACK where each host is to have no more than a rate of SYNs", () => {
    const { engine, probe } = afterFirstSyn({ ratePerHost: 10 });
    expect(askedBy(engine, probe, 1000)).toBeUndefined();
  });

  it("is forgotten with its pair: the next pair in that row is silent, and told as that", () => {
    const engine = engineFor([target("198.18.0.2", 80, 81)], { retries: 0, capacity: 1 });
    const probe = transmit(engine, 0) as Uint8Array;
    deliver(engine, segmentTo(probe, { flags: SYN, sequence: 7 }), 1000);
    const acknowledgement = (tcp.sequence(probe, SEGMENT) + 1) >>> 0;
    deliver(engine, segmentTo(probe, { flags: RST | ACK, acknowledgement }), 2000);
    const next = transmit(engine, 3000) as Uint8Array;
    expect(tcp.destinationPort(next, SEGMENT)).toBe(81);
    engine.handleTimeout(SECOND + 4000);
    expect(drainVerdicts(engine)).toMatchObject([
      { port: 80, reason: "reset" },
      { port: 81, reason: "no-response" },
    ]);
  });

  it("with our own sequence number is ours, mirrored", () => {
    const { engine, probe, iss } = afterFirstSyn();
    deliver(engine, segmentTo(probe, { flags: SYN, sequence: iss }), 1000);
    expect([engine.counts.ignored.foreign, transmit(engine, 1000)]).toEqual([1, undefined]);
  });

  it("that was there before ours is no answer", () => {
    const engine = engineFor([target("198.18.0.2", 80)]);
    const probe = transmit(engine, 5000) as Uint8Array;
    deliver(engine, segmentTo(probe, { flags: SYN, sequence: 7 }), 4000);
    expect(engine.counts.ignored.foreign).toBe(1);
  });
});

describe("precedence", () => {
  it("corrects filtered to open when a late answer comes, and says so", () => {
    const { engine, probe, iss } = afterFirstSyn({ retries: 0 });
    engine.handleTimeout(SECOND + 1000);
    expect(drainVerdicts(engine)).toMatchObject([{ state: "filtered", reason: "no-response", was: null }]);
    deliver(engine, segmentTo(probe, { flags: SYN | ACK, acknowledgement: (iss + 1) >>> 0 }), 2 * SECOND);
    expect(drainVerdicts(engine)).toMatchObject([
      { state: "open", was: "filtered", late: true, rttUs: 2 * SECOND },
    ]);
    expect(engine.counts.states).toEqual({ open: 1, closed: 0, filtered: 0 });
    expect(engine.counts.decided).toBe(1);
  });

  it("corrects an ICMP rejection too, but never open or closed", () => {
    for (const [flags, state] of [
      [SYN | ACK, "open"],
      [RST | ACK, "closed"],
    ] as const) {
      const { engine, probe, iss } = afterFirstSyn();
      deliver(engine, icmpAbout(probe, [3, 1]));
      deliver(engine, segmentTo(probe, { flags, acknowledgement: (iss + 1) >>> 0 }));
      deliver(engine, icmpAbout(probe, [3, 13]));
      deliver(engine, segmentTo(probe, { flags: RST, acknowledgement: (iss + 1) >>> 0 }));
      expect(drainVerdicts(engine)).toMatchObject([{ state: "filtered" }, { state, was: "filtered" }]);
      expect(engine.counts.ignored.duplicate).toBe(2);
    }
  });
});

describe("tries", () => {
  it("each leaves from another port, with another ISN, and the reply names its try", () => {
    const { engine, probe } = afterFirstSyn();
    engine.handleTimeout(SECOND + 1000);
    const second = transmit(engine, SECOND + 1000) as Uint8Array;
    expect(tcp.sourcePort(second, SEGMENT)).not.toBe(tcp.sourcePort(probe, SEGMENT));
    expect(tcp.sequence(second, SEGMENT)).not.toBe(tcp.sequence(probe, SEGMENT));
    const acknowledgement = (tcp.sequence(second, SEGMENT) + 1) >>> 0;
    deliver(engine, segmentTo(second, { flags: SYN | ACK, acknowledgement }), SECOND + 6000);
    expect(drainVerdicts(engine)).toMatchObject([{ state: "open", tries: 2, rttUs: 5000, late: false }]);
    expect(engine.counts).toMatchObject({ sent: 2, retransmitted: 1 });
  });

  it("the acknowledgement of one try does not prove another", () => {
    const { engine, probe, iss } = afterFirstSyn();
    engine.handleTimeout(SECOND + 1000);
    const second = transmit(engine, SECOND + 1000) as Uint8Array;
    deliver(engine, segmentTo(second, { flags: SYN | ACK, acknowledgement: (iss + 1) >>> 0 }));
    expect(engine.counts.ignored.wrongAck).toBe(1);
    deliver(engine, segmentTo(probe, { flags: SYN | ACK, acknowledgement: (iss + 1) >>> 0 }), SECOND + 2000);
    expect(drainVerdicts(engine)).toMatchObject([
      { state: "open", tries: 2, rttUs: SECOND + 2000, late: true },
    ]);
  });

  it("that leave in one call leave one after the other: round trips count from each one's own moment", () => {
    const engine = engineFor([target("198.18.0.2", 1, 2, 3, 4)]);
    const out = new Uint8Array(4 * 128);
    const packets = [0, 1, 2, 3].map((token) => {
      const length = engine.pollTransmit(0, out, token * 128, token);
      return out.slice(token * 128, token * 128 + length);
    });
    engine.handleDeparture(0, 4, 1000, 1400);
    for (const packet of packets) {
      const acknowledgement = (tcp.sequence(packet, SEGMENT) + 1) >>> 0;
      deliver(engine, segmentTo(packet, { flags: RST | ACK, acknowledgement }), 2000);
    }
    expect(drainVerdicts(engine).map(({ rttUs }) => rttUs)).toEqual([1000, 900, 800, 700]);
  });

  it("spread over the source ports, and are told apart when the ports are shared", () => {
    // 50 probes over 10 ports: what is unique is the 4-tuple.
    const hosts = Array.from({ length: 50 }, (_, i) => target(`198.18.2.${i}`, 80));
    const engine = engineFor(hosts, { ports: createSourcePorts(61_000, 61_009, 3) });
    const uses = new Map<number, number>();
    const inFlight: Uint8Array[] = [];
    for (let p = transmit(engine, 1e6); p !== undefined; p = transmit(engine, 1e6)) {
      const port = tcp.sourcePort(p, SEGMENT);
      uses.set(port, (uses.get(port) ?? 0) + 1);
      inFlight.push(p);
    }
    expect([...uses.keys()].sort()).toEqual(Array.from({ length: 10 }, (_, i) => 61_000 + i));
    for (const p of inFlight) {
      const acknowledgement = (tcp.sequence(p, SEGMENT) + 1) >>> 0;
      deliver(engine, segmentTo(p, { flags: RST | ACK, acknowledgement }), 1e6 + 700);
    }
    expect(drainVerdicts(engine).map(({ state, rttUs }) => [state, rttUs])).toEqual(
      Array.from({ length: 50 }, () => ["closed", 700]),
    );
  });
});

describe("enough tries to believe a silence", () => {
  /** SYNs to port 80, which is silent, on a host whose other ports each answer only their try of this number, from 1. */
  function triesWhere(answered: number): number {
    const host = target("198.18.0.2", 80, 1, 2, 3, 4, 5, 6, 7, 8);
    const engine = engineFor([host], { retries: 9, confidence: 0 });
    const tries = new Map<number, number>();
    for (let now = 0; !engine.done; now += 10_000) {
      engine.handleTimeout(now);
      for (let p = transmit(engine, now); p !== undefined; p = transmit(engine, now)) {
        engine.handleDeparture(0, 1, now, now);
        const port = tcp.destinationPort(p, SEGMENT);
        tries.set(port, (tries.get(port) ?? 0) + 1);
        if (port === 80 || tries.get(port) !== answered) continue;
        const acknowledgement = (tcp.sequence(p, SEGMENT) + 1) >>> 0;
        deliver(engine, segmentTo(p, { flags: RST | ACK, acknowledgement }), now + 500);
      }
    }
    return tries.get(80) ?? 0;
  }

  it("are two where all else answers; those that left before the host was seen to limit its resets do not count", () => {
    expect(triesWhere(1)).toBe(2);
    expect(triesWhere(2)).toBe(4);
  });
});

describe("a refused send", () => {
  it.each(["ENOBUFS", "EAGAIN", "ENOMEM"])("for want of room (%s) is tried again, and is no try", (errno) => {
    const { engine } = afterFirstSyn();
    engine.handleRefusal(0, errno, 0);
    expect(transmit(engine, 1000)).toBeUndefined();
    const next = engine.pollTimeout(1000);
    expect(next).toBeGreaterThan(1000);
    expect(next).toBeLessThan(100_000);
    engine.handleTimeout(next);
    const again = transmit(engine, next) as Uint8Array;
    const acknowledgement = (tcp.sequence(again, SEGMENT) + 1) >>> 0;
    deliver(engine, segmentTo(again, { flags: SYN | ACK, acknowledgement }), next + 500);
    expect(drainVerdicts(engine)).toMatchObject([{ state: "open", tries: 1, rttUs: 500 }]);
    expect(engine.counts).toMatchObject({ sent: 1, retransmitted: 0, sendErrors: { [errno]: 1 } });
  });

  it.each([
    ["EACCES", "send-eacces"],
    ["EMSGSIZE", "send-emsgsize"],
  ])("for good (%s) is a result with its reason", (errno, reason) => {
    const { engine } = afterFirstSyn();
    engine.handleRefusal(0, errno, 10);
    expect(drainVerdicts(engine)).toMatchObject([{ state: "filtered", reason, tries: 0, rttUs: Number.NaN }]);
    expect(engine.done).toBe(true);
    expect(engine.counts).toMatchObject({ sent: 0, sendErrors: { [errno]: 1 } });
  });

  describe("by a firewall (EPERM)", () => {
    /** Scans ports of one host, all closed. @param isRefused asked for each send, the `sent`th to its port, from 1 on */
    function scan(
      ports: number,
      isRefused: (port: number, sent: number, nowUs: number) => boolean,
      perSecond = 4000,
    ) {
      const every = Array.from({ length: ports }, (_, i) => i + 1);
      const rate = { minimum: perSecond, maximum: perSecond };
      const engine = engineFor([target("198.18.0.2", ...every)], { retries: 2, rate });
      const sends = new Map<number, number>();
      let now = 0;
      while (!engine.done && now < 600 * SECOND) {
        now = Math.max(now + 1000, engine.pollTimeout(now));
        engine.handleTimeout(now);
        for (let p = transmit(engine, now); p !== undefined; p = transmit(engine, now)) {
          const port = tcp.destinationPort(p, SEGMENT);
          const sent = (sends.get(port) ?? 0) + 1;
          sends.set(port, sent);
          if (isRefused(port, sent, now)) {
            engine.handleRefusal(0, "EPERM", now);
            continue;
          }
          engine.handleDeparture(0, 1, now, now);
          const acknowledgement = (tcp.sequence(p, SEGMENT) + 1) >>> 0;
          deliver(engine, segmentTo(p, { flags: RST | ACK, acknowledgement }), now + 500);
        }
      }
      const verdicts = drainVerdicts(engine);
      const closed = verdicts.filter(({ state, tries }) => state === "closed" && tries === 1).length;
      const refused = verdicts.filter(({ reason, tries }) => reason === "send-eperm" && tries === 0).length;
      const refusedPorts = verdicts.flatMap(({ reason, port }) => (reason === "send-eperm" ? [port] : []));
      return { now, sends, closed, refused, refusedPorts, counts: engine.counts };
    }

    it("is tried again for a second before it is a result, with its reason", () => {
      const { now, sends, refused, counts } = scan(1, () => true);
      expect(refused).toBe(1);
      expect(sends.get(1)).toBe(8);
      expect(now).toBeGreaterThan(SECOND);
      expect(now).toBeLessThan(3 * SECOND);
      expect(counts).toMatchObject({ sent: 0, retransmitted: 0, sendErrors: { EPERM: 8 } });
    });

    it("that is over within a second, as with a full table of connections, hides no port", () => {
      const { closed, counts } = scan(200, (_port, _sent, nowUs) => nowUs < 0.9 * SECOND);
      expect(closed).toBe(200);
      expect(counts).toMatchObject({ sent: 200, retransmitted: 0 });
    });

    it.each([20, 100])("that lets %d a second leave hides no port", (perSecond) => {
      // At most five at once.
      let allowance = 5;
      let atUs = 0;
      const { closed } = scan(15 * perSecond, (_port, _sent, nowUs) => {
        allowance = Math.min(5, allowance + ((nowUs - atUs) * perSecond) / SECOND);
        atUs = nowUs;
        if (allowance < 1) return true;
        allowance--;
        return false;
      });
      expect(closed).toBe(15 * perSecond);
    });

    it("of all packets that is over is a rule no more: the next one is tried for a second again", () => {
      const firstUs = new Map<number, number>();
      const { closed, refusedPorts } = scan(20_000, (port, sent, nowUs) => {
        if (sent === 1) firstUs.set(port, nowUs);
        const isOver = nowUs > 4 * SECOND;
        return !isOver || (nowUs < 5 * SECOND ? sent < 2 : nowUs < 5.5 * SECOND);
      });
      expect(closed + refusedPorts.length).toBe(20_000);
      expect(refusedPorts.length).toBeGreaterThan(100);
      expect(Math.max(...refusedPorts.map((port) => firstUs.get(port) ?? 0))).toBeLessThan(4 * SECOND);
    });

    it("holds up no other host when its own has had its time", () => {
      const ports = Array.from({ length: 100 }, (_, i) => i + 1);
      const engine = engineFor([target("198.18.0.2", ...ports), target("198.18.0.3", ...ports)], {
        hostTimeoutUs: 0.3 * SECOND,
        rate: { minimum: 1000, maximum: 1000 },
      });
      for (let now = 0; !engine.done && now < 60 * SECOND; now += 1000) {
        engine.handleTimeout(now);
        for (let p = transmit(engine, now); p !== undefined; p = transmit(engine, now)) {
          if (p[19] === 2) engine.handleRefusal(0, "EPERM", now);
          else engine.handleDeparture(0, 1, now, now);
        }
      }
      expect(engine.done).toBe(true);
    });

    it("for a moment hides no port where others are ruled out", () => {
      // Of all that leaves, for 50 ms, when the rule has been known for long.
      const { refused } = scan(
        6000,
        (port, _sent, nowUs) => port <= 100 || (nowUs > SECOND && nowUs < 1.05 * SECOND),
        2000,
      );
      expect(refused).toBe(100);
    });

    it("after others for want of room is as new", () => {
      const { engine } = afterFirstSyn();
      let now = 0;
      for (let n = 0; n < 7; n++) {
        engine.handleRefusal(0, "ENOBUFS", now);
        now = engine.pollTimeout(now);
        engine.handleTimeout(now);
        expect(transmit(engine, now)).toBeDefined();
      }
      engine.handleRefusal(0, "EPERM", now);
      expect(drainVerdicts(engine)).toEqual([]);
    });

    it("of all packets is a rule: after the first ones others are tried for a tenth of a second", () => {
      const { refused, sends, now } = scan(5000, () => true);
      expect(refused).toBe(5000);
      const total = [...sends.values()].reduce((sum, count) => sum + count, 0);
      expect(total).toBeLessThan(4.1 * 5000);
      expect(Math.max(...sends.values())).toBe(8);
      expect(now).toBeLessThan(6 * SECOND);
    });

    it.each([10, 30, 100, 300, 1000])("of all packets ends a run of %d SYNs a second, too", (perSecond) => {
      expect(scan(100, () => true, perSecond).refused).toBe(100);
    });

    it("now and then, or of some ports, leaves each pair with one verdict", () => {
      const share = fc.constantFrom(0, 0.1, 0.5, 0.9, 0.99, 1);
      fc.assert(
        fc.property(
          fc.integer({ min: 1, max: 200 }),
          fc.constantFrom(20, 200, 4000),
          share,
          share,
          fc.integer(),
          (ports, perSecond, ofPorts, ofSends, seed) => {
            const random = createDraw(seed);
            const isHit = (part: number) => random(1000) < 1000 * part;
            const ruled = new Set(
              Array.from({ length: ports }, (_, i) => i + 1).filter(() => isHit(ofPorts)),
            );
            const scanned = scan(ports, (port) => ruled.has(port) && isHit(ofSends), perSecond);
            expect(scanned.closed + scanned.refused).toBe(ports);
            expect(scanned.refused).toBeLessThanOrEqual(ruled.size);
          },
        ),
        { numRuns: 10 },
      );
    });

    it("that has looked like a rule for long, and ends, is forgotten by the first that leaves", () => {
      const { sends, closed, refused } = scan(
        20_000,
        (port, sent, nowUs) => nowUs < 4 * SECOND || (port % 2 === 0 && sent < 3),
      );
      expect(closed + refused).toBe(20_000);
      expect(refused).toBeGreaterThan(100);
      // Of those that were begun later each second one is refused twice.
      const late = [...sends].filter(([port]) => port % 2 === 0).slice(-100);
      expect(late.map(([, sent]) => sent)).toEqual(late.map(() => 3));
    });
  });

  it.each(["EHOSTUNREACH", "EHOSTDOWN", "a new one"])(
    "for want of a way to this host (%s) costs a try, and the next may find one",
    (errno) => {
      const { engine } = afterFirstSyn();
      engine.handleRefusal(0, errno, 10);
      expect(drainVerdicts(engine)).toEqual([]);
      expect(transmit(engine, 1000)).toBeUndefined();
      engine.handleTimeout(SECOND + 1000);
      const again = transmit(engine, SECOND + 1000) as Uint8Array;
      const acknowledgement = (tcp.sequence(again, SEGMENT) + 1) >>> 0;
      deliver(engine, segmentTo(again, { flags: SYN | ACK, acknowledgement }), SECOND + 1500);
      expect(drainVerdicts(engine)).toMatchObject([
        { state: "open", tries: 1, answered: 1, late: false, rttUs: 500 },
      ]);
      expect(engine.counts).toMatchObject({ sent: 1, sendErrors: { [errno]: 1 } });
    },
  );

  it.each(["ENETDOWN", "ENODEV", "ENXIO"])(
    "because the interface is away (%s) is no try, for all of them",
    (errno) => {
      const engine = engineFor([target("198.18.0.2", 80, 81)], { retries: 0 });
      let now = 0;
      let sendBackoff = 0;
      for (; now < 10 * SECOND; now += 10_000) {
        engine.handleTimeout(now);
        for (let p = transmit(engine, now); p !== undefined; p = transmit(engine, now)) {
          sendBackoff++;
          engine.handleRefusal(0, errno, now);
        }
      }
      // Not a storm of attempts, and nobody has given up.
      expect(sendBackoff).toBeLessThan(60);
      expect(drainVerdicts(engine)).toEqual([]);
      expect(engine.stalledUs(now)).toBeGreaterThan(9 * SECOND);
      const inFlight: Uint8Array[] = [];
      for (; inFlight.length < 2; now += 10_000) {
        engine.handleTimeout(now);
        for (let p = transmit(engine, now); p !== undefined; p = transmit(engine, now)) {
          inFlight.push(p);
          engine.handleDeparture(0, 1, now, now);
          const acknowledgement = (tcp.sequence(p, SEGMENT) + 1) >>> 0;
          deliver(engine, segmentTo(p, { flags: RST | ACK, acknowledgement }), now + 500);
        }
      }
      expect(engine.stalledUs(now)).toBe(0);
      expect(drainVerdicts(engine)).toMatchObject([
        { state: "closed", tries: 1, rttUs: 500 },
        { state: "closed", tries: 1, rttUs: 500 },
      ]);
    },
  );

  it("because the interface is away calls no port silent whose last try had left: that is repeated", () => {
    const engine = engineFor([target("198.18.0.2", 80, 81)], { retries: 0 });
    const first = transmit(engine, 0) as Uint8Array;
    expect(tcp.destinationPort(first, SEGMENT)).toBe(80);
    engine.handleDeparture(0, 1, 0, 0);
    let now = 0;
    const step = (isAway: boolean): void => {
      engine.handleTimeout(now);
      for (let p = transmit(engine, now); p !== undefined; p = transmit(engine, now)) {
        if (isAway) {
          engine.handleRefusal(0, "ENETDOWN", now);
          continue;
        }
        engine.handleDeparture(0, 1, now, now);
        const acknowledgement = (tcp.sequence(p, SEGMENT) + 1) >>> 0;
        deliver(engine, segmentTo(p, { flags: RST | ACK, acknowledgement }), now + 500);
      }
      now += 10_000;
    };
    // Port 81 is refused, and port 80's deadline passes.
    while (now < 3 * SECOND) step(true);
    expect(drainVerdicts(engine)).toEqual([]);
    while (!engine.done) step(false);
    const verdicts = drainVerdicts(engine).sort((a, b) => a.port - b.port);
    expect(verdicts).toMatchObject([
      // Of its two SYNs none can be told from the other, so the answer has no round trip.
      { port: 80, state: "closed", tries: 2, answered: 0, rttUs: Number.NaN, late: false, was: null },
      { port: 81, state: "closed", tries: 1, answered: 1, rttUs: 500, was: null },
    ]);
    expect(engine.counts).toMatchObject({ sent: 3, retransmitted: 1 });
  });

  it("because the interface is away has a silence that was sure tried once more, from another port", () => {
    const silent = [80, 90];
    const engine = engineFor([target("198.18.0.2", ...silent, 81, 82, 83, 84, 85, 86)], {
      retries: 5,
      confidence: 0.5,
    });
    const left = new Map(silent.map((port): [number, number[]] => [port, []]));
    let twice = 0;
    let now = 0;
    const step = (isBack: boolean): void => {
      engine.handleTimeout(now);
      for (let p = transmit(engine, now); p !== undefined; p = transmit(engine, now)) {
        const port = tcp.destinationPort(p, SEGMENT);
        // Away from when one of the two has had its second try.
        if (twice > 0 && !isBack) {
          engine.handleRefusal(0, "ENETDOWN", now);
          continue;
        }
        engine.handleDeparture(0, 1, now, now);
        if (left.get(port)?.push(tcp.sourcePort(p, SEGMENT)) === 2 && twice === 0) twice = port;
        const acknowledgement = (tcp.sequence(p, SEGMENT) + 1) >>> 0;
        if (!left.has(port)) deliver(engine, segmentTo(p, { flags: RST | ACK, acknowledgement }), now + 500);
      }
      now += 10_000;
    };
    while (now < 5 * SECOND) step(false);
    while (!engine.done) step(true);
    const ports = left.get(twice) ?? [];
    expect(ports).toHaveLength(3);
    expect(new Set(ports).size).toBe(3);
  });

  it("for want of a way costs a try that is not counted: a later try shows an earlier answer to be late", () => {
    const { engine } = afterFirstSyn({ retries: 2 });
    engine.handleRefusal(0, "EHOSTUNREACH", 10);
    engine.handleTimeout(SECOND + 1000);
    const second = transmit(engine, SECOND + 1000) as Uint8Array;
    engine.handleTimeout(3 * SECOND);
    expect(transmit(engine, 3 * SECOND)).toBeDefined();
    const acknowledgement = (tcp.sequence(second, SEGMENT) + 1) >>> 0;
    deliver(engine, segmentTo(second, { flags: SYN | ACK, acknowledgement }), 3 * SECOND + 500);
    expect(drainVerdicts(engine)).toMatchObject([{ state: "open", tries: 2, answered: 1, late: true }]);
  });

  it("of one packet holds up no other, and IPv6's EINVAL is one for want of room", () => {
    const engine = engineFor([target("2001:db8::2", 80), target("2001:db8::3", 80)], { retries: 0 });
    const first = transmit(engine, 0) as Uint8Array;
    engine.handleRefusal(0, "EINVAL", 0);
    const second = transmit(engine, 10) as Uint8Array;
    expect(second.slice(24, 40)).not.toEqual(first.slice(24, 40));
    engine.handleDeparture(0, 1, 10, 10);
    const next = engine.pollTimeout(10);
    engine.handleTimeout(next);
    const again = transmit(engine, next) as Uint8Array;
    expect(again.slice(24, 40)).toEqual(first.slice(24, 40));
  });

  it("that leaves no way to the host until the end is told as that, not as silence", () => {
    const { engine } = afterFirstSyn();
    engine.handleRefusal(0, "EHOSTUNREACH", 0);
    for (let now = 0; !engine.done; now += 100_000) {
      engine.handleTimeout(now);
      if (transmit(engine, now) !== undefined) engine.handleRefusal(0, "EHOSTUNREACH", now);
    }
    expect(drainVerdicts(engine)).toMatchObject([
      { state: "filtered", reason: "send-ehostunreach", tries: 0 },
    ]);
    expect(engine.counts).toMatchObject({ sent: 0, sendErrors: { EHOSTUNREACH: 3 } });
  });

  it.each(["ENETUNREACH", "EADDRNOTAVAIL"])(
    "for want of a route (%s) costs no try, is never given up, and holds up no host that has one",
    (errno) => {
      const engine = engineFor([target("198.18.0.2", 80), target("198.18.0.3", 80)], { retries: 0 });
      const isFirst = (packet: Uint8Array): boolean => packet[19] === 2;
      let refusals = 0;
      let now = 0;
      const step = (hasRoute: boolean): void => {
        engine.handleTimeout(now);
        for (let p = transmit(engine, now); p !== undefined; p = transmit(engine, now)) {
          if (isFirst(p) && !hasRoute) {
            refusals++;
            engine.handleRefusal(0, errno, now);
            continue;
          }
          engine.handleDeparture(0, 1, now, now);
          const acknowledgement = (tcp.sequence(p, SEGMENT) + 1) >>> 0;
          deliver(engine, segmentTo(p, { flags: RST | ACK, acknowledgement }), now + 500);
        }
      };
      for (; now < 200 * SECOND; now += 100_000) step(false);
      expect(refusals).toBeGreaterThan(130);
      expect(drainVerdicts(engine)).toMatchObject([{ state: "closed", tries: 1 }]);
      expect(engine.stalledUs(now)).toBeGreaterThan(100 * SECOND);
      for (; !engine.done; now += 100_000) step(true);
      expect(drainVerdicts(engine)).toMatchObject([{ state: "closed", tries: 1 }]);
    },
  );

  it("that never ends is given up, not waited for for ever", () => {
    const { engine } = afterFirstSyn();
    let now = 0;
    engine.handleRefusal(0, "ENOBUFS", now);
    while (!engine.done) {
      now = engine.pollTimeout(now);
      engine.handleTimeout(now);
      if (transmit(engine, now) !== undefined) engine.handleRefusal(0, "ENOBUFS", now);
    }
    expect(drainVerdicts(engine)).toMatchObject([{ state: "filtered", reason: "send-enobufs", tries: 0 }]);
    expect(now).toBeGreaterThan(4 * SECOND);
    expect(now).toBeLessThan(120 * SECOND);
  });
});

describe("spurious wake-ups", () => {
  it("change nothing", () => {
    const { engine } = afterFirstSyn();
    for (const now of [0, 1, 999_999]) {
      engine.handleTimeout(now);
      expect(transmit(engine, now)).toBeUndefined();
    }
    expect(drainVerdicts(engine)).toEqual([]);
    expect(engine.counts.sent).toBe(1);
  });
});

function flip(packet: Uint8Array, at: number): Uint8Array {
  packet[at] ^= 0x40;
  return packet;
}

function edited(packet: Uint8Array, at: number, value: number): Uint8Array {
  const copy = packet.slice();
  copy[at] = value;
  return copy;
}

/** The same packet with "more fragments" set and its header checksum right. */
function fragment(packet: Uint8Array): Uint8Array {
  const header = ipv4.parse(packet, 0, packet.length);
  if (header === undefined) throw new Error("not IPv4");
  ipv4.emit(packet, 0, { ...header, moreFragments: true, dontFragment: false });
  return packet;
}

describe("the probe's local address", () => {
  it("is the path's", () => {
    const { probe } = afterFirstSyn();
    expect(probe.slice(12, 16)).toEqual(LOCAL_4);
  });
});

it("a verdict has nothing of the one before: an open port's offer, who sent an ICMP error", () => {
  const engine = engineFor([22, 80, 81].map((port) => target("198.18.0.2", port)));
  const syns = [0, 1, 2].map((now) => transmit(engine, now) ?? new Uint8Array(0));
  const answer = (syn: Uint8Array, flags: number): Verdict => {
    const acknowledgement = (tcp.sequence(syn, SEGMENT) + 1) >>> 0;
    deliver(engine, segmentTo(syn, { flags, acknowledgement }), 1000);
    const [verdict] = drainVerdicts(engine);
    return verdict;
  };
  expect(answer(syns[0], SYN | ACK)).toMatchObject({ state: "open", hasOffer: true });
  expect(answer(syns[1], RST | ACK)).toMatchObject({ state: "closed", hasOffer: false, hasResponder: false });
  expect(answer(syns[2], SYN | ACK)).toMatchObject({ state: "open", hasOffer: true });
});

describe("an answer to the second SYN", () => {
  /** Answers the second of two SYNs. @returns both, and the engine that sent them */
  function answered(ports: SourcePorts, flags: number, waitUs: number) {
    const wait = { initialUs: waitUs, minUs: waitUs, maxUs: waitUs };
    const engine = engineFor([target("198.18.0.2", 80)], { ports, wait });
    const sent: Uint8Array[] = [];
    let now = 0;
    for (; sent.length < 2; now += 50_000) {
      engine.handleTimeout(now);
      const packet = transmit(engine, now);
      if (packet !== undefined) sent.push(packet);
    }
    const answerTo = (syn: Uint8Array, atUs: number): void => {
      const acknowledgement = (tcp.sequence(syn, SEGMENT) + 1) >>> 0;
      deliver(engine, segmentTo(syn, { flags, acknowledgement }), atUs);
    };
    answerTo(sent[1], now);
    expect(drainVerdicts(engine)).toMatchObject([{ tries: 2 }]);
    const told = (): number[] => {
      engine.handleTimeout(5_000_000);
      const { openLost, openArrived, openUnclear } = engine.counts.path;
      return [openLost, openArrived, openUnclear];
    };
    return { first: sent[0], answerTo, told };
  }
  const many = createSourcePorts(61_000, 62_000, 0);

  it.each<[what: string, ports: SourcePorts, flags: number, waitUs: number, told: number[]]>([
    ["a SYN+ACK, by a port of its own", many, SYN | ACK, 300_000, [1, 0, 0]],
    // Which SYN is answered cannot be told: the last, as those before it have been waited for.
    ["a SYN+ACK, by the only port", createSourcePorts(53, 53, 0), SYN | ACK, 300_000, [0, 0, 0]],
    ["a SYN+ACK, when a repeated one could have come before", many, SYN | ACK, 1_200_000, [0, 0, 1]],
    ["a reset, which does not come again", many, RST | ACK, 300_000, [0, 0, 0]],
  ])(
    "counts the first one as lost on its way, unless its SYN-ACK is repeated: %s",
    (_what, ports, flags, waitUs, told) => {
      expect(answered(ports, flags, waitUs).told()).toEqual(told);
    },
  );

  it.each([
    ["repeated", 1_010_000, [1, 1, 0]],
    ["late", 700_000, [0, 0, 0]],
  ] as const)("and the SYN-ACK to the first one is %s", (_what, atUs, told) => {
    const run = answered(many, SYN | ACK, 300_000);
    run.answerTo(run.first, atUs);
    expect(run.told()).toEqual(told);
  });
});
