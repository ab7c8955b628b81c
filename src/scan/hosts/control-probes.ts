/**
 * Control probes: SYNs that measure the run's conditions instead of a target port. Four kinds:
 *
 *     pilot     probes a known responder again: a missing answer is loss, also where most targets do not answer
 *     follow-up probes the port of a lost pilot once more: how long is lost what was lost
 *     canary    probes a port that no service uses: a host that accepts several of them is a tarpit
 *     control   probes a port known to be closed, right behind a SYN that may go unanswered: if no RST comes back either, the host
 *               rate-limits its RSTs, and the silence is not a firewall's
 *
 * Their source ports are a range of their own, so that port and peer name the probe that is answered. Pure, times in microseconds.
 * Not here: when each is sent, and what its fate means (control-schedule.ts).
 */
import { ADDRESS_WORDS, copyWords, sameWords } from "../../socket/table.ts";

export interface ControlProbes {
  /**
   * Remembers a port that answered as a target of pilots.
   * @param isOpen with SYN-ACK, not RST
   * @param times when the SYN left that it answered: `times[i]` (a time as an argument would be allocated)
   */
  remember(
    words: Uint32Array,
    at: number,
    port: number,
    path: number,
    host: number,
    isOpen: boolean,
    times: Float64Array,
    i: number,
  ): void;
  /** The pilot in `slot` was answered: its port is known to answer since then. */
  answered(slot: number): void;
  known(): number;
  /**
   * Takes a slot for a pilot to a remembered port that answers SYN-ACK, or whose host `isRested`: other hosts may not answer because
   * they have sent too many RSTs. -1 when a few draws find none.
   */
  pickPilot(isRested: (host: number, nowUs: number) => boolean, nowUs: number): number;
  /** Takes a slot for one of another kind to this port, which then waits to be sent. @returns -1 when there is no room */
  ask(
    words: Uint32Array,
    at: number,
    port: number,
    path: number,
    host: number,
    kind: Exclude<Kind, typeof KINDS.pilot>,
  ): number;
  /** Whether any waits to be sent. */
  waiting(): boolean;
  /** The next one that waits, of a kind up to `most`; -1 when there is none. */
  pickAsked(most: Kind): number;
  /** The probe in `slot` has left. */
  sent(slot: number, nowUs: number, waitUs: number, iss: number): void;
  /** The probe in `slot` could not leave, or its fate is known. */
  release(slot: number): void;
  /** The slot whose probe a segment from this peer to this port answers; -1 when there is none. */
  find(words: Uint32Array, at: number, port: number, localPort: number): number;
  /** A slot whose time is over; -1 when there is none. It still has to be released. */
  expired(nowUs: number): number;
  /** When the next one's time will be over; Infinity when none is under way. */
  nextExpiry(): number;
  /** KINDS. */
  readonly kind: Uint8Array;
  readonly words: Uint32Array;
  readonly port: Uint16Array;
  readonly path: Uint16Array;
  readonly host: Int32Array;
  readonly iss: Uint32Array;
  readonly sentUs: Float64Array;
  /** Per slot with a pilot: 1 when its port answers with SYN-ACK. */
  readonly isOpen: Uint8Array;
  /** Per slot with a pilot: when its port was last known to answer. */
  readonly knownUs: Float64Array;
  localPort(slot: number): number;
  /** Whether this local port is one of theirs. */
  owns(localPort: number): boolean;
}

export const KINDS = { pilot: 0, followUp: 1, canary: 2, control: 3 } as const;
type Kind = (typeof KINDS)[keyof typeof KINDS];

/** Targets of pilots that are remembered. */
const RESPONDERS = 256;
/** Control probes under way at most. */
export const SLOTS = 1024;
/** Random draws until a pilot's target is given up. */
const DRAWS = 8;
/** States of a slot. */
const FREE = 0;
const WAITING = 1;
const UNDER_WAY = 2;

/**
 * @param ports their source ports
 * @param random integers from 0 to `below - 1`
 */
