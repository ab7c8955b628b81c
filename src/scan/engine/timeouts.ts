/**
 * Deadlines: when a try times out and the next one is sent, when enough tries have been silent to believe it, and the verdict on a
 * row whose tries have all timed out.
 *
 * Not here: how long to wait and how likely loss is (congestion/path-state.ts), the timers themselves (socket/timer-wheel.ts).
 * Tested by test/scan/engine/engine.test.ts and test/sim/engine.test.ts.
 */
import { PROBE_EVENTS } from "../../socket/state.ts";
import { ADDRESS_WORDS } from "../../socket/table.ts";
import type { PathState } from "../congestion/path-state.ts";
import { type ControlSchedule, SILENCE } from "../hosts/control-schedule.ts";
import type { HostLimits } from "../hosts/host-limits.ts";
import type { RstLimited } from "../hosts/rst-limited.ts";
import { MARKS } from "../measure/host-cache.ts";
import { FEWEST_TRIES } from "../measure/loss.ts";
import type { InFlight } from "../probe/in-flight.ts";
import type { RetransmitQueue } from "./retransmit-queue.ts";
import type { RowLifecycle } from "./row-lifecycle.ts";
import type { SendBackoff } from "./send-backoff.ts";
import type { SimultaneousOpens } from "./simultaneous-open.ts";

export interface TimeoutsOptions {
  /** A silent port gets no further try once its doubt is below this; 0 to use all tries. */
  readonly acceptedDoubt: number;
  readonly inFlight: InFlight;
  readonly pathState: PathState;
  readonly rstLimited: RstLimited;
  readonly controlSchedule: ControlSchedule;
  readonly hostLimits: HostLimits;
  readonly retransmitQueue: RetransmitQueue;
  readonly sendBackoff: SendBackoff;
  readonly simultaneousOpens: SimultaneousOpens;
  readonly rows: RowLifecycle;
}

/** A long wait is checked again this often, in case the host has become known. */
const LOOK_AGAIN_US = 100_000;
/** How long to wait before asking again whether a control was answered. */
const SOON_US = 10_000;

/** @returns a function that handles the rows' deadlines at or before `nowUs` */
export function createTimeouts(options: TimeoutsOptions): (nowUs: number) => void {
  const { acceptedDoubt, inFlight, pathState, rstLimited, controlSchedule, hostLimits } = options;
  const { retransmitQueue, sendBackoff, simultaneousOpens, rows } = options;
  const { table, timers, hostOf, unprovedReset, columnOf, hostIn } = inFlight;
  const { capacity, maxTries } = table;
  const { hosts, doubt } = pathState;

  /** Nothing was waiting to be sent when deadlines were last handled. */
  let isIdle = false;

  function expire(nowUs: number): void {
    isIdle = !retransmitQueue.any() && !rows.mayStart();
    for (let row = timers.expire(nowUs); row >= 0; row = timers.expire(nowUs)) {
      const tries = table.tries[row];
      if (tries > 0 && !isOver(row, nowUs)) continue;
      if (tries >= FEWEST_TRIES && isUntold(row)) {
        timers.arm(row, nowUs, SOON_US);
        continue;
      }
      if (tries < maxTries && !isSure(row)) {
        if (tries === 1) controlSchedule.noteSilence(row);
        if (rows.mayLeave(row, nowUs)) retransmitQueue.push(row);
      } else if (sendBackoff.isStalled()) {
        // While nothing can be sent, answers may be lost as well: repeat the try once sending works.
        table.tries[row]--;
        retransmitQueue.push(row);
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
        else exhaust(row, nowUs);
      }
    }
  }

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

  /** Whether the row's tries are enough to believe its silence. */
  function isSure(row: number): boolean {
    if (acceptedDoubt === 0 || table.tries[row] < FEWEST_TRIES) return false;
    reckonDoubt(row, true, 0);
    return doubt[0] < acceptedDoubt;
  }

  /**
   * Puts into `doubt[0]` the chance that every try or its answer was lost or, where the host may limit its RSTs, withheld.
   * @param limited whether to reckon with withheld answers
   * @param trusted at most this many tries count that left before the host was recognised as rate-limiting
   * @returns whether the host may have withheld answers
   */
  function reckonDoubt(row: number, limited: boolean, trusted = maxTries): boolean {
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
    pathState.reckonDoubt(host, table.sentAt, from, capacity, early, limited);
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
      const mayWithhold = reckonDoubt(row, true);
      const all = doubt[0];
      if (mayWithhold) reckonDoubt(row, false);
      const reason =
        open !== undefined ? "unproved-syn" : unprovedReset[row] === 1 ? "unproved-reset" : "no-response";
      rows.decideSilent(row, reason, all, doubt[0], nowUs);
    }
  }

  return expire;
}
