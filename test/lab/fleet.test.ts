/** Many processes, one run, over a real redis-server: what it finds is what one process finds, whoever dies, stops or forgets. */
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { linesOf, ROOT, type Running, run, synprobe } from "../cli/process.ts";
import { blocksOf } from "../documents.ts";
import { ALL, everyday } from "../everyday.ts";
import { createDraw } from "../fuzz/mutate.ts";
import {
  createFleet,
  eventually,
  type Fleet,
  fleetProblem,
  networksOf,
  sharedHosts,
  watchSyns,
} from "./fleet.ts";
import { command as commandIn, inNamespace, ip, type Lab, skipping } from "./netns.ts";
import { answers, createWideLab, farSegments, readScan, setLink, truth } from "./wide.ts";

/** 4,096 pairs in 8 networks. */
const PORTS = [7000, 7001];
const TARGETS = "198.19.0.0/21:7000,7001";
const TRUTH = truth(2048, PORTS);
const QUICK = ["--fleet-lease", "2"];
/** Long enough for something to happen in the middle of it. */
const SLOW = ["--max-rate", everyday("3000", "1500"), ...QUICK];

/** Of the faults at random moments; more by SYNPROBE_FLEET_SEEDS. */
const { SYNPROBE_FLEET_SEEDS: seeds = "4" } = process.env;
const SEEDS = Array.from({ length: Number(seeds) }, (_, i) => i + 1);

/** Still under way after several faults. */
const LONG = ["--max-rate", "400", ...QUICK];

