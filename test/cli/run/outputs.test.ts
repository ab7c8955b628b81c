/**
 * Where results go: files and standard output, terminals and pipes, readers that leave and disks that are full.
 */
import { existsSync, linkSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ProbeOptions } from "../../../src/cli/options/table.ts";
import { wantedFiles, withTime } from "../../../src/cli/run/formats.ts";
import { someOf } from "../../everyday.ts";
import { listen } from "../../lab/listeners.ts";
import {
  command,
  createLab,
  FAR,
  inNamespace,
  type Lab,
  labProblem,
  SILENT,
  skipping,
} from "../../lab/netns.ts";
import { at, resultsOf } from "../../lab/probing.ts";
import { until } from "../../lab/until.ts";
import { type Finished, linesOf, type RunOptions, run, start, synprobe } from "../process.ts";

const OPEN = 7001;
const open = at(FAR.ipv4, OPEN);
const closed = at(FAR.ipv6, 1);
const silent = at(SILENT.ipv4, 1);
const TABLE =
  /^TARGET +STATE +SERVICE +RTT +TTL +TRIES +REASON\n(.*\n){2}\n2 ports on 2 hosts: 1 open, 1 closed, /;
/** What -v adds is in every file. */
const VERBOSE_TABLE =
  /^TARGET +STATE +SERVICE +RTT +TTL +TRIES +REASON\n(.*\n){2}\n(no loss|loss) .*\n2 ports on 2 hosts: 1 open, 1 closed, /;

