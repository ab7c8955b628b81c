/** Runs that end before their time, and go on: killed, interrupted, with a full disk, with a worker dead. Journals end to end. */
import { execFileSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createBlockReader } from "../../src/runtime/journal/blocks.ts";
import { MAIN, ROOT, run, start, synprobe } from "../cli/process.ts";
import { ALL, everyday, someOf } from "../everyday.ts";
import { BEYOND, inNamespace, type Lab, labProblem, skipping } from "./netns.ts";
import { answers, createWideLab, readScan, type Scan, scan, truth, wide } from "./wide.ts";

/** 30,720 pairs, and among them 200 that stay undecided for a while: a journal has gaps. */
const PORTS = Array.from({ length: 15 }, (_, i) => 6995 + i);
const TARGETS = ["198.19.0.0/21:6995-7009", `${BEYOND.blackhole.ipv4}:1-200`];
const TRUTH = [
  ...truth(2048, PORTS),
  ...Array.from({ length: 200 }, (_, i) => i + 1).map(
    (port) => `${BEYOND.blackhole.ipv4} ${port} filtered no-response null -`,
  ),
].sort();
const TRIES = ["--retries", "1", "--timeout", "300"];
const FAST = ["--max-rate", "60000"];
/** The kills do not see the end of it. */
const SLOW = ["--max-rate", "6000"];
const RAW = ["--link", "raw"];
const KILLS = everyday(2, 5);
const packet = (workers: number): string[] => ["--link", "packet", "--workers", String(workers)];

/** How much of a journal is whole, in bytes: a kill may come in the middle of a write. */
function wholeBlocks(journal: string): number {
  const bytes = readFileSync(journal);
  const reader = createBlockReader(
    (b, offset, length, at) => bytes.copy(b, offset, at, at + length),
    bytes.length,
  );
  let end = 0;
  for (let block = reader.block(0); block !== undefined; block = reader.block(end)) end = block.next;
  return end;
}

