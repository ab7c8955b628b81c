/**
 * A program in layers: files that are loaded one after the other, as far as a run needs them. A layer has a module that is in an
 * earlier one from there, and what it imports when it runs, `await import(...)`, from whichever has it. bundle.ts says which layers
 * there are, start.ts loads them. Tested by test/cli/start.test.ts.
 */
import { join, relative } from "node:path";
import { type BuildOptions, build, type Plugin } from "esbuild";

export interface Layer {
  readonly name: string;
  /** The modules that others take from it: paths from src. */
  readonly modules: readonly string[];
  /** What is in the layers before it. */
  readonly earlier: ReadonlySet<string>;
  /** The module that runs when it is loaded. */
  readonly main?: string;
}

export interface LayerEntries {
  readonly name: string;
  readonly entries: readonly string[];
  readonly main?: string;
}

/** Namespaces of modules that are taken from another layer: imported statically, or when the code runs. */
const EARLIER = "earlier";
const LATER = "later";
const TAKEN = new RegExp(`^(?:${EARLIER}|${LATER}):`);

/** The names that a module exports. */
async function exportsOf(path: string): Promise<readonly string[]> {
  const { metafile } = await build({
    entryPoints: [path],
    format: "esm",
    outdir: "none",
    metafile: true,
    write: false,
  });
  return Object.values(metafile.outputs).flatMap(({ exports }) => exports);
}

/** Takes modules from other layers: all that are in earlier ones, and all that are imported when the code runs. */
export const ofLayers = (src: string, earlier: ReadonlySet<string>): Plugin => ({
  name: "layers",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^\..*\.ts$/ }, ({ path, resolveDir, kind }) => {
      const module = relative(src, join(resolveDir, path));
      if (kind === "dynamic-import") return { path: module, namespace: LATER };
      return earlier.has(module) ? { path: module, namespace: EARLIER } : undefined;
    });
    onLoad({ filter: /.*/, namespace: LATER }, ({ path }) => ({
      contents: `module.exports = later(${JSON.stringify(path)});`,
    }));
    onLoad({ filter: /.*/, namespace: EARLIER }, async ({ path }) => ({
      contents: `export const { ${(await exportsOf(join(src, path))).join(", ")} } = later(${JSON.stringify(path)});`,
    }));
  },
});

/** Puts modules into layers: each has what its entries import and no earlier one has, the last one also what nobody has. */
export async function layersOf(
  src: string,
  named: readonly LayerEntries[],
  options: BuildOptions,
): Promise<readonly Layer[]> {
  /** The modules of a layer, and those that it takes from others. */
  async function look(entries: readonly string[], earlier: ReadonlySet<string>) {
    const { metafile } = await build({
      ...options,
      stdin: { contents: entries.map((path) => `require("./${path}");`).join(""), resolveDir: src },
      plugins: [ofLayers(src, earlier), ...(options.plugins ?? [])],
      absWorkingDir: src,
      metafile: true,
      write: false,
    });
    const inputs = Object.keys(metafile.inputs);
    return {
      own: inputs.filter((path) => !/^\.\.|:|^<stdin>$/.test(path)),
      taken: inputs.filter((path) => TAKEN.test(path)).map((path) => path.replace(TAKEN, "")),
    };
  }
  const earlier = new Set<string>();
  const taken = new Set<string>();
  const looked: { layer: LayerEntries; own: readonly string[]; earlier: ReadonlySet<string> }[] = [];
  for (const layer of named) {
    const before = new Set(earlier);
    const isLast = layer === named.at(-1);
    let entries = layer.entries;
    let found = await look(entries, before);
    for (;;) {
      for (const path of found.taken) taken.add(path);
      const missing = [...taken].filter((path) => !before.has(path) && !found.own.includes(path));
      if (!isLast || missing.length === 0) break;
      entries = [...entries, ...missing];
      found = await look(entries, before);
    }
    for (const path of found.own) earlier.add(path);
    looked.push({ layer, own: found.own, earlier: before });
  }
  return looked.map(({ layer: { name, main }, own, earlier }) => ({
    name,
    modules: own.filter((path) => taken.has(path)),
    earlier,
    ...(main === undefined ? {} : { main }),
  }));
}
