/** Loss in bursts and outages of the lab's paths: shares and durations come out, keys are what they say, the seed decides. */
import { expect, describe as group, it } from "vitest";
import type { BurstDescription, PathDescription } from "../../src/lab/description.ts";
import type { LabNetwork } from "../../src/lab/network.ts";
import { createBursts } from "../../src/lab/path/bursts.ts";
import { type Flow, newFlow, readFlow } from "../../src/lab/path/flow.ts";
import { loadAddress } from "../../src/socket/table.ts";
import { everyday } from "../everyday.ts";
import { labOf, receive, SECOND, segmentFrom, send, synTo } from "./lab.ts";
import { icmpAbout } from "./network.ts";
import { address } from "./run.ts";

const MS = 1000;
const SEED = 3;

function flowTo(host: string, port = 80, proberPort = 61_000): Flow {
  const flow = newFlow();
  const bytes = address(host);
  loadAddress(flow.host, 0, bytes, 0, bytes.length);
  return Object.assign(flow, { port, proberPort });
}

group("a burst rule", () => {
  const MINUTE = 60 * SECOND;

  it.each<BurstDescription>([
    { per: "path", share: 0.05, meanMs: 20 },
    { per: "prefix", share: 0.05, meanMs: 500 },
    { per: "host", share: 0.05, meanMs: 500 },
    { per: "host", share: 0.01, meanMs: 2000 },
    { per: "host", share: 0.2, meanMs: 10_000 },
    { per: "pair", share: 0.5, meanMs: 2000 },
  ])("%j has the share of time and the mean duration asked for", (rule) => {
    const { share, meanMs = 0 } = rule;
    const cycleUs = (meanMs * MS) / share;
    const keys = everyday(40, 400);
    const endUs = 100 * cycleUs;
    let [bursts, totalUs] = [0, 0];
    for (let key = 0; key < keys; key++) {
      const weather = createBursts(rule, SEED + key, key, 0);
      for (const [from, to] of weather.periods(flowTo("198.18.0.1"), endUs)) {
        bursts++;
        totalUs += to - from;
      }
    }
    const cycles = 100 * keys;
    // The relative deviation of a sum of so many exponential times is at most 1.5 / sqrt(cycles) with the good ones' own.
    expect(Math.abs(totalUs / (keys * endUs) / share - 1)).toBeLessThan(4 * (1.5 / Math.sqrt(cycles)));
    expect(Math.abs(totalUs / bursts / (meanMs * MS) - 1)).toBeLessThan(4 * (1.5 / Math.sqrt(cycles)));
  });

  it("is bad at first with the same share, and keeps its state as long as the exponential law says", () => {
    const rule: BurstDescription = { per: "host", share: 0.2, meanMs: 500 };
    const weather = createBursts(rule, SEED, 0, 0);
    const hosts = everyday(20_000, 100_000);
    const gapUs = 300 * MS;
    let [first, both] = [0, 0];
    for (let host = 0; host < hosts; host++) {
      const flow = flowTo(`10.${host >>> 16}.${(host >>> 8) & 255}.${host & 255}`);
      const bad = weather.loses(flow, 0);
      if (bad) first++;
      if (bad && weather.loses(flow, gapUs)) both++;
    }
    expect(Math.abs(first - 0.2 * hosts)).toBeLessThan(4 * Math.sqrt(hosts * 0.2 * 0.8));
    // P(bad | bad before) = share + (1 - share) exp(-t / (mean (1 - share))).
    const again = 0.2 + 0.8 * Math.exp(-300 / (500 * 0.8));
    expect(Math.abs(both - again * first)).toBeLessThan(4 * Math.sqrt(first * again * (1 - again)));
  });

  it.each(["path", "prefix", "host", "pair", "flow", "source-port"] as const)(
    "per %s, asked seldom says what it says asked every millisecond, and whatever else is asked",
    (per) => {
      const rule: BurstDescription = { per, share: 0.3, meanMs: 40 };
      const [often, seldom] = [0, 0].map(() => createBursts(rule, SEED, 7, 5 * SECOND));
      const [flow, other] = [flowTo("198.18.0.1", 80), flowTo("198.19.7.9", 81, 62_000)];
      let bad = 0;
      for (let ms = 0; ms < 20_000; ms++) {
        const now = 5 * SECOND + ms * MS;
        if (often.loses(flow, now)) bad++;
        if (ms % 17 === 0) often.loses(other, now);
        if (ms % 1501 === 0) expect(seldom.loses(flow, now)).toBe(often.loses(flow, now));
      }
      expect(bad).toBeGreaterThan(3000);
      expect(bad).toBeLessThan(9000);
    },
  );

  it.each<BurstDescription>([
    { per: "host", share: 1, meanMs: 5 },
    { per: "host", share: 0, meanMs: 5 },
    { per: "host", share: 1 },
    { per: "host", share: 0 },
  ])("%j never changes", (rule) => {
    const weather = createBursts(rule, SEED, 0, 0);
    const flow = flowTo("198.18.0.1");
    for (const now of [0, 1, MINUTE, 1e12]) expect(weather.loses(flow, now)).toBe(rule.share === 1);
    expect(weather.periods(flow, MINUTE)).toEqual(rule.share === 1 ? [[0, MINUTE]] : []);
  });

  it("without a duration is for ever, for that share of the keys", () => {
    const weather = createBursts({ per: "source-port", share: 0.05 }, SEED, 0, 0);
    const bad = (now: number): number[] =>
      Array.from({ length: 20_000 }, (_, port) => port).filter((port) =>
        weather.loses(flowTo("198.18.0.1", 80, port), now),
      );
    const found = bad(0);
    expect(Math.abs(found.length - 1000)).toBeLessThan(4 * Math.sqrt(20_000 * 0.05 * 0.95));
    expect(bad(3600 * SECOND)).toEqual(found);
  });
});

