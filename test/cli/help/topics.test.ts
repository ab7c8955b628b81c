/** The topics are true: what they say of options, statuses and templates is what the code has, and each can be shown. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { EXIT } from "../../../src/cli/exit.ts";
import { type Block, parseMarkdown, textOf, VERBATIM_WIDTH } from "../../../src/cli/help/markdown.ts";
import { hasChapter, OPTIONS_OF, readChapter, readTopic, TOPIC_NAMES } from "../../../src/cli/help/topics.ts";
import {
  COMMANDS,
  GROUPS,
  type Group,
  IMPLIED,
  PROBE_OPTIONS,
  SHORTHANDS,
  TIMING,
  whyOneRun,
} from "../../../src/cli/options/table.ts";
import { ROOT } from "../process.ts";

const FOLDER = join(ROOT, "src/cli/help/topics");
const filesOf = (folder: string): string[] =>
  readdirSync(folder)
    .filter((file) => file.endsWith(".md"))
    .map((file) => file.replace(".md", ""))
    .sort();
const textOfTopic = (name: string): string => readFileSync(join(FOLDER, `${name}.md`), "utf8");

/** The rows of the table below a heading of level 2; of the topic's only table when there is no heading. */
function rowsOf(blocks: readonly Block[], heading?: string): string[][] {
  const from = blocks.findIndex((block) => block.kind === "heading" && block.text === heading);
  const table = blocks.slice(from + 1).find(({ kind }) => kind === "terms");
  return table?.kind === "terms" ? table.terms.map((row) => row.map(textOf)) : [];
}

describe("topics", () => {
  test("are the files that there are, and so are chapters of commands", () => {
    expect(filesOf(FOLDER)).toEqual([...TOPIC_NAMES].sort());
    expect(filesOf(join(FOLDER, "commands"))).toEqual(COMMANDS.filter(hasChapter).sort());
  });

  test.each([
    ...TOPIC_NAMES.map((name) => ({ name, blocks: readTopic(name) })),
    ...COMMANDS.filter(hasChapter).map((name) => ({ name, blocks: readChapter(name) })),
  ])("$name begins with its title, and what is to be typed is never broken", ({ blocks }) => {
    expect(blocks[0]).toMatchObject({ kind: "heading", level: 1 });
    expect(blocks.filter((block) => block.kind === "heading" && block.level === 1)).toHaveLength(1);
    for (const block of blocks) {
      if (block.kind !== "verbatim") continue;
      const session = block.lines[0].startsWith("$ ");
      const typed = block.lines.filter(
        (line, i) => !session || line.startsWith("$ ") || block.lines[i - 1]?.endsWith("\\"),
      );
      for (const line of typed) expect(line.length, line).toBeLessThanOrEqual(VERBATIM_WIDTH);
    }
  });
});

describe("options", () => {
  const OWN = [
    ["-V, --version", "print the version"],
    ["-h, --help", "show what a command takes"],
  ];

  test.each(GROUPS)("%s: as the table has them", (group: Group) => {
    const rows = PROBE_OPTIONS.filter((spec) => spec.group === group).map(
      ({ flags, aliases = [], description, defaultValue }) => {
        const [, names, argument = ""] = /^(.*?)( <.*)?$/.exec(flags) ?? [];
        const fallback = defaultValue === undefined ? "" : ` [${defaultValue}]`;
        return [`${[names, ...aliases].join(", ")}${argument}`, `${description}${fallback}`];
      },
    );
    expect(rowsOf(readTopic("options"), group)).toEqual(group === "Other" ? [...rows, ...OWN] : rows);
  });

  test("are in no other order of groups, and each group has a topic", () => {
    const headings = readTopic("options").filter((block) => block.kind === "heading" && block.level === 2);
    expect(headings.map((block) => block.kind === "heading" && block.text)).toEqual([...GROUPS]);
    expect(Object.values(OPTIONS_OF).sort()).toEqual([...GROUPS].sort());
  });

  test("nmap's that are accepted", () => {
    const text = textOfTopic("options");
    const [, implied = ""] = /nmap's (.*) are accepted/.exec(text) ?? [];
    expect([...implied.matchAll(/`([^`]+)`/g)].map(([, option]) => option)).toEqual(Object.keys(IMPLIED));
    for (const [short, long] of Object.entries(SHORTHANDS))
      expect(text).toContain(`\`${short}\` is \`${long.join(" ")}\``);
  });

  test("that belong to one run", () => {
    const [, listed = ""] =
      /These belong to one run and cannot be set so: (.*), and targets/.exec(textOfTopic("config")) ?? [];
    const expected = PROBE_OPTIONS.filter((spec) => whyOneRun(spec) !== undefined).map(
      ({ flags }) => /--[\w-]+/.exec(flags)?.[0],
    );
    expect([...listed.matchAll(/`([^`]+)`/g)].map(([, option]) => option).sort()).toEqual(expected.sort());
  });
});

describe("other tables", () => {
  test("exit: every status", () => {
    expect(rowsOf(readTopic("exit")).map(([status]) => Number(status))).toEqual(Object.values(EXIT));
  });

  test("timing: what -T stands for", () => {
    const time = (ms: number): string => (ms >= 1000 ? `${ms / 1000} s` : `${ms} ms`);
    const rate = (perSecond: number): string =>
      perSecond < 1 ? `1 SYN in ${Math.round(1 / perSecond)} s` : `${perSecond.toLocaleString("en")} SYNs/s`;
    const names = ["paranoid", "sneaky", "polite", "normal, without -T", "aggressive", "insane"];
    const rows = TIMING.map(
      ({ waitMs: { initial, least, most }, retries, rate: perSecond, hostTimeoutMs }, i) => {
        const parts = [
          `${names[i]}: ${time(initial)} a try at first, then ${time(least)} to ${time(most)}`,
          `${retries} retries`,
          ...(perSecond === undefined ? [] : [rate(perSecond)]),
          ...(hostTimeoutMs === undefined ? [] : [`${time(hostTimeoutMs)} a host`]),
        ];
        return [`-T${i}`, parts.join(", ")];
      },
    );
    expect(rowsOf(readTopic("timing"))).toEqual(rows);
  });
});

test("the build's copies are these", () => {
  for (const file of readdirSync(FOLDER, { recursive: true, encoding: "utf8" }).filter((name) =>
    name.endsWith(".md"),
  )) {
    const copy = readFileSync(join(ROOT, "dist/topics", file), "utf8");
    expect(copy).toBe(readFileSync(join(FOLDER, file), "utf8"));
    expect(() => parseMarkdown(copy)).not.toThrow();
  }
});
