/**
 * The engine: joins probe source, socket table, timers and pacing into a scan. Sans-I/O and without a clock: packets and
 * times go in (`handle…`), packets, verdicts and the next deadline come out (`poll…`). The same code runs over the kernel
 * and under a virtual clock; a late or spurious wake-up is harmless. Nothing is allocated for a probe, its reply or its verdict.
 *
 * What it is made of, each with the state that is its own:
 *
 *     transmit.ts      which probe leaves next        asks  hosts/host-limits.ts            its host's turn, its time (hosts/rst-limited.ts)
 *                                                          retransmit-queue.ts  rows whose try ran out
 *                                                          hosts/control-schedule.ts         pilots, canaries, controls (hosts/control-probes.ts, hosts/tarpits.ts)
 *                                                          send-backoff.ts         what the link would not send
 *     receive.ts    what a packet proves           tells congestion/path-state.ts       what is known of path and hosts
 *                                                          simultaneous-open.ts       what proves nothing, and may count in the end
 *     timeouts.ts    when a try, a row is over      tells verdict-queue.ts         what is decided, and waits to be taken
 *     probe/in-flight.ts       the rows that all of them share
 *
 * Here they are put together, and what concerns them all happens: a row is settled, the run looks at its path.
 */
import { createIsnHash } from "../../socket/isn.ts";
import type { SourcePorts } from "../../socket/ports.ts";
import { PROBE_EVENTS, type ProbeEvent } from "../../socket/state.ts";
import { ADDRESS_WORDS, loadAddress } from "../../socket/table.ts";
import type { RateController, RateControllerOptions } from "../congestion/controller.ts";
import type { RateLimits } from "../congestion/monitor.ts";
import { createPacer } from "../congestion/pacer.ts";
import { createPathState } from "../congestion/path-state.ts";
import { createDraw } from "../hosts/control-probes.ts";
import { createControlSchedule } from "../hosts/control-schedule.ts";
import { createHostLimits, type HostLimitOptions } from "../hosts/host-limits.ts";
import { createRstLimited } from "../hosts/rst-limited.ts";
import { CONFIDENCE } from "../measure/loss.ts";
import type { TimeoutLimits } from "../measure/rtt.ts";
import { createInFlight } from "../probe/in-flight.ts";
import type { RateChange, RateMetrics } from "../probe/result.ts";
import type { Verdict } from "../probe/verdict.ts";
import type { Path, ProbeSource } from "../targets/probe-source.ts";
import { type EngineCounters, newCounters } from "./counters.ts";
import { createReceive } from "./receive.ts";
import { createRetransmitQueue } from "./retransmit-queue.ts";
import { createSendBackoff } from "./send-backoff.ts";
import { createSimultaneousOpens } from "./simultaneous-open.ts";
import { createTimeouts } from "./timeouts.ts";
import { createTransmit } from "./transmit.ts";
import { createVerdictQueue } from "./verdict-queue.ts";

export interface EngineOptions extends HostLimitOptions {
  readonly paths: readonly Path[];
  readonly source: ProbeSource;
  readonly ports: SourcePorts;
  /** 8 random bytes, fresh for every run. */
  readonly isnKey: Uint8Array;
  /** Any number, fresh for every run: keys the hashes of all tables and the packets' identification. */
  readonly seed: number;
  /** Source ports of pilots and canaries, none of `ports`; without them there are none. */
  readonly pilotPorts?: { readonly first: number; readonly last: number };
  /** SYNs after the first one for a port that stays silent, 0 to 30 at most. */
  readonly retries: number;
  /** The chance with which a port called silent is silent, 0 to 1: fewer SYNs are sent when it is reached before. 1 always sends all. */
  readonly confidence?: number;
  /** How long one try waits for its answer, in microseconds. */
  readonly wait: TimeoutLimits;
  /** Probes per second, retransmissions included. */
  readonly rate: RateLimits;
  /** Hosts that are probed at most. */
  readonly hosts?: number;
  /** Another way to find the rate, for comparison. */
  readonly congestion?: (options: RateControllerOptions) => RateController;
  /** Told of each change of the rate, with its reason. */
  readonly onRateChange?: (change: RateChange) => void;
  /** Rows of the socket table, decided ones included. */
  readonly capacity: number;
  readonly startUs: number;
  /** Hand over what is needed to complete the handshakes of open ports. */
  readonly keepHandshakes?: boolean;
}

