/**
 * The scans of a watch: the same targets again and again, read and resolved anew each time, or some pairs once more. Privileges are
 * dropped after the first has opened its sockets, but for CAP_NET_RAW, by which the next ones open theirs where they are raw.
 * Tested by test/lab/watch.test.ts and test/cli/commands/rescan.test.ts.
 */
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import { CAPABILITIES } from "../../link/sys/capabilities.ts";
import { makePlan, type Plan } from "../../runtime/plan/plan.ts";
import { createOwnFailures } from "../../runtime/results/own-failures.ts";
import { openScan } from "../../runtime/run/scan.ts";
import { dropPrivileges } from "../../runtime/system/privilege.ts";
import { readServices } from "../../runtime/system/system.ts";
import type { WatchedPolicy } from "../../runtime/watch/policy.ts";
import { PORT_STATES, type PortResult, type ScanSummary } from "../../scan/probe/result.ts";
import { isLinkLocal, parseAddress } from "../../wire/address.ts";
import { withAdvice } from "../advice.ts";
import { afterSending } from "../exit.ts";
import { type TimedOptions, usage } from "../options/table.ts";
import type { Interruption } from "../run/interruption.ts";
import { scanOptionsOf } from "../run/probe.ts";
import { planTargets, wayOptions } from "../run/targets.ts";
import type { Messages } from "../run/terminal.ts";

export interface Rescanning {
  /**
   * Opens the sockets of the first scan, and drops privileges; a signal ends it sooner.
   * @throws {SynprobeError} for whatever keeps the scan from being made
   */
  ready(): Promise<void>;
  /** Scans all targets, or only some pairs. @returns undefined when a signal came before it began. @throws {SynprobeError} */
  scan(
    onResult: (result: PortResult) => void,
    only?: readonly { readonly ip: string; readonly port: number }[],
  ): Promise<ScanSummary | undefined>;
  /** Closes what was opened for a first scan that is not made. */
  close(): Promise<void>;
}

export function createRescan(
  words: readonly string[],
  options: TimedOptions,
  messages: Messages,
  argv: readonly string[],
  interruption: Interruption,
  policy?: WatchedPolicy,
): Rescanning {
  const { inputList, inputResults } = options;
  if (inputList === "-" || inputResults === "-")
    throw usage("a watch reads its targets anew each time: give a file, not standard input (-)");
  const services = readServices();
  const scanOptions = scanOptionsOf({ options, services, remembered: {} });
  let first: ReturnType<typeof open> | undefined;
  let told = "";
  /** The interface of link-local targets, by number. */
  let scope: number | undefined;
  /** Of the newest plan. */
  let asItCounts = createOwnFailures([]);

  /** All targets; undefined when a signal comes first: names may take minutes to look up, where no name server answers. */
  async function planUntilSignal(): Promise<Plan | undefined> {
    if (interruption.signalled) return undefined;
    const signalled = new Promise<undefined>((resolve) => interruption.onSignal(() => resolve(undefined)));
    try {
      return await Promise.race([planAll(), signalled]);
    } finally {
      interruption.onSignal(() => {});
    }
  }

  async function planAll(): Promise<Plan> {
    await policy?.reload();
    const { plan, untold } = await planTargets(policy === undefined ? words : [], options, services, policy);
    policy?.planned(plan);
    scope = plan.scope;
    // The first is the error itself, where nothing is left.
    const [fault] = plan.space.total === 0 ? plan.faults : [];
    const faults = plan.faults.filter((each) => each !== fault).map(({ message }) => message);
    if (untold > 0) faults.push(`… and ${untold} more bad targets in ${inputList}`);
    // Once, not every time.
    if (faults.join("\n") !== told) for (const each of faults) messages.error(each);
    told = faults.join("\n");
    if (fault !== undefined) throw new SynprobeError(fault.code as SynprobeError["code"], fault.message);
    if (plan.space.total === 0) throw new SynprobeError(ERROR_CODES.noTargets, "nothing is left to probe");
    return plan;
  }

  const planSome = (pairs: readonly { readonly ip: string; readonly port: number }[]): Promise<Plan> =>
    makePlan(
      pairs.flatMap(({ ip, port }) => {
        const address = parseAddress(ip);
        if (address === undefined) return [];
        const zone =
          scope !== undefined && address.length === 16 && isLinkLocal(address) ? String(scope) : undefined;
        const host = { kind: "address" as const, address, ...(zone === undefined ? {} : { zone }) };
        return [{ text: ip, host, ports: Uint16Array.of(port) }];
      }),
      { ...wayOptions(options), allAddresses: false },
    );

  const open = async (plan: Plan, follows = true) => {
    asItCounts = createOwnFailures(plan.hops);
    return openScan(plan, { ...scanOptions, follows });
  };

  return {
    async ready() {
      const plan = await planUntilSignal();
      if (plan === undefined) return;
      first = withAdvice(argv, false, () => open(plan, false));
      const { means } = await first;
      if (options.drop) dropPrivileges(means.link === "connect" ? [] : [CAPABILITIES.netRaw]);
    },
    async scan(onResult, only) {
      let opened = only === undefined ? first : undefined;
      first = undefined;
      if (opened === undefined) {
        const plan = await (only === undefined ? planUntilSignal() : planSome(only));
        if (plan === undefined) return undefined;
        opened = open(plan);
      }
      const scan = await opened;
      try {
        await scan.settle?.();
        const running = scan.run({
          wants: PORT_STATES,
          onResult: (result) => onResult(asItCounts(result)),
        });
        interruption.onSignal(running.stop);
        return await running.finished.catch((error: unknown) => {
          throw afterSending(error, running.summary().sent);
        });
      } finally {
        interruption.onSignal(() => {});
        scan.close();
      }
    },
    async close() {
      const opened = await first?.catch(() => undefined);
      first = undefined;
      opened?.close();
    },
  };
}
