/**
 * Options that shape the probe or its way, seen on the wire: `--packet-trace` shows what leaves and what comes back. And
 * this machine as its own target.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { listen } from "../lab/listeners.ts";
import { createLab, FAR, inNamespace, type Lab, labProblem, NEAR, SILENT, skipping } from "../lab/netns.ts";
import { at, resultsOf } from "../lab/probing.ts";
import { linesOf, run, synprobe } from "./process.ts";

const OPEN = 7001;

describe.skipIf(skipping("options seen on the wire", labProblem()))("on the wire", () => {
  let lab: Lab;

  beforeAll(async () => {
    lab = createLab();
    const both = (namespace: string, hosts: readonly string[]): Promise<void> =>
      listen(
        namespace,
        hosts.map((host) => ({ host, port: OPEN })),
      );
    await Promise.all([both(lab.far, Object.values(FAR)), both(lab.near, ["0.0.0.0", "::"])]);
  });

  afterAll(() => lab.remove());

  /** The lines of the trace that begin with a label, without label and time. */
  async function trace(label: "SENT" | "RCVD", ...args: string[]): Promise<string[]> {
    const finished = await run(inNamespace(lab.near, synprobe("--packet-trace", ...args)));
    expect(finished.status).toBe(0);
    return linesOf(finished.stderr).flatMap((line) => {
      const [, which, packet] = /^(\w+) \(\d+\.\d{6}s\) (.*)$/.exec(line) ?? [];
      return which === label && packet !== undefined ? [packet] : [];
    });
  }

  test("--packet-trace shows each packet, sent and received", async () => {
    const args = ["--packet-trace", at(FAR.ipv4, OPEN)];
    const { stderr } = await run(inNamespace(lab.near, synprobe(...args)));
    const [sent, received, ...rest] = linesOf(stderr);
    expect(sent).toMatch(
      /^SENT \(\d\.\d{6}s\) 192\.0\.2\.1:(\d+) > 192\.0\.2\.10:7001 TCP SYN seq=\d+ win=64240 <mss 1460, sack-permitted, ts \d+ 0, nop, wscale 7> ttl=64 len=60$/,
    );
    const [, port, sequence] = /:(\d+) > .* seq=(\d+)/.exec(sent ?? "") ?? [];
    expect(received).toMatch(
      new RegExp(
        `^RCVD \\(.*s\\) 192\\.0\\.2\\.10:7001 > 192\\.0\\.2\\.1:${port} TCP SYN,?ACK seq=\\d+ ` +
          `ack=${(Number(sequence) + 1) % 2 ** 32} win=\\d+ <mss .*> ttl=61 len=60$`,
      ),
    );
    expect(rest).toEqual([]);
  });

  test.each([
    ["-g", "53"],
    ["--source-port", "61234"],
  ])("%s %s: every SYN leaves from it, retransmissions too", async (option, port) => {
    const args = ["--retries=1", "--timeout=200", at(FAR.ipv4, OPEN), at(FAR.ipv6, OPEN), at(SILENT.ipv4, 1)];
    const sent = await trace("SENT", option, port, ...args);
    expect(sent).toHaveLength(4);
    for (const packet of sent) expect(packet).toMatch(new RegExp(`:${port} > `));
  });

  test("without -g source ports are drawn: few SYNs share one, and none tells the next", async () => {
    const sent = await trace("SENT", "-p1-200", FAR.ipv4);
    const ports = sent.map((packet) => Number(/:(\d+) > /.exec(packet)?.[1]));
    expect(new Set(ports).size).toBeGreaterThan(180);
    expect(new Set(ports.slice(1).map((port, i) => port - ports[i])).size).toBeGreaterThan(150);
  });

  test.each([["1"], ["37"], ["255"]])("--ttl %s", async (ttl) => {
    const targets = [at(FAR.ipv4, OPEN), at(FAR.ipv6, OPEN)];
    const [four, six] = await trace("SENT", "--sequential", "--ttl", ttl, ...targets);
    expect(four).toMatch(new RegExp(` ttl=${ttl} `));
    expect(six).toMatch(new RegExp(` hlim=${ttl} `));
  });

  test("-S: the packets carry it, and the answers come back to it", async () => {
    const args = ["-S", NEAR.other4, at(FAR.ipv4, OPEN), at(FAR.ipv4, 1)];
    const sent = await trace("SENT", ...args);
    expect(sent).toHaveLength(2);
    for (const packet of sent) expect(packet.startsWith(`${NEAR.other4}:`)).toBe(true);
  });

  test("-e: through the interface that is named, and through no other", async () => {
    const through = (device: string, target: string) =>
      run(
        inNamespace(lab.near, synprobe("-oJ", "-", "-e", device, "--retries=0", "--timeout=200", target)),
      ).then(({ stdout }) => resultsOf(stdout).get(target)?.state);
    expect(await through("veth0", at(FAR.ipv4, OPEN))).toBe("open");
    expect(await through("lo", at("127.0.0.1", OPEN))).toBe("open");
    expect(await through("lo", at(FAR.ipv4, OPEN))).toBe("filtered");
  });

  test("--retries and --timeout: as many SYNs as asked for, as far apart", async () => {
    const args = ["--packet-trace", "--confidence=1", "--retries=3", "--timeout=150", at(SILENT.ipv4, 1)];
    const { stderr } = await run(inNamespace(lab.near, synprobe(...args)));
    const sent = linesOf(stderr).filter((line) => line.startsWith("SENT"));
    const times = sent.map((line) => Number(/\((.*)s\)/.exec(line)?.[1]));
    expect(times).toHaveLength(4);
    // The time is taken when the SYN has left, and on a busy machine a little later.
    for (let i = 1; i < times.length; i++) {
      expect((times[i] ?? 0) - (times[i - 1] ?? 0)).toBeGreaterThanOrEqual(0.14);
    }
  });

  test("a run of SYNs keeps to --max-rate", async () => {
    const args = ["--packet-trace", "--max-rate=100", "-p1-60", FAR.ipv4];
    const { stderr } = await run(inNamespace(lab.near, synprobe(...args)));
    const times = linesOf(stderr).flatMap((line) =>
      line.startsWith("SENT") ? [Number(/\((.*)s\)/.exec(line)?.[1])] : [],
    );
    // Sixteen may go at once; the others one every hundredth of a second.
    expect((times.at(-1) ?? 0) - (times[0] ?? 0)).toBeGreaterThan(0.4);
  });

  test.each([
    ["loopback", "127.0.0.1", "127.0.0.1"],
    ["the rest of loopback", "127.1.2.3", "127.0.0.1"],
    ["IPv6 loopback", "::1", "::1"],
    ["an own address", NEAR.ipv4, NEAR.ipv4],
    ["another own address", NEAR.other4, NEAR.ipv4],
    ["an own IPv6 address", NEAR.ipv6, NEAR.ipv6],
  ])("%s: the probe's own echo is no answer", async (_what, target, source) => {
    const args = ["-oJ", "-", "--packet-trace", at(target, OPEN), at(target, 1)];
    const { status, stdout, stderr } = await run(inNamespace(lab.near, synprobe(...args)));
    expect(status).toBe(0);
    const results = resultsOf(stdout);
    expect(results.get(at(target, OPEN))).toMatchObject({ state: "open", reason: "syn-ack", tries: 1 });
    expect(results.get(at(target, 1))).toMatchObject({ state: "closed", reason: "reset", tries: 1 });
    const sent = linesOf(stderr).filter((line) => line.startsWith("SENT"));
    expect(sent).toHaveLength(2);
    for (const line of sent) expect(line).toContain(`) ${source.includes(":") ? `[${source}]` : source}:`);
  });

  test("a source port equal to the target's, on this machine itself: still no answer of its own", async () => {
    const args = ["-oJ", "-", "--retries=0", "--timeout=300", "-g", "7009", at("127.0.0.1", 7009)];
    const { stdout } = await run(inNamespace(lab.near, synprobe(...args)));
    const state = resultsOf(stdout).get(at("127.0.0.1", 7009))?.state;
    expect(state).not.toBe("open");
  });
});
