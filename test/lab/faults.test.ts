/**
 * What happens to the whole process while it runs, and must change no verdict: it is stopped for a while, and others take the
 * processors. native-notes/faults.md lists these and all other faults, each with its test.
 */
import { availableParallelism } from "node:os";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Running, start, synprobe } from "../cli/process.ts";
import { ALL, everyday } from "../everyday.ts";
import { createLab, FAR, inNamespace, ip, type Lab, labProblem, skipping } from "./netns.ts";
import { resultsOf } from "./probing.ts";

const LINKS = ["raw", "packet"] as const;
const OPEN = 22;
const TARGET = "198.19.0.0/27:1-40";
const PAIRS = 32 * 40;
const RATE = 1000;
const SOME = /^(?:.*\n){200}/;

describe.skipIf(skipping("faults", labProblem()))("a run", () => {
  let lab: Lab;
  let listener: Running;
  beforeAll(async () => {
    lab = createLab();
    ip(lab.far, "route add local 198.19.0.0/16 dev lo");
    ip(lab.near, `route replace 198.19.0.0/16 via ${FAR.ipv4}`);
    const serve = `require("node:net").createServer().listen(${OPEN}, () => console.log("ready"))`;
    listener = start(inNamespace(lab.far, [process.execPath, "-e", serve]), { limitMs: 600_000 });
    await listener.until("stdout", /ready/);
  });
  afterAll(() => {
    listener?.kill("SIGKILL");
    lab?.remove();
  });

  const begin = (link: string): Running =>
    start(inNamespace(lab.near, synprobe("-oJ", "-", "--link", link, "--max-rate", String(RATE), TARGET)), {
      limitMs: 50_000,
    });

  /** Each pair once, with the state it has. */
  async function expectAllRight({ finished }: Running): Promise<void> {
    const { status, stdout } = await finished;
    const found = resultsOf(stdout);
    const wrong = [...found.values()].filter(
      ({ port, state }) => state !== (port === OPEN ? "open" : "closed"),
    );
    expect(wrong).toEqual([]);
    expect(found.size).toBe(PAIRS);
    expect(status).toBe(0);
  }

  it.each(everyday<readonly string[]>([LINKS[1]], LINKS))(
    "that is stopped and goes on is right: %s",
    async (link) => {
      const running = begin(link);
      await running.until("stdout", SOME);
      running.kill("SIGSTOP");
      // Longer than any probe waits for its answer here.
      await new Promise((resolve) => setTimeout(resolve, everyday(1000, 5000)));
      running.kill("SIGCONT");
      await expectAllRight(running);
    },
  );

  it.runIf(ALL).each(LINKS)("beside four busy processes a processor is right: %s", async (link) => {
    const busy = Array.from({ length: 4 * availableParallelism() }, () =>
      start(["sh", "-c", "while :; do :; done"], { limitMs: 60_000 }),
    );
    try {
      await expectAllRight(begin(link));
    } finally {
      for (const each of busy) each.kill("SIGKILL");
      await Promise.all(busy.map(({ finished }) => finished));
    }
  });
});
