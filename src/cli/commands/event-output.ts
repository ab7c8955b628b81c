/**
 * A watch's standard output: its events, one JSON object a line. They are read from the store as the reader takes them, so that one
 * that stalls holds up no scan and takes no memory, and misses nothing when it goes on.
 *
 * Not here: what an event is, and the outbox of programs and web hooks (runtime/watch).
 */
import { setTimeout } from "node:timers/promises";
import { jsonLine } from "../../report/formats/ndjson.ts";
import type { Store } from "../../runtime/store/database.ts";
import { readEvents, type ToldEvent } from "../../runtime/watch/events.ts";
import type { Writer } from "../run/writer.ts";

/** From so many characters on that the reader has not taken, what follows waits in the store. */
const MOST_HELD = 1 << 18;
/** Events read from the store at a time. */
const PAGE = 256;
/** How long the reader has when the watch ends, in milliseconds. */
const LAST_MS = 1000;

export interface EventOutput {
  /** Tells the events of a round, which are in the store. @throws {SynprobeError} `ERR_STORE`, as isTaken does */
  tell(events: readonly ToldEvent[]): void;
  /** Whether the reader has taken all there is, or is gone. */
  isTaken(): boolean;
  /**
   * Nothing is written after it. Waits for a second, at most.
   * @returns the first event that may not have reached the reader, by its number; undefined if all have
   */
  end(): Promise<number | undefined>;
}

/**
 * @param shown makes text fit for what standard output is
 * @param onStall is called once in a stall that has lasted for a round, with the number of the first event that waits
 */
export function createEventOutput(
  store: Store,
  output: Writer,
  shown: (text: string) => string,
  onStall: (first: number) => void,
): EventOutput {
  /** Events that are not written yet: a round's numbers have no gaps. */
  let waiting: { first: number; readonly last: number }[] = [];
  /** Those that are written, and may not have been taken. `end` counts all characters to the last of its page. */
  let pages: { readonly first: number; readonly end: number }[] = [];
  let written = 0;
  let isDraining = false;
  let isStalled = false;
  /** What has kept events from being read. */
  let failure: unknown;

  function write(): void {
    while (waiting.length > 0 && output.held() < MOST_HELD) {
      const [range] = waiting;
      const text = readEvents(store, range.first, Math.min(range.last, range.first + PAGE - 1))
        .map((event) => shown(jsonLine(event)))
        .join("");
      written += text.length;
      pages.push({ first: range.first, end: written });
      output.write(text);
      range.first += PAGE;
      if (range.first > range.last) waiting.shift();
    }
    forgetTaken();
    if (waiting.length === 0) isStalled = false;
    else if (!isDraining) void writeOn();
  }
  /** Once the reader has taken what was written. */
  async function writeOn(): Promise<void> {
    isDraining = true;
    await output.drained();
    isDraining = false;
    try {
      write();
    } catch (error) {
      failure = error;
    }
  }
  function forgetTaken(): void {
    const taken = written - output.held();
    pages = pages.filter(({ end }) => end > taken);
  }
  const isTaken = (): boolean => waiting.length === 0 && output.held() === 0;
  return {
    tell(events) {
      if (waiting.length > 0 && !isStalled) {
        isStalled = true;
        onStall(waiting[0].first);
      }
      // What could not be read then may be now: a watch outlives a store that is busy.
      failure = undefined;
      if (events.length > 0) waiting.push({ first: events[0].id, last: events[events.length - 1].id });
      write();
    },
    isTaken() {
      if (failure !== undefined) throw failure;
      return isTaken();
    },
    async end() {
      for (const until = Date.now() + LAST_MS; !isTaken() && Date.now() < until; ) await setTimeout(5);
      forgetTaken();
      const first = pages[0]?.first ?? waiting[0]?.first;
      waiting = [];
      output.abandon();
      return first;
    },
  };
}
