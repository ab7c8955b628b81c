/** The real engine against the lab: what it finds is what the lab's truth says. */
import { expect, it } from "vitest";
import type { LabDescription } from "../../src/lab/description.ts";
import { createNetwork } from "../../src/lab/network.ts";
import { pathFindings } from "../../src/runtime/results/totals.ts";
import type { Verdict } from "../../src/scan/probe/verdict.ts";
import { formatAddress } from "../../src/wire/address.ts";
import { everyday } from "../everyday.ts";
import { address, engineFor, targetOf } from "./run.ts";
import { scanTruth, UNTOLD } from "./truth.ts";

const PORTS = Uint16Array.of(22, 80, 81, 443, 8080);

/** Scans 1,000 hosts of each prefix. @returns one line per verdict that is not the truth, and the number of verdicts */
function scan(description: LabDescription, retries: number) {
  const network = createNetwork(description, { startUs: 0 });
  const names = Array.from({ length: 1000 }, (_, i) => [
    `198.19.${i >> 8}.${i & 255}`,
    `2001:db8:18::${(i + 1).toString(16)}`,
  ]).flat();
  const targets = names.map((name) => ({ address: address(name), ports: PORTS }));
  const engine = engineFor(targets, { retries, rate: 20_000 });
  const wrong: string[] = [];
  let verdicts = 0;
  const out = new Uint8Array(1600);
  for (let now = 0; ; ) {
    engine.handleTimeout(now);
    for (let n = engine.pollTransmit(now, out, 0, 0); n > 0; n = engine.pollTransmit(now, out, 0, 0)) {
      engine.handleDeparture(0, 1, now, now);
      network.handlePacket(out, 0, n, now);
    }
    for (let v = engine.pollVerdict(); v !== undefined; v = engine.pollVerdict()) {
      verdicts++;
      const peer = targets[targetOf(v)].address;
      const truth = network.truth(peer, v.port);
      if (truth.state !== v.state || !truth.reasons.some((reason) => reason === v.reason)) {
        wrong.push(
          `${formatAddress(peer)}:${v.port} ${v.state} ${v.reason}, in truth ${JSON.stringify(truth)}`,
        );
      }
    }
    if (engine.done) return { wrong, verdicts, network };
    now = Math.max(now + 1, Math.ceil(Math.min(engine.pollTimeout(now), network.pollTimeout())));
    for (let n = network.pollTransmit(now, out, 0); n > 0; n = network.pollTransmit(now, out, 0)) {
      engine.handlePacket(out, 0, n, now);
    }
  }
}

const crowd = {
  ports: [
    { share: 0.1, is: "open" as const },
    { share: 0.05, is: "silent" as const },
  ],
  synAckRetries: 0,
  mix: [
    { share: 0.2, ports: [], rest: "silent" as const },
    { share: 0.1, rest: "admin-prohibited" as const },
    { share: 0.02, tarpit: true },
  ],
};
const hosts = [
  { range: "198.18.0.0/15", ...crowd },
  { range: "2001:db8:18::/64", ...crowd },
];

it("finds the truth of every pair on a clean path", () => {
  const { wrong, verdicts } = scan({ hosts, path: { latencyMs: 20, jitterMs: 5 } }, 1);
  expect(wrong).toEqual([]);
  expect(verdicts).toBe(10_000);
});

it("finds it in spite of loss, duplicates and forged packets", () => {
  const description: LabDescription = {
    hosts,
    path: { latencyMs: 60, jitterMs: 20, loss: 0.02, duplication: 0.05 },
    noise: { synAckPps: 2000, rstPps: 500, icmpPps: 100 },
  };
  const { wrong, verdicts, network } = scan(description, 7);
  // Of a forged reset a silent port is told, and stays what it is.
  expect(wrong.filter((line) => !/ filtered unproved-reset, in truth .*"no-response"/.test(line))).toEqual(
    [],
  );
  expect(verdicts).toBe(10_000);
  expect(network.counts.forged).toBeGreaterThan(500);
});

it("finds hosts that are far among near ones, as nmap does: a second away where everything else takes 1 ms", () => {
  const far = [350, 640, 1050].map((ms, i) => ({ range: `198.18.0.${9 + i}`, path: { latencyMs: ms / 2 } }));
  const near = [{ range: "198.18.0.0/25", ports: [{ share: 0.5, is: "open" as const }] }];
  const description = {
    path: { latencyMs: 0.5 },
    hosts: [...near, ...far.map((each) => ({ ...near[0], ...each }))],
  };
  for (const hosts of [16, 48, 120]) {
    const [{ open, openFound, closed, closedRight, us }] = scanTruth(description, { hosts, ports: 4 });
    expect([openFound, closedRight]).toEqual([open, closed]);
    expect(us).toBeLessThan(1.5e6);
  }
});

