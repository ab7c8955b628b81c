/**
 * Firewalls: what a far one answers with (every ICMP code that it knows), and what a near one does to sending.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { linesOf, run, synprobe } from "../cli/process.ts";
import { schemaErrors } from "../report/schema.ts";
import { firewall, firewallProblem, REJECTING } from "./firewalls.ts";
import { listen } from "./listeners.ts";
import { command, createLab, FAR, FAR_TTL, inNamespace, type Lab, skipping } from "./netns.ts";
import { at, type Found, probe } from "./probing.ts";

const FAMILIES = ["ipv4", "ipv6"] as const;
const RESET = 7301;
const DROPPED = 7302;
/** The near side's own firewall keeps probes for this port from leaving. */
const HELD_BACK = 7303;
const CLOSED = 7304;
/** SYNs that offer time stamps are dropped. */
const CHOOSY = 7305;

describe.skipIf(skipping("firewalls that reject", firewallProblem()))("firewalls", () => {
  let lab: Lab;
  let found: Map<string, Found>;

  beforeAll(async () => {
    lab = createLab();
    // Behind every rule is a listener: "filtered" is the firewall's doing, never a closed port's.
    const ports = [...REJECTING.map(({ port }) => port), RESET, DROPPED, HELD_BACK, CHOOSY];
    await listen(
      lab.far,
      ports.flatMap((port) => FAMILIES.map((family) => ({ host: FAR[family], port }))),
    );
    firewall(lab.far, "input", [
      ...REJECTING.map(({ rule }) => rule),
      `tcp dport ${RESET} reject with tcp reset`,
      `tcp dport ${DROPPED} drop`,
      `tcp dport ${CHOOSY} tcp option timestamp exists drop`,
    ]);
    firewall(lab.near, "output", [`tcp dport ${HELD_BACK} drop`]);
    found = await probe(
      lab.near,
      "--retries=1",
      ...REJECTING.map(({ family, port }) => at(FAR[family], port)),
      ...FAMILIES.map((family) => at(FAR[family], `${RESET},${DROPPED},${HELD_BACK},${CLOSED}`)),
    );
  });

  afterAll(() => lab.remove());

  test.each(REJECTING)("$family, $reject", ({ family, port, reason }) => {
    const result = found.get(at(FAR[family], port));
    expect(result).toMatchObject({ state: "filtered", reason, ttl: FAR_TTL, tries: 1 });
    // The target itself said so: there is no other responder to name.
    expect(result?.responder).toBeUndefined();
    expect(result?.rtt_ms).toBeGreaterThan(0);
  });

  test.each(FAMILIES)("%s, a firewall that forges a reset", (family) => {
    const result = found.get(at(FAR[family], RESET));
    expect(result).toMatchObject({ state: "closed", reason: "reset", tries: 1 });
  });

  test.each(FAMILIES)("%s, a firewall that drops", (family) => {
    const result = found.get(at(FAR[family], DROPPED));
    expect(result).toMatchObject({
      state: "filtered",
      reason: "no-response",
      tries: 2,
      rtt_ms: null,
      ttl: null,
    });
  });

  test.each(FAMILIES)(
    "%s, a firewall that drops what offers time stamps: --why does not call it open beside filtered",
    async (family) => {
      const { stdout } = await run(
        inNamespace(lab.near, synprobe("--why", "--retries", "0", "-oJ", "-", at(FAR[family], CHOOSY))),
      );
      const [result, summary] = linesOf(stdout).map((line) => JSON.parse(line));
      expect(result).toMatchObject({ state: "filtered", reason: "no-response" });
      expect(summary.where).toMatchObject([
        {
          kind: "host",
          text: expect.stringMatching(/answers the walk's SYNs .* --syn minimal tells which\.$/),
        },
      ]);
    },
  );

  test.each(FAMILIES)("%s, a firewall on this side: the refusal is the result", (family) => {
    const result = found.get(at(FAR[family], HELD_BACK));
    expect(result).toMatchObject({
      state: "filtered",
      reason: "send-eperm",
      tries: 0,
      rtt_ms: null,
      ttl: null,
    });
    // Packets of the same batch left nevertheless.
    expect(found.get(at(FAR[family], CLOSED))).toMatchObject({ state: "closed", reason: "reset", tries: 1 });
  });

  test.each(FAMILIES)(
    "%s, a firewall on this side: trace tells its steps, and exits as a scan does",
    async (family) => {
      const folder = mkdtempSync(join(tmpdir(), "synprobe-firewall-"));
      const file = join(folder, "trace.pcapng");
      const argv = synprobe("trace", "--json", "--why", "--pcap", file, at(FAR[family], HELD_BACK));
      const { status, stdout, stderr } = await run(inNamespace(lab.near, argv));
      // What was refused is in no capture.
      expect(readFileSync(file, "latin1")).toMatch(/synprobe(?![\s\S]*step 5)/);
      rmSync(folder, { recursive: true });
      const told = JSON.parse(stdout);
      expect(told).toMatchObject({ state: "filtered", reason: "send-eperm", interrupted: false });
      const refused = { direction: "refused", error: "EPERM", step: 5 };
      expect(told.packets).toMatchObject([refused, refused]);
      expect(told.steps).toHaveLength(10);
      expect(told.where).toMatchObject({ kind: "rejected", from: 0, to: 0 });
      expect(stderr).toContain("nothing could be sent: the kernel says EPERM");
      expect(status).toBe(4);
    },
  );

  test("a firewall on this side that limits new connections hides no port from a scan, a walk or trace", async () => {
    const limited = 7400;
    const ports = `${limited}-${limited + 2}`;
    const rule = `tcp dport ${ports} ip daddr ${FAR.ipv4} limit rate over 20/second burst 1 packets drop`;
    command(
      inNamespace(lab.near, ["nft", "-f", "-"]),
      `add table inet few
add chain inet few o { type filter hook output priority 0; }
add rule inet few o ${rule}
`,
    );
    try {
      const { stdout } = await run(inNamespace(lab.near, synprobe("path", at(FAR.ipv4, ports))));
      expect(stdout).toMatch(/^740\d.* (is|are) closed \(reset\)\./m);
      expect(stdout).toMatch(/ This machine refused \d+ of \d+ SYNs( of each)? \(send-eperm\), as where/);
      expect(stdout).not.toContain("filtered");
      const scan = await run(inNamespace(lab.near, synprobe("-oJ", "-", at(FAR.ipv4, ports))));
      const states = linesOf(scan.stdout).flatMap((line) => JSON.parse(line).state ?? []);
      expect(states).toEqual(["closed", "closed", "closed"]);
      // Of two SYNs at once it has room for one.
      const [first, second] = await Promise.all(
        [limited, limited + 1].map((port) =>
          run(inNamespace(lab.near, synprobe("trace", "--json", at(FAR.ipv4, port)))),
        ),
      );
      for (const { stdout } of [first, second]) expect(JSON.parse(stdout).state).toBe("closed");
    } finally {
      command(inNamespace(lab.near, ["nft", "delete", "table", "inet", "few"]));
    }
  });

  test("a firewall on this side that holds all back: path exits as a scan does", async () => {
    const argv = synprobe("path", at(FAR.ipv4, HELD_BACK));
    const { status, stdout, stderr } = await run(inNamespace(lab.near, argv));
    expect(stdout).toMatch(
      /is filtered by this machine, which refuses to send its SYNs: send-eperm\.\n0 SYNs/,
    );
    expect(stderr).toContain("nothing could be sent: the kernel says EPERM");
    expect(status).toBe(4);
  });

  test("a firewall on this side: path says so, and --why, which ends as any run does", async () => {
    const target = at(FAR.ipv4, `${HELD_BACK},${CLOSED}`);
    const near = (...args: string[]) => run(inNamespace(lab.near, synprobe(...args, target)));
    const [path, why] = await Promise.all([near("path", "--json"), near("--why", "-oJ", "-")]);
    const where = { kind: "rejected", from: 0, to: 0 };
    expect(JSON.parse(path.stdout).ports).toMatchObject([
      { port: HELD_BACK, state: "filtered", reason: "send-eperm", where },
      { port: CLOSED, state: "closed" },
    ]);
    const summary = JSON.parse(linesOf(why.stdout).at(-1) ?? "");
    expect(summary).toMatchObject({ type: "summary", where: [{ port: HELD_BACK, ...where }] });
    expect(schemaErrors(why.stdout)).toEqual([]);
    expect([path.status, why.status]).toEqual([0, 0]);
  });

  test("a firewall on this side, that a scan's frames pass by: --why does not say that it filters them", async () => {
    firewall(lab.far, "input", [`tcp dport ${HELD_BACK} drop`]);
    const argv = synprobe("--link", "packet", "--why", "-oJ", "-", at(FAR.ipv4, `${HELD_BACK},${CLOSED}`));
    const { stdout } = await run(inNamespace(lab.near, argv));
    const { where } = JSON.parse(linesOf(stdout).at(-1) ?? "");
    expect(where).toMatchObject([{ port: HELD_BACK, kind: "unknown", from: 0 }]);
    expect(where[0].text).toMatch(/is not known: this machine's own firewall refuses the walk's SYNs/);
  });

  // Of fewer ports what was lost may be chance, on a machine that is busy and so sends more slowly.
  test("a limit of RSTs: the host is named, with about its number", async () => {
    firewall(lab.far, "output", [
      "tcp flags & rst == rst tcp sport 8001-8300 limit rate over 100/second burst 5 packets drop",
    ]);
    const { stdout } = await run(inNamespace(lab.near, synprobe("-oJ", "-", at(FAR.ipv4, "8001-8300"))));
    const { rst_limited: limited } = JSON.parse(linesOf(stdout).at(-1) ?? "");
    expect(limited).toEqual([{ ip: FAR.ipv4, per_second: expect.any(Number) }]);
    expect(limited[0].per_second).toBeGreaterThan(40);
    expect(limited[0].per_second).toBeLessThan(200);
  });
});
