/**
 * Hosts with a pace of their own: they answer no more than so many SYNs a second, most often because their resets are limited.
 * Each gets its SYNs one after the other, in the order that they were asked for, at an interval that is looked for: longer when
 * what must be answered is not, shorter when it is. And how often a SYN that left at its turn stays without an answer none the less.
 *
 * Every few turns are a control's, which goes to a port known as closed: what becomes of it says how often a reset is withheld, as
 * no silent port could. Where no closed port is known, what shows of the ports themselves has to do.
 *
 * Pure: times in microseconds, timers and controls are the caller's. Not here: how such a host is recognised (control-schedule.ts by
 * controls, congestion/path-state.ts by what its ports have lost).
 */
import { ADDRESS_WORDS, sameWords } from "../../socket/table.ts";

export interface RstLimited {
  /**
   * Takes or asks for a turn of the host of a row, whose address is `words[at]`. It is recognised with the first.
   * @param startUs the interval to begin with
   * @returns `now`; `later` when `arm` has been or will be told when to ask again; or `control`, after which `give` is to be called
   */
  take(row: number, host: number, words: Uint32Array, at: number, startUs: number, nowUs: number): Turn;
  /** Uses the turn that a row was offered with `control`: for a control, so that the row asks again, or for the row after all. */
  give(row: number, toControl: boolean, nowUs: number): void;
  /** Whether the row is in its host's line. */
  has(row: number): boolean;
  /** The row needs no turn any more. */
  forget(row: number): void;
  /** What became of a SYN that left at `sentUs` and that must be answered: a control, or a port's where there are none. */
  told(host: number, words: Uint32Array, at: number, answered: boolean, sentUs: number, nowUs: number): void;
  /** When a host with this address was recognised; Infinity when it has not had a turn yet. */
  sinceUs(host: number, words: Uint32Array, at: number): number;
  /** The chance that the host does not answer a SYN that left since, and that must be answered. */
  loss(host: number, words: Uint32Array, at: number): number;
}

export interface RstLimitedOptions {
  /** The row is to ask again then. */
  readonly arm: (row: number, atUs: number) => void;
}

/**
 * What a row that asks for its host's turn gets: to be sent now or later; its turn, if no control can be sent in its place; or
 * never, because the host's time is up.
 */
export const TURN = { now: 0, later: 1, control: 2, never: 3 } as const;
export type Turn = (typeof TURN)[keyof typeof TURN];

interface Line {
  readonly words: Uint32Array;
  readonly sinceUs: number;
  intervalUs: number;
  nextUs: number;
  /** When the interval was last changed: what left before says nothing of the new one. */
  changedUs: number;
  answered: number;
  turns: number;
  /** Of what must be answered, recent ones more than old ones; and all of them. */
  asked: number;
  lost: number;
  everAsked: number;
  everLost: number;
  /** Rows that wait, from `head` on; the one whose timer is armed is not among them. */
  rows: number[];
  head: number;
  armed: number;
}

const NONE = -1;
const SHORTEST_US = 1000;
const LONGEST_US = 4_000_000;
const LONGEST_FIRST_US = 300_000;
const SLOWER = 1.5;
const FASTER = 0.85;
/** While nothing was ever withheld: it may have been a mistake. */
const MUCH_FASTER = 0.5;
/** Answers in a row that make it faster. */
const ANSWERS = 2;
/** One turn in so many is a control's. */
const TURNS_PER_CONTROL = 6;
/** Before anything is known of it a pace is thought to lose so many of so many. */
const PRIOR_LOST = 0.4;
const PRIOR = 2;
const FADING = 0.95;
const NOTHING = { asked: 0, lost: 0, everAsked: 0, everLost: 0 } as const;

