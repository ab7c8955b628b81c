/**
 * Which operating systems can probe, and why native code may not load. Imports nothing native, so that it works where nothing
 * native loads.
 */
import { ERROR_CODES, SynprobeError } from "../../errors.ts";

/** @throws {SynprobeError} `ERR_PLATFORM` on a system whose raw sockets cannot probe; call before anything else */
export function checkPlatform(platform: NodeJS.Platform = process.platform): void {
  if (platform === "linux") return;
  const why =
    platform === "darwin" || platform.endsWith("bsd")
      ? "raw sockets never receive TCP there"
      : platform === "win32"
        ? "Windows does not let raw sockets send TCP"
        : "only Linux's raw sockets are supported";
  throw new SynprobeError(
    ERROR_CODES.platform,
    `synprobe runs on Linux; on ${platform} it cannot: ${why}. Use a Linux machine, virtual machine or container (see native-notes/other-systems.md)`,
  );
}

/** Codes of Node's for a module that is missing or does not load. */
const LOAD_FAILURES = new Set<unknown>(["MODULE_NOT_FOUND", "ERR_MODULE_NOT_FOUND", "ERR_DLOPEN_FAILED"]);

/**
 * The error of a koffi package that is missing, was installed for another system, may not be read, or lies where nothing may be
 * executed, and of a Node that may load nothing native: `ERR_PLATFORM`, "what is wrong (why): what to do". Undefined for any other error.
 */
export function nativeLoadError(error: unknown): SynprobeError | undefined {
  if (!(error instanceof Error)) return undefined;
  const code = "code" in error ? error.code : undefined;
  if (code === "ERR_DLOPEN_DISABLED") {
    const message =
      "native code cannot be loaded (Node was told to load none): start it without --no-addons, and with --allow-addons beside --permission";
    return new SynprobeError(ERROR_CODES.platform, message, { cause: error });
  }
  if (!/koffi/i.test(error.message)) return undefined;
  if (!LOAD_FAILURES.has(code) && !/native Koffi module/.test(error.message)) return undefined;
  const [why] = error.message.split("\n", 1);
  const message = `native code cannot be loaded (${why}): ${nativeAdvice(why)}`;
  return new SynprobeError(ERROR_CODES.platform, message, { cause: error });
}

function nativeAdvice(why: string): string {
  if (/permission denied/i.test(why)) return "let this user read the installation";
  if (/failed to map segment/i.test(why)) {
    return "the installation is on a file system mounted noexec, or a security module forbids it; install synprobe elsewhere";
  }
  return "install synprobe on this machine, with its optional packages (npm ci --include=optional)";
}
