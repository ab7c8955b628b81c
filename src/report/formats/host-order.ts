/**
 * Any number of results, put in order of address and port in bounded memory: an external merge sort.
 *
 * A result becomes a line that begins with its sort key. In a run of at most MOST_HELD pairs the lines are held. In a larger one
 * they go to a spill as they come. At the end they are read back, sorted in runs of RUN, each of which is written where its lines
 * were, and merged. What a spill does not take, because the disk is full, is held. What lies under a spill, a temporary file, is the
 * caller's business (cli/run/spill.ts).
 */
import { PORT_STATES, type PortResult, type Reason } from "../../scan/probe/result.ts";
import { sortKey } from "../addresses.ts";
import { byPlace, isDifferent } from "../places.ts";

/** Bytes that are kept elsewhere. Never throws: its owner watches for errors, and ends the run. */
export interface Spill {
  /**
   * Writes at byte `at`, at the end or over what is there.
   * @returns false when not all was written: then nothing of it counts, and what was there is lost
   */
  write(bytes: Uint8Array, at: number): boolean;
  /**
   * Reads from byte `at` on.
   * @returns the bytes read; fewer than `into` has room for only at the end
   */
  read(into: Uint8Array, at: number): number;
}

/** What nmap's formats say of a port. */
export interface OrderedResult
  extends Pick<
    PortResult,
    | "ip"
    | "port"
    | "state"
    | "reason"
    | "ttl"
    | "timeMs"
    | "host"
    | "aliases"
    | "responder"
    | "service"
    | "answersAll"
  > {
  readonly banner?: string;
  /** What it is from each place, where that is not the same. */
  readonly places?: string;
}

/** Runs of at most this many pairs hold their results: all ports of one host fit. Each takes about 150 bytes. */
export const MOST_HELD = 100_000;
/** Results that are sorted at once, which takes 0.1 s or so: signals are heard in between. */
const RUN = 20_000;
/** Characters that are spilled at once. */
const PIECE = 1 << 16;
/** Bytes that are read ahead, in all runs together; and in one run, the least and the most. */
const READ_AHEAD = 1 << 24;
const LEAST_READ = 1 << 12;
const MOST_READ = 1 << 16;

const NEWLINE = 0x0a;
/** Digits of a line's place in the order of arrival, in base 36. */
const ARRIVAL_DIGITS = 8;

/** Fields of one result, as JSON has them. */
type Row = readonly unknown[];

export interface RowOrder {
  add(ip: string, port: number, row: Row): void;
  /**
   * Every row by address, IPv4 first, then by port; of each pair the last that came. Undefined where a step of the sorting is
   * done, so that whoever asks can do something else before the next.
   */
  sorted(): Generator<Row | undefined, void>;
}

export interface HostOrder {
  add(result: PortResult): void;
  /**
   * Every result by address, IPv4 first, then by port; of each pair the last that came. Undefined where a step of the sorting
   * is done, so that whoever asks can do something else before the next.
   */
  sorted(): Generator<OrderedResult | undefined, void>;
}

/** Puts results in order, with what nmap's formats say of them. */
export function orderByHost(pairs: number, createSpill?: () => Spill): HostOrder {
  const order = orderRows(pairs, createSpill);
  return {
    add: (result) => order.add(result.ip, result.port, toRow(result)),
    *sorted() {
      for (const row of order.sorted()) yield row === undefined ? undefined : fromRow(row as Fields);
    },
  };
}

/** @param createSpill makes the spill of a large run; without it, all is held */
export function orderRows(pairs: number, createSpill?: () => Spill): RowOrder {
  const spill = pairs > MOST_HELD ? createSpill?.() : undefined;
  const lines = spill === undefined ? holdLines() : spillLines(spill);
  let arrived = 0;
  return {
    add: (ip, port, row) => lines.add(toLine(ip, port, arrived++, row)),
    *sorted() {
      let last = "";
      for (const line of lines.sorted()) {
        if (line === undefined) yield undefined;
        else {
          if (last !== "" && pairOf(last) !== pairOf(line)) yield rowOf(last);
          last = line;
        }
      }
      if (last !== "") yield rowOf(last);
    },
  };
}

interface Lines {
  add(line: string): void;
  sorted(): Iterable<string | undefined>;
}

function holdLines(): Lines {
  const held: string[] = [];
  return { add: (line) => void held.push(line), sorted: () => held.sort() };
}

/** A part of the spill, from byte `start` to before `end`. */
interface Stretch {
  readonly start: number;
  readonly end: number;
}

