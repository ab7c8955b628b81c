/**
 * What the store knows: the runs, a port's timeline, all states at a time. Changes: changes.ts. Rows are plain objects; how
 * they are printed is cli/commands/history.ts's business.
 */
import { compareKeys, sortKey } from "../../report/addresses.ts";
import {
  type Interval,
  PROTOCOLS,
  type Protocol,
  RECORDED_STATES,
  type RecordedState,
} from "../../report/read/recorded.ts";
import type { Row, Store } from "./database.ts";
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
      // Of a host's names the one that was asked for.
      `SELECT ${COLUMNS.replace("h.name", "iif(h.ip = ?1, h.name, ?1) AS name")}
       FROM hosts h CROSS JOIN ports p ON p.host = h.id CROSS JOIN intervals i ON i.port = p.id
       JOIN verdicts v ON v.id = i.verdict
       WHERE h.id IN (SELECT id FROM hosts WHERE ip = ?1 UNION SELECT host FROM names WHERE name = ?1
         UNION SELECT id FROM hosts WHERE name = ?1) AND (?2 IS NULL OR p.port = ?2) AND i.last_ms >= ?3 AND i.first_ms <= ?4
       ORDER BY h.id, p.proto, p.port, i.first_ms`,
    )
    .iterate(host, port ?? null, sinceMs, untilMs);
  for (const row of rows) yield intervalOf(row);
}

/** The names that targets gave to addresses, with the time of the last run that did. */
export function namesByAddress(
  store: Store,
): ReadonlyMap<string, readonly { readonly name: string; readonly lastMs: number }[]> {
  const named = new Map<string, { readonly name: string; readonly lastMs: number }[]>();
  for (const row of store
    // A watch of before there were such names, which goes on, writes those of hosts alone.
    .prepare(
      `SELECT ip, n.name, last_ms FROM names n JOIN hosts h ON h.id = n.host
       UNION ALL
       SELECT ip, h.name, (SELECT max(last_ms) FROM ports p JOIN intervals i ON i.port = p.id WHERE p.host = h.id) FROM hosts h
       WHERE h.name IS NOT NULL AND NOT EXISTS (SELECT 1 FROM names n WHERE n.name = h.name AND n.host = h.id)`,
    )
    .all()) {
    const ip = text(row, "ip");
    const all = named.get(ip) ?? [];
    all.push({ name: text(row, "name"), lastMs: num(row, "last_ms") });
    named.set(ip, all);
  }
  return named;
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
export const protocolOf = (value: string): Protocol => PROTOCOL_OF.get(value) ?? "tcp";
export const stateOf = (value: string): RecordedState => STATE_OF.get(value) ?? "filtered";
