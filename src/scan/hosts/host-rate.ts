/**
 * Pacing per host: when the next SYN to a host may leave, so that none gets more than its rate, and when a host has had all
 * the time it gets. Turns are handed out ahead: each one asked for is the next free one.
 *
 * A host costs one entry of an open-addressing table, and is forgotten when its last turn has passed, unless its time is
 * limited: then its first turn must be remembered to the end. Pure: time is a parameter, in microseconds.
 */
import { ADDRESS_WORDS, hashAddress, sameWords } from "../../socket/table.ts";

export interface HostRate {
  /**
   * Takes the host's next turn.
   * @returns when it is, `nowUs` at the earliest; -1 when the host's time is over
   */
  turn(words: Uint32Array, at: number, nowUs: number): number;
  /** When the time of a host is over that has had a turn; Infinity when never. */
  endUs(words: Uint32Array, at: number): number;
}

export interface HostRateOptions {
  /** SYNs per second to one host; Infinity for no limit. */
  readonly rate: number;
  /** How long a host is probed, from its first SYN on, in microseconds; Infinity for no limit. */
  readonly timeoutUs: number;
  /** Random for each run: which addresses collide depends on it. */
  readonly seed: number;
}

const FEWEST_SLOTS = 1024;

export function createHostRate({ rate, timeoutUs, seed }: HostRateOptions): HostRate {
  const betweenUs = 1e6 / rate;
  const forgets = timeoutUs === Number.POSITIVE_INFINITY;
  let hosts = new Uint32Array(FEWEST_SLOTS * ADDRESS_WORDS);
  /** When the next turn may be; 0 in a free slot. */
  let next = new Float64Array(FEWEST_SLOTS);
  let first = new Float64Array(FEWEST_SLOTS);
  let used = 0;

  function slotOf(words: Uint32Array, at: number): number {
    const mask = next.length - 1;
    let slot = hashAddress(seed, words, at) & mask;
    while (next[slot] !== 0 && !sameWords(hosts, slot * ADDRESS_WORDS, words, at)) slot = (slot + 1) & mask;
    return slot;
  }

  /** Forgets who may be forgotten, and makes room if that is not enough. */
  function rebuild(nowUs: number): void {
    const old = { hosts, next, first };
    const stays = (slot: number): boolean => old.next[slot] !== 0 && !(forgets && old.next[slot] <= nowUs);
    let staying = 0;
    for (let slot = 0; slot < old.next.length; slot++) if (stays(slot)) staying++;
    const slots = Math.max(FEWEST_SLOTS, 2 ** Math.ceil(Math.log2(staying * 4)));
    hosts = new Uint32Array(slots * ADDRESS_WORDS);
    next = new Float64Array(slots);
    first = new Float64Array(slots);
    used = staying;
    for (let from = 0; from < old.next.length; from++) {
      if (!stays(from)) continue;
      const slot = slotOf(old.hosts, from * ADDRESS_WORDS);
      for (let i = 0; i < ADDRESS_WORDS; i++) {
        hosts[slot * ADDRESS_WORDS + i] = old.hosts[from * ADDRESS_WORDS + i];
      }
      next[slot] = old.next[from];
      first[slot] = old.first[from];
    }
  }

  return {
    turn: (words, at, nowUs) => {
      let slot = slotOf(words, at);
      if (next[slot] === 0) {
        if (2 * (used + 1) > next.length) {
          rebuild(nowUs);
          slot = slotOf(words, at);
        }
        used++;
        for (let i = 0; i < ADDRESS_WORDS; i++) hosts[slot * ADDRESS_WORDS + i] = words[at + i];
        first[slot] = nowUs;
        next[slot] = nowUs;
      }
      const turn = Math.max(nowUs, next[slot]);
      if (turn - first[slot] > timeoutUs) return -1;
      next[slot] = turn + betweenUs;
      return turn;
    },
    endUs: (words, at) => {
      const slot = slotOf(words, at);
      return next[slot] === 0 ? Number.POSITIVE_INFINITY : first[slot] + timeoutUs;
    },
  };
}
