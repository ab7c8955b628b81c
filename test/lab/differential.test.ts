/**
 * The same targets through nmap and through synprobe, in the same namespace: state, reason, sender of the ICMP error and
 * TTL must agree. Where they may not, DIFFERENCES says so, and why.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { firewall, firewallProblem, REJECTING } from "./firewalls.ts";
import { listen, listenWithFullBacklog } from "./listeners.ts";
import { BEYOND, command, createLab, FAR, FAR_TTL, type Lab, labProblem, NEAR, skipping } from "./netns.ts";
import { at, type Evidence, evidenceOf, type Found, nmap, probe } from "./probing.ts";

const OPEN = 7001;
const CLOSED = 7002;
const FULL = 7003;
/** Probed with a TTL of 1. */
const TTL_PORT = 7004;
const ABSENT = { ipv4: "192.0.2.77", ipv6: "2001:db8::77" } as const;
const LOOPBACK = { ipv4: "127.0.0.1", ipv6: "::1" } as const;
const FAMILIES = ["ipv4", "ipv6"] as const;

/** Empty where no firewall can be had. */
const REJECTIONS = skipping("comparing firewalls' answers", firewallProblem()) ? [] : REJECTING;

interface Difference {
  readonly why: string;
  readonly nmap: Evidence | undefined;
  readonly synprobe: Evidence;
}
function fromFar(reason: string, responder?: string): Evidence {
  return { state: "filtered", reason, ttl: FAR_TTL, ...(responder === undefined ? {} : { responder }) };
}

const ABSENT_NEIGHBOUR =
  "nmap sends Ethernet frames and resolves neighbours itself, even under -Pn: without an answer it calls the host down " +
  "and probes no port. synprobe lets the kernel resolve them, and reports the kernel's own ICMP error.";
const ADDRESS_UNREACHABLE =
  "nmap files ICMPv6 code 3, address unreachable (RFC 4443 section 3.1), under IPv4's host-unreach.";
const POLICY = "nmap files ICMPv6 code 5, failed ingress/egress policy, under code 1, admin-prohibited.";
const HOP_LIMIT = "nmap takes no notice of ICMPv6's time exceeded, though it does of ICMP's.";

/** Targets on which the two disagree; each by name, because each needs its reason. */
const DIFFERENCES: ReadonlyMap<string, Difference> = new Map([
  ...FAMILIES.map((family): [string, Difference] => [
    at(ABSENT[family], OPEN),
    {
      why: ABSENT_NEIGHBOUR,
      nmap: undefined,
      synprobe: {
        state: "filtered",
        reason: family === "ipv4" ? "host-unreach" : "addr-unreach",
        ttl: null,
        responder: NEAR[family],
      },
    },
  ]),
  [
    at(BEYOND.nobody.ipv6, OPEN),
    {
      why: ADDRESS_UNREACHABLE,
      nmap: fromFar("host-unreach", FAR.ipv6),
      synprobe: fromFar("addr-unreach", FAR.ipv6),
    },
  ],
  [
    at(BEYOND.nobody.ipv6, TTL_PORT),
    {
      why: HOP_LIMIT,
      nmap: { state: "filtered", reason: "no-response", ttl: null },
      synprobe: fromFar("time-exceeded", FAR.ipv6),
    },
  ],
  ...REJECTING.flatMap(({ family, port, reason }): [string, Difference][] => {
    if (family !== "ipv6" || (reason !== "addr-unreach" && reason !== "policy-fail")) return [];
    const [why, theirs] =
      reason === "addr-unreach" ? [ADDRESS_UNREACHABLE, "host-unreach"] : [POLICY, "admin-prohibited"];
    return [[at(FAR.ipv6, port), { why, nmap: fromFar(theirs), synprobe: fromFar(reason) }]];
  }),
]);

function nmapProblem(): string | undefined {
  const missing = labProblem();
  if (missing !== undefined) return missing;
  try {
    command(["nmap", "--version"]);
    return undefined;
  } catch {
    return "nmap is not installed";
  }
}

