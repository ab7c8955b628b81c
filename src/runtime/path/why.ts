/**
 * `--why`: after a scan, the ways to hosts with filtered ports are walked, each once and so many at most, and what stops the SYNs
 * of these ports is told. Compared is with ports of the same host that the scan has found answering; none is asked that the
 * user has not named.
 */
import { compareKeys, sortKey } from "../../report/addresses.ts";
import { PATH_DEFAULTS } from "../../scan/path/finding.ts";
import { filteredSentence } from "../../scan/path/sentences.ts";
import type { PortResult } from "../../scan/probe/result.ts";
import { createPathFinder } from "../../scan/targets/source.ts";
import { ADDRESS_WORDS, loadAddress } from "../../socket/table.ts";
import { type Address, parseAddress } from "../../wire/address.ts";
import type { Plan } from "../plan/plan.ts";
import { openWalker, type RunningWalk } from "./path.ts";
import { type PathWhere, pathReport } from "./report.ts";

/** What stops the SYNs of a port that a scan has called filtered. */
export interface FilteredWhere extends PathWhere {
  readonly ip: string;
  readonly port: number;
  readonly doubt?: number;
  /** The same in a sentence. */
  readonly text: string;
}

export interface Explained {
  readonly where: readonly FilteredWhere[];
  /** Who answered at each hop on the way to each host, null for nobody. */
  readonly ways: readonly { readonly ip: string; readonly hops: readonly (string | null)[] }[];
  /** What ended it before its time, such as an interface that went away. */
  readonly failure?: unknown;
}

export interface Why {
  /** Takes each result of the scan, corrections too, and before them those of the run that it goes on with. */
  see(result: PortResult): void;
  /** Walks, when the scan is over. @returns what was found, by host and port, and the ways */
  explain(): Promise<Explained>;
  /** Ends the walk that is under way, with what is known, and begins no other. */
  stop(): void;
  close(): void;
}

export interface WhyOptions {
  /** Hosts that are walked to, at most. */
  readonly limit: number;
  /** Most SYNs per second: to one host at a time, so that limits of hosts and prefixes count too. */
  readonly rate: number;
  /** Options with which a run's SYNs offer as little as a walk's; undefined where its own did. */
  readonly minimal?: string | undefined;
  /** The run's SYNs were frames, which this machine's own firewall does not see; a walk's it does. */
  readonly byFrames?: boolean;
}

/** Filtered ports of a host that are walked, and remembered. */
const MOST_PORTS = 16;

/** Who told the scan by an ICMP error why it is filtered, and what; or that this machine refused to send its SYN. */
interface Told {
  readonly responder?: string;
  readonly reason: string;
}

interface Seen {
  readonly filtered: Map<number, Told | undefined>;
  /** A port that answered, an open one if there is one. */
  answered?: { readonly port: number; readonly isOpen: boolean };
  /** A port that was closed. */
  closed?: number;
  /** Nothing more is sent to it: `--host-timeout`. */
  isOver?: true;
}

