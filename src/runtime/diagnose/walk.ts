/**
 * Doctor's last look, and the only one that sends anything: SYNs with rising TTL to the ports of its target, which tell where
 * they stop. The walk itself: runtime/path.
 * Tested by test/lab/path.test.ts.
 */
import { PATH_DEFAULTS } from "../../scan/path/finding.ts";
import { noteSentence, portSentence } from "../../scan/path/sentences.ts";
import type { TargetSpec } from "../../scan/targets/grammar.ts";
import { openPath } from "../path/path.ts";
import { silentLink } from "../plan/next-hop.ts";
import { makePlan, type Plan, type PlanOptions } from "../plan/plan.ts";
import { type Finding, info, ok, warn } from "./finding.ts";

/** Ports walked to, at most. */
const MOST_PORTS = 4;

export interface WalkHooks {
  /** What must not be probed, and most SYNs a second; asked when there are ports. */
  limits?(): Promise<Pick<PlanOptions, "exclude" | "excludePorts"> & { readonly rate: number }>;
  /** No privilege is needed any more; called before the first SYN, with what ends the walk early. */
  opened(stop: () => void): void | Promise<void>;
}

/** What became of the SYNs to each port; nothing for a target without ports. What ends the walk early is a finding too. */
export async function walkFindings(target: TargetSpec, { opened, limits }: WalkHooks): Promise<Finding[]> {
  const all = target.ports ?? new Uint16Array();
  const ports = all.slice(0, MOST_PORTS);
  if (ports.length === 0) return [];
  const { rate = PATH_DEFAULTS.maxRate, ...excluded } = (await limits?.()) ?? {};
  const way = { allAddresses: false, ttl: PATH_DEFAULTS.maxHops };
  const plan = await makePlan([{ ...target, ports }], { ...way, ...excluded });
  if (plan.space.total === 0)
    return plan.faults.length > 0 ? [] : [info("way", "no SYN is sent: it is excluded")];
  const walk = await openPath(plan, {
    ...PATH_DEFAULTS,
    rate: Math.min(rate, PATH_DEFAULTS.maxRate),
    search: false,
    awaitsRouter: true,
  });
  try {
    let stop = (): void => {};
    let isStopped = false;
    await opened(() => {
      isStopped = true;
      stop();
    });
    if (isStopped) return [INTERRUPTED];
    const running = walk.run();
    stop = running.stop;
    const result = await running.finished;
    const failure = running.failure();
    const isUnseen = result.ports.every(({ state, seenAt }) => state === "filtered" && seenAt === 0);
    const neighbour = isUnseen ? silentLinkOf(plan) : undefined;
    return [
      ...(neighbour === undefined
        ? result.ports.map((port) =>
            (port.state === "filtered" ? info : ok)("way", portSentence(result, port)),
          )
        : [neighbour]),
      ...result.notes.map((note) => info("way", noteSentence(note))),
      ...(all.length > ports.length
        ? [
            info(
              "way",
              `of ${all.length} ports the first ${ports.length} were walked to: synprobe path takes 16`,
            ),
          ]
        : []),
      ...(failure === undefined
        ? result.interrupted
          ? [INTERRUPTED]
          : []
        : [
            warn(
              "way",
              `the walk ended early: ${messageOf(failure)}`,
              "What is said of the way is of what came before.",
            ),
          ]),
    ];
  } finally {
    walk.close();
  }
}

/** Where nothing has left at all. */
function silentLinkOf({ hops: [hop] }: Plan): Finding | undefined {
  const silence = silentLink(hop, hop.first);
  if (silence === undefined) return undefined;
  const [what, todo] = silence;
  return warn("way", what, `${todo[0].toUpperCase()}${todo.slice(1)}.`);
}

const INTERRUPTED = info("way", "interrupted, so not all is known");
const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
