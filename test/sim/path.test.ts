/**
 * Where SYNs stop, through simulated routers: each kind of verdict, then random ways, of which none may be told a wrong hop with
 * small doubt.
 */
import { describe, expect, it } from "vitest";
import type { HopDescription, LabDescription, PathDescription } from "../../src/lab/description.ts";
import type { PortPath, Where } from "../../src/scan/path/result.ts";
import { formatAddress } from "../../src/wire/address.ts";
import * as ipv4 from "../../src/wire/ipv4.ts";
import { PROTOCOL } from "../../src/wire/protocol.ts";
import * as tcp from "../../src/wire/tcp.ts";
import { everyday } from "../everyday.ts";
import { type Walked, type Walking, walkTo } from "./path-walk.ts";
import { HOST, OPEN_PORT, type RandomWay, randomWay, STOPPED_PORT } from "./random-ways.ts";

const HOSTS = { IPv4: "198.18.9.9", IPv6: "2001:db8:18::9" } as const;
const way = (hops: PathDescription["hops"], rest: "closed" | "silent" = "silent"): LabDescription => ({
  path: { latencyMs: 2, ...(hops === undefined ? {} : { hops }) },
  hosts: Object.values(HOSTS).map((range) => ({ range, rest, ports: [{ ports: "443,445", is: "open" }] })),
});
const plain = (count: number): HopDescription[] => Array.from({ length: count }, () => ({ latencyMs: 1 }));
const stopping = (
  does: "drop" | "reset" | "admin-prohibited",
  more: { at?: "in"; back?: true } = {},
): HopDescription => ({ latencyMs: 1, rules: [{ ports: "445", does, ...more }] });
const portOf = ({ result }: Walked, port: number): PortPath => {
  const found = result.ports.find((each) => each.port === port);
  if (found === undefined) throw new Error(`no port ${port}`);
  return found;
};
const LIMITED = { icmpLimit: { ratePps: 1, burst: 1 } };

