/**
 * Exit statuses, each really produced by a whole process. 3 has a file of its own (privilege.test.ts), and so has what
 * can be wrong with the input (bad-input.test.ts).
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { afterSending, EXIT, errorStatus, exitStatus } from "../../src/cli/exit.ts";
import { ERROR_CODES, SynprobeError } from "../../src/errors.ts";
import { someOf } from "../everyday.ts";
import { listen } from "../lab/listeners.ts";
import {
  command,
  createLab,
  FAR,
  inNamespace,
  type Lab,
  labProblem,
  NOWHERE,
  overlayEtc,
  SILENT,
  skipping,
} from "../lab/netns.ts";
import { at, resultsOf } from "../lab/probing.ts";
import { until } from "../lab/until.ts";
import { type Finished, linesOf, run, start, synprobe } from "./process.ts";

const OPEN = 7001;
const CLOSED = 7002;

test.each([["--help"], ["-h"], ["--version"], ["-V"]])("%s is no error", async (option) => {
  const { status, stdout, stderr } = await run(synprobe(option));
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  expect(stdout).toMatch(option.toLowerCase().includes("v") ? /^\d+\.\d+\.\d+\n$/ : /^Usage: synprobe /);
});

test("help tells every exit status", async () => {
  const { stdout } = await run(synprobe("help", "exit"));
  const told = [...stdout.matchAll(/^ {2}(\d+) /gm)].map(([, status]) => Number(status));
  expect(told).toEqual(Object.values(EXIT));
});

test("no error after packets have left says that nothing was probed", () => {
  for (const code of Object.values(ERROR_CODES)) {
    const before = errorStatus(afterSending(new SynprobeError(code, "lost"), 0));
    const after = errorStatus(afterSending(new SynprobeError(code, "lost"), 1));
    const expected = before === EXIT.network || before === EXIT.privilege ? EXIT.partial : before;
    expect.soft({ code, after }).toEqual({ code, after: expected });
  }
  expect(exitStatus(ERROR_CODES.interfaceDown)).toBe(4);
  expect(errorStatus(afterSending(new SynprobeError(ERROR_CODES.interfaceDown, "lost"), 348))).toBe(5);
});

describe.skipIf(skipping("exit statuses", labProblem()))("exit status", () => {
  let lab: Lab;

  beforeAll(async () => {
    lab = createLab();
    await listen(lab.far, [{ host: FAR.ipv4, port: OPEN }]);
  });

  afterAll(() => lab.remove());

  const probe = (...args: string[]): Promise<Finished> => run(inNamespace(lab.near, synprobe(...args)));
  const open = at(FAR.ipv4, OPEN);
  const closed = at(FAR.ipv4, CLOSED);
  const nowhere = at(NOWHERE.ipv4, 1);

  test.each([
    ["a run is complete, whatever it finds", 0, [open, closed]],
    ["--require-open and every port is open", 0, ["--require-open", open]],
    ["--require-open and a port is closed", 1, ["--require-open", open, closed]],
    ["a usage error", 2, ["--frobnicate", open]],
    ["no target that can be", 2, [at(FAR.ipv4, 0)]],
    ["no target with a route", 4, [nowhere]],
    ["a target that cannot be, beside others", 5, [open, at(FAR.ipv4, 0)]],
    ["a target without a route, beside others", 5, [open, nowhere]],
    ["the same, to be refused", 2, ["--strict", open, at(FAR.ipv4, 0)]],
    ["the same, without a packet", 5, ["--dry-run", open, nowhere]],
    ["no such interface", 4, ["-e", "nosuch0", open]],
    ["faults of two kinds: the user's comes first", 2, [nowhere, at(FAR.ipv4, 0)]],
    ["a fault, and --require-open", 5, ["--require-open", nowhere, closed]],
  ])("%s: %d", async (_what, status, args) => {
    expect(await probe(...args)).toMatchObject({ status, signal: null });
  });

  test("--require-open and a port is filtered: 1", async () => {
    const args = ["--require-open", "--retries=0", "--timeout=100", open, at(SILENT.ipv4, 1)];
    expect(await probe(...args)).toMatchObject({ status: 1 });
  });

  describe("128 and the number of the signal", () => {
    const silent = at(SILENT.ipv4, 1);

    /** Interrupts a run that has found the open port and waits for the silent one. */
    async function interrupt(signals: readonly NodeJS.Signals[], ...args: string[]): Promise<Finished> {
      const running = start(inNamespace(lab.near, synprobe("--timeout=10m", ...args, open, silent)));
      await running.until("stdout", /open/);
      for (const signal of signals) running.kill(signal);
      return running.finished;
    }

    test.each(
      someOf(2, [
        ["SIGINT", 130],
        ["SIGTERM", 143],
        ["SIGHUP", 129],
      ] as const),
    )("%s: %d, and what was found is printed", async (signal, wanted) => {
      const { status, stdout, stderr } = await interrupt([signal]);
      expect({ status, stderr }).toEqual({ status: wanted, stderr: "" });
      const lines = linesOf(stdout);
      expect(lines[1]).toMatch(/^192\.0\.2\.10:7001 +open /);
      expect(stdout).toContain("interrupted, 1 port unfinished");
      expect(lines.at(-1)).toMatch(
        /^1 port \(2 hosts planned, 1 answered\): 1 open, 0 closed, 0 filtered; 2 SYNs sent, /,
      );
    });

    test("NDJSON says so, and ends with its summary", async () => {
      const { status, stdout } = await interrupt(["SIGINT"], "-oJ", "-");
      expect(status).toBe(130);
      expect([...resultsOf(stdout).keys()]).toEqual([open]);
      const last: unknown = JSON.parse(linesOf(stdout).at(-1) ?? "");
      expect(last).toMatchObject({ type: "summary", interrupted: true, unfinished: 1, open: 1 });
    });

    test("a second SIGINT does not wait", async () => {
      const { status, signal, stdout } = await interrupt(["SIGINT", "SIGINT"]);
      // The second one may come when nothing is left that could catch it: 130, too, for a shell.
      expect(status === 130 || signal === "SIGINT").toBe(true);
      expect(linesOf(stdout)[1]).toMatch(/^192\.0\.2\.10:7001 +open /);
    });

    test("SIGINT while a name is looked up", async () => {
      overlayEtc(lab.near, "nsswitch.conf", "hosts: dns\n");
      overlayEtc(lab.near, "resolv.conf", `nameserver ${SILENT.ipv4}\n`);
      const running = start(inNamespace(lab.near, synprobe("slow.example.test:80")));
      const asking = inNamespace(lab.near, ["ss", "-Huan", `dst ${SILENT.ipv4}`]);
      until(() => command(asking) !== "", "the question to the name server");
      running.kill("SIGINT");
      const { status, signal, stdout, stderr } = await running.finished;
      expect(status === 130 || signal === "SIGINT").toBe(true);
      expect(stdout + stderr).toBe("");
    });
  });
});
