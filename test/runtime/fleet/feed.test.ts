/**
 * How many cells are probed at a time is known to Redis whenever it has one, whatever it has forgotten; and how large the last ones are
 * follows from how far the workers are. The rest: test/lab/fleet.test.ts.
 */
import { expect, it, onTestFinished, vi } from "vitest";
import { jobOf } from "../../../src/runtime/fleet/cell.ts";
import { ALONE, type Coordinating, createFeed } from "../../../src/runtime/fleet/feed.ts";
import { createLedger } from "../../../src/runtime/fleet/ledger.ts";
import { nowUs } from "../../../src/runtime/system/clock.ts";
import { MOST_RATE } from "../../../src/scan/engine/timing-templates.ts";
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
    redis: { exists: () => Promise.resolve(1), persist: () => Promise.resolve(0) },
    run: { id: "run", leaseMs: 2000 },
    key: "",
    ledger,
    settings: {},
    rate: { minimum: 1, maximum: 100 },
    queue: {
      toKey: String,
      getJobState: () => Promise.resolve("waiting"),
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

it("the last cells are what makes all workers done at once, by when each has begun", async () => {
  const builder = createSpaceBuilder();
  builder.add(address("198.18.0.0"), address("198.18.15.255"), Uint16Array.of(22));
  const space = builder.build();
  const ledger = createLedger({ space, prefixes: cutByPrefix(space, { seed: 1n, most: 1e6 }) });
  const feed = createFeed({
    run: { id: "run" },
    key: "",
    ledger,
    settings: {},
    rate: { minimum: 1, maximum: MOST_RATE },
    queue: { add: () => Promise.resolve() },
    among: ALONE,
    isOver: () => false,
  } as unknown as Coordinating);
  // Two workers with a cell of 1,024 pairs each, which are a second of work; one has been at it for longer.
  const cells = [1024, 1024].map((pairs) => ledger.cut({ pairs, isExact: true }));
  const [early, late] = cells.map((cell) => (cell === undefined ? "" : jobOf(cell)));
  const nowMs = nowUs() / 1000;
  const begunMs = new Map([
    [early, nowMs - 1000],
    // A little later, so that what this takes does not count.
    [late, nowMs + 100],
  ]);
  await feed.topUp(2, { perSecond: 1024, completed: new Set(), begunMs });
  const [first, second] = [...ledger.underWay.values()].slice(2).map(({ pairs }) => pairs);
  // 2,048 pairs are left, two seconds of one, and a second is to be done: each has a second and a half of all that, in networks of 256.
  expect([first, second]).toEqual([1536, 512]);
});

it("what all refuse is set aside, and the run is over: not while one that was there lately may come back", async () => {
  let seconds = 1000;
  const clock = vi.spyOn(process, "hrtime").mockImplementation(() => [seconds, 0]);
  onTestFinished(() => void clock.mockRestore());
  const builder = createSpaceBuilder();
  builder.add(address("198.18.0.0"), address("198.18.1.255"), Uint16Array.of(22));
  const space = builder.build();
  const ledger = createLedger({ space, prefixes: cutByPrefix(space, { seed: 1n, most: 1e6 }) });
  const [first, second] = [256, 256].map((pairs) =>
    jobOf(ledger.cut({ pairs, isExact: true }) ?? { from: 0, to: 0 }),
  );
  const refused: Record<string, string> = {};
  const said: string[] = [];
  const feed = createFeed({
    redis: { hgetall: () => Promise.resolve(refused) },
    run: { id: "run" },
    ledger,
    rate: { minimum: 1, maximum: MOST_RATE },
    queue: { getJob: () => Promise.resolve(undefined) },
    among: ALONE,
    note: (line: string) => said.push(line),
    tell: (line: string) => said.push(line),
  } as unknown as Coordinating);
  const underWay = (): string[] => [...ledger.underWay.keys()];
  await feed.readRefusals(["fra", "narrow"]);
  refused[`${first} narrow`] = "not allowed there";
  refused["* theirs"] = "another key";
  // One of another key has no say in what becomes of a cell.
  await feed.readRefusals(["fra", "narrow", "theirs"]);
  expect(underWay()).toEqual([first, second]);
  // Its machine starts again.
  seconds += 299;
  await feed.readRefusals(["narrow", "theirs"]);
  await feed.readRefusals(["theirs"]);
  await feed.readRefusals([]);
  expect(underWay()).toEqual([first, second]);
  expect(said[0]).toBe("the workers that are there refuse some of it: waiting whether fra comes back");
  seconds += 2;
  await feed.readRefusals(["narrow", "theirs"]);
  expect(underWay()).toEqual([second]);
  expect(said.at(-1)).toMatch(/^not probed: 256 pairs in .*: not allowed there$/);
  await feed.readRefusals(["theirs"]);
  seconds += 301;
  await expect(feed.readRefusals(["theirs"])).rejects.toThrow("no worker takes this run: another key");
});
