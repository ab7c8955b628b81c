/**
 * A policy from its file, or from standard input. What may stand in it is policy/'s business.
 * Tested by test/cli/commands/check.test.ts.
 */
import { openSync } from "node:fs";
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import { type Policy, readPolicy } from "../../policy/policy.ts";
import type { Services } from "../../scan/targets/services.ts";
import { asInvoker } from "../system/invoker.ts";
import { chunksOf, whyUnreadable } from "./list-file.ts";

/** Largest file that is read, in bytes: half a million lines. */
const MOST_BYTES = 1 << 24;

/**
 * @param file `-` for standard input
 * @param drop read it with the invoking user's rights, under sudo
 * @throws {SynprobeError} `ERR_POLICY`
 */
export async function readPolicyFile(file: string, services: Services, drop: boolean): Promise<Policy> {
  const today = new Date().toISOString().slice(0, 10);
  return readPolicy(await textOf(file, drop), file === "-" ? "<stdin>" : file, services, today);
}

async function textOf(file: string, drop: boolean): Promise<string> {
  const fail = (why: string, cause?: unknown): never => {
    throw new SynprobeError(ERROR_CODES.policy, `cannot read the policy ${file}: ${why}`, { cause });
  };
  const pieces: Uint8Array[] = [];
  let length = 0;
  try {
    const chunks = file === "-" ? process.stdin : chunksOf(asInvoker(drop, () => openSync(file, "r")));
    for await (const chunk of chunks as AsyncIterable<Uint8Array>) {
      length += chunk.length;
      if (length > MOST_BYTES) break;
      pieces.push(Uint8Array.from(chunk));
    }
  } catch (error) {
    fail(whyUnreadable(error), error);
  }
  if (length > MOST_BYTES) fail(`it is larger than ${MOST_BYTES} bytes`);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(pieces));
  } catch (error) {
    return fail("it is not UTF-8 text", error);
  }
}
