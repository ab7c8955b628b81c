/**
 * Where SYNs stop, on real kernels: four routers and a host, with rules at each of them in turn; and what the other tools say of
 * the same, in how many SYNs and seconds.
 */
import { existsSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { PathReport } from "../../src/runtime/path/report.ts";
import { run, synprobe } from "../cli/process.ts";
import { ALL, everyday } from "../everyday.ts";
import { CHAIN_HOST, type Chain, createChain, ROUTERS, rulesAt } from "./chain.ts";
import { firewallProblem } from "./firewalls.ts";
import { listen } from "./listeners.ts";
import { command, inNamespace, skipping } from "./netns.ts";
import { at } from "./probing.ts";

const OPEN = 443;
const CLOSED = 81;
const HOPS = Array.from({ length: ROUTERS }, (_, i) => i + 1);
/** Each rule, at each router, is for a port of its own: these plus the router's number. */
const PORTS = { drop: 1000, rejected: 2000, reset: 3000, before: 4000 } as const;
const AT_HOST = { drop: 1005, rejected: 2005 } as const;

interface PathJson extends Omit<PathReport, "ports"> {
  readonly ports: readonly {
    readonly port: number;
    readonly state: string;
    readonly reason: string;
    readonly where: Record<string, unknown>;
    readonly doubt?: number;
  }[];
}

async function walk(chain: Chain, target: string, ...options: string[]): Promise<PathJson> {
  const argv = inNamespace(chain.namespaces[0], synprobe("path", "--json", ...options, target));
  const { status, stdout, stderr } = await run(argv);
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  return JSON.parse(stdout) as PathJson;
}

async function build(limited: boolean): Promise<Chain> {
  const chain = createChain(limited);
  const host = chain.namespaces[ROUTERS + 1];
  const ports = [
    OPEN,
    AT_HOST.drop,
    AT_HOST.rejected,
    ...HOPS.flatMap((hop) => Object.values(PORTS).map((port) => port + hop)),
  ];
  await listen(
    host,
    ports.flatMap((port) => Object.values(CHAIN_HOST).map((address) => ({ host: address, port }))),
  );
  for (const hop of HOPS) {
    const router = chain.namespaces[hop];
    rulesAt(router, "forward", [
      `tcp dport ${PORTS.drop + hop} drop`,
      `tcp dport ${PORTS.rejected + hop} reject with icmpx admin-prohibited`,
      `tcp dport ${PORTS.reset + hop} reject with tcp reset`,
    ]);
    rulesAt(router, "prerouting", [`tcp dport ${PORTS.before + hop} drop`]);
  }
  rulesAt(host, "input", [
    `tcp dport ${AT_HOST.drop} drop`,
    `tcp dport ${AT_HOST.rejected} reject with icmpx admin-prohibited`,
  ]);
  return chain;
}

describe.skipIf(skipping("walks along real kernels", firewallProblem()))("a chain of kernels", () => {
  let chain: Chain;
  beforeAll(async () => {
    chain = await build(false);
  });
  afterAll(() => chain?.remove());

  it("says of a host that is not there what its router says, three seconds later", async () => {
    const gone = [
      ["ipv4", "198.18.4.77", "host-unreach"],
      ["ipv6", "2001:db8:4::77", "addr-unreach"],
    ] as const;
    const told = gone.map(async ([family, host, reason]) => {
      const by = chain.routerAt(ROUTERS, family);
      const where = { kind: "rejected", by, self: false, from: ROUTERS, to: ROUTERS };
      const [{ ports }, { stdout }] = await Promise.all([
        walk(chain, at(host, OPEN)),
        run(inNamespace(chain.namespaces[0], synprobe(at(host, OPEN), "--why"))),
      ]);
      expect(ports.find(({ port }) => port === OPEN)).toMatchObject({ state: "filtered", reason, where });
      expect(stdout).toContain(`443 is filtered by ${by}, as this run was told: ${reason}.`);
    });
    await Promise.all(told);
  });

  it("says when answers come, and this machine's own firewall drops them; and so does doctor", async () => {
    const near = chain.namespaces[0];
    const target = at(CHAIN_HOST.ipv4, `${OPEN},${CLOSED}`);
    expect((await walk(chain, target)).notes).toEqual([]);
    rulesAt(near, "input", [`tcp sport ${CLOSED} drop`]);
    const { notes, ports } = await walk(chain, target);
    const { stdout } = await run(inNamespace(near, synprobe("doctor", target)));
    command(inNamespace(near, ["nft", "flush", "ruleset"]));
    expect(ports.find(({ port }) => port === CLOSED)).toMatchObject({ state: "filtered" });
    const told = /\d+ packets came in meanwhile and were dropped inside this machine, most likely by its own/;
    expect(notes).toEqual([expect.stringMatching(told)]);
    expect(stdout).toMatch(told);
  });

  const WAYS = [
    ["ipv4", "raw"],
    ["ipv6", "raw"],
    ["ipv4", "packet"],
    ["ipv6", "packet"],
  ] as const;
  it.each(everyday(WAYS.slice(0, 1), [...WAYS]))(
    "over %s and %s: the hop is named right, wherever the rule is",
    async (family, link) => {
      const walkOver = (target: string) => walk(chain, target, "--link", link);
      const host = CHAIN_HOST[family];
      const of = (first: number, ...more: number[]): string =>
        at(host, [OPEN, ...HOPS.map((hop) => first + hop), ...more].join());
      const [dropped, rejected, reset, before] = await Promise.all([
        walkOver(of(PORTS.drop, AT_HOST.drop)),
        walkOver(of(PORTS.rejected, AT_HOST.rejected)),
        walkOver(of(PORTS.reset, CLOSED)),
        walkOver(of(PORTS.before)),
      ]);
      const find = ({ ports }: PathJson, wanted: number) => ports.find(({ port }) => port === wanted);
      for (const found of [dropped, rejected, reset, before]) {
        expect(find(found, OPEN)).toMatchObject({ state: "open", where: { kind: "host", to: ROUTERS + 1 } });
        expect(found.hops.map(({ routers }) => routers.map(({ ip }) => ip))).toEqual(
          HOPS.map((hop) => [chain.routerAt(hop, family)]),
        );
        for (const { doubt = 0 } of found.ports) expect(doubt).toBeLessThan(0.01);
      }
      for (const hop of HOPS) {
        const isLast = hop === ROUTERS;
        expect(find(dropped, PORTS.drop + hop)).toMatchObject({
          state: "filtered",
          reason: "no-response",
          where: { kind: isLast ? "at-host" : "dropped", from: hop, to: hop + 1 },
        });
        expect(find(rejected, PORTS.rejected + hop)).toMatchObject({
          state: "filtered",
          reason: "admin-prohibited",
          where: { kind: "rejected", by: chain.routerAt(hop, family), from: hop, to: hop },
        });
        // Behind the last router a RST comes with the TTL with which the host's own would.
        expect(find(reset, PORTS.reset + hop)).toMatchObject({
          state: "closed",
          where: isLast ? { kind: "host" } : { kind: "box", from: hop, to: hop + 1, beyond: ROUTERS + 1 },
        });
        expect(find(before, PORTS.before + hop)).toMatchObject({
          where: { kind: "dropped", from: hop - 1, to: hop },
        });
      }
      expect(find(dropped, AT_HOST.drop)).toMatchObject({
        where: { kind: "at-host", from: ROUTERS, to: ROUTERS + 1 },
      });
      expect(find(rejected, AT_HOST.rejected)).toMatchObject({
        where: { kind: "rejected", self: true, by: host },
      });
      expect(find(reset, CLOSED)).toMatchObject({
        state: "closed",
        where: { kind: "host", to: ROUTERS + 1 },
      });
    },
  );
});

/** What other tools print, and the SYNs that they took. */
const TOOLS: Readonly<Record<string, (host: string, port: number) => string[]>> = {
  synprobe: (host, port) => synprobe("path", "--reference", String(OPEN), at(host, port)),
  "traceroute -T": (host, port) => [
    "traceroute",
    "-T",
    "-n",
    "-q",
    "1",
    "-w",
    "1",
    "-m",
    "8",
    "-p",
    String(port),
    host,
  ],
  tcptraceroute: (host, port) => ["tcptraceroute", "-n", "-q", "1", "-w", "1", "-m", "8", host, String(port)],
  "nmap --traceroute": (host, port) => ["nmap", "-n", "-Pn", "-sS", "--traceroute", "-p", String(port), host],
  "firewalk.nse": (host, port) => [
    "nmap",
    "-n",
    "-Pn",
    "-sS",
    "--traceroute",
    "--script",
    "firewalk",
    "--script-args",
    "firewalk.max-probed-ports=-1",
    "-p",
    `${OPEN},${port}`,
    host,
  ],
};
const missing = ["/usr/sbin/traceroute", "/usr/bin/tcptraceroute", "/usr/bin/nmap"].find(
  (file) => !existsSync(file),
);

describe.skipIf(
  !ALL ||
    skipping(
      "walks beside other tools",
      firewallProblem() ?? (missing === undefined ? undefined : `${missing} is missing`),
    ),
)("under the kernel's own limit of ICMP errors, beside other tools", () => {
  let chain: Chain;
  beforeAll(async () => {
    chain = await build(true);
    command(
      inNamespace(chain.namespaces[0], ["nft", "-f", "-"]),
      "table inet count {\n counter syns {}\n chain out {\n  type filter hook output priority 0\n  tcp flags & (syn|ack|rst) == syn counter name syns\n }\n}\n",
    );
  });
  afterAll(() => chain?.remove());

  const syns = (): number => {
    const text = command(
      inNamespace(chain.namespaces[0], ["nft", "list", "counter", "inet", "count", "syns"]),
    );
    return Number(/packets (\d+)/.exec(text)?.[1]);
  };

  it("names the hop that drops", { timeout: 300_000 }, async () => {
    const rows: string[] = [];
    for (const [name, argvOf] of Object.entries(TOOLS)) {
      const before = syns();
      const startedMs = performance.now();
      const { stdout } = await run(
        inNamespace(chain.namespaces[0], argvOf(CHAIN_HOST.ipv4, PORTS.drop + 2)),
        { limitMs: 120_000 },
      );
      const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
      const names = /between hop 2 \(198\.18\.1\.2\)|^\|_?2 +198\.18\.1\.2 .*1002/m.test(stdout);
      rows.push(
        `${name}: ${syns() - before} SYNs, ${seconds} s, ${names ? "names the hop" : "does not name it"}\n${stdout}`,
      );
      if (name === "synprobe")
        expect(stdout).toMatch(/1002 is filtered, between hop 2 \(198\.18\.1\.2\) and hop 3/);
    }
    console.log(rows.join("\n"));
  });
});
