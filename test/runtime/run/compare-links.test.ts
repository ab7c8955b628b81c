/** Which pairs are probed through both links, and what counts as heard. What follows: test/lab/passed-by.test.ts. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Link, PacketHandler } from "../../../src/link/link.ts";
import { compareLinks, thinned } from "../../../src/runtime/run/compare-links.ts";
import { createOrder } from "../../../src/scan/targets/permutation.ts";
import { putU16, putU32, u32 } from "../../../src/wire/bytes.ts";
import { checksum, pseudoSum4 } from "../../../src/wire/checksum.ts";
import * as icmp from "../../../src/wire/icmp.ts";
import * as ipv4 from "../../../src/wire/ipv4.ts";
import { PROTOCOL } from "../../../src/wire/protocol.ts";
import * as tcp from "../../../src/wire/tcp.ts";
import { createAnswers } from "../../bench/in-memory.ts";

it("a few of the run's own shard, of any size", () => {
  fc.assert(
    fc.property(
      fc.record({
        total: fc.integer({ min: 10_000, max: 10_000_000 }),
        seed: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
        count: fc.integer({ min: 1, max: 100 }),
        part: fc.double({ min: 0, max: 0.99, noNaN: true }),
        sequential: fc.boolean(),
      }),
      ({ total, seed, count, part, sequential }) => {
        const order = { seed, sequential, shard: { index: Math.floor(part * count), count } };
        const whole = createOrder(total, order);
        const few = createOrder(total, thinned(order, total));
        expect(few.count).toBeGreaterThanOrEqual(8);
        expect(few.count).toBeLessThanOrEqual(16);
        for (let place = 0; place < few.count; place++) {
          expect(whole.placeOf(few.indexAt(place))).toBeGreaterThanOrEqual(0);
        }
      },
    ),
  );
});

// They mostly wait.
describe.concurrent("what each link hears", () => {
  const LOCAL = Uint8Array.of(192, 0, 2, 1);
  const words = (last: number): Uint32Array => Uint32Array.of(0, 0, 0xffff, 0xc612_0000 + last);
  const pairs = Array.from({ length: 16 }, (_, i) => ({ words: words(i), port: 80, path: 0, position: i }));
  const compared = {
    pairs,
    paths: [{ local: LOCAL, ttl: 64 }],
    timestamp: undefined,
    maxRate: 100_000,
  };
  const PORTS = { first: 61_000, last: 61_015 };
  type Answer = (syn: Uint8Array) => Uint8Array | undefined;

  /** A link whose SYNs are answered when it is drained. */
  function linkOf(
    answer: Answer,
    {
      refuse = () => undefined,
      fails = () => false,
      delayMs = () => 0,
      full = false,
    }: {
      refuse?: (sent: number) => string | undefined;
      fails?: () => boolean;
      delayMs?: (syn: Uint8Array) => number;
      /** What came before has left no room for answers, until it is read. */
      full?: boolean;
    } = {},
  ) {
    const batch = {
      data: new Uint8Array(64 * 128),
      lengths: new Uint16Array(64),
      slots: 64,
      slotLength: 128,
      offset: 14,
    };
    const syns: { readonly bytes: Uint8Array; readonly atMs: number }[] = [];
    let waiting: { readonly back: Uint8Array; readonly dueMs: number }[] = [];
    let handler: PacketHandler = () => {};
    let sendError = "";
    let isFull = full;
    const link: Link = {
      name: "fake",
      batch,
      send: (first) => {
        const refusal = refuse(syns.length);
        if (refusal !== undefined) {
          sendError = refusal;
          return 0;
        }
        const at = first * batch.slotLength + batch.offset;
        const bytes = batch.data.slice(at, at + batch.lengths[first]);
        syns.push({ bytes, atMs: performance.now() });
        const back = answer(bytes);
        if (back !== undefined && !isFull) waiting.push({ back, dueMs: performance.now() + delayMs(bytes) });
        return 1;
      },
      get sendError() {
        return sendError;
      },
      listen: (wanted) => {
        handler = wanted;
      },
      drain: () => {
        if (fails()) throw new Error("the interface is gone");
        isFull = false;
        const nowMs = performance.now();
        const due = waiting.filter(({ dueMs }) => dueMs <= nowMs);
        waiting = waiting.filter(({ dueMs }) => dueMs > nowMs);
        for (const { back } of due) handler(back, 0, back.length, 0);
        return true;
      },
      receiveDrops: () => 0,
      receiveBuffer: 0,
      close: () => {},
    };
    return { link, syns };
  }

  /** A segment back to a SYN's sender. @param acknowledged beyond the SYN's sequence number */
  const replyTo = (flags: number, acknowledged = 1): Answer => {
    return (syn) => {
      const { answer, answerTo } = createAnswers(4);
      answerTo(syn, 0);
      const segment = ipv4.HEADER_LENGTH;
      answer[segment + 13] = flags;
      putU32(answer, segment + tcp.ACKNOWLEDGEMENT, u32(syn, segment + tcp.SEQUENCE) + acknowledged);
      tcp.fillChecksum(
        answer,
        segment,
        answer.length,
        pseudoSum4(answer, ipv4.SOURCE, ipv4.DESTINATION, PROTOCOL.TCP, 20),
      );
      return answer;
    };
  };
  const { SYN, ACK, RST } = tcp.FLAGS;
  /** From another port than was asked. */
  const besides: Answer = (syn) => {
    const other = syn.slice();
    other[ipv4.HEADER_LENGTH + 3]++;
    return replyTo(SYN | ACK)(other);
  };
  /** A router's ICMP error about the SYN. */
  const unreachable =
    (code: number): Answer =>
    (syn) => {
      const length = ipv4.HEADER_LENGTH + icmp.HEADER_LENGTH + syn.length;
      const error = new Uint8Array(length);
      ipv4.emit(error, 0, {
        tos: 0,
        totalLength: length,
        identification: 0,
        dontFragment: false,
        moreFragments: false,
        fragmentOffset: 0,
        ttl: 64,
        protocol: PROTOCOL.ICMP,
        source: Uint8Array.of(192, 0, 2, 9),
        destination: LOCAL,
        options: new Uint8Array(0),
      });
      error.set([3, code], ipv4.HEADER_LENGTH);
      error.set(syn, ipv4.HEADER_LENGTH + icmp.HEADER_LENGTH);
      putU16(error, ipv4.HEADER_LENGTH + 2, checksum(error, ipv4.HEADER_LENGTH, length));
      return error;
    };
  const only =
    (answers: (host: number) => boolean): Answer =>
    (syn) =>
      answers(syn[ipv4.DESTINATION + 3]) ? replyTo(SYN | ACK)(syn) : undefined;
  const silent: Answer = () => undefined;
  const compare = (raw: Link, packet: Link) =>
    compareLinks(compared, () => ({
      raw: { link: raw, ports: PORTS },
      packet: { link: packet, ports: PORTS },
    }));

  it.each([
    ["SYN-ACKs", replyTo(SYN | ACK), 16],
    ["RSTs", replyTo(RST | ACK), 16],
    ["answers to another SYN", replyTo(SYN | ACK, 2), 0],
    ["bare acknowledgements", replyTo(ACK), 0],
    ["answers of another port", besides, 0],
    ["ICMP errors that decide", unreachable(13), 16],
    ["ICMP errors that decide nothing", unreachable(4), 0],
    ["nothing", silent, 0],
  ] as const)("%s", async (_, answer, heard) => {
    const found = await compare(linkOf(answer).link, linkOf(answer).link);
    expect(found).toEqual({ pairs: 16, raw: heard, packet: heard, sent: 32, differs: false });
  });

  it("one hears nothing: they differ, which is asked twice", async () => {
    const [raw, packet] = [linkOf(replyTo(SYN | ACK)), linkOf(silent)];
    expect(await compare(raw.link, packet.link)).toMatchObject({
      raw: 16,
      packet: 0,
      sent: 64,
      differs: true,
    });
  });

  it("the second time they are the same: a host that limits its answers", async () => {
    const raw = linkOf(replyTo(SYN | ACK));
    let asked = 0;
    const packet = linkOf((syn) => (asked++ < 16 ? undefined : replyTo(SYN | ACK)(syn)));
    expect(await compare(raw.link, packet.link)).toMatchObject({ differs: false });
  });

  it("the second time it is the other that hears nothing: they are the same", async () => {
    const half = (isFirst: boolean): Answer => {
      let asked = 0;
      return (syn) => (asked++ < 16 === isFirst ? replyTo(SYN | ACK)(syn) : undefined);
    };
    const found = await compare(linkOf(half(true)).link, linkOf(half(false)).link);
    expect(found).toMatchObject({ raw: 0, packet: 16, differs: false });
  });

  it("whoever is asked first the first time is second the second time", async () => {
    const order: string[] = [];
    const noted = (name: string, answer: Answer): Answer => {
      return (syn) => {
        if (order.at(-1) !== name) order.push(name);
        return answer(syn);
      };
    };
    await compare(linkOf(noted("raw", replyTo(SYN | ACK))).link, linkOf(noted("packet", silent)).link);
    expect([order[0], order.at(-1)]).toEqual(["raw", "raw"]);
    expect(order.filter((name, i) => name === "packet" && i > 0 && order[i - 1] === "packet")).toEqual([]);
    expect(order.length % 2).toBe(1);
  });

  it("a link that fails hears nothing, and ends nothing", async () => {
    let drains = 0;
    const broken = linkOf(replyTo(SYN | ACK), { fails: () => ++drains > 1 });
    const found = await compare(linkOf(replyTo(SYN | ACK)).link, broken.link);
    expect(found).toMatchObject({ raw: 16, differs: true });
    expect(found.packet).toBeLessThan(16);
  });

  it("waits for who answers later than the first", async () => {
    const host = (syn: Uint8Array): number => syn[ipv4.DESTINATION + 3];
    // What raw alone hears comes last.
    const delayMs = (syn: Uint8Array): number => [0, 45][host(syn)] ?? 90;
    const raw = linkOf(replyTo(SYN | ACK), { delayMs });
    const packet = linkOf(
      only((each) => each < 2),
      { delayMs },
    );
    expect(await compare(raw.link, packet.link)).toMatchObject({ raw: 16, packet: 2, differs: true });
  });

  it("reads what has come before, so that there is room for answers", async () => {
    const full = linkOf(replyTo(SYN | ACK), { full: true });
    const found = await compare(linkOf(replyTo(SYN | ACK)).link, full.link);
    expect(found).toEqual({ pairs: 16, raw: 16, packet: 16, sent: 32, differs: false });
  });

  it("waits until all SYNs have left", async () => {
    const side = () => ({ link: linkOf(only((host) => host === 0)).link, ports: PORTS });
    const found = await compareLinks({ ...compared, maxRate: 400 }, () => ({ raw: side(), packet: side() }));
    expect(found).toEqual({ pairs: 16, raw: 1, packet: 1, sent: 32, differs: false });
  });

  it("what a link has no room for leaves later, and what it refuses for good never does", async () => {
    let full = 3;
    const busy = linkOf(replyTo(SYN | ACK), {
      refuse: (sent) => (sent === 5 && full-- > 0 ? "ENOBUFS" : undefined),
    });
    let calls = 0;
    const forbidden = linkOf(replyTo(SYN | ACK), {
      refuse: () => (calls++ === 4 ? "EPERM" : undefined),
    });
    const found = await compare(busy.link, forbidden.link);
    expect(found).toEqual({ pairs: 16, raw: 16, packet: 15, sent: 31, differs: false });
  });

  it("no more SYNs a second than may leave", async () => {
    const { link, syns } = linkOf(replyTo(SYN | ACK));
    await compareLinks({ ...compared, maxRate: 1000 }, () => ({
      raw: { link, ports: PORTS },
      packet: { link: linkOf(replyTo(SYN | ACK)).link, ports: PORTS },
    }));
    // Two at once, each of the two links every 5 ms.
    const gaps = syns.slice(2).map(({ atMs }, i) => atMs - syns[i].atMs);
    expect(Math.min(...gaps)).toBeGreaterThan(3);
  });
});
