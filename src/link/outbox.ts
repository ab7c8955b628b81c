/**
 * An outbox: batches of frames that one thread fills and another gives to the kernel. Sending is most of
 * a probe's cost, so with a spare processor the first thread can meanwhile read answers and fill more.
 *
 * The memory has three thirds: two are handed over in turn, the last is for what the filling thread sends itself when idle.
 * Two counters, `given` and `done`: batch n is in third n mod 2, and each side waits only for the other's counter.
 *
 * The thread that sends is runtime/run/sender.ts. Not here: the frames' contents, and what happens to refused ones.
 */
import type { Behind } from "./link.ts";
import { libc, monotonicUs } from "./sys/libc.ts";
import { MSG_DONTWAIT } from "./sys/linux.ts";

/** What both threads share. */
export interface OutboxMemory {
  /** The frames, laid out by sys/packet-socket.ts. */
  readonly frames: SharedArrayBuffer;
  readonly words: SharedArrayBuffer;
  /** Of each batch: its messages, and when its sending began and ended by the monotonic clock. */
  readonly facts: SharedArrayBuffer;
}

export const THIRDS = 3;
/** The third that is never handed over. */
export const OWN_THIRD = 2;
const TURNS = 2;
/** Words: of the outbox, then of each third that is given. */
const GIVEN = 0;
const DONE = 1;
const SERVED = 2;
const THIRD = { at: 4, size: 2, count: 0, sent: 1 } as const;
/** In place of a number of frames sent: not sent yet. */
const WAITING = -2;
const UNDER_WAY = -1;
/** Numbers of each third. */
const FACT = { size: 3, address: 0, fromUs: 1, toUs: 2 } as const;
/** In place of a number of batches given: there will be no more. */
const CLOSED = -1;
/** How long `close` waits for a thread that should be done, in milliseconds. */
const LONGEST_SEND_MS = 1000;

const wordOf = (batch: number, word: number): number => THIRD.at + (batch % TURNS) * THIRD.size + word;
const factOf = (batch: number, fact: number): number => (batch % TURNS) * FACT.size + fact;

export const createOutboxMemory = (length: number): OutboxMemory => ({
  frames: new SharedArrayBuffer(length),
  words: new SharedArrayBuffer(4 * (THIRD.at + TURNS * THIRD.size)),
  facts: new SharedArrayBuffer(8 * TURNS * FACT.size),
});

/** Sends batches through a bound socket until the outbox is closed; blocks this thread. */
export function serveOutbox(memory: OutboxMemory, fd: number): void {
  const words = new Int32Array(memory.words);
  const facts = new Float64Array(memory.facts);
  Atomics.store(words, SERVED, 1);
  for (let batch = 0; ; batch++) {
    while (Atomics.load(words, GIVEN) === batch) Atomics.wait(words, GIVEN, batch);
    if (Atomics.load(words, GIVEN) === CLOSED) return;
    const messages = BigInt(facts[factOf(batch, FACT.address)]);
    facts[factOf(batch, FACT.fromUs)] = monotonicUs();
    Atomics.store(words, wordOf(batch, THIRD.sent), UNDER_WAY);
    const sent = libc.sendmmsg(fd, messages, words[wordOf(batch, THIRD.count)], MSG_DONTWAIT);
    facts[factOf(batch, FACT.toUs)] = monotonicUs();
    words[wordOf(batch, THIRD.sent)] = Math.max(0, sent);
    Atomics.store(words, DONE, batch + 1);
    Atomics.notify(words, DONE);
  }
}

/** The side that fills. */
export interface Outbox extends Omit<Behind, "give"> {
  /** Hands over `count` messages of `third()`, the first at `messages`. */
  give(messages: bigint, count: number): void;
  /** Waits until everything is sent, and releases the thread. */
  close(): void;
}

export function openOutbox(memory: OutboxMemory): Outbox {
  const words = new Int32Array(memory.words);
  const facts = new Float64Array(memory.facts);
  let given = 0;
  let taken = 0;
  /** Batches whose start of sending has been reported. */
  let begun = 0;
  /** Recent time per frame in the kernel. */
  let usualUs = 0;
  /** Reused from call to call. */
  const told = { third: 0, count: 0, sent: 0, isFirst: true, isOver: false, sinceUs: 0, untilUs: 0 };
  return {
    isFree: () => given - taken < TURNS && Atomics.load(words, SERVED) === 1,
    third: () => given % TURNS,
    isBusy: () => given > taken,
    give: (messages, count) => {
      facts[factOf(given, FACT.address)] = Number(messages);
      words[wordOf(given, THIRD.count)] = count;
      words[wordOf(given, THIRD.sent)] = WAITING;
      given++;
      Atomics.store(words, GIVEN, given);
      Atomics.notify(words, GIVEN);
    },
    take: () => {
      if (given === taken) return undefined;
      const isOver = Atomics.load(words, DONE) > taken;
      if (!isOver && (begun > taken || Atomics.load(words, wordOf(taken, THIRD.sent)) !== UNDER_WAY)) {
        return undefined;
      }
      const nowUs = monotonicUs();
      const count = words[wordOf(taken, THIRD.count)];
      const fromUs = facts[factOf(taken, FACT.fromUs)];
      told.third = taken % TURNS;
      told.count = count;
      told.isOver = isOver;
      told.isFirst = begun <= taken;
      told.sinceUs = nowUs - fromUs;
      begun = taken + 1;
      if (isOver) {
        const toUs = facts[factOf(taken, FACT.toUs)];
        told.sent = words[wordOf(taken, THIRD.sent)];
        told.untilUs = nowUs - toUs;
        usualUs = (toUs - fromUs) / count;
        taken++;
      } else {
        told.sent = count;
        told.untilUs = told.sinceUs - usualUs * count;
      }
      return told;
    },
    wait: (timeoutUs) => {
      if (given > taken) Atomics.wait(words, DONE, taken, timeoutUs / 1000);
    },
    close: () => {
      for (let done = Atomics.load(words, DONE); done < given; done++) {
        if (Atomics.wait(words, DONE, done, LONGEST_SEND_MS) === "timed-out") break;
      }
      closeOutbox(memory);
    },
  };
}

/** Releases the sending thread once it has finished its current batch. */
export function closeOutbox(memory: OutboxMemory): void {
  const words = new Int32Array(memory.words);
  Atomics.store(words, GIVEN, CLOSED);
  Atomics.notify(words, GIVEN);
}
