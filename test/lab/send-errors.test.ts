/**
 * What a send that the kernel refuses is told as, over each link: this machine's state uses up no try and makes no result, and
 * what could not be tried is unfinished; a packet that is forbidden is a result.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type Finished, linesOf, type Running, run, start, synprobe } from "../cli/process.ts";
import { ALL } from "../everyday.ts";
import { firewall, firewallProblem } from "./firewalls.ts";
import { command, createLab, FAR, inNamespace, ip, type Lab, skipping } from "./netns.ts";
import { until } from "./until.ts";

const LINKS = ["raw", "packet"] as const;
const TARGETS = ["198.19.0.0/26:1-40", "[2001:db8:5::/122]:1-40"] as const;
const MANY_CLOSED = /^(?:.*"closed".*\n){200}/m;
const PAIRS = 64 * 40;
const ROUTES = [
  `route replace 198.19.0.0/16 via ${FAR.ipv4}`,
  `route replace 2001:db8:5::/64 via ${FAR.ipv6}`,
];

describe.skipIf(skipping("send errors", firewallProblem()))("a send that is refused", () => {
  let lab: Lab;
  beforeAll(() => {
    lab = createLab();
    ip(lab.far, "route add local 198.19.0.0/16 dev lo", "route add local 2001:db8:5::/64 dev lo");
    // An IPv6 address outlives its interface's being down.
    command(inNamespace(lab.near, ["sysctl", "-qw", "net.ipv6.conf.veth0.keep_addr_on_down=1"]));
    ip(lab.near, ...ROUTES);
  });
  afterEach(() => {
    command(inNamespace(lab.near, ["nft", "flush", "ruleset"]));
  });
  afterAll(() => lab?.remove());

  const statesIn = (ndjson: string): ReadonlyMap<string, number> => {
    const counts = new Map<string, number>();
    for (const line of linesOf(ndjson)) {
      const { type, state, reason } = JSON.parse(line) as Record<string, string>;
      if (type === "result") counts.set(`${state} ${reason}`, (counts.get(`${state} ${reason}`) ?? 0) + 1);
    }
    return counts;
  };
  const summaryIn = ({ stdout }: Finished): { unfinished: number; send_errors?: Record<string, number> } =>
    JSON.parse(linesOf(stdout).at(-1) ?? "{}");

  const begin = (link: string, target: string): Running =>
    start(inNamespace(lab.near, synprobe("-oJ", "-", "--link", link, "--max-rate", "500", target)), {
      limitMs: 60_000,
    });
  const raise = (): void => {
    ip(lab.near, "link set veth0 up");
    until(() => command(["ip", "-n", lab.near, "link", "show", "veth0"]).includes("state UP"), "the link");
    ip(lab.near, ...ROUTES);
  };

  describe.runIf(ALL).each(LINKS)("over %s", (link) => {
    // Either IP version over either link; in test:more.
    it.each(TARGETS)("because the interface is away for two seconds costs nothing: %s", async (target) => {
      const running = begin(link, target);
      await running.until("stdout", MANY_CLOSED);
      ip(lab.near, "link set veth0 down");
      await new Promise((resolve) => setTimeout(resolve, 2000));
      raise();
      const { status, stdout } = await running.finished;
      const states = statesIn(stdout);
      expect([...states.keys()].filter((state) => state.includes("send-"))).toEqual([]);
      expect(states.get("closed reset")).toBe(PAIRS);
      expect(status).toBe(0);
    });
  });

  it("because a firewall forbids it is a result, over raw", async () => {
    firewall(lab.near, "output", ["ip daddr 198.19.0.0/16 drop"]);
    const { stdout, stderr } = await run(
      inNamespace(lab.near, synprobe("-oJ", "-", "--packet-trace", "198.19.0.1:1")),
    );
    expect(statesIn(stdout)).toEqual(new Map([["filtered send-eperm", 1]]));
    // Nothing is called sent that was refused.
    expect(stderr).toMatch(/^FAIL /m);
    expect(stderr).not.toMatch(/^SENT /m);
  });

  // Half a minute of waiting, which is what it shows.
  it.skipIf(!ALL)(
    "because the interface is away for good leaves what was not tried unfinished, and is no result",
    async () => {
      const running = LINKS.map((link) => begin(link, TARGETS[0]));
      for (const each of running) await each.until("stdout", MANY_CLOSED);
      ip(lab.near, "link set veth0 down");
      try {
        for (const finished of await Promise.all(running.map((each) => each.finished))) {
          const states = statesIn(finished.stdout);
          expect([...states.keys()].filter((state) => state.includes("send-"))).toEqual([]);
          expect(states.get("closed reset")).toBeLessThan(PAIRS);
          expect(summaryIn(finished).unfinished).toBeGreaterThan(PAIRS / 2);
          expect(finished.stderr).toMatch(
            /nothing can be sent any more: for 30 s the kernel has said (ENETUNREACH|ENETDOWN)/,
          );
          expect(finished.status).toBe(5);
        }
      } finally {
        raise();
      }
    },
    60_000,
  );
});