function spillLines(spill: Spill): Lines {
  let waiting: string[] = [];
  let length = 0;
  let end = 0;
  /** What there is no room for. */
  const held: string[] = [];
  let isFull = false;

  function add(line: string): void {
    if (isFull) held.push(line);
    else waiting.push(line);
    length += line.length;
    if (!isFull && length >= PIECE) flush();
  }

  function flush(): void {
    const bytes = toBytes(waiting);
    if (spill.write(bytes, end)) end += bytes.length;
    else {
      isFull = true;
      for (const line of waiting) held.push(line);
    }
    waiting = [];
    length = 0;
  }

  function* sorted(): Generator<string | undefined, void> {
    flush();
    const runs: (Stretch | readonly string[])[] = [held.sort()];
    let start = 0;
    let run: string[] = [];
    const endRun = (): void => {
      const bytes = toBytes(run.sort());
      // It takes as much room as its lines did.
      runs.push(spill.write(bytes, start) ? { start, end: start + bytes.length } : run);
      start += bytes.length;
      run = [];
    };
    for (const line of readLines(spill, { start: 0, end }, MOST_READ)) {
      run.push(line);
      if (run.length < RUN) continue;
      endRun();
      yield undefined;
    }
    if (run.length > 0) endRun();
    const ahead = Math.max(LEAST_READ, Math.min(MOST_READ, Math.floor(READ_AHEAD / runs.length)));
    yield* mergeRuns(runs.map((each) => ("start" in each ? readLines(spill, each, ahead) : each)));
  }

  return { add, sorted };
}

const toBytes = (lines: readonly string[]): Buffer =>
  Buffer.from(lines.length === 0 ? "" : `${lines.join("\n")}\n`);

/** @param ahead bytes that are read at once, more only where a line is longer */
function* readLines(spill: Spill, { start, end }: Stretch, ahead: number): Generator<string, void> {
  let buffer = Buffer.alloc(ahead);
  for (let at = start; at < end; ) {
    const piece = buffer.subarray(0, Math.min(buffer.length, end - at));
    // The spill is broken, and the run ends because of it.
    if (spill.read(piece, at) < piece.length) return;
    const whole = piece.lastIndexOf(NEWLINE);
    if (whole < 0) {
      buffer = Buffer.alloc(2 * buffer.length);
      continue;
    }
    yield* piece.toString("utf8", 0, whole).split("\n");
    at += whole + 1;
  }
}

/** Merges two by two: each line is compared once a level. */
function mergeRuns(runs: readonly Iterable<string>[]): Iterable<string> {
  if (runs.length <= 1) return runs[0] ?? [];
  const middle = runs.length >> 1;
  return mergeTwo(mergeRuns(runs.slice(0, middle)), mergeRuns(runs.slice(middle)));
}

function* mergeTwo(first: Iterable<string>, second: Iterable<string>): Generator<string, void> {
  const a = first[Symbol.iterator]();
  const b = second[Symbol.iterator]();
  let ofA = a.next();
  let ofB = b.next();
  while (ofA.done !== true && ofB.done !== true) {
    if (ofA.value < ofB.value) {
      yield ofA.value;
      ofA = a.next();
    } else {
      yield ofB.value;
      ofB = b.next();
    }
  }
  for (; ofA.done !== true; ofA = a.next()) yield ofA.value;
  for (; ofB.done !== true; ofB = b.next()) yield ofB.value;
}

/** Address, port, order of arrival, each in digits of one length; then the row as a JSON array, whose strings have no line ends. */
function toLine(ip: string, port: number, arrived: number, row: Row): string {
  const place = port.toString(16).padStart(4, "0") + arrived.toString(36).padStart(ARRIVAL_DIGITS, "0");
  return sortKey(ip) + place + JSON.stringify(row);
}

const pairOf = (line: string): string => line.slice(0, line.indexOf("[") - ARRIVAL_DIGITS);
const rowOf = (line: string): Row => JSON.parse(line.slice(line.indexOf("[")));

function toRow(result: PortResult): Row {
  const fields = [
    result.ip,
    result.port,
    PORT_STATES.indexOf(result.state),
    result.reason,
    result.ttl,
    result.timeMs,
    result.host,
    result.responder,
    result.service,
    result.answersAll,
    result.established?.banner,
    isDifferent(result.from) ? byPlace(result.from ?? []) : undefined,
    result.aliases,
  ];
  while (fields.at(-1) === undefined) fields.pop();
  return fields;
}

/** A field that a line may leave out; JSON has null for one in between. */
type Left<T> = T | null | undefined;
type Fields = [
  ip: string,
  port: number,
  state: number,
  reason: Reason,
  ttl: number | null,
  timeMs: number,
  host?: Left<string>,
  responder?: Left<string>,
  service?: Left<string>,
  answersAll?: Left<true>,
  banner?: Left<string>,
  places?: Left<string>,
  aliases?: Left<readonly string[]>,
];

function fromRow(row: Fields): OrderedResult {
  const [
    ip,
    port,
    state,
    reason,
    ttl,
    timeMs,
    host,
    responder,
    service,
    answersAll,
    banner,
    places,
    aliases,
  ] = row;
  return {
    ip,
    port,
    state: PORT_STATES[state],
    reason,
    ttl,
    timeMs,
    ...(host == null ? {} : { host }),
    ...(responder == null ? {} : { responder }),
    ...(service == null ? {} : { service }),
    ...(answersAll == null ? {} : { answersAll }),
    ...(banner == null ? {} : { banner }),
    ...(places == null ? {} : { places }),
    ...(aliases == null ? {} : { aliases }),
  };
}
