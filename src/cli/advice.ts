/** What a command that opens raw sockets says when it may not: its own command line, with what it lacks. */
import { ERROR_CODES, SynprobeError } from "../errors.ts";
import { notPrivileged } from "../runtime/system/privilege.ts";
import { shownArgs } from "./shown-args.ts";

/**
 * @param argv the whole command line, without node and script
 * @param completes it finishes handshakes
 * @param without options without which it would need no privilege
 * @throws {SynprobeError} `ERR_PRIVILEGE` with advice
 */
export async function withAdvice<T>(
  argv: readonly string[],
  completes: boolean,
  open: () => Promise<T>,
  without: readonly string[] = [],
): Promise<T> {
  try {
    return await open();
  } catch (error) {
    if (error instanceof SynprobeError && error.code === ERROR_CODES.privilege) {
      throw notPrivileged([...process.argv.slice(0, 2), ...shownArgs(argv)], error, completes, without);
    }
    throw error;
  }
}
