/**
 * Puts one run into the store. Results are held in typed arrays, about 70 bytes a port, until the run has ended, and written in
 * one transaction: whatever happens before its end, the store is as it was.
 *
 * A port's intervals never overlap. A result of the same verdict as the one before makes that interval longer, another begins
 * one; a result without a reason, which some formats do not tell, is of the same verdict as any of its state. Runs may come in any
 * order: an earlier result that contradicts an interval splits it, and of its two parts nothing is claimed but the ends that were seen.
 */
import { createColumn, createPairIndex, createTexts } from "../../report/read/pair-index.ts";
import { PROTOCOLS, type RecordedPort } from "../../report/read/recorded.ts";
import { hasFailed } from "../../scan/probe/result.ts";
import type { Row, SqlValue, Store } from "./database.ts";

/** What is said of a run as a whole. Times in milliseconds since the Unix epoch. */
export interface RunToStore {
  readonly startedMs: number;
  readonly endedMs: number;
  /** The command line, or the name of a file. */
  readonly source: string;
  readonly ending: "complete" | "interrupted" | "cut-off" | "unknown";
  /** Of the round trip, 0 to 1. */
  readonly loss?: number;
  /** It is from a file: nmap's formats have its start in whole seconds, and several may be of one run. */
  readonly isImported?: boolean;
}

/** What was written. */
export interface Recorded {
  readonly ports: number;
  /** Ports whose state was another in the interval before. */
  readonly changed: number;
  /** The run was in the store already, and nothing was written. */
  readonly known: boolean;
}

/** What is kept of a result. */
export type Seen = Pick<RecordedPort, "ip" | "proto" | "port" | "state" | "reason"> & {
  readonly host?: string | undefined;
  readonly aliases?: readonly string[] | undefined;
  readonly service?: string | undefined;
  readonly doubt?: number | undefined;
  readonly timeMs?: number | undefined;
};

export interface Recorder {
  /** A later result on the same port of this run replaces the earlier. One that could not be probed is as it was. */
  add(port: Seen): void;
  /**
   * Writes it all. Results without a time of their own are of the run's start.
   * @param also is done in the same transaction
   * @throws {SynprobeError} `ERR_STORE`; nothing is written then
   */
  commit(run: RunToStore, also?: () => void): Recorded;
}

/** A port's newest interval. */
interface Newest {
  readonly id: number;
  readonly first: number;
  readonly last: number;
  readonly verdict: number;
}

