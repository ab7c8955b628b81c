/**
 * A walk over a link, raw-ip unless packet is asked for: sends what the walk has to send, when it has to, and hands it what comes back.
 *
 * The kernel answers SYN-ACKs with RST, as it does for half-open scans: no connection is left at the host.
 */
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import type { PortRange } from "../../link/filter.ts";
import { createRangeFinder, type RangeFinder } from "../../link/hops.ts";
import type { Link, PacketHandler } from "../../link/link.ts";
import { openRawIp } from "../../link/raw-ip.ts";
import { conclude } from "../../scan/path/conclusion.ts";
import type { SurveyOptions } from "../../scan/path/finding.ts";
import type { PathResult } from "../../scan/path/result.ts";
import { isUnseen } from "../../scan/path/sentences.ts";
import { createSurvey } from "../../scan/path/survey.ts";
import { createWalk, type WalkOptions } from "../../scan/path/walk.ts";
import { sendErrorVerdict } from "../../scan/probe/classify.ts";
import { silentLink } from "../plan/next-hop.ts";
import { type Hop, waysOf } from "../plan/paths.ts";
import { type OnlyPair, onlyPair, type Plan } from "../plan/plan.ts";
import { nowUs } from "../system/clock.ts";
import { type KernelCounters, packetsLost, readCounters } from "../system/counters.ts";
import { createRandom } from "../system/random.ts";
import { LONGEST_STALL_US, stalled } from "../system/stall.ts";
import { portShares } from "../system/system.ts";

export interface PathOptions extends Omit<SurveyOptions, "ports" | "excluded">, Pick<WalkOptions, "follows"> {
  /** Most SYNs per second. */
  readonly rate: number;
  /** `packet`: frames of our own, for what the kernel would do to the SYNs beyond routing them; `raw` by default. */
  readonly link?: "raw" | "packet";
}

export interface RunningWalk {
  /** What is known at its end: as one that was stopped where the system failed it. */
  readonly finished: Promise<PathResult>;
  /** What ended it before its time, where that was no stop: the kernel's word, or an error of the link. */
  failure(): unknown;
  /** Ends it now, with what is known. */
  stop(): void;
}

export interface OpenPath {
  run(): RunningWalk;
  close(): void;
}

/** Walks to hosts of a plan, one after the other, over sockets that were opened once. */
export interface Walker {
  walk(pair: Pick<OnlyPair, "address" | "path">, options: PathOptions & SurveyOptions): RunningWalk;
  close(): void;
}

/** Source ports that a walk may use: a few for each port, and one for each SYN of a comparison. */
const SOURCE_PORTS = 2048;
/** How soon a packet is tried again for which the kernel had no room. */
const AGAIN_MS = 5;

/**
 * Opens the sockets for walks to hosts of a plan. Needs CAP_NET_RAW now, and no privilege later.
 * @throws {SynprobeError} as openRawIp does
 */
export function openWalker(plan: Plan): Walker {
  const ports = walkPorts("raw");
  return createWalker(openRawIp({ ...waysOf(plan), ports }), ports, plan);
}

/** @throws {SynprobeError} as openPacketSockets does, and `ERR_USAGE` where frames do not lead to the target */
async function openPacketWalker(plan: Plan): Promise<Walker> {
  const [{ attachPacket, openPacketSockets }, { ethernetOf }] = await Promise.all([
    import("../../link/packet.ts"),
    import("../run/means.ts"),
  ]);
  const interfaceName = ethernetOf(plan)?.name;
  if (interfaceName === undefined) {
    throw new SynprobeError(
      ERROR_CODES.usage,
      "--link packet needs the target to be behind an Ethernet interface, and not to be this machine: use --link raw",
    );
  }
  const ports = walkPorts("packet");
  return createWalker(
    attachPacket(await openPacketSockets({ interfaceName, ports, routes: plan.hops })),
    ports,
    plan,
  );
}

function walkPorts(kind: "raw" | "packet"): PortRange {
  const { first, last } = portShares()[kind];
  const count = Math.min(SOURCE_PORTS, last - first + 1);
  const start = first + createRandom()(last - first + 2 - count);
  return { first: start, last: start + count - 1 };
}

function createWalker(link: Link, sourcePorts: PortRange, { hops }: Plan): Walker {
  const ways = createRangeFinder(hops);
  const random = createRandom();
  let current: Listener | undefined;
  link.listen(
    (...packet) => current?.handler(...packet),
    () => (current === undefined ? link.drain() : current.onReadable()),
    (error) => current?.onError(error),
  );
  let closed = false;
  return {
    walk: (pair, options) => {
      const running = run(pair, options, link, sourcePorts, random, (listener) => {
        current = listener;
      });
      return { ...running, finished: running.finished.then((result) => withStuck(result, ways)) };
    },
    close: () => {
      if (!closed) link.close();
      closed = true;
    },
  };
}

/**
 * Opens the sockets for a walk to the only host of a plan. Needs CAP_NET_RAW.
 * @throws {SynprobeError} as openRawIp does
 */