export function createRstLimited({ arm }: RstLimitedOptions): RstLimited {
  const lines = new Map<number, Line>();
  const lineOf = new Map<number, Line>();

  function find(host: number, words: Uint32Array, at: number): Line | undefined {
    const line = lines.get(host);
    return line !== undefined && sameWords(line.words, 0, words, at) ? line : undefined;
  }

  function begin(host: number, words: Uint32Array, at: number, startUs: number, nowUs: number): Line {
    const intervalUs = Math.min(LONGEST_FIRST_US, Math.max(SHORTEST_US, startUs));
    const line: Line = {
      words: words.slice(at, at + ADDRESS_WORDS),
      sinceUs: nowUs,
      intervalUs,
      nextUs: nowUs + intervalUs,
      changedUs: nowUs,
      answered: 0,
      turns: 0,
      asked: 0,
      lost: 0,
      everAsked: 0,
      everLost: 0,
      rows: [],
      head: 0,
      armed: NONE,
    };
    // An entry that has changed hands: whoever waits in the old line keeps his turn there.
    lines.set(host, line);
    return line;
  }

  function armNext(line: Line): void {
    while (line.head < line.rows.length) {
      const row = line.rows[line.head++];
      if (lineOf.get(row) !== line) continue;
      line.armed = row;
      arm(row, line.nextUs);
      return;
    }
    line.armed = NONE;
    line.rows = [];
    line.head = 0;
  }

  const grant = (line: Line, nowUs: number): void => {
    line.nextUs = nowUs + line.intervalUs;
  };

  function give(row: number, toControl: boolean, nowUs: number): void {
    const line = lineOf.get(row);
    if (line === undefined) return;
    grant(line, nowUs);
    if (toControl) arm(row, line.nextUs);
    else {
      lineOf.delete(row);
      armNext(line);
    }
  }

  return {
    take: (row, host, words, at, startUs, nowUs) => {
      const waiting = lineOf.get(row);
      if (waiting === undefined) {
        const line = find(host, words, at) ?? begin(host, words, at, startUs, nowUs);
        if (line.armed === NONE && line.nextUs <= nowUs) {
          grant(line, nowUs);
          return TURN.now;
        }
        lineOf.set(row, line);
        line.rows.push(row);
        if (line.armed === NONE) armNext(line);
        return TURN.later;
      }
      if (waiting.armed !== row) return TURN.later;
      if (nowUs < waiting.nextUs) {
        arm(row, waiting.nextUs);
        return TURN.later;
      }
      if (++waiting.turns % TURNS_PER_CONTROL === 0) return TURN.control;
      give(row, false, nowUs);
      return TURN.now;
    },
    give,
    has: (row) => lineOf.size > 0 && lineOf.has(row),
    forget: (row) => {
      if (lineOf.size === 0) return;
      const line = lineOf.get(row);
      lineOf.delete(row);
      if (line?.armed === row) armNext(line);
    },
    told: (host, words, at, answered, sentUs, nowUs) => {
      const line = find(host, words, at);
      if (line === undefined || sentUs < line.sinceUs) return;
      line.asked = FADING * line.asked + 1;
      line.lost = FADING * line.lost + (answered ? 0 : 1);
      line.everAsked++;
      if (!answered) line.everLost++;
      if (sentUs < line.changedUs) return;
      if (answered && ++line.answered < ANSWERS) return;
      line.intervalUs = answered
        ? Math.max(SHORTEST_US, (line.lost === 0 ? MUCH_FASTER : FASTER) * line.intervalUs)
        : Math.min(LONGEST_US, SLOWER * line.intervalUs);
      line.answered = 0;
      line.changedUs = nowUs;
    },
    sinceUs: (host, words, at) => find(host, words, at)?.sinceUs ?? Number.POSITIVE_INFINITY,
    loss: (host, words, at) => {
      const { lost, asked, everLost, everAsked } = find(host, words, at) ?? NOTHING;
      // A try may be of today, or of the time when the pace was being looked for.
      return Math.max((lost + PRIOR_LOST) / (asked + PRIOR), (everLost + PRIOR_LOST) / (everAsked + PRIOR));
    },
  };
}
