/** Lines for the next program: read back as targets they are what was open. */
import { expect, test } from "vitest";
import { createTargetsReporter } from "../../../src/report/formats/targets.ts";
import { parseTarget } from "../../../src/scan/targets/grammar.ts";
import { formatAddress } from "../../../src/wire/address.ts";
import { closed, open, silent, tarpit, written } from "../samples.ts";

test("open ports of addresses and names, which are targets again", () => {
  const { host: _, ...nameless } = open;
  const lines = written(createTargetsReporter, [
    { ...nameless, ip: "192.0.2.1" },
    closed,
    { ...nameless, ip: "2001:db8::1", port: 80 },
    silent,
    tarpit,
    { ...open, ip: "2001:db8::2", host: "www.example", port: 443 },
  ])
    .trimEnd()
    .split("\n");
  const services = { portOf: () => undefined, nameOf: () => undefined, names: () => [] };
  const read = lines.map((line) => {
    const { host, ports } = parseTarget(line, services);
    return [host.kind === "name" ? host.name : formatAddress(host.address), ...(ports ?? [])];
  });
  expect(read).toEqual([
    ["192.0.2.1", 22],
    ["2001:db8::1", 80],
    ["www.example", 443],
  ]);
});
