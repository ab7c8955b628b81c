/** The engine against a simulated network: whole scans under a virtual clock. */
import { describe, expect, it } from "vitest";
import type { Verdict } from "../../src/scan/probe/verdict.ts";
import type { Probe, ProbeSource } from "../../src/scan/targets/probe-source.ts";
import { createSourcePorts } from "../../src/socket/ports.ts";
import { everyday } from "../everyday.ts";
import { type Behaviour, createNetwork, destination4 } from "./network.ts";
import { createSeededRandom } from "./random.ts";
import { address, engineFor, responderOf, runToEnd, target, targetOf } from "./run.ts";

const MILLISECOND = 1000;

describe("a scan through the simulated network", () => {
  it("finds every state over IPv4 and IPv6, with its reason, round trip and tries", () => {
    const router = address("203.0.113.1");
    const behaviours: Record<number, Behaviour> = {
      1: "open",
      2: "closed",
      3: "silent",
      4: { icmp: [3, 1], from: router },
      5: { icmp: [3, 13] },
      6: "split",
    };
    const behaviours6: Record<number, Behaviour> = {
      ...behaviours,
      4: { icmp: [1, 0] },
      5: { icmp: [1, 1] },
    };
    const network = createNetwork({
      random: createSeededRandom(1),
      latencyUs: 10 * MILLISECOND,
      behaviour: (packet, at, port) => (packet[at] >> 4 === 4 ? behaviours : behaviours6)[port],
    });
    const engine = engineFor([
      target("198.18.0.2", 1, 2, 3, 4, 5, 6),
      target("2001:db8::2", 1, 2, 3, 4, 5, 6),
    ]);
    const found = new Map<string, Verdict>();
    const took = runToEnd(engine, network, (v) => found.set(`${targetOf(v)}:${v.port}`, v));
    const row = (key: string) => {
      const v = found.get(key);
      return [v?.state, v?.reason, v?.tries, Math.round((v?.rttUs ?? -1) / 1000), v?.ttl];
    };
    expect(row("0:1")).toEqual(["open", "syn-ack", 1, 20, 57]);
    expect(row("0:2")).toEqual(["closed", "reset", 1, 20, 57]);
    expect(row("0:3")).toEqual(["filtered", "no-response", 3, Number.NaN, 0]);
    expect(row("0:4")).toEqual(["filtered", "host-unreach", 1, 20, 61]);
    expect(row("0:5")).toEqual(["filtered", "admin-prohibited", 1, 20, 61]);
    // One round trip to the bare SYN, one to the acknowledgement of our SYN-ACK.
    expect(row("0:6")).toEqual(["open", "split-handshake-syn", 1, 40, 57]);
    expect(row("1:1")).toEqual(["open", "syn-ack", 1, 20, 57]);
    expect(row("1:2")).toEqual(["closed", "reset", 1, 20, 57]);
    expect(row("1:3")).toEqual(["filtered", "no-response", 3, Number.NaN, 0]);
    expect(row("1:4")).toEqual(["filtered", "no-route", 1, 20, 61]);
    expect(row("1:5")).toEqual(["filtered", "admin-prohibited", 1, 20, 61]);
    const rejected = found.get("0:4");
    expect(rejected && responderOf(rejected)).toEqual(router);
    // Three tries of one second each, and nothing else to wait for.
    expect(took).toBeGreaterThanOrEqual(3_000_000);
    expect(took).toBeLessThan(3_010_000);
    // And the SYN-ACKs of the two simultaneous opens.
    expect(engine.counts.sent + 2).toBe(network.probes);
    expect(engine.counts.states).toEqual({ open: 4, closed: 2, filtered: 6 });
  });

  it("says the truth for each pair exactly once, whatever is lost, late or doubled", () => {
    for (let seed = 1; seed <= 40; seed++) {
      const random = createSeededRandom(seed);
      const loss = random(30) / 100;
      const truth = (host: number, port: number): Behaviour =>
        (["open", "closed", "silent"] as const)[(host * 31 + port * 7) % 3];
      const network = createNetwork({
        random,
        loss,
        duplication: 0.1,
        latencyUs: 1 + random(200 * MILLISECOND),
        jitterUs: 1 + random(300 * MILLISECOND),
        behaviour: (packet, at, port) => truth(destination4(packet, at) & 0xff, port),
      });
      const hosts = Array.from({ length: 20 }, (_, i) => target(`198.18.1.${i}`, 1, 2, 3, 4, 5, 6, 7, 8, 9));
      const engine = engineFor(hosts, { retries: 10, timeoutUs: 600 * MILLISECOND, seed });
      const last = new Map<string, Verdict>();
      runToEnd(engine, network, (v) => {
        const key = `${targetOf(v)}:${v.port}`;
        const earlier = last.get(key);
        // A second verdict only ever corrects "filtered".
        if (earlier !== undefined) {
          expect(earlier.state).toBe("filtered");
          expect(v.was).toBe("filtered");
        } else expect(v.was).toBeNull();
        last.set(key, v);
      });
      expect(last.size).toBe(180);
      for (const [key, verdict] of last) {
        const [host, port] = key.split(":").map(Number);
        const expected = truth(host, port);
        expect(verdict.state, `seed ${seed}, ${key}`).toBe(expected === "silent" ? "filtered" : expected);
      }
      const { open, closed, filtered } = engine.counts.states;
      expect(open + closed + filtered).toBe(180);
    }
  });

  it("measures the round trip of the try that was answered, not of the first", () => {
    let probes = 0;
    const network = createNetwork({
      random: createSeededRandom(1),
      latencyUs: 30 * MILLISECOND,
      behaviour: () => (++probes === 3 ? "open" : "silent"),
    });
    const engine = engineFor([target("198.18.0.2", 80)]);
    const verdicts: Verdict[] = [];
    runToEnd(engine, network, (v) => verdicts.push(v));
    expect(verdicts).toMatchObject([{ state: "open", tries: 3, rttUs: 60 * MILLISECOND, late: false }]);
  });

  it("counts an answer that comes after its try's deadline, and says that it was late", () => {
    const network = createNetwork({
      random: createSeededRandom(1),
      latencyUs: 700 * MILLISECOND,
      behaviour: () => "open",
    });
    const engine = engineFor([target("198.18.0.2", 80)]);
    const verdicts: Verdict[] = [];
    runToEnd(engine, network, (v) => verdicts.push(v));
    expect(verdicts).toMatchObject([{ state: "open", tries: 2, rttUs: 1400 * MILLISECOND, late: true }]);
    expect(engine.counts.late).toBe(1);
  });

  it("tells no round trip when tries share one source port (-g)", () => {
    let probes = 0;
    const network = createNetwork({
      random: createSeededRandom(1),
      latencyUs: 10 * MILLISECOND,
      behaviour: () => (++probes === 2 ? "closed" : "silent"),
    });
    const engine = engineFor([target("198.18.0.2", 80), target("198.18.0.3", 80)], {
      ports: createSourcePorts(53, 53, 0),
    });
    const verdicts: Verdict[] = [];
    runToEnd(engine, network, (v) => verdicts.push(v));
    expect(verdicts.find((v) => targetOf(v) === 1)).toMatchObject({
      state: "closed",
      tries: 1,
      rttUs: 20 * MILLISECOND,
    });
    const silent = verdicts.find((v) => targetOf(v) === 0);
    expect(silent).toMatchObject({ state: "filtered", tries: 3 });
    let answered = 0;
    const again = engineFor([target("198.18.0.2", 80)], { ports: createSourcePorts(53, 53, 0) });
    const second = createNetwork({
      random: createSeededRandom(1),
      latencyUs: 10 * MILLISECOND,
      behaviour: () => (++answered === 2 ? "closed" : "silent"),
    });
    const late: Verdict[] = [];
    runToEnd(again, second, (v) => late.push(v));
    expect(late).toMatchObject([{ state: "closed", tries: 2, rttUs: Number.NaN }]);
  });

  it("goes on when the ports run short: a silent network of more pairs than ports", () => {
    const network = createNetwork({
      random: createSeededRandom(1),
      latencyUs: 1000,
      behaviour: () => "silent",
    });
    const hosts = Array.from({ length: 50 }, (_, i) => target(`198.18.1.${i}`, 80));
    const engine = engineFor(hosts, { ports: createSourcePorts(61_000, 61_009, 3) });
    let decided = 0;
    runToEnd(engine, network, (v) => {
      decided++;
      expect(v).toMatchObject({ state: "filtered", reason: "no-response", tries: 3 });
    });
    expect(decided).toBe(50);
  });

  it("keeps to the rate", () => {
    const network = createNetwork({
      random: createSeededRandom(1),
      latencyUs: 1000,
      behaviour: () => "closed",
    });
    const hosts = Array.from({ length: 200 }, (_, i) => target(`198.18.1.${i}`, 1, 2, 3, 4, 5));
    const engine = engineFor(hosts, { rate: 500 });
    const took = runToEnd(engine, network, () => {});
    // 1000 probes at 500/s, less the burst of 5 that may leave at once.
    expect(took).toBeGreaterThan(((1000 - 6) / 500) * 1e6);
    expect(took).toBeLessThan((1000 / 500) * 1e6 + 50_000);
  });

  it("keeps to the rate of a prefix, and holds up no other", () => {
    const network = createNetwork({
      random: createSeededRandom(1),
      latencyUs: 1000,
      behaviour: () => "closed",
    });
    const hosts = Array.from({ length: 60 }, (_, i) => target(`198.18.${i < 50 ? 1 : 2}.${i}`, 1, 2, 3, 4));
    const engine = engineFor(hosts, { ratePerPrefix: 100 });
    const lastOf = new Map<number, number>();
    runToEnd(engine, network, (v) => lastOf.set(targetOf(v) < 50 ? 1 : 2, v.atUs));
    // 200 and 40 SYNs at 100 a second each.
    expect(lastOf.get(1)).toBeGreaterThan(1_980_000);
    expect(lastOf.get(1)).toBeLessThan(2_050_000);
    expect(lastOf.get(2)).toBeGreaterThan(380_000);
    expect(lastOf.get(2)).toBeLessThan(450_000);
  });

  it(`runs ${everyday("65,000", "a million")} probes`, () => {
    const hosts = 1 << everyday(12, 16);
    const ports = 16;
    const first = 0xc612_0000;
    let at = 0;
    const source: ProbeSource = {
      total: hosts * ports,
      next: (probe: Probe) => {
        if (at === hosts * ports) return false;
        probe.words[0] = 0;
        probe.words[1] = 0;
        probe.words[2] = 0xffff;
        probe.words[3] = first + (at % hosts);
        probe.port = 1 + Math.floor(at / hosts);
        probe.path = 0;
        probe.position = at;
        at++;
        return true;
      },
    };
    const truth = (host: number, port: number): Behaviour => {
      const kind = (host * 13 + port * 5) % 64;
      return kind === 0 ? "open" : kind === 1 ? "silent" : "closed";
    };
    const network = createNetwork({
      random: createSeededRandom(1),
      latencyUs: 5 * MILLISECOND,
      behaviour: (packet, start, port) => truth((destination4(packet, start) - first) >>> 0, port),
    });
    const engine = engineFor(source, { retries: 1, timeoutUs: 100 * MILLISECOND });
    const seen = new Uint8Array(hosts * ports);
    let wrong = 0;
    runToEnd(engine, network, (v) => {
      seen[v.position]++;
      const expected = truth(v.position % hosts, v.port);
      if (v.state !== (expected === "silent" ? "filtered" : expected)) wrong++;
    });
    expect(wrong).toBe(0);
    expect(seen.every((count) => count === 1)).toBe(true);
    expect(engine.counts.sent).toBe(hosts * ports + engine.counts.states.filtered);
  });
});
