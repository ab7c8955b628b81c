/**
 * How the program starts: with the functions that its first run has compiled, and without them when they are not there, or anybody
 * but the owner of the code can have made them.
 */
import {
  chmodSync,
  chownSync,
  copyFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { Script } from "node:vm";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { VERSION } from "../../src/cli/run/terminal.ts";
import { MAIN, ROOT, run } from "./process.ts";

const PROGRAMS = ["synprobe", "worker", "sender"] as const;
/** All code: the programs' own, and synprobe's later layers. */
const CODES = [...PROGRAMS, "probe", "connect", "check", "frames", "more"] as const;
const fileOf = (program: string, kind: string): string => join(MAIN, "..", `${program}.${kind}`);

describe("the code", () => {
  it.each(CODES)("of %s is ASCII, as it is read", (program) => {
    expect(readFileSync(fileOf(program, "code")).every((byte) => byte < 0x80)).toBe(true);
  });
});

describe("the program starts", () => {
  let place: string;
  beforeEach(() => {
    place = mkdtempSync(join(tmpdir(), "synprobe-start-"));
    for (const name of PROGRAMS) copyFileSync(fileOf(name, "cjs"), join(place, `${name}.cjs`));
    for (const name of CODES) copyFileSync(fileOf(name, "code"), join(place, `${name}.code`));
    symlinkSync(join(ROOT, "node_modules"), join(place, "node_modules"));
    copyFileSync(join(ROOT, "package.json"), join(place, "package.json"));
  });
  afterEach(() => rmSync(place, { recursive: true }));

  const compiled = (): string[] => readdirSync(place).filter((name) => name.includes(".cache"));
  /** Of the program itself, or a later layer. */
  const cache = (layer = "synprobe"): string =>
    join(place, compiled().find((name) => name.startsWith(`${layer}.`)) ?? "none");
  const code = (layer = "synprobe"): string => join(place, `${layer}.code`);

  /** Compiled functions that are not the code's, though V8 takes them for it: it looks at the length alone. */
  function forge(layer = "synprobe"): Buffer {
    const genuine = readFileSync(code(layer), "latin1");
    const beginning = genuine.slice(0, genuine.indexOf("{") + 1);
    const altered = `${beginning}console.log("FORGED");return;`;
    const text = `${altered}${" ".repeat(genuine.length - altered.length - 2)}})`;
    expect(text.length).toBe(genuine.length);
    return new Script(text, { filename: code(layer) }).createCachedData();
  }

  async function expectVersion(...flags: string[]): Promise<void> {
    const { status, stdout, stderr } = await run([
      process.execPath,
      ...flags,
      join(place, "synprobe.cjs"),
      "--version",
    ]);
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: `${VERSION}\n`, stderr: "" });
  }

  it("without Node's modules that take milliseconds and that it does not need", async ({ skip }) => {
    const told = join(place, "told.cjs");
    writeFileSync(told, `process.on("exit", () => console.error(JSON.stringify(process.moduleLoadList)));`);
    // The first run makes the compiled functions, for which it loads more.
    await expectVersion();
    const program = `"${process.execPath}" --require "${told}" "${join(place, "synprobe.cjs")}"`;
    for (const asked of ["--version", "--dry-run 127.0.0.1:22", "127.0.0.1:1"]) {
      if (asked === "127.0.0.1:1" && process.getuid?.() !== 0) skip("probing needs root");
      // A shell's pipe: what Node makes for a child is a pair of sockets.
      const { stderr } = await run(["sh", "-c", `${program} ${asked} | cat >&2`]);
      const loaded: string[] = JSON.parse(stderr.split("\n").find((line) => line.startsWith("[")) ?? "");
      expect(loaded).toContain("NativeModule fs");
      expect(
        loaded.filter((name) => /^NativeModule (crypto|module|net|perf_hooks|stream|tty)$/.test(name)),
      ).toEqual([]);
    }
  });

  it("and makes the compiled functions of all programs when there are none", async () => {
    await expectVersion();
    expect(compiled()).toHaveLength(CODES.length);
    for (const name of compiled()) {
      expect(name).toMatch(new RegExp(`^(${CODES.join("|")})\\.[0-9a-f]{32}\\.${process.version}\\.cache$`));
      expect(statSync(join(place, name)).mode & 0o777).toBe(0o644);
      // A process of its own: the flags that V8 was started with count.
      const look = `const { readFileSync } = require("node:fs");
        const [code, cache] = process.argv.slice(1);
        const cachedData = readFileSync(cache);
        const script = new (require("node:vm").Script)(readFileSync(code, "latin1"), { filename: code, cachedData });
        console.log(script.cachedDataRejected);`;
      const files = [join(place, name.replace(/\..*/, ".code")), join(place, name)];
      expect(await run([process.execPath, "-e", look, ...files])).toMatchObject({ stdout: "false\n" });
    }
    const before = statSync(cache()).ino;
    await expectVersion();
    expect(statSync(cache()).ino).toBe(before);
  });

  it("and makes those anew that V8 does not take, unless it has flags itself", async () => {
    const flags = ["--stack-trace-limit=50"];
    await expectVersion(...flags);
    const first = statSync(cache()).ino;
    await expectVersion(...flags);
    expect(statSync(cache()).ino).toBe(first);
    await expectVersion();
    const second = statSync(cache()).ino;
    expect(second).not.toBe(first);
    await expectVersion(...flags);
    await expectVersion();
    expect(statSync(cache()).ino).toBe(second);
  });

  it("and leaves them as they are where the program has given V8 flags when a thread of it starts, as a large run does", async () => {
    await expectVersion();
    const inodes = () => compiled().map((name) => statSync(join(place, name)).ino);
    const before = inodes();
    // A file: to Node -e is a flag of its own.
    const start = join(place, "start.cjs");
    const program = `const { Worker } = require("node:worker_threads");
      require("node:v8").setFlagsFromString("--max-inlined-bytecode-size=1000");
      for (const name of ["sender", "worker"]) {
        // A task that says nothing is its end.
        new Worker(__dirname + "/" + name + ".cjs").on("error", () => console.log(name)).postMessage({});
      }`;
    writeFileSync(start, program);
    const { stdout } = await run([process.execPath, start]);
    expect(stdout.split("\n").sort()).toEqual(["", "sender", "worker"]);
    expect(inodes()).toEqual(before);
    for (const layer of CODES) rmSync(cache(layer));
    await run([process.execPath, start]);
    expect(compiled()).toEqual([]);
  });

  it("with them: a forged one of the owner's own is believed, or the next tests would prove nothing", async () => {
    await expectVersion();
    writeFileSync(cache(), forge());
    expect(await run([process.execPath, join(place, "synprobe.cjs"), "--version"])).toMatchObject({
      stdout: "FORGED\n",
    });
  });

  it.each<[string, (forged: string) => void]>([
    ["that everybody may write", (forged) => chmodSync(forged, 0o666)],
    ["that a group may write", (forged) => chmodSync(forged, 0o664)],
    ["older than the code", (forged) => utimesSync(forged, 1, 1)],
    ["under the name that packages had", (forged) => renameSync(forged, join(place, "synprobe.cache"))],
    [
      "of other code",
      (forged) => renameSync(forged, forged.replace(/\.[0-9a-f]{32}\./, `.${"0".repeat(32)}.`)),
    ],
  ])("without forged ones %s", async (_what, change) => {
    await expectVersion();
    writeFileSync(cache(), forge());
    change(cache());
    await expectVersion();
  });

  it("a later layer with the same care", async () => {
    await expectVersion();
    const plan = [process.execPath, join(place, "synprobe.cjs"), "--dry-run", "127.0.0.1:1"];
    writeFileSync(cache("probe"), forge("probe"));
    expect((await run(plan)).stdout).toBe("FORGED\n");
    chmodSync(cache("probe"), 0o666);
    expect(await run(plan)).toMatchObject({ status: 0, stdout: expect.stringContaining("127.0.0.1") });
    for (const layer of CODES) rmSync(cache(layer));
    expect(await run(plan)).toMatchObject({ status: 0 });
    // Without its own alone.
    rmSync(cache("probe"));
    expect(await run(plan)).toMatchObject({ status: 0 });
    expect(cache("probe")).toBe(join(place, "none"));
  });

  it.skipIf(process.getuid?.() !== 0)("without those of another user", async () => {
    await expectVersion();
    writeFileSync(cache(), forge());
    chownSync(cache(), 65_534, 65_534);
    await expectVersion();
  });

  it.skipIf(process.getuid?.() !== 0)(
    "and makes none in a folder of another user, or of everybody",
    async () => {
      chownSync(place, 65_534, 65_534);
      await expectVersion();
      expect(compiled()).toEqual([]);
      chownSync(place, 0, 0);
      chmodSync(place, 0o777);
      await expectVersion();
      expect(compiled()).toEqual([]);
    },
  );

  it.skipIf(process.getuid?.() !== 0).each<[string, () => void]>([
    [
      "a folder and code that are all another user's",
      () => {
        for (const each of [place, ...CODES.map((name) => code(name))]) chownSync(each, 65_534, 65_534);
      },
    ],
    ["a folder of its own where one code is another user's", () => chownSync(code(), 65_534, 65_534)],
  ])("and makes none in %s", async (_what, change) => {
    change();
    await expectVersion();
    expect(compiled()).toEqual([]);
  });

  it("without, where they cannot be written", async () => {
    await expectVersion();
    const name = cache();
    for (const each of compiled()) rmSync(join(place, each));
    // A folder of that name cannot be replaced by a file.
    const block = `require("node:fs").mkdirSync(${JSON.stringify(`${name}/x`)}, { recursive: true });`;
    expect(await run([process.execPath, "-e", block])).toMatchObject({ status: 0 });
    await expectVersion();
    expect(compiled()).toEqual([basename(name)]);
  });

  it("with what is none", async () => {
    await expectVersion();
    for (const nonsense of ["nonsense", ""]) {
      writeFileSync(cache(), nonsense);
      await expectVersion();
    }
  });

  it("where koffi's binary is not in its usual place: koffi finds it", async () => {
    const preload = join(place, "elsewhere.cjs");
    writeFileSync(
      preload,
      `const module_ = require("node:module");
       const load = module_._load;
       const dlopen = process.dlopen;
       let asked = false;
       process.dlopen = function (...all) {
         if (!asked) throw new Error("not here");
         return dlopen.apply(this, all);
       };
       module_._load = function (name, ...rest) {
         if (/node_modules.koffi$/.test(name)) {
           asked = true;
           console.log("koffi is asked");
         }
         return load.call(this, name, ...rest);
       };`,
    );
    // The plan asks the kernel for a route, through koffi.
    const plan = [join(place, "synprobe.cjs"), "--dry-run", "--seed", "1", "127.0.0.1:1"];
    const usual = await run([process.execPath, ...plan]);
    expect(usual).toMatchObject({ status: 0, stderr: "" });
    expect(await run([process.execPath, "--require", preload, ...plan])).toMatchObject({
      status: 0,
      stdout: `koffi is asked\n${usual.stdout}`,
    });
  });

  it("when V8 is given other flags", async () => {
    await expectVersion();
    await expectVersion("--no-opt", "--max-lazy");
  });
});
