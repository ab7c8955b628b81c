/**
 * A watch's memory in the store: what was known when it ended, and a round's results, its events and who is to be told of them,
 * in one transaction. Nothing is lost by a crash after it, and nothing is told twice.
 */
import type { Outcome } from "../../policy/judge.ts";
import { type PortResult, pairKey, pairOf } from "../../scan/probe/result.ts";
import type { Store } from "../store/database.ts";
import { namesByAddress, statesAt } from "../store/query.ts";
import { createRecorder, num, type RunToStore, text } from "../store/record.ts";
import type { ChangeDetector, ChangeEvent, Round } from "./change-detector.ts";
import type { Judgement, WatchedPolicy } from "./policy.ts";

export const KINDS = ["changed", "flapping", "settled", "violation", "restored"] as const;

/** What a round is held against. */
type Judging = Pick<WatchedPolicy, "judge" | "unprobed" | "watches">;

/** An event as it is told, to standard output, programs and web hooks alike. */
export interface ToldEvent {
  readonly type: (typeof KINDS)[number];
  /** Of this store: an event that comes twice has the same. */
  readonly id: number;
  /** RFC 3339. */
  readonly ts: string;
  readonly ip: string;
  readonly host?: string;
  readonly port: number;
  readonly proto: string;
  readonly service?: string;
  readonly old: { readonly state: string };
  readonly new: { readonly state: string; readonly reason: string };
  /** Chance that the change is none. */
  readonly doubt: number;
  /** What the policy wants of it, and where it says so. */
  readonly policy?: { readonly expected: string; readonly rule: string };
  /** Of a violation that is over without having become right: the port is watched no longer, and `new` is what was known last. */
  readonly why?: string;
}

/** What is to be told of a port. */
interface Told extends Omit<ChangeEvent, "kind"> {
  readonly kind: ToldEvent["type"];
  readonly judgement?: Judgement;
}

/** What a port is called, whatever address its names have. */
export const namesOf = ({
  host,
  aliases = [],
  port,
}: Pick<PortResult, "host" | "aliases" | "port">): readonly string[] =>
  host === undefined ? [] : [host, ...aliases].map((name) => `${name} ${port}`);

/** Tells the detector what was known. */
export function restore(store: Store, detector: ChangeDetector, nowMs: number): void {
  const flaps = new Map(
    store
      .prepare(
        "SELECT ip, p.port, penalty, at_ms, told FROM flaps f JOIN ports p ON p.id = f.port JOIN hosts h ON h.id = p.host",
      )
      .all()
      .map((row) => {
        const { told } = row;
        const known = { penalty: num(row, "penalty"), atMs: num(row, "at_ms") };
        const key = pairKey({ ip: text(row, "ip"), port: num(row, "port") });
        return [key, told === null ? known : { ...known, told: String(told) }];
      }),
  );
  const named = namesByAddress(store);
  const seen = new Map<string, number>();
  for (const { proto, ...each } of statesAt(store, nowMs)) {
    if (proto !== "tcp") continue;
    const names = (named.get(each.ip) ?? []).flatMap(({ name, lastMs }) => {
      const called = `${name} ${each.port}`;
      if (lastMs < (seen.get(called) ?? lastMs)) return [];
      seen.set(called, lastMs);
      return [called];
    });
    const key = pairKey(each);
    detector.restore(key, each, flaps.get(key), names);
  }
}

/** A round that has ended. */
export interface EndedRound {
  readonly run: RunToStore;
  readonly round: Round;
  /** The newest result of every port, by its key. */
  readonly results: ReadonlyMap<string, PortResult>;
  /** Ports that could not be probed, by reason: they stay as they were. */
  readonly failures: ReadonlyMap<string, number>;
}

/** Of a policy's ports, probed or not, how many are what: untold are also those that could not be probed. */
export type Outcomes = Readonly<Record<Outcome, number>>;

export interface CommittedRound {
  /** As they are told. */
  readonly events: readonly ToldEvent[];
  /** Undefined without a policy. */
  readonly outcomes?: Outcomes;
}

/**
 * Writes a round. @param targets who is to be told of each event
 * @throws {SynprobeError} `ERR_STORE`; nothing is written then
 */
