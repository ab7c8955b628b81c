/**
 * Compares two runs port by port, by state alone: what appeared, what is gone, what changed; as text for people and as
 * NDJSON for programs.
 *
 * For a port that only one run has, `because` says why the other does not have it. Both runs are held in typed arrays
 * (pair-index.ts), about 60 bytes a port; output is written line by line.
 */
import { createColors } from "picocolors";
import { hasFailed } from "../../scan/probe/result.ts";
import { compareKeys, sortKey } from "../addresses.ts";
import { displayLength, escapeText, escapeWord, pad } from "../escape.ts";
import { count, digits, doubtInWords, utc } from "../figures.ts";
import { jsonLine } from "../formats/ndjson.ts";
import { defined } from "./ndjson.ts";
import { createColumn, createPairIndex, createTexts } from "./pair-index.ts";
import {
  type Protocol,
  portsOf,
  RECORDED_STATES,
  type RecordedPlaceState,
  type RecordedRun,
  type RecordedSink,
  type RecordedState,
} from "./recorded.ts";

/**
 * Why one of the two runs does not have a port:
 * - `not-probed`: it ended by itself without this port;
 * - `interrupted`, `cut-off`: it ended too early, or its file did, and may have meant to;
 * - `fault`: it could not probe the target, and says so;
 * - `failed`: its SYNs could not be sent, or its host's time was up; told of ports that were not filtered;
 * - `no-host`: it probed this port, and lists no such host: down, or not a target (nmap);
 * - `host-down`: it found the host down (nmap);
 * - `not-listed`: it probed this port of this host, and lists only some, as nmap --open does;
 * - `open-only`: its format lists open ports only (naabu): it may not have probed this one, or found it not open;
 * - `not-shown`: it was told to list only some states (`--show`);
 * - `not-told`: its format does not say what was probed (lists, `-oG` and `-oL`; a store);
 * - `counted`: it only counted some of the host's ports (nmap's `extraports` of old).
 */
export type Absence =
  | "not-probed"
  | "interrupted"
  | "cut-off"
  | "fault"
  | "failed"
  | "no-host"
  | "host-down"
  | "not-listed"
  | "open-only"
  | "not-shown"
  | "not-told"
  | "counted";

type PlaceState = Pick<RecordedPlaceState, "place" | "state">;

export interface DiffVerdict {
  readonly state: RecordedState;
  readonly reason: string;
  /** The chance that a port without response did answer, 0 to 1. */
  readonly doubt?: number;
  /** Of a run from several places: what it is from each; another reason is no difference. */
  readonly from?: readonly PlaceState[];
}

export interface Difference {
  readonly kind: "appeared" | "gone" | "changed";
  readonly ip: string;
  readonly host?: string;
  readonly proto: Protocol;
  readonly port: number;
  readonly service?: string;
  readonly old?: DiffVerdict;
  readonly new?: DiffVerdict;
  readonly because?: Absence;
}

export interface Diff {
  readonly old: RecordedRun;
  readonly new: RecordedRun;
  /** Ports in each run, and those with the same state in both. */
  readonly ports: { readonly old: number; readonly new: number; readonly same: number };
  readonly counts: Readonly<Record<Difference["kind"], number>>;
  /** Number of differences; 0 when there is none. */
  readonly total: number;
  readonly onlyOpen: boolean;
  /** By address, protocol and port. */
  differences(): Iterable<Difference>;
}

export interface Comparison {
  readonly old: RecordedSink;
  readonly new: RecordedSink;
  /** @param onlyOpen leave out ports that are open in neither run */
  compare(old: RecordedRun, now: RecordedRun, onlyOpen: boolean): Diff;
}

