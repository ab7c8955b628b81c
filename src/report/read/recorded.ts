/**
 * The content of a file of results, the same for every format: NDJSON as formats/ndjson.ts writes it, nmap's XML, lists, or naabu's
 * JSON.
 *
 * Types, and the words for states and protocols. Not here: the readers (ndjson.ts, nmap-xml.ts, lists.ts, naabu.ts), what is made
 * of the content (diff.ts, html/).
 */
import type { COLUMNS } from "../../scan/probe/result-columns.ts";

/** nmap's states; ours are the first three. */
export const RECORDED_STATES = [
  "open",
  "closed",
  "filtered",
  "unfiltered",
  "open|filtered",
  "closed|filtered",
] as const;
export type RecordedState = (typeof RECORDED_STATES)[number];

/** nmap's XML may have protocols other than TCP. */
export const PROTOCOLS = ["tcp", "udp", "sctp", "ip"] as const;
export type Protocol = (typeof PROTOCOLS)[number];

type Columns = typeof COLUMNS;
/** The type of a value that a reader makes of a column. */
type Read<C> = C extends { readonly read: infer R }
  ? R extends "text"
    ? string
    : R extends "texts"
      ? readonly string[]
      : R extends "flag"
        ? true
        : number
  : never;

/**
 * The verdict on one port: what every format has, and the columns that have `read` (scan/probe/result-columns.ts), with their
 * names in a PortResult. Strings are as in the file, so possibly hostile. Optional properties may be present and undefined:
 * leaving them out would double the time of reading.
 */
export type RecordedPort = {
  readonly ip: string;
  /** 0 to 65535: nmap probes port 0 when told to. */
  readonly port: number;
  readonly proto: Protocol;
  readonly state: RecordedState;
  readonly reason: string;
} & {
  readonly [K in keyof Columns as Columns[K] extends { readonly read: unknown } ? K : never]?:
    | Read<Columns[K]>
    | undefined;
} & {
  /** Of a run from several places: what each has found. */
  readonly from?: readonly RecordedPlaceState[] | undefined;
};

export interface RecordedPlaceState {
  readonly place: string;
  readonly state: RecordedState;
  readonly reason?: string | undefined;
}

/** Progress of a run. Counts are since its start. */
export interface RecordedProgress {
  readonly elapsedMs: number;
  readonly sent: number;
  readonly received: number;
  readonly decided?: number;
  /** SYNs per second that the path was estimated to carry. */
  readonly rate?: number;
  /** Loss of the round trip, 0 to 1. */
  readonly loss?: number;
}

export interface RecordedFault {
  readonly target: string;
  readonly message: string;
}

/** What a run learnt about its path (`PathFindings`). */
export interface RecordedPath {
  readonly rate?: number;
  readonly loss?: { readonly round?: number; readonly out?: number; readonly back?: number };
  readonly missedOpen?: { readonly expected: number; readonly low: number; readonly high: number };
  readonly missed?: { readonly expected: number; readonly low: number; readonly high: number };
  readonly unseen?: number;
  readonly verified?: { readonly asked: number; readonly open: number; readonly closed: number };
}

/** Where the SYNs of a filtered port stop, as `--why` has found. */
export interface RecordedPlace {
  readonly ip: string;
  readonly port: number;
  readonly kind: string;
  readonly from?: number;
  readonly to?: number;
  readonly text: string;
}

/** The way to a host: who answered at each hop, from the first on; null for nobody. */
export interface RecordedWay {
  readonly ip: string;
  readonly hops: readonly (string | null)[];
}

/** The totals in the file. A file that was cut off has none. */
export interface RecordedSummary {
  readonly interrupted: boolean;
  /** States of which the file has results, if not of all. */
  readonly shown?: readonly string[];
  readonly unfinished: number;
  /** Milliseconds since the Unix epoch. */
  readonly startedMs?: number;
  readonly elapsedMs?: number;
  readonly hosts?: number;
  readonly sent?: number;
  readonly retransmitted?: number;
  readonly received?: number;
  readonly late?: number;
  readonly receiveDrops?: number;
  /** Send calls refused, by errno name. */
  readonly sendErrors?: Readonly<Record<string, number>>;
  /** Pairs by state and reason. */
  readonly reasons?: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly path?: RecordedPath;
  /** Losses are known to come in bursts: for what share of the time a pair is in one, and how long they last on the mean. */
  readonly bursts?: { readonly share: number; readonly meanMs: number };
  readonly where?: readonly RecordedPlace[];
  readonly ways?: readonly RecordedWay[];
  /** Where nothing answered: why, as far as could be seen, the most likely first. */
  readonly silence?: readonly string[];
}

