/**
 * Deadlines: when a try times out and the next one is sent, when enough tries have been silent to believe it, and the verdict on a
 * row whose tries have all timed out.
 *
 * Not here: how long to wait and how likely loss is (congestion/path-state.ts), the timers themselves (socket/timer-wheel.ts).
 * Tested by test/scan/engine/engine.test.ts and test/sim/engine.test.ts.
 */
import { PROBE_EVENTS, PROBE_STATES } from "../../socket/state.ts";
import { ADDRESS_WORDS } from "../../socket/table.ts";
import type { PathState } from "../congestion/path-state.ts";
import { type ControlSchedule, SILENCE } from "../hosts/control-schedule.ts";
import type { HostLimits } from "../hosts/host-limits.ts";
import type { RstLimited } from "../hosts/rst-limited.ts";
import { MARKS, MOST_TOUCHED } from "../measure/host-cache.ts";
import { FEWEST_TRIES } from "../measure/loss.ts";
import { type InFlight, SPREAD_SAMPLED } from "../probe/in-flight.ts";
import type { RowLifecycle } from "./row-lifecycle.ts";
import type { RowQueue } from "./row-queue.ts";
import type { SendBackoff } from "./send-backoff.ts";
import type { SimultaneousOpens } from "./simultaneous-open.ts";
import type { Verification } from "./verification.ts";

export interface TimeoutsOptions {
  /** A silent port gets no further try once its doubt is below this; 0 to use all tries. */
  readonly acceptedDoubt: number;
  /** The same where losses are known to come in bursts, which the doubt then reckons with. */
  readonly acceptedInBursts: number;
  readonly inFlight: InFlight;
  readonly pathState: PathState;
  readonly rstLimited: RstLimited;
  readonly controlSchedule: ControlSchedule;
  readonly hostLimits: HostLimits;
  readonly retransmitQueue: RowQueue;
  /** Silent rows that have had their tries and wait until it is known whether losses come in bursts. Their timers are off. */
  readonly heldSilences: RowQueue;
  readonly sendBackoff: SendBackoff;
  readonly simultaneousOpens: SimultaneousOpens;
  readonly rows: RowLifecycle;
  readonly verification: Verification;
}

/** A long wait is checked again this often, in case the host has become known. */
const LOOK_AGAIN_US = 100_000;
/** How long to wait before asking again whether a control was answered. */
const SOON_US = 10_000;

/**
 * Where losses come in bursts, tries have to be spread in time: each waits until this many times as long after the first as the one
 * before, or as many times less as make the doubt small enough.
 */
const SPREADS = [1.25, 1.6, 2, 2.5] as const;
/** After this many mean times of a burst nothing is left of it: to wait longer for a try is no use. */
const FORGOTTEN = 4;
/** A port is tried for at most this long because of bursts, in microseconds; what they then leave is in its doubt. */
const LONGEST_SPREAD_US = 20_000_000;
/** How often a waiting port is looked at again: more may be known, or its row be needed. */
const SPREAD_LOOK_US = 250_000;

/** Silences are held for at most this long after their last try, in microseconds, while it is not known whether losses cluster. */
const LONGEST_HOLD_US = 3_000_000;
/** So many of them are tried again, for so long, before the last are decided, if nothing else has told; and so many while the run goes on. */
const SAMPLE = 200;
const SAMPLE_US = 100_000;
const EARLY_SAMPLE = 100;
/** How often held ones are looked at. */
const HOLD_LOOK_US = 20_000;

export interface Timeouts {
  /** Handles the rows' deadlines at or before `nowUs`. */
  expire(nowUs: number): void;
  /** When what has no timer is looked at next: held silences, and verification; Infinity when there is none. */
  nextLook(): number;
  /** Decides held silences as they are, and ends verification. */
  giveUp(nowUs: number): void;
}

