/** Every impairment of the lab's paths, measured against what was asked for, with fixed seeds. */
import { expect, describe as group, it } from "vitest";
import type { LabDescription } from "../../src/lab/description.ts";
import { createLimits } from "../../src/lab/limits.ts";
import { createNetwork, type LabNetwork } from "../../src/lab/network.ts";
import { createPacketStore } from "../../src/lab/packets.ts";
import { createTimeQueue } from "../../src/lab/time-queue.ts";
import * as tcp from "../../src/wire/tcp.ts";
import { everyday } from "../everyday.ts";
import { type Arrival, labOf, lineOf, receive, SECOND, segmentFrom, segmentIn, send, synTo } from "./lab.ts";
import { createSeededRandom } from "./random.ts";
import { address } from "./run.ts";

const MS = 1000;

/** Sends `count` SYNs, one every `everyUs`, to closed ports of one host; the port counts them. */
function probe(
  network: LabNetwork,
  count: number,
  everyUs: number,
  startUs = 0,
  host = "198.18.0.1",
): Arrival[] {
  const arrivals: Arrival[] = [];
  const to = address(host);
  for (let i = 0; i < count; i++) {
    const now = startUs + i * everyUs;
    arrivals.push(...receive(network, now));
    send(network, segmentFrom(to, 1 + (i % 60_000)), now);
  }
  arrivals.push(...receive(network, Number.MAX_VALUE));
  return arrivals;
}

/** Which probe, from 0, an arrival answers. */
const indexOf = ({ packet }: Arrival): number => tcp.sourcePort(packet, 20) - 1;

