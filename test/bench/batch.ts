/**
 * `npm run bench`: large scans against masscan, zmap and nmap, in a bed of its own. Peers take turns; figures are medians,
 * ratios the median of the ratios round by round, which holds when the machine's speed drifts.
 *
 *     npm run bench                all of it, three rounds
 *     npm run bench -- answered    one part: answered, send-only, nmap, memory, growth, right
 *     npm run bench -- answered 7  seven rounds
 *
 * Needs root; a peer that is not installed is left out, and said so. Speeds are the wire's: SYNs that reach the far side a
 * second, between 2 % and 98 % of them.
 */

import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { synprobe } from "../cli/process.ts";
import { labProblem, NEAR } from "../lab/netns.ts";
import { type Bed, type Cost, cost, createBed, DEVICE, median, NETWORK, OPEN_PORTS } from "./bed.ts";
import { timeToRight } from "./right.ts";

const HOSTS = 131_072;
/** Sixteen ports, two of them open. */
const PORTS = "1-14,80,443";
const PORT_COUNT = 16;
const FAST = "10000000";

type Command = (bed: Bed) => readonly string[];

const scan =
  (workers: number, ...more: string[]): Command =>
  () =>
    synprobe(
      `${NETWORK}:${PORTS}`,
      // No slower than it can, as the others: the rate is not looked for.
      "--min-rate",
      FAST,
      "--workers",
      String(workers),
      "--link",
      "packet",
      ...more,
    );

/** As users run it: the rate is looked for. */
const adaptive: Command = () => synprobe(`${NETWORK}:${PORTS}`, "--workers", "1", "--link", "packet");

const masscan: Command = ({ routerMac }) => [
  ...["masscan", NETWORK, `-p${PORTS}`, "--rate", FAST, "--interface", DEVICE, "--adapter-ip", NEAR.ipv4],
  ...["--source-port", "61000-61255", "--router-mac", routerMac, "--wait", "1", "-oL", "/dev/null"],
];

/** Debian's zmap probes one port a run: as many SYNs all the same, to a closed port, whose RST is the quicker answer. */
const zmap: Command = ({ routerMac }) => [
  ...[
    "zmap",
    "-p",
    "1",
    "-P",
    String(PORT_COUNT),
    NETWORK,
    "-i",
    DEVICE,
    "-G",
    routerMac,
    "-S",
    NEAR.ipv4,
    "-B",
    "10G",
    "-c",
    "1",
  ],
  ...["-b", "/dev/null", "-q", "-o", "/dev/null"],
];

const installed = (name: string): boolean => spawnSync("which", [name]).status === 0;

/** Peers on this machine; says who is missing. */
function present(...names: string[]): string[] {
  return names.filter((name) => {
    if (installed(name)) return true;
    console.log(`${name} is not installed: left out`);
    return false;
  });
}

interface Round {
  readonly perSecond: number;
  readonly packets: number;
  readonly value: Cost;
}

/** Runs commands in turn. @returns their rounds by name */
async function takeTurns(
  bed: Bed,
  commands: Readonly<Record<string, Command>>,
  rounds: number,
): Promise<Record<string, Round[]>> {
  const results: Record<string, Round[]> = {};
  for (let round = 0; round < rounds; round++) {
    for (const [name, command] of Object.entries(commands)) {
      const result = await bed.watch(() => cost(bed, command(bed)));
      results[name] = [...(results[name] ?? []), result];
    }
  }
  return results;
}

const kilo = (perSecond: number): string => `${(perSecond / 1000).toFixed(0)} k/s`;

function ratios(results: Record<string, Round[]>, ours: string, peer: string): number {
  const theirs = results[peer] ?? [];
  return median(
    (results[ours] ?? []).map(({ perSecond }, i) => perSecond / (theirs[i]?.perSecond ?? Number.NaN)),
  );
}

function table(rows: readonly (readonly string[])[]): void {
  const widths = rows[0]?.map((_, i) => Math.max(...rows.map((row) => (row[i] ?? "").length))) ?? [];
  for (const row of rows)
    console.log(
      row
        .map((cell, i) => cell.padEnd(widths[i] ?? 0))
        .join("  ")
        .trimEnd(),
    );
  console.log();
}

