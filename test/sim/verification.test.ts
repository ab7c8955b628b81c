/** Silent pairs that are asked once more when all are decided: which, when, how often, and what they then show. */
import { describe, expect, it } from "vitest";
import type { LabDescription } from "../../src/lab/description.ts";
import type { Engine } from "../../src/scan/engine/engine.ts";
import * as ipv4 from "../../src/wire/ipv4.ts";
import * as tcp from "../../src/wire/tcp.ts";
import { ALL, someOf } from "../everyday.ts";
import { calibrate, describeModel, holds, LOSS_MODELS } from "./loss-models.ts";
import { segmentTo } from "./network.ts";
import { drainVerdicts, engineFor, target, transmit } from "./run.ts";
import { scanTruth } from "./truth.ts";

const SECOND = 1_000_000;
const RATE = { rate: { minimum: 10, maximum: 20_000 } };
/** Half of the hosts answer, a twentieth of the ports is open; loss as described. */
const network = (more: Partial<LabDescription["hosts"][number]> = {}, path = {}): LabDescription => ({
  seed: 3,
  path: { latencyMs: 30, ...path },
  hosts: [
    {
      range: "198.18.0.0/20",
      ports: [{ share: 0.05, is: "open" }],
      mix: [{ share: 0.5, rest: "silent", ports: [] }],
      ...more,
    },
  ],
});
const SIZE = { hosts: 128, ports: 10, seed: 3 };

/** Its count of SYNs by pair, pilots left out, and when each left. */
function watch(description: LabDescription, overrides = {}, size = SIZE) {
  const sent = new Map<string, number[]>();
  const [score] = scanTruth(description, size, { ...RATE, ...overrides }, 1, {
    isLost: (packet, nowUs) => {
      const sourcePort = (packet[20] << 8) | packet[21];
      const key = `${packet[18]}.${packet[19]}:${(packet[22] << 8) | packet[23]}`;
      if (sourcePort >= 64_402 && sourcePort < 64_402 + 1024 - 64) {
        sent.set(key, [...(sent.get(key) ?? []), nowUs]);
      }
      return false;
    },
  });
  return { ...score, sent };
}

