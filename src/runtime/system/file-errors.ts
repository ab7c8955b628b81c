/**
 * Why the system did not open or write a file, in words. Not here: files that are only read (plan/list-file.ts), which has fewer
 * ways to fail.
 */

import { ERROR_CODES, SynprobeError } from "../../errors.ts";

/** The errno name of a failed call, such as `ENOSPC`; an error without one as text. */
export const errorCode = (error: unknown): string =>
  error instanceof Error && "code" in error ? String(error.code) : String(error);

/** What Node's permission model has forbidden. */
export const ACCESS_DENIED = "ERR_ACCESS_DENIED";

const REASONS: Readonly<Record<string, string>> = {
  [ACCESS_DENIED]: "Node was started with --permission, and without --allow-fs-write for it",
  EDQUOT: "the disk quota is used up",
  EFBIG: "a file may not become larger here (ulimit -f, or the file system's limit)",
  EIO: "input/output error, the disk may be failing",
  EISDIR: "it is a directory",
  EMFILE: 'too many open files; raise "ulimit -n"',
  ENFILE: "the system has too many open files (fs.file-max)",
  EPIPE: "nobody reads it any more",
  ELOOP: "it is a symbolic link to itself, or one of too many",
  ENOENT: "its directory does not exist",
  ENOSPC: "the disk is full",
  EROFS: "the file system is read-only",
};

/**
 * What an errno name means to a user who wanted to write.
 * @param isRoot whether there are rights that `--no-drop` would keep, and `env` says whose the others are
 */
export function reasonOf(
  code: string,
  isRoot = process.getuid?.() === 0 || process.env["SUDO_UID"] !== undefined,
  env: NodeJS.ProcessEnv = process.env,
): string {
  if (code !== "EACCES") return REASONS[code] ?? code;
  if (!isRoot) return "permission denied";
  return env["SUDO_UID"] === undefined
    ? "permission denied (root's capabilities are given up; --no-drop keeps them)"
    : "permission denied (under sudo, files are opened as the invoking user; --no-drop keeps root)";
}

/**
 * What may fail any call that opens or names a file, or any that Node's permission model knows, wherever that is, as an error for the
 * user; undefined for all else.
 */
export function systemFault(error: unknown): SynprobeError | undefined {
  const code = errorCode(error);
  if (code === "EMFILE" || code === "ENFILE")
    return new SynprobeError(ERROR_CODES.platform, reasonOf(code), { cause: error });
  if (code === ACCESS_DENIED && error instanceof Error)
    return new SynprobeError(ERROR_CODES.platform, `Node was started with --permission: ${error.message}`, {
      cause: error,
    });
  // libuv's name of getcwd(3), which every relative name may ask for.
  if (!(error instanceof Error && "syscall" in error && error.syscall === "uv_cwd")) return undefined;
  const message = "the working directory does not exist any more, or may not be read: change to another";
  return new SynprobeError(ERROR_CODES.usage, message, { cause: error });
}
