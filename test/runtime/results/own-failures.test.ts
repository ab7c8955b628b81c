/** Results that this machine's own ICMP errors decided: when they count as a probe that failed. */
import { expect, it } from "vitest";
import { createOwnFailures } from "../../../src/runtime/results/own-failures.ts";
import { hasFailed, type PortResult } from "../../../src/scan/probe/result.ts";
import { address } from "../../sim/run.ts";

const OWN: PortResult = {
  ip: "198.18.0.7",
  port: 22,
  state: "filtered",
  reason: "host-unreach",
  responder: "192.0.2.1",
  rttMs: null,
  ttl: null,
  tries: 1,
  timeMs: 0,
};
const HOPS = [
  {
    first: address("198.18.0.0"),
    last: address("198.18.0.255"),
    interfaceIndex: 2,
    gateway: address("192.0.2.9"),
  },
  { first: address("192.0.2.0"), last: address("192.0.2.255"), interfaceIndex: 2 },
  { first: address("2001:db8::"), last: address("2001:db8::ffff"), interfaceIndex: 3 },
];
/** Interface 3 has no cable. */
const asItCounts = createOwnFailures(
  HOPS,
  (each) => each === OWN.responder,
  (index) => index === 2,
);
const counts = (more: Partial<PortResult>): string => asItCounts({ ...OWN, ...more }).reason;

it.each([
  ["the next hop does not answer", {}, "send-ehostunreach"],
  ["a firewall of this machine's rejects it", { reason: "port-unreach" }, "send-eperm"],
  ["one says that it prohibits it", { reason: "admin-prohibited", ip: "192.0.2.7" }, "send-eperm"],
  ["there is no route any more", { reason: "net-unreach" }, "send-enetunreach"],
  ["nothing is connected", { ip: "2001:db8::7", reason: "addr-unreach" }, "send-ehostunreach"],
] as const)("a SYN that cannot leave as %s has failed", (_, more, reason) => {
  expect(counts(more)).toBe(reason);
  expect(hasFailed(reason)).toBe(true);
});

const { responder: _, ...UNTOLD } = OWN;
it.each<[string, PortResult]>([
  ["a host of the link itself that does not answer", { ...OWN, ip: "192.0.2.7" }],
  ["a router's error, which connect hears without a TTL", { ...OWN, responder: "192.0.2.9" }],
  ["the host's own answer", UNTOLD],
  ["silence", { ...UNTOLD, reason: "no-response" }],
  ["what other machines probe", { ...OWN, ip: "203.0.113.1" }],
])("%s is what it is", (_what, result) => {
  expect(asItCounts(result)).toBe(result);
});
