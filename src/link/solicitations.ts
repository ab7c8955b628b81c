/**
 * Neighbours that are being asked for their hardware address, by ARP or neighbour discovery: who is asked when, how often and how
 * fast, and which packets wait for the answer.
 *
 * Pure: `nowUs` is a parameter, in microseconds. What is known already: neighbour.ts. How a question is written:
 * neighbour-messages.ts.
 */
import { ADDRESS_WORDS, addressOf } from "../socket/table.ts";
import type { Address } from "../wire/address.ts";
import type { NeighbourTiming } from "./neighbour.ts";

/** Packets that wait, of all neighbours together. */
const MOST_HELD = 1 << 14;
/**
 * How many neighbours that are there may be given up for each one that has answered: where questions are seen to be lost, as
 * broadcasts are on a wireless network, a silent neighbour is asked more often than the kernel would, but not without end. Of a
 * link of 4,096 it is one in 20 runs, as this is divided by those that have answered by then: 1 + 1/2 + 1/3 and so on.
 */
const FALSE_ABSENCE = 0.005;
const MOST_QUESTIONS = 10;
/** Questions that were answered at once, beside those that were seen: of few neighbours one late answer is no sign of loss. */
const PRIOR = 20;
/** Questions asked at once make up for this long without one, in microseconds: a turn of the caller's loop. */
const BURST_US = 20e3;

/**
 * Questions a second, all links of a run together. Every station on the link hears them: on Ethernet they take 0.7 Mbit/s, and on
 * a wireless network, where broadcasts are slow, a fifth of the time. (arp-scan's default is 500.)
 */
export const SOLICITATIONS_PER_SECOND = 1000;

export interface Solicited {
  readonly address: Address;
  /** Source of the packet that was the first to need it. */
  readonly source: Address;
  /** IP packets that wait for the answer, oldest first. */
  readonly held: readonly Uint8Array[];
}

export interface Solicitations {
  /**
   * Has the neighbour with the address at `words[at]` asked, for a packet from `source` which waits for the answer; without
   * `packet` nothing does.
   * @returns false when it cannot be asked now: the packet is the caller's to send later
   */
  ask(words: Uint32Array, at: number, source: Address, nowUs: number, packet?: Uint8Array): boolean;
  /**
   * The next neighbour to be asked now; undefined when there is none. Nobody is asked again whose answer may be among what had come
   * after `readUs` and has not been read.
   */
  poll(nowUs: number, readUs: number): Solicited | undefined;
  /** It has answered, or told of itself. @returns what waited for that; undefined when nobody asked */
  answered(words: Uint32Array, at: number): Solicited | undefined;
  /**
   * The next one that has not answered, by what had come up to `readUs`, which is all that has been read; undefined when there is
   * none. Call it after `poll`.
   */
  pollFailure(readUs: number): Solicited | undefined;
  /** Those that have not answered yet. */
  asked(): Address[];
  /** When `poll` or `pollFailure` has something to do; Infinity when never. */
  pollTimeout(nowUs: number): number;
}

interface Entry extends Solicited {
  readonly key: string;
  readonly held: Uint8Array[];
  questions: number;
  dueUs: number;
}

/** @param perSecond how many questions a second may be asked; `questions` is how often a neighbour is asked where none is lost */
export function createSolicitations(
  perSecond: number,
  { questions, retransmitUs }: Pick<NeighbourTiming, "questions" | "retransmitUs">,
): Solicitations {
  /** In the order in which they are due: an entry that is asked again goes to the end. */
  const asked = new Map<string, Entry>();
  /** New ones, whose first question has not been polled. */
  const fresh: Entry[] = [];
  /** Asked often enough: what is not read yet may still have the answer. */
  const silent = new Map<string, Entry>();
  const intervalUs = 1e6 / perSecond;
  /** When the next question may be asked. */
  let freeUs = 0;
  let held = 0;
  /** Neighbours that have answered, and the questions to them that they had not answered before they were asked again. */
  let present = 0;
  let lost = 0;
  /** Questions before a neighbour is given up: with n of them, about `present` x (share that is lost) ** n are missed. */
  let enough = questions;

  const keyOf = (words: Uint32Array, at: number): string => words.subarray(at, at + ADDRESS_WORDS).join();
  const first = (entries: ReadonlyMap<string, Entry> = asked): Entry | undefined => {
    for (const entry of entries.values()) return entry;
    return undefined;
  };
  const ask = (entry: Entry, nowUs: number): Entry => {
    freeUs = Math.max(freeUs, nowUs - BURST_US) + intervalUs;
    entry.questions++;
    entry.dueUs = nowUs + retransmitUs;
    asked.delete(entry.key);
    asked.set(entry.key, entry);
    return entry;
  };
  const learn = (unanswered: number): void => {
    present++;
    lost += unanswered;
    if (lost === 0) return;
    const needed = Math.ceil(Math.log(FALSE_ABSENCE / present) / Math.log(lost / (lost + present + PRIOR)));
    enough = Math.max(questions, Math.min(MOST_QUESTIONS, needed));
  };
  const release = (entry: Entry): Entry => {
    held -= entry.held.length;
    return entry;
  };

  return {
    ask: (words, at, source, nowUs, packet) => {
      if (packet !== undefined && held === MOST_HELD) return false;
      const key = keyOf(words, at);
      let entry = asked.get(key) ?? silent.get(key);
      if (entry === undefined) {
        // Who has been asked is asked again in time, before anybody new.
        if (nowUs < freeUs || (first()?.dueUs ?? Number.POSITIVE_INFINITY) <= nowUs) return false;
        entry = {
          key,
          address: addressOf(words, at),
          source,
          held: [],
          questions: 0,
          dueUs: 0,
        };
        fresh.push(ask(entry, nowUs));
      }
      if (packet === undefined) return true;
      entry.held.push(packet);
      held++;
      return true;
    },
    poll: (nowUs, readUs) => {
      if (fresh.length > 0) return fresh.shift();
      let due = first();
      while (due !== undefined && due.dueUs <= nowUs) {
        if (due.questions < enough) return nowUs < freeUs || readUs < due.dueUs ? undefined : ask(due, nowUs);
        asked.delete(due.key);
        silent.set(due.key, due);
        due = first();
      }
      return undefined;
    },
    answered: (words, at) => {
      const key = keyOf(words, at);
      const entry = asked.get(key) ?? silent.get(key);
      if (entry === undefined) return undefined;
      asked.delete(key);
      silent.delete(key);
      learn(entry.questions - 1);
      return release(entry);
    },
    pollFailure: (readUs) => {
      const entry = first(silent);
      if (entry === undefined || readUs < entry.dueUs) return undefined;
      silent.delete(entry.key);
      return release(entry);
    },
    asked: () => [...silent.values(), ...asked.values()].map(({ address }) => address),
    pollTimeout: (nowUs) => {
      if (fresh.length + silent.size > 0) return nowUs;
      const due = first();
      if (due === undefined) return Number.POSITIVE_INFINITY;
      return due.questions >= enough ? due.dueUs : Math.max(due.dueUs, freeUs);
    },
  };
}
