/**
 * Part of the build, not of what it builds: `node --import tsx src/build/bundle.ts` makes dist/synprobe.cjs, dist/worker.cjs and
 * dist/sender.cjs. Each is start.ts, with the program in a file beside it. synprobe itself is in layers (layers.ts), and what only some
 * commands need is in files of its own, dist/commands/: a start takes as long as what it loads is large.
 */
import { createHash } from "node:crypto";
import { copyFileSync, cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type BuildOptions, build, type Metafile, type Plugin } from "esbuild";
import koffi from "koffi";
import { type Layer, type LayerEntries, layersOf, ofLayers } from "./layers.ts";

const SRC = fileURLToPath(new URL("..", import.meta.url));
const DIST = fileURLToPath(new URL("../../dist", import.meta.url));

/** commander can start subcommands as programs of their own. None of ours is one, and what it would take loads slowly. */
const NO_PROGRAMS: Plugin = {
  name: "no-programs",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^node:child_process$/ }, ({ importer }) =>
      /\/node_modules\/commander\//.test(importer) ? { path: "none", namespace: "no-programs" } : undefined,
    );
    onLoad({ filter: /^none$/, namespace: "no-programs" }, () => ({ contents: "" }));
  },
};

/** picocolors asks whether standard output is a terminal when it is loaded, which takes a while; nobody asks it for the answer. */
const NO_TERMINAL: Plugin = {
  name: "no-terminal",
  setup({ onLoad }) {
    onLoad({ filter: /\/picocolors\.js$/ }, ({ path }) => ({
      contents: readFileSync(path, "utf8").replace("(p.stdout || {}).isTTY", "false"),
    }));
  },
};

/** Parts of BullMQ that a fleet has no use for: a third of it. */
const NO_USE =
  /\/(bullmq\/dist\/esm\/(postgres\/.*|scripts\/(addJobScheduler|updateJobScheduler|addParentJob|addPrioritizedJob|addDelayedJob|cleanJobsInSet|relayPublish|moveToWaitingChildren|changePriority|changeDelay|removeJobScheduler|removeUnprocessedChildren|removeChildDependency|reprocessJob|retryJob|moveJobsToWait|paginate)-\d+)|cron-parser\/.*)\.js$/;
const SMALL_QUEUE: Plugin = {
  name: "small-queue",
  setup({ onLoad }) {
    onLoad({ filter: NO_USE }, () => ({ contents: "module.exports = {};" }));
  },
};

/** What is taken of modules of Node's that take milliseconds to load, and that few runs need: each is loaded at the first call. */
const LATE: Readonly<Record<string, readonly string[]>> = {
  "node:crypto": ["createHash", "createHmac", "randomBytes", "timingSafeEqual"],
  "node:tty": ["isatty"],
};
const LATE_MODULES: Plugin = {
  name: "late-modules",
  setup({ onResolve, onLoad }) {
    // Its own is as good as one that is made for the same folder.
    onResolve({ filter: /^node:module$/ }, () => ({ path: "own-require", namespace: "late-modules" }));
    onResolve({ filter: /^node:(crypto|tty)$/ }, ({ path, namespace }) =>
      namespace === "late-modules" ? { path, external: true } : { path, namespace: "late-modules" },
    );
    onLoad({ filter: /.*/, namespace: "late-modules" }, ({ path }) => ({
      contents:
        LATE[path]
          ?.map((name) => `export const ${name} = (...given) => require("${path}").${name}(...given);`)
          .join("\n") ?? "export const createRequire = () => require;",
    }));
  },
};

/**
 * koffi's prebuilt binary itself: what koffi and `require` do to find it takes five times as long as to load it. Where it is not in its
 * usual place, or not for this C library, koffi finds another, or builds one's error.
 */
