/**
 * Runs put into a store: intervals never overlap and claim nothing that was not seen, in whatever order runs come; a run that is not
 * written to its end is not there at all.
 */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { RecordedRun } from "../../../src/report/read/recorded.ts";
import { changes } from "../../../src/runtime/store/changes.ts";
import { openStore, type Store } from "../../../src/runtime/store/database.ts";
import { namesByAddress, runs, statesAt, timeline } from "../../../src/runtime/store/query.ts";
import { readStoreAt } from "../../../src/runtime/store/read-at.ts";
import { createRecorder, type Recorded, type Seen } from "../../../src/runtime/store/record.ts";
import { everyday } from "../../everyday.ts";

let folder = "";
let store: Store;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "synprobe-record-"));
  store = openStore(join(folder, "h.db"), true);
});
afterEach(() => {
  store.close();
  rmSync(folder, { recursive: true });
});

const seen = (state: Seen["state"], reason: string, rest: Partial<Seen> = {}): Seen => ({
  ip: "192.0.2.1",
  proto: "tcp",
  port: 22,
  state,
  reason,
  ...rest,
});
const OPEN = seen("open", "syn-ack");
const CLOSED = seen("closed", "reset");
const SILENT = seen("filtered", "no-response", { doubt: 0.00001 });

function put(startedMs: number, ...ports: Seen[]): Recorded {
  const recorder = createRecorder(store);
  for (const port of ports) recorder.add(port);
  return recorder.commit({ startedMs, endedMs: startedMs, source: `at ${startedMs}`, ending: "complete" });
}

const ALWAYS = { sinceMs: 0, untilMs: Number.MAX_SAFE_INTEGER };
const intervals = (): [string, number, number][] =>
  [...timeline(store, "192.0.2.1", 22, ALWAYS)].map(({ state, firstMs, lastMs }) => [state, firstMs, lastMs]);

it("a host is found by every name that it was given, whichever run gave it", () => {
  const names = (name: string): [name: string | undefined, port: number][] =>
    [...timeline(store, name, undefined, ALWAYS)].map((each) => [each.name, each.port]);
  put(
    1000,
    { ...OPEN, host: "www.example", aliases: ["mail.example"] },
    { ...OPEN, port: 25, host: "mx.example" },
  );
  put(2000, { ...OPEN, host: "old.example" });
  put(3000, { ...OPEN, host: "www.example" });
  for (const name of ["www.example", "mail.example", "mx.example", "old.example"])
    expect(names(name)).toEqual([
      [name, 22],
      [name, 25],
    ]);
  expect(names("192.0.2.1")[0]).toEqual(["www.example", 22]);
  expect(names("nobody.example")).toEqual([]);
  expect(namesByAddress(store).get("192.0.2.1")).toEqual([
    { name: "mail.example", lastMs: 1000 },
    { name: "mx.example", lastMs: 1000 },
    { name: "old.example", lastMs: 2000 },
    { name: "www.example", lastMs: 3000 },
  ]);
});

it("a store of before there were such names has those that it knew", () => {
  put(1000, { ...OPEN, host: "www.example" });
  put(2000, { ...CLOSED, ip: "192.0.2.2" });
  put(3000, OPEN);
  store.prepare("DROP TABLE names").run();
  store.prepare("PRAGMA user_version = 3").run();
  store.close();
  store = openStore(join(folder, "h.db"), true);
  expect([...namesByAddress(store)]).toEqual([["192.0.2.1", [{ name: "www.example", lastMs: 3000 }]]]);
});

it("names that a version of before goes on to write are known", () => {
  put(1000, { ...OPEN, host: "www.example" });
  store.prepare("UPDATE hosts SET name = 'new.example'").run();
  expect([...timeline(store, "new.example", undefined, ALWAYS)]).toMatchObject([{ name: "new.example" }]);
  expect(namesByAddress(store).get("192.0.2.1")).toEqual([
    { name: "www.example", lastMs: 1000 },
    { name: "new.example", lastMs: 1000 },
  ]);
});

