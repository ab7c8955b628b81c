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

/** Not made within the planner: it would keep all that the planner holds, and a plan lasts as long as its run. */
export const namesIn =
  (names: ReadonlyNames) =>
  (address: string, port: number): readonly string[] => {
    const given = names.size === 0 ? undefined : names.get(address);
    if (given === undefined) return NONE;
    return [...new Set(given.filter(({ ports }) => ports.includes(port)).map(({ name }) => name))];
  };
