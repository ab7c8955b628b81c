/**
 * The table for people: a line for each verdict as it falls, if it is to be shown (show.ts), and at the end the counts
 * of the others (not-shown.ts), the hosts that answer on every port (answers-all.ts), and the totals (totals.ts).
 *
 * Lines are sorted as nmap's: by address, then by port. In a file they all are, and come at the end. Elsewhere those of the first
 * second are held and sorted, so that a run that lasts no longer is one sorted table; the rest follows as it is found, and on
 * a terminal all of them once more at the end.
 *
 * Where lines stream, the columns have fixed widths, and a wider target widens its column from there on. The evidence comes last,
 * because its length varies most. Targets that could not be probed are only counted here; cli/ reports them on stderr.
 */
import pc from "picocolors";
import {
  type Ending,
  type Established,
  isFromHost,
  type PlaceVerdict,
  PORT_STATES,
  type PortResult,
  type PortState,
  pairKey,
} from "../../scan/probe/result.ts";
import { compareKeys, sortKey } from "../addresses.ts";
import { collectAnswersAll } from "../answers-all.ts";
import { displayLength, escapeText, escapeWord } from "../escape.ts";
import { chance, count } from "../figures.ts";
import { byPlace, isDifferent } from "../places.ts";
import type { Fill, Reporter, RunInfo, Sink } from "../reporter.ts";
import { type Doubtful, totalsLines } from "../totals.ts";
import { orderRows, type RowOrder, type Spill } from "./host-order.ts";
import { LONGEST_LINE } from "./ndjson-bytes.ts";
import { countNotShown, type NotShown } from "./not-shown.ts";
import { isShown, shownStates } from "./show.ts";
import { createTableLines } from "./table-bytes.ts";

export interface TableOptions {
  /** Use colours, for a terminal; otherwise plain text, for a pipe or a file. */
  readonly color: boolean;
  /** Also report ignored packets, late answers, how certain silence is, and what was learnt about the path. */
  readonly verbose: boolean;
  /** `--confidence`: silent ports that are less certain are reported. */
  readonly confidence?: number;
  /** The states to print. By default all in a small run, and open ports only in a larger one. */
  readonly show?: readonly PortState[];
  /**
   * `sorted`: all lines at the end, in order. `found`: after the first second as they are found; `again`: the same, and all of them
   * at the end unless they were in order. `found` by default.
   */
  readonly order?: "found" | "again" | "sorted";
  /** Where lines wait for the end of a large run, with `sorted`; without it, in memory. */
  readonly createSpill?: () => Spill;
  /** Takes lines as bytes. */
  readonly fill?: Fill | undefined;
  /** Columns of the terminal, to wrap the sentences at the end; without, each stays on one line. */
  readonly width?: number;
}

type Colors = ReturnType<typeof pc.createColors>;

/** At most this many results are held back in the first second, and printed again at the end. */
const MOST_HELD = 4096;

/** Lines in a step of writing them at the end. */
const STEP = 1000;

/** In runs of more pairs, uncertain ports are not counted one by one; the interval of missed ports covers them. */
const MOST_DOUBTED = 100_000;
/** In runs of at most this many pairs all results are asked for, to count the hosts that answered: 2 µs each. */
const MOST_ASKED_FOR = 10_000;

/** Other names of a target that a line shows; beyond it, how many there are. */
const MOST_ALIASES = 4;
/** Columns of a sentence about where SYNs stop. */
const LONGEST_PLACE = 1000;

const GAP = "  ";
const NONE = "-";
/** `255.255.255.255:65535` */
const DEFAULT_TARGET_WIDTH = 21;
const WIDEST_TARGET = 60;
const WIDTHS = { state: 8, service: 12, rtt: 10, ttl: 3, tries: 5 };

/**
 * The TARGET column: `192.0.2.10:22`, `[2001:db8::10]:22` or `name:22 (192.0.2.10)`, with nothing in it that a terminal would
 * obey.
 */
export function targetLabel({ host, ip, port }: Pick<PortResult, "host" | "ip" | "port">): string {
  const address = escapeWord(ip);
  const called = host === undefined ? address : escapeWord(host);
  // An address with its zone is a host's name, too.
  const target = called.includes(":") ? `[${called}]:${port}` : `${called}:${port}`;
  return host === undefined ? target : `${target} (${address})`;
}