const KOFFI_BINARY: Plugin = {
  name: "koffi-binary",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^koffi$/ }, () => ({ path: "koffi", namespace: "koffi-binary" }));
    onLoad({ filter: /.*/, namespace: "koffi-binary" }, () => ({
      resolveDir: `${SRC}link/sys`,
      contents: `
        const { findOwn, loadOwn } = require("./own-module.ts");
        function load() {
          const { arch } = process;
          const binaries = "@koromix/koffi-linux-" + arch;
          try {
            const own = { exports: {} };
            process.dlopen(own, findOwn(binaries + "/linux_" + arch + "/koffi.node"));
            const binary = own.exports;
            if (binary.version === ${JSON.stringify(koffi.version)}) return binary;
          } catch {}
          // It would look for them in places that are not ours.
          if (findOwn(binaries) === undefined && findOwn("koffi/build") === undefined)
            throw Object.assign(new Error("koffi has no binary for " + arch), { code: "MODULE_NOT_FOUND" });
          return loadOwn("koffi");
        }
        module.exports = load();`,
    }));
  },
};

/** For `npm run coverage`, which has to find the source of what ran again. */
const { SYNPROBE_COVERAGE } = process.env;
const TRACED = SYNPROBE_COVERAGE !== undefined;

const SETTINGS = {
  bundle: true,
  // Its modules as modules, of which what is not used is left out: it loads in two thirds of the time.
  alias: { yaml: `${SRC}../node_modules/yaml/browser/dist/index.js` },
  minify: !TRACED,
  sourcemap: TRACED ? "inline" : false,
  platform: "node",
  target: "node20",
  format: "cjs",
  charset: "ascii",
  // One of the parsers has no other build that can be bundled.
  mainFields: ["module", "main"],
  logLevel: "warning",
} as const satisfies BuildOptions;

/** @returns the digest of its code */
async function bundle({ name, modules, earlier, main }: Layer): Promise<string> {
  const getters = modules.map((path) => `get ${JSON.stringify(path)}() { return require("./${path}"); }`);
  const { outputFiles } = await build({
    ...PROGRAM,
    stdin: {
      contents: `module.exports = { ${getters.join(", ")} }; ${main === undefined ? "" : `require("./${main}");`}`,
      resolveDir: SRC,
    },
    plugins: [ofLayers(SRC, earlier), ...PLUGINS],
    outfile: `${DIST}/${name}.code`,
    write: false,
  });
  const [{ text }] = outputFiles;
  writeFileSync(`${DIST}/${name}.code`, text);
  return createHash("sha256").update(text).digest("hex").slice(0, 32);
}

const PLUGINS: readonly Plugin[] = [NO_PROGRAMS, NO_TERMINAL, LATE_MODULES, KOFFI_BINARY];
const PROGRAM = {
  ...SETTINGS,
  define: { "import.meta.url": "meta.url", THREAD_SUFFIX: '".cjs"' },
  banner: {
    js: '(function(require,__filename,module,later){"use strict";const meta={get url(){return require("node:url").pathToFileURL(__filename).href}};',
  },
  footer: { js: "})" },
} as const satisfies BuildOptions;

/** Commands in files of their own; and what the page of `report` carries, which runs in browsers, with its charts' licences. */
async function bundleCommands(): Promise<void> {
  const { metafile } = await build({
    ...SETTINGS,
    metafile: true,
    entryPoints: APART.map((path) => `${SRC}cli/${path}.ts`),
    outbase: `${SRC}cli`,
    entryNames: "[name]",
    outdir: `${DIST}/commands`,
    outExtension: { ".js": ".cjs" },
    plugins: [KOFFI_BINARY, SMALL_QUEUE],
    define: { "import.meta.url": "moduleUrl" },
    banner: { js: 'const moduleUrl=require("node:url").pathToFileURL(__filename).href;' },
  });
  copyLicences(metafile, "fleet-run");
  // For the PATH of a lab's shell; npm has names of its own for what it installs.
  mkdirSync(`${DIST}/bin`, { recursive: true });
  writeFileSync(`${DIST}/bin/synprobe`, '#!/bin/sh\nexec node "$(dirname "$0")/../synprobe.cjs" "$@"\n', {
    mode: 0o755,
  });
  await build({
    entryPoints: [`${SRC}report/html/client/table.ts`, `${SRC}report/html/client/page.css`],
    bundle: true,
    minify: true,
    target: "es2022",
    format: "iife",
    outdir: `${DIST}/commands`,
    logLevel: "warning",
  });
  for (const [owner, file] of [
    ["echarts", "LICENSE"],
    ["echarts", "NOTICE"],
    ["zrender", "LICENSE"],
  ]) {
    copyFileSync(`${SRC}../node_modules/${owner}/${file}`, `${DIST}/commands/${owner}.${file}`);
  }
}

