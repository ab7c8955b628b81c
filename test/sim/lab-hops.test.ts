/** The lab's routers: TTLs counted down, what each says and stops, equal branches by flow, the way back, and the truth about all of it. */
import { expect, describe as group, it } from "vitest";
import type { LabDescription, PathDescription } from "../../src/lab/description.ts";
import { createNetwork, type LabNetwork } from "../../src/lab/network.ts";
import { parseDescription } from "../../src/lab/parse-description.ts";
import { formatAddress } from "../../src/wire/address.ts";
import { mplsLabels } from "../../src/wire/icmp-extensions.ts";
import * as ipv4 from "../../src/wire/ipv4.ts";
import * as ipv6 from "../../src/wire/ipv6.ts";
import { lineOf, receive, SECOND, send, synTo } from "./lab.ts";
import { address } from "./run.ts";

const HOSTS = { v4: "198.18.0.1", v6: "2001:db8:18::1" } as const;
const networkOf = (path: PathDescription, more: Partial<LabDescription> = {}): LabNetwork =>
  createNetwork(
    {
      path,
      hosts: [
        { range: "198.18.0.0/16", ports: [{ ports: "80", is: "open" }], ttl: 128, synAckRetries: 0 },
        { range: "2001:db8:18::/64", ports: [{ ports: "80", is: "open" }], synAckRetries: 0 },
      ],
      ...more,
    },
    { startUs: 0 },
  );

function syn(host: string, port: number, ttl: number, localPort = 61_000): Uint8Array {
  const packet = synTo(host, port, localPort);
  if (packet[0] >> 4 === 6) packet[ipv6.HOP_LIMIT] = ttl;
  else {
    const header = ipv4.parse(packet, 0, packet.length);
    if (header !== undefined) ipv4.emit(packet, 0, { ...header, ttl });
  }
  return packet;
}

/** What comes back for one SYN, as lines: "203.0.113.1 > … ICMP time-exceeded …". */
function ask(
  network: LabNetwork,
  packet: Uint8Array,
  nowUs = 0,
): { line: string; atUs: number; ttl: number; packet: Uint8Array }[] {
  send(network, packet, nowUs);
  return receive(network, nowUs + SECOND).map(({ packet: answer, atUs }) => ({
    line: lineOf(answer),
    atUs: atUs - nowUs,
    ttl: answer[0] >> 4 === 4 ? ipv4.ttl(answer, 0) : ipv6.hopLimit(answer, 0),
    packet: answer,
  }));
}
const senderOf = (packet: Uint8Array): string =>
  packet[0] >> 4 === 4 ? formatAddress(packet, 12, 4) : formatAddress(packet, 8, 16);

const MS = 1000;