describe("verification", () => {
  const { size: _, ...model } = { size: undefined, ...LOSS_MODELS["host-1-2s"] };
  const inBursts = (verify: "auto" | "off") =>
    scanTruth(describeModel(model, 11), { hosts: 1024, ports: 10, seed: 11 }, { ...RATE, verify })[0];

  it("finds what bursts hid from all tries, and says so", () => {
    const without = inBursts("off");
    const score = inBursts("auto");
    expect(without.missed).toBeGreaterThan(0);
    expect(without.counts.path.verified).toBe(0);
    expect(score.missed).toBe(0);
    expect(score.counts.path.verifiedOpen).toBe(without.missed);
    expect(score.counts.path.verifiedClosed).toBeGreaterThan(10);
    expect(score.twice).toBe(0);
    expect(score.falseOpen).toBe(0);
    expect(score.stated.high).toBeGreaterThanOrEqual(score.missed);
    // What comes then is in time, not late.
    expect(score.counts.late).toBeLessThanOrEqual(without.counts.late + 5);
  });

  it("waits for a host that has not answered yet as long as the first tries did", () => {
    const far = {
      range: "198.18.0.9",
      rest: "closed" as const,
      path: { latencyMs: 500, outages: [{ fromMs: 0, toMs: 2500 }] },
    };
    const description = { path: { latencyMs: 1 }, hosts: [{ range: "198.18.0.0/26" }, far] };
    const [score] = scanTruth(description, { hosts: 64, ports: 2 }, { ...RATE, verify: "all" });
    expect([score.closedRight, score.counts.path.verifiedClosed]).toEqual([score.closed, 2]);
  });

  it("asks nobody where nothing was lost, unless told to ask all", () => {
    const auto = watch(network());
    const off = watch(network(), { verify: "off" });
    expect(auto.counts.path.verified).toBe(0);
    expect([auto.sent, auto.us]).toEqual([off.sent, off.us]);
    const all = watch(network(), { verify: "all" });
    expect(all.counts.path.verified).toBe(all.filtered);
    expect(all.stated).toEqual({ expected: 0, low: 0, high: 0 });
    for (const times of all.sent.values()) {
      const last = times.at(-1) ?? 0;
      if (times.length > 1) expect(last - times[times.length - 2]).toBeGreaterThanOrEqual(3 * SECOND);
    }
  });

  it("is waited for where few were lost, which may be all that shows of bursts, if that takes little of the run's time; and not where many were, independently", () => {
    const size = { hosts: 512, ports: 10, seed: 3 };
    const few = (options: typeof RATE) => {
      let sent = 0;
      const isLost = (): boolean => ++sent % 500 === 0 && sent <= 1500;
      return scanTruth(network(), size, options, 1, { isLost })[0].counts.path;
    };
    const slow = few({ rate: { minimum: 10, maximum: 200 } });
    expect(slow.lost).toBeLessThan(20);
    expect(slow.verified).toBeGreaterThanOrEqual(200);
    const fast = few(RATE);
    expect([fast.lost > 0, fast.verified, fast.unseen > 0]).toEqual([true, 0, true]);
    const many = scanTruth(network({}, { loss: 0.03 }), size, RATE)[0].counts.path;
    expect(many.lost).toBeGreaterThan(50);
    expect([many.verified, many.unseen > 0]).toEqual([0, true]);
  });

  it.runIf(ALL)(
    "keeps its rate when a control is lost while it waits, in a run that was too short to find one",
    () => {
      // Each pair is away 5 % of the time: its controls lose some, at a few SYNs a second.
      const one = calibrate(LOSS_MODELS["pair-2s"], 3036);
      expect(one.missed.true).toBeLessThanOrEqual(5);
      expect(holds(one.missed)).toBe(true);
    },
  );

  it.each(
    someOf(2, [
      // Of its open ports nothing was lost twice; without a sample 204 ports that answer would be called silent, and 75 stated.
      ["only closed ports, which may be limited, show that what is lost stays lost", 4183],
      // Of its sample as many answered as the doubts said, 123 in all; that is more doubt than was asked for.
      ["the sample shows more doubt than was asked for", 5035],
    ]),
  )("asks silent pairs again where %s", (_, seed) => {
    const one = calibrate(LOSS_MODELS["pair-2s"], seed);
    expect(one.missed.true).toBeLessThanOrEqual(5);
    expect(holds(one.missed)).toBe(true);
  });

  it("asks nobody where hosts limit their RSTs: each keeps back several, and what is lost stays lost", () => {
    const limiting = network({ rstLimit: { ratePps: 10, burst: 3 } }, { jitterMs: 10, loss: 0.01 });
    const [{ counts }] = scanTruth(limiting, { hosts: 512, ports: 10, seed: 3 }, RATE);
    expect([counts.path.lost > 20, counts.path.verified]).toEqual([true, 0]);
  });

  it("counts as asked only those to which a SYN has left, where limits of hosts and networks hold some back", () => {
    const limits = { ratePerHost: 10, rate: { minimum: 10, maximum: 60 } };
    const size = { ...SIZE, hosts: 32 };
    const { counts, sent } = watch(network(), { verify: "all", ...limits }, size);
    const first = watch(network(), { verify: "off", ...limits }, size);
    const of = (times: typeof sent): number =>
      [...times.values()].reduce((sum, { length }) => sum + length, 0);
    expect(counts.path.verified).toBe(of(sent) - of(first.sent));
    expect(counts.path.verified).toBeGreaterThan(50);
  });

  it("sends no port more SYNs than --retries allows", () => {
    for (const retries of [0, 1, 3]) {
      const { sent, counts } = watch(network({}, { loss: 0.1 }), { retries, verify: "all" });
      expect(Math.max(...[...sent.values()].map((times) => times.length))).toBe(1 + retries);
      if (retries === 0) expect(counts.path.verified).toBe(0);
    }
  });

  it("ends a round that takes too long, and counts nobody as asked who was not", () => {
    const sent = new Map<string, number[]>();
    let decided = 0;
    let endUs = 0;
    const [score] = scanTruth(network(), SIZE, { rate: { minimum: 10, maximum: 50 } }, 1, {
      onVerdict: ({ was }, nowUs) => {
        if (was === null && ++decided === SIZE.hosts * SIZE.ports) endUs = nowUs;
      },
      // A quarter of the hosts is away until all is decided; one SYN to some others is lost.
      isLost: (packet, nowUs) => {
        const sourcePort = (packet[20] << 8) | packet[21];
        const key = `${packet[19]}:${(packet[22] << 8) | packet[23]}`;
        const times = sent.get(key) ?? [];
        if (sourcePort < 64_402 + 1024 - 64) sent.set(key, [...times, nowUs]);
        if (endUs > 0) return false;
        return packet[19] % 4 === 1 || (packet[19] % 16 === 2 && times.length === 0);
      },
    });
    // The half of a round is not taken for a whole one.
    const { verifiedLast, verifiedBefore, verifiedOpen, verifiedClosed } = score.counts.path;
    expect([verifiedLast, verifiedBefore]).toEqual([verifiedOpen + verifiedClosed, 0]);
    const late = [...sent.values()].filter((times) => (times.at(-1) ?? 0) > endUs).length;
    expect(score.counts.path.verifiedClosed).toBeGreaterThan(20);
    expect(score.counts.path.verified).toBeLessThanOrEqual(late);
    expect(score.counts.path.verified).toBeGreaterThan(late / 2);
    expect(Math.max(...[...sent.values()].map((times) => times.length))).toBeLessThanOrEqual(11);
    expect(score.us - endUs).toBeLessThan(40 * SECOND);
  });

  it("asks no silent port of a host that was found to limit its RSTs", () => {
    const ports = [
      { share: 0.05, is: "open" as const },
      { share: 0.3, is: "silent" as const },
    ];
    const limited = watch(
      network({ ports, rstLimit: { ratePps: 10, burst: 10 } }),
      { verify: "all", retries: 20 },
      { hosts: 20, ports: 100, seed: 3 },
    );
    const found = limited.found.hosts.length;
    expect(found).toBeGreaterThan(3);
    expect(limited.filtered - limited.counts.path.verified).toBeGreaterThan(20 * found);
  });
});

