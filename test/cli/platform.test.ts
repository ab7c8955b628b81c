/** Other systems, and a Node that may load nothing native: one clear line and exit 3, before anything native is touched. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const CLI = fileURLToPath(new URL("../../dist/synprobe.cjs", import.meta.url));
let folder = "";
let preload = "";

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "synprobe-platform-"));
  preload = join(folder, "platform.cjs");
  // Pretends to be another system, where the native packages do not load.
  writeFileSync(
    preload,
    `Object.defineProperty(process, "platform", { value: process.env.PRETEND });
     const module_ = require("node:module");
     const load = module_._load;
     module_._load = function (name, ...rest) {
       if (/^(koffi|@koromix\\/.*|raw-socket)$/.test(name)) throw new Error("native code was loaded: " + name);
       return load.call(this, name, ...rest);
     };`,
  );
});
afterAll(() => rmSync(folder, { recursive: true }));

const run = (platform: string, ...args: string[]) =>
  spawnSync(process.execPath, ["--require", preload, CLI, ...args], {
    encoding: "utf8",
    env: { ...process.env, PRETEND: platform, NO_COLOR: "1" },
  });

describe.each([
  ["darwin", /never receive TCP/],
  ["freebsd", /never receive TCP/],
  ["win32", /does not let raw sockets send TCP/],
])("on %s", (platform, why) => {
  it("a probe says why it cannot, in one line", () => {
    const { status, stdout, stderr } = run(platform, "127.0.0.1:22");
    expect(stderr).toMatch(why);
    expect(stderr.trim().split("\n")).toHaveLength(1);
    expect(stdout).toBe("");
    expect(status).toBe(3);
  });

  it("doctor says the same", () => {
    const { status, stdout } = run(platform, "doctor");
    expect(stdout).toMatch(why);
    expect(status).toBe(3);
  });
});

describe("where Node was told to load nothing native", () => {
  const WHY = /native code cannot be loaded \(Node was told to load none\)/;
  const flagged = (...args: string[]) =>
    spawnSync(process.execPath, ["--no-addons", CLI, ...args], { encoding: "utf8" });

  it("a probe says so, in one line", () => {
    const { status, stdout, stderr } = flagged("127.0.0.1:22");
    expect(stderr).toMatch(WHY);
    expect(stderr).toMatch(/--no-addons.*--allow-addons/);
    expect(stderr.trim().split("\n")).toHaveLength(1);
    expect(stdout).toBe("");
    expect(status).toBe(3);
  });

  it("doctor says the same", () => {
    const { status, stdout } = flagged("doctor");
    expect(stdout).toMatch(WHY);
    expect(status).toBe(3);
  });
});
