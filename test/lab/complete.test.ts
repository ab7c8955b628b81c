/** `--complete` and `--banner` against real kernels: handshakes finished, closed, and nothing left behind. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { withCapabilities } from "../cli/identity.ts";
import { linesOf, run, start, synprobe } from "../cli/process.ts";
import { listen } from "./listeners.ts";
import {
  command,
  createLab,
  FAR,
  inNamespace,
  ip,
  type Lab,
  labProblem,
  NEAR,
  SILENT,
  skipping,
} from "./netns.ts";
import { at } from "./probing.ts";
import { rules, SERVICES, serve } from "./services.ts";
import { until } from "./until.ts";

interface Completed {
  readonly type?: string;
  readonly ip: string;
  readonly port: number;
  readonly state: string;
  readonly established_ms?: number;
  readonly ending?: string;
  readonly banner?: string;
}

const NAMES = new Map(Object.entries(SERVICES).map(([name, port]) => [port as number, name]));
const PORTS = Object.values(SERVICES).join(",");

/** Connections of the far side's kernel with the near side, TIME-WAIT aside. */
const connections = (namespace: string): string[] =>
  command(inNamespace(namespace, ["ss", "-Htn", "state", "connected", "exclude", "time-wait"]))
    .split("\n")
    .filter((line) => line !== "");