group.each(["v4", "v6"] as const)("routers of IP%s", (version) => {
  const host = HOSTS[version];
  const router = (n: number): string => (version === "v4" ? `203.0.113.${n}` : `2001:db8:ff::${n}`);

  it("count the TTL down; where it is used up the router says so, and quotes the packet as it came to it", () => {
    const hops = [{ latencyMs: 1 }, { latencyMs: 2 }, { latencyMs: 4 }];
    const network = networkOf({ latencyMs: 10, hops });
    const answers = [1, 2, 3, 4, 64].flatMap((ttl, i) => ask(network, syn(host, 80, ttl), i * SECOND));
    expect(answers.map(({ packet }) => senderOf(packet))).toEqual([
      router(1),
      router(2),
      router(3),
      host,
      host,
    ]);
    expect(answers.map(({ atUs }) => Math.round(atUs / MS))).toEqual([22, 26, 34, 34, 34]);
    // A router's own packets start with 64, of which those before it take one each.
    expect(answers.map(({ ttl }) => ttl)).toEqual([
      64,
      63,
      62,
      ...Array(2).fill((version === "v4" ? 128 : 64) - 3),
    ]);
    const [first] = answers;
    const quoteAt = version === "v4" ? 28 : 48;
    expect(first.packet[quoteAt + (version === "v4" ? 8 : 7)]).toBe(1);
    if (version === "v4") expect(ipv4.verifyChecksum(first.packet, quoteAt)).toBe(true);
    expect(first.line).toContain("time-exceeded");
  });

  it("are silent, or within a limit, and stop what is lost on their link", () => {
    const hops = [{ silent: true }, { icmpLimit: { ratePps: 1, burst: 2 } }, { loss: 1 }];
    const network = networkOf({ hops });
    expect(ask(network, syn(host, 80, 1))).toEqual([]);
    const limited = [0, 1, 2, 3].map((i) => ask(network, syn(host, 80, 2), 2 * SECOND + i).length);
    expect(limited).toEqual([1, 1, 0, 0]);
    expect(ask(network, syn(host, 80, 2), 4 * SECOND)).toHaveLength(1);
    expect(ask(network, syn(host, 80, 64), 6 * SECOND)).toEqual([]);
    expect(network.counts.stopped).toBe(7);
  });

  it.each([
    ["out", 2, 3],
    ["in", 1, 2],
  ] as const)(
    "with rules %sside let SYNs with a TTL of %i expire, and stop those with %i",
    (at, seen, stopped) => {
      const rules = [
        { ports: "80", does: "drop" as const, at },
        { ports: "81", does: "reset" as const, at },
        { ports: "82", does: "admin-prohibited" as const, at },
        { range: host, ports: "83", does: "drop" as const, at },
      ];
      const network = networkOf({ hops: [{}, { rules }, {}] });
      const of = (port: number, ttl: number): string[] =>
        ask(network, syn(host, port, ttl), port * SECOND * 10 + ttl * SECOND).map(
          ({ packet, line }) =>
            `${senderOf(packet)} ${/time-exceeded|admin-prohibited|TCP \S+/.exec(line)?.[0]}`,
        );
      for (const port of [80, 81, 82, 83]) expect(of(port, seen)).toEqual([`${router(seen)} time-exceeded`]);
      for (const port of [80, 83]) expect(of(port, stopped)).toEqual([]);
      expect(of(81, stopped)).toEqual([`${host} TCP RST,ACK`]);
      expect(of(82, stopped)).toEqual([`${router(2)} admin-prohibited`]);
      expect(of(84, 64)).toEqual([`${host} TCP RST,ACK`]);
    },
  );

  it("stop answers on their way back, which has hops of its own", () => {
    const hops = [{}, { rules: [{ ports: "80", does: "drop" as const, back: true }] }];
    const network = networkOf({ hops, returnDetour: 5 });
    expect(ask(network, syn(host, 80, 64))).toEqual([]);
    const [reset] = ask(network, syn(host, 81, 64), SECOND);
    expect(reset.ttl).toBe((version === "v4" ? 128 : 64) - 2 - 5);
  });

  it("choose among branches by the flow: always the same for one, evenly over many", () => {
    const network = networkOf({ hops: [{}, { branches: [[{}], [{}], [{}, {}], [{}]] }] });
    const routerAt = (localPort: number, i: number): string =>
      senderOf(ask(network, syn(host, 80, 2, localPort), i * SECOND)[0].packet);
    const seen = new Map<string, number>();
    for (let flow = 0; flow < 400; flow++) {
      const found = routerAt(30_000 + flow, 2 * flow);
      expect(routerAt(30_000 + flow, 2 * flow + 1)).toBe(found);
      seen.set(found, (seen.get(found) ?? 0) + 1);
    }
    expect([...seen.keys()].sort()).toEqual([2, 3, 4, 6].map(router));
    for (const count of seen.values()) expect(Math.abs(count - 100)).toBeLessThan(40);
  });

  it("say what they say over the path of the packet's own host, where hosts of several paths are behind them", () => {
    const network = networkOf(
      { hops: [{}], latencyMs: 10 },
      {
        hosts: [
          { range: HOSTS[version], path: { out: { latencyMs: 50 } } },
          { range: version === "v4" ? "198.18.0.2" : "2001:db8:18::2" },
          { range: version === "v4" ? "198.18.0.3" : "2001:db8:18::3", path: { out: { loss: 1 } } },
        ],
      },
    );
    const times = [1, 2, 3].map((last, i) =>
      ask(network, syn(host.replace(/1$/, String(last)), 80, 1), i * SECOND).map(({ atUs }) => atUs / MS),
    );
    expect(times).toEqual([[60], [20], []]);
  });

  it("tell their label", () => {
    const network = networkOf({ hops: [{ mplsLabel: 16_005 }] });
    const [{ packet, line }] = ask(network, syn(host, 80, 1));
    expect(line).toContain("time-exceeded");
    const at = version === "v4" ? 20 : 40;
    expect(mplsLabels(packet, at, packet.length, version === "v4" ? 4 : 6)).toEqual([
      { label: 16_005, trafficClass: 0, ttl: 1 },
    ]);
  });
});

