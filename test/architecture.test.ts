/**
 * The house rules that a machine can hold: which folder may import which, where native code, clocks and the process may be
 * touched, how large files and folders grow, that each says what it is and is tested, and that the top level stays as it is.
 */
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { VERSION } from "../src/cli/run/terminal.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const SRC = join(ROOT, "src");
const FILES = readdirSync(SRC, { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".ts"))
  .map((file) => ({ file, text: readFileSync(join(SRC, file), "utf8") }));

/** Every folder of src/ with code in it, and the files that are its own. Pages of help are their own heads. */
const FOLDERS = ["", ...readdirSync(SRC, { recursive: true, encoding: "utf8" })]
  .filter((path) => statSync(join(SRC, path)).isDirectory())
  .map((folder) => ({
    folder,
    files: readdirSync(join(SRC, folder), { withFileTypes: true }).flatMap((entry) =>
      entry.isFile() ? [entry.name] : [],
    ),
  }))
  // Topics are text for readers already.
  .filter(({ files }) => files.some((file) => !file.endsWith(".md")) || files.length === 0);

const folderOf = (file: string): string => (file.includes("/") ? file.split("/")[0] : "");

/** The rooms of a folder, in order: each may import those before it, and itself. */
const ROOMS: Readonly<Record<string, readonly string[]>> = {
  scan: ["targets", "probe", "measure", "congestion", "hosts", "engine", "path"],
  runtime: [
    "system",
    "plan",
    "store",
    "results",
    "journal",
    "run",
    "connect",
    "trace",
    "path",
    "diagnose",
    "lab",
    "api",
    "watch",
    "fleet",
  ],
  report: ["", "formats", "read", "html"],
  policy: ["", "formats"],
  cli: ["", "options", "run", "commands", "help"],
};

/** `room` of `folder/room/file.ts`; empty for `folder/file.ts`. */
const roomOf = (file: string): string => file.split("/").slice(1, -1)[0] ?? "";

/** What every folder may import. */
const SHARED = ["errors.ts", "suggest.ts"];

