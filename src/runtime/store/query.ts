/**
 * What the store knows: the runs, a port's timeline, all states at a time, the changes since one. Rows are plain objects; how
 * they are printed is cli/commands/history.ts's business.
 */
import { compareKeys, sortKey } from "../../report/addresses.ts";
import { createColumn } from "../../report/read/pair-index.ts";
import {
  type Change,
  type Interval,
  PROTOCOLS,
  type Protocol,
  RECORDED_STATES,
  type RecordedState,
} from "../../report/read/recorded.ts";
import type { Row, SqlValue, Store } from "./database.ts";
import { num, text } from "./record.ts";

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

/** What was known at a time: of each port the interval that had begun last, by address, protocol and port. */
export function* statesAt(store: Store, ms: number): Generator<Interval> {
  const rows = store
    .prepare(
      // Host by host, as they are listed, and of each the ports as their index has them: nothing is left to be sorted.
      `SELECT ${COLUMNS} FROM json_each(?1) o CROSS JOIN hosts h ON h.id = o.value CROSS JOIN ports p ON p.host = h.id
       CROSS JOIN intervals i ON i.port = p.id AND i.first_ms = (SELECT max(first_ms) FROM intervals WHERE port = p.id AND first_ms <= ?2)
       JOIN verdicts v ON v.id = i.verdict`,
    )
    .iterate(JSON.stringify(hostsByAddress(store)), ms);
  for (const row of rows) yield intervalOf(row);
}

/** Hosts' numbers, in the order of their addresses. */
const hostsByAddress = (store: Store): number[] =>
  Array.from(store.prepare("SELECT id, ip FROM hosts").columns(), ([id, ip]) => ({
    id: Number(id),
    key: sortKey(String(ip)),
  }))
    .sort((a, b) => compareKeys(a.key, b.key))
    .map(({ id }) => id);

/** Of which ports there is something to say: those that begin an interval in a span. From the beginning on it is nearly all. */
const begunIn = ({ sinceMs }: Span): string =>
  sinceMs > 0 ? "IN (SELECT port FROM intervals WHERE first_ms BETWEEN ?1 AND ?2)" : "IS NOT NULL";
/** Numbers kept of each change. */
const WIDTH = 7;

/**
 * Ports whose state became another, in order of time; of one time, as the ports were seen first. Takes 56 bytes for each.
 * @param reasons those too whose reason alone did
 */
export function* changes(store: Store, span: Span, reasons: boolean): Generator<Change> {
  const { sinceMs, untilMs } = span;
  const rows = store
    .prepare(
      // Port by port, as the table lies, each after what it was before. Numbers alone: it is handing over that takes time.
      `SELECT port, verdict, first_ms, last_ms, doubt FROM intervals WHERE port ${begunIn(span)} AND first_ms <= ?2 ORDER BY port, first_ms`,
    )
    .columns(sinceMs, untilMs);
  const kept = createColumn(Float64Array);
  let size = 0;
  let before: readonly SqlValue[] = [];
  for (const row of rows) {
    if (row[0] === before[0] && Number(row[2]) >= sinceMs) {
      for (let i = 0; i < 5; i++) kept.set(size++, Number(row[i] ?? -1));
      kept.set(size++, Number(before[1]));
      kept.set(size++, Number(before[3]));
    }
    before = row;
  }
  const times = Float64Array.from({ length: size / WIDTH }, (_, i) => kept.get(i * WIDTH + 2));
  const order = Uint32Array.from(times, (_, i) => i).sort((a, b) => times[a] - times[b]);
  // Read last, they have all that the rows name, whatever another process writes meanwhile.
  const ports = portsOf(store, span);
  const verdicts = verdictsOf(store);
  for (const i of order) {
    const at = i * WIDTH;
    const place = ports.get(kept.get(at));
    const verdict = verdicts.get(kept.get(at + 1));
    const old = verdicts.get(kept.get(at + 5));
    if (place === undefined || verdict === undefined || old === undefined) continue;
    if (verdict.state === old.state && !reasons) continue;
    const { ip, name, proto, port, service } = place;
    const doubt = kept.get(at + 4);
    yield {
      ip,
      name,
      proto,
      port,
      service,
      state: verdict.state,
      reason: verdict.reason,
      firstMs: kept.get(at + 2),
      lastMs: kept.get(at + 3),
      doubt: doubt < 0 ? undefined : doubt,
      oldState: old.state,
      oldReason: old.reason,
      oldLastMs: kept.get(at + 6),
    };
  }
}

interface Verdict {
  readonly state: RecordedState;
  readonly reason: string;
}

const verdictsOf = (store: Store): ReadonlyMap<number, Verdict> =>
  new Map(
    store
      .prepare("SELECT id, state, reason FROM verdicts")
      .all()
      .map((row) => [num(row, "id"), { state: stateOf(text(row, "state")), reason: text(row, "reason") }]),
  );

/** The ports that begin an interval in a span, by their numbers. */
function portsOf(
  store: Store,
  span: Span,
): ReadonlyMap<number, Pick<Interval, "ip" | "name" | "proto" | "port" | "service">> {
  const rows = store
    .prepare(
      `SELECT p.id, h.ip, h.name, p.proto, p.port, p.service FROM ports p JOIN hosts h ON h.id = p.host WHERE p.id ${begunIn(span)}`,
    )
    .columns(span.sinceMs, span.untilMs);
  return new Map(
    Array.from(rows, ([id, ip, name, proto, port, service]) => [
      Number(id),
      {
        ip: String(ip),
        name: name === null ? undefined : String(name),
        proto: protocolOf(String(proto)),
        port: Number(port),
        service: service === null ? undefined : String(service),
      },
    ]),
  );
}

/** Made without copying: there may be millions. */
const intervalOf = (row: Row): Interval => ({
  ip: text(row, "ip"),
  name: row["name"] === null ? undefined : text(row, "name"),
  proto: protocolOf(text(row, "proto")),
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
const protocolOf = (value: string): Protocol => PROTOCOL_OF.get(value) ?? "tcp";
const stateOf = (value: string): RecordedState => STATE_OF.get(value) ?? "filtered";
