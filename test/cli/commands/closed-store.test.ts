/** A store that its last writer did not close, where nothing may be written: what a reader is told, and that it helps. */
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

it.skipIf(process.getuid?.() !== 0)("cannot be read there, which is said; a copy elsewhere can", async () => {
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
  const asNobody = (...argv: string[]) =>
    run(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", ...argv]);
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
});
