/**
 * What a run makes of a shell that lets go of it: signals that it was started with ignored, and a terminal that is closed. Probes go
 * to this machine's own loopback.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { arch, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { skipping } from "../lab/netns.ts";
import { type Finished, linesOf, start, synprobe } from "./process.ts";

/** Where what was ignored is found: elsewhere nothing is left to see of it (link/sys/signals.ts). */
const canTell = ["x64", "arm64"].includes(arch());
const why = process.getuid?.() === 0 ? undefined : "raw sockets need root";
const PORTS = 60;
/** A second and a half. */
const SLOWLY = [`127.0.0.1:1-${PORTS}`, "--max-rate", "40"];

/** In a session of its own on a pseudo-terminal, which is closed at the first byte on its standard input. */
const ON_A_TERMINAL = `
import fcntl, os, signal, subprocess, sys, termios
near, far = os.openpty()
def session():
    os.setsid()
    fcntl.ioctl(far, termios.TIOCSCTTY, 0)
    if sys.argv[1] == "ignored": signal.signal(signal.SIGHUP, signal.SIG_IGN)
child = subprocess.Popen(sys.argv[2:], stdin=far, stdout=far, stderr=far, preexec_fn=session)
os.close(far)
print(os.read(near, 1), flush=True)
sys.stdin.read(1)
os.close(near)
sys.exit(child.wait() % 256)`;

interface Summary {
  readonly interrupted: boolean;
  readonly unfinished: number;
}

describe.skipIf(skipping("hang-ups", why))("a shell that lets go", () => {
  let folder = "";
  let file = "";
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "synprobe-hangup-"));
    file = join(folder, "found.json");
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const lines = (): string[] => {
    try {
      return linesOf(readFileSync(file, "utf8"));
    } catch {
      return [];
    }
  };
  const summary = (): Summary => JSON.parse(lines().at(-1) ?? "{}");
  const results = (): string[] => lines().filter((line) => line.includes('"state"'));

  /** Sends a signal to a run that a shell has started, when the first answers are there. */
  const signalTo = async (shell: string, signal: NodeJS.Signals): Promise<Finished> => {
    rmSync(file, { force: true });
    const running = start(["sh", "-c", shell, "sh", ...synprobe(...SLOWLY, "-oN", "-", "-oJ", file)]);
    const [, pid] = /pid (\d+)/.exec(await running.until("stdout", /pid \d+\n/)) ?? [];
    await expect.poll(results, { timeout: 20_000 }).not.toHaveLength(0);
    process.kill(Number(pid), signal);
    return running.finished;
  };

  describe.skipIf(!canTell)("that has a signal ignored", () => {
    it.each([
      ["nohup", "SIGHUP", `trap "" HUP; echo "pid $$"; exec "$@"`],
      ["command &", "SIGINT", `"$@" & echo "pid $!"; wait`],
    ] as const)("as %s does: %s does not end the run", async (_what, signal, shell) => {
      expect(await signalTo(shell, signal)).toMatchObject({ status: 0 });
      expect(summary()).toMatchObject({ interrupted: false, unfinished: 0 });
      expect(results()).toHaveLength(PORTS);
    });
  });

  it.each([
    ["SIGHUP", 129],
    ["SIGINT", 130],
  ] as const)("and has nothing ignored: %s ends the run", async (signal, status) => {
    expect(await signalTo(`echo "pid $$"; exec "$@"`, signal)).toMatchObject({ status });
    expect(summary()).toMatchObject({ interrupted: true });
  });

  it.skipIf(!canTell)("and closes the terminal: the table ends, and neither run nor file", async () => {
    rmSync(file, { force: true });
    const running = start(["python3", "-c", ON_A_TERMINAL, "ignored", ...synprobe(...SLOWLY, "-oJ", file)], {
      input: "x",
    });
    expect(await running.finished).toMatchObject({ status: 0, stderr: "" });
    expect(summary()).toMatchObject({ interrupted: false, unfinished: 0 });
    expect(results()).toHaveLength(PORTS);
  });

  it("and closes the terminal, the signal not ignored: the run ends in order", async () => {
    rmSync(file, { force: true });
    const running = start(["python3", "-c", ON_A_TERMINAL, "heard", ...synprobe(...SLOWLY, "-oJ", file)], {
      input: "x",
    });
    expect(await running.finished).toMatchObject({ status: 129, stderr: "" });
    expect(summary()).toMatchObject({ interrupted: true });
  });

  it("opens no debugger for SIGUSR1, as Node would", async () => {
    const running = start(synprobe(...SLOWLY, "-oJ", "-"));
    await running.until("stdout", /"state"/);
    running.kill("SIGUSR1");
    const { status, stderr } = await running.finished;
    expect([status, stderr]).toEqual([0, ""]);
  });
});
