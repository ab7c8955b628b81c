/**
 * `npm run bench:calibration [-- networks [retries]]`: scans random networks under a virtual clock, and compares what each run
 * states of its misses with the truth, and its time with that of an oracle (test/sim/random-networks.ts).
 */
import { scanNetworks } from "../sim/random-networks.ts";

const networks = Number(process.argv[2] ?? 1000);
const retries = Number(process.argv[3] ?? 10);
const started = performance.now();
const tally = scanNetworks(1, networks + 1, retries, process.argv[4] === "-v" ? console.log : undefined);
const { ratios } = tally;
const at = (share: number): string =>
  ratios[Math.min(ratios.length - 1, Math.floor(share * ratios.length))].toFixed(2);
const share = (part: number, whole: number): string => `${((100 * part) / whole).toFixed(4)} %`;
console.log(`${networks} random networks, at most ${retries} retransmissions, ${((performance.now() - started) / 1000).toFixed(0)} s
ports that answer    ${tally.answering}, missed ${tally.missed}: recall ${share(tally.answering - tally.missed, tally.answering)}
open ports           ${tally.open}, missed ${tally.missedOpen}: recall ${share(tally.open - tally.missedOpen, tally.open)}; falsely open ${tally.falseOpen}, told twice ${tally.twice}
stated interval      holds the true number of missed open ports in ${tally.within}: ${share(tally.within, networks)}
time, x an oracle's  median ${at(0.5)}, 90 % ${at(0.9)}, 99 % ${at(0.99)}, most ${at(1)}; above 3 in ${ratios.filter((ratio) => ratio > 3).length}`);
