/**
 * `node --import tsx test/sim/digest.ts`: a digest of every packet that simulated scans send and of every verdict, count and finding
 * that they come to. A change that is to change nothing but speed leaves it as it was: run it before and after.
 */
import { createHash } from "node:crypto";
import type { Engine } from "../../src/scan/engine/engine.ts";
import type { Verdict } from "../../src/scan/probe/verdict.ts";
import { createAnswers, createEngineInMemory, SLOT_LENGTH, SLOTS } from "../bench/in-memory.ts";
import { describeModel, LOSS_MODELS, type LossModel } from "./loss-models.ts";
import { createNetwork } from "./network.ts";
import { createSeededRandom } from "./random.ts";
import { randomNetwork } from "./random-networks.ts";
import { address, engineFor, runToEnd, type Target } from "./run.ts";
import { scanTruth, UNTOLD } from "./truth.ts";

function createDigest() {
  const hash = createHash("sha256");
  const textOf = (value: unknown): string =>
    JSON.stringify(value, (_, v) =>
      typeof v === "number" && !Number.isFinite(v)
        ? String(v)
        : ArrayBuffer.isView(v)
          ? [...(v as Uint8Array)]
          : v,
    );
  return {
    packet: (bytes: Uint8Array, nowUs: number) => {
      hash.update(`${nowUs} `).update(bytes);
    },
    /** A verdict, or anything else that is found. */
    value: (found: Verdict | object, nowUs: number) => {
      hash.update(`${nowUs} ${textOf(found)}\n`);
    },
    take: () => hash.digest("hex").slice(0, 16),
  };
}

const endOf = (engine: Engine, nowUs: number) => ({
  counts: engine.counts,
  hosts: engine.hostFindings(),
  outages: engine.outages(nowUs),
  bursts: engine.bursts() ?? null,
  rate: engine.rateMetrics(),
});

function ofLab(
  description: Parameters<typeof scanTruth>[0],
  size: { hosts: number; ports: number; seed: number },
  overrides = {},
  more = {},
): string {
  const digest = createDigest();
  const [score] = scanTruth(description, size, overrides, 1, {
    ...more,
    onVerdict: digest.value,
    isLost: (packet, nowUs) => {
      // The buffer is longer than the packet: what is left of others is the same each time.
      digest.packet(packet.subarray(0, 64), nowUs);
      return false;
    },
  });
  digest.value({ counts: score.counts, found: score.found, rates: score.rates, us: score.us }, 0);
  return digest.take();
}

/** Hosts of both IP versions, of every kind of answer, with loss, duplicates and answers that overtake each other. */
function ofEveryAnswer(seed: number, retries: number): string {
  const digest = createDigest();
  const random = createSeededRandom(seed);
  const targets: Target[] = Array.from({ length: 400 }, (_, i) => ({
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
    retries,
    seed,
    rate: { minimum: 10, maximum: 100_000 },
    ...(seed % 2 === 0 ? { ratePerHost: 200, hostTimeoutUs: 2_000_000 } : {}),
    keepHandshakes: seed % 3 === 0,
  });
  network.send = (bytes, at, length, nowUs) => {
    digest.packet(bytes.subarray(at, at + length), nowUs);
    send(bytes, at, length, nowUs);
  };
  const endUs = runToEnd(engine, network, (verdict) => digest.value(verdict, 0));
  digest.value(endOf(engine, endUs), endUs);
  return digest.take();
}

/** Batches, as a link sends them, some of them refused, at a rate that is close to the highest; answers that come out of turn. */
function ofBatches(
  family: 4 | 6,
  pairs: number,
  options: Parameters<typeof createEngineInMemory>[1],
): string {
  const digest = createDigest();
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
      digest.packet(packets.subarray(count * SLOT_LENGTH, count * SLOT_LENGTH + length), nowUs);
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
    for (let v = engine.pollVerdict(); v !== undefined; v = engine.pollVerdict()) digest.value(v, nowUs);
    digest.value({ next: engine.pollTimeout(nowUs), lowest: engine.lowestUndecided() }, nowUs);
  }
  digest.value(endOf(engine, nowUs), nowUs);
  return digest.take();
}

const adaptive = {
  wait: { initialUs: 1_100_000, minUs: 20_000, maxUs: 10_000_000 },
  rate: { minimum: 10, maximum: 4e6 },
  retries: 10,
};
const runs: [name: string, digest: () => string][] = [
  ...Object.entries<LossModel>(LOSS_MODELS).map(([name, model]): [string, () => string] => [
    name,
    () =>
      ofLab(
        describeModel(model, 3),
        { ...(model.size ?? { hosts: 1024, ports: 10 }), seed: 3 },
        { rate: { minimum: 10, maximum: 20_000 } },
        model.sourcePort === undefined ? {} : { sourcePort: model.sourcePort },
      ),
  ]),
  ...[1, 2, 3, 4, 5, 6].map((seed): [string, () => string] => [
    `random network ${seed}`,
    () => ofLab(randomNetwork(seed).description, { hosts: 512, ports: 10, seed }),
  ]),
  ...[2, 3, 4, 9].map((seed): [string, () => string] => [
    `every answer ${seed}`,
    () => ofEveryAnswer(seed, seed),
  ]),
  ["batches, IPv4", () => ofBatches(4, 150_000, {})],
  ["batches, IPv6", () => ofBatches(6, 150_000, {})],
  ["batches, IPv4, adaptive", () => ofBatches(4, 100_000, adaptive)],
  [
    "batches, IPv6, adaptive, every try",
    () => ofBatches(6, 60_000, { ...adaptive, confidence: 1, retries: 4 }),
  ],
];
const wanted = process.argv[2] ?? "";
for (const [name, digest] of runs) if (name.includes(wanted)) console.log(`${digest()}  ${name}`);
