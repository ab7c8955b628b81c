/**
 * Segments that no peer of good will sends, against an oracle of what must hold whatever comes: nothing is acknowledged that did
 * not come, nothing is sent beyond the peer's window, buffers are returned, and two blocks out of step fall silent.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createBufferPool } from "../../src/socket/buffers.ts";
import type { ControlBlock } from "../../src/socket/connection.ts";
import { createControlBlock } from "../../src/socket/control-block.ts";
import { hasFlag, type Segment, segmentLength } from "../../src/socket/segment.ts";
import { seqAdd, seqDiff } from "../../src/socket/sequence.ts";
import { FLAGS } from "../../src/wire/tcp.ts";

const { SYN, ACK, RST, FIN } = FLAGS;
const SECOND = 1_000_000;
const BUFFER = 3000;
const NO_TEXT = new Uint8Array(0);

const makeBlock = (iss: number, pool = createBufferPool(1 << 20)): ControlBlock =>
  createControlBlock({
    iss,
    mss: 700,
    pool,
    bufferLength: BUFFER,
    synRetries: 3,
    retries: 6,
    mslUs: SECOND,
  });

/** Near the numbers that matter, by choice: a far one is dropped by the first check. */
const near = fc.oneof(
  fc.integer({ min: -3, max: 3 }),
  fc.integer({ min: -4000, max: 4000 }),
  fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
);

const step = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant("segment" as const),
      flags: fc.oneof(
        { weight: 6, arbitrary: fc.constantFrom(ACK, ACK, ACK | FIN, SYN | ACK) },
        { weight: 1, arbitrary: fc.integer({ min: 0, max: 63 }) },
      ),
      sequence: near,
      acknowledgement: near,
      fromHighest: fc.boolean(),
      window: fc.oneof(fc.constantFrom(0, 1, 3000, 65_535), fc.nat(65_535)),
      length: fc.oneof(fc.constantFrom(0, 0, 1), fc.nat(1400)),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("wait" as const), us: fc.nat(3 * SECOND) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("write" as const), count: fc.nat(2000) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("read" as const), count: fc.nat(2000) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom("close" as const, "stopReading" as const) }) },
);

type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** Steps that went wrong once, with the ISS they did it with. */
const FOUND: [Step[], number][] = [
  // Text that comes again in part, acknowledges everything and shuts the window: by RFC 9293's SND.WL1 an old window.
  [
    [
      { kind: "write", count: 701 },
      { kind: "write", count: 1302 },
      {
        kind: "segment",
        flags: ACK,
        sequence: -2,
        acknowledgement: 0,
        fromHighest: true,
        window: 0,
        length: 3,
      },
    ],
    0,
  ],
];

