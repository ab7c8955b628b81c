/**
 * A walk to a host that limits its RSTs: silence of a port beside an open one is not certain, since a closed one would be as silent, and
 * RSTs that are withheld put no host farther than it is.
 */
import { describe, expect, it } from "vitest";
import type { HopDescription, LabDescription } from "../../src/lab/description.ts";
import type { PortPath } from "../../src/scan/path/result.ts";
import { portSentence } from "../../src/scan/path/sentences.ts";
import { PROTOCOL } from "../../src/wire/protocol.ts";
import * as tcp from "../../src/wire/tcp.ts";
import { everyday } from "../everyday.ts";
import { type Walked, type Walking, walkTo } from "./path-walk.ts";
import { createSeededRandom } from "./random.ts";

const HOST = "198.18.9.9";
const OPEN = 80;
const SILENT = 99;
const CLOSED = [81, 82, 83, 84];
const HOPS = 3;
const FIRST_PORT = 61_000;

interface Limit {
  readonly ratePps: number;
  readonly burst: number;
}
const limited = (
  rstLimit: Limit | undefined,
  hops: HopDescription[] = Array.from({ length: HOPS }, () => ({ latencyMs: 1 })),
  more: LabDescription["path"] = {},
  seed = 1,
): LabDescription => ({
  seed,
  path: { latencyMs: 4, hops, ...more },
  hosts: [
    {
      range: HOST,
      rest: "closed",
      ...(rstLimit === undefined ? {} : { rstLimit }),
      ports: [
        { ports: String(OPEN), is: "open" },
        { ports: String(SILENT), is: "silent" },
      ],
    },
  ],
});
const walk = (limit: Limit | undefined, ports: number[], more: Walking = {}): Walked =>
  walkTo(limited(limit), HOST, { ports, ...more });
const portOf = ({ result }: Walked, port: number): PortPath => {
  const found = result.ports.find((each) => each.port === port);
  if (found === undefined) throw new Error(`no port ${port}`);
  return found;
};

it("a closed port that gets no RST is not certainly filtered, and the sentence says what looks the same", () => {
  const walked = walk({ ratePps: 1, burst: 1 }, [OPEN, ...CLOSED]);
  const silent = walked.result.ports.filter(({ state }) => state === "filtered");
  expect(silent.length).toBeGreaterThan(0);
  for (const path of silent) {
    expect(path).toMatchObject({ where: { kind: "at-host", rstLimit: true } });
    expect(path.doubt).toBeGreaterThan(0.01);
    expect(portSentence(walked.result, path)).toMatch(
      /^8\d is filtered or closed, at the host or just before it: .*\(doubt 0\.\d\)\. The host closes other ports, and where it limits its RSTs, a closed port looks the same\.$/,
    );
  }
});

it("silence is certain beside a closed port that goes on to be answered, by no more SYNs than beside an open one", () => {
  const walked = walk(undefined, [OPEN, 81, SILENT]);
  expect(portOf(walked, SILENT).where).toEqual({ kind: "at-host", from: HOPS, to: HOPS + 1, other: 81 });
  expect(portOf(walked, SILENT).doubt).toBeLessThan(0.01);
  const without = walk(undefined, [OPEN, SILENT]);
  expect(portOf(without, SILENT).where).toMatchObject({ other: OPEN });
  expect(walked.walk.sentTo(SILENT)).toBe(without.walk.sentTo(SILENT));
});

it("a port that a scan has found closed is compared with, and not walked", () => {
  const strict = { ratePps: 0.01, burst: 1 };
  const claimed = portOf(walk(strict, [81], { reference: OPEN, search: false }), 81);
  expect(claimed.state).toBe("closed");
  // The one RST that the host has is gone.
  const used = walkTo(limited({ ...strict, burst: 0.5 }), HOST, {
    ports: [82],
    reference: OPEN,
    closed: 81,
    search: false,
  });
  expect(portOf(used, 82)).toMatchObject({ state: "filtered", where: { rstLimit: true, other: OPEN } });
  expect(portOf(used, 82).doubt).toBeGreaterThan(0.1);
  expect(used.result.ports.map(({ port }) => port)).toEqual([82, OPEN]);
});

