/** What is written for programmers is true: the topic's examples compile and run as they stand, the API page has every export. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ROOT, run, synprobe } from "./cli/process.ts";
import { blocksOf, LIBRARY } from "./documents.ts";
import { labProblem, skipping } from "./lab/netns.ts";

const SNIPPETS = blocksOf(LIBRARY, "ts");

/** What each must print, in the lab that there is without a file. */
const PRINTS = [
  /^open syn-ack [\d.]+\n$/,
  /^(?:\S+ \d+ \S+\n)*198\.18\.0\.1 22 ssh\n(?:\S+ \d+ \S+\n)*\d+ open in [\d.]+ ms \[\]\n$/,
  /^443 open host undefined 9 undefined\n445 filtered dropped 6 7 0\.00\d+\n$/,
  /rttMs: [\d.]+[\s\S]*\nhello\n$/,
];

describe("the library topic's examples", () => {
  let folder = "";
  let complaints = "";
  /** Compiles to JavaScript beside the sources. @returns what the compiler says */
  const compile = (...files: string[]): string => {
    const options = ["--strict", "--module", "nodenext", "--target", "es2022", "--types", "node"];
    try {
      const tsc = join(ROOT, "node_modules/.bin/tsc");
      return execFileSync(tsc, [...options, ...files], { cwd: folder, encoding: "utf8", stdio: "pipe" });
    } catch (error) {
      return String((error as { stdout?: unknown }).stdout);
    }
  };
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "synprobe-library-"));
    // As a program has it that has installed the package.
    mkdirSync(join(folder, "node_modules/@types"), { recursive: true });
    symlinkSync(ROOT, join(folder, "node_modules/synprobe"), "dir");
    symlinkSync(join(ROOT, "node_modules/@types/node"), join(folder, "node_modules/@types/node"), "dir");
    writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
    SNIPPETS.forEach((code, i) => {
      writeFileSync(join(folder, `example-${i}.ts`), code);
    });
    complaints = compile(...SNIPPETS.map((_, i) => `example-${i}.ts`));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it("are those that this test knows, and show each way in", () => {
    expect(SNIPPETS).toHaveLength(PRINTS.length);
    const imported = SNIPPETS.join("").matchAll(/import \{ (\w+)/g);
    expect([...imported].map(([, name]) => name).sort()).toEqual(["connect", "path", "probe", "scan"]);
    expect(LIBRARY.text).not.toMatch(/^```(js|typescript|javascript)$/m);
  });

  it("compile under strict settings, and what is wrong would not", () => {
    expect(complaints).toBe("");
    writeFileSync(join(folder, "wrong.ts"), SNIPPETS.join("").replace("retries: 2", 'retries: "two"'));
    expect(compile("wrong.ts")).toMatch(/TS2322: Type 'string' is not assignable to type 'number'/);
  });

  describe.skipIf(skipping("the library topic's examples, run", labProblem()))("in the lab", () => {
    it.each(SNIPPETS.map((code, i) => ({ name: /import \{ (\w+)/.exec(code)?.[1], i })))(
      "$name runs as written",
      async ({ i }) => {
        const program = [process.execPath, join(folder, `example-${i}.js`)];
        const { status, stdout, stderr } = await run(synprobe("lab", "--", ...program));
        expect(stderr.replace(/^\d+ of \d+$/gm, "").trim()).toBe("");
        expect(stdout).toMatch(PRINTS[i]);
        expect(status).toBe(0);
      },
    );
  });
});

describe("the API page", () => {
  const page = readFileSync(join(ROOT, "dist/API.md"), "utf8");
  const exported = [
    ...readFileSync(join(ROOT, "src/index.ts"), "utf8").matchAll(
      /^export (?:type )?\{([^}]*)\} from "\.\/([^"]+)"/gm,
    ),
  ].flatMap(([, names, file]) =>
    names
      .split(",")
      .map((name) => name.replace(/^\s*type\s/, "").trim())
      .filter((name) => name !== "")
      .map((name) => ({ name, file })),
  );

  it.each(exported)("has $name with what its docstring says", ({ name, file }) => {
    const at = page.indexOf(`\n### ${name}\n`);
    expect(at).toBeGreaterThan(0);
    const end = page.indexOf("\n### ", at + 1);
    const section = page.slice(at, end < 0 ? undefined : end);
    expect(section).toMatch(new RegExp(`\`\`\`ts\\n(interface|type|const|class|function) ${name}\\b`));
    const source = readFileSync(join(ROOT, "src", file), "utf8");
    const before = source.slice(0, source.search(new RegExp(`^export (async )?\\w+ ${name}\\b`, "m")));
    const doc = /\/\*\*((?:[^*]|\*(?!\/))*)\*\/\n$/.exec(before)?.[1];
    // The first line of it, without what marks it as a comment.
    const first = doc
      ?.split("\n")
      .map((line) => line.replace(/^\s*\*? ?/, "").trim())
      .find((line) => line !== "");
    if (first !== undefined && !first.startsWith("@")) expect(section).toContain(first);
    // Each option, field and code with its own.
    for (const [, text] of declarationOf(source, name).matchAll(/^ +\/\*\* (.*) \*\/$/gm)) {
      expect(section).toContain(text);
    }
  });

  it("has nothing else, and all that there is to call", () => {
    expect([...page.matchAll(/^### (\w+)$/gm)].map(([, name]) => name).sort()).toEqual(
      exported.map(({ name }) => name).sort(),
    );
    expect(exported.map(({ name }) => name)).toEqual(
      expect.arrayContaining(["connect", "path", "probe", "scan"]),
    );
  });

  function declarationOf(source: string, name: string): string {
    const from = source.search(new RegExp(`^export (interface|const) ${name}\\b`, "m"));
    return from < 0 ? "" : source.slice(from, source.indexOf("\n}", from));
  }
});
