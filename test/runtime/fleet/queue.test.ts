/** What the coordinator does to a queue on a real redis-server, where workers are told apart by what they leave there. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Queue, Worker } from "bullmq";
import { Redis } from "ioredis";
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { startCoordinator } from "../../../src/runtime/fleet/coordinator.ts";
import { ALONE, type Coordinating, type Coordination, createFeed } from "../../../src/runtime/fleet/feed.ts";
import { createLedger } from "../../../src/runtime/fleet/ledger.ts";
import { PREFIX } from "../../../src/runtime/fleet/redis.ts";
import { keyOf, queueName, RENEW_MS, renewWorker, signWorker } from "../../../src/runtime/fleet/registry.ts";
import type { EngineRunHooks } from "../../../src/runtime/run/engine-run.ts";
import { MOST_RATE } from "../../../src/scan/engine/timing-templates.ts";
import { cutByPrefix } from "../../../src/scan/targets/prefixes.ts";
import { createSpaceBuilder } from "../../../src/scan/targets/space-builder.ts";
import { type Running, start } from "../../cli/process.ts";
import { address } from "../../sim/run.ts";

const LEASE_MS = 1000;
const RUN = { id: "run", token: "a", by: "", pairs: 512, decided: 0, leaseMs: LEASE_MS, signature: "" };
const isMissing = spawnSync("redis-server", ["--version"]).error !== undefined;

describe.skipIf(isMissing)("a run's queue", () => {
  const directory = mkdtempSync(join(tmpdir(), "sp-queue-"));
  const path = join(directory, "redis.sock");
  let server: Running;
  let redis: Redis;
  beforeAll(async () => {
    const words = ["--port", "0", "--unixsocket", path, "--dir", directory, "--save", ""];
    server = start(["redis-server", ...words], { limitMs: 60_000 });
    await server.until("stdout", /ready to accept connections/i);
    redis = new Redis({ path, maxRetriesPerRequest: null });
  });
  afterAll(async () => {
    redis.disconnect();
    server.kill("SIGKILL");
    await server.finished;
    rmSync(directory, { recursive: true });
  });
  beforeEach(() => redis.flushall());

  /** Two networks to probe. */
  function createWork() {
    const builder = createSpaceBuilder();
    builder.add(address("198.18.0.0"), address("198.18.1.255"), Uint16Array.of(22));
    const space = builder.build();
    return { space, ledger: createLedger({ space, prefixes: cutByPrefix(space, { seed: 1n, most: 1e6 }) }) };
  }
  /** A coordinator's feed, and the queue that it fills. */
  function createRun(isResumed: boolean) {
    const { space, ledger } = createWork();
    const queue = new Queue(queueName("run"), { connection: redis, prefix: PREFIX });
    const said: string[] = [];
    const feed = createFeed({
      redis,
      run: RUN,
      key: "",
      ledger,
      space,
      settings: {},
      rate: { minimum: 1, maximum: MOST_RATE },
      isResumed,
      queue,
      ended: Promise.resolve(),
      among: ALONE,
      isOver: () => false,
      note: (line: string) => said.push(line),
      tell: (line: string) => said.push(line),
    } as unknown as Coordinating);
    return { feed, ledger, queue, said };
  }
  function coordinate(client: Redis, maximum: number) {
    const coordination = {
      redis: client,
      run: RUN,
      key: "",
      ...createWork(),
      settings: {},
      rate: { minimum: 1, maximum },
      isResumed: false,
      among: ALONE,
      note: () => {},
    } as unknown as Coordination;
    return startCoordinator(coordination, { onReport: () => {} } as unknown as EngineRunHooks);
  }
  function createWorker() {
    const options = { connection: redis, prefix: PREFIX, autorun: false, lockDuration: 60_000 };
    return new Worker(queueName("run"), null, options);
  }
  const pace = { perSecond: undefined, completed: new Set<string>(), begunMs: new Map<string, number>() };

  it("does not expire while it is in use, and cells that are in no list any more are added again", async () => {
    const { feed, ledger, queue, said } = createRun(false);
    await feed.topUp(1, pace);
    const [id] = ledger.underWay.keys();
    const worker = createWorker();
    const job = await worker.getNextJob("token", { block: false });
    expect(job?.id).toBe(id);
    const keys = [queue.toKey("active"), queue.toKey("meta"), queue.toKey(id)];
    for (const key of keys) await redis.expire(key, 1000);
    const lasts = await redis.pttl(queue.toKey(`${id}:lock`));
    await feed.addLost();
    expect(await Promise.all(keys.map((key) => redis.ttl(key)))).toEqual([-1, -1, -1]);
    // A lock lasts as long as its worker says.
    expect(await redis.pttl(queue.toKey(`${id}:lock`))).toBeLessThanOrEqual(lasts);

    await redis.del(queue.toKey("active"));
    const begun = performance.now();
    await feed.addLost();
    // Its worker finds out.
    expect(await job?.extendLock("token", 60_000).catch(() => 0)).not.toBe(1);
    while (said.length === 0) await feed.addLost();
    expect(performance.now() - begun).toBeGreaterThan(LEASE_MS);
    expect(said).toEqual(["cells that Redis has lost are added again"]);
    expect(await queue.getJobState(id)).toBe("waiting");
    expect((await worker.getNextJob("another", { block: false }))?.id).toBe(id);
    await worker.close(true);
    await queue.close();
  });

  it("forgets what workers have refused to an earlier coordinator, whose key may have been another", async () => {
    await redis.hset(keyOf("refused", "run"), "* fra", "another key");
    const { feed, queue } = createRun(true);
    await feed.adopt();
    expect(await redis.exists(keyOf("refused", "run"))).toBe(0);
    await queue.close();
  });

  it("is waited for when a cell was taken just before it is removed", async () => {
    const earlier = createRun(false);
    await earlier.feed.topUp(1, pace);
    const [id] = earlier.ledger.underWay.keys();
    await earlier.queue.close();
    const { feed, queue, said } = createRun(false);
    await redis.set(queue.toKey(`${id}:lock`), "token", "PX", 60_000);
    await feed.adopt();
    expect(said).toEqual([expect.stringMatching(/^cells of this run may still be under way/)]);
    expect(await redis.exists(queue.toKey(id))).toBe(0);
    await queue.close();
  });

  it("has a rate that is divided among workers with its key, not those that will refuse it", async () => {
    for (const [id, key] of [
      ["fra", ""],
      ["theirs", "another"],
    ])
      await renewWorker(redis, { id, vantage: id, version: "1", cells: 0, signature: signWorker(key, id) });
    const coordinator = coordinate(redis, 100);
    const queue = new Queue(queueName("run"), { connection: redis, prefix: PREFIX });
    const limit = await vi.waitUntil(() => queue.getGlobalConcurrency());
    expect(limit).toBe(1);
    coordinator.kill();
    await coordinator.finished;
    await queue.close();
  });

  it("stays its coordinator's while a turn takes longer than the run's key lasts", async () => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
    onTestFinished(() => void vi.useRealTimers());
    let reply = (_: object): void => {};
    const replied = new Promise((resolve) => {
      reply = resolve;
    });
    const hgetall = vi.fn(() => replied);
    const slow = new Proxy(redis, {
      get: (target, name) => (name === "hgetall" ? hgetall : Reflect.get(target, name, target)),
    });
    const { finished } = coordinate(slow, MOST_RATE);
    const failed = expect(finished).rejects.toThrow("run run has been taken over by another coordinator");
    await vi.waitUntil(() => hgetall.mock.calls.length > 0);
    await redis.del(keyOf("run", "run"));
    vi.advanceTimersByTime(RENEW_MS);
    await vi.waitUntil(async () => (await redis.exists(keyOf("run", "run"))) === 1);
    // What goes wrong meanwhile the next turn says.
    await redis.set(keyOf("run", "run"), JSON.stringify({ ...RUN, token: "b" }));
    vi.advanceTimersByTime(RENEW_MS);
    reply({});
    await failed;
  });
});
