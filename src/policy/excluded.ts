/**
 * How much of a policy is not checked, as the user has excluded it: a report that does not say so would pass for one of all that is
 * written. Pure. Tested by test/policy/excluded.test.ts.
 */
import type { AddressSpan } from "../scan/targets/address-range.ts";
import { reservedWithin } from "../scan/targets/reserved.ts";
import { createSpaceBuilder } from "../scan/targets/space-builder.ts";
import { parseAddress } from "../wire/address.ts";
import { type Policy, targetsToProbe } from "./policy.ts";

/** What is known of a policy's targets when they are planned. */
export interface PlannedPolicy {
  /** By address, the names that were looked up, each with its ports. */
  readonly names: ReadonlyMap<string, readonly { readonly ports: Uint16Array }[]>;
  readonly excluded: { readonly hosts: Iterable<AddressSpan>; readonly ports: Uint16Array };
  /** Targets that cannot be probed anyway: that is said of them. */
  readonly faults: readonly { readonly target: string }[];
}

/** @returns pairs of an address and a port that the policy is about, and that are excluded; each once, however many groups have it */
export function countExcluded(policy: Policy, { names, excluded, faults }: PlannedPolicy): number {
  const hosts = [...excluded.hosts];
  if (hosts.length === 0 && excluded.ports.length === 0) return 0;
  const wanted = createSpaceBuilder();
  const faulty = new Set(faults.map(({ target }) => target));
  for (const { host, text, ports = new Uint16Array() } of targetsToProbe(policy)) {
    if (host.kind === "address" && !faulty.has(text)) wanted.add(host.address, host.address, ports);
    if (host.kind !== "range") continue;
    for (const span of host.spans) {
      wanted.add(span.first, span.last, ports);
      // Nobody can probe these, excluded or not.
      for (const { span: part } of reservedWithin(span)) wanted.exclude(part.first, part.last);
    }
  }
  for (const [ip, all] of names) {
    const address = parseAddress(ip);
    if (address !== undefined) for (const { ports } of all) wanted.add(address, address, ports);
  }
  const { total } = wanted.build("another");
  wanted.excludePorts(excluded.ports);
  for (const { first, last } of hosts) wanted.exclude(first, last);
  return total - wanted.build("last").total;
}