group("a path", () => {
  it("without anything delivers at once and in order", () => {
    const arrivals = probe(labOf({}), 1000, 10);
    expect(arrivals.map(indexOf)).toEqual(Array.from({ length: 1000 }, (_, i) => i));
    expect(arrivals.map(({ atUs }) => atUs)).toEqual(Array.from({ length: 1000 }, (_, i) => 10 * i));
  });

  it("takes its latency each way, or each way its own", () => {
    const roundTrip = (path: LabDescription["path"]) => probe(labOf({}, path && { path }), 1, 1)[0].atUs;
    expect(roundTrip({ latencyMs: 40 })).toBe(80 * MS);
    expect(roundTrip({ latencyMs: 40, in: { latencyMs: 1.5 } })).toBe(41.5 * MS);
    expect(roundTrip({ in: { latencyMs: 3 }, out: { latencyMs: 4 } })).toBe(7 * MS);
  });

  it("says when a packet was due that is fetched late, and counts SYNs whatever becomes of them", () => {
    const network = labOf(
      { rest: "silent", ports: [{ ports: "80", is: "open" }] },
      { path: { latencyMs: 3 } },
    );
    send(network, synTo("198.18.0.1", 80), 1000);
    send(network, synTo("198.18.0.1", 81), 1000);
    send(network, synTo("198.20.0.1", 81), 1000);
    send(network, segmentFrom(address("198.18.0.1"), 81, { flags: tcp.FLAGS.RST }), 1000);
    expect(network.pollTransmit(50 * MS, new Uint8Array(1500), 0)).toBeGreaterThan(0);
    expect(network.dueUs).toBe(7 * MS);
    expect(network.counts).toMatchObject({ in: 4, syns: 3, unserved: 1 });
  });

  it("spreads jitter evenly around the latency, and reorders by it", () => {
    const arrivals = probe(labOf({}, { path: { in: { latencyMs: 50, jitterMs: 20 } } }), 20_000, 100);
    expect(arrivals).toHaveLength(20_000);
    const times = arrivals.map((arrival) => (arrival.atUs - 100 * indexOf(arrival)) / MS);
    expect(Math.min(...times)).toBeGreaterThanOrEqual(30);
    expect(Math.min(...times)).toBeLessThan(30.1);
    expect(Math.max(...times)).toBeLessThanOrEqual(70);
    expect(Math.max(...times)).toBeGreaterThan(69.9);
    const mean = times.reduce((a, b) => a + b) / times.length;
    // The standard deviation of the mean is 20 / sqrt(3) / sqrt(20,000) = 0.082.
    expect(Math.abs(mean - 50)).toBeLessThan(0.33);
    const order = arrivals.map(indexOf);
    expect(order).not.toEqual(order.slice().sort((a, b) => a - b));
  });

  it.each([
    ["in", "lostIn"],
    ["out", "lostOut"],
  ] as const)("loses the share asked for, %s", (way, count) => {
    const network = labOf({}, { path: { [way]: { loss: 0.05 } } });
    const arrived = probe(network, 20_000, 10).length;
    // 4 standard deviations of the binomial.
    expect(Math.abs(20_000 - arrived - 1000)).toBeLessThan(4 * Math.sqrt(20_000 * 0.05 * 0.95));
    expect(network.counts[count]).toBe(20_000 - arrived);
  });

  it("duplicates the share asked for, each way", () => {
    const network = labOf({}, { path: { duplication: 0.1 } });
    const arrived = probe(network, 20_000, 10).length;
    // A SYN twice makes two answers, each of which may be doubled: 1.1 * 1.1.
    expect(Math.abs(arrived / 20_000 - 1.21)).toBeLessThan(0.02);
    expect(network.counts.duplicated).toBe(arrived - 20_000);
  });

  it("holds back the share asked for, and those are overtaken", () => {
    const path = { in: { latencyMs: 5, reordering: 0.02, reorderingMs: 7 } };
    const times = probe(labOf({}, { path }), 20_000, 100).map(
      (arrival) => arrival.atUs - 100 * indexOf(arrival),
    );
    const held = times.filter((time) => time === 12 * MS).length;
    expect(times.filter((time) => time === 5 * MS).length).toBe(20_000 - held);
    expect(Math.abs(held - 400)).toBeLessThan(80);
  });

  it("with a bottleneck lets its rate through, holds a queue, and drops the rest", () => {
    // 20,000 a second into a bottleneck of 5,000 with a queue of 500: 100 ms deep.
    const network = labOf({}, { path: { in: { ratePps: 5000, queuePackets: 500, latencyMs: 10 } } });
    const arrivals = probe(network, 20_000, 50);
    // At the last one's time 4,999.75 had been served: 4,999 gone, one going, 500 waiting.
    expect(arrivals.length).toBe(4999 + 1 + 500);
    expect(network.counts.queueDropsIn).toBe(20_000 - arrivals.length);
    for (let i = 1; i < arrivals.length; i++)
      expect(arrivals[i].atUs - arrivals[i - 1].atUs).toBeCloseTo(200, 3);
    const waits = arrivals.map((arrival) => arrival.atUs - 50 * indexOf(arrival));
    expect(waits[0]).toBeCloseTo(10 * MS + 200, 3);
    expect(Math.max(...waits)).toBeLessThan(10 * MS + 501 * 200 + 1);
    expect(Math.max(...waits)).toBeGreaterThan(10 * MS + 499 * 200);
  });

  it("below its bottleneck's rate delays a packet by its own time on the wire alone", () => {
    const network = labOf({}, { path: { out: { ratePps: 5000, queuePackets: 1 } } });
    const arrivals = probe(network, 1000, 200);
    expect(arrivals.map((arrival) => Math.round(arrival.atUs - 200 * indexOf(arrival)))).toEqual(
      Array(1000).fill(200),
    );
  });

  it("follows the changes of its rate, in the middle of a queue too", () => {
    const rateChanges = [
      { atMs: 1000, ratePps: 500 },
      { atMs: 2000, ratePps: 4000 },
    ];
    const network = labOf({}, { path: { in: { ratePps: 1000, queuePackets: 1e6, rateChanges } } });
    const arrivals = probe(network, 10_000, 100);
    const through = (from: number, to: number): number =>
      arrivals.filter(({ atUs }) => atUs > from * SECOND && atUs <= to * SECOND).length;
    expect([through(0, 1), through(1, 2), through(2, 3), through(3, 4)]).toEqual([1000, 500, 4000, 4000]);
    expect(arrivals).toHaveLength(10_000);
  });

  it("may be other for some hosts, which then wait at a bottleneck of their own", () => {
    const description: LabDescription = {
      path: { latencyMs: 10, in: { ratePps: 1000 } },
      hosts: [
        { range: "198.18.0.0/16" },
        { range: "198.18.1.0/24", path: { latencyMs: 100 } },
        { range: "198.18.2.0/24", path: { in: { ratePps: 10 } } },
      ],
    };
    const network = createNetwork(description, { startUs: 0 });
    for (const host of ["198.18.0.1", "198.18.1.1", "198.18.2.1", "198.18.0.2", "198.18.2.2"]) {
      send(network, synTo(host, 80), 0);
    }
    const times = receive(network, SECOND).map(({ atUs, packet }) => [
      lineOf(packet).split(":")[0],
      Math.round(atUs / MS),
    ]);
    expect(Object.fromEntries(times)).toEqual({
      "198.18.0.1": 21,
      // The common bottleneck holds, the latency is its own.
      "198.18.1.1": 202,
      "198.18.0.2": 23,
      "198.18.2.1": 120,
      "198.18.2.2": 220,
    });
  });
});

