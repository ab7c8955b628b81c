/** A policy's way from YAML or JSON: what it comes to, every mistake with its place, and the JSON Schema for editors. */
import { toJsonSchema } from "@valibot/to-json-schema";
import { Ajv } from "ajv";
import * as v from "valibot";
import { describe, expect, it } from "vitest";
import { ERROR_CODES, isSynprobeError, SynprobeError } from "../../src/errors.ts";
import { readDocument } from "../../src/policy/document.ts";
import { readPolicy, targetsToProbe } from "../../src/policy/policy.ts";
import { policySchema, TOLERABLE } from "../../src/policy/schema.ts";
import { parseList } from "../../src/runtime/plan/list-file.ts";
import { parseServices } from "../../src/scan/targets/services.ts";

const SERVICES = parseServices("ssh 22/tcp\nhttp 80/tcp\nhttps 443/tcp\n");
const TODAY = "2026-11-28";
/** Lists that the policies name. */
const LISTS: Readonly<Record<string, string>> = {
  "web.txt": "# Two hosts.\r\n198.18.0.1 # the first\n\n  www.example.net\t198.18.4.0/24\r",
  "ports.txt": "198.18.0.9:22\n198.18.0.8\n",
  "bad.txt": "198.18.0.1\n198.18.0.256 198.18.0.2:x\n",
  "none.txt": "# Nobody.\n",
  "log.txt": "a:b ".repeat(20_000),
};
const listed = (list: string) => {
  if (list in LISTS) return parseList(list, new TextEncoder().encode(LISTS[list]), SERVICES);
  throw new SynprobeError(ERROR_CODES.policy, `cannot read the list ${list}: there is no such file`);
};
const read = (text: string) => readPolicy(text, "policy.yaml", SERVICES, TODAY, listed);

const mistakes = (text: string): readonly string[] => {
  try {
    read(text);
  } catch (error) {
    if (!isSynprobeError(error)) throw error;
    expect(error.code).toBe("ERR_POLICY");
    return [error.message, ...error.advice];
  }
  return [];
};

const OFFICE = `# The office.
groups:
  - name: web
    targets: [198.18.0.1, www.example.net]
    ports:
      "80,443": open
      22: [closed, filtered]
    nothing-else-open: 1-1000
    tolerate: admin-prohibited
    owner: net@example.net
    labels: { env: prod, rack: 1.10, dmz: true }
  - targets: 198.18.0.7:3389,80 198.18.0.8:22
    is: open
    until: 2026-11-28
    why: ticket 4711
  - targets: 198.18.0.9
    ports: { 22: { is: not open, tolerate: [no-response, reset] } }
    until: 2026-11-27
`;

describe("a policy", () => {
  it("is groups of targets, with rules in the order of the file", () => {
    const { groups, rules, expired } = read(OFFICE);
    expect(rules.map((rule) => [rule.number, rule.line, rule.column, rule.portsText, rule.expected])).toEqual(
      [
        [0, 6, 7, "80,443", "open"],
        [1, 7, 7, "22", "closed or filtered"],
        [2, 8, 5, "all else of 1-1000", "not open"],
        [3, 13, 5, "ports of targets", "open"],
      ],
    );
    expect(rules.map(({ states }) => states.join())).toEqual([
      "open",
      "closed,filtered",
      "closed,filtered",
      "open",
    ]);
    expect(rules.map(({ isElse }) => isElse)).toEqual([false, false, true, false]);
    expect(groups.map(({ name, owner, why, until }) => [name, owner, why, until])).toEqual([
      ["web", "net@example.net", undefined, undefined],
      ["group 2", undefined, "ticket 4711", "2026-11-28"],
    ]);
    expect(groups[0].labels).toEqual({ env: "prod", rack: "1.10", dmz: "true" });
    expect(rules[0].tolerate).toEqual(["admin-prohibited"]);
    expect(groups[1].targets.map(({ text, origin }) => [text, origin])).toEqual([
      ["198.18.0.7:3389,80", "policy.yaml:12:14"],
      ["198.18.0.8:22", "policy.yaml:12:14"],
    ]);
    expect(expired.map(({ line, rules: [rule] }) => [line, rule.expected, rule.tolerate])).toEqual([
      [16, "not open", ["no-response", "reset"]],
    ]);
  });

  it("names what has to be probed: of each target every port that its group is about", () => {
    const probed = [...targetsToProbe(read(OFFICE))].map(({ text, ports = [] }) => [text, ports.length]);
    expect(probed).toEqual([
      ["198.18.0.1", 1000],
      ["www.example.net", 1000],
      ["198.18.0.7:3389,80", 2],
      ["198.18.0.8:22", 1],
    ]);
  });

  it("may be JSON, indented by tabs, with a byte order mark", () => {
    const json =
      '\uFEFF{\n\t"groups": [\n\t\t{ "targets": ["198.18.0.1"], "ports": { "22": "open" } }\n\t]\n}\n';
    expect(read(json).rules.map(({ line, column, expected }) => [line, column, expected])).toEqual([
      [3, 43, "open"],
    ]);
  });
});

