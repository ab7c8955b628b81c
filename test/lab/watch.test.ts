/**
 * `synprobe watch` on real kernels: firewall rules change under it; a program, a web hook whose receiver fails at times, Prometheus's
 * end point and a service manager are told; it is ended and killed, and nothing is lost or told twice.
 */
import { createHmac } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openStore } from "../../src/runtime/store/database.ts";
import { linesOf, type Running, run, start, synprobe } from "../cli/process.ts";
import { ALL, everyday } from "../everyday.ts";
import { firewall } from "./firewalls.ts";
import { listen } from "./listeners.ts";
import { command, createLab, FAR, inNamespace, type Lab, labProblem, skipping } from "./netns.ts";
import { until } from "./until.ts";

const PORTS = [7001, 7002, 7003];
const KEY = "a key of the tests";
/** Answers 503, then breaks a connection off, then takes four, and so on; prints bodies that it takes, with their signatures. */
const RECEIVER = `
  let requests = 0;
  require("node:http").createServer((request, response) => {
    let body = "";
    request.on("data", (piece) => (body += piece)).on("end", () => {
      const turn = requests++ % 6;
      if (turn === 0) return response.writeHead(503).end();
      if (turn === 1) return request.socket.destroy();
      console.log(JSON.stringify({ body, signature: request.headers["x-synprobe-signature"] }));
      response.end("taken");
    });
  }).listen(0, "127.0.0.1", function () { console.log("port " + this.address().port); });`;
/** A service manager's end of NOTIFY_SOCKET. */
const MANAGER = `
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print("ready", flush=True)
while True: print(s.recv(4096).decode().replace("\\n", " | "), flush=True)`;

const problem = (): string | undefined => {
  try {
    command(["sh", "-c", "command -v nft && command -v python3 && command -v curl"]);
    return labProblem();
  } catch {
    return "nft, python3 or curl is not installed";
  }
};

const MISTAKES: readonly (readonly [readonly string[], RegExp])[] = [
  [["--every", "1s"], /^synprobe: a watch keeps its history in a store: --store FILE$/],
  [["--store", "x.db"], /^synprobe: a watch needs one of --every 6h and --cron/],
  [["--store", "x.db", "--every", "1s", "--cron", "* * * * *"], /^synprobe: a watch needs one of/],
  [["--store", "x.db", "--cron", "61 * * * *"], /^synprobe: --cron "61 \* \* \* \*": /],
  [
    ["--store", "x.db", "--every", "1s", "--exec", "/no/such"],
    /^synprobe: --exec \/no\/such: there is no such program/,
  ],
  [
    ["--store", "x.db", "--every", "1s", "--exec", "/"],
    /^synprobe: --exec \/: there is no such program, or it may not be run/,
  ],
  [["--store", "x.db", "--every", "1s", "--webhook", "ftp://x"], /^synprobe: --webhook takes a URL/],
  [
    ["--store", "x.db", "--every", "1s", "--webhook", "http://u:1%@x"],
    /^synprobe: --webhook: a % in its user or password is written %25$/,
  ],
  [["--store", "x.db", "--every", "1s", "--webhook", "http://x:0"], /^synprobe: --webhook: nobody listens/],
  [
    ["--store", "x.db", "--every", "1s", "--webhook-key", "x"],
    /^synprobe: --webhook-key says nothing without --webhook/,
  ],
  [["--store", "x.db", "--every", "1s", "--fleet", "redis://127.0.0.1:1"], /^synprobe: .*--fleet/],
  [["--store", "x.db", "--every", "1s", "--metrics", "9464"], /^synprobe: --metrics takes address:port/],
  [
    ["--store", "x.db", "--every", "1s", "--metrics", "198.18.9.9:9465"],
    /^synprobe: --metrics: listen EADDRNOTAVAIL/,
  ],
];

