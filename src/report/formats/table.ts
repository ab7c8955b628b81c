/**
 * The table for people: a line for each verdict as it falls, if it is to be shown (show.ts), and at the end the counts
 * of the others (not-shown.ts), the hosts that answer on every port (answers-all.ts), and the totals (totals.ts).
 *
 * In a run of at most LARGEST_SORTED pairs the lines of its first second come together, in nmap's order: by address, then by
 * port. A run that lasts no longer is one sorted table, of others the rest follows as it is found.
 *
 * Lines stream and hosts interleave, so the columns have fixed widths; only a target wider than its column widens it,
 * for itself and the lines after. The evidence comes last, because its length varies most. Which targets could not be
 * probed is told by cli/ on stderr; here they are only counted.
 */
import pc from "picocolors";
import {
  type Ending,
  type Established,
  PORT_STATES,
  type PortResult,
  type PortState,
} from "../../scan/probe/result.ts";
import { addressKey, compareAddresses } from "../addresses.ts";
import { collectAnswersAll } from "../answers-all.ts";
import { displayLength, escapeText, escapeWord } from "../escape.ts";
import { chance, count } from "../figures.ts";
import type { Reporter, RunInfo, Sink } from "../reporter.ts";
import { type Doubtful, totalsLines } from "../totals.ts";
import { countNotShown, type NotShown } from "./not-shown.ts";
import { shownStates } from "./show.ts";

export interface TableOptions {
  /** Colours, for a terminal; without, plain text for a pipe or a file. */
  readonly color: boolean;
  /** Also tell what was received and not counted, how many answers were late, how sure silence is, and what the path was like. */
  readonly verbose: boolean;
  /** The chance with which a silent port was to be silent (`--confidence`), to tell of those that are less sure. */
  readonly confidence?: number;
  /** Print these; without, everything in a small run and the open ports of a larger one. */
  readonly show?: readonly PortState[];
  /** Columns of the terminal, to break the sentences at the end between words; without, each stays on one line. */
  readonly width?: number;
}

type Colors = ReturnType<typeof pc.createColors>;

/** Results of runs of so many pairs are held back for a second to be sorted. */
const LARGEST_SORTED = 4096;

/** In runs of more pairs it is not told how many of them stay in doubt; the interval of what was missed says it for them. */
const MOST_DOUBTED = 100_000;

const GAP = "  ";
const NONE = "-";
/** `255.255.255.255:65535` */
const DEFAULT_TARGET_WIDTH = 21;
const WIDEST_TARGET = 60;
const WIDTHS = { state: 8, service: 12, rtt: 10, ttl: 3, tries: 5 };

/**
 * What the TARGET column shows for a port: `192.0.2.10:22`, `[2001:db8::10]:22` or `name:22 (192.0.2.10)`, without
 * anything that a terminal would obey.
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

/** Breaks a sentence between words, so that no line but one of a single long word is wider than `width` columns. */
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

/** By address and port; a correction stays behind what it corrects. */
function sorted(results: readonly PortResult[]): PortResult[] {
  return results
    .map((result) => ({ result, key: addressKey(result.ip) }))
    .sort((a, b) => compareAddresses(a.key, b.key) || a.result.port - b.result.port)
    .map(({ result }) => result);
}

/**
 * Counts the silent ports that are less sure than `confidence`. A late answer takes its port out again.
 * With a confidence of 1 every port got all its SYNs, and none can be sure enough.
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
 * A reporter for the table. Writes the header at the start, one line for each result to be shown, and the totals at the
 * end. A result that corrects one which was shown is shown too. Ports of a host that answers on all of them are counted.
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
      sink(`\n${lines.join("\n")}\n`);
    },
  };
}
