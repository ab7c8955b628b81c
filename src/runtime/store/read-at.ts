/**
 * A store read as if it were a file of results: what was known at a time, and for a report how it came to be so.
 * Tested by test/runtime/store/record.test.ts and test/report/html/history.test.ts.
 */
import { utc } from "../../report/figures.ts";
import type {
  Change,
  Interval,
  RecordedHistory,
  RecordedRun,
  RecordedSink,
} from "../../report/read/recorded.ts";
import { changes } from "./changes.ts";
import { openStore, type Store } from "./database.ts";
import { statesAt, timeline } from "./query.ts";
import { num } from "./record.ts";

/** Ports of which a report has all that was seen, and the newest intervals of each. */
const MOST_PORTS = 48;
const MOST_INTERVALS = 100;
const MOST_CHANGES = 1000;

/**
 * What was known at a time: for `diff`, `report` and `-iR`.
 * @param name as messages have it @throws {SynprobeError} `ERR_STORE`
 */
export function readStoreAt(path: string, ms: number, name: string, sink: RecordedSink): RecordedRun {
  const store = openStore(path, false);
  try {
    const open: Interval[] = [];
    for (const interval of statesAt(store, ms)) {
      const { ip, name: host, proto, port, service, state, reason, doubt, lastMs } = interval;
      const timeMs = Math.min(lastMs, ms);
      sink.port({ ip, host, proto, port, service, state, reason, doubt, timeMs });
      if (state === "open" && open.length < MOST_PORTS) open.push(interval);
    }
    // What is as it was may be so because nobody has looked since.
    const last = store.prepare("SELECT coalesce(max(started_ms), 0) AS ms FROM runs WHERE started_ms <= ?");
    const lastRunMs = num(last.get(ms), "ms");
    return {
      name,
      format: "store",
      command: `what was known at ${utc(ms)} UTC${lastRunMs > 0 ? `, last run ${utc(lastRunMs)}` : ""}`,
      ending: "complete",
      startedMs: ms,
      ...(lastRunMs > 0 ? { lastRunMs } : {}),
      ...(sink.wantsHistory === true ? { history: historyUntil(store, ms, open) } : {}),
    };
  } finally {
    store.close();
  }
}

function historyUntil(store: Store, untilMs: number, open: readonly Interval[]): RecordedHistory {
  const span = { sinceMs: 0, untilMs };
  const newest: Change[] = [];
  const changed = new Set<string>();
  let count = 0;
  for (const change of changes(store, span, false)) {
    count++;
    changed.add(keyOf(change));
    newest.push(change);
    if (newest.length === 2 * MOST_CHANGES) newest.splice(0, MOST_CHANGES);
  }
  newest.reverse().splice(MOST_CHANGES);
  const chosen = new Map<string, Interval>();
  for (const each of [...newest, ...open]) if (chosen.size < MOST_PORTS) chosen.set(keyOf(each), each);
  return {
    ports: [...chosen].map(([key, { ip, port }]) =>
      // A name may be another host's address.
      [...timeline(store, ip, port, span)].filter((each) => keyOf(each) === key).slice(-MOST_INTERVALS),
    ),
    morePorts: [...changed].filter((key) => !chosen.has(key)).length,
    changes: newest,
    moreChanges: count - newest.length,
  };
}

const keyOf = ({ ip, proto, port }: Interval): string => `${ip} ${proto} ${port}`;
