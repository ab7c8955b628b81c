/** Hosts of the link itself, more than the kernel's table of neighbours has room for: all found, and the table left alone. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { linesOf, run, start, synprobe } from "../cli/process.ts";
import { ALL, everyday } from "../everyday.ts";
import {
  command,
  createLab,
  inNamespace,
  ip,
  type Lab,
  labProblem,
  NEAR,
  skipping,
  sysctl,
} from "./netns.ts";
import { type Found, resultsOf } from "./probing.ts";

/** The far side has all of it, in one route: nothing of it is in a table that other tests need. */
const ALIVE = everyday({ prefix: "198.18.64.0/22", hosts: 1024 }, { prefix: "198.18.64.0/20", hosts: 4096 });
const NOBODY = "198.18.96.0/26";
/** IPv6 has no such route: addresses one by one. */
const ALIVE6 = Array.from({ length: 40 }, (_, i) => `2001:db8:77::${(i + 1).toString(16)}`);
const NOBODY6 = "2001:db8:77::f0";
const CLOSED = 7;

describe.skipIf(skipping("many neighbours", labProblem()))("many neighbours", () => {
  let lab: Lab;
  beforeAll(() => {
    lab = createLab();
    ip(lab.far, "route add local 198.18.64.0/20 dev lo");
    ip(lab.near, "route add 198.18.64.0/18 dev veth0", "route add 2001:db8:77::/64 dev veth0");
    ip(lab.far, ...ALIVE6.map((address) => `addr add ${address}/128 dev veth0 nodad`));
  });
  afterAll(() => lab?.remove());

  const probe = async (...words: string[]) => {
    const argv = synprobe("-v", "-oJ", "-", ...words);
    const { status, stdout, stderr } = await run(inNamespace(lab.near, argv), { limitMs: 60_000 });
    const link = /link (raw-ip|packet)[,\n]/.exec(stderr)?.[1];
    return {
      status,
      link,
      found: [...resultsOf(stdout).values()],
      summary: JSON.parse(linesOf(stdout).at(-1) ?? ""),
    };
  };
  const kernelKnows = (): string[] =>
    linesOf(command(["ip", "-n", lab.near, "neigh", "show", "nud", "all", "dev", "veth0"])).filter((line) =>
      /^(198\.18\.|2001:db8:77:)/.test(line),
    );
  const verdicts = (found: readonly Found[]): Record<string, number> => {
    const counts: Record<string, number> = {};
    for (const { state, reason, responder } of found) {
      const key = [state, reason, ...(responder === undefined ? [] : [`from ${responder}`])].join(" ");
      counts[key] = (counts[key] ?? 0) + 1;
    }
    return counts;
  };

  it("who is there is found and who is not is host-unreach, by a link of our own, without being told to", async () => {
    const { status, link, found, summary } = await probe(`${ALIVE.prefix}:${CLOSED}`, `${NOBODY}:${CLOSED}`);
    expect(link).toBe("packet");
    expect(status).toBe(0);
    expect(verdicts(found)).toEqual({
      "closed reset": ALIVE.hosts,
      [`filtered host-unreach from ${NEAR.ipv4}`]: 64,
    });
    expect(summary).toMatchObject({ unfinished: 0, send_errors: {} });
    expect(kernelKnows()).toEqual([]);
  });

  it("so over IPv6", async () => {
    const targets = [...ALIVE6, NOBODY6].map((address) => `[${address}]:${CLOSED}`);
    const { found } = await probe("--link", "packet", ...targets);
    expect(verdicts(found)).toEqual({
      "closed reset": ALIVE6.length,
      [`filtered addr-unreach from ${NEAR.ipv6}`]: 1,
    });
    expect(kernelKnows()).toEqual([]);
  });

  it("a large run that no neighbour answers says so, as one over raw sockets does", async () => {
    for (const link of ["raw", "packet"]) {
      const argv = synprobe("--link", link, "--timeout", "300ms", "--retries", "1", `${NOBODY}:${CLOSED}`);
      const { stderr } = await run(inNamespace(lab.near, argv));
      expect(stderr, link).toMatch(
        /^synprobe: nothing answered: 198\.18\.96\.\d+ and \d+ more do not answer ARP on veth0/m,
      );
    }
  });

  it.runIf(ALL)(
    "all are found where a fifth of the questions is lost, as on a wireless network",
    async () => {
      const nft = (script: string): string => command(inNamespace(lab.far, ["nft", "-f", "-"]), script);
      const questions = (count: number): void =>
        sysctl(lab.near, { "net/ipv4/neigh/veth0/mcast_solicit": count });
      questions(3);
      nft(`table arp broadcasts {
      chain lost {
        type filter hook input priority 0
        arp operation request numgen random mod 5 < 1 drop
      }
    }`);
      try {
        const { found } = await probe(`${ALIVE.prefix}:${CLOSED}`, `${NOBODY}:${CLOSED}`);
        const { "closed reset": closed, ...absent } = verdicts(found);
        expect(closed).toBe(ALIVE.hosts);
        // Who is absent is asked up to ten times: SYNs may time out first.
        expect(Object.keys(absent).every((each) => each.startsWith("filtered "))).toBe(true);
        expect(Object.values(absent).reduce((a, b) => a + b, 0)).toBe(64);
      } finally {
        nft("flush ruleset");
        questions(1);
      }
    },
  );

  it.runIf(ALL)("who has answered is there, however often the process had no turn to read it", async () => {
    const argv = inNamespace(lab.near, synprobe("-oJ", "-", `${ALIVE.prefix}:${CLOSED}`));
    const running = start(argv, { limitMs: 60_000 });
    await running.until("stdout", /"reset"/);
    // Longer than its neighbours have to answer here.
    const pause = setInterval(() => {
      running.kill("SIGSTOP");
      setTimeout(() => running.kill("SIGCONT"), 150);
    }, 200);
    const { stdout } = await running.finished;
    clearInterval(pause);
    expect(verdicts([...resultsOf(stdout).values()])).toEqual({ "closed reset": ALIVE.hosts });
  });

  // nmap asks neighbours by itself too.
  it.runIf(ALL)("in no more than 1.5 times nmap's time", async () => {
    const timed = async (argv: readonly string[]): Promise<number> => {
      const start = performance.now();
      await run(inNamespace(lab.near, argv), { limitMs: 120_000 });
      return performance.now() - start;
    };
    const ours = await timed(synprobe(`${ALIVE.prefix}:${CLOSED}`));
    const nmaps = await timed(["nmap", "-n", "-sS", "-p", String(CLOSED), ALIVE.prefix]);
    expect(ours / nmaps).toBeLessThan(1.5);
  });
});