/** A round trip in at most ten columns: `0.213 ms`, `187.452 ms`, `1203.51 ms`. */
function formatRtt(ms: number): string {
  return `${ms.toFixed(ms < 999.9995 ? 3 : 2)} ms`;
}

const ENDINGS: Readonly<Record<Ending, string>> = {
  fin: "",
  reset: ", reset by the peer",
  "no-fin": ", not closed by the peer",
  silent: ", then nothing (SYN proxy or tarpit?)",
};

function connection({ ms, ending, banner }: Established): string {
  const said = banner === undefined ? "" : ` "${banner}"`;
  return `established in ${formatRtt(ms)}${ENDINGS[ending]}${said}`;
}

/** @param isSure whether anything is known of the path, so that a doubt means something */
function silence({ tries, doubt }: PortResult, isSure: boolean): string {
  const sure = doubt === undefined || !isSure ? "" : `, doubt ${chance(doubt)}`;
  return `no-response to ${count(tries, "SYN")}${sure}`;
}

/** What is known of a run when a line is written. */
interface Known {
  readonly verbose: boolean;
  /** Some host has answered for itself. */
  readonly isAnswered: boolean;
  /** The line's host answers on every port. */
  readonly isTarpit: boolean;
}

/** What is not the same though all places agree: round trips, where there are any. */
const roundTrips = (from: readonly PlaceVerdict[]): string =>
  from.every(({ rttMs }) => rttMs === null)
    ? byPlace(from)
    : from
        .map(({ place, rttMs }) => (rttMs === null ? `from ${place}` : `${formatRtt(rttMs)} from ${place}`))
        .join(", ");

/** Other names of a target: all, or the first few and how many more. */
const someOf = (names: readonly string[]): string =>
  names.length <= MOST_ALIASES
    ? names.join(", ")
    : `${names.slice(0, MOST_ALIASES - 1).join(", ")} and ${count(names.length - MOST_ALIASES + 1, "more name")}`;

function evidence(result: PortResult, { verbose, isAnswered, isTarpit }: Known): string {
  const { reason, responder, late, was, established, doubtful, aliases, from } = result;
  const why = verbose && reason === "no-response" ? silence(result, isAnswered) : reason;
  let text = responder === undefined ? why : `${why} from ${responder}`;
  if (established !== undefined) text += `, ${connection(established)}`;
  if (late) text += ", late";
  if (was !== undefined) text += `, was ${was}`;
  if (doubtful !== undefined) text += ", doubtful: window 0 and no options";
  if (isTarpit) text += ", answers on every port";
  if (aliases !== undefined) text += `, also ${someOf(aliases)}`;
  if (from !== undefined) text += `, ${isDifferent(from) ? byPlace(from) : roundTrips(from)}`;
  return escapeText(text);
}

function firstTargetWidth(run: RunInfo): number {
  return Math.min(WIDEST_TARGET, Math.max("TARGET".length, run.targetWidth ?? DEFAULT_TARGET_WIDTH));
}

/** Wraps a sentence at `width` columns. A longer word has a line of its own. */
function wrap(text: string, width = Number.POSITIVE_INFINITY): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && displayLength(line) + 1 + displayLength(word) > width) {
      lines.push(line);
      line = `  ${word}`;
    } else {
      line = line === "" ? word : `${line} ${word}`;
    }
  }
  return [...lines, line];
}

function stateColor(colors: Colors, state: PortState): (text: string) => string {
  if (state === "open") return colors.green;
  return state === "closed" ? colors.dim : colors.yellow;
}

function headerLine(colors: Colors, targetWidth: number): string {
  const cells = [
    "TARGET".padEnd(targetWidth),
    "STATE".padEnd(WIDTHS.state),
    "SERVICE".padEnd(WIDTHS.service),
    "RTT".padStart(WIDTHS.rtt),
    "TTL".padStart(WIDTHS.ttl),
    "TRIES".padStart(WIDTHS.tries),
    "REASON",
  ];
  return `${colors.bold(cells.join(GAP))}\n`;
}

