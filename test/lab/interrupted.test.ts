/** What a run that two signals end has told, and what it has counted: the same, whatever waits at that moment. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { linesOf, run, synprobe } from "../cli/process.ts";
import { everyday } from "../everyday.ts";
import { labProblem, skipping } from "./netns.ts";
import { resultsOf } from "./probing.ts";

/** Each host may be a tarpit until its canaries are refused, far away: most open ports wait at any moment. */
const NETWORK = {
  path: { latencyMs: 150 },
  hosts: [
    {
      range: "198.18.0.0/16",
      ports: [
        // These keep the run from ending before the second signal.
        { share: 0.05, is: "silent" },
        { share: 0.9, is: "open", service: "banner", banner: "hello\r\n" },
      ],
      rest: "closed",
    },
  ],
};

/** Runs synprobe, and sends it two signals: when open ports are counted, and when the next count is told. */
const INTERRUPTED = `
  const { spawn } = require("node:child_process");
  const [command, ...args] = process.argv.slice(1);
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] });
  const signals = ["SIGINT", "SIGTERM"];
  let text = "";
  let at = 0;
  child.stdout.setEncoding("utf8").on("data", (chunk) => {
    text += chunk;
    process.stdout.write(chunk);
    for (let end; (end = text.indexOf("\\n", at)) >= 0; at = end + 1) {
      const { type, open } = JSON.parse(text.slice(at, end));
      if (type === "progress" && open > 0 && signals.length > 0) child.kill(signals.shift());
    }
  });
  child.on("close", (code) => { process.exitCode = code; });`;

describe.skipIf(skipping("runs that two signals end", labProblem()))("a run that two signals end", () => {
  let folder = "";
  let network = "";
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "synprobe-interrupted-"));
    network = join(folder, "network.json");
    writeFileSync(network, JSON.stringify(NETWORK));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  const WORKERS = ["--link", "packet", "--workers", "2"];
  const BANNERS = ["--banner", "5s"];
  it.each(everyday([WORKERS, BANNERS], [WORKERS, BANNERS, ["--link", "raw"], ["--link", "connect"]]))(
    "has told what it has counted: %s %s",
    async (...means) => {
      const args = [
        "-oJ",
        "-",
        "--stats-every",
        "200ms",
        "--max-rate",
        "2000",
        ...means,
        "198.18.0.0/16:1-9",
      ];
      const argv = [process.execPath, "-e", INTERRUPTED, "--", ...synprobe(...args)];
      const { status, stdout } = await run(synprobe("lab", network, "--", ...argv));
      // Which signal is taken last is the kernel's choice, when both are pending.
      expect([130, 143]).toContain(status);
      const states = [...resultsOf(stdout).values()].map(({ state }) => state);
      const told = (wanted: string): number => states.filter((state) => state === wanted).length;
      const summary = JSON.parse(linesOf(stdout).at(-1) ?? "");
      expect(summary).toMatchObject({
        type: "summary",
        interrupted: true,
        open: told("open"),
        closed: told("closed"),
        filtered: told("filtered"),
        unfinished: 9 * 65_536 - states.length,
      });
      expect(summary.open).toBeGreaterThan(0);
    },
  );
});
