/**
 * `synprobe history`: what a store knows, as text, NDJSON or CSV, and files of results put into one. What a store is:
 * runtime/store.
 */
import { stringify } from "csv-stringify/sync";
import { createColors } from "picocolors";
import { ERROR_CODES, isSynprobeError } from "../../errors.ts";
import { escapeText, escapeWord, pad } from "../../report/escape.ts";
import { count, digits, doubtInWords, utc } from "../../report/figures.ts";
import { jsonLine } from "../../report/formats/ndjson.ts";
import type { Change, Interval } from "../../report/read/recorded.ts";
import { readRun } from "../../runtime/results/result-files.ts";
import { SKEW_MS } from "../../runtime/store/ahead.ts";
import { changes } from "../../runtime/store/changes.ts";
import { openStore, type Store } from "../../runtime/store/database.ts";
import { runs, type Span, type StoredRun, statesAt, timeline } from "../../runtime/store/query.ts";
import { createRecorder } from "../../runtime/store/record.ts";
import { parseTime, TIME_FORMS } from "../../runtime/store/time.ts";
import { readServices } from "../../runtime/system/system.ts";
import { parseTarget } from "../../scan/targets/grammar.ts";
import { didYouMean } from "../../suggest.ts";
import { formatAddress } from "../../wire/address.ts";
import { EXIT, type ExitStatus } from "../exit.ts";
import { type ProbeOptions, usage } from "../options/table.ts";
import { type Messages, printExactly, printResult } from "../run/terminal.ts";
import { createChangeLines, LONGEST_CHANGE } from "./change-lines.ts";
import { noteEnding } from "./diff.ts";

/** Parsed options, by commander's names. */
export interface HistoryOptions extends Pick<ProbeOptions, "store" | "config" | "drop"> {
  readonly since?: string;
  readonly until?: string;
  readonly reasons?: boolean;
  readonly json?: boolean;
  readonly csv?: boolean;
}

type Cell = string | number | undefined;

/** A question's answer, row by row, as data. */
interface Rows<Each> {
  readonly rows: Iterable<Each>;
  /** By the names that NDJSON and CSV have. */
  readonly fields: (row: Each) => Readonly<Record<string, Cell>>;
}

/** And as a line of text. */
interface Answer<Each> extends Rows<Each> {
  /** For people: a title, and the last words when there is no row. */
  readonly head: string;
  readonly line: (row: Each) => string;
  readonly none: string;
}

/** Characters or bytes per write. */
const PIECE = 1 << 16;

/**
 * @param words `runs`, `changes`, `at TIME`, `import FILE…`, or a host with or without a port
 * @throws {SynprobeError} `ERR_STORE`, `ERR_USAGE`, `ERR_RESULTS`
 */
export async function history(
  words: readonly string[],
  options: HistoryOptions,
  messages: Messages,
): Promise<ExitStatus> {
  const [verb = "runs", ...rest] = words;
  const { store: path } = options;
  if (path === undefined) throw usage("history needs the store: --store FILE, or SYNPROBE_STORE");
  if (options.json === true && options.csv === true) throw usage("--json and --csv exclude each other");
  if (verb === "import") {
    if (rest.length === 0) throw usage("history import takes files of results: NDJSON, nmap's XML, lists");
    await importRuns(path, rest, messages);
    return EXIT.complete;
  }
  const most = verb === "at" ? 1 : 0;
  if (rest.length > most)
    throw usage(`history ${verb} takes ${most === 0 ? "nothing" : "one time"} more, not "${rest[most]}"`);
  const now = Date.now();
  const span = {
    sinceMs: timeOf("--since", options.since, now) ?? 0,
    untilMs: timeOf("--until", options.until, now) ?? Number.MAX_SAFE_INTEGER,
  };
  if (span.sinceMs > span.untilMs) throw usage("--since is a time after --until: nothing lies between them");
  const ask = questionOf(verb, rest, span, options, messages.stdoutColour, now);
  const store = openStore(path, false);
  try {
    // As grep(1) has it.
    return ask(store) === 0 ? EXIT.notOpen : EXIT.complete;
  } finally {
    store.close();
  }
}

