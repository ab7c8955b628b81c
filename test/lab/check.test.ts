/**
 * `synprobe check` against a real kernel: what listens, what nothing listens on, what a firewall drops or rejects, and what this
 * machine itself does not send; and the second look at what could not be told at once.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { linesOf, run, start, synprobe } from "../cli/process.ts";
import { firewall, firewallProblem } from "./firewalls.ts";
import { listen } from "./listeners.ts";
import { createLab, FAR, inNamespace, type Lab, SILENT, skipping } from "./netns.ts";

const OPEN = 7401;
const CLOSED = 7402;
const DROPPED = 7403;
const REJECTED = 7404;
/** The near side's own firewall keeps probes for this port from leaving. */
const HELD_BACK = 7405;
/** The far side drops the first SYN to these, and no other. */
const LATE = 7406;
const LATER = 7407;

describe.skipIf(skipping("policies on a real kernel", firewallProblem()))("a policy", () => {
  let lab: Lab;
  let folder: string;

  beforeAll(async () => {
    lab = createLab();
    folder = mkdtempSync(join(tmpdir(), "synprobe-check-"));
    const ports = [OPEN, DROPPED, REJECTED, HELD_BACK, LATE, LATER];
    await listen(
      lab.far,
      ports.flatMap((port) => [FAR.ipv4, FAR.ipv6].map((host) => ({ host, port }))),
    );
    firewall(lab.far, "input", [
      `tcp dport ${DROPPED} drop`,
      `tcp dport ${REJECTED} reject with icmpx type admin-prohibited`,
      // A SYN of synprobe's is 44 bytes in IPv4: one is within the quota, two are not.
      `ip version 4 tcp dport ${LATE} tcp flags syn quota until 60 bytes drop`,
      `ip version 4 tcp dport ${LATER} tcp flags syn quota until 60 bytes drop`,
    ]);
    firewall(lab.near, "output", [`tcp dport ${HELD_BACK} drop`]);
  });
  afterAll(() => {
    lab?.remove();
    rmSync(folder, { recursive: true });
  });

  const policy = (
    ports: Readonly<Record<number, unknown>>,
    targets: unknown = [FAR.ipv4, `[${FAR.ipv6}]`],
  ): string => {
    const file = join(folder, "policy.json");
    writeFileSync(file, JSON.stringify({ groups: [{ name: "far", targets, ports }] }));
    return file;
  };
  const check = (...args: string[]) => run(inNamespace(lab.near, synprobe("check", ...args)));
  const found = async (...args: string[]) => {
    const { status, stdout, stderr } = await check("--format", "json", ...args);
    const { findings, ...rest } = JSON.parse(stdout);
    return {
      status,
      stderr,
      rest,
      findings: new Map<string, Record<string, unknown>>(
        findings.map((each: Record<string, unknown>) => [`${each["ip"]} ${each["port"]}`, each]),
      ),
    };
  };

  it("that says what is there holds, and so does what is learnt", async () => {
    const file = policy({
      [OPEN]: "open",
      [CLOSED]: "closed",
      [DROPPED]: "filtered",
      [REJECTED]: ["closed", "filtered"],
    });
    const { status, stdout, stderr } = await check(file, "--retries", "1");
    expect({ status, stdout, stderr }).toEqual({
      status: 0,
      stdout: "8 ports as written, 0 not\n",
      stderr: "",
    });
    const learnt = await check("--learn", "--retries", "1", `${FAR.ipv4}:${OPEN}-${REJECTED}`);
    expect(learnt.stdout).toContain(
      `    ports:\n      "${OPEN}": open\n      "${CLOSED}": closed\n      "${DROPPED}-${REJECTED}": filtered\n`,
    );
    writeFileSync(file, learnt.stdout);
    expect((await check(file, "--retries", "1")).status).toBe(0);
  });

  it("that wants something else is not held: 1, with what was found and why", async () => {
    const { status, rest, findings } = await found(
      policy({ [OPEN]: "closed", [CLOSED]: "open", [DROPPED]: "open", [REJECTED]: "closed" }),
    );
    expect(status).toBe(1);
    expect(rest).toMatchObject({ as_written: 0, differs: 8, untold: 0 });
    for (const ip of [FAR.ipv4, FAR.ipv6]) {
      expect(findings.get(`${ip} ${OPEN}`)).toMatchObject({
        outcome: "differs",
        found: "open",
        reason: "syn-ack",
        group: "far",
      });
      expect(findings.get(`${ip} ${CLOSED}`)).toMatchObject({ found: "closed", reason: "reset" });
      expect(findings.get(`${ip} ${DROPPED}`)).toMatchObject({ found: "filtered", reason: "no-response" });
      expect(findings.get(`${ip} ${DROPPED}`)?.["doubt"]).toBeLessThan(0.01);
      expect(findings.get(`${ip} ${REJECTED}`)).toMatchObject({
        found: "filtered",
        reason: "admin-prohibited",
      });
    }
  });

  it("tolerates a reason", async () => {
    const file = policy({ [REJECTED]: { is: "closed", tolerate: "admin-prohibited" } });
    expect((await check(file)).status).toBe(0);
  });

  it("is not held by a SYN that did not leave: 4", async () => {
    const { status, findings } = await found(policy({ [OPEN]: "open", [HELD_BACK]: "not open" }, FAR.ipv4));
    expect(status).toBe(4);
    expect(findings.get(`${FAR.ipv4} ${HELD_BACK}`)).toMatchObject({
      outcome: "untold",
      reason: "send-eperm",
    });
  });

  it("is not held by silence where nothing at all answers: 4", async () => {
    const { status, findings, stderr } = await found(
      policy({ 80: "filtered" }, SILENT.ipv4),
      "--retries",
      "1",
      "--timeout",
      "100",
    );
    expect(status).toBe(4);
    expect(findings.get(`${SILENT.ipv4} 80`)).toMatchObject({
      outcome: "untold",
      reason: "no-response",
      doubt: 1,
    });
    expect(linesOf(stderr)[0]).toBe("synprobe: 1 port could not be told surely: probed again");
  });

  it("looks again at what could not be told, and takes that, in files too", async () => {
    const results = join(folder, "results.json");
    const file = policy({ [OPEN]: "open", [LATE]: "open" }, FAR.ipv4);
    const { status, stdout, stderr } = await check(
      file,
      "--retries",
      "0",
      "--timeout",
      "300",
      "-oJ",
      results,
    );
    expect({ status, stdout, stderr }).toEqual({
      status: 0,
      stdout: "2 ports as written, 0 not\n",
      stderr: "synprobe: 1 port could not be told surely: probed again\n",
    });
    const lines = linesOf(readFileSync(results, "utf8")).map((line) => JSON.parse(line));
    expect(lines.filter(({ port }) => port === LATE)).toMatchObject([
      { state: "filtered", reason: "no-response" },
      { state: "open", reason: "syn-ack", was: "filtered" },
    ]);
    expect(lines.at(-1)).toMatchObject({
      type: "summary",
      open: 2,
      filtered: 0,
      reasons: { filtered: {}, open: { "syn-ack": 2 } },
    });
  });

  it("looks again with one capability and no root", async () => {
    const capable = [
      "setpriv",
      "--reuid=65534",
      "--regid=65534",
      "--clear-groups",
      "--inh-caps=+net_raw",
      "--ambient-caps=+net_raw",
    ];
    const file = policy({ [OPEN]: "open", [LATER]: "open" }, FAR.ipv4);
    const args = synprobe("check", "-", "--link", "raw", "--retries", "0", "--timeout", "300", "-v");
    const { status, stderr } = await run(inNamespace(lab.near, [...capable, ...args]), {
      input: readFileSync(file, "utf8"),
    });
    expect(status).toBe(0);
    expect(stderr).toContain("privileges dropped");
    expect(stderr).toContain("probed again");
  });

  it("says in files that a signal cut its second look short", async () => {
    const results = join(folder, "cut.json");
    const file = policy({ 80: "filtered" }, SILENT.ipv4);
    const args = synprobe("check", file, "--retries", "0", "--timeout", "500", "-oJ", results);
    const running = start(inNamespace(lab.near, args));
    await running.until("stderr", /probed again/);
    running.kill("SIGTERM");
    expect((await running.finished).status).toBe(143);
    const summary = JSON.parse(linesOf(readFileSync(results, "utf8")).at(-1) ?? "");
    expect(summary).toMatchObject({ filtered: 1, unfinished: 0, interrupted: true });
  });

  it("says where SYNs stop under --why", async () => {
    const { status, stdout } = await check(policy({ [OPEN]: "open", [DROPPED]: "open" }, FAR.ipv4), "--why");
    expect(status).toBe(1);
    expect(stdout).toMatch(
      new RegExp(`! 192\\.0\\.2\\.10:${DROPPED} .*\n    far .*\n    ${DROPPED} is filtered, `),
    );
  });
});
