/**
 * The engine: joins probe source, socket table, timers and pacing into a scan. Sans-I/O and without a clock: packets and
 * times go in (`handle…`), packets, verdicts and the next deadline come out (`poll…`). The same code runs over the kernel
 * and under a virtual clock; a late or spurious wake-up is harmless. Nothing is allocated for a probe, its reply or its verdict.
 *
 * Its parts keep their own state and are put together here. Each calls only those listed below it:
 *
 *     transmit, receive, timeouts   what leaves next; what a packet proves; when a try is over
 *     row-lifecycle                 what happens to a row, from its start to its verdict
 *     verification                  the sample of silent pairs that is asked once more at the end
 *     hosts/ (control-schedule, host-limits, rst-limited), draw-ahead, row-queue, send-backoff, simultaneous-open, verdict-queue
 *     probe/in-flight, congestion/path-state   the rows, and what is known of path and hosts
 */
import { createIsnHash } from "../../socket/isn.ts";
import type { SourcePorts } from "../../socket/ports.ts";
import { ADDRESS_WORDS, loadAddress } from "../../socket/table.ts";
import type { RateController, RateControllerOptions } from "../congestion/controller.ts";
import type { RateLimits } from "../congestion/monitor.ts";
import { createPacer } from "../congestion/pacer.ts";
import { createPathState } from "../congestion/path-state.ts";
import type { SharedPace } from "../congestion/shared-pace.ts";
import { createDraw } from "../hosts/control-probes.ts";
import { createControlSchedule } from "../hosts/control-schedule.ts";
import { createHostLimits, createUserLimits, type HostLimitOptions } from "../hosts/host-limits.ts";
import { createRstLimited, type HostFinding, type RstLimited } from "../hosts/rst-limited.ts";
import { CONFIDENCE } from "../measure/loss.ts";
import type { Outage } from "../measure/outages.ts";
import type { Verify } from "../measure/recapture.ts";
import type { TimeoutLimits } from "../measure/rtt.ts";
import { createSynAckRepeats } from "../measure/syn-ack-repeats.ts";
import { createInFlight } from "../probe/in-flight.ts";
import type { RateChange, RateMetrics } from "../probe/result.ts";
import type { Verdict } from "../probe/verdict.ts";
import type { Path, ProbeSource } from "../targets/probe-source.ts";
import { countPath, countUnseen, type EngineCounters, newCounters } from "./counters.ts";
import { createReceive } from "./receive.ts";
import { createRowLifecycle } from "./row-lifecycle.ts";
import { createRowQueue } from "./row-queue.ts";
import { createSendBackoff } from "./send-backoff.ts";
import { createSimultaneousOpens } from "./simultaneous-open.ts";
import { createTimeouts } from "./timeouts.ts";
import { createTransmit } from "./transmit.ts";
import { createVerdictQueue } from "./verdict-queue.ts";
import { createVerification } from "./verification.ts";

export interface EngineOptions extends HostLimitOptions {
  readonly paths: readonly Path[];
  readonly source: ProbeSource;
  readonly ports: SourcePorts;
  /** 8 random bytes, fresh for every run. */
  readonly isnKey: Uint8Array;
  /** Any number, fresh for every run: keys the hashes of all tables and the packets' identification. */
  readonly seed: number;
  /** What SYNs offer (createSynTemplate). */
  readonly synTimestamp?: number;
  /** Source ports of control probes, disjoint from `ports`; without them none are sent. */
  readonly controlPorts?: { readonly first: number; readonly last: number };
  /** Destination ports of canaries (hosts/control-schedule.ts); without them no host is found to be a tarpit. */
  readonly canaryPorts?: Uint16Array;
  /** Most SYNs after the first one to a port that stays silent, 0 to 30. */
  readonly retries: number;
  /** Retry silent ports until this certain, 0 to 1. With 1, every retry is sent. */
  readonly confidence?: number;
  /** Which silent pairs are asked once more when all are decided: "auto" when left out. */
  readonly verify?: Verify;
  /** How long one try waits for its answer, in microseconds. */
  readonly wait: TimeoutLimits;
  /** Probes per second, retransmissions included. */
  readonly rate: RateLimits;
  /** With other runs over the same path. */
  readonly pace?: SharedPace;
  /** Others of the same rate have left just before it (Pacer.follow). */
  readonly follows?: boolean;
  /** Most hosts that the source has. */
  readonly hosts?: number;
  /** Another rate controller, for comparison. */
  readonly congestion?: (options: RateControllerOptions) => RateController;
  /** Told of each change of the rate, with its reason. */
  readonly onRateChange?: (change: RateChange) => void;
  /** Rows of the socket table, decided ones included. */
  readonly capacity: number;
  readonly startUs: number;
  /** Verdicts on open ports carry what it takes to complete the handshake. */
  readonly keepHandshakes?: boolean;
}