/** The totals that a run of ours has printed. */
function totals(stdout: string): {
  open: number;
  closed: number;
  filtered: number;
  sent: number;
  dropped: boolean;
} {
  const counts = /: ([\d,]+) open, ([\d,]+) closed, ([\d,]+) filtered; ([\d,]+) SYNs? sent/.exec(stdout);
  const [open, closed, filtered, sent] = (counts ?? [])
    .slice(1)
    .map((text) => Number(text.replaceAll(",", "")));
  if (open === undefined || closed === undefined || filtered === undefined || sent === undefined) {
    throw new Error(`no totals in:\n${stdout.slice(-2000)}`);
  }
  return { open, closed, filtered, sent, dropped: /dropped/.test(stdout) };
}

/** Whether all pairs of the network were found as they are; counts the open ports that were printed, too. */
function verdict({ stdout }: Cost): string {
  const { open, closed, filtered, sent, dropped } = totals(stdout);
  const printed = new Set(stdout.match(/^[\d.]+:(80|443)(?=\s+open)/gm));
  const expected = HOSTS * OPEN_PORTS.length;
  const right =
    open === expected &&
    printed.size === expected &&
    closed === HOSTS * PORT_COUNT - expected &&
    filtered === 0;
  const again = sent - HOSTS * PORT_COUNT;
  return `${right ? "all right" : `WRONG: ${open} open, ${closed} closed, ${filtered} filtered`}${again > 0 ? `, ${again} sent again` : ""}${dropped ? ", DROPS" : ""}`;
}

async function answered(bed: Bed, rounds: number): Promise<void> {
  bed.answer("kernel");
  console.log(
    `${HOSTS} hosts x ${PORT_COUNT} ports, the far kernel answers each (zmap: 16 SYNs to one port)\n`,
  );
  const peers = present("masscan", "zmap");
  const results = await takeTurns(
    bed,
    {
      "1 worker": scan(1),
      "2 workers": scan(2),
      "1 worker, no rate given": adaptive,
      ...(peers.includes("masscan") ? { masscan } : {}),
      ...(peers.includes("zmap") ? { zmap } : {}),
    },
    rounds,
  );
  table([
    ["", "on the wire", "CPU per probe", "x masscan", "x zmap", "found"],
    ...Object.entries(results).map(([name, all]) => [
      name,
      kilo(median(all.map(({ perSecond }) => perSecond))),
      `${median(all.map(({ value, packets }) => (value.cpu / packets) * 1e6)).toFixed(2)} us`,
      ...peers.map((peer) => (peer === name ? "" : ratios(results, name, peer).toFixed(2))),
      name.includes("worker") ? [...new Set(all.map(({ value }) => verdict(value)))].join(" | ") : "",
    ]),
  ]);
}

async function sendOnly(bed: Bed, rounds: number): Promise<void> {
  bed.answer("drop");
  console.log(`${HOSTS} hosts x ${PORT_COUNT} ports, the far side drops everything, no retransmission\n`);
  const peers = present("masscan", "zmap");
  const results = await takeTurns(
    bed,
    {
      "1 worker": scan(1, "--retries", "0", "--timeout", "300ms"),
      ...(peers.includes("masscan") ? { masscan } : {}),
      ...(peers.includes("zmap") ? { zmap } : {}),
    },
    rounds,
  );
  table([
    ["", "on the wire", "CPU per probe", "x masscan", "x zmap"],
    ...Object.entries(results).map(([name, all]) => [
      name,
      kilo(median(all.map(({ perSecond }) => perSecond))),
      `${median(all.map(({ value, packets }) => (value.cpu / packets) * 1e6)).toFixed(2)} us`,
      ...peers.map((peer) => (peer === name ? "" : ratios(results, name, peer).toFixed(2))),
    ]),
  ]);
}

async function nmap(bed: Bed, rounds: number): Promise<void> {
  bed.answer("kernel");
  if (present("nmap").length === 0) return;
  const cases = [
    { what: "1 host x 65,535 ports", target: "198.18.0.1", ports: "-p-" },
    { what: "256 hosts x 1,000 ports", target: "198.18.1.0/24", ports: "-p1-1000" },
  ];
  const rows = [["whole process", "synprobe", "nmap -T4", "ratio"]];
  for (const { what, target, ports } of cases) {
    const ours: number[] = [];
    const theirs: number[] = [];
    for (let round = 0; round < rounds; round++) {
      ours.push((await cost(bed, synprobe(target, ports))).seconds);
      theirs.push((await cost(bed, ["nmap", "-sS", "-n", "-Pn", "-T4", ports, target])).seconds);
    }
    rows.push([
      what,
      `${median(ours).toFixed(2)} s`,
      `${median(theirs).toFixed(2)} s`,
      median(ours.map((seconds, i) => seconds / (theirs[i] ?? Number.NaN))).toFixed(2),
    ]);
  }
  table(rows);
}

