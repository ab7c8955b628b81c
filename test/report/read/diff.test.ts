/** Two runs compared: golden text and NDJSON, why a port is missing, and what must hold for any two runs. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Difference, diffJson, diffText } from "../../../src/report/read/diff.ts";
import type { PortResult } from "../../../src/scan/probe/result.ts";
import { diffOf, ndjson, nmapXml } from "../runs.ts";
import {
  agreeing,
  closed,
  corrected,
  differing,
  fault,
  hostileNames,
  interrupted,
  open,
  prohibited,
  silent,
  summary,
} from "../samples.ts";

const gone: PortResult = { ...open, port: 3389, service: "ms-wbt-server" };
const OLD = ndjson([closed, prohibited, silent, open, gone]);
const NEW = ndjson(
  [
    { ...open, state: "closed", reason: "reset" },
    silent,
    corrected,
    closed,
    { ...open, ip: "192.0.2.9", port: 8443 },
    { ...closed, ip: "2001:db8::2" },
    { ...open, ip: "192.0.2.20", port: 80, state: "filtered", reason: "no-response" },
  ],
  interrupted,
);

const LIST = "#masscan\nopen tcp 80 192.0.2.10 1795277947\n# end\n";

const textOf = (old: string, now: string, colour = false) => [...diffText(diffOf(old, now), colour)].join("");
const all = (old: string, now: string, onlyOpen = false) => [...diffOf(old, now, onlyOpen).differences()];
const short = ({ kind, ip, port, old, new: now, because }: Difference) =>
  `${kind} ${ip} ${port} ${old?.state ?? "-"} ${now?.state ?? "-"}${because === undefined ? "" : ` ${because}`}`;

describe("golden", () => {
  test("text", () => {
    expect(textOf(OLD, NEW)).toBe(`OLD  old, 2026-11-20 23:09:54 UTC, 5 ports
NEW  new, 2026-11-20 23:09:54 UTC, 6 ports, interrupted

  PORT      OLD       NEW     SERVICE        REASON
192.0.2.9 (scanme.example)
+ 8443/tcp  -         open    ssh            OLD did not probe it
192.0.2.10 (scanme.example)
~ 22/tcp    open      closed  ssh            reset
- 3389/tcp  open      -       ms-wbt-server  NEW was interrupted and did not decide it
~ 8081/tcp  filtered  open    -              syn-ack

Not compared: 1 port appeared: closed, OLD did not probe it

2 changed, 2 appeared, 1 gone; 2 the same
`);
  });

  test("NDJSON", () => {
    expect([...diffJson(diffOf(OLD, NEW))].join("")).toBe(
      `{"type":"appeared","ip":"192.0.2.9","port":8443,"proto":"tcp","host":"scanme.example","service":"ssh","new":{"state":"open","reason":"syn-ack"},"because":"not-probed"}
{"type":"changed","ip":"192.0.2.10","port":22,"proto":"tcp","host":"scanme.example","service":"ssh","old":{"state":"open","reason":"syn-ack"},"new":{"state":"closed","reason":"reset"}}
{"type":"gone","ip":"192.0.2.10","port":3389,"proto":"tcp","host":"scanme.example","service":"ms-wbt-server","old":{"state":"open","reason":"syn-ack"},"because":"interrupted"}
{"type":"changed","ip":"192.0.2.10","port":8081,"proto":"tcp","host":"scanme.example","old":{"state":"filtered","reason":"no-response"},"new":{"state":"open","reason":"syn-ack"}}
{"type":"appeared","ip":"2001:db8::2","port":443,"proto":"tcp","service":"https","new":{"state":"closed","reason":"reset"},"because":"not-probed"}
{"type":"summary","changed":2,"appeared":2,"gone":1,"same":2,"old":{"file":"old","format":"ndjson","ending":"complete","started_at":"2026-11-20T23:09:54.250Z","ports":5},"new":{"file":"new","format":"ndjson","ending":"interrupted","started_at":"2026-11-20T23:09:54.250Z","ports":6}}
`,
    );
  });

  test("nothing differs", () => {
    expect(textOf(OLD, OLD).split("\n").slice(3)).toEqual(["No differences: 5 ports in the same state", ""]);
  });

  test("colour says no more than the marks do", () => {
    const coloured = textOf(OLD, NEW, true);
    expect(coloured).toContain("\x1b[31m- 3389/tcp");
    // biome-ignore lint/complexity/useRegexLiterals: a control character, spelled
    expect(coloured.replace(new RegExp("\\x1b\\[\\d+m", "g"), "")).toBe(textOf(OLD, NEW));
  });
});

test("a port that turned silent says how sure that is", () => {
  const later = `{"ip":"192.0.2.10","port":22,"state":"filtered","reason":"no-response","doubt":0.0213}\n`;
  expect(textOf(ndjson([open]), later)).toContain("no-response, 2.1 % chance that an answer was lost\n");
  const alone = ndjson([{ ...silent, port: 22, doubt: 1 }]);
  expect(textOf(ndjson([open]), alone)).toContain(
    "no-response, and nothing answered then that would tell of loss\n",
  );
  expect(all(ndjson([open]), later)[0].new).toEqual({
    ...{ state: "filtered", reason: "no-response", doubt: 0.0213 },
  });
});

test("of a verdict and its correction, the correction counts, wherever it stands", () => {
  const right = ndjson([{ ...silent, state: "open", reason: "syn-ack" }]);
  expect(all(ndjson([silent, open, corrected]), ndjson([open, corrected]))).toEqual([]);
  expect(all(ndjson([silent, corrected]), right)).toEqual([]);
  expect(all(ndjson([silent]), right).map(short)).toEqual(["changed 192.0.2.10 8081 filtered open"]);
});

test("another reason for the same state is no difference", () => {
  expect(all(ndjson([silent]), ndjson([{ ...silent, reason: "admin-prohibited" }]))).toEqual([]);
});

test("--only open leaves out what neither was nor is open", () => {
  expect(all(OLD, NEW, true).map(short)).toEqual([
    "appeared 192.0.2.9 8443 - open not-probed",
    "changed 192.0.2.10 22 open closed",
    "gone 192.0.2.10 3389 open - interrupted",
    "changed 192.0.2.10 8081 filtered open",
  ]);
});

test("a port that one of the runs could not probe is neither changed nor, where it was filtered, anything else", () => {
  const of = (reason: "host-timeout" | "send-ENOBUFS") => ({ ...silent, port: 22, reason, doubt: 1 });
  for (const failed of [of("host-timeout"), of("send-ENOBUFS")]) {
    expect(all(ndjson([open]), ndjson([failed])).map(short)).toEqual(["gone 192.0.2.10 22 open - failed"]);
    expect(all(ndjson([failed]), ndjson([open])).map(short)).toEqual([
      "appeared 192.0.2.10 22 - open failed",
    ]);
    expect(textOf(ndjson([open]), ndjson([failed]))).toMatch(
      /^- 22\/tcp +open +- .* NEW could not probe it$/m,
    );
    const filtered = ndjson([{ ...silent, port: 22 }]);
    expect(all(filtered, ndjson([failed]))).toEqual([]);
    expect(all(ndjson([failed]), filtered)).toEqual([]);
    expect(all(ndjson([failed]), ndjson([]))).toEqual([]);
  }
});

describe("of runs from several places", () => {
  const DIFFERING = ndjson([differing]);
  const AGREEING = ndjson([agreeing]);

  test("what has changed from one of them is told", () => {
    expect(textOf(DIFFERING, AGREEING)).toMatch(/^~ 22\/tcp +open +open +ssh +filtered to open from lon$/m);
    const [difference] = all(DIFFERING, AGREEING);
    expect(short(difference)).toBe("changed 192.0.2.10 22 open open");
    expect(difference.new?.from).toEqual([
      { place: "fra", state: "open" },
      { place: "lon", state: "open" },
    ]);
    expect([...diffJson(diffOf(DIFFERING, AGREEING))][0]).toContain(
      '"from":[{"place":"fra","state":"open"},{"place":"lon","state":"filtered"}]',
    );
  });

  test("nothing is said of places that only one of the runs has", () => {
    const elsewhere = (agreeing.from ?? []).map((each) => ({ ...each, place: `not-${each.place}` }));
    for (const other of [open, agreeing, { ...agreeing, from: elsewhere }])
      expect(all(AGREEING, ndjson([other]))).toEqual([]);
    expect(all(ndjson([open]), DIFFERING)).toEqual([]);
  });

  test("a place that could not probe a port has not found it filtered", () => {
    const from = (agreeing.from ?? []).map((each) =>
      each.place === "lon" ? { ...each, state: "filtered" as const, reason: "host-timeout" as const } : each,
    );
    expect(all(AGREEING, ndjson([{ ...agreeing, from }]))).toEqual([]);
    expect(all(ndjson([{ ...agreeing, from }]), AGREEING)).toEqual([]);
  });

  test("another reason from one of them is no difference", () => {
    const from = (differing.from ?? []).map((each) =>
      each.place === "lon" ? { ...each, reason: "admin-prohibited" as const } : each,
    );
    expect(all(DIFFERING, ndjson([{ ...differing, from }]))).toEqual([]);
  });
});

describe("a port that the later run does not have", () => {
  const host = (state: string, ports: string) =>
    `<host><status state="${state}"/><address addr="192.0.2.10" addrtype="ipv4"/><ports>${ports}</ports></host>`;
  const nmap = (
    inside: string,
    services = "22,80",
    end = '<runstats><finished exit="success"/></runstats></nmaprun>',
  ) => `<nmaprun><scaninfo protocol="tcp" services="${services}"/>${inside}${end}`;
  const port80 = '<port protocol="tcp" portid="80"><state state="closed" reason="reset"/></port>';
  test.each([
    ["was not probed", ndjson([closed]), "not-probed"],
    ["may have been meant", ndjson([closed], interrupted), "interrupted"],
    [
      "of a state that is not shown",
      ndjson([closed]).replace('"schema":2', '"schema":2,"shown":["closed"]'),
      "not-shown",
    ],
    ["may be in the part that is missing", ndjson([closed]).replace(/\{"type":"summary.*\n/, ""), "cut-off"],
    [
      "is of a target that was a fault",
      ndjson([closed], { ...summary, faults: [{ ...fault, target: "192.0.2.10" }] }),
      "fault",
    ],
    [
      "is of a name that was a fault",
      ndjson([closed], { ...summary, faults: [{ ...fault, target: "scanme.example:22" }] }),
      "fault",
    ],
    ["is not in a list", LIST, "not-told"],
    ["is not in a list that was cut off", LIST.replace("# end\n", ""), "cut-off"],
    ["is not among nmap's", nmap(host("up", port80), "80"), "not-probed"],
    ["is of a host that nmap does not list", nmap(""), "no-host"],
    ["is of a host that nmap found down", nmap(host("down", "")), "host-down"],
    ["is not listed by nmap", nmap(host("up", port80)), "not-listed"],
    [
      "is only counted by nmap",
      nmap(host("up", `<extraports state="closed"/><extraports state="filtered"/>${port80}`)),
      "counted",
    ],
    ["may be in the part of nmap's that is missing", nmap(host("up", port80), "22,80", ""), "cut-off"],
  ])("because it %s", (_, now, because) => {
    const found = all(ndjson([open]), now).filter(({ kind }) => kind === "gone");
    expect(found.map(short)).toEqual([`gone 192.0.2.10 22 open - ${because}`]);
    expect(textOf(ndjson([open]), now)).toMatch(/^- 22\/tcp +open +- +ssh +NEW /m);
  });
});

test("NDJSON and XML of one run are the same", () => {
  const results = [closed, prohibited, silent, open, corrected];
  expect(all(ndjson(results), nmapXml(results))).toEqual([]);
  expect(all(nmapXml(results), ndjson(results))).toEqual([]);
});

test("hostile names neither break a line nor reach a terminal", () => {
  for (const name of hostileNames) {
    const now = ndjson([{ ...open, host: name, service: name, state: "closed", reason: "reset" }]);
    const lines = textOf(ndjson([open]), now).split("\n");
    expect(lines).toHaveLength(9);
    for (const line of lines) expect(line).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
    for (const line of diffJson(diffOf(ndjson([open]), now))) expect(JSON.parse(line)).toBeTypeOf("object");
  }
});

test("naabu's lines beside a run of ours: what they do not list may be anything but open", () => {
  const naabu = [22, 8443]
    .map((port) =>
      JSON.stringify({ ip: open.ip, timestamp: "2026-11-21T17:00:26Z", port, protocol: "tcp", tls: false }),
    )
    .join("\n");
  const ours = ndjson([
    open,
    closed,
    { ...open, port: 8443, state: "filtered", reason: "no-response" },
    gone,
  ]);
  expect(all(naabu, ours).map(short)).toEqual([
    `appeared ${open.ip} 3389 - open open-only`,
    `changed ${open.ip} 8443 open filtered`,
    `appeared ${closed.ip} 443 - closed open-only`,
  ]);
  expect(textOf(ours, naabu)).toContain("NEW lists open ports only");
  expect(textOf(naabu, naabu)).toContain("No differences: 2 ports in the same state");
});

describe("whatever two runs are", () => {
  const result = fc
    .record({
      ip: fc.constantFrom("192.0.2.1", "192.0.2.10", "2001:db8::1"),
      port: fc.oneof(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 65_535 })),
      state: fc.constantFrom("open" as const, "closed" as const, "filtered" as const),
    })
    .map((part): PortResult => ({ ...open, ...part, reason: "reset" }));
  const results = fc.array(result, { maxLength: 30 });
  const formats = fc.constantFrom(ndjson, nmapXml);

  test("one is the same as itself, in either format", () => {
    fc.assert(
      fc.property(results, formats, formats, (found, one, other) => {
        expect(all(one(found), other(found))).toEqual([]);
      }),
    );
  });

  test("the differences back are the differences there, mirrored, and all that a naive look finds", () => {
    const mirror = ({ kind, old, new: now, ...rest }: Difference): Difference => ({
      ...rest,
      kind: kind === "gone" ? "appeared" : kind === "appeared" ? "gone" : kind,
      ...(now === undefined ? {} : { old: now }),
      ...(old === undefined ? {} : { new: old }),
    });
    fc.assert(
      fc.property(results, results, fc.boolean(), (before, after, onlyOpen) => {
        const there = all(ndjson(before), ndjson(after), onlyOpen);
        const back = all(ndjson(after), ndjson(before), onlyOpen);
        expect(back).toEqual(there.map(mirror));
        const last = (found: readonly PortResult[]) =>
          new Map(found.map((r) => [`${r.ip} ${r.port}`, r.state]));
        const [old, now] = [last(before), last(after)];
        const naive = [...new Set([...old.keys(), ...now.keys()])].filter(
          (pair) =>
            old.get(pair) !== now.get(pair) &&
            (!onlyOpen || old.get(pair) === "open" || now.get(pair) === "open"),
        );
        expect(there.map(({ ip, port }) => `${ip} ${port}`).sort()).toEqual(naive.sort());
      }),
    );
  });
});

test("hosts with thousands of ports, and thousands of hosts, are told apart", () => {
  const many = Array.from({ length: 9000 }, (_, i) => ({ ...closed, ip: "192.0.2.7", port: 65_535 - i }));
  const wide = Array.from({ length: 3000 }, (_, i) => ({
    ...closed,
    ip: `198.18.${i >> 8}.${i & 255}`,
    port: 80,
  }));
  const before = ndjson([...many, ...wide]);
  const after = ndjson(
    [...wide, ...many].map((each, i) => (i % 1000 === 0 ? { ...each, state: "open" as const } : each)),
  );
  const found = all(before, after);
  expect(found).toHaveLength(12);
  expect(found.map(({ ip, port }) => `${ip} ${port}`)).toEqual([
    ...Array.from({ length: 9 }, (_, i) => `192.0.2.7 ${65_535 - 8000 + 1000 * i}`),
    ...["198.18.0.0 80", "198.18.3.232 80", "198.18.7.208 80"],
  ]);
});
