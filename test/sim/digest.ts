/**
 * `node --import tsx test/sim/digest.ts`: a digest of every packet that simulated scans send and of every verdict, count and finding
 * that they come to. A change that is to change nothing but speed leaves it as it was: run it before and after.
 */
import { createHash } from "node:crypto";
import { describeModel, LOSS_MODELS, type LossModel } from "./loss-models.ts";
import { randomNetwork } from "./random-networks.ts";
import { ofBatches, ofEveryAnswer, ofLab, type Recorder } from "./recorded-runs.ts";

function createDigest(): Recorder & { take(): string } {
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
    packet: (bytes, nowUs) => {
      hash.update(`${nowUs} `).update(bytes);
    },
    value: (found, nowUs) => {
      hash.update(`${nowUs} ${textOf(found)}\n`);
    },
    take: () => hash.digest("hex").slice(0, 16),
  };
}

const adaptive = {
  wait: { initialUs: 1_100_000, minUs: 20_000, maxUs: 10_000_000 },
  rate: { minimum: 10, maximum: 4e6 },
  retries: 10,
};
type Run = [name: string, run: (record: Recorder) => void];
const runs: Run[] = [
  ...Object.entries<LossModel>(LOSS_MODELS).map(
    ([name, model]): Run => [
      name,
      (record) =>
        ofLab(
          record,
          describeModel(model, 3),
          { ...(model.size ?? { hosts: 1024, ports: 10 }), seed: 3 },
          { rate: { minimum: 10, maximum: 20_000 } },
          model.sourcePort === undefined ? {} : { sourcePort: model.sourcePort },
        ),
    ],
  ),
  ...[1, 2, 3, 4, 5, 6].map(
    (seed): Run => [
      `random network ${seed}`,
      (record) => ofLab(record, randomNetwork(seed).description, { hosts: 512, ports: 10, seed }),
    ],
  ),
  ...[2, 3, 4, 9].map((seed): Run => [`every answer ${seed}`, (record) => ofEveryAnswer(record, seed, seed)]),
  ["batches, IPv4", (record) => ofBatches(record, 4, 150_000, {})],
  ["batches, IPv6", (record) => ofBatches(record, 6, 150_000, {})],
  ["batches, IPv4, adaptive", (record) => ofBatches(record, 4, 100_000, adaptive)],
  [
    "batches, IPv6, adaptive, every try",
    (record) => ofBatches(record, 6, 60_000, { ...adaptive, confidence: 1, retries: 4 }),
  ],
];
const wanted = process.argv[2] ?? "";
for (const [name, run] of runs) {
  if (!name.includes(wanted)) continue;
  const digest = createDigest();
  run(digest);
  console.log(`${digest.take()}  ${name}`);
}
