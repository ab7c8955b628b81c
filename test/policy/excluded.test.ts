/** How many pairs of a policy are not checked, as they are excluded: each once, and none that could not be probed anyway. */
import { describe, expect, it } from "vitest";
import { countExcluded } from "../../src/policy/excluded.ts";
import { readPolicy } from "../../src/policy/policy.ts";
import { type AnyTargetSpec, parseTargets } from "../../src/scan/targets/grammar.ts";
import { parseServices } from "../../src/scan/targets/services.ts";

const SERVICES = parseServices("ssh 22/tcp\n");

/** @param hosts as --exclude has them @param names by address, the ports of the names that have it @param faults targets as written */
function counted(
  groups: readonly object[],
  hosts: readonly string[],
  ports: readonly number[],
  names: Readonly<Record<string, readonly number[]>> = {},
  faults: readonly string[] = [],
): number {
  const policy = readPolicy(JSON.stringify({ groups }), "policy.yaml", SERVICES, "2026-11-28");
  const spansOf = ({ host }: AnyTargetSpec) =>
    host.kind === "range"
      ? host.spans
      : host.kind === "address"
        ? [{ first: host.address, last: host.address }]
        : [];
  return countExcluded(policy, {
    names: new Map(Object.entries(names).map(([ip, of]) => [ip, [{ ports: Uint16Array.from(of) }]])),
    excluded: {
      hosts: hosts.flatMap((text) => [...spansOf(parseTargets(text, SERVICES))]),
      ports: Uint16Array.from(ports),
    },
    faults: faults.map((target) => ({ target })),
  });
}

const WEB = { targets: "198.18.0.0/30", ports: { "80,443": "open" }, "nothing-else-open": "1-100" };

describe("of a policy's pairs", () => {
  it.each<[string, readonly string[], readonly number[], number]>([
    ["nothing is excluded", [], [], 0],
    ["nothing of it is", ["198.18.1.0/24", "2001:db8::1"], [8080], 0],
    ["a port is, of every host", [], [443], 4],
    ["a host is, with all its ports", ["198.18.0.1"], [], 101],
    [
      "hosts and ports are, which have pairs in common",
      ["198.18.0.0/31", "198.18.0.1"],
      [443, 80],
      2 * 101 + 2 * 2,
    ],
    ["all is", ["198.18.0.0/16"], [], 4 * 101],
  ])("where %s", (_, hosts, ports, pairs) => {
    expect(counted([WEB], hosts, ports)).toBe(pairs);
  });

  it("counts each once, in however many groups it is", () => {
    const exception = { targets: "198.18.0.1", ports: { 443: "closed" } };
    expect(counted([WEB, exception], [], [443])).toBe(4);
  });

  it("counts those of names by the addresses that they have", () => {
    const named = { targets: "www.example.net", ports: { "80,443": "open" } };
    expect(counted([named], [], [443], { "198.18.9.1": [80, 443], "198.18.9.2": [80, 443] })).toBe(2);
    expect(counted([named], [], [443])).toBe(0);
  });

  it("counts none that cannot be probed, as is said of its target", () => {
    const v6 = { targets: "[2001:db8::1]:443", is: "open" };
    expect(counted([v6], [], [443])).toBe(1);
    expect(counted([v6], [], [443], {}, ["[2001:db8::1]:443"])).toBe(0);
    expect(counted([{ targets: "224.0.0.0/30", ports: { 443: "open" } }], [], [443])).toBe(0);
  });
});
