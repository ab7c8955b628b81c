/** A signal that many calls of the library share. */
import { getEventListeners, getMaxListeners, setMaxListeners } from "node:events";
import { describe, expect, it, vi } from "vitest";
import { onAbort, orAborted } from "../../../src/runtime/system/arguments.ts";

describe("many calls with one signal", () => {
  it("all hear of its abort, are no leak to Node, and leave the signal as it was", async () => {
    const warn = vi.spyOn(process, "emitWarning").mockImplementation(() => {});
    const { signal } = new AbortController();
    setMaxListeners(10, signal);
    const leave = Array.from({ length: 12 }, () => onAbort(signal, () => {}));
    await Promise.all(Array.from({ length: 12 }, () => orAborted(Promise.resolve(), signal)));
    expect(getEventListeners(signal, "abort")).toHaveLength(12);
    for (const each of leave) each();
    expect(getEventListeners(signal, "abort")).toHaveLength(0);
    expect(getMaxListeners(signal)).toBe(10);
    expect(warn).not.toHaveBeenCalled();
    warn.mockRestore();

    const stop = new AbortController();
    const waits = Array.from({ length: 12 }, () => orAborted(new Promise(() => {}), stop.signal));
    stop.abort("enough");
    expect(await Promise.allSettled(waits)).toEqual(
      waits.map(() => ({ status: "rejected", reason: "enough" })),
    );
  });
});
