/**
 * `synprobe check POLICY`: whether ports are what a policy wants, and `check --learn TARGETS`, which writes one. The scan itself is the
 * main command's (run/probe.ts): here is what it serves.
 */
import { type Check, createCheck } from "../../policy/check.ts";
import { countExcluded } from "../../policy/excluded.ts";
import { createExpectations } from "../../policy/expectations.ts";
import { FORMATS } from "../../policy/formats/formats.ts";
import { createLearning } from "../../policy/learn.ts";
import { placesOf, targetsToProbe } from "../../policy/policy.ts";
import type { Plan } from "../../runtime/plan/plan.ts";
import { noteEnded, readPolicyFile } from "../../runtime/plan/policy-file.ts";
import { createOwnFailures } from "../../runtime/results/own-failures.ts";
import { readServices } from "../../runtime/system/system.ts";
import { PORT_STATES, type PortResult, pairKey } from "../../scan/probe/result.ts";
import { EXIT } from "../exit.ts";
import { checkPlaces } from "../options/fleet-options.ts";
import type { ProbeOptions } from "../options/probe-options.ts";
import { refuseTargets, usage } from "../options/spec.ts";
import type { Purpose } from "../run/context.ts";
import type { Messages } from "../run/terminal.ts";

/** Options of its own, by commander's names. */
export interface CheckOptions {
  readonly format: string;
  readonly learn?: boolean;
}

/** For the scan: the words of the command line that are targets, the options, and what it serves. */
export interface Checking<Options> {
  readonly words: readonly string[];
  readonly options: Options;
  readonly purpose: Purpose;
}

/**
 * @param words the policy's file, or targets to learn from
 * @param isTyped whether an option stands on the command line itself, by commander's name
 * @throws {SynprobeError} `ERR_POLICY`, `ERR_USAGE`
 */
export async function checking<Options extends CheckOptions & ProbeOptions>(
  words: readonly string[],
  options: Options,
  isTyped: (name: string) => boolean,
  messages: Messages,
): Promise<Checking<Options>> {
  const { learn, format, drop } = options;
  if (learn === true) {
    if (options.from !== undefined && options.from.length > 1)
      throw usage("--learn writes what is so from one place: name one in --from");
    if (isTyped("format")) throw usage("--learn writes a policy: --format is for the report of a check");
    return { words, options, purpose: learning() };
  }
  const [file, ...others] = words;
  if (file === undefined) throw usage("check takes a policy, or targets after --learn");
  if (others.length > 0)
    throw usage(
      `check takes one policy, and "${others[0]}" is another: targets stand in it, or after --learn`,
    );
  refuseTargets(isTyped, "--learn takes it");
  const policy = await readPolicyFile(file, readServices(), drop);
  noteEnded(policy, messages.note);
  const places = placesOf(policy, options.fleet === undefined ? [] : options.from);
  const from = options.from ?? (places.length > 0 ? places : undefined);
  checkPlaces(from ?? [], policy.file);
  const counting = createCounting();
  let made: Check | undefined;
  const check = (): Check => {
    if (made === undefined) throw new RangeError("what is probed is not planned yet");
    return made;
  };
  const purpose: Purpose = {
    addTargets: (planner) => {
      for (const target of targetsToProbe(policy)) planner.add(target);
    },
    planned: (plan) => {
      const { names, hops } = plan;
      counting.planned(hops);
      const expectations = createExpectations(policy, names, from?.length === 1 ? from[0] : undefined);
      made = createCheck(policy, expectations, countExcluded(policy, plan));
    },
    createReporter: (write, colour) => ({
      wants: () => PORT_STATES,
      start() {},
      result: (result) => check().take(counting.asItCounts(result)),
      fault() {},
      finish: (summary) => {
        for (const piece of FORMATS[format](check().report(summary), colour)) write(piece);
      },
    }),
    // An ICMP error may be this machine's own.
    passes: (verdict) => !verdict.hasResponder && check().passes(verdict),
    again: () => check().untold().map(counting.asTold),
    status: () => {
      const { differs, untold } = check().counts();
      return differs > 0 ? EXIT.notOpen : untold > 0 ? EXIT.network : EXIT.complete;
    },
  };
  // Those of a configuration are for targets that name no port, of which there are none.
  const { ports: _, topPorts: __, ...rest } = options;
  const given = { ...rest, ...(from === undefined ? {} : { from }) };
  return { words: [], options: given as Options, purpose };
}

/** Results as they count, where this machine itself could not deliver a SYN, and as they were told. */
function createCounting() {
  let asItCounts = createOwnFailures([]);
  const told = new Map<string, PortResult>();
  return {
    planned: (hops: Plan["hops"]): void => {
      asItCounts = createOwnFailures(hops);
    },
    asItCounts: (result: PortResult): PortResult => {
      const counted = asItCounts(result);
      if (counted !== result) told.set(pairKey(result), result);
      return counted;
    },
    asTold: (result: PortResult): PortResult => told.get(pairKey(result)) ?? result,
  };
}

function learning(): Purpose {
  const learnt = createLearning();
  const counting = createCounting();
  return {
    planned: ({ hops }) => {
      counting.planned(hops);
    },
    createReporter: (write) => ({
      wants: () => PORT_STATES,
      start() {},
      result: (result) => learnt.take(counting.asItCounts(result)),
      fault() {},
      finish: ({ startedMs, faults }) => write(learnt.policy(startedMs, faults)),
    }),
    again: () => learnt.untold().map(counting.asTold),
  };
}
