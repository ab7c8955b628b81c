/**
 * A fleet for tests: a real redis-server in a wide lab's near namespace, on a socket of the file system, which every namespace reaches,
 * and on TCP for workers that are to be cut off; and workers there, each with a source address of its own.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { Redis } from "ioredis";
import { linesOf, type Running, start, synprobe } from "../cli/process.ts";
import { inNamespace, type Lab, labProblem } from "./netns.ts";
import { type Seat, SOURCES, WIDE } from "./wide.ts";

/** No process of a test lives longer, in milliseconds. */
const LIMIT_MS = 540_000;

/** Why there can be no fleet here; undefined when there can. */
export function fleetProblem(): string | undefined {
  const { error } = spawnSync("redis-server", ["--version"]);
  return labProblem() ?? (error === undefined ? undefined : "redis-server is missing");
}

export interface Fleet {
  readonly url: string;
  readonly directory: string;
  /** A client of the tests'. */
  readonly redis: Redis;
  startRedis(...options: string[]): Promise<Running>;
  startWorker(vantage: string, ...options: string[]): Promise<Running>;
  /** The same with more in its environment, and Redis elsewhere where that says so (SYNPROBE_FLEET). */
  startWorkerIn(
    env: Readonly<Record<string, string>>,
    vantage: string,
    ...options: string[]
  ): Promise<Running>;
  /** Starts a run in the near namespace, where it needs no privilege. */
  startRun(...args: string[]): Running;
  /** Keys that fit a pattern. */
  keys(pattern: string): Promise<string[]>;
  remove(): Promise<void>;
}

/** @param seats namespace and address of each worker in turn; by default the near side's, each with an address of its own */
export async function createFleet(
  lab: Lab,
  seats: readonly Seat[] = SOURCES.map(({ ipv4 }) => ({ namespace: lab.near, ipv4 })),
): Promise<Fleet> {
  const directory = mkdtempSync(join(tmpdir(), "sp-fleet-"));
  const socket = join(directory, "redis.sock");
  const url = `unix://${socket}`;
  const running: Running[] = [];
  let workers = 0;
  const keep = (each: Running): Running => {
    running.push(each);
    return each;
  };
  const redis = new Redis({ path: socket, lazyConnect: true, maxRetriesPerRequest: null });
  redis.on("error", () => {});
  const fleet: Fleet = {
    url,
    directory,
    redis,
    startRedis: async (...options) => {
      const words = ["--port", "0", "--unixsocket", socket, "--dir", directory, "--save", ""];
      const server = keep(
        start(inNamespace(lab.near, ["redis-server", ...words, ...options]), { limitMs: LIMIT_MS }),
      );
      await server.until("stdout", /ready to accept connections/i);
      return server;
    },
    startWorker: (...args) => fleet.startWorkerIn({}, ...args),
    startWorkerIn: async (env, vantage, ...options) => {
      const { namespace, ipv4 } = seats[workers++ % seats.length];
      const own = ["--allow", WIDE.ipv4, "--vantage", vantage, "-S", ipv4];
      const words = synprobe("worker", ...own, ...options);
      const at = { SYNPROBE_FLEET: url, ...env };
      const worker = keep(start(inNamespace(namespace, words), { env: at, limitMs: LIMIT_MS }));
      await worker.until("stderr", /takes cells/);
      return worker;
    },
    startRun: (...args) =>
      keep(
        start(inNamespace(lab.near, synprobe(...args, "--fleet", url, "-oJ", "-")), { limitMs: LIMIT_MS }),
      ),
    keys: (pattern) => redis.keys(`synprobe-fleet:${pattern}`),
    remove: async () => {
      redis.disconnect();
      for (const each of running) {
        each.kill("SIGCONT");
        each.kill("SIGKILL");
      }
      await Promise.allSettled(running.map(({ finished }) => finished));
      rmSync(directory, { recursive: true, force: true });
    },
  };
  return fleet;
}

/** Waits for a condition that takes a look at Redis. */
export async function eventually(
  what: string,
  condition: () => Promise<boolean>,
  limitMs = 60_000,
): Promise<void> {
  const start = performance.now();
  while (!(await condition())) {
    if (performance.now() - start > limitMs) throw new Error(`waited ${limitMs} ms for ${what}`);
    await pause(20);
  }
}

/** A SYN that the far side saw: when, in seconds, and from which worker's address to which host. */
interface Syn {
  readonly at: number;
  readonly from: string;
  readonly to: string;
}

/**
 * Watches the SYNs that reach the far side, until it is asked for them, and has seen at least so many: the last ones are still on their
 * way through tshark when the run ends.
 */
export async function watchSyns(lab: Lab): Promise<(least?: number) => Promise<readonly Syn[]>> {
  const filter = "tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn and dst net 198.19.0.0/16";
  const fields = ["frame.time_epoch", "ip.src", "ip.dst"].flatMap((name) => ["-e", name]);
  const words = ["tshark", "-i", "veth0", "-l", "-n", "-f", filter, "-T", "fields", ...fields];
  const watching = start(inNamespace(lab.far, words), { limitMs: LIMIT_MS });
  await watching.until("stderr", /Capturing on/);
  return async (least = 0) => {
    await watching.until("stdout", new RegExp(`^(?:.*\\n){${least}}`));
    watching.kill("SIGINT");
    const { stdout } = await watching.finished;
    return linesOf(stdout).map((line) => {
      const [at, from, to] = line.split("\t");
      return { at: Number(at), from, to };
    });
  };
}

/** The most of these times, in seconds, that lie within any second. */
export function mostInASecond(times: readonly number[]): number {
  const sorted = [...times].sort((a, b) => a - b);
  let most = 0;
  for (let from = 0, to = 0; to < sorted.length; to++) {
    while (sorted[to] - sorted[from] >= 1) from++;
    most = Math.max(most, to - from + 1);
  }
  return most;
}

/** Each SYN's time, by what it went to. */
export function timesBy(syns: readonly Syn[], what: (to: string) => string): ReadonlyMap<string, number[]> {
  const times = new Map<string, number[]>();
  for (const { at, to } of syns) {
    const known = times.get(what(to));
    if (known === undefined) times.set(what(to), [at]);
    else known.push(at);
  }
  return times;
}

export const networkOf = (to: string): string => to.slice(0, to.lastIndexOf("."));

/** Hosts that get a SYN of one worker less than `seconds` after one of another. */
export function sharedHosts(syns: readonly Syn[], seconds: number): string[] {
  const last = new Map<string, Syn>();
  return syns.flatMap((syn) => {
    const before = last.get(syn.to);
    last.set(syn.to, syn);
    if (before === undefined || before.from === syn.from || syn.at - before.at >= seconds) return [];
    return [`${syn.to}: ${syn.from} ${Math.round((syn.at - before.at) * 1000)} ms after ${before.from}`];
  });
}

/** When each /24 got its first and its last SYN; in order of the first. */
export function networksOf(
  syns: readonly Syn[],
): readonly { readonly first: number; readonly last: number }[] {
  return Array.from(timesBy(syns, networkOf).values(), (times) => ({
    first: Math.min(...times),
    last: Math.max(...times),
  })).sort((a, b) => a.first - b.first);
}