group("rate limits", () => {
  it("of RSTs hold for each host", () => {
    const network = labOf({ rstLimit: { ratePps: 10, burst: 5 } });
    const one = probe(network, 10_000, 1000).length;
    // 10 seconds: the burst, and 10 a second.
    expect(one).toBeGreaterThanOrEqual(5 + 99);
    expect(one).toBeLessThanOrEqual(5 + 100);
    expect(network.counts.rstLimited).toBe(10_000 - one);
    expect(probe(network, 5, 1, 11 * SECOND, "198.18.0.2")).toHaveLength(5);
  });

  it("of ICMP errors hold for each sender: the host, or the router for all behind it", () => {
    const limit = { rest: "host-unreach" as const, icmpLimit: { ratePps: 6, burst: 6 } };
    const answered = (more: object): number => {
      const network = labOf({ ...limit, ...more });
      for (let host = 0; host < 50; host++)
        for (let i = 0; i < 10; i++) send(network, synTo(`198.18.0.${host}`, 80), 0);
      return receive(network, 0).length;
    };
    expect(answered({})).toBe(50 * 6);
    expect(answered({ rejectFrom: "198.18.0.254" })).toBe(6);
  });

  it("agree with a bucket kept for every address, however many there are", () => {
    const random = createSeededRandom(3);
    const limits = createLimits({ ratePps: 5, burst: 3 });
    const oracle = new Map<number, { tokens: number; at: number }>();
    const words = new Uint32Array(4);
    for (let now = 0, i = 0; i < 60_000; i++, now += random(2000)) {
      // A few that come often, and many that come rarely.
      const key = random(2) === 0 ? random(5) : random(3000);
      const bucket = oracle.get(key) ?? { tokens: 3, at: now };
      bucket.tokens = Math.min(3, bucket.tokens + ((now - bucket.at) * 5) / 1e6);
      bucket.at = now;
      oracle.set(key, bucket);
      words[3] = key;
      // (At the very edge rounding decides.)
      if (Math.abs(bucket.tokens - 1) > 1e-6) {
        expect(limits.take(words, 0, now), `${i}`).toBe(bucket.tokens >= 1);
      } else limits.take(words, 0, now);
      if (bucket.tokens >= 1 - 1e-9) bucket.tokens -= 1;
    }
  });
});

group("noise", () => {
  const noise = { synAckPps: 2000, rstPps: 500, icmpPps: 100 };
  const network = labOf({ rest: "silent" }, { noise });
  const arrivals = probe(network, 10_000, 1000);
  const lines = arrivals.map(({ packet }) => lineOf(packet));

  it("comes at its rates while the prober is at work, and a little longer", () => {
    const of = (part: string): number => lines.filter((line) => line.includes(part)).length;
    for (const [part, pps] of [
      ["TCP SYN,ACK", 2000],
      ["TCP RST", 500],
      ["ICMP admin-prohibited", 100],
    ] as const) {
      const expected = pps * 12;
      expect(Math.abs(of(part) - expected), part).toBeLessThan(4 * Math.sqrt(expected));
    }
    expect(network.counts.forged).toBe(lines.length);
    expect(network.pollTimeout()).toBe(Number.POSITIVE_INFINITY);
    expect(lines.filter((line) => line.includes("bad"))).toEqual([]);
  });

  it("misses the port as often as it is told to", () => {
    const blind = labOf({ rest: "silent" }, { noise: { synAckPps: 2000, icmpPps: 200, aimed: 0.25 } });
    const ports = probe(blind, 10_000, 1000).map(({ packet }) =>
      // An ICMP error quotes the SYN, whose source port it is.
      packet[9] === 6 ? tcp.destinationPort(packet, 20) : tcp.sourcePort(packet, 48),
    );
    const hits = ports.filter((port) => port === 61_000).length;
    expect(Math.abs(hits - ports.length / 4)).toBeLessThan(4 * Math.sqrt(ports.length * 0.25 * 0.75));
    expect(new Set(ports).size).toBeGreaterThan(ports.length / 4);
  });

  it("goes to ports in use, and proves nothing", () => {
    const wrong: object[] = [];
    for (const { packet, atUs } of arrivals) {
      if (packet[9] !== 6) continue;
      const { flags, acknowledgement } = segmentIn(packet);
      const isToOurs = tcp.destinationPort(packet, 20) === 61_000;
      const provesNothing = acknowledgement !== 1001 && (flags & tcp.FLAGS.ACK) !== 0;
      // One of the last 256 ports.
      const age = Math.floor(Math.min(atUs, 9999 * MS) / 1000) - (tcp.sourcePort(packet, 20) - 1);
      if (!isToOurs || !provesNothing || age < 0 || age >= 256) wrong.push({ flags, acknowledgement, age });
    }
    expect(wrong).toEqual([]);
  });
});

