/** Names of routers by reverse lookup: only where a user asks for them, so many at a time, and not for long. */
import { promises as dns } from "node:dns";
import pLimit from "p-limit";

/** Lookups at the same time, and the longest one, in milliseconds. */
const AT_ONCE = 8;
const PATIENCE_MS = 2000;

/** @returns names by address; those without one, or not in time, are left out */
export async function namesOf(addresses: Iterable<string>): Promise<ReadonlyMap<string, string>> {
  const limit = pLimit(AT_ONCE);
  const found = await Promise.all(
    [...new Set(addresses)].map((address) => limit(async () => [address, await nameOf(address)] as const)),
  );
  return new Map(found.flatMap(([address, name]) => (name === undefined ? [] : [[address, name] as const])));
}

async function nameOf(address: string): Promise<string | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const tooLong = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, PATIENCE_MS, undefined);
  });
  // As the system resolves names, /etc/hosts included. Without a name it gives the address back.
  const names = dns.lookupService(address, 0).then(
    ({ hostname }) => (hostname === address ? undefined : hostname),
    () => undefined,
  );
  return Promise.race([names, tooLong]).finally(() => clearTimeout(timer));
}
