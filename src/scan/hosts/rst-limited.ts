/**
 * Hosts that rate-limit their answers, mostly their RSTs. Each gets its SYNs one after the other, at an interval that adapts: longer
 * when a SYN that has to be answered is not, shorter when it is. It also measures how often such a SYN is not answered even so.
 *
 * Every few SYNs one is a control, to a port known to be closed: its fate shows how often an RST is withheld, as no port without an
 * answer could. Where no closed port is known, the fates of the ports themselves are used.
 *
 * Pure: times in microseconds; timers and controls are the caller's. Not here: how such a host is recognised (control-schedule.ts by
 * controls, measure/loss-ledger.ts by its losses).
 */
import { ADDRESS_WORDS, sameWords } from "../../socket/table.ts";
import { chanceToLose } from "../measure/loss.ts";
import type { Outage } from "../measure/outages.ts";

export interface RstLimited {
  /**
   * Asks for the row's place in the line of its host, whose address is `words[at]`. The first call opens the line.
   * @param firstUs the first interval
   * @returns `now`; `later` when `arm` has been or will be told when to ask again; or `control`, after which `give` is to be called
   */
  take(row: number, host: number, words: Uint32Array, at: number, firstUs: number, nowUs: number): Turn;
  /** Uses the slot that a row was offered with `control`: for a control, so that the row asks again, or for the row after all. */
  give(row: number, toControl: boolean, nowUs: number): void;
  /** The row leaves the line. */
  forget(row: number): void;
  /** The fate of a SYN that left at `sentUs` and had to be answered: a control, or a port's where there are none. */
  told(host: number, words: Uint32Array, at: number, answered: boolean, sentUs: number, nowUs: number): void;
  /**
   * What has been found out about hosts: how many RSTs they send, and when they sent none.
   * @param loss of the path, 0 to 1
   */
  findings(loss: number): readonly HostFinding[];
  /** The host whose line takes longest, and how long, in microseconds; undefined when nobody waits. */
  longest(): { readonly words: Uint32Array; readonly us: number } | undefined;
  /** When the line of the host with this address was opened; Infinity when it was not. */
  sinceUs(host: number, words: Uint32Array, at: number): number;
  /** Probability that the host does not answer a SYN that left since then and has to be answered. */
  loss(host: number, words: Uint32Array, at: number): number;
}

/** A host that limits its RSTs, or was away. */
export interface HostFinding {
  /** Its address, as words. */
  readonly words: Uint32Array;
  /** RSTs per second that it sends; undefined when it limits none. */
  readonly perSecond?: number;
  /** When it answered nothing; without an end, it has not answered since. */
  readonly outages: readonly Outage[];
}

export interface RstLimitedOptions {
  /** The row is to ask again at that time. */
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
  /** When the interval last changed: SYNs that left before tell nothing of the new one. */
  changedUs: number;
  /** Answers in a row at this interval, and SYNs since the line was opened. */
  answered: number;
  sent: number;
  /** Fates of SYNs that had to be answered: with older ones fading, and all of them. */
  asked: number;
  lost: number;
  everAsked: number;
  everLost: number;
  /** The last answer, and the fates without one since. */
  answeredUs: number;
  silent: number;
  silentUs: number;
  readonly outages: Outage[];
  /** Rows that wait, from index `head` on; without the one whose timer is armed. */
  rows: number[];
  head: number;
  armed: number;
}

const NONE = -1;
/** Bounds of the interval between two SYNs, and the greatest first one, in microseconds. */
const MIN_INTERVAL_US = 1000;
const MAX_INTERVAL_US = 4_000_000;
const MAX_FIRST_INTERVAL_US = 300_000;
/** Factors of the interval after a SYN without an answer, and after answered ones. */
const SLOWER = 1.5;
const FASTER = 0.85;
/** Factor while every SYN was answered: the host may limit nothing at all. */
const MUCH_FASTER = 0.5;
/** Answers in a row that shorten the interval. */
const ANSWERS_TO_SPEED_UP = 2;
/** One of this many SYNs is a control. */
const SYNS_PER_CONTROL = 6;
/** Prior of the loss in a line: this many lost of that many. */
const PRIOR_LOST = 0.4;
const PRIOR_SYNS = 2;
/** Weight of a fate relative to the next one. */
const FADING = 0.95;
/** A host in a line is named when the path's loss explains what it has not answered there with a lower probability than this … */
const BY_CHANCE = 1e-3;
/** … and the path loses at least this share. */
const LEAST_LOSS = 0.01;
/** It is away when this many SYNs in a row had no answer, in at least this long, in microseconds. */
const SILENT_IN_A_ROW = 8;
const SHORTEST_OUTAGE_US = 5e6;
/** SYNs a port at most that are reckoned with for the time that is left. */
const MOST_TRIES = 4;
const NOTHING = { asked: 0, lost: 0, everAsked: 0, everLost: 0 } as const;

