/**
 * What a scan says: the vocabulary of states and reasons, one result per port, one summary per run.
 *
 * Types and names only. With result-columns.ts, which says how each property of a result is written, this is all of scan/ that
 * report/ imports: nothing here knows how a verdict is reached (classify.ts) or which link carried the packets.
 * Tested by test/scan/probe/result-record.test.ts.
 */

/** The three verdicts on a TCP port, in nmap's words. */
export const PORT_STATES = ["open", "closed", "filtered"] as const;
export type PortState = (typeof PORT_STATES)[number];

/**
 * Why a port has its state, in nmap's spelling (`nmap --reason`).
 * `send-*` reasons are this machine's own: the probe could not leave, with the errno name in lower case.
 */
export type Reason =
  | "syn-ack"
  | "split-handshake-syn"
  | "reset"
  /** The kernel's connect was refused: the peer answered it with RST. */
  | "conn-refused"
  | "no-response"
  /** Nothing but a reset that proves nothing: it may be anybody's. */
  | "unproved-reset"
  /** Nothing but a bare SYN, whose sender did not acknowledge our SYN-ACK to it. */
  | "unproved-syn"
  | "net-unreach"
  | "host-unreach"
  | "proto-unreach"
  | "port-unreach"
  | "net-prohibited"
  | "host-prohibited"
  | "admin-prohibited"
  | "time-exceeded"
  | "no-route"
  | "beyond-scope"
  | "addr-unreach"
  | "policy-fail"
  | "reject-route"
  | "param-problem"
  | "host-timeout"
  | `send-${string}`;

/**
 * How a completed connection ended:
 * - `fin`: both sides closed in an orderly way;
 * - `reset`: the peer sent RST;
 * - `no-fin`: the peer acknowledged our FIN and sent none of its own in time, or before the run was given up;
 * - `silent`: nothing at all came after the SYN+ACK, as from a SYN proxy or a tarpit.
 */
export const ENDINGS = ["fin", "reset", "no-fin", "silent"] as const;
export type Ending = (typeof ENDINGS)[number];

/** A handshake that was completed, and what came of it. */
export interface Established {
  /** From SYN to ESTABLISHED, in milliseconds. */
  readonly ms: number;
  readonly ending: Ending;
  /** What the peer said first, escaped to printable ASCII, at most 1024 bytes of it. */
  readonly banner?: string;
}

/** The verdict on one port of one address, with its evidence. */
export interface PortResult {
  /** The host name the user gave, when the target was not a literal address. */
  readonly host?: string;
  /** Other names that the user gave for this address and port, in the order of the targets. */
  readonly aliases?: readonly string[];
  /** The address probed, in canonical text (RFC 5952 for IPv6), without a zone. */
  readonly ip: string;
  /** 1 to 65535. */
  readonly port: number;
  readonly state: PortState;
  readonly reason: Reason;
  /** Round trip of the try that was answered, in milliseconds, 0.001 or more; null when nothing answered or the try is ambiguous. */
  readonly rttMs: number | null;
  /** TTL or hop limit of the reply; null without a reply. */
  readonly ttl: number | null;
  /** SYNs sent for this port, 1 or more (0 when the first could not be sent). */
  readonly tries: number;
  /** Which of them was answered, from 1; absent when none was or it cannot be told. */
  readonly answered?: number;
  /** For `no-response`: the chance that the port is not silent, and that every SYN or every answer was lost; 0 to 1. */
  readonly doubt?: number;
  /** The host answers SYN-ACK on any port, even on unused ones: a tarpit or a middlebox, not a service. */
  readonly answersAll?: true;
  /** Why an open port may be none: its SYN-ACK had window 0 and no options, as forged ones do. Absent when a handshake was completed. */
  readonly doubtful?: "zero-window";
  /** Of an open port, the SYN-ACK's window, unscaled. Absent where the kernel did the handshake, and in runs of older versions. */
  readonly window?: number;
  /** The options of the same SYN-ACK in their order, as tcpdump writes them: `mss 1460,sackOK,TS,nop,wscale 7`. Absent for none. */
  readonly options?: string;
  /** `connect`: the kernel did the handshake. The round trip is connect's, and there is no TTL. Absent for a SYN of synprobe's own. */
  readonly method?: "connect";
  /** Sender of the deciding ICMP message, when it is not the target itself; the unspecified address when nobody told the sender. */
  readonly responder?: string;
  /** The port's name in the system's services database, when it has one. */
  readonly service?: string;
  /** The deciding answer came after its try had timed out. */
  readonly late?: true;
  /** The verdict this result replaces, when a late answer corrected one that was already reported. */
  readonly was?: PortState;
  /** Under --complete, for an open port whose handshake could be completed. */
  readonly established?: Established;
  /** When the verdict fell: milliseconds since the Unix epoch. */
  readonly timeMs: number;
  /**
   * Of a run from several places: what each has found, in the order in which they were given. The result itself is what one of those
   * found that got furthest: open before closed before filtered.
   */
  readonly from?: readonly PlaceVerdict[];
}

