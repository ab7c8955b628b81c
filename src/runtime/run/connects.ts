/**
 * Opens the link over which the kernel connects (link/connect/) for a plan: how many sockets it may have, and how long each.
 *
 * Tested by test/lab/connect-link.test.ts.
 */
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import { type ConnectLink, createConnectLink } from "../../link/connect/connect-link.ts";
import type { Connector } from "../../link/connect/connector.ts";
import { TIMING } from "../../scan/engine/timing-templates.ts";
import { formatAddress } from "../../wire/address.ts";
import type { Plan } from "../plan/plan.ts";
import { idleUs, nowUs } from "../system/clock.ts";
import { kernelPorts, openFilesLeft } from "../system/system.ts";
import type { ScanOptions } from "./scan-options.ts";

/** A socket that connects takes about 4 KB of the kernel's memory. */
const MOST_SOCKETS = 8192;
/** Connections that are completed at once: what scan/engine/handshakes.ts has room for, so that none waits. */
const MOST_COMPLETED = 1024;
/** Open files that are left to outputs, and to loading code. */
const FILES_TO_SPARE = 12;
/** The kernel sends a SYN again after one second (RFC 6298 §2.1; TCP_TIMEOUT_INIT); a busy machine is late. */
const BEFORE_KERNEL_RETRIES_US = 900_000;
/** How long a completed connection may take to close, beside the banner's time, in microseconds. */
const CLOSE_US = 5_000_000;

/** @throws {SynprobeError} `ERR_PLATFORM` when not even one socket can be opened, `ERR_NO_SOURCE` */
export async function openConnectLink(plan: Plan, options: ScanOptions): Promise<ConnectLink> {
  const { complete, waitMs } = options;
  const most = complete === undefined ? MOST_SOCKETS : MOST_COMPLETED;
  const slots = Math.min(most, plan.space.total + SPARE_SLOTS, openFilesLeft() - FILES_TO_SPARE);
  const connector = slots < 1 ? undefined : await openConnector(plan, slots);
  if (connector === undefined) {
    throw new SynprobeError(
      ERROR_CODES.platform,
      'too many open files: none is left for a socket to connect; raise "ulimit -n"',
    );
  }
  return createConnectLink({
    connector,
    slots,
    // Who asks for longer waits has the kernel send SYNs again.
    holdUs: waitMs.initial > TIMING[3].waitMs.initial ? waitMs.initial * 1000 : BEFORE_KERNEL_RETRIES_US,
    stayUs: complete === undefined ? 0 : complete.bannerMs * 1000 + CLOSE_US,
    nowUs,
    idleUs,
  });
}

/** The kernel's calls where they are known, node:net elsewhere, with nothing native. */
async function openConnector(plan: Plan, slots: number): Promise<Connector | undefined> {
  const { interfaceName, scope, source } = plan;
  if (process.platform !== "linux") {
    const { createNodeConnector } = await import("../../link/connect/node-connector.ts");
    return createNodeConnector({
      slots,
      ...(source === undefined ? {} : { source: formatAddress(source) }),
      ...(interfaceName === undefined ? {} : { zone: interfaceName }),
    });
  }
  const { openKernelConnector } = await import("../../link/connect/kernel-connector.ts");
  return openKernelConnector({
    slots,
    family: plan.families[0],
    ttl: plan.paths[0].ttl,
    kernelPorts: kernelPorts(),
    ...(interfaceName === undefined ? {} : { interfaceName }),
    ...(scope === undefined ? {} : { scope }),
    ...(source === undefined ? {} : { source }),
  });
}

/** Beside a socket for each pair: for further tries, and control SYNs. */
const SPARE_SLOTS = 64;