/** Opens its sockets. Needs CAP_NET_RAW now, and no privilege later. @throws {SynprobeError} as openRawIp does */
export function openWhy(plan: Plan, { limit, rate, minimal, byFrames = false }: WhyOptions): Why {
  const walker = openWalker(plan);
  const wayTo = wayFinder(plan);
  const isExcluded = exclusionOf(plan);
  const hosts = new Map<string, Seen>();
  let running: RunningWalk | undefined;
  let stopped = false;

  function see({ ip, port, state, reason, responder }: PortResult): void {
    if (isExcluded(ip, port)) return;
    const known = hosts.get(ip);
    // Hosts are remembered as long as one more may be walked to.
    if (known === undefined && hosts.size >= MOST_HOSTS) return;
    const host = known ?? { filtered: new Map<number, Told | undefined>() };
    hosts.set(ip, host);
    if (reason === "host-timeout") host.isOver = true;
    if (state === "closed") host.closed = port;
    else if (host.closed === port) delete host.closed;
    if (state === "filtered") {
      if (host.filtered.size < MOST_PORTS || host.filtered.has(port))
        host.filtered.set(port, toldBy(reason, responder));
      return;
    }
    host.filtered.delete(port);
    const isOpen = state === "open";
    if (host.answered === undefined || (isOpen && !host.answered.isOpen)) host.answered = { port, isOpen };
  }

  async function explain(): Promise<Explained> {
    const found: FilteredWhere[] = [];
    const ways: { ip: string; hops: (string | null)[] }[] = [];
    const wanted = [...hosts]
      .filter(([, { filtered, isOver }]) => filtered.size > 0 && isOver !== true)
      .map(([ip, seen]) => ({ ip, seen, key: sortKey(ip) }))
      .sort((a, b) => compareKeys(a.key, b.key))
      .slice(0, limit);
    for (const { ip, seen } of wanted) {
      const { filtered, answered, closed } = seen;
      const address = parseAddress(ip);
      const path = address && wayTo(address);
      if (stopped) break;
      if (address === undefined || path === undefined) continue;
      running = walker.walk(
        { address, path },
        {
          ...PATH_DEFAULTS,
          maxHops: Math.min(path.ttl, PATH_DEFAULTS.maxHops),
          rate: Math.min(rate, PATH_DEFAULTS.maxRate),
          follows: true,
          ports: [...filtered.keys()].sort((a, b) => a - b),
          search: false,
          ...(answered === undefined ? {} : { reference: answered.port }),
          ...(closed === undefined ? {} : { closed }),
        },
      );
      const { ports, hops } = pathReport(await running.finished, new Map());
      const failure = running.failure();
      if (failure !== undefined) return { where: found, ways, failure };
      if (stopped) break;
      ways.push({ ip, hops: hops.map(({ routers: [router] }) => router?.ip ?? null) });
      for (const path of ports) {
        const { port, reference, where, doubt } = path;
        if (reference) continue;
        // A router gives up a host that is not there after more time than a walk takes.
        const isUnknown = where.kind === "unknown" && path.state === "filtered" && where.usedUp !== true;
        const before = filtered.get(port);
        const told = isUnknown ? before : undefined;
        // What refuses the walk's SYNs has not seen the scan's.
        if (byFrames && path.reason.startsWith("send-")) {
          found.push({ ip, port, kind: "unknown", from: 0, text: notWalked(port, path.reason) });
          continue;
        }
        const text =
          told?.responder === undefined
            ? filteredSentence(path, minimal, before?.reason)
            : `${port} is filtered by ${told.responder}, as this run was told: ${told.reason}.`;
        found.push({ ip, port, ...where, ...(doubt === undefined ? {} : { doubt }), text });
      }
    }
    return { where: found, ways };
  }

  return {
    see,
    explain,
    stop: () => {
      stopped = true;
      running?.stop();
    },
    close: walker.close,
  };
}

const toldBy = (reason: string, responder: string | undefined): Told | undefined =>
  responder !== undefined ? { responder, reason } : reason.startsWith("send-") ? { reason } : undefined;

/** Of a walk that could not be made, which says nothing of the scan's frames. */
const notWalked = (port: number, reason: string): string =>
  `Where ${port} is filtered is not known: this machine's own firewall refuses the walk's SYNs (${reason}), and the run's were frames, which pass by it; "synprobe path --link packet" walks with frames.`;

/** Hosts whose results are remembered: those that are walked to are found among the first of them. */
const MOST_HOSTS = 65_536;

/** @returns whether a pair of the run has been excluded since it began: a resumed run's earlier results have such */
function exclusionOf({ within }: Plan): (ip: string, port: number) => boolean {
  if (within === undefined) return () => false;
  const words = new Uint32Array(ADDRESS_WORDS);
  return (ip, port) => {
    const address = parseAddress(ip);
    if (address === undefined) return true;
    loadAddress(words, 0, address, 0, address.length);
    return within.indexOf(words, 0, port) < 0;
  };
}

/** @returns what finds the way that a plan has for an address */
function wayFinder({ paths, pathRanges }: Plan): (address: Address) => Plan["paths"][number] | undefined {
  const find = createPathFinder(pathRanges);
  const words = new Uint32Array(ADDRESS_WORDS);
  return (address) => {
    loadAddress(words, 0, address, 0, address.length);
    return paths[find(words, 0)];
  };
}