describe("intervals", () => {
  it("grow while the verdict stays, and another begins with another verdict", () => {
    put(1000, OPEN);
    put(2000, OPEN);
    expect(put(3000, CLOSED)).toEqual({ ports: 1, changed: 1, known: false });
    put(4000, CLOSED);
    expect(intervals()).toEqual([
      ["open", 1000, 2000],
      ["closed", 3000, 4000],
    ]);
    expect([...changes(store, ALWAYS, false)]).toEqual([
      expect.objectContaining({ oldState: "open", oldLastMs: 2000, state: "closed", firstMs: 3000 }),
    ]);
  });

  it("go on where a format tells no reason, in whatever order runs come, and know it when one does", () => {
    const untold = { ...OPEN, reason: "" };
    put(2000, untold);
    put(3000, OPEN);
    put(4000, untold);
    put(1000, untold);
    put(2500, untold);
    put(5000, seen("filtered", ""));
    expect([...timeline(store, "192.0.2.1", 22, ALWAYS)]).toEqual([
      expect.objectContaining({ state: "open", reason: "syn-ack", firstMs: 1000, lastMs: 4000 }),
      expect.objectContaining({ state: "filtered", reason: "", firstMs: 5000 }),
    ]);
    expect([...changes(store, ALWAYS, true)]).toHaveLength(1);
  });

  it("say nothing of probes that failed, whoever brings their results", () => {
    put(1000, OPEN);
    put(2000, OPEN, seen("filtered", "send-eperm"), seen("filtered", "host-timeout", { port: 23 }));
    expect(intervals()).toEqual([["open", 1000, 2000]]);
    expect([...timeline(store, "192.0.2.1", 23, ALWAYS)]).toEqual([]);
  });

  it("have a result's own time, and the last result of a run on a port counts", () => {
    put(1000, { ...SILENT, timeMs: 1500 }, { ...OPEN, timeMs: 1700, host: "gate.example" });
    expect([...timeline(store, "gate.example", undefined, ALWAYS)]).toEqual([
      expect.objectContaining({ state: "open", firstMs: 1700, lastMs: 1700, name: "gate.example" }),
    ]);
    expect([...runs(store, ALWAYS)]).toEqual([expect.objectContaining({ ports: 1, open: 1, changed: 0 })]);
  });

  it("another reason is an interval of its own, and a change only when asked for", () => {
    put(1000, SILENT);
    put(2000, seen("filtered", "admin-prohibited"));
    expect(intervals()).toHaveLength(2);
    expect([...changes(store, ALWAYS, false)]).toHaveLength(0);
    expect([...changes(store, ALWAYS, true)]).toHaveLength(1);
  });

  it("a run that is put in twice counts once", () => {
    put(1000, OPEN);
    expect(put(1000, OPEN)).toEqual({ ports: 1, changed: 0, known: true });
    expect([...runs(store, ALWAYS)]).toHaveLength(1);
  });

  it("are of every run, also of one that began and was ended while another of the same command line went on", () => {
    const commit = (startedMs: number, endedMs: number, ending: "complete" | "interrupted") => {
      const recorder = createRecorder(store);
      recorder.add({ ...OPEN, timeMs: startedMs });
      return recorder.commit({ startedMs, endedMs, source: "synprobe 192.0.2.1", ending });
    };
    commit(2000, 3000, "interrupted");
    commit(1000, 5000, "complete");
    expect([...runs(store, ALWAYS)]).toMatchObject([
      { startedMs: 1000, endedMs: 5000, ending: "complete" },
      { startedMs: 2000, endedMs: 3000, ending: "interrupted" },
    ]);
  });

  it("are of a run that is resumed twice by the same command line: the second time goes on with its row", () => {
    const commit = (endedMs: number, ending: "complete" | "interrupted", ports: readonly number[]) => {
      const recorder = createRecorder(store);
      for (const port of ports) recorder.add({ ...OPEN, port, timeMs: endedMs });
      return recorder.commit({ startedMs: 1000, endedMs, source: "synprobe --resume j", ending });
    };
    commit(2000, "interrupted", [80]);
    expect(commit(3000, "complete", [80, 81])).toMatchObject({ known: false });
    expect([...runs(store, ALWAYS)]).toMatchObject([{ endedMs: 3000, ending: "complete", ports: 2 }]);
  });

  it("keep an end that another run contradicts at the same time", () => {
    put(1000, OPEN);
    put(2000, OPEN);
    for (const timeMs of [1000, 2000]) put(timeMs + 1, { ...CLOSED, timeMs });
    expect(intervals()).toEqual([["open", 1000, 2000]]);
  });

  it("do not grow over results that a split has forgotten", () => {
    for (const at of [1000, 1200, 2000]) put(at, OPEN);
    put(1500, CLOSED);
    put(1100, CLOSED);
    expect(intervals()).toEqual([
      ["open", 1000, 1000],
      ["closed", 1100, 1100],
      ["closed", 1500, 1500],
      ["open", 2000, 2000],
    ]);
  });

  it("whatever the order of runs: they do not overlap, every end was seen, and no run contradicts them", () => {
    const STATES = [OPEN, CLOSED, SILENT];
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.tuple(fc.integer({ min: 1, max: 30 }), fc.integer({ min: 0, max: 2 })), {
          selector: ([at]) => at,
          minLength: 1,
          maxLength: 12,
        }),
        (observed) => {
          store.transaction(() => {
            for (const table of ["intervals", "ports", "hosts", "runs"])
              store.prepare(`DELETE FROM ${table}`).run();
          });
          for (const [at, which] of observed) put(at, STATES[which]);
          const truth = new Map(observed.map(([at, which]) => [at, STATES[which].state]));
          const found = intervals();
          let last = 0;
          for (const [state, from, to] of found) {
            expect(from).toBeGreaterThan(last);
            expect(to).toBeGreaterThanOrEqual(from);
            expect([truth.get(from), truth.get(to)]).toEqual([state, state]);
            for (const [at, each] of truth) if (at >= from && at <= to) expect(each).toBe(state);
            last = to;
          }
          const inOrder = observed.every(([at], i) => i === 0 || at > observed[i - 1][0]);
          if (inOrder) {
            for (const at of truth.keys())
              expect(found.some(([, from, to]) => at >= from && at <= to)).toBe(true);
          }
        },
      ),
      { numRuns: everyday(40, 1000) },
    );
  });
});

