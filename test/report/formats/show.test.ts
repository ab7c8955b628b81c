/** --show: which results the table prints, and how it sums up those that it does not. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createNdjsonReporter } from "../../../src/report/formats/ndjson.ts";
import { MOST_HOSTS } from "../../../src/report/formats/not-shown.ts";
import { parseShow, SMALL_RUN, showOnly } from "../../../src/report/formats/show.ts";
import { createTableReporter, type TableOptions } from "../../../src/report/formats/table.ts";
import { combine } from "../../../src/report/formats/tee.ts";
import type { RunInfo } from "../../../src/report/reporter.ts";
import {
  PORT_STATES,
  type PortResult,
  type PortState,
  type Reason,
  type ScanSummary,
} from "../../../src/scan/probe/result.ts";
import {
  agreeing,
  closed,
  corrected,
  differing,
  open,
  prohibited,
  run,
  silent,
  summary,
  written,
} from "../samples.ts";

const large: RunInfo = { ...run, pairs: 8_589_803_520, hosts: 131_072 };
const fewHosts: RunInfo = { ...run, pairs: 1000, hosts: 2 };
const results = [open, closed, prohibited, silent, corrected];

/** The table's lines for results, with the counts that a run would have made of them. */
function table(found: readonly PortResult[], info: RunInfo, show?: readonly PortState[]): string[] {
  const options: TableOptions = {
    color: false,
    verbose: false,
    ...(show === undefined ? {} : { show }),
  };
  const ending: ScanSummary = { ...summary, reasons: reasonsOf(found) };
  return written((sink) => createTableReporter(sink, options), found, ending, info).split("\n");
}

/** Counts the last verdict on each pair. */
function reasonsOf(found: readonly PortResult[]): Record<PortState, Record<string, number>> {
  const last = new Map(found.map((result) => [`${result.ip} ${result.port}`, result]));
  const reasons: Record<PortState, Record<string, number>> = { open: {}, closed: {}, filtered: {} };
  for (const { state, reason } of last.values()) reasons[state][reason] = (reasons[state][reason] ?? 0) + 1;
  return reasons;
}

const shown = (lines: readonly string[]): string[] =>
  lines.slice(1, lines.indexOf("")).map((line) => line.split(/ {2,}/).slice(0, 2).join(" "));
const remarks = (lines: readonly string[]): string[] => lines.filter((line) => line.startsWith("Not shown"));

describe("--show", () => {
  test.each([
    ["open", ["open"]],
    ["filtered,open", ["open", "filtered"]],
    ["closed,closed", ["closed"]],
    ["all", PORT_STATES],
    ["open,all", PORT_STATES],
  ])("%s", (text, states) => {
    expect(parseShow("--show", text)).toEqual(states);
  });

  test.each(["", "open,", "Open", "opened", "open closed", "none"])("refuses %j", (text) => {
    expect(() => parseShow("--show", text)).toThrow(expect.objectContaining({ code: "ERR_USAGE" }));
  });
});

describe("the table prints", () => {
  test("everything of a small run, and says nothing of the rest", () => {
    const lines = table(results, { ...run, pairs: SMALL_RUN });
    expect(shown(lines)).toHaveLength(results.length);
    expect(remarks(lines)).toEqual([]);
  });

  test("open ports of a larger one, and late corrections to open", () => {
    expect(shown(table(results, { ...run, pairs: SMALL_RUN + 1 }))).toEqual([
      "scanme.example:22 (192.0.2.10) open",
      "scanme.example:8081 (192.0.2.10) open",
    ]);
  });

  test("what --show asks for, whatever the size", () => {
    for (const info of [run, large]) {
      expect(shown(table(results, info, ["closed"]))).toEqual(["[2001:db8::10]:443 closed"]);
      expect(shown(table(results, info, PORT_STATES))).toHaveLength(results.length);
    }
  });

  test("what is of that state from some place", () => {
    const lines = table([differing], large, ["filtered"]);
    expect(shown(lines)).toEqual(["scanme.example:22 (192.0.2.10) open"]);
    expect(lines[1]).toMatch(/ syn-ack, open from fra, filtered from lon$/);
    expect(shown(table([agreeing], large, ["filtered"]))).toEqual([]);
    expect(table([agreeing], run)[1]).toMatch(/ syn-ack, 0\.213 ms from fra, 12\.500 ms from lon$/);
    const from = ["fra", "lon"].map((place) => ({ ...silent, place }));
    expect(table([{ ...silent, from }], run)[1]).toMatch(/ no-response, filtered from fra and lon$/);
  });

  test("the correction of a row that it printed", () => {
    const lines = table([silent, corrected], large, ["filtered"]);
    expect(shown(lines)).toEqual([
      "scanme.example:8081 (192.0.2.10) filtered",
      "scanme.example:8081 (192.0.2.10) open",
    ]);
  });
});

