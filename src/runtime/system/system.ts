/**
 * Facts about the running system from files: services, the kernel's port range, its counters. Missing files have sensible
 * defaults; nothing here needs a privilege.
 */
import { readdirSync, readFileSync } from "node:fs";
import { parseServices, type Services } from "../../scan/targets/services.ts";
import { choosePortRange, type PortShares, sharePorts } from "../../socket/ports.ts";

/** The system's services database; empty when the system has none. */
export const readServices = (): Services => parseServices(readFile("/etc/services") ?? "");

/** Linux's default ip_local_port_range. */
const KERNEL_PORTS = "32768 60999";

/** The source ports of the kernel's own connections. */
export function kernelPorts(): { first: number; last: number } {
  const [first, last] = (readFile("/proc/sys/net/ipv4/ip_local_port_range") ?? KERNEL_PORTS)
    .trim()
    .split(/\s+/)
    .map(Number);
  return { first, last };
}

/** The source ports of a run; `shared` when the kernel uses the same ones for its own connections. */
export function probePorts(): { first: number; last: number; shared: boolean } {
  const { first, last } = kernelPorts();
  return choosePortRange(first, last);
}

/** The same by kind of link. */
export const portShares = (): PortShares => sharePorts(probePorts());

/** What gc_thresh3 is unless somebody raises it (arp(7)). */
const USUAL_NEIGHBOURS = 1024;

/** How many neighbours of one IP version the kernel keeps (gc_thresh3, which only the first network namespace shows). */
export function neighbourLimit(): number {
  const limits = ["ipv4", "ipv6"].map((version) =>
    Number(readFile(`/proc/sys/net/${version}/neigh/default/gc_thresh3`) ?? USUAL_NEIGHBOURS),
  );
  return Math.min(...limits);
}

/** How many files this process may still open (RLIMIT_NOFILE); Infinity when unknown. */
export function openFilesLeft(): number {
  const soft = /^Max open files\s+(\d+)/m.exec(readFile("/proc/self/limits") ?? "")?.[1];
  if (soft === undefined) return Number.POSITIVE_INFINITY;
  try {
    return Number(soft) - readdirSync("/proc/self/fd").length;
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}

/** Parts that are bundled apart have a copy of this module: who looks up and who ends the process may be two of them. */
const LOOKUPS = Symbol.for("synprobe.lookups");
const shared = globalThis as { [LOOKUPS]?: { underWay: number } };

/** Lookups under way: each has a thread, which nothing can call back. */
export const lookups = shared[LOOKUPS] ?? { underWay: 0 };
shared[LOOKUPS] = lookups;

/** Threads for 64 lookups at once: libuv gives lookups half of its pool. */
const LOOKUP_THREADS = 128;
/** With room for fewer threads than this the pool stays as it is: libuv aborts when it cannot start one. */
const ROOM_FOR_THREADS = 1024;

/**
 * Makes name lookups run side by side. libuv has four threads by default, so two lookups at once, and each name of a dead name
 * server takes ten seconds. For a program of its own, before anything uses the pool: libuv reads the variable only then.
 */
export function widenLookups(): void {
  const limits = [
    /^Max processes\s+(\d+)/m.exec(readFile("/proc/self/limits") ?? "")?.[1],
    readFile("/sys/fs/cgroup/pids.max"),
  ];
  // "max", or no such limit, is no number.
  if (limits.some((limit) => Number(limit) < ROOM_FOR_THREADS)) return;
  const environment: NodeJS.ProcessEnv & { UV_THREADPOOL_SIZE?: string } = process.env;
  environment.UV_THREADPOOL_SIZE ??= String(LOOKUP_THREADS);
}

/** Whether this machine forwards packets, as routers and container hosts do. */
export const forwards = (): boolean =>
  ["ipv4/ip_forward", "ipv6/conf/all/forwarding"].some(
    (path) => (readFile(`/proc/sys/net/${path}`) ?? "0").trim() !== "0",
  );

/** A file's text, as it is; undefined when it cannot be read. */
export function readFile(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
