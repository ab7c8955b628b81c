/**
 * Deadlines: when a try's time is over and the next one goes, when there have been enough of them to believe the silence, and what
 * a row has come to then.
 *
 * Not here: how long to wait and how sure silence is (path-watch.ts knows the hosts), the timers themselves (socket/timer-wheel.ts).
 */
import { PROBE_EVENTS } from "../socket/state.ts";
import { SEGMENT_VERDICTS } from "./classify.ts";
import { FEWEST_TRIES } from "./confidence.ts";
import type { PathWatch } from "./path-watch.ts";
import type { Probes } from "./probes.ts";
import type { Refusals } from "./refusals.ts";
import type { Retransmissions } from "./retransmissions.ts";
import type { SplitSyns } from "./split-syns.ts";
import type { Turns } from "./turns.ts";
import type { Verdicts } from "./verdicts.ts";

export interface DeadlinesOptions {
  /** The doubt that ends the tries of a port before its last; 0 to use them all. */
  readonly acceptedDoubt: number;
  readonly probes: Probes;
  readonly watch: PathWatch;
  readonly turns: Turns;
  readonly retransmissions: Retransmissions;
  readonly refusals: Refusals;
  readonly splitSyns: SplitSyns;
  readonly verdicts: Verdicts;
  /** Whether pairs are left to be started. */
  mayStart(): boolean;
}

/** A long wait is looked at again so often: meanwhile the host may have become known. */
const LOOK_AGAIN_US = 100_000;

/** @returns a function that lets the rows' deadlines at or before `nowUs` pass */
export function createDeadlines(options: DeadlinesOptions): (nowUs: number) => void {
  const { acceptedDoubt, probes, watch, turns, retransmissions, refusals, splitSyns, verdicts } = options;
  const { mayStart } = options;
  const { table, timers, hostOf, columnOf, hostIn } = probes;
  const { capacity, maxTries } = table;
  const { hosts } = watch;

  /** Nothing waited to be sent when deadlines last began to pass. */
  let isIdle = false;

  function expire(nowUs: number): void {
    isIdle = !retransmissions.any() && !mayStart();
    for (let row = timers.expire(nowUs); row >= 0; row = timers.expire(nowUs)) {
      const tries = table.tries[row];
      if (tries > 0 && !isOver(row, nowUs)) continue;
      if (tries < maxTries && !isSure(row)) {
        if (turns.take(row, nowUs)) retransmissions.push(row);
      } else if (refusals.isStalled()) {
        // While nothing can be sent, answers may be lost as well: once more, when it can.
        table.tries[row]--;
        retransmissions.push(row);
      } else {
        // The last try waits longer, and so does a host that was never heard of.
        const host = hostIn(row, nowUs);
        const last = table.sentAt[columnOf(row, tries - 1)] + watch.waitUs(host) + watch.lastWaitUs(host);
        const firstUs = 1000 * hosts.firstMs[host];
        const untilUs = Math.max(last, (firstUs > 0 ? firstUs : table.sentAt[row]) + watch.wholeWaitUs(host));
        if (nowUs < untilUs) timers.arm(row, nowUs, Math.min(untilUs - nowUs + 1, LOOK_AGAIN_US) | 0);
        else exhaust(row, nowUs);
      }
    }
  }

  /** Whether the time of the row's last try is over; if not, it will be looked at again. */
  function isOver(row: number, nowUs: number): boolean {
    if (turns.has(row)) return true;
    const tries = table.tries[row];
    const waitUs = isIdle ? watch.soonUs(hostOf[row], tries) : watch.waitUs(hostOf[row]);
    const leftUs = table.sentAt[columnOf(row, tries - 1)] + waitUs - nowUs;
    if (leftUs <= 0) return true;
    timers.arm(row, nowUs, Math.min(leftUs + 1, watch.lookAgainUs(hostOf[row])) | 0);
    return false;
  }

  /** Whether so many tries are enough to believe the silence. */
  function isSure(row: number): boolean {
    if (acceptedDoubt === 0 || table.tries[row] < FEWEST_TRIES) return false;
    reckonDoubt(row);
    return watch.doubt[0] < acceptedDoubt;
  }

  /** The chance that every try was lost, or its answer: to `watch.doubt[0]`. */
  function reckonDoubt(row: number): void {
    const first = table.unsent[row];
    watch.reckonDoubt(
      hostOf[row],
      table.sentAt,
      columnOf(row, first),
      capacity,
      table.tries[row] - first,
      true,
    );
  }

  /** The last try is over, and nothing proved has come. */
  function exhaust(row: number, nowUs: number): void {
    const split = splitSyns.believed(row);
    const errno = refusals.errnoOf(row);
    if (split !== undefined) {
      const { event, reason } = SEGMENT_VERDICTS.syn;
      verdicts.answer(row, split.attempt, event, reason, split.ttl, split.atUs, 0);
    } else if (errno !== undefined) {
      verdicts.decide(row, PROBE_EVENTS.unsendable, `send-${errno.toLowerCase()}`, nowUs);
    } else {
      reckonDoubt(row);
      verdicts.decideSilent(row, watch.doubt, nowUs);
    }
  }

  return expire;
}
