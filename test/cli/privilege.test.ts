/**
 * Privileges: who may probe, what a process that probes still has, and what one that may not is told. Every case is really
 * run so, and its power read from /proc while it waits for a host that never answers.
 */
import { chmodSync, chownSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { createLab, FAR, type Lab, labProblem, SILENT, skipping } from "../lab/netns.ts";
import { at } from "../lab/probing.ts";
import {
  AS_USER,
  allowSudo,
  nodeProcess,
  type Power,
  powerOf,
  powerOfThreads,
  type Stage,
  setStage,
  USER,
  userProblem,
  WITH_NET_RAW,
} from "./identity.ts";
import { type Finished, linesOf, ROOT, type Running, run, start } from "./process.ts";

const POWERLESS = {
  effective: 0n,
  permitted: 0n,
  inheritable: 0n,
  ambient: 0n,
  noNewPrivileges: true,
};
const IS_ROOT = { uids: [0, 0, 0, 0], gids: [0, 0, 0, 0] };
const IS_USER = {
  uids: [USER.uid, USER.uid, USER.uid, USER.uid],
  gids: [USER.gid, USER.gid, USER.gid, USER.gid],
};
const closed = at(FAR.ipv4, 1);
/** What sudo tells its command about the caller. */
const SUDO = { SUDO_UID: String(USER.uid), SUDO_GID: String(USER.gid), SUDO_USER: USER.name };

describe.skipIf(skipping("privileges", labProblem() ?? userProblem()))("privileges", () => {
  let lab: Lab;
  let stage: Stage;
  /** A run that waits, and its own process id; what was started may be sudo's. */
  let waiting: { readonly running: Running; readonly pid: number } | undefined;

  beforeAll(() => {
    lab = createLab();
    stage = setStage(lab.near);
  });

  afterEach(async () => {
    if (waiting === undefined) return;
    process.kill(waiting.pid, "SIGKILL");
    await waiting.running.finished;
    waiting = undefined;
  });

  afterAll(() => {
    lab.remove();
    stage.remove();
  });

  const prefixed = (prefix: readonly string[], args: readonly string[]): string[] =>
    stage.as(prefix, [process.execPath, stage.main, ...args]);

  /** Starts a run that waits for a silent host. @returns the power it has as it sends its first packet */
  async function powerWhileProbing(
    prefix: readonly string[],
    args: readonly string[] = [],
    env: Readonly<Record<string, string>> = {},
  ): Promise<Power> {
    const endless = ["--packet-trace", "--timeout=10m", ...args, at(SILENT.ipv4, 1)];
    const running = start(prefixed(prefix, endless), { env });
    await running.until("stderr", /^SENT /m);
    const pid = nodeProcess(running.pid);
    waiting = { running, pid };
    return powerOf(pid);
  }

  const probe = (prefix: readonly string[], ...args: string[]): Promise<Finished> =>
    run(prefixed(prefix, args));

  test("root gives up its capabilities for good", async () => {
    expect(await powerWhileProbing([])).toMatchObject({ ...IS_ROOT, ...POWERLESS });
  });

  describe("no thread keeps what the first has given up", () => {
    test.each<[string, readonly string[], readonly string[], Readonly<Record<string, string>>]>([
      ["of root", [], [], {}],
      ["of root with --complete", [], ["--complete"], {}],
      ["of root who has looked up a name, in threads that are there by then", [], ["localhost:1"], {}],
      ["of root under sudo", [], [], SUDO],
      ["of root under sudo with --complete", [], ["--complete"], SUDO],
      ["of an ordinary user with CAP_NET_RAW", WITH_NET_RAW, [], {}],
    ])("%s", async (_what, prefix, args, env) => {
      const { effective } = await powerWhileProbing(prefix, args, env);
      // CAP_NET_ADMIN, to remove the rule at the end.
      expect(effective).toBe(args.includes("--complete") ? 1n << 12n : 0n);
      const threads = powerOfThreads(waiting?.pid ?? 0);
      expect(threads.length).toBeGreaterThan(4);
      const { inheritable: _, ...powerless } = POWERLESS;
      for (const thread of threads) expect(thread).toMatchObject(powerless);
    });
  });

  test("no thread keeps capabilities that it has permitted and not effective, where no new ones can be had", async () => {
    const script = `
      const { dropInOtherThreads } = await import("${ROOT}src/link/sys/threads.ts");
      const { powerOfThreads } = await import("${ROOT}test/cli/identity.ts");
      const has = (set) => powerOfThreads(process.pid).map((power) => power[set] !== 0n);
      // Takes what is effective from all threads, and leaves what is permitted.
      process.seteuid(${USER.uid});
      const before = { effective: has("effective").includes(true), permitted: has("permitted").includes(true) };
      dropInOtherThreads();
      console.log(JSON.stringify({ before, left: has("permitted").includes(true) }));
    `;
    const node = [process.execPath, "--import", "tsx", "--input-type=module", "-e", script];
    const { status, stdout, stderr } = await run(["setpriv", "--no-new-privs", ...node]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(JSON.parse(stdout)).toEqual({ before: { effective: false, permitted: true }, left: false });
  });

  test("root with --no-drop keeps them", async () => {
    const { effective, permitted } = powerOf(process.pid);
    expect(await powerWhileProbing([], ["--no-drop"], SUDO)).toMatchObject({
      ...IS_ROOT,
      effective,
      permitted,
      noNewPrivileges: false,
    });
    expect(effective).not.toBe(0n);
  });

  test("an ordinary user with CAP_NET_RAW can probe, and gives it up", async () => {
    expect(await powerWhileProbing(WITH_NET_RAW)).toMatchObject({ ...IS_USER, ...POWERLESS });
  });

  test("an ordinary user with CAP_NET_RAW gets results, through an interface too", async () => {
    for (const through of [[], ["-e", "veth0"]]) {
      const { status, stdout } = await probe(WITH_NET_RAW, ...through, closed, at(FAR.ipv6, 1));
      expect(status).toBe(0);
      expect(stdout).toContain("2 ports on 2 hosts: 0 open, 2 closed, 0 filtered; 2 SYNs sent, ");
    }
  });

  test("root under sudo's environment becomes the caller, with the caller's groups", async () => {
    expect(await powerWhileProbing([], [], SUDO)).toMatchObject({
      ...IS_USER,
      ...POWERLESS,
      groups: [USER.gid, USER.group],
    });
  });

  test.each([
    ["root itself", { ...SUDO, SUDO_UID: "0", SUDO_GID: "0" }],
    ["no number", { ...SUDO, SUDO_UID: "12x" }],
    ["half of it", { SUDO_UID: SUDO.SUDO_UID }],
  ])("a caller that is %s: capabilities go nevertheless", async (_what, env) => {
    expect(await powerWhileProbing([], [], env)).toMatchObject({ ...IS_ROOT, ...POWERLESS });
  });

  describe("a caller whom the system does not know, and whose name sudo does not tell", () => {
    const UNKNOWN = { SUDO_UID: "54399", SUDO_GID: "54399" };

    test.each([
      ["a probe", (stage: Stage) => [stage.main, closed]],
      ["a list of targets", (stage: Stage) => [stage.main, "-iL", "/etc/shadow"]],
      ["a lab's description", (stage: Stage) => [stage.main, "lab", "--check", "/etc/shadow"]],
      ["a lab's report", (stage: Stage) => [stage.main, "lab", "--report", "/etc/sp-report", "--", "true"]],
      ["a page", (stage: Stage) => [stage.main, "report", "-", "-o", "/etc/sp-page"]],
    ])("%s: nothing is done as root instead", async (_what, argv) => {
      const { status, stdout, stderr } = await run(stage.as([], [process.execPath, ...argv(stage)]), {
        env: UNKNOWN,
        input: '{"ip":"192.0.2.1","port":1,"state":"open"}\n',
      });
      expect({ status, stdout }).toEqual({ status: 3, stdout: "" });
      expect(linesOf(stderr).at(-1)).toMatch(
        /^synprobe: SUDO_UID is 54399, a user whom this system does not know/,
      );
    });

    test("whose name it does tell is become, known or not", async () => {
      const ids = { uids: [54_399, 54_399, 54_399, 54_399], gids: [54_399, 54_399, 54_399, 54_399] };
      const power = await powerWhileProbing([], [], { ...UNKNOWN, SUDO_USER: "nobody-here" });
      expect(power).toMatchObject({ ...ids, ...POWERLESS });
    });
  });

  test("-v says what became of the privileges", async () => {
    const { stderr } = await run(prefixed([], ["-v", closed]), { env: SUDO });
    expect(stderr).toContain(`synprobe: privileges dropped: now user ${USER.name}\n`);
  });

  test("root without CAP_NET_RAW, as in a container: 3", async () => {
    const { status, stderr } = await probe(
      ["setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw"],
      "-sS",
      closed,
    );
    expect(status).toBe(3);
    expect(stderr).toContain("--cap-add NET_RAW");
  });

  describe("an ordinary user: 3", () => {
    let refused: Finished;
    const args = ["--packet-trace", "-p", "1,2", FAR.ipv4, `[${FAR.ipv6}]:3`];

    beforeAll(async () => {
      refused = await probe(AS_USER, ...args);
    });

    test("nothing is sent, nothing on standard output", () => {
      expect(refused).toMatchObject({ status: 3, stdout: "" });
      expect(refused.stderr).not.toContain("SENT");
    });

    test.each([
      ["what needs it", /^ +without --packet-trace it needs no privilege: the kernel connects/m],
      ["sudo", /^ +sudo \S.* --packet-trace -p 1,2 192\.0\.2\.10 '\[2001:db8::10\]:3'$/m],
      ["one capability", /^ +sudo setpriv .*--ambient-caps \+net_raw \S.* --packet-trace /m],
      ["systemd", /AmbientCapabilities=CAP_NET_RAW/],
      ["containers", /--cap-add NET_RAW/],
      ["the warning about setcap", /Do not use "setcap" on the node binary/],
      ["doctor", /"synprobe doctor"/],
    ])("the message names %s", (_what, pattern) => {
      expect(refused.stderr).toMatch(pattern);
    });

    test("the command it gives works as it is", async () => {
      const advised = /^ +sudo (setpriv .*)$/m.exec(refused.stderr)?.[1] ?? "";
      const { status, stdout } = await run(stage.as([], ["sh", "-c", advised]));
      expect(status).toBe(0);
      expect(stdout).toContain("3 ports on 2 hosts: 0 open, 3 closed, 0 filtered");
    });

    test("with --why, too, whose SYNs the kernel cannot send, it says how", async () => {
      const { status, stdout, stderr } = await probe(AS_USER, "--why", at(FAR.ipv4, 1));
      expect({ status, stdout }).toEqual({ status: 3, stdout: "" });
      expect(stderr).toMatch(/^ +sudo setpriv .* --why 192\.0\.2\.10:1$/m);
    });

    test("with --complete it names both capabilities at once, and works as it is", async () => {
      const { stderr } = await probe(AS_USER, "--complete", "--link", "raw", at(FAR.ipv4, 1));
      expect(stderr).toMatch(/needs root or the capabilities CAP_NET_RAW and, .*, CAP_NET_ADMIN\.$/m);
      expect(stderr).toContain("AmbientCapabilities=CAP_NET_RAW CAP_NET_ADMIN\n");
      const advised = /^ +sudo (setpriv .*)$/m.exec(stderr)?.[1] ?? "";
      expect(await run(stage.as([], ["sh", "-c", advised]))).toMatchObject({ status: 0 });
    });
  });

  test("an ordinary user who asks for --why, which needs raw sockets beside connects: 3, and how to get them", async () => {
    for (const link of ["auto", "connect"]) {
      const { status, stdout, stderr } = await probe(AS_USER, "--why", "--link", link, closed);
      expect({ status, stdout }).toEqual({ status: 3, stdout: "" });
      expect(stderr).toMatch(/^ +sudo setpriv .*--ambient-caps \+net_raw \S.* --why /m);
      expect(stderr).toMatch(/^ +without --why it needs no privilege/m);
    }
  });

  test("what is wrong with the input comes before what is wrong with the user", async () => {
    const { status, stderr } = await probe(AS_USER, at(FAR.ipv4, 0));
    expect(status).toBe(2);
    expect(linesOf(stderr)).toHaveLength(1);
  });

  test("a list that the user may not read: 2", async () => {
    const { status, stderr } = await probe(AS_USER, "-iL", "/etc/shadow");
    expect({ status, stderr }).toEqual({
      status: 2,
      stderr: "synprobe: cannot read the list /etc/shadow: permission denied\n",
    });
  });

  test("an ordinary user's own user namespace is enough", async (context) => {
    const unshare = [...AS_USER, "unshare", "-Urn"];
    const possible = await run(stage.as(unshare, ["true"]));
    if (possible.status !== 0) context.skip(`no user namespaces for users here: ${possible.stderr}`);
    const script = 'ip link set lo up && exec "$@" 127.0.0.1:1';
    const { status, stdout } = await run(prefixed([...unshare, "sh", "-c", script, "sh"], []));
    expect(status).toBe(0);
    expect(stdout).toMatch(/^127\.0\.0\.1:1 +closed /m);
  });

  describe("watching, for which sockets are opened again and again", () => {
    let folder: string;
    const NET_RAW = 1n << 13n;

    beforeAll(() => {
      folder = mkdtempSync(join(tmpdir(), "sp-watch-"));
      // Root without its capabilities writes where anybody may.
      chmodSync(folder, 0o777);
      writeFileSync(
        join(folder, "policy.yaml"),
        `groups:\n  - targets: ${FAR.ipv4}\n    ports: { 1: closed }\n`,
      );
    });

    afterAll(() => rmSync(folder, { recursive: true, force: true }));

    test.each<[string, readonly string[], readonly string[], bigint]>([
      ["an ordinary user", AS_USER, [closed], 0n],
      ["an ordinary user, a policy", AS_USER, ["policy.yaml"], 0n],
      ["an ordinary user with CAP_NET_RAW", WITH_NET_RAW, [closed], NET_RAW],
      ["an ordinary user with CAP_NET_RAW, a policy", WITH_NET_RAW, ["policy.yaml"], NET_RAW],
      ["an ordinary user with CAP_NET_RAW, which connects", WITH_NET_RAW, ["-sT", closed], 0n],
      ["root", [], [closed], NET_RAW],
      ["root, which connects", [], ["-sT", closed], 0n],
    ])("%s keeps what they need, of what it has", async (who, prefix, args, kept) => {
      const store = join(folder, `${who}.db`);
      const words = args.map((word) => (word.endsWith(".yaml") ? join(folder, word) : word));
      const running = start(prefixed(prefix, ["watch", ...words, "--every", "1h", "--store", store, "-v"]));
      await running.until("stderr", /scan of .*: 1 port,/);
      waiting = { running, pid: nodeProcess(running.pid) };
      const power = powerOf(waiting.pid);
      expect(power).toMatchObject({ permitted: kept, effective: kept, ambient: 0n, noNewPrivileges: true });
      // The next scan opens sockets of its own.
      process.kill(waiting.pid, "SIGHUP");
      await running.until("stderr", /(scan of .*: 1 port,[\s\S]*){2}/);
    });
  });

  describe("called through sudo", () => {
    let problem: string | undefined;
    let directory: string;
    const sudo = [...AS_USER, "sudo", "-n"];

    beforeAll(() => {
      problem = allowSudo(lab.near);
      directory = mkdtempSync(join(tmpdir(), "sp-out-"));
      chownSync(directory, USER.uid, USER.gid);
    });

    afterAll(() => rmSync(directory, { recursive: true, force: true }));

    test("the process becomes the caller", async (context) => {
      context.skip(problem !== undefined, problem);
      expect(await powerWhileProbing(sudo)).toMatchObject({
        ...IS_USER,
        ...POWERLESS,
        groups: [USER.gid, USER.group],
      });
    });

    test("--no-drop stays root", async (context) => {
      context.skip(problem !== undefined, problem);
      const power = await powerWhileProbing(sudo, ["--no-drop"]);
      expect(power).toMatchObject(IS_ROOT);
      expect(power.effective).not.toBe(0n);
    });

    test("output files belong to the caller", async (context) => {
      context.skip(problem !== undefined, problem);
      const file = join(directory, "out.json");
      const { status, stdout } = await probe(sudo, "-oJ", file, closed);
      expect(status).toBe(0);
      expect(stdout).toMatch(/^192\.0\.2\.10:1 +closed /m);
      expect(statSync(file)).toMatchObject({ uid: USER.uid, gid: USER.gid });
    });

    test("no file is written where the caller may not", async (context) => {
      context.skip(problem !== undefined, problem);
      const { status, stderr } = await probe(sudo, "--packet-trace", "-oJ", "/etc/sp-out.json", closed);
      expect(status).toBe(2);
      expect(linesOf(stderr)).toEqual([
        expect.stringMatching(
          /^synprobe: cannot write output file \/etc\/sp-out\.json: permission denied \(under sudo/,
        ),
      ]);
    });
  });
});