/** The licences of all packages that are built into a part, in one file beside it. */
function copyLicences({ outputs }: Metafile, part: string): void {
  const [, built] = Object.entries(outputs).find(([path]) => path.endsWith(`/${part}.cjs`)) ?? [];
  const folders = Object.keys(built?.inputs ?? {}).flatMap(
    (path) => /^.*node_modules\/(@[^/]+\/)?[^/]+/.exec(path)?.[0] ?? [],
  );
  const texts = [...new Set(folders)].sort().flatMap((folder) => {
    const file = readdirSync(folder).find((name) => /^licen[cs]e/i.test(name));
    return file === undefined
      ? []
      : [
          `${folder.replace(/^.*node_modules./, "")}\n\n${readFileSync(`${folder}/${file}`, "utf8").trim()}\n`,
        ];
  });
  writeFileSync(`${DIST}/commands/${part}.LICENSES`, texts.join("\n\n"));
}

/** What `loadApart` of cli/apart.ts loads. */
const APART = [
  "commands/demo",
  "commands/diff",
  "commands/history",
  "commands/lab",
  "commands/path",
  "commands/report",
  "commands/watch",
  "run/earlier-results",
  "../runtime/store/store-reporter",
  "run/fleet-run",
];

// Read by cli/help/topics.ts when somebody asks for help, from where they stand beside the program.
cpSync(`${SRC}cli/help/topics`, `${DIST}/topics`, { recursive: true });
await bundleCommands();
/** Each program's layers. Of synprobe: what every run needs, what a probe needs, what some do, and the rest. */
const PROGRAMS: Readonly<Record<string, readonly LayerEntries[]>> = {
  synprobe: [
    { name: "synprobe", entries: ["cli/main.ts"], main: "cli/main.ts" },
    // And what tells why nothing answered: no file may be left to be opened then.
    { name: "probe", entries: ["cli/run/probe.ts", "link/neighbour.ts"] },
    { name: "connect", entries: ["runtime/run/connects.ts", "link/connect/kernel-connector.ts"] },
    { name: "check", entries: ["cli/commands/check.ts"] },
    // What openPacketLinks of runtime/run/scan.ts loads.
    {
      name: "frames",
      entries: [
        "link/packet.ts",
        "runtime/run/both-links.ts",
        "runtime/run/worker-pool.ts",
        "runtime/system/garbage.ts",
        "runtime/system/inlining.ts",
      ],
    },
    { name: "more", entries: [] },
  ],
  worker: [{ name: "worker", entries: ["runtime/run/worker.ts"], main: "runtime/run/worker.ts" }],
  sender: [{ name: "sender", entries: ["runtime/run/sender.ts"], main: "runtime/run/sender.ts" }],
};
const digests: Record<string, string> = {};
const holders: Record<string, Record<string, string>> = {};
for (const [program, named] of Object.entries(PROGRAMS)) {
  const layers = await layersOf(SRC, named, { ...PROGRAM, plugins: [...PLUGINS] });
  for (const layer of layers) digests[layer.name] = await bundle(layer);
  holders[program] = Object.fromEntries(
    layers.flatMap(({ name, modules }) => modules.map((path) => [path, name])),
  );
}
for (const name of Object.keys(PROGRAMS)) {
  await build({
    ...SETTINGS,
    entryPoints: [`${SRC}build/start.ts`],
    outfile: `${DIST}/${name}.cjs`,
    define: { DIGESTS: JSON.stringify(digests), HOLDERS: JSON.stringify(holders[name]) },
  });
}
