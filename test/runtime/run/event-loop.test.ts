/** The real loop over a link of our own making: real clock, no kernel. */
import { describe, expect, it } from "vitest";
import type { Behind, Link, PacketHandler } from "../../../src/link/link.ts";
import { traceLink } from "../../../src/link/tracer.ts";
import { runEventLoop } from "../../../src/runtime/run/event-loop.ts";
import { nowUs } from "../../../src/runtime/system/clock.ts";
import type { Engine } from "../../../src/scan/engine/engine.ts";
import { createHandshakes } from "../../../src/scan/engine/handshakes.ts";
import { keepVerdict, type Verdict } from "../../../src/scan/probe/verdict.ts";
import * as tcp from "../../../src/wire/tcp.ts";
import { segmentTo } from "../../sim/network.ts";
import { engineFor, LOCAL_4, type Overrides, target } from "../../sim/run.ts";

const SLOT = 128;

interface FakeLink extends Link {
  send: Link["send"];
  readonly sent: Uint8Array[];
  closed: boolean;
  fail(error: Error): void;
  /** A packet comes in. */
  arrive(packet: Uint8Array): void;
}

/** @param answer what comes back for a packet; @param refuse the errno for the n-th packet, if any */
function fakeLink(
  answer: (packet: Uint8Array) => Uint8Array | undefined,
  refuse: (n: number) => string | undefined = () => undefined,
): FakeLink {
  const data = new Uint8Array(8 * SLOT);
  const lengths = new Uint16Array(8);
  const sent: Uint8Array[] = [];
  let handler: PacketHandler = () => {};
  let onReadable = (): void => {};
  let waiting: Uint8Array[] = [];
  let onError: (error: Error) => void = () => {};
  let attempts = 0;
  let sendError = "";
  const arrive = (packet: Uint8Array): void => {
    waiting.push(packet);
    setImmediate(() => onReadable());
  };
  return {
    name: "fake",
    batch: { data, lengths, slots: 8, slotLength: SLOT, offset: 0 },
    sent,
    closed: false,
    receiveBuffer: 0,
    get sendError() {
      return sendError;
    },
    send: (first, count) => {
      for (let i = 0; i < count; i++) {
        const refusal = refuse(attempts++);
        if (refusal !== undefined) {
          sendError = refusal;
          attempts -= i === 0 ? 0 : 1;
          return i;
        }
        const packet = data.slice((first + i) * SLOT, (first + i) * SLOT + lengths[first + i]);
        sent.push(packet);
        const reply = answer(packet);
        if (reply !== undefined) arrive(reply);
      }
      return count;
    },
    drain: () => {
      const packets = waiting;
      waiting = [];
      for (const packet of packets) handler(packet, 0, packet.length, 0);
      return true;
    },
    listen: (h, r, e) => {
      handler = h;
      onReadable = r;
      onError = e;
    },
    receiveDrops: () => 0,
    close() {
      this.closed = true;
    },
    fail: (error) => onError(error),
    arrive,
  };
}

const refused = (packet: Uint8Array): Uint8Array =>
  segmentTo(packet, {
    flags: tcp.FLAGS.RST | tcp.FLAGS.ACK,
    acknowledgement: (tcp.sequence(packet, 20) + 1) >>> 0,
  });

const accepted = (packet: Uint8Array): Uint8Array =>
  segmentTo(packet, {
    flags: tcp.FLAGS.SYN | tcp.FLAGS.ACK,
    acknowledgement: (tcp.sequence(packet, 20) + 1) >>> 0,
  });

const engine = (ports: number[], overrides: Overrides = {}): Engine =>
  engineFor([target("198.18.0.2", ...ports)], { startUs: nowUs(), timeoutUs: 20_000_000, ...overrides });

const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i + 1);

