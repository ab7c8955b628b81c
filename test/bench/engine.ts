/**
 * `npm run bench:engine`: what the engine alone costs, in memory, without a packet: processor time for a pair, beside that of a
 * yardstick, which does the same work in plain loops over typed arrays (plain-loops.ts). The two take turns, each time in a process
 * of its own; figures are medians, ratios the median of the ratios round by round.
 *
 *     npm run bench:engine            five rounds
 *     npm run bench:engine -- 9       nine rounds
 */
import { execFileSync } from "node:child_process";
import { cpus, release } from "node:os";
import { fileURLToPath } from "node:url";
import { median } from "./bed.ts";

const RUN = fileURLToPath(new URL("engine-run.ts", import.meta.url));
const rounds = Number(process.argv[2] ?? 5);

const measure = (who: "engine" | "yardstick", how: string, family: string): number =>
  Number(execFileSync(process.execPath, ["--import", "tsx", RUN, who, how, family]));

console.log(`${cpus()[0]?.model ?? "?"}, Linux ${release()}, Node ${process.version}; ${rounds} rounds\n`);
console.log("| | engine | yardstick | ratio |\n|---|---|---|---|");
for (const [how, what] of [
  ["answered", "answered"],
  ["half", "half of the hosts silent, three tries"],
  ["silent", "silent, three tries"],
] as const) {
  for (const family of ["4", "6"] as const) {
    const yardsticks: number[] = [];
    const engines: number[] = [];
    for (let round = 0; round < rounds; round++) {
      yardsticks.push(measure("yardstick", how, family));
      engines.push(measure("engine", how, family));
    }
    const ratio = median(engines.map((ns, i) => ns / (yardsticks[i] ?? Number.NaN)));
    console.log(
      `| IPv${family}, ${what} | ${median(engines)} ns | ${median(yardsticks)} ns | ${ratio.toFixed(2)} |`,
    );
  }
}
