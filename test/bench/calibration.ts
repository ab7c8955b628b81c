/**
 * `npm run bench:calibration`: scans simulated networks under a virtual clock, and compares what each run states of its misses
 * with the truth.
 *
 *     npm run bench:calibration [-- networks [retries]]      # random networks, and an oracle's time (test/sim/random-networks.ts)
 *     npm run bench:calibration -- --model all               # loss as it is met (test/sim/loss-models.ts)
 *       --model NAME,NAME    these models, each on the same seeds
 *       --networks N         of each model; 20 when left out
 *       --seed N             of the first network; 1 when left out
 *       --options JSON       options of the engine, such as '{"retries":3}'
 *       --json FILE          writes every network's figures
 *       --base FILE          compares with those of another time: the same models and seeds, under other code or options
 */
import { readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import {
  type Calibration,
  calibrate,
  holds,
  LOSS_MODELS,
  type LossModel,
  median,
} from "../sim/loss-models.ts";
import { scanNetworks } from "../sim/random-networks.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    model: { type: "string", multiple: true },
    networks: { type: "string", default: "20" },
    seed: { type: "string", default: "1" },
    options: { type: "string", default: "{}" },
    json: { type: "string" },
    base: { type: "string" },
    verbose: { type: "boolean", short: "v", default: false },
  },
});
const percent = (part: number, whole: number, digits: number): string =>
  `${((100 * part) / Math.max(1, whole)).toFixed(digits)} %`;

function scanRandomNetworks(): void {
  const networks = Number(positionals[0] ?? 1000);
  const retries = Number(positionals[1] ?? 10);
  const started = performance.now();
  const tally = scanNetworks(1, networks + 1, retries, values.verbose ? console.log : undefined);
  const { ratios } = tally;
  const at = (share: number): string =>
    ratios[Math.min(ratios.length - 1, Math.floor(share * ratios.length))].toFixed(2);
  const share = (part: number, whole: number): string => percent(part, whole, 4);
  console.log(`${networks} random networks, at most ${retries} retransmissions, ${((performance.now() - started) / 1000).toFixed(0)} s
ports that answer    ${tally.answering}, missed ${tally.missed}: recall ${share(tally.answering - tally.missed, tally.answering)}
open ports           ${tally.open}, missed ${tally.missedOpen}: recall ${share(tally.open - tally.missedOpen, tally.open)}; falsely open ${tally.falseOpen}, told twice ${tally.twice}
stated interval      holds the true number of missed open ports in ${tally.within}: ${share(tally.within, networks)}; of all that answer in ${tally.withinAnswering}: ${share(tally.withinAnswering, networks)}
time, x an oracle's  median ${at(0.5)}, 90 % ${at(0.9)}, 99 % ${at(0.99)}, most ${at(1)}; above 3 in ${ratios.filter((ratio) => ratio > 3).length}`);
}

/** What `--json` writes: by model, one entry a network. */
type Figures = Record<string, readonly Calibration[]>;

function scanModels(asked: readonly string[]): void {
  const names = asked.includes("all") ? Object.keys(LOSS_MODELS) : asked;
  const unknown = names.find((name) => !Object.hasOwn(LOSS_MODELS, name));
  if (unknown !== undefined) {
    console.error(`no model "${unknown}": write all, or ${Object.keys(LOSS_MODELS).join(", ")}`);
    process.exitCode = 2;
    return;
  }
  const base = values.base === undefined ? {} : (JSON.parse(readFileSync(values.base, "utf8")) as Figures);
  const overrides = JSON.parse(values.options);
  const [first, count] = [Number(values.seed), Number(values.networks)];
  const figures: Figures = {};
  console.log(
    `${count} networks of each model, from seed ${first}; held: the 95 % interval stated has the truth`,
  );
  const compared = values.base === undefined ? [] : ["x time", "x SYNs"];
  console.log(rowOf(["model", ...COLUMNS.map(([head]) => head), ...compared]));
  console.log(rowOf(Array.from({ length: 1 + COLUMNS.length + compared.length }, () => "---")));
  for (const name of names) {
    const model: LossModel = LOSS_MODELS[name as keyof typeof LOSS_MODELS];
    const found = Array.from({ length: count }, (_, i) => calibrate(model, first + i, overrides));
    figures[name] = found;
    const cells = COLUMNS.map(([, cell]) => cell(found));
    console.log(
      rowOf([name, ...cells, ...(values.base === undefined ? [] : compare(found, base[name] ?? []))]),
    );
    const wrong = total(found, ({ falseOpen, twice }) => falseOpen + twice);
    if (wrong > 0) console.log(`${name}: ${wrong} ports falsely open, or told twice`);
  }
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(figures)}\n`);
}

const total = (found: readonly Calibration[], of: (one: Calibration) => number): number =>
  found.reduce((sum, one) => sum + of(one), 0);
const few = (value: number): string => (value === 0 ? "0" : value.toPrecision(2));
const rowOf = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;

const COLUMNS: readonly [head: string, cell: (found: readonly Calibration[]) => string][] = [
  ["open missed", (f) => `${total(f, (one) => one.missedOpen.true)} of ${total(f, ({ open }) => open)}`],
  [
    "stated, at most",
    (f) => `${few(total(f, (one) => one.missedOpen.expected))}, ${total(f, (one) => one.missedOpen.high)}`,
  ],
  ["held", (f) => `${f.filter((one) => holds(one.missedOpen)).length}/${f.length}`],
  [
    "answering called silent",
    (f) => {
      const missed = total(f, (one) => one.missed.true);
      return `${missed}, ${percent(
        missed,
        total(f, ({ answering }) => answering),
        3,
      )}`;
    },
  ],
  [
    "stated, at most",
    (f) => `${few(total(f, (one) => one.missed.expected))}, ${total(f, (one) => one.missed.high)}`,
  ],
  ["held", (f) => `${f.filter((one) => holds(one.missed)).length}/${f.length}`],
  [
    "mean doubt",
    (f) =>
      (
        total(f, (one) => one.meanDoubt * one.silent) /
        Math.max(
          1,
          total(f, ({ silent }) => silent),
        )
      ).toExponential(0),
  ],
  ["median s", (f) => median(f.map(({ seconds }) => seconds)).toFixed(2)],
  ["median SYNs", (f) => median(f.map(({ syns }) => syns)).toFixed(0)],
];

/** Medians of the ratios, network by network. */
function compare(found: readonly Calibration[], base: readonly Calibration[]): [time: string, syns: string] {
  const before = new Map(base.map((one) => [one.seed, one]));
  const ratios = (of: (one: Calibration) => number): string => {
    const pairs = found.flatMap((one) => {
      const other = before.get(one.seed);
      return other === undefined ? [] : [of(one) / of(other)];
    });
    return pairs.length === 0 ? "–" : median(pairs).toFixed(2);
  };
  return [ratios(({ seconds }) => seconds), ratios(({ syns }) => syns)];
}

if (values.model === undefined) scanRandomNetworks();
else scanModels(values.model.flatMap((names) => names.split(",")));
