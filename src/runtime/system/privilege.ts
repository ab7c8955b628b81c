/**
 * Privileges: advice for a user without them, and dropping them once the sockets are open.
 *
 * An open raw socket needs no privilege. Under sudo the process becomes the user who called it; otherwise it drops its
 * capabilities (link/sys/capabilities.ts).
 */
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import {
  type Capability,
  dropCapabilities,
  keepCapabilitiesOverSetuid,
} from "../../link/sys/capabilities.ts";

/** What the process has become. */
export interface Dropped {
  /** The user it runs as now, when that changed. */
  readonly user?: string;
}

/**
 * Drops privileges for good, all but the capabilities in `keep`.
 * @throws {SynprobeError} `ERR_SYSTEM` when the kernel refuses; the caller must not go on then
 */
export function dropPrivileges(
  keep: readonly Capability[] = [],
  env: NodeJS.ProcessEnv = process.env,
): Dropped {
  if (keep.length > 0) keepCapabilitiesOverSetuid();
  const user = process.geteuid?.() === 0 ? becomeInvoker(env) : undefined;
  dropCapabilities(keep);
  return user === undefined ? {} : { user };
}

/**
 * Runs `read` with the invoking user's file permissions under sudo, when privileges are to be dropped: a list that the user
 * may not read is not read for them.
 */
export function asInvoker<T>(drop: boolean, read: () => T, env: NodeJS.ProcessEnv = process.env): T {
  const { SUDO_UID, SUDO_GID, SUDO_USER } = env;
  const uid = Number(SUDO_UID);
  const gid = Number(SUDO_GID);
  if (!drop || process.geteuid?.() !== 0 || !(uid > 0) || !(gid >= 0)) return read();
  const groups = process.getgroups?.() ?? [];
  const mine = process.getegid?.() ?? 0;
  try {
    (process as WithInitgroups).initgroups?.(SUDO_USER ?? uid, gid);
    process.setegid?.(gid);
    process.seteuid?.(uid);
  } catch {
    // Not mapped in this user namespace: the process stays who it is (see becomeInvoker).
  }
  try {
    return read();
  } finally {
    process.seteuid?.(0);
    process.setegid?.(mine);
    process.setgroups?.(groups);
  }
}

/** Node has it on every POSIX system; its type declarations do not. */
type WithInitgroups = NodeJS.Process & {
  initgroups?(user: string | number, extraGroup: number): void;
};

/** Under sudo: become the user who called it. @returns that user's name; undefined when the process stays who it is */
function becomeInvoker(env: NodeJS.ProcessEnv): string | undefined {
  const { SUDO_UID, SUDO_GID, SUDO_USER } = env;
  if (SUDO_UID === undefined || SUDO_GID === undefined) return undefined;
  const uid = Number(SUDO_UID);
  const gid = Number(SUDO_GID);
  if (!Number.isInteger(uid) || !Number.isInteger(gid) || uid <= 0 || gid < 0) return undefined;
  try {
    (process as WithInitgroups).initgroups?.(SUDO_USER ?? uid, gid);
    process.setgid?.(gid);
    process.setuid?.(uid);
  } catch (error) {
    // In a user namespace the invoker's ids may not be mapped, or groups be frozen: capabilities are dropped instead.
    if (process.geteuid?.() === 0) return undefined;
    throw new SynprobeError(ERROR_CODES.system, `cannot become user ${SUDO_USER ?? uid}`, { cause: error });
  }
  if (process.geteuid?.() !== uid || process.getuid?.() !== uid) {
    throw new SynprobeError(
      ERROR_CODES.system,
      `dropping privileges to user ${SUDO_USER ?? uid} had no effect`,
    );
  }
  return SUDO_USER ?? String(uid);
}

/** The one message for a process that may not open raw sockets. */
export function privilegeAdvice(command: readonly string[]): string {
  if (process.geteuid?.() === 0) {
    return [
      "raw sockets are not allowed to this process: it is root, but without CAP_NET_RAW.",
      "",
      "  in a container:      start it with --cap-add NET_RAW",
      "  in a systemd unit:   let CapabilityBoundingSet include CAP_NET_RAW",
      "",
      'See "synprobe doctor" for what this process has and lacks.',
    ].join("\n");
  }
  return [
    "raw sockets are not allowed to this process: it needs root or the capability CAP_NET_RAW.",
    "",
    ...privilegeWays(command),
    'See "synprobe doctor" for what this process has and lacks.',
  ].join("\n");
}

/** The ways to run this with raw sockets, with the exact command: lines for a person. */
export function privilegeWays(
  command: readonly string[],
  uid = process.geteuid?.() ?? 0,
  gid = process.getegid?.() ?? 0,
): string[] {
  const words = shellCommand(command);
  return [
    "  with sudo (privileges are dropped as soon as the sockets are open):",
    `      sudo ${words}`,
    "  with that one capability and nothing else:",
    `      sudo setpriv --reuid ${uid} --regid ${gid} --init-groups --inh-caps +net_raw --ambient-caps +net_raw ${words}`,
    "  in a systemd unit:   AmbientCapabilities=CAP_NET_RAW",
    "  in a container:      --cap-add NET_RAW, and run as root or with the capability ambient",
    "",
    'Do not use "setcap" on the node binary: it would give the power to every script that node runs.',
  ];
}

/** A command, quoted for a shell. */
export const shellCommand = (words: readonly string[]): string => words.map(shellQuote).join(" ");

const shellQuote = (word: string): string =>
  /^[\w@%+=:,./[\]-]+$/.test(word) && !/[[\]]/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