describe.skipIf(skipping("journals", labProblem()))("a journal", () => {
  let lab: Lab;
  let directory = "";
  let made = 0;
  const fresh = (): string => join(directory, `journal-${made++}`);
  const begin = (...args: string[]) => start(inNamespace(lab.near, synprobe(...args)));

  beforeAll(async () => {
    lab = await createWideLab();
    directory = mkdtempSync(join(tmpdir(), "sp-resume-"));
  });
  afterAll(() => {
    lab?.remove();
    rmSync(directory, { recursive: true, force: true });
  });

  /** Resumes to the end. @returns what the last run says: all of it, each pair once */
  const finish = (journal: string, ...means: string[]): Promise<Scan> =>
    scan(lab, ["--resume", journal, ...means, ...TRIES, ...FAST, ...TARGETS]);

  function expectWhole(found: Scan): void {
    expect(answers(found)).toEqual(TRUTH);
    expect(found.summary).toMatchObject({
      open: 2048,
      closed: 28_672,
      filtered: 200,
      unfinished: 0,
      interrupted: false,
    });
  }

  const ONE = ["packet, 1 worker", packet(1)] as const;
  const SEVERAL = [
    ["raw", RAW],
    ["packet, 2 workers", packet(2)],
    ["packet, 4 workers", packet(4)],
  ] as const;
  it.each(everyday([SEVERAL[1]], [ONE, ...SEVERAL]))(
    "kill -9 at random moments: everything once, as in a run that nobody killed (%s)",
    async (_what, means) => {
      const journal = fresh();
      let known = 0;
      for (let kill = 0; kill < KILLS; kill++) {
        const option = existsSync(journal) ? "--resume" : "--journal";
        const running = begin(
          option,
          journal,
          "-oJ",
          join(directory, "killed"),
          ...means,
          ...TRIES,
          ...SLOW,
          ...TARGETS,
        );
        // The journal is written once a second: some of these moments are before, some after.
        await sleep(150 + Math.random() * 1400);
        running.kill("SIGKILL");
        expect((await running.finished).signal).toBe("SIGKILL");
        const length = existsSync(journal) ? wholeBlocks(journal) : 0;
        // What has been written stays.
        expect(length).toBeGreaterThanOrEqual(known);
        known = length;
        // Killed between making the file and the end of its first write: there is nothing to go on with.
        if (length === 0) rmSync(journal, { force: true });
      }
      const begun = Date.now();
      if (!existsSync(journal))
        await wide(lab, ["--journal", journal, ...means, ...TRIES, ...FAST, ...TARGETS]);
      const found = await finish(journal, ...means);
      expectWhole(found);
      const before = [...found.results.values()].filter(({ ts }) => Date.parse(ts) < begun);
      if (known > 100_000) expect(before.length).toBeGreaterThan(1000);
    },
  );

  it("Ctrl-C: journals what it has found, and says how to go on", async () => {
    const journal = fresh();
    const running = begin("--journal", journal, "-oJ", "-", ...packet(2), ...TRIES, ...SLOW, ...TARGETS);
    await running.until("stdout", /"state":"open"/);
    running.kill("SIGINT");
    const { status, stdout, stderr } = await running.finished;
    expect(status).toBe(130);
    expect(stderr).toBe(`synprobe: --resume ${journal} goes on\n`);
    const first = readScan(stdout);
    // Alone, but for a rate, which may be another.
    const second = await scan(lab, ["--resume", journal, "--max-rate", "300000"]);
    expectWhole(second);
    // No pair that was answered is probed again: its line is the very same.
    expect(first.results.size).toBeGreaterThan(0);
    for (const [pair, result] of first.results) expect(second.results.get(pair)).toEqual(result);
  });

  it("of a complete run is printed again, and nothing is probed", async () => {
    const journal = fresh();
    const first = await scan(lab, ["--journal", journal, ...packet(1), ...TRIES, ...FAST, ...TARGETS]);
    const { size } = statSync(journal);
    const again = await finish(journal, ...packet(1));
    expect(again.results).toEqual(first.results);
    expect(again.summary.path.rate).toBe(first.summary.path.rate);
    expect(again.stderr).toBe(`synprobe: journal ${journal} is of a complete run: nothing is probed again\n`);
    expect(statSync(journal).size).toBe(size);
    expect(again.summary).toMatchObject({
      sent: first.summary.sent,
      open: 2048,
      closed: 28_672,
      filtered: 200,
    });
  });

  it("goes on though an option that it brings says nothing of the outputs that are given now", async () => {
    const journal = fresh();
    const first = begin("127.0.0.1:1", "--journal", journal, "-oJ", "-", "--json-fields", "naabu");
    expect((await first.finished).status).toBe(0);
    const again = await begin("--resume", journal, "-oC", "-").finished;
    expect(again.status, again.stderr).toBe(0);
    expect(again.stdout).toContain("127.0.0.1,1,tcp,closed");
  });

  it("refuses other targets, other options, a file that is none, and to be begun twice", async () => {
    const journal = fresh();
    const small = ["198.19.0.1:7001,7002"];
    await scan(lab, ["--journal", journal, "--seed", "9", ...small]);
    const text = join(directory, "text");
    writeFileSync(text, "198.19.0.1:7001\n".repeat(100));
    const refused = [
      [
        ["--resume", journal, "198.19.0.1:7001"],
        /^synprobe: journal \S+ is of a run over other targets: .*198\.19\.0\.1:7001,7002$/m,
      ],
      [
        ["--resume", journal, "--retries=7", "--sequential", ...small],
        /other options: .*sequential was not given and is given.*retries was 10 and is 7/,
      ],
      [["--resume", journal, "--seed", "10", ...small], /seed was 9 and is 10/],
      [["--resume", text, ...small], /is not a synprobe journal$/m],
      [["--resume", `${journal}-none`, ...small], /there is no journal/],
      [["--journal", journal, ...small], /exists already: --resume/],
      [["--journal", text, ...small], /text exists already and is no journal: it is left alone/],
      [["--journal", journal, "--resume", journal, ...small], /exclude each other/],
    ] as const;
    for (const [args, says] of refused) {
      const { status, stdout, stderr } = await wide(lab, args);
      expect.soft(stderr).toMatch(says);
      expect.soft({ status, stdout }).toEqual({ status: 2, stdout: "" });
    }
  });

  it("alone goes on with targets, options and outputs, whatever the directory", async () => {
    const journal = fresh();
    writeFileSync(join(directory, "few"), "198.19.0.1:7001,7002\n");
    const began = ["-iL", "few", "--sequential", "--retries", "3", "-oJ", "few.json", "--journal", journal];
    const inside = (folder: string, ...args: string[]) =>
      run(inNamespace(lab.near, ["env", "-C", folder, ...synprobe(...args)]));
    expect(await inside(directory, ...began)).toMatchObject({ status: 0 });
    const first = readScan(readFileSync(join(directory, "few.json"), "utf8"));
    rmSync(join(directory, "few.json"));
    expect(await inside("/", "--resume", journal)).toMatchObject({ status: 0 });
    expect(readScan(readFileSync(join(directory, "few.json"), "utf8")).results).toEqual(first.results);
    expect((await inside("/", "--resume", journal, "--retries=4")).stderr).toMatch(/retries was 3 and is 4/);
  });

  it("of a long list goes on, alone and with more excluded", async () => {
    const journal = fresh();
    // More pairs than one chunk of the planner's memory holds, in no order.
    const pairs = Array.from({ length: 10_000 }, (_, i) => {
      const host = (i * 4099) & 8191;
      return `198.19.${host >> 8}.${host & 255}:${7000 + (i >> 13)}`;
    });
    writeFileSync(join(directory, "long"), pairs.join("\n"));
    const list = ["-iL", join(directory, "long"), ...TRIES];
    const running = begin("--journal", journal, "-oJ", "-", ...SLOW, ...list);
    await running.until("stdout", /"type":"result"/);
    running.kill("SIGINT");
    expect((await running.finished).status).toBe(130);
    const alone = await scan(lab, ["--resume", journal, ...FAST, "--exclude", "198.19.0.0/24"]);
    const found = await scan(lab, ["--resume", journal]);
    const kept = pairs.filter((pair) => !pair.startsWith("198.19.0.")).map((pair) => pair.replace(":", " "));
    expect(kept.filter((pair) => !alone.results.has(pair))).toEqual([]);
    expect(found.results).toEqual(alone.results);
    expect(alone.summary).toMatchObject({ unfinished: 0, filtered: 0 });
  });

  describe("of targets from standard input", () => {
    const input = "198.19.0.1\n";
    const OPTIONS = [
      "-p",
      "1-300",
      "--max-rate",
      "150",
      "--retries",
      "2",
      "--exclude-ports",
      "80",
      "--show",
      "all",
    ];

    it.each(
      someOf(3, [
        ["comes there", []],
        ["comes there, as is said", ["-iL", "-"]],
        ["is named", ["198.19.0.1"]],
      ]),
    )("goes on with options and outputs when what was given %s", async (_what, given) => {
      const journal = fresh();
      const json = `${journal}.json`;
      const began = synprobe("-iL", "-", "--journal", journal, "-oJ", json, ...OPTIONS);
      const first = start(inNamespace(lab.near, began), { input });
      await first.until("stdout", /198\.19\.0\.1:\d/);
      first.kill("SIGINT");
      expect(await first.finished).toMatchObject({ status: 130 });
      const { results: before } = readScan(readFileSync(json, "utf8"));
      const { status, stderr } = await wide(
        lab,
        ["--resume", journal, ...given],
        given.length === 1 ? {} : { input },
      );
      expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
      const { results, summary } = readScan(readFileSync(json, "utf8"));
      expect(summary).toMatchObject({ closed: 299, unfinished: 0 });
      // Both runs have kept the limit.
      const times = [...results].flatMap(([pair, { ts }]) => (before.has(pair) ? [] : [Date.parse(ts)]));
      const seconds = (Math.max(...times) - Math.min(...times)) / 1000;
      expect((times.length - 1) / seconds).toBeLessThan(300);
    });

    it("does not go on without any", async () => {
      const journal = fresh();
      await scan(lab, ["-iL", "-", "--journal", journal], { input: "198.19.0.1:7001\n" });
      const alone = inNamespace(lab.near, synprobe("--resume", journal));
      const { status, stderr } = await run(["sh", "-c", 'exec "$@" </dev/null', "sh", ...alone]);
      expect({ status, stderr }).toMatchObject({
        status: 2,
        stderr: expect.stringContaining("from standard input"),
      });
    });
  });

  describe("goes on without what is excluded since, and so does every later resumption", () => {
    const SHARD = ["packet, 2 workers, a shard", [...packet(2), "--shard", "1/2", "--seed", "3"]] as const;
    /** What has come to the far side of what is not to be probed, from now on. */
    const watch = (rules: readonly string[]): void => {
      const lines = rules.map((rule) => `${rule} counter name syns`).join("\n");
      execFileSync("ip", ["netns", "exec", lab.far, "nft", "-f", "-"], {
        input: `table inet watch
          delete table inet watch
          table inet watch {
            counter syns { }
            chain arriving {
              type filter hook prerouting priority 0
              ${lines}
            }
          }`,
      });
    };
    const seen = (): string => {
      const list = ["netns", "exec", lab.far, "nft", "list", "counter", "inet", "watch", "syns"];
      return /packets \d+/.exec(execFileSync("ip", list, { encoding: "utf8" }))?.[0] ?? "";
    };

    it.each(
      everyday([SHARD], [
        SHARD,
        ["packet, 1 worker", packet(1)],
        ["raw", RAW],
        ["connect", ["--link", "connect"]],
      ] as const),
    )("%s", async (what, means) => {
      const journal = fresh();
      const list = join(directory, "excluded");
      writeFileSync(list, "198.19.4.0/23\n198.19.7.9\n");
      /** Killed when its journal has grown. */
      const killed = async (...args: string[]): Promise<void> => {
        const length = (): number => (existsSync(journal) ? wholeBlocks(journal) : 0);
        const before = length();
        const running = begin(...args, "-oJ", "/dev/null");
        while (length() < before + 64_000) await sleep(20);
        running.kill("SIGKILL");
        await running.finished;
      };
      await killed("--journal", journal, ...means, ...TRIES, "--exclude", "198.19.7.7", ...SLOW, ...TARGETS);
      const once = ["ip daddr { 198.19.2.0/24, 198.19.3.7, 198.19.7.7 }", "tcp dport 7002"];
      watch(once);
      const begun = Date.now();
      const more = ["--exclude", "198.19.2.0/24,198.19.3.7", "--exclude-ports", "7002"];
      await killed("--resume", journal, ...more, "--max-rate", "4000");
      expect(seen()).toBe("packets 0");
      const dry = await wide(lab, [
        "--resume",
        journal,
        "--exclude",
        "198.19.0.0/22",
        "--dry-run",
        "-oJ",
        "-",
      ]);
      const { first } = JSON.parse(dry.stdout) as { readonly first: readonly { readonly ip: string }[] };
      expect(first).toHaveLength(10);
      expect(first.filter(({ ip }) => /^198\.19\.[0-3]\./.test(ip))).toEqual([]);
      watch([...once, "ip daddr { 198.19.4.0/23, 198.19.7.9 }"]);
      const found = await scan(lab, ["--resume", journal, "--exclude-file", list, "--max-rate", "60000"]);
      expect(seen()).toBe("packets 0");

      const isExcluded = (pair: string): boolean =>
        /^198\.19\.([245]\.|3\.7 |7\.9 )|^198\.19\.\S+ 7002\b/.test(pair);
      // With connect reasons have other names.
      const states = (lines: readonly string[]) => lines.map((line) => line.split(" ", 3).join(" "));
      const whole = states(TRUTH).filter((line) => !line.startsWith("198.19.7.7 "));
      const all = states(answers(found));
      expect(new Set(whole)).toEqual(new Set([...whole, ...all]));
      const isShard = what.includes("shard");
      if (!isShard)
        expect(all.filter((line) => !isExcluded(line))).toEqual(whole.filter((line) => !isExcluded(line)));
      // What was found before it was excluded stays.
      const kept = [...found.results].filter(([pair]) => isExcluded(pair));
      expect(kept.length).toBeGreaterThan(0);
      const of2 = kept.filter(([pair]) => /^198\.19\.(2\.|3\.7 )|7002$/.test(pair));
      expect(of2.filter(([, { ts }]) => Date.parse(ts) >= begun)).toEqual([]);
      const { open, closed, filtered, unfinished, excluded = 0 } = found.summary;
      expect({ all: open + closed + filtered + excluded, unfinished }).toEqual({
        all: isShard ? Math.ceil(whole.length / 2) : whole.length,
        unfinished: 0,
      });
      expect(open + closed + filtered).toBe(all.length);
      expect(excluded).toBeGreaterThan(0);
      // Of a complete run as well.
      expect((await scan(lab, ["--resume", journal])).summary).toMatchObject({
        open,
        closed,
        filtered,
        excluded,
      });
    });
  });

  it("is one process's at a time", async () => {
    const journal = fresh();
    const running = begin("--journal", journal, "-oJ", "-", ...packet(1), ...TRIES, ...SLOW, ...TARGETS);
    await running.until("stdout", /"state":"open"/);
    const { status, stderr } = await wide(lab, ["--resume", journal, ...TRIES, ...TARGETS]);
    running.kill("SIGKILL");
    await running.finished;
    expect({ status, stderr }).toEqual({
      status: 2,
      stderr: `synprobe: journal ${journal} is in use by another synprobe, process ${running.pid}: wait until it has ended\n`,
    });
  });

  describe("on a full disk", () => {
    const mount = (...options: string[]): void => {
      execFileSync("mount", ["-t", "tmpfs", "-o", options.join(","), "tmpfs", join(directory, "small")]);
    };
    beforeAll(() => {
      mkdirSync(join(directory, "small"));
      mount("size=512k");
    });
    afterAll(() => {
      execFileSync("umount", [join(directory, "small")]);
    });

    const raw = ["raw", RAW] as const;
    it.each(everyday([raw], [raw, ["packet", packet(2)] as const]))(
      "stops the run, which goes on when there is room (%s)",
      async (what, means) => {
        const journal = join(directory, "small", what);
        const full = await wide(lab, [
          "--journal",
          journal,
          "-oJ",
          "-",
          ...means,
          ...TRIES,
          ...FAST,
          ...TARGETS,
        ]);
        expect(full.stderr).toBe(
          `synprobe: cannot write journal ${journal}: the disk is full; put that right, then continue with --resume ${journal}\n`,
        );
        expect(full.status).toBe(2);
        // Outputs that are whole have all that the totals count.
        const { results, summary } = readScan(full.stdout);
        expect(results.size).toBe(summary.open + summary.closed + summary.filtered);
        expect(statSync(journal).size).toBeGreaterThan(100_000);
        mount("remount", "size=16m");
        expectWhole(await finish(journal, ...means));
        rmSync(journal);
        mount("remount", "size=512k");
      },
    );
  });

  it.runIf(ALL)(
    "is intact when a worker dies, the outputs are finished, and the run fails loudly",
    async () => {
      const journal = fresh();
      const broken = brokenProgram();
      const xml = join(directory, "broken.xml");
      const args = [
        "--journal",
        journal,
        "-oJ",
        "-",
        "-oX",
        xml,
        ...packet(2),
        ...TRIES,
        ...SLOW,
        ...TARGETS,
      ];
      const { status, stdout, stderr } = await run(
        inNamespace(lab.near, [process.execPath, broken, ...args]),
      );
      expect(status).toBe(70);
      expect(stderr).toMatch(/this worker is to die/);
      const { results, summary } = readScan(stdout);
      expect(results.size).toBeGreaterThan(0);
      expect(summary.interrupted).toBe(true);
      const states = [...results.values()].map(({ state }) => state);
      for (const state of ["open", "closed", "filtered"] as const)
        expect(states.filter((each) => each === state)).toHaveLength(summary[state]);
      expect(summary.unfinished).toBe(TRUTH.length - results.size);
      expect(readFileSync(xml, "utf8")).toMatch(/<\/nmaprun>\n$/);
      // All that was printed is in the journal.
      expect(statSync(journal).size).toBeGreaterThan(64 * results.size);
      expectWhole(await finish(journal, ...packet(2)));
    },
  );

  /** The same program, but its second worker dies after some messages. */
  function brokenProgram(): string {
    const place = join(directory, "broken");
    mkdirSync(place);
    const files = readdirSync(dirname(MAIN)).filter(
      (file) => file === "synprobe.cjs" || /\.code$/.test(file),
    );
    for (const file of files) cpSync(join(dirname(MAIN), file), join(place, file));
    // Native packages are taken from where a package.json is.
    cpSync(join(ROOT, "package.json"), join(place, "package.json"));
    symlinkSync(join(ROOT, "node_modules"), join(place, "node_modules"));
    const worker = join(dirname(MAIN), "worker.cjs");
    writeFileSync(
      join(place, "worker.cjs"),
      `const { parentPort } = require("node:worker_threads");
      const post = parentPort.postMessage.bind(parentPort);
      let left = Infinity;
      parentPort.on("message", (task) => { if (task.worker.index === 1) left = 12; });
      parentPort.postMessage = (...args) => {
        if (left-- === 0) throw new Error("this worker is to die");
        post(...args);
      };
      require(${JSON.stringify(worker)});`,
    );
    return join(place, "synprobe.cjs");
  }
});