export interface Engine {
  readonly counts: Readonly<EngineCounters>;
  /** True when every pair is decided, and none is asked once more. */
  readonly done: boolean;
  /** Pairs started and undecided. */
  readonly inFlight: number;
  /**
   * Takes one received IP packet, which arrived `ageUs` before `nowUs`. Two numbers, because V8 would allocate their difference
   * for every packet.
   */
  handlePacket(bytes: Uint8Array, at: number, end: number, nowUs: number, ageUs?: number): void;
  /** Handles the deadlines at or before `nowUs`. */
  handleTimeout(nowUs: number): void;
  /**
   * Writes the next packet to send at `out[at]`.
   * @param token the caller's name for this packet, below 1024, should the link refuse it
   * @returns its length; 0 when nothing may be sent now
   */
  pollTransmit(nowUs: number, out: Uint8Array, at: number, token: number): number;
  /**
   * Packets `first` to `end - 1` of the current round left one after the other between `fromUs` and `toUs`, from which their
   * round trips count. To be called for every packet that leaves, before its answer is handled.
   */
  handleDeparture(first: number, end: number, fromUs: number, toUs: number): void;
  /** The link dropped received packets: its buffer was full. */
  handleOverrun(nowUs: number): void;
  /** How the rate is found: phase, round trips, queue. */
  rateMetrics(): RateMetrics;
  /** How long sending has been stalled, in microseconds; 0 when it is not. */
  stalledUs(nowUs: number): number;
  /** The link refused the packet `token` of the current round. */
  handleRefusal(token: number, errno: string, nowUs: number): void;
  /** When `handleTimeout` or `pollTransmit` next has something to do; Infinity when never. */
  pollTimeout(nowUs: number): number;
  /**
   * The lowest position of a pair that has been drawn from the source and is undecided; Infinity when there is none. Slow, as it visits every row: to be
   * called about once a second.
   */
  lowestUndecided(): number;
  /** The next verdict, in the order they fell; undefined when none waits. Valid until the engine's next call: keepVerdict copies it. */
  pollVerdict(): Verdict | undefined;
  /** What has been found out about single hosts, and about the path, until `nowUs`. */
  hostFindings(): readonly HostFinding[];
  outages(nowUs: number): readonly Outage[];
  /** How losses come in bursts, where they are known to: share of time, and mean time in microseconds. */
  bursts(): { readonly share: number; readonly us: number } | undefined;
  /** The host that holds up the run longest, and how long. */
  heldUp(): ReturnType<RstLimited["longest"]>;
  /**
   * The run is being given up: no more probes are sent, and verdicts that wait for control probes come out of `pollVerdict` as
   * they are.
   */
  abandon(nowUs: number): void;
}

/** Loss is an estimate, so accept only this share of the doubt that was asked for; and more of one that reckons with bursts. */
const MARGIN = 0.1;
const BURST_MARGIN = 0.5;

