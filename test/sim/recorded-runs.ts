/**
 * Whole runs against simulated hosts, under a virtual clock, of which every packet, verdict, count and finding is recorded: for
 * digest.ts and recorded-runs.test.ts.
 */
import type { Engine } from "../../src/scan/engine/engine.ts";
import type { Verdict } from "../../src/scan/probe/verdict.ts";
import { createSourcePorts } from "../../src/socket/ports.ts";
import { createAnswers, createEngineInMemory, SLOT_LENGTH, SLOTS } from "../bench/in-memory.ts";
import { createNetwork } from "./network.ts";
import { createSeededRandom } from "./random.ts";
import { address, engineFor, runToEnd, type Target } from "./run.ts";
import { scanTruth, UNTOLD } from "./truth.ts";

export interface Recorder {
  /** The packet leaves. */
  packet(bytes: Uint8Array, nowUs: number): void;
  /** A verdict, or anything else that is found. */
  value(found: Verdict | object, nowUs: number): void;
}

const endOf = (engine: Engine, nowUs: number) => ({
  counts: engine.counts,
  hosts: engine.hostFindings(),
  outages: engine.outages(nowUs),
  bursts: engine.bursts() ?? null,
  rate: engine.rateMetrics(),
});

export function ofLab(
  record: Recorder,
  description: Parameters<typeof scanTruth>[0],
  size: { hosts: number; ports: number; seed: number },
  overrides = {},
  more: Parameters<typeof scanTruth>[4] = {},
): void {
  const [score] = scanTruth(description, size, overrides, 1, {
    ...more,
    onVerdict: record.value,
    isLost: (packet, nowUs) => {
      // The buffer is longer than the packet: what is left of others is the same each time.
      record.packet(packet.subarray(0, 64), nowUs);
      return false;
    },
  });
  record.value({ counts: score.counts, found: score.found, rates: score.rates, us: score.us }, 0);
}

/** Hosts of both IP versions, of every kind of answer, with loss, duplicates and answers that overtake each other. */
export function ofEveryAnswer(record: Recorder, seed: number, retries: number, hosts = 400): void {
  const random = createSeededRandom(seed);
  const targets: Target[] = Array.from({ length: hosts }, (_, i) => ({
    address: address(i % 2 === 0 ? `198.18.${i >> 8}.${i & 255}` : `2001:db8:${i % 7}::${i.toString(16)}`),
    ports: Uint16Array.from({ length: 12 }, (_, port) => 20 + port),
  }));
  const kinds = ["open", "closed", "silent", "closed", "open", "split", "forged"] as const;
  const network = createNetwork({
    random,
    latencyUs: 20_000,
    jitterUs: 30_000,
    loss: 0.05,
    duplication: 0.05,
    behaviour: (packet, at, port) => {
      const kind = (packet[at + 19] + 3 * packet[at + 39] + port * (1 + (packet[at + 19] & 3))) % 11;
      if (kind === 9) return { icmp: packet[at] >> 4 === 4 ? [3, 13] : [1, 1] };
      if (kind === 10)
        return {
          icmp: packet[at] >> 4 === 4 ? [11, 0] : [3, 0],
          from: address(packet[at] >> 4 === 4 ? "192.0.2.9" : "2001:db8::9"),
        };
      return kinds[kind % kinds.length];
    },
  });
  const { send } = network;
  const engine = engineFor(targets, {
    ...UNTOLD,
    // Of this run alone: they go on where the last left off.
    ports: createSourcePorts(64_402, 65_470, 1),
    ...(hosts < 400 ? { capacity: 1 << 12 } : {}),
    retries,
    seed,
    rate: { minimum: 10, maximum: 100_000 },
    ...(seed % 2 === 0 ? { ratePerHost: 200, hostTimeoutUs: 2_000_000 } : {}),
    keepHandshakes: seed % 3 === 0,
  });
  network.send = (bytes, at, length, nowUs) => {
    record.packet(bytes.subarray(at, at + length), nowUs);
    send(bytes, at, length, nowUs);
  };
  const endUs = runToEnd(engine, network, (verdict) => record.value(verdict, 0));
  record.value(endOf(engine, endUs), endUs);
}

/** Batches, as a link sends them, some of them refused, at a rate that is close to the highest; answers that come out of turn. */
export function ofBatches(
  record: Recorder,
  family: 4 | 6,
  pairs: number,
  options: Parameters<typeof createEngineInMemory>[1],
): void {
  const engine = createEngineInMemory(family, options);
  const packets = new Uint8Array(SLOTS * SLOT_LENGTH);
  const { answer, answerTo } = createAnswers(family);
  const random = createSeededRandom(pairs);
  let nowUs = 0.5;
  while (!engine.done && engine.counts.decided < pairs) {
    let count = 0;
    for (; count < SLOTS; count++) {
      const length = engine.pollTransmit(nowUs, packets, count * SLOT_LENGTH, count);
      if (length === 0) break;
      record.packet(packets.subarray(count * SLOT_LENGTH, count * SLOT_LENGTH + length), nowUs);
    }
    const refused = random(50) === 0 ? Math.min(count, 3) : 0;
    if (count > refused) engine.handleDeparture(0, count - refused, nowUs, nowUs + 100.25);
    for (let token = count - refused; token < count; token++) {
      engine.handleRefusal(token, ["ENOBUFS", "EHOSTUNREACH", "EPERM"][random(3)] ?? "", nowUs);
    }
    nowUs += 300.125;
    for (let slot = 0; slot < count - refused; slot++) {
      const silent =
        (packets[slot * SLOT_LENGTH + 19] & 8) !== 0 ||
        (family === 6 && (packets[slot * SLOT_LENGTH + 39] & 8) !== 0);
      if (silent || random(20) === 0) continue;
      answerTo(packets, slot * SLOT_LENGTH);
      for (let times = random(30) === 0 ? 2 : 1; times > 0; times--) {
        engine.handlePacket(answer, 0, answer.length, nowUs, slot);
      }
      if (random(500) === 0) {
        answer[30]++;
        engine.handlePacket(answer, 0, answer.length, nowUs, slot);
      }
    }
    if (random(4000) === 0) engine.handleOverrun(nowUs);
    engine.handleTimeout(nowUs);
    for (let v = engine.pollVerdict(); v !== undefined; v = engine.pollVerdict()) record.value(v, nowUs);
    record.value({ next: engine.pollTimeout(nowUs), lowest: engine.lowestUndecided() }, nowUs);
  }
  record.value(endOf(engine, nowUs), nowUs);
}
