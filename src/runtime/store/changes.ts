/**
 * What has changed between two times: of a store of a year hundreds of thousands of ports, listed in a second, so that numbers alone
 * are read row by row (packed-rows.ts). Tested by test/runtime/store/record.test.ts.
 */
import { createColumn } from "../../report/read/pair-index.ts";
import type { Change, Interval } from "../../report/read/recorded.ts";
import type { Store } from "./database.ts";
import { eachRow } from "./packed-rows.ts";
import { protocolOf, type Span, stateOf } from "./query.ts";
import { num, text } from "./record.ts";

/** Of which ports there is something to say: those that begin an interval in a span. From the beginning on it is nearly all. */
const begunIn = ({ sinceMs }: Span): string =>
  sinceMs > 0 ? "IN (SELECT port FROM intervals WHERE first_ms BETWEEN ?1 AND ?2)" : "IS NOT NULL";
/** Numbers kept of each change. */
const WIDTH = 7;
const [PORT, FIRST, LAST, VERDICT, OLD_VERDICT, OLD_LAST, DOUBT] = [0, 1, 2, 3, 4, 5, 6];

/**
 * Ports whose state became another, in order of time; of one time, as the ports were seen first. Takes 56 bytes for each.
 * @param reasons those too whose reason alone did
 * @param leastDoubt a smaller doubt is left out
 */
export function* changes(store: Store, span: Span, reasons: boolean, leastDoubt = 0): Generator<Change> {
  const ends = [span.sinceMs, span.untilMs] as const;
  const kept = createColumn(Float64Array);
  let size = 0;
  // Port by port, as the table lies, each after what it was before.
  const before = new Float64Array(4);
  const rows = {
    table: "intervals",
    columns: ["port", "first_ms", "last_ms", "verdict"],
    keys: 2,
    where: `port ${begunIn(span)} AND first_ms <= ?2`,
  } as const;
  eachRow(store, rows, ends, (row) => {
    if (row[PORT] === before[PORT] && row[FIRST] >= span.sinceMs) {
      for (const value of row) kept.set(size++, value);
      kept.set(size++, before[VERDICT]);
      kept.set(size++, before[LAST]);
      kept.set(size++, -1);
    }
    before.set(row);
  });
  const count = size / WIDTH;
  const of = (change: number, what: number): number => kept.get(change * WIDTH + what);
  addDoubts();
  const times = Float64Array.from({ length: count }, (_, i) => of(i, FIRST));
  const order = Uint32Array.from(times.keys()).sort((a, b) => times[a] - times[b]);
  // Read last, they have all that the rows name, whatever another process writes meanwhile.
  const { ids, hosts, numbers, others } = portsOf(store, span);
  const verdicts = verdictsOf(store);
  // Looked up while both are in the same order: in that of time it would be one look into memory after the other.
  for (let i = 0, place = 0; i < count; i++) {
    while (place < ids.length && ids[place] < of(i, PORT)) place++;
    kept.set(i * WIDTH + PORT, ids[place] === of(i, PORT) ? place : -1);
  }
  for (const i of order) {
    const place = of(i, PORT);
    const verdict = verdicts.get(of(i, VERDICT));
    const old = verdicts.get(of(i, OLD_VERDICT));
    if (place < 0 || verdict === undefined || old === undefined) continue;
    if (verdict.state === old.state && !(reasons && isOtherReason(verdict, old))) continue;
    const { ip, name } = hosts[place];
    const { proto = "tcp", service } = others.get(place) ?? {};
    const doubt = of(i, DOUBT);
    yield {
      ip,
      name,
      proto,
      port: numbers[place],
      service,
      state: verdict.state,
      reason: verdict.reason,
      firstMs: of(i, FIRST),
      lastMs: of(i, LAST),
      doubt: doubt < 0 ? undefined : doubt,
      oldState: old.state,
      oldReason: old.reason,
      oldLastMs: of(i, OLD_LAST),
    };
  }

  /** They are no whole numbers, and few are wanted. */
  function addDoubts(): void {
    // As the table lies: with a + SQLite does not look up every row by its time.
    const doubts = store
      .prepare(
        `SELECT port, first_ms, doubt FROM intervals WHERE doubt >= ?3 AND port ${begunIn(span)} AND +first_ms BETWEEN ?1 AND ?2 ORDER BY port, first_ms`,
      )
      .columns(...ends, leastDoubt);
    let i = 0;
    for (const [port, first, doubt] of doubts) {
      while (i < count && (of(i, PORT) - Number(port) || of(i, FIRST) - Number(first)) < 0) i++;
      if (of(i, PORT) === port && of(i, FIRST) === first) kept.set(i * WIDTH + DOUBT, Number(doubt));
    }
  }
}

/** The ports that begin an interval in a span, by their numbers; what few have by their places in these lists. */
interface Ports {
  readonly ids: readonly number[];
  readonly hosts: readonly Pick<Interval, "ip" | "name">[];
  readonly numbers: readonly number[];
  readonly others: ReadonlyMap<number, Pick<Interval, "proto" | "service">>;
}

function portsOf(store: Store, span: Span): Ports {
  const hostOf = new Map(
    Array.from(store.prepare("SELECT id, ip, name FROM hosts").columns(), ([id, ip, name]) => [
      Number(id),
      { ip: String(ip), name: name === null ? undefined : String(name) },
    ]),
  );
  const [ids, hosts, numbers]: [number[], Pick<Interval, "ip" | "name">[], number[]] = [[], [], []];
  const where = `id ${begunIn(span)}`;
  const ends = [span.sinceMs, span.untilMs] as const;
  eachRow(
    store,
    { table: "ports", columns: ["id", "host", "port"], keys: 1, where },
    ends,
    ([id, host, port]) => {
      ids.push(id);
      hosts.push(hostOf.get(host) ?? { ip: "" });
      numbers.push(port);
    },
  );
  const others = new Map<number, Pick<Interval, "proto" | "service">>();
  const rows = store
    .prepare(
      `SELECT id, proto, service FROM ports WHERE ${where} AND (proto <> 'tcp' OR service IS NOT NULL) ORDER BY id`,
    )
    .columns(...ends);
  let place = 0;
  for (const [id, proto, service] of rows) {
    while (place < ids.length && ids[place] < Number(id)) place++;
    if (ids[place] === id)
      others.set(place, {
        proto: protocolOf(String(proto)),
        service: service === null ? undefined : String(service),
      });
  }
  return { ids, hosts, numbers, others };
}

interface Verdict {
  readonly state: Interval["state"];
  readonly reason: string;
}

/** Where a run came late an interval may follow one of the same verdict; and some formats tell no reasons. */
const isOtherReason = ({ reason }: Verdict, old: Verdict): boolean =>
  reason !== old.reason && reason !== "" && old.reason !== "";

const verdictsOf = (store: Store): ReadonlyMap<number, Verdict> =>
  new Map(
    store
      .prepare("SELECT id, state, reason FROM verdicts")
      .all()
      .map((row) => [num(row, "id"), { state: stateOf(text(row, "state")), reason: text(row, "reason") }]),
  );