export function createRstLimited({ arm }: RstLimitedOptions): RstLimited {
  const lines = new Map<number, Line>();
  const lineOf = new Map<number, Line>();

  function find(host: number, words: Uint32Array, at: number): Line | undefined {
    const line = lines.get(host);
    return line !== undefined && sameWords(line.words, 0, words, at) ? line : undefined;
  }

  function begin(host: number, words: Uint32Array, at: number, firstUs: number, nowUs: number): Line {
    const intervalUs = Math.min(MAX_FIRST_INTERVAL_US, Math.max(MIN_INTERVAL_US, firstUs));
    const line: Line = {
      words: words.slice(at, at + ADDRESS_WORDS),
      sinceUs: nowUs,
      intervalUs,
      nextUs: nowUs + intervalUs,
      changedUs: nowUs,
      answered: 0,
      sent: 0,
      asked: 0,
      lost: 0,
      everAsked: 0,
      everLost: 0,
      answeredUs: nowUs,
      silent: 0,
      silentUs: nowUs,
      outages: [],
      rows: [],
      head: 0,
      armed: NONE,
    };
    // The entry may have changed hands: rows that wait in the old line stay there.
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

  const isAway = ({ silent, answeredUs }: Line, nowUs: number): boolean =>
    silent >= SILENT_IN_A_ROW && nowUs - answeredUs >= SHORTEST_OUTAGE_US;

  function noteSilence(line: Line, answered: boolean, nowUs: number): void {
    if (!answered) {
      line.silent++;
      line.silentUs = nowUs;
      return;
    }
    if (isAway(line, nowUs)) line.outages.push({ fromUs: line.answeredUs, toUs: nowUs });
    line.silent = 0;
    line.answeredUs = nowUs;
  }

  function findingOf(line: Line, loss: number): HostFinding {
    const { words, outages, intervalUs, everAsked, everLost, sent, sinceUs, answeredUs, silentUs } = line;
    const untilUs = Math.max(answeredUs, silentUs);
    const isLimited =
      everLost < everAsked &&
      intervalUs > 2 * MIN_INTERVAL_US &&
      sent > 0 &&
      chanceToLose(everLost, everAsked, Math.max(LEAST_LOSS, loss)) < BY_CHANCE;
    if (isAway(line, untilUs)) return { words, outages: [...outages, { fromUs: answeredUs }] };
    // A host that was away has lost its SYNs to that, and not to a limit.
    if (!isLimited || outages.length > 0) return { words, outages };
    return { words, outages, perSecond: ((sent * (1 - everLost / everAsked)) / (untilUs - sinceUs)) * 1e6 };
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

  /** A row is sent at once when the line is empty and its interval over. */
  function join(row: number, line: Line, nowUs: number): Turn {
    if (line.armed === NONE && line.nextUs <= nowUs) {
      grant(line, nowUs);
      return TURN.now;
    }
    lineOf.set(row, line);
    line.rows.push(row);
    if (line.armed === NONE) armNext(line);
    return TURN.later;
  }

  return {
    take: (row, host, words, at, firstUs, nowUs) => {
      const line = lineOf.get(row);
      if (line === undefined)
        return join(row, find(host, words, at) ?? begin(host, words, at, firstUs, nowUs), nowUs);
      if (line.armed !== row) return TURN.later;
      if (nowUs < line.nextUs) {
        arm(row, line.nextUs);
        return TURN.later;
      }
      if (++line.sent % SYNS_PER_CONTROL === 0) return TURN.control;
      give(row, false, nowUs);
      return TURN.now;
    },
    give,
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
      noteSilence(line, answered, nowUs);
      if (sentUs < line.changedUs) return;
      if (answered && ++line.answered < ANSWERS_TO_SPEED_UP) return;
      line.intervalUs = answered
        ? Math.max(MIN_INTERVAL_US, (line.lost === 0 ? MUCH_FASTER : FASTER) * line.intervalUs)
        : Math.min(MAX_INTERVAL_US, SLOWER * line.intervalUs);
      line.answered = 0;
      line.changedUs = nowUs;
    },
    findings: (loss) =>
      Array.from(lines.values(), (line) => findingOf(line, loss)).filter(
        ({ perSecond, outages }) => perSecond !== undefined || outages.length > 0,
      ),
    longest: () => {
      let longest: ReturnType<RstLimited["longest"]>;
      for (const { words, rows, head, armed, intervalUs, lost, asked } of lines.values()) {
        const waiting = rows.length - head + (armed === NONE ? 0 : 1);
        // What is not answered is sent again.
        const tries = asked === 0 ? 1 : Math.min(MOST_TRIES, asked / (asked - lost));
        const us = waiting * intervalUs * tries * (1 + 1 / SYNS_PER_CONTROL);
        if (us > (longest?.us ?? 0)) longest = { words, us };
      }
      return longest;
    },
    sinceUs: (host, words, at) => find(host, words, at)?.sinceUs ?? Number.POSITIVE_INFINITY,
    loss: (host, words, at) => {
      const { lost, asked, everLost, everAsked } = find(host, words, at) ?? NOTHING;
      // A try may have left lately, or while the interval was still being adapted.
      return Math.max(
        (lost + PRIOR_LOST) / (asked + PRIOR_SYNS),
        (everLost + PRIOR_LOST) / (everAsked + PRIOR_SYNS),
      );
    },
  };
}
