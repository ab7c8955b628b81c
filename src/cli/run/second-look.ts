/**
 * Ports that a run could not tell surely, probed once more when it is over: later, and from other source ports. What that finds
 * corrects the results; what it does not find out leaves them as they are. Tested by test/lab/check.test.ts.
 */
import { count } from "../../report/figures.ts";
import { createOwnFailures } from "../../runtime/results/own-failures.ts";
import { type OpenScan, openScan } from "../../runtime/run/scan.ts";
import { dropPrivileges } from "../../runtime/system/privilege.ts";
import {
  hasFailed,
  PORT_STATES,
  type PortResult,
  pairKey,
  type ScanSummary,
} from "../../scan/probe/result.ts";
import { createSpaceBuilder } from "../../scan/targets/space-builder.ts";
import { parseAddress } from "../../wire/address.ts";
import { DEFAULTS } from "../options/probe-options.ts";
import type { AtOnce, RunContext } from "./context.ts";

/**
 * Needs CAP_NET_RAW where the run did, and gives it up. When the second look fails, that is said, and the first counts.
 * @param take gets every result that says more than the one before
 * @returns the summary of both looks
 */
export async function lookAgain(
  context: RunContext,
  first: ScanSummary,
  atOnce: AtOnce,
  take: (result: PortResult) => void,
): Promise<ScanSummary> {
  const { purpose, interruption, messages, options } = context;
  const unsure = purpose?.again?.() ?? [];
  // A fleet's runs are probed by its workers, and this machine may not reach their targets.
  const isHere = options.fleet === undefined;
  const isWanted = isHere && unsure.length > 0 && !interruption.signalled && first.unfinished === 0;
  const fail = (error: unknown): undefined => {
    messages.error(`the second look failed: ${error instanceof Error ? error.message : error}`);
    return undefined;
  };
  const scan = isWanted ? await open(context, unsure).catch(fail) : undefined;
  if (options.drop) dropPrivileges();
  if (scan === undefined) return first;
  messages.note(`${count(unsure.length, "port")} could not be told surely: probed again`);
  const merged = createMerge(first, unsure, createOwnFailures(context.plan.hops));
  try {
    await scan.settle?.();
    const running = scan.run({
      wants: PORT_STATES,
      onResult: (result) => {
        const better = merged.take(result);
        if (better !== undefined) take(better);
      },
    });
    const summary = () => merged.summary(running.summary());
    interruption.onSignal(() => running.stop());
    atOnce(summary, running);
    await running.finished.catch(fail);
    return summary();
  } catch (error) {
    fail(error);
    return first;
  } finally {
    scan.close();
  }
}

function open({ plan, scanOptions }: RunContext, unsure: readonly PortResult[]): Promise<OpenScan> {
  const builder = createSpaceBuilder();
  for (const { ip, port } of unsure) {
    const address = parseAddress(ip);
    if (address !== undefined) builder.add(address, address, Uint16Array.of(port));
  }
  const { complete: _, capture: __, order, ...rest } = scanOptions;
  const { shard: ___, ...whole } = order;
  const retries = Math.max(rest.retries, DEFAULTS.retries);
  return openScan({ ...plan, space: builder.build() }, { ...rest, retries, order: whole, follows: true });
}

/** The results of a run with those of a second look at some of its ports. */
function createMerge(
  first: ScanSummary,
  unsure: readonly PortResult[],
  asItCounts: (result: PortResult) => PortResult,
) {
  const known = new Map(unsure.map((result) => [pairKey(result), result]));
  const states = { open: first.open, closed: first.closed, filtered: first.filtered };
  const reasons = structuredClone(first.reasons) as Record<string, Record<string, number>>;
  const add = ({ state, reason }: PortResult, by: 1 | -1): void => {
    states[state] += by;
    reasons[state][reason] = (reasons[state][reason] ?? 0) + by;
    if (reasons[state][reason] === 0) delete reasons[state][reason];
  };
  return {
    /** @returns the result as a correction of the one before; undefined when it says no more */
    take(result: PortResult): PortResult | undefined {
      const before = known.get(pairKey(result));
      if (before === undefined || !saysMore(asItCounts(result), before)) return undefined;
      const now = result.state === before.state ? result : { ...result, was: before.state };
      known.set(pairKey(result), now);
      add(before, -1);
      add(now, 1);
      return now;
    },
    summary: (second: ScanSummary): ScanSummary => ({
      ...first,
      ...states,
      reasons: reasons as ScanSummary["reasons"],
      sent: first.sent + second.sent,
      retransmitted: first.retransmitted + second.retransmitted,
      received: first.received + second.received,
      late: first.late + second.late,
      elapsedMs: first.elapsedMs + second.elapsedMs,
      interrupted: first.interrupted || second.interrupted,
    }),
  };
}

/** An answer says more than silence, and silence more when there is less doubt about it. */
function saysMore(now: PortResult, before: PortResult): boolean {
  if (hasFailed(now.reason)) return false;
  if (now.reason !== "no-response" || before.reason !== "no-response") return true;
  return (now.doubt ?? 0) < (before.doubt ?? 0);
}
