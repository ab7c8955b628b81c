/**
 * `--store`, `synprobe history` and stores in the place of files, as processes: what is printed, exit statuses, mistakes in one line,
 * and what is left of a store whose writer was killed or ran out of disk.
 */
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openStore } from "../../../src/runtime/store/database.ts";
import { createRecorder } from "../../../src/runtime/store/record.ts";
import { everyday } from "../../everyday.ts";
import { linesOf, run, start, synprobe } from "../process.ts";

const line = (port: number, state: string, reason: string, ts: string, host?: string) =>
  `${JSON.stringify({ type: "result", ip: "192.0.2.1", host, port, proto: "tcp", state, reason, service: port === 22 ? "ssh" : undefined, ts })}\n`;
const end = (ts: string) =>
  `{"type":"summary","interrupted":false,"started_at":"${ts}","elapsed_ms":1000,"path":{"loss":{"round":0.01}}}\n`;
const MONDAY = "2026-11-23T01:00:00.000Z";
const TUESDAY = "2026-11-24T01:00:00.000Z";
const EVIL = "\u001b[31m=cmd";
const FILES = {
  "monday.json":
    line(22, "open", "syn-ack", MONDAY, EVIL) + line(80, "closed", "reset", MONDAY) + end(MONDAY),
  "tuesday.json":
    line(22, "filtered", "no-response", TUESDAY, EVIL) + line(80, "closed", "reset", TUESDAY) + end(TUESDAY),
  "list.gnmap": "Host: 192.0.2.1 ()\tPorts: 22/open/tcp//ssh///\n",
};

let folder = "";
const path = (name: string): string => (/\.(json|gnmap|db|html)/.test(name) ? join(folder, name) : name);
const history = (...args: string[]) => run(synprobe("history", ...args.map(path), "--store", path("h.db")));
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "synprobe-history-"));
  for (const [name, text] of Object.entries(FILES)) writeFileSync(join(folder, name), text);
  const { status, stderr } = await history("import", "monday.json", "tuesday.json");
  expect({ status, lines: linesOf(stderr).map((each) => each.replace(/^.*\//, "")) }).toEqual({
    status: 0,
    lines: [
      "monday.json: 2 ports as of 2026-11-23 01:00:00 UTC, 0 changed",
      "tuesday.json: 2 ports as of 2026-11-24 01:00:00 UTC, 1 changed",
    ],
  });
});
afterAll(() => rmSync(folder, { recursive: true }));

const MISTAKES: readonly (readonly [readonly string[], RegExp])[] = [
  [["at", "yesterday"], /^synprobe: history at takes a time: .*; not "yesterday"$/],
  [["at"], /^synprobe: history at takes a time: /],
  [["changes", "--since", "2026-02-30"], /^synprobe: --since takes a time: /],
  [["runs", "twice"], /^synprobe: history runs takes nothing more, not "twice"$/],
  [["import"], /^synprobe: history import takes files of results/],
  [["import", "list.gnmap"], /list\.gnmap does not say when it was made/],
  [["192.0.2.0/24"], /a single host is wanted here/],
  [["192.0.2.1:22,80"], /^synprobe: history takes one port of a host, not 2/],
  [["changes", "--since", "1d", "--until", "2d"], /^synprobe: --since is a time after --until/],
  [["--json", "--csv"], /^synprobe: --json and --csv exclude each other$/],
];