/** A port, and a time in which it was seen in one state. Milliseconds since the Unix epoch. */
export interface Interval {
  readonly ip: string;
  readonly name?: string | undefined;
  readonly proto: Protocol;
  readonly port: number;
  readonly service?: string | undefined;
  readonly state: RecordedState;
  readonly reason: string;
  readonly firstMs: number;
  readonly lastMs: number;
  readonly doubt?: number | undefined;
}

/** An interval, and the state before it. */
export interface Change extends Interval {
  readonly oldState: RecordedState;
  readonly oldReason: string;
  /** When the old state was last seen: it changed between then and `firstMs`. */
  readonly oldLastMs: number;
}

/** What a store knows of the time before that as of which it was read. */
export interface RecordedHistory {
  /** The intervals of the ports that have changed last, and of some open ones: each port's in order of time. */
  readonly ports: readonly (readonly Interval[])[];
  /** Ports that have changed and are not among them. */
  readonly morePorts: number;
  /** The newest first. */
  readonly changes: readonly Change[];
  /** Older ones. */
  readonly moreChanges: number;
}

/** A file that has been read to its end. */
export interface RecordedRun {
  readonly name: string;
  readonly format: "ndjson" | "nmap-xml" | "naabu" | "list" | "store";
  /** The command that made it, if the format has it. */
  readonly command?: string;
  /**
   * - `complete`: the run ended by itself;
   * - `interrupted`: it was ended, and its file closed;
   * - `cut-off`: the file has no end: the run crashed or is still going on;
   * - `unknown`: the format does not say (naabu).
   */
  readonly ending: "complete" | "interrupted" | "cut-off" | "unknown";
  readonly startedMs?: number;
  /** Of a store: when its last run before `startedMs` began, which may be long ago. */
  readonly lastRunMs?: number;
  readonly summary?: RecordedSummary;
  /** Of a store, for a sink that wants it. */
  readonly history?: RecordedHistory;
  /** Number of the last line, if it breaks off and was left out. */
  readonly brokenLine?: number;
}

/** Takes the content of a file, in its order. */
export interface RecordedSink {
  /** A verdict. A later one on the same port replaces it. */
  port(port: RecordedPort): void;
  progress(progress: RecordedProgress): void;
  fault(fault: RecordedFault): void;
  /** Ports that the run probed on every host, as `22,80-90`, if the format has them. */
  scanned(proto: Protocol, ports: string): void;
  /** A host that has an entry. It was found up or down; `vague` when some of its ports are only counted. */
  host(ip: string, up: boolean, vague: boolean): void;
  readonly wantsHistory?: boolean;
}

/** Makes an error from what is wrong and the line, by default the current one. */
export type ReadFault = (what: string, line?: number) => Error;

/** What a reader returns at the end; read.ts adds the name. */
export type RunEnding = Omit<RecordedRun, "name">;

/** Reads a format line by line. */
export interface LineReader {
  line(line: string): void;
  /** Whether a last line without a line end seems complete. */
  isWhole(line: string): boolean;
  end(): RunEnding;
}

/** Reads a format in pieces of any length. */
export interface TextReader {
  text(text: string): void;
  end(): RunEnding;
}

/** A whole number in a text; undefined for what is none, or has more than twelve digits: in seconds it is beyond any date. */
export const wholeNumber = (text: string | undefined): number | undefined =>
  text !== undefined && /^\d{1,12}$/.test(text) ? Number(text) : undefined;

/** Ports of a list such as `22,80-90`, ascending, each once; what is no port is left out. */
export function portsOf(list: string): Uint16Array {
  // How many ranges begin, less those that have ended: the work grows with the text, however often it names the same ports.
  const changes = new Int32Array(65_537);
  for (const [, first, last = first] of list.matchAll(/(?<=^|,)\s*(\d{1,5})(?:-(\d{1,5}))?\s*(?=,|$)/g)) {
    if (Number(first) > Math.min(Number(last), 65_535)) continue;
    changes[Number(first)]++;
    changes[Math.min(Number(last), 65_535) + 1]--;
  }
  const ports = new Uint16Array(65_536);
  let count = 0;
  for (let port = 0, depth = 0; port < 65_536; port++) {
    depth += changes[port];
    if (depth > 0) ports[count++] = port;
  }
  return ports.slice(0, count);
}
