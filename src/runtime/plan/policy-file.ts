/**
 * A policy from its file, or from standard input, and the lists that it names. What may stand in it is policy/'s business.
 * Tested by test/cli/commands/check.test.ts.
 */
import { openSync, readFileSync, statSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import { type ListedTargets, type Policy, readPolicy } from "../../policy/policy.ts";
import type { Services } from "../../scan/targets/services.ts";
import { asInvoker } from "../system/invoker.ts";
import { chunksOf, parseList, whyUnreadable } from "./list-file.ts";

/** Largest policy or list that is read, in bytes: half a million lines. */
const MOST_BYTES = 1 << 24;
const TOO_LARGE = `it is larger than ${MOST_BYTES} bytes`;

/**
 * @param file `-` for standard input
 * @param drop read it with the invoking user's rights, under sudo
 * @throws {SynprobeError} `ERR_POLICY`
 */
export async function readPolicyFile(file: string, services: Services, drop: boolean): Promise<Policy> {
  const today = new Date().toISOString().slice(0, 10);
  const folder = file === "-" ? "." : dirname(file);
  const lists = new Map<string, ListedTargets>();
  const listed = (list: string): ListedTargets => {
    const found = lists.get(list) ?? parseList(list, readList(resolve(folder, list), list, drop), services);
    lists.set(list, found);
    return found;
  };
  const name = file === "-" ? "<stdin>" : file;
  return readPolicy(await textOf(file, name, drop), name, services, today, listed);
}

/**
 * Says which groups do not count any more.
 * @throws {SynprobeError} `ERR_NO_TARGETS` when no other is left
 */
export function noteEnded({ file, groups, expired }: Policy, note: (text: string) => void): void {
  for (const { name, line, until } of expired)
    note(`${file}:${line}: ${name} ended on ${until}, and does not count any more`);
  if (groups.length === 0)
    throw new SynprobeError(
      ERROR_CODES.noTargets,
      `${file}: all its groups have ended: nothing is left to check`,
    );
}

/** Throws what is wrong with a file. */
const failing =
  (what: string) =>
  (why: string, cause?: unknown): never => {
    throw new SynprobeError(ERROR_CODES.policy, `cannot read ${what}: ${why}`, { cause });
  };

/** A list, at once: it stands in the middle of a policy. */
function readList(path: string, name: string, drop: boolean): Uint8Array {
  const fail = failing(`the list ${name}`);
  try {
    return asInvoker(drop, () => (statSync(path).size > MOST_BYTES ? fail(TOO_LARGE) : readFileSync(path)));
  } catch (error) {
    if (error instanceof SynprobeError) throw error;
    return fail(whyUnreadable(error), error);
  }
}

async function textOf(file: string, name: string, drop: boolean): Promise<string> {
  const fail = failing(`the policy ${name}`);
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
  if (length > MOST_BYTES) fail(TOO_LARGE);
  return decode(Buffer.concat(pieces), fail);
}

function decode(bytes: Uint8Array, fail: ReturnType<typeof failing>): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    return fail("it is not UTF-8 text", error);
  }
}
