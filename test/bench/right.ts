/**
 * `npm run bench -- right`: how long until every answer is right. synprobe is given no rate; masscan and zmap are given the highest
 * at which they find 99.9 %, which is looked for first, from fast to slow. Whole processes, from start to end: both peers are told to
 * wait a second for the last answers.
 *
 * zmap of today is asked for what is open, as it says nothing else by itself. Debian's 2.1.1 probes one port a run, so it sends as many
 * SYNs to one closed port, and what it finds is how many answers it writes.
 *
 * Not here: the other parts (batch.ts), the far side that turns SYNs around (reflect.bpf.c).
 */
import { spawnSync } from "node:child_process";
import { type Bed, type Cost, cost, median, NETWORK, OPEN_PORTS } from "./bed.ts";

export interface Rightness {
  readonly hosts: number;
  readonly ports: string;
  readonly portCount: number;
  /** Runs synprobe, with no rate given. */
  readonly ours: readonly string[];
  /** Whether all that it printed is right, in words. */
  readonly verdict: (run: Cost) => string;
  readonly device: string;
  readonly address: string;
}

interface Peer {
  readonly command: (rate: number) => readonly string[];
  /** The part of the answers that it had, 0 to 1. */
  readonly found: (run: Cost) => number;
}

const RATES = [400_000, 250_000, 160_000, 120_000, 100_000, 80_000, 60_000, 45_000, 30_000];
const RIGHT = 0.999;
/** A peer that finds less than this part of what it has found at a faster rate is not looked at any further. */
const WORSE = 0.95;
const LIMIT_MS = 120_000;

function peers(
  { routerMac }: Bed,
  { hosts, ports, portCount, device, address }: Rightness,
): Readonly<Record<string, Peer>> {
  const lines = (text: string, line: RegExp): number => new Set(text.match(line)).size;
  const isOnePort = /^zmap [12]\./.test(spawnSync("zmap", ["--version"], { encoding: "utf8" }).stdout);
  const toAll = (rate: number): readonly string[] => [
    ...["-p", ports, "-r", String(rate)],
    ...["--output-fields=saddr,sport", "--output-filter=success = 1 && repeat = 0"],
  ];
  // Its rate counts hosts, whatever each of them is sent; and a filter without spaces lets nothing through.
  const toOnePort = (rate: number): readonly string[] => [
    ...["-p", "1", "-P", String(portCount), "-r", String(Math.ceil(rate / portCount))],
    ...["--output-fields=saddr", "--output-filter=sport = 1"],
  ];
  return {
    masscan: {
      command: (rate) => [
        ...[
          "masscan",
          NETWORK,
          `-p${ports}`,
          "--rate",
          String(rate),
          "--interface",
          device,
          "--adapter-ip",
          address,
        ],
        ...["--source-port", "61000-61255", "--router-mac", routerMac, "--wait", "1", "-oL", "-"],
      ],
      found: ({ stdout }) => lines(stdout, /^open tcp \d+ [\d.]+/gm) / (hosts * OPEN_PORTS.length),
    },
    zmap: {
      command: (rate) => [
        ...[
          "zmap",
          NETWORK,
          "-i",
          device,
          "-G",
          routerMac,
          "-S",
          address,
          "-c",
          "1",
          "-b",
          "/dev/null",
          "-q",
        ],
        ...["--output-module=csv", ...(isOnePort ? toOnePort(rate) : toAll(rate))],
      ],
      found: ({ stdout }) =>
        isOnePort
          ? (stdout.match(/^[\d.]+$/gm)?.length ?? 0) / (hosts * portCount)
          : lines(stdout, /^[\d.]+,\d+$/gm) / (hosts * OPEN_PORTS.length),
    },
  };
}

/** Seconds until all is right, and what was found, of one far side. */
export async function timeToRight(
  bed: Bed,
  about: Rightness,
  present: readonly string[],
  rounds: number,
): Promise<string[][]> {
  const known = Object.entries(peers(bed, about)).filter(([name]) => present.includes(name));
  const chosen: { name: string; peer: Peer; rate: number }[] = [];
  for (const [name, peer] of known) {
    let most = 0;
    let worse = 0;
    for (const rate of RATES) {
      const run = await cost(bed, peer.command(rate), LIMIT_MS);
      const share = peer.found(run);
      console.log(`  ${name} at ${rate}/s: ${(100 * share).toFixed(2)} % in ${run.seconds.toFixed(1)} s`);
      // Debian's masscan loses answers at any rate, and the more the slower it is: looking on would take an hour. Once may be chance.
      worse = share < most * WORSE ? worse + 1 : 0;
      if (worse === 2) break;
      most = Math.max(most, share);
      if (share < RIGHT) continue;
      chosen.push({ name, peer, rate });
      break;
    }
  }
  const ours: Cost[] = [];
  const theirs = chosen.map(() => [] as { seconds: number; share: number }[]);
  for (let round = 0; round < rounds; round++) {
    ours.push(await cost(bed, about.ours));
    for (const [i, { peer, rate }] of chosen.entries()) {
      const run = await cost(bed, peer.command(rate), LIMIT_MS);
      theirs[i]?.push({ seconds: run.seconds, share: peer.found(run) });
    }
  }
  return [
    ["until all is right", "time", "processor time", "found", "ours, x its time"],
    [
      "synprobe, no rate given",
      `${median(ours.map(({ seconds }) => seconds)).toFixed(2)} s`,
      `${median(ours.map(({ cpu }) => cpu)).toFixed(2)} s`,
      [...new Set(ours.map(about.verdict))].join(" | "),
      "",
    ],
    ...chosen.map(({ name, rate }, i) => {
      const runs = theirs[i] ?? [];
      return [
        `${name} at ${rate / 1000} k/s`,
        `${median(runs.map(({ seconds }) => seconds)).toFixed(2)} s`,
        "",
        `${(100 * Math.min(...runs.map(({ share }) => share))).toFixed(2)} % or more`,
        median(ours.map(({ seconds }, round) => seconds / (runs[round]?.seconds ?? Number.NaN))).toFixed(2),
      ];
    }),
  ];
}
