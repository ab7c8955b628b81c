/**
 * Who called sudo, and acting as that user: for the opening of one file, or for good. Nothing here is native: commands that need
 * no privilege use it too. Capabilities are privilege.ts's business.
 */
import { ERROR_CODES, SynprobeError } from "../../errors.ts";

/**
 * Runs `read` with the invoking user's file permissions under sudo, when privileges are to be dropped: a list that the user
 * may not read is not read for them.
 */
export function asInvoker<T>(drop: boolean, read: () => T, env: NodeJS.ProcessEnv = process.env): T {
  const invoker = invokerOf(env);
  if (!drop || process.geteuid?.() !== 0 || invoker === undefined) return read();
  const groups = process.getgroups?.() ?? [];
  const mine = process.getegid?.() ?? 0;
  try {
    takeGroups(invoker);
    process.setegid?.(invoker.gid);
    process.seteuid?.(invoker.uid);
  } catch (error) {
    if (error instanceof SynprobeError) throw error;
    // Not mapped in this user namespace: there is nobody to become (see becomeInvoker).
  }
  try {
    return read();
  } finally {
    process.seteuid?.(0);
    process.setegid?.(mine);
    process.setgroups?.(groups);
  }
}

/** Who called sudo. */
interface Invoker {
  readonly uid: number;
  readonly gid: number;
  readonly name: string | undefined;
}

/** Undefined when it was not sudo, or root itself who called it. */
function invokerOf({ SUDO_UID, SUDO_GID, SUDO_USER }: NodeJS.ProcessEnv): Invoker | undefined {
  if (SUDO_UID === undefined || SUDO_GID === undefined) return undefined;
  const uid = Number(SUDO_UID);
  const gid = Number(SUDO_GID);
  if (!Number.isInteger(uid) || !Number.isInteger(gid) || uid <= 0 || gid < 0) return undefined;
  return { uid, gid, name: SUDO_USER };
}

/** Node has it on every POSIX system; its type declarations do not. */
type WithInitgroups = NodeJS.Process & {
  initgroups?(user: string | number, extraGroup: number): void;
};

/** @throws {SynprobeError} `ERR_PRIVILEGE` when nobody knows the user's groups: going on would mean to act as root */
function takeGroups({ uid, gid, name }: Invoker): void {
  try {
    (process as WithInitgroups).initgroups?.(name ?? uid, gid);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ERR_UNKNOWN_CREDENTIAL")) throw error;
    throw new SynprobeError(
      ERROR_CODES.privilege,
      `SUDO_UID is ${uid}, a user whom this system does not know, so there is nobody to become: set SUDO_USER too, or use --no-drop to stay root`,
      { cause: error },
    );
  }
}

/** Under sudo: become the user who called it. @returns that user's name; undefined when there is none to become */
export function becomeInvoker(env: NodeJS.ProcessEnv): string | undefined {
  const invoker = invokerOf(env);
  if (invoker === undefined) return undefined;
  const { uid, gid, name = String(uid) } = invoker;
  try {
    takeGroups(invoker);
    process.setgid?.(gid);
    process.setuid?.(uid);
  } catch (error) {
    if (error instanceof SynprobeError) throw error;
    // In a user namespace the invoker's ids may not be mapped, or groups be frozen: capabilities are dropped instead.
    if (process.geteuid?.() === 0) return undefined;
    throw new SynprobeError(ERROR_CODES.system, `cannot become user ${name}`, { cause: error });
  }
  if (process.geteuid?.() !== uid || process.getuid?.() !== uid)
    throw new SynprobeError(ERROR_CODES.system, `dropping privileges to user ${name} had no effect`);
  return name;
}