export interface Engine {
  readonly counts: Readonly<EngineCounters>;
  readonly total: number;
  /** True when every pair is decided. */
  readonly done: boolean;
  /** Probes that wait for their verdict. */
  readonly inFlight: number;
  /**
   * Takes one received IP packet, which arrived `ageUs` before `nowUs`: two numbers, because their difference would be an
   * object for every packet.
   */
  handlePacket(bytes: Uint8Array, at: number, end: number, nowUs: number, ageUs?: number): void;
  /** Lets deadlines at or before `nowUs` pass. */
  handleTimeout(nowUs: number): void;
  /**
   * Writes the next packet to send at `out[at]`.
   * @param token the caller's name for this packet, below 1024, should the link refuse it
   * @returns its length; 0 when nothing may be sent now
   */
  pollTransmit(nowUs: number, out: Uint8Array, at: number, token: number): number;
  /**
   * Packets `first` to `end - 1` of the current round left one after the other between `fromUs` and `toUs`: their round trips
   * count from then, and what is learnt of the path rests on it. Told of every packet that leaves, before its answer.
   */
  handleDeparture(first: number, end: number, fromUs: number, toUs: number): void;
  /** The link lost packets on their way here: its buffer was full. */
  handleOverrun(nowUs: number): void;
  /** How the rate is found: phase, round trips, queue. */
  rateMetrics(): RateMetrics;
  /** How long nothing could be sent though there was something, in microseconds; 0 when all is well. */
  stalledUs(nowUs: number): number;
  /** The link refused the packet `token` of the current round. */
  handleRefusal(token: number, errno: string, nowUs: number): void;
  /** When `handleTimeout` or `pollTransmit` next has something to do; Infinity when never. */
  pollTimeout(nowUs: number): number;
  /**
   * The lowest position of a pair that is started and undecided; Infinity when there is none. Takes time: for a look once a
   * second, not for every packet.
   */
  lowestUndecided(): number;
  /** The next verdict, in the order they fell. It is valid until the engine's next call: keepVerdict copies it. */
  pollVerdict(): Verdict | undefined;
  /**
   * The run is being given up: no more probes, and what has been decided comes out of `pollVerdict`, even if more was to be
   * learnt of it.
   */
  abandon(nowUs: number): void;
}

/** What the losses are is itself an estimate, and they come in bursts: so much less doubt than was asked for is accepted. */
const MARGIN = 0.1;

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
  const pacer = createPacer(pathState.rate(), startUs);
  const inFlight = createInFlight({ capacity, maxTries, seed, startUs, ports, localWords, pathState });
  const { table, timers } = inFlight;
  const retransmitQueue = createRetransmitQueue(capacity);
  const sendBackoff = createSendBackoff();
  const simultaneousOpens = createSimultaneousOpens(ports.size > 1, maxTries);
  const verdictQueue = createVerdictQueue({ inFlight, ports, paths, counts, onSettled: settle });
  const rstLimited = createRstLimited({
    // Whoever is in line does not wait longer than his host's time.
    arm: (row, atUs) => timers.arm(row, Math.min(atUs, hostLimits.endUs(row) + 1)),
    control: (row) => controlSchedule.control(row),
  });
  const hostLimits = createHostLimits(options, inFlight, pathState, rstLimited, (row, nowUs) => {
    verdictQueue.decide(row, PROBE_EVENTS.exhausted, "host-timeout", nowUs);
  });
  // A host that is to have no more than so many SYNs has none that serve the run.
  const isBounded = (options.ratePerHost ?? options.ratePerPrefix ?? options.hostTimeoutUs) !== undefined;
  const controlSchedule = createControlSchedule({
    ports: isBounded ? undefined : options.pilotPorts,
    random: createDraw(seed),
    total: source.total,
    inFlight,
    pathState,
    rstLimited,
  });
  const shared = {
    ports,
    counts,
    inFlight,
    pathState,
    rstLimited,
    hostLimits,
    retransmitQueue,
    sendBackoff,
    simultaneousOpens,
    controlSchedule,
    verdictQueue,
  };
  const transmit = createTransmit({ ...shared, paths, localWords, source, isn, seed, pacer });
  const expire = createTimeouts({ ...shared, acceptedDoubt, mayStart: transmit.mayStart });
  const handlePacket = createReceive({
    ...shared,
    paths,
    isn,
    keepHandshakes: options.keepHandshakes === true,
  });

  /** An undecided row has its verdict: timer off, place free when needed. */
  function settle(row: number, event: ProbeEvent): void {
    timers.cancel(row);
    hostLimits.forget(row);
    retransmitQueue.cancel(row);
    sendBackoff.forget(row);
    simultaneousOpens.forget(row);
    table.linger(row, event === PROBE_EVENTS.accepted || event === PROBE_EVENTS.refused);
    counts.decided++;
    if (counts.decided === transmit.total()) {
      pathState.finish();
      tellPath();
    }
  }

  /** Follows what has been learnt of the path. Only with the deadlines: by then all answers have been read that had come. */
  function look(nowUs: number): void {
    if (nowUs < pathState.lookAt()) return;
    pathState.look(nowUs);
    transmit.followRate(nowUs);
    tellPath();
  }

  function tellPath(): void {
    counts.path.rate = pathState.rate();
    counts.path.lost = pathState.lostSoFar();
    counts.path.answered = pathState.answeredSoFar();
    counts.path.missedPorts = pathState.missedPorts();
  }

  return {
    counts,
    get total() {
      return transmit.total();
    },
    get done() {
      return counts.decided === transmit.total() && !controlSchedule.isPending();
    },
    get inFlight() {
      return counts.started - counts.decided;
    },
    handlePacket,
    handleTimeout: (nowUs) => {
      look(nowUs);
      controlSchedule.expire(nowUs);
      expire(nowUs);
    },
    pollTransmit: transmit.pollTransmit,
    handleDeparture: transmit.handleDeparture,
    handleRefusal: transmit.handleRefusal,
    handleOverrun: pathState.overrun,
    rateMetrics: pathState.metrics,
    stalledUs: sendBackoff.stalledUs,
    pollTimeout: (nowUs) => Math.min(transmit.nextAt(nowUs), timers.next(), controlSchedule.nextExpiry()),
    lowestUndecided: () => Math.min(controlSchedule.lowestPosition(), inFlight.lowestUndecided()),
    pollVerdict: () => controlSchedule.release() ?? verdictQueue.poll(),
    abandon: () => {
      transmit.abandon();
      controlSchedule.giveUp();
    },
  };
}
