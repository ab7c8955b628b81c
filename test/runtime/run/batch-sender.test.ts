/** One batch from an engine to a link: what is told back of departures and refusals, and when a run is given up. */
import { afterEach, describe, expect, it, vi } from "vitest";
import type { Behind, Link, SentThird } from "../../../src/link/link.ts";
import { checkStall, createBatchSender } from "../../../src/runtime/run/batch-sender.ts";
import { nowUs } from "../../../src/runtime/system/clock.ts";
import { engineFor, target } from "../../sim/run.ts";

/** A link that takes or refuses each slot as `takes` says. */
function linkOf(takes: (slot: number) => boolean, calls: number[]): Link {
  const slots = 256;
  return {
    name: "fake",
    batch: {
      data: new Uint8Array(slots * 128),
      lengths: new Uint16Array(slots),
      slots,
      slotLength: 128,
      offset: 0,
    },
    sendError: "ENOBUFS",
    send: (first, count) => {
      calls.push(first);
      let taken = 0;
      while (taken < count && takes(first + taken)) taken++;
      return taken;
    },
    listen: () => {},
    drain: () => true,
    receiveDrops: () => 0,
    receiveBuffer: 0,
    close: () => {},
  };
}

const ports = Array.from({ length: 256 }, (_, i) => i + 1);

it("a packet that is refused holds up none of the others", () => {
  const engine = engineFor([target("198.18.0.2", ...ports)]);
  expect(
    createBatchSender(
      engine,
      linkOf((slot) => slot % 10 !== 3, []),
    ).send(),
  ).toBe(256);
  expect(engine.counts).toMatchObject({ sent: 230, sendErrors: { ENOBUFS: 26 } });
});

it("a link that takes nothing is not asked for every packet", () => {
  const engine = engineFor([target("198.18.0.2", ...ports)]);
  const calls: number[] = [];
  createBatchSender(
    engine,
    linkOf(() => false, calls),
  ).send();
  expect(calls).toHaveLength(64);
  expect(engine.counts).toMatchObject({ sent: 0, sendErrors: { ENOBUFS: 256 } });
});

it("a run is given up when nothing could be sent for half a minute, and not before", () => {
  const link = linkOf(() => false, []);
  const stalled = (us: number) => ({ ...engineFor([target("198.18.0.2", 80)]), stalledUs: () => us });
  expect(() => checkStall(stalled(29.9e6), link, 0)).not.toThrow();
  expect(() => checkStall(stalled(30.1e6), link, 0)).toThrow(/nothing can be sent any more: .*ENOBUFS/);
});

describe("packets of one system call leave within it", () => {
  afterEach(() => vi.restoreAllMocks());

  /** From when to when they are said to have left, after the call of `send`, which took 5 ms: the system call began after one. */
  function departures(count: number): readonly [fromUs: number, toUs: number] {
    let nowMs = 0;
    const [seconds] = process.hrtime();
    vi.spyOn(process, "hrtime").mockImplementation(() => [seconds, nowMs * 1e6]);
    const calledUs = nowUs();
    const engine = engineFor([target("198.18.0.2", ...ports.slice(0, count))]);
    const told: (readonly [number, number])[] = [];
    const link = linkOf(() => true, []);
    createBatchSender(
      { ...engine, handleDeparture: (_first, _end, from, to) => told.push([from - calledUs, to - calledUs]) },
      {
        ...link,
        preparedUs: 1000,
        send: (first, n) => {
          nowMs += 5;
          return link.send(first, n);
        },
      },
    ).send();
    expect(told).toHaveLength(1);
    return told[0];
  }

  it("evenly where they are many, and not while they were made ready", () => {
    expect(departures(256)).toEqual([1000, 5000]);
    expect(departures(65)).toEqual([1000, 5000]);
  });

  it("one soon after the other where they are few: what else the call took is not theirs", () => {
    expect(departures(64)).toEqual([1000, 1128]);
    expect(departures(20)).toEqual([1000, 1040]);
    expect(departures(1)).toEqual([1000, 1002]);
  });
});

