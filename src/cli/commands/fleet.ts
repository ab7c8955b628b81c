/**
 * `synprobe fleet status|drain|stop`: who is there and what is under way at a fleet's Redis. What talks to Redis is in the bundle of
 * run/fleet-run.ts.
 */
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import { displayLength, escapeText, pad } from "../../report/escape.ts";
import { digits } from "../../report/figures.ts";
import type { FleetWorker, Run } from "../../runtime/fleet/registry.ts";
import { loadApart } from "../apart.ts";
import { EXIT, type ExitStatus } from "../exit.ts";
import { usage } from "../options/table.ts";
import { type Messages, printResult } from "../run/terminal.ts";

/** @param words `status`, `drain WORKER` or `stop RUN`, and a URL that may be left out */
export async function fleet(words: readonly string[], messages: Messages): Promise<ExitStatus> {
  const [action, ...rest] = words;
  const name = action === "drain" || action === "stop" ? rest.shift() : undefined;
  const [url, ...more] = rest;
  const isKnown = action === "status" || (name !== undefined && name !== "");
  if (!isKnown || more.length > 0)
    throw usage("fleet takes status [URL], drain WORKER [URL] or stop RUN [URL]");
  const { asFleetError, askToEnd, fleetUrl, lastSeenMs, listRuns, listWorkers, openRedis } =
    loadApart<typeof import("../run/fleet-run.ts")>("fleet-run");
  const at = fleetUrl(url);
  const redis = await openRedis(at, messages.note);
  try {
    const [workers, runs] = [await listWorkers(redis), await listRuns(redis)];
    if (action === "status") {
      const seen = await Promise.all(workers.map(({ id }) => lastSeenMs(redis, "worker", id)));
      printResult(formatStatus(workers, seen, runs));
      return EXIT.complete;
    }
    const kind = action === "drain" ? "worker" : "run";
    const known = kind === "worker" ? workers : runs;
    if (!known.some(({ id }) => id === name)) {
      const there = known.length === 0 ? "none is there" : `there is ${known.map(({ id }) => id).join(", ")}`;
      throw new SynprobeError(ERROR_CODES.usage, `no ${kind} ${name}: ${there}`);
    }
    await askToEnd(redis, kind, name ?? "");
    messages.note(
      action === "drain"
        ? `${name} leaves when its cell is done`
        : `run ${name} stops; its journal, if it has one, goes on with --resume`,
    );
    return EXIT.complete;
  } catch (error) {
    throw asFleetError(at, error);
  } finally {
    redis.disconnect();
  }
}

/** @param seenMs how long ago each worker was seen */
export function formatStatus(
  workers: readonly FleetWorker[],
  seenMs: readonly number[],
  runs: readonly Run[],
): string {
  const rows = [
    ["WORKER", "VANTAGE", "VERSION", "CELLS", "PAIRS/S", "SEEN", "AT"],
    ...workers.map(({ id, vantage, version, cells, rate, run, pairs }, i) => [
      id,
      vantage,
      version,
      String(cells),
      rate === undefined ? "-" : digits(rate),
      `${Math.max(0, Math.round(seenMs[i] / 1000))} s`,
      run === undefined ? "idle" : `${digits(pairs ?? 0)} pairs of ${run}`,
    ]),
    ["", "", "", "", "", "", ""],
    ["RUN", "FROM", "BY", "PAIRS", "DONE", "", ""],
    ...runs.map(({ id, from = "any", by, pairs, decided }) => [
      id,
      from,
      by,
      digits(pairs),
      `${Math.floor((100 * decided) / Math.max(1, pairs))}%`,
      "",
      "",
    ]),
  ].map((row) => row.map((cell) => escapeText(cell)));
  const wide = rows[0].map((_, column) => Math.max(...rows.map((row) => displayLength(row[column]))));
  const lines = rows.map((row) =>
    row
      .map((cell, i) => pad(cell, wide[i]))
      .join("  ")
      .trimEnd(),
  );
  return `${lines.join("\n")}\n`;
}
