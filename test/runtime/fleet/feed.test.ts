/** How many cells are probed at a time is known to Redis whenever it has one, whatever it has forgotten; the rest: test/lab/fleet.test.ts. */
import { expect, it } from "vitest";
import { ALONE, type Coordinating, createFeed } from "../../../src/runtime/fleet/feed.ts";
import { createLedger } from "../../../src/runtime/fleet/ledger.ts";
import { cutByPrefix } from "../../../src/scan/targets/prefixes.ts";
import { createSpaceBuilder } from "../../../src/scan/targets/space-builder.ts";
import { address } from "../../sim/run.ts";

it("a capped run's cells are added with their limit, and it is there again a survey after Redis was emptied", async () => {
  const builder = createSpaceBuilder();
  builder.add(address("198.18.0.0"), address("198.18.9.255"), Uint16Array.of(22));
  const space = builder.build();
  const ledger = createLedger({ space, prefixes: cutByPrefix(space, { seed: 1n, most: 1e6 }) });
  /** What Redis knows. */
  let limit: number | undefined;
  const limits: (number | undefined)[] = [];
  const coordinating = {
    redis: { exists: () => Promise.resolve(1) },
    run: { id: "run", leaseMs: 2000 },
    key: "",
    ledger,
    settings: {},
    rate: { minimum: 1, maximum: 100 },
    queue: {
      toKey: String,
      add: () => Promise.resolve(void limits.push(limit)),
      setGlobalConcurrency: (most: number) => {
        limit = most;
        return Promise.resolve();
      },
    },
    among: ALONE,
    isOver: () => false,
  } as unknown as Coordinating;
  const feed = createFeed(coordinating);
  const pace = { perSecond: undefined, completed: new Set<string>(), begunMs: new Map<string, number>() };
  await feed.topUp(2, pace);
  // One for each, until it is known how large the next is to be.
  expect(limits).toEqual([2, 2]);
  await feed.topUp(2, { ...pace, perSecond: 100 });
  limit = undefined;
  await feed.topUp(2, { ...pace, perSecond: 100, completed: new Set([[...ledger.underWay.keys()][0]]) });
  expect(limits).toEqual([2, 2, 2, 2, 2]);
  limit = undefined;
  await feed.addLost();
  expect(limit).toBe(2);
});
