/** The library's `scan` and `probe`: programs of a user in a lab, where every pair has an answer that its file says. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { PortResult, ScanProgress, ScanSummary } from "../../src/index.ts";
import { ROOT, run, synprobe } from "../cli/process.ts";
import { everyday } from "../everyday.ts";
import { labProblem, skipping } from "./netns.ts";

const NETWORK = {
  seed: 5,
  hosts: [
    {
      range: "198.18.0.1",
      ports: [
        { ports: "22", is: "open", service: "banner", banner: "SSH-2.0-lab\r\n" },
        { ports: "80-89", is: "open" },
        { ports: "90-95", is: "admin-prohibited" },
        { ports: "96-99", is: "silent" },
      ],
      rest: "closed",
    },
    { range: "198.18.1.0/24", ports: [{ share: 0.1, is: "open" }], rest: "closed" },
    { range: "198.18.2.1", rest: "silent" },
    // Each may be a tarpit until its canaries are refused: its verdicts wait for that.
    { range: "198.18.3.0/24", ports: [{ share: 0.9, is: "open" }], rest: "closed" },
  ],
};

describe.skipIf(skipping("scan and probe for programs", labProblem()))("the library", () => {
  let folder = "";
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "synprobe-library-"));
    writeFileSync(join(folder, "network.json"), JSON.stringify(NETWORK));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  /** Runs a program that must end by itself, say nothing but what it `say`s, and leave no socket. @returns what it said */
  async function reported<T extends unknown[]>(body: string): Promise<T> {
    const library = `${ROOT}dist/index.js`;
    if (!existsSync(library)) throw new Error(`${library} is missing: npm run build`);
    const program = join(folder, "program.mjs");
    writeFileSync(
      program,
      `import { readFileSync } from "node:fs";
      import { path, probe, scan } from ${JSON.stringify(pathToFileURL(library).href)};
      const library = ${JSON.stringify(pathToFileURL(library).href)};
      const say = (value) => console.log(JSON.stringify(value));
      const told = (e) => ({ code: e.code ?? e.name, message: e.message });
      /** Sockets of this network namespace that hear or send packets. */
      const sockets = () => ["raw", "raw6", "packet"].map((name) => readFileSync("/proc/net/" + name, "utf8").trim().split("\\n").length - 1);
      const none = sockets();
      const drained = async (run) => { const all = []; for await (const result of run) all.push(result); return all; };
      ${body}
      for (const until = Date.now() + 15000; sockets().join() !== none.join() && Date.now() < until; )
        await new Promise((resolve) => setTimeout(resolve, 10));
      say(sockets().join() === none.join());`,
    );
    const argv = synprobe("lab", join(folder, "network.json"), "--", process.execPath, program);
    const { status, stdout, stderr } = await run(argv, { limitMs: 25_000 });
    expect(stderr).toBe("");
    expect(status).toBe(0);
    const said = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(said.pop()).toBe(true);
    return said as T;
  }

  it("finds each pair once, tells how far it is, and leaves the process as it was", async () => {
    const [before, results, summary, progress, after] = await reported<
      [string, PortResult[], ScanSummary, ScanProgress[], string]
    >(`
      const self = () => /CapEff:.*/.exec(readFileSync("/proc/self/status", "utf8"))[0] + process.getuid() +
        ["SIGINT", "SIGTERM", "SIGHUP", "exit"].map((name) => process.listenerCount(name)).join();
      const seen = [];
      say(self());
      const run = scan("198.18.0.1:1-120", { onProgress: (p) => seen.push(p), progressEveryMs: 50, timeoutMs: 300, retries: 1 });
      say(await drained(run));
      say(await run.summary);
      say(seen);
      say(self());`);
    expect(after).toBe(before);
    const states = new Map(results.map(({ port, state }) => [port, state]));
    expect(results).toHaveLength(120);
    expect(states.size).toBe(120);
    for (let port = 1; port <= 120; port++) {
      const open = port === 22 || (port >= 80 && port <= 89);
      expect(states.get(port), String(port)).toBe(
        open ? "open" : port >= 90 && port < 100 ? "filtered" : "closed",
      );
    }
    expect(summary).toMatchObject({
      open: 11,
      closed: 99,
      filtered: 10,
      unfinished: 0,
      interrupted: false,
      faults: [],
    });
    expect(progress.length).toBeGreaterThan(2);
    expect(progress.at(-1)).toMatchObject({ total: 120, decided: 120, open: 11, sent: summary.sent });
  });

  it("probes one port, and completes handshakes when asked to", async () => {
    const [open, closed, silent, many] = await reported<[PortResult, PortResult, PortResult, string[]]>(`
      say(await probe("198.18.0.1", 22, { bannerMs: 2000 }));
      say(await probe("198.18.0.1", 7));
      say(await probe("198.18.0.1", 96, { retries: 1, timeoutMs: 100 }));
      const ports = Array.from({ length: 20 }, (_, i) => 79 + i);
      say(await Promise.all(ports.map(async (port) => (await probe("198.18.0.1", port, { retries: 0, timeoutMs: 500 })).state)));`);
    expect(open).toMatchObject({ ip: "198.18.0.1", port: 22, state: "open", reason: "syn-ack", tries: 1 });
    expect(open.established).toMatchObject({ ending: "fin", banner: "SSH-2.0-lab\\r\\n" });
    expect(closed).toMatchObject({ port: 7, state: "closed", reason: "reset" });
    expect(silent).toMatchObject({
      port: 96,
      state: "filtered",
      reason: "no-response",
      tries: 2,
      rttMs: null,
    });
    const wanted = Array.from({ length: 20 }, (_, i) => (i === 0 ? "closed" : i <= 10 ? "open" : "filtered"));
    expect(many).toEqual(wanted);
  });

  it("takes an option of path that is undefined for one that is left out", async () => {
    const [state] = await reported<[string]>(`
      const options = { flows: undefined, maxHops: undefined, tries: undefined, maxRate: undefined };
      say((await path("198.18.0.1", 22, options)).ports[0].state);`);
    expect(state).toBe("open");
  });

  const raw = ["raw IP sockets", '{ link: "raw" }', 20, 4096] as const;
  const frames = ["a worker's frames", '{ link: "packet", workers: 1 }', 400, 60_000] as const;
  it.each(everyday([raw], [raw, frames]))(
    "sends nothing more over %s while nobody reads",
    async (_, options, ports, most) => {
      const [held, later, count, distinct, summary] = await reported<
        [number, number, number, number, ScanSummary]
      >(`
      const run = scan("198.18.1.0/24", { ...${options}, ports: "1-${ports}" });
      await run.next();
      // Stands still: the same figure in five looks.
      const still = async () => {
        for (let same = 0, last = -1; same < 5; ) {
          await new Promise((resolve) => setTimeout(resolve, 100));
          const { sent } = run.progress();
          same = sent === last ? same + 1 : 0;
          last = sent;
        }
        return run.progress().sent;
      };
      say(await still());
      for (let i = 1; i < 10; i++) await run.next();
      say(run.progress().sent);
      const pairs = new Set();
      let count = 10;
      for await (const { ip, port } of run) { pairs.add(ip + ":" + port); count++; }
      say(count); say(pairs.size); say(await run.summary);`);
      const total = 256 * ports;
      expect(held).toBeGreaterThan(1000);
      expect(held).toBeLessThan(most);
      expect(held).toBeLessThan(total * 0.8);
      expect(later).toBeLessThan(most);
      expect(count).toBe(total);
      expect(distinct).toBe(total - 10);
      expect(summary).toMatchObject({
        closed: total - summary.open,
        filtered: 0,
        unfinished: 0,
        interrupted: false,
      });
    },
  );

  it.each(everyday([["raw", 1] as const], [["raw", 1] as const, ["packet", 2] as const]))(
    "stops when it is aborted: what was found over %s is handed over, then the signal's reason is thrown",
    async (link, workers) => {
      const [thrown, found, summary, early] = await reported<[unknown, number, ScanSummary, unknown[]]>(`
      const stop = new AbortController();
      const run = scan(["198.18.1.0/24", "198.18.3.0/24"], { ports: "-", signal: stop.signal, maxRate: 5000, link: "${link}", workers: ${workers} });
      let found = 0;
      // What corrects a result is of a pair that has been counted.
      try { for await (const { was } of run) if (was === undefined && ++found === 500) stop.abort(new RangeError("enough")); } catch (e) { say(told(e)); }
      say(found);
      say(await run.summary);
      const never = scan("198.18.0.1:22", { signal: AbortSignal.abort(new RangeError("before")) });
      const why = [await never.next().catch(told), await never.summary.catch(told), (await never.next()).done, never.progress() ?? null];
      const one = await probe("198.18.0.1", 96, { signal: AbortSignal.timeout(300) }).catch(told);
      say([...why, one.code === 23 ? "TimeoutError" : one]);`);
      expect(thrown).toEqual({ code: "RangeError", message: "enough" });
      expect(found).toBeGreaterThanOrEqual(500);
      expect(summary.interrupted).toBe(true);
      expect(summary.open + summary.closed + summary.filtered).toBe(found);
      expect(summary.unfinished).toBe(512 * 65_535 - found);
      const before = { code: "RangeError", message: "before" };
      expect(early).toEqual([before, before, true, null, "TimeoutError"]);
    },
  );

  it("stops when it is aborted while links are compared: no pair is probed after it", async () => {
    const [thrown, sent] = await reported<[unknown, number]>(`
      const left = () => Number(/lab0:(?: +\\d+){9} +(\\d+)/.exec(readFileSync("/proc/net/dev", "utf8"))[1]);
      const stop = new AbortController();
      const before = left();
      const run = scan("198.18.2.0/29", { ports: "1-20000", maxRate: 1000, signal: stop.signal });
      // The first SYNs of the comparison have left. At the lowest rate that is compared at: a busy machine looks late.
      const looking = setInterval(() => { if (left() >= before + 16) stop.abort(new RangeError("enough")); }, 1);
      await drained(run).catch((e) => say(told(e)));
      clearInterval(looking);
      say(left() - before);`);
    expect(thrown).toEqual({ code: "RangeError", message: "enough" });
    expect(sent).toBeLessThan(100);
  });

  it("ends at once, with its sockets closed, when the loop is left", async () => {
    const [unbegun, left, summary, error] = await reported<[ScanSummary[], boolean, ScanSummary, unknown]>(`
      const never = [{ link: "raw" }, { link: "packet", workers: 2 }].map((way) => scan("198.18.1.0/24", { ports: "-", ...way }));
      await Promise.all(never.map((each) => each.return()));
      say(await Promise.all(never.map(({ summary }) => summary)));
      const run = scan("198.18.1.0/24", { ports: "-", link: "raw" });
      let count = 0;
      for await (const _ of run) if (++count === 100) break;
      say(sockets().join() === none.join());
      say(await run.summary);
      const angry = scan("198.18.1.0/24", { ports: "-", progressEveryMs: 50, onProgress() { throw new RangeError("no") } });
      await drained(angry).catch((e) => say(told(e)));`);
    const nothing = { interrupted: true, sent: 0 };
    expect(unbegun).toMatchObject([nothing, nothing]);
    expect(left).toBe(true);
    expect(summary).toMatchObject({ interrupted: true });
    expect(summary.unfinished).toBeGreaterThan(0);
    expect(error).toEqual({ code: "RangeError", message: "no" });
  });

  it("lets the process live when a thread of its own ends with a run under way in it", async () => {
    const ended = await reported<[string, string]>(`
      const { Worker } = await import("node:worker_threads");
      for (const link of ["raw", "connect"]) {
        const code = \`import("\${library}").then(async ({ scan }) => {
          let found = 0;
          for await (const _ of scan("198.18.1.0/24", { ports: "-", link: "\${link}" })) if (++found === 500) setImmediate(() => { throw new RangeError("no"); });
        })\`;
        const thread = new Worker(code, { eval: true });
        say(await new Promise((resolve) => thread.once("error", ({ message }) => thread.once("exit", () => resolve(message)))));
      }`);
    expect(ended).toEqual(["no", "no"]);
  });

  it("has the threads of one run work for the next, each with its own targets", async () => {
    const [first, ...later] = await reported<{ threads: number; open: number; ports: number[] }[]>(`
      const { readdirSync } = await import("node:fs");
      for (const port of [22, 80, 2222]) {
        const all = await drained(scan(["198.18.0.1", "198.18.1.0/24"], { ports: [port], link: "packet", workers: 2 }));
        say({
          threads: readdirSync("/proc/self/task").length,
          open: all.filter((each) => each.ip === "198.18.0.1" && each.state === "open").length,
          ports: [...new Set(all.map((each) => each.port))],
        });
      }`);
    expect(first).toMatchObject({ open: 1, ports: [22] });
    expect(later).toEqual([
      { threads: first.threads, open: 1, ports: [80] },
      { threads: first.threads, open: 0, ports: [2222] },
    ]);
  });

  it("says what is wrong with stable codes; one bad target does not stop the others", async () => {
    const [kept, faults, none, byUser, ...errors] = await reported<
      [PortResult[], unknown[], number, PortResult, ...{ code: string; message: string }[]]
    >(`
      const run = scan(["198.18.0.1:22", "198.18.0.1", "[::1:22", "10.0.0.1:1"]);
      say((await drained(run)).map(({ port }) => port));
      say((await run.summary).faults.map(({ target, code }) => [target, code]));
      const counted = scan("198.18.0.1", { ports: [22, 80, 22], states: [] });
      say((await drained(counted)).length + (await counted.summary).open);
      // Without a privilege the kernel connects. The user may not read the library: it is loaded before.
      await probe("198.18.0.1", 22, { link: "connect" });
      process.seteuid(65534);
      say(await probe("198.18.0.1", 22));
      process.seteuid(0);
      const wrong = [
        () => scan(["198.18.0.1:22", "x:y:z"], { strict: true }),
        () => scan([]),
        () => scan("198.18.0.1:22", { exclude: "198.18.0.0/24" }),
        () => scan("198.18.0.1:22", { interface: "none0" }),
        () => scan("198.18.0.1:22", { retries: 31 }),
        () => scan("198.18.0.1:22", { maxrate: 5 }),
        () => scan("198.18.0.1:22", { shard: { index: 1, count: 2 } }),
        () => scan("198.18.0.1:22", { excludePorts: "0" }),
      ];
      for (const each of wrong) await drained(each()).catch((e) => say(told(e)));
      await probe("198.18.0.1", 65536).catch((e) => say(told(e)));
      process.setuid(65534);
      await drained(scan("198.18.0.1:22", { link: "raw" })).catch((e) => say(told(e)));`);
    expect(kept).toEqual([22]);
    expect(faults).toEqual([
      ["198.18.0.1", "ERR_USAGE"],
      ["[::1:22", "ERR_TARGET_SYNTAX"],
      ["10.0.0.1:1", "ERR_NO_ROUTE"],
    ]);
    expect(none).toBe(2);
    expect(byUser).toMatchObject({ state: "open", reason: "syn-ack", ttl: null, method: "connect" });
    expect(errors.map(({ code }) => code)).toEqual([
      "ERR_TARGET_SYNTAX",
      "ERR_NO_TARGETS",
      "ERR_NO_TARGETS",
      "ERR_NO_INTERFACE",
      "ERR_USAGE",
      "ERR_USAGE",
      "ERR_USAGE",
      "ERR_PORT",
      "ERR_PORT",
      "ERR_PRIVILEGE",
    ]);
    expect(errors[4].message).toBe("retries is a whole number from 0 to 30, not 31");
    expect(errors[5].message).toBe("there is no option maxrate");
    expect(errors[9].message).toMatch(/CAP_NET_RAW$/);
  });
});
