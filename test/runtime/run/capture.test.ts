/** What a capture takes out of a scan: under a virtual clock, against a simulated network. */
import { describe, expect, it } from "vitest";
import { type CaptureKind, createCapture } from "../../../src/runtime/run/capture.ts";
import type { EngineOptions } from "../../../src/scan/engine/engine.ts";
import { canaryPorts } from "../../../src/scan/hosts/canary-ports.ts";
import type { Verdict } from "../../../src/scan/probe/verdict.ts";
import { createSourcePorts } from "../../../src/socket/ports.ts";
import { type Behaviour, createNetwork } from "../../sim/network.ts";
import { createSeededRandom } from "../../sim/random.ts";
import { address, engineFor, LOCAL_4, LOCAL_6, runToEnd, target } from "../../sim/run.ts";
import { packetsOf } from "../../wire/pcapng-blocks.ts";

const PATHS = [
  { local: LOCAL_4, ttl: 64 },
  { local: LOCAL_6, ttl: 64 },
];
const SEED = 0x1234_5678;
const ISN_KEY = Uint8Array.of(9, 8, 7, 6, 5, 4, 3, 2);
const V4: Record<number, Behaviour> = {
  1: "open",
  2: "closed",
  3: "silent",
  4: { icmp: [3, 1], from: address("203.0.113.1") },
  5: { icmp: [3, 13] },
  6: "split",
};
const V6: Record<number, Behaviour> = { ...V4, 4: { icmp: [1, 0] }, 5: { icmp: [1, 1] } };

/** A scan with loss and duplicates. @returns its verdicts, every packet on the wire in hex, and what was captured */
function scan(kind: CaptureKind, overrides: Partial<EngineOptions> = {}, does?: Behaviour) {
  const network = createNetwork({
    random: createSeededRandom(3),
    latencyUs: 10_000,
    jitterUs: 5000,
    loss: 0.3,
    duplication: 0.3,
    behaviour: (packet, at, port) => does ?? (packet[at] >> 4 === 4 ? V4 : V6)[port],
  });
  const sent: string[] = [];
  const received: string[] = [];
  const pieces: Uint8Array[] = [];
  const capture = createCapture(kind, (bytes) => pieces.push(bytes));
  const hosts = Array.from({ length: 20 }, (_, i) => [`198.18.1.${i}`, `2001:db8:1::${i + 1}`]).flat();
  const engine = capture.engine(
    engineFor(
      hosts.map((host) => target(host, 1, 2, 3, 4, 5, 6)),
      { seed: SEED, isnKey: ISN_KEY, ...overrides },
    ),
    { paths: PATHS, seed: SEED, isnKey: ISN_KEY },
  );
  const verdicts: Verdict[] = [];
  const watched = {
    ...network,
    send: (bytes: Uint8Array, at: number, length: number, nowUs: number) => {
      sent.push(Buffer.from(bytes.subarray(at, at + length)).toString("hex"));
      network.send(bytes, at, length, nowUs);
    },
    receive: () => {
      const packet = network.receive();
      received.push(Buffer.from(packet).toString("hex"));
      return packet;
    },
  };
  runToEnd(engine, watched, (verdict) => verdicts.push(verdict));
  capture.flush();
  return { engine, verdicts, sent, received, packets: packetsOf(Buffer.concat(pieces)) };
}

describe("a capture of the evidence", () => {
  it("has each SYN that was answered, to the byte, and its answer, in time and with the verdict", () => {
    const { verdicts, sent, received, packets } = scan("evidence");
    const decided = verdicts.filter(({ ttl }) => ttl > 0);
    expect(decided.some(({ reason }) => reason === "split-handshake-syn")).toBe(true);
    expect(decided.length).toBeGreaterThan(100);
    expect(decided.some(({ answered }) => answered > 1)).toBe(true);
    expect(packets).toHaveLength(2 * decided.length);
    decided.forEach((verdict, i) => {
      const [syn, answer] = packets.slice(2 * i, 2 * i + 2);
      expect(sent).toContain(syn.hex);
      expect(received).toContain(answer.hex);
      const said = new RegExp(`:${verdict.port} ${verdict.state} \\(${verdict.reason}\\)`);
      expect(answer.comment).toMatch(said);
      expect(syn.comment).toMatch(said);
      expect(syn.comment).toMatch(new RegExp(`, SYN ${verdict.answered} of ${verdict.tries}$`));
      expect(Number(answer.timeNs - syn.timeNs) / 1000).toBeCloseTo(verdict.rttUs, 0);
    });
    // Each try has a port of its own: the SYN of a pair is the one that its answer answers.
    expect(new Set(packets.map(({ hex }) => hex)).size).toBe(packets.length);
  });

  it("has the packets of verdicts that fall later, when a host has been found to answer on any port", () => {
    const { verdicts, sent, received, packets } = scan(
      "evidence",
      { controlPorts: { first: 60_000, last: 60_511 }, canaryPorts: canaryPorts([]) },
      "open",
    );
    expect(verdicts.filter(({ answersAll }) => answersAll).length).toBeGreaterThan(50);
    const answered = verdicts.filter(({ ttl }) => ttl > 0);
    expect(packets).toHaveLength(2 * answered.length);
    for (const [i, { hex }] of packets.entries()) expect(i % 2 === 0 ? sent : received).toContain(hex);
    const said = packets.filter((_, i) => i % 2 === 1).map(({ comment }) => comment);
    expect(new Set(said).size).toBe(answered.length);
  });

  it("takes nothing from the scan, and adds nothing", () => {
    const { engine, verdicts } = scan("evidence");
    const plain = scan("all");
    expect(verdicts).toEqual(plain.verdicts);
    expect(engine.counts).toEqual(plain.engine.counts);
    expect(verdicts).toHaveLength(engine.counts.started);
  });

  it("says that equal SYNs cannot be told apart, when all leave from one port", () => {
    const { verdicts, sent, packets } = scan("evidence", { ports: createSourcePorts(61_000, 61_000, 1) });
    const again = verdicts.filter(({ ttl, tries, answered }) => ttl > 0 && tries > 1 && answered === 0);
    expect(again.length).toBeGreaterThan(10);
    const told = packets.filter(({ comment }) => comment.includes("equal SYNs"));
    expect(told).toHaveLength(again.length);
    for (const { hex } of told) expect(sent).toContain(hex);
  });
});
