/** A plan keeps to what the user said, for what nobody named too. Routes are the kernel's; only loopback is asked for. */
import { expect, it } from "vitest";
import { makePlan } from "../../../src/runtime/plan/plan.ts";
import { readServices } from "../../../src/runtime/system/system.ts";
import { parseTarget } from "../../../src/scan/targets/grammar.ts";

it("has no excluded port, and none that is probed, among the ports for canaries", async () => {
  const excludePorts = Uint16Array.from({ length: 12_000 }, (_, i) => 20_000 + i);
  const plan = await makePlan([parseTarget("127.0.0.1:22,32000", readServices())], {
    allAddresses: false,
    ttl: 64,
    excludePorts,
  });
  expect(plan.canaryPorts.length).toBeGreaterThan(100);
  for (const port of [...excludePorts, 32_000]) expect(plan.canaryPorts).not.toContain(port);
});
