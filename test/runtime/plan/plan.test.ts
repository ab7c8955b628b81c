/** A plan keeps to what the user said, for what nobody named too. Routes are the kernel's; only loopback is asked for. */
import { expect, it } from "vitest";
import { makePlan } from "../../../src/runtime/plan/plan.ts";
import { readServices } from "../../../src/runtime/system/system.ts";
import { parseTarget, parseTargets } from "../../../src/scan/targets/grammar.ts";

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

it("gives ports to targets that name none, says so, and what a URL or an address may have meant", async () => {
  const targets = ["127.0.0.1", "127.0.0.2:7", "http://127.0.0.3/x", "::1:22"].map((text) =>
    parseTarget(text, readServices()),
  );
  const options = { allAddresses: false, ttl: 64 };
  const plan = await makePlan(targets, { ...options, ports: () => Uint16Array.of(1, 2) });
  expect(plan).toMatchObject({ portless: true, space: { total: plan.faults.length > 0 ? 4 : 6 } });
  expect(plan.warnings).toContain(
    "a URL is taken for its host and port, and nothing else of it: http://127.0.0.3/x",
  );
  expect(plan.warnings).toContain("::1:22 is taken for an address: write [::1]:22 if 22 is the port");
  const octets = await makePlan([parseTargets("127.0.0.1,22", readServices())], {
    ...options,
    ports: () => Uint16Array.of(1),
  });
  expect(octets.warnings).toContain(
    "127.0.0.1,22 is taken for two addresses: write 127.0.0.1:22 if 22 is the port",
  );
  const named = await makePlan(targets.slice(1, 3), { ...options, ports: () => Uint16Array.of(1, 2) });
  expect(named).toMatchObject({ portless: false, space: { total: 2 } });
  const none = await makePlan(targets.slice(0, 1), options);
  expect(none.faults).toMatchObject([
    { message: "127.0.0.1 names no port: write 127.0.0.1:PORT, or give -p PORTS" },
  ]);
});
