/**
 * The BPF filters, run by an interpreter: they keep what a run may have caused, and nothing else, on real packets and
 * any bytes.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  encodeFilter,
  frameFilter,
  icmp4Filter,
  icmp6Filter,
  packetFilter,
  tcp4Filter,
  tcp6Filter,
} from "../../src/link/filter.ts";
import * as tcp from "../../src/wire/tcp.ts";
import { GOLDEN_NAMES, golden } from "../golden/golden.ts";
import { icmpAbout, segmentTo } from "../sim/network.ts";
import { address, engineFor, target, transmit } from "../sim/run.ts";
import { type Beside, runFilter } from "./bpf.ts";

const PORTS = { first: 61_000, last: 65_534 };
const IPV6_HEADER = 40;

const probe4 = transmit(engineFor([target("198.18.0.2", 80)]), 0) as Uint8Array;
const probe6 = transmit(engineFor([target("2001:db8::2", 80)]), 0) as Uint8Array;

/** The probe as if it had left from another port. */
function from(probe: Uint8Array, port: number): Uint8Array {
  const copy = probe.slice();
  const at = copy[0] >> 4 === 4 ? 20 : IPV6_HEADER;
  copy[at] = port >> 8;
  copy[at + 1] = port & 0xff;
  return copy;
}
const answer = (probe: Uint8Array): Uint8Array => segmentTo(probe, { flags: tcp.FLAGS.SYN | tcp.FLAGS.ACK });
const upper6 = (packet: Uint8Array): Uint8Array => packet.subarray(IPV6_HEADER);
const kept = (length: number): boolean => length >= 2048;

describe("the filters keep what a run may have caused", () => {
  it.each([
    [60_999, false],
    [61_000, true],
    [63_000, true],
    [65_534, true],
    [65_535, false],
    [80, false],
  ])("port %i: %s", (port, wanted) => {
    expect(kept(runFilter(tcp4Filter(PORTS), answer(from(probe4, port))))).toBe(wanted);
    expect(kept(runFilter(tcp6Filter(PORTS), upper6(answer(from(probe6, port)))))).toBe(wanted);
    expect(kept(runFilter(icmp4Filter(PORTS), icmpAbout(from(probe4, port), [3, 1])))).toBe(wanted);
    expect(kept(runFilter(icmp6Filter(PORTS), upper6(icmpAbout(from(probe6, port), [1, 0]))))).toBe(wanted);
  });

  it("one port (-g) and no other", () => {
    const single = { first: 53, last: 53 };
    for (const [port, wanted] of [
      [52, false],
      [53, true],
      [54, false],
    ] as const) {
      expect(kept(runFilter(tcp4Filter(single), answer(from(probe4, port))))).toBe(wanted);
    }
  });

  it("behind IP options, in the packet and in the quote", () => {
    const options = new Uint8Array(8).fill(1);
    const widen = (packet: Uint8Array): Uint8Array => {
      const wide = Uint8Array.from([...packet.subarray(0, 20), ...options, ...packet.subarray(20)]);
      wide[0] = 0x47;
      return wide;
    };
    expect(kept(runFilter(tcp4Filter(PORTS), widen(answer(probe4))))).toBe(true);
    expect(kept(runFilter(icmp4Filter(PORTS), widen(icmpAbout(probe4, [3, 1]))))).toBe(true);
    expect(kept(runFilter(icmp4Filter(PORTS), icmpAbout(widen(probe4), [3, 1])))).toBe(true);
    expect(kept(runFilter(tcp4Filter({ first: 1, last: 60_000 }), widen(answer(probe4))))).toBe(false);
  });

  it.each([
    [3, true],
    [11, true],
    [12, true],
    [0, false],
    [4, false],
    [5, false],
    [8, false],
  ])("ICMP type %i: %s", (type, wanted) => {
    expect(kept(runFilter(icmp4Filter(PORTS), icmpAbout(probe4, [type, 0])))).toBe(wanted);
  });

  it.each([
    [0, false],
    [1, true],
    [2, true],
    [3, true],
    [4, true],
    [5, false],
    [129, false],
    [135, false],
  ])("ICMPv6 type %i: %s", (type, wanted) => {
    expect(kept(runFilter(icmp6Filter(PORTS), upper6(icmpAbout(probe6, [type, 0]))))).toBe(wanted);
  });

  it("no quotes of other protocols, no later fragments, nothing cut short", () => {
    const udp4 = probe4.slice();
    udp4[9] = 17;
    expect(kept(runFilter(icmp4Filter(PORTS), icmpAbout(udp4, [3, 3])))).toBe(false);
    const udp6 = probe6.slice();
    udp6[6] = 17;
    expect(kept(runFilter(icmp6Filter(PORTS), upper6(icmpAbout(udp6, [1, 4]))))).toBe(false);
    // Any bit of the offset makes a later one.
    for (let bit = 0; bit < 13; bit++) {
      const fragment = answer(probe4);
      fragment[6] = (1 << bit) >> 8;
      fragment[7] = (1 << bit) & 0xff;
      expect(kept(runFilter(tcp4Filter(PORTS), fragment)), `bit ${bit}`).toBe(false);
    }
    for (let length = 0; length < 24; length++) {
      expect(kept(runFilter(tcp4Filter(PORTS), answer(probe4).subarray(0, length)))).toBe(false);
    }
    expect(kept(runFilter(tcp4Filter(PORTS), answer(probe4).subarray(0, 24)))).toBe(true);
  });

  it("of real packets those, and only those, whose ports are the run's", () => {
    const packets = GOLDEN_NAMES.filter((name) => /^(syn-ack|rst-ack)\./.test(name)).map(golden);
    expect(packets.length).toBeGreaterThanOrEqual(4);
    for (const packet of packets) {
      const v4 = packet[0] >> 4 === 4;
      const seen = v4 ? packet : upper6(packet);
      const port = tcp.destinationPort(packet, v4 ? 20 : IPV6_HEADER);
      const filter = v4 ? tcp4Filter : tcp6Filter;
      expect(kept(runFilter(filter({ first: port, last: port }), seen))).toBe(true);
      expect(kept(runFilter(filter({ first: port + 1, last: 65_535 }), seen))).toBe(false);
    }
  });

  it("and run to an end on any bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
        for (const filter of [tcp4Filter, tcp6Filter, icmp4Filter, icmp6Filter])
          runFilter(filter(PORTS), bytes);
      }),
    );
  });
});