describe("what is not shown", () => {
  test("of one host", () => {
    const ports = [80, 81, 82, 443].map((port) => ({ ...closed, ip: open.ip, port }));
    const lines = table([open, ...ports, silent], {
      ...run,
      pairs: 1000,
      hosts: 1,
    });
    expect(remarks(lines)).toEqual([
      "Not shown: 4 closed tcp ports (reset), 1 filtered tcp port (no-response)",
    ]);
  });

  test("of one host is in the summary: only what is printed must be handed over", () => {
    const reporter = createTableReporter(() => {}, { color: false, verbose: false });
    expect(reporter.wants({ ...run, pairs: 1000, hosts: 1 })).toEqual(["open"]);
    expect(reporter.wants(fewHosts)).toEqual(["open", "closed", "filtered"]);
  });

  test("of few hosts: host by host, as it is at the end", () => {
    expect(remarks(table(results, fewHosts))).toEqual([
      "Not shown on 192.0.2.20: 1 filtered tcp port (host-unreach)",
      "Not shown on 2001:db8::10: 1 closed tcp port (reset)",
    ]);
    expect(remarks(table([silent, closed], fewHosts))).toContain(
      "Not shown on scanme.example (192.0.2.10): 1 filtered tcp port (no-response)",
    );
  });

  test("of several places: not what is printed for what it is from one of them", () => {
    const found = [differing, { ...agreeing, port: 80 }, { ...agreeing, ip: "192.0.2.20" }];
    expect(shown(table(found, { ...run, hosts: 1 }, ["filtered"]))).toHaveLength(1);
    expect(remarks(table(found, { ...run, hosts: 1 }, ["filtered"]))).toEqual([
      "Not shown: 2 open tcp ports (syn-ack)",
    ]);
    expect(remarks(table(found, fewHosts, ["filtered"]))).toEqual([
      "Not shown on scanme.example (192.0.2.10): 1 open tcp port (syn-ack)",
      "Not shown on scanme.example (192.0.2.20): 1 open tcp port (syn-ack)",
    ]);
  });

  test("of many: the run's own counts, the most frequent reason first", () => {
    const options = { color: false, verbose: false };
    const reasons: ScanSummary["reasons"] = {
      open: { "syn-ack": 3 },
      closed: { reset: 1_966_080, "send-eperm": 0 },
      filtered: { "host-unreach": 2, "no-response": 12_000 },
    };
    const text = written(
      (sink) => createTableReporter(sink, options),
      [open],
      { ...summary, reasons },
      large,
    );
    expect(text).toContain(
      "\n\nNot shown: 1,966,080 closed tcp ports (reset), 12,000 filtered tcp ports (no-response), 2 filtered tcp ports (host-unreach)\n",
    );
  });

  test("of few hosts, some of which were decided before this report began: the run's own counts", () => {
    const ending = { ...summary, reasons: { open: {}, closed: { reset: 500 }, filtered: {} } };
    const text = written(
      (sink) => createTableReporter(sink, { color: false, verbose: false }),
      [closed, { ...closed, ip: "192.0.2.1" }],
      ending,
      fewHosts,
    );
    expect(remarks(text.split("\n"))).toEqual(["Not shown: 500 closed tcp ports (reset)"]);
  });

  test("and what is shown are together every pair, once", () => {
    const verdict = fc.constantFrom<readonly [PortState, Reason]>(
      ["open", "syn-ack"],
      ["closed", "reset"],
      ["filtered", "no-response"],
      ["filtered", "admin-prohibited"],
    );
    const anyResult = fc
      .tuple(fc.integer({ min: 1, max: 3 }), fc.constantFrom(1, 22, 65_535), verdict)
      .map(([host, port, [state, reason]]): PortResult => {
        const { service: _, host: __, ...rest } = open;
        return { ...rest, ip: `198.18.0.${host}`, port, state, reason };
      });
    const anyShow = fc.subarray([...PORT_STATES], { minLength: 1 });
    const key = ({ ip, port }: PortResult): string => `${ip}:${port}`;
    fc.assert(
      fc.property(fc.uniqueArray(anyResult, { selector: key }), anyShow, (found, show) => {
        for (const info of [fewHosts, large]) {
          const lines = table(found, info, show);
          const counted = remarks(lines).flatMap((line) =>
            [...line.matchAll(/(\d+) (open|closed|filtered) tcp/g)].map(([, n]) => Number(n)),
          );
          expect(shown(lines).length + counted.reduce((sum, n) => sum + n, 0)).toBe(found.length);
          expect(shown(lines)).toHaveLength(found.filter(({ state }) => show.includes(state)).length);
        }
      }),
    );
  });
});

