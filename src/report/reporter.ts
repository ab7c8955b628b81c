/**
 * The interface of every output format. Each format has a file of its own in formats/.
 *
 * A reporter turns results into text, in the order they come, and hands the text to a sink. It opens no file, reads
 * no clock and knows no terminal: cli/ provides the sink, whether to use colour, and the run's description.
 */
import type { PortResult, PortState, ScanProgress, ScanSummary, TargetFault } from "../scan/probe/result.ts";

/** Takes finished text. May buffer; never throws (the owner of the file watches for write errors). */
export type Sink = (text: string) => void;

/** Takes bytes: `put` is given room for `most` of them from `at` on, and returns where it ended. */
export type Fill = (most: number, put: (bytes: Uint8Array, at: number) => number) => void;

/** What every format may say about the run as a whole. */
export interface RunInfo {
  /** The command line as given, without the program's own name, for formats that record it. */
  readonly args: readonly string[];
  readonly version: string;
  /** Start, in milliseconds since the Unix epoch. */
  readonly startedMs: number;
  /** Number of (address, port) pairs planned. */
  readonly pairs: number;
  /** Distinct addresses planned, when they are known beforehand; of all shards together. */
  readonly hosts?: number;
  /** This run probes only a part of the planned pairs (`--shard`), so some hosts may have none. */
  readonly isShard?: true;
  /** Distinct ports planned, ascending, for formats that record the scanned set (nmap XML). */
  readonly ports: readonly number[];
  /** The system's name of a port's service. */
  readonly serviceOf?: (port: number) => string | undefined;
  /** What nobody asked for and is to be known before the first result, in one line. */
  readonly note?: string;
  /** Columns that the widest target label needs (`targetLabel` in formats/table.ts), when the targets are known beforehand. */
  readonly targetWidth?: number;
  /** nmap's name of the scan, `syn` when absent; `connect` when the kernel does the handshakes. */
  readonly scanType?: "connect";
}

/** Causes of silence, as stable codes for programs. */
export const SILENCE_CODES = [
  "interface",
  "route",
  "source",
  "neighbour",
  "conntrack",
  "firewall-out",
  "refused",
  "not-sent",
  "rp-filter",
  "firewall-in",
  "receive-buffer",
  "unproved",
  "all-silent",
] as const;

/** Why nothing answered, as far as the probing machine can tell. */
export interface NoAnswerCause {
  readonly code: (typeof SILENCE_CODES)[number];
  /** One line for a person: what was seen, and what to do. */
  readonly text: string;
}

/** Where the SYNs of a filtered port stop, as `--why` has found. Hops are counted from 1; 0 is the probing machine. */
export interface FilteredPlace {
  readonly ip: string;
  readonly port: number;
  /** As `synprobe path --json` has it: "dropped", "at-host", "rejected" … */
  readonly kind: string;
  readonly from?: number;
  readonly to?: number;
  /** Sender of the ICMP error. */
  readonly by?: string;
  /** Chance that it is wrong; absent where nothing is claimed. */
  readonly doubt?: number;
  /** The same in a sentence. */
  readonly text: string;
}

/** The way to a host, as `--why` has found: who answered at each hop, from the first on; null for nobody. */
export interface HostWay {
  readonly ip: string;
  readonly hops: readonly (string | null)[];
}

/** How a run ended. When nothing answered, `silence` has the causes, most likely first. */
export interface RunSummary extends ScanSummary {
  readonly silence?: readonly NoAnswerCause[];
  /** Under `--why`. */
  readonly where?: readonly FilteredPlace[];
  readonly ways?: readonly HostWay[];
}

/** What is known of a port before a result is made of it: of scan/probe/verdict.ts, what a line may need. */
export interface PackedResult extends Pick<PortResult, "port" | "state" | "reason" | "tries"> {
  /** The address; in the last word when it is IPv4. */
  readonly peer: Uint32Array;
  readonly family: 4 | 6;
  /** NaN for no round trip. */
  readonly rttUs: number;
  /** 0 for none. */
  readonly ttl: number;
  /** From 1; 0 for no try. */
  readonly answered: number;
  /** NaN for none. */
  readonly doubt: number;
  readonly was: PortState | null;
  readonly hasResponder: boolean;
  readonly hasOffer: boolean;
  readonly late: boolean;
  readonly doubtful: boolean;
  readonly connect: boolean;
  readonly answersAll: boolean;
}

export interface Reporter {
  /**
   * The states that this reporter needs in such a run. It must get every result that has one of them or corrects one; it may get
   * others. The summary counts all.
   */
  wants(run: RunInfo): readonly PortState[];
  /** Called once, before the first result. */
  start(run: RunInfo): void;
  /** Called for each verdict as it falls; a result with `was` corrects an earlier one. */
  result(result: PortResult): void;
  /** Whether it needs no result made of this, a port that the user gave no name: then `packed` is called in `result`'s place. */
  takes?(packed: PackedResult): boolean;
  /** @param packed valid until it returns. @param timeUs when the verdict fell, in microseconds since the Unix epoch */
  packed?(packed: PackedResult, timeUs: number): void;
  /** Called for each target that cannot be probed. */
  fault(fault: TargetFault): void;
  /** Called every `--stats-every`; never without that option. */
  progress?(progress: ScanProgress): void;
  /** Called about once a second, and never in a run shorter than that: whoever waits is to see something. */
  tick?(): void;
  /**
   * Before `finish`, where there is time: writes what was held back, a step each time that it is asked to go on. What is left
   * of it `finish` writes in one go.
   */
  rest?(): Iterable<void>;
  /** Called once, at the end or on interruption; everything not yet written must be handed to the sink. */
  finish(summary: RunSummary): void;
}