it("says on which way packets are lost as it is, or nothing: of a run that ends before hosts repeat their SYN-ACKs", () => {
  const open = { range: "198.18.0.0/15", ports: [{ share: 0.3, is: "open" as const }] };
  const ways = [
    [0.02, 0.14],
    [0.08, 0.08],
    [0.15, 0.01],
  ];
  for (const [out, back] of ways.slice(0, everyday(1, 3))) {
    // The lab's `in` is into its hosts.
    const path = { latencyMs: 30, in: { loss: out }, out: { loss: back } };
    const lossOf = (hosts: number, rate: number) =>
      pathFindings(scanTruth({ path, hosts: [open] }, { hosts, ports: 4 }, { rate })[0].counts).loss;
    const said = lossOf(2048, 2500);
    expect(said?.round).toBeCloseTo(1 - (1 - out) * (1 - back), 1);
    expect(Math.abs((said?.out ?? 1) - out)).toBeLessThan(0.025);
    expect(Math.abs((said?.back ?? 1) - back)).toBeLessThan(0.025);
    expect(lossOf(1024, 20_000)?.out).toBeUndefined();
  }
}, 30_000);

it("takes a repeated SYN-ACK for what it is: no round trip, and the first was lost", () => {
  const path = { latencyMs: 200, loss: 0.08 };
  const hosts = [{ range: "198.18.0.0/15", ports: [{ share: 0.3, is: "open" as const }] }];
  let [slow, untold] = [0, 0];
  const onVerdict = ({ state, rttUs }: Verdict): void => {
    if (state === "filtered") return;
    if (rttUs > 1.1e6) slow++;
    if (Number.isNaN(rttUs)) untold++;
  };
  const [{ counts }] = scanTruth({ path, hosts }, { hosts: 1024, ports: 10 }, {}, 1, { onVerdict });
  expect(slow).toBe(0);
  expect(untold).toBeGreaterThan(5);
  // 0.154; before, what a repeat answered counted as not lost, and it was 0.138.
  expect(pathFindings(counts).loss?.round).toBeGreaterThan(0.143);
});

it("takes answers that a queue delays for what they are: not for repeated SYN-ACKs, nor for loss", () => {
  const path = { latencyMs: 30, out: { ratePps: 1000, queuePackets: 100_000 } };
  const hosts = [{ range: "198.18.0.0/15", ports: [{ share: 0.3, is: "open" as const }] }];
  const [{ counts, open, openFound }] = scanTruth({ path, hosts }, { hosts: 256, ports: 16 }, { rate: 3000 });
  expect(openFound).toBe(open);
  expect(pathFindings(counts).loss?.round).toBeLessThan(0.01);
});

it("takes no host for one that limits its RSTs because chance lost a few of them, where many are asked", () => {
  // Firewalled hosts: half of their ports are silent. Each of these took four to nine times as long.
  const path = { latencyMs: 60, loss: 0.08 };
  const ports = [
    { share: 0.05, is: "open" as const },
    { share: 0.5, is: "closed" as const },
  ];
  const hosts = [{ range: "198.18.0.0/15", ports, rest: "silent" as const }];
  for (const seed of everyday([5], [1, 5, 6])) {
    const [{ us, open, openFound, found }] = scanTruth({ path, hosts }, { hosts: 1024, ports: 10, seed });
    expect(openFound).toBe(open);
    expect(found.hosts).toEqual([]);
    expect(us).toBeLessThan(5e6);
  }
});

it("knows what is lost where first SYNs take all the time there is, and every other try comes after them", () => {
  const network = createNetwork(
    {
      path: { latencyMs: 0.05, loss: 0.08 },
      hosts: [{ range: "198.18.0.0/16", ports: [{ share: 0.75, is: "closed" }], rest: "silent" }],
    },
    { startUs: 0 },
  );
  const names = Array.from({ length: 12_000 }, (_, i) => `198.18.${i >> 8}.${i & 255}`);
  const targets = names.map((name) => ({ address: address(name), ports: Uint16Array.of(80) }));
  // -T5; slow start goes on to the end, as the machine sends ten SYNs a millisecond at most.
  const wait = { initialUs: 250_000, minUs: 50_000, maxUs: 300_000 };
  const engine = engineFor(targets, { ...UNTOLD, retries: 2, wait });
  const out = new Uint8Array(1600);
  let wrong = 0;
  let silent = 0;
  let doubts = 0;
  for (let now = 1000; !engine.done; now += 1000) {
    for (let n = network.pollTransmit(now, out, 0); n > 0; n = network.pollTransmit(now, out, 0))
      engine.handlePacket(out, 0, n, now, 0);
    engine.handleTimeout(now);
    for (let i = 0; i < 10; i++) {
      const n = engine.pollTransmit(now, out, 0, 0);
      if (n === 0) break;
      engine.handleDeparture(0, 1, now, now);
      network.handlePacket(out, 0, n, now);
    }
    for (let verdict = engine.pollVerdict(); verdict !== undefined; verdict = engine.pollVerdict()) {
      if (verdict.state !== "filtered") continue;
      silent++;
      doubts += verdict.doubt;
      if (network.truth(targets[targetOf(verdict)].address, 80).state === "closed") wrong++;
    }
  }
  // 0.154 of the round trips are lost, so a 270th of what answers has lost three.
  expect(wrong).toBeGreaterThan(10);
  expect((doubts / silent) * (targets.length - silent)).toBeGreaterThan(wrong / 2);
});