function timeOf(name: string, text: string | undefined, now: number): number | undefined {
  if (text === undefined) return undefined;
  const ms = parseTime(text, now);
  if (ms === undefined) throw usage(`${name} takes a time: ${TIME_FORMS}; not "${text}"`);
  return ms;
}

/** Understands the words before the store is opened. @returns what asks it, and says how many rows there were */
function questionOf(
  verb: string,
  rest: readonly string[],
  span: Span,
  options: HistoryOptions,
  colour: boolean,
  now: number,
): (store: Store) => number {
  const { json, csv, reasons } = options;
  const asData = json === true || csv === true;
  const told = <Each>(answer: Answer<Each>): number =>
    asData ? tellData(answer, csv === true) : tellText(answer);
  if (verb === "runs") return (store) => told(runsAnswer(runs(store, span)));
  if (verb === "changes")
    return (store) => {
      const rows = changes(store, span, reasons === true, asData ? 0 : LEAST_DOUBT);
      return asData ? tellData({ rows, fields: changeFields }, csv === true) : tellChanges(rows, colour);
    };
  if (verb === "at") {
    const [text] = rest;
    if (text === undefined) throw usage(`history at takes a time: ${TIME_FORMS}`);
    const ms = timeOf("history at", text, now) ?? now;
    return (store) => told(stateAnswer(statesAt(store, ms), ms, colour));
  }
  const { host, port } = hostOf(verb);
  const when = options.since === undefined && options.until === undefined ? "" : " in that time";
  const none = `Nothing is known of ${escapeText(verb)}${when}${didYouMean(verb, QUESTIONS)}`;
  return (store) => told(timelineAnswer(timeline(store, host, port, span), none, colour));
}

/** What is asked by a word that is no host. */
const QUESTIONS = ["runs", "changes", "at", "import"];

/** `host`, `host:port`, `[v6]:port`. */
function hostOf(word: string): { readonly host: string; readonly port?: number } {
  const { host, ports = [] } = parseTarget(word, readServices());
  if (ports.length > 1)
    throw usage(`history takes one port of a host, not ${ports.length}: leave them out for all`);
  const name = host.kind === "address" ? formatAddress(host.address) : host.name;
  return { host: name, ...(ports.length === 1 ? { port: ports[0] } : {}) };
}

/** As data. @returns how many rows there were, as all that print them do */
function tellData<Each>({ rows, fields }: Rows<Each>, csv: boolean): number {
  if (!csv) return printEach(rows, (row) => jsonLine(fields(row)), printResult);
  const lineOf = (row: Each, isFirst: boolean): string => {
    const cells = fields(row);
    const line = stringify([Object.values(cells).map(cell)], CSV);
    return isFirst ? stringify([Object.keys(cells)], CSV) + line : line;
  };
  // RFC 4180's line ends are nothing to show.
  return printEach(rows, lineOf, process.stdout.isTTY === true ? printResult : printExactly);
}

function tellText<Each>({ rows, head, line, none }: Answer<Each>): number {
  const found = printEach(rows, (row, isFirst) => (isFirst ? head + line(row) : line(row)), printResult);
  if (found === 0) printResult(`${none}\n`);
  return found;
}

/** Prints as it reads: there may be millions of rows. */
function printEach<Each>(
  rows: Iterable<Each>,
  textOf: (row: Each, isFirst: boolean) => string,
  print: (text: string) => void,
): number {
  let text = "";
  let found = 0;
  for (const row of rows) {
    text += textOf(row, found++ === 0);
    if (text.length < PIECE) continue;
    print(text);
    text = "";
  }
  print(text);
  return found;
}