export function createEngine(options: EngineOptions): Engine {
  const { paths, source, ports, retries, capacity, seed, startUs, confidence = CONFIDENCE } = options;
  const maxTries = retries + 1;
  const acceptedDoubt = (1 - confidence) * MARGIN;
  const counts = newCounters();
  const isn = createIsnHash(options.isnKey);
  const localWords = new Uint32Array(paths.length * ADDRESS_WORDS);
  paths.forEach(({ local }, i) => {
    loadAddress(localWords, i * ADDRESS_WORDS, local, 0, local.length);
  });

  const pathState = createPathState({
    wait: options.wait,
    rate: options.rate,
    hosts: options.hosts ?? source.total,
    startUs,
    seed,
    tries: maxTries,
    acceptedDoubt,
    ...(options.congestion === undefined ? {} : { congestion: options.congestion }),
    ...(options.onRateChange === undefined ? {} : { onRateChange: options.onRateChange }),
  });
  const pacer = createPacer(pathState.rate(), startUs, options.pace);
  if (options.follows === true) pacer.follow(startUs);
  const inFlight = createInFlight({ capacity, maxTries, seed, startUs, ports, localWords, pathState });
  const { table, timers } = inFlight;
  const retransmitQueue = createRowQueue(capacity);
  const heldSilences = createRowQueue(capacity);
  const sendBackoff = createSendBackoff();
  // Where the user limits SYNs or time by host, no SYN leaves that serves the run alone.
  const isBounded = (options.ratePerHost ?? options.ratePerPrefix ?? options.hostTimeoutUs) !== undefined;
  const simultaneousOpens = createSimultaneousOpens(!isBounded);
  const userLimits = createUserLimits(options, table.peer);
  const rstLimited = createRstLimited({
    // A row in line does not wait longer than its host's time.
    arm: (row, atUs) => timers.arm(row, Math.min(atUs, userLimits.endUs(row) + 1)),
  });
  const hostLimits = createHostLimits(userLimits, inFlight, pathState, rstLimited);
  const controlSchedule = createControlSchedule({
    ports: isBounded ? undefined : options.controlPorts,
    canaryPorts: options.canaryPorts ?? new Uint16Array(0),
    random: createDraw(seed),
    total: source.total,
    inFlight,
    pathState,
    rstLimited,
  });
  const synAckRepeats = createSynAckRepeats(counts.path);
  const verdictQueue = createVerdictQueue();
  const verification = createVerification({
    verify: options.verify ?? "auto",
    inFlight,
    pathState,
    acceptedDoubt,
    hostLimits,
    rstLimited,
    retransmitQueue,
    counts,
    random: createDraw(~seed),
    startUs,
    onEnd: () => {
      pathState.finish();
      countPath(counts.path, pathState);
      countUnseen(counts, pathState, verification.spent());
    },
  });
  const shared = {
    verification,
    paths,
    ports,
    counts,
    inFlight,
    pathState,
    rstLimited,
    hostLimits,
    retransmitQueue,
    heldSilences,
    sendBackoff,
    simultaneousOpens,
    controlSchedule,
    verdictQueue,
  };
  const rows = createRowLifecycle({ ...shared, source });
  const transmit = createTransmit({
    ...shared,
    rows,
    localWords,
    isn,
    seed,
    synTimestamp: options.synTimestamp,
    pacer,
  });
  const timeouts = createTimeouts({
    ...shared,
    rows,
    acceptedDoubt,
    acceptedInBursts: (1 - confidence) * BURST_MARGIN,
  });
  const handlePacket = createReceive({
    ...shared,
    rows,
    isn,
    synAckRepeats,
    keepHandshakes: options.keepHandshakes === true,
  });

  /** Adapts to what has been learnt about the path. Called with the deadlines: by then all answers so far have been read. */
  function look(nowUs: number): void {
    if (nowUs < pathState.lookAt()) return;
    const row = retransmitQueue.first();
    // A try that did not leave has no time.
    const tries = row < 0 ? 0 : table.tries[row];
    const leftUs = tries === 0 ? Number.NaN : table.sentAt[inFlight.columnOf(row, tries - 1)];
    pathState.look(nowUs, Number.isNaN(leftUs) ? Number.POSITIVE_INFINITY : leftUs);
    transmit.followRate(nowUs);
    countPath(counts.path, pathState);
  }

  return {
    counts,
    get done() {
      return counts.decided === rows.total() && !verification.isPending() && !controlSchedule.isPending();
    },
    get inFlight() {
      return counts.started - counts.decided;
    },
    handlePacket,
    handleTimeout: (nowUs) => {
      look(nowUs);
      synAckRepeats.expire(nowUs);
      controlSchedule.expire(nowUs);
      timeouts.expire(nowUs);
    },
    pollTransmit: transmit.pollTransmit,
    handleDeparture: transmit.handleDeparture,
    handleRefusal: transmit.handleRefusal,
    handleOverrun: pathState.overrun,
    rateMetrics: pathState.metrics,
    stalledUs: sendBackoff.stalledUs,
    pollTimeout: (nowUs) =>
      Math.min(transmit.nextAt(nowUs), timers.next(), controlSchedule.nextExpiry(), timeouts.nextLook()),
    hostFindings: () => rstLimited.findings(pathState.loss()),
    outages: pathState.outages,
    bursts: () =>
      pathState.isClustered() ? { share: pathState.burstShare(), us: pathState.burstUs() } : undefined,
    heldUp: rstLimited.longest,
    lowestUndecided: () =>
      Math.min(controlSchedule.lowestPosition(), inFlight.lowestUndecided(), rows.lowestDrawn()),
    pollVerdict: () => controlSchedule.release() ?? verdictQueue.poll(),
    abandon: (nowUs) => {
      transmit.abandon();
      timeouts.giveUp(nowUs);
      countUnseen(counts, pathState, verification.spent());
      controlSchedule.giveUp();
    },
  };
}
