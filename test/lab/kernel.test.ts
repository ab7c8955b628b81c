/**
 * What real kernels answer, and what synprobe makes of it: every kind of target that needs no firewall, in IPv4 and IPv6,
 * in one run.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { run, synprobe } from "../cli/process.ts";
import { listen, listenWithFullBacklog } from "./listeners.ts";
import {
  BEYOND,
  command,
  createLab,
  FAR,
  FAR_TTL,
  inNamespace,
  type Lab,
  labProblem,
  NEAR,
  SILENT,
  skipping,
} from "./netns.ts";
import { at, type Found, probe, resultsOf } from "./probing.ts";
import { until } from "./until.ts";

const OPEN = 7001;
const CLOSED = 7002;
const FULL = 7003;
/** A neighbour that is not there. */
const ABSENT = { ipv4: "192.0.2.77", ipv6: "2001:db8::77" };
/** TTL of packets that a near side sends to itself: Linux's default. */
const OWN_TTL = 64;
/** SYNs for a port that stays silent. */
const TRIES = 2;

interface Expected {
  readonly state: "open" | "closed" | "filtered";
  readonly reason: string;
  readonly ttl: number | null;
  readonly responder?: string;
}
type Row = readonly [what: string, ip: string, port: number, expected: Expected];

const silence: Expected = { state: "filtered", reason: "no-response", ttl: null };
function icmp(reason: string, responder: string, ttl: number | null = FAR_TTL): Expected {
  return { state: "filtered", reason, ttl, responder };
}
function tcp(state: "open" | "closed", ttl: number): Expected {
  return { state, reason: state === "open" ? "syn-ack" : "reset", ttl };
}

const ROWS: readonly Row[] = [
  ...(["ipv4", "ipv6"] as const).flatMap((family): Row[] => [
    [`${family}, a listener`, FAR[family], OPEN, tcp("open", FAR_TTL)],
    [`${family}, no listener`, FAR[family], CLOSED, tcp("closed", FAR_TTL)],
    [`${family}, a listener with a full backlog`, FAR[family], FULL, silence],
    [`${family}, a blackhole on the way`, BEYOND.blackhole[family], OPEN, silence],
    [`${family}, own address with a listener`, NEAR[family], OPEN, tcp("open", OWN_TTL)],
    [`${family}, own address without one`, NEAR[family], CLOSED, tcp("closed", OWN_TTL)],
  ]),
  ["ipv4, loopback with a listener", "127.0.0.1", OPEN, tcp("open", OWN_TTL)],
  ["ipv4, loopback without one", "127.0.0.1", CLOSED, tcp("closed", OWN_TTL)],
  ["ipv4, the rest of 127.0.0.0/8", "127.9.9.9", CLOSED, tcp("closed", OWN_TTL)],
  ["ipv6, loopback with a listener", "::1", OPEN, tcp("open", OWN_TTL)],
  ["ipv6, loopback without one", "::1", CLOSED, tcp("closed", OWN_TTL)],
  ["ipv4, an unreachable route (code 1)", BEYOND.unreachable.ipv4, OPEN, icmp("host-unreach", FAR.ipv4)],
  ["ipv4, a prohibit route (code 13)", BEYOND.prohibit.ipv4, OPEN, icmp("admin-prohibited", FAR.ipv4)],
  ["ipv4, no route on the way (code 0)", BEYOND.none.ipv4, OPEN, icmp("net-unreach", FAR.ipv4)],
  ["ipv4, nobody on the last link (code 1)", BEYOND.nobody.ipv4, OPEN, icmp("host-unreach", FAR.ipv4)],
  // IPv6's unreachable route is a route to nowhere: Linux says "no route" (code 0) for both, and "address
  // unreachable" (code 3) only when neighbour discovery has failed.
  ["ipv6, an unreachable route (code 0)", BEYOND.unreachable.ipv6, OPEN, icmp("no-route", FAR.ipv6)],
  ["ipv6, a prohibit route (code 1)", BEYOND.prohibit.ipv6, OPEN, icmp("admin-prohibited", FAR.ipv6)],
  ["ipv6, no route on the way (code 0)", BEYOND.none.ipv6, OPEN, icmp("no-route", FAR.ipv6)],
  ["ipv6, nobody on the last link (code 3)", BEYOND.nobody.ipv6, OPEN, icmp("addr-unreach", FAR.ipv6)],
  // The near side's own kernel says so, to itself: nothing has travelled, so there is no TTL and no round trip.
  ["ipv4, an absent neighbour", ABSENT.ipv4, OPEN, icmp("host-unreach", NEAR.ipv4, null)],
  ["ipv6, an absent neighbour", ABSENT.ipv6, OPEN, icmp("addr-unreach", NEAR.ipv6, null)],
];