describe.each(["IPv4", "IPv6"] as const)("over %s", (version) => {
  const host = HOSTS[version];
  const walk = (hops: NonNullable<PathDescription["hops"]>, more: Walking = {}): Walked =>
    walkTo(way(hops), host, more);

  it.each<[what: string, hops: HopDescription[], where: object]>([
    [
      "a drop behind hop 3",
      [...plain(2), stopping("drop"), ...plain(2)],
      { kind: "dropped", from: 3, to: 4 },
    ],
    [
      "a drop before hop 3",
      [...plain(2), stopping("drop", { at: "in" }), ...plain(2)],
      { kind: "dropped", from: 2, to: 3 },
    ],
    [
      "a drop at the first hop",
      [stopping("drop", { at: "in" }), ...plain(2)],
      { kind: "dropped", from: 0, to: 1 },
    ],
    ["a drop by the last hop", [...plain(2), stopping("drop")], { kind: "at-host", from: 3, to: 4 }],
    [
      "answers dropped on their way back",
      [...plain(2), stopping("drop", { back: true }), ...plain(2)],
      { kind: "at-host", from: 5, to: 6 },
    ],
    [
      "an ICMP error of hop 3",
      [...plain(2), stopping("admin-prohibited"), ...plain(2)],
      { kind: "rejected", self: false, from: 3, to: 3 },
    ],
    [
      "a RST of a box at hop 3",
      [...plain(2), stopping("reset"), ...plain(3)],
      { kind: "box", from: 3, to: 4, beyond: 7 },
    ],
    ["nothing", plain(4), { kind: "host", hop: 5 }],
    ["nothing, without routers", [], { kind: "host", hop: 1 }],
  ])("%s is told", (_, hops, where) => {
    const walked = walk(hops);
    const { state, doubt, where: found } = portOf(walked, 445);
    expect(found).toMatchObject(where);
    expect(state).toBe({ host: "open", box: "closed" }[found.kind as string] ?? "filtered");
    if (found.kind !== "host") expect(doubt).toBeLessThan(0.01);
    expect(portOf(walked, 443)).toMatchObject({
      state: "open",
      where: { kind: "host", hop: hops.length + 1 },
    });
    expect(walked.result).toMatchObject({ notes: [], interrupted: false });
  });

  it("tells each hop with its round trip and its labels", () => {
    const { result } = walk([
      { latencyMs: 3 },
      { latencyMs: 3, silent: true },
      { latencyMs: 3, mplsLabel: 77 },
    ]);
    const [first, second, third] = result.hops;
    expect(result.hops.map(({ hop }) => hop)).toEqual([1, 2, 3]);
    expect(first.answers).toMatchObject([{ rttUs: 10_000, labels: [], ports: [443, 445] }]);
    expect(second.answers).toEqual([]);
    expect(third.answers[0].labels).toEqual([{ label: 77, trafficClass: 0, ttl: 1 }]);
  });

  it("names no hop that it cannot know: behind a silent router the place is wider", () => {
    const { where } = portOf(walk([...plain(2), stopping("drop"), { silent: true }, ...plain(2)]), 445);
    expect(where).toEqual({ kind: "dropped", from: 3, to: 5, other: 443 });
  });

  it("does not call a router's limit a filter, and asks more slowly", () => {
    const walked = walk([...plain(2), LIMITED, LIMITED, ...plain(1)], { ports: [443, 444, 445, 446] });
    expect(portOf(walked, 443).where).toEqual({ kind: "host", hop: 6 });
    const stopped = walk([...plain(1), stopping("drop"), LIMITED, LIMITED, ...plain(1)]);
    const { where, doubt = 1 } = portOf(stopped, 445);
    expect(where).toMatchObject({ kind: "dropped", from: 2 });
    expect(doubt).toBeLessThan(0.01);
  });

  it("takes a common port to compare with where none of those asked for answers, or the one that it is given", () => {
    const hops = [...plain(2), stopping("drop"), ...plain(2)];
    const found = walk(hops, { ports: [445] });
    expect(found.result.ports).toMatchObject([
      { port: 445, reference: false, where: { kind: "dropped", from: 3, to: 4 } },
      { port: 443, reference: true, state: "open", where: { kind: "host", hop: 6 } },
    ]);
    const closed: LabDescription = way(hops, "closed");
    const given = walkTo(closed, host, { ports: [445], reference: 9 });
    expect(given.result.ports).toMatchObject([
      { where: { kind: "dropped", from: 3, to: 4 } },
      { port: 9, reference: true, state: "closed" },
    ]);
  });

  it("without anything to compare with says how far SYNs come, and claims nothing", () => {
    const walked = walkTo(way([...plain(2), { rules: [{ does: "drop" }] }, ...plain(2)]), host, {
      ports: [445],
    });
    expect(walked.result.ports).toHaveLength(1);
    expect(portOf(walked, 445)).toMatchObject({ state: "filtered", where: { kind: "unknown", from: 3 } });
    expect(portOf(walked, 445).doubt).toBeUndefined();
  });

  it("tells what this machine refuses to send, and goes on with the other ports", () => {
    const walked = walk(plain(3), { refuses: (port) => port === 445 });
    const { where, state, reason, doubt } = portOf(walked, 445);
    expect({ state, reason, doubt }).toEqual({ state: "filtered", reason: "send-eperm", doubt: 0 });
    expect(where).toMatchObject({ kind: "rejected", by: walked.result.local, self: false, from: 0, to: 0 });
    expect(portOf(walked, 443)).toMatchObject({ state: "open", where: { kind: "host", hop: 4 } });
    expect(walked.result.sent).toBe(walked.packets.length);
  });

  it("tells a branch that loses from a filter", () => {
    const branches = [[{}], [{}], [{ loss: 1 }], [{}]];
    const kinds = new Set<string>();
    for (let seed = 1; seed <= 12; seed++) {
      const { result } = walk([...plain(2), { branches }, ...plain(2)], {
        seed,
        firstPort: 61_000 + 40 * seed,
        ports: [443],
      });
      const { where, doubt = 0 } = result.ports[0];
      kinds.add(where.kind);
      if (where.kind === "some-flows") {
        expect(where.from).toBe(2);
        expect(doubt).toBeLessThan(0.01);
      } else expect(where).toEqual({ kind: "host", hop: 6 });
    }
    expect([...kinds].sort()).toEqual(["host", "some-flows"]);
  });

  it("does not call it a branch where the flow that was walked lost its answers by chance", () => {
    let first: number | undefined;
    let isOver = false;
    const meddle = (packet: Uint8Array): readonly Uint8Array[] => {
      const [at, protocol] = packet[0] >> 4 === 4 ? [20, packet[9]] : [40, packet[6]];
      if (protocol !== PROTOCOL.TCP || tcp.sourcePort(packet, at) !== 445) return [packet];
      const flow = tcp.destinationPort(packet, at);
      first ??= flow;
      // Until another flow is answered.
      isOver ||= flow !== first;
      return isOver ? [packet] : [];
    };
    const walked = walk(plain(4), { meddle });
    expect([first !== undefined, isOver]).toEqual([true, true]);
    expect(portOf(walked, 445)).toMatchObject({ state: "open", where: { kind: "host", hop: 5 } });
    expect(portOf(walked, 445).doubt ?? 0).toBe(0);
  });

  it("counts which of several flows lose every SYN", () => {
    const branches = [[{}], [{}], [{}], [{ loss: 1 }]];
    const walked = walk([...plain(2), { branches }, ...plain(2)], { ports: [443], flows: 16 });
    const { where, doubt = 1 } = portOf(walked, 443);
    const dead = walked.result.flows.filter(({ answered }) => answered === 0);
    expect(where).toEqual({ kind: "some-flows", from: 2, passed: 16 - dead.length, asked: 16 });
    expect(doubt).toBeLessThan(0.01);
    expect(dead.length).toBeGreaterThan(0);
    expect(dead.length).toBeLessThan(10);
    for (const { hops } of dead) expect(hops).toHaveLength(2);
    // Three members of the bundle are left.
    const third = walked.result.flows.flatMap(({ hops }) => hops.slice(2, 3));
    expect(new Set(third).size).toBe(3);
  });

  it("sends no more than its rate, and than 30 hops x 3 tries a port", () => {
    for (const hops of [
      plain(3),
      [...plain(2), { rules: [{ does: "drop" as const }] }],
      [stopping("drop"), LIMITED, LIMITED],
    ]) {
      const { packets, result } = walk(hops, { rate: 100 });
      for (let i = 2; i < packets.length; i++) {
        expect(packets[i].atUs - packets[i - 2].atUs).toBeGreaterThanOrEqual(19_999);
      }
      expect(result.sent).toBeLessThanOrEqual(2 * 90 + 40);
      expect(result.sent).toBe(packets.length);
    }
  });
});

