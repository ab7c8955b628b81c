/** The package as npm makes and installs it: nothing in it that is not needed, nothing missing, and it runs. */
import { execFileSync, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join, normalize } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ROOT, run } from "./cli/process.ts";
import { ALL, everyday } from "./everyday.ts";
import { skipping } from "./lab/netns.ts";

const manifest = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));

interface Packed {
  readonly filename: string;
  readonly size: number;
  readonly unpackedSize: number;
  readonly files: readonly { readonly path: string; readonly mode: number }[];
}

/** Packs what has been built; npm 11 and earlier and later ones print an array or an object of packages. */
function pack(...args: string[]): Packed {
  const options = ["pack", "--ignore-scripts", "--json", ...args];
  const text = execFileSync("npm", options, {
    cwd: ROOT,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [packed] = Object.values(JSON.parse(text) as Record<string, Packed>);
  return packed;
}

const place = mkdtempSync(join(tmpdir(), "synprobe-package-"));
afterAll(() => rmSync(place, { recursive: true, force: true }));
const packed = pack("--pack-destination", place);

describe("the package", () => {
  const paths = new Set(packed.files.map(({ path }) => path));

  it("has documents, the schemas, and what was built: no source, no test, no file of the bench", () => {
    const built = [...paths].filter((path) => path.startsWith("dist/"));
    const notes = [...paths].filter((path) => path.startsWith("native-notes/"));
    for (const path of notes) expect(path).toMatch(/^native-notes\/[a-z-]+\.md$/);
    // npm packs the README of every folder on the way to a file.
    const heads = [...paths].filter((path) => /^src\/([a-z]+\/)*README\.md$/.test(path));
    const rest = [...paths].filter((path) => ![built, notes, heads].some((known) => known.includes(path)));
    expect(rest.sort()).toEqual([
      "LICENSE",
      "README.md",
      "package.json",
      "src/cli/commands/path.schema.json",
      "src/cli/options/config.schema.json",
      "src/lab/lab.schema.json",
      "src/policy/formats/check.schema.json",
      "src/policy/policy.schema.json",
      "src/report/formats/ndjson.schema.json",
      "src/runtime/watch/grafana-dashboard.json",
    ]);
    const kinds = [
      /^dist\/(synprobe|worker|sender)\.cjs$/,
      /^dist\/(synprobe|probe|frames|more|check|connect|worker|sender)\.code$/,
      /^dist\/commands\/(demo|diff|earlier-results|fleet-run|history|lab|path|report|store-reporter|watch)\.cjs$/,
      /^dist\/bin\/synprobe$/,
      /^dist\/commands\/fleet-run\.LICENSES$/,
      // What the page of `report` carries, and whose it is.
      /^dist\/commands\/(table\.js|page\.css|(echarts|zrender)\.(LICENSE|NOTICE))$/,
      /^dist\/(synprobe\.1|API\.md|sbom\.cdx\.json)$/,
      /^dist\/topics\/(commands\/)?[a-z-]+\.md$/,
      /^dist\/((runtime|scan|link|socket|wire)\/([a-z]+\/)?)?[a-z0-9-]+\.(js|d\.ts)$/,
    ];
    for (const path of built)
      expect(
        kinds.some((kind) => kind.test(path)),
        path,
      ).toBe(true);
  });

  it("has each module that the library or its types can come to, no other, and names what they need", () => {
    const reached = new Set<string>();
    const needed = new Set<string>();
    const visit = (path: string): void => {
      if (reached.has(path)) return;
      reached.add(path);
      expect(paths, path).toContain(path);
      const text = readFileSync(join(ROOT, path), "utf8").replace(/\/\*[\s\S]*?\*\//g, "");
      for (const [, specifier] of text.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*"([^"\s]+)"/g)) {
        if (specifier.startsWith("node:")) continue;
        const [name] = /^(@[^/]+\/)?[^/]+/.exec(specifier) ?? [];
        if (!specifier.startsWith(".")) needed.add(name ?? specifier);
        else {
          const target = normalize(join(dirname(path), specifier));
          if (path.endsWith(".d.ts")) visit(target.replace(/\.[jt]s$/, ".d.ts"));
          else visit(target);
        }
      }
    };
    for (const path of [
      "dist/index.js",
      "dist/runtime/run/worker.js",
      "dist/runtime/run/sender.js",
      "dist/index.d.ts",
    ])
      visit(path);
    const modules = [...paths].filter((path) => /^dist\/(?!commands\/).*\.js$/.test(path));
    // A module of types alone is an empty one for those who run it.
    const isReached = (path: string): boolean =>
      [path, path.replace(/js$/, "d.ts")].some((one) => reached.has(one));
    expect(modules.filter((path) => !isReached(path))).toEqual([]);
    for (const name of needed) expect(Object.keys(manifest.dependencies)).toContain(name);
    expect(needed).toContain("koffi");
  });

  it("has what package.json names, the program executable", () => {
    const named = [
      manifest.bin.synprobe,
      ...manifest.man,
      ...Object.values(manifest.exports["."]),
      ...["ndjson", "lab", "config"].map((name) => manifest.exports[`./${name}.schema.json`]),
    ].map((path) => normalize(String(path)));
    for (const path of named) expect(paths).toContain(path);
    expect((packed.files.find(({ path }) => path === manifest.bin.synprobe)?.mode ?? 0) & 0o111).toBe(0o111);
  });

  it("is small", () => {
    expect(packed.size).toBeLessThan(2_000_000);
    expect(packed.unpackedSize).toBeLessThan(6_000_000);
  });
});

describe("packing", () => {
  /** Copies what is in the repository, builds and packs it there. @returns the tarball */
  async function packCopy(folder: string, umask: string): Promise<string> {
    const script = `umask ${umask} && mkdir -p "$2" && cd "$1" && git ls-files -co --exclude-standard | tar -cf - -T - | tar -xf - -C "$2" &&
      ln -s "$1/node_modules" "$2/node_modules" && cd "$2" && npm pack --silent`;
    const options = { env: { ...process.env } as Record<string, string>, limitMs: 150_000 };
    const { status, stdout, stderr } = await run(["sh", "-c", script, "sh", ROOT, folder], options);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    return join(folder, stdout.trim().split("\n").at(-1) ?? "");
  }

  it.runIf(ALL)(
    "gives the same bytes wherever and whenever it is done, with a bill of all that is shipped",
    async () => {
      const copies = mkdtempSync(join(tmpdir(), "synprobe-pack-"));
      try {
        const first = await packCopy(join(copies, "a"), "022");
        const second = await packCopy(join(copies, "another/and/deeper"), "077");
        const unpack = (file: string, name: string): Buffer =>
          execFileSync("tar", ["-xOf", file, `package/${name}`], { maxBuffer: 1 << 26 });
        const list = (file: string): string => execFileSync("tar", ["-tvf", file], { encoding: "utf8" });
        expect(list(second)).toBe(list(first));
        for (const [name] of list(first).matchAll(/(?<=package\/).*$/gm))
          expect(unpack(second, name).equals(unpack(first, name)), name).toBe(true);
        expect(readFileSync(second).equals(readFileSync(first))).toBe(true);

        const bill = JSON.parse(unpack(first, "dist/sbom.cdx.json").toString());
        expect(bill).toMatchObject({ bomFormat: "CycloneDX", metadata: { component: { name: "synprobe" } } });
        const listed = bill.components.map(({ name }: { name: string }) => name);
        const shipped = [...Object.keys(manifest.dependencies), "raw-socket", "echarts", "zrender"];
        for (const name of shipped) expect(listed).toContain(name);
        for (const name of ["typescript", "vitest", "esbuild"]) expect(listed).not.toContain(name);
      } finally {
        rmSync(copies, { recursive: true });
      }
    },
    300_000,
  );
});

const has = (tool: string): boolean => {
  try {
    execFileSync("sh", ["-c", `command -v ${tool}`], { stdio: "pipe" });
    return true;
  } catch {
    return false;
  }
};

const lacking = ["g++", "make", "python3"].filter((tool) => !has(tool));

/** Why nothing can be installed here; undefined when it can. */
function installProblem(): string | undefined {
  try {
    const { koffi } = manifest.dependencies;
    execFileSync("npm", ["view", `koffi@${koffi}`, "version"], { stdio: "pipe", timeout: 20_000 });
    return undefined;
  } catch {
    return "no npm registry can be reached";
  }
}

describe.skipIf(skipping("installing the package", installProblem()))("npm install -g", () => {
  const prefix = join(place, "prefix");
  beforeAll(() => {
    mkdirSync(prefix);
    // Compiling takes seconds. npm 11 wants to be told what may be compiled, and warns when it is not; npm 10 ignores the option.
    const optional = everyday("--omit=optional", "--allow-scripts=raw-socket");
    const options = ["install", "-g", "--prefix", prefix, optional, "--no-audit", "--no-fund"];
    execFileSync("npm", [...options, join(place, packed.filename)], {
      cwd: place,
      stdio: "pipe",
      timeout: 180_000,
    });
  }, 200_000);

  it("puts a program on the path, and its manual", async () => {
    const { status, stdout, stderr } = await run([join(prefix, "bin/synprobe"), "--version"]);
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: `${manifest.version}\n`, stderr: "" });
    expect(readFileSync(join(prefix, "share/man/man1/synprobe.1"), "utf8")).toMatch(/^\.TH SYNPROBE 1/m);
  });

  it.runIf(ALL)(
    "which probes, as does a program that imports the library, with raw-socket compiled",
    async ({ skip }) => {
      const why =
        lacking.length > 0 ? `${lacking.join(", ")} missing` : "it does not compile for this Node here";
      if (skipping("the package with raw-socket", existsSync(addon()) ? undefined : why)) skip();
      await probesLoopback();
    },
  );

  it("which probes, as does a program that imports the library, without raw-socket, as where it cannot be compiled", async () => {
    rmSync(dirname(dirname(dirname(addon()))), { recursive: true, force: true });
    await probesLoopback();
  });

  /** The addon of the package's own, not the checkout's. */
  function addon(): string {
    return join(prefix, "lib/node_modules/synprobe/node_modules/raw-socket/build/Release/raw.node");
  }

  async function probesLoopback(): Promise<void> {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const user = join(prefix, "lib/user.mjs");
    writeFileSync(
      user,
      `import { probe } from "synprobe";
      import schema from "synprobe/ndjson.schema.json" with { type: "json" };
      const { state } = await probe("127.0.0.1", ${port}).catch(({ code }) => ({ state: code }));
      console.log(state, typeof schema.$schema);`,
    );
    const byProgram = await run([join(prefix, "bin/synprobe"), `127.0.0.1:${port}`, "-oJ", "-"]);
    const byUser = await run([process.execPath, "--no-warnings", user]);
    server.close();
    const isRoot = process.getuid?.() === 0;
    if (isRoot) {
      expect(byProgram).toMatchObject({ status: 0, stderr: "" });
      expect(JSON.parse(byProgram.stdout.split("\n")[0])).toMatchObject({ port, state: "open" });
    } else expect(byProgram.status).toBe(3);
    expect(byUser).toMatchObject({ status: 0, stderr: "" });
    expect(byUser.stdout).toBe(`${isRoot ? "open" : "ERR_PRIVILEGE"} string\n`);
  }
});

