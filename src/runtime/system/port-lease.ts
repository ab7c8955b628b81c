/**
 * A lease on a block of source ports, for runs that hold the kernel's RST back: two runs must not share a block, and the rule
 * that a killed run leaves behind must be found and removed.
 *
 * Who adds a block's IPv4 rule has the block: the kernel takes each rule once. A marker (link/port-marker.ts), made before the
 * rule, tells that its owner lives: a rule without marker is stale. Neither can be had without capabilities, so nobody who may not
 * probe can keep blocks from those who may. Both belong to the network namespace, whichever user, mounts or process namespace
 * a run has.
 */
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import type { PortRange } from "../../link/filter.ts";
import { markersOf, openMarker } from "../../link/port-marker.ts";
import { addRstRule, listRstRules, removeRstRule } from "../../link/rst-rule.ts";
import { atExit } from "./exit-actions.ts";
import { createRandom } from "./random.ts";
import { readFile } from "./system.ts";

/** Ports of a lease: few enough that several runs at once have one each, above the kernel's own ports. */
const BLOCK = 512;
/** Ports of a lease for few connections: so many processes that probe one port each may run at once. What is left behind the blocks is theirs. */
const FEW = 8;

export interface HeldPorts {
  readonly ports: PortRange;
  /** Removes the rules and ends the lease. Needs CAP_NET_ADMIN still. */
  release(): void;
}

/** Which ports to take: a block; a block, or few when none is free; few, or a block when none are free. */
export type Wanted = "block" | "block-or-few" | "few";

/**
 * Leases ports of `range` from which nothing on this machine sends, sweeps what killed runs left behind, and holds the kernel's
 * RST back for them.
 * @throws {SynprobeError} `ERR_PRIVILEGE` without CAP_NET_ADMIN; `ERR_NO_SOURCE` when all are leased
 */
export async function holdPorts(
  range: PortRange,
  families: readonly (4 | 6)[],
  wanted: Wanted = "block",
): Promise<HeldPorts> {
  sweepStaleRules();
  const used = usedPorts();
  for (const ports of candidates(range, wanted)) {
    // The rule blocks whatever this machine sends from these ports: skip those in use.
    if (used.some((port) => port >= ports.first && port <= ports.last)) continue;
    const release = lease(ports, families);
    if (release === undefined) continue;
    const forget = atExit(release);
    return {
      ports,
      release: () => {
        forget();
        release();
      },
    };
  }
  throw new SynprobeError(
    ERROR_CODES.noSource,
    "every source port that may be leased is leased or in use by other processes: wait for one to end",
  );
}

function candidates({ first, last }: PortRange, wanted: Wanted): PortRange[] {
  const behind = first + Math.floor((last - first + 1) / BLOCK) * BLOCK;
  const blocks = cut(first, behind - 1, BLOCK);
  if (wanted === "block") return blocks;
  const few = cut(behind, last, FEW);
  // Not the same few each time: a server may still know the connection of the run before (TIME-WAIT).
  few.push(...few.splice(0, createRandom()(few.length)));
  return wanted === "few" ? [...few, ...blocks] : [...blocks, ...few];
}

const cut = (first: number, last: number, length: number): PortRange[] =>
  Array.from({ length: Math.floor((last - first + 1) / length) }, (_, i) => ({
    first: first + i * length,
    last: first + (i + 1) * length - 1,
  }));

/** @returns what ends the lease; undefined when another has the block, or is about to */
function lease(ports: PortRange, families: readonly (4 | 6)[]): (() => void) | undefined {
  const marker = openMarker(ports.first);
  const added: (4 | 6)[] = [];
  const release = (): void => {
    try {
      for (const family of added.splice(0)) removeRstRule(family, ports);
    } finally {
      marker.close();
    }
  };
  try {
    if (!addRstRule(4, ports)) {
      release();
      return undefined;
    }
    added.push(4);
    for (const family of families) {
      if (family === 4) continue;
      addRstRule(family, ports);
      added.push(family);
    }
    return release;
  } catch (error) {
    release();
    throw error;
  }
}

/** Removes the rules of runs that have ended. @returns their blocks, each once */
export function sweepStaleRules(): PortRange[] {
  const swept = staleRules().filter(({ family, ports }) => {
    // With our own marker on it, nobody takes the block meanwhile; whoever has one there already may be about to.
    const marker = openMarker(ports.first);
    try {
      const isAlone = markersOf(ports.first).every((inode) => inode === marker.inode);
      if (isAlone) removeRstRule(family, ports);
      return isAlone;
    } finally {
      marker.close();
    }
  });
  return blocksOf(swept);
}

/** The blocks of runs that have ended, each once; changes nothing. */
export const staleBlocks = (): PortRange[] => blocksOf(staleRules());

interface Rule {
  readonly family: 4 | 6;
  readonly ports: PortRange;
}

const staleRules = (): Rule[] =>
  ([4, 6] as const)
    .flatMap((family) => listRstRules(family).map((ports) => ({ family, ports })))
    .filter(({ ports }) => markersOf(ports.first).length === 0);

const blocksOf = (rules: readonly Rule[]): PortRange[] => [
  ...new Map(rules.map(({ ports }) => [ports.first, ports])).values(),
];

/** Local ports of this machine's TCP sockets, listeners included, in this network namespace. */
function usedPorts(): number[] {
  return ["/proc/net/tcp", "/proc/net/tcp6"].flatMap((path) =>
    [...(readFile(path) ?? "").matchAll(/^\s*\d+: [0-9A-F]+:([0-9A-F]{4}) /gm)].map(([, port]) =>
      Number.parseInt(port, 16),
    ),
  );
}