it("sends a port no more than 30 hops x 3 tries and 50 SYNs of comparisons, whatever is lost; and the one compared with as many as the others", () => {
  const open = {
    hosts: [{ range: HOST, rest: "silent" as const, ports: [{ ports: "443,445", is: "open" as const }] }],
  };
  const most = 90 + 50;
  for (let seed = 1; seed <= everyday(40, 400); seed++) {
    const lossy: LabDescription = { ...open, seed, path: { latencyMs: 5, loss: 0.9, hops: plain(2) } };
    const away: LabDescription = {
      ...open,
      seed,
      path: { latencyMs: 5, bursts: [{ per: "pair", share: 0.7, meanMs: 1500 }], hops: plain(3) },
    };
    expect(walkTo(lossy, HOST, { seed, ports: [443] }).walk.sentTo(443)).toBeLessThanOrEqual(most);
    expect(walkTo(away, HOST, { seed, ports: [443] }).walk.sentTo(443)).toBeLessThanOrEqual(most);
  }
  // Few tries, and comparisons that do not make it clear.
  const limited = walkTo(way([stopping("drop"), ...plain(1).concat(Array(5).fill(LIMITED))]), HOST, {
    maxHops: 8,
    tries: 1,
  });
  expect(limited.walk.sentTo(445)).toBeLessThanOrEqual(8 + 50);
  const stopped = [444, 445, 446, 447, 448];
  const { walk } = walkTo(
    way([{ rules: [{ ports: "444-448", does: "drop" }] }, LIMITED, LIMITED, ...plain(2)]),
    HOST,
    { ports: [443, ...stopped] },
  );
  const others = stopped.map((port) => walk.sentTo(port));
  for (const sent of others) expect(sent).toBeLessThanOrEqual(most);
  expect(walk.sentTo(443)).toBeLessThanOrEqual(others.reduce((sum, sent) => sum + sent, 90));
});

