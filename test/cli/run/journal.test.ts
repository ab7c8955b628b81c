/** A run's past handed over again: in turns, and no faster than it is taken. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ProbeOptions } from "../../../src/cli/options/probe-options.ts";
import { journalOptions, openRunJournal, rememberRun } from "../../../src/cli/run/journal.ts";
import { createJournal, type JournalHeader } from "../../../src/runtime/journal/writer.ts";
import type { Plan } from "../../../src/runtime/plan/plan.ts";
import { createNaming } from "../../../src/runtime/results/to-result.ts";
import { noTotals } from "../../../src/runtime/results/totals.ts";
import type { OpenScan } from "../../../src/runtime/run/scan.ts";
import { readServices } from "../../../src/runtime/system/system.ts";
import { writeRecord } from "../../../src/scan/probe/result-record.ts";
import { newVerdict } from "../../../src/scan/probe/verdict.ts";
import { HEADER, sampleRecords } from "../../runtime/journal/journal-samples.ts";

const COUNT = 20_000;
let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "synprobe-replay-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

it("a replay lets other events have their turn, and waits for room", async () => {
  const path = join(folder, "journal");
  const options = { resume: path, retries: 2, timeout: 1000, ttl: 64, drop: false } as ProbeOptions;
  const settings = journalOptions(options, 1n, 1);
  const made = await createJournal(path, { ...HEADER, options: settings });
  made.results(sampleRecords(0, COUNT), COUNT);
  await made.flush();
  await made.close();

  const plan = { space: { fingerprint: () => HEADER.targets }, namesOf: () => [] } as unknown as Plan;
  const naming = createNaming({ services: readServices(), namesOf: plan.namesOf });
  const opened = await openRunJournal({
    options,
    plan,
    remembered: await rememberRun(options, readServices()),
    scanOptions: { order: { seed: 1n } },
    settings,
    workers: 1,
    toResult: naming,
    argv: [],
  });
  expect(opened?.past?.totals).toMatchObject({ decided: COUNT, states: { closed: COUNT } });

  const heard: number[] = [];
  let results = 0;
  let release: (() => void) | undefined;
  const replaying = opened?.replay(
    () => void results++,
    () =>
      new Promise((resolve) => {
        heard.push(results);
        release = resolve;
      }),
  );
  let turns = 0;
  let over = false;
  void replaying?.then(() => {
    over = true;
  });
  while (!over) {
    await new Promise(setImmediate);
    turns++;
    // Nothing comes while there is no room.
    if (release !== undefined) expect(results).toBe(heard.at(-1));
    release?.();
    release = undefined;
  }
  expect(results).toBe(COUNT);
  expect(turns).toBeGreaterThan(4);
  expect(heard).toEqual([4096, 8192, 12_288, 16_384]);
  await opened?.journal.close();
});

describe("a journal whose check sums are right and whose contents make no sense is refused in one line", () => {
  const options = { retries: 2, timeout: 1000, ttl: 64, drop: false } as ProbeOptions;
  const settings = journalOptions(options, 1n, 1);
  const plan = { space: { fingerprint: () => HEADER.targets }, namesOf: () => [] } as unknown as Plan;
  const naming = createNaming({ services: readServices(), namesOf: plan.namesOf });

  interface Made {
    readonly header?: Partial<JournalHeader>;
    readonly records?: Uint8Array;
    readonly extra?: object;
    readonly marks?: readonly number[];
    readonly totals?: object;
    readonly recall?: NonNullable<OpenScan["recall"]>;
  }

  /** Makes it and goes on with it, as far as to the first packet. @returns the totals */
  async function takeUp({ header, records = sampleRecords(0, 1), extra, marks = [1], totals, recall }: Made) {
    const path = join(folder, "crafted");
    rmSync(path, { force: true });
    const made = await createJournal(path, { ...HEADER, options: settings, ...header });
    made.results(records, 1, extra === undefined ? new Map() : new Map([[0, extra]]));
    made.checkpoint({ marks, totals: totals ?? noTotals() });
    await made.flush();
    await made.close();
    const resumed = { ...options, resume: path };
    const remembered = await rememberRun(resumed, readServices());
    try {
      const opened = await openRunJournal({
        options: resumed,
        plan,
        remembered,
        scanOptions: { order: { seed: 1n } },
        settings,
        workers: 1,
        toResult: naming,
        argv: [],
        ...(recall === undefined ? {} : { recall }),
      });
      await opened?.replay(
        (result) => JSON.stringify({ ...result, at: new Date(result.timeMs).toISOString() }),
        () => undefined,
      );
      return opened?.past?.totals;
    } finally {
      remembered.stored?.close();
    }
  }

  const record = (change: (bytes: Uint8Array) => void): Uint8Array => {
    const bytes = sampleRecords(0, 1);
    change(bytes);
    return bytes;
  };

  it.each<[string, Made]>([
    ["states that are null", { totals: { ...noTotals(), states: null } }],
    ["a path that is a list", { totals: { ...noTotals(), path: [] } }],
    ["reasons that are a number", { totals: { ...noTotals(), reasons: { open: 5 } } }],
    ["a count that is a text", { totals: { ...noTotals(), sent: "1" } }],
    ["a count of a count", { totals: { ...noTotals(), sendErrors: { EPERM: {} } } }],
    ["an errno that drives terminals", { totals: { ...noTotals(), sendErrors: { "\x1b[2J": 1 } } }],
    ["marks of more workers", { marks: [1, 1] }],
    ["no mark", { marks: [] }],
    ["a seed that is none", { header: { options: { ...settings, seed: "x" } } }],
    ["excluded hosts that are none", { header: { excluded: { hosts: ["198.18.0.1:80"], ports: [] } } }],
    ["excluded names", { header: { excluded: { hosts: ["a.example"], ports: [] } } }],
    ["excluded port 0", { header: { excluded: { hosts: [], ports: [0] } } }],
    ["no workers", { header: { options: { ...settings, workers: 0 } } }],
    ["too many workers", { header: { options: { ...settings, workers: 1e9 } } }],
    ["a time beyond all calendars", { header: { createdMs: 1e300 } }],
    ["a handshake without an ending", { extra: { ms: 1 } }],
    ["a banner that is no text", { extra: { ms: 1, ending: "fin", banner: 5 } }],
    ["a banner that drives terminals", { extra: { ms: 1, ending: "fin", banner: "\x1b[2J" } }],
    ["a verdict beyond all calendars", { records: record((b) => b.fill(0xff, 8, 16)) }],
    ["a position that is no whole number", { records: record((b) => b.fill(0xff, 0, 8)) }],
    ["a position of none of the run's places", { recall: () => false }],
    ["port 0", { records: record((b) => b.fill(0, 52, 54)) }],
    ["a doubt that is no chance", { records: record((b) => b.fill(0x41, 60, 64)) }],
    [
      "an errno name with an escape",
      {
        records: record((b) => {
          const peer = Uint32Array.of(0, 0, 0xffff, 0xc612_0000);
          const reason = "send-\x1b[2j";
          writeRecord(b, 0, { ...newVerdict(), peer, port: 1, state: "filtered", reason, tries: 1 }, 1);
        }),
      },
    ],
  ])("%s", async (_what, made) => {
    await expect(takeUp(made)).rejects.toMatchObject({
      code: "ERR_JOURNAL",
      message: expect.stringContaining("was not written by synprobe"),
    });
  });

  it("but not one that an earlier version has written without some of the counts", async () => {
    const { late: _, ...fewer } = { ...noTotals(), sent: 7, sendErrors: { ENOBUFS: 2 } };
    expect(await takeUp({ totals: fewer })).toMatchObject({
      sent: 7,
      late: 0,
      sendErrors: { ENOBUFS: 2 },
      decided: 1,
    });
  });
});