group("a key", () => {
  const hosts = ["198.18.0.1", "198.18.0.2", "198.18.1.1", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"];
  const flows = hosts.flatMap((host) =>
    [80, 81].flatMap((port) => [61_000, 61_001].map((source) => flowTo(host, port, source))),
  );
  it.each([
    ["path", 1],
    ["source-port", 2],
    ["prefix", 4],
    ["host", 6],
    ["pair", 12],
    ["flow", 24],
  ] as const)("per %s: %d of 24 flows that differ have states of their own", (per, expected) => {
    const weather = createBursts({ per, share: 0.5, meanMs: 10 }, SEED, 0, 0);
    const histories = flows.map(() => "");
    for (let now = 0; now < SECOND; now += 10 * MS) {
      for (const [i, flow] of flows.entries()) histories[i] += weather.loses(flow, now) ? "1" : "0";
    }
    expect(new Set(histories).size).toBe(expected);
  });

  it.each(["198.18.0.1", "2001:db8::7"])("of %s is the same both ways, and of an ICMP error", (host) => {
    const syn = synTo(host, 443, 61_234);
    const read = (packet: Uint8Array, way: "in" | "out"): Flow => {
      const flow = newFlow();
      readFlow(flow, packet, 0, packet.length, way);
      return flow;
    };
    const expected = flowTo(host, 443, 61_234);
    expect(read(syn, "in")).toEqual(expected);
    const network = labOf({}, { hosts: [{ range: host, ports: [{ is: "open" }] }] });
    send(network, syn, 0);
    const [{ packet }] = receive(network, MS);
    expect(read(packet, "out")).toEqual(expected);
    const v4 = host.includes(".");
    const router = address(v4 ? "198.18.255.1" : "2001:db8:99::1");
    expect(read(icmpAbout(syn, v4 ? [3, 1] : [1, 3], router), "out")).toEqual(expected);
  });
});

/** Sends a SYN to each host and port every `everyMs`. @returns for each of those the milliseconds at which SYNs were answered */
function answered(
  path: PathDescription,
  untilMs: number,
  everyMs: number,
  pairs: readonly [host: string, port: number][],
): { network: LabNetwork; times: number[][] } {
  const network = labOf({}, { path, seed: SEED });
  const times: number[][] = pairs.map(() => []);
  for (let ms = 0; ms < untilMs; ms += everyMs) {
    for (const [i, [host, port]] of pairs.entries()) {
      send(network, segmentFrom(address(host), port), ms * MS);
      if (receive(network, ms * MS).length > 0) times[i].push(ms);
    }
  }
  return { network, times };
}

group("a path with bursts", () => {
  const PAIRS = Array.from({ length: 6 }, (_, i): [string, number] => [`198.18.${i >> 1}.${i & 1}`, 80 + i]);

  it("loses exactly what the truth says, and the rest arrives", () => {
    const path: PathDescription = {
      bursts: [
        { per: "host", share: 0.2, meanMs: 30 },
        { per: "pair", share: 0.1, meanMs: 50 },
        { per: "prefix", share: 0.1, meanMs: 70 },
      ],
      outages: [{ fromMs: 500, toMs: 700, share: 0.5 }],
    };
    const { network, times } = answered(path, 2000, 1, PAIRS);
    for (const [i, [host, port]] of PAIRS.entries()) {
      const away = network.awayTimes(address(host), port, 2 * SECOND);
      const expected = Array.from({ length: 2000 }, (_, ms) => ms).filter(
        (ms) => !away.some(([from, to]) => ms * MS >= from && ms * MS < to),
      );
      expect(times[i], host).toEqual(expected);
      expect(expected.length).toBeLessThan(1900);
    }
    expect(network.counts.lostIn).toBe(PAIRS.length * 2000 - times.flat().length);
    // Nothing takes time on this path: what got there comes back.
    expect(network.counts.lostOut).toBe(0);
  });

  it("has one state for both ways, unless each has its own", () => {
    const rule = { per: "path", share: 0.5, meanMs: 20 } as const;
    const lost = (path: PathDescription): [lostIn: number, lostOut: number] => {
      const { counts } = answered(path, 3000, 1, [["198.18.0.1", 80]]).network;
      return [counts.lostIn, counts.lostOut];
    };
    const [sharedIn, sharedOut] = lost({ bursts: [rule] });
    expect(sharedIn).toBeGreaterThan(900);
    expect(sharedOut).toBe(0);
    const [ownIn, ownOut] = lost({ in: { bursts: [{ ...rule }] }, out: { bursts: [{ ...rule }] } });
    expect(ownIn).toBeGreaterThan(900);
    expect(ownOut).toBeGreaterThan(300);
    expect(lost({ bursts: [rule], out: { bursts: [] } })).toEqual([sharedIn, 0]);
  });

  it("of some hosts alone leaves the others; what a host's path leaves out it shares with the network", () => {
    const bursts = [{ per: "host", share: 1 }] as const;
    const network = labOf(
      {},
      {
        path: { outages: [{ fromMs: 10, toMs: 20 }] },
        hosts: [{ range: "198.18.0.0/24" }, { range: "198.18.1.0/24", path: { bursts } }],
      },
    );
    expect(network.awayTimes(address("198.18.0.1"), 80, SECOND)).toEqual([[10 * MS, 20 * MS]]);
    expect(network.awayTimes(address("198.18.1.1"), 80, SECOND)).toEqual([[0, SECOND]]);
    expect(network.awayTimes(address("198.19.0.1"), 80, SECOND)).toEqual([]);
  });
});

group("an outage", () => {
  it("loses everything from its beginning up to its end", () => {
    const { times } = answered({ outages: [{ fromMs: 100, toMs: 250 }] }, 400, 10, [["198.18.0.1", 80]]);
    expect(times[0]).toEqual(
      Array.from({ length: 40 }, (_, i) => 10 * i).filter((ms) => ms < 100 || ms >= 250),
    );
  });

  it("takes a share of the prefixes, whole ones, others each time", () => {
    const outages = [1, 2].map((i) => ({ fromMs: 100 * i, toMs: 100 * i + 50, share: 0.25 }));
    const network = labOf({}, { path: { outages } });
    const awayOf = (prefix: number, host: number): string =>
      JSON.stringify(
        network.awayTimes(address(`198.${18 + (prefix >> 8)}.${prefix & 255}.${host}`), 80, SECOND),
      );
    const taken = Array.from({ length: 512 }, (_, prefix) => {
      expect(awayOf(prefix, 200)).toBe(awayOf(prefix, 1));
      return awayOf(prefix, 1);
    });
    const deviation = Math.sqrt(512 * 0.25 * 0.75);
    for (const from of ["[100000,", "[200000,"]) {
      const count = taken.filter((away) => away.includes(from)).length;
      expect(Math.abs(count - 128)).toBeLessThan(4 * deviation);
    }
    expect(Math.abs(taken.filter((away) => away.includes("],[")).length - 32)).toBeLessThan(
      4 * Math.sqrt(30),
    );
  });

  it.each([
    ["198.18.0.0/24", ["198.18.0.0", "198.18.0.255"], ["198.17.255.255", "198.18.1.0", "::198.18.0.1"]],
    ["198.18.4.1-198.18.4.40", ["198.18.4.1", "198.18.4.40"], ["198.18.4.0", "198.18.4.41"]],
    ["2001:db8:18::/64", ["2001:db8:18::", "2001:db8:18::ffff"], ["2001:db8:18:1::", "198.18.0.1"]],
  ])("takes the addresses of %s and no others", (range, taken, left) => {
    const network = labOf(
      {},
      {
        path: { outages: [{ fromMs: 0, toMs: 1, range }] },
        hosts: ["198.0.0.0/8", "2001:db8:18::/48", "::198.18.0.0/112"].map((range) => ({ range })),
      },
    );
    for (const host of taken) expect(network.awayTimes(address(host), 80, SECOND), host).toHaveLength(1);
    for (const host of left) expect(network.awayTimes(address(host), 80, SECOND), host).toHaveLength(0);
  });
});
