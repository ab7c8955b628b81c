/**
 * What Prometheus is told of a watch, and a health end point. Every port is a series, up to a bound; that it was reached is a
 * metric of its own. Tested by test/lab/watch.test.ts.
 */
import { createServer, type Server } from "node:http";
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import { OUTCOMES } from "../../policy/judge.ts";
import { PORT_STATES, type PortResult } from "../../scan/probe/result.ts";
import { formatEndpoint } from "../../wire/address.ts";
import { type CommittedRound, KINDS } from "./events.ts";
import type { FinishedRound } from "./rounds.ts";

export interface Metrics {
  round(finished: FinishedRound, committed: CommittedRound): void;
  /** So many rounds. */
  skipped(count: number): void;
  failed(): void;
  readonly registry: Registry;
}

/** Of a round: as of its run, and those that made none. */
const ENDINGS = ["complete", "interrupted", "failed", "skipped"];

/** From 0.1 ms on, each three times the one before or so. */
const RTT_BUCKETS = [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3];

/**
 * @param mostPorts ports with series of their own @param pending events that are still to be delivered
 * @param ofPolicy a policy is watched
 */
export function createMetrics(mostPorts: number, pending: () => number, ofPolicy = false): Metrics {
  const registry = new Registry();
  const registers = [registry];
  const gauge = <Label extends string>(name: string, help: string, ...labelNames: Label[]): Gauge<Label> =>
    new Gauge({ name: `synprobe_${name}`, help, labelNames, registers });
  const counter = <Label extends string>(
    name: string,
    help: string,
    ...labelNames: Label[]
  ): Counter<Label> => new Counter({ name: `synprobe_${name}`, help, labelNames, registers });
  const state = gauge(
    "port_state",
    "1 for the state that a port is in",
    "ip",
    "host",
    "port",
    "state",
    "reason",
  );
  const ports = gauge("ports", "Ports by state, after the last round", "state");
  const judged = ofPolicy
    ? gauge("policy_ports", "Ports by what they are by the policy: as-written, differs, untold", "outcome")
    : undefined;
  const leftOut = gauge("ports_left_out", "Ports without a series of their own: --metrics-ports is reached");
  const targetsUnprobed = gauge(
    "targets_unprobed",
    "Targets that the last round could not probe: names that do not resolve, no way to them",
  );
  const portsUnprobed = gauge("ports_unprobed", "Ports of other targets that the last round could not probe");
  const loss = gauge("syn_loss_ratio", "Loss of round trips in the last scan, 0 to 1");
  const lastRun = gauge("last_run_timestamp_seconds", "When the last scan began");
  const duration = gauge("last_run_duration_seconds", "How long the last scan took, without confirmations");
  const rtt = new Histogram({
    name: "synprobe_rtt_seconds",
    help: "Round trips of answered SYNs",
    buckets: RTT_BUCKETS,
    registers,
  });
  const rounds = counter("rounds_total", "Rounds by how they ended", "ending");
  const changes = counter("events_total", "Events that were told", "type");
  const transient = counter("transient_total", "Differences that were none when they were probed again");
  new Gauge({
    name: "synprobe_deliveries_pending",
    help: "Events that --exec or --webhook is still to be told of",
    registers,
    collect() {
      this.set(pending());
    },
  });
  /** Ports of the last round that was complete: one that fails has probed none of them. */
  let asked = 0;
  for (const type of KINDS) changes.inc({ type }, 0);
  for (const ending of ENDINGS) rounds.inc({ ending }, 0);
  return {
    registry,
    skipped: (count) => rounds.inc({ ending: "skipped" }, count),
    failed: () => {
      rounds.inc({ ending: "failed" });
      portsUnprobed.set(asked);
    },
    round({ run, round, results, failures, missed, summary }, { events, outcomes }) {
      rounds.inc({ ending: run.ending });
      transient.inc(round.transient);
      for (const { type } of events) changes.inc({ type });
      lastRun.set(run.startedMs / 1000);
      duration.set(summary.elapsedMs / 1000);
      if (run.loss !== undefined) loss.set(run.loss);
      // Of an interrupted round not all is known: what was known stays.
      if (run.ending !== "complete") return;
      targetsUnprobed.set(summary.faults.length);
      const unprobed = [...failures.values()].reduce((sum, n) => sum + n, 0);
      portsUnprobed.set(unprobed);
      asked = results.size + unprobed;
      state.reset();
      for (const each of PORT_STATES) ports.set({ state: each }, 0);
      for (const outcome of OUTCOMES) judged?.set({ outcome }, outcomes?.[outcome] ?? 0);
      let series = 0;
      const show = (key: string, { ip, host = "", port }: PortResult): void => {
        // What stays as it was is still that: a series that goes away would look like a port that nobody watches any more.
        const verdict = round.verdicts.get(key) ?? round.held.get(key);
        if (verdict === undefined) return;
        ports.inc({ state: verdict.state });
        if (series++ < mostPorts)
          state.set({ ip, host, port: String(port), state: verdict.state, reason: verdict.reason }, 1);
      };
      for (const [key, result] of results) {
        if (result.rttMs !== null) rtt.observe(result.rttMs / 1000);
        show(key, result);
      }
      // A result may have been corrected by one that failed, or the other way round.
      for (const [key, result] of missed) if (!results.has(key)) show(key, result);
      leftOut.set(Math.max(0, series - mostPorts));
    },
  };
}

/** Where metrics are served. */
export interface MetricsAddress {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
}

/** @param text `host:port` or `[v6]:port` @throws {SynprobeError} `ERR_USAGE` */
export function parseMetricsAddress(text: string): MetricsAddress {
  const [, v6, host = v6, port] = /^(?:\[([\da-fA-F:.%\w]+)\]|([\w.-]+)):(\d{1,5})$/.exec(text) ?? [];
  if (host !== undefined && Number(port) <= 65_535) return { host, port: Number(port) };
  throw new SynprobeError(
    ERROR_CODES.usage,
    `--metrics takes address:port, such as 127.0.0.1:9464, not "${text}"`,
  );
}

/**
 * Serves them. @param isHealthy for /healthz
 * @throws {SynprobeError} `ERR_USAGE` where it cannot listen
 */
export async function serveMetrics(
  { host, port }: MetricsAddress,
  { registry }: Metrics,
  isHealthy: () => boolean,
): Promise<{ readonly server: Server; readonly url: string }> {
  const server = createServer((request, response) => {
    // Anybody's text: not all of it is a URL.
    const [pathname] = (request.url ?? "/").split("?", 1);
    const answer = (status: number, body: string, type = "text/plain"): void => {
      response.writeHead(status, { "content-type": type }).end(body);
    };
    if (request.method !== "GET" && request.method !== "HEAD") answer(405, "GET only\n");
    else if (pathname === "/metrics")
      registry.metrics().then(
        (text) => answer(200, text, registry.contentType),
        (error: unknown) => answer(500, `${error}\n`),
      );
    else if (pathname === "/healthz")
      isHealthy() ? answer(200, "ok\n") : answer(503, "the last scan failed\n");
    else answer(404, "/metrics or /healthz\n");
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error) =>
      reject(new SynprobeError(ERROR_CODES.usage, `--metrics: ${error.message}`)),
    );
    server.listen(port, host, resolve);
  });
  server.unref();
  const bound = server.address();
  const at = typeof bound === "object" && bound !== null ? bound.port : port;
  return { server, url: `http://${formatEndpoint(host, at)}/metrics` };
}
