/**
 * How the program starts: with the functions that the build has compiled, and without them when they are another Node's,
 * damaged, or not there.
 */
import { copyFileSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Script } from "node:vm";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { VERSION } from "../../src/cli/run/terminal.ts";
import { MAIN, ROOT, run } from "./process.ts";

const PROGRAMS = ["synprobe", "worker"] as const;
const fileOf = (program: string, kind: string): string => join(MAIN, "..", `${program}.${kind}`);

describe("compiled functions", () => {
  it.each(PROGRAMS)("of %s are this Node's and this code's", async (program) => {
    // A process of its own: the flags that V8 was started with count.
    const look = `const { readFileSync } = require("node:fs");
      const [code, cache] = ["code", "cache"].map((kind) => ${JSON.stringify(fileOf(program, ""))} + kind);
      const script = new (require("node:vm").Script)(readFileSync(code, "latin1"), { filename: code, cachedData: readFileSync(cache) });
      console.log(script.cachedDataRejected);`;
    expect(await run([process.execPath, "-e", look])).toMatchObject({ status: 0, stdout: "false\n" });
  });

  it.each(PROGRAMS)("of %s belong to code that is ASCII, as it is read", (program) => {
    expect(readFileSync(fileOf(program, "code")).every((byte) => byte < 0x80)).toBe(true);
  });
});

describe("the program starts", () => {
  let place: string;
  beforeEach(() => {
    place = mkdtempSync(join(tmpdir(), "synprobe-start-"));
    for (const kind of ["cjs", "code"])
      copyFileSync(fileOf("synprobe", kind), join(place, `synprobe.${kind}`));
    symlinkSync(join(ROOT, "node_modules"), join(place, "node_modules"));
    copyFileSync(join(ROOT, "package.json"), join(place, "package.json"));
  });
  afterEach(() => rmSync(place, { recursive: true }));

  async function expectVersion(...flags: string[]): Promise<void> {
    const { status, stdout, stderr } = await run([
      process.execPath,
      ...flags,
      join(place, "synprobe.cjs"),
      "--version",
    ]);
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: `${VERSION}\n`, stderr: "" });
  }

  it("without compiled functions", () => expectVersion());

  it("with those of other code", async () => {
    writeFileSync(join(place, "synprobe.cache"), new Script("(function () {})").createCachedData());
    await expectVersion();
  });

  it("with what is none", async () => {
    writeFileSync(join(place, "synprobe.cache"), "nonsense");
    await expectVersion();
    writeFileSync(join(place, "synprobe.cache"), "");
    await expectVersion();
  });

  it("where koffi's binary is not in its usual place: koffi finds it", async () => {
    const preload = join(place, "elsewhere.cjs");
    writeFileSync(
      preload,
      `const module_ = require("node:module");
       const load = module_._load;
       let asked = false;
       module_._load = function (name, ...rest) {
         if (/linux_.*node$/.test(name) && !asked) throw new Error("not here");
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
    copyFileSync(fileOf("synprobe", "cache"), join(place, "synprobe.cache"));
    await expectVersion("--no-opt", "--max-lazy");
  });
});