describe("silences that are held back", () => {
  const PORTS = 60;
  const WAIT_US = 100_000;

  /**
   * After three seconds of silent ports, twenty SYNs a second, on a path that has lost the first SYN to an open port.
   * @returns when the last SYN to each port left
   */
  function held(): { engine: Engine; sentUs: ReadonlyMap<number, number>; nowUs: number } {
    const engine = engineFor(
      [target("198.18.0.2", 80), target("198.18.0.3", ...Array.from({ length: PORTS }, (_, i) => 1 + i))],
      { retries: 8, timeoutUs: WAIT_US, confidence: 0.9, verify: "off", rate: 20 },
    );
    const sentUs = new Map<number, number>();
    let tries = 0;
    let nowUs = 0;
    for (; nowUs < 3 * SECOND; nowUs = Math.max(nowUs + 1, engine.pollTimeout(nowUs))) {
      engine.handleTimeout(nowUs);
      for (let probe = transmit(engine, nowUs); probe !== undefined; probe = transmit(engine, nowUs)) {
        if (probe[19] === 3) sentUs.set((probe[22] << 8) | probe[23], nowUs);
        else if (++tries === 2) {
          const acknowledgement = (tcp.sequence(probe, ipv4.HEADER_LENGTH) + 1) >>> 0;
          const answer = segmentTo(probe, { flags: tcp.FLAGS.SYN | tcp.FLAGS.ACK, acknowledgement });
          engine.handlePacket(answer, 0, answer.length, nowUs + 10);
        }
      }
    }
    return { engine, sentUs, nowUs };
  }

  it("are told when the run is given up", () => {
    const { engine, sentUs, nowUs } = held();
    const undecided = (): number => engine.inFlight;
    const underWay = [...sentUs.values()].filter((us) => us > nowUs - 4 * WAIT_US).length;
    expect(undecided()).toBeGreaterThan(underWay + 5);
    drainVerdicts(engine);
    engine.abandon(nowUs);
    expect(undecided()).toBeLessThanOrEqual(underWay);
    const told = drainVerdicts(engine);
    expect(told.length).toBeGreaterThan(5);
    for (const verdict of told) expect(verdict).toMatchObject({ state: "filtered", reason: "no-response" });
  });

  it("are tried again as a sample, from all times alike, before the last are decided", () => {
    const MANY = 1000;
    const ports = Array.from({ length: MANY }, (_, i) => 1 + i);
    const engine = engineFor([target("198.18.0.2", 80), target("198.18.0.3", ...ports)], {
      retries: 8,
      timeoutUs: WAIT_US,
      confidence: 0.9,
      verify: "off",
      rate: 2000,
    });
    const sent = new Map<number, number>();
    let tries = 0;
    for (let nowUs = 0; !engine.done; nowUs = Math.max(nowUs + 1, engine.pollTimeout(nowUs))) {
      engine.handleTimeout(nowUs);
      for (let probe = transmit(engine, nowUs); probe !== undefined; probe = transmit(engine, nowUs)) {
        const port = (probe[22] << 8) | probe[23];
        if (probe[19] === 3) sent.set(port, (sent.get(port) ?? 0) + 1);
        else if (++tries === 2) {
          const acknowledgement = (tcp.sequence(probe, ipv4.HEADER_LENGTH) + 1) >>> 0;
          const answer = segmentTo(probe, { flags: tcp.FLAGS.SYN | tcp.FLAGS.ACK, acknowledgement });
          engine.handlePacket(answer, 0, answer.length, nowUs + 10);
        }
      }
    }
    const fewest = Math.min(...sent.values());
    const sample = ports.filter((port) => (sent.get(port) ?? 0) > fewest);
    const early = sample.filter((port) => port <= MANY / 2).length;
    expect(sample.length).toBeGreaterThan(150);
    expect(sample.length).toBeLessThanOrEqual(200);
    expect(Math.abs(early - sample.length / 2)).toBeLessThan(20);
  });
});

