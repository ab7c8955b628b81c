/** Which ports a watched policy is still about, by the plan of a round; over real names: test/lab/watch-policy.test.ts. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import type { Plan } from "../../../src/runtime/plan/plan.ts";
import { openPolicy } from "../../../src/runtime/watch/policy.ts";
import { parseServices } from "../../../src/scan/targets/services.ts";

const folder = mkdtempSync(join(tmpdir(), "synprobe-policy-"));
afterAll(() => rmSync(folder, { recursive: true }));

const NAMED = [{ name: "svc.test", ports: Uint16Array.of(443) }];
const NOTHING = { hosts: [], ports: new Uint16Array() };

it("watches the addresses of a name that are not probed this time, what a name had that does not resolve, and nothing excluded", async () => {
  const file = join(folder, "policy.yaml");
  writeFileSync(file, "groups:\n  - targets: svc.test 192.0.2.9\n    ports: { 443: open }\n");
  const policy = await openPolicy(file, parseServices(""), false, () => {});
  const planned = (plan: Partial<Plan>): string[] => {
    policy.planned({
      names: new Map(),
      otherAddresses: new Map(),
      excluded: NOTHING,
      faults: [],
      ...plan,
    } as Plan);
    return ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
      .filter((ip) => policy.watches(ip, 443, "svc.test"))
      .concat(policy.watches("192.0.2.9", 443, undefined) ? "192.0.2.9" : [])
      .concat(policy.watches("192.0.2.9", 80, undefined) ? "80" : []);
  };
  const names = new Map([["192.0.2.1", NAMED]]);
  expect(planned({ names })).toEqual(["192.0.2.1", "192.0.2.9"]);
  expect(planned({ names, otherAddresses: new Map([["192.0.2.1", ["192.0.2.2"]]]) })).toEqual([
    "192.0.2.1",
    "192.0.2.2",
    "192.0.2.9",
  ]);
  expect(planned({})).toEqual(["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.9"]);
  const first = Uint8Array.of(192, 0, 2, 9);
  expect(planned({ names, excluded: { ...NOTHING, hosts: [{ first, last: first }] } })).toEqual([
    "192.0.2.1",
  ]);
  expect(planned({ names, excluded: { ...NOTHING, ports: Uint16Array.of(443) } })).toEqual([]);
});

it("watches what a name had that does not resolve, by whatever other name its address is called", async () => {
  const file = join(folder, "names.yaml");
  writeFileSync(
    file,
    "groups:\n  - { targets: mail.test, ports: { 25: open } }\n  - { targets: www.test, ports: { 80: open } }\n",
  );
  const policy = await openPolicy(file, parseServices(""), false, () => {});
  const isWatched = (addresses: Readonly<Record<string, string>>): boolean => {
    const names = new Map<string, { name: string; ports: Uint16Array }[]>();
    for (const [name, ip] of Object.entries(addresses))
      names.set(ip, [...(names.get(ip) ?? []), { name, ports: Uint16Array.of(25, 80) }]);
    policy.planned({ names, otherAddresses: new Map(), excluded: NOTHING, faults: [] } as unknown as Plan);
    return policy.watches("192.0.2.1", 25, "www.test");
  };
  expect(isWatched({ "mail.test": "192.0.2.1", "www.test": "192.0.2.1" })).toBe(true);
  expect(isWatched({ "www.test": "192.0.2.1" })).toBe(true);
  expect(isWatched({ "www.test": "192.0.2.1" })).toBe(true);
  expect(isWatched({ "mail.test": "192.0.2.2", "www.test": "192.0.2.1" })).toBe(false);
});
