/**
 * A program that scans, probes and connects again and again for as long as it lives: its memory, descriptors, timers and
 * threads, and the rules and markers of its namespace, are at the end what they were early on. A minute in `test:more`; with
 * SYNPROBE_SOAK_MINUTES=N in the environment N minutes, with the figures on standard error.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ROOT, type Running, start } from "../cli/process.ts";
import { ALL } from "../everyday.ts";
import { command, createLab, FAR, inNamespace, ip, type Lab, labProblem, skipping } from "./netns.ts";
import { rules } from "./services.ts";

const { SYNPROBE_SOAK_MINUTES: minutes } = process.env;
const MS = Number(minutes ?? 1) * 60_000;
const ECHO = 2301;

/**
 * What one round leaves behind, after a collection of garbage, and after malloc has given back to the kernel every page that it
 * holds free: else resident memory rises by a run's tables (15 MB) whenever two runs' garbage has once lain about together.
 * What malloc holds free cannot be taken off instead: it says not how much of it was ever touched.
 */
interface Figures {
  readonly heap: number;
  readonly external: number;
  readonly malloced: number;
  readonly resident: number;
  readonly descriptors: number;
  readonly threads: number;
  readonly resources: number;
}

const PROGRAM = `
  import { readdirSync } from "node:fs";
  import { createRequire } from "node:module";
  import { connect, probe, scan } from ${JSON.stringify(pathToFileURL(`${ROOT}dist/index.js`).href)};
  const koffi = createRequire(${JSON.stringify(import.meta.url)})("koffi");
  const names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split(" ");
  const info = koffi.struct(Object.fromEntries(names.map((name) => [name, "size_t"])));
  const mallinfo2 = koffi.load(null).func("mallinfo2", info, []);
  const mallocTrim = koffi.load(null).func("malloc_trim", "int", ["size_t"]);
  const echo = async () => {
    const c = await connect({ host: "${FAR.ipv4}", port: ${ECHO} });
    await c.write(Buffer.alloc(20_000, 7));
    let got = 0;
    while (got < 20_000) got += (await c.read()).length;
    await c.close();
  };
  const until = Date.now() + ${MS};
  // On a busy machine the first third would not be enough for everything to be compiled.
  for (let rounds = 0; Date.now() < until || rounds < 60; rounds++) {
    for (const link of ["raw", "packet"]) {
      const run = scan(["198.19.0.0/28"], { ports: "1-40", link, workers: 1 });
      let closed = 0;
      for await (const { state } of run) if (state === "closed") closed++;
      if (closed !== 16 * 40) throw new Error(closed + " closed ports over " + link);
    }
    const { state } = await probe("${FAR.ipv4}", ${ECHO});
    if (state !== "open") throw new Error(state);
    for (let i = 0; i < 4; i++) await Promise.all([echo(), echo(), echo(), echo()]);
    // Threads and sockets of the last run end a little later.
    await new Promise((resolve) => setTimeout(resolve, 100));
    gc();
    gc();
    mallocTrim(0);
    const { heapUsed, external, rss } = process.memoryUsage();
    const { hblkhd: large, uordblks: small } = mallinfo2();
    console.log(JSON.stringify({
      heap: heapUsed, external, malloced: large + small, resident: rss,
      descriptors: readdirSync("/proc/self/fd").length,
      threads: readdirSync("/proc/self/task").length,
      resources: process.getActiveResourcesInfo().length,
    }));
  }`;

const median = (numbers: readonly number[]): number => numbers.toSorted((a, b) => a - b)[numbers.length >> 1];

describe.skipIf(skipping("a soak", labProblem()) || !(ALL || minutes !== undefined))("a long life", () => {
  let lab: Lab;
  let server: Running;
  let folder: string;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "synprobe-soak-"));
    lab = createLab();
    ip(lab.far, "route add local 198.19.0.0/16 dev lo");
    ip(lab.near, `route replace 198.19.0.0/16 via ${FAR.ipv4}`);
    const serve = `require("node:net").createServer((c) => c.on("error", () => {}).pipe(c))
      .listen(${ECHO}, "::", () => console.log("ready"))`;
    server = start(inNamespace(lab.far, [process.execPath, "-e", serve]), { limitMs: MS + 300_000 });
    await server.until("stdout", /ready/);
  });
  afterAll(() => {
    server?.kill("SIGKILL");
    lab?.remove();
    rmSync(folder, { recursive: true });
  });

  it(
    "leaves nothing behind, round after round",
    async () => {
      const program = join(folder, "program.mjs");
      writeFileSync(program, PROGRAM);
      const argv = [process.execPath, "--expose-gc", program];
      const { status, stdout, stderr } = await start(inNamespace(lab.near, argv), { limitMs: MS + 240_000 })
        .finished;
      expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
      const rounds = stdout
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as Figures);
      expect(rounds.length).toBeGreaterThanOrEqual(60);
      // The first third is when everything has been compiled and every pool has its size.
      const third = Math.floor(rounds.length / 3);
      const of = (name: keyof Figures, part: readonly Figures[]): number =>
        median(part.map((figures) => figures[name]));
      const compared = (
        ["heap", "external", "malloced", "resident", "descriptors", "threads", "resources"] as const
      ).map(
        (name) => [name, of(name, rounds.slice(third, 2 * third)), of(name, rounds.slice(-third))] as const,
      );
      if (minutes !== undefined)
        for (const [name, middle, end] of compared)
          console.error(`${rounds.length} rounds: ${name} ${middle} ${end}`);
      for (const [name, middle, end] of compared) {
        if (name === "descriptors" || name === "threads" || name === "resources")
          expect(end, name).toBe(middle);
        else expect(end, name).toBeLessThan(1.05 * middle + 2e6);
      }
      expect(rules(lab.near)).toEqual([]);
      expect(
        command(inNamespace(lab.near, ["cat", "/proc/net/raw", "/proc/net/packet"])).match(/^ *\d/gm),
      ).toBeNull();
    },
    MS + 300_000,
  );
});