describe("an engine that verifies", () => {
  const answerTo = (probe: Uint8Array, flags: number, off = 1): Uint8Array =>
    segmentTo(probe, { flags, acknowledgement: (tcp.sequence(probe, ipv4.HEADER_LENGTH) + off) >>> 0 });

  /** One silent pair that has just been given up. */
  function givenUp(overrides = {}): { engine: Engine; lastUs: number; nowUs: number } {
    const engine = engineFor([target("198.18.0.2", 80)], {
      retries: 3,
      timeoutUs: 100_000,
      confidence: 0.9,
      verify: "all",
      ...overrides,
    });
    let nowUs = 0;
    let lastUs = 0;
    while (engine.counts.decided === 0) {
      engine.handleTimeout(nowUs);
      while (transmit(engine, nowUs) !== undefined) lastUs = nowUs;
      nowUs = Math.max(nowUs + 1, engine.pollTimeout(nowUs));
    }
    return { engine, lastUs, nowUs };
  }

  /** Runs it until its next SYN leaves. */
  function untilAsked(engine: Engine, fromUs: number): number {
    for (let nowUs = fromUs; !engine.done; nowUs = Math.max(nowUs + 1, engine.pollTimeout(nowUs))) {
      engine.handleTimeout(nowUs);
      if (transmit(engine, nowUs) !== undefined) return nowUs;
    }
    throw new Error("it ended without");
  }

  function toEnd(engine: Engine, fromUs: number): number {
    let nowUs = fromUs;
    for (; !engine.done; nowUs = Math.max(nowUs + 1, engine.pollTimeout(nowUs))) {
      engine.handleTimeout(nowUs);
      expect(transmit(engine, nowUs)).toBe(undefined);
    }
    return nowUs;
  }

  it("is not done before, and tells its verdict once", () => {
    const { engine, lastUs, nowUs } = givenUp();
    expect(drainVerdicts(engine)).toMatchObject([{ state: "filtered", reason: "no-response" }]);
    expect(engine.done).toBe(false);
    const askedUs = untilAsked(engine, nowUs);
    expect(askedUs - lastUs).toBeGreaterThanOrEqual(3 * SECOND);
    toEnd(engine, askedUs);
    expect(drainVerdicts(engine)).toEqual([]);
    expect(engine.counts.path.verified).toBe(1);
  });

  it("ends where a host's time was up before the first SYN to some of its ports", () => {
    const ports = Array.from({ length: 60 }, (_, i) => 1 + i);
    const engine = engineFor([target("198.18.0.3", ...ports)], {
      retries: 2,
      timeoutUs: 100_000,
      verify: "all",
      rate: 20,
      hostTimeoutUs: SECOND,
    });
    let syns = 0;
    for (let nowUs = 0; !engine.done; nowUs = Math.max(nowUs + 1, engine.pollTimeout(nowUs))) {
      engine.handleTimeout(nowUs);
      while (transmit(engine, nowUs) !== undefined) syns++;
    }
    const { reasons, path } = engine.counts;
    expect(reasons.filtered["host-timeout"]).toBeGreaterThan(30);
    expect([syns < 25, path.verified]).toEqual([true, 0]);
  });

  it("ends at once when it is given up", () => {
    const { engine, nowUs } = givenUp();
    engine.handleTimeout(nowUs);
    expect(engine.done).toBe(false);
    engine.abandon(nowUs);
    expect(engine.done).toBe(true);
  });

  it("sends none of the SYNs that still wait when a round has taken too long", () => {
    const PORTS = 60;
    const ports = Array.from({ length: PORTS }, (_, i) => 1 + i);
    const engine = engineFor([target("198.18.0.2", 80), target("198.18.0.3", ...ports)], {
      retries: 8,
      timeoutUs: 100_000,
      confidence: 0.9,
      verify: "auto",
      rate: 20,
    });
    let tries = 0;
    let nowUs = 0;
    for (; engine.counts.decided <= PORTS; nowUs = Math.max(nowUs + 1, engine.pollTimeout(nowUs))) {
      engine.handleTimeout(nowUs);
      for (let probe = transmit(engine, nowUs); probe !== undefined; probe = transmit(engine, nowUs)) {
        // The first SYN to the open port is lost.
        if (probe[19] === 3 || ++tries < 2) continue;
        const answer = answerTo(probe, tcp.FLAGS.SYN | tcp.FLAGS.ACK);
        engine.handlePacket(answer, 0, answer.length, nowUs + 10);
      }
    }
    const { sent } = engine.counts;
    // Some are to be asked at once; nothing is sent for so long that the round is over.
    for (const afterUs of [0, 1000, 2000, 60 * SECOND]) {
      expect(engine.done).toBe(false);
      engine.handleTimeout(nowUs + afterUs);
    }
    expect(engine.done).toBe(true);
    expect(transmit(engine, nowUs + 60 * SECOND)).toBe(undefined);
    expect(engine.counts).toMatchObject({ sent, path: { verified: 0 } });
  });

  it("counts nobody as asked whom it could not send to", () => {
    const { engine, nowUs } = givenUp();
    const before = engine.counts.sent;
    const askedUs = untilAsked(engine, nowUs);
    engine.handleRefusal(0, "EHOSTUNREACH", askedUs);
    toEnd(engine, askedUs + 1);
    expect(engine.counts.path.verified).toBe(0);
    expect(engine.counts.sent).toBe(before);
  });

  /** Of three ports one is open; a second answers for the first time in verification, and the third's SYN of that may be refused. */
  function afterAnswer(
    retries: number,
    refuses: boolean,
  ): { engine: Engine; sent: ReadonlyMap<number, number> } {
    const three = [target("198.18.0.2", 80), target("198.18.0.3", 81), target("198.18.0.4", 82)];
    const engine = engineFor(three, {
      retries,
      timeoutUs: 100_000,
      confidence: 0.9,
      verify: "all",
    });
    const sent = new Map<number, number>();
    let isRefused = !refuses;
    let isAnswered = false;
    let nowUs = 0;
    for (let turn = 0; turn < 10_000 && !engine.done; turn++) {
      engine.handleTimeout(nowUs);
      for (let probe = transmit(engine, nowUs); probe !== undefined; probe = transmit(engine, nowUs)) {
        const host = probe[19];
        sent.set(host, (sent.get(host) ?? 0) + 1);
        if (engine.counts.decided < 3 && host !== 4) continue;
        if (host === 2 && !isRefused) {
          isRefused = true;
          engine.handleRefusal(0, "ENOBUFS", nowUs);
        } else if (host === 4 || (host === 3 && !isAnswered)) {
          isAnswered ||= host === 3;
          const acknowledgement = (tcp.sequence(probe, ipv4.HEADER_LENGTH) + 1) >>> 0;
          const answer = segmentTo(probe, { flags: tcp.FLAGS.SYN | tcp.FLAGS.ACK, acknowledgement });
          engine.handlePacket(answer, 0, answer.length, nowUs + 10);
        }
      }
      nowUs = Math.max(nowUs + 1, engine.pollTimeout(nowUs));
    }
    expect([isRefused, isAnswered, engine.done]).toEqual([true, true, true]);
    return { engine, sent };
  }

  it("asks again whom it could not send to, when another has answered", () => {
    const { engine, sent } = afterAnswer(6, true);
    expect(engine.counts.path).toMatchObject({ verified: 2, verifiedOpen: 1, verifiedClosed: 0 });
    expect(engine.counts.path).toMatchObject({ verifiedLast: 0, verifiedBefore: 1 });
    for (const count of sent.values()) expect(count).toBeLessThanOrEqual(7);
  });

  it("begins no further round when nobody has a try left: it would seem to find nothing", () => {
    const { engine } = afterAnswer(2, false);
    expect(engine.counts.path).toMatchObject({ verified: 2, verifiedLast: 1, verifiedBefore: 0 });
  });

  it("asks nobody whose silence was broken by a reset that proves nothing", () => {
    const engine = engineFor([target("198.18.0.2", 80, 81)], {
      retries: 3,
      timeoutUs: 100_000,
      confidence: 0.9,
      verify: "all",
    });
    const asked: number[] = [];
    for (let nowUs = 0; !engine.done; nowUs = Math.max(nowUs + 1, engine.pollTimeout(nowUs))) {
      engine.handleTimeout(nowUs);
      for (let probe = transmit(engine, nowUs); probe !== undefined; probe = transmit(engine, nowUs)) {
        const port = (probe[22] << 8) | probe[23];
        if (engine.counts.decided === 2) asked.push(port);
        const answer = answerTo(probe, tcp.FLAGS.RST | tcp.FLAGS.ACK, 77);
        if (port === 80) engine.handlePacket(answer, 0, answer.length, nowUs + 10);
      }
    }
    expect(engine.counts.reasons.filtered).toMatchObject({ "unproved-reset": 1, "no-response": 1 });
    expect(asked).toEqual([81]);
  });

  it("asks in no more than four rounds, each for what answered in the one before", () => {
    const PORTS = 60;
    const ports = Array.from({ length: PORTS }, (_, i) => 1 + i);
    const engine = engineFor([target("198.18.0.2", ...ports), target("198.18.0.3", PORTS)], {
      retries: 20,
      timeoutUs: 100_000,
      confidence: 0.9,
      verify: "all",
    });
    const asked = new Map<number, number>();
    for (let nowUs = 0; !engine.done; nowUs = Math.max(nowUs + 1, engine.pollTimeout(nowUs))) {
      engine.handleTimeout(nowUs);
      for (let probe = transmit(engine, nowUs); probe !== undefined; probe = transmit(engine, nowUs)) {
        const port = (probe[22] << 8) | probe[23];
        const isOther = probe[19] === 3;
        if (!isOther && engine.counts.decided <= PORTS) continue;
        const round = (asked.get(port) ?? 0) + 1;
        if (!isOther) asked.set(port, round);
        // Half of them answer in the first round, one more in each further.
        const answer = answerTo(probe, tcp.FLAGS.RST | tcp.FLAGS.ACK);
        if (isOther || port > PORTS / 2 || port < round)
          engine.handlePacket(answer, 0, answer.length, nowUs + 10);
      }
    }
    expect(engine.counts.path).toMatchObject({ verifiedBefore: 1, verifiedLast: 1 });
    expect(asked.get(PORTS / 2)).toBe(4);
  });

  it("asks a sample of two hundred where a larger share of the SYNs is less, and nobody where none was lost", () => {
    const MANY = 500;
    for (const isLost of [true, false]) {
      const ports = Array.from({ length: MANY }, (_, i) => 1 + i);
      const engine = engineFor([target("198.18.0.2", 80), target("198.18.0.3", ...ports)], {
        retries: 8,
        timeoutUs: 100_000,
        confidence: 0.9,
        verify: "auto",
        rate: 100,
      });
      let tries = 0;
      for (let nowUs = 0; !engine.done; nowUs = Math.max(nowUs + 1, engine.pollTimeout(nowUs))) {
        engine.handleTimeout(nowUs);
        for (let probe = transmit(engine, nowUs); probe !== undefined; probe = transmit(engine, nowUs)) {
          if (probe[19] === 3 || (++tries === 1 && isLost)) continue;
          const answer = answerTo(probe, tcp.FLAGS.SYN | tcp.FLAGS.ACK);
          engine.handlePacket(answer, 0, answer.length, nowUs + 10);
        }
      }
      expect(engine.counts.path.verified).toBe(isLost ? 200 : 0);
    }
  });

  it("ends where its host's time is up", () => {
    const { engine, nowUs } = givenUp({ hostTimeoutUs: 2 * SECOND });
    toEnd(engine, nowUs);
    expect(engine.counts.path.verified).toBe(0);
  });
});