describe.skipIf(skipping("completed handshakes", labProblem()))("completed handshakes", () => {
  let lab: Lab;
  beforeAll(async () => {
    lab = createLab();
    await serve(lab.far);
  });
  afterAll(() => lab?.remove());

  async function complete(...args: string[]): Promise<Map<string, Completed>> {
    const { status, stdout, stderr } = await run(inNamespace(lab.near, synprobe("-oJ", "-", ...args)));
    expect(stderr).toBe("");
    expect(status).toBe(0);
    return new Map(
      linesOf(stdout)
        .map((line) => JSON.parse(line) as Completed)
        .filter(({ type }) => type === "result")
        .map((record) => [
          `${record.ip.includes(":") ? 6 : 4} ${NAMES.get(record.port) ?? record.port}`,
          record,
        ]),
    );
  }

  it("are finished, told apart by what the server does, and closed, over IPv4 and IPv6", async () => {
    const found = await complete(at(FAR.ipv4, `${PORTS},2299`), at(FAR.ipv6, PORTS), "--banner", "400");
    for (const family of [4, 6]) {
      const endings = Object.fromEntries(
        Object.keys(SERVICES).map((name) => [name, found.get(`${family} ${name}`)?.ending]),
      );
      expect(endings).toEqual({
        speaks: "fin",
        quiet: "fin",
        closes: "fin",
        keeps: "no-fin",
        resets: "reset",
        hostile: "fin",
        endless: "no-fin",
      });
      expect(found.get(`${family} speaks`)?.banner).toBe("SSH-2.0-lab\\r\\n");
      expect(found.get(`${family} quiet`)?.banner).toBeUndefined();
      const hostile = found.get(`${family} hostile`)?.banner ?? "";
      expect(hostile).toMatch(/^\\x1b\[2J\\xe2\\x80\\xae\\x00A+$/);
      expect(hostile.length).toBeLessThanOrEqual(1100);
      expect(found.get(`${family} quiet`)?.established_ms).toBeGreaterThan(0);
    }
    expect(found.get("4 2299")).toMatchObject({ state: "closed" });
    expect(found.get("4 2299")?.ending).toBeUndefined();
    expect(rules(lab.near)).toEqual([]);
    until(() => connections(lab.far).length === 0, "every connection to be gone from the far side");
  });

  it("are not for downloading: a peer that never stops is reset after a few kilobytes", async () => {
    for (const option of ["--complete", "--banner=2s"]) {
      const { status, stdout } = await run(
        inNamespace(lab.near, synprobe("-oJ", "-", option, at(FAR.ipv4, SERVICES.endless))),
      );
      expect(status).toBe(0);
      const records = linesOf(stdout).map((line) => JSON.parse(line));
      const [record, summary] = [records[0], records.at(-1)];
      expect(record).toMatchObject({ state: "open", ending: "no-fin" });
      // At most a few segments more than 16 KiB in pieces of 536 bytes.
      expect(summary.received).toBeGreaterThan(2);
      expect(summary.received).toBeLessThan(100);
    }
    until(() => connections(lab.far).length === 0, "the connection to be gone from the far side");
  });

  it("announce no more than comes in through this machine's own link, or its route", async () => {
    // A veth drops what is longer than its MTU; a route's binds our side alone.
    for (const [way, mtu] of [
      ["link set veth0", 600],
      [`route replace ${FAR.ipv4} dev veth0`, 1000],
    ] as const) {
      ip(lab.near, `${way} mtu ${mtu}`);
      const args = ["--packet-trace", "-oJ", "-", at(FAR.ipv4, SERVICES.endless), "--banner=2s"];
      const { stdout, stderr } = await run(inNamespace(lab.near, synprobe(...args)));
      expect(linesOf(stdout).map((line) => JSON.parse(line))[0]).toMatchObject({
        ending: "no-fin",
        banner: expect.stringMatching(/./),
      });
      expect(stderr).toContain(`mss ${mtu - 40}`);
      ip(lab.near, way.startsWith("link") ? "link set veth0 mtu 1500" : `route del ${FAR.ipv4}`);
    }
    until(() => connections(lab.far).length === 0, "the connections to be gone from the far side");
  });

  it("leave alone the ports that this machine uses itself", async () => {
    const port = 61_116;
    await listen(lab.near, [{ host: NEAR.ipv4, port }]);
    const running = start(
      inNamespace(lab.near, synprobe(at(SILENT.ipv4, 80), "--complete", "--timeout", "60s", "-v")),
    );
    await running.until("stderr", /privileges dropped/);
    const [rule = ""] = rules(lab.near);
    const [, first, last] = (/sport (\d+)-(\d+)/.exec(rule) ?? []).map(Number);
    expect(first).toBeGreaterThan(61_000);
    expect(port < first || port > last).toBe(true);
    running.kill("SIGINT");
    await running.finished;
  });

  it("are seen as established by the server's kernel while a banner is waited for", async () => {
    const running = start(
      inNamespace(lab.near, synprobe("-oJ", "-", at(FAR.ipv4, SERVICES.quiet), "--banner", "5s")),
    );
    until(
      () =>
        connections(lab.far).some((line) => line.startsWith("ESTAB") && line.includes(`:${SERVICES.quiet}`)),
      "ESTAB on the far side",
    );
    expect(rules(lab.near)).toHaveLength(1);
    running.kill("SIGINT");
    const { status, stdout } = await running.finished;
    expect(status).toBe(130);
    // What was found is not lost, and the peer is not left hanging.
    expect(stdout).toContain('"state":"open"');
    until(() => connections(lab.far).length === 0, "the connection to be gone from the far side");
    expect(rules(lab.near)).toEqual([]);
  });

  it("two hundred at once", async () => {
    const many = Array.from({ length: 200 }, () => SERVICES.quiet);
    // One address, one port would be one pair: the far side owns a block of addresses instead.
    command(["ip", "-n", lab.far, "route", "add", "local", "198.18.2.0/24", "dev", "lo"]);
    const targets = many.map((port, i) => at(`198.18.2.${i + 1}`, port));
    const { status, stdout } = await run(
      inNamespace(lab.near, synprobe("-oJ", "-", "--complete", ...targets)),
    );
    expect(status).toBe(0);
    const endings = linesOf(stdout).map((line) => (JSON.parse(line) as Completed).ending);
    expect(endings.filter((ending) => ending === "fin")).toHaveLength(200);
    until(() => connections(lab.far).length === 0, "every connection to be gone from the far side");
  });

  it("more than fit at once, each in its turn", async () => {
    const ports = [SERVICES.speaks, SERVICES.quiet, SERVICES.closes, SERVICES.resets, SERVICES.hostile];
    const targets = Array.from({ length: 250 }, (_, i) => at(`198.18.2.${i + 1}`, ports.join(",")));
    const { status, stdout } = await run(
      inNamespace(lab.near, synprobe("-oJ", "-", "--complete", "--max-rate", "5000", ...targets)),
    );
    expect(status).toBe(0);
    const records = linesOf(stdout).map((line) => JSON.parse(line) as Completed);
    const open = records.filter(({ state }) => state === "open");
    expect(open).toHaveLength(1250);
    expect(open.filter(({ ending }) => ending === undefined)).toEqual([]);
    until(() => connections(lab.far).length === 0, "every connection to be gone from the far side");
  });

  it("are all ended when the run is interrupted, however many there are", async () => {
    const targets = Array.from({ length: 250 }, (_, i) => at(`198.18.2.${i + 1}`, SERVICES.quiet));
    const running = start(inNamespace(lab.near, synprobe("-oJ", "-", "--banner", "60s", ...targets)));
    until(() => connections(lab.far).length === 250, "250 connections on the far side");
    running.kill("SIGINT");
    const { status, stdout } = await running.finished;
    expect(status).toBe(130);
    expect(linesOf(stdout).filter((line) => line.includes('"state":"open"'))).toHaveLength(250);
    until(() => connections(lab.far).length === 0, "every connection to be gone from the far side");
  });

  it("are not tried with this machine's own addresses, and that is said", async () => {
    const { status, stdout, stderr } = await run(
      inNamespace(
        lab.near,
        synprobe("-oJ", "-", "--complete", at(NEAR.ipv4, 1), at(FAR.ipv4, SERVICES.closes)),
      ),
    );
    expect(status).toBe(0);
    expect(stderr).toMatch(/this machine's own addresses/);
    expect(stdout).toMatch(/"ending":"fin"/);
  });

  it("need CAP_NET_ADMIN, and say so", async () => {
    const { status, stderr, stdout } = await run(
      withCapabilities(lab.near, "+net_raw", synprobe(at(FAR.ipv4, SERVICES.closes), "--complete")),
    );
    expect([status, stdout]).toEqual([3, ""]);
    expect(stderr).toMatch(/CAP_NET_ADMIN/);
    expect(rules(lab.near)).toEqual([]);
  });

  it("keep CAP_NET_ADMIN and nothing else until the rule is gone", async () => {
    const running = start(
      inNamespace(lab.near, synprobe(at(SILENT.ipv4, 80), "--complete", "--timeout", "60s", "-v")),
    );
    await running.until("stderr", /privileges dropped/);
    const status = command(["cat", `/proc/${running.pid}/status`]);
    expect(/CapEff:\s*(\S+)/.exec(status)?.[1]).toBe("0000000000001000");
    expect(/CapPrm:\s*(\S+)/.exec(status)?.[1]).toBe("0000000000001000");
    running.kill("SIGINT");
    expect((await running.finished).status).toBe(130);
    expect(rules(lab.near)).toEqual([]);
  });

  it("a rule that kill -9 leaves is swept by the next run, but not while its owner lives", async () => {
    const killed = start(
      inNamespace(lab.near, synprobe(at(SILENT.ipv4, 80), "--complete", "--timeout", "60s", "-v")),
    );
    await killed.until("stderr", /privileges dropped/);
    const [own] = rules(lab.near);
    expect(own).toBeDefined();
    const other = await run(inNamespace(lab.near, synprobe(at(FAR.ipv4, SERVICES.closes), "--complete")));
    expect(other.status).toBe(0);
    expect(rules(lab.near)).toEqual([own]);
    killed.kill("SIGKILL");
    await killed.finished;
    expect(rules(lab.near)).toEqual([own]);
    const told = await run(inNamespace(lab.near, synprobe("doctor")));
    expect(told.stdout).toMatch(/warn {2}leftovers .* \d+-\d+/);
    expect(rules(lab.near)).toEqual([own]);
    const next = await run(inNamespace(lab.near, synprobe(at(FAR.ipv4, SERVICES.closes), "--complete")));
    expect(next.status).toBe(0);
    expect(rules(lab.near)).toEqual([]);
  });

  it("and by doctor --fix", async () => {
    const killed = start(
      inNamespace(lab.near, synprobe(at(SILENT.ipv4, 80), "--complete", "--timeout", "60s", "-v")),
    );
    await killed.until("stderr", /privileges dropped/);
    // Not while its owner lives.
    expect((await run(inNamespace(lab.near, synprobe("doctor", "--fix")))).stdout).not.toMatch(/leftovers/);
    expect(rules(lab.near)).toHaveLength(1);
    killed.kill("SIGKILL");
    await killed.finished;
    const fixed = await run(inNamespace(lab.near, synprobe("doctor", "--fix")));
    expect(fixed.stdout).toMatch(/ok {4}leftovers +removed/);
    expect(rules(lab.near)).toEqual([]);
  });
});
