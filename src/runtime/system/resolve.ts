/**
 * Host names to addresses, through the system's resolver (getaddrinfo: /etc/hosts, DNS, whatever nsswitch says), a
 * bounded number at a time.
 */
import { lookup } from "node:dns/promises";
import pLimit from "p-limit";
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import { type Address, parseAddress } from "../../wire/address.ts";
import { ACCESS_DENIED } from "./file-errors.ts";
import { lookups } from "./system.ts";

/** Most lookups at once; libuv may have threads for fewer (widenLookups). */
const MOST_LOOKUPS = 64;

/** The addresses of a name, in the resolver's order; never empty. Or why there are none. */
export type Resolution = readonly Address[] | SynprobeError;

/**
 * Resolves each distinct name once.
 * @param family only addresses of this family count; undefined for both
 * @param found takes each resolution as it comes
 */
export async function resolveNames(
  names: Iterable<string>,
  family?: 4 | 6,
  found = new Map<string, Resolution>(),
): Promise<ReadonlyMap<string, Resolution>> {
  const limit = pLimit(MOST_LOOKUPS);
  await Promise.all(
    Array.from(new Set(names), (name) =>
      limit(async () => {
        lookups.underWay++;
        found.set(name, await resolve(name, family));
        lookups.underWay--;
      }),
    ),
  );
  return found;
}

async function resolve(name: string, family: 4 | 6 | undefined): Promise<Resolution> {
  try {
    const found = await lookup(name, { all: true, verbatim: true });
    const all = found.flatMap(({ address }) => parseAddress(address) ?? []);
    const wanted = family === undefined ? all : all.filter(({ length }) => (length === 4) === (family === 4));
    if (wanted.length > 0) return wanted;
    return new SynprobeError(
      ERROR_CODES.noAddress,
      `${name} has no IPv${family ?? "4 or IPv6"} address${family === undefined ? "" : `: try it without -${family}`}`,
    );
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? String(cause.code) : String(cause);
    const message =
      code === "EAI_AGAIN"
        ? `${name} could not be looked up: the name server does not answer (EAI_AGAIN)`
        : code === ACCESS_DENIED
          ? `${name} could not be looked up: Node was started with --permission, and without --allow-net`
          : `${name} is unknown to this system's resolver (${code}): check the name`;
    return new SynprobeError(ERROR_CODES.unknownHost, message, { cause });
  }
}
