/** A check's report in every format: byte for byte, and read by other programs, with hostile text in every field that may have some. */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { Ajv } from "ajv";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { createCheck } from "../../src/policy/check.ts";
import { createExpectations } from "../../src/policy/expectations.ts";
import { FORMATS } from "../../src/policy/formats/formats.ts";
import { createLearning } from "../../src/policy/learn.ts";
import { readPolicy } from "../../src/policy/policy.ts";
import type { PortResult, PortState, Reason } from "../../src/scan/probe/result.ts";
import { parseServices } from "../../src/scan/targets/services.ts";
import { skipping } from "../lab/netns.ts";

const SERVICES = parseServices("ssh 22/tcp\n");
const EVIL = "a\n::error::b,c=d # \\ %0A <&\"'>]]> \x1b[31m\u202e\x00 1..3";

const result = (
  ip: string,
  port: number,
  state: PortState,
  reason: string,
  more: Partial<PortResult> = {},
) => ({
  ...{ ip, port, state, reason: reason as Reason, rttMs: null, ttl: null, tries: 1, timeMs: 0 },
  ...more,
});

const POLICY = {
  groups: [
    {
      name: "web",
      targets: ["198.18.0.1-198.18.0.9", "www.example.net"],
      ports: { "80,443": "open", 22: ["closed", "filtered"] },
      "nothing-else-open": "1-100",
      owner: "net@example.net",
      labels: { env: "prod", dmz: true },
    },
    {
      name: EVIL,
      targets: "[2001:db8::1]:22",
      is: "open",
      owner: EVIL,
      why: EVIL,
      labels: { [EVIL]: EVIL },
      until: "2027-01-31",
    },
    { targets: "198.18.9.9", ports: { 1: "closed" } },
  ],
};

function sample(groups: readonly object[] = POLICY.groups, isGood = false) {
  const policy = readPolicy(JSON.stringify({ groups }), "ci/policy.yaml", SERVICES, "2026-11-28");
  const check = createCheck(
    policy,
    createExpectations(policy, new Map([["198.18.0.20", [{ name: "www.example.net" }]]])),
  );
  check.take(result("198.18.0.1", 80, "open", "syn-ack"));
  check.take(result("198.18.0.1", 22, "filtered", "admin-prohibited", { responder: "198.18.0.254" }));
  check.take(result("198.18.0.1", 7, "closed", "reset"));
  if (!isGood) {
    check.take(result("198.18.0.2", 443, "closed", "reset", { service: "https" }));
    check.take(result("198.18.0.2", 80, "filtered", "no-response", { doubt: 0.00004 }));
    check.take(
      result("198.18.0.20", 443, "filtered", "no-response", { doubt: 0.31, host: "www.example.net" }),
    );
    check.take(result("198.18.0.3", 21, "open", "syn-ack", { answersAll: true }));
    check.take(result("2001:db8::1", 22, "filtered", "send-eperm", { tries: 0, host: EVIL }));
  }
  return check.report({
    faults: isGood
      ? []
      : [{ target: EVIL, code: "ERR_UNKNOWN_HOST", message: `${EVIL}: cannot be looked up` }],
    unfinished: isGood ? 0 : 3,
    startedMs: Date.UTC(2026, 10, 28, 12),
    elapsedMs: 1234.5,
    where: [{ ip: "198.18.0.2", port: 80, text: "80 is filtered, between hop 2 and hop 3" }],
  });
}

const write = (format: string, report = sample(), colour = false): string =>
  [...FORMATS[format](report, colour)].join("");

