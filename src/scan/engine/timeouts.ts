/**
 * Deadlines: when a try's time is over and the next one goes, when there have been enough of them to believe the silence, and what
 * a row has come to then.
 *
 * Not here: how long to wait and how sure silence is (congestion/path-state.ts knows the hosts), the timers themselves (socket/timer-wheel.ts).
 */
import { PROBE_EVENTS } from "../../socket/state.ts";
import { ADDRESS_WORDS } from "../../socket/table.ts";
import type { PathState } from "../congestion/path-state.ts";
import { type ControlSchedule, SILENCE } from "../hosts/control-schedule.ts";
import type { HostLimits } from "../hosts/host-limits.ts";
import type { RstLimited } from "../hosts/rst-limited.ts";
import { MARKS } from "../measure/host-cache.ts";
import { FEWEST_TRIES } from "../measure/loss.ts";
import { SEGMENT_VERDICTS } from "../probe/classify.ts";
import type { InFlight } from "../probe/in-flight.ts";
import type { RetransmitQueue } from "./retransmit-queue.ts";
import type { SendBackoff } from "./send-backoff.ts";
import type { SimultaneousOpens } from "./simultaneous-open.ts";
import type { VerdictQueue } from "./verdict-queue.ts";

export interface TimeoutsOptions {
  /** The doubt that ends the tries of a port before its last; 0 to use them all. */
  readonly acceptedDoubt: number;
  readonly inFlight: InFlight;
  readonly pathState: PathState;
  readonly rstLimited: RstLimited;
  readonly controlSchedule: ControlSchedule;
  readonly hostLimits: HostLimits;
  readonly retransmitQueue: RetransmitQueue;
  readonly sendBackoff: SendBackoff;
  readonly simultaneousOpens: SimultaneousOpens;
  readonly verdictQueue: VerdictQueue;
  /** Whether pairs are left to be started. */
  mayStart(): boolean;
}

/** A long wait is looked at again so often: meanwhile the host may have become known. */
const LOOK_AGAIN_US = 100_000;
/** What a control says is waited for. */
const SOON_US = 10_000;

/** @returns a function that lets the rows' deadlines at or before `nowUs` pass */
export function createTimeouts(options: TimeoutsOptions): (nowUs: number) => void {
  const { acceptedDoubt, inFlight, pathState, rstLimited, controlSchedule, hostLimits } = options;
  const { retransmitQueue, sendBackoff, simultaneousOpens, verdictQueue, mayStart } = options;
  const { table, timers, hostOf, columnOf, hostIn } = inFlight;
  const { capacity, maxTries } = table;
  const { hosts, doubt } = pathState;

  /** Nothing waited to be sent when deadlines last began to pass. */
  let isIdle = false;

  function expire(nowUs: number): void {
    isIdle = !retransmitQueue.any() && !mayStart();
    for (let row = timers.expire(nowUs); row >= 0; row = timers.expire(nowUs)) {
      const tries = table.tries[row];
      if (tries > 0 && !isOver(row, nowUs)) continue;
      if (tries >= FEWEST_TRIES && isUntold(row)) {
        timers.arm(row, nowUs, SOON_US);
        continue;
      }
      if (tries < maxTries && !isSure(row)) {
        if (tries === 1) controlSchedule.noteSilence(row);
        if (hostLimits.take(row, nowUs)) retransmitQueue.push(row);
      } else if (sendBackoff.isStalled()) {
        // While nothing can be sent, answers may be lost as well: once more, when it can.
        table.tries[row]--;
        retransmitQueue.push(row);
      } else {
        // The last try waits longer, and so does a host that was never heard of.
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

  /** Whether the time of the row's last try is over; if not, it will be looked at again. */
  function isOver(row: number, nowUs: number): boolean {
    if (hostLimits.has(row)) return true;
    const tries = table.tries[row];
    const waitUs = isIdle ? pathState.soonUs(hostOf[row], tries) : pathState.waitUs(hostOf[row]);
    const leftUs = table.sentAt[columnOf(row, tries - 1)] + waitUs - nowUs;
    if (leftUs <= 0) return true;
    timers.arm(row, nowUs, Math.min(leftUs + 1, pathState.lookAgainUs(hostOf[row])) | 0);
    return false;
  }

  /** A control behind the last try is still to be heard of. */
  function isUntold(row: number): boolean {
    const silence = controlSchedule.silenceOf(row);
    return silence === SILENCE.controlWaits || silence === SILENCE.controlUnderWay;
  }

  /** Whether so many tries are enough to believe the silence. */
  function isSure(row: number): boolean {
    if (acceptedDoubt === 0 || table.tries[row] < FEWEST_TRIES) return false;
    reckonDoubt(row, true, 0);
    return doubt[0] < acceptedDoubt;
  }

  /**
   * The chance that every try was lost, or its answer; or withheld, where the host may have `limited` them: to `doubt[0]`.
   * @param trusted how many tries count that left before their host was recognised as one that does
   * @returns whether it may have, going by what it does
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
      // What left before the host was recognised says little; what has left at its turn since, as much as controls say.
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

  /** The last try is over, and nothing proved has come. */
  function exhaust(row: number, nowUs: number): void {
    const split = simultaneousOpens.believed(row);
    const errno = sendBackoff.errnoOf(row);
    if (split !== undefined) {
      const { event, reason } = SEGMENT_VERDICTS.syn;
      verdictQueue.answer(row, split.attempt, event, reason, split.ttl, split.atUs, 0);
    } else if (errno !== undefined) {
      verdictQueue.decide(row, PROBE_EVENTS.unsendable, `send-${errno.toLowerCase()}`, nowUs);
    } else {
      const mayWithhold = reckonDoubt(row, true);
      const all = doubt[0];
      if (mayWithhold) reckonDoubt(row, false);
      verdictQueue.decideSilent(row, all, doubt[0], nowUs);
    }
  }

  return expire;
}
