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
  const claimed = new Map<string, Uint8Array>();
  const byLabel = new Map<string, T>();
  for (const target of targets) {
    const key = formatAddress(target.address);
    const taken = claimed.get(key) ?? new Uint8Array(65_536);
    claimed.set(key, taken);
    const ports = target.ports.filter((port) => taken[port] === 0);
    if (ports.length === 0) continue;
    for (const port of ports) taken[port] = 1;
    const label = `${key} ${target.name ?? ""}`;
    const earlier = byLabel.get(label);
    byLabel.set(
      label,
      earlier === undefined
        ? { ...target, ports }
        : {
            ...earlier,
            ports: Uint16Array.from([...earlier.ports, ...ports]).sort(),
          },
    );
  }
  return [...byLabel.values()];
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