/** The same for people. */
function tellChanges(rows: Iterable<Change>, colour: boolean): number {
  const put = createChangeLines({
    place: placeText,
    verdict: verdictText,
    newVerdict: (state, reason) => paint(colour)(state, verdictText(state, reason)),
    doubt: doubtText,
  });
  const piece = Buffer.allocUnsafeSlow(PIECE);
  let filled = piece.write(`${pad("SEEN FIRST (UTC)", 19)}  PORT\n`);
  let found = 0;
  for (const row of rows) {
    filled = put(row, piece, filled);
    found++;
    if (filled + LONGEST_CHANGE <= PIECE) continue;
    printExactly(piece.subarray(0, filled));
    filled = 0;
  }
  if (found === 0) printResult("No change in this time\n");
  else printExactly(piece.subarray(0, filled));
  return found;
}

/** As formats/csv.ts has it. */
const CSV = { record_delimiter: "\r\n", escape_formulas: true } as const;
const cell = (value: Cell): Cell =>
  typeof value === "string" ? escapeText(value, Number.POSITIVE_INFINITY) : value;

const iso = (ms: number): string => new Date(ms).toISOString();

/** What stands before and after a port: `ip:`, `host:` and ` (ip) udp`. TCP goes without saying. */
function placeText({ ip, name, proto }: Interval): readonly [before: string, after: string] {
  const shown = escapeWord(ip);
  const after = proto === "tcp" ? "" : ` ${proto}`;
  if (name !== undefined) return [`${escapeWord(name)}:`, ` (${shown})${after}`];
  return [shown.includes(":") ? `[${shown}]:` : `${shown}:`, after];
}

const portText = (row: Interval): string => placeText(row).join(`${row.port}`);

const verdictText = (state: string, reason: string): string =>
  reason === "" ? state : `${state} (${escapeText(reason)})`;

function paint(colour: boolean): (state: string, text: string) => string {
  const colors = createColors(colour);
  return (state, text) =>
    state === "open" ? colors.green(text) : state === "closed" ? text : colors.yellow(text);
}

/** Smaller ones are not told to people. */
const LEAST_DOUBT = 1e-4;
const doubtText = (doubt = 0): string => (doubt < LEAST_DOUBT ? "" : doubtInWords(doubt));

const intervalFields = ({
  ip,
  name,
  proto,
  port,
  service,
  state,
  reason,
  firstMs,
  lastMs,
  doubt,
}: Interval) => ({
  ip,
  host: name,
  proto,
  port,
  service,
  state,
  reason,
  first_seen: iso(firstMs),
  last_seen: iso(lastMs),
  doubt,
});

const runsAnswer = (rows: Iterable<StoredRun>): Answer<StoredRun> => ({
  rows,
  fields: ({ id, startedMs, endedMs, source, ending, ports, open, changed, loss }) => ({
    run: id,
    started: iso(startedMs),
    ended: iso(endedMs),
    ending,
    ports,
    open,
    changed,
    loss,
    source,
  }),
  head: `${pad("STARTED (UTC)", 19)}  ${"PORTS".padStart(9)}  ${"OPEN".padStart(7)}  ${"CHANGED".padStart(7)}  SOURCE\n`,
  line: ({ startedMs, ports, open, changed, source, ending }) =>
    `${utc(startedMs)}  ${digits(ports).padStart(9)}  ${digits(open).padStart(7)}  ${digits(changed).padStart(7)}  ${escapeText(source, 60)}${ending === "complete" ? "" : ` (${ending})`}\n`,
  none: "No run in this time",
});

const changeFields = (row: Change) => ({
  ...intervalFields(row),
  old_state: row.oldState,
  old_reason: row.oldReason,
  old_last_seen: iso(row.oldLastMs),
});

function stateAnswer(rows: Iterable<Interval>, ms: number, colour: boolean): Answer<Interval> {
  const inColour = paint(colour);
  return {
    rows,
    fields: intervalFields,
    head: `Known at ${utc(ms)} UTC\n`,
    line: (row) =>
      `${pad(portText(row), 24)}  ${inColour(row.state, verdictText(row.state, row.reason))} since ${utc(row.firstMs)}${row.lastMs < ms ? `, seen last at ${utc(row.lastMs)}` : ""}\n`,
    none: `Nothing was known at ${utc(ms)} UTC`,
  };
}

