/** Large scans from the command line against real kernels: both links, workers, shards, what is left out, paces, signals. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { linesOf, run, start, synprobe, withFiles } from "../cli/process.ts";
import { ALL, everyday } from "../everyday.ts";
import {
  BEYOND,
  FAR,
  inNamespace,
  type Lab,
  labProblem,
  NEAR,
  overlayEtc,
  SILENT,
  skipping,
} from "./netns.ts";
import { at } from "./probing.ts";
import {
  answers,
  createWideLab,
  farSegments,
  OPEN,
  readScan,
  type Scan,
  SOURCES,
  scan,
  setLink,
  truth,
  wide,
} from "./wide.ts";

const CLOSED = 7002;
const FAST = ["--max-rate", "100000"];
/** 20,480 pairs. */
const MANY = ["198.19.0.0/20", "-p", "7001-7005"];

describe.skipIf(skipping("large scans", labProblem()))("large scans", () => {
  let lab: Lab;
  let directory = "";
  const file = (name: string, text: string | Uint8Array): string => {
    const path = join(directory, name);
    writeFileSync(path, text);
    return path;
  };
  const begin = (...args: string[]) => start(inNamespace(lab.near, synprobe(...args)));

  beforeAll(async () => {
    lab = await createWideLab();
    directory = mkdtempSync(join(tmpdir(), "sp-batch-"));
  });
  afterAll(() => {
    lab?.remove();
    rmSync(directory, { recursive: true, force: true });
  });

  describe("links and workers", () => {
    const MEANS = [
      ["--link", "raw"],
      ["--link", "packet", "--workers", "1"],
      ["--link", "packet", "--workers", "2"],
      ["--link", "packet", "--workers", "4"],
    ];

    it.each(everyday(["ipv4"] as const, ["ipv4", "ipv6"] as const))(
      "raw and packet, 1, 2 and 4 workers: the same answers, %s",
      async (family) => {
        const wideHosts = family === "ipv4" ? "198.19.255.0-5" : "[2001:db8:5::ff00-2001:db8:5::ff05]";
        const absent = family === "ipv4" ? "192.0.2.77" : "2001:db8::77";
        const targets = [
          `${wideHosts}:${OPEN},${CLOSED}`,
          ...[...Object.values(BEYOND).map((host) => host[family]), absent].map((host) => at(host, OPEN)),
        ];
        const patience = ["--retries", "1", "--timeout", "600"];
        const go = (means: readonly string[], i: number): Promise<Scan> =>
          scan(lab, [...means, ...patience, "-S", SOURCES[i][family], ...targets]);
        const runs = await Promise.all(MEANS.map(go));
        // Of an absent neighbour the near side's kernel tells, by an address that it chooses.
        const own = new RegExp(` (${[NEAR.ipv4, ...SOURCES.map((source) => source[family])].join("|")})$`);
        const [first, ...others] = runs.map((each) =>
          answers(each).map((line) => line.replace(own, " self")),
        );
        const about = (host: string): string | undefined => first.find((line) => line.startsWith(`${host} `));
        expect(first).toHaveLength(6 * 2 + 5 + 1);
        expect(first.filter((line) => / open syn-ack 61 -$/.test(line))).toHaveLength(6);
        expect(first.filter((line) => / closed reset 61 -$/.test(line))).toHaveLength(6);
        expect(about(BEYOND.blackhole[family])).toMatch(/ filtered no-response null -$/);
        expect(about(BEYOND.unreachable[family])).toMatch(/ filtered (host-unreach|no-route) 61 \S*10$/);
        expect(about(BEYOND.prohibit[family])).toMatch(/ filtered admin-prohibited 61 \S*10$/);
        expect(about(BEYOND.nobody[family])).toMatch(/ filtered (host|addr)-unreach 61 \S*10$/);
        expect(about(absent)).toMatch(/ filtered (host|addr)-unreach null self$/);
        for (const other of others) expect(other).toEqual(first);
      },
    );

    it.each(everyday([2], [1, 2, 4]))(
      "20,480 pairs through %i workers: each once, all right",
      async (workers) => {
        const found = await scan(lab, [...FAST, "--link", "packet", "--workers", String(workers), ...MANY]);
        expect(answers(found)).toEqual(truth(4096, [7001, 7002, 7003, 7004, 7005]));
        expect(found.summary).toMatchObject({
          hosts: 4096,
          open: 4096,
          closed: 16_384,
          filtered: 0,
          unfinished: 0,
        });
      },
    );

    describe("a packet link in the main thread, when only what is open is told", () => {
      const open = (stdout: string): string[] => (stdout.match(/^\S+(?=\s+open\s)/gm) ?? []).sort();
      const everyOpen = Array.from({ length: 4096 }, (_, i) => `198.19.${i >> 8}.${i & 255}:${OPEN}`).sort();
      const COUNTED = "20,480 ports on 4,096 hosts: 4,096 open, 16,384 closed, 0 filtered;";

      it("20,480 pairs: each open one once, all counted", async () => {
        const { status, stdout, stderr } = await wide(lab, [...FAST, ...MANY]);
        expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
        expect(open(stdout)).toEqual(everyOpen);
        expect(stdout).toContain(COUNTED);
      });

      it.runIf(ALL)("an interface that goes down in mid-run and comes back: the same", async () => {
        const patience = ["--retries", "8", "--timeout", "250", "--max-rate", "20000"];
        const running = begin("--stats-every", "100ms", ...patience, ...MANY);
        try {
          await running.until("stderr", / [1-9][\d,]* open/);
          setLink(lab, "down");
          await running.until("stderr", /sends refused/);
        } finally {
          setLink(lab, "up");
        }
        const { status, stdout } = await running.finished;
        expect(status).toBe(0);
        expect(open(stdout)).toEqual(everyOpen);
        expect(stdout).toContain(COUNTED);
      });

      it("Ctrl-C: what was found is printed, and counted as it was printed", async () => {
        const running = begin("--max-rate", "5000", ...MANY);
        await running.until("stdout", / open /);
        running.kill("SIGINT");
        const { status, stdout } = await running.finished;
        expect(status).toBe(130);
        const [, counted] = /: ([\d,]+) open, [\d,]+ closed/.exec(stdout) ?? [];
        expect(open(stdout)).toHaveLength(Number(counted?.replaceAll(",", "")));
      });
    });

    it("the packet link is chosen for large scans behind one Ethernet interface, and for no others", async () => {
      const plan = async (...targets: string[]): Promise<unknown> => {
        const { stdout } = await wide(lab, ["--dry-run", "-oJ", "-", ...targets]);
        const { links, comparison_syns } = JSON.parse(stdout);
        // Where the choice of packet was the program's own.
        expect(comparison_syns).toBe(links[0].link === "packet" && !targets.includes("-g") ? 64 : 0);
        return links.map(({ link }: { link: string }) => link);
      };
      expect(await plan("198.19.0.0/20:7001-7010")).toEqual(["packet"]);
      expect(await plan("198.19.0.0/20:7001-7010", "-g", "50000")).toEqual(["packet"]);
      expect(await plan("198.19.0.0/20:7001-7009")).toEqual(["raw-ip"]);
      expect(await plan("198.19.0.0/20:7001-7010", "--complete")).toEqual(["raw-ip"]);
      expect(await plan("198.19.0.0/20:7001-7010", "127.0.0.1:7001")).toEqual(["raw-ip", "raw-ip"]);
      const { stderr } = await wide(lab, [
        ...FAST,
        "-v",
        "198.19.0.0/20:7001-7025",
        "--shard",
        "1/10",
        "--seed",
        "1",
      ]);
      expect(stderr).toMatch(
        /^synprobe: link packet, \d+ workers?( that sends? in .* threads?)?, source ports \d+-\d+, --seed \d+$/m,
      );
    });

    it.each([
      [
        ["--link", "packet", "127.0.0.1:1"],
        /--link packet needs all targets to be behind one Ethernet interface/,
      ],
      [["--link", "packet", "--complete", at(FAR.ipv4, 1)], /drop --link packet$/m],
      [["--workers", "2", at(FAR.ipv4, 1)], /--workers 2 needs --link packet/],
    ] as const)("%j is refused", async (args, says) => {
      const { status, stdout, stderr } = await wide(lab, args);
      expect(stderr).toMatch(says);
      expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
    });

    it("two runs at once do not disturb each other, whatever their links", async () => {
      const running = begin("-oJ", "-", "--link", "packet", "--max-rate", "5000", ...MANY);
      await running.until("stdout", /"state":"closed"/);
      const { summary } = await scan(lab, ["--link", "raw", "--retries", "0", "198.19.16.0/26:7002"]);
      running.kill("SIGINT");
      await running.finished;
      expect(summary).toMatchObject({ closed: 64, filtered: 0 });
    });

    it("an interface that goes down in mid-run and comes back: said, and every answer right", async () => {
      const args = [
        "--link",
        "packet",
        "--workers",
        "2",
        "--max-rate",
        "20000",
        "--retries",
        "8",
        "--timeout",
        "250",
      ];
      const running = begin("-oJ", "-", "--stats-every", "100ms", ...args, ...MANY);
      try {
        await running.until("stderr", / [1-9][\d,]* open/);
        setLink(lab, "down");
        await running.until("stderr", /sends refused/);
      } finally {
        setLink(lab, "up");
      }
      const { status, stdout } = await running.finished;
      expect(status).toBe(0);
      const found = readScan(stdout);
      expect(answers(found)).toEqual(truth(4096, [7001, 7002, 7003, 7004, 7005]));
      expect(Object.keys(found.summary.send_errors)).not.toEqual([]);
    });
  });

  describe("order", () => {
    const SPACE = ["198.19.0.0/23", "-p", "7001-7003"];
    const pairs = async (...args: string[]): Promise<string[]> =>
      [...(await scan(lab, [...FAST, ...args, ...SPACE])).results.keys()].sort();

    it("--shard: three machines' parts are disjoint and complete", async () => {
      const shards: string[][] = [];
      for (const shard of ["1/3", "2/3", "3/3"]) shards.push(await pairs("--seed", "7", "--shard", shard));
      expect(shards.map(({ length }) => length)).toEqual([512, 512, 512]);
      expect(shards.flat().sort()).toEqual(await pairs());
    });

    it("--seed repeats an order, another seed has another, --sequential ascends", async () => {
      const order = async (...args: string[]): Promise<unknown> =>
        JSON.parse((await wide(lab, ["--dry-run", "-oJ", "-", ...args, ...SPACE])).stdout).first;
      expect(await order("--seed", "7")).toEqual(await order("--seed", "7"));
      expect(await order("--seed", "7")).not.toEqual(await order("--seed", "8"));
      expect(await order()).not.toEqual(await order());
      expect(await order("--sequential")).toEqual(
        Array.from({ length: 10 }, (_, i) => ({ ip: `198.19.0.${Math.floor(i / 3)}`, port: 7001 + (i % 3) })),
      );
    });
  });

  describe("what is probed", () => {
    const probed = async (...args: string[]): Promise<string[]> =>
      [...(await scan(lab, [...FAST, ...args])).results.keys()].sort();

    it("overlaps once; octet ranges, dashed ranges, networks in both families together", async () => {
      const found = await probed(
        "198.19.0.0/30:7001",
        "198.19.0.2-5:7001,7002",
        "198.19.0.3-198.19.0.4:7002",
        "198.19.1,3.7:7001",
        "198.19.0.3:7001",
        "[2001:db8:5::/127]:7001",
        "[2001:db8:5::1]:7001",
      );
      const hosts = (octets: readonly number[], port: number) => octets.map((o) => `198.19.0.${o} ${port}`);
      expect(found).toEqual(
        [
          ...hosts([0, 1, 2, 3, 4, 5], 7001),
          ...hosts([2, 3, 4, 5], 7002),
          "198.19.1.7 7001",
          "198.19.3.7 7001",
          "2001:db8:5:: 7001",
          "2001:db8:5::1 7001",
        ].sort(),
      );
    });

    it("as much as the limit of open files allows: fewer workers, the raw link, or an error that says so", async () => {
      const limited = (files: number, ...args: string[]) =>
        run(inNamespace(lab.near, withFiles(files, synprobe("-v", "--max-rate", "1000000", ...args))));
      const many = ["198.19.0.0/20:7001-7025", "--shard", "1/10", "--seed", "1"];
      expect(await limited(16, ...many)).toMatchObject({
        status: 0,
        stderr: expect.stringMatching(/link packet, 1 worker,/),
      });
      expect(await limited(12, ...many)).toMatchObject({
        status: 0,
        stderr: expect.stringMatching(/link raw-ip/),
      });
      for (const [files, instead] of [
        [16, "--workers 1"],
        [12, "--link raw"],
      ] as const) {
        const refused = await limited(files, "--link", "packet", "--workers", "4", ...many);
        expect(refused).toMatchObject({ status: 2, stdout: "" });
        expect(refused.stderr).toMatch(
          new RegExp(`--workers 4 needs 36 more open files, .* or give ${instead}$`, "m"),
        );
      }
    });

    it("not what --exclude, --exclude-file and --exclude-ports name", async () => {
      const excluded = file("exclude", "# ours\n198.19.0.8/30 198.19.0.14\r\n2001:db8:5::2\n");
      const found = await probed(
        ...[
          "--exclude",
          "198.19.0.0/30,198.19.0.5-6",
          "--exclude-file",
          excluded,
          "--exclude-ports",
          "7002,7004-",
        ],
        ...["198.19.0.0/28:7001-7010", "[2001:db8:5::2]:7001", "[2001:db8:5::3]:7003"],
      );
      const left = [4, 7, 12, 13, 15].flatMap((o) => [`198.19.0.${o} 7001`, `198.19.0.${o} 7003`]);
      expect(found).toEqual([...left, "2001:db8:5::3 7003"].sort());
    });

    it("nothing, when all of it is excluded; nor when an exclusion is wrong", async () => {
      const everything = await wide(lab, ["--exclude", "198.19.0.0/16", "198.19.0.1:7001"]);
      expect(everything).toMatchObject({ status: 2, stdout: "" });
      expect(everything.stderr).toMatch(/nothing is left to probe/);
      const excluded = file("wrong", "198.19.0.8\n198.19.0.9:80\n");
      const wrong = await wide(lab, ["--exclude-file", excluded, "198.19.0.1:7001"]);
      expect(wrong).toMatchObject({ status: 2, stdout: "" });
      expect(wrong.stderr).toContain(`"${excluded}:2" cannot be excluded`);
    });

    it("a pair that is named and given by address as well once, under its name", async () => {
      overlayEtc(lab.near, "hosts", "198.19.0.1 one.example.test\n");
      overlayEtc(lab.near, "nsswitch.conf", "hosts: files\n");
      const { results } = await scan(lab, ["198.19.0.1:7001,7002", "one.example.test:7001"]);
      expect([...results.values()].map(({ ip, port, host }) => `${ip} ${port} ${host}`).sort()).toEqual([
        "198.19.0.1 7001 one.example.test",
        "198.19.0.1 7002 undefined",
      ]);
    });

    it("--top-ports, for targets that name no port", async () => {
      const found = await probed("--top-ports", "4", "198.19.0.1", "198.19.0.2:7001");
      expect(found).toEqual(
        ["198.19.0.1 22", "198.19.0.1 3389", "198.19.0.1 443", "198.19.0.1 80", "198.19.0.2 7001"].sort(),
      );
    });

    it("not reserved space, nor a local network's broadcast address, and that is said", async () => {
      const { results, stderr } = await scan(lab, [
        "198.19.0.1:7001",
        "224.0.0.0/3:80",
        "192.0.2.255-192.0.2.255:80",
      ]);
      expect([...results.keys()]).toEqual(["198.19.0.1 7001"]);
      expect(linesOf(stderr).sort()).toEqual([
        "synprobe: left out, as nothing there can answer: broadcast address of a local network",
        "synprobe: left out, as nothing there can answer: multicast (224.0.0.0/4)",
        "synprobe: left out, as nothing there can answer: reserved (240.0.0.0/4)",
      ]);
    });

    it("a list with all that editors leave in one: CR LF, BOM, comments, a NUL, invalid UTF-8, a line of 1 MB", async () => {
      const list = Buffer.concat([
        Buffer.from("\uFEFF198.19.0.1:7001\r\n# comment\r\n\r\n198.19.0.2:7001 # and more\r\n"),
        Buffer.from("198.19.0.3\0:7001\n\xff\xfe:80\n", "latin1"),
        Buffer.from(`${"a".repeat(1 << 20)}:80\n198.19.0-255.9:7001\n[2001:db8:5::9]:7001`),
      ]);
      const { status, stdout, stderr } = await wide(lab, ["-oJ", "-", "-iL", file("list", list), ...FAST]);
      const { results } = readScan(stdout);
      expect(results.size).toBe(259);
      for (const pair of ["198.19.0.1 7001", "198.19.0.2 7001", "198.19.255.9 7001", "2001:db8:5::9 7001"]) {
        expect.soft(results.get(pair)?.state, pair).toBe("open");
      }
      expect(status).toBe(5);
      expect(linesOf(stderr).map((line) => line.replace(directory, ""))).toEqual([
        expect.stringMatching(/^synprobe: \/list:5: target "198\.19\.0\.3\S+:7001": /),
        expect.stringMatching(/^synprobe: \/list:6: target "\\xff\\xfe:80": it is not UTF-8 text/),
        expect.stringMatching(/^synprobe: \/list:7: target "a{60}…": it is longer than /),
      ]);
    });

    it("-iL - and targets of the command line together", async () => {
      const { results } = await scan(lab, ["-iL", "-", "198.19.0.2:7001"], {
        input: "198.19.0.0/31:7001\n198.19.0.1:7002",
      });
      expect([...results.keys()].sort()).toEqual([
        "198.19.0.0 7001",
        "198.19.0.1 7001",
        "198.19.0.1 7002",
        "198.19.0.2 7001",
      ]);
    });

    it("nothing under --strict, when one target or line is wrong: the first is told", async () => {
      const before = farSegments(lab);
      const list = file("strict", "198.19.0.1:7001\n198.19.0.2:70000\n198.19.0.3:nosuch\n");
      const wrong = [
        [["-iL", list], `synprobe: ${list}:2: target "198.19.0.2:70000": port 70000 is out of range`],
        [["198.19.0.1:7001", "198.19.0.0/33:1"], 'synprobe: target "198.19.0.0/33:1": the prefix length'],
        [["198.19.0.1:7001", "224.0.0.1:80"], "synprobe: 224.0.0.1:80: a multicast address"],
      ] as const;
      for (const [args, says] of wrong) {
        const { status, stdout, stderr } = await wide(lab, ["--strict", ...args]);
        expect.soft({ status, stdout }).toEqual({ status: 2, stdout: "" });
        expect.soft(linesOf(stderr)).toEqual([expect.stringContaining(says)]);
      }
      expect(farSegments(lab)).toBe(before);
    });

    it("nothing under --dry-run: the plan is printed, for people and for programs", async () => {
      const before = farSegments(lab);
      const page = await wide(lab, ["--dry-run", "--seed", "5", "198.19.0.0/20:7001-7025"]);
      expect(page).toMatchObject({ status: 0, stderr: "" });
      expect(page.stdout).toMatch(
        /^Pairs +102,400 on 4,096 hosts\nPorts +25: 7001-7025\nOrder +random, --seed 5 /,
      );
      expect(page.stdout).toMatch(/^Link +packet on veth0, from 192\.0\.2\.1, ports \d+-\d+\n/m);
      expect(page.stdout).toMatch(/\nNothing was sent: this is a dry run\.\n$/);
      const data = await wide(lab, [
        "--dry-run",
        "-oJ",
        "-",
        "--seed",
        "5",
        "--shard",
        "2/4",
        "198.18.0.0/15",
        "-p-",
      ]);
      expect(JSON.parse(data.stdout)).toMatchObject({ type: "plan", pairs: (131_072 * 65_535) / 4 });
      // A shard of an order of its own would be of no use to the other machines.
      const alone = await wide(lab, ["--dry-run", "--shard", "2/4", "198.18.0.0/15", "-p-"]);
      expect(alone).toMatchObject({ status: 2, stdout: "" });
      expect(alone.stderr).toMatch(/^synprobe: --shard needs the same order on every machine/);
      expect(farSegments(lab)).toBe(before);
    });
  });

  describe("pace", () => {
    it("--max-rate-per-host spreads one host's SYNs, and holds up no other", async () => {
      const args = [
        "--packet-trace",
        "--max-rate-per-host",
        "40",
        "198.19.0.1:7001-7020",
        "198.19.1.0/24:7001",
      ];
      const { stderr } = await scan(lab, args);
      const sent = linesOf(stderr).flatMap((line) => {
        const [, time, host] = /^SENT \((.*)s\) \S+ > (\S+):\d+ /.exec(line) ?? [];
        return time === undefined ? [] : [{ time: Number(time), host }];
      });
      const limited = sent.filter(({ host }) => host === "198.19.0.1").map(({ time }) => time);
      expect(limited).toHaveLength(20);
      // Gaps of 25 ms. A SYN that is late, as on a busy machine the first may be, does not push the next one on.
      for (const [i, time] of limited.entries()) expect(time - limited[0]).toBeGreaterThan(0.025 * i - 0.1);
      const gaps = limited.slice(1).map((time, i) => time - limited[i]);
      expect(gaps.toSorted((a, b) => a - b)[9]).toBeGreaterThan(0.02);
      const others = sent.filter(({ host }) => host !== "198.19.0.1").map(({ time }) => time);
      expect(others).toHaveLength(256);
      expect(Math.max(...others)).toBeLessThan(limited[19]);
    });

    it("--host-timeout gives a silent host up, and no other", async () => {
      const waits = ["--host-timeout", "400ms", "--timeout", "150", "--retries", "9", "--confidence", "1"];
      const { results, summary } = await scan(lab, [...waits, `${SILENT.ipv4}:1-40`, "198.19.0.1:7001"]);
      expect(results.get("198.19.0.1 7001")).toMatchObject({ state: "open" });
      const silent = [...results.values()].filter(({ ip }) => ip === SILENT.ipv4);
      expect(silent.map(({ state, reason }) => `${state} ${reason}`)).toEqual(
        Array(40).fill("filtered host-timeout"),
      );
      expect(summary.unfinished).toBe(0);
      expect(Math.max(...silent.map(({ tries }) => tries))).toBeLessThan(5);
    });

    it("-T sets rate, timeout and retries, where no other option does", async () => {
      const plan = async (...args: string[]): Promise<unknown> => {
        const { stdout } = await wide(lab, ["--dry-run", "-oJ", "-", ...args, "198.19.0.0/24:1-4"]);
        const { max_rate, expected_ms } = JSON.parse(stdout);
        return [max_rate, ...expected_ms];
      };
      // 1,024 pairs: as fast as a worker can, or three times at the rate while nothing answers, and the last one's wait.
      expect(await plan("-T4")).toEqual([undefined, 7, 807]);
      expect(await plan("-T", "aggressive")).toEqual([undefined, 7, 807]);
      expect(await plan("-T2")).toEqual([2.5, 409_600, 1_229_900]);
      expect(await plan("-T4", "--retries=1", "--timeout=90", "--max-rate=1024")).toEqual([1024, 1000, 2090]);
      const { results } = await scan(lab, ["-T4", "--confidence=1", "--timeout=30", at(SILENT.ipv4, 1)]);
      expect(results.get(`${SILENT.ipv4} 1`)).toMatchObject({ reason: "no-response", tries: 7 });
    });
  });

  describe("what is shown", () => {
    it("open ports of a large run, every port of a small one, and what --show says", async () => {
      const table = async (...args: string[]): Promise<string[]> => {
        const { status, stdout } = await wide(lab, args);
        expect(status).toBe(0);
        return linesOf(stdout);
      };
      const states = (lines: readonly string[]): string[] =>
        lines.flatMap((line) => /^198\S+ +(open|closed) /.exec(line)?.[1] ?? []);
      const large = ["198.19.0.0/27", "-p", "7001,7002"];
      const open = await table(...large);
      expect(states(open)).toEqual(Array(32).fill("open"));
      expect(open.at(-1)).toMatch(/^64 ports on 32 hosts: 32 open, 32 closed, 0 filtered; 64 SYNs sent, /);
      expect(
        open.filter((line) => /^Not shown on 198\.19\.0\.\d+: 1 closed tcp port \(reset\)$/.test(line)),
      ).toHaveLength(32);
      expect(states(await table("--show", "closed", ...large))).toEqual(Array(32).fill("closed"));
      expect(states(await table("--show", "all", ...large))).toHaveLength(64);
      expect(states(await table("198.19.0.0/29", "-p", "7001,7002")).sort()).toEqual([
        ...Array(8).fill("closed"),
        ...Array(8).fill("open"),
      ]);
    });

    it("--stats-every: lines on standard error, and nothing else there or on standard output", async () => {
      const { summary, stderr } = await scan(lab, [
        "--stats-every",
        "100ms",
        "--max-rate",
        "800",
        "198.19.0.0/25:7001-7004",
      ]);
      expect(summary.closed).toBe(384);
      const lines = linesOf(stderr);
      expect(lines.length).toBeGreaterThan(1);
      for (const line of lines) {
        expect(line).toMatch(/^synprobe: [\d,]+ of 512 pairs, \d+\.\d% done, \d+ open, /);
      }
    });
  });

  describe("an interrupted scan", () => {
    const SLOW = ["-oJ", "-", "--link", "packet", "--workers", "2", "--max-rate", "4000", ...MANY];

    it("Ctrl-C: sends no more, prints what was found, ends with 130 within seconds", async () => {
      const running = begin(...SLOW, `${SILENT.ipv4}:1-500`);
      await running.until("stdout", /"state":"open"/);
      const at = performance.now();
      running.kill("SIGINT");
      const { status, stdout } = await running.finished;
      expect(performance.now() - at).toBeLessThan(5000);
      expect(status).toBe(130);
      const { results, summary } = readScan(stdout);
      expect(summary).toMatchObject({ interrupted: true, unfinished: 20_980 - results.size });
      expect(results.size).toBe(summary.open + summary.closed + summary.filtered);
      expect(results.size).toBeGreaterThan(0);
    });

    it("twice: at once", async () => {
      let shortest = Number.POSITIVE_INFINITY;
      // A busy machine may be late, but not every time.
      for (let i = 0; i < 5 && shortest >= 900; i++) {
        const running = begin(...SLOW, `${SILENT.ipv4}:1-500`);
        await running.until("stdout", /"state":"open"/);
        const at = performance.now();
        running.kill("SIGINT");
        running.kill("SIGTERM");
        // Which of the two is handled last is the kernel's choice, when both are pending.
        expect([130, 143]).toContain((await running.finished).status);
        shortest = Math.min(shortest, performance.now() - at);
      }
      // Less than answers are waited for after the first.
      expect(shortest).toBeLessThan(900);
    });
  });
});
