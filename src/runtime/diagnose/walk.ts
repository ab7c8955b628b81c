/**
 * Doctor's last look, and the only one that sends anything: SYNs with rising TTL to the ports of its target, which tell where
 * they stop. The walk itself: runtime/path.
 * Tested by test/lab/path.test.ts.
 */
import { PATH_DEFAULTS } from "../../scan/path/finding.ts";
import { noteSentence, portSentence } from "../../scan/path/sentences.ts";
import type { TargetSpec } from "../../scan/targets/grammar.ts";
import { openPath } from "../path/path.ts";
import { makePlan } from "../plan/plan.ts";
import { type Finding, info, ok } from "./finding.ts";

/** Ports walked to, at most. */
const MOST_PORTS = 4;

/**
 * What became of the SYNs to each port; nothing for a target without ports.
 * @param opened is called when no privilege is needed any more, before the first SYN
 */
export async function walkFindings(
  target: TargetSpec,
  opened: () => void | Promise<void>,
): Promise<Finding[]> {
  const ports = target.ports?.slice(0, MOST_PORTS);
  if (ports === undefined) return [];
  const plan = await makePlan([{ ...target, ports }], { allAddresses: false, ttl: PATH_DEFAULTS.maxHops });
  if (plan.space.total === 0) return [];
  const walk = await openPath(plan, { ...PATH_DEFAULTS, rate: PATH_DEFAULTS.maxRate, search: false });
  try {
    await opened();
    const result = await walk.run().finished;
    return [
      ...result.ports.map((port) =>
        (port.state === "filtered" ? info : ok)("way", portSentence(result, port)),
      ),
      ...result.notes.map((note) => info("way", noteSentence(note))),
    ];
  } finally {
    walk.close();
  }
}
