/**
 * Results that are this machine's own doing: its kernel could not deliver a SYN, or a rule of its firewall rejected it, and it said
 * so with an ICMP error to itself. They say no more of the port than a send that was refused, and count as one wherever results are
 * held against a policy, earlier results or each other. One exception: that a host of the link itself does not answer ARP or neighbour
 * discovery tells of that host, as long as something is connected to the link.
 * Tested by test/runtime/results/own-failures.test.ts and test/lab/own-failures.test.ts.
 */
import { createRangeFinder } from "../../link/hops.ts";
import { lookUpInterface } from "../../link/route.ts";
import type { PortResult, Reason } from "../../scan/probe/result.ts";
import { parseAddress } from "../../wire/address.ts";
import type { Hop } from "../plan/paths.ts";
import { nowMs } from "../system/clock.ts";
import { createOwnCheck } from "./to-result.ts";

/** What a send would have been refused with (errno(3)), by the reason of the ICMP error; of any other a firewall is the cause. */
const ERRNO: Readonly<Record<string, Reason>> = {
  "host-unreach": "send-ehostunreach",
  "addr-unreach": "send-ehostunreach",
  "net-unreach": "send-enetunreach",
  "no-route": "send-enetunreach",
};
const BY_FIREWALL: Reason = "send-eperm";
/** What a kernel says when a neighbour does not answer, by IP version. */
const ABSENT: readonly string[] = ["host-unreach", "addr-unreach"];
/** How long an answer about an interface holds, in milliseconds. */
const HOLDS_MS = 200;

/**
 * @param hops where a run's packets go; none of a run that other machines probe
 * @param isOwn whether an address is this machine's
 * @param isConnected whether something is connected to the interface with this number
 * @returns a result as it counts: itself, or where it is this machine's own doing one whose probe failed (hasFailed)
 */
export function createOwnFailures(
  hops: readonly Hop[],
  isOwn: (address: string) => boolean = createOwnCheck(),
  isConnected: (interfaceIndex: number) => boolean = createConnectionCheck(),
): (result: PortResult) => PortResult {
  let finder: ReturnType<typeof createRangeFinder<Hop>> | undefined;
  const hopOf = (ip: string): Hop | undefined => {
    const address = parseAddress(ip);
    if (address === undefined) return undefined;
    finder ??= createRangeFinder(hops);
    return finder.ranges[finder.locate(address, 0, address.length === 4 ? 4 : 16)];
  };
  return (result) => {
    if (result.responder === undefined || !isOwn(result.responder)) return result;
    const hop = hopOf(result.ip);
    if (hop === undefined) return result;
    const isAbsent = ABSENT.includes(result.reason) && hop.gateway === undefined;
    if (isAbsent && isConnected(hop.interfaceIndex)) return result;
    return { ...result, reason: ERRNO[result.reason] ?? BY_FIREWALL };
  };
}

function createConnectionCheck(): (interfaceIndex: number) => boolean {
  const known = new Map<number, { readonly atMs: number; readonly running: boolean }>();
  return (interfaceIndex) => {
    const before = known.get(interfaceIndex);
    if (before !== undefined && nowMs() - before.atMs < HOLDS_MS) return before.running;
    const running = lookUpInterface(interfaceIndex)?.running === true;
    known.set(interfaceIndex, { atMs: nowMs(), running });
    return running;
  };
}