it("of 10,000 lines is read in less than a second of processor time", { retry: 2 }, () => {
  const groups = Array.from(
    { length: 2000 },
    (_, i) =>
      `  - name: host ${i}\n    targets: 198.18.${i >> 8}.${i & 255}\n    ports:\n      22,80: open\n      443: closed\n`,
  );
  const before = process.cpuUsage();
  const { rules } = read(`groups:\n${groups.join("")}`);
  const { user, system } = process.cpuUsage(before);
  expect(rules).toHaveLength(4000);
  expect((user + system) / 1e6).toBeLessThan(1);
});

describe("a mistake", () => {
  it.each<[what: string, text: string, ...says: string[]]>([
    ["YAML", "groups: [1\n", "policy.yaml:2:1: not YAML: Flow sequence"],
    [
      "brackets",
      "groups:\n  - targets:\n      - [2001:db8::1]:443\n",
      "policy.yaml:3:22: not YAML: Unexpected scalar",
    ],
    ["two documents", "groups: 1\n---\ngroups: 2\n", "policy.yaml:2:1: a policy is one document"],
    ["a key twice", "groups: 1\ngroups: 2\n", 'policy.yaml:2:1: "groups" stands twice: first in line 1'],
    ["an alias", "groups: &x 1\n$schema: *x\n", "policy.yaml:2:10: aliases (*) are not read"],
    ["a tag", "groups: !!set 1\n", "policy.yaml:1:9: "],
    ["a list as a key", "? [a]\n: 1\n", "policy.yaml:1:3: a key is one word"],
    ["nothing", "", "policy.yaml:1:1: nothing stands where an object with groups is wanted"],
    ["a list", "- 1\n", "policy.yaml:1:1: a list stands where an object with groups is wanted"],
    ["no group", "groups: []\n", "policy.yaml:1:9: the list is empty"],
    [
      "a misspelt key",
      "group: 1\n",
      'policy.yaml:1:1: the key "groups" is missing',
      'policy.yaml:1:1: there is no key "group"; did you mean "groups"?',
    ],
    [
      "a key of every object",
      "groups:\n  - { targets: 198.18.0.1, ports: { 22: open }, toString: 1 }\n",
      'policy.yaml:2:49: there is no key "toString": there are name, targets,',
    ],
    [
      "several keys that there are not",
      "groups:\n  - tragets: 198.18.0.1\n    prots: { 22: open }\n    ports: { 23: { is: open, a: 1, constructor: 1 } }\n",
      'policy.yaml:2:5: there is no key "tragets"; did you mean "targets"?',
      'policy.yaml:3:5: there is no key "prots"; did you mean "ports"?',
      'policy.yaml:4:30: there is no key "a": there are is, tolerate',
      'policy.yaml:4:36: there is no key "constructor": there are is, tolerate',
    ],
    [
      "a misspelt state, wherever it stands",
      "groups:\n  - targets: 198.18.0.1\n    ports:\n      22: opne\n      23: [open, clsed]\n      24: { is: not opne }\n      25: { si: open }\n",
      'policy.yaml:4:11: "opne" is none of open, closed, filtered, not open; did you mean "open"?',
      'policy.yaml:5:18: "clsed" is none of open, closed, filtered, not open; did you mean "closed"?',
      'policy.yaml:6:17: "not opne" is none of open, closed, filtered, not open; did you mean "not open"?',
      'policy.yaml:7:11: the key "is" is missing',
      'policy.yaml:7:13: there is no key "si"; did you mean "is"?',
    ],
    [
      "ports with a comma in braces",
      "groups:\n  - targets: 198.18.0.1\n    ports: { 22,80: open }\n",
      "policy.yaml:3:14: no value stands here: one of open, closed, filtered, not open; in braces, a key with a comma",
    ],
    [
      "a reason that is no answer",
      "groups:\n  - targets: 198.18.0.1:22\n    is: open\n    tolerate: [send-eperm, no-respons, host-timeout]\n",
      'policy.yaml:4:16: "send-eperm" is none of syn-ack,',
      'policy.yaml:4:28: "no-respons" is none of',
      'policy.yaml:4:40: "host-timeout" is none of',
    ],
    [
      "a target, a port, a day",
      "groups:\n  - targets: [198.18.0.1/33, 198.18.0.2]\n    ports: { htps: open, 70000: open }\n    nothing-else-open: 9-1\n    until: 2027-02-30\n",
      'policy.yaml:2:15: target "198.18.0.1/33": the prefix length',
      'policy.yaml:3:14: no TCP service named "htps" in this system\'s services database: give its number; did you mean https?',
      "policy.yaml:3:26: port 70000 is out of range",
      "policy.yaml:4:24: the range 9-1 is reversed",
      "policy.yaml:5:12: 2027-02-30 is no day of the calendar",
    ],
    [
      "a date that is none",
      "groups:\n  - { targets: 198.18.0.1, ports: { 22: open }, until: next week }\n",
      'policy.yaml:2:56: "next week" stands where a date, such as 2027-01-31, is wanted',
    ],
    [
      "a port twice",
      "groups:\n  - targets: 198.18.0.1\n    ports:\n      20-25: closed\n      ssh: open\n",
      'policy.yaml:5:7: port 22 stands in "20-25" already',
    ],
    [
      "ports without a state, and states without a port",
      "groups:\n  - targets: 198.18.0.1:22\n  - targets: [198.18.0.1:22, 198.18.0.2]\n    is: open\n  - targets: 198.18.0.1\n    is: open\n  - targets: 198.18.0.1\n",
      "policy.yaml:2:14: it names ports, and nothing says what they have to be",
      "policy.yaml:3:30: it names no port, and nor does the group",
      "policy.yaml:5:14: it names no port, and nor does the group",
      "policy.yaml:6:5: no target names a port",
      "policy.yaml:7:5: the group says nothing of any port",
    ],
  ])("is told with its place: %s", (_, text, ...says) => {
    const told = mistakes(text);
    expect(told.map((line, i) => line.slice(0, says[i]?.length))).toEqual(says);
  });

  it("is told of the first twenty, and how many there are", () => {
    const told = mistakes(`groups:\n${"  - 3\n".repeat(30)}`);
    expect(told).toHaveLength(21);
    expect(told.at(-1)).toBe("and 10 more mistakes in policy.yaml");
  });

  it("that nests without end costs neither memory nor time", () => {
    for (const deep of ["[", "{a: ", "- ", "? "])
      expect(readDocument(deep.repeat(50_000)).faults.length).toBeGreaterThan(0);
  });
});