describe("whatever comes", () => {
  const irs = 0xffff_fc00;

  /** What the peer has sent by number, from the byte behind its SYN on, and where it has said that its FIN is. */
  function createOracle() {
    const sent = new Set<number>();
    const fins = new Set<number>();
    return {
      heard: ({ sequence, flags, text }: Segment): void => {
        const first = seqDiff(sequence, irs) - 1 + ((flags & SYN) !== 0 ? 1 : 0);
        for (let i = 0; i < text.length; i++) sent.add(first + i);
        if ((flags & FIN) !== 0) fins.add(first + text.length);
      },
      /** Every number before `acknowledgement` has come. */
      covers: (acknowledgement: number): boolean => {
        const end = seqDiff(acknowledgement, irs) - 1;
        for (let i = 0; i < end; i++) {
          if (!sent.has(i) && !(i === end - 1 && fins.has(i))) return false;
        }
        return end >= 0;
      },
    };
  }

  it("nothing is acknowledged that did not come, and nothing goes beyond the window", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.nat(2 ** 32 - 1), (steps, iss) => {
        const pool = createBufferPool(1 << 20);
        const block = makeBlock(iss, pool);
        const oracle = createOracle();
        let now = 0;
        // Right edges are counted from the ISS, as no block here sends 2^31 bytes.
        let rightmost = 0;
        let acknowledged = 0;
        const check = (): void => {
          for (let count = 0; ; count++) {
            expect(count).toBeLessThan(200);
            const segment = block.pollSegment(now);
            if (segment === undefined) return;
            const end = seqDiff(seqAdd(segment.sequence, segmentLength(segment)), iss);
            // One byte may probe a shut window, and FIN stand behind the last byte of it.
            if (segmentLength(segment) > 0) expect(end).toBeLessThanOrEqual(rightmost + 2);
            expect(segment.text.length).toBeLessThanOrEqual(700);
            // A closed block's RST acknowledges whatever came (§3.10.7.1).
            if (!hasFlag(segment, ACK) || (block.state === "CLOSED" && hasFlag(segment, RST))) continue;
            expect(oracle.covers(segment.acknowledgement)).toBe(true);
            const next = seqDiff(segment.acknowledgement, irs);
            expect(next).toBeGreaterThanOrEqual(acknowledged);
            acknowledged = next;
          }
        };
        const hear = (segment: Segment): void => {
          oracle.heard(segment);
          const from = hasFlag(segment, ACK) ? seqDiff(segment.acknowledgement, iss) : 1;
          if (from > 0 && from <= BUFFER * 100) rightmost = Math.max(rightmost, from + segment.window);
          block.handleSegment(segment, now);
        };
        block.open(now);
        check();
        hear({
          flags: SYN | ACK,
          sequence: irs,
          acknowledgement: seqAdd(iss, 1),
          window: 2000,
          mss: 700,
          text: NO_TEXT,
        });
        check();
        for (const each of steps) {
          if (each.kind === "segment") {
            const { rcvNxt, sndUna, sndNxt } = block.view();
            hear({
              flags: each.flags,
              sequence: seqAdd(rcvNxt, each.sequence),
              acknowledgement: seqAdd(each.fromHighest ? sndNxt : sndUna, each.acknowledgement),
              window: each.window,
              text: new Uint8Array(each.length),
            });
          } else if (each.kind === "wait") {
            now += each.us;
            block.handleTimeout(now);
          } else if (each.kind === "write") block.write(new Uint8Array(each.count));
          else if (each.kind === "read") block.read(each.count);
          else if (each.kind === "close") block.close();
          else block.stopReading();
          check();
          const { state, sndUna, sndNxt, rcvWnd, readable, unacknowledged } = block.view();
          expect(seqDiff(sndNxt, sndUna)).toBeGreaterThanOrEqual(0);
          expect(rcvWnd).toBeLessThanOrEqual(BUFFER);
          expect(readable).toBeLessThanOrEqual(BUFFER);
          expect(unacknowledged).toBeLessThanOrEqual(BUFFER);
          expect(pool.reserved).toBe(state === "CLOSED" || state === "TIME-WAIT" ? 0 : 2 * BUFFER);
        }
        block.abort();
        expect(pool.reserved).toBe(0);
      }),
      { numRuns: 1000, examples: FOUND },
    );
  });
});

describe("two blocks out of step", () => {
  /** An established block whose next number is `next`, and that waits for the peer's number `expected`. */
  function established(next: number, expected: number): ControlBlock {
    const block = makeBlock(seqAdd(next, -1));
    block.open(0);
    block.pollSegment(0);
    block.handleSegment(
      {
        flags: SYN | ACK,
        sequence: seqAdd(expected, -1),
        acknowledgement: next,
        window: 2000,
        text: NO_TEXT,
      },
      0,
    );
    while (block.pollSegment(0) !== undefined);
    return block;
  }

  /** Hands over what each sends until both are silent. @returns how many segments that took */
  function exchange(a: ControlBlock, b: ControlBlock, first: Segment, mostRounds: number): number {
    let count = 0;
    let toA = [first];
    for (let round = 0; toA.length > 0 && round < mostRounds; round++) {
      const collect = (block: ControlBlock, segments: readonly Segment[]): Segment[] => {
        const out: Segment[] = [];
        for (const segment of segments) block.handleSegment(segment, round * 1000);
        for (let s = block.pollSegment(round * 1000); s !== undefined; s = block.pollSegment(round * 1000))
          out.push(s);
        return out;
      };
      const toB = collect(a, toA);
      toA = collect(b, toB);
      count += toA.length + toB.length;
    }
    return count;
  }

  it("fall silent, whatever the numbers and whatever began it", () => {
    fc.assert(
      fc.property(
        near,
        near,
        fc.constantFrom(ACK, ACK | FIN, ACK | RST, SYN, SYN | ACK),
        near,
        near,
        (x, y, flags, s, t) => {
          const a = established(1_000_000, 2_000_000);
          const b = established(seqAdd(2_000_000, x), seqAdd(1_000_000, y));
          const first: Segment = {
            flags,
            sequence: seqAdd(2_000_000, s),
            acknowledgement: seqAdd(1_000_000, t),
            window: 2000,
            text: NO_TEXT,
          };
          // Each may challenge ten times in the five seconds that a thousand rounds take.
          expect(exchange(a, b, first, 1000)).toBeLessThanOrEqual(50);
        },
      ),
      { numRuns: 1000 },
    );
  });
});