export function createComparison(): Comparison {
  const pairs = createPairIndex();
  const texts = createTexts();
  const names = new Map<string, string>();
  const sides = [createSide(), createSide()] as const;

  function createSide() {
    const state = createColumn(Uint8Array);
    const reason = createColumn(Uint32Array);
    const service = createColumn(Uint32Array);
    const doubt = createColumn(Float32Array);
    /** What each place has found, as JSON. */
    const from = createColumn(Uint32Array);
    const hosts = new Map<string, { readonly up: boolean; readonly vague: boolean }>();
    const faults = new Set<string>();
    const scanned = new Map<Protocol, Set<number>>();
    let ports = 0;
    const sink: RecordedSink = {
      port(port) {
        const pair = pairs.add(port.ip, port.proto, port.port);
        if (state.get(pair) === 0) ports++;
        // 0 stands for ports that this run does not have.
        state.set(pair, 1 + RECORDED_STATES.indexOf(port.state));
        reason.set(pair, texts.add(port.reason));
        service.set(pair, texts.add(port.service ?? ""));
        doubt.set(pair, port.doubt ?? -1);
        from.set(
          pair,
          port.from === undefined
            ? 0
            : texts.add(
                JSON.stringify(
                  port.from.flatMap(({ place, state, reason }) =>
                    hasFailed(reason ?? "") ? [] : { place, state },
                  ),
                ),
              ),
        );
        if (port.host !== undefined && port.host !== "") names.set(port.ip, port.host);
      },
      progress() {},
      fault({ target }) {
        faults.add(target);
        faults.add(target.replace(/^\[?([^\]]*)\]?:[^:]*$/, "$1"));
      },
      scanned(proto, list) {
        scanned.set(proto, new Set(portsOf(list)));
      },
      host(ip, up, vague) {
        hosts.set(ip, { up, vague });
      },
    };
    function verdict(pair: number): DiffVerdict | undefined {
      const code = state.get(pair);
      if (code === 0) return undefined;
      const chance = doubt.get(pair);
      const places = placesOf(pair);
      return {
        state: RECORDED_STATES[code - 1],
        reason: texts.get(reason.get(pair)),
        ...(chance >= 0 ? { doubt: Math.round(chance * 1e4) / 1e4 } : {}),
        ...(places === undefined ? {} : { from: places }),
      };
    }
    function placesOf(pair: number): readonly PlaceState[] | undefined {
      return from.get(pair) === 0 ? undefined : JSON.parse(texts.get(from.get(pair)));
    }
    /** Whether it has found something out about a port. */
    const knows = (pair: number): boolean => state.get(pair) !== 0 && !hasFailed(texts.get(reason.get(pair)));
    function absence(run: RecordedRun, pair: number): Absence {
      if (state.get(pair) !== 0) return "failed";
      const ip = pairs.ips[pairs.hostOf(pair)];
      if (faults.has(ip) || faults.has(names.get(ip) ?? ip)) return "fault";
      const host = hosts.get(ip);
      if (host?.up === false) return "host-down";
      if (host?.vague === true) return "counted";
      if (run.ending === "unknown") return "open-only";
      if (run.ending !== "complete") return run.ending;
      if (run.format === "list" || run.format === "store") return "not-told";
      if (run.summary?.shown !== undefined) return "not-shown";
      if (scanned.get(pairs.protoOf(pair))?.has(pairs.portOf(pair)) !== true) return "not-probed";
      return host === undefined ? "no-host" : "not-listed";
    }
    return { sink, state, knows, service, from, placesOf, verdict, absence, ports: () => ports };
  }

  /** Whether every place that both runs have has found the same. */
  function isSameFromAll(pair: number): boolean {
    const [old, now] = sides;
    if (old.from.get(pair) === now.from.get(pair)) return true;
    return movedPlaces(old.placesOf(pair), now.placesOf(pair)).length === 0;
  }

  /** Of a port whose states differ; undefined when neither run knows it. */
  function kindOf(pair: number): Difference["kind"] | undefined {
    const [isKnownOld, isKnown] = sides.map(({ knows }) => knows(pair));
    if (isKnownOld && isKnown) return "changed";
    return isKnown ? "appeared" : isKnownOld ? "gone" : undefined;
  }

  /** By host as `hosts` has them, then protocol and port: a sort of numbers for each host, as there may be millions of pairs. */
  function inOrder(different: readonly number[], hosts: readonly (readonly [host: number, key: string])[]) {
    const counts = new Map<number, number>(hosts.map(([host]) => [host, 0]));
    for (const pair of different) counts.set(pairs.hostOf(pair), (counts.get(pairs.hostOf(pair)) ?? 0) + 1);
    const ends = new Map<number, number>();
    let end = 0;
    for (const [host] of hosts) {
      ends.set(host, end);
      end += counts.get(host) ?? 0;
    }
    const numbers = new Float64Array(different.length);
    for (const pair of different) {
      const at = ends.get(pairs.hostOf(pair)) ?? 0;
      ends.set(pairs.hostOf(pair), at + 1);
      numbers[at] = pairs.portKeyOf(pair) * 2 ** 32 + pair;
    }
    for (const [host] of hosts) {
      const to = ends.get(host) ?? 0;
      numbers.subarray(to - (counts.get(host) ?? 0), to).sort();
    }
    return Uint32Array.from(numbers, (number) => number % 2 ** 32);
  }

  return {
    old: sides[0].sink,
    new: sides[1].sink,
    compare(old, now, onlyOpen) {
      const different: number[] = [];
      const counts = { appeared: 0, gone: 0, changed: 0 };
      const OPEN = 1 + RECORDED_STATES.indexOf("open");
      let same = 0;
      for (let pair = 0; pair < pairs.size(); pair++) {
        const before = sides[0].state.get(pair);
        const after = sides[1].state.get(pair);
        if (before === after && isSameFromAll(pair)) {
          same++;
          continue;
        }
        const kind = kindOf(pair);
        if (kind === undefined || (onlyOpen && before !== OPEN && after !== OPEN)) continue;
        different.push(pair);
        counts[kind]++;
      }
      const keys = new Map<number, string>();
      for (const pair of different) {
        const host = pairs.hostOf(pair);
        if (!keys.has(host)) keys.set(host, sortKey(pairs.ips[host]));
      }
      const ordered = inOrder(
        different,
        [...keys].sort(([, a], [, b]) => compareKeys(a, b)),
      );

      function difference(pair: number): Difference {
        const ip = pairs.ips[pairs.hostOf(pair)];
        const kind = kindOf(pair) ?? "changed";
        const before = kind === "appeared" ? undefined : sides[0].verdict(pair);
        const after = kind === "gone" ? undefined : sides[1].verdict(pair);
        const service = texts.get(sides[1].service.get(pair)) || texts.get(sides[0].service.get(pair));
        return defined<Difference>({
          kind,
          ip,
          host: names.get(ip),
          proto: pairs.protoOf(pair),
          port: pairs.portOf(pair),
          service: service === "" ? undefined : service,
          old: before,
          new: after,
          because:
            kind === "appeared"
              ? sides[0].absence(old, pair)
              : kind === "gone"
                ? sides[1].absence(now, pair)
                : undefined,
        });
      }
      return {
        old,
        new: now,
        ports: { old: sides[0].ports(), new: sides[1].ports(), same },
        counts,
        total: different.length,
        onlyOpen,
        *differences() {
          for (const pair of ordered) yield difference(pair);
        },
      };
    },
  };
}