describe("the loop", () => {
  it("carries a scan through, however many batches it takes", async () => {
    const verdicts: Verdict[] = [];
    const link = fakeLink(refused);
    await runEventLoop(engine(range(300)), link, { onVerdict: (v) => verdicts.push(keepVerdict(v)) })
      .finished;
    expect(verdicts).toHaveLength(300);
    expect(verdicts.every(({ state }) => state === "closed")).toBe(true);
    expect(link.sent).toHaveLength(300);
  });

  it("settles what has left meanwhile before each answer, which may be to that", async () => {
    const UNDER_WAY_MS = 30;
    const link = fakeLink(() => undefined);
    const slots = 32;
    // As another thread would: it has what it was given for a while, and begins when the answers are being read already.
    let third = 0;
    let given = 0;
    let began = false;
    let told = false;
    let read = false;
    let onPacket: PacketHandler = () => {};
    const behind: Behind = {
      isFree: () => given === 0,
      third: () => third,
      isBusy: () => given > 0 && !read,
      give: (count) => {
        given = count;
        third = 1;
        setTimeout(() => {
          began = true;
        }, UNDER_WAY_MS);
        return true;
      },
      take: () => {
        if (!told || read) return undefined;
        read = true;
        return { third: 0, count: given, sent: given, isFirst: true, isOver: true, sinceUs: 10, untilUs: 0 };
      },
      wait: () => {},
    };
    const slow: Link = {
      ...link,
      batch: {
        ...link.batch,
        data: new Uint8Array(3 * slots * SLOT),
        lengths: new Uint16Array(3 * slots),
        slots: 3 * slots,
      },
      behind,
      listen: (handler) => {
        onPacket = handler;
      },
      drain: () => {
        if (!began || told) return true;
        told = true;
        for (let slot = 0; slot < given; slot++) {
          const syn = slow.batch.data.slice(slot * SLOT, slot * SLOT + slow.batch.lengths[slot]);
          const answer = refused(syn);
          onPacket(answer, 0, answer.length, 0);
        }
        return true;
      },
    };
    const verdicts: Verdict[] = [];
    await runEventLoop(engine(range(slots)), slow, { onVerdict: (v) => verdicts.push(keepVerdict(v)) })
      .finished;
    expect(verdicts).toHaveLength(slots);
    // Counted from when it was filled, each round trip would hold all that time.
    for (const { rttUs } of verdicts) expect(rttUs).toBeLessThan((UNDER_WAY_MS * 1000) / 2);
  });

  it("waits for deadlines when nothing answers", async () => {
    const verdicts: Verdict[] = [];
    const link = fakeLink(() => undefined);
    const start = nowUs();
    await runEventLoop(engine([80], { retries: 1, timeoutUs: 20_000 }), link, {
      onVerdict: (v) => verdicts.push(keepVerdict(v)),
    }).finished;
    expect(verdicts).toMatchObject([{ state: "filtered", reason: "no-response", tries: 2 }]);
    expect(nowUs() - start).toBeGreaterThanOrEqual(40_000);
  });

  it("tells the engine exactly which packet was refused, and sends the others", async () => {
    const verdicts: Verdict[] = [];
    const link = fakeLink(refused, (n) => (n === 2 ? "EACCES" : undefined));
    await runEventLoop(engine(range(6)), link, { onVerdict: (v) => verdicts.push(keepVerdict(v)) }).finished;
    const byState = (state: string) => verdicts.filter((v) => v.state === state).map(({ port }) => port);
    expect(byState("filtered")).toEqual([3]);
    expect(byState("closed").sort()).toEqual([1, 2, 4, 5, 6]);
    expect(verdicts.find(({ port }) => port === 3)?.reason).toBe("send-eacces");
  });

  it("sends again what found no room", async () => {
    const verdicts: Verdict[] = [];
    const link = fakeLink(refused, (n) => (n < 3 ? "ENOBUFS" : undefined));
    await runEventLoop(engine(range(3)), link, { onVerdict: (v) => verdicts.push(keepVerdict(v)) }).finished;
    expect(verdicts.map(({ state, tries }) => `${state} ${tries}`)).toEqual([
      "closed 1",
      "closed 1",
      "closed 1",
    ]);
  });

  it("reads what waits before it lets a deadline pass, however long it was held up", async () => {
    const verdicts: Verdict[] = [];
    const link = fakeLink(refused);
    const { send } = link;
    link.send = (first, count) => {
      const taken = send(first, count);
      // The process gets no turn until the deadline is long over; the answers are there all the while.
      for (const end = nowUs() + 60_000; nowUs() < end; );
      return taken;
    };
    await runEventLoop(engine(range(4), { retries: 0, timeoutUs: 20_000 }), link, {
      onVerdict: (v) => verdicts.push(keepVerdict(v)),
    }).finished;
    expect(verdicts.map(({ state }) => state)).toEqual(["closed", "closed", "closed", "closed"]);
  });

  it("stops when told to, and hands over what had been found", async () => {
    const verdicts: Verdict[] = [];
    const running = runEventLoop(
      engine([1, 2], { timeoutUs: 60_000_000 }),
      fakeLink((packet) => (tcp.destinationPort(packet, 20) === 1 ? refused(packet) : undefined)),
      {
        onVerdict: (v) => {
          verdicts.push(keepVerdict(v));
          running.stop();
        },
      },
    );
    await running.finished;
    expect(verdicts).toMatchObject([{ port: 1, state: "closed" }]);
  });

  const completed = (prober: Engine): Engine =>
    createHandshakes(prober, {
      paths: [{ local: LOCAL_4, ttl: 64 }],
      bannerUs: 60_000_000,
      closeUs: 60_000_000,
    });
  const canaries = {
    controlPorts: { first: 40_000, last: 40_063 },
    canaryPorts: Uint16Array.of(50_001, 50_002),
  };
  const WAITING = [
    // Whose verdicts wait for canaries, which do not leave any more …
    ["of a host that may be a tarpit", canaries, (prober: Engine) => prober],
    // … and for what the host says behind its SYN-ACK.
    ["whose handshakes are completed", { keepHandshakes: true }, completed],
    ["for which both holds", { ...canaries, keepHandshakes: true }, completed],
  ] as const;
  it.each(WAITING)("hands over open ports %s that are found while it stops", async (_, overrides, wrap) => {
    const verdicts: Verdict[] = [];
    const link = fakeLink(() => undefined);
    const prober = wrap(engine(range(7), overrides));
    const running = runEventLoop(prober, link, { onVerdict: (v) => verdicts.push(keepVerdict(v)) });
    // The last one stays under way: the run ends when its time is up.
    const syns = link.sent.filter((packet) => tcp.destinationPort(packet, 20) < 7);
    expect(syns).toHaveLength(6);
    running.stop(50);
    expect(verdicts).toEqual([]);
    for (const syn of syns) link.arrive(accepted(syn));
    await running.finished;
    expect(verdicts.map(({ port, state }) => `${port} ${state}`)).toEqual(range(6).map((n) => `${n} open`));
    expect(prober.counts.decided).toBe(6);
  });

  it.each(WAITING)("hands over open ports %s when the link fails behind them", async (_, overrides, wrap) => {
    const verdicts: Verdict[] = [];
    const link = fakeLink(() => undefined);
    const prober = wrap(engine(range(7), overrides));
    const running = runEventLoop(prober, link, { onVerdict: (v) => verdicts.push(keepVerdict(v)) });
    const { drain } = link;
    link.drain = () => {
      drain();
      throw new Error("socket gone");
    };
    for (const syn of link.sent.filter((packet) => tcp.destinationPort(packet, 20) < 7))
      link.arrive(accepted(syn));
    await expect(running.finished).rejects.toThrow("socket gone");
    const told = verdicts.map(({ port, state }) => `${port} ${state}`);
    expect(told.sort()).toEqual(range(6).map((n) => `${n} open`));
    expect(prober.counts.decided).toBe(6);
  });

  it("ends with the link's error, or with the error of whoever takes the verdicts", async () => {
    const link = fakeLink(() => undefined);
    const running = runEventLoop(engine([1], { timeoutUs: 60_000_000 }), link, { onVerdict: () => {} });
    link.fail(new Error("socket gone"));
    await expect(running.finished).rejects.toThrow("socket gone");
    const throwing = runEventLoop(engine([1]), fakeLink(refused), {
      onVerdict: () => {
        throw new Error("full");
      },
    });
    await expect(throwing.finished).rejects.toThrow("full");
  });
});

describe("the tracer", () => {
  it("shows each packet once, before its answer, and the refused ones as such", async () => {
    const seen: string[] = [];
    const link = traceLink(
      fakeLink(refused, (n) => (n === 1 ? "ENOBUFS" : undefined)),
      (event, bytes, at) => {
        const port =
          event === "received" ? tcp.sourcePort(bytes, at + 20) : tcp.destinationPort(bytes, at + 20);
        seen.push(`${event} ${port}`);
      },
    );
    await runEventLoop(engine([1, 2]), link, { onVerdict: () => {} }).finished;
    expect(seen).toEqual(["sent 1", "refused 2", "received 1", "sent 2", "received 2"]);
  });
});
