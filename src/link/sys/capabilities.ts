/**
 * Linux capabilities of this process (capabilities(7)): parsed from /proc's text, given up through capset(2) and prctl(2).
 *
 * capset acts on the calling thread only; threads.ts reaches the others.
 */
import { readFileSync } from "node:fs";
import { LITTLE_ENDIAN, libc, nativeMemory, systemError } from "./libc.ts";
import { dropInOtherThreads } from "./threads.ts";

/** Bit numbers of the capabilities that matter to a prober. */
export const CAPABILITIES = { netAdmin: 12, netRaw: 13 } as const;
export type Capability = (typeof CAPABILITIES)[keyof typeof CAPABILITIES];

export interface CapabilitySets {
  readonly effective: bigint;
  readonly permitted: bigint;
  readonly bounding: bigint;
  readonly ambient: bigint;
  readonly noNewPrivileges: boolean;
}

/** The sets in the text of a /proc/PID/status (proc_pid_status(5)); a set that it does not name is empty. */
export function parseCapabilities(status: string): CapabilitySets {
  const field = (name: string): string => new RegExp(`^${name}:\\s*(\\S+)`, "m").exec(status)?.[1] ?? "0";
  const set = (name: string): bigint => BigInt(`0x${field(name)}`);
  return {
    effective: set("CapEff"),
    permitted: set("CapPrm"),
    bounding: set("CapBnd"),
    ambient: set("CapAmb"),
    noNewPrivileges: field("NoNewPrivs") === "1",
  };
}

export const hasCapability = (set: bigint, capability: Capability): boolean =>
  (set & (1n << BigInt(capability))) !== 0n;

const CAPABILITY_VERSION_3 = 0x20080522;
const PR_SET_KEEPCAPS = 8;
const PR_SET_NO_NEW_PRIVS = 38;
const PR_CAP_AMBIENT = 47;
const PR_CAP_AMBIENT_CLEAR_ALL = 4;

/**
 * Gives up every capability of this process, but for `keep` in this thread, for it and for every program it may start. Of
 * `keep` it has afterwards what it was permitted before: the kernel refuses whoever asks for more.
 * @throws {SynprobeError} `ERR_SYSTEM` when the kernel refuses
 */
export function dropCapabilities(keep: readonly Capability[] = []): void {
  // Kernels before 4.3 know no ambient set: nothing to clear there.
  libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  const header = nativeMemory(8);
  new DataView(header.buffer).setUint32(0, CAPABILITY_VERSION_3, LITTLE_ENDIAN);
  // Two times effective, permitted, inheritable; the first three for capabilities 0 to 31.
  const sets = nativeMemory(24);
  const view = new DataView(sets.buffer);
  const { permitted } = parseCapabilities(readFileSync("/proc/thread-self/status", "utf8"));
  const mask = keep
    .filter((capability) => hasCapability(permitted, capability))
    .reduce((bits, capability) => bits | (1 << capability), 0);
  view.setUint32(0, mask, LITTLE_ENDIAN);
  view.setUint32(4, mask, LITTLE_ENDIAN);
  if (libc.capset(header, sets) < 0) throw systemError("capset");
  forbidNewPrivileges();
  dropInOtherThreads();
}

/** Lets this thread keep its permitted capabilities when its user changes from root to another (PR_SET_KEEPCAPS). */
export function keepCapabilitiesOverSetuid(): void {
  if (libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0) throw systemError("prctl(PR_SET_KEEPCAPS)");
}

/** execve(2) can no longer add privileges, not even for uid 0 or a set-user-ID program. */
export function forbidNewPrivileges(): void {
  if (libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) throw systemError("prctl(PR_SET_NO_NEW_PRIVS)");
}
