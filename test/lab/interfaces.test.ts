/** Which interface a probe leaves by: zones of link-local targets, -e, and this machine's own addresses. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { linesOf, run, start, synprobe } from "../cli/process.ts";
import { firewall } from "./firewalls.ts";
import {
  BEYOND,
  command,
  createLab,
  FAR,
  inNamespace,
  type Lab,
  labProblem,
  NEAR,
  skipping,
} from "./netns.ts";
import { at, type Found, probe } from "./probing.ts";

const DEVICE = "veth0";

describe.skipIf(skipping("interfaces", labProblem()))("interfaces", () => {
  let lab: Lab;
  let farLinkLocal = "";
  let nearLinkLocal = "";
  beforeAll(() => {
    lab = createLab();
    const linkLocal = (namespace: string): string =>
      /inet6 (fe80:[^/]*)/.exec(
        command(["ip", "-n", namespace, "addr", "show", "dev", DEVICE, "scope", "link"]),
      )?.[1] ?? "";
    farLinkLocal = linkLocal(lab.far);
    nearLinkLocal = linkLocal(lab.near);
    command(["ip", "-n", lab.near, "addr", "add", "198.18.9.1/32", "dev", "lo"]);
  });
  afterAll(() => lab?.remove());

  it("a zone is for its link-local target, and binds no other", async () => {
    const found = await probe(
      lab.near,
      `[${farLinkLocal}%${DEVICE}]:7`,
      at(FAR.ipv4, 7),
      at(BEYOND.unreachable.ipv4, 7),
      at(NEAR.ipv4, 7),
      "198.18.9.1:7",
    );
    expect(found.get(at(farLinkLocal, 7))).toMatchObject({ state: "closed", reason: "reset" });
    expect(found.get(at(FAR.ipv4, 7))).toMatchObject({ state: "closed" });
    expect(found.get(at(BEYOND.unreachable.ipv4, 7))).toMatchObject({
      reason: "host-unreach",
      responder: FAR.ipv4,
    });
    expect(found.get(at(NEAR.ipv4, 7))).toMatchObject({ state: "closed" });
    expect(found.get("198.18.9.1:7")).toMatchObject({ state: "closed" });
  });

  it("a zone that is no interface, or another one, leaves out its own target alone", async () => {
    const index = command([
      "ip",
      "netns",
      "exec",
      lab.near,
      "cat",
      `/sys/class/net/${DEVICE}/ifindex`,
    ]).trim();
    const { status, stdout, stderr } = await run(
      inNamespace(
        lab.near,
        synprobe(
          ...["-oJ", "-", `[${farLinkLocal}%${DEVICE}]:7`, `[${farLinkLocal}%${index}]:8`, at(FAR.ipv4, 7)],
          ...["[fe80::1%nope]:7", "[fe80::1%lo]:7"],
        ),
      ),
    );
    expect(status).toBe(5);
    expect(linesOf(stderr)).toEqual([
      expect.stringMatching(/^synprobe: \[fe80::1%nope\]:7: no network interface named nope/),
      expect.stringMatching(
        /^synprobe: \[fe80::1%lo\]:7: one run goes through one interface, and veth0 is named already/,
      ),
    ]);
    expect(stdout.match(/"state":"closed"/g)).toHaveLength(3);
    // Under this name it can be probed again.
    expect(stdout).toContain(`"host":"${farLinkLocal}%${DEVICE}"`);
  });

  it("a zone of what is excluded counts: the same link-local address is another host's on another link", async () => {
    const target = `[${farLinkLocal}%${DEVICE}]:7`;
    const without = (...excluded: string[]) =>
      run(inNamespace(lab.near, synprobe(target, "--exclude", excluded.join())));
    expect((await without(`${farLinkLocal}%lo`)).stdout).toContain("closed");
    for (const excluded of [`${farLinkLocal}%${DEVICE}`, `${farLinkLocal}%nope`, farLinkLocal])
      expect((await without(excluded)).stderr, excluded).toMatch(/nothing is left to probe/);
  });

  it("outputs of a target with a zone are targets again, and a watch tells what has changed of it", async () => {
    const folder = mkdtempSync(join(tmpdir(), "synprobe-interfaces-"));
    try {
      const results = join(folder, "results.json");
      const near = (...args: string[]): string[] => inNamespace(lab.near, synprobe(...args));
      const target = `[${farLinkLocal}%${DEVICE}]:7`;
      expect((await run(near(target, "-oJ", results))).status).toBe(0);
      expect(await run(near("-iR", results))).toMatchObject({ status: 0, stderr: "" });
      const watching = start(
        near("watch", target, "-v", "--every", "1s", "--confirm", "100ms", "--store", join(folder, "w.db")),
        { limitMs: 60_000 },
      );
      await watching.until("stderr", /scan of .*: 1 port, 0 events/);
      firewall(lab.far, "input", ["tcp dport 7 reject with icmpx type admin-prohibited"]);
      await watching.until("stdout", /filtered/);
      watching.kill("SIGINT");
      await watching.finished;
    } finally {
      command(inNamespace(lab.far, ["nft", "flush", "ruleset"]));
      rmSync(folder, { recursive: true });
    }
  });

  it("-e and this machine's own addresses: the interface's own are reached, others are not, and that is said", async () => {
    const own = await probe(
      lab.near,
      "-e",
      DEVICE,
      at(NEAR.ipv4, 7),
      at(FAR.ipv4, 7),
      `[${nearLinkLocal}%${DEVICE}]:7`,
    );
    expect([...own.values()].map(({ state }: Found) => state)).toEqual(["closed", "closed", "closed"]);
    const { status, stdout, stderr } = await run(
      inNamespace(
        lab.near,
        synprobe("-oJ", "-", "-e", DEVICE, "198.18.9.1:7", "127.0.0.1:7", at(FAR.ipv4, 7)),
      ),
    );
    expect(status).toBe(5);
    expect(linesOf(stderr)).toEqual([
      expect.stringMatching(/^synprobe: 127\.0\.0\.1:7: .*own address.*drop -e$/),
      expect.stringMatching(/^synprobe: 198\.18\.9\.1:7: .*own address.*drop -e$/),
    ]);
    expect(stdout).toMatch(/"state":"closed"/);
  });

  it("-S is the source that policy rules look at", async () => {
    // Packets from the second address have a table of their own, in which there is no way to the far side's networks.
    command(["ip", "-n", lab.near, "rule", "add", "from", NEAR.other4, "lookup", "100"]);
    command(["ip", "-n", lab.near, "route", "add", "prohibit", "198.18.0.0/16", "table", "100"]);
    const target = at(BEYOND.unreachable.ipv4, 7);
    expect((await probe(lab.near, target)).get(target)).toMatchObject({ reason: "host-unreach" });
    const { status, stderr } = await run(inNamespace(lab.near, synprobe("-S", NEAR.other4, target)));
    expect(status).toBe(4);
    expect(stderr).toMatch(/routes prohibit it/);
    const direct = await probe(lab.near, "-S", NEAR.other4, at(FAR.ipv4, 7));
    expect(direct.get(at(FAR.ipv4, 7))).toMatchObject({ state: "closed" });
  });
});