describe("what was known at a time", () => {
  it("is each port's last interval until then", () => {
    put(1000, OPEN, { ...CLOSED, port: 23 });
    put(2000, CLOSED, { ...CLOSED, port: 23 });
    const at = (ms: number) => [...statesAt(store, ms)].map(({ port, state }) => [port, state]);
    expect(at(999)).toEqual([]);
    expect(at(1999)).toEqual([
      [22, "open"],
      [23, "closed"],
    ]);
    expect(at(2000)).toEqual([
      [22, "closed"],
      [23, "closed"],
    ]);
  });

  it("is listed by address, protocol and port, in whatever order they were seen", () => {
    put(1000, { ...OPEN, ip: "2001:db8::10" }, { ...OPEN, ip: "192.0.2.10" }, { ...OPEN, port: 80 }, OPEN);
    put(
      2000,
      { ...OPEN, ip: "192.0.2.9" },
      { ...OPEN, ip: "2001:db8::9" },
      { ...OPEN, proto: "sctp", port: 99 },
    );
    expect([...statesAt(store, 2000)].map(({ ip, proto, port }) => `${ip} ${proto} ${port}`)).toEqual([
      "192.0.2.1 sctp 99",
      "192.0.2.1 tcp 22",
      "192.0.2.1 tcp 80",
      "192.0.2.9 tcp 22",
      "192.0.2.10 tcp 22",
      "2001:db8::9 tcp 22",
      "2001:db8::10 tcp 22",
    ]);
  });

  it("is read as a file of results is", () => {
    put(1000, OPEN);
    const ports: unknown[] = [];
    const ignore = (): void => {};
    const run: RecordedRun = readStoreAt(store.path, 5000, "h.db@x", {
      port: (port) => ports.push(port),
      progress: ignore,
      fault: ignore,
      scanned: ignore,
      host: ignore,
    });
    expect(run).toMatchObject({ name: "h.db@x", format: "store", ending: "complete", startedMs: 5000 });
    expect(ports).toEqual([
      expect.objectContaining({ ip: "192.0.2.1", port: 22, state: "open", timeMs: 1000 }),
    ]);
  });
});