/** A port's name stands once, above its intervals. */
function timelineAnswer(rows: Iterable<Interval>, none: string, colour: boolean): Answer<Interval> {
  const inColour = paint(colour);
  let last = "";
  return {
    rows,
    fields: intervalFields,
    head: "",
    line: (row) => {
      const title = `${portText(row)}${row.service === undefined ? "" : ` ${escapeWord(row.service, 24)}`}`;
      const head = title === last ? "" : `${title}\n`;
      last = title;
      const verdict = inColour(row.state, verdictText(row.state, row.reason));
      return `${head}${`  ${utc(row.firstMs)} to ${utc(row.lastMs)}  ${verdict}${doubtText(row.doubt)}`.trimEnd()}\n`;
    },
    none,
  };
}

/** Each file is one run, and one transaction. Best in order of time: what comes late tells less (store/record.ts). */
async function importRuns(path: string, files: readonly string[], messages: Messages): Promise<void> {
  const store = openStore(path, true);
  const sources = new Map<string, Source>();
  let refused = 0;
  try {
    for (const file of files) {
      try {
        await importRun(store, file, sources, messages);
      } catch (error) {
        // One file is not to keep out those after it; a store that cannot be written keeps out all.
        const isOfFile =
          isSynprobeError(error) && (error.code === ERROR_CODES.results || error.code === ERROR_CODES.usage);
        if (files.length === 1 || !isOfFile) throw error;
        messages.error(error.message);
        refused++;
      }
    }
  } finally {
    store.close();
  }
  if (refused > 0) throw usage(`${refused} of ${files.length} files were not taken`);
}

/** What the files of one -oA end with, nmap's or ours. A dot may also be of an address, of which there is a file each. */
const SUFFIX = /\.(?:xml|gnmap|nmap|ndjson|json)$/;

/** What a run is called in the store, and its command line where one of its files has it. */
interface Source {
  readonly source: string;
  readonly command: string | undefined;
}

/** @param sources what the runs are called, by their start and their files' names without the suffix */
async function importRun(
  store: Store,
  file: string,
  sources: Map<string, Source>,
  messages: Messages,
): Promise<void> {
  const recorder = createRecorder(store);
  const ignore = (): void => {};
  let latest = 0;
  const run = await readRun(file, {
    port: (port) => {
      recorder.add(port);
      latest = Math.max(latest, port.timeMs ?? 0);
    },
    progress: ignore,
    fault: ignore,
    scanned: ignore,
    host: ignore,
  });
  const startedMs = run.startedMs ?? (latest > 0 ? latest : undefined);
  if (startedMs === undefined)
    throw usage(
      `${file} does not say when it was made, so it has no place in a history: give NDJSON, nmap's XML, -oG with its first line, or masscan's list`,
    );
  // Every later run would be taken for one that comes late, and "since when" be lost.
  const newestMs = Math.max(startedMs, latest);
  if (newestMs > Date.now() + SKEW_MS)
    throw usage(
      `${file} says that it is of ${utc(newestMs)} UTC, which is yet to come: a wrong clock, here or where it was made`,
    );
  noteEnding(run, messages);
  // -oA makes several files of one run, of which NDJSON does not have the command line.
  const base = `${Math.floor(startedMs / 1000)} ${file.replace(SUFFIX, "")}`;
  const before = sources.get(base);
  const { command = before?.command, name } = run;
  // Two command lines are two runs, whatever their files are called.
  const isOther = before?.command !== undefined && before.command !== command;
  const source = isOther ? (command ?? name) : (before?.source ?? command ?? name);
  sources.set(base, { source, command });
  const { ports, changed, known } = recorder.commit({
    startedMs,
    endedMs: Math.max(latest, startedMs + (run.summary?.elapsedMs ?? 0)),
    source,
    ending: run.ending,
    isImported: true,
    ...(run.summary?.path?.loss?.round === undefined ? {} : { loss: run.summary.path.loss.round }),
  });
  messages.note(
    known
      ? `${file} is in the store already`
      : `${file}: ${count(ports, "port")} as of ${utc(startedMs)} UTC, ${digits(changed)} changed`,
  );
}
