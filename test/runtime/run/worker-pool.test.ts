/** The main thread's side of workers that die. Workers at work are tested in test/lab/packet.test.ts and test/lab/resume.test.ts. */
import { expect, it, vi } from "vitest";
import type { PacketHandles } from "../../../src/link/packet.ts";
import { startWorkerPool, type WorkerTask } from "../../../src/runtime/run/worker-pool.ts";

it("closes what it gave to a worker that could not start, once, and ends with the error", async () => {
  // Sources have no worker.js beside them: the threads die as they begin.
  const handles = [1, 2].map((sender) => ({ ethernet: { sender } }) as unknown as PacketHandles);
  const close = vi.fn();
  const run = startWorkerPool(
    handles.map((each) => ({ handles: each, wants: [] }) as unknown as WorkerTask),
    {
      onCapture: () => {},
      keepsRecords: false,
      wants: [],
      onRecords: () => {},
      onResult: () => {},
      onReport: () => {},
      onRateChanges: () => {},
      room: () => undefined,
    },
    close,
  );
  // So do those of a program that was bundled with the library.
  const message = expect.stringMatching(/worker\.js'\): leave synprobe out of the bundle/);
  await expect(run.finished).rejects.toMatchObject({ code: "ERR_PLATFORM", message });
  // In whatever order they died.
  expect(close).toHaveBeenCalledTimes(2);
  for (const each of handles) expect(close).toHaveBeenCalledWith(each);
});
