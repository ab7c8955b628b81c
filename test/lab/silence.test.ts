/**
 * Why nothing answered, found out by whole runs in namespaces where something is wrong. A full connection tracking table is
 * tested in test/runtime/diagnose/no-answers.test.ts alone: its limit is the whole machine's.
 */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { linesOf, run, start, synprobe } from "../cli/process.ts";
import { ALL } from "../everyday.ts";
import { firewall, firewallProblem } from "./firewalls.ts";
import {
  BEYOND,
  command,
  createLab,
  FAR,
  inNamespace,
  ip,
  type Lab,
  NEAR,
  NOWHERE,
  SILENT,
  skipping,
} from "./netns.ts";
import { at } from "./probing.ts";
import { until } from "./until.ts";

const IMPATIENT = ["--timeout", "200ms", "--retries", "1"] as const;

describe.skipIf(skipping("silence", firewallProblem()))("a run that nobody answers", () => {
  let lab: Lab;
  beforeEach(() => {
    lab = createLab();
  });
  afterEach(() => lab?.remove());

  /** Codes of the causes, and what standard error says. */
  async function silence(...args: string[]): Promise<{ codes: string[] | undefined; stderr: string }> {
    return told(await run(inNamespace(lab.near, synprobe("-oJ", "-", ...IMPATIENT, ...args))));
  }
  function told({ stdout, stderr }: { stdout: string; stderr: string }) {
    const summary = JSON.parse(linesOf(stdout).at(-1) ?? "");
    return { codes: summary.silence?.map(({ code }: { code: string }) => code), stderr };
  }
  const sysctl = (namespace: string, name: string, value: number): string =>
    command(inNamespace(namespace, ["sysctl", "-qw", `${name}=${value}`]));

  test("everything left, all silent; with an answer it says nothing", async () => {
    const { codes, stderr } = await silence(at(SILENT.ipv4, "1-20"), at(SILENT.ipv6, 80));
    expect(codes).toEqual(["all-silent"]);
    expect(linesOf(stderr)).toEqual([
      expect.stringMatching(
        /^synprobe: nothing answered: all 42 SYNs left through veth0.*the 2 hosts are down/,
      ),
    ]);
    expect(await silence(at(SILENT.ipv4, 80), at(FAR.ipv4, 7))).toEqual({ codes: undefined, stderr: "" });
    // A router's word is an answer.
    expect(await silence(at(BEYOND.unreachable.ipv4, 80))).toEqual({ codes: undefined, stderr: "" });
  });

  test.runIf(ALL)("the table comes first, then the note; a large run has it too", async () => {
    const { stdout, stderr } = await run(
      inNamespace(
        lab.near,
        synprobe(...IMPATIENT, "--max-rate", "100000", "--link", "packet", at(SILENT.ipv4, "1-10000")),
      ),
    );
    expect(stdout).toMatch(/10,000 filtered; 20,000 SYNs sent/);
    expect(stderr).toMatch(
      /^synprobe: nothing answered: all 20,000 SYNs left through veth0, as its counters confirm/,
    );
  });

  test.each(["ipv4", "ipv6"] as const)(
    "neighbours that are not there, and a next hop, over %s",
    async (family) => {
      const nobody = family === "ipv4" ? ["192.0.2.77", "192.0.2.78"] : ["2001:db8::77", "2001:db8::78"];
      const asked = family === "ipv4" ? "ARP" : "neighbour discovery";
      // Our own neighbours are found: they are no targets, and prove nothing.
      await silence(at(FAR[family], 7));
      const link = await silence(...nobody.map((address) => at(address, "80,443")));
      expect(link.codes).toEqual(["neighbour"]);
      expect(link.stderr).toContain(
        `nothing answered: ${nobody[0]} and 1 more do not answer ${asked} on veth0`,
      );
      ip(lab.near, `route add ${NOWHERE[family]} via ${nobody[0]}`);
      const hop = await silence(at(NOWHERE[family], 80));
      expect(hop.codes).toEqual(["neighbour"]);
      expect(hop.stderr).toContain(
        `nothing answered: the next hop ${nobody[0]} on veth0 does not answer ${asked}`,
      );
    },
  );

  test("no carrier", async () => {
    ip(lab.far, "link set veth0 down");
    until(
      () => /NO-CARRIER/.test(command(["ip", "-n", lab.near, "link", "show", "veth0"])),
      "veth0 to lose carrier",
    );
    expect((await silence(at(FAR.ipv4, 7))).codes).toEqual(["interface"]);
  });

  test.runIf(ALL)("a source address that goes away, a route that does", async () => {
    for (const [change, codes, words] of [
      [
        `route replace 198.18.0.0/16 dev lo`,
        ["route"],
        /has changed during the run: it leads through lo now/,
      ],
      [
        `addr del ${NEAR.other4}/24 dev veth0`,
        ["source"],
        /source address 192\.0\.2\.2 is not this machine's any more/,
      ],
    ] as const) {
      const source = codes[0] === "source" ? ["-S", NEAR.other4] : [];
      const running = start(
        inNamespace(
          lab.near,
          synprobe(
            "-oJ",
            "-",
            "--packet-trace",
            "--timeout",
            "1s",
            "--retries",
            "1",
            ...source,
            at(SILENT.ipv4, 80),
          ),
        ),
      );
      await running.until("stderr", /SENT/);
      ip(lab.near, change);
      const found = told(await running.finished);
      expect(found.codes).toEqual(codes);
      expect(found.stderr).toMatch(words);
      if (codes[0] === "route") ip(lab.near, `route replace 198.18.0.0/16 via ${FAR.ipv4}`);
    }
  });

  // send-errors.test.ts waits every day for one that is down.
  test.runIf(ALL)(
    "an interface that goes away: the retry waits half a minute for it, and then it is no result",
    async () => {
      const argv = synprobe("--packet-trace", "--timeout", "1s", "--retries", "1", at(SILENT.ipv4, 80));
      const running = start(inNamespace(lab.near, argv), { limitMs: 60_000 });
      await running.until("stderr", /SENT/);
      ip(lab.near, "link del veth0");
      const { status, stdout, stderr } = await running.finished;
      expect(stderr).toMatch(
        /nothing can be sent any more: for 30 s the kernel has said ENETUNREACH; its route is gone/,
      );
      expect(stdout).not.toMatch(/filtered {2}/);
      expect(status).toBe(5);
    },
    60_000,
  );

  test("firewalls of this machine, out and in", async () => {
    firewall(lab.near, "output", ["tcp dport 80 drop"]);
    const out = await silence(at(FAR.ipv4, 80));
    expect(out.codes).toEqual(["firewall-out"]);
    expect(out.stderr).toMatch(/own firewall refused 8 sends \(EPERM\)/);
    // Which a connect is not told.
    firewall(lab.near, "output", ["tcp dport 80-99 drop"]);
    const unheard = await silence("--link", "connect", at(FAR.ipv4, "80-99"));
    expect(unheard.codes).toEqual(["not-sent"]);
    expect(unheard.stderr).toMatch(/this machine's own firewall, a queueing/);
    command(inNamespace(lab.near, ["nft", "flush", "ruleset"]));
    for (const link of ["raw", "connect"]) {
      for (const family of ["ipv4", "ipv6"] as const) {
        firewall(lab.near, "input", ["tcp sport 80 drop"]);
        expect((await silence("--link", link, at(FAR[family], 80))).codes).toEqual(["firewall-in"]);
        command(inNamespace(lab.near, ["nft", "flush", "ruleset"]));
      }
    }
  });

  test("answers by another address of the host: packets that answer no probe, and not nothing", async () => {
    command(
      inNamespace(lab.far, ["nft", "-f", "-"]),
      `table ip lab {\n chain out {\n type filter hook output priority raw\n tcp sport 7 notrack ip saddr set 192.0.2.99\n }\n}\n`,
    );
    for (const link of ["raw", "packet"]) {
      const { codes, stderr } = await silence("--link", link, at(FAR.ipv4, 7));
      expect(codes).toEqual(["unproved", "all-silent"]);
      expect(stderr).toMatch(/\d packets came that answer no probe of this run/);
      expect(stderr).not.toContain("nothing came back");
    }
    expect((await silence("--link", "connect", at(FAR.ipv4, 7))).stderr).toContain("and no answer came back");
  });

  test("the wrong interface, the wrong source, strict reverse paths, a private address by default", async () => {
    command([
      "ip",
      "link",
      "add",
      "veth1",
      "netns",
      lab.near,
      "type",
      "veth",
      "peer",
      "name",
      "veth1",
      "netns",
      lab.far,
    ]);
    ip(
      lab.near,
      "addr add 198.18.7.1/24 dev veth1",
      "link set veth1 up",
      `route add default via ${FAR.ipv4}`,
    );
    ip(
      lab.far,
      "addr add 198.18.7.10/24 dev veth1",
      "link set veth1 up",
      "route add blackhole 10.0.0.0/8",
      "addr add 198.19.5.1/32 dev lo",
    );
    const up = (namespace: string): boolean =>
      /state UP/.test(command(["ip", "-n", namespace, "link", "show", "veth1"]));
    until(() => up(lab.near) && up(lab.far), "the second pair to come up");

    const byDefault = await silence("10.1.2.3:80");
    expect(byDefault.codes).toEqual(["route", "all-silent"]);
    expect(byDefault.stderr).toMatch(/10\.1\.2\.3 is a private address.*\(veth0, next hop 192\.0\.2\.10\)/);
    ip(lab.near, `route add 10.0.0.0/8 via ${FAR.ipv4} metric 5 mtu 1400`);
    ip(lab.near, `route add 10.0.0.0/8 via 198.18.7.10 metric 1`);
    expect((await silence("10.1.2.3:80")).codes).toEqual(["all-silent"]);

    const through = await silence("-e", "veth0", "10.1.2.3:80");
    expect(through.codes).toEqual(["route", "all-silent"]);
    expect(through.stderr).toContain(
      "-e veth0 is not the way to 10.1.2.3 that the kernel would take, which is through veth1 by next hop 198.18.7.10",
    );
    // A link-local address has no other way than the one that is named, whichever the kernel finds first.
    for (const device of ["veth0", "veth1"]) {
      const linkLocal = await silence("-e", device, "[fe80::99]:80");
      expect(linkLocal.codes, device).toEqual(["neighbour"]);
    }
    const from = await silence("-S", NEAR.ipv4, "10.1.2.3:80");
    expect(from.codes).toEqual(["source", "all-silent"]);

    sysctl(lab.near, "net.ipv4.conf.all.rp_filter", 1);
    sysctl(lab.far, "net.ipv4.conf.all.rp_filter", 0);
    ip(lab.far, `route add ${NEAR.ipv4}/32 via 198.18.7.1 dev veth1`);
    for (const link of ["raw", "packet", "connect"])
      expect((await silence("--link", link, "198.19.5.1:7")).codes).toEqual(["rp-filter"]);
  });

  test("a queueing discipline that keeps everything", async () => {
    command([
      "tc",
      "-n",
      lab.near,
      "qdisc",
      "add",
      "dev",
      "veth0",
      "root",
      "tbf",
      "rate",
      "8bit",
      "burst",
      "1540",
      "limit",
      "100000",
    ]);
    // The first 1540 bytes pass, which are some 25 SYNs.
    const { codes, stderr } = await silence(at(SILENT.ipv4, "1-200"));
    expect(codes).toEqual(["not-sent"]);
    expect(stderr).toMatch(/kernel took \d+ SYNs, but veth0 sent \d+ at most/);
  });
});