describe("files", () => {
  const ndjson = (found: readonly PortResult[], states: readonly PortState[]): object[] =>
    written((sink) => showOnly(createNdjsonReporter(sink, states), states), found)
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));

  test("have the states that are shown and corrections of them; the totals stay", () => {
    const lines = ndjson(results, ["open"]);
    expect(lines).toMatchObject([
      { type: "result", state: "open", port: 22 },
      { type: "result", state: "open", was: "filtered" },
      { type: "summary", shown: ["open"], open: 2, closed: 1, filtered: 1 },
    ]);
    expect(ndjson([silent, corrected], ["filtered"])).toMatchObject([
      { state: "filtered" },
      { state: "open" },
      {},
    ]);
  });

  test("that have all states do not name them", () => {
    expect(ndjson(results, PORT_STATES)).toHaveLength(results.length + 1);
    expect(ndjson(results, PORT_STATES).at(-1)).not.toHaveProperty("shown");
  });
});

describe("a reporter wants", () => {
  const tableOf = (show?: readonly PortState[]) =>
    createTableReporter(() => {}, { color: false, verbose: false, ...(show === undefined ? {} : { show }) });

  test("for the table of a large run, no more than is printed", () => {
    expect(tableOf().wants(large)).toEqual(["open"]);
    expect(tableOf(["closed", "filtered"]).wants(large)).toEqual(["closed", "filtered"]);
    const { hosts: _, ...unknown } = large;
    expect(tableOf().wants(unknown)).toEqual(["open"]);
    expect(tableOf().wants({ ...large, hosts: MOST_HOSTS + 1 })).toEqual(["open"]);
  });

  test("everything, where it is printed or counted host by host", () => {
    expect(tableOf().wants(run)).toEqual(PORT_STATES);
    expect(tableOf().wants({ ...large, hosts: MOST_HOSTS })).toEqual(PORT_STATES);
  });

  test("everything of a run that is small enough, to count the hosts that answered", () => {
    const many = { ...large, hosts: MOST_HOSTS + 1 };
    expect(tableOf().wants({ ...many, pairs: 10_000 })).toEqual(PORT_STATES);
    expect(tableOf().wants({ ...many, pairs: 10_001 })).toEqual(["open"]);
  });

  test("for several formats, what each of them wants", () => {
    const both = combine([tableOf(["open"]), createNdjsonReporter(() => {})]);
    expect(both.wants(large)).toEqual(PORT_STATES);
    expect(combine([tableOf(["filtered"]), tableOf(["open"])]).wants(large)).toEqual(["open", "filtered"]);
    expect(combine([]).wants(large)).toEqual([]);
    expect(
      showOnly(
        createNdjsonReporter(() => {}),
        ["open"],
      ).wants(large),
    ).toEqual(["open"]);
  });
});
