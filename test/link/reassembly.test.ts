/** link/reassembly: fragments in any order make the packet that they were cut from, and nothing else; what anybody sends is bounded. */
import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import { createReassembly, type Reassembly } from "../../src/link/reassembly.ts";
import * as ipv4 from "../../src/wire/ipv4.ts";
import * as ipv6 from "../../src/wire/ipv6.ts";
import { address } from "../sim/run.ts";

const SECOND = 1e6;
const TCP = 6;
const DESTINATION_OPTIONS = 60;

/** What stands before the payload of a packet, and where its fragment header goes. */
interface Packet {
  readonly version: 4 | 6;
  readonly id: number;
  readonly payload: Uint8Array;
  /** IPv6: a header of destination options before the fragment header. */
  readonly hasOptions?: boolean;
}

function ipv4Packet({ id, payload }: Packet, from = 0, to = payload.length, isLast = true): Uint8Array {
  const packet = new Uint8Array(20 + to - from);
  ipv4.emit(packet, 0, {
    tos: 0,
    totalLength: packet.length,
    identification: id,
    dontFragment: false,
    moreFragments: !isLast,
    fragmentOffset: from,
    ttl: 61,
    protocol: TCP,
    source: address("198.18.0.7"),
    destination: address("192.0.2.1"),
    options: new Uint8Array(0),
  });
  packet.set(payload.subarray(from, to), 20);
  return packet;
}

function ipv6Packet(
  { id, payload, hasOptions }: Packet,
  part?: readonly [number, number, boolean],
): Uint8Array {
  const [from, to, isLast] = part ?? [0, payload.length, true];
  const inner = part === undefined ? TCP : 44;
  const options = hasOptions === true ? [inner, 0, 1, 4, 0, 0, 0, 0] : [];
  const word = from | (isLast ? 0 : 1);
  const fragment = part === undefined ? [] : [TCP, 0, word >> 8, word & 0xff, 0, 0, id >> 8, id & 0xff];
  const rest = Uint8Array.of(...options, ...fragment, ...payload.subarray(from, to));
  const packet = new Uint8Array(40 + rest.length);
  ipv6.emit(packet, 0, {
    trafficClass: 0,
    flowLabel: 7,
    payloadLength: rest.length,
    nextHeader: hasOptions === true ? DESTINATION_OPTIONS : inner,
    hopLimit: 61,
    source: address("2001:db8::7"),
    destination: address("2001:db8::1"),
  });
  packet.set(rest, 40);
  return packet;
}

const whole = (packet: Packet): Uint8Array =>
  packet.version === 4 ? ipv4Packet(packet) : ipv6Packet(packet);
const part = (packet: Packet, from: number, to: number, isLast: boolean): Uint8Array =>
  packet.version === 4 ? ipv4Packet(packet, from, to, isLast) : ipv6Packet(packet, [from, to, isLast]);

/** The packet in pieces that end at these multiples of eight bytes. */
function cut(packet: Packet, units: readonly number[]): Uint8Array[] {
  const { length } = packet.payload;
  const ends = [
    ...new Set(units.map((unit) => unit * 8).filter((end) => end > 0 && end < length)),
    length,
  ].sort((a, b) => a - b);
  return ends.map((end, i) => part(packet, ends[i - 1] ?? 0, end, end === length));
}

let reassembly: Reassembly;
beforeEach(() => {
  reassembly = createReassembly();
});

/** In other bytes before and behind, as in a ring. */
function take(piece: Uint8Array, nowUs = 0): Uint8Array | undefined {
  const ring = new Uint8Array(piece.length + 8).fill(0xa5);
  ring.set(piece, 3);
  expect(reassembly.isFragment(ring, 3, 3 + piece.length)).toBe(true);
  return reassembly.take(ring, 3, 3 + piece.length, nowUs);
}

const packets = fc.record({
  version: fc.constantFrom(4 as const, 6 as const),
  id: fc.nat(0xffff),
  payload: fc.uint8Array({ minLength: 17, maxLength: 300 }),
  hasOptions: fc.boolean(),
});