export function createRecorder(store: Store): Recorder {
  const pairs = createPairIndex();
  const texts = createTexts();
  const verdicts = createColumn(Uint32Array);
  const services = createColumn(Uint32Array);
  const doubts = createColumn(Float64Array);
  const times = createColumn(Float64Array);
  /** By address, what its last result was called, and its other names. */
  const names = new Map<string, string>();
  const others = new Map<string, Set<string>>();
  let lastAliases: readonly string[] | undefined;
  let open = 0;
  return {
    add({ ip, proto, port, state, reason, host, aliases, service, doubt, timeMs }) {
      if (hasFailed(reason)) return;
      const pair = pairs.add(ip, proto, port);
      if (texts.get(verdicts.get(pair)).startsWith("open ")) open--;
      if (state === "open") open++;
      verdicts.set(pair, texts.add(`${state} ${reason}`));
      services.set(pair, texts.add(service ?? ""));
      doubts.set(pair, doubt ?? -1);
      times.set(pair, timeMs ?? 0);
      if (host === undefined || host === "") return;
      const before = names.get(ip);
      names.set(ip, host);
      // All ports of a host may share one long list.
      if ((before ?? host) === host && (aliases === undefined || aliases === lastAliases)) return;
      lastAliases = aliases;
      const known = others.get(ip) ?? new Set();
      for (const name of [before ?? host, ...(aliases ?? [])]) known.add(name);
      others.set(ip, known);
    },
    commit: (run, also) =>
      store.transaction(() => {
        const recorded = write(run);
        also?.();
        return recorded;
      }),
  };

  function write(run: RunToStore): Recorded {
    const ports = pairs.size();
    const startedMs = Math.round(run.startedMs);
    const endedMs = Math.round(run.endedMs);
    const values = [startedMs, endedMs, run.source, run.ending, ports, open, run.loss ?? null];
    // A file that was cut off may be whole now. What says when it began may stand at its end. A run that is put in by itself is none
    // of those before it, but for one that is resumed once more: one of the same command line may have begun, and been ended, while it
    // went on.
    const part = store
      .prepare(
        "SELECT id, ports FROM runs WHERE source = ? AND ending <> 'complete' AND started_ms BETWEEN ? AND ?",
      )
      .get(run.source, startedMs, run.isImported === true ? endedMs : startedMs);
    const isMore = run.ending === "complete" || ports > num(part, "ports");
    // A run may be there from another of its files, which had less of it: -oG does not list what is "ignored".
    const second = startedMs - (startedMs % 1000);
    const twin =
      run.isImported === true
        ? store
            .prepare(
              "SELECT id, ports FROM runs WHERE source = ? AND ending = 'complete' AND started_ms BETWEEN ? AND ? AND (started_ms % 1000 = 0 OR ?)",
            )
            .get(run.source, second, second + 999, second === startedMs ? 1 : 0)
        : undefined;
    if (twin !== undefined && ports <= num(twin, "ports")) return { ports, changed: 0, known: true };
    const lesser = twin ?? (isMore ? part : undefined);
    const added =
      lesser !== undefined
        ? store
            .prepare(
              // What either file has counts: the one that is whole may have less than the one that broke off.
              "UPDATE OR IGNORE runs SET started_ms = ?, ended_ms = ?, source = ?, ending = iif(ending = 'complete', ending, ?), ports = max(ports, ?), open = max(open, ?), loss = ? WHERE id = ? RETURNING id",
            )
            .get(...values, num(lesser, "id"))
        : store
            .prepare(
              "INSERT INTO runs (started_ms, ended_ms, source, ending, ports, open, changed, loss) VALUES (?, ?, ?, ?, ?, ?, 0, ?) ON CONFLICT DO NOTHING RETURNING id",
            )
            .get(...values);
    if (added === undefined) return { ports, changed: 0, known: true };
    const writer = createWriter(store);
    const verdictIds = new Map<number, { readonly id: number; readonly state: string }>();
    const verdictOf = (text: number) => {
      const known = verdictIds.get(text);
      if (known !== undefined) return known;
      const [state, ...reason] = texts.get(text).split(" ");
      const found = { id: writer.verdict(state, reason.join(" ")), state };
      verdictIds.set(text, found);
      return found;
    };
    // Host by host, so that what is known of one is read at once.
    const byHost = Uint32Array.from({ length: ports }, (_, pair) => pair).sort(
      (a, b) => pairs.hostOf(a) - pairs.hostOf(b),
    );
    let changed = 0;
    let host = -1;
    let hostId = 0;
    let known = new Map<number, Newest>();
    for (const pair of byHost) {
      if (pairs.hostOf(pair) !== host) {
        host = pairs.hostOf(pair);
        const ip = pairs.ips[host];
        hostId = writer.host(ip, names.get(ip), others.get(ip) ?? [], startedMs);
        known = writer.portsOf(hostId);
      }
      const { id: verdict, state } = verdictOf(verdicts.get(pair));
      const doubt = doubts.get(pair);
      const isChange = writer.put({
        hostId,
        proto: pairs.protoOf(pair),
        port: pairs.portOf(pair),
        service: texts.get(services.get(pair)),
        newest: known.get(pairs.portKeyOf(pair)),
        ms: Math.round(times.get(pair) || run.startedMs),
        verdict,
        state,
        doubt: doubt < 0 ? null : doubt,
      });
      if (isChange) changed++;
    }
    store.prepare("UPDATE runs SET changed = changed + ? WHERE id = ?").run(changed, num(added, "id"));
    return { ports, changed, known: false };
  }
}

interface Observation {
  readonly hostId: number;
  readonly proto: string;
  readonly port: number;
  readonly service: string;
  readonly newest: Newest | undefined;
  readonly ms: number;
  readonly verdict: number;
  readonly state: string;
  readonly doubt: number | null;
}