/** `because` in words, about the run that does not have the port. */
const BECAUSE: Readonly<Record<Absence, (run: "OLD" | "NEW") => string>> = {
  "not-probed": (run) => `${run} did not probe it`,
  interrupted: (run) => `${run} was interrupted and did not decide it`,
  "cut-off": (run) => `${run} is cut off and does not have it`,
  fault: (run) => `${run} could not probe this target`,
  failed: (run) => `${run} could not probe it`,
  "no-host": (run) => `${run} lists no such host: down, or not a target`,
  "host-down": (run) => `${run} found the host down`,
  "not-listed": (run) => `${run} probed the host and does not list it`,
  "open-only": (run) => `${run} lists open ports only`,
  "not-shown": (run) => `${run} lists only some states (--show)`,
  "not-told": (run) => `${run} does not list it, nor say what it probed`,
  counted: (run) => `${run} only counts some ports of this host`,
};

const because = ({ kind, because: why }: Difference): string =>
  why === undefined ? "" : BECAUSE[why](kind === "appeared" ? "OLD" : "NEW");

const isOpen = ({ old, new: now }: Difference): boolean => old?.state === "open" || now?.state === "open";

/** Listed one by one if both runs have it, or if it is open in the one that does. Others are only counted. */
const isListed = (each: Difference): boolean => each.kind === "changed" || isOpen(each);

const MARKS = { appeared: "+", gone: "-", changed: "~" } as const;

interface Row {
  readonly port: string;
  readonly old: string;
  readonly new: string;
  readonly service: string;
}

function rowOf(each: Difference): Row {
  return {
    port: `${each.port}/${each.proto}`,
    old: each.old?.state ?? "-",
    new: each.new?.state ?? "-",
    service: each.service === undefined ? "-" : escapeWord(each.service, 24),
  };
}

/** Places that two runs have, and what has changed there. */
function movedPlaces(old: DiffVerdict["from"] = [], now: DiffVerdict["from"] = []): string[] {
  return now.flatMap(({ place, state }) => {
    const before = old.find((each) => each.place === place)?.state ?? state;
    return before === state ? [] : `${before} to ${state} from ${place}`;
  });
}

/** The evidence for the later state, or why there is none. */
function remark(each: Difference): string {
  const why = because(each);
  if (why !== "") return why;
  const { reason = "", doubt, from } = each.new ?? {};
  const moved = movedPlaces(each.old?.from, from);
  if (moved.length > 0) return escapeText(moved.join(", "));
  const sure = doubt === undefined ? "" : doubtInWords(doubt);
  return escapeText(reason) + sure;
}

