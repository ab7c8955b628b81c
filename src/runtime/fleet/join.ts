/**
 * What several places have found of the same pairs, put together: a pair is passed on when every place has told it. Where they do not
 * agree it is held until all of them have looked once more, within a minute; the second look counts.
 *
 * Records are held as they are (scan/probe/result-record.ts), a place beside the other, by the pair's number in the space. How far one
 * place may be ahead of another, and so how many are held: places.ts.
 * Pure: no clock, no queue. What is said is said once: a pair that was passed on is forgotten.
 */
import { type Established, hasFailed, PORT_STATES, type PortState } from "../../scan/probe/result.ts";
import { RECORD_LENGTH, readRecord, recordPosition, recordState } from "../../scan/probe/result-record.ts";
import { newVerdict, type Verdict } from "../../scan/probe/verdict.ts";
import type { Tell } from "../results/to-result.ts";
import { noTotals, type Totals } from "../results/totals.ts";

export interface Join {
  /** Counts of the pairs that were passed on. Those of which a place is missing are not decided. */
  readonly totals: Pick<Totals, "decided" | "states" | "reasons"> & {
    /** Sums over the pairs that are silent from every place: chances that an answer was lost, and tries. */
    readonly doubts: number;
    readonly silentTries: number;
  };
  /** Something has come that is not settled, or waits for a second look that nobody was given. */
  readonly isWaiting: boolean;
  /** Pairs that wait for a second look while others have one; 0 while none has. */
  readonly backlog: number;
  /**
   * A record, whose position says place and pair; a later one takes the place of the first.
   * @param bytes is copied
   * @returns false for a position of no place
   */
  take(bytes: Uint8Array, at: number, established?: Established): boolean;
  /**
   * All that a place has told belongs together and is complete: passes on what every place has told.
   * @param nowMs by any clock that does not jump; undefined: nobody looks again, and what differs is passed on
   * @param most looks at no more pairs; the rest is for the next time
   */
  settle(place: number, nowMs: number | undefined, tell: Tell, most?: number): void;
  /** The next pairs that all places are to probe once more, from now on: whole networks. Empty when there are none, or enough. */
  again(ask: Ask): number[];
  /** Nobody takes a second look at a pair from there: what the place has told counts. */
  giveUp(place: number, pairs: Iterable<number>): void;
  /** At the end: what is known of pairs that not every place has told, or that would have been probed again. */
  rest(tell: Tell): void;
}

/** What may be probed again. */
export interface Ask {
  /** About so many pairs. */
  readonly most: number;
  /** The most that are probed again at a time. */
  readonly underWay: number;
  readonly nowMs: number;
  /** The number of the network that has a pair. */
  networkOf(pair: number): number;
  /** Whether no cell of any place has any of it. */
  isFree(network: number): boolean;
}

/** Pairs whose records stand in one piece of memory. */
const SLOTS = 4096;
/** A second look is one when all places have had it within this time, in milliseconds … */
const TOGETHER_MS = 60_000;
/** … or so often has not been in time. */
const MOST_LOOKS = 3;

const [first, second] = [newVerdict(), newVerdict()];

/** A second look that could not be taken says no more than the first, nor does the same silence in more doubt. */
const saysMore = (now: Verdict, before: Verdict): boolean =>
  !hasFailed(now.reason) &&
  !(now.reason === "no-response" && before.reason === "no-response" && !(now.doubt < before.doubt));

interface Look {
  /** The places that have not looked again, in bits. */
  pending: number;
  sinceMs: number;
  count: number;
}