it("a packet longer than the next link is said to be too long", () => {
  const network = networkOf({ hops: [{ mtu: 600 }] });
  const ping = new Uint8Array(700);
  const header = ipv4.parse(synTo(HOSTS.v4, 80), 0, 44);
  if (header === undefined) throw new Error("no header");
  ipv4.emit(ping, 0, { ...header, totalLength: 700, protocol: 1, ttl: 64 });
  const [{ line, packet }] = ask(network, ping);
  expect(line).toContain("fragmentation-needed");
  expect((packet[26] << 8) | packet[27]).toBe(600);
});

group("the truth", () => {
  const rule = (does: "drop" | "reset" | "admin-prohibited", more = {}) => ({
    rules: [{ ports: "80", does, ...more }],
  });
  const truth = (hops: PathDescription["hops"], port = 80) =>
    networkOf({ hops: hops ?? [] }).truth(address(HOSTS.v4), port);

  it("names the router that decides", () => {
    const where = { hop: 2, router: "203.0.113.2", back: false, share: 1 };
    expect(truth([{}, rule("drop")])).toMatchObject({
      state: "filtered",
      router: { ...where, does: "drop" },
    });
    expect(truth([{}, rule("reset")])).toMatchObject({
      state: "closed",
      router: { ...where, does: "reset" },
    });
    expect(truth([{}, rule("admin-prohibited")])).toMatchObject({
      state: "filtered",
      reasons: ["admin-prohibited", "no-response"],
    });
    expect(truth([{}, rule("drop")], 81)).not.toHaveProperty("router");
    expect(truth([{}, {}, rule("drop", { back: true })])).toMatchObject({
      state: "filtered",
      router: { hop: 3, back: true },
    });
  });

  it("of one branch of four is the host's, for the flows that go another way", () => {
    const branches = [[{}], [rule("drop")], [{}], [{}]];
    expect(truth([{}, { branches }])).toMatchObject({ state: "open", router: { hop: 2, share: 0.25 } });
  });
});

it("as many routers as a description may have each have addresses", () => {
  const branches = [...Array(15).fill(Array(32).fill({})), Array(27).fill({})];
  const path = { hops: [{}, { branches }] };
  const network = createNetwork(
    parseDescription(JSON.stringify({ hosts: [{ range: HOSTS.v4 }], path }), "lab.json"),
    {
      startUs: 0,
    },
  );
  const seen = new Set<string>();
  for (let i = 0; i < 200; i++) {
    for (const { packet } of ask(network, syn(HOSTS.v4, 80, 28, 30_000 + i), 2 * i * SECOND))
      seen.add(senderOf(packet));
  }
  // The 27th on each branch: 1 + 32 n + 27, the last of all among them.
  expect([...seen].filter((sender) => sender !== HOSTS.v4)).toHaveLength(16);
  expect(seen).toContain("198.51.100.254");
});

it.each([
  [{ hops: [{ ipv4: "2001:db8::9" }] }, 'path.hops[0].ipv4: "2001:db8::9" is not an IPv4 address'],
  [
    { hops: [{ rules: [{ does: "dorp" }] }] },
    /path\.hops\[0\]\.rules\[0\]\.does: "dorp" is none of .*did you mean "drop"/,
  ],
  [{ hops: [{ branches: [[{}]] }] }, "path.hops[0].branches: one branch is none: give two or more"],
  [{ hops: [{ branches: [[{}], []] }] }, "path.hops[0].branches[1]: a branch without routers"],
  [
    { hops: [{ silent: true, branches: [[{}], [{}]] }] },
    "path.hops[0].silent: stands in the branches' own routers",
  ],
  [
    { hops: [{ rules: [{ does: "no-route", ports: "1-x" }] }] },
    /path\.hops\[0\]\.rules\[0\]\.ports: "1-x" is neither/,
  ],
  [
    { hops: [{ rules: [{ does: "reset", back: true }] }] },
    "path.hops[0].rules[0].does: answers on their way back are dropped",
  ],
  [
    { hops: [{}, { branches: Array(16).fill(Array(32).fill({})) }] },
    "path.hops: 513 routers, those on branches included; at most 508 are allowed",
  ],
  [{ returnDetour: 3 }, "path.returnDetour: needs hops beside it"],
])("a mistake in %j is named", (path, says) => {
  expect(() => parseDescription(JSON.stringify({ hosts: [], path }), "lab.json")).toThrow(says);
});