export async function openPath(plan: Plan, options: PathOptions): Promise<OpenPath> {
  const pair = onlyPair(plan);
  if (pair === undefined) throw new RangeError("a plan without a pair");
  const { walk, close } = options.link === "packet" ? await openPacketWalker(plan) : openWalker(plan);
  const ports = [...plan.space.ports()];
  return {
    close,
    run: () => {
      const before = readCounters();
      const running = walk(pair, { ...options, ports, excluded: plan.excluded.ports });
      // Frames are heard before a firewall can drop.
      const told = running.finished.then((result) =>
        options.link === "packet" ? result : withDropped(result, before),
      );
      return { ...running, finished: told.finally(close) };
    },
  };
}

/** Fewer packets than this may be anybody's. */
const FEWEST_DROPPED = 3;

function withDropped(result: PathResult, before: KernelCounters): PathResult {
  const { undelivered } = packetsLost(before, readCounters());
  if (undelivered < FEWEST_DROPPED || !result.ports.some(({ reason }) => reason === "no-response"))
    return result;
  return { ...result, notes: [...result.notes, { kind: "dropped-here", packets: undelivered }] };
}

/** Where no hop has told of any SYN, and the kernel knows why. A walk that was interrupted may not have waited for the neighbour. */
function withStuck(result: PathResult, ways: RangeFinder<Hop>): PathResult {
  const { target, local, ports, interrupted } = result;
  const way = ways.ranges[ways.locate(target, 0, target.length === 4 ? 4 : 16)];
  if (interrupted || way === undefined || !ports.every(({ where }) => isUnseen(where, local))) return result;
  const [stuck] = silentLink(way, target) ?? [];
  return stuck === undefined ? result : { ...result, stuck };
}

interface Listener {
  readonly handler: PacketHandler;
  readonly onReadable: () => void;
  readonly onError: (error: Error) => void;
}

function run(
  { address: target, path: { local } }: Pick<OnlyPair, "address" | "path">,
  options: PathOptions & SurveyOptions,
  link: Link,
  sourcePorts: { readonly first: number; readonly last: number },
  random: (below: number) => number,
  listen: (listener: Listener | undefined) => void,
): RunningWalk {
  const { rate, follows = false } = options;
  const walk = createWalk({ target, local, rate, follows, sourcePorts, random });
  const survey = createSurvey(walk, options);
  const { batch } = link;
  let startedUs = 0;
  let timer: NodeJS.Timeout | undefined;
  let over = false;
  let failure: unknown;
  /** Since when the kernel has had no room for the SYN whose turn it is. */
  let stalledUs: number | undefined;
  let resolve: (result: PathResult) => void;
  const finished = new Promise<PathResult>((onResolve) => {
    resolve = onResolve;
  });

  /** @returns whether all that is due has left */
  function send(): boolean {
    for (;;) {
      const length = walk.pollTransmit(batch.data, batch.offset, nowUs());
      if (length === 0) return true;
      batch.lengths[0] = length;
      if (link.send(0, 1) === 1) {
        stalledUs = undefined;
        continue;
      }
      const { sendError } = link;
      switch (sendErrorVerdict(sendError, target.length === 4 ? 4 : 6)) {
        case "again":
        case "asking":
          walk.unsend();
          stalledUs ??= nowUs();
          // What an egress chain drops has no room either, for ever.
          if (nowUs() - stalledUs >= LONGEST_STALL_US) throw stalled(sendError);
          return false;
        case "later":
          // A neighbour does not answer: a SYN that was lost.
          continue;
        case "forbidden":
        case "never":
          walk.refuse(sendError);
          continue;
        default:
          throw new SynprobeError(
            ERROR_CODES.interfaceDown,
            `nothing can be sent any more: the kernel says ${sendError}; "ip route" and "ip link" show what is left`,
          );
      }
    }
  }

  function turn(): void {
    if (over) return;
    try {
      clearTimeout(timer);
      // Read what is waiting before any deadline passes.
      link.drain();
      walk.handleTimeout(nowUs());
      const sent = send();
      if (walk.done) {
        finish();
        return;
      }
      const waitMs = sent ? Math.ceil((walk.pollTimeout() - nowUs()) / 1000) : AGAIN_MS;
      timer = setTimeout(turn, Math.max(1, waitMs));
    } catch (error) {
      fail(error);
    }
  }

  function fail(error: unknown): void {
    failure ??= error;
    finish();
  }

  function finish(): void {
    if (over) return;
    over = true;
    clearTimeout(timer);
    resolve(conclude(walk, survey.findings, local, startedUs, nowUs()));
  }

  listen({
    handler: (b, at, end, ageUs) => {
      if (!over) walk.handlePacket(b, at, end, nowUs() - ageUs);
    },
    onReadable: turn,
    onError: fail,
  });
  startedUs = nowUs();
  walk.start(survey.run, startedUs);
  turn();
  return {
    finished: finished.finally(() => listen(undefined)),
    failure: () => failure,
    stop: finish,
  };
}