/** @param pairs of the space */
export function createJoin(places: readonly string[], pairs: number): Join {
  const all = 2 ** places.length - 1;
  const rowLength = places.length * RECORD_LENGTH;
  const rows: Uint8Array[] = [];
  /** By slot, in bits: places that have told, and those of them that are settled. */
  const told: number[] = [];
  const settled: number[] = [];
  const free: number[] = [];
  const slots = new Map<number, number>();
  const extras = new Map<number, Map<number, Established>>();
  const unsettled: number[][] = places.map(() => []);
  /** Pairs that differ, and wait for a second look. */
  const doubted = new Set<number>();
  const looks = new Map<number, Look>();
  let asked = 0;
  const { decided, states, reasons } = noTotals();
  const totals = { decided, states, reasons, doubts: 0, silentTries: 0 };
  const from = places.map((place) => ({ place, verdict: newVerdict() }));

  const rowOf = (slot: number): Uint8Array => rows[Math.floor(slot / SLOTS)];
  const recordAt = (slot: number, place: number): number =>
    (slot % SLOTS) * rowLength + place * RECORD_LENGTH;

  function slotOf(pair: number): number {
    const known = slots.get(pair);
    if (known !== undefined) return known;
    if (free.length === 0) {
      for (let i = SLOTS; i > 0; i--) free.push(rows.length * SLOTS + i - 1);
      rows.push(new Uint8Array(SLOTS * rowLength));
    }
    const slot = free.pop() ?? 0;
    slots.set(pair, slot);
    told[slot] = 0;
    settled[slot] = 0;
    return slot;
  }

  const every = [...places.keys()];
  const placesOf = (slot: number): readonly number[] =>
    told[slot] === all ? every : every.filter((place) => (told[slot] & (1 << place)) !== 0);

  const stateFrom = (slot: number, place: number): PortState =>
    recordState(rowOf(slot), recordAt(slot, place));

  const differs = (slot: number): boolean =>
    placesOf(slot).some((place) => stateFrom(slot, place) !== stateFrom(slot, 0));

  function pass(pair: number, slot: number, tell: Tell): void {
    const known = placesOf(slot);
    for (const place of known) {
      const { verdict } = from[place];
      readRecord(rowOf(slot), recordAt(slot, place), verdict);
      verdict.position = pair;
      // It corrects nothing that was passed on.
      verdict.was = null;
    }
    const rank = (place: number): number => PORT_STATES.indexOf(from[place].verdict.state);
    const best = known.reduce((least, place) => (rank(place) < rank(least) ? place : least));
    const { verdict } = from[best];
    totals.states[verdict.state]++;
    totals.reasons[verdict.state][verdict.reason] = (totals.reasons[verdict.state][verdict.reason] ?? 0) + 1;
    if (verdict.reason === "no-response") {
      totals.doubts += verdict.doubt;
      totals.silentTries += verdict.tries;
    }
    const established = extras.get(pair)?.get(best);
    slots.delete(pair);
    extras.delete(pair);
    looks.delete(pair);
    free.push(slot);
    tell(verdict, established, known === every ? from : known.map((place) => from[place]));
  }

  return {
    totals,
    get isWaiting() {
      return doubted.size > 0 || unsettled.some(({ length }) => length > 0);
    },
    get backlog() {
      return asked > 0 ? doubted.size : 0;
    },
    take: (bytes, at, established) => {
      const position = recordPosition(bytes, at);
      const place = Math.floor(position / pairs);
      if (place >= places.length) return false;
      const pair = position - place * pairs;
      const slot = slotOf(pair);
      unsettled[place].push(pair);
      if (
        looks.has(pair) &&
        !saysMore(readRecord(bytes, at, second), readRecord(rowOf(slot), recordAt(slot, place), first))
      )
        return true;
      rowOf(slot).set(bytes.subarray(at, at + RECORD_LENGTH), recordAt(slot, place));
      told[slot] |= 1 << place;
      if (established === undefined) extras.get(pair)?.delete(place);
      else extras.set(pair, (extras.get(pair) ?? new Map<number, Established>()).set(place, established));
      return true;
    },
    settle: (place, nowMs, tell, most = unsettled[place].length) => {
      for (const pair of unsettled[place].splice(0, most)) {
        const slot = slots.get(pair);
        if (slot === undefined) continue;
        settled[slot] |= 1 << place;
        const look = looks.get(pair);
        if (look !== undefined && look.pending > 0) {
          look.pending &= ~(1 << place);
          if (look.pending === 0) asked--;
        }
        if (settled[slot] !== all || (look !== undefined && look.pending > 0)) continue;
        const isLate =
          look !== undefined &&
          nowMs !== undefined &&
          nowMs - look.sinceMs > TOGETHER_MS &&
          look.count < MOST_LOOKS;
        if (nowMs !== undefined && (look === undefined || isLate) && differs(slot)) doubted.add(pair);
        else {
          totals.decided++;
          pass(pair, slot, tell);
        }
      }
    },
    again: ({ most, underWay, nowMs, networkOf, isFree }) => {
      if (doubted.size === 0 || asked >= underWay) return [];
      const next: number[] = [];
      let network = -1;
      let isTaken = false;
      // Pairs of a network have neighbouring numbers.
      for (const pair of [...doubted].sort((a, b) => a - b)) {
        if (networkOf(pair) !== network) {
          if (next.length >= most) break;
          network = networkOf(pair);
          isTaken = isFree(network);
        }
        if (isTaken) next.push(pair);
      }
      for (const pair of next) {
        doubted.delete(pair);
        looks.set(pair, { pending: all, sinceMs: nowMs, count: (looks.get(pair)?.count ?? 0) + 1 });
      }
      asked += next.length;
      return next;
    },
    giveUp: (place, given) => {
      for (const pair of given) unsettled[place].push(pair);
    },
    rest: (tell) => {
      doubted.clear();
      for (const [pair, slot] of [...slots]) if (told[slot] !== 0) pass(pair, slot, tell);
    },
  };
}
