/**
 * What the benchmarks share: a bed of two namespaces where one kernel answers for 131,072 hosts, commands as whole processes
 * with what they cost, and the wire's own account of how fast SYNs came, which is the same for every prober.
 */
import { type ChildProcess, fork, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ENVIRONMENT } from "../cli/process.ts";
import { BEYOND, command, createLab, FAR, inNamespace, ip, type Lab } from "../lab/netns.ts";

export const NETWORK = "198.18.0.0/15";
export const DEVICE = "veth0";
export const OPEN_PORTS = [80, 443] as const;

export interface Bed {
  readonly lab: Lab;
  /** The far side's hardware address, for probers that want to be told. */
  readonly routerMac: string;
  /**
   * What the far side does with the network: its kernel answers for every host, or drops what comes, or a program on its interface
   * turns SYNs around, which stays so.
   */
  answer(how: "kernel" | "drop" | "reflect"): void;
  /** Counts what reaches the far side while `work` goes on. */
  watch<T>(work: () => Promise<T>): Promise<{ value: T; perSecond: number; packets: number }>;
  remove(): Promise<void>;
}

/** Builds the bed; needs root. */
export async function createBed(): Promise<Bed> {
  const lab = createLab();
  // The whole network lies behind the far side, and none of it is special.
  ip(
    lab.far,
    "route del 198.18.1.0/24",
    ...(["blackhole", "unreachable", "prohibit"] as const).map(
      (type) => `route del ${type} ${BEYOND[type].ipv4}`,
    ),
  );
  ip(lab.near, `route del 198.18.0.0/16`, `route add ${NETWORK} via ${FAR.ipv4}`);
  const far = await startFarSide(lab);
  let answering = "";
  const answer = (how: "kernel" | "drop" | "reflect"): void => {
    if (how === "reflect") {
      reflect(lab);
      return;
    }
    const type = how === "kernel" ? "local" : "blackhole";
    if (type === answering) return;
    if (answering !== "") ip(lab.far, `route del ${answering} ${NETWORK}`);
    ip(lab.far, `route add ${type} ${NETWORK}${type === "local" ? " dev lo" : ""}`);
    answering = type;
  };
  return {
    lab,
    routerMac: far.mac,
    answer,
    watch: async (work) => {
      await far.ask({ kind: "start" });
      const value = await work();
      const samples = await far.ask({ kind: "stop" });
      return { value, ...rateOf(samples) };
    },
    remove: async () => {
      far.process.kill();
      lab.remove();
    },
  };
}

/** Loads programs at both ends: a veth sends from one end's only where the other has one, too. */
function reflect(lab: Lab): void {
  const directory = mkdtempSync(join(tmpdir(), "synprobe-bench-"));
  try {
    const object = join(directory, "reflect.o");
    const source = fileURLToPath(new URL("./reflect.bpf.c", import.meta.url));
    const include = `-I/usr/include/${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu`;
    command(["clang", "-O2", "-g", "-target", "bpf", include, "-c", source, "-o", object]);
    ip(lab.near, `link set dev ${DEVICE} xdp obj ${object} sec pass`);
    ip(lab.far, `link set dev ${DEVICE} xdp obj ${object} sec xdp`);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

type Sample = readonly [ms: number, packets: number];

/** From the moment when 2 % had come to that when 98 % had: start-up and waiting for stragglers are not in it. */
function rateOf(samples: readonly Sample[]): { perSecond: number; packets: number } {
  const [[, before] = [0, 0]] = samples;
  const packets = (samples.at(-1)?.[1] ?? 0) - before;
  const reached = (share: number): Sample =>
    samples.find(([, count]) => count - before >= packets * share) ?? [Number.NaN, 0];
  const [from, first] = reached(0.02);
  const [to, last] = reached(0.98);
  return { perSecond: ((last - first) / (to - from)) * 1000, packets };
}

interface FarSide {
  readonly process: ChildProcess;
  readonly mac: string;
  ask(message: { kind: "start" | "stop" }): Promise<Sample[]>;
}

async function startFarSide(lab: Lab): Promise<FarSide> {
  const [command = "", ...args] = inNamespace(lab.far, [process.execPath, "--import", "tsx"]);
  const child = fork(new URL("./far-side.ts", import.meta.url), [], {
    execPath: command,
    execArgv: args,
    env: ENVIRONMENT,
  });
  const next = (): Promise<unknown> =>
    new Promise((resolve, reject) => {
      const ended = (code: number | null): void => reject(new Error(`the far side ended (${code})`));
      child.once("exit", ended);
      child.once("message", (message) => {
        child.off("exit", ended);
        resolve(message);
      });
    });
  const { mac } = (await next()) as { mac: string };
  return {
    process: child,
    mac,
    ask: (message) => {
      const answer = next();
      child.send(message);
      return answer as Promise<Sample[]>;
    },
  };
}

/** What a command took, as a whole process. */
export interface Cost {
  readonly stdout: string;
  readonly stderr: string;
  readonly seconds: number;
  /** Processor time, in seconds. */
  readonly cpu: number;
  /** The most memory that was resident, in bytes. */
  readonly rss: number;
}

/** Runs a command in the near namespace to its end, or for `limitMs`: masscan sometimes waits for ever, deaf to SIGINT. */
export const cost = (bed: Bed, argv: readonly string[], limitMs?: number): Promise<Cost> =>
  costOf(inNamespace(bed.lab.near, argv), limitMs);

/** How long a command may take to end when it is asked to, in milliseconds. */
const LAST_MS = 5000;

/** Runs a command here. */
export function costOf([command = "", ...args]: readonly string[], limitMs = 100_000): Promise<Cost> {
  return new Promise((resolve, reject) => {
    const start = performance.now();
    const child = spawn(command, args, { env: ENVIRONMENT, stdio: ["ignore", "pipe", "pipe"] });
    let stdout = "";
    let stderr = "";
    let last = { cpu: 0, rss: 0 };
    const look = (): void => {
      last = lookAt(child.pid) ?? last;
    };
    const looking = setInterval(look, 20);
    const limit = setTimeout(() => child.kill("SIGINT"), limitMs);
    const end = setTimeout(() => child.kill("SIGKILL"), limitMs + LAST_MS);
    child.stdout.on("data", (chunk) => {
      stdout += chunk;
    });
    child.stderr.on("data", (chunk) => {
      // masscan and zmap draw a line several times a second.
      stderr = `${stderr}${chunk}`.slice(-10_000);
    });
    child.once("error", reject);
    child.once("exit", look);
    child.once("close", () => {
      clearInterval(looking);
      clearTimeout(limit);
      clearTimeout(end);
      resolve({ stdout, stderr, seconds: (performance.now() - start) / 1000, ...last });
    });
  });
}

const TICKS_PER_SECOND = 100;

/** Processor time and peak memory of a process that lives, or has just ended and is not yet reaped. */
function lookAt(pid: number | undefined): { cpu: number; rss: number } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const status = readFileSync(`/proc/${pid}/status`, "latin1");
    const peak = /^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1];
    if (peak === undefined) return undefined;
    return { cpu: (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND, rss: Number(peak) * 1024 };
  } catch {
    return undefined;
  }
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? Number.NaN)) / 2;
}
