/**
 * How large a store grows, and how long questions take: a year of hourly scans of 65,536 ports of which 1 % change a day.
 *
 * `node --import tsx test/bench/history.ts [DAYS]`. Every hour brings the ports that change, and once a day all ports: an hour in
 * which nothing changes makes rows no larger. How long a whole run takes to be put in is measured on the daily ones.
 */
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { changes } from "../../src/runtime/store/changes.ts";
import { openStore } from "../../src/runtime/store/database.ts";
import { statesAt, timeline } from "../../src/runtime/store/query.ts";
import { createRecorder, type Seen } from "../../src/runtime/store/record.ts";

const DAYS = Number(process.argv[2] ?? 365);
const HOSTS = 4096;
const PORTS = 16;
const CHANGED_A_DAY = 0.01;
const HOUR = 3_600_000;
const START = Date.parse("2026-01-01T00:00:00Z");

/** A small generator with a seed (mulberry32). */
function random(seed: number): () => number {
  let a = seed;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const draw = random(1);
const VERDICTS = [
  ["open", "syn-ack"],
  ["closed", "reset"],
  ["filtered", "no-response"],
] as const;
const states = Uint8Array.from({ length: HOSTS * PORTS }, () => (draw() < 0.03 ? 0 : draw() < 0.5 ? 1 : 2));

function seen(pair: number, timeMs: number): Seen {
  const host = Math.floor(pair / PORTS);
  const [state, reason] = VERDICTS[states[pair]];
  const doubt = state === "filtered" ? 0.0000512 : undefined;
  return {
    ip: `198.18.${host >> 8}.${host & 255}`,
    proto: "tcp",
    port: 1 + (pair % PORTS),
    state,
    reason,
    doubt,
    timeMs,
  };
}

const folder = mkdtempSync(join(tmpdir(), "synprobe-history-"));
const path = join(folder, "history.db");
const store = openStore(path, true);
const whole: number[] = [];
const perHour = Math.round((states.length * CHANGED_A_DAY) / 24);
for (let hour = 0; hour < DAYS * 24; hour++) {
  const now = START + hour * HOUR;
  const recorder = createRecorder(store);
  const all = hour % 24 === 0;
  const changed = new Set(Array.from({ length: perHour }, () => Math.floor(draw() * states.length)));
  for (const pair of changed) states[pair] = (states[pair] + 1 + Math.floor(draw() * 2)) % 3;
  for (const pair of all ? states.keys() : changed) recorder.add(seen(pair, now + (pair % 60_000)));
  const from = performance.now();
  recorder.commit({
    startedMs: now,
    endedMs: now + 60_000,
    source: "synprobe -iL all",
    ending: "complete",
    loss: 0.01,
  });
  if (all) whole.push(performance.now() - from);
}
const timed = (name: string, rows: () => Iterable<unknown>): void => {
  const from = performance.now();
  let count = 0;
  for (const _ of rows()) count++;
  console.log(`${name}: ${count} rows in ${((performance.now() - from) / 1000).toFixed(2)} s`);
};
const end = START + DAYS * 24 * HOUR;
timed("changes of it all", () => changes(store, { sinceMs: 0, untilMs: end }, false));
timed("changes of a week", () => changes(store, { sinceMs: end - 7 * 24 * HOUR, untilMs: end }, false));
timed("states in the middle", () => statesAt(store, START + DAYS * 12 * HOUR));
timed("one host", () => timeline(store, "198.18.7.7", undefined, { sinceMs: 0, untilMs: end }));
const wal = statSync(`${path}-wal`).size;
store.close();
whole.sort((a, b) => a - b);
console.log(
  `${DAYS} days: ${(statSync(path).size / 1e6).toFixed(1)} MB (WAL ${(wal / 1e6).toFixed(1)} MB while open); ` +
    `a run of ${states.length} ports put in in ${(whole[whole.length >> 1] / 1000).toFixed(2)} s (median of ${whole.length})`,
);
rmSync(folder, { recursive: true });