export function createControlProbes(
  ports: { readonly first: number; readonly last: number },
  random: (below: number) => number,
): ControlProbes {
  const width = Math.min(SLOTS, ports.last - ports.first + 1);
  // A sample of the ports that answered lately.
  const responders = {
    words: new Uint32Array(RESPONDERS * ADDRESS_WORDS),
    port: new Uint16Array(RESPONDERS),
    path: new Uint16Array(RESPONDERS),
    host: new Int32Array(RESPONDERS),
    isOpen: new Uint8Array(RESPONDERS),
    knownUs: new Float64Array(RESPONDERS),
  };
  let known = 0;
  const state = new Uint8Array(SLOTS);
  const kind = new Uint8Array(SLOTS);
  const words = new Uint32Array(SLOTS * ADDRESS_WORDS);
  const port = new Uint16Array(SLOTS);
  const path = new Uint16Array(SLOTS);
  const host = new Int32Array(SLOTS);
  const iss = new Uint32Array(SLOTS);
  const sentUs = new Float64Array(SLOTS);
  const untilUs = new Float64Array(SLOTS);
  const knownUs = new Float64Array(SLOTS);
  const isOpen = new Uint8Array(SLOTS);
  /** Per slot: which remembered port its pilot goes to. */
  const responderOf = new Uint16Array(SLOTS);
  let cursor = 0;
  /** Slots in use, in no order. */
  const used = new Int32Array(SLOTS);
  let usedCount = 0;
  let waiting = 0;

  /** The next free slot; -1 when there is none, or when its source port is in use to that peer: an answer must name its probe. */
  function take(from: Uint32Array, at: number, to: number): number {
    if (usedCount === SLOTS) return -1;
    while (state[cursor] !== FREE) cursor = (cursor + 1) % SLOTS;
    const slot = cursor;
    cursor = (cursor + 1) % SLOTS;
    for (let other = slot % width; other < SLOTS; other += width) {
      if (state[other] !== FREE && port[other] === to && sameWords(words, other * ADDRESS_WORDS, from, at)) {
        return -1;
      }
    }
    used[usedCount++] = slot;
    return slot;
  }

  function fill(slot: number, from: Uint32Array, at: number, to: number, by: number, owner: number): void {
    copyWords(words, slot * ADDRESS_WORDS, from, at);
    port[slot] = to;
    path[slot] = by;
    host[slot] = owner;
  }

  return {
    known: () => known,
    remember: (from, at, to, by, owner, open, times, column) => {
      const i = known < RESPONDERS ? known++ : random(RESPONDERS);
      copyWords(responders.words, i * ADDRESS_WORDS, from, at);
      responders.port[i] = to;
      responders.path[i] = by;
      responders.host[i] = owner;
      responders.isOpen[i] = open ? 1 : 0;
      responders.knownUs[i] = times[column];
    },
    answered: (slot) => {
      const i = responderOf[slot];
      // Another port may have its place meanwhile.
      if (responders.knownUs[i] === knownUs[slot]) responders.knownUs[i] = sentUs[slot];
    },
    pickPilot: (isRested, nowUs) => {
      if (known === 0) return -1;
      let i = random(known);
      for (let draws = 1; !(responders.isOpen[i] === 1 || isRested(responders.host[i], nowUs)); draws++) {
        if (draws === DRAWS) return -1;
        i = random(known);
      }
      const slot = take(responders.words, i * ADDRESS_WORDS, responders.port[i]);
      if (slot < 0) return -1;
      fill(
        slot,
        responders.words,
        i * ADDRESS_WORDS,
        responders.port[i],
        responders.path[i],
        responders.host[i],
      );
      responderOf[slot] = i;
      isOpen[slot] = responders.isOpen[i];
      knownUs[slot] = responders.knownUs[i];
      kind[slot] = KINDS.pilot;
      state[slot] = UNDER_WAY;
      untilUs[slot] = Number.POSITIVE_INFINITY;
      return slot;
    },
    ask: (from, at, to, by, owner, what) => {
      const slot = take(from, at, to);
      if (slot < 0) return -1;
      fill(slot, from, at, to, by, owner);
      kind[slot] = what;
      state[slot] = WAITING;
      untilUs[slot] = Number.POSITIVE_INFINITY;
      waiting++;
      return slot;
    },
    waiting: () => waiting > 0,
    pickAsked: (most) => {
      if (waiting === 0) return -1;
      for (let i = 0; i < usedCount; i++) {
        const slot = used[i];
        if (state[slot] !== WAITING || kind[slot] > most) continue;
        state[slot] = UNDER_WAY;
        waiting--;
        return slot;
      }
      return -1;
    },
    sent: (slot, nowUs, waitUs, number) => {
      sentUs[slot] = nowUs;
      untilUs[slot] = nowUs + waitUs;
      iss[slot] = number;
    },
    release: (slot) => {
      if (state[slot] === FREE) return;
      if (state[slot] === WAITING) waiting--;
      state[slot] = FREE;
      for (let i = 0; i < usedCount; i++) {
        if (used[i] !== slot) continue;
        used[i] = used[--usedCount];
        return;
      }
    },
    find: (from, at, to, localPort) => {
      for (let slot = localPort - ports.first; slot < SLOTS; slot += width) {
        if (
          state[slot] === UNDER_WAY &&
          port[slot] === to &&
          sameWords(words, slot * ADDRESS_WORDS, from, at)
        ) {
          return slot;
        }
      }
      return -1;
    },
    expired: (nowUs) => {
      for (let i = 0; i < usedCount; i++) if (untilUs[used[i]] <= nowUs) return used[i];
      return -1;
    },
    nextExpiry: () => {
      let next = Number.POSITIVE_INFINITY;
      for (let i = 0; i < usedCount; i++) next = Math.min(next, untilUs[used[i]]);
      return next;
    },
    kind,
    words,
    port,
    path,
    host,
    iss,
    sentUs,
    knownUs,
    isOpen,
    localPort: (slot) => ports.first + (slot % width),
    owns: (localPort) => localPort >= ports.first && localPort < ports.first + width,
  };
}

/** Pseudo-random integers from 0 to `below - 1` (Marsaglia's xorshift). Not for secrets. */
export function createDraw(seed: number): (below: number) => number {
  let state = seed | 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}