describe.skipIf(skipping("watching a network that changes", problem()))("watch", () => {
  let lab: Lab;
  let folder = "";
  let receiver: Running;
  let url = "";
  const path = (name: string): string => join(folder, name);
  const shut = (): void =>
    firewall(lab.far, "input", ["tcp dport 7001 drop", "tcp dport 7002 reject with tcp reset"]);
  const openUp = (): void => void command(inNamespace(lab.far, ["nft", "flush", "ruleset"]));
  const watch = (...args: string[]): string[] => [
    ...inNamespace(
      lab.near,
      synprobe(
        "watch",
        FAR.ipv4,
        "-p",
        PORTS.join(),
        "--every",
        "1s",
        "--confirm",
        "100ms",
        "--webhook",
        url,
        ...args,
      ),
    ),
  ];
  /** Bodies that the receiver has taken, so far. */
  let taken = "";
  const received = async (
    count: number,
  ): Promise<readonly { readonly id: number; readonly type: string; readonly port: number }[]> => {
    taken = await receiver.until("stdout", new RegExp(`(.*"body".*\\n[sS]*?){${count}}`));
    return linesOf(taken)
      .slice(1)
      .map((line) => JSON.parse(JSON.parse(line).body));
  };

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "synprobe-watch-"));
    lab = createLab();
    await listen(
      lab.far,
      PORTS.map((port) => ({ host: FAR.ipv4, port })),
    );
    receiver = start(inNamespace(lab.near, [process.execPath, "-e", RECEIVER]), { limitMs: 600_000 });
    const [, port] = /port (\d+)/.exec(await receiver.until("stdout", /port \d+/)) ?? [];
    url = `http://127.0.0.1:${port}/hook`;
    writeFileSync(path("key"), `${KEY}\n`);
    writeFileSync(path("told.sh"), `#!/bin/sh\ncat >> "${path("told")}"\n`);
    chmodSync(path("told.sh"), 0o755);
  });
  afterAll(() => {
    receiver.kill("SIGKILL");
    lab.remove();
    rmSync(folder, { recursive: true });
  });

  it.runIf(ALL)(
    "tells of every change once, to all who are to be told, over a restart too",
    {
      timeout: 180_000,
    },
    async () => {
      const manager = start(["python3", "-c", MANAGER, path("notify")], { limitMs: 170_000 });
      await manager.until("stdout", /ready/);
      const args = ["--store", path("h.db"), "--exec", path("told.sh"), "--webhook-key", path("key"), "-v"];
      const running = start(watch(...args, "--metrics", "127.0.0.1:0"), {
        env: { NOTIFY_SOCKET: path("notify") },
        limitMs: 170_000,
      });
      await running.until("stderr", /scan of .*: 3 ports, 0 events/);
      shut();
      const stdout = await running.until(
        "stdout",
        /"port":7001.*\n(.*\n)*.*"port":7002.*\n|"port":7002.*\n(.*\n)*.*"port":7001.*\n/,
      );
      const events = linesOf(stdout).map((line) => JSON.parse(line));
      expect(events.sort((a, b) => a.port - b.port)).toEqual([
        expect.objectContaining({
          type: "changed",
          port: 7001,
          old: { state: "open" },
          new: { state: "filtered", reason: "no-response" },
        }),
        expect.objectContaining({
          type: "changed",
          port: 7002,
          old: { state: "open" },
          new: { state: "closed", reason: "reset" },
          doubt: 0,
        }),
      ]);
      expect((await received(2)).map(({ id }) => id)).toEqual([1, 2]);
      for (const line of linesOf(taken).slice(1)) {
        const { body, signature } = JSON.parse(line);
        expect(signature).toBe(`sha256=${createHmac("sha256", KEY).update(body).digest("hex")}`);
      }
      const [, metrics = ""] = /metrics at (\S+)/.exec(await running.until("stderr", /metrics at \S+/)) ?? [];
      const scraped = command(inNamespace(lab.near, ["curl", "-s", metrics]));
      expect(scraped).toContain(
        `synprobe_port_state{ip="${FAR.ipv4}",host="",port="7001",state="filtered",reason="no-response"} 1`,
      );
      expect(scraped).toMatch(/^synprobe_events_total\{type="changed"\} 2$/m);
      expect(scraped).toMatch(/^synprobe_rtt_seconds_count [1-9]/m);
      const health = metrics.replace("/metrics", "/healthz");
      expect(command(inNamespace(lab.near, ["curl", "-s", health]))).toBe("ok\n");
      running.kill("SIGTERM");
      expect(await running.finished).toMatchObject({ status: 143 });
      expect(await manager.until("stdout", /STOPPING=1/)).toMatch(
        /^ready\nREADY=1 \|[\s\S]*STATUS=scan of [\s\S]*STOPPING=1/,
      );
      manager.kill("SIGKILL");
      openUp();
      const again = await run(watch(...args, "--rounds", "1"), { limitMs: 90_000 });
      expect(again.status).toBe(0);
      expect(linesOf(again.stdout).map((line) => JSON.parse(line).new.state)).toEqual(["open", "open"]);
      until(
        () => existsSync(path("told")) && linesOf(readFileSync(path("told"), "utf8")).length === 4,
        "all events",
      );
      expect(linesOf(readFileSync(path("told"), "utf8")).map((line) => JSON.parse(line).id)).toEqual([
        1, 2, 3, 4,
      ]);
    },
  );

  it.runIf(ALL)("has its rounds in order when the clock is set back between them", async () => {
    const late = "performance.now() > 1500 ? 3_600_000 : 0";
    writeFileSync(path("back.cjs"), `const { now } = Date; Date.now = () => now() - (${late});`);
    const words = [FAR.ipv4, "-p", "7003", "--every", "1s", "--rounds", "3", "--store", path("back.db")];
    const env = { NODE_OPTIONS: `--require ${path("back.cjs")}` };
    expect(await run(inNamespace(lab.near, synprobe("watch", ...words)), { env })).toMatchObject({
      status: 0,
    });
    const store = openStore(path("back.db"), false);
    const rows = store.prepare("SELECT started_ms, ended_ms FROM runs ORDER BY id").all();
    store.close();
    const times = rows.flatMap((row) => Object.values(row).map(Number));
    expect(times).toHaveLength(6);
    expect(times).toEqual(times.toSorted((a, b) => a - b));
  });

  it("goes on when its store's disk is full, and tells what has changed meanwhile when there is room", async () => {
    const disk = path("small");
    mkdirSync(disk);
    command(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk]);
    try {
      const store = join(disk, "h.db");
      const argv = synprobe("watch", FAR.ipv4, "-p", "7003", "--every", "1h", "--confirm", "100ms", "-v");
      const running = start(inNamespace(lab.near, [...argv, "--store", store]));
      await running.until("stderr", /scan of .*: 1 port, 0 events/);
      // It takes all there is, and says so.
      expect(() => command(["dd", "if=/dev/zero", `of=${join(disk, "all")}`, "bs=4k"])).toThrow();
      firewall(lab.far, "input", ["tcp dport 7003 reject with tcp reset"]);
      running.kill("SIGHUP");
      await running.until("stderr", /scan of .* failed: store .*h\.db: .*full/);
      running.kill("SIGHUP");
      await running.until("stderr", /(?:failed: store[\s\S]*){2}/);
      rmSync(join(disk, "all"));
      running.kill("SIGHUP");
      await running.until("stdout", /"port":7003/);
      running.kill("SIGTERM");
      const { status, stdout } = await running.finished;
      expect(status).toBe(143);
      expect(linesOf(stdout).map((line) => JSON.parse(line))).toMatchObject([
        { type: "changed", port: 7003, old: { state: "open" }, new: { state: "closed" } },
      ]);
    } finally {
      openUp();
      command(["umount", disk]);
    }
  });

  it("scans at once on SIGHUP, and keeps no privilege but that of its sockets", async () => {
    const running = start(
      inNamespace(
        lab.near,
        synprobe("watch", FAR.ipv4, "-p", "7003", "--every", "1h", "--store", path("hup.db"), "-v"),
      ),
    );
    await running.until("stderr", /scan of .*: 1 port,/);
    const status = readFileSync(`/proc/${running.pid}/status`, "utf8");
    expect(status).toMatch(/^CapEff:\s+0000000000002000$/m);
    running.kill("SIGHUP");
    await running.until("stderr", /(scan of .*: 1 port,[\s\S]*){2}/);
    running.kill("SIGINT");
    expect(await running.finished).toMatchObject({ status: 130 });
  });

  it("whose clock is set back says so once and goes on in order; started anew it does not go into a store that is ahead", async () => {
    writeFileSync(
      path("clock.mjs"),
      `const real = Date.now;
      let ahead = 2 * 86_400_000;
      Date.now = () => real() + ahead;
      process.on("SIGUSR2", () => (ahead = 0));`,
    );
    const argv = ["watch", FAR.ipv4, "-p", "7003", "--every", "1h", "--store", path("clock.db"), "-v"];
    const env = { NODE_OPTIONS: `--import ${path("clock.mjs")}` };
    const running = start(inNamespace(lab.near, synprobe(...argv)), { env });
    await running.until("stderr", /scan of .*: 1 port,/);
    running.kill("SIGUSR2");
    for (const rounds of [2, 3]) {
      running.kill("SIGHUP");
      await running.until("stderr", new RegExp(`(scan of .*: 1 port,[\\s\\S]*){${rounds}}`));
    }
    running.kill("SIGINT");
    const { stderr } = await running.finished;
    expect(stderr.match(/the clock has been set back by 4[78] h .*, to .* UTC/g)).toHaveLength(1);
    const store = openStore(path("clock.db"), false);
    // Three rounds, one interval.
    expect(store.prepare("SELECT count(*) AS n FROM intervals").get()).toMatchObject({ n: 1 });
    store.close();
    expect(await run(inNamespace(lab.near, synprobe(...argv, "--rounds", "1")))).toMatchObject({
      status: 2,
      stderr: expect.stringMatching(/clock\.db has results of .* UTC, which is yet to come: /),
    });
  });

  // Who has it is in /proc/locks, which a busy kernel may take ten seconds to tell.
  it.skipIf(!ALL)("is one process's at a time on a store", async () => {
    const args = [FAR.ipv4, "-p", "7003", "--every", "1h", "--store", path("two.db")];
    const running = start(inNamespace(lab.near, synprobe("watch", ...args, "-v")));
    await running.until("stderr", /scan of .*: 1 port,/);
    const other = () => run(inNamespace(lab.near, synprobe("watch", ...args, "--rounds", "1")));
    expect(await other()).toMatchObject({
      status: 2,
      stdout: "",
      stderr: `synprobe: store ${path("two.db")} is in use by another synprobe, process ${running.pid}: end that, or give each watch a store of its own\n`,
    });
    running.kill("SIGKILL");
    await running.finished;
    expect(await other()).toMatchObject({ status: 0, stderr: "" });
  });

  it("ends with the status of its last scan, when that has failed", async () => {
    writeFileSync(path("targets"), `${FAR.ipv4}\n`);
    const args = ["-iL", path("targets"), "-p", "7003", "--every", "1s", "--rounds", "2", "-v"];
    const running = start(inNamespace(lab.near, synprobe("watch", ...args, "--store", path("rounds.db"))));
    await running.until("stderr", /scan of .*: 1 port,/);
    rmSync(path("targets"));
    expect(await running.finished).toMatchObject({
      status: 2,
      stderr: expect.stringMatching(/scan of .* failed: /),
    });
  });

  // Each takes as long as a change has to be confirmed.
  const KILLS = 12;
  it.skipIf(!ALL)(
    "killed at any moment: no event is lost or made twice, and every one is delivered",
    {
      timeout: 600_000,
    },
    async () => {
      for (let i = 0; i < KILLS; i++) {
        if (i % 2 === 0) shut();
        else openUp();
        const running = start(watch("--store", path("k.db"), "-v"));
        // Over the whole life of a round and of what is delivered after it.
        await running.until("stderr", /scan of/).catch(() => {});
        await new Promise((done) => setTimeout(done, (i * 97) % 1000));
        running.kill("SIGKILL");
        await running.finished;
      }
      const ask = (sql: string): number => {
        const store = openStore(path("k.db"), false);
        const rows = store.prepare(sql).all();
        store.close();
        return rows.length;
      };
      const left = (): number => ask("SELECT event FROM deliveries WHERE done_ms IS NULL");
      const until = async (holds: () => boolean): Promise<void> => {
        for (const started = performance.now(); !holds() && performance.now() - started < 120_000; )
          await new Promise((done) => setTimeout(done, 100));
      };
      const last = start(watch("--store", path("k.db")), { limitMs: 300_000 });
      // Whatever the killed ones have told, there is more to tell, and the receiver fails two times of six.
      for (const change of [shut, openUp, shut, openUp]) {
        const before = ask("SELECT id FROM events");
        change();
        await until(() => ask("SELECT id FROM events") > before);
      }
      await until(() => left() === 0);
      last.kill("SIGTERM");
      await last.finished;
      const store = openStore(path("k.db"), false);
      const events = store
        .prepare(
          "SELECT e.id, p.port, e.old_state, e.state, e.kind FROM events e JOIN ports p ON p.id = e.port ORDER BY e.id",
        )
        .all();
      store.close();
      expect(left()).toBe(0);
      expect(events.length).toBeGreaterThanOrEqual(2);
      // Each goes on where the one before on its port ended, but for those that are held down.
      const told = new Map<unknown, unknown>();
      for (const { port, old_state, state, kind } of events) {
        if (told.has(port) && kind === "changed") expect(old_state).toBe(told.get(port));
        told.set(port, state);
      }
      const ids = new Set((await received(events.length)).map(({ id }) => id));
      for (const { id } of events) expect(ids).toContain(id);
    },
  );

  it.each(MISTAKES.slice(0, everyday(3, MISTAKES.length)))(
    "%j is a mistake: 2, in one line",
    async (args, message) => {
      const { status, stdout, stderr } = await run(
        synprobe("watch", "127.0.0.1:1", ...args.map((arg) => (arg === "x.db" ? path("x.db") : arg))),
      );
      expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
      expect(linesOf(stderr)).toEqual([expect.stringMatching(message)]);
    },
  );
});
