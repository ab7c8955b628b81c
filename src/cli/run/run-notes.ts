/**
 * Notes about a run, for a person, on standard error: over which link it goes and why, and what else there was to probe.
 */

import type { Plan } from "../../runtime/plan/plan.ts";
import type { Comparison } from "../../runtime/run/means.ts";
import type { OpenScan } from "../../runtime/run/scan.ts";
import type { ScanOptions } from "../../runtime/run/scan-options.ts";
import { shellCommand } from "../../runtime/system/privilege.ts";
import { neighbourLimit, probePorts } from "../../runtime/system/system.ts";
import type { PortResult } from "../../scan/probe/result.ts";
import type { TimedOptions } from "../options/table.ts";
import { shownArgs } from "../shown-args.ts";
import type { Messages } from "./terminal.ts";

export interface DescribedRun {
  readonly plan: Plan;
  readonly scanOptions: ScanOptions;
  readonly options: TimedOptions;
  readonly messages: Messages;
  /** The whole command line, without node and script. */
  readonly argv: readonly string[];
}

export function describeLink({ means, receiveBuffer }: OpenScan, run: DescribedRun): void {
  const { plan, options, messages } = run;
  const { crowd } = plan;
  if (means.link === "connect") {
    describeConnect(run);
    return;
  }
  if (means.link === "fleet") return;
  if (run.scanOptions.complete !== undefined && plan.paths.some(({ toSelf }) => toSelf === true)) {
    messages.note(
      "handshakes with this machine's own addresses are not completed: there the kernel's RST cannot be held back",
    );
  }
  const { first, last, shared } = probePorts();
  if (shared && options.sourcePort === undefined) {
    messages.note(
      `source ports ${first}-${last} are also the kernel's (net.ipv4.ip_local_port_range): its own connections may collide`,
    );
  }
  const passedBy = means.passedBy.join("; ");
  if (means.link === "packet" && passedBy !== "") {
    messages.note(`--link packet passes by what the kernel does to packets, and here is ${passedBy}`);
  }
  if (means.link === "raw-ip" && crowd > 0) {
    messages.note(
      `up to ${crowd} hosts are on the link itself, and the kernel's table of neighbours holds ${neighbourLimit()}: expect refused sends ` +
        "and missed hosts, or give --link packet, which has a table of its own",
    );
  }
  const { compared } = means;
  if (compared !== undefined && (compared.differs || options.verbose === true)) {
    messages.note(comparisonLine(compared));
  }
  if (options.verbose !== true) return;
  if (means.link === "raw-ip" && passedBy !== "") {
    messages.note(
      `link raw-ip and not packet, which would pass by what the kernel does to packets: ${passedBy}`,
    );
  }
  const ports =
    means.ports.first === means.ports.last ? means.ports.first : `${means.ports.first}-${means.ports.last}`;
  const buffer = receiveBuffer > 0 ? `, receive buffer ${receiveBuffer} bytes` : "";
  const many = means.workers > 1;
  const sending = many ? " that send in other threads" : " that sends in another thread";
  const workers =
    means.threads > 0 ? `, ${means.workers} worker${many ? "s" : ""}${means.senders ? sending : ""}` : "";
  messages.note(`link ${means.link}${workers}${buffer}, source ports ${ports}${seedOf(run)}`);
}

function comparisonLine({ pairs, raw, packet, differs }: Comparison): string {
  const heard = `of ${pairs} ports probed through both links first, raw heard from ${raw} and packet from ${packet}`;
  return differs ? `${heard}: this run goes by raw (--link packet takes the other)` : heard;
}

const seedOf = ({ options, scanOptions }: DescribedRun): string =>
  options.sequential === true ? "" : `, --seed ${scanOptions.order.seed}`;

function describeConnect(run: DescribedRun): void {
  const { options, messages, argv } = run;
  if (options.link === "auto") {
    const command = shellCommand([...process.argv.slice(0, 2), ...shownArgs(argv)]);
    messages.note(
      `no CAP_NET_RAW: the kernel connects (-sT), which is slower and tells less; for SYN probing: sudo ${command}`,
    );
  }
  if (options.verbose === true) messages.note(`link connect, the kernel's own source ports${seedOf(run)}`);
}

/** Names told of one by one. */
const MOST_TOLD = 3;

/**
 * Remembers results on one of a name's several addresses that are not open: another of them may be served.
 * @param isCheck whatever they are: a policy's verdict is of that address alone
 */
export function watchNames(
  { otherAddresses }: Plan,
  isCheck: boolean,
): {
  see(result: PortResult): void;
  tell(messages: Messages): void;
} {
  const missed = new Map<string, PortResult>();
  return {
    see: (result) => {
      if (result.host === undefined || !otherAddresses.has(result.ip)) return;
      if (isCheck) missed.set(result.host, result);
      else if (result.state !== "open") missed.set(`${result.host}:${result.port}`, result);
    },
    tell: (messages) => {
      const results = [...missed];
      for (const [target, { state, ip }] of results.slice(0, MOST_TOLD)) {
        const others = (otherAddresses.get(ip) ?? []).join(", ");
        const what = isCheck ? `judged by ${ip} alone` : `${state} on ${ip}`;
        messages.note(
          `${target} is ${what}; the name has other addresses, not probed (--all-addresses): ${others}`,
        );
      }
      if (results.length > MOST_TOLD) {
        messages.note(`and so it is with ${results.length - MOST_TOLD} more targets`);
      }
    },
  };
}