describe.skipIf(skipping("a fleet", fleetProblem()))("a fleet", () => {
  let lab: Lab;
  let fleet: Fleet;
  let redis: Running;
  beforeAll(async () => {
    lab = await createWideLab();
  });
  afterAll(() => lab?.remove());
  beforeEach(async () => {
    fleet = await createFleet(lab);
    redis = await fleet.startRedis();
    await fleet.redis.connect();
  });
  afterEach(() => fleet.remove());

  const nft = (script: string): string => commandIn(inNamespace(lab.near, ["nft", script]));
  const command = (...args: string[]) => run(inNamespace(lab.near, synprobe(...args)));
  const underWay = (vantage: string) => async (): Promise<boolean> => {
    const workers = await fleet.keys(`worker:${vantage}-*`);
    const texts = workers.length === 0 ? [] : await fleet.redis.mget(workers);
    return texts.some((text) => JSON.parse(text ?? "{}").run !== undefined);
  };
  /** The environment of a process whose clock is some hours ahead. */
  function offClock(name: string, hours: number): Readonly<Record<string, string>> {
    const file = join(fleet.directory, `${name}.cjs`);
    writeFileSync(
      file,
      `const Real = Date; const off = ${hours * 3_600_000};
       globalThis.Date = class extends Real {
         constructor(...words) { if (words.length === 0) super(Real.now() + off); else super(...words); }
         static now() { return Real.now() + off; }
       };`,
    );
    return { NODE_OPTIONS: `--require ${file}` };
  }
  async function expectWhole(running: Running): Promise<string> {
    const { status, stdout, stderr } = await running.finished;
    expect(status, stderr).toBe(0);
    const found = readScan(stdout);
    expect(answers(found)).toEqual(TRUTH);
    expect(found.summary).toMatchObject({ open: 2048, closed: 2048, unfinished: 0, interrupted: false });
    return stderr;
  }

  it("finds what there is, also when a worker is killed; its cell is probed elsewhere", async () => {
    const fra = await fleet.startWorker("fra");
    const running = fleet.startRun(TARGETS, ...SLOW);
    await eventually("a cell to be under way", async () => (await fleet.keys("run-*:lock")).length > 0);
    fra.kill("SIGKILL");
    await fleet.startWorker("lon");
    await expectWhole(running);
    const { stdout } = await command("fleet", "status", fleet.url);
    expect(stdout).toMatch(/^WORKER +VANTAGE +VERSION +CELLS/);
    expect(stdout).toMatch(/\nlon-[0-9a-f]{6} +lon +\d/);
    // Nothing of a run stays behind.
    const isLeft = (key: string): boolean => !/:(worker:.*|stalled-check)$/.test(key);
    await eventually("all of the run to go", async () => !(await fleet.keys("*")).some(isLeft));
  });

  it("sends control SYNs to no port that the run excludes", async () => {
    const far = (script: string): string => commandIn(inNamespace(lab.far, ["nft", script]));
    far(
      "table inet seen { set ports { type inet_service; flags dynamic; }; " +
        "chain in { type filter hook prerouting priority -300; " +
        "ip daddr 198.19.0.0/16 tcp flags & (syn | ack) == syn add @ports { tcp dport }; }; " +
        // Hosts with several open ports and none closed are asked whether they answer on any.
        "chain open { type nat hook prerouting priority -100; tcp dport 7002-7003 redirect to :7001; }; }",
    );
    await fleet.startWorker("fra");
    // All but those that are probed and one for control SYNs.
    const words = ["198.19.0.0/29:7001-7003", "--exclude-ports", "1-7000,7004-20000,20002-65535"];
    const { status, stdout, stderr } = await fleet.startRun(...words).finished;
    expect(status, stderr).toBe(0);
    expect(readScan(stdout).summary.controls).toBeGreaterThan(0);
    expect(far("list set inet seen ports")).toMatch(/elements = \{ 7001, 7002, 7003, 20001 \}/);
    far("delete table inet seen");
  });

  it.runIf(ALL)("gives cells to workers that come later, too, when it has no --max-rate", async () => {
    await fleet.startWorker("fra", "--max-rate", "400");
    const running = fleet.startRun(TARGETS, ...QUICK);
    await eventually("a cell to be under way", underWay("fra"));
    await fleet.startWorker("lon", "--max-rate", "400");
    await eventually("one to be at both", async () => (await underWay("fra")()) && (await underWay("lon")()));
    await expectWhole(running);
  });

  describe.runIf(ALL)("and faults", () => {
    it("of a coordinator that is killed: --resume takes over what is under way, and each pair is there once", async () => {
      const journal = join(fleet.directory, "journal");
      await fleet.startWorker("fra");
      await fleet.startWorker("lon");
      const rate = (lease: number) => ["--max-rate", "200", "--fleet-lease", String(lease)];
      const coordinator = async (): Promise<string> => {
        const [key] = await fleet.keys("run:*");
        return JSON.parse((key === undefined ? null : await fleet.redis.get(key)) ?? "{}").token ?? "";
      };
      let running = fleet.startRun("--journal", journal, TARGETS, ...rate(2));
      await eventually("a cell to be under way", underWay("fra"));
      for (let kill = 0; kill < 3; kill++) {
        const before = await coordinator();
        running.kill("SIGKILL");
        await running.finished;
        running = fleet.startRun("--resume", journal, TARGETS, ...rate(4 - kill));
        await eventually("it to be taken over", async () => !["", before].includes(await coordinator()));
        await pause(Math.random() * 3000);
      }
      await expectWhole(running);
    }, 200_000);

    it("of a coordinator that is killed: --resume leaves out what is excluded since", async () => {
      const journal = join(fleet.directory, "journal");
      await fleet.startWorker("fra");
      const first = fleet.startRun("--journal", journal, TARGETS, "--max-rate", "200", "--fleet-lease", "2");
      await eventually(
        "some of it to be taken",
        async () => existsSync(journal) && statSync(journal).size > 10_000,
      );
      // As many as a worker may have done without their being taken: they are no cells of the run that goes on.
      first.kill("SIGSTOP");
      const waiting = async (): Promise<number> => {
        const [key = "none"] = await fleet.keys("run-*:completed");
        return fleet.redis.zcard(key);
      };
      await eventually("two cells to wait for being taken", async () => (await waiting()) === 2);
      first.kill("SIGKILL");
      await first.finished;
      const more = ["--exclude", "198.19.3.0/24,198.19.4.9", "--exclude-ports", "7000"];
      const { status, stdout, stderr } = await fleet.startRun(
        "--resume",
        journal,
        ...more,
        "--max-rate",
        "3000",
      ).finished;
      expect(status, stderr).toBe(0);
      const found = readScan(stdout);
      const isExcluded = (line: string): boolean => /^198\.19\.(3\.|4\.9 )| 7000 /.test(line);
      expect(answers(found).filter((line) => !TRUTH.includes(line))).toEqual([]);
      expect(answers(found).filter((line) => !isExcluded(line))).toEqual(
        TRUTH.filter((line) => !isExcluded(line)),
      );
      const { open, closed, excluded = 0, unfinished } = found.summary;
      expect({ all: open + closed + excluded, unfinished }).toEqual({ all: TRUTH.length, unfinished: 0 });
      expect(excluded).toBeGreaterThan(0);
    }, 100_000);

    it("of a run's key that has lapsed: locks keep their time, and a worker's death is seen", async () => {
      const fra = await fleet.startWorker("fra");
      await fleet.startWorker("lon");
      const running = fleet.startRun(TARGETS, "--max-rate", "200", ...QUICK);
      await eventually("a cell to be under way", underWay("lon"));
      const kept = async (): Promise<boolean> => {
        await fleet.redis.del(...(await fleet.keys("run:*")), "none");
        const [meta] = await fleet.keys("run-*:meta");
        return (await fleet.redis.ttl(meta)) > 0;
      };
      await eventually("it to be kept for --resume", kept);
      for (const lock of [...(await fleet.keys("run-*:lock")), ...(await fleet.keys("run-*:stalled-check"))])
        expect(await fleet.redis.pttl(lock)).toBeLessThanOrEqual(2000);
      await eventually("a cell to be under way again", underWay("fra"));
      fra.kill("SIGKILL");
      await expectWhole(running);
    }, 120_000);

    it("of a worker whose clock is an hour ahead: what it hands back is another's at once", async () => {
      const leaving = await fleet.startWorkerIn(offClock("ahead", 1), "ahead");
      const running = fleet.startRun("198.19.0.0/24:7000", "--max-rate", "40", ...QUICK);
      await eventually("a cell to be under way", underWay("ahead"));
      await fleet.startWorkerIn(offClock("ahead", 1), "narrow", "--exclude", "198.19.0.0/24");
      const fra = await fleet.startWorker("fra");
      fra.kill("SIGSTOP");
      leaving.kill("SIGINT");
      await eventually("it to be refused", async () => (await fleet.keys("refused:*")).length > 0);
      fra.kill("SIGCONT");
      expect((await running.finished).status).toBe(0);
    }, 120_000);

    it("of a link that is down while cells begin: they are probed when it is up", async () => {
      await fleet.startWorker("fra");
      const delays = async (): Promise<number> =>
        Number((await fleet.redis.info("commandstats")).match(/cmdstat_zadd:calls=(\d+)/)?.[1] ?? 0);
      setLink(lab, "down");
      const before = await delays();
      const running = fleet.startRun(TARGETS, ...SLOW);
      // Handed back as delayed jobs.
      await eventually("cells to be handed back", async () => (await delays()) >= before + 2);
      setLink(lab, "up");
      await expectWhole(running);
    }, 120_000);

    it("of results that change in Redis: their cell is probed again", async () => {
      await fleet.startWorker("fra");
      const running = fleet.startRun(TARGETS, ...SLOW);
      await eventually("a cell to be under way", underWay("fra"));
      running.kill("SIGSTOP");
      await eventually("a cell to be done", async () => (await fleet.keys("run-*:completed")).length > 0);
      for (const results of await fleet.keys("found:*")) await fleet.redis.hset(results, "0", "changed");
      running.kill("SIGCONT");
      await expectWhole(running);
    }, 120_000);

    it("of Redis that forgets everything: cells are added again", async () => {
      await fleet.startWorker("fra");
      const running = fleet.startRun(TARGETS, ...SLOW);
      await eventually("a cell to be under way", underWay("fra"));
      await fleet.redis.flushall();
      expect(await expectWhole(running)).toMatch(/lost are added again/);
    }, 120_000);

    it("of Redis that is killed and started again", async () => {
      await fleet.remove();
      fleet = await createFleet(lab);
      redis = await fleet.startRedis("--appendonly", "yes");
      await fleet.redis.connect();
      await fleet.startWorker("fra");
      const running = fleet.startRun(TARGETS, ...SLOW);
      await eventually("a cell to be under way", underWay("fra"));
      redis.kill("SIGKILL");
      await redis.finished;
      await running.until("stderr", /no answer from Redis/);
      await fleet.startRedis("--appendonly", "yes");
      expect(await expectWhole(running)).toMatch(/is back/);
    }, 120_000);

    it("of Redis that takes no writes: workers and runs go on when it does, over a new connection", async () => {
      await fleet.redis.replicaof("127.0.0.1", 1);
      const fra = fleet.startWorker("fra");
      await eventually("a write of the worker's", async () =>
        (await fleet.redis.info("errorstats")).includes("READONLY"),
      );
      await fleet.redis.replicaof("NO", "ONE");
      await fra;
      const running = fleet.startRun(TARGETS, ...SLOW);
      await eventually("a cell to be under way", underWay("fra"));
      const clients = async (): Promise<string[]> =>
        String(await fleet.redis.client("LIST")).match(/(?<=^id=)\d+/gm) ?? [];
      const before = await clients();
      await fleet.redis.replicaof("127.0.0.1", 1);
      await running.until("stderr", /READONLY/);
      await eventually("new connections of both", async () => {
        const now = await clients();
        return before.filter((id) => !now.includes(id)).length >= 2;
      });
      await fleet.redis.replicaof("NO", "ONE");
      await expectWhole(running);
    }, 120_000);

    it("of a connection that breaks before it is heard that a cell is completed: its results stay", async () => {
      const path = join(fleet.directory, "breaking.sock");
      let isBroken = false;
      const server = createServer((client) => {
        const onward = connect(join(fleet.directory, "redis.sock"));
        onward.pipe(client);
        for (const each of [client, onward]) each.on("error", () => {});
        client.on("close", () => onward.end());
        client.on("data", (data) => {
          onward.write(data);
          // Of the manifest, with which a cell is completed.
          if (isBroken || !data.includes('"digest"')) return;
          isBroken = true;
          onward.unpipe(client);
          onward.once("data", () => client.destroy()).resume();
        });
      });
      server.listen(path);
      onTestFinished(() => void server.close());
      await fleet.startWorkerIn({ SYNPROBE_FLEET: `unix://${path}` }, "fra");
      const running = fleet.startRun("198.19.0.0/24:7000", "--max-rate", "400", ...QUICK);
      await eventually("a cell to be under way", underWay("fra"));
      // So that it has not taken them before.
      running.kill("SIGSTOP");
      await eventually("it to be done", async () => isBroken && !(await underWay("fra")()));
      expect(await fleet.keys("found:*")).toHaveLength(1);
      running.kill("SIGCONT");
      const { status, stderr } = await running.finished;
      expect(status, stderr).toBe(0);
    }, 120_000);

    it("of Redis that comes back as it was before a cell was taken: no two workers are at it", async () => {
      const fra = await fleet.startWorker("fra");
      fra.kill("SIGSTOP");
      fleet.startRun(TARGETS, "--max-rate", "100", "--fleet-lease", "60");
      await eventually("a cell to wait", async () => (await fleet.keys("run-*:wait")).length > 0);
      await fleet.redis.save();
      const syns = await watchSyns(lab);
      fra.kill("SIGCONT");
      await eventually("a cell to be under way", underWay("fra"));
      await fleet.startWorker("lon");
      redis.kill("SIGKILL");
      await redis.finished;
      await fleet.startRedis();
      await eventually("the cell to be under way again", underWay("lon"));
      const before = farSegments(lab);
      await eventually("SYNs", () => Promise.resolve(farSegments(lab) > before + 200));
      const froms = (await syns(100)).map(({ from }) => from);
      expect(new Set(froms).size).toBe(2);
      // Each source's SYNs are together.
      expect(froms.filter((from, i) => i > 0 && from !== froms[i - 1])).toHaveLength(1);
    }, 120_000);

    it("of Redis that does not answer: nothing is sent after a lock has run out, and it goes on when it is back", async () => {
      await fleet.startWorker("fra");
      fleet.startRun(TARGETS, "--max-rate", "200", ...QUICK);
      await eventually("a cell to be under way", underWay("fra"));
      const begun = farSegments(lab);
      await eventually("SYNs", () => Promise.resolve(farSegments(lab) > begun + 50));
      redis.kill("SIGSTOP");
      await pause(2000);
      const before = farSegments(lab);
      await pause(1500);
      expect(farSegments(lab)).toBe(before);
      redis.kill("SIGCONT");
      await eventually("SYNs again", () => Promise.resolve(farSegments(lab) > before + 50));
    }, 120_000);

    it("of Redis that is away for longer than a lock, again and again: no worker has died of that", async () => {
      await fleet.startWorker("fra");
      // One cell.
      const running = fleet.startRun("198.19.0.0/24:7000", "--max-rate", "25", ...QUICK);
      for (let time = 0; time < 4; time++) {
        await eventually("a cell to be under way", underWay("fra"));
        redis.kill("SIGSTOP");
        await pause(2500);
        redis.kill("SIGCONT");
        await pause(1000);
      }
      const { status, stdout, stderr } = await running.finished;
      expect(status, stderr).toBe(0);
      expect(readScan(stdout).summary).toMatchObject({ closed: 256, unfinished: 0 });
    }, 120_000);

    it.each([
      { lease: 2, stopped: 2.5 },
      // Its lock may last still: it must not send before it has asked.
      { lease: 30, stopped: 25 },
    ])(
      "of a worker that is stopped past its fence: it sends one batch at most when it wakes (%o)",
      async ({ lease, stopped }) => {
        const fra = await fleet.startWorker("fra");
        fleet.startRun(TARGETS, "--max-rate", "200", "--fleet-lease", `${lease}`);
        await eventually("a cell to be under way", underWay("fra"));
        const begun = farSegments(lab);
        await eventually("SYNs", () => Promise.resolve(farSegments(lab) > begun + 50));
        fra.kill("SIGSTOP");
        await pause(stopped * 1000);
        // So that it gets no other cell when it wakes.
        redis.kill("SIGSTOP");
        const before = farSegments(lab);
        fra.kill("SIGCONT");
        await pause(1500);
        expect(farSegments(lab) - before).toBeLessThanOrEqual(256);
        redis.kill("SIGCONT");
      },
      120_000,
    );

    it.each(SEEDS)(
      "of all kinds, at random moments, with clocks an hour off (seed %i)",
      async (seed) => {
        await fleet.remove();
        fleet = await createFleet(lab);
        // An address of Redis for each worker, so that it can be cut off alone.
        const addresses = Array.from({ length: 16 }, (_, i) => `127.0.1.${i + 1}`);
        const lasting = ["--appendonly", "yes", "--port", "6379", "--bind", ...addresses];
        let server = await fleet.startRedis(...lasting);
        await fleet.redis.connect();
        nft(
          "table ip cut { set off { type ipv4_addr; }; chain out { type filter hook output priority 0; " +
            "tcp dport 6379 ip daddr @off drop; tcp sport 6379 ip saddr @off drop; }; }",
        );
        onTestFinished(() => void nft("delete table ip cut"));
        const draw = createDraw(seed);
        let started = 0;
        const startWorker = async (name: string, clock: Readonly<Record<string, string>> = {}) => {
          const address = addresses[started++];
          const running = await fleet.startWorkerIn(
            { ...clock, SYNPROBE_FLEET: `redis://${address}:6379` },
            name,
          );
          return { ...running, address };
        };
        const workers = [
          await startWorker("a"),
          await startWorker("b", offClock("ahead", 1)),
          await startWorker("c", offClock("behind", -1)),
        ];
        const journal = join(fleet.directory, "journal");
        const syns = await watchSyns(lab);
        let running = fleet.startRun("--journal", journal, TARGETS, ...LONG);
        await eventually("a cell to be under way", underWay("[abc]"));
        const faults: Readonly<Record<string, () => Promise<void>>> = {
          "kill a worker": async () => {
            const at = draw(workers.length);
            workers[at].kill("SIGKILL");
            workers[at] = await startWorker("d");
          },
          "cut a worker off": async () => {
            const { address } = workers[draw(workers.length)];
            nft(`add element ip cut off { ${address} }`);
            await pause(20_000);
            nft(`delete element ip cut off { ${address} }`);
          },
          "stop a worker": async () => {
            const at = draw(workers.length);
            workers[at].kill("SIGSTOP");
            await pause(3000);
            workers[at].kill("SIGCONT");
          },
          "kill the run": async () => {
            running.kill("SIGKILL");
            await running.finished;
            running = fleet.startRun("--resume", journal, TARGETS, ...LONG);
          },
          "kill Redis": async () => {
            server.kill("SIGKILL");
            await server.finished;
            server = await fleet.startRedis(...lasting);
          },
          "stop Redis": async () => {
            server.kill("SIGSTOP");
            await pause(3000);
            server.kill("SIGCONT");
          },
          "empty Redis": async () => void (await fleet.redis.flushall()),
        };
        const names = Object.keys(faults);
        for (let i = 0; i < 3; i++) {
          const name = names[draw(names.length)];
          console.log(`seed ${seed}: ${name}`);
          await faults[name]();
          await pause(draw(1500));
        }
        await expectWhole(running);
        // The fence is past 0.6 s before a lock is, and Redis may have lost the last renewal.
        const seen = await syns();
        expect(seen.length).toBeGreaterThanOrEqual(4096);
        expect(sharedHosts(seen, 0.2)).toEqual([]);
      },
      300_000,
    );

    it("of a cell that kills its workers: it is set aside, and the run says what is missing", async () => {
      const running = fleet.startRun("198.19.0.0/24:7000", "--max-rate", "20", ...QUICK);
      for (let death = 0; death < 3; death++) {
        const worker = await fleet.startWorker(`v${death}`);
        await eventually("a cell to be under way", underWay(`v${death}`));
        worker.kill("SIGKILL");
      }
      await fleet.startWorker("last");
      const { status, stdout, stderr } = await running.finished;
      expect(stderr).toMatch(/not probed: 256 pairs in 198\.19\.0\.0\/24: 3 workers have died with it/);
      expect(readScan(stdout).summary.unfinished).toBe(256);
      expect(status).toBe(130);
    }, 120_000);
  });

  it.runIf(ALL)(
    "says that Redis has no memory for results, and does not probe their hosts for ever",
    async () => {
      const used = /^used_memory:(\d+)/m.exec(await fleet.redis.info("memory"))?.[1];
      await fleet.redis.config("SET", "maxmemory", String(Number(used) + 2_500_000));
      const worker = await fleet.startWorker("fra");
      const { status, stdout, stderr } = await fleet.startRun("198.19.0.0/24:5001-7000", ...QUICK).finished;
      expect(stderr).toMatch(
        /not probed: 512000 pairs in 198\.19\.0\.0\/24: Redis has no memory for them: raise/,
      );
      expect(readScan(stdout).summary.unfinished).toBe(512_000);
      expect(status).toBe(130);
      await worker.until("stderr", /results of run \w+ are lost: Redis has no memory/);
    },
    60_000,
  );

  it("refuses what is not allowed, not signed, or not safe in Redis", async () => {
    const key = join(fleet.directory, "key");
    writeFileSync(key, "0123456789abcdef0123456789abcdef\n");
    await fleet.startWorker("fra", "--fleet-key", key);
    const [outside, unsigned] = await Promise.all([
      fleet.startRun("198.19.1.1:7001", "192.0.2.10:7001", "--fleet-key", key, ...QUICK).finished,
      fleet.startRun("198.19.1.1:7001", ...QUICK).finished,
    ]);
    expect(outside.stderr).toMatch(/not probed: 2 pairs in .*192\.0\.2\.10 is not in its --allow/);
    expect(outside.status).toBe(130);
    expect(unsigned.stderr).toMatch(/no worker takes this run: it is signed with another key: give/);
    expect(unsigned.status).toBe(4);
    await fleet.redis.replicaof("127.0.0.1", 1);
    const readOnly = await fleet.startRun("198.19.1.1:7001").finished;
    expect(linesOf(readOnly.stderr)).toHaveLength(1);
    expect(readOnly.stderr).toMatch(/Redis at .*: READONLY/);
    expect(readOnly.status).toBe(4);
    await fleet.redis.replicaof("NO", "ONE");
    await fleet.redis.config("SET", "maxmemory-policy", "allkeys-lru");
    const unsafe = await fleet.startRun("198.19.1.1:7001").finished;
    expect(linesOf(unsafe.stderr)).toHaveLength(1);
    expect(unsafe.stderr).toMatch(/maxmemory-policy allkeys-lru\): set "maxmemory-policy noeviction"/);
    expect(unsafe.status).toBe(4);
  });

  it.runIf(ALL)(
    "probes large cells in frames, by threads that look at the same fence",
    async () => {
      const ports = Array.from({ length: 15 }, (_, i) => 6995 + i);
      await Promise.all(
        ["a", "b"].map((vantage) => fleet.startWorker(vantage, "--link", "packet", "--workers", "2")),
      );
      const { status, stdout, stderr } = await fleet.startRun("198.19.0.0/20:6995-7009", "--show", "all")
        .finished;
      expect(status, stderr).toBe(0);
      expect(answers(readScan(stdout))).toEqual(truth(4096, ports));
    },
    120_000,
  );

  it.runIf(ALL)(
    "sends a cell while another's last tries are awaited, and both together no faster than --max-rate",
    async () => {
      const silent = "198.19.64.0/19";
      ip(lab.far, `route add blackhole ${silent}`);
      try {
        await fleet.startWorker("fra", "--max-rate", "4000");
        const syns = await watchSyns(lab);
        const run = fleet.startRun(`${silent}:7000`, "--retries", "2", "--no-controls", "--verify", "off");
        const { status, stdout, stderr } = await run.finished;
        expect(status, stderr).toBe(0);
        expect(readScan(stdout).summary).toMatchObject({ filtered: 8192, unfinished: 0 });
        const seen = await syns();
        const times = seen.map(({ at }) => at).sort((a, b) => a - b);
        expect(times.length).toBeGreaterThan(8192);
        // From the first of any 4,160 SYNs to the last it is a second: 4,000, a burst of each run, and what packets lie by late.
        const closest = times.slice(4160).map((at, i) => at - times[i]);
        expect(Math.min(...closest)).toBeGreaterThanOrEqual(1);
        // Networks of one cell begin together. Those of the next do before the last of these has had its last try.
        const cells: { from: number; to: number }[] = [];
        for (const { first, last } of networksOf(seen)) {
          const cell = cells[cells.length - 1];
          if (cell !== undefined && first - cell.from < 0.5) cell.to = Math.max(cell.to, last);
          else cells.push({ from: first, to: last });
        }
        expect(cells.length).toBeGreaterThan(1);
        for (const [i, { from }] of cells.slice(1).entries()) expect(from).toBeLessThan(cells[i].to);
      } finally {
        ip(lab.far, `route del blackhole ${silent}`);
      }
    },
    120_000,
  );

  it.runIf(ALL)("works as its page says", async () => {
    const path = "src/cli/help/topics/commands/fleet.md";
    const [commands] = blocksOf({ path, text: readFileSync(join(ROOT, path), "utf8") }, "");
    const script = `cd "${fleet.directory}"; ${commands}status=$?; kill $(jobs -p); wait; exit $status`;
    const { status, stdout, stderr } = await run(synprobe("lab", "--", "bash", "-c", script));
    expect(stdout, stderr).toMatch(/^48 ports on 16 hosts, 14 answered: 14 open, 23 closed, 11 filtered;/m);
    expect(status).toBe(0);
  });

  it.runIf(ALL)("has workers that leave when they are told, and runs that stop", async () => {
    const fra = await fleet.startWorker("fra");
    const [name] = (await fleet.keys("worker:*")).map((each) => each.split(":")[2]);
    const running = fleet.startRun(TARGETS, "--max-rate", "50", ...QUICK);
    await eventually("a cell to be under way", underWay("fra"));
    const [id] = (await fleet.keys("run:*")).map((each) => each.split(":")[2]);
    expect((await command("fleet", "stop", "nobody", fleet.url)).stderr).toContain(
      `no run nobody: there is ${id}`,
    );
    expect((await command("fleet", "stop", id, fleet.url)).status).toBe(0);
    const { status, stdout } = await running.finished;
    expect(readScan(stdout).summary.unfinished).toBeGreaterThan(0);
    expect(status).toBe(130);
    expect(await command("fleet", "drain", name, fleet.url)).toMatchObject({ status: 0 });
    expect((await fra.finished).status).toBe(0);
    expect(await fleet.keys("worker:*")).toEqual([]);
  });
});