export function commitRound(
  store: Store,
  detector: ChangeDetector,
  { run, round, results, failures }: EndedRound,
  targets: readonly string[],
  policy?: Judging,
): CommittedRound {
  const recorder = createRecorder(store);
  for (const [key, { state }] of round.verdicts) {
    const result = results.get(key);
    if (result !== undefined && result.state === state) recorder.add({ ...result, proto: "tcp" });
  }
  const ids: number[] = [];
  let outcomes: Outcomes | undefined;
  recorder.commit(run, () => {
    const portId = store.prepare(
      "SELECT p.id FROM ports p JOIN hosts h ON h.id = p.host WHERE h.ip = ? AND p.proto = 'tcp' AND p.port = ?",
    );
    const idOf = (key: string): number => {
      const { ip, port } = pairOf(key);
      return num(portId.get(ip, port), "id");
    };
    const addEvent = store.prepare(
      "INSERT INTO events (at_ms, kind, port, old_state, state, reason, doubt, expected, rule) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    );
    const addDelivery = store.prepare("INSERT INTO deliveries (event, target) VALUES (?, ?)");
    const atMs = Math.round(run.endedMs);
    const judged =
      policy === undefined
        ? undefined
        : byPolicy(store, { round, results, failures, held: heldOf(detector) }, policy, atMs, idOf);
    const told: readonly Told[] = judged?.told ?? round.events;
    outcomes = judged?.outcomes;
    for (const { kind, key, old, verdict, doubt, judgement } of told) {
      const { expected = null, rule = null } = judgement ?? {};
      const id = Number(
        addEvent.run(atMs, kind, idOf(key), old, verdict.state, verdict.reason, doubt, expected, rule)
          .lastInsertRowid,
      );
      for (const target of targets) addDelivery.run(id, target);
      ids.push(id);
    }
    store.prepare("DELETE FROM flaps").run();
    const addFlaps = store.prepare("INSERT INTO flaps (port, penalty, at_ms, told) VALUES (?, ?, ?, ?)");
    for (const [key, { penalty, atMs, told }] of detector.flaps())
      addFlaps.run(idOf(key), penalty, Math.round(atMs), told ?? null);
  });
  const events = ids.length === 0 ? [] : readEvents(store, ids[0], ids[ids.length - 1]);
  return outcomes === undefined ? { events } : { events, outcomes };
}

/** Events that were told, by their numbers, the last included. @throws {SynprobeError} `ERR_STORE` */
export const readEvents = (store: Store, first: number, last: number): ToldEvent[] =>
  store.prepare(`${EVENT} WHERE e.id BETWEEN ? AND ? ORDER BY e.id`).all(first, last).map(toldEvent);

const heldOf = (detector: ChangeDetector): ReadonlySet<string> =>
  new Set([...detector.flaps()].flatMap(([key, { told }]) => (told === undefined ? [] : [key])));

/**
 * Of a policy: what becomes wrong is told as a violation, what becomes right as restored, in the place of the change by which it
 * does; what is wrong from the beginning, too. A change is confirmed, and counts for what it is. Ports that are held down, and what
 * cannot be told otherwise, stay as they were told. A violation of a port that is watched no longer is over.
 */
function byPolicy(
  store: Store,
  { round, results, failures, held }: Omit<EndedRound, "run"> & { readonly held: ReadonlySet<string> },
  policy: Judging,
  atMs: number,
  idOf: (key: string) => number,
): { readonly told: readonly Told[]; readonly outcomes: Outcomes } {
  const wrong = new Set<number>();
  const begin = store.prepare("INSERT INTO violations (port, since_ms) VALUES (?, ?)");
  const end = store.prepare("DELETE FROM violations WHERE port = ?");
  const told = new Map<string, Told>(round.events.map((event) => [event.key, event]));
  for (const row of store.prepare(VIOLATION).all()) {
    const id = num(row, "id");
    const pair = { ip: text(row, "ip"), port: num(row, "port") };
    if (policy.watches(pair.ip, pair.port, row["name"] === null ? undefined : text(row, "name")))
      wrong.add(id);
    else {
      end.run(id);
      const verdict = { state: text(row, "state"), reason: text(row, "reason") };
      told.set(pairKey(pair), {
        kind: "restored",
        key: pairKey(pair),
        old: verdict.state,
        verdict,
        doubt: 0,
      });
    }
  }
  const outcomes: Record<Outcome, number> = { "as-written": 0, differs: 0, untold: 0 };
  /** Violations of ports that this round says nothing of. */
  const unseen = new Set(wrong);
  for (const [key, verdict] of round.verdicts) {
    const result = results.get(key);
    const event = told.get(key);
    const judgement = result === undefined ? undefined : policy.judge(result, event !== undefined);
    if (judgement === undefined) continue;
    const { outcome } = judgement;
    if (event !== undefined) told.set(key, { ...event, judgement });
    const id = idOf(key);
    unseen.delete(id);
    if (outcome === "untold") {
      outcomes[wrong.has(id) ? "differs" : outcome]++;
      continue;
    }
    outcomes[outcome]++;
    const differs = outcome === "differs";
    if (held.has(key) || differs === wrong.has(id)) continue;
    if (differs) begin.run(id, atMs);
    else end.run(id);
    const { old = verdict.state, doubt = verdict.doubt ?? 0 } = event ?? {};
    told.set(key, { kind: differs ? "violation" : "restored", key, old, verdict, doubt, judgement });
  }
  const missing = [...failures.values()].reduce((sum, n) => sum + n, round.unsettled + policy.unprobed());
  outcomes.differs += unseen.size;
  outcomes.untold += Math.max(0, missing - unseen.size);
  return { told: [...told.values()], outcomes };
}

/** Every violation, with the newest verdict on its port. */
const VIOLATION = `SELECT p.id, h.ip, h.name, p.port, v.state, v.reason
  FROM violations x JOIN ports p ON p.id = x.port JOIN hosts h ON h.id = p.host
    JOIN intervals i ON i.port = p.id AND i.first_ms = (SELECT max(first_ms) FROM intervals WHERE port = p.id)
    JOIN verdicts v ON v.id = i.verdict`;

const EVENT = `SELECT e.id, e.at_ms, e.kind, h.ip, h.name, p.port, p.proto, p.service, e.old_state, e.state, e.reason, e.doubt, e.expected, e.rule
  FROM events e JOIN ports p ON p.id = e.port JOIN hosts h ON h.id = p.host`;

type EventRow = Parameters<typeof num>[0] & object;

function toldEvent(row: EventRow): ToldEvent {
  const { kind, name = null, service = null, expected = null } = row;
  return {
    type: KINDS.find((each) => each === kind) ?? "changed",
    id: num(row, "id"),
    ts: new Date(num(row, "at_ms")).toISOString(),
    ip: text(row, "ip"),
    ...(name === null ? {} : { host: String(name) }),
    port: num(row, "port"),
    proto: text(row, "proto"),
    ...(service === null ? {} : { service: String(service) }),
    old: { state: text(row, "old_state") },
    new: { state: text(row, "state"), reason: text(row, "reason") },
    doubt: num(row, "doubt"),
    ...(expected === null ? {} : { policy: { expected: String(expected), rule: text(row, "rule") } }),
    ...(kind === "restored" && expected === null ? { why: "no longer watched" } : {}),
  };
}

/** Events that one target is still to be told of. @throws {SynprobeError} `ERR_STORE` */
export const countWaiting = (store: Store, target: string): number =>
  num(
    store.prepare("SELECT count(*) AS n FROM deliveries WHERE target = ? AND done_ms IS NULL").get(target),
    "n",
  );

/** The outbox of one target. */
export interface Outbox {
  /**
   * The oldest events that are still to be told, all of one round, and from when on to try; undefined when there is none.
   * @param most so many, 1 when left out
   */
  next(
    most?: number,
  ): { readonly events: readonly ToldEvent[]; readonly tries: number; readonly atMs: number } | undefined;
  /** They were taken, or never will be: `error` says why. */
  done(events: readonly ToldEvent[], nowMs: number, error?: string): void;
  /** They were not taken; to be tried again. */
  failed(events: readonly ToldEvent[], nextMs: number, error: string): void;
  pending(): number;
}

/** Of the events with these numbers, an array in JSON. */
const AMONG = "event IN (SELECT value FROM json_each(?))";

/** What has waited since an earlier watch is tried at once, as if for the first time. */
export function openOutbox(store: Store, target: string): Outbox {
  store
    .prepare("UPDATE deliveries SET next_ms = 0, tries = 0 WHERE target = ? AND done_ms IS NULL")
    .run(target);
  const oldest = store.prepare(
    `${EVENT.replace("SELECT", "SELECT d.tries, d.next_ms,")} JOIN deliveries d ON d.event = e.id
     WHERE d.target = ? AND d.done_ms IS NULL ORDER BY e.id LIMIT ?`,
  );
  const end = store.prepare(
    `UPDATE deliveries SET done_ms = ?, error = ?, tries = tries + 1 WHERE target = ? AND ${AMONG}`,
  );
  const again = store.prepare(
    `UPDATE deliveries SET next_ms = ?, error = ?, tries = tries + 1 WHERE target = ? AND ${AMONG}`,
  );
  return {
    next(most = 1) {
      const rows = oldest.all(target, most);
      const [first] = rows;
      if (first === undefined) return undefined;
      const events = rows.filter((row) => num(row, "at_ms") === num(first, "at_ms")).map(toldEvent);
      return { events, tries: num(first, "tries"), atMs: num(first, "next_ms") };
    },
    done: (events, nowMs, error) =>
      void end.run(Math.round(nowMs), error ?? null, target, JSON.stringify(events.map(({ id }) => id))),
    failed: (events, nextMs, error) =>
      void again.run(Math.round(nextMs), error, target, JSON.stringify(events.map(({ id }) => id))),
    pending: () => countWaiting(store, target),
  };
}