/** What each folder may import, besides itself, what is shared, and Node. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  wire: [],
  socket: ["wire"],
  scan: ["socket", "wire"],
  link: ["socket", "wire"],
  lab: ["link", "socket", "wire"],
  report: ["scan"],
  policy: ["report", "scan", "wire"],
  runtime: ["policy", "scan", "link", "report", "lab", "socket", "wire"],
  cli: ["runtime", "policy", "scan", "link", "report", "lab", "socket", "wire"],
  build: [],
  "": ["runtime", "scan", "link", "report", "lab", "socket", "wire"],
};

/** Module specifiers of a file, static and dynamic. */
const importsOf = (text: string): string[] =>
  [...text.matchAll(/(?:from|import)\s*\(?\s*"([^"]+)"/g)].map(([, specifier]) => specifier);

/** Code without comments and strings' contents. */
const codeOf = (text: string): string =>
  text
    .replace(/\/\*[\s\S]*?\*\//g, "")
    .replace(/(^|[^:"'`])\/\/.*$/gm, "$1")
    .replace(/"(?:[^"\\\n]|\\.)*"/g, '""');

describe("imports", () => {
  it.each(FILES)("of $file run one way", ({ file, text }) => {
    const folder = folderOf(file);
    expect(Object.keys(MAY_IMPORT)).toContain(folder);
    for (const specifier of importsOf(text).filter((s) => s.startsWith("."))) {
      const target = normalize(join(dirname(file), specifier));
      if (SHARED.includes(target) || folderOf(target) === folder) continue;
      expect(MAY_IMPORT[folder], `${file} imports ${target}`).toContain(folderOf(target));
      // report/ sees results, not how they come about.
      if (folder === "report") expect(target).toMatch(/^scan\/probe\/result(-columns)?\.ts$/);
    }
  });

  it.each(FILES.filter(({ file }) => folderOf(file) in ROOMS && file !== "cli/main.ts"))(
    "of $file keep to the order of rooms",
    ({ file, text }) => {
      const folder = folderOf(file);
      const rooms = ROOMS[folder];
      expect(rooms).toContain(roomOf(file));
      for (const specifier of importsOf(text).filter((s) => s.startsWith("."))) {
        const target = normalize(join(dirname(file), specifier));
        if (folderOf(target) !== folder || !target.endsWith(".ts")) continue;
        const [from, to] = [file, target].map((each) => rooms.indexOf(roomOf(each)));
        expect(to, `${file} imports ${target}`).toBeLessThanOrEqual(from);
      }
    },
  );

  it("of koffi and raw-socket stand in link/sys only", () => {
    for (const { file, text } of FILES) {
      // The build names them, to leave them out of the bundle.
      if (file === "build/bundle.ts") continue;
      const native = /"(koffi|raw-socket)"/.test(text.replace(/\/\*[\s\S]*?\*\//g, ""));
      if (native) expect(file).toMatch(/^link\/sys\//);
    }
    expect(FILES.some(({ text }) => /"koffi"/.test(text))).toBe(true);
  });

  it("name files by their real ending, so that one loader or another finds them", () => {
    for (const { file, text } of FILES) {
      for (const specifier of importsOf(text).filter((s) => s.startsWith("."))) {
        expect(specifier, file).toMatch(/\.ts$/);
      }
    }
  });
});

describe("the import graph", () => {
  it("has no circles", () => {
    const graph = new Map(
      FILES.map(({ file, text }) => [
        file,
        importsOf(text)
          .filter((s) => s.startsWith(".") && s.endsWith(".ts"))
          .map((s) => normalize(join(dirname(file), s))),
      ]),
    );
    const done = new Set<string>();
    const circles: string[] = [];
    const visit = (file: string, way: readonly string[]): void => {
      if (way.includes(file)) {
        circles.push([...way.slice(way.indexOf(file)), file].join(" -> "));
        return;
      }
      if (done.has(file)) return;
      for (const next of graph.get(file) ?? []) visit(next, [...way, file]);
      done.add(file);
    };
    for (const file of graph.keys()) visit(file, []);
    expect(circles).toEqual([]);
  });
});

describe("clocks, timers, chance and the process", () => {
  const FORBIDDEN =
    /\b(Date\.now|new Date\(\)|performance\.now|Math\.random|setTimeout|setInterval|setImmediate|process\.)/;
  /** Its immediate waits for nothing: it is a way back into Node. */
  const MAY = ["link/sys/reactions.ts"];
  it.each(FILES.filter(({ file }) => !/^(runtime|cli|build)\//.test(file) && !MAY.includes(file)))(
    "are not touched by $file",
    ({ text }) => {
      expect(FORBIDDEN.exec(codeOf(text))?.[0]).toBeUndefined();
    },
  );

  it("exit statuses are set in cli/ alone", () => {
    for (const { file, text } of FILES) {
      if (/process\.exit/.test(codeOf(text))) expect(file).toMatch(/^cli\//);
    }
  });
});

describe("the code", () => {
  it.each(FILES)("of $file says at its head what lives there", ({ text }) => {
    expect(text.replace(/^#!.*\n/, "")).toMatch(/^\/\*\*/);
  });

  it("has no default exports, enums or any", () => {
    for (const { file, text } of FILES) {
      expect(codeOf(text), file).not.toMatch(/export default|\benum\s+\w+\s*\{|:\s*any\b|<any>|\bas any\b/);
    }
  });
});

/** Lines of a file, and files of a folder, that a reader can still take in. */
const LONGEST = 450;
const MOST_FILES = 20;
const MAY_BE_LONG = ["socket/control-block.ts"];
const linesIn = (text: string): number => text.split("\n").length - 1;

describe("sizes", () => {
  it.each(FILES.filter(({ file }) => !MAY_BE_LONG.includes(file)))(
    "$file is no longer than a reader can take in",
    ({ text }) => {
      expect(linesIn(text)).toBeLessThanOrEqual(LONGEST);
    },
  );

  it.each(FOLDERS)("$folder has files that can be counted at a glance", ({ files }) => {
    expect(files.filter((file) => file !== "README.md").length).toBeLessThanOrEqual(MOST_FILES);
  });
});

describe("a folder", () => {
  it.each(FOLDERS)("$folder says in ten lines what lives there", ({ folder, files }) => {
    expect(files).toContain("README.md");
    const [head] = readFileSync(join(SRC, folder, "README.md"), "utf8").split(/^## /m);
    expect(head).toMatch(/^# \S/);
    expect(head.match(/^.+$/gm)?.length).toBeLessThanOrEqual(10);
    expect(head.length).toBeGreaterThan(200);
  });
});

const TESTS = readdirSync(join(ROOT, "test"), { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".ts"))
  .map((file) => ({ file, text: readFileSync(join(ROOT, "test", file), "utf8") }));

describe("tests", () => {
  it.each(TESTS)("test/$file says at its head what it guards", ({ text }) => {
    expect(text).toMatch(/^\/\*\*/);
  });

  /** The tests that a head names after "Tested by". */
  const namedIn = (head: string): string[] => {
    const [, words = ""] = /\bTested by ([\s\S]*)/.exec(head.replace(/\n \* ?/g, " ")) ?? [];
    return words.match(/\btest\/[\w/-]+\.test\.ts/g) ?? [];
  };
  const headOf = (text: string): string => /\/\*\*[\s\S]*?\*\//.exec(text)?.[0] ?? "";
  const folderHead = (file: string): string => {
    const [head] = readFileSync(join(SRC, dirname(file), "README.md"), "utf8").split(/^## /m);
    return head;
  };

  it.each(FILES)("of $file have its path, or it says where they are", ({ file, text }) => {
    if (existsSync(join(ROOT, "test", file.replace(/\.ts$/, ".test.ts")))) return;
    // What is pure says so itself; elsewhere whole programs are tested, and the folder says by which tests.
    const isPure = /^(wire|socket|scan)\//.test(file);
    const named = namedIn(isPure ? headOf(text) : `${headOf(text)} ${folderHead(file)}`);
    expect(named).not.toEqual([]);
  });

  it("that a head names are there", () => {
    const heads = [
      ...FILES.map(({ file, text }) => ({ file, head: headOf(text) })),
      ...FOLDERS.map(({ folder }) => ({ file: folder, head: folderHead(join(folder, "any")) })),
    ];
    for (const { file, head } of heads) {
      for (const name of namedIn(head)) expect(existsSync(join(ROOT, name)), `${file}: ${name}`).toBe(true);
    }
  });
});

describe("the package", () => {
  const manifest = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));

  it("has one version", () => {
    expect(VERSION).toBe(manifest.version);
  });

  it.skipIf(!existsSync(join(ROOT, ".git")))("keeps its top level", () => {
    const tracked = execFileSync("git", ["ls-files"], { cwd: ROOT, encoding: "utf8" }).trim().split("\n");
    const top = new Set(tracked.map((file) => file.split("/")[0]).filter((name) => !name.startsWith(".")));
    const allowed = [
      "LICENSE",
      "README.md",
      "native-notes",
      "package-lock.json",
      "package.json",
      "src",
      "test",
      "tsconfig.json",
    ];
    for (const name of top) expect(allowed).toContain(name);
  });

  it("names in README every dependency and why", () => {
    const readme = readFileSync(join(ROOT, "README.md"), "utf8");
    const built = readme.slice(readme.indexOf("## Built with"));
    for (const name of Object.keys({ ...manifest.dependencies, ...manifest.devDependencies })) {
      expect(built, name).toContain(`\`${name}\``);
    }
  });
});

describe("the library", () => {
  it("loads no native code and no command line at import", () => {
    const seen = new Set<string>();
    const visit = (file: string): void => {
      if (seen.has(file)) return;
      seen.add(file);
      const text = readFileSync(join(SRC, file), "utf8");
      for (const specifier of text.matchAll(/^(?:import|export) (?!type)[^;]*?from "(\.[^"]+)"/gm)) {
        visit(normalize(join(dirname(file), specifier[1])));
      }
    };
    visit("index.ts");
    expect([...seen].filter((file) => /^(link\/sys|cli)\//.test(file))).toEqual([]);
  });
});