/** A run in one line: file, time, number of ports, and how it ended. */
function runLine(label: string, run: RecordedRun, ports: number): string {
  const seen = run.lastRunMs === undefined ? "" : ` (last run ${utc(run.lastRunMs)})`;
  const when = run.startedMs === undefined ? "" : `, ${utc(run.startedMs)} UTC${seen}`;
  const endings = {
    complete: "",
    interrupted: ", interrupted",
    "cut-off": ", cut off before its end",
    unknown: "",
  };
  return `${label}  ${escapeText(run.name)}${when}, ${count(ports, "port")}${endings[run.ending]}`;
}

/** The comparison for people, piece by piece. */
export function* diffText(diff: Diff, colour: boolean): Generator<string> {
  const colors = createColors(colour);
  const paint = { appeared: colors.green, gone: colors.red, changed: colors.yellow };
  yield `${runLine("OLD", diff.old, diff.ports.old)}\n${runLine("NEW", diff.new, diff.ports.new)}\n\n`;
  const width = { port: 4, old: 3, new: 3, service: 7 };
  const uncounted = new Map<string, number>();
  let listed = 0;
  for (const each of diff.differences()) {
    if (!isListed(each)) {
      const states = `${each.kind}: ${each.old?.state ?? each.new?.state}, ${because(each)}`;
      uncounted.set(states, (uncounted.get(states) ?? 0) + 1);
      continue;
    }
    listed++;
    const row = rowOf(each);
    for (const key of ["port", "old", "new", "service"] as const)
      width[key] = Math.max(width[key], displayLength(row[key]));
  }
  const line = (row: Row, last: string): string =>
    [
      row.port.padEnd(width.port),
      row.old.padEnd(width.old),
      row.new.padEnd(width.new),
      pad(row.service, width.service),
      last,
    ].join("  ");
  if (listed > 0) {
    const head = line({ port: "PORT", old: "OLD", new: "NEW", service: "SERVICE" }, "REASON");
    yield `${colors.bold(`  ${head}`)}\n`;
  }
  let host: string | undefined;
  for (const each of diff.differences()) {
    if (!isListed(each)) continue;
    if (each.ip !== host) {
      host = each.ip;
      yield `${colors.bold(host)}${each.host === undefined ? "" : ` (${escapeWord(each.host)})`}\n`;
    }
    yield `${paint[each.kind](`${MARKS[each.kind]} ${line(rowOf(each), remark(each))}`)}\n`;
  }
  if (listed > 0) yield "\n";
  for (const [states, ports] of uncounted) yield `Not compared: ${count(ports, "port")} ${states}\n`;
  if (uncounted.size > 0) yield "\n";
  yield `${colors.bold(verdict(diff))}\n`;
}

function verdict({ counts, total, onlyOpen, ports }: Diff): string {
  const what = onlyOpen ? " to or from open" : "";
  if (total === 0) return `No differences${what}: ${count(ports.same, "port")} in the same state`;
  const { appeared, gone, changed } = counts;
  return `${digits(changed)} changed, ${digits(appeared)} appeared, ${digits(gone)} gone${what}; ${digits(ports.same)} the same`;
}

/**
 * The comparison for programs, one JSON object a line: `type` "appeared|gone|changed", ip, port, proto, host?, service?,
 * old? {state, reason, doubt?}, new? {the same}, because?; and a last line of `type` "summary".
 */
export function* diffJson(diff: Diff): Generator<string> {
  for (const { kind, ip, port, proto, host, service, old, new: now, because: why } of diff.differences())
    yield jsonLine({ type: kind, ip, port, proto, host, service, old, new: now, because: why });
  const described = (run: RecordedRun, ports: number): object => ({
    file: run.name,
    format: run.format,
    ending: run.ending,
    started_at: run.startedMs === undefined ? undefined : new Date(run.startedMs).toISOString(),
    last_run: run.lastRunMs === undefined ? undefined : new Date(run.lastRunMs).toISOString(),
    ports,
  });
  yield jsonLine({
    type: "summary",
    only: diff.onlyOpen ? "open" : undefined,
    changed: diff.counts.changed,
    appeared: diff.counts.appeared,
    gone: diff.counts.gone,
    same: diff.ports.same,
    old: described(diff.old, diff.ports.old),
    new: described(diff.new, diff.ports.new),
  });
}
