/** Which way probes go, and from which address, where the kernel's answer differs from one destination to the next. */
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Finished, ROOT, run, synprobe } from "../cli/process.ts";
import { everyday } from "../everyday.ts";
import { firewallProblem } from "./firewalls.ts";
import { command, createLab, inNamespace, ip, type Lab, labProblem, skipping } from "./netns.ts";

/** Prints the most memory that a process has had, in kilobytes, when it ends. */
const TELL_MEMORY = "process.on('exit',()=>console.error(process.resourceUsage().maxRSS))";

const FIRST = { near: "192.0.2.1", far: "192.0.2.10" } as const;
const SECOND = { near: "198.18.255.1", far: "198.18.255.10" } as const;

describe.skipIf(skipping("routes", labProblem() ?? firewallProblem()))("routes", () => {
  let lab: Lab;
  const sysctl = (namespace: string, ...settings: string[]): string =>
    command(inNamespace(namespace, ["sysctl", "-qw", ...settings]));
  const probe = (...words: string[]): Promise<Finished> =>
    run(inNamespace(lab.near, synprobe("--retries", "1", ...words)), { limitMs: 40_000 });
  const statesOf = async (...words: string[]): Promise<string> =>
    /(\d[\d,]*) open, (\d[\d,]*) closed, (\d[\d,]*) filtered/.exec((await probe(...words)).stdout)?.[0] ?? "";

  beforeAll(() => {
    lab = createLab();
    // A second link; the far side has all of the targets, and drops what does not come by the way back.
    command(`ip link add veth1 netns ${lab.near} type veth peer name veth1 netns ${lab.far}`.split(" "));
    ip(lab.near, "link set veth1 up", `addr add ${SECOND.near}/24 dev veth1`);
    ip(lab.near, "addr add 2001:db8:f::1/64 dev veth1 nodad");
    ip(lab.far, "link set veth1 up", `addr add ${SECOND.far}/24 dev veth1`);
    ip(lab.far, "addr add 2001:db8:f::10/64 dev veth1 nodad");
    ip(lab.far, "route add local 198.19.0.0/16 dev lo", "route add local 2001:db8:5::/64 dev lo");
    ip(lab.far, "route add local fd00:2::/64 dev lo");
    ip(lab.near, "route add default via 2001:db8::10");
    const conf = "net.ipv4.conf";
    sysctl(lab.far, `${conf}.all.rp_filter=1`, `${conf}.veth0.rp_filter=1`, `${conf}.veth1.rp_filter=1`);
  });
  afterAll(() => lab?.remove());

  it("a range that reaches over fe80::/10 is refused or planned, whatever routes there are", async () => {
    const { status, stderr } = await probe("[fe7f::-fe81::]:80", "--dry-run");
    expect(stderr).toMatch(/a run takes .* at most/);
    expect(status).toBe(2);
    const near = await probe("[fe7f:ffff:ffff:ffff:ffff:ffff:ffff:fff0-fe80::f]:80", "--dry-run");
    expect(near.stderr).toMatch(/link-local address needs its interface/);
  });

  it.each([0, 1])(
    "of equal cost (hash policy %i): each probe leaves by the interface of its source",
    async (policy) => {
      sysctl(lab.near, `net.ipv4.fib_multipath_hash_policy=${policy}`);
      sysctl(lab.near, `net.ipv6.fib_multipath_hash_policy=${policy}`);
      ip(
        lab.near,
        `route replace 198.19.0.0/16 nexthop via ${FIRST.far} dev veth0 nexthop via ${SECOND.far} dev veth1`,
      );
      expect(await statesOf("198.19.0.0/26:81")).toBe("0 open, 64 closed, 0 filtered");
      expect(await statesOf("198.19.0.0/20:81")).toBe("0 open, 4,096 closed, 0 filtered");
      expect(await statesOf("-4", "198.19.1.0/26:81", "198.19.3.0/26:82")).toBe(
        "0 open, 128 closed, 0 filtered",
      );
    },
  );

  it("of equal cost in IPv6: likewise, though the kernel hashes what raw sockets send otherwise", async () => {
    const hops = "nexthop via 2001:db8::10 dev veth0 nexthop via 2001:db8:f::10 dev veth1";
    ip(lab.near, `route replace 2001:db8:5::/64 ${hops}`);
    const rules = [
      "add table ip6 t",
      "add chain ip6 t c { type filter hook prerouting priority 0; }",
      "add rule ip6 t c iifname veth0 ip6 daddr 2001:db8:5::/64 ip6 saddr != 2001:db8::/64 drop",
      "add rule ip6 t c iifname veth1 ip6 daddr 2001:db8:5::/64 ip6 saddr != 2001:db8:f::/64 drop",
    ];
    command(inNamespace(lab.far, ["nft", "-f", "-"]), rules.join("\n"));
    try {
      expect(await statesOf("[2001:db8:5::/122]:81")).toBe("0 open, 64 closed, 0 filtered");
      expect(await statesOf("[2001:db8:5::/117]:81")).toBe("0 open, 2,048 closed, 0 filtered");
    } finally {
      command(inNamespace(lab.far, ["nft", "flush", "ruleset"]));
    }
  });

  it("of equal cost: trace and connect keep to one, too", async () => {
    sysctl(lab.near, "net.ipv4.fib_multipath_hash_policy=1");
    ip(
      lab.near,
      `route replace 198.19.0.0/16 nexthop via ${FIRST.far} dev veth0 nexthop via ${SECOND.far} dev veth1`,
    );
    const hosts = Array.from({ length: 12 }, (_, i) => `198.19.7.${i + 1}`);
    const traced = await Promise.all(
      hosts.map((host) =>
        run(inNamespace(lab.near, synprobe("trace", "--brief", "--retries", "0", `${host}:81`))),
      ),
    );
    expect(traced.map(({ stdout }) => /^\w+ \([\w-]+\)/m.exec(stdout)?.[0])).toEqual(
      hosts.map(() => "closed (reset)"),
    );
    const program = `
      import { connect } from ${JSON.stringify(pathToFileURL(`${ROOT}dist/index.js`).href)};
      const codes = ${JSON.stringify(hosts)}.map((host) =>
        connect({ host, port: 81, timeoutMs: 900 }).then(() => "connected", ({ code }) => code));
      console.log(JSON.stringify(await Promise.all(codes)));`;
    const { stdout } = await run(
      inNamespace(lab.near, [process.execPath, "--input-type=module", "-e", program]),
    );
    expect(JSON.parse(stdout)).toEqual(hosts.map(() => "ERR_REFUSED"));
  });

  it("an IPv6 source is chosen for each destination (RFC 6724), alone and beside others", async () => {
    ip(lab.near, "addr add fdaa:1::1/64 dev veth0 nodad");
    ip(lab.near, "route replace 2001:db8:5::/64 via 2001:db8::10");
    ip(lab.far, "addr add fdaa:1::10/64 dev veth0 nodad");
    const sourcesOf = async (...words: string[]): Promise<ReadonlySet<string>> => {
      const { stdout } = await probe("--packet-trace", ...words).then(({ stderr }) => ({ stdout: stderr }));
      return new Set(
        [...stdout.matchAll(/SENT .* \[(\S+)\]:\d+ > \[(\S+?)::\S*\]:/g)].map(
          ([, from, to]) => `${to} from ${from}`,
        ),
      );
    };
    const both = new Set(["fd00:2 from fdaa:1::1", "2001:db8:5 from 2001:db8::1"]);
    expect(await sourcesOf("[fd00:2::1]:80")).toEqual(new Set(["fd00:2 from fdaa:1::1"]));
    expect(await sourcesOf("[fd00:2::1]:80", "[2001:db8:5::1]:80")).toEqual(both);
    expect(await sourcesOf("[fd00:2::/118]:80", "[2001:db8:5::/118]:80")).toEqual(both);
  });

  it("a few addresses cost the same however large the routing table is", async () => {
    const measure = async (): Promise<number> => {
      const [node, ...argv] = synprobe("198.19.0.0/22:80", "--dry-run");
      const watched = [node, "--import", `data:text/javascript,${TELL_MEMORY}`, ...argv];
      const { stderr, status } = await run(inNamespace(lab.near, watched));
      expect(status).toBe(0);
      return Number(stderr.trim().split("\n").at(-1));
    };
    await measure();
    const small = await measure();
    const routes = Array.from(
      { length: everyday(30_000, 100_000) },
      (_, i) => `route add ${20 + (i >> 14)}.${(i >> 6) & 255}.${(i & 63) * 4}.0/24 via ${FIRST.far}`,
    );
    ip(lab.near, ...routes);
    const large = await measure();
    // A dump of 100,000 took 130 MB here.
    expect(large - small).toBeLessThan(10_000);
  });
});
