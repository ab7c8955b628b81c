/**
 * Running totals of a run: sums over its engines or workers, and over earlier runs of the same journal.
 */
import { type EngineCounters, newCounters } from "../../scan/engine/counters.ts";
import { type Missed, missedAnswering, missedOpen, mostOpen } from "../../scan/measure/loss.ts";
import { isTelling, recaptured } from "../../scan/measure/recapture.ts";
import type { PathFindings } from "../../scan/probe/result.ts";
import { SILENT_KEPT } from "../../socket/table.ts";

/** The counts as plain data: sent between threads and kept in journals. */
export interface Totals extends Omit<EngineCounters, "started"> {
  receiveDrops: number;
  elapsedMs: number;
}

export function noTotals(): Totals {
  const { started: _, ...counts } = newCounters();
  return { ...counts, receiveDrops: 0, elapsedMs: 0 };
}

/**
 * Totals as JSON brings them back; what is missing is 0. Undefined when something is no count, or has a name that no program
 * would have given it.
 */
export function readTotals(value: unknown): Totals | undefined {
  const totals = noTotals();
  return readCounts(totals, value) ? totals : undefined;
}

/** Errno names and reasons. */
const NAME = /^[A-Za-z0-9-]{1,32}$/;

function readCounts(to: object, from: unknown): boolean {
  if (typeof from !== "object" || from === null || Array.isArray(from)) return false;
  const counts = to as Record<string, number | object>;
  // An empty one takes any names.
  const names = Object.keys(to).length === 0 ? Object.keys(from) : Object.keys(to);
  return names.every((name) => {
    if (!Object.hasOwn(from, name)) return true;
    const value = (from as Readonly<Record<string, unknown>>)[name];
    const known = counts[name];
    if (typeof known === "object") return readCounts(known, value);
    if (typeof value !== "number" || !NAME.test(name)) return false;
    counts[name] = value;
    return true;
  });
}

/** Adds an engine's counts, or other totals, to `totals`. */
export function addTotals(
  totals: Totals,
  counts: Omit<Readonly<EngineCounters>, "started">,
  receiveDrops: number,
): void {
  totals.sent += counts.sent;
  totals.retransmitted += counts.retransmitted;
  totals.received += counts.received;
  totals.late += counts.late;
  totals.decided += counts.decided;
  totals.receiveDrops += receiveDrops;
  addCounts(totals.states, counts.states);
  addCounts(totals.ignored, counts.ignored);
  addCounts(totals.sendErrors, counts.sendErrors);
  addCounts(totals.path, counts.path);
  for (const state of ["open", "closed", "filtered"] as const) {
    addCounts(totals.reasons[state], counts.reasons[state]);
  }
}

function addCounts(to: Record<string, number>, from: Readonly<Record<string, number>>): void {
  // A reason of which all were corrected is none.
  for (const [name, count] of Object.entries(from))
    if (count !== 0 || to[name] !== undefined) to[name] = (to[name] ?? 0) + count;
}

/** Loss of a round trip, 0 to 1; 0 before anything is known. */
export const lossSoFar = ({ path }: Pick<Totals, "path">): number =>
  path.lost === 0 ? 0 : path.lost / (path.lost + path.answered);

/** Loss each way is only reported from so many unanswered SYNs on: then it is right within a third, mostly. */
const FEWEST_LOST = 100;
/** And where it cannot be known of at most so many times as many: they may have been lost at other times, in other ways. */
const MOST_UNCLEAR = 0.25;

/**
 * Ports that were probably missed, the open ones and all that answer: by the silent ports that were asked once more, or as the doubts
 * say where none were.
 */
function missedBy(
  { path, states }: Pick<Totals, "path" | "states">,
  silent: number,
  loss: number,
): { readonly open: Missed; readonly answering: Missed } {
  const answering = states.open + states.closed;
  const evidence = {
    silent,
    doubts: Math.max(0, path.doubts),
    burstDoubts: Math.max(0, path.burstDoubts),
    lost: path.lost,
    tries: silent === 0 ? 0 : path.silentTries / silent,
    unseen: Math.ceil(path.unseen),
  };
  const stated = {
    open: missedOpen({
      ...evidence,
      found: states.open,
      missedPorts: path.missedPorts,
      unseen: mostOpen(evidence.unseen, states.open / Math.max(1, answering)),
    }),
    answering: missedAnswering({ ...evidence, found: answering, withheld: Math.max(0, path.withheld) }),
  };
  if (!isTelling(path.verified, path.verifiedOpen + path.verifiedClosed, silent)) return stated;
  const found = recaptured({
    asked: path.verified,
    open: path.verifiedOpen,
    closed: path.verifiedClosed,
    silent,
    last: path.verifiedLast,
    before: path.verifiedBefore,
    openFound: states.open,
    closedFound: states.closed,
    loss,
    unseen: path.unseen,
  });
  if (silent <= SILENT_KEPT) return found;
  // The sample is of the last silent ports alone.
  return { open: widest(found.open, stated.open), answering: widest(found.answering, stated.answering) };
}

const widest = (a: Missed, b: Missed): Missed => ({
  expected: Math.max(a.expected, b.expected),
  low: Math.min(a.low, b.low),
  high: Math.max(a.high, b.high),
});

/** What the totals say about the path. */
export function pathFindings({
  path,
  states,
  reasons,
}: Pick<Totals, "path" | "states" | "reasons">): PathFindings {
  const silent = reasons.filtered["no-response"] ?? 0;
  const round = lossSoFar({ path });
  const missed = missedBy({ path, states }, silent, round);
  return {
    rate: path.rate,
    loss: { round, ...eachWay(path, round) },
    ...(path.verified === 0
      ? {}
      : {
          verified: { asked: path.verified, open: path.verifiedOpen, closed: path.verifiedClosed },
        }),
    missedOpen: missed.open,
    missed: missed.answering,
    ...(path.unseen > 0 ? { unseen: Math.ceil(path.unseen) } : {}),
  };
}

/**
 * Loss each way. Some unanswered SYNs to open ports did arrive: the host then repeats its SYN-ACK a second later (RFC 6298 §2.1).
 * With o and b the loss out and back, 1 - round = (1 - o)(1 - b), and a repeat is received with probability (1 - o) b (1 - b).
 */
function eachWay(
  { openLost, openArrived, openUnclear }: Totals["path"],
  round: number,
): { readonly out: number; readonly back: number } | undefined {
  if (openLost < FEWEST_LOST || openUnclear > MOST_UNCLEAR * openLost) return undefined;
  // The share of lost round trips whose SYN had arrived.
  const heard = Math.min(1, openArrived / openLost);
  const back = Math.min(round, (heard * round) / (1 - round));
  return { out: 1 - (1 - round) / (1 - back), back };
}
