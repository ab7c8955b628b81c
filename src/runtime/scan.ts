/**
 * One scan from plan to summary: opens the link, builds the engine, drives it, and puts verdicts into results.
 *
 * In two steps, because a program has things to do between them: `openScan` takes every privilege that is needed, and
 * after it privileges can be dropped and output files opened; `run` sends the first packet.
 */
import { ERROR_CODES, SynprobeError } from "../errors.ts";
import type { PortRange } from "../link/filter.ts";
import type { Link } from "../link/link.ts";
import { openRawIp } from "../link/raw-ip.ts";
import { localAddresses } from "../link/route.ts";
import { type PacketObserver, traceLink } from "../link/tracer.ts";
import { createCompletion } from "../scan/completion.ts";
import { createEngine, type Engine } from "../scan/engine.ts";
import type { Established, PortResult, ScanSummary, TargetFault } from "../scan/result.ts";
import type { Services } from "../scan/services.ts";
import { createSpaceSource } from "../scan/space.ts";
import type { Completion, Verdict } from "../scan/verdict.ts";
import { ISN_KEY_LENGTH } from "../socket/isn.ts";
import { createPortPool, createSinglePortPool } from "../socket/ports.ts";
import { type Address, formatAddress, sameAddress } from "../wire/address.ts";
import { nowUs, wallMs } from "./clock.ts";
import { drive } from "./drive.ts";
import type { Plan } from "./plan.ts";
import type { HeldPorts } from "./port-lease.ts";
import { createRandom, secret } from "./random.ts";
import { probePorts } from "./system.ts";

export interface ScanOptions {
  /** SYNs after the first for a port that stays silent, 0 to 30. */
  readonly retries: number;
  /** How long each try waits, in milliseconds. */
  readonly timeoutMs: number;
  /** Probes per second. */
  readonly rate: number;
  /** Send every probe from this port. */
  readonly sourcePort?: number;
  readonly services: Services;
  /** Complete the handshakes of open ports; wait this long for what the server says first, 0 not to. */
  readonly complete?: { readonly bannerMs: number };
  readonly onPacket?: PacketObserver;
}

export interface OpenScan {
  readonly link: Link;
  /** Sends, listens, reports; call once. Results come through `onResult` as they fall. */
  run(onResult: (result: PortResult) => void): RunningScan;
  /** For a scan that is never run. */
  close(): void;
}

export interface RunningScan {
  /** Settles with the totals, also after `stop`; the link is closed then. */
  readonly finished: Promise<ScanSummary>;
  /** Stops sending and listening; what was found is in the summary. */
  stop(): void;
}

/** How long a completed connection may take to close, in microseconds. */
const CLOSE_US = 3_000_000;

/** Most rows of the socket table: undecided ones are bounded by the ports, the rest remember who has answered. */
const MAX_TABLE_ROWS = 1 << 16;

/**
 * Opens the sockets for a plan. Needs CAP_NET_RAW; to complete handshakes CAP_NET_ADMIN too, until the run has ended.
 * @throws {SynprobeError} `ERR_PLATFORM`, `ERR_PRIVILEGE`, `ERR_NO_SOURCE`, `ERR_USAGE`, `ERR_SYSTEM`
 */
export async function openScan(plan: Plan, options: ScanOptions): Promise<OpenScan> {
  const { sourcePort } = options;
  if (options.complete !== undefined && sourcePort !== undefined) {
    throw new SynprobeError(
      ERROR_CODES.usage,
      "--complete chooses its own source ports, for which it holds the kernel's RST back: drop -g",
    );
  }
  const held = options.complete === undefined ? undefined : await hold(plan.families);
  const range = held?.ports ?? probePorts();
  try {
    return openLink(plan, options, range, () => held?.release());
  } catch (error) {
    held?.release();
    throw error;
  }
}

/** Only a run that completes handshakes needs what this loads. */
async function hold(families: Plan["families"]): Promise<HeldPorts> {
  const { holdPorts } = await import("./port-lease.ts");
  return holdPorts(probePorts(), families);
}

