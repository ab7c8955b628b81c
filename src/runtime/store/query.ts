/**
 * What the store knows: the runs, a port's timeline, all states at a time, the changes since one. Rows are plain objects; how
 * they are printed is cli/commands/history.ts's business.
 */
import { utc } from "../../report/figures.ts";
import {
  PROTOCOLS,
  type Protocol,
  RECORDED_STATES,
  type RecordedRun,
  type RecordedSink,
  type RecordedState,
} from "../../report/read/recorded.ts";
import type { Row, Store } from "./database.ts";
import { openStore } from "./database.ts";
import { num, text } from "./record.ts";

/** A port, and a time in which it was seen in one state. Milliseconds since the Unix epoch. */
export interface Interval {
  readonly ip: string;
  readonly name?: string | undefined;
  readonly proto: Protocol;
  readonly port: number;
  readonly service?: string | undefined;
  readonly state: RecordedState;
  readonly reason: string;
  readonly firstMs: number;
  readonly lastMs: number;
  readonly doubt?: number | undefined;
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
      // SQLite takes CROSS JOINs in the order in which they are written: one host's ports, not all of the table.
      `SELECT ${COLUMNS} FROM hosts h CROSS JOIN ports p ON p.host = h.id CROSS JOIN intervals i ON i.port = p.id
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
      // A window over the table in its own order: looking up each interval's predecessor took twice as long.
      `SELECT ${COLUMNS}, ov.state AS old_state, ov.reason AS old_reason, i.old_last_ms FROM
         (SELECT *, lag(verdict) OVER w AS old_verdict, lag(last_ms) OVER w AS old_last_ms FROM intervals
          WINDOW w AS (PARTITION BY port ORDER BY first_ms)) i
       JOIN verdicts ov ON ov.id = i.old_verdict ${NAMES}
       WHERE i.first_ms BETWEEN ?1 AND ?2 AND (?3 = 1 OR v.state <> ov.state)
       ORDER BY i.first_ms, p.host, p.proto, p.port`,
    )
    .iterate(sinceMs, untilMs, reasons ? 1 : 0);
  for (const row of rows) {
    yield Object.assign(intervalOf(row), {
      oldState: stateOf(text(row, "old_state")),
      oldReason: text(row, "old_reason"),
      oldLastMs: num(row, "old_last_ms"),
    });
  }
}

/** Made without copying: there may be millions. */
const intervalOf = (row: Row): Interval => ({
  ip: text(row, "ip"),
  name: row["name"] === null ? undefined : text(row, "name"),
  proto: PROTOCOL_OF.get(text(row, "proto")) ?? "tcp",
  port: num(row, "port"),
  service: row["service"] === null ? undefined : text(row, "service"),
  state: stateOf(text(row, "state")),
  reason: text(row, "reason"),
  firstMs: num(row, "first_ms"),
  lastMs: num(row, "last_ms"),
  doubt: row["doubt"] === null ? undefined : num(row, "doubt"),
});

const PROTOCOL_OF: ReadonlyMap<string, Protocol> = new Map(PROTOCOLS.map((each) => [each, each]));
const STATE_OF: ReadonlyMap<string, RecordedState> = new Map(RECORDED_STATES.map((each) => [each, each]));
/** Whoever may write the file may have written anything. */
const stateOf = (value: string): RecordedState => STATE_OF.get(value) ?? "filtered";

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