/** @param target its cell, as wide as the column */
function resultLine(colors: Colors, target: string, result: PortResult, known: Known): string {
  const { state, service, rttMs, ttl, tries, late, was, doubtful } = result;
  const paint = stateColor(colors, state);
  const rtt = (rttMs === null ? NONE : formatRtt(rttMs)).padStart(WIDTHS.rtt);
  const hops = String(ttl ?? NONE).padStart(WIDTHS.ttl);
  const numbers = colors.dim(rtt + GAP + hops + GAP + String(tries).padStart(WIDTHS.tries));
  const remarkable =
    isDifferent(result.from) ||
    late !== undefined ||
    was !== undefined ||
    doubtful !== undefined ||
    known.isTarpit;
  const why = remarkable ? colors.bold(evidence(result, known)) : evidence(result, known);
  const name = escapeWord(service ?? NONE).padEnd(WIDTHS.service);
  return `${target}${GAP}${paint(state.padEnd(WIDTHS.state))}${GAP}${name}${GAP}${numbers}${GAP}${why}\n`;
}

type Keyed = { readonly result: PortResult; readonly key: string };
const keyed = (result: PortResult): Keyed => ({ result, key: sortKey(result.ip) });
const compare = (a: Keyed, b: Keyed): number => compareKeys(a.key, b.key) || a.result.port - b.result.port;

/** By address and port. A correction stays behind the verdict that it corrects. */
const sorted = (results: readonly PortResult[]): Keyed[] => results.map(keyed).sort(compare);

/**
 * Counts the silent ports that are less certain than `confidence`. A late answer takes its port out again.
 * With a confidence of 1 every port got all its SYNs, and none can be certain enough.
 */
function collectDoubtful(confidence: number) {
  const doubts = new Map<string, number>();
  return {
    add(result: PortResult): void {
      const { reason, doubt = 0, was } = result;
      if (confidence >= 1) return;
      if (was !== undefined) doubts.delete(pairKey(result));
      if (reason === "no-response" && doubt > 1 - confidence) doubts.set(pairKey(result), doubt);
    },
    get found(): Doubtful {
      let most = 0;
      for (const doubt of doubts.values()) most = Math.max(most, doubt);
      return { ports: doubts.size, most, confidence };
    },
  };
}

/**
 * A reporter for the table. Writes the header, a line for each result to be printed, and at the end the totals. A correction of a
 * printed result is printed too; in a file it stands in place of that. Ports of a host that answers on all of them are only
 * counted.
 */
