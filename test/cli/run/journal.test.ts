/** A run's past handed over again: in turns, and no faster than it is taken. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { ProbeOptions } from "../../../src/cli/options/table.ts";
import { journalOptions, openRunJournal, rememberRun } from "../../../src/cli/run/journal.ts";
import { createJournal } from "../../../src/runtime/journal/writer.ts";
import type { Plan } from "../../../src/runtime/plan/plan.ts";
import { createNaming } from "../../../src/runtime/results/to-result.ts";
import { readServices } from "../../../src/runtime/system/system.ts";
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

  const plan = { space: { fingerprint: () => HEADER.targets }, nameOf: () => undefined } as unknown as Plan;
  const naming = createNaming({ services: readServices(), nameOf: plan.nameOf });
  const opened = await openRunJournal({
    options,
    plan,
    remembered: await rememberRun(options),
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