group("a run", () => {
  const description: LabDescription = {
    path: {
      latencyMs: 20,
      jitterMs: 10,
      loss: 0.05,
      duplication: 0.05,
      reordering: 0.05,
      out: { ratePps: 2000, queuePackets: 20 },
    },
    noise: { synAckPps: 50, icmpPps: 20 },
    hosts: [
      {
        range: "198.18.0.0/15",
        ports: [{ share: 0.3, is: "open", banner: "hi" }],
        mix: [{ share: 0.2, rest: "host-unreach", icmpLimit: { ratePps: 20 } }],
      },
    ],
  };
  /** Everything that comes back, as text; `wake` says how often the network is looked at for nothing. */
  function run(seed: number, wakeUs: number): string {
    const network = createNetwork(description, { startUs: 0, random: seed });
    const lines: string[] = [];
    const out = new Uint8Array(1600);
    let next = 0;
    for (let i = 0; i < 2000; i++) {
      const now = i * 300;
      for (; next < now; next += wakeUs) network.handleTimeout(next);
      lines.push(
        ...receive(network, now).map(({ atUs, packet }) => `${atUs} ${Buffer.from(packet).toString("hex")}`),
      );
      send(network, synTo(`198.18.0.${i & 255}`, 1 + (i >> 4)), now);
    }
    lines.push(
      ...receive(network, Number.MAX_VALUE).map(
        ({ atUs, packet }) => `${atUs} ${Buffer.from(packet).toString("hex")}`,
      ),
    );
    expect(network.pollTransmit(Number.MAX_VALUE, out, 0)).toBe(0);
    lines.push(JSON.stringify([network.counts, network.held]));
    return lines.join("\n");
  }
  it("is the same for the same seed, however often it is looked at, and other for another", () => {
    const first = run(5, 1e9);
    expect(first.split("\n").length).toBeGreaterThan(2000);
    expect(run(5, 1e9)).toBe(first);
    expect(run(5, 100)).toBe(first);
    expect(run(6, 1e9)).not.toBe(first);
  });
});

group("the time queue", () => {
  it("agrees with a stable sort", () => {
    const random = createSeededRandom(11);
    const queue = createTimeQueue();
    let oracle: { time: number; item: number }[] = [];
    let now = 0;
    for (let step = 0; step < everyday(8000, 30_000); step++) {
      if (random(100) < 52) {
        const time = now + (random(3) === 0 ? random(50) : 25);
        queue.push(time, step);
        oracle.push({ time, item: step });
        oracle = oracle.sort((a, b) => a.time - b.time);
      } else if (oracle.length > 0) {
        const [first] = oracle.splice(0, 1);
        now = first.time;
        expect(queue.next()).toBe(first.time);
        expect(queue.pop()).toBe(first.item);
      }
      expect(queue.length).toBe(oracle.length);
    }
    while (queue.length > 0) queue.pop();
    expect(queue.next()).toBe(Number.POSITIVE_INFINITY);
    expect(() => queue.pop()).toThrow(RangeError);
  });
});

group("the packet store", () => {
  it("keeps what is put in until it is freed, whatever its length", () => {
    const random = createSeededRandom(12);
    const store = createPacketStore();
    const held: { slot: number; bytes: Uint8Array }[] = [];
    for (let step = 0; step < everyday(2000, 5000); step++) {
      if (random(100) < 55) {
        const bytes = Uint8Array.from({ length: 1 + random(random(3) === 0 ? 1500 : 150) }, () =>
          random(256),
        );
        held.push({ slot: store.put(bytes, 0, bytes.length), bytes });
      } else if (held.length > 0) {
        const [{ slot, bytes }] = held.splice(random(held.length), 1);
        const at = store.offset(slot);
        expect(store.bytes(slot).slice(at, at + store.length(slot))).toEqual(bytes);
        store.free(slot);
      }
      expect(store.used).toBe(held.length);
    }
    expect(store.put(new Uint8Array(1501), 0, 1501)).toBe(-1);
  });
});
