/**
 * Privileges: advice for a user without them, and dropping them once the sockets are open.
 *
 * An open raw socket needs no privilege. Under sudo the process becomes the user who called it; otherwise it drops its
 * capabilities (link/sys/capabilities.ts).
 */
import { stat } from "node:fs";
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import {
  type Capability,
  dropCapabilities,
  keepCapabilitiesOverSetuid,
} from "../../link/sys/capabilities.ts";
import { becomeInvoker } from "./invoker.ts";

/** What the process has become. */
export interface Dropped {
  /** The user it runs as now, when that changed. */
  readonly user?: string;
}

/**
 * Drops privileges for good, all but those capabilities in `keep` that it has.
 * @throws {SynprobeError} `ERR_SYSTEM` when the kernel refuses; the caller must not go on then
 */
export function dropPrivileges(
  keep: readonly Capability[] = [],
  env: NodeJS.ProcessEnv = process.env,
): Dropped {
  if (keep.length > 0) {
    keepCapabilitiesOverSetuid();
    // The first to use libuv's pool makes all of its threads. Made after the drop, they would have what this thread keeps.
    stat("/", () => {});
  }
  const user = process.geteuid?.() === 0 ? becomeInvoker(env) : undefined;
  dropCapabilities(keep);
  return user === undefined ? {} : { user };
}

/**
 * The one error for a process that may not open raw sockets.
 * @param command what was called, for the advice
 * @param completes it finishes handshakes, and so needs CAP_NET_ADMIN too, to hold back the kernel's RST
 * @param without options without which the kernel could connect instead
 */
export function notPrivileged(
  command: readonly string[],
  cause: unknown,
  completes = false,
  without: readonly string[] = [],
): SynprobeError {
  const isRoot = process.geteuid?.() === 0;
  const and = completes ? " and, to hold back the kernel's RST, CAP_NET_ADMIN" : "";
  const why = isRoot
    ? "it is root, but without CAP_NET_RAW."
    : `it needs root or the ${completes ? "capabilities" : "capability"} CAP_NET_RAW${and}.`;
  const ways = isRoot
    ? [
        `  in a container:      start it with --cap-add NET_RAW${completes ? " --cap-add NET_ADMIN" : ""}`,
        `  in a systemd unit:   let CapabilityBoundingSet include CAP_NET_RAW${completes ? " CAP_NET_ADMIN" : ""}`,
        "",
      ]
    : privilegeWays(command, undefined, undefined, completes);
  return new SynprobeError(ERROR_CODES.privilege, `raw sockets are not allowed to this process: ${why}`, {
    cause,
    advice: [
      "",
      ...(without.length === 0
        ? []
        : [`  without ${without.join(" and ")} it needs no privilege: the kernel connects (-sT)`]),
      ...ways,
      'See "synprobe doctor" for what this process has and lacks.',
    ],
  });
}

/** The ways to run this with raw sockets, with the exact command: lines for a person. */
export function privilegeWays(
  command: readonly string[],
  uid = process.geteuid?.() ?? 0,
  gid = process.getegid?.() ?? 0,
  completes = false,
): string[] {
  const words = shellCommand(command);
  const capabilities = completes ? "+net_raw,+net_admin" : "+net_raw";
  return [
    "  with sudo (privileges are dropped as soon as the sockets are open):",
    `      sudo ${words}`,
    `  with ${completes ? "those two capabilities" : "that one capability"} and nothing else:`,
    `      sudo setpriv --reuid ${uid} --regid ${gid} --init-groups --inh-caps ${capabilities} --ambient-caps ${capabilities} ${words}`,
    `  in a systemd unit:   AmbientCapabilities=CAP_NET_RAW${completes ? " CAP_NET_ADMIN" : ""}`,
    `  in a container:      --cap-add NET_RAW${completes ? " --cap-add NET_ADMIN" : ""}, and run as root or with the ${completes ? "capabilities" : "capability"} ambient`,
    "",
    'Do not use "setcap" on the node binary: it would give the power to every script that node runs.',
  ];
}

/** A command, quoted for a shell. */
export const shellCommand = (words: readonly string[]): string => words.map(shellQuote).join(" ");

const shellQuote = (word: string): string =>
  /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
