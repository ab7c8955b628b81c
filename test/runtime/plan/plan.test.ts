/** A plan keeps to what the user said, for what nobody named too. Routes are the kernel's; only loopback is asked for. */
import { expect, it } from "vitest";
import { makePlan, type PlanOptions } from "../../../src/runtime/plan/plan.ts";
import { readServices } from "../../../src/runtime/system/system.ts";
import { type AddressSpan, formatSpan } from "../../../src/scan/targets/address-range.ts";
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

it("has no target with a zone where other machines probe: it is an interface of this one", async () => {
  const targets = ["[fe80::1%lo]:1", "[fe80::2]:1"].map((text) => parseTarget(text, readServices()));
  const plan = await makePlan(targets, { allAddresses: false, ttl: 64, isElsewhere: true });
  expect(plan.faults).toMatchObject([
    { target: "[fe80::1%lo]:1", message: expect.stringMatching(/leave out %lo, and give -e/) },
  ]);
  expect(plan.space.total).toBe(1);
});

it("of a resumed run numbers its pairs as when it began, and says which of them are still to be probed", async () => {
  const services = readServices();
  const planned = (options: Partial<PlanOptions>) =>
    makePlan([parseTargets("127.0.0.0/28:1-4", services)], { allAddresses: false, ttl: 64, ...options });
  const span = (text: string): AddressSpan[] => {
    const { host } = parseTargets(text, services);
    return host.kind === "range" ? [...host.spans] : [];
  };
  const began = { hosts: span("127.0.0.4/30"), ports: Uint16Array.of(4) };
  const first = await planned({
    exclude: [parseTargets("127.0.0.4/30", services)],
    excludePorts: began.ports,
  });
  expect([...first.excluded.hosts].map(formatSpan)).toEqual(["127.0.0.4/30"]);
  expect([...first.excluded.ports]).toEqual([4]);
  const none = { hosts: [], ports: new Uint16Array() };
  const same = await planned({ resumed: { began, since: none } });
  expect(same.space.fingerprint()).toBe(first.space.fingerprint());
  expect(same.within).toBeUndefined();
  const since = { hosts: span("127.0.0.0/30"), ports: Uint16Array.of(3) };
  const more = await planned({
    exclude: [parseTargets("127.0.0.14-127.0.0.99", services)],
    excludePorts: Uint16Array.of(1),
    resumed: { began, since },
  });
  expect(more.space.fingerprint()).toBe(first.space.fingerprint());
  // 127.0.0.8 to 127.0.0.13, port 2.
  expect(more.within).toMatchObject({ total: 6, hosts: 6 });
  expect(more.within?.ports()).toEqual([2]);
  expect([...more.excluded.ports]).toEqual([1, 3, 4]);
  for (const port of [1, 3, 4]) expect(more.canaryPorts).not.toContain(port);
  // A journal that does not say what was excluded: what is now, was.
  const old = await planned({ excludePorts: Uint16Array.of(4), resumed: { since: none } });
  expect(old.within).toBeUndefined();
  expect(old.space.total).toBe(16 * 3);
});
