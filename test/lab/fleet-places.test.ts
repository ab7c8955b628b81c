/** A run from several places over a real redis-server: each probes everything, and what differs is looked at again before it is said. */
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { Ajv } from "ajv";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { run, synprobe } from "../cli/process.ts";
import { ALL } from "../everyday.ts";
import { schemaErrors } from "../report/schema.ts";
import {
  createFleet,
  eventually,
  type Fleet,
  fleetProblem,
  mostInASecond,
  timesBy,
  watchSyns,
} from "./fleet.ts";
import { command, inNamespace, type Lab, skipping } from "./netns.ts";
import { createWideLab, readScan, SOURCES, truth } from "./wide.ts";

interface FromPlace {
  readonly place: string;
  readonly state: string;
}

/** Every pair, and what it is from each place. */
function byPair(ndjson: string): string[] {
  return [...readScan(ndjson).results].map(([pair, found]) => {
    const { from = [] } = found as { readonly from?: readonly FromPlace[] };
    return `${pair}: ${from.map(({ place, state }) => `${state} from ${place}`).join(", ")}`;
  });
}

/** A second look's place in the order is behind all that a space can have. */
const isSecondLook = (key: string): boolean => Number(/cell-(\d+)-/.exec(key)?.[1]) >= 2 ** 50;