function openLink(plan: Plan, options: ScanOptions, range: PortRange, release: () => void): OpenScan {
  const { sourcePort } = options;
  const rawLink = openRawIp({
    families: plan.families,
    ports: sourcePort === undefined ? range : { first: sourcePort, last: sourcePort },
    ...(plan.interfaceName === undefined ? {} : { interfaceName: plan.interfaceName }),
    ...(plan.scope === undefined ? {} : { scope: plan.scope }),
    ...(plan.source === undefined ? {} : { source: plan.source }),
  });
  const link = options.onPacket === undefined ? rawLink : traceLink(rawLink, options.onPacket);
  let closed = false;
  const close = (): void => {
    if (closed) return;
    closed = true;
    link.close();
    release();
  };
  return {
    link,
    close,
    run: (onResult) => {
      const random = createRandom();
      const isOwn = createOwnCheck();
      const startUs = nowUs();
      const source = createSpaceSource(plan.targets, plan.pathOf);
      const scanner = createEngine({
        paths: plan.paths,
        source,
        ports:
          sourcePort === undefined
            ? createPortPool(range.first, range.last, random)
            : createSinglePortPool(sourcePort),
        isnKey: secret(ISN_KEY_LENGTH),
        random,
        retries: options.retries,
        timeoutUs: options.timeoutMs * 1000,
        rate: options.rate,
        capacity: Math.min(source.total, MAX_TABLE_ROWS),
        startUs,
        keepHandshakes: options.complete !== undefined,
      });
      const engine =
        options.complete === undefined
          ? scanner
          : createCompletion(scanner, {
              paths: plan.paths,
              bannerUs: options.complete.bannerMs * 1000,
              closeUs: CLOSE_US,
              mayComplete: (target) => !plan.isLocal[target],
            });
      let interrupted = false;
      const running = drive(engine, link, {
        onVerdict: (verdict) => onResult(toResult(verdict, plan, options.services, isOwn)),
      });
      const finished = running.finished
        .finally(close)
        .then(() =>
          summarize(engine, distinctHosts(plan), plan.faults, link.receiveDrops(), interrupted, startUs),
        );
      return {
        finished,
        stop: () => {
          interrupted = true;
          running.stop();
        },
      };
    },
  };
}

const distinctHosts = (plan: Plan): number =>
  new Set(plan.targets.map(({ address }) => formatAddress(address))).size;

/** Tells this machine's addresses, as they are when it is first asked. */
function createOwnCheck(): (address: Address) => boolean {
  let own: Set<string> | undefined;
  return (address) => {
    own ??= new Set([...localAddresses(4), ...localAddresses(6)].map((each) => formatAddress(each.address)));
    return own.has(formatAddress(address));
  };
}

function toResult(
  verdict: Verdict,
  plan: Plan,
  services: Services,
  isOwn: (address: Address) => boolean,
): PortResult {
  const { name, address } = plan.targets[verdict.target];
  const { responder, late, was } = verdict;
  const foreign =
    responder !== null &&
    !(responder.length === address.length && sameAddress(responder, 0, address, 0, address.length));
  // An ICMP error of this machine's own: its kernel gave up finding the neighbour. Nothing has travelled, so there is no
  // round trip to tell, and no TTL.
  const ownWords = foreign && isOwn(responder);
  const service = services.nameOf(verdict.port);
  return {
    ...(name === undefined ? {} : { host: name }),
    ip: formatAddress(address),
    port: verdict.port,
    state: verdict.state,
    reason: verdict.reason,
    rttMs: verdict.rttUs === null || ownWords ? null : verdict.rttUs / 1000,
    ttl: ownWords ? null : verdict.ttl,
    tries: verdict.tries,
    ...(foreign ? { responder: formatAddress(responder) } : {}),
    ...(service === undefined ? {} : { service }),
    ...(late && !ownWords ? { late } : {}),
    ...(was === null ? {} : { was }),
    ...(verdict.completion === undefined ? {} : { established: toEstablished(verdict.completion) }),
    timeMs: wallMs(verdict.atUs),
  };
}

function toEstablished({ establishedUs, ending, banner }: Completion): Established {
  return {
    ms: establishedUs / 1000,
    ending,
    ...(banner === undefined ? {} : { banner: escapeBytes(banner) }),
  };
}

/** Printable ASCII as it is, the usual escapes for line ends and tabs, `\\xNN` for everything else. */
function escapeBytes(bytes: Uint8Array): string {
  const escapes: Readonly<Record<number, string>> = { 9: "\\t", 10: "\\n", 13: "\\r", 92: "\\\\" };
  return Array.from(bytes, (byte) => {
    if (byte in escapes) return escapes[byte];
    return byte >= 0x20 && byte < 0x7f
      ? String.fromCharCode(byte)
      : `\\x${byte.toString(16).padStart(2, "0")}`;
  }).join("");
}

function summarize(
  { counts, total }: Engine,
  hosts: number,
  faults: readonly TargetFault[],
  receiveDrops: number,
  interrupted: boolean,
  startUs: number,
): ScanSummary {
  return {
    hosts,
    open: counts.states.open,
    closed: counts.states.closed,
    filtered: counts.states.filtered,
    unfinished: total - counts.decided,
    sent: counts.sent,
    retransmitted: counts.retransmitted,
    received: counts.received,
    late: counts.late,
    ignored: counts.ignored,
    receiveDrops,
    sendErrors: counts.sendErrors,
    faults,
    interrupted,
    elapsedMs: (nowUs() - startUs) / 1000,
    startedMs: wallMs(startUs),
  };
}
