/**
 * A laboratory of two network namespaces joined by a veth pair: real kernels on both sides, and no way out.
 *
 *     near  192.0.2.1 and .2, 2001:db8::1           where the prober runs
 *     far   192.0.2.10, 2001:db8::10                a host, and the router for the addresses of BEYOND
 *
 * Nothing listens until a test says so (listeners.ts). A lab belongs to one test file and is removed with it; what a
 * killed process leaves behind is removed by the next one that builds a lab.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { ENVIRONMENT } from "../cli/process.ts";
import { until } from "./until.ts";

export const NEAR = { ipv4: "192.0.2.1", other4: "192.0.2.2", ipv6: "2001:db8::1" } as const;
export const FAR = { ipv4: "192.0.2.10", ipv6: "2001:db8::10" } as const;
/** Where the far side's own packets start, so that a reply's TTL is told from a probe's. */
export const FAR_TTL = 61;

/** Addresses behind the far side, and what its routing table says of each. */
export const BEYOND = {
  blackhole: { ipv4: "198.18.0.1", ipv6: "2001:db8:1::1" },
  unreachable: { ipv4: "198.18.0.2", ipv6: "2001:db8:1::2" },
  prohibit: { ipv4: "198.18.0.3", ipv6: "2001:db8:1::3" },
  /** No route at all. */
  none: { ipv4: "198.18.0.4", ipv6: "2001:db8:1::4" },
  /** On the far side's link, where nobody answers ARP or neighbour discovery. */
  nobody: { ipv4: "198.18.1.1", ipv6: "2001:db8:1:1::1" },
} as const;
/** An address that not even the near side has a route for. */
export const NOWHERE = { ipv4: "198.19.0.1", ipv6: "2001:db8:2::1" } as const;
/** A host that never answers. */
export const SILENT = BEYOND.blackhole;

export interface Lab {
  /** Names of the namespaces. */
  readonly near: string;
  readonly far: string;
  remove(): void;
}

const DEVICE = "veth0";
const PREFIX = "sp-";
const NAMESPACES = "/run/netns";
const OVERLAYS = "/etc/netns";

/** Puts a command into a namespace; its process id is the command's own. */
export function inNamespace(name: string, argv: readonly string[]): string[] {
  return ["ip", "netns", "exec", name, ...argv];
}

/** Runs a set-up command to its end. @returns what it printed. @throws with its own words when it fails */
export function command(argv: readonly string[], input = ""): string {
  const [name = "", ...args] = argv;
  return execFileSync(name, args, { input, encoding: "utf8", stdio: "pipe", env: ENVIRONMENT });
}

/** Runs `ip` commands, one a line, in a namespace. */
export function ip(namespace: string, ...lines: string[]): void {
  command(["ip", "-n", namespace, "-batch", "-"], `${lines.join("\n")}\n`);
}

/**
 * Replaces files of /etc for the processes of a namespace, and for nobody else. The file must exist in /etc;
 * "hosts" is the one most wanted. @param mode the file's permissions, for those who look (sudo does)
 */
export function overlayEtc(namespace: string, file: string, text: string, mode = 0o644): void {
  mkdirSync(`${OVERLAYS}/${namespace}`, { recursive: true });
  writeFileSync(`${OVERLAYS}/${namespace}/${file}`, text, { mode });
}

let problem: string | undefined | null = null;

/** Why there can be no lab here; undefined when there can. */
export function labProblem(): string | undefined {
  if (problem === null) problem = findProblem();
  return problem;
}

function findProblem(): string | undefined {
  if (process.platform !== "linux") return `network namespaces are Linux's, this is ${process.platform}`;
  if (process.getuid?.() !== 0) return "network namespaces need root";
  try {
    createLab().remove();
    return undefined;
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    return `no network namespaces here: ${text.trim().replace(/\s+/g, " ")}`;
  }
}

/**
 * For `describe.skipIf`: true, and said on standard error, when something that the tests need is missing.
 * @param why what is missing; undefined when nothing is
 */
export function skipping(what: string, why: string | undefined): boolean {
  if (why !== undefined) console.warn(`skipped: ${what} (${why})`);
  return why !== undefined;
}

let made = 0;

/** Builds a lab and waits until both ends of its link can talk. */
export function createLab(): Lab {
  sweep();
  const name = `${PREFIX}${process.pid}-${made++}`;
  const near = `${name}-near`;
  const far = `${name}-far`;
  function remove(): void {
    process.off("exit", remove);
    for (const namespace of [near, far]) removeNamespace(namespace);
  }
  process.on("exit", remove);
  try {
    build(near, far);
    return { near, far, remove };
  } catch (error) {
    remove();
    throw error;
  }
}