describe("a run that is imported again", () => {
  it("is there once by whatever name, with what its file lacked when it was cut off; and nothing else is left beside the store", async () => {
    const store = join(folder, "twice.db");
    // Results come after the start, which stands at the end.
    const at = (ms: number): string => `2026-11-23T01:00:00.${ms}Z`;
    const whole = line(22, "open", "syn-ack", at(500)) + line(80, "closed", "reset", at(700)) + end(at(123));
    const rows = async () =>
      linesOf((await run(synprobe("history", "runs", "--json", "--store", store))).stdout).map((each) => {
        const { ports, open, ending } = JSON.parse(each);
        return { ports, open, ending };
      });
    const put = async (name: string, text: string) => {
      writeFileSync(join(folder, name), text);
      const { status } = await run(synprobe("history", "import", join(folder, name), "--store", store));
      expect(status).toBe(0);
    };
    await put("part.json", whole.slice(0, whole.indexOf("\n") + 1));
    expect(await rows()).toMatchObject([{ ports: 1, open: 1 }]);
    await put("part.json", whole);
    expect(await rows()).toEqual([{ ports: 2, open: 1, ending: "complete" }]);
    await put("part.json", whole);
    expect(await rows()).toHaveLength(1);
    // Another file may have as many ports at the same time.
    await put("other.json", whole.replaceAll("192.0.2.1", "192.0.2.2"));
    expect(await rows()).toHaveLength(2);
    const { stdout } = await run(synprobe("history", "192.0.2.1:80", "--store", store));
    expect(stdout).toContain("closed (reset)");
    expect(readdirSync(folder).filter((each) => each.startsWith("twice"))).toEqual(["twice.db"]);
  });

  it("counts once, whichever of the files that -oA makes are given, and has what any of them tells", async () => {
    const store = join(folder, "all.db");
    const command = "nmap -p 22,80 -oA scan 192.0.2.1";
    const began = `scan initiated Mon Nov 23 01:00:00 2026 as: ${command}`;
    const state = (port: number, is: string, reason: string) =>
      `<port protocol="tcp" portid="${port}"><state state="${is}" reason="${reason}"/></port>`;
    const all = {
      "scan.gnmap": `# Nmap 7.93 ${began}\nHost: 192.0.2.1 ()\tPorts: 22/open/tcp//ssh///\tIgnored State: closed (1)\n# Nmap done at Mon Nov 23 01:00:01 2026 -- 1 IP address\n`,
      "scan.json":
        line(22, "open", "syn-ack", "2026-11-23T01:00:00.400Z") +
        line(80, "closed", "reset", "2026-11-23T01:00:00.500Z") +
        end("2026-11-23T01:00:00.123Z"),
      "scan.xml": `<nmaprun scanner="nmap" args="${command}" start="1795395600"><host><address addr="192.0.2.1" addrtype="ipv4"/><ports>${state(22, "open", "syn-ack")}${state(80, "closed", "reset")}</ports></host><runstats><finished time="1795395601" elapsed="1.00" exit="success"/></runstats></nmaprun>`,
    };
    for (const [name, text] of Object.entries(all)) writeFileSync(join(folder, name), text);
    const put = async (...names: string[]): Promise<void> => {
      const files = names.map((name) => join(folder, name));
      const { status } = await run(synprobe("history", "import", ...files, "--store", store));
      expect(status).toBe(0);
    };
    const known = async () => {
      const ask = async (...words: string[]) =>
        linesOf((await run(synprobe("history", ...words, "--json", "--store", store))).stdout).map((each) =>
          JSON.parse(each),
        );
      const reasons = (await ask("192.0.2.1")).map(({ port, reason }) => `${port} ${reason}`);
      return { runs: (await ask("runs")).map(({ ports, source }) => ({ ports, source })), reasons };
    };
    const whole = {
      runs: [{ ports: 2, source: command }],
      reasons: ["22 syn-ack", "80 reset"],
    };
    await put("scan.gnmap");
    expect(await known()).toEqual({ runs: [{ ports: 1, source: command }], reasons: ["22 "] });
    await put("scan.xml");
    expect(await known()).toEqual(whole);
    await put("scan.gnmap", "scan.json", "scan.xml");
    expect(await known()).toEqual(whole);
  });

  it("is whole, with all ports, when one of its files is whole and another broke off behind more", async () => {
    const store = join(folder, "torn.db");
    const command = "nmap -oA torn 192.0.2.1";
    const port = (id: number, state: string) =>
      `<port protocol="tcp" portid="${id}"><state state="${state}" reason="x"/></port>`;
    const [whole, torn] = ["torn.gnmap", "torn.xml"].map((name) => join(folder, name));
    writeFileSync(
      whole,
      `# Nmap 7.93 scan initiated Mon Nov 23 01:00:00 2026 as: ${command}\nHost: 192.0.2.1 ()\tPorts: 22/open/tcp//ssh///\n# Nmap done at Mon Nov 23 01:00:01 2026 -- 1 IP address\n`,
    );
    writeFileSync(
      torn,
      `<nmaprun scanner="nmap" args="${command}" start="1795395600"><host><address addr="192.0.2.1" addrtype="ipv4"/><ports>${port(22, "open")}${port(80, "closed")}</ports></host>`,
    );
    for (const file of [whole, torn, whole, torn])
      await run(synprobe("history", "import", file, "--store", store));
    const { stdout } = await run(synprobe("history", "runs", "--json", "--store", store));
    expect(linesOf(stdout).map((each) => JSON.parse(each))).toMatchObject([{ ports: 2, ending: "complete" }]);
  });

  it("is not taken for that of another host, begun in the same second, whose file's name ends like an address", async () => {
    const store = join(folder, "parallel.db");
    const hosts = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"];
    const files = hosts.map((ip, i) => {
      const file = join(folder, `${i < 2 ? "nmap" : "naked"}-${ip}`);
      writeFileSync(
        file,
        i < 2
          ? `# Nmap 7.93 scan initiated Mon Nov 23 01:00:00 2026 as: nmap -oG nmap-${ip} ${ip}\nHost: ${ip} ()\tPorts: 22/open/tcp//ssh///\n# Nmap done at Mon Nov 23 01:00:01 2026 -- 1 IP address\n`
          : `#masscan\nopen tcp 22 ${ip} 1795395600\n# end\n`,
      );
      return file;
    });
    const { stderr } = await run(synprobe("history", "import", ...files, "--store", store));
    expect(stderr).not.toContain("already");
    const { stdout } = await run(synprobe("history", "at", "now", "--json", "--store", store));
    expect(linesOf(stdout).map((each) => JSON.parse(each).ip)).toEqual(hosts);
  });

  it.skipIf(process.getuid?.() !== 0)(
    "is read by who may write neither the store nor beside it",
    async () => {
      const inside = join(folder, "inside");
      mkdirSync(inside);
      const store = join(inside, "r.db");
      expect((await run(synprobe("history", "import", path("monday.json"), "--store", store))).status).toBe(
        0,
      );
      for (const [each, mode] of [
        [folder, 0o755],
        [inside, 0o555],
      ] as const)
        chmodSync(each, mode);
      const asNobody = (...words: string[]) =>
        run(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", ...synprobe(...words)]);
      const { status, stdout, stderr } = await asNobody("history", "runs", "--store", store);
      expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
      expect(linesOf(stdout)).toHaveLength(2);
      // As whoever has called sudo: their rights are not the process's own.
      const sudo = { SUDO_UID: "65534", SUDO_GID: "65534", SUDO_USER: "nobody" };
      const listed = await run(synprobe("-iR", store, "--dry-run"), { env: sudo });
      expect({ status: listed.status, stderr: listed.stderr }).toEqual({ status: 0, stderr: "" });
      const refused = await asNobody("history", "import", path("tuesday.json"), "--store", store);
      expect(refused.status).toBe(2);
      expect(refused.stderr).toContain("permission denied");
    },
  );
});

it("a run that is yet to come is not put in", async () => {
  const next = new Date(Date.now() + 3_600_000).toJSON();
  writeFileSync(join(folder, "next.json"), line(22, "open", "syn-ack", next) + end(next));
  const { status, stderr } = await history("import", "next.json");
  expect({ status, stderr }).toEqual({
    status: 2,
    stderr: expect.stringMatching(/next\.json says that it is of .* UTC, which is yet to come/),
  });
  const { stdout } = await history("runs", "--json");
  expect(stdout).not.toContain("next.json");
});

it("nor is one of which a port is yet to come: since when it is so would be lost until then", async () => {
  const next = new Date(Date.now() + 3_600_000).toJSON();
  writeFileSync(
    join(folder, "stepped.json"),
    line(22, "open", "syn-ack", MONDAY) + line(80, "open", "syn-ack", next) + end(MONDAY),
  );
  expect(await history("import", "stepped.json")).toMatchObject({
    status: 2,
    stderr: expect.stringMatching(/stepped\.json says that it is of .* UTC, which is yet to come/),
  });
});

// Each result would begin an interval of its own, and a watch tell its changes again each time that it is started.
it.each([
  ["a scan", (store: string) => ["127.0.0.1:1", "--store", store]],
  ["a check", (store: string) => ["check", path("closed.yaml.json"), "--store", store]],
  [
    "a watch",
    (store: string) => ["watch", "127.0.0.1:1", "--every", "1h", "--rounds", "1", "--store", store],
  ],
])("%s does not go into a store that is ahead of the clock, which history still reads", async (_, args) => {
  writeFileSync(path("closed.yaml.json"), '{"groups":[{"targets":"127.0.0.1","ports":{"1":"closed"}}]}');
  const file = join(folder, "ahead.db");
  rmSync(file, { force: true });
  const store = openStore(file, true);
  const recorder = createRecorder(store);
  recorder.add({ ip: "127.0.0.1", proto: "tcp", port: 1, state: "open", reason: "syn-ack" });
  const ms = Date.now() + 2 * 86_400_000;
  recorder.commit({ startedMs: ms, endedMs: ms, source: "synprobe", ending: "complete" });
  store.close();
  const { status, stdout, stderr } = await run(synprobe(...args(file)));
  expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
  expect(linesOf(stderr)).toEqual([
    expect.stringMatching(
      /store .*ahead\.db has results of .* UTC, which is yet to come: .*Put the clock right/,
    ),
  ]);
  const read = await run(synprobe("history", "127.0.0.1:1", "--json", "--store", file));
  expect(linesOf(read.stdout)).toEqual([expect.stringMatching(/"state":"open"/)]);
});

it("of several files those that are none keep out no other, and are told", async () => {
  for (const [name, text] of [
    ["bad.json", "nothing\n"],
    [
      "later.json",
      line(443, "open", "syn-ack", "2026-11-25T01:00:00.000Z") + end("2026-11-25T01:00:00.000Z"),
    ],
  ])
    writeFileSync(join(folder, name), text);
  const store = join(folder, "several.db");
  const files = ["bad.json", "list.gnmap", "later.json"].map(path);
  const { status, stderr } = await run(synprobe("history", "import", ...files, "--store", store));
  expect(status).toBe(2);
  expect(linesOf(stderr).map((each) => each.replaceAll(`${folder}/`, ""))).toEqual([
    expect.stringMatching(/^synprobe: bad\.json/),
    expect.stringMatching(/^synprobe: list\.gnmap does not say when it was made/),
    expect.stringMatching(/later\.json: 1 port as of 2026-11-25/),
    "synprobe: 2 of 3 files were not taken",
  ]);
});

it("of which nothing is known says when, and what was probably meant", async () => {
  expect((await history("192.0.2.1", "--until", "2026-11-01")).stdout).toBe(
    "Nothing is known of 192.0.2.1 in that time\n",
  );
  const { status, stdout } = await history("chages");
  expect({ status, stdout }).toEqual({
    status: 1,
    stdout: "Nothing is known of chages; did you mean changes?\n",
  });
});

it("a store at what is no time is told as that", async () => {
  const { status, stderr } = await run(synprobe("diff", `${path("h.db")}@foo`, path("h.db")));
  expect(status).toBe(2);
  expect(stderr).toMatch(/h\.db@foo: "foo" is no time: after the @ of a store stands 2026-11-28,/);
});

describe("history", () => {
  it("of a host is a line for each interval, its name escaped", async () => {
    const { stdout } = await history("192.0.2.1");
    expect(linesOf(stdout)).toEqual([
      "\\x1b[31m=cmd:22 (192.0.2.1) ssh",
      "  2026-11-23 01:00:00 to 2026-11-23 01:00:00  open (syn-ack)",
      "  2026-11-24 01:00:00 to 2026-11-24 01:00:00  filtered (no-response)",
      "\\x1b[31m=cmd:80 (192.0.2.1)",
      "  2026-11-23 01:00:00 to 2026-11-24 01:00:00  closed (reset)",
    ]);
  });

  it("changes are what became another state, since when it is asked", async () => {
    const { stdout } = await history("changes", "--json", "--since", "2026-11-23");
    expect(linesOf(stdout).map((each) => JSON.parse(each))).toEqual([
      expect.objectContaining({
        port: 22,
        state: "filtered",
        old_state: "open",
        old_last_seen: MONDAY,
        first_seen: TUESDAY,
      }),
    ]);
    const text = await history("changes");
    expect(linesOf(text.stdout)).toEqual([
      "SEEN FIRST (UTC)     PORT",
      "2026-11-24 01:00:00  \\x1b[31m=cmd:22 (192.0.2.1)  open (syn-ack) -> filtered (no-response); before at 2026-11-23 01:00:00",
    ]);
    const none = await history("changes", "--since", "2026-11-25");
    expect(none).toMatchObject({ status: 1, stdout: "No change in this time\n", stderr: "" });
  });

  it("at a time is what was known then", async () => {
    const { stdout } = await history("at", "2026-11-23T12:00", "--csv");
    expect(stdout.split("\r\n").slice(0, 2)).toEqual([
      "ip,host,proto,port,service,state,reason,first_seen,last_seen,doubt",
      `192.0.2.1,\\x1b[31m=cmd,tcp,22,ssh,open,syn-ack,${MONDAY},${MONDAY},`,
    ]);
  });

  it("runs are listed, and a file counts once", async () => {
    const again = await history("import", "tuesday.json");
    expect(again.stderr).toMatch(/tuesday\.json is in the store already\n$/);
    const { stdout } = await history();
    expect(linesOf(stdout)).toHaveLength(3);
    expect(stdout).toMatch(/^2026-11-24 01:00:00 +2 +0 +1 /m);
  });

  it.each(MISTAKES.slice(0, everyday(3, MISTAKES.length)))(
    "%j is a mistake: 2, in one line",
    async (args, message) => {
      const { status, stdout, stderr } = await history(...args);
      expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
      expect(linesOf(stderr)).toEqual([expect.stringMatching(message)]);
    },
  );
});

describe("a store in the place of a file", () => {
  it("is compared as of a time", async () => {
    const { status, stdout } = await run(synprobe("diff", path("h.db@2026-11-23T12:00"), path("h.db")));
    expect(status).toBe(1);
    expect(stdout).toMatch(/^~ 22\/tcp +open +filtered +ssh +no-response$/m);
    expect(stdout).toMatch(/^1 changed, 0 appeared, 0 gone; 1 the same$/m);
    // How old it is, too.
    expect(stdout).toMatch(
      /^OLD .*@2026-11-23T12:00, 2026-11-23 12:00:00 UTC \(last run 2026-11-23 01:00:00\), 2 ports$/m,
    );
  });

  it("is drawn as a page", async () => {
    const { status } = await run(synprobe("report", path("h.db@2026-11-23T12:00"), "-o", path("r.html")));
    expect(status).toBe(0);
  });

  it("that is none is refused in one line", async () => {
    const { status, stderr } = await run(synprobe("history", "--store", path("monday.json")));
    expect({ status, lines: linesOf(stderr) }).toEqual({
      status: 2,
      lines: [expect.stringMatching(/monday\.json is no store of synprobe$/)],
    });
  });
});

describe("--store", () => {
  const scan = (...args: string[]) => synprobe("127.0.0.1", "-p", "1-60", "--link", "connect", ...args);

  it("adds the run, beside all other outputs", async () => {
    const { status, stderr } = await run(scan("--store", path("own.db"), "-oJ", path("own.json")));
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    // No log of the store's stays behind.
    expect(readdirSync(folder).filter((name) => name.startsWith("own.db"))).toEqual(["own.db"]);
    const { stdout } = await run(synprobe("diff", path("own.json"), path("own.db")));
    expect(stdout).toMatch(/^No differences: 60 ports in the same state$/m);
  });

  it("has the run, of which a file in nmap's format is imported, already", async () => {
    const files = ["--store", path("once.db"), "-oX", join(folder, "once.xml")];
    expect((await run(scan(...files, "--exclude", "192.0.2.*"))).status).toBe(0);
    const { stderr } = await run(
      synprobe("history", "import", join(folder, "once.xml"), "--store", path("once.db")),
    );
    expect(stderr).toMatch(/once\.xml is in the store already\n$/);
  });

  it("that cannot be written at the end: what was found is printed all the same", async () => {
    const store = openStore(path("stuck.db"), true);
    store
      .prepare("CREATE TRIGGER stuck BEFORE INSERT ON intervals BEGIN SELECT RAISE(ABORT, 'stuck'); END")
      .run();
    store.close();
    const { status, stdout, stderr } = await run(scan("--store", path("stuck.db")));
    expect(status).toBe(2);
    expect(stdout).toMatch(/^60 ports on 1 host/m);
    expect(linesOf(stderr)).toEqual([expect.stringMatching(/^synprobe: store .*stuck\.db: .*stuck$/)]);
  });

  it("for which there is no room is refused before the first packet", async () => {
    const small = ["sh", "-c", `ulimit -f 8; trap '' XFSZ; exec "$@"`, "sh"];
    const { status, stdout, stderr } = await run([...small, ...scan("--store", path("full.db"))]);
    expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
    expect(linesOf(stderr)).toEqual([expect.stringMatching(/^synprobe: store .*full\.db: /)]);
  });

  it("killed at any moment, the store opens and has whole runs only", { timeout: 120_000 }, async () => {
    const moments = everyday(2, 20);
    for (let i = 0; i < moments; i++) {
      const running = start(scan("--store", path("killed.db"), "--max-rate", "400"));
      await new Promise((done) => setTimeout(done, 120 + 60 * i));
      running.kill("SIGKILL");
      await running.finished;
    }
    await run(scan("--store", path("killed.db")));
    const { status, stdout } = await run(synprobe("history", "--json", "--store", path("killed.db")));
    expect(status).toBe(0);
    for (const each of linesOf(stdout)) expect(JSON.parse(each)).toMatchObject({ ports: 60 });
  });
});