export function createTableReporter(sink: Sink, options: TableOptions): Reporter {
  const colors = pc.createColors(options.color);
  const { order: wanted = "found", verbose } = options;
  let run: RunInfo | undefined;
  let targetWidth = DEFAULT_TARGET_WIDTH;
  let shown: readonly PortState[] = PORT_STATES;
  let notShown: NotShown | undefined;
  const answersAll = collectAnswersAll();
  let doubtful: ReturnType<typeof collectDoubtful> | undefined;
  let isAnswered = false;
  let answered: Set<string> | undefined;
  /** Results of the first second, to be sorted. */
  let held: PortResult[] | undefined = [];
  /** All results, where they are written at the end. */
  let order: RowOrder | undefined;
  /** Those printed as they were found, to be printed again; undefined when there are too many. */
  let printed: PortResult[] | undefined = wanted === "again" ? [] : undefined;
  let last: Keyed | undefined;
  let inOrder = true;
  let headed = false;
  let isTarpitKnown = false;
  let lines: ReturnType<typeof createTableLines> | undefined;

  /** The states that are needed: for the lines, and to count what has none. */
  function statesOf(info: RunInfo): readonly PortState[] {
    const states = shownStates(info, options.show);
    const isCounted = info.pairs <= MOST_ASKED_FOR && (info.hosts ?? 0) > 1;
    return isCounted || countNotShown(info, states).needsAll ? PORT_STATES : states;
  }

  function head(): void {
    if (!headed && run?.note !== undefined) sink(`${colors.dim(run.note)}\n`);
    if (!headed) sink(headerLine(colors, targetWidth));
    headed = true;
  }

  /** @returns its cell, after the column has been made as wide as it needs */
  function widen(result: PortResult): string {
    const label = targetLabel(result);
    const length = displayLength(label);
    targetWidth = Math.min(WIDEST_TARGET, Math.max(targetWidth, length));
    return label + " ".repeat(Math.max(0, targetWidth - length));
  }

  function print(result: PortResult): void {
    const target = widen(result);
    head();
    const known = { verbose, isAnswered, isTarpit: answersAll.has(result.ip) };
    sink(resultLine(colors, target, result, known));
  }

  function printFound(result: PortResult): void {
    print(result);
    if (wanted !== "again") return;
    const each = keyed(result);
    inOrder &&= last === undefined || compare(last, each) < 0;
    last = each;
    if (printed !== undefined && printed.push(result) > MOST_HELD) printed = undefined;
  }

  function printHeld(): void {
    for (const { result } of sorted(held ?? [])) printFound(result);
    held = undefined;
  }

  /** All lines once more, in order: of each pair the last. */
  function printAgain(): void {
    if (inOrder || printed === undefined) return;
    const pairs = new Map(printed.map((result) => [pairKey(result), result]));
    sink("\n");
    headed = false;
    for (const { result } of sorted([...pairs.values()])) print(result);
  }

  function* writeSorted(): Generator<void, void> {
    let steps = 0;
    for (const row of order?.sorted() ?? []) {
      if (row !== undefined) print(row[0] as PortResult);
      if (row === undefined || ++steps % STEP === 0) yield;
    }
  }
  const writing = writeSorted();

  return {
    wants: statesOf,
    start(info) {
      run = info;
      shown = shownStates(info, options.show);
      notShown = countNotShown(info, shown);
      targetWidth = firstTargetWidth(info);
      if (options.fill !== undefined && !options.color && info.serviceOf !== undefined)
        lines = createTableLines(info.serviceOf);
      if (info.pairs <= MOST_DOUBTED) {
        if (options.confidence !== undefined) doubtful = collectDoubtful(options.confidence);
        if (statesOf(info) === PORT_STATES) answered = new Set();
      }
      if (wanted === "sorted") order = orderRows(info.pairs, options.createSpill);
    },
    result(result) {
      notShown?.add(result);
      doubtful?.add(result);
      const { ip, port, state } = result;
      if (state !== "filtered") isAnswered = true;
      if (isFromHost(result)) answered?.add(ip);
      if (!isShown(result, shown)) return;
      isTarpitKnown ||= result.answersAll === true;
      if (result.answersAll) answersAll.add(result);
      else if (order !== undefined) {
        widen(result);
        order.add(ip, port, [result]);
      } else if (held === undefined) printFound(result);
      else if (held.push(result) > MOST_HELD) printHeld();
    },
    // What is counted nowhere, and is not printed, or as it is found.
    takes: (packed) => {
      if (notShown?.needsAll === true || doubtful !== undefined || answered !== undefined) return false;
      if (!shown.includes(packed.state)) return packed.was === null;
      const isStreaming = held === undefined && wanted === "found" && targetWidth >= DEFAULT_TARGET_WIDTH;
      return isStreaming && !isTarpitKnown && lines?.takes(packed) === true;
    },
    packed(packed) {
      if (packed.state !== "filtered") isAnswered = true;
      if (lines === undefined || !shown.includes(packed.state)) return;
      head();
      const { put } = lines;
      options.fill?.(LONGEST_LINE, (bytes, at) => put(bytes, at, packed, targetWidth));
    },
    fault() {},
    tick: printHeld,
    *rest() {
      yield* writing;
    },
    finish(summary) {
      for (const _ of writing);
      printHeld();
      printAgain();
      head();
      const paint = { "not-shown": String, note: colors.dim, warning: colors.yellow, total: String };
      const lines = totalsLines(summary, {
        verbose,
        notShown: [...answersAll.sentences(), ...(notShown?.sentences(summary) ?? [])],
        isShard: run?.isShard === true,
        doubtful: doubtful?.found,
        answered: answered?.size,
      }).flatMap(({ kind, text }) => wrap(text, options.width).map((line) => paint[kind](line)));
      const where = (summary.where ?? []).flatMap(({ ip, text }) =>
        wrap(escapeText(`${ip}: ${text}`, LONGEST_PLACE), options.width),
      );
      sink(`\n${[...lines, ...where].join("\n")}\n`);
    },
  };
}
