/**
 * The table for people: a line for each verdict as it falls, if it is to be shown (show.ts), and at the end the counts
 * of the others (not-shown.ts), the hosts that answer on every port (answers-all.ts), and the totals (totals.ts).
 *
 * In a run of at most LARGEST_SORTED pairs, the lines of the first second are held and sorted as nmap does: by address, then by
 * port. So a run that lasts no longer is one sorted table; in others the rest follows as it is found.
 *
 * Lines stream and hosts interleave, so the columns have fixed widths. A wider target widens its column from there on. The
 * evidence comes last, because its length varies most. Targets that could not be probed are only counted here; cli/ reports
 * them on stderr.
 */
import pc from "picocolors";
import {
  type Ending,
  type Established,
  PORT_STATES,
  type PortResult,
  type PortState,
} from "../../scan/probe/result.ts";
import { compareKeys, sortKey } from "../addresses.ts";
import { collectAnswersAll } from "../answers-all.ts";
import { displayLength, escapeText, escapeWord } from "../escape.ts";
import { chance, count } from "../figures.ts";
import type { Reporter, RunInfo, Sink } from "../reporter.ts";
import { type Doubtful, totalsLines } from "../totals.ts";
import { countNotShown, type NotShown } from "./not-shown.ts";
import { shownStates } from "./show.ts";

export interface TableOptions {
  /** Use colours, for a terminal; otherwise plain text, for a pipe or a file. */
  readonly color: boolean;
  /** Also report ignored packets, late answers, how certain silence is, and what was learnt about the path. */
  readonly verbose: boolean;
  /** `--confidence`: silent ports that are less certain are reported. */
  readonly confidence?: number;
  /** The states to print. By default all in a small run, and open ports only in a larger one. */
  readonly show?: readonly PortState[];
  /** Columns of the terminal, to wrap the sentences at the end; without, each stays on one line. */
  readonly width?: number;
}

type Colors = ReturnType<typeof pc.createColors>;

/** Runs of at most this many pairs hold back the results of their first second, to sort them. */
const LARGEST_SORTED = 4096;

/** In runs of more pairs, uncertain ports are not counted one by one; the interval of missed ports covers them. */
const MOST_DOUBTED = 100_000;

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
  if (host !== undefined) return `${escapeWord(host)}:${port} (${address})`;
  return ip.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
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

function silence({ tries, doubt }: PortResult): string {
  const sure = doubt === undefined ? "" : `, doubt ${chance(doubt)}`;
  return `no-response to ${count(tries, "SYN")}${sure}`;
}

function evidence(result: PortResult, verbose: boolean): string {
  const { reason, responder, late, was, established } = result;
  const why = verbose && reason === "no-response" ? silence(result) : reason;
  const parts = [responder === undefined ? why : `${why} from ${responder}`];
  if (established !== undefined) parts.push(connection(established));
  if (late) parts.push("late");
  if (was !== undefined) parts.push(`was ${was}`);
  return escapeText(parts.join(", "));
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
  return state === "closed" ? colors.red : colors.yellow;
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

function resultLine(
  colors: Colors,
  label: string,
  targetWidth: number,
  result: PortResult,
  verbose: boolean,
): string {
  const { state, service, rttMs, ttl, tries, late, was } = result;
  const paint = stateColor(colors, state);
  const numbers = [
    (rttMs === null ? NONE : formatRtt(rttMs)).padStart(WIDTHS.rtt),
    String(ttl ?? NONE).padStart(WIDTHS.ttl),
    String(tries).padStart(WIDTHS.tries),
  ];
  const remarkable = late !== undefined || was !== undefined;
  const cells = [
    label + " ".repeat(Math.max(0, targetWidth - displayLength(label))),
    paint(state.padEnd(WIDTHS.state)),
    escapeWord(service ?? NONE).padEnd(WIDTHS.service),
    colors.dim(numbers.join(GAP)),
    remarkable ? colors.bold(evidence(result, verbose)) : evidence(result, verbose),
  ];
  return `${cells.join(GAP)}\n`;
}

/** By address and port. A correction stays behind the verdict that it corrects. */
function sorted(results: readonly PortResult[]): PortResult[] {
  return results
    .map((result) => ({ result, key: sortKey(result.ip) }))
    .sort((a, b) => compareKeys(a.key, b.key) || a.result.port - b.result.port)
    .map(({ result }) => result);
}

/**
 * Counts the silent ports that are less certain than `confidence`. A late answer takes its port out again.
 * With a confidence of 1 every port got all its SYNs, and none can be certain enough.
 */
function collectDoubtful(confidence: number) {
  const doubts = new Map<string, number>();
  return {
    add({ ip, port, reason, doubt = 0, was }: PortResult): void {
      if (confidence >= 1) return;
      if (was !== undefined) doubts.delete(`${ip} ${port}`);
      if (reason === "no-response" && doubt > 1 - confidence) doubts.set(`${ip} ${port}`, doubt);
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
 * printed result is printed too. Ports of a host that answers on all of them are only counted.
 */
export function createTableReporter(sink: Sink, options: TableOptions): Reporter {
  const colors = pc.createColors(options.color);
  let targetWidth = DEFAULT_TARGET_WIDTH;
  let shown: readonly PortState[] = PORT_STATES;
  let notShown: NotShown | undefined;
  let isShard = false;
  const answersAll = collectAnswersAll();
  let doubtful: ReturnType<typeof collectDoubtful> | undefined;
  /** Results of the first second, to be sorted. */
  let held: PortResult[] | undefined;

  function print(result: PortResult): void {
    const label = targetLabel(result);
    targetWidth = Math.min(WIDEST_TARGET, Math.max(targetWidth, displayLength(label)));
    sink(resultLine(colors, label, targetWidth, result, options.verbose));
  }

  function printHeld(): void {
    for (const result of sorted(held ?? [])) print(result);
    held = undefined;
  }

  return {
    wants(run) {
      const states = shownStates(run, options.show);
      return countNotShown(run, states).needsAll ? PORT_STATES : states;
    },
    start(run) {
      shown = shownStates(run, options.show);
      notShown = countNotShown(run, shown);
      targetWidth = firstTargetWidth(run);
      isShard = run.isShard === true;
      if (options.confidence !== undefined && run.pairs <= MOST_DOUBTED)
        doubtful = collectDoubtful(options.confidence);
      if (run.pairs <= LARGEST_SORTED) held = [];
      sink(headerLine(colors, targetWidth));
    },
    result(result) {
      notShown?.add(result);
      doubtful?.add(result);
      const { state, was } = result;
      if (!shown.includes(state) && (was === undefined || !shown.includes(was))) return;
      if (result.answersAll) answersAll.add(result);
      else if (held !== undefined) held.push(result);
      else print(result);
    },
    fault() {},
    progress: printHeld,
    finish(summary) {
      printHeld();
      const paint = { "not-shown": String, note: colors.dim, warning: colors.yellow, total: String };
      const unseen = [...answersAll.sentences(), ...(notShown?.sentences(summary) ?? [])];
      const lines = totalsLines(summary, options.verbose, unseen, isShard, doubtful?.found).flatMap(
        ({ kind, text }) => wrap(text, options.width).map((line) => paint[kind](line)),
      );
      const where = (summary.where ?? []).flatMap(({ ip, text }) =>
        wrap(escapeText(`${ip}: ${text}`, LONGEST_PLACE), options.width),
      );
      sink(`\n${[...lines, ...where].join("\n")}\n`);
    },
  };
}