describe("a link that sends in another thread", () => {
  const BATCH = 64;

  /** Another thread that begins and ends when the test says so. */
  function behindLink() {
    const given: number[] = [];
    const news: SentThird[] = [];
    let third = 0;
    let isServed = true;
    const behind: Behind = {
      isFree: () => isServed && given.length < 2,
      third: () => third,
      isBusy: () => given.length > 0,
      give: (count) => {
        given.push(count);
        third = 1 - third;
        return true;
      },
      take: () => {
        const next = news.shift();
        if (next?.isOver === true) given.shift();
        return next;
      },
      wait: () => {},
    };
    const calls: [number, number][] = [];
    const plain = linkOf(() => true, []);
    const link: Link = {
      ...plain,
      batch: { ...plain.batch, slots: 3 * BATCH },
      behind,
      send: (first, count) => {
        calls.push([first, count]);
        return count;
      },
    };
    const tell = (what: Partial<SentThird>): void => {
      news.push({
        third: 0,
        count: BATCH,
        sent: BATCH,
        isFirst: true,
        isOver: true,
        sinceUs: 0,
        untilUs: 0,
        ...what,
      });
    };
    return {
      link,
      given,
      calls,
      tell,
      serve: (whether: boolean) => {
        isServed = whether;
      },
    };
  }

  const spied = () => {
    const engine = engineFor([target("198.18.0.2", ...ports)]);
    const departures: number[][] = [];
    const watched: typeof engine = {
      ...engine,
      handleDeparture: (first, end, fromUs, toUs) => {
        departures.push([first, end, fromUs, toUs]);
        engine.handleDeparture(first, end, fromUs, toUs);
      },
    };
    return { engine: watched, departures };
  };

  it("is given two thirds; the last is sent here while both are under way", () => {
    const { link, given, calls } = behindLink();
    const { engine } = spied();
    const { send, isBusy } = createBatchSender(engine, link);
    expect([send(), send(), send(), send()]).toEqual([BATCH, BATCH, BATCH, BATCH]);
    expect(given).toEqual([BATCH, BATCH]);
    expect(calls).toEqual([
      [2 * BATCH, BATCH],
      [2 * BATCH, BATCH],
    ]);
    expect(isBusy()).toBe(true);
  });

  it("sends all of it here while nobody serves it", () => {
    const { link, given, calls, serve } = behindLink();
    serve(false);
    const { send } = createBatchSender(spied().engine, link);
    expect([send(), send()]).toEqual([BATCH, BATCH]);
    expect([given, calls]).toEqual([
      [],
      [
        [0, BATCH],
        [0, BATCH],
      ],
    ]);
  });

  it("tells when packets leave as soon as that has begun, and once", () => {
    const { link, tell } = behindLink();
    const { engine, departures } = spied();
    const { send, settle } = createBatchSender(engine, link);
    send();
    expect(departures).toEqual([]);
    tell({ isOver: false, sinceUs: 100, untilUs: -300 });
    settle();
    tell({ isFirst: false, sinceUs: 500, untilUs: 0 });
    settle();
    expect(departures).toEqual([[0, BATCH, expect.any(Number), expect.any(Number)]]);
    const [[, , from = 0, to = 0] = []] = departures;
    expect(to - from).toBeCloseTo(400);
  });

  it("what the kernel did not take is sent again here", () => {
    const { link, calls, tell } = behindLink();
    const { engine, departures } = spied();
    const { send, settle } = createBatchSender(engine, link);
    send();
    tell({ sent: 10 });
    settle();
    expect(calls).toEqual([[10, BATCH - 10]]);
    expect(departures.map(([first, end]) => [first, end])).toEqual([
      [0, 10],
      [10, BATCH],
    ]);
  });

  it("no deadline passes before what was to be answered by then has left", () => {
    const { link, tell } = behindLink();
    const { send, settle, settledUs } = createBatchSender(spied().engine, link);
    const before = nowUs();
    expect(settledUs(before)).toBe(before);
    send();
    const filled = settledUs(nowUs() + 50_000);
    expect(filled).toBeGreaterThanOrEqual(before);
    expect(filled).toBeLessThan(before + 50_000);
    // It left 20 ms after it was filled: so much longer takes whatever is to come of it.
    const late = nowUs() - filled - 20_000;
    tell({ sinceUs: late, untilUs: late });
    settle();
    const now = nowUs() + 100_000;
    expect(now - settledUs(now)).toBeGreaterThan(19_000);
    expect(now - settledUs(now)).toBeLessThan(30_000);
  });

  it("a few packets are not worth another thread's while", () => {
    const { link, given, calls } = behindLink();
    const { send } = createBatchSender(engineFor([target("198.18.0.2", 80, 81)]), link);
    expect([send(), given, calls]).toEqual([2, [], [[0, 2]]]);
  });
});
