/**
 * What the store knows: the runs, a port's timeline, all states at a time, the changes since one. Rows are plain objects; how
 * they are printed is cli/commands/history.ts's business.
 */
import {
  PROTOCOLS,
  type Protocol,
  RECORDED_STATES,
  type RecordedRun,
  type RecordedSink,
  type RecordedState,
} from "../../report/read/recorded.ts";
import type { Row, SqlValue, Store } from "./database.ts";
import { openStore } from "./database.ts";
import { num, text } from "./record.ts";
import { utc } from "./time.ts";

/** A port, and a time in which it was seen in one state. Milliseconds since the Unix epoch. */
export interface Interval {
  readonly ip: string;
  readonly name?: string;
  readonly proto: Protocol;
  readonly port: number;
  readonly service?: string;
  readonly state: RecordedState;
  readonly reason: string;
  readonly firstMs: number;
  readonly lastMs: number;
  readonly doubt?: number;
}

/** An interval, and the state before it. */
export interface Change extends Interval {
  readonly oldState: RecordedState;
  readonly oldReason: string;
  /** When the old state was last seen: it changed between then and `firstMs`. */
  readonly oldLastMs: number;
}

export interface StoredRun {
  readonly id: number;
  readonly startedMs: number;
  readonly endedMs: number;
  readonly source: string;
  readonly ending: string;
  readonly ports: number;
  readonly open: number;
  readonly changed: number;
  readonly loss?: number;
}

/** From one time to another, both included. */
export interface Span {
  readonly sinceMs: number;
  readonly untilMs: number;
}

const COLUMNS = "h.ip, h.name, p.proto, p.port, p.service, v.state, v.reason, i.first_ms, i.last_ms, i.doubt";
const NAMES =
  "JOIN ports p ON p.id = i.port JOIN hosts h ON h.id = p.host JOIN verdicts v ON v.id = i.verdict";

export function* runs(store: Store, { sinceMs, untilMs }: Span): Generator<StoredRun> {
  const rows = store
    .prepare("SELECT * FROM runs WHERE started_ms BETWEEN ? AND ? ORDER BY started_ms, id")
    .iterate(sinceMs, untilMs);
  for (const row of rows) {
    const { loss } = row;
    yield {
      id: num(row, "id"),
      startedMs: num(row, "started_ms"),
      endedMs: num(row, "ended_ms"),
      source: text(row, "source"),
      ending: text(row, "ending"),
      ports: num(row, "ports"),
      open: num(row, "open"),
      changed: num(row, "changed"),
      ...(loss === null ? {} : { loss: Number(loss) }),
    };
  }
}

/** All that was seen of a host, by name or address, or of one of its ports. */
export function* timeline(
  store: Store,
  host: string,
  port: number | undefined,
  { sinceMs, untilMs }: Span,
): Generator<Interval> {
  const rows = store
    .prepare(
      `SELECT ${COLUMNS} FROM hosts h JOIN ports p ON p.host = h.id JOIN intervals i ON i.port = p.id
       JOIN verdicts v ON v.id = i.verdict
       WHERE (h.ip = ?1 OR h.name = ?1) AND (?2 IS NULL OR p.port = ?2) AND i.last_ms >= ?3 AND i.first_ms <= ?4
       ORDER BY h.id, p.proto, p.port, i.first_ms`,
    )
    .iterate(host, port ?? null, sinceMs, untilMs);
  for (const row of rows) yield intervalOf(row);
}

/** What was known at a time: of each port the interval that had begun last. */
export function* statesAt(store: Store, ms: number): Generator<Interval> {
  const rows = store
    .prepare(
      `SELECT ${COLUMNS}, max(i.first_ms) FROM intervals i ${NAMES}
       WHERE i.first_ms <= ? GROUP BY i.port ORDER BY p.host, p.proto, p.port`,
    )
    .iterate(ms);
  for (const row of rows) yield intervalOf(row);
}

/** Ports whose state became another, in order of time. @param reasons those too whose reason alone did */
export function* changes(store: Store, { sinceMs, untilMs }: Span, reasons: boolean): Generator<Change> {
  const rows = store
    .prepare(
      `SELECT ${COLUMNS}, ov.state AS old_state, ov.reason AS old_reason, o.last_ms AS old_last_ms FROM intervals i
       JOIN intervals o ON o.port = i.port
         AND o.first_ms = (SELECT max(first_ms) FROM intervals WHERE port = i.port AND first_ms < i.first_ms)
       JOIN verdicts ov ON ov.id = o.verdict ${NAMES}
       WHERE i.first_ms BETWEEN ?1 AND ?2 AND (?3 = 1 OR v.state <> ov.state)
       ORDER BY i.first_ms, p.host, p.proto, p.port`,
    )
    .iterate(sinceMs, untilMs, reasons ? 1 : 0);
  for (const row of rows) {
    yield {
      ...intervalOf(row),
      oldState: stateOf(text(row, "old_state")),
      oldReason: text(row, "old_reason"),
      oldLastMs: num(row, "old_last_ms"),
    };
  }
}

function intervalOf(row: Row): Interval {
  const { name, proto, service, state, doubt } = row;
  return {
    ip: text(row, "ip"),
    ...(name === null ? {} : { name: String(name) }),
    proto: PROTOCOLS.find((each) => each === proto) ?? "tcp",
    port: num(row, "port"),
    ...(service === null ? {} : { service: String(service) }),
    state: stateOf(state),
    reason: text(row, "reason"),
    firstMs: num(row, "first_ms"),
    lastMs: num(row, "last_ms"),
    ...(doubt === null ? {} : { doubt: Number(doubt) }),
  };
}

/** Whoever may write the file may have written anything. */
const stateOf = (value: SqlValue | undefined): RecordedState =>
  RECORDED_STATES.find((each) => each === value) ?? "filtered";

/**
 * What was known at a time, as if it were a file of results: for `diff`, `report` and `-iR`.
 * @param name as messages have it @throws {SynprobeError} `ERR_STORE`
 */
export function readStoreAt(path: string, ms: number, name: string, sink: RecordedSink): RecordedRun {
  const store = openStore(path, false);
  try {
    for (const { ip, name: host, proto, port, service, state, reason, doubt, lastMs } of statesAt(store, ms))
      sink.port({
        ip,
        host,
        proto,
        port,
        service,
        state,
        reason,
        doubt,
        timeMs: Math.min(lastMs, ms),
      });
    return {
      name,
      format: "store",
      command: `what was known at ${utc(ms)} UTC`,
      ending: "complete",
      startedMs: ms,
    };
  } finally {
    store.close();
  }
}
