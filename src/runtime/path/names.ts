/**
 * Names of routers by reverse lookup: only where a user asks for them, and not for long.
 *
 * A lookup that has begun cannot be ended: a process that ends by itself stays until it has, where a name server is silent for 10 s or
 * more (resolv.conf(5)). So no more begin than run at once, and none when the time is over.
 */
import { promises as dns } from "node:dns";
import pLimit from "p-limit";
import { lookups } from "../system/system.ts";

/** Lookups at the same time: as many as libuv has threads for, unless it is told otherwise. */
const AT_ONCE = 4;
/** How long all of them may take together. */
const PATIENCE_MS = 5000;

/** As the system resolves names, /etc/hosts included. Without a name it gives the address back. */
const systemName = async (address: string): Promise<string> => (await dns.lookupService(address, 0)).hostname;

/**
 * @param over settles when nobody waits for them any more
 * @returns names by address; those without one, or not in time, are left out
 */
export async function namesOf(
  addresses: Iterable<string>,
  lookUp: (address: string) => Promise<string> = systemName,
  over?: Promise<void>,
): Promise<ReadonlyMap<string, string>> {
  const limit = pLimit(AT_ONCE);
  const names = new Map<string, string>();
  const lookUpAll = [...new Set(addresses)].map((address) =>
    limit(async () => {
      lookups.underWay++;
      const name = await lookUp(address).catch(() => address);
      lookups.underWay--;
      if (name !== address) names.set(address, name);
    }),
  );
  let timer: NodeJS.Timeout | undefined;
  const tooLong = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, PATIENCE_MS);
  });
  await Promise.race([Promise.all(lookUpAll), tooLong, ...(over === undefined ? [] : [over])]);
  clearTimeout(timer);
  limit.clearQueue();
  // What comes later is not waited for.
  return new Map(names);
}