/** What a port is from one place. */
export interface PlaceVerdict
  extends Pick<PortResult, "state" | "reason" | "rttMs" | "ttl" | "tries" | "doubt"> {
  readonly place: string;
}

/** Whether a probe failed: it could not be sent, or not often enough to say anything of the port. */
export const hasFailed = (reason: string): boolean => reason.startsWith("send-") || reason === "host-timeout";

/** Address and port as the key of a map, and what such a key is of. */
export const pairKey = ({ ip, port }: Pick<PortResult, "ip" | "port">): string => `${ip} ${port}`;
export function pairOf(key: string): { readonly ip: string; readonly port: number } {
  const at = key.lastIndexOf(" ");
  return { ip: key.slice(0, at), port: Number(key.slice(at + 1)) };
}

/** Whether a filtered port has this reason without a packet that another machine must have sent. */
export const isUnanswered = (reason: string): boolean =>
  /^(no-response|host-timeout|send-.*|unproved-.*)$/.test(reason);

/** Whether the host itself gave a verdict, not a router in its place, nor silence. */
export const isFromHost = ({ reason, responder }: Pick<PortResult, "reason" | "responder">): boolean =>
  responder === undefined && !isUnanswered(reason);

/** Packets that reached the engine and decided nothing, by cause. */
export interface IgnoredCounts {
  /** Too short, or with lengths that contradict each other. */
  readonly malformed: number;
  /** IP, TCP or ICMP checksum wrong. */
  readonly badChecksum: number;
  /** A TCP segment from a probed 4-tuple whose acknowledgement does not prove our ISN. */
  readonly wrongAck: number;
  /** A TCP segment of a live row whose control bits answer no SYN. */
  readonly oddFlags: number;
  /** A segment or ICMP quote that belongs to no probe of this run. */
  readonly foreign: number;
  /** An IP fragment: refused as evidence. */
  readonly fragment: number;
  /** ICMP about our probe with a type or code that decides nothing (fragmentation needed, …). */
  readonly icmpNoVerdict: number;
  /** A further answer for a port that is already decided. */
  readonly duplicate: number;
}

/** A target that could not be probed at all; the run went on without it. */
export interface TargetFault {
  /** The target as the user wrote it, or its address. */
  readonly target: string;
  /** A stable code from errors.ts. */
  readonly code: string;
  /** One line: what is wrong and what to do. */
  readonly message: string;
}

/** Totals of one run. */
export interface ScanSummary {
  /** Distinct addresses probed. */
  readonly hosts: number;
  /** Distinct (address, port) pairs decided, by state. */
  readonly open: number;
  readonly closed: number;
  readonly filtered: number;
  /** The same pairs, counted by state and reason. */
  readonly reasons: Readonly<Record<PortState, Readonly<Record<string, number>>>>;
  /** Pairs given up before a verdict, because the run was interrupted. */
  readonly unfinished: number;
  /** Pairs without a verdict, or without one from each place, that were excluded when the run was resumed; absent for none. */
  readonly excluded?: number;
  /** SYNs handed to the kernel, retransmissions included. */
  readonly sent: number;
  readonly retransmitted: number;
  /** Control SYNs among them (scan/hosts/control-probes.ts); absent when none could be sent. */
  readonly controls?: number;
  /** Packets that the link delivered to the engine. */
  readonly received: number;
  /** Answers that came after the deadline of their try, and counted. */
  readonly late: number;
  readonly ignored: IgnoredCounts;
  /** Packets the kernel dropped because the receive buffer was full. */
  readonly receiveDrops: number;
  /** Send calls the kernel refused, by errno name. */
  readonly sendErrors: Readonly<Record<string, number>>;
  /** What the run learnt about its path, if it measured it. */
  readonly path?: PathFindings;
  /** Hosts that limit their RSTs, and how many a second they send. */
  readonly rstLimited?: readonly LimitedHost[];
  /** When nothing answered though it had before. */
  readonly outages?: readonly TimedOutage[];
  /** How losses come in bursts, where they are known to. */
  readonly bursts?: LossBurstFindings;
  readonly faults: readonly TargetFault[];
  readonly interrupted: boolean;
  /** Wall time of the run in milliseconds; start as milliseconds since the Unix epoch. */
  readonly elapsedMs: number;
  readonly startedMs: number;
}