describe.skipIf(skipping("outputs", labProblem()))("outputs", () => {
  let lab: Lab;
  let directory: string;
  const file = (name: string): string => join(directory, name);

  beforeAll(async () => {
    lab = createLab();
    directory = mkdtempSync(join(tmpdir(), "sp-"));
    await listen(lab.far, [{ host: FAR.ipv4, port: OPEN }]);
  });

  afterAll(() => {
    lab.remove();
    rmSync(directory, { recursive: true, force: true });
  });

  const probe = (args: readonly string[], options?: RunOptions): Promise<Finished> =>
    run(inNamespace(lab.near, synprobe(...args)), options);
  /** A command of bash's, with synprobe's own in $SYNPROBE. */
  const shell = (script: string, options?: RunOptions): Promise<Finished> => {
    const words = synprobe().map((word) => `'${word}'`);
    return run(
      inNamespace(lab.near, ["bash", "--norc", "-c", script.replaceAll("$SYNPROBE", words.join(" "))]),
      options,
    );
  };

  /** What each format looks like, whatever it is written to. */
  const FORMATS = [
    [
      "-oJ",
      "--output-json",
      /^(\{"type":"result","ip":"[^\n]*\}\n){2}\{"type":"summary","schema":2,"hosts":2,[^\n]*\}\n$/,
    ],
    ["-oX", "--output-xml", /^<\?xml version="1\.0".*<port protocol="tcp" portid="7001">.*<\/nmaprun>\n$/s],
    ["-oN", "--output-normal", VERBOSE_TABLE],
    ["-oG", "--output-grepable", /^# .*\nHost: 192\.0\.2\.10 .*7001\/open\/tcp\/\/.*\n# /s],
    [
      "-oC",
      "--output-csv",
      /^ip,port,[a-z_,]*,ts,method,doubtful,window,options,from,aliases\r\n(\S+,tcp,(open|closed),\S+Z,,.*,\r\n){2}$/,
    ],
    ["-oT", "--output-targets", /^192\.0\.2\.10:7001\n$/],
    ["-oL", "--output-list", /^#masscan\nopen tcp 7001 192\.0\.2\.10 \d{10}\n# end\n$/],
  ] as const;

  test.each(someOf(3, FORMATS))("%s FILE, with the table on standard output", async (option, long, looks) => {
    for (const name of [option, long]) {
      const { status, stdout, stderr } = await probe([name, file("out"), open, closed]);
      expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
      expect(stdout).toMatch(TABLE);
      expect(readFileSync(file("out"), "utf8")).toMatch(looks);
    }
  });

  test.each(someOf(3, FORMATS))("%s -, instead of the table", async (option, _long, looks) => {
    const { status, stdout, stderr } = await probe([option, "-", open, closed]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toMatch(looks);
    if (option !== "-oN") expect(stdout).not.toContain("TARGET");
  });

  test("a name of standard output is as -: no table in the middle of the XML", async () => {
    const looks = FORMATS.find(([option]) => option === "-oX")?.[2] ?? /-oX/;
    for (const name of ["/dev/stdout", "/dev/fd/1"]) {
      const { status, stdout } = await shell(`$SYNPROBE -oX ${name} ${open} ${closed} | cat`);
      expect({ status, stdout }).toEqual({ status: 0, stdout: expect.stringMatching(looks) });
    }
  });

  test("any number of formats may go to /dev/null", async () => {
    const { status, stdout, stderr } = await probe(["-oJ", "/dev/null", "-oX", "/dev/null", open, closed]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toMatch(TABLE);
  });

  test("all formats at once, one of them on standard output", async () => {
    const options = FORMATS.flatMap(([option], i) => [option, i === 0 ? "-" : file(option)]);
    const { status, stdout } = await probe([...options, open, closed]);
    expect(status).toBe(0);
    FORMATS.forEach(([option, , looks], i) => {
      expect.soft(i === 0 ? stdout : readFileSync(file(option), "utf8"), option).toMatch(looks);
    });
  });

  test("an old output file is replaced", async () => {
    await probe(["-oJ", file("again"), open, closed]);
    await probe(["-oJ", file("again"), open]);
    expect(resultsOf(readFileSync(file("again"), "utf8")).size).toBe(1);
  });

  test("results are in the file as they fall, not only at the end", async () => {
    const running = start(
      inNamespace(lab.near, synprobe("-oJ", file("live"), "--timeout=10m", open, silent)),
    );
    await running.until("stdout", /open/);
    // The table is written first, but neither waits for the silent port.
    const results = () => resultsOf(readFileSync(file("live"), "utf8"));
    until(() => results().size === 1, "the result in the file");
    running.kill("SIGKILL");
    await running.finished;
    expect([...results().keys()]).toEqual([open]);
  });

  describe("colour", () => {
    const ESCAPE = "\x1b[";
    /** Runs on a terminal of its own, as script(1) makes one. */
    const onTerminal = (env?: Readonly<Record<string, string>>): Promise<Finished> => {
      const line = synprobe(open, at(FAR.ipv4, 0))
        .map((word) => `'${word}'`)
        .join(" ");
      const argv = inNamespace(lab.near, ["script", "-qec", line, "/dev/null"]);
      return run(argv, env === undefined ? {} : { env });
    };

    test("on a terminal, for results and errors", async () => {
      const { stdout, status } = await onTerminal();
      expect(status).toBe(5);
      const lines = stdout.split("\r\n");
      expect(lines.find((line) => line.includes(open))).toContain(`${ESCAPE}32mopen`);
      expect(lines.find((line) => line.includes("out of range"))).toContain(`${ESCAPE}31msynprobe:`);
    });

    test.each([
      ["NO_COLOR", { NO_COLOR: "1" }],
      ["TERM=dumb", { TERM: "dumb" }],
    ])("none on a terminal with %s", async (_what, env) => {
      const { stdout } = await onTerminal(env);
      expect(stdout).toMatch(/^192\.0\.2\.10:7001 +open /m);
      expect(stdout).not.toContain(ESCAPE);
    });

    test("a terminal that says it has no columns breaks no sentence", async () => {
      const { stdout } = await onTerminal();
      expect(stdout).toMatch(/^1 port on 1 host: 1 open, .* could not be probed\r$/m);
    });

    test("an empty NO_COLOR says nothing", async () => {
      expect((await onTerminal({ NO_COLOR: "" })).stdout).toContain(ESCAPE);
    });

    test("none on a pipe, unless forced", async () => {
      const plain = await probe([open, at(FAR.ipv4, 0)]);
      expect(plain.stdout + plain.stderr).not.toContain(ESCAPE);
      const forced = await probe([open], { env: { FORCE_COLOR: "1" } });
      expect(forced.stdout).toContain(ESCAPE);
    });

    test("never in a file", async () => {
      await probe(["-oN", file("plain"), open], { env: { FORCE_COLOR: "1" } });
      expect(readFileSync(file("plain"), "utf8")).not.toContain(ESCAPE);
    });
  });

  test("are whole when what explains the results fails: no socket is left to ask the kernel why all is silent", async () => {
    const xml = file("unexplained.xml");
    const args = ["-oX", xml, "--packet-trace", "--retries", "0", "--timeout", "1s", silent];
    const running = start(inNamespace(lab.near, synprobe(...args)));
    await running.until("stderr", /^SENT /m);
    command(["prlimit", "--pid", String(running.pid), "--nofile=5:5"]);
    const { status, stdout, stderr } = await running.finished;
    expect(stderr).toMatch(/^synprobe: .*EMFILE/m);
    expect(status).toBe(5);
    expect(stdout).toContain("1 port on 1 host, 0 answered: 0 open, 0 closed, 1 filtered; ");
    expect(readFileSync(xml, "utf8")).toMatch(/<port .*<state state="filtered".*<\/nmaprun>\n$/s);
  });

  test("--silent has open ports alone, for -iL", async () => {
    const { stdout } = await run(inNamespace(lab.near, synprobe("--silent", open, closed)));
    expect(stdout).toBe(`${open}\n`);
  });

  test("names of files have the time, as nmap's", () => {
    const now = new Date(2026, 10, 8, 9, 5, 7);
    // What nmap 7.93 made of it at that time.
    expect(withTime("a-%H-%M-%S_%m-%d-%y_%Y_%T_%R_%D_%F_%%_%q_%Z_%h_%_%", now)).toBe(
      "a-09-05-07_11-08-26_2026_090507_0905_110826_2026-11-08_%_q_Z_h__",
    );
    expect(wantedFiles({ outputAll: "s%y%m%d" } as ProbeOptions, now).map(({ path }) => path)).toEqual(
      ["ndjson", "xml", "nmap", "gnmap"].map((suffix) => `s261108.${suffix}`),
    );
  });

  test("--open leaves out of every file what is not open; --show-files parts the files from the table", async () => {
    const CLOSED = OPEN + 1;
    const both = at(FAR.ipv4, `${OPEN}-${CLOSED}`);
    const files = ["-oA", file("o"), "-oC", file("o.csv")];
    const { stdout } = await run(inNamespace(lab.near, synprobe("--open", ...files, both)));
    expect(stdout).toContain("2 ports on 1 host: 1 open, 1 closed, 0 filtered");
    const ports = {
      ndjson: /"port":(\d+)/g,
      xml: /portid="(\d+)"/g,
      gnmap: /(\d+)\/\w+\/tcp/g,
      nmap: /:(\d{4}) /g,
    };
    const listed = () =>
      Object.entries(ports).map(([suffix, pattern]) =>
        [...readFileSync(file(`o.${suffix}`), "utf8").matchAll(pattern)]
          .map(([, port]) => Number(port))
          .sort(),
      );
    expect(listed()).toEqual([[OPEN], [OPEN], [OPEN], [OPEN]]);
    expect(linesOf(readFileSync(file("o.csv"), "utf8"))).toHaveLength(2);
    const parted = await run(
      inNamespace(lab.near, synprobe("--open", "--show-files", "all", ...files, both)),
    );
    expect(parted.stdout).not.toContain(`:${CLOSED} `);
    expect(listed()).toEqual(Array(4).fill([OPEN, CLOSED]));
  });

  describe("a reader that leaves", () => {
    test("head -1: no complaint, no hang", async () => {
      const ports = `--show all --max-rate 200 -p1-2000 ${FAR.ipv4}`;
      const script = `$SYNPROBE ${ports} | head -1; echo "status \${PIPESTATUS[0]}"`;
      const { stdout, stderr } = await shell(script);
      expect(linesOf(stdout)).toEqual([expect.stringMatching(/^TARGET /), "status 141"]);
      expect(stderr).toBe("");
    });

    test("the run ends early: what nobody reads is not probed for", async () => {
      const args = ["--show=all", "--max-rate=20", "-p1-400", FAR.ipv4];
      const running = start(inNamespace(lab.near, synprobe(...args)));
      const started = performance.now();
      await running.until("stdout", /closed/);
      running.closeStdout();
      expect(await running.finished).toMatchObject({ status: 141, signal: null, stderr: "" });
      // The whole run would take twenty seconds.
      expect(performance.now() - started).toBeLessThan(10_000);
    });

    test.each(
      someOf(3, [["-oX -"], ["-oJ -"], ["-oC -"], ["-oG -"], [""], ["-oN -"], ["-oJ /dev/null -oX -"]]),
    )("after all was probed: that results are lost is said as well (%s)", async (outputs) => {
      const script = `$SYNPROBE --show all -p1-5000 ${outputs} ${FAR.ipv4} | head -1; echo "status \${PIPESTATUS[0]}"`;
      const { stdout, stderr } = await shell(script);
      expect({ last: linesOf(stdout).at(-1), stderr }).toEqual({ last: "status 141", stderr: "" });
    });

    test("when it has everything, that is no matter", async () => {
      const script = `$SYNPROBE ${open} ${closed} | cat >/dev/null; echo "status \${PIPESTATUS[0]}"`;
      expect((await shell(script)).stdout).toBe("status 0\n");
    });

    test.each(
      someOf(2, [["help"], ["--help"], [`--dry-run ${open}`], ["--print-config"], ["report -o - $SEEN"]]),
    )("other words that nobody reads: %s", async (words) => {
      const seen = file("seen");
      if (words.includes("$SEEN")) await probe(["-oJ", seen, open]);
      const script = `exec 3> >(exec true); wait $!; $SYNPROBE ${words} >&3; echo "status $?"`;
      expect((await shell(script, { env: { SEEN: seen } })).stdout).toBe("status 141\n");
    });

    test("a failure keeps its status, whoever reads", async () => {
      // There is no way to it.
      const script = `exec 3> >(exec true); wait $!; $SYNPROBE doctor 198.51.100.1:1 >&3; echo "status $?"`;
      expect((await shell(script)).stdout).toBe("status 4\n");
    });

    test("a file is written to its end even then", async () => {
      const { stdout } = await shell(
        `$SYNPROBE --show all -p1-2000 -oJ ${file("kept")} ${FAR.ipv4} | head -1; echo "status \${PIPESTATUS[0]}"`,
      );
      expect(linesOf(stdout).at(-1)).toBe("status 141");
      const lines = linesOf(readFileSync(file("kept"), "utf8"));
      expect(lines.filter((line) => line.includes('"state":"closed"'))).toHaveLength(2000);
      expect(JSON.parse(lines.at(-1) ?? "")).toMatchObject({ type: "summary", closed: 2000, unfinished: 0 });
    });

    test("standard error may be closed, or full", async () => {
      for (const where of ["2>&-", "2>/dev/full"]) {
        const { status, stdout } = await shell(
          `$SYNPROBE -v --packet-trace ${open} ${at(FAR.ipv4, 0)} ${where}`,
        );
        expect.soft({ where, status }).toEqual({ where, status: 5 });
        expect.soft(stdout).toMatch(/^192\.0\.2\.10:7001 +open /m);
      }
    });
  });

  describe("files that the run needs", () => {
    test("the journal is no output, by whatever name", async () => {
      const journal = file("precious");
      await probe(["--journal", journal, open]);
      const name = file("link");
      linkSync(journal, name);
      const before = readFileSync(journal);
      for (const output of [journal, `${directory}/./precious`, name]) {
        const { status, stderr } = await probe(["--resume", journal, "-oJ", output, open]);
        expect({ status, stderr }).toEqual({
          status: 2,
          stderr: `synprobe: results cannot go to ${output}: it is the journal\n`,
        });
      }
      expect(readFileSync(journal)).toEqual(before);
    });

    test("a journal whose end is broken says what is probed again", async () => {
      const journal = file("broken");
      await probe(["--journal", journal, open, closed]);
      const bytes = readFileSync(journal);
      bytes[bytes.length - 1] ^= 1;
      writeFileSync(journal, bytes);
      const { status, stdout, stderr } = await probe(["--resume", journal, open, closed]);
      expect(status).toBe(0);
      expect(stdout).toMatch(/^2 ports on 2 hosts: 1 open, 1 closed/m);
      expect(linesOf(stderr)).toEqual([
        expect.stringMatching(
          /broken: its last \d+ bytes were torn or damaged; what they held is probed again$/,
        ),
      ]);
    });

    test("nor is a list, and no other output loses what it has", async () => {
      writeFileSync(file("list"), `${open}\n`);
      writeFileSync(file("old"), "old results\n");
      const { status, stderr } = await probe(["-iL", file("list"), "-oJ", file("old"), "-oG", file("list")]);
      expect({ status, stderr }).toEqual({
        status: 2,
        stderr: `synprobe: results cannot go to ${file("list")}: it is the list of targets\n`,
      });
      expect(readFileSync(file("list"), "utf8")).toBe(`${open}\n`);
      expect(readFileSync(file("old"), "utf8")).toBe("old results\n");
    });

    test("an output that cannot be opened leaves no new journal behind", async () => {
      const journal = file("begun");
      for (const output of [file("none/x"), journal]) {
        const { status } = await probe(["--journal", journal, "-oJ", output, open]);
        expect({ status, left: existsSync(journal) }).toEqual({ status: 2, left: false });
      }
      expect((await probe(["--journal", journal, "-oJ", file("some"), open])).status).toBe(0);
    });
  });

  describe("a full disk", () => {
    test.each(someOf(3, [["-oJ"], ["-oN"], ["-oX"], ["-oG"], ["-oC"], ["-oL"], ["--pcap"]]))(
      "%s: said in one line, with 2",
      async (option) => {
        const { status, stderr } = await probe([option, "/dev/full", open, closed]);
        expect({ status, stderr }).toEqual({
          status: 2,
          stderr: "synprobe: cannot write output file /dev/full: the disk is full\n",
        });
      },
    );

    test.each(
      someOf(3, [
        [open],
        [`--dry-run ${open}`],
        ["--print-config"],
        ["--help"],
        ["completion bash"],
        [`path ${open}`],
        ["lab --truth 198.18.0.1:22"],
      ]),
    )("on standard output: synprobe %s", async (words) => {
      const { status, stderr } = await shell(`$SYNPROBE ${words} >/dev/full`);
      expect({ status, stderr }).toEqual({
        status: 2,
        stderr: "synprobe: cannot write standard output: the disk is full\n",
      });
    });

    test("the run stops, and what was found is on standard output", async () => {
      const { status, stdout } = await probe(["-oJ", "/dev/full", "--timeout=10m", open, silent]);
      expect(status).toBe(2);
      expect(stdout).toMatch(/^192\.0\.2\.10:7001 +open /m);
      expect(stdout).toContain("interrupted, 1 port unfinished");
    });
  });

  test("the XML is well formed", async (context) => {
    try {
      command(["xmllint", "--version"]);
    } catch {
      context.skip("xmllint is not installed");
    }
    await probe(["-oX", file("xml"), open, closed, at(FAR.ipv4, 0)]);
    command(["xmllint", "--noout", file("xml")]);
  });
});