describe("the filters of packet sockets", () => {
  /** In an Ethernet frame, and without one. */
  const frame = (packet: Uint8Array, etherType = packet[0] >> 4 === 4 ? 0x0800 : 0x86dd): Uint8Array =>
    Uint8Array.from([...new Array(12).fill(0x45), etherType >> 8, etherType & 0xff, ...packet]);
  const verdicts = (packet: Uint8Array, ports = PORTS): boolean[] => [
    kept(runFilter(frameFilter(ports), frame(packet))),
    kept(runFilter(packetFilter(ports, [1, 7]), packet, { interfaceIndex: 7 })),
  ];

  it("of other interfaces hear those that are named, and no tagged frames", () => {
    const packet = answer(probe4);
    const hears = (interfaces: readonly number[], beside: Beside): boolean =>
      kept(runFilter(packetFilter(PORTS, interfaces), packet, beside));
    expect(hears([1], { interfaceIndex: 1 })).toBe(true);
    expect(hears([1, 5, 9], { interfaceIndex: 5 })).toBe(true);
    expect(hears([1, 5, 9], { interfaceIndex: 9 })).toBe(true);
    expect(hears([1, 5, 9], { interfaceIndex: 2 })).toBe(false);
    expect(hears([1, 5, 9], { interfaceIndex: 5, vlanTag: 7 })).toBe(false);
  });

  it("say of any packet what the raw sockets' filters say", () => {
    const probes = fc.constantFrom(probe4, probe6);
    const port = fc.constantFrom(1, 80, 60_999, 61_000, 63_000, 65_534, 65_535);
    const answers = fc.oneof(
      fc.tuple(probes, port).map(([probe, from_]) => answer(from(probe, from_))),
      fc
        .tuple(probes, port, fc.nat(16), fc.nat(15))
        .map(([probe, from_, type, code]) => icmpAbout(from(probe, from_), [type, code])),
    );
    // Not the version: a frame says it twice.
    const flipped = fc
      .tuple(answers, fc.integer({ min: 1, max: 80 }), fc.nat(255))
      .map(([packet, at, value]) => packet.with(Math.min(at, packet.length - 1), value));
    fc.assert(
      fc.property(fc.oneof(answers, flipped), fc.nat(100), (whole, length) => {
        const packet = whole.subarray(0, Math.max(1, length));
        expect(verdicts(packet)).toEqual([expected(packet) || isAdvertisement(packet), expected(packet)]);
      }),
      { numRuns: 2000 },
    );
  });

  const isAdvertisement = (packet: Uint8Array): boolean =>
    packet[0] >> 4 === 6 && packet[6] === 58 && packet[40] === 136;

  function expected(packet: Uint8Array): boolean {
    const version = packet[0] >> 4;
    if (version === 4) {
      if (packet.length < 10) return false;
      // A later fragment: the packet may be about a probe.
      if ((((packet[6] << 8) | packet[7]) & 0x1fff) !== 0) return packet[9] === 6 || packet[9] === 1;
      if (packet[9] === 6) return kept(runFilter(tcp4Filter(PORTS), packet));
      return packet[9] === 1 && kept(runFilter(icmp4Filter(PORTS), packet));
    }
    if (version !== 6 || packet.length < 7) return false;
    if ([0, 43, 44, 60].includes(packet[6])) return true;
    if (packet[6] === 6) return kept(runFilter(tcp6Filter(PORTS), upper6(packet)));
    return packet[6] === 58 && kept(runFilter(icmp6Filter(PORTS), upper6(packet)));
  }

  it("let both versions' answers and errors through, for their ports", () => {
    for (const probe of [probe4, probe6]) {
      const error = icmpAbout(probe, probe === probe4 ? [3, 1] : [1, 3]);
      expect(verdicts(answer(probe))).toEqual([true, true]);
      expect(verdicts(error)).toEqual([true, true]);
      expect(verdicts(answer(from(probe, 60_999)))).toEqual([false, false]);
      expect(verdicts(probe)).toEqual([false, false]);
    }
  });

  it("real packets behind IPv6 extension headers too", () => {
    for (const name of GOLDEN_NAMES.filter((name) => /^syn-destination-options/.test(name))) {
      expect(verdicts(golden(name))).toEqual([true, true]);
    }
    expect(GOLDEN_NAMES.some((name) => /^syn-destination-options/.test(name))).toBe(true);
  });

  it("no frame of a VLAN, whose tag the kernel has taken off; a tag of priority alone is none", () => {
    expect(kept(runFilter(frameFilter(PORTS), frame(answer(probe4)), { vlanTag: 0x2007 }))).toBe(false);
    expect(kept(runFilter(frameFilter(PORTS), frame(answer(probe4)), { vlanTag: 0x2000 }))).toBe(true);
  });

  it("later fragments of TCP and ICMP, wherever in the packet and whatever is in them, and of nothing else", () => {
    for (let bit = 0; bit < 16; bit++) {
      for (const protocol of [1, 6, 17]) {
        const packet = answer(from(probe4, 1)).with(9, protocol);
        packet[6] = (1 << bit) >> 8;
        packet[7] = (1 << bit) & 0xff;
        const isLater = bit < 13 && protocol !== 17;
        expect(verdicts(packet), `bit ${bit}, protocol ${protocol}`).toEqual([isLater, isLater]);
      }
    }
  });

  it("what neighbours tell of their hardware addresses, as frames alone", () => {
    expect(kept(runFilter(frameFilter(PORTS), frame(new Uint8Array(28), 0x0806)))).toBe(true);
    const message = new Uint8Array(64).fill(0x60, 0, 1).fill(58, 6, 7);
    const told = [134, 135, 136, 137].map((type) => verdicts(message.with(40, type)));
    expect(told).toEqual([
      [false, false],
      [false, false],
      [true, false],
      [false, false],
    ]);
  });

  it("no frame of another type, whatever it holds", () => {
    for (const etherType of [0x0805, 0x8100, 0x86dd, 0x0040]) {
      expect(kept(runFilter(frameFilter(PORTS), frame(answer(probe4), etherType)))).toBe(false);
    }
  });
});

describe("the encoded filter", () => {
  it("is struct sock_filter in host order", () => {
    const bytes = encodeFilter([[0x25, 3, 4, 0x01020304]], true);
    expect([...bytes]).toEqual([0x25, 0, 3, 4, 4, 3, 2, 1]);
    expect([...encodeFilter([[0x25, 3, 4, 0x01020304]], false)]).toEqual([0, 0x25, 3, 4, 1, 2, 3, 4]);
  });
});

describe("addresses in the quotes", () => {
  it("do not matter to the filter: the engine proves them", () => {
    expect(kept(runFilter(icmp4Filter(PORTS), icmpAbout(probe4, [3, 1], address("203.0.113.7"))))).toBe(true);
  });
});
