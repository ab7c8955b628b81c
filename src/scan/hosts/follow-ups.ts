/**
 * Follow-ups of lost pilots: the same port is asked again, later and later, until it answers. Pairs that are never answered show
 * nothing; a port that answered before and is silent now shows how long what is lost stays lost (measure/loss-bursts.ts).
 *
 * Pure, times in microseconds. Not here: how they are sent and answered (control-schedule.ts), what follows.
 * Tested by test/scan/hosts/follow-ups.test.ts.
 */
import { ADDRESS_WORDS, copyWords } from "../../socket/table.ts";

export interface FollowUps {
  /** Begins one, for a pilot that was lost. Does nothing when there are enough. */
  begin(
    words: Uint32Array,
    at: number,
    port: number,
    path: number,
    host: number,
    knownUs: number,
    sentUs: number,
    nowUs: number,
  ): void;
  /** One that is due; -1 when none is. */
  due(nowUs: number): number;
  /** Its next try leaves. */
  sent(index: number, nowUs: number): void;
  /** Its last try could not leave. */
  refused(index: number): void;
  /** Its last try was lost: it is asked again later, or not any more. */
  lost(index: number, nowUs: number): void;
  /** Whether any has had no fate of its own yet, only its pilot's. */
  areFirstOut(): boolean;
  /** It ends. */
  end(index: number): void;
  readonly words: Uint32Array;
  readonly port: Uint16Array;
  readonly path: Uint16Array;
  readonly host: Int32Array;
  /** Per follow-up: when its port was last known to answer. */
  readonly knownUs: Float64Array;
  /** Per follow-up: its tries, and when they left: from `index * TRIES` on, the pilot first. */
  readonly tries: Uint8Array;
  readonly sentUs: Float64Array;
}

/** Follow-ups at a time: some tell as much as many. */
const MOST = 64;
/** Tries of each, the pilot included; each leaves this many times as long after the pilot as the one before. */
export const TRIES = 10;
const SPREAD = 2;

export function createFollowUps(): FollowUps {
  const words = new Uint32Array(MOST * ADDRESS_WORDS);
  const port = new Uint16Array(MOST);
  const path = new Uint16Array(MOST);
  const host = new Int32Array(MOST);
  const sentUs = new Float64Array(MOST * TRIES);
  const knownUs = new Float64Array(MOST);
  const tries = new Uint8Array(MOST);
  /** When each is due; Infinity for what is under way or not in use. */
  const dueUs = new Float64Array(MOST).fill(Number.POSITIVE_INFINITY);
  /** None is due before: asked for each probe that leaves. */
  const nextUs = Float64Array.of(Number.POSITIVE_INFINITY);
  let used = 0;

  function setDue(index: number, us: number): void {
    dueUs[index] = us;
    nextUs[0] = Math.min(nextUs[0], us);
  }

  return {
    words,
    port,
    path,
    host,
    knownUs,
    tries,
    sentUs,
    begin: (from, at, to, by, owner, answeredUs, pilotUs, nowUs) => {
      if (used === MOST) return;
      const index = tries.indexOf(0);
      used++;
      copyWords(words, index * ADDRESS_WORDS, from, at);
      port[index] = to;
      path[index] = by;
      host[index] = owner;
      knownUs[index] = answeredUs;
      tries[index] = 1;
      sentUs[index * TRIES] = pilotUs;
      setDue(index, nowUs);
    },
    due: (nowUs) => {
      if (nowUs < nextUs[0]) return -1;
      nextUs[0] = Number.POSITIVE_INFINITY;
      for (let index = 0; index < MOST; index++) {
        nextUs[0] = Math.min(nextUs[0], dueUs[index]);
        if (dueUs[index] <= nowUs) return index;
      }
      return -1;
    },
    sent: (index, nowUs) => {
      sentUs[index * TRIES + tries[index]++] = nowUs;
      dueUs[index] = Number.POSITIVE_INFINITY;
    },
    refused: (index) => {
      setDue(index, sentUs[index * TRIES + --tries[index]]);
    },
    lost: (index, nowUs) => {
      if (tries[index] === TRIES) {
        tries[index] = 0;
        used--;
        return;
      }
      const firstUs = sentUs[index * TRIES];
      setDue(index, Math.max(nowUs, firstUs + SPREAD * (sentUs[index * TRIES + tries[index] - 1] - firstUs)));
    },
    areFirstOut: () => {
      for (let index = 0; index < MOST; index++) {
        if (tries[index] === 1 || (tries[index] === 2 && dueUs[index] === Number.POSITIVE_INFINITY))
          return true;
      }
      return false;
    },
    end: (index) => {
      tries[index] = 0;
      dueUs[index] = Number.POSITIVE_INFINITY;
      used--;
    },
  };
}