describe("a report", () => {
  it.each(Object.keys(FORMATS))("as %s is this, byte for byte", async (format) => {
    await expect(write(format)).toMatchFileSnapshot(`../golden/check.${format}`);
  });

  it.each(Object.keys(FORMATS))("as %s has nothing that a terminal would obey", (format) => {
    expect(write(format)).not.toMatch(/[^\P{C}\n]|[\p{Zl}\p{Zp}]/u);
  });

  it("is in colour for people alone", () => {
    for (const format of Object.keys(FORMATS))
      expect(/\x1b\[31m! /.test(write(format, sample(), true))).toBe(format === "text");
    expect(write("text", sample(POLICY.groups, true), true)).toBe(
      "\x1b[32m3 ports as written, 0 not\x1b[39m\n",
    );
  });
});

describe("text", () => {
  it("says what was not checked, as it is excluded, and so do the others that have totals", () => {
    const report = { ...sample(POLICY.groups, true), excluded: 1234 };
    for (const format of ["text", "github"])
      expect(write(format, report)).toBe("3 ports as written, 0 not, 1,234 excluded and not checked\n");
    expect(JSON.parse(write("json", report))).toMatchObject({ as_written: 3, excluded: 1234 });
  });

  it("says once where it is written of ports in a row, behind them", () => {
    const policy = readPolicy(
      JSON.stringify({ groups: [{ targets: "198.18.0.1-2", ports: { "22,80": "open" } }] }),
      "p.yaml",
      SERVICES,
      "2026-11-28",
    );
    const check = createCheck(policy, createExpectations(policy, new Map()));
    for (const ip of ["198.18.0.1", "198.18.0.2"])
      for (const port of [22, 80]) check.take(result(ip, port, "closed", "reset"));
    const report = check.report({ faults: [], unfinished: 0, startedMs: 0, elapsedMs: 0 });
    expect(write("text", report).split("\n").slice(1, 7)).toEqual([
      "! 198.18.0.1:22  open      closed  reset",
      "! 198.18.0.1:80  open      closed  reset",
      "! 198.18.0.2:22  open      closed  reset",
      "! 198.18.0.2:80  open      closed  reset",
      "    group 1 (p.yaml:1)",
      "",
    ]);
  });
});

describe("TAP", () => {
  it("has as many tests as it plans, numbered, none of which is made by foreign text", () => {
    const lines = write("tap").split("\n");
    const tests = lines.filter((line) => /^(not )?ok\b/.test(line));
    expect(lines[1]).toBe(`1..${tests.length}`);
    expect(tests.map((line) => Number(/(\d+) - /.exec(line)?.[1]))).toEqual(tests.map((_, i) => i + 1));
    expect(tests.filter((line) => /(?<!\\)#/.test(line))).toEqual([
      "ok 5 - group 3: 1 closed # SKIP no port was probed for it",
    ]);
    expect(lines.filter((line) => line.startsWith("Bail out!"))).toHaveLength(1);
  });

  it("has diagnostics that are YAML", () => {
    const blocks = [...write("tap").matchAll(/^ {2}---\n([\s\S]*?)^ {2}\.\.\.$/gm)].map(([, block]) =>
      parse(block),
    );
    expect(blocks).toHaveLength(4);
    expect(blocks[0]).toMatchObject({
      at: "ci/policy.yaml:1:116",
      ports: [{ target: "198.18.0.2:80", found: "filtered" }, {}, {}],
    });
    expect(blocks[2].remarks).toContain(`owner ${EVIL}`);
  });
});

describe("GitHub's annotations", () => {
  it("are one a line, whose properties and text end where they should", () => {
    const commands = write("github")
      .split("\n")
      .filter((line) => line.includes("::"));
    expect(
      commands.map(
        (line) =>
          /^::(error|warning) file=ci\/policy\.yaml(,line=\d+,col=\d+)?,title=[^,:]*::/.exec(line)?.[1],
      ),
    ).toEqual(["error", "error", "error", "warning", "warning", "warning", "warning"]);
    expect(write("github")).toContain("%250A");
  });
});

describe.skipIf(
  skipping(
    "JUnit's XML",
    existsSync("/usr/bin/xmllint") ? undefined : "xmllint is missing: apt-get install libxml2-utils",
  ),
)("JUnit's XML", () => {
  it.each([false, true])("is what Jenkins' schema wants (all as written: %s)", (isGood) => {
    const schema = new URL("../golden/junit.xsd", import.meta.url).pathname;
    const input = write("junit", sample(POLICY.groups, isGood));
    const checked = execFileSync("xmllint", ["--noout", "--schema", schema, "-"], {
      input,
      encoding: "utf8",
      stdio: "pipe",
    });
    expect(checked).toBe("");
  });

  it("says again what foreign text said, and counts what it has", () => {
    const input = write("junit");
    const value = (path: string): string =>
      execFileSync("xmllint", ["--xpath", `string(${path})`, "-"], {
        input,
        encoding: "utf8",
        stdio: "pipe",
      }).trimEnd();
    expect(value("//testsuite[2]/properties/property[@name='owner']/@value")).toContain(
      "%0A <&\"'>]]> \\x1b[31m\\u202e\\x00",
    );
    for (const [attribute, element] of [
      ["tests", "testcase"],
      ["failures", "failure"],
      ["errors", "error"],
    ])
      expect(value(`/testsuites/@${attribute}`)).toBe(value(`count(//${element})`));
  });
});

describe("JSON", () => {
  it("is what the published schema says", () => {
    const schema = createRequire(import.meta.url)("synprobe/check.schema.json");
    const validate = new Ajv({ strict: true }).compile(schema);
    for (const isGood of [false, true]) {
      validate(JSON.parse(write("json", sample(POLICY.groups, isGood))));
      expect(validate.errors).toBeNull();
    }
    expect(validate({ ...JSON.parse(write("json")), more: 1 })).toBe(false);
  });

  it("has what was found, exactly", () => {
    const { findings, faults, ...rest } = JSON.parse(write("json"));
    expect(rest).toMatchObject({
      type: "check",
      schema: 1,
      as_written: 3,
      differs: 3,
      untold: 2,
      not_probed: 3,
    });
    expect(findings).toHaveLength(5);
    expect(findings[4]).toMatchObject({
      outcome: "untold",
      reason: "send-eperm",
      labels: { [EVIL]: EVIL },
      group: EVIL,
    });
    expect(faults[0].target).toBe(EVIL);
  });
});

describe("a policy that was learnt", () => {
  const learnt = (results: readonly PortResult[]): string => {
    const learning = createLearning();
    for (const each of results) learning.take(each);
    return learning.policy(Date.UTC(2026, 10, 28), [{ target: EVIL, code: "x", message: EVIL }]);
  };

  it("is short, and leaves out what could not be told", async () => {
    const text = learnt([
      ...[1, 2, 3, 255].flatMap((host) => [
        result(`198.18.0.${host}`, 22, "open", "syn-ack"),
        result(`198.18.0.${host}`, 23, "closed", "reset"),
        result(`198.18.0.${host}`, 24, "closed", "reset"),
      ]),
      result("198.18.1.0", 24, "closed", "reset"),
      result("198.18.1.0", 23, "closed", "reset"),
      result("198.18.1.0", 22, "filtered", "no-response", { doubt: 0.0001 }),
      result("198.18.1.0", 22, "open", "syn-ack", { was: "filtered" }),
      result("198.18.0.9", 80, "open", "syn-ack", { host: "www.example.net" }),
      result("198.18.0.9", 81, "filtered", "no-response", { doubt: 0.5, host: "www.example.net" }),
      result("2001:db8::", 22, "filtered", "admin-prohibited"),
      result("2001:db8::1", 22, "filtered", "send-eperm"),
    ]);
    await expect(text).toMatchFileSnapshot("../golden/learnt.yaml");
    const { groups } = readPolicy(text, "learnt.yaml", SERVICES, "2026-11-28");
    expect(groups.map(({ targets }) => targets.map((each) => each.text))).toEqual([
      ["198.18.0.1-198.18.0.3", "198.18.0.255-198.18.1.0"],
      ["www.example.net"],
      ["2001:db8::"],
    ]);
  });

  it("is what was learnt from", () => {
    const results = Array.from({ length: 300 }, (_, i) => {
      const state = (["open", "closed", "filtered"] as const)[(i * 7 + (i >> 4)) % 3];
      return result(`198.18.${i >> 6}.${i & 7}`, 1 + ((i >> 3) & 7), state, "admin-prohibited");
    });
    const policy = readPolicy(learnt(results), "learnt.yaml", SERVICES, "2026-11-28");
    const check = createCheck(policy, createExpectations(policy));
    for (const each of results) check.take(each);
    expect(check.counts()).toEqual({ "as-written": 300, differs: 0, untold: 0 });
  });
});