/** A host that limits its RSTs, so that its ports take long. */
export interface LimitedHost {
  readonly ip: string;
  /** RSTs per second, an estimate. */
  readonly perSecond: number;
}

/** Bursts of loss: the share of the time that a pair is in one, 0 to 1, and how long one lasts on average, in milliseconds. */
export interface LossBurstFindings {
  readonly share: number;
  readonly meanMs: number;
}

/** A time in which one host, or without `ip` the whole path, answered nothing. Milliseconds since the Unix epoch. */
export interface TimedOutage {
  readonly ip?: string;
  /** The last answer before it. */
  readonly fromMs: number;
  /** The first answer after it; absent when none came. */
  readonly toMs?: number;
}

/** What a run learnt about the path to its targets. */
export interface PathFindings {
  /** SYNs per second, of all workers together, that the path was found to carry at the end. */
  readonly rate: number;
  /** Loss, 0 to 1: of the round trip, and each way if late answers made that known. */
  readonly loss: { readonly round: number; readonly out?: number; readonly back?: number };
  /** Open ports probably reported as filtered: the expected number, and the bounds of a 95 % interval. */
  readonly missedOpen: { readonly expected: number; readonly low: number; readonly high: number };
  /** The same of all ports that answer, open and closed ones. */
  readonly missed: { readonly expected: number; readonly low: number; readonly high: number };
  /**
   * Ports that answer, at most, which bursts of loss can have hidden without a trace, as they last longer than the run, or than the time
   * until silent ports were asked once more, or as ports had no try left for that: in both upper bounds. Absent when there are none.
   */
  readonly unseen?: number;
  /** Silent ports that were asked once more at the end, and those of them that then were open and closed; absent when none were. */
  readonly verified?: { readonly asked: number; readonly open: number; readonly closed: number };
}

/**
 * Why the send rate of a run changed: reasons that lower it, then reasons that raise it.
 *
 * - `queue-grew`: round trips grew, so the path's bottleneck was sent more than it forwards
 * - `queue-stayed`: a queue that others fill did not go away
 * - `fewer-answered`: a smaller share of the SYNs was answered than usual
 * - `buffer-overrun`: this machine itself dropped packets on arrival
 * - `trial-over`: a faster rate was tried, and its answers have not arrived yet
 * - `answered-well`: startup, and the share of answers holds
 * - `no-queue`: no queue shows
 * - `loss-unrelated`: slowing down did not raise the share of answers, so the rate is not what lowered it
 * - `nothing-answers`: nothing answers, so there is no evidence to wait for
 */
export const RATE_CHANGE_REASONS = [
  "queue-grew",
  "queue-stayed",
  "fewer-answered",
  "buffer-overrun",
  "trial-over",
  "answered-well",
  "no-queue",
  "loss-unrelated",
  "nothing-answers",
] as const;
export type RateChangeReason = (typeof RATE_CHANGE_REASONS)[number];

/** One decision of the rate controller. */
export interface RateChange {
  /** SYNs per second. */
  readonly fromRate: number;
  readonly toRate: number;
  readonly reason: RateChangeReason;
  /** When, in microseconds of the clock that the engine is given. */
  readonly atUs: number;
  /** The queue that was seen, in microseconds. */
  readonly queueUs?: number;
  /** The share of SYNs that was answered, now and usually, 0 to 1. */
  readonly answeredShare?: number;
  readonly usualShare?: number;
}

/** A change of the rate as it leaves a worker. */
export interface RateDecision extends Omit<RateChange, "atUs"> {
  /** Which worker's rate, from 1. */
  readonly worker: number;
  /** When, in milliseconds since the Unix epoch. */
  readonly timeMs: number;
}

