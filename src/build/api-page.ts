/**
 * Part of the build, not of what it builds: `node --import tsx src/build/api-page.ts` makes dist/API.md, the library's API page, of dist's
 * declarations: for each export of index.ts what its docstring says and how it is declared.
 *
 * It reads what the compiler has written, which is laid out always the same: a declaration begins at the start of a line, and its
 * docstring stands right above it.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const DIST = fileURLToPath(new URL("../../dist", import.meta.url));

interface Exported {
  readonly name: string;
  readonly file: string;
}

/** Statements that export names, types among them, from another file. */
const EXPORTS = /^export (type )?\{([^}]*)\} from "([^"]+)";/gm;
/** A docstring, if there is one, and a declaration that goes on to its end: `;` or `}` at a line's end, no deeper than it began. */
const DECLARATIONS =
  /^(?:\/\*\*((?:[^*]|\*(?!\/))*)\*\/\n)?export (?:declare )?(interface|type|const|class|function) (\w+)[\s\S]*?(?:;|\})$(?=\n(?!\})(?:\S|$)|$(?![\s\S]))/gm;

const KINDS = [
  ["function", "Functions"],
  ["class", "Classes"],
  ["const", "Constants"],
  ["interface", "Types"],
  ["type", "Types"],
] as const;

function exportsOf(file: string): Exported[] {
  const text = readFileSync(file, "utf8");
  return [...text.matchAll(EXPORTS)].flatMap(([, , names, from]) =>
    names
      .split(",")
      .map((name) => name.replace(/^\s*type\s/, "").trim())
      .filter((name) => name !== "")
      .map((name) => ({ name, file: join(dirname(file), from.replace(/\.[jt]s$/, ".d.ts")) })),
  );
}

interface Entry {
  readonly name: string;
  readonly kind: string;
  readonly doc: string;
  readonly code: string;
}

function entryOf({ name, file }: Exported): Entry {
  for (const [whole, doc = "", kind, found] of readFileSync(file, "utf8").matchAll(DECLARATIONS)) {
    if (found !== name) continue;
    const code = whole.slice(whole.indexOf("export ")).replace(/^export (declare )?/, "");
    return { name, kind, doc: proseOf(doc), code };
  }
  throw new Error(`${file} declares no ${name}`);
}

/** A docstring as Markdown: its tags as a list. */
function proseOf(doc: string): string {
  const lines = doc.split("\n").map((line) => line.replace(/^\s*\* ?/, "").trimEnd());
  const tagged = lines
    .join("\n")
    .trim()
    .replace(/^@param (\w+) /gm, "- `$1`: ")
    .replace(/^@(returns|throws) (?:\{(\w+)\} )?/gm, (_, tag: string, type?: string) =>
      type === undefined ? `- ${tag} ` : `- ${tag} \`${type}\` `,
    );
  return tagged.startsWith("- ") ? tagged : tagged.replace(/\n+- /, "\n\n- ");
}

function page(entries: readonly Entry[]): string {
  const sections = [...new Set(KINDS.map(([, title]) => title))].map((title) => {
    const kinds: readonly string[] = KINDS.filter((each) => each[1] === title).map(([kind]) => kind);
    const parts = entries
      .filter(({ kind }) => kinds.includes(kind))
      .sort((a, b) => (a.name < b.name ? -1 : 1))
      .map(
        ({ name, doc, code }) =>
          `### ${name}\n\n${doc === "" ? "" : `${doc}\n\n`}\`\`\`ts\n${code}\n\`\`\`\n`,
      );
    return parts.length === 0 ? "" : `## ${title}\n\n${parts.join("\n")}`;
  });
  const intro = "Made from the docstrings when the package was built. `synprobe help library` has examples.";
  return `# synprobe: the library\n\n${intro}\n\n${sections.filter((text) => text !== "").join("\n")}`;
}

writeFileSync(join(DIST, "API.md"), page(exportsOf(join(DIST, "index.d.ts")).map(entryOf)));
