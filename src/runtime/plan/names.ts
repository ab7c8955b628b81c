/**
 * The names that the user gave: which of them an address and port have. Not here: how names are looked up (runtime/system/resolve.ts).
 */

/** By the text of an address, the names that were given for it, each with its ports. */
export type Names = Map<string, { readonly name: string; readonly ports: Uint16Array }[]>;
export type ReadonlyNames = ReadonlyMap<
  string,
  readonly { readonly name: string; readonly ports: Uint16Array }[]
>;

const NONE: readonly string[] = [];

/**
 * Not made within the planner: it would keep all that the planner holds, and a plan lasts as long as its run. Of an address's names those
 * that have the same ports are looked at once: hundreds may be of one address, with all ports each. The same list is given for the same
 * names, however many ports have them.
 */
export function namesIn(names: ReadonlyNames): (address: string, port: number) => readonly string[] {
  const known = new Map<string, { readonly of: Given; readonly find: (port: number) => readonly string[] }>();
  return (address, port) => {
    const given = names.size === 0 ? undefined : names.get(address);
    if (given === undefined) return NONE;
    let last = known.get(address);
    if (last?.of !== given) {
      last = { of: given, find: finderOf(given) };
      known.set(address, last);
    }
    return last.find(port);
  };
}

type Given = readonly { readonly name: string; readonly ports: Uint16Array }[];

/** Shorter lists of ports are searched as they are. */
const FEW_PORTS = 16;

function finderOf(given: Given): (port: number) => readonly string[] {
  const groups = new Map<string, { readonly has: (port: number) => boolean }>();
  const keys = new Map<Uint16Array, string>();
  const keyOf = (ports: Uint16Array): string => {
    const key =
      keys.get(ports) ?? Buffer.from(ports.buffer, ports.byteOffset, ports.byteLength).toString("latin1");
    keys.set(ports, key);
    return key;
  };
  for (const { ports } of given) {
    const key = keyOf(ports);
    if (groups.has(key)) continue;
    const set = ports.length > FEW_PORTS ? new Set(ports) : undefined;
    groups.set(key, { has: (port) => set?.has(port) ?? ports.includes(port) });
  }
  const all = [...groups].map(([key, { has }], n) => ({ key, has, n }));
  const lists = new Map<string, readonly string[]>();
  return (port) => {
    const having = all.filter(({ has }) => has(port));
    const id = having.map(({ n }) => n).join(" ");
    const found = lists.get(id);
    if (found !== undefined) return found;
    const their = new Set(having.map(({ key }) => key));
    const list = [...new Set(given.filter(({ ports }) => their.has(keyOf(ports))).map(({ name }) => name))];
    lists.set(id, list);
    return list;
  };
}
