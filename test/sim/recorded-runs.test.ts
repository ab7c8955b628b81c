/**
 * What whole runs come to, by value: SYNs by tenths of a second, verdicts by kind, every count and finding. The other tests of scans
 * say what must hold; here any change of behaviour shows that none of them forbids, a wanted one too. Whoever changes the engine looks
 * at what has changed, and records it: `npx vitest run --config test/vitest.config.ts test/sim/recorded-runs.test.ts -u`.
 */
import { expect, it } from "vitest";
import type { Verdict } from "../../src/scan/probe/verdict.ts";
import { describeModel, LOSS_MODELS } from "./loss-models.ts";
import { walkTo } from "./path-walk.ts";
import { randomNetwork } from "./random-networks.ts";
import { HOST, randomWay } from "./random-ways.ts";
import { ofBatches, ofEveryAnswer, ofLab, type Recorder } from "./recorded-runs.ts";

/** Counts by kind, and sums. */
function createSummary(): Recorder & { take(): string } {
  const syns: Record<string, number> = {};
  const verdicts: Record<string, { count: number; doubt: number; rttUs: number; lastUs: number }> = {};
  const deadlines = { us: 0, lowest: 0 };
  let end: object = {};
  const add = (verdict: Verdict, nowUs: number): void => {
    const { state, reason, tries, answered, was, late, doubtful, answersAll, family, hasResponder } = verdict;
    const marks = Object.entries({ late, doubtful, answersAll, hasResponder }).filter(([, is]) => is);
    const kind = [
      `IPv${family} ${state} by ${reason}, ${tries} tries, answered ${answered}`,
      ...(was === null ? [] : [`was ${was}`]),
      ...marks.map(([mark]) => mark),
    ].join(", ");
    verdicts[kind] ??= { count: 0, doubt: 0, rttUs: 0, lastUs: 0 };
    const sums = verdicts[kind];
    sums.count++;
    if (!Number.isNaN(verdict.doubt)) sums.doubt += verdict.doubt;
    if (!Number.isNaN(verdict.rttUs)) sums.rttUs += verdict.rttUs;
    sums.lastUs = Math.max(nowUs, verdict.atUs);
  };
  return {
    packet: (_, nowUs) => {
      const second = (Math.floor(nowUs / 1e5) / 10).toFixed(1);
      syns[second] = (syns[second] ?? 0) + 1;
    },
    value: (found, nowUs) => {
      if ("state" in found) add(found, nowUs);
      else if ("next" in found) {
        const { next, lowest } = found as { next: number; lowest: number };
        if (Number.isFinite(next)) deadlines.us += next - nowUs;
        if (Number.isFinite(lowest)) deadlines.lowest += lowest;
      } else end = found;
    },
    take: () => {
      const sorted = Object.fromEntries(Object.entries(verdicts).sort(([a], [b]) => (a < b ? -1 : 1)));
      // As few digits as another version's logarithms leave alone.
      const short = (_: string, value: unknown): unknown =>
        typeof value === "number"
          ? Number.isFinite(value)
            ? Number(value.toPrecision(6))
            : String(value)
          : ArrayBuffer.isView(value)
            ? [...(value as Uint32Array)].join(" ")
            : value;
      return `${JSON.stringify({ syns, verdicts: sorted, deadlines, end }, short, 1)}\n`;
    },
  };
}

const SIZE = { hosts: 128, ports: 10, seed: 3 };
const RATE = { rate: { minimum: 10, maximum: 20_000 }, capacity: 1 << 12 };
const ports = [
  { share: 0.1, is: "open" as const },
  { share: 0.1, is: "silent" as const },
];
const adaptive = {
  wait: { initialUs: 1_100_000, minUs: 20_000, maxUs: 10_000_000 },
  rate: { minimum: 10, maximum: 4e6 },
  retries: 10,
};
const RUNS: readonly [name: string, run: (record: Recorder) => void][] = [
  // Hosts of both IP versions, and every kind of answer, late, doubled and out of turn.
  ["every-answer", (record) => ofEveryAnswer(record, 3, 3, 60)],
  ["every-answer-within-host-rates", (record) => ofEveryAnswer(record, 2, 2, 60)],
  // Refused packets, overruns, and answers that prove nothing.
  ["batches-ipv4", (record) => ofBatches(record, 4, 4000, adaptive)],
  [
    "batches-ipv6-every-try",
    (record) => ofBatches(record, 6, 3000, { ...adaptive, confidence: 1, retries: 4 }),
  ],
  ["random-network", (record) => ofLab(record, randomNetwork(3).description, SIZE, { capacity: 1 << 12 })],
  ...(["independent-20", "one-source-port-20"] as const).map((name): [string, (record: Recorder) => void] => [
    name,
    (record) => {
      const model = LOSS_MODELS[name];
      const more = "sourcePort" in model ? { sourcePort: model.sourcePort } : {};
      ofLab(record, describeModel(model, 3), SIZE, RATE, more);
    },
  ]),
  // Slow enough to see bursts begin and end.
  ...(["away-2s", "host-2s"] as const).map((name): [string, (record: Recorder) => void] => [
    name,
    (record) =>
      ofLab(record, describeModel(LOSS_MODELS[name], 3), SIZE, {
        ...RATE,
        rate: { minimum: 10, maximum: 800 },
      }),
  ]),
  // Bursts that are found, and waited for.
  ...(["host-500ms", "pair-2s"] as const).map((name): [string, (record: Recorder) => void] => [
    `clustered-${name}`,
    (record) => {
      const model = describeModel(LOSS_MODELS[name], 3);
      const isHost = name === "host-500ms";
      const rate = { minimum: 10, maximum: isHost ? 20_000 : 2000 };
      ofLab(record, model, { hosts: isHost ? 512 : 256, ports: 10, seed: 3 }, { ...RATE, rate });
    },
  ]),
  [
    "verification-of-all",
    (record) => ofLab(record, describeModel(LOSS_MODELS["host-500ms"], 4), SIZE, { ...RATE, verify: "all" }),
  ],
  [
    "limited-resets-and-tarpits",
    (record) => {
      const limited = [4, 9, 20].map((n) => ({
        range: `198.18.0.${n}`,
        ports,
        rstLimit: { ratePps: 20, burst: 5 },
      }));
      const tarpits = [3, 11].map((n) => ({ range: `198.18.0.${n}`, tarpit: true }));
      const hosts = [{ range: "198.18.0.0/24", ports }, ...limited, ...tarpits];
      const description = { seed: 5, path: { latencyMs: 20, loss: 0.01 }, hosts };
      ofLab(record, description, { hosts: 24, ports: 60, seed: 5 }, RATE);
    },
  ],
  // Where SYNs stop: at a router that drops, that rejects, at the host, at a box, with limits, loss and branches before it.
  ...(["drop", "admin-prohibited", "host", "reset"] as const).map(
    (by, i): [string, (record: Recorder) => void] => [
      `path-${by}`,
      (record) => {
        const { result, packets } = walkTo(randomWay(31 + i, { by }).description, HOST, { seed: i });
        for (const { bytes, atUs } of packets) record.packet(bytes, atUs);
        record.value(result, 0);
      },
    ],
  ),
];

it.each(RUNS)("%s", async (name, run) => {
  const summary = createSummary();
  run(summary);
  await expect(summary.take()).toMatchFileSnapshot(`../golden/runs/${name}.json`);
});
