/**
 * Verdicts that were not printed, counted by state and reason, as in nmap's `Not shown: 995 closed tcp ports (reset)`. Counted per
 * host in a run of few hosts, else for the whole run, from its summary.
 */
import { PORT_STATES, type PortResult, type PortState, type ScanSummary } from "../../scan/probe/result.ts";
import { compareKeys, sortKey } from "../addresses.ts";
import { escapeWord } from "../escape.ts";
import { count } from "../figures.ts";
import type { RunInfo } from "../reporter.ts";
import { isShown } from "./show.ts";

/** Most hosts for which each is counted. A host takes 64 KiB. */
export const MOST_HOSTS = 32;

type Reasons = ScanSummary["reasons"];

export interface NotShown {
  /** Whether `add` must be given every result, printed or not. */
  readonly needsAll: boolean;
  add(result: PortResult): void;
  /** Sentences for the end of the report; none when everything was shown. */
  sentences(summary: ScanSummary): string[];
}

/** @param shown the states that are printed. A port counts by its final state, whatever was printed before. */
export function countNotShown(run: RunInfo, shown: readonly PortState[]): NotShown {
  const hidden = PORT_STATES.filter((state) => !shown.includes(state));
  // For a single host the summary has the same counts.
  const few = run.hosts !== undefined && run.hosts > 1 && run.hosts <= MOST_HOSTS;
  const needsAll = hidden.length > 0 && few;
  const verdicts = createVerdictMaps();
  /** Of those states, and printed for what they are from another place. */
  const printed: Record<PortState, Record<string, number>> = { open: {}, closed: {}, filtered: {} };
  return {
    needsAll,
    add: (result) => {
      const { state, reason, from } = result;
      if (from !== undefined && hidden.includes(state) && isShown({ state, from }, shown))
        printed[state][reason] = (printed[state][reason] ?? 0) + 1;
      else if (needsAll) verdicts.add(result);
    },
    sentences: ({ reasons }) => {
      const all = listed(reasons, hidden, printed);
      if (all.length === 0) return [];
      const hosts = verdicts.hosts().map(({ label, reasons }) => ({ label, parts: listed(reasons, hidden) }));
      const seen = hosts.reduce((sum, { parts }) => sum + total(parts), 0);
      // A resumed run has decided more than this reporter was given.
      if (hosts.length <= 1 || seen !== total(all)) return [`Not shown: ${phrase(all)}`];
      return hosts
        .filter(({ parts }) => parts.length > 0)
        .map(({ label, parts }) => `Not shown on ${label}: ${phrase(parts)}`);
    },
  };
}

interface Part {
  readonly state: PortState;
  readonly reason: string;
  readonly ports: number;
}

/** The counts of these states, the most frequent reason of each first. */
function listed(reasons: Reasons, states: readonly PortState[], without?: Reasons): Part[] {
  return states.flatMap((state) =>
    Object.entries(reasons[state])
      .map(([reason, ports]): [string, number] => [reason, ports - (without?.[state][reason] ?? 0)])
      .filter(([, ports]) => ports > 0)
      .sort(([, a], [, b]) => b - a)
      .map(([reason, ports]) => ({ state, reason, ports })),
  );
}

const total = (parts: readonly Part[]): number => parts.reduce((sum, { ports }) => sum + ports, 0);

const phrase = (parts: readonly Part[]): string =>
  parts
    .map(({ state, reason, ports }) => `${count(ports, `${state} tcp port`)} (${escapeWord(reason)})`)
    .join(", ");

interface VerdictMap {
  readonly label: string;
  readonly key: string;
  /** By port: 0 for no verdict yet, else one more than the index of its kind. */
  readonly kinds: Uint8Array;
}

/** The latest verdict on each port of a few hosts, one byte each, so that a correction just overwrites. */
function createVerdictMaps() {
  // A byte is enough: each reason has one state, and there are about a hundred errno names.
  const kinds: { readonly state: PortState; readonly reason: string }[] = [];
  const byAddress = new Map<string, VerdictMap>();

  function kindOf({ state, reason }: PortResult): number {
    const at = kinds.findIndex((kind) => kind.reason === reason && kind.state === state);
    return at >= 0 ? at + 1 : kinds.push({ state, reason });
  }

  function reasonsOf(map: VerdictMap): Reasons {
    const reasons: Record<PortState, Record<string, number>> = { open: {}, closed: {}, filtered: {} };
    for (const each of map.kinds) {
      if (each === 0) continue;
      const { state, reason } = kinds[each - 1];
      reasons[state][reason] = (reasons[state][reason] ?? 0) + 1;
    }
    return reasons;
  }

  return {
    add(result: PortResult): void {
      let map = byAddress.get(result.ip);
      if (map === undefined) {
        const ip = escapeWord(result.ip);
        const label = result.host === undefined ? ip : `${escapeWord(result.host)} (${ip})`;
        map = { label, key: sortKey(result.ip), kinds: new Uint8Array(0x10000) };
        byAddress.set(result.ip, map);
      }
      map.kinds[result.port] = kindOf(result);
    },
    /** In order of address. */
    hosts: () =>
      [...byAddress.values()]
        .sort((a, b) => compareKeys(a.key, b.key))
        .map((map) => ({ label: map.label, reasons: reasonsOf(map) })),
  };
}
