/**
 * Which operating systems can probe. Imports nothing native, so that it works where nothing native loads.
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