describe("targets from a list", () => {
  it("are those of its lines, after the group's own", () => {
    const { groups } = read(
      "groups:\n  - targets: 198.18.0.7\n    targets-from: [web.txt, web.txt]\n    ports: { 80: open }\n",
    );
    expect(groups[0].targets.map(({ text, origin }) => [text, origin])).toEqual([
      ["198.18.0.7", "policy.yaml:2:14"],
      ...Array.from({ length: 2 }, () => [
        ["198.18.0.1", "web.txt:2"],
        ["www.example.net", "web.txt:4"],
        ["198.18.4.0/24", "web.txt:4"],
      ]).flat(),
    ]);
    expect([
      ...targetsToProbe(read("groups: [{ targets-from: ports.txt, is: open, ports: { 80: open } }]")),
    ]).toEqual([
      expect.objectContaining({ text: "198.18.0.9:22", ports: Uint16Array.of(22, 80) }),
      expect.objectContaining({ text: "198.18.0.8", ports: Uint16Array.of(80) }),
    ]);
  });

  it.each<[group: string, told: string]>([
    [
      "targets-from: gone.txt, ports: { 80: open }",
      "20: cannot read the list gone.txt: there is no such file",
    ],
    ["targets-from: none.txt, ports: { 80: open }", "20: none.txt has no target"],
    [
      "targets-from: ports.txt, ports: { 80: open }",
      "20: ports.txt:1: it names ports, and nothing says what",
    ],
    ["targets-from: ports.txt, is: open", "20: ports.txt:2: it names no port, and nor does the group"],
    ["targets-from: [], ports: { 80: open }", "20: the list is empty"],
    [
      "ports: { 80: open }",
      "5: the group has no targets: add targets, or targets-from with the name of a list",
    ],
    [
      "target-from: web.txt, ports: { 80: open }",
      '6: there is no key "target-from"; did you mean "targets-from"?',
    ],
  ])("with %s is a mistake, told where the policy names the list", (group, told) => {
    const [first] = mistakes(`groups:\n  - {${group}}\n`);
    expect(first).toContain(`policy.yaml:2:${told}`);
  });

  it("may have mistakes, each told with its line", () => {
    const found = mistakes("groups: [{ targets-from: bad.txt, ports: { 80: open } }]");
    expect(found).toHaveLength(2);
    expect(found[0]).toMatch(/^policy\.yaml:1:26: bad\.txt:2: .*198\.18\.0\.256/);
    expect(found[1]).toMatch(/^policy\.yaml:1:26: bad\.txt:2: .*198\.18\.0\.2:x/);
    // Of what is no list at all the first hundred are told.
    const many = mistakes("groups: [{ targets-from: log.txt, ports: { 80: open } }]");
    expect(many.at(-1)).toBe("and 81 more mistakes in policy.yaml");
    const { faults, untold } = listed("log.txt");
    expect([faults.length, untold]).toEqual([100, 19_900]);
  });

  it("are not asked for by a group that has ended", () => {
    const { groups, expired } = read(
      "groups: [{ targets: a, ports: { 80: open } }, { targets-from: gone.txt, is: open, until: 2026-11-27 }]",
    );
    expect([groups.length, expired.length]).toEqual([1, 1]);
  });
});