it("the host's own ICMP error is said to be the host's", () => {
  const description: LabDescription = {
    ...way(plain(3)),
    hosts: [
      {
        range: HOST,
        ports: [
          { ports: "443", is: "open" },
          { ports: "445", is: "port-unreach" },
        ],
      },
    ],
  };
  const { where, reason } = portOf(walkTo(description, HOST), 445);
  expect(reason).toBe("port-unreach");
  expect(where).toMatchObject({ kind: "rejected", self: true, to: 4 });
});

it("an ICMP error of a router that is no hop otherwise is between the last hop seen and the first that stops", () => {
  const rules = [{ ports: "445", does: "admin-prohibited" as const }];
  const { where } = portOf(walkTo(way([...plain(2), { silent: true, rules }, ...plain(1)]), HOST), 445);
  expect(where).toMatchObject({ kind: "rejected", self: false, from: 2, to: 4 });
  expect(where.kind === "rejected" && formatAddress(where.by)).toBe("203.0.113.3");
});

it("a translator shows by what routers behind it quote", () => {
  const walked = walkTo(way(plain(4)), HOST, {
    meddle: (packet) => {
      // Behind hop 2 the SYNs have another source.
      const changed = packet.slice();
      if (packet[9] === 1 && packet[15] > 2) changed.set([198, 51, 100, 1], 28 + ipv4.SOURCE);
      if (packet[9] === 1) fixChecksum(changed);
      return [changed];
    },
  });
  expect(walked.result.notes).toEqual([{ kind: "nat", hop: 3 }]);
});

it("an ICMP error that no flow but a later one gets is taken as well as any", () => {
  const portIn = (packet: Uint8Array, at: number): number => (packet[at] << 8) | packet[at + 1];
  const { result } = walkTo(way([...plain(2), stopping("admin-prohibited"), ...plain(2)]), HOST, {
    meddle: (packet, sent) => {
      const first = sent.find((syn) => portIn(syn, 22) === 445);
      const isProhibited = packet[9] === 1 && packet[20] === 3 && packet[21] === 13;
      // Of the flow that is walked they are lost.
      return isProhibited && first !== undefined && portIn(packet, 48) === portIn(first, 20) ? [] : [packet];
    },
  });
  const stopped = result.ports.find(({ port }) => port === 445);
  expect(stopped).toMatchObject({ state: "filtered", where: { kind: "rejected", from: 3, to: 3 }, doubt: 0 });
});

it("a closed port of which one RST alone came back is closed", () => {
  let resets = 0;
  const { result } = walkTo(way(plain(2), "closed"), HOST, {
    ports: [9],
    meddle: (packet) => (packet[9] === 6 && (packet[33] & 4) !== 0 && ++resets > 1 ? [] : [packet]),
  });
  expect(result.ports[0]).toMatchObject({
    port: 9,
    state: "closed",
    reason: "reset",
    ttl: expect.any(Number),
  });
});