export function createTimeouts(options: TimeoutsOptions): Timeouts {
  const { acceptedDoubt, acceptedInBursts, inFlight, pathState, rstLimited, controlSchedule, hostLimits } =
    options;
  const { retransmitQueue, sendBackoff, simultaneousOpens, heldSilences, rows, verification } = options;
  const { table, timers, hostOf, unprovedReset, spread, columnOf, hostIn } = inFlight;
  const { capacity, maxTries } = table;
  const { hosts, doubt } = pathState;

  /** Nothing was waiting to be sent when deadlines were last handled. */
  let isIdle = false;
  let heldLookUs = 0;
  const doubts = new Float64Array(3);
  const upcoming = new Int32Array(MOST_TOUCHED);
  /** Until when a sample is tried again before the last are decided; how many rows were sampled before that. */
  let sampleUntilUs = Number.NaN;
  let early = 0;

  function expire(nowUs: number): void {
    isIdle = !retransmitQueue.any() && !rows.mayStart();
    let touched = 0;
    for (let row = timers.expire(nowUs); row >= 0; row = timers.expire(nowUs)) {
      touched = touched > 0 ? touched - 1 : touchHosts();
      if (table.state[row] !== PROBE_STATES.synSent) {
        verification.expire(row, nowUs);
        continue;
      }
      const tries = table.tries[row];
      if (tries > 0 && !isOver(row, nowUs)) continue;
      if (tries >= FEWEST_TRIES && isUntold(row)) {
        timers.arm(row, nowUs, SOON_US);
        continue;
      }
      if (tries < maxTries && (isSpread(row, nowUs) || !isSure(row, nowUs))) {
        if (mustWait(row, nowUs)) continue;
        if (tries === 1) controlSchedule.noteSilence(row);
        if (rows.mayLeave(row, nowUs)) retransmitQueue.push(row);
      } else if (sendBackoff.isStalled()) {
        // While nothing can be sent, answers may be lost as well: another try once sending works, or the last one again.
        if (tries === maxTries) inFlight.repeatLast(row);
        if (rows.mayLeave(row, nowUs)) retransmitQueue.push(row);
      } else {
        // The last try waits longer, and so does a host that has never answered.
        const host = hostIn(row, nowUs);
        const last =
          table.sentAt[columnOf(row, tries - 1)] + pathState.waitUs(host) + pathState.lastWaitUs(host);
        const firstUs = 1000 * hosts.firstMs[host];
        const untilUs = Math.max(
          last,
          (firstUs > 0 ? firstUs : table.sentAt[row]) + pathState.wholeWaitUs(host),
        );
        if (nowUs < untilUs) timers.arm(row, nowUs, Math.min(untilUs - nowUs + 1, LOOK_AGAIN_US) | 0);
        else {
          pathState.gaveUp(table.sentAt, row, columnOf(row, tries - 1));
          if (sampleBeforeEnd(row, nowUs)) timers.arm(row, nowUs, 1);
          else if (mayBeInBurst(row)) heldSilences.push(row);
          else exhaust(row, nowUs);
        }
      }
    }
    letGo(nowUs);
    verification.proceed(nowUs);
  }

  function touchHosts(): number {
    const count = timers.peek(upcoming);
    inFlight.touchHosts(upcoming, count);
    return count;
  }

  /** Something has been lost: whether losses come in bursts shows later, and may ask for later tries. */
  const mayBeInBurst = (row: number): boolean =>
    acceptedDoubt > 0 &&
    table.tries[row] < maxTries &&
    !pathState.isClustered() &&
    pathState.hasLost() &&
    !rows.needsRoom();

  /**
   * Held silences are tried again once losses are known to cluster. They are decided as they are when they have waited long, when
   * others need their rows, or when nothing is left that could tell: then, if losses have not been found to be independent, a sample
   * of them is tried again first.
   */
  function letGo(nowUs: number): void {
    if (!heldSilences.any()) return;
    heldLookUs = nowUs + HOLD_LOOK_US;
    const isClustered = pathState.isClustered();
    const isLast =
      rows.undecided() === heldSilences.length() && !rows.mayStart() && !controlSchedule.isFollowingUp();
    if (isLast && !isClustered && Number.isNaN(sampleUntilUs) && !pathState.isIndependent()) {
      trySample(nowUs);
      return;
    }
    for (let row = heldSilences.first(); row >= 0; row = heldSilences.first()) {
      const lastUs = table.sentAt[columnOf(row, table.tries[row] - 1)];
      const hasTime = nowUs - lastUs < LONGEST_HOLD_US || nowUs < sampleUntilUs;
      if (!isClustered && !isLast && !rows.needsRoom() && hasTime) return;
      heldSilences.cancel(row);
      if (isClustered) timers.arm(row, nowUs, 1);
      else exhaust(row, nowUs);
    }
  }

  /**
   * A silence of a host that answers elsewhere is the likeliest to be lost answers: some are tried again while others are still
   * being tried, which takes no time.
   */
  function sampleBeforeEnd(row: number, nowUs: number): boolean {
    const mayBe =
      early < EARLY_SAMPLE &&
      (spread[row] & SPREAD_SAMPLED) === 0 &&
      acceptedDoubt > 0 &&
      table.tries[row] < maxTries &&
      rows.mayStart() &&
      !rows.needsRoom();
    if (!mayBe) return false;
    const host = hostIn(row, nowUs);
    if (hosts.open[host] === 0 && hosts.closed[host] === 0) return false;
    early++;
    spread[row] |= SPREAD_SAMPLED;
    return true;
  }

  /** Takes the sample from those of all times: what was lost may have been lost at any. */
  function trySample(nowUs: number): void {
    sampleUntilUs = nowUs + SAMPLE_US;
    const every = Math.ceil(heldSilences.length() / SAMPLE);
    let row = heldSilences.first();
    for (let n = 0; row >= 0; n++) {
      const next = heldSilences.behind(row);
      if (n % every === 0) {
        heldSilences.cancel(row);
        spread[row] |= SPREAD_SAMPLED;
        timers.arm(row, nowUs, 1);
      }
      row = next;
    }
  }

  /** Whether the row is of a sample, and its time for further tries is not over. */
  const isInSample = (row: number, nowUs: number): boolean =>
    (spread[row] & SPREAD_SAMPLED) !== 0 && (nowUs < sampleUntilUs || rows.mayStart());

  /** Whether the row's last try has timed out. If not, its timer is armed again. */
  function isOver(row: number, nowUs: number): boolean {
    if (hostLimits.has(row)) return true;
    const tries = table.tries[row];
    const waitUs = isIdle ? pathState.soonUs(hostOf[row], tries) : pathState.waitUs(hostOf[row]);
    const leftUs = table.sentAt[columnOf(row, tries - 1)] + waitUs - nowUs;
    if (leftUs <= 0) return true;
    timers.arm(row, nowUs, Math.min(leftUs + 1, pathState.lookAgainUs(hostOf[row])) | 0);
    return false;
  }

  /** The control sent behind the last try has not been answered or given up yet. */
  function isUntold(row: number): boolean {
    const silence = controlSchedule.silenceOf(row);
    return silence === SILENCE.controlWaits || silence === SILENCE.controlUnderWay;
  }

  /** Whether the row's tries are enough to believe its silence, or all that there is time or room for. */
  function isSure(row: number, nowUs: number): boolean {
    if (acceptedDoubt === 0 || table.tries[row] < FEWEST_TRIES) return false;
    if (!pathState.isClustered()) {
      reckonDoubt(row, true, false, 0);
      return doubt[0] < acceptedDoubt && !isInSample(row, nowUs);
    }
    reckonDoubt(row, true, true, 0);
    const spanUs = table.sentAt[columnOf(row, table.tries[row] - 1)] - table.sentAt[row];
    return doubt[0] < acceptedInBursts || spanUs >= LONGEST_SPREAD_US || rows.needsRoom();
  }

  /** The time of the row's next try has been set since its last. */
  const isSet = (row: number): boolean => (spread[row] & ~SPREAD_SAMPLED) === table.tries[row];

  /** The row waits for its next try, still has to, and there is room for it to. */
  const isSpread = (row: number, nowUs: number): boolean =>
    table.tries[row] > 0 &&
    isSet(row) &&
    pathState.isClustered() &&
    table.sentAt[columnOf(row, table.tries[row])] > nowUs &&
    !rows.needsRoom();

  /** Whether the row's next try has to wait longer than usual, because of bursts. Its timer is set then. */
  function mustWait(row: number, nowUs: number): boolean {
    const tries = table.tries[row];
    if (tries < FEWEST_TRIES || acceptedDoubt === 0 || rows.needsRoom()) return false;
    if (nowUs - table.sentAt[row] > LONGEST_SPREAD_US) return false;
    const last = columnOf(row, tries - 1);
    if (!pathState.mustSpread(table.sentAt, last)) return false;
    if (!isSet(row)) setNext(row);
    const leftUs = table.sentAt[columnOf(row, tries)] - nowUs;
    if (leftUs <= 0) return false;
    timers.arm(row, nowUs, Math.min(leftUs + 1, SPREAD_LOOK_US) | 0);
    return true;
  }

  /** Sets when the row's next try is due: as soon as it makes the doubt small enough, if it can. */
  function setNext(row: number): void {
    const tries = table.tries[row];
    const next = columnOf(row, tries);
    const firstUs = table.sentAt[row];
    const spanUs = table.sentAt[columnOf(row, tries - 1)] - firstUs;
    const from = columnOf(row, table.unsent[row]);
    const count = tries + 1 - table.unsent[row];
    spread[row] = (spread[row] & SPREAD_SAMPLED) | tries;
    const furthest = Math.min(LONGEST_SPREAD_US, spanUs + FORGOTTEN * pathState.burstUs());
    for (const factor of SPREADS) {
      table.sentAt[next] = firstUs + Math.min(furthest, factor * spanUs);
      pathState.reckonDoubt(hostOf[row], table.sentAt, from, capacity, count, true);
      if (doubt[0] < acceptedInBursts) return;
    }
  }

  /**
   * Puts into `doubt[0]` the chance that every try or its answer was lost or, where the host may limit its RSTs, withheld.
   * @param limited whether to reckon with withheld answers
   * @param bursts whether to reckon with bursts of loss
   * @param trusted at most this many tries count that left before the host was recognised as rate-limiting
   * @returns whether the host may have withheld answers
   */
  function reckonDoubt(row: number, limited: boolean, bursts: boolean, trusted = maxTries): boolean {
    const first = table.unsent[row];
    const from = columnOf(row, first);
    const count = table.tries[row] - first;
    const host = hostOf[row];
    const withholds = (hosts.marks[host] & MARKS.limited) !== 0;
    const silence = table.tries[row] < FEWEST_TRIES ? SILENCE.plain : controlSchedule.silenceOf(row);
    const mayWithhold = withholds || silence === SILENCE.ofHost || silence === SILENCE.unchecked;
    let early = count;
    let later = 1;
    if (limited && withholds) {
      // Tries sent before the host was recognised say little. Those sent at its turn since are lost as often as its controls are.
      const at = row * ADDRESS_WORDS;
      const sinceUs = rstLimited.sinceUs(host, table.peer, at);
      const loss = rstLimited.loss(host, table.peer, at);
      while (early > 0 && table.sentAt[columnOf(row, first + early - 1)] >= sinceUs) {
        early--;
        later *= loss;
      }
    }
    if (withholds) early = Math.min(early, trusted);
    pathState.reckonDoubt(host, table.sentAt, from, capacity, early, limited, !bursts);
    if (limited && mayWithhold) {
      if (early > 0) doubt[0] = 1 - (1 - doubt[0]) * (1 - controlSchedule.withheld(host));
      doubt[0] *= later;
    }
    return mayWithhold;
  }

  /** All tries have timed out without a proven answer. */
  function exhaust(row: number, nowUs: number): void {
    const open = simultaneousOpens.of(row);
    const errno = sendBackoff.errnoOf(row);
    // Our SYN-ACK has a round trip to be acknowledged.
    const answerUs = (open?.askedUs ?? Number.NaN) + pathState.waitUs(hostIn(row, nowUs)) - nowUs;
    if (answerUs > 0) timers.arm(row, nowUs, (answerUs | 0) + 1);
    else if (errno !== undefined) {
      rows.decide(row, PROBE_EVENTS.unsendable, `send-${errno.toLowerCase()}`, nowUs);
    } else {
      // Where nothing at all has answered, the path may be dead.
      if (!pathState.hasAnswers()) doubts.fill(1);
      else {
        const mayWithhold = reckonDoubt(row, true, true);
        doubts[0] = doubt[0];
        if (mayWithhold) reckonDoubt(row, false, true);
        doubts[1] = doubt[0];
        doubts[2] = doubt[1];
      }
      const reason =
        open !== undefined ? "unproved-syn" : unprovedReset[row] === 1 ? "unproved-reset" : "no-response";
      rows.decideSilent(row, reason, doubts, nowUs);
    }
  }

  return {
    expire,
    nextLook: () =>
      Math.min(heldSilences.any() ? heldLookUs : Number.POSITIVE_INFINITY, verification.nextAt()),
    giveUp: (nowUs) => {
      for (let row = heldSilences.first(); row >= 0; row = heldSilences.first()) {
        heldSilences.cancel(row);
        exhaust(row, nowUs);
      }
      verification.giveUp();
    },
  };
}
