/**
 * The probe space: which (address, port) pairs a run probes, and in which order.
 *
 * No pair is probed twice. The order goes round the targets, one port
 * of each at a time, so that no single host gets all its probes in a row. Everything is in memory: networks and lists too
 * large for that need another ProbeSource.
 */
import { ADDRESS_WORDS, loadAddress } from "../socket/table.ts";
import { type Address, formatAddress } from "../wire/address.ts";
import type { Probe, ProbeSource } from "./engine.ts";
import { MAX_PORT } from "./port-list.ts";

export interface SpaceTarget {
  /** The name the user gave, when it was not an address. */
  readonly name?: string;
  readonly address: Address;
  /** Ascending, each once. */
  readonly ports: Uint16Array;
}

/**
 * Leaves each (address, port) pair to the target that mentions it first, and drops targets that have no port left.
 * Targets of the same address stay apart when they are named differently, so that a result bears the name its user gave.
 */
export function claimPairs<T extends SpaceTarget>(targets: readonly T[]): T[] {
  const byAddress = new Map<string, T[]>();
  for (const target of targets) {
    const key = formatAddress(target.address);
    const group = byAddress.get(key);
    if (group === undefined) byAddress.set(key, [target]);
    else group.push(target);
  }
  const claimed: T[] = [];
  for (const group of byAddress.values()) {
    // Most addresses are named once, and nothing is to be settled then.
    if (group.length === 1) claimed.push(group[0]);
    else for (const target of settle(group)) claimed.push(target);
  }
  return claimed.filter(({ ports }) => ports.length > 0);
}

/** Settles the claims of targets of one address. */
function settle<T extends SpaceTarget>(group: readonly T[]): T[] {
  const taken = new Uint8Array(MAX_PORT + 1);
  const byName = new Map<string | undefined, { first: T; ports: number[] }>();
  for (const target of group) {
    let claim = byName.get(target.name);
    if (claim === undefined) {
      claim = { first: target, ports: [] };
      byName.set(target.name, claim);
    }
    for (const port of target.ports) {
      if (taken[port] === 0) claim.ports.push(port);
      taken[port] = 1;
    }
  }
  return [...byName.values()].map(({ first, ports }) => ({
    ...first,
    ports: Uint16Array.from(ports).sort(),
  }));
}

/** Probes the targets' pairs, round-robin over targets. `path` of each comes from `paths[i]`. */
export function createSpaceSource(targets: readonly SpaceTarget[], paths: readonly number[]): ProbeSource {
  const words = new Uint32Array(targets.length * ADDRESS_WORDS);
  targets.forEach(({ address }, i) => {
    loadAddress(words, i * ADDRESS_WORDS, address, 0, address.length);
  });
  // Targets that still have ports left for this round, in order.
  let active = targets.map((_, i) => i);
  let round = 0;
  let at = 0;
  return {
    total: targets.reduce((sum, { ports }) => sum + ports.length, 0),
    next: (probe: Probe): boolean => {
      for (;;) {
        if (at === active.length) {
          round++;
          at = 0;
          active = active.filter((i) => targets[i].ports.length > round);
          if (active.length === 0) return false;
        }
        const target = active[at++];
        if (round >= targets[target].ports.length) continue;
        for (let w = 0; w < ADDRESS_WORDS; w++) probe.words[w] = words[target * ADDRESS_WORDS + w];
        probe.port = targets[target].ports[round];
        probe.path = paths[target];
        probe.target = target;
        return true;
      }
    },
  };
}