describe.skipIf(skipping("a fleet in several places", fleetProblem()))("a run from several places", () => {
  let lab: Lab;
  let fleet: Fleet;
  const nft = (script: string): string => command(inNamespace(lab.far, ["nft", script]));
  beforeAll(async () => {
    lab = await createWideLab();
    // The first worker of a fleet has the first source, the second the second, and so on.
    nft(
      "table inet lon { set lost { type ipv4_addr; }; set shut { type ipv4_addr; }; set from { type ipv4_addr; }; " +
        "chain in { type filter hook prerouting priority -300; " +
        "ip saddr @from ip daddr @shut drop; ip saddr @from ip daddr @lost drop; }; }",
    );
    nft(`add element inet lon from { ${SOURCES[1].ipv4} }`);
    nft("add element inet lon shut { 198.19.0.2 }");
  });
  afterAll(() => lab?.remove());
  beforeEach(async () => {
    fleet = await createFleet(lab);
    await fleet.startRedis();
    await fleet.redis.connect();
  });
  afterEach(() => fleet.remove());

  it.runIf(ALL)(
    "says what differs when a second look has found it too, and not what was lost once",
    async () => {
      nft("add element inet lon lost { 198.19.0.5 }");
      const xml = join(fleet.directory, "out.xml");
      const csv = join(fleet.directory, "out.csv");
      const table = join(fleet.directory, "out.nmap");
      const journal = join(fleet.directory, "journal");
      const files = ["-oX", xml, "-oC", csv, "-oN", table, "--journal", journal];
      const hosts = "198.19.0.0/29:7000,7001";
      const running = fleet.startRun(hosts, "--from", "fra,lon", "--retries", "1", ...files);
      await running.until("stderr", /lon: no worker at lon is there: waiting for one/);
      await Promise.all([fleet.startWorker("fra"), fleet.startWorker("lon")]);
      await eventually("a second look", async () => (await fleet.keys("run-*:cell-*")).some(isSecondLook));
      nft("flush set inet lon lost");
      const { status, stdout, stderr } = await running.finished;
      expect(status, stderr).toBe(0);
      const expected = truth(8, [7000, 7001]).map((line) => {
        const [ip, port, state] = line.split(" ");
        const fromLon = ip === "198.19.0.2" ? "filtered" : state;
        return `${ip} ${port}: ${state} from fra, ${fromLon} from lon`;
      });
      expect(byPair(stdout).sort()).toEqual(expected.sort());
      expect(schemaErrors(stdout)).toEqual([]);
      expect(readScan(stdout).summary).toMatchObject({ open: 8, closed: 8, filtered: 0, unfinished: 0 });
      expect(readFileSync(table, "utf8")).toMatch(/^198\.19\.0\.2:7001 .*open from fra, filtered from lon$/m);
      expect(readFileSync(table, "utf8")).toMatch(/^198\.19\.0\.5:7001 .* ms from fra, [\d.]+ ms from lon$/m);
      expect(readFileSync(csv, "utf8")).toMatch(/^198\.19\.0\.2,7001,.*,"open from fra, filtered from lon"/m);
      expect(readFileSync(xml, "utf8")).toContain(
        '<script id="from" output="closed from fra, filtered from lon"/>',
      );
      // A complete run is told once more as it was.
      const again = await fleet.startRun("--resume", journal).finished;
      expect(again.status, again.stderr).toBe(0);
      expect(byPair(again.stdout).sort()).toEqual(expected);
    },
  );

  describe.runIf(ALL)("and many pairs", () => {
    const PORTS = [7000, 7001];
    const TARGETS = "198.19.0.0/21:7000,7001";
    const EXPECTED = truth(2048, PORTS)
      .map((line) => {
        const [ip, port, state] = line.split(" ");
        return `${ip} ${port}: ${state} from fra, ${ip === "198.19.0.2" ? "filtered" : state} from lon`;
      })
      .sort();

    it.each([1, 2])(
      "goes on from its journal when it is killed, with each pair once (%i)",
      async () => {
        const journal = join(fleet.directory, "journal");
        const options = ["--max-rate", "2000", "--fleet-lease", "2"];
        await fleet.startWorker("fra");
        await fleet.startWorker("lon");
        let running = fleet.startRun("--journal", journal, TARGETS, "--from", "fra,lon", ...options);
        for (let kill = 0; kill < 3; kill++) {
          await eventually("cells to be under way", async () => (await fleet.keys("run-*:lock")).length > 0);
          await pause(Math.random() * 2500);
          running.kill("SIGKILL");
          await running.finished;
          running = fleet.startRun("--resume", journal, ...options);
        }
        const { status, stdout, stderr } = await running.finished;
        expect(status, stderr).toBe(0);
        expect(byPair(stdout).sort()).toEqual(EXPECTED);
        expect(readScan(stdout).summary).toMatchObject({ open: 2048, closed: 2048, unfinished: 0 });
      },
      200_000,
    );

    it("leaves out what is excluded since it was killed, from every place", async () => {
      const journal = join(fleet.directory, "journal");
      const options = ["--max-rate", "1000", "--fleet-lease", "2"];
      await fleet.startWorker("fra");
      const running = fleet.startRun("--journal", journal, TARGETS, "--from", "fra,lon", ...options);
      await eventually("results of fra", async () => (await fleet.keys("worker:fra-*")).length > 0);
      const probed = async (): Promise<boolean> => {
        const [worker] = await fleet.keys("worker:fra-*");
        return JSON.parse((await fleet.redis.get(worker)) ?? "{}").cells > 0;
      };
      await eventually("fra to have probed some", probed);
      await eventually("it to be taken", async () => (await fleet.keys("found:*")).length === 0);
      await pause(1500);
      running.kill("SIGKILL");
      await running.finished;
      await fleet.startWorker("lon");
      const syns = await watchSyns(lab);
      const more = ["--exclude", "198.19.0.2,198.19.4.0/22"];
      const { status, stdout, stderr } = await fleet.startRun("--resume", journal, ...more, ...options)
        .finished;
      expect(status, stderr).toBe(0);
      const isOut = (ip: string): boolean => ip === "198.19.0.2" || /^198\.19\.[4-7]\./.test(ip);
      const [out, kept] = [true, false].map((is) =>
        byPair(stdout).filter((line) => isOut(line.split(" ")[0]) === is),
      );
      expect(kept.sort()).toEqual(EXPECTED.filter((line) => !isOut(line.split(" ")[0])));
      // What one place had found is told; the other does not probe it any more.
      expect(out.length).toBeGreaterThan(0);
      for (const line of out) expect(line).toMatch(/: (open|closed) from fra$/);
      expect(readScan(stdout).summary).toMatchObject({ excluded: 2048 + 2, unfinished: 0 });
      // The first may be at a cell of the run that was killed until its lock is taken away.
      const ofLon = (await syns()).filter(({ from }) => from === SOURCES[1].ipv4);
      expect(ofLon.length).toBeGreaterThan(2000);
      expect(ofLon.filter(({ to }) => isOut(to))).toEqual([]);
    }, 120_000);

    it("is whole though Redis forgets everything and each place loses its worker", async () => {
      const options = ["--max-rate", "2000", "--fleet-lease", "2"];
      const fra = await fleet.startWorker("fra");
      const lon = await fleet.startWorker("lon");
      const running = fleet.startRun(TARGETS, "--from", "fra,lon", ...options);
      await eventually("cells to be under way", async () => (await fleet.keys("run-*:lock")).length === 2);
      await fleet.redis.flushall();
      fra.kill("SIGKILL");
      await fleet.startWorker("fra");
      await eventually("a second look", async () => (await fleet.keys("run-*:cell-*")).some(isSecondLook));
      await fleet.redis.flushall();
      lon.kill("SIGKILL");
      nft(`add element inet lon from { ${SOURCES[3].ipv4} }`);
      await fleet.startWorker("lon");
      const { status, stdout, stderr } = await running.finished;
      expect(status, stderr).toBe(0);
      expect(byPair(stdout).sort()).toEqual(EXPECTED);
    }, 120_000);

    it.each(["Ctrl-C", "fleet stop of one place"])(
      "is ended by %s with what is known, though a place has told nothing",
      async (how) => {
        await fleet.startWorker("fra");
        const running = fleet.startRun("198.19.1.0/29:7000,7001", "--from", "fra,lon", "--fleet-lease", "2");
        await running.until("stderr", /no worker at lon is there/);
        const probed = async (): Promise<boolean> => {
          const [worker] = await fleet.keys("worker:fra-*");
          return JSON.parse((await fleet.redis.get(worker)) ?? "{}").cells === 1;
        };
        await eventually("fra to have probed all", probed);
        // Results of a cell are gone when they are taken.
        await eventually("it to be taken", async () => (await fleet.keys("found:*")).length === 0);
        if (how === "Ctrl-C") running.kill("SIGINT");
        else {
          const [id] = (await fleet.keys("run:*")).map((key) => key.split(":")[2]);
          await run(inNamespace(lab.near, synprobe("fleet", "stop", id, fleet.url)));
        }
        const { status, stdout, stderr } = await running.finished;
        expect(status, stderr).toBe(130);
        const expected = truth(264, PORTS).filter((line) => /^198\.19\.1\.[0-7] /.test(line));
        expect(byPair(stdout).sort()).toEqual(
          expected.map((line) => line.replace(/^(\S+ \d+) (\w+) .*/, "$1: $2 from fra")).sort(),
        );
        expect(readScan(stdout).summary).toMatchObject({ open: 8, closed: 8, unfinished: 16 });
      },
      60_000,
    );

    it("is what a policy is checked by that names places, and only by it", async () => {
      const policy = join(fleet.directory, "policy.json");
      const groups = [
        { targets: "198.19.0.2", ports: { 7001: "open" }, from: "fra" },
        { targets: "198.19.0.2", ports: { 7001: "filtered" }, from: "lon" },
        { targets: "198.19.0.2", ports: { 7000: "not open" } },
        // Where nothing answers, nothing can be told of silence.
        { targets: "198.19.0.3", ports: { 7001: "open" } },
        { targets: "198.19.0.3", ports: { 7001: "closed" }, from: "lon" },
        { targets: "198.19.0.3", ports: { 7000: "filtered" } },
      ];
      const check = (...options: string[]) =>
        run(inNamespace(lab.near, synprobe("check", policy, "--format", "json", ...options)));
      writeFileSync(policy, JSON.stringify({ groups: groups.slice(0, 4) }));
      const here = await check();
      expect(here.stderr).toMatch(
        /policy\.json:1:\d+: group 1 is about what is so from fra, and nothing probes/,
      );
      expect(here.status).toBe(2);
      await fleet.startWorker("fra");
      await fleet.startWorker("lon");
      const good = await check("--fleet", fleet.url);
      expect(good.status, good.stderr + good.stdout).toBe(0);
      expect(JSON.parse(good.stdout)).toMatchObject({ as_written: 4, differs: 0, untold: 0 });
      writeFileSync(policy, JSON.stringify({ groups }));
      const { status, stdout } = await check("--fleet", fleet.url, "--from", "lon,fra");
      expect(status).toBe(1);
      const validate = new Ajv({ strict: true }).compile(
        createRequire(import.meta.url)("synprobe/check.schema.json"),
      );
      expect(validate(JSON.parse(stdout)), JSON.stringify(validate.errors)).toBe(true);
      expect(JSON.parse(stdout).findings).toMatchObject([
        { ip: "198.19.0.3", port: 7000, found: "closed", from: ["lon", "fra"] },
        { ip: "198.19.0.3", port: 7001, found: "open", from: ["lon"] },
      ]);
    }, 100_000);

    it("sends from all places together no faster than --max-rate and --max-rate-per-host", async () => {
      await fleet.startWorker("fra");
      await fleet.startWorker("lon");
      const syns = await watchSyns(lab);
      const caps = ["--max-rate", "200", "--max-rate-per-host", "4"];
      // Not that of which a second look is taken.
      const hosts = ["198.19.1.0/26:7000-7007", "--from", "lon,fra", "--no-controls"];
      const { status, stdout, stderr } = await fleet.startRun(...hosts, ...caps).finished;
      expect(status, stderr).toBe(0);
      expect(readScan(stdout).summary).toMatchObject({ open: 64, closed: 448, unfinished: 0 });
      const seen = await syns(1024);
      // A burst of each place may begin a second.
      expect(mostInASecond(seen.map(({ at }) => at))).toBeLessThanOrEqual(200 + 2 * 20);
      for (const [host, each] of timesBy(seen, String))
        expect(mostInASecond(each), host).toBeLessThanOrEqual(4 + 2);
    }, 200_000);
  });
});
