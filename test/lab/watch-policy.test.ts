/** `synprobe watch POLICY`: what becomes wrong and right again is told once, with its rule; the policy is read anew for every scan. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openStore } from "../../src/runtime/store/database.ts";
import { linesOf, run, start, synprobe } from "../cli/process.ts";
import { firewall } from "./firewalls.ts";
import { listen } from "./listeners.ts";
import { command, createLab, FAR, inNamespace, type Lab, labProblem, overlayEtc, skipping } from "./netns.ts";

const problem = (): string | undefined => {
  try {
    command(["sh", "-c", "command -v nft && command -v curl"]);
    return labProblem();
  } catch {
    return "nft or curl is not installed";
  }
};

describe.skipIf(skipping("watching a policy", problem()))("watch POLICY", () => {
  let lab: Lab;
  let folder = "";
  const file = (): string => join(folder, "policy.yaml");
  const want = (of7003: string): void =>
    writeFileSync(
      file(),
      `groups:\n  - targets: ${FAR.ipv4}\n    ports:\n      7001,7002: open\n      7003: ${of7003}\n`,
    );
  const name = (hosts: string): void => overlayEtc(lab.near, "hosts", `${hosts}\n`);
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "synprobe-watch-policy-"));
    lab = createLab();
    overlayEtc(lab.near, "resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n");
    name(`${FAR.ipv4} svc.test`);
    await listen(
      lab.far,
      [7001, 7002].map((port) => ({ host: FAR.ipv4, port })),
    );
  });
  afterAll(() => {
    lab.remove();
    rmSync(folder, { recursive: true });
  });

  it("tells of violations from the first scan on, and when they are over", { timeout: 180_000 }, async () => {
    want("open");
    const running = start(
      inNamespace(
        lab.near,
        synprobe(
          "watch",
          file(),
          "--every",
          "1s",
          "--confirm",
          "50ms",
          "--metrics",
          "127.0.0.1:0",
          "--store",
          join(folder, "h.db"),
        ),
      ),
      { limitMs: 170_000 },
    );
    const told = async (pattern: RegExp): Promise<unknown> =>
      JSON.parse(linesOf(await running.until("stdout", pattern)).at(-1) ?? "");
    expect(await told(/"port":7003.*\n/)).toMatchObject({
      type: "violation",
      old: { state: "closed" },
      new: { state: "closed", reason: "reset" },
      policy: { expected: "open", rule: `${file()}:5:7` },
    });
    const [, metrics = ""] = /metrics at (\S+)/.exec(await running.until("stderr", /metrics at \S+/)) ?? [];
    const scraped = command(inNamespace(lab.near, ["curl", "-s", metrics]));
    expect(scraped).toContain('synprobe_policy_ports{outcome="differs"} 1\n');
    expect(scraped).toContain('synprobe_policy_ports{outcome="as-written"} 2\n');
    firewall(lab.far, "input", ["tcp dport 7001 reject with tcp reset"]);
    expect(await told(/"port":7001.*\n/)).toMatchObject({
      type: "violation",
      old: { state: "open" },
      new: { state: "closed" },
    });
    command(inNamespace(lab.far, ["nft", "flush", "ruleset"]));
    expect(await told(/"restored".*"port":7001.*\n/)).toMatchObject({
      type: "restored",
      old: { state: "closed" },
      new: { state: "open" },
    });
    // Nothing has changed but what is wanted.
    want("closed");
    expect(await told(/"restored".*"port":7003.*\n/)).toMatchObject({
      type: "restored",
      policy: { expected: "closed" },
    });
    running.kill("SIGTERM");
    const { status, stdout } = await running.finished;
    expect(status).toBe(143);
    expect(linesOf(stdout)).toHaveLength(4);
  });

  it("counts the ports of a name that no longer resolves, and ends as a scan without it", async () => {
    const groups = [
      "  - targets: svc.test\n    ports: { 7001: open, 7005: closed }",
      `  - targets: ${FAR.ipv4}\n    ports: { 7002: open }`,
    ];
    writeFileSync(file(), `groups:\n${groups.join("\n")}\n`);
    const flags = ["--every", "1h", "--store", join(folder, "name.db"), "-v"];
    const running = start(
      inNamespace(lab.near, synprobe("watch", file(), ...flags, "--metrics", "127.0.0.1:0", "--rounds", "3")),
    );
    const [, metrics = ""] = /metrics at (\S+)/.exec(await running.until("stderr", /metrics at \S+/)) ?? [];
    const scraped = (): string => command(inNamespace(lab.near, ["curl", "-s", metrics]));
    await running.until("stderr", /scan of .*: 3 ports, 0 events, 0 differences not confirmed, /);
    expect(scraped()).toContain("synprobe_targets_unprobed 0\n");
    name("");
    running.kill("SIGHUP");
    await running.until("stderr", /scan of .*: 1 port, .* 1 target not probed, /);
    const part = scraped();
    expect(part).toContain("synprobe_targets_unprobed 1\n");
    expect(part).toContain('synprobe_policy_ports{outcome="as-written"} 1\n');
    expect(part).toContain('synprobe_policy_ports{outcome="untold"} 2\n');
    running.kill("SIGHUP");
    expect(await running.finished).toMatchObject({ status: 5 });
    name(`${FAR.ipv4} svc.test`);
  });

  it("ends violations that are watched no longer: their name is elsewhere, their rule is gone", {
    timeout: 120_000,
  }, async () => {
    const group = (targets: string, ports: string): string =>
      `  - targets: ${targets}\n    ports: { ${ports} }\n`;
    const write = (...groups: string[]): void => writeFileSync(file(), `groups:\n${groups.join("")}`);
    const svc = group("svc.test", "7001: open");
    write(svc, group(FAR.ipv4, "7005: open"));
    const flags = ["--every", "1h", "--confirm", "50ms", "--store", join(folder, "ended.db"), "-v"];
    const running = start(inNamespace(lab.near, synprobe("watch", file(), ...flags)), { limitMs: 110_000 });
    const scans = async (count: number): Promise<unknown> =>
      await running.until("stderr", new RegExp(`(scan of [\\s\\S]*?){${count}}`));
    const round = async (count: number): Promise<unknown> => {
      running.kill("SIGHUP");
      return scans(count);
    };
    await scans(1);
    // Nothing listens there.
    name(`${FAR.ipv6} svc.test`);
    await round(2);
    // Where it is is not known: what was told of it stays.
    name("");
    await round(3);
    name(`${FAR.ipv4} svc.test`);
    await round(4);
    write(svc);
    await round(5);
    write(svc, group(FAR.ipv4, "7005: open"));
    await round(6);
    running.kill("SIGTERM");
    const { stdout } = await running.finished;
    const why = "no longer watched";
    expect(linesOf(stdout).map((line) => JSON.parse(line))).toMatchObject([
      { type: "violation", ip: FAR.ipv4, port: 7005 },
      { type: "violation", ip: FAR.ipv6, host: "svc.test", port: 7001 },
      { type: "restored", ip: FAR.ipv6, host: "svc.test", port: 7001, why },
      { type: "restored", ip: FAR.ipv4, port: 7005, why, new: { state: "closed", reason: "reset" } },
      { type: "violation", ip: FAR.ipv4, port: 7005 },
    ]);
  });

  it("says what is not delivered when it ends, which the next one tries at once, however long it has waited", async () => {
    want("open");
    const [told, taken, store] = ["told.sh", "taken", "outbox.db"].map((each) => join(folder, each));
    const watch = () =>
      run(
        inNamespace(
          lab.near,
          synprobe("watch", file(), "--every", "1h", "--rounds", "1", "--store", store, "--exec", told),
        ),
      );
    writeFileSync(told, "#!/bin/sh\nexit 1\n", { mode: 0o755 });
    expect(await watch()).toMatchObject({
      status: 0,
      stderr: expect.stringContaining("not delivered yet: 1 event for --exec; the next watch on this store"),
    });
    const { prepare, close } = openStore(store, true);
    prepare("UPDATE deliveries SET tries = 9, next_ms = ?").run(Date.now() + 300_000);
    close();
    writeFileSync(told, `#!/bin/sh\ncat >> "${taken}"\n`, { mode: 0o755 });
    expect(await watch()).toMatchObject({ status: 0, stdout: "", stderr: "" });
    expect(JSON.parse(readFileSync(taken, "utf8"))).toMatchObject({ type: "violation", port: 7003 });
  });

  it("ends when its events can no longer be written: at once, and as every command does", async () => {
    want("open");
    const watch = (store: string): string[] =>
      synprobe("watch", file(), "--every", "1h", "--confirm", "50ms", "--store", join(folder, store));
    const unread = start(inNamespace(lab.near, watch("unread.db")));
    unread.closeStdout();
    const full = run(inNamespace(lab.near, ["sh", "-c", '"$@" > /dev/full', "sh", ...watch("full.db")]));
    expect(await unread.finished).toMatchObject({ status: 141, stderr: "" });
    expect(await full).toMatchObject({
      status: 2,
      stderr: expect.stringContaining("cannot write standard output: "),
    });
  });
});
