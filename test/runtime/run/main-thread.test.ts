/** The main thread's engine over a link of our own making. */
import { describe, expect, it, vi } from "vitest";
import type { Link } from "../../../src/link/link.ts";
import type { EngineSettings } from "../../../src/runtime/run/engine-builder.ts";
import type { EngineRunHooks } from "../../../src/runtime/run/engine-run.ts";
import { runInMainThread } from "../../../src/runtime/run/main-thread.ts";
import { createSpaceBuilder } from "../../../src/scan/targets/space-builder.ts";
import { ADDRESS_WORDS, loadAddress } from "../../../src/socket/table.ts";
import { u16 } from "../../../src/wire/bytes.ts";
import * as ipv4 from "../../../src/wire/ipv4.ts";
import * as tcp from "../../../src/wire/tcp.ts";
import { address } from "../../sim/run.ts";

/** Takes every packet; nothing ever comes. */
const deaf = (): Link => ({
  name: "deaf",
  batch: {
    data: new Uint8Array(8 * 128),
    lengths: new Uint16Array(8),
    slots: 8,
    slotLength: 128,
    offset: 0,
  },
  send: (_first, count) => count,
  sendError: "",
  listen: () => {},
  drain: () => true,
  receiveDrops: () => 0,
  receiveBuffer: 0,
  close: () => {},
});

function run(hooks: Partial<EngineRunHooks>, link = deaf(), settings: Partial<EngineSettings> = {}) {
  const peer = address("198.18.0.2");
  const builder = createSpaceBuilder();
  builder.add(peer, peer, Uint16Array.of(80));
  const space = builder.build();
  const words = new Uint32Array(ADDRESS_WORDS);
  loadAddress(words, 0, peer, 0, 4);
  return runInMainThread(
    link,
    {
      space: space.share(),
      order: { seed: 1n, sequential: false },
      worker: { index: 0, count: 1 },
      paths: { first: words, last: words, path: new Uint16Array(1) },
      ports: { first: 61_000, last: 65_534 },
      settings: {
        paths: [{ local: address("198.18.0.1"), ttl: 64 }],
        isnKey: new Uint8Array(8),
        seed: 1,
        retries: 0,
        wait: { initialUs: 60_000_000, minUs: 60_000_000, maxUs: 60_000_000 },
        rate: { minimum: 1000, maximum: 1000 },
        capacity: 16,
        ...settings,
      },
    },
    {
      onCapture: () => {},
      keepsRecords: true,
      wants: [],
      onRecords: () => {},
      onResult: () => {},
      onReport: () => {},
      onRateChanges: () => {},
      room: () => undefined,
      ...hooks,
    },
  );
}

describe("an engine in the main thread", () => {
  it("ends with the error of whoever takes its reports", async () => {
    const { finished } = run({
      onReport: () => {
        throw new Error("the disk is full");
      },
    });
    await expect(finished).rejects.toThrow("the disk is full");
  });

  it("sends nothing while there is no room for results", async () => {
    const send = vi.fn((_first: number, count: number) => count);
    let release = (): void => {};
    let full: Promise<void> | undefined = new Promise((resolve) => {
      release = resolve;
    });
    let asked = 0;
    const room = (): Promise<void> | undefined => {
      asked++;
      return full;
    };
    const running = run({ room }, { ...deaf(), send });
    await vi.waitUntil(() => asked > 10);
    expect(send).not.toHaveBeenCalled();
    full = undefined;
    release();
    await vi.waitUntil(() => send.mock.calls.length > 0);
    running.stop();
    await running.finished;
  });

  it("draws source ports by the secret key, whatever the seed, which packets give away", async () => {
    const portOf = async (seed: number, key: number): Promise<number> => {
      const link = deaf();
      const { data, offset } = link.batch;
      const sent = vi.fn((_first: number, count: number) => count);
      const running = run({}, { ...link, send: sent }, { seed, isnKey: new Uint8Array(8).fill(key) });
      await vi.waitUntil(() => sent.mock.calls.length > 0);
      running.stop();
      await running.finished;
      return u16(data, offset + ipv4.HEADER_LENGTH + tcp.SOURCE_PORT);
    };
    const first = await portOf(1, 1);
    expect(first).toBeGreaterThanOrEqual(61_000);
    expect(await portOf(2, 1)).toBe(first);
    expect(await portOf(1, 2)).not.toBe(first);
  });

  it("reports what is not decided when it is stopped", async () => {
    const running = run({});
    running.stop();
    await running.finished;
    expect(running.reports()).toMatchObject([{ counts: { started: 1, decided: 0 }, inFlight: 1, mark: 0 }]);
  });
});
