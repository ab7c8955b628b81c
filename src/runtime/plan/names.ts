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
 * Not made within the planner: it would keep all that the planner holds, and a plan lasts as long as its run. The same list is given for
 * the same names, however many ports have them.
 */
export function namesIn(names: ReadonlyNames): (address: string, port: number) => readonly string[] {
  const finders = new WeakMap<Given, (port: number) => readonly string[]>();
  return (address, port) => {
    const given = names.size === 0 ? undefined : names.get(address);
    if (given === undefined) return NONE;
    const [{ name, ports }] = given;
    if (given.length === 1) return ports.includes(port) ? [name] : NONE;
    const find = finders.get(given) ?? finderOf(given);
    finders.set(given, find);
    return find(port);
  };
}

type Given = readonly { readonly name: string; readonly ports: Uint16Array }[];

/** Hundreds of names may be of one address, with all ports each: most share a list of ports, which is looked at once. */
function finderOf(given: Given): (port: number) => readonly string[] {
  const lists = [...new Set(given.map(({ ports }) => ports))].map((ports, number) => ({
    ports,
    number,
    set: new Set(ports),
  }));
  const found = new Map<string, readonly string[]>();
  return (port) => {
    const having = lists.filter(({ set }) => set.has(port));
    const key = having.map(({ number }) => number).join(" ");
    const known = found.get(key);
    if (known !== undefined) return known;
    const their = new Set(having.map(({ ports }) => ports));
    const all = [...new Set(given.filter(({ ports }) => their.has(ports)).map(({ name }) => name))];
    found.set(key, all);
    return all;
  };
}
