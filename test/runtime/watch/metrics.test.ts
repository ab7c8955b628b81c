/** The metrics' server by itself; what it serves of a watch: test/lab/watch.test.ts. */
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { describe, expect, it } from "vitest";
import {
  type ChangeDetector,
  createChangeDetector,
  type Verdict,
} from "../../../src/runtime/watch/change-detector.ts";
import { createMetrics, serveMetrics } from "../../../src/runtime/watch/metrics.ts";
import type { FinishedRound } from "../../../src/runtime/watch/rounds.ts";
import { type PortResult, pairKey, type ScanSummary } from "../../../src/scan/probe/result.ts";
import { madeRound } from "./event.ts";

/** A round that found so many open ports. */
function roundOf(count: number, ending: FinishedRound["run"]["ending"] = "complete"): FinishedRound {
  const result: PortResult = {
    ip: "192.0.2.1",
    port: 1,
    state: "open",
    reason: "syn-ack",
    rttMs: 1,
    ttl: 64,
    tries: 1,
    timeMs: 0,
  };
  const ports = Array.from({ length: count }, (_, i) => 1 + i);
  const verdict: Verdict = { state: "open", reason: "syn-ack" };
  return {
    run: { startedMs: 0, endedMs: 1000, source: "synprobe", ending },
    round: {
      events: [],
      verdicts: new Map(ports.map((port) => [`${port}`, verdict])),
      held: new Map(),
      transient: 0,
      unsettled: 0,
    },
    results: new Map(ports.map((port) => [`${port}`, { ...result, port }])),
    failures: new Map(),
    missed: new Map(),
    summary: { elapsedMs: 1000, faults: [] as unknown } as FinishedRound["summary"],
  };
}

describe("a round's metrics", () => {
  it("have a series for each port up to the bound, and how many are left out", async () => {
    const { registry, round, failed } = createMetrics(2, () => 0);
    const lines = async (name: string): Promise<string[]> =>
      (await registry.getSingleMetricAsString(`synprobe_${name}`)).split("\n").slice(2);
    round(roundOf(3), { events: [] });
    expect(await lines("port_state")).toHaveLength(2);
    expect(await lines("ports_left_out")).toEqual(["synprobe_ports_left_out 1"]);
    expect(await lines("ports")).toEqual([
      'synprobe_ports{state="open"} 3',
      'synprobe_ports{state="closed"} 0',
      'synprobe_ports{state="filtered"} 0',
    ]);
    // Of an interrupted round not all is known: what was known stays.
    round(roundOf(1, "interrupted"), { events: [] });
    expect(await lines("ports")).toEqual([
      'synprobe_ports{state="open"} 3',
      'synprobe_ports{state="closed"} 0',
      'synprobe_ports{state="filtered"} 0',
    ]);
    const part = roundOf(1);
    const faults = [{ target: "svc.test:22", code: "ERR_UNKNOWN_HOST", message: "" }];
    round(
      { ...part, failures: new Map([["send-eperm", 2]]), summary: { ...part.summary, faults } },
      { events: [] },
    );
    expect(await lines("targets_unprobed")).toEqual(["synprobe_targets_unprobed 1"]);
    expect(await lines("ports_unprobed")).toEqual(["synprobe_ports_unprobed 2"]);
    expect(await lines("port_state")).toHaveLength(1);
    expect(await lines("ports_left_out")).toEqual(["synprobe_ports_left_out 0"]);
    // One that fails as a whole has probed none of them.
    failed();
    expect(await lines("ports_unprobed")).toEqual(["synprobe_ports_unprobed 3"]);
    round(part, { events: [] });
    expect(await lines("ports_unprobed")).toEqual(["synprobe_ports_unprobed 0"]);
  });
});

const PORT = { ip: "192.0.2.1", host: "www.test", port: 22, rttMs: null, ttl: null, tries: 1, timeMs: 0 };
const OPEN: PortResult = { ...PORT, state: "open", reason: "syn-ack" };
const CLOSED: PortResult = { ...PORT, state: "closed", reason: "reset" };
const SILENT: PortResult = { ...PORT, state: "filtered", reason: "no-response", doubt: 0.01 };
const UNSENT: PortResult = { ...PORT, state: "filtered", reason: "send-eperm" };
/** Another port, which is closed whatever comes of the first: a round of which nothing could be probed has failed. */
const OTHER: PortResult = { ...CLOSED, port: 23 };