/** The statements of one transaction. */
function createWriter(store: Store) {
  const addHost = store.prepare(
    "INSERT INTO hosts (ip, name) VALUES (?, ?) ON CONFLICT DO UPDATE SET name = coalesce(excluded.name, name) RETURNING id",
  );
  const addName = store.prepare(
    "INSERT INTO names (name, host, last_ms) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET last_ms = max(last_ms, excluded.last_ms)",
  );
  const newestOf = store.prepare(
    `SELECT p.id, p.proto, p.port, i.first_ms, i.last_ms, i.verdict FROM ports p
     JOIN intervals i ON i.port = p.id AND i.first_ms = (SELECT max(first_ms) FROM intervals WHERE port = p.id)
     WHERE p.host = ?`,
  );
  const addPort = store.prepare(
    "INSERT INTO ports (host, proto, port, service) VALUES (?, ?, ?, ?) RETURNING id",
  );
  const addVerdict = store.prepare(
    "INSERT INTO verdicts (state, reason) VALUES (?, ?) ON CONFLICT DO UPDATE SET reason = reason RETURNING id",
  );
  const verdictOf = store.prepare("SELECT state, reason FROM verdicts WHERE id = ?");
  const explain = store.prepare("UPDATE intervals SET verdict = ? WHERE port = ? AND first_ms = ?");
  const extend = store.prepare("UPDATE intervals SET last_ms = ? WHERE port = ? AND first_ms = ?");
  const begin = store.prepare(
    "INSERT INTO intervals (port, first_ms, last_ms, verdict, doubt) VALUES (?, ?, ?, ?, ?)",
  );
  const remove = store.prepare("DELETE FROM intervals WHERE port = ? AND first_ms = ?");
  const before = store.prepare(
    "SELECT first_ms, last_ms, verdict, doubt FROM intervals WHERE port = ? AND first_ms <= ? ORDER BY first_ms DESC LIMIT 1",
  );
  const after = store.prepare(
    "SELECT first_ms, last_ms, verdict, doubt FROM intervals WHERE port = ? AND first_ms > ? ORDER BY first_ms LIMIT 1",
  );
  const verdicts = new Map<number, { readonly state: string; readonly reason: string }>();
  const lookUp = (id: number) => {
    const known = verdicts.get(id);
    if (known !== undefined) return known;
    const row = verdictOf.get(id);
    const found = { state: text(row, "state"), reason: text(row, "reason") };
    verdicts.set(id, found);
    return found;
  };

  /** Some formats tell no reasons: without one it may be the same. */
  function isSame(one: number, other: number): boolean {
    if (one === other) return true;
    const [a, b] = [lookUp(one), lookUp(other)];
    return a.state === b.state && (a.reason === "" || b.reason === "");
  }
  const withReason = (one: number, other: number): number => (lookUp(one).reason === "" ? other : one);
  /** Gives the interval that begins at `first` the reason, if it has none. */
  const explainWith = (verdict: number, id: number, first: number, known: number): void => {
    const better = withReason(known, verdict);
    if (better !== known) explain.run(better, id, first);
  };

  /** A result of before the newest interval's end. */
  function putEarlier(id: number, ms: number, verdict: number, doubt: number | null): void {
    const previous = before.get(id, ms);
    if (previous !== undefined && ms <= num(previous, "last_ms")) {
      if (isSame(num(previous, "verdict"), verdict)) {
        explainWith(verdict, id, num(previous, "first_ms"), num(previous, "verdict"));
        return;
      }
      const [first, last] = [num(previous, "first_ms"), num(previous, "last_ms")];
      // The ends were seen; what is between them no longer counts. At an end itself what is known stays.
      if (ms === first || ms === last) return;
      extend.run(first, id, first);
      begin.run(id, ms, ms, verdict, doubt);
      begin.run(id, last, last, num(previous, "verdict"), doubtOf(previous));
      return;
    }
    const next = previous === undefined ? after.get(id, ms) : undefined;
    // Between two intervals a split may have forgotten results: no interval may reach over that.
    const joinsNext = next !== undefined && isSame(num(next, "verdict"), verdict);
    if (joinsNext) {
      remove.run(id, num(next, "first_ms"));
      begin.run(id, ms, num(next, "last_ms"), withReason(verdict, num(next, "verdict")), doubt);
    } else begin.run(id, ms, ms, verdict, doubt);
  }

  return {
    /** @param name what it is called now @param others names that it had before, in the same run */
    host(ip: string, name: string | undefined, others: Iterable<string>, ms: number): number {
      const id = num(addHost.get(ip, name ?? null), "id");
      if (name !== undefined) for (const each of [name, ...others]) addName.run(each, id, ms);
      return id;
    },
    portsOf: (host: number): Map<number, Newest> =>
      new Map(
        newestOf.all(host).map((row) => [
          PROTOCOLS.findIndex((each) => each === text(row, "proto")) * 65_536 + num(row, "port"),
          {
            id: num(row, "id"),
            first: num(row, "first_ms"),
            last: num(row, "last_ms"),
            verdict: num(row, "verdict"),
          },
        ]),
      ),
    verdict: (state: string, reason: string): number => num(addVerdict.get(state, reason), "id"),
    /** @returns whether its state was another before */
    put({ hostId, proto, port, service, newest, ms, verdict, state, doubt }: Observation): boolean {
      if (newest === undefined) {
        const id = num(addPort.get(hostId, proto, port, service === "" ? null : service), "id");
        begin.run(id, ms, ms, verdict, doubt);
        return false;
      }
      const { id, first, last } = newest;
      if (ms <= last) putEarlier(id, ms, verdict, doubt);
      else if (isSame(newest.verdict, verdict)) {
        extend.run(ms, id, first);
        explainWith(verdict, id, first, newest.verdict);
      } else begin.run(id, ms, ms, verdict, doubt);
      return ms > last && lookUp(newest.verdict).state !== state;
    },
  };
}

const doubtOf = ({ doubt }: Row): SqlValue => doubt ?? null;

/** A number, or a text, of a row that has it. */
export const num = (row: Row | undefined, key: string): number => Number(row?.[key]);
export const text = (row: Row | undefined, key: string): string => String(row?.[key]);
