/**
 * The same answers whichever link is chosen: what the kernel does to packets beyond routing them is looked for, and then raw
 * is taken; answers that come back through another interface are heard over packet too.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { run, start, synprobe } from "../cli/process.ts";
import { ALL } from "../everyday.ts";
import { firewallProblem } from "./firewalls.ts";
import { command, createLab, FAR, inNamespace, ip, type Lab, NEAR, SILENT, skipping } from "./netns.ts";

/** Enough pairs for --link auto to think of packet, of which a tenth is probed; the far side has all of the addresses. */
const LARGE = ["198.19.0.0/20:61-85", "--shard", "1/10", "--seed", "1"];
const SMALL = "198.19.0.0/24:61-70";
const ALL_CLOSED = "0 open, 10,240 closed, 0 filtered";
const ALL_FILTERED = "0 open, 0 closed, 10,240 filtered";

describe.skipIf(skipping("passed by", firewallProblem()))("what packet would pass by", () => {
  let lab: Lab;
  beforeAll(() => {
    lab = createLab();
    command(`ip link add veth1 netns ${lab.near} type veth peer name veth1 netns ${lab.far}`.split(" "));
    ip(lab.near, "link set veth1 up", "addr add 198.18.255.1/24 dev veth1");
    ip(lab.far, "link set veth1 up", "addr add 198.18.255.10/24 dev veth1");
    ip(lab.far, "route add local 198.19.0.0/16 dev lo");
    ip(lab.near, `route add 198.19.0.0/16 via ${FAR.ipv4}`);
    for (const each of ["all", "veth0", "veth1"])
      command(inNamespace(lab.near, ["sysctl", "-qw", `net.ipv4.conf.${each}.rp_filter=0`]));
  });
  afterEach(() => {
    command(inNamespace(lab.near, ["nft", "flush", "ruleset"]));
    ip(lab.near, "xfrm policy deleteall");
  });
  afterAll(() => lab?.remove());

  const nft = (...lines: string[]): string =>
    command(inNamespace(lab.near, ["nft", "-f", "-"]), lines.join("\n"));
  async function probe(...words: string[]): Promise<{ states: string; link: string; stderr: string }> {
    const argv = synprobe("-v", "--retries", "0", "--timeout", "500ms", "--max-rate", "50000", ...words);
    const { stdout, stderr } = await run(inNamespace(lab.near, argv), { limitMs: 40_000 });
    return {
      states: /\S+ open, \S+ closed, \S+ filtered/.exec(stdout)?.[0] ?? "",
      link: /link (raw-ip|packet),/.exec(stderr)?.[1] ?? "",
      stderr,
    };
  }

  it.runIf(ALL)("nothing: packet", async () => {
    expect(await probe(...LARGE)).toMatchObject({ states: ALL_CLOSED, link: "packet" });
  });

  it.runIf(ALL)(
    "answers that come back through another interface: nothing of it, they are heard",
    async () => {
      ip(lab.far, `route add ${NEAR.ipv4}/32 via 198.18.255.1 dev veth1`);
      try {
        expect(await probe(...LARGE)).toMatchObject({ states: ALL_CLOSED, link: "packet" });
        // Strict filtering drops them on raw sockets, so they are not heard over packet either.
        command(inNamespace(lab.near, ["sysctl", "-qw", "net.ipv4.conf.veth1.rp_filter=1"]));
        expect(await probe(...LARGE, "--link", "raw")).toMatchObject({ states: ALL_FILTERED });
        expect(await probe(...LARGE)).toMatchObject({ states: ALL_FILTERED, link: "packet" });
      } finally {
        command(inNamespace(lab.near, ["sysctl", "-qw", "net.ipv4.conf.veth1.rp_filter=0"]));
        ip(lab.far, `route del ${NEAR.ipv4}/32 via 198.18.255.1 dev veth1`);
      }
    },
  );

  it("a firewall that looks at ARP: raw, as packet asks neighbours by itself", async () => {
    nft("add table arp t", "add chain arp t o { type filter hook output priority 0; policy accept; }");
    nft("add rule arp t o counter accept");
    const found = await probe(...LARGE);
    expect(found).toMatchObject({ states: ALL_CLOSED, link: "raw-ip" });
    expect(found.stderr).toMatch(/raw-ip and not packet.*firewall rules at ARP output/);
  });

  it("a firewall at output: its refusals are results, and -v says why raw was taken", async () => {
    nft(
      "add table ip t",
      "add chain ip t o { type filter hook output priority 0; }",
      "add rule ip t o ip daddr 198.19.0.0/16 drop",
    );
    const found = await probe(...LARGE);
    expect(found).toMatchObject({ states: ALL_FILTERED, link: "raw-ip" });
    expect(found.stderr).toMatch(/raw-ip and not packet.*firewall rules at output/);
    expect((await probe(...LARGE, "--workers", "2")).stderr).toMatch(
      /--workers 2 needs --link packet: .*would pass by firewall rules at output/,
    );
    const asked = await probe(...LARGE, "--link", "packet");
    expect(asked).toMatchObject({ states: ALL_CLOSED, link: "packet" });
    expect(asked.stderr).toMatch(/--link packet passes by .*firewall rules at output/);
  });

  it.runIf(ALL)("an IPsec policy for the targets: nothing leaves in the clear", async () => {
    const template = `tmpl src ${NEAR.ipv4} dst ${FAR.ipv4} proto esp mode tunnel`;
    ip(lab.near, `xfrm policy add src 0.0.0.0/0 dst 198.19.0.0/17 dir out ${template}`);
    const found = await probe(...LARGE);
    expect(found).toMatchObject({ states: ALL_FILTERED, link: "raw-ip" });
    expect(found.stderr).toMatch(/an IPsec policy for the targets/);
  });

  it.runIf(ALL)("an IPsec policy for others: packet", async () => {
    ip(lab.near, "xfrm policy add src 0.0.0.0/0 dst 198.19.128.0/17 dir out action block");
    expect(await probe(...LARGE)).toMatchObject({ states: ALL_CLOSED, link: "packet" });
  });

  it.runIf(ALL).each(["in", "fwd"])(
    "an IPsec policy for what comes from elsewhere, dir %s: packet",
    async (direction) => {
      const template = `tmpl src ${FAR.ipv4} dst ${NEAR.ipv4} proto esp mode tunnel`;
      ip(lab.near, `xfrm policy add src 0.0.0.0/0 dst 198.19.0.0/17 dir ${direction} ${template}`);
      expect(await probe(...LARGE)).toMatchObject({ states: ALL_CLOSED, link: "packet" });
    },
  );

  it.runIf(ALL)("address translation at postrouting", async () => {
    ip(
      lab.near,
      "addr add 198.18.9.1/32 dev lo",
      `route replace 198.19.0.0/16 via ${FAR.ipv4} src 198.18.9.1`,
    );
    nft(
      "add table ip n",
      "add chain ip n p { type nat hook postrouting priority 100; }",
      "add rule ip n p oifname veth0 ip saddr 198.18.9.1 masquerade",
    );
    try {
      expect(await probe(...LARGE)).toMatchObject({ states: ALL_CLOSED, link: "raw-ip" });
    } finally {
      ip(lab.near, `route replace 198.19.0.0/16 via ${FAR.ipv4}`);
    }
  });

  it("a chain at egress", async () => {
    nft(
      "add table netdev e",
      "add chain netdev e c { type filter hook egress device veth0 priority 0; }",
      // One that drops would drop ARP too, and what is sent is refused as by a full queue: sent again until the run gives up.
      "add rule netdev e c ip daddr 198.19.0.0/16 counter",
    );
    const found = await probe(...LARGE);
    expect(found).toMatchObject({ states: ALL_CLOSED, link: "raw-ip" });
    expect(found.stderr).toMatch(/firewall rules at egress/);
  });

  it.runIf(ALL)("a policy to drop without a rule", async () => {
    nft("add table inet t", "add chain inet t o { type filter hook output priority 0; policy drop; }");
    const found = await probe(...LARGE);
    expect(found).toMatchObject({ states: ALL_FILTERED, link: "raw-ip" });
    expect(found.stderr).toMatch(/firewall rules at output/);
  });

  it.runIf(ALL)("chains without a rule, or elsewhere: packet", async () => {
    nft(
      "add table inet t",
      "add chain inet t o { type filter hook output priority 0; policy accept; }",
      "add chain inet t f { type filter hook forward priority 0; policy drop; }",
      "add chain inet t i { type filter hook input priority 0; }",
      "add rule inet t i ct state invalid drop",
    );
    expect(await probe(...LARGE)).toMatchObject({ states: ALL_CLOSED, link: "packet" });
  });

  describe("where nobody has looked, the first probes through both links tell", () => {
    it("the same: packet", async () => {
      const { link, stderr } = await probe(...LARGE);
      expect(link).toBe("packet");
      expect(stderr).toMatch(
        /of 16 ports probed through both links first, raw heard from 16 and packet from 16$/m,
      );
    });

    it.runIf(ALL)(
      "answers that the kernel takes and packet does not hear, by an interface without an address",
      async () => {
        const show = command(["ip", "-n", lab.near, "-br", "link", "show", "veth1"]);
        const mac = /([0-9a-f]{2}:){5}[0-9a-f]{2}/.exec(show)?.[0];
        ip(lab.near, "addr flush dev veth1");
        ip(lab.far, `neigh add ${NEAR.ipv4} lladdr ${mac} dev veth1`, `route add ${NEAR.ipv4}/32 dev veth1`);
        try {
          const found = await probe(...LARGE);
          expect(found).toMatchObject({ states: ALL_CLOSED, link: "raw-ip" });
          expect(found.stderr).toMatch(/raw heard from 16 and packet from 0: this run goes by raw/);
          // A run that goes on goes by the same link: its journal knows the workers.
          const journal = join(mkdtempSync(join(tmpdir(), "sp-passed-")), "journal");
          const slow = synprobe("--journal", journal, "--max-rate", "2000", "-oJ", "-", ...LARGE);
          const begun = start(inNamespace(lab.near, slow));
          await begun.until("stdout", /"state":"closed"/);
          begun.kill("SIGINT");
          expect((await begun.finished).status).toBe(130);
          const rest = await run(
            inNamespace(lab.near, synprobe("-v", "--resume", journal, "--max-rate", "20000")),
          );
          rmSync(dirname(journal), { recursive: true });
          expect(rest.stdout.trimEnd().split("\n").at(-1)).toContain('"closed":10240,"filtered":0');
          expect(rest.stderr).toMatch(/link raw-ip,/);
          const named = await probe(...LARGE, "--link", "packet");
          expect(named).toMatchObject({ states: ALL_FILTERED, link: "packet" });
          expect(named.stderr).not.toMatch(/heard from/);
        } finally {
          ip(lab.far, `route del ${NEAR.ipv4}/32 dev veth1`, `neigh del ${NEAR.ipv4} dev veth1`);
          ip(lab.near, "addr add 198.18.255.1/24 dev veth1");
        }
      },
    );

    it("answers that a firewall drops at input, which packet hears: raw, which is what this machine's programs hear", async () => {
      nft(
        "add table ip t",
        "add chain ip t i { type filter hook input priority 0; }",
        "add rule ip t i ip saddr 198.19.0.0/16 drop",
      );
      const found = await probe(...LARGE);
      expect(found).toMatchObject({ states: ALL_FILTERED, link: "raw-ip" });
      expect(found.stderr).toMatch(/raw heard from 0 and packet from 16: this run goes by raw/);
    });

    it.runIf(ALL)("a target that limits its answers, which whoever asks first gets: packet", async () => {
      command(
        inNamespace(lab.far, ["nft", "-f", "-"]),
        [
          "add table ip t",
          "add chain ip t i { type filter hook input priority 0; }",
          "add rule ip t i ip daddr 198.19.0.0/16 limit rate 20/second burst 8 packets accept",
          "add rule ip t i ip daddr 198.19.0.0/16 drop",
        ].join("\n"),
      );
      try {
        const { link, stderr } = await probe(...LARGE);
        expect(link).toBe("packet");
        expect(stderr).not.toMatch(/this run goes by raw/);
      } finally {
        command(inNamespace(lab.far, ["nft", "flush", "ruleset"]));
      }
    });

    it.runIf(ALL)("silence by both: packet", async () => {
      ip(lab.far, "route del local 198.19.0.0/16 dev lo", "route add blackhole 198.19.0.0/16");
      try {
        const { link, stderr } = await probe(...LARGE);
        expect(link).toBe("packet");
        expect(stderr).toMatch(/raw heard from 0 and packet from 0$/m);
      } finally {
        ip(lab.far, "route del blackhole 198.19.0.0/16", "route add local 198.19.0.0/16 dev lo");
      }
    });
  });

  it.runIf(ALL)("what cannot be written is said before the first SYN of the comparison", async () => {
    const sent = (): number =>
      Number(command(inNamespace(lab.near, ["cat", "/sys/class/net/veth0/statistics/tx_packets"])));
    // Neighbours are known, and nothing else speaks.
    await probe("198.19.0.1:61");
    for (const file of ["--journal", "-oJ"]) {
      const before = sent();
      const { stderr } = await probe(file, "/nonexistent/file", ...LARGE);
      expect(stderr).toMatch(/nonexistent/);
      expect(sent() - before).toBeLessThan(16);
    }
  });

  it.runIf(ALL)("a second look of check compares, too", { timeout: 120_000 }, async () => {
    nft(
      "add table ip t",
      "add chain ip t i { type filter hook input priority 0; }",
      "add rule ip t i ip saddr 198.19.0.0/16 drop",
    );
    const policy = JSON.stringify({ groups: [{ targets: "198.19.0.0/20", ports: { "61-85": "closed" } }] });
    const words = ["--retries", "0", "--timeout", "300ms", "--max-rate", "50000", "--no-drop", "-"];
    const { stdout, stderr } = await run(inNamespace(lab.near, synprobe("check", ...words)), {
      input: policy,
      limitMs: 110_000,
    });
    expect(stderr).toMatch(/raw heard from 0 and packet from 16: this run goes by raw/);
    expect(stderr).toMatch(/102,400 ports could not be told surely: probed again/);
    // Packet hears them all: as written.
    expect(stdout).not.toMatch(/102,400 ports as written/);
  });

  it.each([
    ["a rule for a mark", "rule add fwmark 7 lookup 100 pref 900", "rule del pref 900", /look at marks/],
    [
      "a rule for a protocol",
      "rule add ipproto udp lookup 100 pref 900",
      "rule del pref 900",
      /look at protocols/,
    ],
  ])("%s", async (_, add, remove, why) => {
    ip(lab.near, add);
    try {
      const found = await probe(...LARGE);
      expect(found).toMatchObject({ states: ALL_CLOSED, link: "raw-ip" });
      expect(found.stderr).toMatch(why);
    } finally {
      ip(lab.near, remove);
    }
  });

  it.runIf(ALL)("the rule of a run that completes handshakes: packet beside it", async () => {
    const endless = synprobe("--complete", "--packet-trace", "--timeout", "10m", `${SILENT.ipv4}:1`);
    const beside = start(inNamespace(lab.near, endless));
    try {
      await beside.until("stderr", /^SENT /m);
      expect(command(["ip", "-n", lab.near, "rule", "show"])).toMatch(/ipproto tcp sport .* blackhole/);
      expect(await probe(...LARGE)).toMatchObject({ states: ALL_CLOSED, link: "packet" });
    } finally {
      beside.kill("SIGINT");
      await beside.finished;
    }
  });

  it("a queueing discipline that somebody has set", async () => {
    command(
      inNamespace(lab.near, "tc qdisc add dev veth0 root tbf rate 1gbit burst 1mb latency 1s".split(" ")),
    );
    try {
      const found = await probe(...LARGE);
      expect(found).toMatchObject({ states: ALL_CLOSED, link: "raw-ip" });
      expect(found.stderr).toMatch(/traffic control of its own: tbf/);
    } finally {
      command(inNamespace(lab.near, "tc qdisc del dev veth0 root".split(" ")));
    }
  });

  it.runIf(ALL)("a queueing discipline of another interface: packet", async () => {
    command(
      inNamespace(lab.near, "tc qdisc add dev veth1 root tbf rate 1gbit burst 1mb latency 1s".split(" ")),
    );
    try {
      expect(await probe(...LARGE)).toMatchObject({ states: ALL_CLOSED, link: "packet" });
    } finally {
      command(inNamespace(lab.near, "tc qdisc del dev veth1 root".split(" ")));
    }
  });

  it("without CAP_NET_ADMIN none of it can be seen: raw", async () => {
    const argv = ["setpriv", "--bounding-set=-net_admin", ...synprobe("-v", "--max-rate", "20000", ...LARGE)];
    const { stderr, status } = await run(inNamespace(lab.near, argv), { limitMs: 40_000 });
    expect(status).toBe(0);
    expect(stderr).toMatch(/perhaps IPsec policies: it takes CAP_NET_ADMIN/);
    expect(stderr).toMatch(/link raw-ip,/);
  });

  it("small runs look at nothing, and doctor tells", async () => {
    nft("add table ip t", "add chain ip t o { type filter hook output priority 0; policy drop; }");
    const { stderr } = await probe(SMALL);
    expect(stderr).not.toMatch(/passes? by/);
    const doctor = await run(inNamespace(lab.near, synprobe("doctor", "198.19.0.1:61")));
    expect(doctor.stdout).toMatch(/info +packet link +.*raw.*firewall rules at output/);
  });
});