/** Rounds of a detector whose scans find this of the first port. @returns the metrics after each */
function createRounds(detector: ChangeDetector, mostPorts = 10) {
  const { registry, round } = createMetrics(mostPorts, () => 0);
  return async (...found: readonly PortResult[]): Promise<string[]> => {
    let scans = 0;
    const finished = await madeRound(detector, {
      scan: async (onResult) => {
        if (scans === 0) onResult(OTHER);
        onResult(found[Math.min(scans++, found.length - 1)]);
        return {
          startedMs: 0,
          elapsedMs: 0,
          faults: [],
          interrupted: false,
          unfinished: 0,
        } as unknown as ScanSummary;
      },
      sleep: async () => true,
      now: () => 0,
      source: "synprobe",
    });
    round(finished, { events: [] });
    const text = await registry.metrics();
    return text
      .split("\n")
      .filter((line) => /^synprobe_(port_state|ports|ports_unprobed)[ {]/.test(line))
      .sort();
  };
}

describe("a port that stays as it was", () => {
  const create = (): ChangeDetector => createChangeDetector({ confirmMs: 0, halfLifeMs: 60_000 });
  const UNSETTLED = [SILENT, CLOSED, SILENT, CLOSED, SILENT, CLOSED, SILENT];

  it("as it could not be settled, keeps its series, and is counted", async () => {
    const rounds = createRounds(create());
    const before = await rounds(OPEN);
    expect(before).toContain(
      'synprobe_port_state{ip="192.0.2.1",host="www.test",port="22",state="open",reason="syn-ack"} 1',
    );
    expect(before).toContain('synprobe_ports{state="open"} 1');
    expect(await rounds(...UNSETTLED)).toEqual(before);
    // What a watch before has known is held, too.
    const detector = create();
    for (const { port, ...known } of [OPEN, OTHER]) detector.restore(pairKey({ ip: PORT.ip, port }), known);
    expect(await createRounds(detector)(...UNSETTLED)).toEqual(before);
  });

  it("as it could not be probed, keeps it as well, and is counted as unprobed, too", async () => {
    const rounds = createRounds(create());
    const before = await rounds(OPEN);
    const unprobed = before.map((line) => line.replace(/^(synprobe_ports_unprobed) 0$/, "$1 1"));
    expect(unprobed).not.toEqual(before);
    expect(await rounds(UNSENT)).toEqual(unprobed);
  });

  it("has none when nothing is known of it", async () => {
    const shown = await createRounds(create())(UNSENT);
    expect(shown.filter((line) => line.includes('port="22"'))).toEqual([]);
    expect(shown).toContain('synprobe_ports{state="closed"} 1');
    expect(shown).toContain('synprobe_ports{state="open"} 0');
  });

  it("counts for the bound on series as any other", async () => {
    const detector = create();
    await createRounds(detector)(OPEN);
    const shown = await createRounds(detector, 1)(...UNSETTLED);
    expect(shown.filter((line) => line.startsWith("synprobe_port_state"))).toHaveLength(1);
    expect(shown).toContain('synprobe_ports{state="open"} 1');
  });
});

describe("the metrics' server", () => {
  it("has a counter of every type of event, and ending, from the beginning, so that the first one is a rise", async () => {
    const { registry } = createMetrics(10, () => 0);
    const zeros = async (counter: string, label: string): Promise<string[]> => {
      const series = new RegExp(`^synprobe_${counter}\\{${label}="(\\w+)"\\} 0$`, "gm");
      return Array.from((await registry.metrics()).matchAll(series), ([, value]) => value).sort();
    };
    expect(await zeros("rounds_total", "ending")).toEqual(["complete", "failed", "interrupted", "skipped"]);
    const types = ["changed", "flapping", "restored", "settled", "violation"];
    expect(await zeros("events_total", "type")).toEqual(types);
  });

  it("answers every path that a client may send, and goes on", async () => {
    const metrics = createMetrics(10, () => 0);
    const { server, url } = await serveMetrics({ host: "127.0.0.1", port: 0 }, metrics, () => true);
    // Whoever names a port that is taken has to name another.
    const taken = { host: "127.0.0.1", port: Number(new URL(url).port) };
    await expect(serveMetrics(taken, metrics, () => true)).rejects.toMatchObject({ code: "ERR_USAGE" });
    const statusOf = async (target: string): Promise<string> => {
      const socket = connect(Number(new URL(url).port), "127.0.0.1");
      socket.write(`GET ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
      return (await text(socket)).split(" ", 2)[1];
    };
    const statuses: string[] = [];
    for (const target of ["//", "http://[", "/healthz?probe=1", "/metrics?", "/"])
      statuses.push(await statusOf(target));
    server.close();
    expect(statuses).toEqual(["404", "404", "200", "200", "404"]);
  });
});
