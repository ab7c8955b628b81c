/** The plan of a dry run, as a page and as JSON. */
import { expect, test } from "vitest";
import { formatPlan, planJson } from "../../../src/report/formats/plan-text.ts";
import type { PlanView } from "../../../src/scan/probe/result.ts";

const large: PlanView = {
  pairs: 2_147_450_880,
  hosts: 131_070,
  ports: Array.from({ length: 65_535 }, (_, i) => i + 1),
  order: {
    seed: "1234",
    sample: [
      { ip: "198.18.77.3", port: 8080 },
      { ip: "198.19.4.250", port: 22 },
    ],
  },
  shard: { index: 1, count: 4 },
  links: [
    {
      link: "packet",
      interfaceName: "eth0",
      sources: ["198.18.0.1"],
      sourcePorts: { first: 61_000, last: 65_000 },
    },
  ],
  comparisonSyns: 64,
  workers: 2,
  memoryBytes: 143_000_000,
  maxRate: 400_000,
  expectedMs: { least: 5_368_627, most: 16_106_000.4 },
  controls: { portsPerHost: 2 },
  leftOut: [
    { why: "excluded", count: 65_536, unit: "address" },
    { why: "broadcast of 198.18.0.0/15", count: 1, unit: "address" },
  ],
  outputs: [
    { format: "table", path: "-" },
    { format: "NDJSON", path: "found.ndjson" },
  ],
};

const small: PlanView = {
  pairs: 1,
  ports: [443],
  order: { sample: [{ host: "a.example", ip: "2001:db8::1", port: 443 }] },
  links: [
    {
      link: "raw-ip",
      interfaceName: "lo",
      sources: ["127.0.0.1", "::1"],
      sourcePorts: { first: 7, last: 7 },
    },
  ],
  comparisonSyns: 0,
  workers: 1,
  memoryBytes: 60_000_000,
  expectedMs: { least: 1200, most: 1200 },
  controls: { none: "--no-controls" },
  leftOut: [],
  outputs: [{ format: "table", path: "-" }],
};

test("a large plan as a page", () => {
  expect(`\n${formatPlan(large)}`).toBe(`
Pairs     2,147,450,880 on 131,070 hosts, shard 1 of 4
Ports     65,535: 1-65535
Left out  65,536 addresses: excluded
          1 address: broadcast of 198.18.0.0/15
Order     random, --seed 1234 repeats it
First     198.18.77.3:8080
          198.19.4.250:22
Link      packet on eth0, from 198.18.0.1, ports 61000-65000
          compared with raw-ip first, by 64 SYNs more at most, to some of the pairs
Workers   2
Memory    about 143 MB
Rate      at most 400,000 SYNs/s
Time      1 h 29 min 29 s if everything answers, 4 h 28 min 26 s if nothing does
Controls  ports that answered are asked again, and 2 unnamed ports at most of a host that may answer on any
Output    table to standard output
          NDJSON to found.ndjson

Nothing was sent: this is a dry run.
`);
});

test("a small plan as a page", () => {
  expect(`\n${formatPlan(small)}`).toBe(`
Pairs     1
Ports     1: 443
Order     ascending
First     a.example:443 (2001:db8::1)
Link      raw-ip on lo, from 127.0.0.1 and ::1, port 7
Workers   1
Memory    about 60 MB
Rate      as the path allows
Time      about 1.20 s
Controls  none: --no-controls
Output    table to standard output

Nothing was sent: this is a dry run.
`);
});

test("as JSON: one line, keys in their order", () => {
  expect(planJson(large)).toBe(
    '{"type":"plan","pairs":2147450880,"hosts":131070,"ports":"1-65535","seed":"1234","first":[{"ip":"198.18.77.3","port":8080},{"ip":"198.19.4.250","port":22}],"shard":{"index":1,"count":4},"links":[{"link":"packet","interface":"eth0","sources":["198.18.0.1"],"source_ports":[61000,65000]}],"comparison_syns":64,"workers":2,"memory_bytes":143000000,"max_rate":400000,"expected_ms":[5368627,16106000],"left_out":[{"why":"excluded","count":65536,"unit":"address"},{"why":"broadcast of 198.18.0.0/15","count":1,"unit":"address"}],"unnamed_ports_per_host":2,"outputs":[{"format":"table","path":"-"},{"format":"NDJSON","path":"found.ndjson"}]}\n',
  );
  expect(Object.keys(JSON.parse(planJson(small))).join()).toBe(
    "type,pairs,ports,first,links,comparison_syns,workers,memory_bytes,expected_ms,left_out,unnamed_ports_per_host,outputs",
  );
});

test("names from outside break no line and reach no terminal", () => {
  const evil = "a\nPairs     9\x1b[31m";
  const plan: PlanView = {
    ...small,
    order: { sample: [{ host: evil, ip: "192.0.2.1", port: 1 }] },
    outputs: [{ format: "NDJSON", path: evil }],
  };
  expect(formatPlan(plan)).not.toMatch(/\x1b|^Pairs {5}9/m);
  expect(JSON.parse(planJson(plan))).toMatchObject({ first: [{ host: evil }], outputs: [{ path: evil }] });
  expect(planJson(plan)).toMatch(/^[^\n\x1b]*\n$/);
});
