/**
 * A store where nothing may be written: one that its last writer did not close, what a reader is told and that it helps; and one of the
 * version before names had a table.
 */
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { openStore } from "../../../src/runtime/store/database.ts";
import { linesOf, run, synprobe } from "../process.ts";

const TS = "2026-11-23T01:00:00.000Z";
const RESULTS = `{"type":"result","ip":"192.0.2.1","port":22,"proto":"tcp","state":"open","reason":"syn-ack","ts":"${TS}"}
{"type":"summary","interrupted":false,"started_at":"${TS}","elapsed_ms":1000}
`;
let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "synprobe-closed-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

const asNobody = (...argv: string[]) =>
  run(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", ...argv]);

it.skipIf(process.getuid?.() !== 0)(
  "that was not closed cannot be read there, which is said; a copy elsewhere can",
  async () => {
    const [inside, copied, begun] = ["inside", "copied", "begun.db"].map((name) => join(folder, name));
    for (const each of [inside, copied]) mkdirSync(each);
    const store = join(inside, "k.db");
    writeFileSync(join(folder, "results.json"), RESULTS);
    await run(synprobe("history", "import", join(folder, "results.json"), "--store", begun));
    const open = openStore(begun, true);
    open.prepare("UPDATE runs SET ports = 99").run();
    // As a writer leaves them that is killed now, or whose disk is taken out.
    for (const end of ["", "-wal"]) copyFileSync(`${begun}${end}`, `${store}${end}`);
    open.close();
    chmodSync(folder, 0o755);
    chmodSync(inside, 0o555);
    chmodSync(copied, 0o777);
    for (const words of [
      ["history", "runs", "--store", store],
      ["diff", store, store],
    ]) {
      const { status, stdout, stderr } = await asNobody(...synprobe(...words));
      expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
      expect(linesOf(stderr)).toEqual([
        expect.stringMatching(/store .*k\.db was not closed by its last writer, .*: copy both files to /),
      ]);
    }
    await asNobody("cp", store, `${store}-wal`, copied);
    const read = await asNobody(...synprobe("history", "runs", "--json", "--store", join(copied, "k.db")));
    expect(JSON.parse(read.stdout)).toMatchObject({ ports: 99 });
  },
);

it.skipIf(process.getuid?.() !== 0)("of version 3 is read by its names", async () => {
  const archive = join(folder, "archive");
  mkdirSync(archive);
  const path = join(archive, "old.db");
  writeFileSync(join(folder, "named.json"), RESULTS.replace('"ts"', '"host":"www.example","ts"'));
  await run(synprobe("history", "import", join(folder, "named.json"), "--store", path));
  const store = openStore(path, true);
  store.prepare("DROP TABLE names").run();
  store.prepare("PRAGMA user_version = 3").run();
  store.prepare("PRAGMA journal_mode = DELETE").get();
  store.close();
  chmodSync(folder, 0o755);
  chmodSync(path, 0o444);
  chmodSync(archive, 0o555);
  const { status, stdout, stderr } = await asNobody(...synprobe("history", "www.example", "--store", path));
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  expect(stdout).toContain("www.example:22 (192.0.2.1)");
});
