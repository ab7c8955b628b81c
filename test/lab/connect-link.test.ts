/**
 * `--link connect`, and `auto` without CAP_NET_RAW, as an ordinary user without any capability against real kernels: what is found and
 * how it is worded, that each SYN on the wire is one of the run's own, that no connection stays, and that few descriptors are enough.
 */
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AS_USER, type Stage, setStage, userProblem } from "../cli/identity.ts";
import { type Finished, linesOf, run, withFiles } from "../cli/process.ts";
import { everyday } from "../everyday.ts";
import { listen } from "./listeners.ts";
import {
  BEYOND,
  command,
  createLab,
  FAR,
  inNamespace,
  type Lab,
  labProblem,
  NEAR,
  SILENT,
  skipping,
} from "./netns.ts";
import { at, type Found, resultsOf } from "./probing.ts";
import { SERVICES, serve } from "./services.ts";

interface Connected extends Found {
  readonly method?: string;
  readonly ending?: string;
  readonly banner?: string;
}

const CONNECTOR_RUN = fileURLToPath(new URL("connector-run.ts", import.meta.url));
const OPEN = 2299;
/** One of those that the kernel gives to its own connections. */
const FROM_HERE = 40_000;

describe.skipIf(skipping("--link connect", labProblem() ?? userProblem()))("--link connect", () => {
  let lab: Lab;
  let stage: Stage;
  /** Those that wait for silence or for peers, begun beside the others. */
  let silence: ReturnType<typeof probeSilence>;
  let completed: ReturnType<typeof probe>;
  beforeAll(async () => {
    lab = createLab();
    stage = setStage(lab.near);
    await Promise.all([
      serve(lab.far),
      listen(lab.far, [
        { host: FAR.ipv4, port: OPEN },
        { host: FAR.ipv6, port: OPEN },
      ]),
      listen(lab.near, [
        { host: "127.0.0.1", port: OPEN },
        { host: NEAR.ipv4, port: OPEN },
        { host: "127.0.0.1", port: FROM_HERE },
      ]),
    ]);
    // Hosts of the far side's: all closed but one port.
    command(["ip", "-n", lab.far, "route", "add", "local", "198.18.2.0/24", "dev", "lo"]);
  });
  beforeAll(() => {
    silence = probeSilence();
    const ports = Object.values(SERVICES).join(",");
    completed = probe(at(FAR.ipv4, ports), at(FAR.ipv6, ports), at(NEAR.ipv4, OPEN), "--banner", "400");
    for (const each of [silence, completed]) each.catch(() => {});
  });
  afterAll(() => {
    stage?.remove();
    lab?.remove();
  });

  /** Runs it as an ordinary user. @param files how many it may have open beside those of Node itself */
  const asUser = (args: readonly string[], files = 1024, prefix: readonly string[] = []): Promise<Finished> =>
    run(stage.as([...prefix, ...AS_USER], withFiles(files, [process.execPath, stage.main, ...args])));

  async function probe(...args: string[]): Promise<Map<string, Connected>> {
    const { status, stdout, stderr } = await asUser(["-oJ", "-", "--link", "connect", ...args]);
    expect([status, stderr]).toEqual([0, ""]);
    return resultsOf(stdout) as Map<string, Connected>;
  }

  /** Probes a silent host. @returns what was said, and how many SYNs left */
  async function probeSilence(): Promise<{ stdout: string; counted: number }> {
    const nft = (words: string): string => command(inNamespace(lab.near, ["nft", ...words.split(" ")]));
    nft("add table inet synprobe");
    nft("add chain inet synprobe sent { type filter hook output priority 0 ; }");
    nft(`add rule inet synprobe sent ip daddr ${SILENT.ipv4} tcp flags syn counter`);
    const retries = everyday("1", "10");
    const args = ["-oJ", "-", "-sT", "--no-controls", "--retries", retries, at(SILENT.ipv4, "1-40")];
    // A process that is kept waiting for a processor would be late.
    const { stdout } = await asUser(args, undefined, ["chrt", "-f", "10"]);
    const counted = Number(/counter packets (\d+)/.exec(nft("list table inet synprobe"))?.[1]);
    nft("delete table inet synprobe");
    return { stdout, counted };
  }

  /** Connections with hosts of 198.18.2.0/24, as a side's kernel has them. */
  const connections = (namespace: string): string[] =>
    linesOf(command(inNamespace(namespace, ["ss", "-Htn", "state", "connected"]))).filter((line) =>
      line.includes("198.18.2."),
    );

  it("is what auto comes to without CAP_NET_RAW, which one line says; every other link is refused", async () => {
    const target = at(FAR.ipv4, `${OPEN},1`);
    const { status, stdout, stderr } = await asUser(["-oJ", "-", target]);
    expect(status).toBe(0);
    expect(linesOf(stderr)).toHaveLength(1);
    expect(stderr).toMatch(/CAP_NET_RAW.*connects.*sudo .*synprobe.* 192\.0\.2\.10:2299,1$/m);
    const found = resultsOf(stdout);
    expect(found.get(at(FAR.ipv4, OPEN))).toMatchObject({
      state: "open",
      reason: "syn-ack",
      method: "connect",
    });
    const refused = await Promise.all(
      [["--link", "raw"], ["-sS"], ["-g", "50000"], ["--packet-trace"]].map((args) =>
        asUser([...args, target]),
      ),
    );
    expect(refused.map(({ status: each, stdout: printed }) => [each, printed])).toEqual(
      refused.map(() => [3, ""]),
    );
    const useless = await asUser(["-sT", "-g", "50000", target]);
    expect([useless.status, useless.stderr]).toEqual([
      2,
      "synprobe: with --link connect the kernel chooses the source ports: drop -g\n",
    ]);
  });

  it("says what each port is and why, as nmap's -sT does, and who said so", async () => {
    const found = await probe(
      ...[FAR.ipv4, FAR.ipv6].map((ip) => at(ip, `${OPEN},1`)),
      ...(["ipv4", "ipv6"] as const).flatMap((family) => [
        at(BEYOND.unreachable[family], 80),
        at(BEYOND.prohibit[family], 80),
        at(BEYOND.none[family], 80),
      ]),
      ...["127.0.0.1", NEAR.ipv4, "::1"].map((ip) => at(ip, `${OPEN},1`)),
    );
    const told = Object.fromEntries(
      [...found].map(([target, { state, reason, responder }]) => [
        target,
        [state, reason, ...(responder === undefined ? [] : [responder])].join(" "),
      ]),
    );
    expect(told).toEqual({
      [at(FAR.ipv4, OPEN)]: "open syn-ack",
      [at(FAR.ipv4, 1)]: "closed conn-refused",
      [at(FAR.ipv6, OPEN)]: "open syn-ack",
      [at(FAR.ipv6, 1)]: "closed conn-refused",
      [at(BEYOND.unreachable.ipv4, 80)]: `filtered host-unreach ${FAR.ipv4}`,
      [at(BEYOND.unreachable.ipv6, 80)]: `filtered no-route ${FAR.ipv6}`,
      [at(BEYOND.prohibit.ipv4, 80)]: `filtered admin-prohibited ${FAR.ipv4}`,
      [at(BEYOND.prohibit.ipv6, 80)]: `filtered admin-prohibited ${FAR.ipv6}`,
      [at(BEYOND.none.ipv4, 80)]: `filtered net-unreach ${FAR.ipv4}`,
      [at(BEYOND.none.ipv6, 80)]: `filtered no-route ${FAR.ipv6}`,
      [at("127.0.0.1", OPEN)]: "open syn-ack",
      [at("127.0.0.1", 1)]: "closed conn-refused",
      [at(NEAR.ipv4, OPEN)]: "open syn-ack",
      [at(NEAR.ipv4, 1)]: "closed conn-refused",
      [at("::1", OPEN)]: "closed conn-refused",
      [at("::1", 1)]: "closed conn-refused",
    });
    for (const each of found.values()) {
      expect([each.ttl, each.method]).toEqual([null, "connect"]);
      // Nobody waited for the kernel's own retransmission, which comes after a second.
      expect(each.rtt_ms).toBeLessThan(900);
    }
  });

  it.each(everyday(["ipv4"] as const, ["ipv4", "ipv6"] as const))(
    "does not take what an ended connect came to for the next one's (%s)",
    async (version) => {
      // SYNs to the silent host are counted.
      await silence;
      const { unreachable, blackhole } = BEYOND;
      const addresses = [unreachable[version], blackhole[version], FAR[version]];
      const argv = [process.execPath, "--import", "tsx", CONNECTOR_RUN, ...addresses, String(OPEN)];
      const { status, stdout, stderr } = await run(inNamespace(lab.near, argv));
      expect([status, stderr]).toEqual([0, ""]);
      expect(JSON.parse(stdout)).toEqual({ silent: [], open: ["connected"] });
    },
  );

  it("sends no SYN but the run's own: the kernel's retransmissions never leave", async () => {
    const { stdout, counted } = await silence;
    const { sent, retransmitted } = JSON.parse(linesOf(stdout).at(-1) ?? "");
    expect(retransmitted).toBeGreaterThan(0);
    expect(counted).toBe(sent);
  });

  it("is never connected to itself, on ports that the kernel gives to its own connections", async () => {
    const range = "/proc/sys/net/ipv4/ip_local_port_range";
    const setRange = (first: number, last: number): string =>
      command(inNamespace(lab.near, ["sh", "-c", `echo ${first} ${last} > ${range}`]));
    // Of 32 ports one connect in 32 would meet itself.
    const [first, last] = [FROM_HERE - 1, FROM_HERE + 30];
    setRange(first, last);
    try {
      const runs = Array.from({ length: everyday(4, 40) }, () => probe(at("127.0.0.1", `${first}-${last}`)));
      for (const found of await Promise.all(runs)) {
        const open = [...found.values()].filter(({ state }) => state === "open");
        expect(open.map(({ port }) => port)).toEqual([FROM_HERE]);
        expect(found.size).toBe(32);
      }
    } finally {
      setRange(32_768, 60_999);
    }
  });

  it("leaves nothing behind: each connection is reset at once", async () => {
    const targets = Array.from({ length: 50 }, (_, i) => at(`198.18.2.${i + 1}`, SERVICES.quiet));
    const found = await probe(...targets);
    expect([...found.values()].filter(({ state }) => state === "open")).toHaveLength(50);
    expect([...connections(lab.near), ...connections(lab.far)]).toEqual([]);
  });

  it("is told as nmap's connect scan in XML", async () => {
    const { stdout } = await asUser(["-oX", "-", "-sT", at(FAR.ipv4, 1)]);
    expect(stdout).toContain('<scaninfo type="connect" protocol="tcp" numservices="1" services="1"/>');
    expect(stdout).toContain('<state state="closed" reason="conn-refused" reason_ttl="0"/>');
    expect(stdout).toContain('<status state="up" reason="conn-refused" reason_ttl="0"/>');
  });

  it("goes on with a few dozen descriptors, which journal and outputs share, and loses nothing", async () => {
    const ports = everyday("2201,1-49", "2201,1-399");
    const args = ["-oJ", "-", "-sT", "--show", "open", "198.18.2.0/24", "-p", ports];
    const { status, stdout, stderr } = await asUser(args, 46);
    expect([status, stderr]).toEqual([0, ""]);
    const pairs = 256 * everyday(50, 400);
    expect(JSON.parse(linesOf(stdout).at(-1) ?? "")).toMatchObject({
      open: 256,
      closed: pairs - 256,
      filtered: 0,
    });
    const few = await asUser(["-sT", at(FAR.ipv4, OPEN)], 2);
    if (few.status !== 0) expect(few.stderr).toMatch(/^synprobe: too many open files.*ulimit -n/);
  });

  it("completes handshakes, also with this machine itself, and hears the same as raw sockets do", async () => {
    const names = new Map<number, string>(Object.entries(SERVICES).map(([name, port]) => [port, name]));
    const found = await completed;
    expect(found.get(at(NEAR.ipv4, OPEN))?.ending).toBe("fin");
    for (const ip of [FAR.ipv4, FAR.ipv6]) {
      const endings = Object.values(SERVICES).map((port) => [
        names.get(port),
        found.get(at(ip, port))?.ending,
      ]);
      expect(Object.fromEntries(endings)).toEqual({
        speaks: "fin",
        quiet: "fin",
        closes: "fin",
        keeps: "no-fin",
        resets: "reset",
        hostile: "fin",
        endless: "no-fin",
      });
      expect(found.get(at(ip, SERVICES.speaks))?.banner).toBe("SSH-2.0-lab\\r\\n");
      expect(found.get(at(ip, SERVICES.quiet))?.banner).toBeUndefined();
      expect(found.get(at(ip, SERVICES.hostile))?.banner).toMatch(/^\\x1b\[2J\\xe2\\x80\\xae\\x00A+$/);
    }
  });
});
