/**
 * What is left out of the targets, whoever names them: hosts and ports as the user gave them, and, of a resumed run, as its journal
 * has them. Leaving them out: plan.ts.
 *
 * Tested by test/runtime/plan/plan.test.ts.
 */
import { SynprobeError } from "../../errors.ts";
import type { Interface } from "../../link/route.ts";
import type { AddressSpan } from "../../scan/targets/address-range.ts";
import type { AnyTargetSpec, TargetSpec } from "../../scan/targets/grammar.ts";
import type { Space } from "../../scan/targets/space.ts";
import { ADDRESS_WORDS } from "../../socket/table.ts";
import { type Address, isLinkLocal } from "../../wire/address.ts";
import type { Resolution } from "../system/resolve.ts";
import { namedInterface } from "./way.ts";

export interface Exclusions {
  /** May overlap. */
  readonly hosts: Iterable<AddressSpan>;
  /** Ascending, each once. */
  readonly ports: Uint16Array;
}

/** Whether a pair of the space, by its number, has been excluded since the run began, and is not to be probed any more. */
export function outsideOf({
  space,
  within,
}: {
  readonly space: Space;
  readonly within?: Space;
}): (index: number) => boolean {
  if (within === undefined) return () => false;
  const pair = { words: new Uint32Array(ADDRESS_WORDS), port: 0 };
  return (index) => {
    space.pairAt(index, pair);
    return within.indexOf(pair.words, 0, pair.port) < 0;
  };
}

export interface ExcludeOptions {
  /** What must not be probed, whoever names it. */
  readonly exclude?: readonly AnyTargetSpec[];
  readonly excludePorts?: Uint16Array;
  /** Of a resumed run: what was excluded when it began, if that is known, and what has been since. */
  readonly resumed?: { readonly began?: Exclusions; readonly since: Exclusions };
}

/**
 * All of it, but for link-local addresses of another link, whose zone says so.
 * @param found the addresses of the names to exclude
 * @param through the run's interface, where it has one
 * @throws {SynprobeError} when the hosts are gone through, for a name that was not found: what cannot be found out cannot be left out
 */
export function gatherExclusions(
  { exclude = [], excludePorts = new Uint16Array(), resumed }: ExcludeOptions,
  found: ReadonlyMap<string, Resolution>,
  through: Interface | undefined,
): Exclusions {
  const before = [resumed?.began, resumed?.since].flatMap((each) => each ?? []);
  const ports = [excludePorts, ...before.map((each) => each.ports)].flatMap((each) => [...each]);
  return {
    ports: Uint16Array.from(new Set(ports)).sort(),
    hosts: {
      *[Symbol.iterator]() {
        for (const { hosts } of before) yield* hosts;
        for (const { host, origin = "--exclude" } of exclude) {
          if (host.kind === "range") yield* host.spans;
          else if (isOfAnotherLink(host, through)) continue;
          else for (const each of addressesOf(host, origin, found)) yield { first: each, last: each };
        }
      },
    },
  };
}

/** The same link-local address may be another host's on each link: fe80::1 is many a router. */
function isOfAnotherLink(host: TargetSpec["host"], through: Interface | undefined): boolean {
  if (through === undefined || host.kind !== "address" || host.zone === undefined) return false;
  if (!isLinkLocal(host.address)) return false;
  const named = namedInterface(host.zone);
  return !(named instanceof SynprobeError) && named.index !== through.index;
}

function addressesOf(
  host: TargetSpec["host"],
  origin: string,
  found: ReadonlyMap<string, Resolution>,
): readonly Address[] {
  if (host.kind === "address") return [host.address];
  const addresses = found.get(host.name);
  if (addresses === undefined) throw new RangeError(`${host.name} was not looked up`);
  if (addresses instanceof SynprobeError)
    throw new SynprobeError(addresses.code, `${origin}: ${addresses.message}`, { cause: addresses });
  return addresses;
}