it("changes of a span are the steps in the ports' timelines, in order of time", () => {
  const STATES = [OPEN, CLOSED, SILENT, seen("filtered", "admin-prohibited")];
  const hosts = ["192.0.2.1", "192.0.2.9", "192.0.2.5"];
  // Three hosts by run; none of some.
  const round = fc.array(fc.nat({ max: STATES.length }), { minLength: 3, maxLength: 3 });
  const time = fc.integer({ min: 0, max: 11 });
  fc.assert(
    fc.property(
      fc.array(round, { maxLength: 10 }),
      time,
      time,
      fc.boolean(),
      (rounds, since, until, reasons) => {
        store.transaction(() => {
          for (const table of ["intervals", "ports", "hosts", "runs"])
            store.prepare(`DELETE FROM ${table}`).run();
        });
        for (const [at, which] of rounds.entries()) {
          put(1 + at, ...hosts.flatMap((ip, i) => (which[i] in STATES ? [{ ...STATES[which[i]], ip }] : [])));
        }
        const steps = hosts.flatMap((ip) => {
          const all = [...timeline(store, ip, 22, ALWAYS)];
          return all.slice(1).map((next, i) => ({
            ...next,
            oldState: all[i].state,
            oldReason: all[i].reason,
            oldLastMs: all[i].lastMs,
          }));
        });
        const wanted = steps.filter(
          ({ firstMs, state, oldState }) =>
            firstMs >= since && firstMs <= until && (reasons || state !== oldState),
        );
        const found = [...changes(store, { sinceMs: since, untilMs: until }, reasons)];
        expect(found).toHaveLength(wanted.length);
        expect(new Set(found)).toEqual(new Set(wanted));
        expect(found.map(({ firstMs }) => firstMs)).toEqual(
          wanted.map(({ firstMs }) => firstMs).sort((a, b) => a - b),
        );
      },
    ),
    { numRuns: everyday(25, 2000) },
  );
});

it("no change is told where a late run has begun an interval of the same verdict anew", () => {
  put(1000, OPEN);
  put(2000, OPEN);
  put(9000, CLOSED);
  put(5000, OPEN);
  put(6000, { ...OPEN, reason: "" });
  expect([...changes(store, ALWAYS, true)]).toMatchObject([{ state: "closed", firstMs: 9000 }]);
});

it("a run that fails on its way in leaves nothing behind", () => {
  put(1000, OPEN);
  const before = [...runs(store, ALWAYS)];
  const recorder = createRecorder(store);
  recorder.add(CLOSED);
  recorder.add({ ...CLOSED, ip: "192.0.2.2" });
  // Whatever fails: here the second host's row.
  store
    .prepare(
      "CREATE TRIGGER full BEFORE INSERT ON hosts WHEN new.ip = '192.0.2.2' BEGIN SELECT RAISE(ABORT, 'full'); END",
    )
    .run();
  const commit = () => recorder.commit({ startedMs: 2000, endedMs: 2000, source: "x", ending: "complete" });
  expect(commit).toThrow(expect.objectContaining({ code: "ERR_STORE" }));
  store.prepare("DROP TRIGGER full").run();
  expect([...runs(store, ALWAYS)]).toEqual(before);
  expect(intervals()).toEqual([["open", 1000, 1000]]);
  expect(commit()).toMatchObject({ changed: 1 });
});