/** A kernel looks for these for a while before it says anything. */
const NEIGHBOURLESS = [ABSENT.ipv4, ABSENT.ipv6, BEYOND.nobody.ipv4, BEYOND.nobody.ipv6];

describe.skipIf(skipping("probing real kernels", labProblem()))("real kernels", () => {
  let lab: Lab;
  let found: Map<string, Found>;

  beforeAll(async () => {
    lab = createLab();
    const listeners = [
      listen(lab.far, [
        { host: FAR.ipv4, port: OPEN },
        { host: "::", port: OPEN },
      ]),
      listen(lab.near, [
        { host: "0.0.0.0", port: OPEN },
        { host: "::", port: OPEN },
      ]),
      listenWithFullBacklog(lab.far, [
        { host: FAR.ipv4, port: FULL },
        { host: FAR.ipv6, port: FULL },
      ]),
    ];
    await Promise.all(listeners);
    const targets = ROWS.map(([, ip, port]) => at(ip, port));
    found = await probe(lab.near, "--retries", String(TRIES - 1), ...targets);
  });

  afterAll(() => lab.remove());

  test.each(ROWS)("%s", (_what, ip, port, expected) => {
    const result = found.get(at(ip, port));
    const answered = expected.reason !== "no-response";
    // Others have shown how fast answers come here: while the kernel still looks for a neighbour, a second SYN follows.
    const tries = answered ? 1 : TRIES;
    expect(result).toMatchObject({ ...expected, tries: NEIGHBOURLESS.includes(ip) ? result?.tries : tries });
    expect(result?.tries).toBeLessThanOrEqual(TRIES);
    expect(result?.responder).toBe(expected.responder);
    if (expected.ttl !== null) expect(result?.rtt_ms).toBeGreaterThan(0);
    else expect(result?.rtt_ms).toBeNull();
  });

  test("nothing else is reported", () => {
    expect(found.size).toBe(ROWS.length);
  });

  test("an IPv6 link-local target through its zone", async () => {
    const { stdout: shown } = await run(inNamespace(lab.far, ["ip", "-o", "addr", "show", "scope", "link"]));
    const linkLocal = /inet6 (fe80:[0-9a-f:]+)/.exec(shown)?.[1] ?? "none";
    const [open, closed] = [OPEN, CLOSED].map((port) => `[${linkLocal}%veth0]:${port}`);
    const results = await probe(lab.near, open ?? "", closed ?? "");
    expect(results.get(at(linkLocal, OPEN))).toMatchObject({ ...tcp("open", FAR_TTL), tries: 1 });
    expect(results.get(at(linkLocal, CLOSED))).toMatchObject({ ...tcp("closed", FAR_TTL), tries: 1 });
  });

  test.each([
    [BEYOND.nobody.ipv4, FAR.ipv4],
    [BEYOND.nobody.ipv6, FAR.ipv6],
  ])("a TTL that ends on the way to %s", async (ip, router) => {
    const results = await probe(lab.near, "--ttl", "1", at(ip, OPEN));
    expect(results.get(at(ip, OPEN))).toMatchObject({ ...icmp("time-exceeded", router), tries: 1 });
  });

  test("results come as they fall: what answers is not held up by what is silent", async () => {
    const { stdout } = await run(
      inNamespace(
        lab.near,
        synprobe("-oJ", "-", "--retries=0", "--timeout=400", at(SILENT.ipv4, 1), at(FAR.ipv4, OPEN)),
      ),
    );
    expect([...resultsOf(stdout).keys()]).toEqual([at(FAR.ipv4, OPEN), at(SILENT.ipv4, 1)]);
  });

  test("what was probed leaves no connection behind", async () => {
    await probe(lab.near, at(FAR.ipv4, OPEN), at(FAR.ipv6, OPEN));
    const connections = inNamespace(lab.far, ["ss", "-Htan", "state", "connected", `sport = :${OPEN}`]);
    until(() => command(connections) === "", "the half-open connections to end");
  });
});
