/**
 * `npm run bench:one`: one probe as a whole process, against nmap doing the same in the same network namespace. The two
 * take turns; what counts is the median of the ratios pair by pair, which holds when the machine's speed drifts.
 * `npm run bench:one -- 50` counts fifty pairs; `npm run bench:one -- 5 connect` has an ordinary user connect to many ports, against
 * `nmap -sT`.
 *
 * Needs root and nmap. It builds a lab of its own and runs itself again inside it, so that entering a namespace is not
 * part of what is timed.
 */
import { spawnSync } from "node:child_process";
import { ENVIRONMENT, run, synprobe } from "../cli/process.ts";
import { listen } from "../lab/listeners.ts";
import { command, createLab, FAR, inNamespace, labProblem, NOWHERE } from "../lab/netns.ts";
import { createWideLab } from "../lab/wide.ts";

const OPEN = 7001;
const CLOSED = 7002;
const WARM_UP = 3;
const DEFAULT_PAIRS = 25;
const INSIDE = "--inside";
const ONE = "one";

const CASES = [
  { what: "neighbour, open", host: FAR.ipv4, port: OPEN, state: "open" },
  { what: "neighbour, closed", host: FAR.ipv4, port: CLOSED, state: "closed" },
  { what: "loopback, closed", host: "127.0.0.1", port: CLOSED, state: "closed" },
] as const;

/** Ports of the many hosts, and the part of all packets that is lost on the lossy way to some of them. */
const PORTS = "6951-7050";
const LOSS = "5";
const UNPRIVILEGED = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all"];

/** What an ordinary user connects to, and how many ports are open there. */
const CONNECTS = [
  { what: "loopback, 65,535 ports", host: "127.0.0.1", ports: "1-65535", open: 0 },
  { what: "256 hosts x 100 ports", host: "198.19.0.0/24", ports: PORTS, open: 256 },
  { what: `32 x 100, ${LOSS} % lost`, host: "198.19.1.0/27", ports: PORTS, open: 32 },
] as const;

/** Where synprobe's time goes: each of these does a little more than the one before. */
const STAGES = [
  { what: "node, nothing to run", argv: [process.execPath, "-e", "0"] },
  { what: "synprobe loaded (--version)", argv: synprobe("--version") },
  { what: "command line read (port 0)", argv: synprobe("127.0.0.1:0") },
  { what: "route asked for (there is none)", argv: synprobe(`${NOWHERE.ipv4}:${CLOSED}`) },
  { what: "one probe of loopback", argv: synprobe(`127.0.0.1:${CLOSED}`) },
] as const;

function wallMs(argv: readonly string[]): number {
  const [name = "", ...args] = argv;
  const start = performance.now();
  const { error } = spawnSync(name, args, { stdio: "ignore", env: ENVIRONMENT });
  if (error !== undefined) throw error;
  return performance.now() - start;
}

/** Runs commands in turn, again and again. @returns the wall times of each, in milliseconds, round by round */
function takeTurns(commands: readonly (readonly string[])[], rounds: number): number[][] {
  const times: number[][] = commands.map(() => []);
  for (let round = -WARM_UP; round < rounds; round++) {
    commands.forEach((argv, i) => {
      const ms = wallMs(argv);
      if (round >= 0) times[i]?.push(ms);
    });
  }
  return times;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? Number.NaN)) / 2;
}

function spread(values: readonly number[]): string {
  const figures = [Math.min(...values), median(values), Math.max(...values)];
  return figures.map((ms) => ms.toFixed(1).padStart(7)).join(" ");
}

/** @param lines of its output that must say `state`, if not any */
async function check(argv: readonly string[], state: string, lines?: number): Promise<void> {
  const { status, stdout, stderr } = await run(argv);
  const said = stdout.match(new RegExp(`^(?!.*: ).*\\b${state} `, "gm"))?.length ?? 0;
  if (status !== 0 || (lines === undefined ? said === 0 : said !== lines)) {
    throw new Error(`${argv.join(" ")} did not say ${state}:\n${stdout}${stderr}`);
  }
}

/** Two commands in turn. */
function compare(what: string, ours: readonly string[], theirs: readonly string[], pairs: number): void {
  const [a = [], b = []] = takeTurns([ours, theirs], pairs);
  const ratio = median(a.map((ms, i) => ms / (b[i] ?? Number.NaN)));
  console.log(`${what.padEnd(24)}${spread(a).padEnd(30)}${spread(b).padEnd(27)}${ratio.toFixed(2)}`);
}

async function measureConnects(): Promise<void> {
  for (const { what, host, ports, open } of CONNECTS) {
    const ours = [...UNPRIVILEGED, ...synprobe("-sT", "--open", "-p", ports, host)];
    const theirs = [...UNPRIVILEGED, "nmap", "-sT", "-n", "-Pn", "--open", "-p", ports, host];
    await check(ours, "open", open);
    await check(theirs, "open", open);
    compare(what, ours, theirs, pairs);
  }
}

function head(): void {
  console.log(`${pairs} pairs after ${WARM_UP} to warm up; wall time of the whole process in ms\n`);
  console.log(`${"".padEnd(24)}${"synprobe: min, median, max".padEnd(30)}${"nmap".padEnd(27)}median ratio`);
}

async function measure(): Promise<void> {
  for (const { what, host, port, state } of CASES) {
    const ours = synprobe(`${host}:${port}`);
    const theirs = ["nmap", "-sS", "-n", "-Pn", "-p", String(port), host];
    await check(ours, state);
    await check(theirs, state);
    compare(what, ours, theirs, pairs);
  }
  console.log("\nWhere the time goes");
  const stages = takeTurns(
    STAGES.map(({ argv }) => argv),
    pairs,
  );
  STAGES.forEach(({ what }, i) => {
    console.log(`${what.padEnd(38)}${spread(stages[i] ?? [])}`);
  });
}

/** Loses some of what comes to a few hosts of a namespace. */
function lose(namespace: string): void {
  const chain = "type filter hook prerouting priority -300";
  const drops = `ip daddr 198.19.1.0/27 numgen random mod 100 < ${LOSS} drop`;
  command(
    inNamespace(namespace, ["nft", "-f", "-"]),
    `table ip bench {\nchain lossy {\n${chain}\n${drops}\n}\n}\n`,
  );
}

/** Builds the lab, and runs this file again in it. @returns the exit status */
async function measureInLab(): Promise<number> {
  const problem = labProblem();
  if (problem !== undefined) {
    console.error(`bench:one: ${problem}`);
    return 1;
  }
  const lab = what === ONE ? createLab() : await createWideLab();
  try {
    if (what === ONE) await listen(lab.far, [{ host: FAR.ipv4, port: OPEN }]);
    else lose(lab.far);
    const [script = ""] = process.argv.slice(1);
    const argv = [process.execPath, ...process.execArgv, script, String(pairs), what, INSIDE];
    const [name = "", ...args] = inNamespace(lab.near, argv);
    return spawnSync(name, args, { stdio: "inherit", env: ENVIRONMENT }).status ?? 1;
  } finally {
    lab.remove();
  }
}

const [, , wanted = DEFAULT_PAIRS, what = ONE, where] = process.argv;
const pairs = Math.max(1, Number(wanted) || DEFAULT_PAIRS);
if (where === INSIDE) {
  head();
  await (what === ONE ? measure() : measureConnects());
} else process.exitCode = await measureInLab();
// The listeners would keep the event loop alive.
process.exit();
