/**
 * Every format's text for one and the same run, as files: test/golden/run.*. What is meant to change is written anew by
 * `npx vitest -u --config test/vitest.config.ts test/report/golden.test.ts`, and read before it is committed.
 */
import { expect, test } from "vitest";
import { createCsvReporter } from "../../src/report/formats/csv.ts";
import { createGrepableReporter } from "../../src/report/formats/grepable.ts";
import { createMasscanListReporter } from "../../src/report/formats/masscan-list.ts";
import { createNdjsonReporter } from "../../src/report/formats/ndjson.ts";
import { createNmapXmlReporter } from "../../src/report/formats/nmap-xml.ts";
import { createTableReporter } from "../../src/report/formats/table.ts";
import { createTargetsReporter } from "../../src/report/formats/targets.ts";
import type { Sink } from "../../src/report/reporter.ts";
import {
  closed,
  corrected,
  full,
  fullSummary,
  open,
  progress,
  prohibited,
  run,
  silent,
  tarpit,
  written,
} from "./samples.ts";

const results = [closed, prohibited, silent, open, tarpit, corrected, full];

test.each([
  ["nmap", (sink: Sink) => createTableReporter(sink, { color: false, verbose: true })],
  ["ndjson", createNdjsonReporter],
  ["csv", createCsvReporter],
  ["xml", createNmapXmlReporter],
  ["gnmap", createGrepableReporter],
  ["list", createMasscanListReporter],
  ["targets", createTargetsReporter],
])("the text of %s", async (ending, create) => {
  const info = { ...run, targetWidth: 32 };
  const text = written(create, results, fullSummary, info, progress);
  await expect(text).toMatchFileSnapshot(`../golden/run.${ending}`);
});
