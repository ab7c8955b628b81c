/**
 * What a file of results says, whichever tool and format it is from: NDJSON as formats/ndjson.ts writes it, or nmap's XML.
 *
 * Types, and the words for states and protocols. The readers are ndjson.ts and nmap-xml.ts; what is made of it
 * is diff.ts's and html/'s business.
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

/** nmap's XML may have others than TCP. */
export const PROTOCOLS = ["tcp", "udp", "sctp", "ip"] as const;
export type Protocol = (typeof PROTOCOLS)[number];

type Columns = typeof COLUMNS;
/** What a reader makes of a column, by how it reads it. */
type Read<C> = C extends { readonly read: infer R }
  ? R extends "text"
    ? string
    : R extends "flag"
      ? true
      : number
  : never;

/**
 * The verdict on one port: what every format has, and the columns that readers take (scan/probe/result-columns.ts), with
 * their names in a PortResult. Strings are as the file has them: hostile. Optional fields may be there and undefined: there are
 * millions of these, and leaving keys out takes half of the time of reading them.
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
};

/** A moment of a run. Counts are since its start. */
export interface RecordedProgress {
  readonly elapsedMs: number;
  readonly sent: number;
  readonly received: number;
  readonly decided?: number;
  /** SYNs per second that the path was thought to hold. */
  readonly rate?: number;
  /** Loss of the round trip, 0 to 1. */
  readonly loss?: number;
}

export interface RecordedFault {
  readonly target: string;
  readonly message: string;
}

/** What a run learnt of its path (`PathFindings`). */
export interface RecordedPath {
  readonly rate?: number;
  readonly loss?: { readonly round?: number; readonly out?: number; readonly back?: number };
  readonly missedOpen?: { readonly expected: number; readonly low: number; readonly high: number };
}

/** Totals that the file states; a file that was cut off has none. */
export interface RecordedSummary {
  readonly interrupted: boolean;
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
}

/** What is known of a file once it has been read to its end. */
export interface RecordedRun {
  readonly name: string;
  readonly format: "ndjson" | "nmap-xml";
  /** The command that made it, where the format tells. */
  readonly command?: string;
  /**
   * - `complete`: the run ended by itself;
   * - `interrupted`: it was ended, and its file closed;
   * - `cut-off`: the file has no end: a crash, or a run that still goes on.
   */
  readonly ending: "complete" | "interrupted" | "cut-off";
  readonly startedMs?: number;
  readonly summary?: RecordedSummary;
  /** Line of a last one that breaks off in its middle, and was left out. */
  readonly brokenLine?: number;
}

/** Takes what is in a file, in its order. */
export interface RecordedSink {
  /** A verdict; of two on one port the later counts. */
  port(port: RecordedPort): void;
  progress(progress: RecordedProgress): void;
  fault(fault: RecordedFault): void;
  /** Ports that the run probed on every host, as `22,80-90`, where the format tells. */
  scanned(proto: Protocol, ports: string): void;
  /** A host that has an entry: `up`, or else found down; `vague` when some of its ports have only been counted. */
  host(ip: string, up: boolean, vague: boolean): void;
}

/** Makes an error from what is wrong and, if it is not the current one, the line. */
export type ReadFault = (what: string, line?: number) => Error;

/** What a reader says at its end; the name is read.ts's to add. */
export type RunEnding = Omit<RecordedRun, "name">;

/** A format that is read line by line. */
export interface LineReader {
  line(line: string): void;
  /** Whether a last line without its end is all there, as far as can be told. */
  isWhole(line: string): boolean;
  end(): RunEnding;
}

/** A format that is read in pieces of any length. */
export interface TextReader {
  text(text: string): void;
  end(): RunEnding;
}

/** Ports of a list such as `22,80-90`; what is no port is left out. */
export function* eachPort(list: string): Generator<number> {
  for (const part of list.split(",")) {
    const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(part.trim());
    if (match === null) continue;
    const last = Math.min(Number(match[2] ?? match[1]), 65_535);
    for (let port = Number(match[1]); port <= last; port++) yield port;
  }
}