const mega = (bytes: number): string => `${(bytes / 1e6).toFixed(0)} MB`;

async function memory(bed: Bed): Promise<void> {
  bed.answer("kernel");
  const directory = mkdtempSync(join(tmpdir(), "synprobe-bench-"));
  try {
    const list = join(directory, "list.txt");
    writeList(list, 10_000_000);
    const everything = `${NETWORK}:-`;
    const runs: readonly [what: string, argv: readonly string[], limitMs?: number][] = [
      ["plan of 8.6 billion pairs (--dry-run)", synprobe(everything, "--dry-run")],
      ["the same, run for 5 s", synprobe(everything, "--min-rate", FAST), 5000],
      ["plan of 10 million lines (--dry-run)", synprobe("-iL", list, "--dry-run")],
      ["the same, run for 5 s after it was read", synprobe("-iL", list, "--min-rate", FAST), 15_000],
    ];
    const rows = [["memory", "peak RSS", "time"]];
    for (const [what, argv, limitMs] of runs) {
      const { rss, seconds } = await cost(bed, argv, limitMs);
      rows.push([what, mega(rss), `${seconds.toFixed(1)} s`]);
    }
    table(rows);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** A list of distinct `host:port` lines. */
function writeList(path: string, lines: number): void {
  writeFileSync(path, "");
  for (let at = 0; at < lines; ) {
    let text = "";
    for (let i = 0; i < 100_000 && at < lines; i++, at++) {
      const host = 0xc612_0000 + (at % HOSTS);
      text += `${host >>> 24}.${(host >>> 16) & 255}.${(host >>> 8) & 255}.${host & 255}:${1 + Math.floor(at / HOSTS)}\n`;
    }
    writeFileSync(path, text, { flag: "a" });
  }
}

async function growth(bed: Bed): Promise<void> {
  bed.answer("kernel");
  const rows = [["pairs", "time", "on the wire", "CPU per probe", "peak RSS"]];
  for (const [target, ports] of [
    ["198.18.0.0/20", "1-2"],
    ["198.18.0.0/17", "1-3"],
    ["198.18.0.0/15", "1-8"],
    ["198.18.0.0/15", "1-76"],
  ] as const) {
    const { value, perSecond, packets } = await bed.watch(() =>
      cost(bed, synprobe(`${target}:${ports}`, "--min-rate", FAST, "--link", "packet")),
    );
    const { open, closed, filtered } = totals(value.stdout);
    rows.push([
      (open + closed + filtered).toLocaleString("en"),
      `${value.seconds.toFixed(2)} s`,
      kilo(perSecond),
      `${((value.cpu / packets) * 1e6).toFixed(2)} us`,
      mega(value.rss),
    ]);
  }
  table(rows);
}

async function right(bed: Bed, rounds: number): Promise<void> {
  const peers = present("masscan", "zmap");
  const far = present("clang").length === 1 ? (["kernel", "reflect"] as const) : (["kernel"] as const);
  for (const how of far) {
    bed.answer(how);
    console.log(`${HOSTS} hosts x ${PORT_COUNT} ports, ${FAR_SIDES[how]}\n`);
    const about = { hosts: HOSTS, ports: PORTS, portCount: PORT_COUNT, device: DEVICE, address: NEAR.ipv4 };
    table(await timeToRight(bed, { ...about, ours: adaptive(bed), verdict }, peers, rounds));
  }
}

const FAR_SIDES = {
  kernel: "the far kernel answers each",
  reflect: "a program on the far interface turns each SYN around",
} as const;

const PARTS = { answered, "send-only": sendOnly, nmap, memory, growth, right } as const;

const words = process.argv.slice(2);
const rounds = Number(words.find((word) => /^\d+$/.test(word)) ?? 3);
const wanted = words.filter((word) => word in PARTS);
const problem = labProblem();
if (problem !== undefined) {
  console.error(`no benchmark: ${problem}`);
  process.exitCode = 1;
} else {
  const bed = await createBed();
  try {
    for (const [name, part] of Object.entries(PARTS)) {
      if (wanted.length === 0 || wanted.includes(name)) await part(bed, rounds);
    }
  } finally {
    await bed.remove();
  }
}
