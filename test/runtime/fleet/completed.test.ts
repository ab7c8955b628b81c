/** What is completed is taken once. The rest: test/lab/fleet.test.ts. */
import { createHash } from "node:crypto";
import { expect, it } from "vitest";
import { jobOf } from "../../../src/runtime/fleet/cell.ts";
import { packChunk } from "../../../src/runtime/fleet/chunk.ts";
import { createCompleted } from "../../../src/runtime/fleet/completed.ts";
import type { Coordinating, Feed } from "../../../src/runtime/fleet/feed.ts";
import { signManifest } from "../../../src/runtime/fleet/registry.ts";
import { noTotals } from "../../../src/runtime/results/totals.ts";
import type { EngineRunHooks } from "../../../src/runtime/run/engine-run.ts";

it("takes a cell once, though it is looked through twice at the same time", async () => {
  const cell = { from: 0, to: 1, pairs: 0 };
  const id = jobOf(cell);
  const underWay = new Map([[id, cell]]);
  const packed = packChunk({ records: new Uint8Array(0), count: 0, extras: new Map() });
  const digest = createHash("sha256").update(packed).digest("hex");
  const said = { token: "t", worker: "w", chunks: 1, digest, pairs: 0, elapsedMs: 1, totals: noTotals() };
  const done = (): Promise<number> => Promise.resolve(1);
  const taken: string[] = [];
  const completed = createCompleted(
    {
      redis: { hgetBuffer: () => Promise.resolve(packed), hdel: done, del: done },
      run: { id: "run" },
      key: "",
      ledger: { underWay, numbers: () => [], close: (which: string) => underWay.delete(which) },
      space: {},
      queue: {
        getJob: () => Promise.resolve({ returnvalue: signManifest("", "run", id, said), remove: done }),
      },
      among: { first: 0 },
      isOver: () => false,
    } as unknown as Coordinating,
    {} as Feed,
    { wants: [], keepsRecords: false, room: () => undefined } as unknown as EngineRunHooks,
    (which) => taken.push(which),
  );
  const meanwhile = (): Promise<void> => Promise.resolve();
  await Promise.all([completed.take(id, meanwhile), completed.take(id, meanwhile)]);
  expect(taken).toEqual([id]);
});