interface Comparison {
  readonly what: string;
  readonly family: "ipv4" | "ipv6";
  readonly ports: readonly number[];
  readonly hosts: readonly string[];
  /** synprobe's, and both's. */
  readonly options: readonly string[];
  readonly both?: readonly string[];
}
// nmap probes the same ports on every host: the far host and this one have several, the others are about routes.
const COMPARISONS = FAMILIES.flatMap((family): Comparison[] => [
  {
    what: `${family}: open, closed, full backlog; far host, own address, loopback`,
    family,
    ports: [OPEN, CLOSED, FULL],
    hosts: [FAR[family], NEAR[family], LOOPBACK[family]],
    options: [],
  },
  {
    what: `${family}: silent, unreachable, prohibited, without a route, absent`,
    family,
    ports: [OPEN],
    hosts: [...Object.values(BEYOND).map((host) => host[family]), ABSENT[family]],
    // Linux tells each prober of no more than five bad IPv4 routes at once: the two have an address each.
    options: family === "ipv4" ? ["-S", NEAR.other4] : [],
  },
  {
    what: `${family}: rejected by a firewall`,
    family,
    ports: REJECTIONS.filter((rejection) => rejection.family === family).map(({ port }) => port),
    hosts: [FAR[family]],
    options: [],
  },
  {
    what: `${family}: a TTL that ends on the way`,
    family,
    ports: [TTL_PORT],
    hosts: [BEYOND.nobody[family]],
    options: [],
    both: ["--ttl", "1"],
  },
]).filter(({ ports }) => ports.length > 0);
/** nmap would not wait for a router that takes its time. */
const PATIENCE = ["--min-rtt-timeout=1s", "--max-retries=1"];

describe.skipIf(skipping("the comparison with nmap", nmapProblem()))("nmap agrees", () => {
  let lab: Lab;
  const ours: Map<string, Found>[] = [];
  const theirs: Map<string, Evidence>[] = [];

  beforeAll(async () => {
    lab = createLab();
    const bothPorts = (hosts: readonly string[], port: number) => hosts.map((host) => ({ host, port }));
    await Promise.all([
      listen(lab.far, bothPorts(Object.values(FAR), OPEN)),
      listenWithFullBacklog(lab.far, bothPorts(Object.values(FAR), FULL)),
      listen(lab.near, bothPorts(["0.0.0.0", "::"], OPEN)),
      listenWithFullBacklog(lab.near, bothPorts(Object.values(LOOPBACK), FULL)),
    ]);
    if (REJECTIONS.length > 0)
      firewall(
        lab.far,
        "input",
        REJECTIONS.map(({ rule }) => rule),
      );
    await Promise.all(
      COMPARISONS.map(async ({ family, ports, hosts, options, both = [] }, i) => {
        const targets = [...both, "-p", ports.join(","), ...hosts];
        const version = family === "ipv6" ? ["-6"] : [];
        [theirs[i], ours[i]] = await Promise.all([
          nmap(lab.near, ...version, ...PATIENCE, ...targets),
          probe(lab.near, "--retries=1", ...options, ...targets),
        ]);
      }),
    );
  });

  afterAll(() => lab.remove());

  test.each(COMPARISONS.map((comparison, i) => ({ ...comparison, i })))("$what", ({ i, hosts, ports }) => {
    expect(ours[i]?.size).toBe(hosts.length * ports.length);
    for (const [target, result] of ours[i] ?? []) {
      const difference = DIFFERENCES.get(target);
      const saidByUs = evidenceOf(result);
      const saidByNmap = theirs[i]?.get(target);
      if (difference === undefined) {
        expect.soft(saidByUs, target).toEqual(saidByNmap);
      } else {
        expect.soft(saidByNmap, `${target} (nmap): ${difference.why}`).toEqual(difference.nmap);
        expect.soft(saidByUs, `${target}: ${difference.why}`).toEqual(difference.synprobe);
      }
    }
  });
});
