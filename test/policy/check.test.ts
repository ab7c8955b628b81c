/** A policy held against results: which rule holds where, what a result is by it, and what is counted when results are corrected. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createCheck } from "../../src/policy/check.ts";
import { createExpectations } from "../../src/policy/expectations.ts";
import { judge } from "../../src/policy/judge.ts";
import { placesOf, readPolicy } from "../../src/policy/policy.ts";
import { sentenceOf } from "../../src/policy/words.ts";
import { PORT_STATES, type PortResult, type PortState, type Reason } from "../../src/scan/probe/result.ts";
import { parseServices } from "../../src/scan/targets/services.ts";

const SERVICES = parseServices("ssh 22/tcp\n");
const read = (groups: object[]) => readPolicy(JSON.stringify({ groups }), "p.json", SERVICES, "2026-11-28");

const result = (
  ip: string,
  port: number,
  state: PortState,
  reason: Reason,
  more: Partial<PortResult> = {},
) => ({
  ...{ ip, port, state, reason, rttMs: null, ttl: null, tries: 1, timeMs: 0 },
  ...more,
});

describe("the rule for an address and port", () => {
  it("is that of the last group that names it; nothing-else-open holds for what no group names", () => {
    const policy = read([
      { targets: "198.18.0.0/24", ports: { 22: "open" }, "nothing-else-open": "1-100" },
      { targets: "198.18.0.7 [2001:db8::1]:22,443", is: "closed", ports: { "22,80": "filtered" } },
      { targets: "198.18.0.0-198.18.0.9", "nothing-else-open": "90-200" },
    ]);
    const at = createExpectations(policy);
    const told = (ip: string, port: number) =>
      at(ip, port) && `${at(ip, port)?.group.name}: ${at(ip, port)?.portsText}`;
    expect(told("198.18.0.1", 22)).toBe("group 1: 22");
    expect(told("198.18.0.7", 22)).toBe("group 2: 22,80");
    expect(told("198.18.0.7", 80)).toBe("group 2: 22,80");
    expect(told("198.18.0.7", 81)).toBe("group 1: all else of 1-100");
    expect(told("198.18.0.7", 95)).toBe("group 3: all else of 90-200");
    expect(told("198.18.0.10", 95)).toBe("group 1: all else of 1-100");
    expect(told("198.18.0.10", 150)).toBeUndefined();
    expect(told("198.18.1.0", 22)).toBeUndefined();
    expect(told("198.17.255.255", 22)).toBeUndefined();
    expect(told("2001:db8::1", 443)).toBe("group 2: ports of targets");
    expect(told("2001:db8::1", 22)).toBe("group 2: 22,80");
    expect(told("2001:db8::2", 443)).toBeUndefined();
    expect(told("nonsense", 22)).toBeUndefined();
  });

  it("is found by the addresses that names were looked up to", () => {
    const policy = read([
      { targets: "www.example.net", ports: { 22: "open" } },
      { targets: "ftp.example.net", ports: { 21: "open" } },
    ]);
    const both = [{ name: "www.example.net" }, { name: "ftp.example.net" }];
    const at = createExpectations(policy, new Map([["198.18.0.1", both]]));
    expect(at("198.18.0.1", 22)?.group.name).toBe("group 1");
    expect(at("198.18.0.1", 21)?.group.name).toBe("group 2");
    expect(at("198.18.0.2", 22)).toBeUndefined();
  });

  it("is what a search through all groups finds", () => {
    const range = fc.tuple(fc.nat(40), fc.nat(40)).map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const);
    const group = fc.record({
      range,
      ports: fc.option(range, { nil: undefined }),
      others: fc.option(range, { nil: undefined }),
    });
    fc.assert(
      fc.property(fc.array(group, { minLength: 1, maxLength: 8 }), (groups) => {
        const ports = ([first, last]: readonly [number, number]): string => `${first + 1}-${last + 1}`;
        const kept = groups.filter((each) => each.ports !== undefined || each.others !== undefined);
        if (kept.length === 0) return;
        const policy = read(
          kept.map(({ range: [first, last], ports: named, others }) => ({
            targets: `198.18.0.${first}-198.18.0.${last}`,
            ...(named === undefined ? {} : { ports: { [ports(named)]: "open" } }),
            ...(others === undefined ? {} : { "nothing-else-open": ports(others) }),
          })),
        );
        const at = createExpectations(policy);
        const told: string[] = [];
        const wanted: string[] = [];
        for (let host = 0; host <= 41; host++) {
          const here = kept.map(({ range: [first, last] }) => first <= host && host <= last);
          for (let port = 1; port <= 42; port++) {
            const holds = (part: readonly [number, number] | undefined): boolean =>
              part !== undefined && part[0] < port && port <= part[1] + 1;
            const named = kept.findLastIndex((each, i) => here[i] && holds(each.ports));
            const other = kept.findLastIndex((each, i) => here[i] && holds(each.others));
            const rule = at(`198.18.0.${host}`, port);
            const index = rule === undefined ? -1 : policy.groups.indexOf(rule.group);
            told.push(`${host}:${port} ${index} ${rule?.isElse ?? false}`);
            wanted.push(`${host}:${port} ${named >= 0 ? `${named} false` : `${other} ${other >= 0}`}`);
          }
        }
        expect(told).toEqual(wanted);
      }),
      { numRuns: 20 },
    );
  });
});

describe("a run from several places", () => {
  const seen = (place: string, state: PortState, reason: Reason, doubt?: number) => ({
    ...{ place, state, reason, rttMs: null, ttl: null, tries: 1 },
    ...(doubt === undefined ? {} : { doubt }),
  });
  const both = (fra: PortState, lon: PortState, doubt = 0.001) => {
    const reasonOf = (state: PortState): Reason =>
      (({ open: "syn-ack", closed: "reset", filtered: "no-response" }) as const)[state];
    const from = [seen("fra", fra, reasonOf(fra), doubt), seen("lon", lon, reasonOf(lon), doubt)];
    const state = PORT_STATES.find((each) => [fra, lon].includes(each)) ?? fra;
    return result("198.18.0.1", 22, state, reasonOf(state), { from });
  };
  const checked = (groups: object[], ...results: PortResult[]) => {
    const policy = read(groups);
    const check = createCheck(policy, createExpectations(policy));
    for (const each of results) check.take(each);
    const run = { faults: [], unfinished: 0, startedMs: 0, elapsedMs: 0 };
    return { ...check.report(run), told: check.report(run).findings.map(sentenceOf) };
  };
  const OPEN = { targets: "198.18.0.1", ports: { 22: "open" } };
  const SHUT = { targets: "198.18.0.1", ports: { 22: "not open" } };

  it("is held to a rule as a whole: what is worst from any of the places", () => {
    expect(checked([OPEN], both("open", "open")).counts).toEqual({ "as-written": 1, differs: 0, untold: 0 });
    const { counts, told } = checked([OPEN], both("open", "filtered"));
    expect(counts).toEqual({ "as-written": 0, differs: 1, untold: 0 });
    expect(told).toEqual([
      "198.18.0.1:22: expected open, found filtered (no-response, doubt 0.001, seen from lon)",
    ]);
    expect(checked([SHUT], both("open", "open")).told).toEqual([
      "198.18.0.1:22: expected not open, found open (syn-ack, doubt 0.001, seen from fra and lon)",
    ]);
    expect(checked([OPEN], both("open", "filtered", 0.5)).counts.untold).toBe(1);
    expect(checked([OPEN], both("closed", "filtered", 0.5)).counts.differs).toBe(1);
  });

  it("is held to the rules of each place", () => {
    const groups = [
      { ...OPEN, from: "fra" },
      { ...SHUT, from: ["lon", "nyc"] },
    ];
    expect(checked(groups, both("open", "filtered")).counts["as-written"]).toBe(2);
    const { told, ofRules } = checked(groups, both("closed", "open"));
    expect(told).toEqual([
      "198.18.0.1:22: expected open, found closed (reset, doubt 0.001, seen from fra)",
      "198.18.0.1:22: expected not open, found open (syn-ack, doubt 0.001, seen from lon)",
    ]);
    expect(ofRules.map(({ differs }) => differs)).toEqual([1, 1]);
    // What a later group says of one place alone holds there, and what others say elsewhere.
    expect(checked([SHUT, { ...OPEN, from: "fra" }], both("open", "closed")).counts["as-written"]).toBe(2);
    expect(checked([{ ...OPEN, from: "nyc" }], both("closed", "closed")).counts.differs).toBe(0);
  });

  it("from one place alone is held to that place's rules", () => {
    const policy = read([
      { ...OPEN, from: "fra" },
      { ...SHUT, from: "lon" },
    ]);
    expect(createExpectations(policy, new Map(), "fra")("198.18.0.1", 22)?.expected).toBe("open");
    expect(createExpectations(policy, new Map(), "lon")("198.18.0.1", 22)?.expected).toBe("not open");
    expect(createExpectations(policy)("198.18.0.1", 22)).toBeUndefined();
    const words = Uint32Array.of(0, 0, 0xffff, 0xc6120001);
    expect(createExpectations(policy, new Map(), "lon").ofWords(words, 4, 22)?.expected).toBe("not open");
  });

  it("has to be from every place that a group names", () => {
    const policy = read([OPEN, { ...SHUT, from: ["lon", "nyc"] }, { ...SHUT, from: "lon" }]);
    expect(placesOf(policy, undefined)).toEqual(["lon", "nyc"]);
    expect(placesOf(policy, ["nyc", "fra", "lon"])).toEqual(["lon", "nyc"]);
    expect(() => placesOf(policy, ["lon"])).toThrow(
      /^p\.json:1:\d+: group 2 is about what is so from nyc, and nothing probes from there: check it with --fleet, and nyc in --from$/,
    );
    expect(() => placesOf(policy, [])).toThrow(/so from lon/);
    expect(placesOf(read([OPEN]), [])).toEqual([]);
    expect(() => read([{ ...OPEN, from: ["fra", "l o n"] }])).toThrow(
      /"l o n" stands where the name of a place, such as fra, is wanted/,
    );
  });
});

describe("a result", () => {
  const rule = (states: readonly PortState[], tolerate: readonly Reason[] = []) => ({ states, tolerate });

  it.each<
    [states: PortState[], state: PortState, reason: Reason, doubt: number | undefined, outcome: string]
  >([
    [["open"], "open", "syn-ack", undefined, "as-written"],
    [["open"], "closed", "reset", undefined, "differs"],
    [["open"], "filtered", "no-response", 0.001, "differs"],
    [["open"], "filtered", "no-response", 0.02, "untold"],
    [["closed", "filtered"], "filtered", "no-response", 0.02, "untold"],
    [["closed", "filtered"], "filtered", "no-response", 0.01, "as-written"],
    [["open", "closed", "filtered"], "filtered", "no-response", 1, "as-written"],
    [["filtered"], "filtered", "unproved-reset", undefined, "untold"],
    [["filtered"], "filtered", "admin-prohibited", undefined, "as-written"],
  ])(
    "of a port that has to be %j, %s by %s with doubt %j, is %s",
    (states, state, reason, doubt, outcome) => {
      expect(judge(rule(states), { state, reason, ...(doubt === undefined ? {} : { doubt }) })).toBe(outcome);
    },
  );

  it.each(["send-eperm", "send-ehostunreach", "host-timeout"] as const)(
    "of a probe that failed (%s) passes for nothing, whatever is wanted or tolerated",
    (reason) => {
      for (const states of [
        ["open"],
        ["closed"],
        ["filtered"],
        ["closed", "filtered"],
        [...PORT_STATES],
      ] as const)
        expect(judge(rule(states, [reason]), { state: "filtered", reason, doubt: 0 })).toBe("untold");
    },
  );

  it("with a tolerated reason passes, even in doubt", () => {
    expect(
      judge(rule(["open"], ["no-response"]), { state: "filtered", reason: "no-response", doubt: 1 }),
    ).toBe("as-written");
    expect(judge(rule(["closed"], ["reset"]), { state: "open", reason: "syn-ack" })).toBe("differs");
  });
});

describe("a check", () => {
  const policy = read([{ targets: "198.18.0.1-198.18.0.9", ports: { 22: "open", 23: "not open" } }]);
  const run = { faults: [], unfinished: 0, startedMs: 0, elapsedMs: 1 };

  it("counts by rule, and keeps what is not as written in order", () => {
    const check = createCheck(policy, createExpectations(policy));
    check.take(result("198.18.0.9", 22, "closed", "reset"));
    check.take(result("198.18.0.1", 22, "open", "syn-ack"));
    check.take(result("198.18.0.2", 23, "filtered", "no-response", { doubt: 0.5 }));
    check.take(result("198.18.0.2", 22, "filtered", "no-response", { doubt: 0.001 }));
    check.take(result("198.18.0.77", 22, "closed", "reset"));
    const where = [{ ip: "198.18.0.2", port: 22, text: "at hop 3" }];
    const report = check.report({ ...run, where });
    expect(report.counts).toEqual({ "as-written": 1, differs: 2, untold: 1 });
    expect(report.ofRules).toEqual([
      { "as-written": 1, differs: 2, untold: 0 },
      { "as-written": 0, differs: 0, untold: 1 },
    ]);
    expect(
      report.findings.map(({ outcome, rule, result: { ip, port }, where }) => [
        ip,
        port,
        outcome,
        rule.expected,
        where,
      ]),
    ).toEqual([
      ["198.18.0.2", 22, "differs", "open", "at hop 3"],
      ["198.18.0.2", 23, "untold", "not open", undefined],
      ["198.18.0.9", 22, "differs", "open", undefined],
    ]);
  });

  it("takes the later of two results of a pair", () => {
    const check = createCheck(policy, createExpectations(policy));
    check.take(result("198.18.0.1", 22, "filtered", "no-response", { doubt: 0.001 }));
    check.take(result("198.18.0.1", 22, "open", "syn-ack", { was: "filtered" }));
    check.take(result("198.18.0.2", 23, "filtered", "no-response", { doubt: 0.001 }));
    check.take(result("198.18.0.2", 23, "open", "syn-ack", { was: "filtered" }));
    check.take(result("198.18.0.3", 23, "filtered", "no-response", { doubt: 0.3 }));
    expect(check.untold().map(({ ip }) => ip)).toEqual(["198.18.0.3"]);
    check.take(result("198.18.0.3", 23, "filtered", "no-response", { doubt: 0.0001 }));
    expect(check.untold()).toEqual([]);
    const { counts, findings } = check.report(run);
    expect(counts).toEqual({ "as-written": 2, differs: 1, untold: 0 });
    expect(findings.map(({ result: { ip } }) => ip)).toEqual(["198.18.0.2"]);
  });

  it("comes to the same when what passes at a quick look makes no result", () => {
    const wanted = read([
      {
        targets: "198.18.0.0/30",
        ports: { 1: "open", 2: { is: "closed", tolerate: "no-response" } },
        "nothing-else-open": "1-4",
      },
      { targets: "[2001:db8::]:1-3 2001:db8::1", is: "closed", ports: { 4: "filtered" } },
    ]);
    const words = {
      4: (host: number) => [0, 0, 0xffff, 0xc612_0000 + host],
      6: (host: number) => [0x2001_0db8, 0, 0, host],
    };
    const verdicts = fc.uniqueArray(
      fc.record({
        family: fc.constantFrom(4 as const, 6 as const),
        host: fc.nat(4),
        port: fc.integer({ min: 1, max: 5 }),
        state: fc.constantFrom(...PORT_STATES),
        failed: fc.boolean(),
        doubt: fc.constantFrom(0, 0.5),
      }),
      { selector: ({ family, host, port }) => `${family} ${host} ${port}` },
    );
    fc.assert(
      fc.property(verdicts, (all) => {
        const [slow, quick] = [0, 1].map(() => createCheck(wanted, createExpectations(wanted)));
        for (const { family, host, port, state, failed, doubt } of all) {
          const silent = failed ? "send-eperm" : "no-response";
          const reason = state === "open" ? "syn-ack" : state === "closed" ? "reset" : silent;
          const peer = Uint32Array.from(words[family](host));
          const known = state === "filtered" ? doubt : Number.NaN;
          const each = result(
            family === 4 ? `198.18.0.${host}` : `2001:db8::${host}`,
            port,
            state,
            reason,
            state === "filtered" ? { doubt } : {},
          );
          slow.take(each);
          if (!quick.passes({ peer, family, port, state, reason, doubt: known, was: null })) quick.take(each);
        }
        expect(quick.report(run)).toEqual(slow.report(run));
      }),
    );
    const check = createCheck(wanted, createExpectations(wanted));
    const late = {
      peer: Uint32Array.from(words[4](1)),
      family: 4,
      port: 1,
      state: "open",
      reason: "syn-ack",
      doubt: Number.NaN,
    } as const;
    expect(check.passes({ ...late, was: "filtered" })).toBe(false);
  });

  it("adds up, whatever comes in whatever order", () => {
    const results = fc.array(
      fc.record({
        host: fc.integer({ min: 1, max: 3 }),
        port: fc.constantFrom(22, 23),
        state: fc.constantFrom(...PORT_STATES),
        doubt: fc.constantFrom(0, 0.5),
      }),
    );
    fc.assert(
      fc.property(results, (all) => {
        const check = createCheck(policy, createExpectations(policy));
        const last = new Map<string, PortState>();
        for (const { host, port, state, doubt } of all) {
          const key = `${host} ${port}`;
          const was = last.get(key);
          const reason = state === "open" ? "syn-ack" : state === "closed" ? "reset" : "no-response";
          const more = { ...(was === undefined ? {} : { was }), ...(state === "filtered" ? { doubt } : {}) };
          check.take(result(`198.18.0.${host}`, port, state, reason, more));
          last.set(key, state);
        }
        const { counts, findings } = check.report(run);
        expect(counts["as-written"] + counts.differs + counts.untold).toBe(last.size);
        expect(findings).toHaveLength(counts.differs + counts.untold);
      }),
    );
  });
});