describe("policy.schema.json", () => {
  const schema = {
    title: "A policy of synprobe",
    ...toJsonSchema(
      policySchema(
        ({ text, list, object }) => v.union(object === undefined ? [text, list] : [text, list, object]),
        v.union([v.string(), v.number(), v.boolean()]),
      ),
      { typeMode: "output", errorMode: "ignore" },
    ),
  };

  it("says what the schema says", async () => {
    await expect(`${JSON.stringify(schema, null, 2)}\n`).toMatchFileSnapshot(
      "../../src/policy/policy.schema.json",
    );
  });

  const validate = new Ajv({ strict: true, allowUnionTypes: true }).compile(
    JSON.parse(JSON.stringify(schema)),
  );
  it.each<[value: object, fits: boolean]>([
    [{ groups: [{ targets: "198.18.0.1", ports: { 22: "open", 23: ["closed", "filtered"] } }] }, true],
    [
      { groups: [{ targets: ["198.18.0.1:22"], is: "not open", labels: { a: "b" }, until: "2027-01-31" }] },
      true,
    ],
    [{ groups: [{ targets: ["a"], ports: { 22: { is: "open", tolerate: ["reset"] } }, owner: "x" }] }, true],
    [{ groups: [] }, false],
    [{}, false],
    [{ groups: [{ "targets-from": ["web.txt"], ports: { 22: "open" } }] }, true],
    [{ groups: [{ targets: "a", ports: { 22: "opne" } }] }, false],
    [{ groups: [{ targets: "a", ports: { 22: { si: "open" } } }] }, false],
    [{ groups: [{ targets: "a", is: [] }] }, false],
    [{ groups: [{ targets: "a", is: "open", until: "soon" }] }, false],
    [{ groups: [{ targets: "a", is: "open", tolerate: "send-eperm" }] }, false],
    [{ groups: [{ targets: "a", is: "open", port: 3 }] }, false],
  ])("judges %j as the reader does", (value, fits) => {
    expect(validate(value)).toBe(fits);
    const shape = mistakes(JSON.stringify(value)).filter((line) => !/target|port/.test(line));
    if (fits) expect(shape).toEqual([]);
    else expect(mistakes(JSON.stringify(value)).length).toBeGreaterThan(0);
  });

  it("tolerates no probe that failed", () => {
    expect(TOLERABLE.filter((reason) => /^send-|timeout/.test(reason))).toEqual([]);
  });
});
