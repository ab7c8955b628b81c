/** A run of `--store` is the one that its files say it is: by them, an import knows it. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openStore } from "../../../src/runtime/store/database.ts";
import { runs } from "../../../src/runtime/store/query.ts";
import { createStoreReporter } from "../../../src/runtime/store/store-reporter.ts";
import { run, summary } from "../../report/samples.ts";

test.each([
  ["began when its files did, not with its first SYN", 1_001_003, 1_000_999],
  ["that is resumed began when its journal did", 1_000_100, 1_000_100],
])("%s", (_, firstMs, begunMs) => {
  const folder = mkdtempSync(join(tmpdir(), "synprobe-store-reporter-"));
  try {
    const path = join(folder, "h.db");
    const reporter = createStoreReporter(
      path,
      (result) => result,
      (error) => expect.unreachable(error.message),
    );
    reporter.start({ ...run, startedMs: 1_000_999 });
    reporter.finish({ ...summary, startedMs: firstMs, elapsedMs: 500 });
    const store = openStore(path, false);
    const stored = [...runs(store, { sinceMs: 0, untilMs: Number.MAX_SAFE_INTEGER })];
    store.close();
    expect(stored).toMatchObject([{ startedMs: begunMs, endedMs: firstMs + 500 }]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