describe("fragments", () => {
  it("in any order make the packet again, as if it had never been cut", () => {
    fc.assert(
      fc.property(
        packets.chain((packet) =>
          fc
            .uniqueArray(fc.nat(packet.payload.length >> 3), { minLength: 1, maxLength: 10 })
            .map((units) => cut(packet, [1, ...units]))
            .chain((pieces) => fc.shuffledSubarray(pieces, { minLength: pieces.length }))
            .map((pieces) => ({ packet, pieces })),
        ),
        ({ packet, pieces }) => {
          reassembly = createReassembly();
          const made = pieces.map((piece) => take(piece));
          expect(made.slice(0, -1).every((each) => each === undefined)).toBe(true);
          expect(made.at(-1)).toEqual(whole(packet));
          expect(reassembly.isFragment(whole(packet), 0, whole(packet).length)).toBe(false);
        },
      ),
    );
  });

  it("of several packets are kept apart by identification", () => {
    const all = Array.from(
      { length: 20 },
      (_, id): Packet => ({
        version: id % 2 === 0 ? 4 : 6,
        id,
        payload: new Uint8Array(32).fill(id),
      }),
    );
    const pieces = all.map((packet) => cut(packet, [2]));
    for (const [, last] of pieces) expect(take(last)).toBeUndefined();
    expect(pieces.map(([first]) => take(first))).toEqual(all.map(whole));
  });

  it.each([4, 6] as const)("that overlap are dropped, whatever comes with them (IPv%d)", (version) => {
    const packet: Packet = { version, id: 7, payload: new Uint8Array(40) };
    expect(take(part(packet, 0, 16, false))).toBeUndefined();
    // What is given up is handed over once, to be counted.
    expect(take(part(packet, 8, 24, false))).toEqual(part(packet, 0, 16, false));
    expect(take(part(packet, 24, 40, true))).toBeUndefined();
    expect(take(part(packet, 16, 24, false))).toBeUndefined();
  });

  it.each([
    ["beyond the end", [16, 24, true], [24, 32, false]],
    ["a second end", [16, 24, true], [24, 32, true]],
    ["a middle of odd length", [0, 8, false], [8, 15, false]],
    ["nothing", [0, 8, false], [8, 8, false]],
  ] as const)("that contradict each other make nothing: %s", (_, one, other) => {
    const packet: Packet = { version: 4, id: 7, payload: new Uint8Array(40) };
    for (const [from, to, isLast] of [one, other]) take(part(packet, from, to, isLast));
    // The rest of what the first of the two began.
    const rest = [0, 8, 16].filter((from) => from !== one[0]);
    const made = rest.map((from) => take(part(packet, from, from + 8, from === 16)));
    expect(made.filter((each) => each !== undefined && each.length > 28)).toEqual([]);
  });

  it.each([
    [4, 65_535 - 20],
    [6, 65_535 - 8],
  ] as const)("make no packet that is longer than one can be (IPv%d)", (version, longest) => {
    const parts = (id: number, length: number): (Uint8Array | undefined)[] => {
      const packet: Packet = { version, id, payload: new Uint8Array(length), hasOptions: true };
      return [take(part(packet, 0, 32_768, false)), take(part(packet, 32_768, length, true))];
    };
    const [, made] = parts(7, longest);
    expect(made?.length).toBe(longest + (version === 4 ? 20 : 48));
    const [, other] = parts(8, longest + 1);
    expect(other?.length ?? 0).toBeLessThan(33_000);
  });

  it("whatever parts they claim to be, nothing is thrown and what is made is as long as it says", () => {
    // As long as all parts together, and the part behind it leaves a gap.
    const endBeforeAPart = [
      { from: 0, length: 8, isLast: false },
      { from: 3, length: 8, isLast: false },
      { from: 2, length: 4, isLast: true },
    ];
    const claim = fc.record({ from: fc.nat(4), length: fc.constantFrom(4, 8, 16), isLast: fc.boolean() });
    fc.assert(
      fc.property(fc.constantFrom(4, 6), fc.array(claim, { maxLength: 6 }), (version, claims) => {
        reassembly = createReassembly();
        const packet: Packet = { version, id: 7, payload: new Uint8Array(64) };
        for (const { from, length, isLast } of claims) {
          const piece = part(packet, 8 * from, 8 * from + length, isLast);
          const made = reassembly.take(piece, 0, piece.length, 0);
          if (made === undefined) continue;
          const said = version === 4 ? ipv4.totalLength(made, 0) : 40 + ipv6.payloadLength(made, 0);
          expect(said).toBe(made.length);
        }
      }),
      { numRuns: 500, examples: [[4, endBeforeAPart]] },
    );
  });

  it("with a wrong checksum, or cut short, are none", () => {
    const piece = part({ version: 4, id: 7, payload: new Uint8Array(32) }, 0, 16, false);
    expect(take(piece.with(8, 1))).toBeUndefined();
    for (let length = 0; length < piece.length; length++) {
      const short = piece.slice(0, length);
      if (reassembly.isFragment(short, 0, length))
        expect(reassembly.take(short, 0, length, 0)).toBeUndefined();
    }
    expect(take(part({ version: 4, id: 7, payload: new Uint8Array(32) }, 16, 32, true))).toBeUndefined();
    expect(take(piece)).toBeDefined();
  });

  it.each([
    ["65 of them", Array.from({ length: 65 }, (_, i) => [8 * i, 8 * i + 8] as const)],
    [
      "one of odd length before the last",
      [
        [0, 15],
        [15, 24],
      ] as const,
    ],
  ])("make nothing: %s", (_, parts) => {
    const packet: Packet = { version: 6, id: 7, payload: new Uint8Array(65 * 8) };
    const made = parts.map(([from, to], i) => take(part(packet, from, to, i === parts.length - 1)));
    // No more than the first, which is given up.
    for (const each of made) expect(each?.length ?? 0).toBeLessThanOrEqual(40 + 8 + 8);
  });

  it("of many packets that are never whole take no more room: the oldest goes, and is handed over", () => {
    const piece = (id: number): Uint8Array =>
      part({ version: 4, id, payload: new Uint8Array(32) }, 0, 16, false);
    const given = Array.from({ length: 1000 }, (_, id) => take(piece(id)));
    expect(given.slice(0, 64).every((each) => each === undefined)).toBe(true);
    expect(given.slice(64)).toEqual(Array.from({ length: 936 }, (_, id) => piece(id)));
  });

  it("that come half a minute late are of another packet", () => {
    const packet: Packet = { version: 4, id: 7, payload: new Uint8Array(32) };
    const [first, last] = cut(packet, [2]);
    const [stranger] = cut({ ...packet, id: 8 }, [2]);
    expect(take(first, 0)).toBeUndefined();
    expect(take(stranger, 31 * SECOND)).toEqual(first);
    expect(take(last, 31 * SECOND)).toBeUndefined();
  });

  it.each([
    [4, 30],
    [6, 60],
  ] as const)("of IPv%i are of one packet for %i s, whether or not others come", (version, seconds) => {
    const [first, last] = cut({ version, id: 7, payload: new Uint8Array(32) }, [2]);
    expect(take(first, 0)).toBeUndefined();
    expect(take(last, seconds * SECOND)?.length).toBeGreaterThan(32);
    expect(take(first, 0)).toBeUndefined();
    // The first is handed over, and the last waits for another first.
    expect(take(last, (seconds + 1) * SECOND)).toEqual(first);
    expect(take(first, (seconds + 2) * SECOND)?.length).toBeGreaterThan(32);
  });

  it("that the network has doubled are taken once", () => {
    const payload = Uint8Array.from({ length: 48 }, (_, i) => i);
    for (const version of [4, 6] as const) {
      const [first, middle, last] = cut({ version, id: 7, payload }, [2, 4]);
      const made = [first, first, last, middle].map((each) => take(each, 0));
      expect(made.slice(0, 3)).toEqual([undefined, undefined, undefined]);
      expect(made[3]?.slice(-48)).toEqual(payload);
      // One that differs overlaps.
      const other = first.slice();
      other[other.length - 1] ^= 1;
      expect([take(first, 0), take(other, 0), take(middle, 0), take(last, 0)].slice(1)).toEqual([
        first,
        undefined,
        undefined,
      ]);
    }
  });

  it("whatever bytes come, nothing is thrown and nothing is read behind the end", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 120 }), fc.constantFrom(0x45, 0x60), (bytes, start) => {
        if (bytes.length > 0) bytes[0] = start;
        if (reassembly.isFragment(bytes, 0, bytes.length)) reassembly.take(bytes, 0, bytes.length, 0);
      }),
    );
  });
});