function build(near: string, far: string): void {
  for (const namespace of [near, far]) {
    command(["ip", "netns", "add", namespace]);
    // Addresses are usable at once, and nobody tells of a shorter way.
    sysctl(namespace, {
      "net/ipv6/conf/all/accept_dad": 0,
      "net/ipv6/conf/default/accept_dad": 0,
      "net/ipv4/conf/all/send_redirects": 0,
      "net/ipv4/conf/default/send_redirects": 0,
    });
  }
  sysctl(far, {
    "net/ipv4/ip_forward": 1,
    "net/ipv6/conf/all/forwarding": 1,
    "net/ipv4/ip_default_ttl": FAR_TTL,
    "net/ipv6/conf/all/hop_limit": FAR_TTL,
    "net/ipv6/conf/default/hop_limit": FAR_TTL,
    // No ICMP message is subject to a limit. (One stays: five errors about IPv4 routes at once, then one a second, for
    // each prober; it has no switch in a namespace.)
    "net/ipv4/icmp_ratemask": 0,
    "net/ipv6/icmp/ratelimit": 0,
  });
  command(["ip", "link", "add", DEVICE, "netns", near, "type", "veth", "peer", "name", DEVICE, "netns", far]);
  for (const namespace of [near, far]) {
    // A neighbour that does not answer at once never will.
    sysctl(namespace, {
      [`net/ipv4/neigh/${DEVICE}/mcast_solicit`]: 1,
      [`net/ipv4/neigh/${DEVICE}/retrans_time_ms`]: 100,
      [`net/ipv6/neigh/${DEVICE}/mcast_solicit`]: 1,
      [`net/ipv6/neigh/${DEVICE}/retrans_time_ms`]: 100,
    });
  }
  ip(
    near,
    "link set lo up",
    `addr add ${NEAR.ipv4}/24 brd + dev ${DEVICE}`,
    `addr add ${NEAR.other4}/24 brd + dev ${DEVICE}`,
    `addr add ${NEAR.ipv6}/64 dev ${DEVICE} nodad`,
    `link set ${DEVICE} up`,
  );
  ip(
    far,
    "link set lo up",
    `addr add ${FAR.ipv4}/24 brd + dev ${DEVICE}`,
    `addr add ${FAR.ipv6}/64 dev ${DEVICE} nodad`,
    `link set ${DEVICE} up`,
    `route add 198.18.1.0/24 dev ${DEVICE}`,
    `route add 2001:db8:1:1::/64 dev ${DEVICE}`,
    ...(["blackhole", "unreachable", "prohibit"] as const).flatMap((type) => [
      `route add ${type} ${BEYOND[type].ipv4}`,
      `route add ${type} ${BEYOND[type].ipv6}`,
    ]),
  );
  until(() => [near, far].every(isUp), "the veth pair to come up");
  ip(near, `route add 198.18.0.0/16 via ${FAR.ipv4}`, `route add 2001:db8:1::/48 via ${FAR.ipv6}`);
}

/** True when a namespace's end of the pair has carrier, and no address of it is still tentative. */
function isUp(namespace: string): boolean {
  const shown = command(["ip", "-n", namespace, "addr", "show", "dev", DEVICE]);
  return /\bstate UP\b/.test(shown) && !/\btentative\b/.test(shown) && /\bscope link\b/.test(shown);
}

/** Sets what of it this kernel has. */
export function sysctl(namespace: string, values: Readonly<Record<string, number>>): void {
  const script = 'while [ $# -gt 0 ]; do f=/proc/sys/$1; [ ! -e "$f" ] || echo "$2" >"$f"; shift 2; done';
  const words = Object.entries(values).flatMap(([path, value]) => [path, String(value)]);
  command(inNamespace(namespace, ["sh", "-c", script, "sh", ...words]));
}

export function removeNamespace(name: string): void {
  rmSync(`${OVERLAYS}/${name}`, { recursive: true, force: true });
  try {
    for (const pid of command(["ip", "netns", "pids", name]).split(/\s+/)) {
      if (pid !== "") process.kill(Number(pid), "SIGKILL");
    }
  } catch {
    // Gone already, the processes or the namespace.
  }
  try {
    command(["ip", "netns", "delete", name]);
  } catch {
    // It was never made.
  }
}

/** Removes the namespaces of processes that are no more. */
function sweep(): void {
  for (const directory of [NAMESPACES, OVERLAYS]) {
    for (const name of list(directory)) {
      const owner = new RegExp(`^${PREFIX}(\\d+)-`).exec(name)?.[1];
      if (owner !== undefined && list(`/proc/${owner}`).length === 0) removeNamespace(name);
    }
  }
}

function list(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}