function fixChecksum(b: Uint8Array): void {
  b[22] = 0;
  b[23] = 0;
  let sum = 0;
  for (let i = 20; i < b.length; i += 2) sum += (b[i] << 8) | (b[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  b[22] = (~sum >> 8) & 0xff;
  b[23] = ~sum & 0xff;
}

it("a loop is told", () => {
  const pair = [{ ipv4: "203.0.113.8" }, { ipv4: "203.0.113.9" }];
  const hops = [{}, ...Array.from({ length: 20 }, () => pair).flat()];
  const { result } = walkTo(way(hops), HOST, { ports: [443] });
  expect(result.notes).toMatchObject([{ kind: "loop" }, { kind: "loop" }]);
  expect(result.ports[0].where).toEqual({ kind: "unknown", from: 30 });
});

/** The hop that is told, if one is. */
const placeOf = (where: Where): { from: number; to: number } | undefined =>
  "to" in where ? where : undefined;

const isRight = ({ by, hops, lengths }: RandomWay, { where, state }: PortPath): boolean => {
  if (by === "nothing") return where.kind === "host" && state !== "filtered" && lengths.includes(where.hop);
  const place = placeOf(where);
  return place !== undefined && hops.some((hop) => hop >= place.from && hop <= place.to);
};
const isExact = (drawn: RandomWay, port: PortPath): boolean => {
  const place = placeOf(port.where) ?? { from: 0, to: 0 };
  return isRight(drawn, port) && place.to - place.from <= 1;
};

describe("random ways", () => {
  const COUNT = everyday(40, 500);
  const walked = Array.from({ length: COUNT }, (_, i) => {
    const drawn = randomWay(i + 1);
    const { result } = walkTo(drawn.description, HOST, { seed: i + 1 });
    const of = (wanted: number): PortPath => result.ports.find(({ port }) => port === wanted) as PortPath;
    return { seed: i + 1, drawn, result, stopped: of(STOPPED_PORT), open: of(OPEN_PORT) };
  });

  it("never has a wrong hop stated with small doubt", () => {
    const wrong = walked.filter(
      ({ drawn, stopped, open }) =>
        (placeOf(stopped.where) !== undefined && (stopped.doubt ?? 1) < 0.01 && !isRight(drawn, stopped)) ||
        // Nothing stops the other port.
        open.where.kind !== "host",
    );
    expect(wrong.map(({ seed, stopped, open }) => ({ seed, stopped, open }))).toEqual([]);
  });

  it("has the right hop in 99 of 100 where it can be known", () => {
    const known = walked.filter(({ drawn }) => drawn.exact);
    const missed = known.filter(({ drawn, stopped }) => !isExact(drawn, stopped));
    expect(known.length).toBeGreaterThan(COUNT / 2);
    expect(
      missed.length,
      JSON.stringify(missed.map(({ seed, stopped }) => [seed, stopped])),
    ).toBeLessThanOrEqual(Math.ceil(known.length / 100));
  });

  it("takes three round trips and a second, in the median", () => {
    const beyond = walked
      .map(({ result, drawn }) => result.elapsedUs / 1000 - 3 * drawn.rttMs)
      .sort((a, b) => a - b);
    expect(beyond[Math.floor(COUNT / 2)]).toBeLessThan(1000);
  });
});

describe("a port that is closed", () => {
  const COUNT = everyday(16, 200);
  const TTLS = [32, 64, 128, 255];
  it("is blamed on a box when there is one, and never when there is none, whatever TTLs answers start with", () => {
    const accused: number[] = [];
    const missed: number[] = [];
    for (let seed = 1; seed <= COUNT; seed++) {
      const boxed = seed % 2 === 0;
      const drawn = randomWay(10_000 + seed, { by: boxed ? "reset" : "nothing" });
      const { path, hosts } = drawn.description;
      const description: LabDescription = {
        ...drawn.description,
        path: { ...path, returnDetour: seed % 6 },
        hosts: hosts.map((each) => ({
          ...each,
          ttl: TTLS[(seed >> 1) % 4],
          ports: [
            { ports: String(OPEN_PORT), is: "open" },
            { ports: String(STOPPED_PORT), is: "closed" },
          ],
        })),
      };
      const walked = walkTo(description, HOST, { seed });
      const { where } = portOf(walked, STOPPED_PORT);
      if (where.kind === "box" && !boxed) accused.push(seed);
      if (boxed && drawn.exact && where.kind !== "box") missed.push(seed);
      if (where.kind === "box" && boxed && !drawn.hops.some((hop) => hop >= where.from && hop <= where.to))
        accused.push(seed);
    }
    expect(accused).toEqual([]);
    expect(missed.length).toBeLessThanOrEqual(COUNT / 50);
  });
});