/** What a reader of a run wants to know of one worker's rate. */
export interface RateMetrics {
  readonly phase: "startup" | "draining" | "probing" | "suspecting";
  /** SYNs per second that this worker found the path to hold. */
  readonly rate: number;
  /** Round trips on this path without queueing, and as they are now, in microseconds; undefined until one is known. */
  readonly baseRttUs?: number;
  readonly rttUs?: number;
  /** The queue in those round trips, in microseconds. */
  readonly queueUs: number;
  /** The share answered of the SYNs that had to be, 0 to 1; undefined until enough of them left at this rate. */
  readonly answeredShare?: number;
}

/** The state of a run in progress. Counts are since its start; for a resumed run, since it was first started. */
export interface ScanProgress {
  /** Time spent running, in milliseconds; pauses between a journal's runs are not in it. */
  readonly elapsedMs: number;
  /** Pairs planned, and those decided so far. */
  readonly total: number;
  readonly decided: number;
  /** Names that are still looked up. */
  readonly lookingUp?: number;
  readonly open: number;
  readonly closed: number;
  readonly filtered: number;
  /** SYNs handed to the kernel, retransmissions included. */
  readonly sent: number;
  readonly retransmitted: number;
  /** Packets that the links delivered to the engines. */
  readonly received: number;
  /** Packets the kernel dropped because a receive buffer was full. */
  readonly receiveDrops: number;
  /** Send calls the kernel refused. */
  readonly sendErrors: number;
  /** Pairs probed and not decided, at this moment. */
  readonly inFlight: number;
  /** The host that limits its RSTs and so takes longest, and for how long, in milliseconds, its waiting ports will. */
  readonly heldUp?: { readonly ip: string; readonly ms: number };
  /** SYNs per second, of all workers together, that the path is estimated to carry now. */
  readonly rate?: number;
  /** Estimated loss of the round trip, 0 to 1. */
  readonly loss?: number;
  readonly workers: number;
  /** How each worker finds its rate. */
  readonly rates?: readonly RateMetrics[];
  /** Changes of the rate since the last look that had them. */
  readonly decisions?: readonly RateDecision[];
}

/** What a run would do, for `--dry-run`. */
export interface PlanView {
  /** (address, port) pairs to probe in this shard, after everything that is left out. */
  readonly pairs: number;
  /** Distinct addresses, when they have been counted. */
  readonly hosts?: number;
  /** Distinct ports, ascending. */
  readonly ports: readonly number[];
  readonly order: {
    /** As `--seed` takes it; without one the order is that of the targets. */
    readonly seed?: string;
    /** The first pairs, at most ten. */
    readonly sample: readonly Pick<PortResult, "host" | "ip" | "port">[];
  };
  /** `--shard index/count`, index from 1. */
  readonly shard?: { readonly index: number; readonly count: number };
  readonly links: readonly PlannedLink[];
  /** SYNs at most by which links are compared before the run; 0 where they are not. */
  readonly comparisonSyns: number;
  readonly workers: number;
  /** Expected resident memory of the whole process, in bytes. */
  readonly memoryBytes: number;
  /** Most SYNs per second, of all workers together; absent when only the path limits them. */
  readonly maxRate?: number;
  /** Expected duration in milliseconds: if everything answers at once, and if nothing does. */
  readonly expectedMs: { readonly least: number; readonly most: number };
  readonly leftOut: readonly LeftOut[];
  /** Control SYNs: to how many ports that nobody named, of each host, at most; or why there are none. */
  readonly controls: { readonly portsPerHost: number } | { readonly none: string };
  readonly outputs: readonly {
    /** `table`, `NDJSON`, `nmap XML`, `grepable`, `CSV`, `masscan list`, `pcapng`, `journal`. */
    readonly format: string;
    /** A file's name; - for standard output. */
    readonly path: string;
  }[];
}

/** A way out of this machine that a run would take. */
export interface PlannedLink {
  /** `raw-ip`, `packet` or `connect`. */
  readonly link: string;
  readonly interfaceName: string;
  /** Source addresses, canonical text. */
  readonly sources: readonly string[];
  readonly sourcePorts: { readonly first: number; readonly last: number };
}

/** Addresses or ports that the targets name and the run leaves out. */
export interface LeftOut {
  /** `multicast (224.0.0.0/4)`, `broadcast of 198.18.0.0/15`, `excluded`. */
  readonly why: string;
  /** How many, of what. */
  readonly count: number;
  readonly unit: "address" | "port" | "pair";
}