it("a port that only a comparison has found closed says the same of those compared meanwhile", () => {
  let resets = 0;
  // The only RST that comes back is to a flow of the comparisons.
  const meddle = (packet: Uint8Array): readonly Uint8Array[] => {
    const isReset = packet[9] === PROTOCOL.TCP && (packet[33] & tcp.FLAGS.RST) !== 0;
    if (!isReset) return [packet];
    return tcp.destinationPort(packet, 20) < FIRST_PORT + 3 || ++resets > 1 ? [] : [packet];
  };
  const walked = walk(undefined, [OPEN, 81, 82], { meddle, firstPort: FIRST_PORT });
  expect(resets).toBeGreaterThan(0);
  const states = [81, 82].map((port) => portOf(walked, port));
  expect(states.map(({ state }) => state).sort()).toEqual(["closed", "filtered"]);
  for (const { state, where, doubt } of states) {
    if (state === "closed") continue;
    expect(where).toMatchObject({ kind: "at-host", rstLimit: true });
    expect(doubt).toBeGreaterThan(0.01);
  }
});

it("withheld RSTs put a closed port no farther than another, but a box with silent routers behind it is one", () => {
  const walked = walk({ ratePps: 10, burst: 1 }, [OPEN, ...CLOSED]);
  for (const port of [OPEN, ...CLOSED]) expect(portOf(walked, port).reach).toBe(HOPS + 1);
  const box: HopDescription = {
    latencyMs: 1,
    silent: true,
    rules: [{ ports: "81", does: "reset", at: "in" }],
  };
  const silent = { latencyMs: 1, silent: true };
  const boxed = walkTo(limited(undefined, [{ latencyMs: 1 }, box, silent, silent]), HOST, {
    ports: [81, 82],
  });
  expect(portOf(boxed, 82).where).toEqual({ kind: "host", hop: 5 });
  expect(portOf(boxed, 81).where).toMatchObject({ kind: "box", to: 2, other: 82 });
});

describe("random limits", () => {
  const COUNT = everyday(150, 1500);
  const RATES = [0.5, 1, 2, 5, 10, 20, 30, 40, 50, 80, 100, 150];
  const walks = Array.from({ length: COUNT }, (_, i) => {
    const random = createSeededRandom(i + 1);
    const pick = <Value>(values: readonly Value[]): Value => values[random(values.length)];
    const count = 1 + random(6);
    const isSilent = random(3) === 0;
    const hops = Array.from({ length: count }, (_, hop) => ({
      latencyMs: 1,
      ...(isSilent && hop === count - 1 ? { silent: true } : {}),
    }));
    const limit = { ratePps: pick(RATES), burst: pick([1, 1, 2, 5, 10]) };
    const path = {
      latencyMs: 1 + random(20),
      jitterMs: pick([0, 0, 0.5, 5, 10]),
      loss: pick([0, 0, 0.02]),
    };
    const hasOpen = random(4) > 0;
    const closed = Array.from({ length: 1 + random(5) }, (_, n) => 81 + n);
    const ports = [...(hasOpen ? [OPEN] : []), ...closed, ...(random(2) === 0 ? [SILENT] : [])];
    const { result, walk: of } = walkTo(limited(limit, hops, path, i + 1), HOST, { seed: i + 1, ports });
    return { seed: i + 1, host: count + 1, hasOpen, closed, result, most: Math.max(...ports.map(of.sentTo)) };
  });

  it("never have a closed port called filtered with small doubt, nor a box or a way that loses", () => {
    const wrong = walks.flatMap(({ seed, closed, result }) =>
      result.ports
        .filter(({ port, state, where: { kind }, doubt = 1 }) => {
          if (doubt >= 0.01 || !closed.includes(port)) return false;
          return state === "filtered" || kind === "box" || kind === "some-flows";
        })
        .map(({ port, where, doubt }) => ({ seed, port, where, doubt })),
    );
    expect(wrong).toEqual([]);
  });

  it("leave no port farther than an open one, and few too far where there is none", () => {
    const far = walks.filter(({ host, result }) => result.ports.some(({ reach = 0 }) => reach > host));
    expect(far.filter(({ hasOpen }) => hasOpen).map(({ seed }) => seed)).toEqual([]);
    expect(far.length).toBeLessThanOrEqual(COUNT / 50);
  });

  it("leave what is silent for certain in most, and do not make a walk endless", () => {
    const silent = walks.flatMap(({ result }) => result.ports.filter(({ port }) => port === SILENT));
    const sure = silent.filter(({ where: { kind }, doubt = 1 }) => kind === "at-host" && doubt < 0.01);
    expect(sure.length / silent.length).toBeGreaterThan(0.75);
    for (const { result } of walks) expect(result.elapsedUs).toBeLessThan(30e6);
  });

  it("keep to 30 hops x 3 tries and 50 SYNs of comparisons for each port that is compared", () => {
    for (const { most, closed } of walks) expect(most).toBeLessThanOrEqual(90 + 50 * (closed.length + 1));
  });
});