const NO_SYSTEMD = has("systemd-analyze") ? undefined : "systemd-analyze is not installed";

describe("the systemd units of native-notes/deployment.md and of watch", () => {
  const units = ["native-notes/deployment.md", "src/cli/help/topics/commands/watch.md"].flatMap((page) => {
    const text = readFileSync(join(ROOT, page), "utf8");
    return Array.from(
      text.matchAll(/^```(?:ini)?\n((?:# \/etc\/|\[Service\])[\s\S]*?)^```$/gm),
      ([, unit]) => unit,
    );
  });

  it("give one capability, and not root, and take the status of SIGTERM for a clean end", () => {
    expect(units).toHaveLength(3);
    for (const unit of units) {
      expect(unit).toMatch(/^AmbientCapabilities=CAP_NET_RAW$/m);
      expect(unit).toMatch(/^DynamicUser=yes$/m);
      // Of what ends with a status systemd takes 0 alone (systemd.service(5)).
      expect(unit).toMatch(/^SuccessExitStatus=143$/m);
    }
    for (const unit of units.slice(0, 2)) expect(unit).toMatch(/^CapabilityBoundingSet=CAP_NET_RAW$/m);
  });

  it.skipIf(skipping("the units", NO_SYSTEMD))("are some that systemd takes, and a wrong one is not", () => {
    const folder = mkdtempSync(join(tmpdir(), "synprobe-unit-"));
    const verify = (text: string): string => {
      const file = join(folder, "synprobe.service");
      writeFileSync(file, text.replace(/\/usr\/(?:local\/)?bin\/synprobe/, process.execPath));
      return spawnSync("systemd-analyze", ["verify", "--man=no", file], { encoding: "utf8" }).stderr;
    };
    for (const unit of units) expect(verify(unit)).toBe("");
    expect(verify(units[0].replace("Ambient", "Ambience"))).toMatch(/Unknown key/);
    rmSync(folder, { recursive: true });
  });
});
